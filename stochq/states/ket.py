"""Pure states and mixtures of them: rho = sum_m w_m |psi_m><psi_m|."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from stochq.arrays import (
    HERMITIAN_TOLERANCE,
    Complexes,
    Floats,
    Ints,
    read_only,
    restore,
)
from stochq.errors import ModelError
from stochq.states.orbitals import Occupations, Orbitals

__all__ = ["Kets", "as_initial"]

#: Norms, traces and weights must be 1 to this accuracy; nothing is renormalized.
UNIT_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Kets:
    """A mixture of kets; every trajectory starts from one of them.

    Attributes
    ----------
    weights : ndarray, shape (M,)
        Probabilities w_m, summing to one.
    vectors : ndarray, shape (M, d)
        The kets psi_m.
    stays : ndarray, shape (M,), or None
        Where trajectories are conditioned on a jump: the probability, for each ket,
        that nothing jumps.
    """

    weights: Floats
    vectors: Complexes
    stays: Floats | None = None
    one_body: ClassVar[bool] = False
    __setstate__ = restore

    @property
    def dim(self) -> int:
        """Dimension d of the Hilbert space."""
        return int(self.vectors.shape[1])

    @property
    def pure(self) -> bool:
        """Whether every trajectory starts alike."""
        return self.weights.size == 1

    @property
    def probabilities(self) -> Floats:
        """Probability of each member of the mixture, shape (M,)."""
        shares: Floats = self.weights / self.weights.sum()
        return shares

    @property
    def columns(self) -> int:
        """Columns of one trajectory's state: a ket has one."""
        return 1

    @property
    def support(self) -> Ints:
        """Basis states that the mixture occupies."""
        return np.flatnonzero(np.any(self.vectors != 0, axis=0))

    def restricted(self, basis: Ints) -> Kets:
        """Return the same kets on some of the basis states."""
        return Kets(self.weights, self.vectors[:, basis], self.stays)

    def density_matrix(self) -> Complexes:
        """Return rho = sum_m w_m |psi_m><psi_m|, shape (d, d)."""
        weighted = self.weights[:, None] * self.vectors
        rho: Complexes = weighted.T @ self.vectors.conj()
        return rho

    def members(self) -> Complexes:
        """Return the states of the mixture, shape (M, d)."""
        return self.vectors

    def choose(self, uniforms: Floats) -> Ints:
        """Return which ket each uniform number in [0, 1) stands for, shape (n,)."""
        edges = np.cumsum(self.weights)
        chosen = np.searchsorted(edges, uniforms * edges[-1], side="right")
        places: Ints = np.minimum(chosen, self.weights.size - 1)
        return places

    def draw(self, uniforms: Floats) -> Complexes:
        """Return the ket of each uniform number in [0, 1), shape (n, d)."""
        vectors: Complexes = self.vectors[self.choose(uniforms)]
        return vectors

    def clocks(self, uniforms: Floats, clocks: Floats) -> Floats:
        """Return uniform clocks in (0, 1), squeezed above `stays` where there is one.

        A jump comes when the squared norm has fallen to the clock.
        """
        if self.stays is None:
            return clocks
        floor = self.stays[self.choose(uniforms)]
        return floor + (1.0 - floor) * clocks


def _as_ket(value: Any, name: str) -> Complexes:
    """Return a normalized ket of shape (d,)."""
    if callable(getattr(value, "full", None)):
        value = value.full()
    ket = np.array(value, dtype=np.complex128)
    if ket.ndim == 2 and ket.shape[1] == 1:
        ket = ket[:, 0]
    if ket.ndim != 1 or ket.size == 0:
        raise ModelError(f"`{name}` must be a ket (d,), but has shape {ket.shape}")
    if not np.isfinite(ket).all():
        raise ModelError(f"`{name}` must be finite, but contains NaN or infinity")
    norm = float(np.linalg.norm(ket))
    if abs(norm - 1) > UNIT_TOLERANCE:
        raise ModelError(
            f"`{name}` must have norm 1, but has norm {norm:.12g}; "
            "divide it by its norm"
        )
    return ket


