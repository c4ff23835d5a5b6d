"""How two descriptions differ, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from stochq.descriptions.tree import (
    Description,
    Node,
    branches,
    canonical,
    form_of,
    hashed,
)

__all__ = ["differences"]

#: A fingerprint is quoted by its first digits.
FINGERPRINT, DIGITS = re.compile(r"[0-9a-f]{64}"), 12

#: The arrays of a matrix: its elements, and where they are.
PARTS = ("data", "indices", "indptr")


def differences(ours: Description, theirs: Description) -> list[str]:
    """Return one line for everything in which two descriptions differ.

    Parameters
    ----------
    ours : Description
        What is "here".
    theirs : Description
        What is "there".

    Returns
    -------
    list of str
        Such as ``"model.dissipators['decay'].rate: 0.7 there, 0.8 here"``; empty if
        and only if the digests are equal.
    """
    pair = _Pair(ours, theirs)
    here, there = (_without_functions(hashed(d.tree)) for d in (ours, theirs))
    lines = list(pair.compare(here, there, ""))
    if not lines and ours.digest != theirs.digest:  # nothing else is left
        lines = ["functions: shared by other parts there than here"]
    return lines


def _without_functions(tree: dict[str, Node]) -> dict[str, Node]:
    """Return a tree without its functions, which are compared where they are used."""
    return {key: node for key, node in tree.items() if key != "functions"}


class _Pair:
    """Two descriptions, whose trees are walked together."""

    def __init__(self, ours: Description, theirs: Description) -> None:
        self.ours, self.theirs = ours, theirs
        self.met: set[tuple[int, int]] = set()

    def compare(self, ours: Node, theirs: Node, path: str) -> Iterator[str]:
        """Yield the differences below two nodes."""
        name = path.removeprefix(".")
        form = form_of(ours)
        if form != form_of(theirs) or _other_kind(ours, theirs):
            yield f"{name}: {_words(theirs)} there, {_words(ours)} here"
        elif form == "array":
            difference = _array_difference(self.mine(ours), self.others(theirs))
            if difference:
                yield f"{name}: {difference}"
        elif form == "matrix":
            yield from self.matrices(ours["matrix"], theirs["matrix"], name)
        elif form == "function":
            yield from self.functions(ours["function"], theirs["function"], path)
        elif form in ("kind", "dict", "list", "mapping"):
            yield from self.members(branches(ours), branches(theirs), path, form)
        elif canonical(ours) != canonical(theirs):
            yield f"{name}: {_words(theirs)} there, {_words(ours)} here"

    def members(
        self, ours: dict[str, Node], theirs: dict[str, Node], path: str, form: str
    ) -> Iterator[str]:
        """Yield what only one has, how the order differs, and what both have."""
        for label in dict.fromkeys([*ours, *theirs]):
            name = (path + label).removeprefix(".")
            if label not in theirs:
                yield f"{name}: missing there, {_words(ours[label])} here"
            elif label not in ours:
                yield f"{name}: {_words(theirs[label])} there, missing here"
            else:
                yield from self.compare(ours[label], theirs[label], path + label)
        here = [label for label in ours if label in theirs]
        there = [label for label in theirs if label in ours]
        if form in ("list", "mapping") and here != there:
            yield (
                f"{path.removeprefix('.')}: in the order {', '.join(there)} there, "
                f"{', '.join(here)} here"
            )

    def functions(self, ours: int, theirs: int, path: str) -> Iterator[str]:
        """Yield how two functions differ, where they are met first."""
        if (ours, theirs) not in self.met:
            self.met.add((ours, theirs))
            mine, others = (
                d.tree["functions"][k]
                for d, k in ((self.ours, ours), (self.theirs, theirs))
            )
            yield from self.compare(mine, others, path)

    def matrices(self, ours: Node, theirs: Node, name: str) -> Iterator[str]:
        """Yield in one line how two matrices differ."""
        sides = ours["side"], theirs["side"]
        if sides[0] != sides[1]:
            yield f"{name}: shape {_square(sides[1])} there, {_square(sides[0])} here"
            return
        said = [
            _array_difference(self.mine(ours[part]), self.others(theirs[part]))
            for part in PARTS
        ]
        if said[1] or said[2]:
            counts = self.others(theirs["data"]).size, self.mine(ours["data"]).size
            yield (
                f"{name}: {counts[0]} elements that are not zero there, {counts[1]} "
                "here, at other places"
            )
        elif said[0]:
            yield f"{name}: {said[0]}"

    def mine(self, node: Node) -> npt.NDArray[Any]:
        """Return an array of ours."""
        return self.ours.arrays[node["array"]]

    def others(self, node: Node) -> npt.NDArray[Any]:
        """Return an array of theirs."""
        return self.theirs.arrays[node["array"]]


def _other_kind(ours: Node, theirs: Node) -> bool:
    """Tell whether two nodes are instances of different classes."""
    return form_of(ours) == "kind" and ours["kind"] != theirs["kind"]


def _array_difference(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> str:
    """Return how two arrays differ, or nothing."""
    if ours.shape != theirs.shape:
        return f"shape {theirs.shape} there, {ours.shape} here"
    if ours.dtype != theirs.dtype:
        return f"type {theirs.dtype} there, {ours.dtype} here"
    if ours.tobytes() == theirs.tobytes():
        return ""
    if ours.dtype.kind not in "fc":
        return f"differs in {np.count_nonzero(ours != theirs)} of {ours.size} entries"
    with np.errstate(all="ignore"):
        largest = float(np.abs(ours - theirs).max())
    if largest > 0:
        return f"differs at most by {largest:.3g}"
    return "differs in bits only: signs of zero, or what is not a number"


def _words(node: Node) -> str:
    """Return a node in short."""
    form = form_of(node)
    if form == "value":
        if isinstance(node, str) and FINGERPRINT.fullmatch(node):
            return f"{node[:DIGITS]}..."
        return repr(node)
    if form == "kind":
        members = [f"{k}={_words(v)}" for k, v in node.items() if k != "kind"]
        return f"{node['kind']}({', '.join(members)})"
    if form == "matrix":
        return f"a matrix {_square(node['matrix'].get('side'))}"
    if form in ("list", "mapping", "dict"):
        return f"{len(branches(node))} entries"
    if form == "array":
        return "an array"
    content = node[form]
    if form == "complex":
        return f"({_words(content[0])}{' + '}{_words(content[1])}i)"
    return "a function" if form == "function" else str(content)


def _square(side: Any) -> str:
    """Return the shape of a square matrix."""
    return f"({side}, {side})"
