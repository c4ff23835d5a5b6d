r"""The flow as a Taylor series, prepared: nothing of it is a dense matrix.

On a piece of time where the functions f_m are polynomials,

.. math:: \psi(t + s) = \sum_k \psi_k s^k, \qquad
    (k + 1)\, \psi_{k+1} = \sum_m A_m \sum_l a_{m,l}\, \psi_{k-l}

with A_0 = -i H_eff of what is constant, -i H_m for drives with a = f_m, and
-(1/2) sum c^dag c for jumps of one strength f with a = f^2. Steps and the number of
terms follow from bounds on the norms of the A_m.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Floats, Ints, Operator, adjoint, summed
from stochq.lowering import Dynamics
from stochq.schemes.pieces import (
    Pieces,
    constant_pieces,
    held_pieces,
    polynomial_pieces,
)
from stochq.schemes.traits import StepGrid
from stochq.structure import Sparse, blocks, pack

__all__ = [
    "Series",
    "Terms",
    "flow_terms",
    "norm_bound",
    "series_work",
    "taylor_series",
]

#: Norm of the generator times the longest step, what the terms left out may add to a
#: state of norm 1, and most terms.
REACH, LEFT_OUT, MOST_TERMS = 3.0, 1e-17, 80

#: Terms of a step of full length.
TYPICAL_TERMS = 30

#: Powers of a matrix in the bound of its norm.
POWERS = 16

#: Parts that the basis is cut into at most, so that a state in few of them costs less.
PARTS = 16

#: Bytes of the series of the lanes that are carried side by side, and their number.
SERIES_BYTES, FEWEST, MOST_LANES = 2**22, 8, 64


class Real(NamedTuple):
    """A stack of real CSR matrices."""

    indptr: Ints
    indices: Ints
    data: Floats


class Series(NamedTuple):
    """What the kernel needs to carry states by Taylor series.

    Basis states are in the order ``order``; a state that vanishes outside the rows
    ``parts[a]`` to ``parts[b]`` stays there until it jumps. ``even`` and ``odd`` stack
    the real and imaginary parts of the A_m; ``rate_of`` is the number m of the term
    whose function is the rate of each jump, 0 for a constant one. On piece n term
    m > 0 has the polynomial ``powers[n, m - 1]`` of (t - middle) / half, and no step
    is longer than ``longest``, by which A_0 is multiplied if there is no other term.
    """

    channels: int
    terms: int
    lanes: int
    order: Ints
    parts: Ints
    even: Real
    odd: Real
    jumps: Sparse
    rates: Sparse
    rate_of: Ints
    edges: Floats
    middle: Floats
    half: Floats
    powers: Floats
    longest: Floats


class Terms(NamedTuple):
    """The A_m, the functions of those after the first, and the term of each jump."""

    matrices: list[Operator]
    functions: list[tuple[int, bool]]
    rate_of: list[int]


def flow_terms(dynamics: Dynamics, with_drives: bool) -> Terms:
    """Return the terms of the generator; functions are (number, squared)."""
    of_drives = dynamics.function_of[: len(dynamics.drives)].tolist()
    of_jumps = dynamics.jump_function_of.tolist()
    losses = [-0.5 * (adjoint(c) @ c) for c in dynamics.jumps]
    constant = [L for f, L in zip(of_jumps, losses, strict=True) if f < 0]
    moved: dict[tuple[int, bool], list[Operator]] = {}
    for f, H in zip(of_drives, dynamics.drives, strict=True):
        if f < 0:
            constant.append(-1j * H)
        elif with_drives:
            moved.setdefault((f, False), []).append(-1j * H)
    for f, L in zip(of_jumps, losses, strict=True):
        if f >= 0:
            moved.setdefault((f, True), []).append(L)
    zero = 0.0 * dynamics.hamiltonian
    matrices = [summed(-1j * dynamics.hamiltonian, [*constant, dynamics.gain])]
    matrices += [summed(zero, terms) for terms in moved.values()]
    functions = list(moved)
    rate_of = [1 + functions.index((f, True)) if f >= 0 else 0 for f in of_jumps]
    return Terms(matrices, functions, rate_of)


def norm_bound(matrix: Operator) -> float:
    """Return a bound on the 2-norm of a matrix from products with vectors.

    With B >= |A| symmetric and v > 0, the 2-norm of B is at most max (B v)_i / v_i
    (Collatz); repeated products make v the eigenvector.
    """
    size = abs(matrix)
    size = sp.csr_array(size.maximum(size.T))
    v = np.ones(matrix.shape[0])
    bound = np.inf
    for _ in range(POWERS):
        image = size @ v
        bound = min(bound, float((image / v).max(initial=0.0)))
        # a part of the old vector keeps isolated rows positive
        v = image / max(float(image.max()), 1e-300) + 0.1 * v
    return bound


def series_work(generator: Operator, duration: float) -> float:
    """Return the products that a series costs over a duration [complex numbers]."""
    steps = np.ceil(norm_bound(generator) * duration / REACH)
    return float(TYPICAL_TERMS * generator.nnz * max(1.0, steps))


def _parts(matrices: Sequence[Operator]) -> tuple[Ints, Ints]:
    """Return an order of the basis in which blocks are together, and their edges."""
    pattern = summed(abs(matrices[0]), [abs(A) for A in matrices[1:]])
    dim = pattern.shape[0]
    found = blocks(pattern)
    loose = np.setdiff1d(np.arange(dim), np.concatenate([*found, np.zeros(0, int)]))
    order = np.concatenate([*found, loose]).astype(np.int64)
    sizes = [len(members) for members in found] + [1] * len(loose)
    ends = np.cumsum(sizes)
    wanted = dim * np.arange(1, PARTS + 1) / PARTS
    edges = np.unique(ends[np.searchsorted(ends, wanted - 0.5)])
    return order, np.concatenate(([0], edges)).astype(np.int64)


def _stacked(matrices: Sequence[Operator], order: Ints) -> tuple[Real, Real]:
    """Return the real and the imaginary parts of matrices, row over row."""
    stacked = sp.vstack([A[order][:, order] for A in matrices], format="csr")
    return _real(stacked.real), _real(stacked.imag)


def _real(matrix: Operator) -> Real:
    """Return a CSR matrix without zeros as arrays."""
    matrix = sp.csr_array(matrix, dtype=np.float64)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return Real(
        matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data
    )


def _longest(pieces: Pieces, norms: Floats) -> Floats:
    """Return the longest step on each piece (N,) for norms of the A_m (M,)."""
    reach = np.abs(pieces.powers).sum(axis=2)  # at least the largest |f|
    speed = norms[0] + reach @ norms[1:]
    longest: Floats = np.minimum(
        np.diff(pieces.edges), REACH / np.maximum(speed, 1e-300)
    )
    return longest


def _count(pieces: Pieces, longest: Floats, norms: Floats) -> int:
    """Return how many terms all pieces need.

    The terms are bounded by those of the scalar equation e' = sum_m |A_m| |a_m| e.
    """
    degree = pieces.powers.shape[2]
    speed = np.zeros((longest.size, degree))
    speed[:, 0] = norms[0]
    sizes = np.einsum("m,nml->nl", norms[1:], np.abs(pieces.powers))
    scaled = longest / pieces.half
    for power in range(degree):
        shifted = [comb(j, power) * sizes[:, j] for j in range(power, degree)]
        speed[:, power] += np.sum(shifted, axis=0) * scaled**power
    terms = [np.ones(longest.size)]
    while len(terms) < MOST_TERMS:
        k = len(terms) - 1
        parts = [speed[:, m] * terms[k - m] for m in range(min(k + 1, degree))]
        terms.append(longest * np.sum(parts, axis=0) / (k + 1))
        if len(terms) > degree and max(t.max() for t in terms[-3:]) < LEFT_OUT:
            break
    return len(terms) - 1


def taylor_series(dynamics: Dynamics, grid: StepGrid, frozen: bool) -> Series:
    """Return the series of the flow, drives included, over the times of a grid.

    Frozen, functions of time hold their averages over every step and drives are left
    to others.
    """
    found = flow_terms(dynamics, with_drives=not frozen)
    matrices = found.matrices
    pieces = _pieces(dynamics, found, grid, frozen)
    norms = np.array([norm_bound(A) for A in matrices])
    longest = np.minimum(_longest(pieces, norms), max(grid.lengths, default=1.0))
    terms = _count(pieces, longest, norms)
    order, parts = _parts(matrices)
    if not found.functions:
        matrices = [longest[0] * matrices[0]]
    even, odd = _stacked(matrices, order)
    jumps = [c[order][:, order] for c in dynamics.jumps]
    per_lane = 16 * dynamics.dim * (terms + 3)
    lanes = int(np.clip(SERIES_BYTES // per_lane // 8 * 8, FEWEST, MOST_LANES))
    return Series(
        channels=len(jumps),
        terms=terms,
        lanes=lanes,
        order=order,
        parts=parts,
        even=even,
        odd=odd,
        jumps=pack(jumps),
        rates=pack([adjoint(c) @ c for c in jumps]),
        rate_of=np.array(found.rate_of, dtype=np.int64),
        edges=pieces.edges,
        middle=pieces.middle,
        half=pieces.half,
        powers=np.ascontiguousarray(pieces.powers),
        longest=longest,
    )


def _pieces(dynamics: Dynamics, found: Terms, grid: StepGrid, frozen: bool) -> Pieces:
    """Return the functions of the terms on pieces of time."""
    if not grid.counts or not found.functions:
        start = float(grid.start[0]) if grid.counts else 0.0
        return constant_pieces(start, len(found.functions))
    starts, stops = grid.edges()
    if not frozen:
        functions = [(dynamics.functions[f], squared) for f, squared in found.functions]
        return polynomial_pieces(functions, float(starts[0]), float(stops[-1]))
    table = dynamics.table(starts, stops)
    columns = [f + squared * len(dynamics.functions) for f, squared in found.functions]
    return held_pieces(np.append(starts, stops[-1]), np.square(table[:, columns]))
