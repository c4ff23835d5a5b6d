"""Linear algebra of orbitals: kernels on one isometry U of shape (sites, particles).

The columns are the lanes, innermost in memory, so that every loop runs along a row. A
mode v meets the orbitals in the row of amplitudes ``v^dag U``; its occupation is the
square of that row. A unitary that mixes the columns changes no physics.

Rounding errors must not grow: a projection turns the columns by one reflection and then
touches the first column only, and what is not unitary is followed by a Cholesky
orthonormalization, exact to rounding for columns that are nearly orthonormal.
"""

from __future__ import annotations

import numpy as np

from stochq.jit import kernel

__all__ = [
    "amplitudes",
    "eliminate",
    "gram_matrix",
    "kick",
    "orthonormalize",
    "project",
    "square",
]

#: Rows that a blocked loop keeps in cache.
CHUNK = 32

#: Partial sums of a sum along a row, so that it is vectorized in a fixed order.
SUMS = 16

#: What is left of an orbital, squared, below which it is made orthogonal once more.
SMALL_REST = 0.1


@kernel
def amplitudes(v, x, row):
    """Write the row v^dag U, shape (2, particles), for a mode v, shape (2, sites)."""
    lanes = x.shape[2]
    for w in range(lanes):
        row[0, w] = 0.0
        row[1, w] = 0.0
    for i in range(x.shape[1]):
        p, q = v[0, i], v[1, i]
        if p != 0.0 or q != 0.0:
            for w in range(lanes):
                row[0, w] += p * x[0, i, w] + q * x[1, i, w]
                row[1, w] += p * x[1, i, w] - q * x[0, i, w]


@kernel
def square(row):
    """Return |r|^2 of a row."""
    total = 0.0
    for w in range(row.shape[1]):
        total += row[0, w] * row[0, w] + row[1, w] * row[1, w]
    return total


@kernel
def kick(v, row, x):
    """Apply 1 - 2 v v^dag, given the row v^dag U."""
    for i in range(x.shape[1]):
        p, q = 2.0 * v[0, i], 2.0 * v[1, i]
        if p != 0.0 or q != 0.0:
            for w in range(row.shape[1]):
                x[0, i, w] -= p * row[0, w] - q * row[1, w]
                x[1, i, w] -= p * row[1, w] + q * row[0, w]


@kernel
def _reflected(x, row, sums):
    """Turn the columns by a reflection W with r W = (alpha, 0, ..., 0); return alpha.

    W = 1 - 2 w w^dag / |w|^2 with w = r^dag + exp(-i arg r_0) |r| e_0 adds numbers of
    one sign only. ``row`` becomes w^dag.
    """
    lanes = row.shape[1]
    size = np.sqrt(square(row))
    first = np.hypot(row[0, 0], row[1, 0])
    re, im = (row[0, 0] / first, row[1, 0] / first) if first > 0.0 else (1.0, 0.0)
    if size == 0.0:
        return 0.0, 0.0
    row[0, 0] += re * size
    row[1, 0] += im * size
    beta = 2.0 / square(row)
    whole = lanes - lanes % SUMS
    for i in range(x.shape[1]):
        for k in range(SUMS):
            sums[0, k] = 0.0
            sums[1, k] = 0.0
        for start in range(0, whole, SUMS):
            for k in range(SUMS):
                w = start + k
                sums[0, k] += x[0, i, w] * row[0, w] + x[1, i, w] * row[1, w]
                sums[1, k] += x[1, i, w] * row[0, w] - x[0, i, w] * row[1, w]
        a = b = 0.0
        for w in range(whole, lanes):
            a += x[0, i, w] * row[0, w] + x[1, i, w] * row[1, w]
            b += x[1, i, w] * row[0, w] - x[0, i, w] * row[1, w]
        for k in range(SUMS):
            a += sums[0, k]
            b += sums[1, k]
        a *= beta
        b *= beta
        for w in range(lanes):
            x[0, i, w] -= a * row[0, w] - b * row[1, w]
            x[1, i, w] -= a * row[1, w] + b * row[0, w]
    return -re * size, -im * size


