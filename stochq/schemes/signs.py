"""Noise factors with two-point increments: +x or -x in place of a normal.

For a channel with two eigenvalues a distance g apart, the average of
exp(-i x L) rho exp(i x L) depends on x through E cos(g x) only. The angle

    cos(g x) = exp(-g^2 v / 2)

makes two points average to exactly what a normal of variance v averages to, at the cost
of one random bit and no sine or cosine.
"""

from __future__ import annotations

import numpy as np
from numba import uint64

from stochq.jit import kernel
from stochq.schemes.lanes import clear
from stochq.streams import fill_words

__all__ = ["signed_factor"]

#: Relative change of an angle from step to step, without which its cosine and sine
#: would have the same rounding error in all of them and make norms drift.
DITHER = 1e-9

#: Random bits per Philox block.
BITS = 128


@kernel
def _draw_signs(key, trajectory, shared, address, words, held, out):
    """Write +1 or -1, bit number `address` of every lane's trajectory."""
    number = address // BITS
    lanes = out.shape[0]
    if held[0] != number:
        fill_words(key, trajectory, 1 if shared else lanes, number, words)
        held[0] = number
    bit = address - BITS * number
    word, shift = bit // 32, uint64(bit % 32)
    for w in range(lanes):
        drawn = (words[word, 0 if shared else w] >> shift) & uint64(1)
        out[w] = 1.0 if drawn == uint64(1) else -1.0


@kernel
def signed_factor(
    factors, wiener, group, duration, step, trajectory, shared, x, scratch
):
    """Apply exp(-i sum_k s_k x_k L_k) with random signs s_k and matched angles x_k."""
    signs, a, b = scratch.work[0], scratch.work[1], scratch.work[2]
    cursor = scratch.cursor
    for k in range(wiener.channel_ptr[group], wiener.channel_ptr[group + 1]):
        column = wiener.function[k]
        f = wiener.table[step, column] if column >= 0 else 1.0
        gap = factors.gap[k]
        angle = np.arccos(np.exp(-0.5 * gap * gap * f * f * duration)) / gap
        angle *= 1.0 + DITHER * ((0.6180339887498949 * step) % 1.0 - 0.5)
        if wiener.drive[k]:
            signs[:] = 1.0
            angle = f * duration
        else:
            _draw_signs(
                wiener.key, trajectory, shared, cursor[0], scratch.words, scratch.held,
                signs,
            )  # fmt: skip
            cursor[0] += 1
        for v in range(factors.value_ptr[k], factors.value_ptr[k + 1]):
            phase = 2.0 * np.pi * factors.values[v] * angle
            cos, sin = np.cos(phase), np.sin(phase)
            for t in range(factors.term_ptr[v], factors.term_ptr[v + 1]):
                e = factors.vector_ptr[t]
                size = factors.vector_ptr[t + 1] - e
                index, re, im = factors.component, factors.re, factors.im
                if size == 1:
                    _turn_one(x, index[e], cos, sin, signs)
                elif size == 2 and im[e] == 0.0 and im[e + 1] == 0.0:
                    _turn_pair(
                        x, index[e], index[e + 1], re[e], re[e + 1], cos, sin, signs
                    )
                else:
                    _turn_along(index, re, im, e, e + size, x, cos, sin, signs, a, b)


@kernel
def _turn_one(x, i, cos, sin, signs):
    """Multiply one amplitude by exp(-i s phi)."""
    for w in range(signs.shape[0]):
        p, q, s = x[0, i, w], x[1, i, w], signs[w] * sin
        x[0, i, w] = p * cos + q * s
        x[1, i, w] = q * cos - p * s


@kernel
def _turn_pair(x, i, j, p, q, cos, sin, signs):
    """Apply 1 + (exp(-i s phi) - 1) v v^dag for v = (p, q), both real."""
    for w in range(signs.shape[0]):
        ur, ui, vr, vi = x[0, i, w], x[1, i, w], x[0, j, w], x[1, j, w]
        u, v = p * ur + q * vr, p * ui + q * vi
        c, s = cos - 1.0, -sin * signs[w]
        x[0, i, w] = ur + p * (c * u - s * v)
        x[1, i, w] = ui + p * (c * v + s * u)
        x[0, j, w] = vr + q * (c * u - s * v)
        x[1, j, w] = vi + q * (c * v + s * u)


@kernel
def _turn_along(index, re, im, start, stop, x, cos, sin, signs, a, b):
    """Apply 1 + (exp(-i s phi) - 1) v v^dag for one eigenvector v."""
    lanes = signs.shape[0]
    clear(a)
    clear(b)
    for e in range(start, stop):  # a + i b = <v|x>
        i, p, q = index[e], re[e], im[e]
        for w in range(lanes):
            a[w] += p * x[0, i, w] + q * x[1, i, w]
            b[w] += p * x[1, i, w] - q * x[0, i, w]
    for w in range(lanes):
        c, s = cos - 1.0, -sin * signs[w]
        a[w], b[w] = c * a[w] - s * b[w], c * b[w] + s * a[w]
    for e in range(start, stop):
        i, p, q = index[e], re[e], im[e]
        for w in range(lanes):
            x[0, i, w] += p * a[w] - q * b[w]
            x[1, i, w] += p * b[w] + q * a[w]
