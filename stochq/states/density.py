"""Density matrices as vectors: what a trajectory is where not all is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stochq.arrays import Complexes, Floats, Ints

__all__ = ["DensityMatrix"]


@dataclass(frozen=True, eq=False)
class DensityMatrix:
    """The elements of rho that can be reached, row after row; every trajectory's start.

    Attributes
    ----------
    vector : ndarray, shape (n,)
        Elements of rho, of trace one.
    elements : ndarray of int, shape (n,)
        Which elements of ``rho.ravel()`` they are, ascending.
    side : int
        Rows of rho.
    """

    vector: Complexes
    elements: Ints
    side: int
    one_body: ClassVar[bool] = False

    @property
    def dim(self) -> int:
        """Number n of elements."""
        return int(self.vector.size)

    @property
    def pure(self) -> bool:
        """Whether every trajectory starts alike."""
        return True

    @property
    def probabilities(self) -> Floats:
        """Probability of the one start, shape (1,)."""
        return np.ones(1)

    @property
    def columns(self) -> int:
        """Columns of one trajectory's state."""
        return 1

    @property
    def support(self) -> Ints:
        """Which of the elements are not zero."""
        return np.flatnonzero(self.vector)

    @property
    def diagonal(self) -> Ints:
        """Where the diagonal elements are, whose sum is the trace."""
        return np.flatnonzero(self.elements % (self.side + 1) == 0)

    def restricted(self, basis: Ints) -> DensityMatrix:
        """Return the same matrix, some of its elements only."""
        return DensityMatrix(self.vector[basis], self.elements[basis], self.side)

    def density_matrix(self) -> Complexes:
        """Return rho, shape (side, side)."""
        return self.matrix(self.vector)

    def matrix(self, vector: Complexes) -> Complexes:
        """Return the matrix with these elements, shape (side, side)."""
        rho = np.zeros(self.side**2, dtype=np.complex128)
        rho[self.elements] = vector
        return rho.reshape(self.side, self.side)

    def members(self) -> Complexes:
        """Return the one start, shape (1, n)."""
        return self.vector[None]

    def draw(self, uniforms: Floats) -> Complexes:
        """Return the start of each trajectory, shape (n_traj, n)."""
        return np.broadcast_to(self.vector, (uniforms.size, self.dim))

    def clocks(self, uniforms: Floats, clocks: Floats) -> Floats:
        """Return uniform clocks in (0, 1) as they are."""
        return clocks
