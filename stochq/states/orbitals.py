"""Gaussian states of free fermions: the orbitals that are filled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from stochq.arrays import Complexes, Floats, Ints, read_only, restore
from stochq.errors import ModelError

__all__ = ["Occupations", "Orbitals"]

#: max |U^dag U - 1| allowed in what a user computed in double precision.
ISOMETRY_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Orbitals:
    """A Slater determinant: one fermion in every column of an isometry U.

    The two-point function is ``G_xy = <c_x^dag c_y> = (conj(U) U^T)_xy``, and a model
    that starts from orbitals is a one-body model: each of its matrices A stands for
    ``sum_xy A_xy c_x^dag c_y``.

    Parameters
    ----------
    matrix : array_like, shape (sites, particles)
        Orthonormal columns, U^dag U = 1.

    Raises
    ------
    ModelError
        If the columns are not orthonormal, or there are more than sites.
    """

    matrix: Complexes
    one_body: ClassVar[bool] = True

    __setstate__ = restore

    def __post_init__(self) -> None:
        """Check that U is an isometry."""
        matrix = np.array(self.matrix, dtype=np.complex128)
        if matrix.ndim != 2 or not 1 <= matrix.shape[1] <= matrix.shape[0]:
            raise ModelError(
                "`Orbitals` must have shape (sites, particles) with "
                f"1 <= particles <= sites, but has shape {matrix.shape}"
            )
        if not np.isfinite(matrix).all():
            raise ModelError("`Orbitals` must be finite, but contains NaN or infinity")
        overlap = matrix.conj().T @ matrix
        defect = float(np.abs(overlap - np.eye(matrix.shape[1])).max())
        if defect > ISOMETRY_TOLERANCE:
            raise ModelError(
                "`Orbitals` must have orthonormal columns, "
                f"but max |U^dag U - 1| is {defect:.3g}"
            )
        object.__setattr__(self, "matrix", read_only(matrix))

    @property
    def dim(self) -> int:
        """Number of sites."""
        return int(self.matrix.shape[0])

    @property
    def particles(self) -> int:
        """Number of fermions."""
        return int(self.matrix.shape[1])

    @property
    def pure(self) -> bool:
        """Whether every trajectory starts alike."""
        return True

    @property
    def probabilities(self) -> Floats:
        """Probability of the one member of the mixture, shape (1,)."""
        return np.ones(1)

    @property
    def columns(self) -> int:
        """Columns of one trajectory's state: one per fermion."""
        return self.particles

    @property
    def support(self) -> Ints:
        """Sites that the orbitals occupy."""
        return np.flatnonzero(np.any(self.matrix != 0, axis=1))

    def restricted(self, basis: Ints) -> Orbitals:
        """Return the same orbitals on some of the sites."""
        return Orbitals(self.matrix[basis])

    def density_matrix(self) -> Complexes:
        """Return the one-body density matrix U U^dag = G^T, shape (sites, sites)."""
        rho: Complexes = self.matrix @ self.matrix.conj().T
        return rho

    def members(self) -> Complexes:
        """Return the one state of the mixture, shape (1, sites, particles)."""
        return self.matrix[None]

    def draw(self, uniforms: Floats) -> Complexes:
        """Return U for each trajectory, shape (n, sites, particles)."""
        return np.broadcast_to(self.matrix, (uniforms.size, *self.matrix.shape))

    def clocks(self, uniforms: Floats, clocks: Floats) -> Floats:
        """Return uniform clocks in (0, 1) as they are."""
        return clocks


@dataclass(frozen=True, eq=False)
class Occupations:
    """A Fock state: n_x fermions (0 or 1) on every site x.

    Parameters
    ----------
    numbers : array_like of int, shape (sites,)
        n_x, at least one of them 1.

    Raises
    ------
    ModelError
        If a number is neither 0 nor 1, or the lattice is empty.
    """

    numbers: Ints

    def __post_init__(self) -> None:
        """Check that the numbers are 0 or 1."""
        given: Any = np.asarray(self.numbers)
        if given.ndim != 1 or given.dtype.kind not in "biuf":
            raise ModelError(
                "`Occupations` must be numbers of shape (sites,), "
                f"but has shape {given.shape} and type {given.dtype}"
            )
        if not np.isin(given, (0, 1)).all():
            raise ModelError(
                f"`Occupations` must be 0 or 1 on every site, but are {given.tolist()}"
            )
        if not given.any():
            raise ModelError("`Occupations` must fill at least one site, but are all 0")
        object.__setattr__(self, "numbers", read_only(given.astype(np.int64)))

    def orbitals(self) -> Orbitals:
        """Return the same state as orbitals: one unit vector per filled site."""
        return Orbitals(np.eye(self.numbers.size, dtype=complex)[:, self.numbers == 1])
