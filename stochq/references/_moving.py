"""Matrices that depend on time: sums of constant ones times products of envelopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Complexes, Floats, Operator
from stochq.envelopes import Envelope, evaluate
from stochq.superoperator import Term

__all__ = ["Moving", "Products"]

#: Matrices of so few elements are multiplied faster when dense, on one thread.
DENSE_ENTRIES = 2**12


class Products:
    """The distinct products of envelopes c_a(t) of a sum of terms.

    Attributes
    ----------
    members : list of Envelope
        The distinct envelopes.
    size : int
        Number of distinct products A.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        members = {id(f): f for factors, _ in terms for f in factors}
        self.members: list[Envelope] = list(members.values())
        self._place = {key: k for k, key in enumerate(members)}
        distinct = dict.fromkeys(self._product(term) for term in terms)
        self._products = [list(product) for product in distinct]
        self._column = {product: a for a, product in enumerate(distinct)}
        self.size = len(distinct)

    def _product(self, term: Term) -> tuple[int, ...]:
        """Return which envelopes multiply a term, in a fixed order."""
        return tuple(sorted(self._place[id(f)] for f in term.factors))

    def gathered(self, terms: Sequence[Term]) -> list[tuple[int, Operator]]:
        """Return pairs of the product that multiplies a matrix, and the matrix."""
        return [(self._column[self._product(t)], t.operator) for t in terms]

    def at(self, t: float) -> Floats:
        """Return c_a(t), shape (A,)."""
        time = np.array([t], dtype=np.float64)
        values = np.array([evaluate(f, time)[0] for f in self.members])
        return np.array([values[product].prod() for product in self._products])


class Moving:
    """sum_a c_a(t) G_a of sparse matrices.

    Parameters
    ----------
    terms : sequence of (a, matrix)
        Which product multiplies each matrix.
    shape : (int, int)
        Of every matrix (m, n).
    size : int
        Number of products A.
    """

    def __init__(
        self, terms: Sequence[tuple[int, Operator]], shape: tuple[int, int], size: int
    ) -> None:
        sums = [sp.csr_array(shape, dtype=np.complex128) for _ in range(size)]
        for a, matrix in terms:
            sums[a] = sums[a] + matrix
        self._size = size
        self._stacked: Any = sp.vstack(sums, format="csr")
        if size * shape[0] * shape[1] <= DENSE_ENTRIES:
            self._stacked = self._stacked.toarray()

    def applied(self, coefficients: Floats, states: Complexes) -> Complexes:
        """Return sum_a c_a G_a x for the coefficients (A,) and states (n, ...)."""
        images: Complexes = self._stacked @ states
        total = coefficients @ images.reshape(self._size, -1)
        return np.asarray(total.reshape(-1, *states.shape[1:]), dtype=np.complex128)