def _from_density_matrix(rho: Complexes) -> Kets:
    """Return the eigenvectors of a density matrix, weighted by its eigenvalues."""
    if rho.shape[0] != rho.shape[1]:
        raise ModelError(
            "`initial` must be a ket (d,) or a density matrix (d, d), "
            f"but has shape {rho.shape}"
        )
    if not np.isfinite(rho).all():
        raise ModelError("`initial` must be finite, but contains NaN or infinity")
    defect = float(np.abs(rho - rho.conj().T).max())
    if defect > HERMITIAN_TOLERANCE * max(1.0, float(np.abs(rho).max())):
        raise ModelError(
            "`initial` must be Hermitian as a density matrix, "
            f"but max |rho - rho^dag| is {defect:.3g}; "
            "write a set of orbitals as Orbitals(U)"
        )
    trace = float(np.trace(rho).real)
    if abs(trace - 1) > UNIT_TOLERANCE:
        raise ModelError(
            "`initial` must have trace 1 as a density matrix, but has trace "
            f"{trace:.12g}; write a mixture as a list of (weight, ket)"
        )
    weights, vectors = np.linalg.eigh(rho)
    if weights[0] < -UNIT_TOLERANCE:
        raise ModelError(
            "`initial` must be positive semi-definite, "
            f"but has the eigenvalue {weights[0]:.3g}"
        )
    kept = weights > 1e-14
    return Kets(
        read_only(weights[kept]), read_only(np.ascontiguousarray(vectors.T[kept]))
    )


def _is_weighted_list(value: Any) -> bool:
    """Tell a list of (weight, ket) from a ket or matrix given as nested lists."""
    return isinstance(value, Sequence) and all(
        isinstance(item, Sequence)
        and len(item) == 2
        and np.ndim(item[0]) == 0
        and (np.ndim(item[1]) > 0 or callable(getattr(item[1], "full", None)))
        for item in value
    )


def _from_weighted_list(pairs: Sequence[Any]) -> Kets:
    """Return the mixture of a list of (weight, ket)."""
    if not pairs:
        raise ModelError("`initial` must hold at least one (weight, ket), but is empty")
    weights = np.array([pair[0] for pair in pairs], dtype=np.float64)
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ModelError(
            f"`initial` must have finite weights >= 0, but has {weights.tolist()}"
        )
    if abs(weights.sum() - 1) > UNIT_TOLERANCE:
        raise ModelError(
            f"`initial` must have weights summing to 1, but their sum is "
            f"{weights.sum():.12g}"
        )
    kets = [_as_ket(pair[1], f"initial[{m}]") for m, pair in enumerate(pairs)]
    sizes = {ket.size for ket in kets}
    if len(sizes) > 1:
        raise ModelError(
            f"`initial` must hold kets of one dimension, but has {sorted(sizes)}"
        )
    return Kets(read_only(weights), read_only(np.array(kets)))


def as_initial(value: Any) -> Kets | Orbitals:
    """Return the initial state that `value` describes.

    Parameters
    ----------
    value : array_like, Qobj, list, Orbitals or Occupations
        A ket (d,), a density matrix (d, d) whose eigenvectors the trajectories sample,
        a list of (weight, ket), `Orbitals(U)` of shape (sites, particles), or
        `Occupations(n)`.

    Raises
    ------
    ModelError
        If it is none of these, not normalized, or not positive.
    """
    if isinstance(value, (Kets, Orbitals)):
        return value
    if isinstance(value, Occupations):
        return value.orbitals()
    if callable(getattr(value, "full", None)):
        value = value.full()
    if _is_weighted_list(value):
        return _from_weighted_list(value)
    if callable(getattr(value, "toarray", None)):
        value = value.toarray()
    try:
        array = np.array(value, dtype=np.complex128)
    except (TypeError, ValueError) as error:
        raise ModelError(
            "`initial` must be a ket (d,), a density matrix (d, d), a list of "
            f"(weight, ket), Orbitals or Occupations, but is {type(value).__name__}"
        ) from error
    if array.ndim == 2 and array.shape[1] > 1:
        return _from_density_matrix(array)
    ket = _as_ket(array, "initial")
    return Kets(read_only(np.ones(1)), read_only(ket[None, :]))
