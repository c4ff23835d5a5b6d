"""What a function of single trajectories is, and what is checked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stochq.arrays import Complexes, Floats
from stochq.errors import ModelError

__all__ = [
    "KETS",
    "MATRICES",
    "ORBITALS",
    "Function",
    "as_functions",
    "checked_values",
    "limits_of",
]

#: What the states of trajectories can be.
KETS, MATRICES, ORBITALS = "kets", "density matrices", "orbitals"


class Function(Protocol):
    """A real function of single trajectories, evaluated at every output time.

    Any callable will do. Functions must be pure, and treat every trajectory alone.
    """

    def __call__(self, states: Complexes, /) -> npt.ArrayLike:
        """Return one real number per trajectory, shape (n,).

        Parameters
        ----------
        states : ndarray, shape (n, d), (n, d, d) or (n, sites, particles), read-only
            Kets of norm 1, density matrices of trace 1 (where something stays averaged
            or is seen in part), or orthonormal orbitals, at one time, in the model's
            whole basis. Phases of kets, and the choice of orbitals that span the same
            space, mean nothing.
        """


def checked_values(values: Any, n: int) -> Floats:
    """Return the values of a function as real numbers, shape (n,).

    Raises
    ------
    ModelError
        If they are something else.
    """
    found = np.asarray(values)
    if found.dtype.kind not in "fiub" or found.shape != (n,):
        raise ModelError(
            f"must return real numbers of shape ({n},) for {n} trajectories, "
            f"but returns {found.dtype} of shape {found.shape}"
        )
    return found.astype(np.float64)


def as_functions(
    value: Any, observables: Mapping[str, Any]
) -> tuple[tuple[str, Function], ...]:
    """Return the functions of a dictionary {name: function}, in its order.

    Raises
    ------
    ModelError
        If it is none, or a name is taken by an observable, or a value is not callable.
    """
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise ModelError(
            f"`functions` must be a dictionary {{name: function}}, but is {value!r:.60}"
        )
    for name, function in value.items():
        if not isinstance(name, str) or not name or name in observables:
            raise ModelError(
                "`functions` must have names that no observable has, "
                f"but has {name!r:.60}"
            )
        if not callable(function) or isinstance(function, type):
            raise ModelError(
                f"`functions[{name!r}]` must be a function of states such as "
                f"Purity(), but is {function!r:.60}"
            )
    return tuple(value.items())


def limits_of(
    functions: Sequence[tuple[str, Function]],
) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest possible values of functions that state them."""
    return {
        name: function.limits
        for name, function in functions
        if hasattr(function, "limits")
    }
