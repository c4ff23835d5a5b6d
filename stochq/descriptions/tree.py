"""Descriptions: a tree of plain values, and the arrays that it refers to.

A tree is made of dictionaries, lists, strings, numbers and None, as strict JSON has
them. What JSON lacks is a dictionary of one key, its marker:

- ``{"array": "a3"}``: an array, kept beside the tree under that name;
- ``{"matrix": {"side", "data", "indices", "indptr"}}``: a sparse matrix, in rows;
- ``{"mapping": [[key, value], ...]}``: a dictionary whose order counts;
- ``{"complex": [re, im]}`` and ``{"float": "inf"}``: other numbers;
- ``{"function": k}``: the k-th of ``tree["functions"]``, however often it is used.

An instance of a class is a dictionary of its fields, and its ``"kind"``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "FUNCTION_KINDS",
    "WORDS",
    "Arrays",
    "Description",
    "Node",
    "array_names",
    "branches",
    "canonical",
    "form_of",
    "function_place",
    "hashed",
]

#: What strict JSON can hold.
Node: TypeAlias = Any
Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]

#: Floats that JSON has no number for.
WORDS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}

#: The marker dictionaries.
MARKERS = ("array", "matrix", "mapping", "complex", "float", "function")

#: Python functions, which no description can hold: of time, and of anything else.
FUNCTION_KINDS = ("function of time", "function")


@dataclass(frozen=True, eq=False)
class Description:
    """A run in plain values.

    Attributes
    ----------
    tree : dict
        Nested dictionaries and lists of numbers and strings.
    arrays : mapping of str to ndarray
        The arrays that the tree refers to by name.
    """

    tree: dict[str, Node]
    arrays: Arrays

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that decides the numbers, as 64 hexadecimal digits.

        An array counts by its type, shape and bytes, not by its name. Neither the
        version of Python nor the machine counts.
        """
        text = canonical(_resolved(hashed(self.tree), self.arrays))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def rebuildable(self) -> bool:
        """Whether `rebuild` can give back the run: it contains no Python function."""
        functions = self.tree.get("functions", [])
        return not any(f.get("kind") in FUNCTION_KINDS for f in functions)


def hashed(tree: dict[str, Node]) -> dict[str, Node]:
    """Return the part of a tree that a digest counts and a comparison compares."""
    kept = {key: node for key, node in tree.items() if key != "machine"}
    surroundings = kept.get("environment")
    if isinstance(surroundings, dict):
        kept["environment"] = {k: v for k, v in surroundings.items() if k != "python"}
    return kept


def canonical(node: Node) -> str:
    """Return a node as the one text that stands for it."""
    return json.dumps(node, sort_keys=True, separators=(",", ":"), allow_nan=False)


def form_of(node: Node) -> str:
    """Return what a node is: a marker, "kind", "dict", "list" or "value"."""
    if isinstance(node, list):
        return "list"
    if not isinstance(node, dict):
        return "value"
    if len(node) == 1 and next(iter(node)) in MARKERS:
        return str(next(iter(node)))
    return "kind" if "kind" in node else "dict"


def _resolved(node: Node, arrays: Arrays) -> Node:
    """Return a tree with a hash in place of every array."""
    if form_of(node) == "array":
        array = arrays[node["array"]]
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        return {"array": [array.dtype.str, list(array.shape), content]}
    if isinstance(node, dict):
        return {key: _resolved(child, arrays) for key, child in node.items()}
    if isinstance(node, list):
        return [_resolved(child, arrays) for child in node]
    return node


def array_names(node: Node) -> Iterator[Node]:
    """Yield the name of every array that a tree refers to."""
    if form_of(node) == "array":
        yield node["array"]
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from array_names(child)


def branches(node: Node) -> dict[str, Node]:
    """Return the nodes below a node, by what a path calls them.

    Members of a list that have a name go by it, the others by their place.
    """
    form = form_of(node)
    if form in ("kind", "dict"):
        return {f".{key}": child for key, child in node.items()}
    if form == "list":
        return _labelled((_label(child, k), child) for k, child in enumerate(node))
    if form == "mapping":
        return _labelled((_key(key), child) for key, child in node["mapping"])
    return {}


def _label(member: Node, place: int) -> str:
    """Return the name of a member of a list, or its place."""
    name = member.get("name") if isinstance(member, dict) else None
    return f"[{name!r}]" if isinstance(name, str) else f"[{place}]"


def _key(key: Node) -> str:
    """Return a key of a mapping: a name, or a group of names."""
    return f"[{tuple(key) if isinstance(key, list) else key!r}]"


def _labelled(pairs: Iterable[tuple[str, Node]]) -> dict[str, Node]:
    """Return pairs as a dictionary; what shares a label is counted."""
    seen: Counter[str] = Counter()
    found = {}
    for label, child in pairs:
        found[label + (f"[{seen[label]}]" if seen[label] else "")] = child
        seen[label] += 1
    return found


def function_place(node: Node, number: int, path: str = "") -> str | None:
    """Return the path to where a function is used first."""
    if form_of(node) == "function" and node["function"] == number:
        return path.removeprefix(".model").removeprefix(".")
    for label, child in branches(node).items():
        found = function_place(child, number, path + label)
        if found is not None:
            return found
    return None
