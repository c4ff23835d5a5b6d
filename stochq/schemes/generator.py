"""The generator of a step, a sum of terms with a coefficient each for every trajectory.

    g = drift + squares + channels + commutators

with the drift D = -iH, squares S = (1/2) sum L_j L_k, channels M_j = -i L_j and
commutators [M_j, M_k] of those that do not commute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Floats, Ints, Operator
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.lanes import clear
from stochq.structure import commute

__all__ = [
    "CHANNEL",
    "COMMUTATOR",
    "DRIFT",
    "SQUARE",
    "Generator",
    "apply_generator",
    "pack_generator",
    "square_terms",
    "strength",
]

#: Kinds of terms.
DRIFT, SQUARE, CHANNEL, COMMUTATOR = 0, 1, 2, 3


class Generator(NamedTuple):
    """The elements of all terms, row by row.

    ``term`` says which term an element belongs to. Every term has a ``kind``; a channel
    or commutator has the numbers of its channels in ``pair``; a square or commutator
    has up to two functions of time in ``function`` (-1: none). ``pairs`` counts the
    commutators.
    """

    indptr: Ints
    column: Ints
    term: Ints
    re: Floats
    im: Floats
    kind: Ints
    pair: Ints
    function: Ints
    pairs: int


class _Term(NamedTuple):
    """One operator of the generator, before packing."""

    kind: int
    operator: Operator
    pair: tuple[int, int] = (-1, -1)
    function: tuple[int, int] = (-1, -1)


def square_terms(dynamics: Dynamics) -> list[_Term]:
    """Return (1/2) sum L_j L_k, one term for every pair of functions of time."""
    of = dynamics.column_of[len(dynamics.drives) :].tolist()
    if dynamics.mixing is None:
        products = [((f, f), L @ L) for f, L in zip(of, dynamics.noise, strict=True)]
    else:
        covariance = sp.coo_array(dynamics.mixing @ dynamics.mixing.T)
        rows, columns = covariance.coords
        products = [
            ((of[j], of[k]), c * (dynamics.noise[j] @ dynamics.noise[k]))
            for j, k, c in zip(rows, columns, covariance.data, strict=True)
        ]
    totals: dict[tuple[int, int], Operator] = {}
    for functions, product in products:
        a, b = sorted(functions)
        totals[a, b] = totals.get((a, b), 0.0 * product) + 0.5 * product
    return [_Term(SQUARE, S, function=f) for f, S in totals.items()]


def _commutators(dynamics: Dynamics) -> list[_Term]:
    """Return [M_j, M_k], j < k, of the noise channels that do not commute."""
    first = len(dynamics.drives)
    touching: dict[int, list[int]] = {}
    terms = []
    for k, L in enumerate(dynamics.noise):
        rows = np.flatnonzero(np.diff(L.indptr)).tolist()
        for j in sorted({j for row in rows for j in touching.get(row, ())}):
            other = dynamics.noise[j]
            if not commute(other, L):
                f = dynamics.column_of[[first + j, first + k]].tolist()
                bracket = L @ other - other @ L  # (-i)^2 [L_j, L_k]
                terms.append(
                    _Term(COMMUTATOR, bracket, (first + j, first + k), (f[0], f[1]))
                )
        for row in rows:
            touching.setdefault(row, []).append(k)
    return terms


def pack_generator(
    dynamics: Dynamics, *, squares: bool = False, areas: bool = False
) -> Generator:
    """Return the terms of a lowered model, ready for a kernel."""
    terms = [_Term(DRIFT, -1j * dynamics.hamiltonian)]
    if squares:
        terms += square_terms(dynamics)
    for j, operator in enumerate(dynamics.channels):
        terms.append(_Term(CHANNEL, -1j * operator, (j, -1)))
    if areas:
        terms += _commutators(dynamics)
    return _packed(terms)


def _packed(terms: Sequence[_Term]) -> Generator:
    """Return terms as one list of elements, ordered by row and then by term."""
    parts = [sp.coo_array(term.operator) for term in terms]
    rows = np.concatenate([part.coords[0] for part in parts])
    columns = np.concatenate([part.coords[1] for part in parts])
    data = np.concatenate([part.data for part in parts])
    owner = np.repeat(np.arange(len(parts)), [part.nnz for part in parts])
    order = np.lexsort((columns, owner, rows))
    dim = terms[0].operator.shape[0]
    return Generator(
        indptr=np.searchsorted(rows[order], np.arange(dim + 1)).astype(np.int64),
        column=columns[order].astype(np.int64),
        term=owner[order].astype(np.int64),
        re=np.ascontiguousarray(data[order].real),
        im=np.ascontiguousarray(data[order].imag),
        kind=np.array([term.kind for term in terms], dtype=np.int64),
        pair=np.array([term.pair for term in terms], dtype=np.int64),
        function=np.array([term.function for term in terms], dtype=np.int64),
        pairs=sum(term.kind == COMMUTATOR for term in terms),
    )


@kernel
def strength(generator, table, q, step):
    """Return the product of the functions of time of a term at one step."""
    value = 1.0
    for side in range(2):
        column = generator.function[q, side]
        if column >= 0:
            value *= table[step, column]
    return value


@kernel
def apply_generator(generator, weights, x, y):
    """Write y = g x for the coefficients `weights`, shape (terms, W)."""
    dim, lanes = x.shape[1], x.shape[2]
    for i in range(dim):
        clear(y[0, i])
        clear(y[1, i])
        for e in range(generator.indptr[i], generator.indptr[i + 1]):
            q, j = generator.term[e], generator.column[e]
            a, b = generator.re[e], generator.im[e]
            if a == 0.0:
                for w in range(lanes):
                    s = b * weights[q, w]
                    y[0, i, w] -= s * x[1, j, w]
                    y[1, i, w] += s * x[0, j, w]
            else:
                for w in range(lanes):
                    s, t = a * weights[q, w], b * weights[q, w]
                    y[0, i, w] += s * x[0, j, w] - t * x[1, j, w]
                    y[1, i, w] += s * x[1, j, w] + t * x[0, j, w]
