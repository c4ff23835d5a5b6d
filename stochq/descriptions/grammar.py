"""The grammar of trees, so that one from a file can be walked without surprises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stochq.descriptions.tree import WORDS, Arrays, Node, form_of

__all__ = ["check_tree"]

#: How deep a tree may be nested; those of runs have about ten levels.
DEPTH = 50

MATRIX = {"side", "data", "indices", "indptr"}


def check_tree(tree: Node, arrays: Arrays) -> None:
    """Check that every marker is followed by what belongs to it.

    Raises
    ------
    ValueError
        If one is not, an array is missing, or the nesting is deeper than any run's.
    """
    functions = tree.get("functions")
    if not isinstance(functions, list) or any(form_of(f) != "kind" for f in functions):
        raise ValueError("its functions must be a list of descriptions")
    _check(tree, arrays, len(functions), 0)


def _check(node: Node, arrays: Arrays, functions: int, depth: int) -> None:
    """Check a node and those below it."""
    form = form_of(node)
    if depth > DEPTH:
        raise ValueError(
            f"it must be nested at most {DEPTH} levels deep, but is deeper"
        )
    if form == "array" and not (_is_text(node[form]) and node[form] in arrays):
        raise ValueError(f"its array {node[form]!r:.40} must be there, but is not")
    if form in RULES and not RULES[form](node[form]):
        raise ValueError(f"its {form} must be well formed, but is {node[form]!r:.40}")
    if form == "function" and node[form] >= functions:
        raise ValueError(f"its function {node[form]} must be there, but is not")
    if isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            _check(child, arrays, functions, depth + 1)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    """Tell a whole number >= 0 from truth values."""
    return type(value) is int and value >= 0


def _is_matrix(parts: Any) -> bool:
    """Tell whether a matrix has its parts."""
    if not isinstance(parts, dict) or parts.keys() != MATRIX:
        return False
    arrays = [form_of(parts[name]) == "array" for name in MATRIX - {"side"}]
    return _is_count(parts["side"]) and all(arrays)


def _is_mapping(pairs: Any) -> bool:
    """Tell whether a mapping is a list of pairs, its keys names or groups of names."""
    return isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 and _is_key(pair[0]) for pair in pairs
    )


def _is_key(key: Any) -> bool:
    return _is_text(key) or (isinstance(key, list) and all(map(_is_text, key)))


def _is_real(value: Any) -> bool:
    """Tell a float, or the word for one that is not finite."""
    return isinstance(value, float) or (
        form_of(value) == "float" and _is_word(value["float"])
    )


def _is_word(value: Any) -> bool:
    return _is_text(value) and value in WORDS


def _is_complex(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(map(_is_real, pair))


RULES: Mapping[str, Callable[[Any], bool]] = {
    "matrix": _is_matrix,
    "mapping": _is_mapping,
    "complex": _is_complex,
    "float": _is_word,
    "function": _is_count,
    "kind": _is_text,
}
