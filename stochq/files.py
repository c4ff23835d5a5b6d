"""Files: what a run leaves behind, each either complete or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "VERDICT_DIGITS",
    "output_folder",
    "write_figure",
    "write_json",
    "write_table",
    "write_text",
]

#: Digits of verdicts in tables; those beyond are rounding.
VERDICT_DIGITS = "%.10g"


def output_folder(path: str | Path) -> Path:
    """Create a folder, and a file in it for a moment, before anything is computed.

    Raises
    ------
    OSError
        If the folder cannot be made or written.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".stochq.{os.getpid()}"
    probe.touch()
    probe.unlink()
    return folder


def _write(path: Path, data: bytes) -> None:
    """Write beside a file and move it into place: it is the old one or complete."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_table(path: Path, frame: pd.DataFrame, digits: str | None = None) -> None:
    """Write a frame as CSV, with full precision unless `digits` says how much."""
    text = frame.to_csv(index=False, float_format=digits, lineterminator="\n")
    _write(path, text.encode())


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8."""
    _write(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON: what is not a finite number becomes null."""
    text = json.dumps(_strict(value), indent=2, allow_nan=False)
    write_text(path, f"{text}\n")


def _strict(value: Any) -> Any:
    """Return a value that strict JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _strict(value.tolist())
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as its name ends, PNG or PDF; equal figures give equal bytes."""
    buffer = BytesIO()
    kind = path.suffix.removeprefix(".")
    stamps = {"png": {"Software": None}, "pdf": {"CreationDate": None}}
    figure.savefig(buffer, format=kind, dpi=150, metadata=stamps[kind])
    _write(path, buffer.getvalue())
