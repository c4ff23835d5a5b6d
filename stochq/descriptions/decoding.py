"""From a description back to the run, with the constructors of the package alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Operator, read_only
from stochq.channels import WhiteNoise
from stochq.descriptions.encoding import CLASSES, FORMAT
from stochq.descriptions.grammar import check_tree
from stochq.descriptions.recipe import SCHEME_CLASSES, Recipe
from stochq.descriptions.tree import (
    FUNCTION_KINDS,
    WORDS,
    Arrays,
    Description,
    Node,
    form_of,
    function_place,
)
from stochq.errors import DescriptionError
from stochq.schemes import Scheme
from stochq.states import Kets

__all__ = ["rebuild", "rebuilt_scheme"]

#: Norms and weights of a mixture, as for any initial state.
UNIT_TOLERANCE = 1e-10

#: What Python and numpy raise where a value is not what it should be.
MISFITS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
           RecursionError)  # fmt: skip

#: Parts of a tree that are about a run, and no part of it.
ABOUT = ("format", "functions", "environment", "machine")


def rebuild(description: Description, extra_classes: tuple[type, ...] = ()) -> Recipe:
    """Return the run that a description was made of, to the bit.

    Nothing is executed but constructors of known classes, which check what they get.
    Lists come back as tuples.

    Parameters
    ----------
    description : Description
        From `describe`, or from a file of whomever.
    extra_classes : tuple of type
        Frozen dataclasses that ``extras`` may hold.

    Raises
    ------
    DescriptionError
        If it contains a Python function, or is not the description of a valid run.
    """
    tree = description.tree
    try:
        check_tree(tree, description.arrays)
        _check_language(tree)
        _refuse_functions(tree)
        reader = _Reader(
            description.arrays,
            tree["functions"],
            {kind.__name__: kind for kind in (*CLASSES, *extra_classes)},
        )
        recipe = reader.value({k: v for k, v in tree.items() if k not in ABOUT})
    except DescriptionError:
        raise
    except MISFITS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DescriptionError(
            f"a description must hold a valid run, but this one does not: {reason}"
        ) from error
    if not isinstance(recipe, Recipe):
        raise DescriptionError(
            "a description must hold a Recipe, but this one holds a "
            f"{type(recipe).__name__}"
        )
    return recipe


def rebuilt_scheme(description: Description) -> Scheme:
    """Return the scheme of a run, whatever else is in its description.

    Raises
    ------
    DescriptionError
        If there is none.
    """
    classes = {kind.__name__: kind for kind in SCHEME_CLASSES}
    try:
        scheme = _Reader({}, [], classes).value(description.tree["scheme"])
    except MISFITS as error:
        raise DescriptionError("a description must hold a scheme") from error
    if type(scheme) not in SCHEME_CLASSES:
        raise DescriptionError("a description must hold a scheme, but does not")
    return scheme  # type: ignore[no-any-return]


def _check_language(tree: Mapping[str, Node]) -> None:
    """Refuse what another version wrote in another way."""
    if type(tree["format"]) is not int or tree["format"] != FORMAT:
        raise DescriptionError(
            f"a description must have the format {FORMAT}, but has "
            f"{tree['format']!r:.60}; another version of stochq wrote it"
        )


def _refuse_functions(tree: Mapping[str, Node]) -> None:
    """Say which Python function only a script can bring."""
    for number, function in enumerate(tree["functions"]):
        if function["kind"] in FUNCTION_KINDS:
            place = function_place(dict(tree), number) or "functions"
            name = " ".join(str(function["name"]).split())
            raise DescriptionError(
                "the run must be rebuilt by the script that made it: it contains the "
                f"Python function `{name}` ({place}); call "
                "simulate(..., checkpoint=DIR) again there"
            )


@dataclass
class _Reader:
    """Reads nodes; a function is built once, so that who shared it shares it."""

    arrays: Arrays
    functions: list[Node]
    classes: Mapping[str, type]
    built: dict[int, Any] = field(default_factory=dict)

    def value(self, node: Node) -> Any:
        """Return what a node stands for."""
        form = form_of(node)
        if form == "value":
            return node
        if form == "list":
            return tuple(map(self.value, node))
        if form == "array":
            return self.arrays[node["array"]]
        if form == "kind":
            return self.instance(node)
        readers: Mapping[str, Callable[[Node], Any]] = {
            "matrix": self.matrix,
            "mapping": self.mapping,
            "function": self.function,
            "complex": lambda pair: complex(*map(self.real, pair)),
            "float": lambda word: self.real({"float": word}),
        }
        if form not in readers:
            raise DescriptionError(
                "a description must hold values that it can name, but holds "
                f"{node!r:.60}"
            )
        return readers[form](node[form])

    def real(self, node: Node) -> float:
        """Return a float; only those that are not finite are words."""
        if isinstance(node, dict):
            return WORDS[node["float"]]
        if type(node) is not float:
            raise DescriptionError(f"a number must be a float, but is {node!r:.60}")
        return node

    def mapping(self, pairs: Node) -> dict[Any, Any]:
        """Return a dictionary in its order, each key once."""
        found = {self.value(key): self.value(member) for key, member in pairs}
        if len(found) < len(pairs):
            raise DescriptionError("a mapping must have each key once, but repeats one")
        return found

    def matrix(self, parts: Node) -> Operator:
        """Return a sparse matrix, its pattern checked: scipy would read out of it."""
        side, data = parts["side"], self.value(parts["data"])
        indices, indptr = self.value(parts["indices"]), self.value(parts["indptr"])
        if not _is_pattern(side, data, indices, indptr):
            raise DescriptionError(
                "a matrix must have its elements in rows, with columns that ascend, "
                "but one has others"
            )
        return sp.csr_array((data, indices, indptr), shape=(side, side))

    def function(self, number: Node) -> Any:
        """Return one of the functions."""
        if number not in self.built:
            self.built[number] = self.instance(self.functions[number])
        return self.built[number]

    def instance(self, node: Node) -> Any:
        """Return an instance of a known class, with exactly the fields it has."""
        kind = self.classes.get(node["kind"])
        if kind is None:
            raise DescriptionError(
                f"a description must hold known classes, but holds {node['kind']!r:.60}"
            )
        members = {key: self.value(child) for key, child in node.items()}
        del members["kind"]
        expected = {f.name for f in fields(kind) if f.init}
        if members.keys() != expected:
            raise DescriptionError(
                f"a {kind.__name__} must have {sorted(expected)}, "
                f"but has {sorted(members)!r:.60}"
            )
        return BUILDERS.get(kind, kind)(**members)


def _is_pattern(side: Any, data: Any, indices: Any, indptr: Any) -> bool:
    """Tell whether three arrays are the rows of a square matrix, without gaps."""
    arrays = (data, indices, indptr)
    if type(side) is not int or side < 1:
        return False
    if any(not isinstance(a, np.ndarray) or a.ndim != 1 for a in arrays):
        return False
    if indices.dtype != np.int64 or indptr.dtype != np.int64:
        return False
    if indptr.size != side + 1 or indices.size != data.size:
        return False
    bounded = not indices.size or (indices.min() >= 0 and indices.max() < side)
    rising = indptr[0] == 0 and indptr[-1] == data.size and (np.diff(indptr) >= 0).all()
    if not bounded or not rising:
        return False
    rows = np.repeat(np.arange(side), np.diff(indptr))
    return bool((np.diff(rows * side + indices) > 0).all())


def _white_noise(*, rates: Any, correlations: Any, operators: Any, strengths: Any,
                 name: Any) -> WhiteNoise:  # fmt: skip
    """Return noise from its fields, which its constructor calls otherwise."""
    return WhiteNoise(
        operators,
        rate=rates,
        covariance=correlations,
        strength=strengths,
        name=name,
    )


def _kets(*, weights: Any, vectors: Any, stays: Any) -> Kets:
    """Return a mixture as it is: its constructor trusts, and other ways may round."""
    shaped = (
        all(isinstance(a, np.ndarray) for a in (weights, vectors))
        and vectors.ndim == 2
        and vectors.dtype == np.complex128
        and weights.dtype == np.float64
        and weights.shape == vectors.shape[:1]
        and vectors.size > 0
    )
    if not shaped:
        raise DescriptionError("a mixture must be weights (M,) and kets (M, d)")
    slack = UNIT_TOLERANCE * (1 + vectors.shape[1])  # eigenvalues below 0 were left out
    norms = np.linalg.norm(vectors, axis=1)
    sound = (
        bool((weights >= 0).all())
        and abs(float(weights.sum()) - 1) <= slack
        and float(np.abs(norms - 1).max()) <= UNIT_TOLERANCE
    )
    if not sound:
        raise DescriptionError(
            "a mixture must have weights >= 0 that sum to 1, and kets of norm 1"
        )
    if stays is not None:
        known = isinstance(stays, np.ndarray) and stays.dtype == np.float64
        if (
            not known
            or stays.shape != weights.shape
            or not np.all(np.clip(stays, 0, 1) == stays)
        ):
            raise DescriptionError("`stays` of a mixture must be probabilities (M,)")
    return Kets(read_only(weights), read_only(vectors), stays)


BUILDERS: Mapping[type, Callable[..., Any]] = {WhiteNoise: _white_noise, Kets: _kets}
