"""What ``stochq verify`` left in a folder, read and checked before anything is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from stochq.frames import POINT_COLUMNS
from stochq.report.schema import check_verdicts

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VERDICTS", "read_figure", "read_points", "read_verdicts"]

VERDICTS = "verdicts.json"

#: How every PNG image begins and, if it is complete, ends.
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def read_verdicts(folder: Path) -> dict[str, Any]:
    """Return the content of ``verdicts.json``.

    Raises
    ------
    ValueError
        If there is none, or it is not what the schema describes.
    """
    path = folder / VERDICTS
    if not path.is_file():
        raise ValueError(
            f"{folder} must be the --out folder of stochq verify, but has no {VERDICTS}"
        )
    try:
        record = _parsed(path)
        check_verdicts(record)
    except ValueError as error:
        raise ValueError(
            f"{path} must be what stochq verify writes, but is not: {error}; "
            f"write it anew by `stochq verify --out {folder}`"
        ) from error
    return record


def _parsed(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file."""
    try:
        record: dict[str, Any] = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_refuse
        )
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    return record


def _refuse(constant: str) -> NoReturn:
    """Refuse what strict JSON does not know."""
    raise ValueError(f"{constant} is no number of strict JSON")


def read_figure(folder: Path, claim: str, command: str) -> bytes:
    """Return the figure of a claim, a PNG image.

    Parameters
    ----------
    folder : Path
        Where it is.
    claim : str
        Whose it is.
    command : str
        What writes it, if it is not there.

    Raises
    ------
    ValueError
        If it is missing or no such image.
    """
    path = folder / f"{claim}.png"
    there = path.is_file()
    data = path.read_bytes() if there else b""
    if not (data.startswith(PNG) and data.endswith(PNG_END)):
        wrong = "is not one" if there else "is missing"
        raise ValueError(
            f"{path} must be the figure of {claim}, a PNG image, but {wrong}; "
            f"write it anew by `{command} --out {folder}`"
        )
    return data


def _wrong_numbers(points: pd.DataFrame) -> str:
    """Say which columns do not hold numbers; some may be empty or infinite."""
    import pandas as pd

    for name in POINT_COLUMNS[1:]:
        numbers = pd.to_numeric(points[name].replace("", "nan"), errors="coerce")
        needed = name in ("time", "mean", "reference", "scale", "z")
        unread = numbers.isna() & (points[name].astype(str).str.lower() != "")
        if (needed and not np.isfinite(numbers).all()) or (needed and unread.any()):
            return f"its column {name} does not hold numbers"
        points[name] = numbers
    return ""


def read_points(folder: Path, claim: str, command: str, size: int) -> pd.DataFrame:
    """Return every compared point of a claim, from its table.

    Parameters
    ----------
    folder, claim, command
        As in `read_figure`.
    size : int
        How many points there must be.

    Raises
    ------
    ValueError
        If it is missing, or lacks columns or points.
    """
    import pandas as pd

    path = folder / f"{claim}.csv"
    try:
        texts = {"case": str, "reading": str, "observable": str}
        points = pd.read_csv(path, dtype=texts, na_filter=True, keep_default_na=False)
        lost = {"case", "reading", *POINT_COLUMNS} - set(points)
        wrong = f"it lacks {sorted(lost)}" if lost else _wrong_numbers(points)
        if len(points) != size:
            wrong = f"it has {len(points)} points in place of {size}"
    except (OSError, ValueError) as error:  # a parser's error is a ValueError
        wrong = str(error)
    if wrong:
        raise ValueError(
            f"{path} must be the table of {claim}, but {wrong}; "
            f"write it anew by `{command} --out {folder}`"
        )
    return points
