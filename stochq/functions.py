"""Nonlinear functions of single trajectories, whose means no averaged equation has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from stochq.arrays import Complexes, Floats, Operator, as_operator, whole_number
from stochq.errors import ModelError

__all__ = [
    "EntanglementEntropy",
    "Function",
    "OrbitalEntropy",
    "Purity",
    "SquaredCorrelation",
    "SquaredModulus",
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


@dataclass(frozen=True)
class EntanglementEntropy:
    r"""Entropy of entanglement of a ket between some subsystems and the others.

    .. math:: S = -\mathrm{Tr}\, \rho_A \ln \rho_A = -\sum_k s_k^2 \ln s_k^2,
        \qquad \psi_{ab} = \sum_k s_k\, u_{ka} v_{kb}

    with the Schmidt values s of the ket, in nats; 0 for a product state, at most
    ``ln min(d_A, d_B)``. Its mean over trajectories depends on the unraveling.

    Parameters
    ----------
    dims : tuple of int
        Dimensions of all tensor factors, the first leftmost as in `tensor`.
    keep : int or tuple of int
        The factors that make up A.

    Raises
    ------
    ModelError
        If `keep` does not name some of the factors, but not all.
    """

    dims: tuple[int, ...]
    keep: tuple[int, ...]
    kinds: ClassVar[tuple[str, ...]] = (KETS,)

    def __post_init__(self) -> None:
        """Check the factors."""
        dims, keep = _checked_factors(self.dims, self.keep, type(self).__name__)
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "keep", keep)

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return 0.0, math.log(_smaller_side(self.dims, self.keep))

    def __call__(self, states: Complexes, /) -> Floats:
        """Return S of every ket (n, d), shape (n,)."""
        schmidt = np.linalg.svd(_split(states, self.dims, self.keep), compute_uv=False)
        entropy: Floats = entr(np.square(schmidt)).sum(axis=1)
        return entropy


@dataclass(frozen=True)
class Purity:
    r"""Purity of the state of a trajectory, or of some of its subsystems.

    .. math:: \mathrm{Tr}\, \rho_A^2, \qquad \rho_A = \mathrm{Tr}_B\, \rho

    It is 1 for every ket as a whole.

    Parameters
    ----------
    dims : tuple of int, optional
        Dimensions of all tensor factors, the first leftmost as in `tensor`.
    keep : int or tuple of int, optional
        The factors that make up A; without both, A is all.

    Raises
    ------
    ModelError
        If only one is given, or `keep` does not name some of the factors, but not all.
    """

    dims: tuple[int, ...] | None = None
    keep: tuple[int, ...] | None = None
    kinds: ClassVar[tuple[str, ...]] = (KETS, MATRICES)

    def __post_init__(self) -> None:
        """Check the factors."""
        if self.dims is None and self.keep is None:
            return
        if self.dims is None or self.keep is None:
            raise ModelError(
                "`dims` and `keep` of Purity must be given together, but "
                f"are {self.dims!r:.60} and {self.keep!r:.60}"
            )
        dims, keep = _checked_factors(self.dims, self.keep, type(self).__name__)
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "keep", keep)

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds of its values."""
        return 0.0, 1.0

    def __call__(self, states: Complexes, /) -> Floats:
        """Return the purity of every ket (n, d) or density matrix (n, d, d), (n,)."""
        if self.dims is None or self.keep is None:
            squares: Floats = np.square(np.abs(states)).reshape(states.shape[0], -1)
            total: Floats = squares.sum(axis=1)
            return total if states.ndim == 3 else np.square(total)
        if states.ndim == 3:
            reduced = _partial_trace(states, self.dims, self.keep)
        else:
            amplitudes = _split(states, self.dims, self.keep)
            if amplitudes.shape[1] > amplitudes.shape[2]:  # the same, and smaller
                amplitudes = amplitudes.transpose(0, 2, 1)
            reduced = amplitudes @ amplitudes.conj().transpose(0, 2, 1)
        found: Floats = np.square(np.abs(reduced)).sum(axis=(1, 2))
        return found


