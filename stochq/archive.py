"""Arrays as the bytes of an .npz file: the same arrays, the same bytes; no pickle.

`numpy.load` reads what is written here. What is read here may come from a stranger:
nothing in it is executed, and nothing larger than the file itself is ever allocated.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

__all__ = ["ArchiveError", "pack", "unpack"]

#: The date of every member: equal arrays give equal bytes on any day.
DATE = (1980, 1, 1, 0, 0, 0)

Arrays = Mapping[str, npt.NDArray[Any]]


class ArchiveError(ValueError):
    """Bytes that are not an archive of plain arrays."""


def pack(arrays: Arrays) -> bytes:
    """Return arrays as the bytes of an .npz file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            npy.write_array(member, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", DATE), member.getvalue())
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays in the bytes of an .npz file.

    Raises
    ------
    ArchiveError
        If the bytes are anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {
                member.filename.removesuffix(".npy"): _array(archive, member)
                for member in archive.infolist()
            }
    except ArchiveError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen kinds on bad bytes
        raise ArchiveError(f"not an archive of arrays: {error}") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Return one array, after a look at its header."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ArchiveError(f"{member.filename} is compressed")
    stream = io.BytesIO(archive.read(member))
    if npy.read_magic(stream) != (1, 0):
        raise ArchiveError(f"{member.filename} has another format")
    shape, fortran, dtype = npy.read_array_header_1_0(stream)
    raw = stream.read()
    size = 1
    for length in shape:
        size *= int(length)
    if dtype.hasobject or fortran or size * dtype.itemsize != len(raw):
        raise ArchiveError(f"{member.filename} is not a plain array")
    return np.frombuffer(raw, dtype).reshape(shape).copy()
