"""What a run depends on beside its recipe: versions, sources, and the machine."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["environment", "machine"]

PACKAGE = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """Return the versions that a result depends on.

    Returns
    -------
    dict
        Versions of "stochq", "numpy", "scipy", "numba" and "python", and "code": the
        SHA-256 of the package's own sources, so that edited ones are another version.
    """
    return dict(_environment())


@cache
def _environment() -> tuple[tuple[str, str], ...]:
    """Return the versions; finding them takes a while, and they do not change."""
    found = {"python": platform.python_version(), "code": _code(PACKAGE)}
    for package in ("stochq", "numpy", "scipy", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return tuple(sorted(found.items()))


def _code(folder: Path) -> str:
    """Return the SHA-256 of all sources below a folder, with their names."""
    total = hashlib.sha256()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    for name in names:
        content = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        total.update(f"{name} {content}\n".encode())
    return total.hexdigest()


def machine() -> dict[str, Any]:
    """Return what can be learned about the processor and its linear algebra.

    It is for people who wonder about a last bit: LAPACK may round as the processor's
    vector units do.
    """
    config: Any = np.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(Path("/proc/cpuinfo")),
        "vector units": list(config.get("SIMD Extensions", {}).get("found", [])),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
    }


def _processor(listing: Path) -> str:
    """Return the name of the processor, as far as the system tells it."""
    try:
        lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()