@dataclass(frozen=True, eq=False)
class SquaredModulus:
    r"""Squared modulus of an expectation value on each trajectory.

    .. math:: |\langle\psi| O |\psi\rangle|^2 \quad\text{or}\quad
        |\mathrm{Tr}(O \rho)|^2

    Parameters
    ----------
    operator : matrix, shape (d, d)
        O, which need not be Hermitian, in the model's whole basis.

    Raises
    ------
    ModelError
        If it is not a square matrix of finite numbers.
    """

    operator: Operator
    kinds: ClassVar[tuple[str, ...]] = (KETS, MATRICES)

    def __post_init__(self) -> None:
        """Store the matrix as CSR."""
        matrix = as_operator(self.operator, "operator")
        object.__setattr__(self, "operator", matrix)

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds of its values: ||O||^2 is at most ||O||_1 ||O||_inf."""
        size = abs(self.operator)
        return 0.0, float(size.sum(axis=0).max() * size.sum(axis=1).max())

    def __call__(self, states: Complexes, /) -> Floats:
        """Return it for every ket (n, d) or density matrix (n, d, d), shape (n,)."""
        _check_dimension(self, self.operator.shape[0], states)
        if states.ndim == 3:
            terms = self.operator.tocoo()
            elements = states[:, terms.col, terms.row] * terms.data
            return _squared_sum(elements)
        return _squared_sum(states.conj() * (self.operator @ states.T).T)


@dataclass(frozen=True, eq=False)
class SquaredCorrelation:
    r"""Squared modulus of a one-body expectation value on each set of orbitals.

    .. math:: \Bigl|\sum_{xy} A_{xy} \langle c_x^\dagger c_y \rangle\Bigr|^2
        = \bigl|\mathrm{Tr}\, U^\dagger A\, U\bigr|^2

    With one element A_xy = 1 it is :math:`|G_{xy}|^2`.

    Parameters
    ----------
    operator : matrix, shape (sites, sites)
        A, which need not be Hermitian.

    Raises
    ------
    ModelError
        If it is not a square matrix of finite numbers.
    """

    operator: Operator
    kinds: ClassVar[tuple[str, ...]] = (ORBITALS,)

    def __post_init__(self) -> None:
        """Store the matrix as CSR."""
        matrix = as_operator(self.operator, "operator")
        object.__setattr__(self, "operator", matrix)

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds of its values: the trace norm of A is at most that of its columns."""
        squares = abs(self.operator).power(2).sum(axis=0)
        return 0.0, float(np.square(np.sqrt(squares).sum()))

    def __call__(self, states: Complexes, /) -> Floats:
        """Return it for all orbitals (n, sites, particles), shape (n,)."""
        _check_dimension(self, self.operator.shape[0], states)
        terms = self.operator.tocoo()
        pairs = (states[:, terms.row].conj() * states[:, terms.col]).sum(axis=2)
        return _squared_sum(pairs * terms.data)


@dataclass(frozen=True)
class OrbitalEntropy:
    r"""Entropy of entanglement of free fermions between some sites and the others.

    .. math:: S = -\sum_k \bigl[ p_k \ln p_k + (1 - p_k) \ln(1 - p_k) \bigr]

    over the eigenvalues p of the correlation matrix :math:`\langle c_x^\dagger c_y
    \rangle` restricted to the sites, in nats; at most ln 2 per site.

    Parameters
    ----------
    sites : int or tuple of int
        The sites x, from 0.

    Raises
    ------
    ModelError
        If they are not different numbers >= 0.
    """

    sites: tuple[int, ...]
    kinds: ClassVar[tuple[str, ...]] = (ORBITALS,)

    def __post_init__(self) -> None:
        """Check the sites."""
        sites = _numbers(self.sites, "sites", type(self).__name__)
        object.__setattr__(self, "sites", sites)

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return 0.0, len(self.sites) * math.log(2)

    def __call__(self, states: Complexes, /) -> Floats:
        """Return S of all orbitals (n, sites, particles), shape (n,)."""
        if max(self.sites) >= states.shape[1]:
            raise ModelError(
                f"`sites` of OrbitalEntropy must be below {states.shape[1]}, "
                f"but are {self.sites}"
            )
        # the eigenvalues of U_A U_A^dag that are not zero
        filled = np.square(np.linalg.svd(states[:, self.sites], compute_uv=False))
        filled = np.minimum(filled, 1.0)
        entropy: Floats = (entr(filled) + entr(1.0 - filled)).sum(axis=1)
        return entropy


