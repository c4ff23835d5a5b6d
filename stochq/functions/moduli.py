"""Squared moduli of expectation values on single trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from stochq.arrays import Complexes, Floats, Operator, as_operator
from stochq.errors import ModelError
from stochq.functions.base import KETS, MATRICES, ORBITALS

__all__ = ["SquaredCorrelation", "SquaredModulus"]


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
