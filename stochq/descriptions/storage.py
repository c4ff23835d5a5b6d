"""Descriptions as bytes: JSON for people, arrays beside it, and no code in either."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stochq.descriptions.grammar import check_tree
from stochq.descriptions.tree import Arrays, Description, Node, array_names
from stochq.errors import DescriptionError

__all__ = ["from_files", "to_files"]

RUN, ARRAYS = "run.json", "arrays.npz"

#: Every file in an archive gets this date, so that equal runs have equal bytes.
DATE = (1980, 1, 1, 0, 0, 0)

#: What zipfile raises for an archive that is damaged or meant to do harm.
BROKEN_ARCHIVE = (
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


def to_files(description: Description) -> dict[str, bytes]:
    """Return the two files of a description; equal ones have equal bytes.

    Returns
    -------
    dict
        "run.json", strict JSON with the digest and the tree, and "arrays.npz", which
        ``numpy.load`` opens without pickle.
    """
    content = {"digest": description.digest, "run": description.tree}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # half of a surrogate pair is no UTF-8, but its escape is JSON
    return {
        RUN: text.encode("utf-8", "backslashreplace"),
        ARRAYS: _packed(description.arrays),
    }


def _packed(arrays: Arrays) -> bytes:
    """Return arrays as an archive, not compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(arrays, key=lambda name: (len(name), name)):
            entry = zipfile.ZipInfo(f"{name}.npy", DATE)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, _member(arrays[name]))
    return buffer.getvalue()


def _member(array: npt.NDArray[Any]) -> bytes:
    """Return an array in numpy's format."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, (1, 0), allow_pickle=False)
    return buffer.getvalue()


def from_files(read: Callable[[str], bytes] | Mapping[str, bytes]) -> Description:
    """Read a description, whoever wrote it: nothing in it is executed.

    Parameters
    ----------
    read : callable or mapping
        Gives the bytes of "run.json" and "arrays.npz".

    Raises
    ------
    DescriptionError
        If a file is missing or damaged, or the digest is not that of the content.
    """
    digest, tree = _parsed(_bytes(read, RUN))
    arrays = _unpacked(_bytes(read, ARRAYS))
    try:
        check_tree(tree, arrays)
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"`{RUN}` must describe a run, but {error}") from error
    unknown = arrays.keys() - set(array_names(tree))
    if unknown:
        raise DescriptionError(
            f"`{ARRAYS}` must hold what `{RUN}` names, "
            f"but holds {min(unknown)!r:.40} too"
        )
    description = Description(tree, arrays)
    found = description.digest
    if digest != found:
        raise DescriptionError(
            f"`{RUN}` must have the digest of its content, but has {digest!r:.20} "
            f"instead of {found[:12]!r}; it is damaged or was edited"
        )
    return description


def _bytes(read: Callable[[str], bytes] | Mapping[str, bytes], name: str) -> bytes:
    """Return the content of a file."""
    try:
        content = read[name] if isinstance(read, Mapping) else read(name)
    except (KeyError, OSError) as error:
        raise DescriptionError(
            f"`{name}` must be there, but cannot be read: {error}"
        ) from error
    if not isinstance(content, bytes):
        raise DescriptionError(
            f"`{name}` must be bytes, but is {type(content).__name__}"
        )
    return content


def _parsed(content: bytes) -> tuple[str, dict[str, Node]]:
    """Return the stated digest and the tree."""
    try:
        whole = json.loads(content.decode("utf-8"), parse_constant=_refuse)
        json.dumps(whole, allow_nan=False)  # 1e999 is read as infinity
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"`{RUN}` must be strict JSON, but: {error}") from error
    expected = {"digest": str, "run": dict}
    kinds = {k: type(v) for k, v in whole.items()} if isinstance(whole, dict) else {}
    if kinds != expected:
        raise DescriptionError(
            f'`{RUN}` must have a "digest" and a "run", but has {sorted(kinds)!r:.60}'
        )
    return whole["digest"], whole["run"]


def _refuse(word: str) -> None:
    """Refuse NaN and Infinity."""
    raise ValueError(f"it holds {word}")


def _unpacked(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an archive that is not larger than it looks."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            plain = all(e.compress_type == zipfile.ZIP_STORED for e in entries)
            if not plain or sum(e.file_size for e in entries) > len(content):
                raise DescriptionError(f"`{ARRAYS}` must not be compressed, but is")
            members = {e.filename: archive.read(e) for e in entries}
    except DescriptionError:
        raise
    except BROKEN_ARCHIVE as error:
        raise DescriptionError(
            f"`{ARRAYS}` must be an archive of arrays, but: {error}"
        ) from error
    if len(members) < len(entries):
        raise DescriptionError(f"`{ARRAYS}` must hold each array once, but repeats one")
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
        raise DescriptionError(
            f"`{ARRAYS}` must hold arrays of numbers, but one is damaged: {error!s:.80}"
        ) from error
    return array
