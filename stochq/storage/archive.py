"""Arrays as the bytes of an .npz file: the same arrays, the same bytes; no pickle.

`numpy.load` reads what is written here. What is read here may come from a stranger:
nothing in it is executed, and nothing larger than the file itself is ever allocated.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ArchiveError", "pack", "unpack"]

#: Every member gets this date, so that equal arrays give equal bytes on any day.
DATE = (1980, 1, 1, 0, 0, 0)

#: What zipfile raises for an archive that is damaged or meant to do harm.
BROKEN = (
    zipfile.BadZipFile, ArithmeticError, EOFError, LookupError, NotImplementedError,
    OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip

#: Before its elements: numpy's mark, the size of the rest, type and shape as text.
HEADER_SIZE = 10
HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<size>..)\{'descr': '(?P<type>[<|][biufc]\d{1,2})', "
    rb"'fortran_order': False, 'shape': \((?P<shape>[\d, ]{0,400})\), \} *\n",
    re.DOTALL,
)


class ArchiveError(ValueError):
    """Bytes that are not an archive of plain arrays."""


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays as the bytes of an .npz file, not compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", DATE)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, _member(array))
    return buffer.getvalue()


def _member(array: npt.NDArray[Any]) -> bytes:
    """Return an array in numpy's format, in rows."""
    buffer = io.BytesIO()
    rows = np.asarray(array, order="C")
    np.lib.format.write_array(buffer, rows, (1, 0), allow_pickle=False)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays in the bytes of an .npz file, read-only.

    Raises
    ------
    ArchiveError
        If the bytes are not what `pack` would write.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            plain = all(e.compress_type == zipfile.ZIP_STORED for e in entries)
            if not plain or sum(e.file_size for e in entries) > len(data):
                raise ArchiveError("must not be compressed, but is")
            members = {e.filename: archive.read(e) for e in entries}
    except ArchiveError:
        raise
    except BROKEN as error:
        raise ArchiveError(f"must be an archive of arrays, but: {error}") from error
    if len(members) < len(entries):
        raise ArchiveError("must hold each array once, but repeats one")
    return {name.removesuffix(".npy"): _array(data) for name, data in members.items()}


def _array(content: bytes) -> npt.NDArray[Any]:
    """Return the array that `_member` would write like this, to the last byte."""
    found = HEADER.match(content)
    try:
        if not found:
            raise ValueError("it has another header")
        shape = tuple(int(n) for n in found["shape"].split(b",") if n.strip())
        dtype = np.dtype(found["type"].decode())
        data = content[HEADER_SIZE + int.from_bytes(found["size"], "little") :]
        array = np.frombuffer(data, dtype).reshape(shape)
        if _member(array) != content:
            raise ValueError("its header has more than an array needs")
    except (TypeError, ValueError, OverflowError) as error:
        raise ArchiveError(
            f"must hold arrays of numbers, but one is damaged: {error!s:.80}"
        ) from error
    return array
