"""Descriptions as bytes: JSON for people, arrays beside it, and no code in either."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from stochq.descriptions.grammar import check_tree
from stochq.descriptions.tree import Description, Node, array_names
from stochq.errors import DescriptionError
from stochq.storage.archive import ArchiveError, pack, unpack

__all__ = ["from_files", "to_files"]

RUN, ARRAYS = "run.json", "arrays.npz"


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
    names = sorted(description.arrays, key=lambda name: (len(name), name))
    # half of a surrogate pair is no UTF-8, but its escape is JSON
    return {
        RUN: text.encode("utf-8", "backslashreplace"),
        ARRAYS: pack({name: description.arrays[name] for name in names}),
    }


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
    try:
        arrays = unpack(_bytes(read, ARRAYS))
    except ArchiveError as error:
        raise DescriptionError(f"`{ARRAYS}` {error}") from error
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