def _squared_sum(terms: Complexes) -> Floats:
    """Return |sum of each row|^2, shape (n,)."""
    total = terms.sum(axis=1)
    squares: Floats = np.square(total.real) + np.square(total.imag)
    return squares


def _check_dimension(owner: Any, dim: int, states: Complexes) -> None:
    """Check that a matrix fits the states."""
    if states.shape[1] != dim:
        raise ModelError(
            f"`operator` of {type(owner).__name__} must have shape "
            f"({states.shape[1]}, {states.shape[1]}) like the initial state, but has "
            f"shape ({dim}, {dim})"
        )


def _numbers(value: Any, name: str, owner: str, at_least: int = 0) -> tuple[int, ...]:
    """Return one number or several different ones as a tuple."""
    single = isinstance(value, (int, np.integer))
    try:
        listed = (value,) if single else tuple(value)
        found = tuple(whole_number(v, name, at_least=at_least) for v in listed)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"`{name}` of {owner} must be integers >= {at_least}, but is {value!r:.60}"
        ) from error
    if not found or (name != "dims" and len(set(found)) < len(found)):
        raise ModelError(
            f"`{name}` of {owner} must hold at least one number, and none twice, "
            f"but is {value!r:.60}"
        )
    return found


def _checked_factors(
    dims: Any, keep: Any, owner: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the dimensions of all factors, and which of them are kept."""
    dims = _numbers(dims, "dims", owner, at_least=1)
    keep = _numbers(keep, "keep", owner)
    if max(keep) >= len(dims) or len(keep) == len(dims):
        raise ModelError(
            f"`keep` of {owner} must name some of the {len(dims)} factors 0 to "
            f"{len(dims) - 1}, but not all, and is {keep}"
        )
    return dims, tuple(sorted(keep))


def _smaller_side(dims: tuple[int, ...], keep: tuple[int, ...]) -> int:
    """Return the smaller dimension of the two parts."""
    kept = math.prod(dims[k] for k in keep)
    return min(kept, math.prod(dims) // kept)


def _kept_first(
    states: Complexes, dims: tuple[int, ...], keep: tuple[int, ...]
) -> tuple[list[int], int, int]:
    """Return the factors with those of A first, and the dimensions of A and B."""
    if math.prod(dims) != states.shape[1]:
        raise ModelError(
            f"`dims` must multiply to the dimension {states.shape[1]} of the model, "
            f"but are {dims}"
        )
    order = [*keep, *(k for k in range(len(dims)) if k not in keep)]
    kept = math.prod(dims[k] for k in keep)
    return order, kept, math.prod(dims) // kept


def _split(
    states: Complexes, dims: tuple[int, ...], keep: tuple[int, ...]
) -> Complexes:
    """Return kets as matrices psi_ab, shape (n, d_A, d_B)."""
    order, kept, rest = _kept_first(states, dims, keep)
    n = states.shape[0]
    axes = [0, *(1 + k for k in order)]
    return states.reshape(n, *dims).transpose(axes).reshape(n, kept, rest)


def _partial_trace(
    states: Complexes, dims: tuple[int, ...], keep: tuple[int, ...]
) -> Complexes:
    """Return rho_A of density matrices, shape (n, d_A, d_A)."""
    order, kept, rest = _kept_first(states, dims, keep)
    n, factors = states.shape[0], len(dims)
    axes = [0, *(1 + k for k in order), *(1 + factors + k for k in order)]
    blocks = states.reshape(n, *dims, *dims).transpose(axes)
    blocks = blocks.reshape(n, kept, rest, kept, rest)
    reduced: Complexes = np.trace(blocks, axis1=2, axis2=4)
    return reduced


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
