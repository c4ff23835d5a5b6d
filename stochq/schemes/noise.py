"""Noise factors: exp(-i sum_k dW_k L_k) of commuting channels, in closed form.

See `stochq.structure` for how an exponential becomes phases of rows and rotations along
eigenvectors.
"""

from __future__ import annotations

import numpy as np

from stochq.jit import inline, kernel
from stochq.schemes.lanes import clear, draw_normal, turn

__all__ = ["apply_noise", "noise_factor"]


@kernel
def apply_noise(factors, group, increments, x, work):
    """Apply exp(-i sum_k dW_k L_k) of one commuting group to all lanes.

    Parameters
    ----------
    factors : NoiseFactors
        The channels.
    group : int
        Which group.
    increments : float array, shape (K, W)
        dW_k of every channel (only the group's rows are read).
    x : float array, shape (2, d, W)
        The state, changed in place.
    work : float array, shape (5, W)
        Work space.
    """
    lanes = x.shape[2]
    turns, cos, sin, a, b = work[0], work[1], work[2], work[3], work[4]
    index, re, im = factors.component, factors.re, factors.im
    term_ptr, vector_ptr = factors.term_ptr, factors.vector_ptr
    for r in range(factors.row_ptr[group], factors.row_ptr[group + 1]):
        i = factors.rows[r]
        clear(turns)
        for e in range(factors.entry_ptr[r], factors.entry_ptr[r + 1]):
            k, value = factors.entry_channel[e], factors.entry_value[e]
            for w in range(lanes):
                turns[w] += value * increments[k, w]
        turn(turns, cos, sin)
        _rotate_one(x, i, cos, sin)
    for k in range(factors.group_ptr[group], factors.group_ptr[group + 1]):
        for v in range(factors.value_ptr[k], factors.value_ptr[k + 1]):
            for w in range(lanes):
                turns[w] = factors.values[v] * increments[k, w]
            turn(turns, cos, sin)
            for t in range(term_ptr[v], term_ptr[v + 1]):
                if vector_ptr[t + 1] == vector_ptr[t] + 1:
                    _rotate_one(x, index[vector_ptr[t]], cos, sin)
                    continue
                _rotate_along(
                    index, re, im, vector_ptr[t], vector_ptr[t + 1], x, cos, sin, a, b
                )  # fmt: skip


@inline
def _rotate_along(index, re, im, start, stop, x, cos, sin, a, b):
    """Apply 1 + (exp(-i phi) - 1) v v^dag for one eigenvector v.

    Loops write few arrays each: with more, the compiler cannot rule out that they
    overlap, and leaves the vector registers unused. Rows are indexed, not sliced: a
    slice is counted, which costs as much as a row.
    """
    lanes = cos.shape[0]
    clear(a)
    clear(b)
    for e in range(start, stop):  # a + i b = <v|x>
        i, p, q = index[e], re[e], im[e]
        if q == 0.0:
            for w in range(lanes):
                a[w] += p * x[0, i, w]
                b[w] += p * x[1, i, w]
        else:
            for w in range(lanes):
                a[w] += p * x[0, i, w] + q * x[1, i, w]
                b[w] += p * x[1, i, w] - q * x[0, i, w]
    for w in range(lanes):
        c, s = cos[w] - 1.0, -sin[w]
        a[w], b[w] = c * a[w] - s * b[w], c * b[w] + s * a[w]
    for e in range(start, stop):
        i, p, q = index[e], re[e], im[e]
        if q == 0.0:
            for w in range(lanes):
                x[0, i, w] += p * a[w]
                x[1, i, w] += p * b[w]
        else:
            for w in range(lanes):
                x[0, i, w] += p * a[w] - q * b[w]
                x[1, i, w] += p * b[w] + q * a[w]


@inline
def _rotate_one(x, i, cos, sin):
    """Multiply one amplitude by exp(-i phi)."""
    for w in range(cos.shape[0]):
        p, q = x[0, i, w], x[1, i, w]
        x[0, i, w] = p * cos[w] + q * sin[w]
        x[1, i, w] = q * cos[w] - p * sin[w]


@kernel
def noise_factor(
    factors, group, variance, key, trajectory, shared, position, x, increments,
    words, block, held, work,
):  # fmt: skip
    """Draw a group's increments and apply its factor; return the next position."""
    first, last = factors.group_ptr[group], factors.group_ptr[group + 1]
    scale = np.sqrt(variance)
    for k in range(first, last):
        draw_normal(
            key, trajectory, shared, position, scale, words, block, held, increments[k]
        )
        position += 1
    apply_noise(factors, group, increments, x, work)
    return position
