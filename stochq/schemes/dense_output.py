"""The Taylor series of a group of lanes: terms, sums, and where S meets a level.

Rows of the series hold the real parts of all lanes and then their imaginary parts, so
that a real matrix element acts on both in one loop, and an imaginary one on a copy that
is multiplied by i.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.jit import kernel

__all__ = ["TOLERANCE", "Work", "expand", "solve", "sum_series", "work_space"]

#: Largest |ln(S / u)| that a jump time is left with, unless rounding is coarser.
TOLERANCE = 1e-13


class Work(NamedTuple):
    """Work space of a round of at most W lanes.

    ``y[k]`` is k! tau^k psi_k, shape (d, 2 W); ``factor[m, l]`` is tau^(l + 1) a_{m,l};
    ``sigma`` is the place on the series, in units of tau, ``end`` that of the end of
    the step.
    """

    y: Floats
    z: Floats
    turned: Floats
    factor: Floats
    weight: Floats
    rise: Floats
    change: Floats
    square: Floats
    slope: Floats
    sigma: Floats
    end: Floats
    level: Floats
    lane: Ints


@kernel
def work_space(terms, dim, limit, functions, degree):
    """Return work space."""
    wide = 2 * limit
    return Work(
        np.empty((terms + 1, dim, wide)),
        np.empty((dim, wide)),
        np.empty((dim, wide)),
        np.zeros((1 + functions, degree, wide)),
        np.empty((terms + 1, wide)),
        np.empty((terms + 1, wide)),
        np.empty(wide),
        np.empty(wide),
        np.empty(wide),
        np.empty(limit),
        np.empty(limit),
        np.empty(limit),
        np.empty(limit, dtype=np.int64),
    )


@kernel
def _add_product(matrix, first_row, low, high, source, wide, out):
    """Add M source to rows low ... high of out, M real."""
    for i in range(low, high):
        row = first_row + i
        p, end = matrix.indptr[row], matrix.indptr[row + 1]
        while p + 1 < end:  # two at a time: half the traffic of out
            j, a = matrix.indices[p], matrix.data[p]
            k, b = matrix.indices[p + 1], matrix.data[p + 1]
            for w in range(wide):
                out[i, w] += a * source[j, w] + b * source[k, w]
            p += 2
        if p < end:
            j, a = matrix.indices[p], matrix.data[p]
            for w in range(wide):
                out[i, w] += a * source[j, w]


@kernel
def _times_i(source, low, high, width, out):
    """Write i times a state."""
    for i in range(low, high):
        for w in range(width):
            out[i, w] = -source[i, width + w]
        for w in range(width):
            out[i, width + w] = source[i, w]


@kernel
def _convolve(work, m, k, low, high, wide):
    """Write z = sum_l factor[m, l] k! / (k - l)! y_{k-l}."""
    y, z, factor = work.y, work.z, work.factor
    for i in range(low, high):
        for w in range(wide):
            z[i, w] = 0.0
        falling = 1.0
        for power in range(min(k + 1, factor.shape[1])):
            for w in range(wide):
                z[i, w] += falling * factor[m, power, w] * y[k - power, i, w]
            falling *= k - power


@kernel
def _scale(work, new, low, high, wide):
    """Multiply the term of A_0 by tau, which depends on the lane."""
    for i in range(low, high):
        for w in range(wide):
            new[i, w] *= work.factor[0, 0, w]


@kernel
def expand(flow, work, low, high, width):
    """Write the terms 1 ... of the series from term 0.

    Without functions of time A_0 has tau in it already.
    """
    y, dim, wide = work.y, work.y.shape[1], 2 * width
    functions = flow.powers.shape[1]
    for k in range(flow.terms):
        new = y[k + 1]
        for i in range(low, high):
            for w in range(wide):
                new[i, w] = 0.0
        _times_i(y[k], low, high, width, work.turned)
        _add_product(flow.even, 0 * dim, low, high, y[k], wide, new)
        _add_product(flow.odd, 0 * dim, low, high, work.turned, wide, new)
        for m in range(1, functions + 1):
            if m == 1:
                _scale(work, new, low, high, wide)
            _convolve(work, m, k, low, high, wide)
            _times_i(work.z, low, high, width, work.turned)
            _add_product(flow.even, m * dim, low, high, work.z, wide, new)
            _add_product(flow.odd, m * dim, low, high, work.turned, wide, new)


@kernel
def _set_weights(terms, work, width):
    """Write sigma^k / k! and its derivative."""
    weight, rise = work.weight, work.rise
    for w in range(2 * width):
        weight[0, w], rise[0, w] = 1.0, 0.0
    for k in range(terms):
        for w in range(2 * width):
            weight[k + 1, w] = weight[k, w] * work.sigma[w % width] / (k + 1.0)
            rise[k + 1, w] = weight[k, w]


@kernel
def sum_series(terms, work, low, high, width):
    """Write psi into z, S and dS/dsigma, all at sigma."""
    wide = 2 * width
    y, z, weight, rise = work.y, work.z, work.weight, work.rise
    square, slope, change = work.square, work.slope, work.change
    _set_weights(terms, work, width)
    square[:wide], slope[:wide] = 0.0, 0.0
    for i in range(low, high):
        for w in range(wide):
            z[i, w] = y[0, i, w]
        for w in range(wide):
            change[w] = 0.0
        for k in range(1, terms + 1):
            for w in range(wide):
                z[i, w] += weight[k, w] * y[k, i, w]
            for w in range(wide):
                change[w] += rise[k, w] * y[k, i, w]
        for w in range(wide):
            square[w] += z[i, w] * z[i, w]
        for w in range(wide):
            slope[w] += 2.0 * z[i, w] * change[w]
    for w in range(width):
        square[w] += square[width + w]
        slope[w] += slope[width + w]


@kernel
def _guess(start, rise, stop, fall, end):
    """Return where the cubic with these values and slopes at 0 and `end` vanishes.

    ``start`` > 0 >= ``stop``.
    """
    low, high = 0.0, 1.0
    a = (rise + fall) * end - 2.0 * (stop - start)
    b = 3.0 * (stop - start) - (2.0 * rise + fall) * end
    for _ in range(20):
        x = 0.5 * (low + high)
        if start + x * (rise * end + x * (b + x * a)) > 0.0:
            low = x
        else:
            high = x
    return 0.5 * (low + high) * end


@kernel
def solve(terms, work, width, low, high):
    """Move sigma to S(sigma) = level for lanes with S below it at their sigma."""
    sigma, level, square, slope = work.sigma, work.level, work.square, work.slope
    left, right = np.zeros(width), sigma[:width].copy()
    begin, descent = np.zeros(width), np.zeros(width)
    for i in range(low, high):
        for w in range(width):
            for c in (w, width + w):
                begin[w] += work.y[0, i, c] * work.y[0, i, c]
                descent[w] += 2.0 * work.y[0, i, c] * work.y[1, i, c]
    for w in range(width):
        above = np.log(begin[w] / level[w])
        if above <= 0.0:  # the norm is at the clock already, to rounding
            sigma[w] = 0.0
        elif square[w] > 0.0:
            below = np.log(square[w] / level[w])
            rise, fall = descent[w] / begin[w], slope[w] / square[w]
            sigma[w] = _guess(above, rise, below, fall, sigma[w])
        else:
            sigma[w] *= 0.5
    searching = np.ones(width, dtype=np.bool_)
    while searching.any():
        sum_series(terms, work, low, high, width)
        for w in range(width):
            if searching[w]:
                searching[w] = _refine(w, level, left, right, sigma, square, slope)


@kernel
def _refine(w, level, left, right, sigma, square, slope):
    """Take one bracketed Newton step on ln S; tell whether there was one to take."""
    x = sigma[w]
    miss = np.log(square[w] / level[w]) if square[w] > 0.0 else -np.inf
    if abs(miss) <= TOLERANCE or x == 0.0:
        return False
    if miss > 0.0:
        left[w] = x
    else:
        right[w] = x
    new = -1.0
    if slope[w] < 0.0 and square[w] > 0.0:
        new = x - miss * square[w] / slope[w]
    if not (left[w] < new < right[w]):
        new = 0.5 * (left[w] + right[w])
    if new <= left[w] or new >= right[w] or abs(new - x) <= 4e-16 * x:
        return False
    sigma[w] = new
    return True
