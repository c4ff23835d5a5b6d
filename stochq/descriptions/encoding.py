"""From a run to its description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from stochq.arrays import Floats
from stochq.channels import ComplexWhiteNoise, Dissipator, WhiteNoise
from stochq.descriptions.fingerprints import of_code, of_values, qualified_name
from stochq.descriptions.recipe import CHOICE_CLASSES, SCHEME_CLASSES, Recipe
from stochq.descriptions.surroundings import environment, machine
from stochq.descriptions.tree import FUNCTION_KINDS, Description, Node
from stochq.envelopes import Sampled
from stochq.errors import ModelError
from stochq.model import Model
from stochq.states import Kets, Orbitals

__all__ = ["CLASSES", "FORMAT", "NUMBERS", "describe"]

#: What a description is written in; another number is another language.
FORMAT = 1

#: Whose instances a description may hold.
CLASSES: tuple[type, ...] = (
    Recipe, Model, WhiteNoise, ComplexWhiteNoise, Dissipator, Kets, Orbitals, Sampled,
    *SCHEME_CLASSES, *CHOICE_CLASSES,
)  # fmt: skip

#: Kinds of numbers that arrays may hold: truth values, integers, reals, complexes.
NUMBERS = "biufc"


def describe(recipe: Recipe, extra_classes: tuple[type, ...] = ()) -> Description:
    """Write down a run.

    Operators, states, samples and numbers are kept to the bit. A Python function is
    named: one of time with the SHA-256 of its values at 513 times over the run, any
    other with that of its code.

    Parameters
    ----------
    recipe : Recipe
        The run.
    extra_classes : tuple of type
        Frozen dataclasses that ``recipe.extras`` may hold.

    Returns
    -------
    Description

    Raises
    ------
    ModelError
        If an extra is neither plain, nor of these classes, nor a function.
    """
    if not isinstance(recipe, Recipe):
        raise ModelError(f"`recipe` must be a Recipe, but is {type(recipe).__name__}")
    timed = frozenset(map(id, _functions_of_time(recipe.model)))
    draft = _Draft((*CLASSES, *extra_classes), recipe.times, timed)
    tree = {
        "format": FORMAT,
        **draft.members(recipe, ""),
        "functions": draft.functions,
        "environment": environment(),
        "machine": machine(),
    }
    return Description(tree, draft.arrays)


def _functions_of_time(model: Model) -> list[Any]:
    """Return what multiplies operators."""
    found: list[Any] = [f for _, f in model.drives]
    for noise in model.noise:
        found += noise.strengths if isinstance(noise, WhiteNoise) else [noise.strength]
    return found + [d.strength for d in model.dissipators]


@dataclass
class _Draft:
    """A description in the making: what can be shared is collected."""

    classes: tuple[type, ...]
    times: Floats
    timed: frozenset[int]
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    functions: list[Node] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)

    def node(self, value: Any, path: str) -> Node:
        """Return a value as a node; `path` is for messages."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float | complex):
            return _number(value)
        known = type(value) in self.classes
        if known and id(value) not in self.timed:
            return self.members(value, path)
        if known or callable(value):
            return self.function(value, path)
        return self.collection(value, path)

    def collection(self, value: Any, path: str) -> Node:
        """Return an array, a matrix, a mapping or a sequence as a node."""
        shape: Any = getattr(value, "shape", ())
        if isinstance(value, np.ndarray) and value.dtype.kind in NUMBERS:
            return self.array(value)
        if sp.issparse(value) and shape == 2 * shape[:1]:
            return self.matrix(value)
        if isinstance(value, Mapping) and all(map(_is_key, value)):
            pairs = [
                [self.node(key, path), self.node(member, f"{path}[{key!r}]")]
                for key, member in value.items()
            ]
            return {"mapping": pairs}
        if isinstance(value, tuple | list):
            return [self.node(v, f"{path}[{k}]") for k, v in enumerate(value)]
        raise ModelError(
            f"`{path.removeprefix('.')}` must be numbers, arrays, names or functions "
            f"to be written down, but is a {type(value).__name__}"
        )

    def array(self, value: npt.NDArray[Any]) -> Node:
        """Keep a copy of an array, little-endian and in rows."""
        kept = np.array(value, dtype=value.dtype.newbyteorder("<"), order="C")
        kept.setflags(write=False)
        name = f"a{len(self.arrays)}"
        self.arrays[name] = kept
        return {"array": name}

    def matrix(self, value: Any) -> Node:
        """Return a sparse matrix by its stored elements."""
        rows: Any = sp.csr_array(value, copy=True)
        rows.sum_duplicates()
        parts = {
            "side": rows.shape[0],
            "data": self.array(rows.data),
            "indices": self.array(rows.indices.astype(np.int64)),
            "indptr": self.array(rows.indptr.astype(np.int64)),
        }
        return {"matrix": parts}

    def members(self, value: Any, path: str) -> dict[str, Node]:
        """Return an instance by the fields that its constructor takes."""
        kept = [f.name for f in fields(value) if f.init]
        nodes = {k: self.node(getattr(value, k), f"{path}.{k}") for k in kept}
        return {"kind": type(value).__name__, **nodes}

    def function(self, value: Any, path: str) -> Node:
        """Return which function it is; one that is equal is not the same."""
        if id(value) not in self.places:
            self.places[id(value)] = len(self.functions)
            self.functions.append(None)
            self.functions[self.places[id(value)]] = self.functional(value, path)
        return {"function": self.places[id(value)]}

    def functional(self, value: Any, path: str) -> Node:
        """Return samples as they are, and what tells a Python function from others."""
        if type(value) in self.classes:
            return self.members(value, path)
        of_time, other = FUNCTION_KINDS
        name = qualified_name(value)
        if id(value) in self.timed:
            values, code = of_values(value, self.times), of_code(value)
            return {"kind": of_time, "name": name, "values": values, "code": code}
        return {"kind": other, "name": name, "code": of_code(value)}


def _is_key(key: Any) -> bool:
    """Tell a name or a group of names."""
    group = key if isinstance(key, tuple) else (key,)
    return all(isinstance(name, str) for name in group)


def _number(value: float | complex) -> Node:
    """Return a number that is read back as it was."""
    if isinstance(value, complex):
        return {"complex": [_number(value.real), _number(value.imag)]}
    return value if np.isfinite(value) else {"float": repr(value)}
