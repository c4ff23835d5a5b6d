"""Files on disk: each is the old one or the new one, never a part of it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["read_file", "settled", "size_of", "write_file"]


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises
    ------
    OSError
        If it cannot be read, or is a pipe or a device, which may have no end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a file")
    return path.read_bytes()


def size_of(path: Path) -> int:
    """Return the size of a file, 0 if somebody has just moved it away."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


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
        with draft.open("xb") as file:  # never through a link that lies there
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    settled(path.parent)
