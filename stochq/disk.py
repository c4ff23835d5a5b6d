"""Files on disk: each is the old one or the new one, never a part of it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["settled", "write_file"]


def settled(folder: Path) -> None:
    """Ask the system to keep the names in a folder through a crash."""
    with suppress(OSError):  # some file systems cannot, and none needs it to be right
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_file(path: Path, data: bytes) -> None:
    """Write beside a file, wait for the disk, and move it into place.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    settled(path.parent)