@kernel
def project(v, occupied, row, x, sums):
    """Project the fermions onto one or none in a mode v, given the row v^dag U.

    After a reflection of the columns only the first of them overlaps with v: it becomes
    v, or loses its part along v. ``row`` is used up.
    """
    a, b = _reflected(x, row, sums)
    norm = 0.0
    for i in range(x.shape[1]):
        p, q = v[0, i], v[1, i]
        if occupied:
            x[0, i, 0] = p
            x[1, i, 0] = q
        else:
            x[0, i, 0] -= p * a - q * b
            x[1, i, 0] -= p * b + q * a
        norm += x[0, i, 0] * x[0, i, 0] + x[1, i, 0] * x[1, i, 0]
    if not occupied and norm < SMALL_REST:
        norm = _cleaned(x, row)
    scale = 1.0 / np.sqrt(norm)
    for i in range(x.shape[1]):
        x[0, i, 0] *= scale
        x[1, i, 0] *= scale


@kernel
def _cleaned(x, row):
    """Take from the first column what lies along the others; return its square.

    A small rest of it carries large relative errors.
    """
    lanes = x.shape[2]
    for w in range(lanes):
        row[0, w] = 0.0
        row[1, w] = 0.0
    for i in range(x.shape[1]):
        p, q = x[0, i, 0], x[1, i, 0]
        for w in range(1, lanes):
            row[0, w] += x[0, i, w] * p + x[1, i, w] * q
            row[1, w] += x[0, i, w] * q - x[1, i, w] * p
    norm = 0.0
    for i in range(x.shape[1]):
        for w in range(1, lanes):
            x[0, i, 0] -= x[0, i, w] * row[0, w] - x[1, i, w] * row[1, w]
            x[1, i, 0] -= x[0, i, w] * row[1, w] + x[1, i, w] * row[0, w]
        norm += x[0, i, 0] * x[0, i, 0] + x[1, i, 0] * x[1, i, 0]
    return norm


@kernel
def gram_matrix(x, columns, gram):
    """Write X^dag X on and below the diagonal, for the first columns of X."""
    rows = x.shape[1]
    for i in range(columns):
        for j in range(i + 1):
            gram[0, i, j] = 0.0
            gram[1, i, j] = 0.0
    for start in range(0, rows, CHUNK):
        stop = min(start + CHUNK, rows)
        for i in range(columns):
            for r in range(start, stop):
                p, q = x[0, r, i], x[1, r, i]
                for j in range(i + 1):
                    gram[0, i, j] += p * x[0, r, j] + q * x[1, r, j]
                for j in range(i + 1):
                    gram[1, i, j] += p * x[1, r, j] - q * x[0, r, j]


@kernel
def eliminate(gram, k, factor, start, stop):
    """Subtract factor conj(g_ki) g_k from the rows i < k of a Hermitian matrix.

    Rows are those from `start` to `stop`; what is above the diagonal is not used.
    """
    for i in range(start, min(stop, k)):
        p, q = factor * gram[0, k, i], -factor * gram[1, k, i]
        if p != 0.0 or q != 0.0:
            for j in range(i + 1):
                gram[0, i, j] -= p * gram[0, k, j] - q * gram[1, k, j]
            for j in range(i + 1):
                gram[1, i, j] -= p * gram[1, k, j] + q * gram[0, k, j]


@kernel
def orthonormalize(x, gram):
    """Make the columns of U orthonormal by Cholesky; return ln det U^dag U before.

    U^dag U = B^dag D B with B unit lower triangular; U becomes U B^-1 D^-1/2. D B is
    what is left in ``gram``. Columns go from the last to the first, so that all rows
    begin at the left.
    """
    rows, lanes = x.shape[1], x.shape[2]
    gram_matrix(x, lanes, gram)
    for above in range(lanes, 0, -CHUNK):
        start = max(above - CHUNK, 0)
        for k in range(lanes - 1, start, -1):
            eliminate(gram, k, 1.0 / gram[0, k, k], start, above)
    total = 0.0
    for k in range(lanes):
        total += np.log(gram[0, k, k])
    for start in range(0, rows, CHUNK):
        stop = min(start + CHUNK, rows)
        for k in range(lanes - 1, -1, -1):
            inverse = 1.0 / gram[0, k, k]
            scale = np.sqrt(inverse)
            for r in range(start, stop):
                p, q = x[0, r, k] * inverse, x[1, r, k] * inverse
                for j in range(k):
                    x[0, r, j] -= p * gram[0, k, j] - q * gram[1, k, j]
                for j in range(k):
                    x[1, r, j] -= p * gram[1, k, j] + q * gram[0, k, j]
                x[0, r, k] *= scale
                x[1, r, k] *= scale
    return total
