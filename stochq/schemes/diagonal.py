"""Jumps where H_eff is diagonal and every c moves basis states to basis states.

Populations then decay as exponentials of their own, |a_i(t)|^2 = p_i exp(-g_i t), so
that S(t) = sum_i p_i exp(-g_i t) needs no eigenbasis. Only the occupied basis states
are carried. One that holds less than `NEGLIGIBLE` of the squared norm is dropped: its
share of the state is a martingale over jumps, and whether it ever grows to rounding, a
factor 1e20, has odds below 1e-20.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stochq.arrays import Complexes, Ints, Operator
from stochq.jit import inline, kernel
from stochq.schemes.lanes import count_jump
from stochq.streams import sincos_turns, uniform_pair
from stochq.structure import is_diagonal

__all__ = ["diagonal_lanes", "monomials"]

#: Part of the squared norm that no basis state needs to have.
NEGLIGIBLE = 1e-36

#: A last correction that changes S by less than this needs no other.
SETTLED = 1e-15


def monomials(
    generator: Operator, jumps: Sequence[Operator]
) -> tuple[Ints, Complexes] | None:
    """Return where each c moves each basis state and its element, (channels, d).

    Where c annihilates a basis state, its target is -1. None unless H_eff is diagonal
    and every row and column of every c has one element at most.
    """
    dim = generator.shape[0]
    target = np.full((len(jumps), dim), -1, dtype=np.int64)
    factor = np.zeros((len(jumps), dim), dtype=np.complex128)
    if not is_diagonal(generator):
        return None
    for k, c in enumerate(jumps):
        coo = c.tocoo()
        rows, columns = coo.coords
        if np.unique(rows).size < rows.size or np.unique(columns).size < rows.size:
            return None
        target[k, columns] = rows
        factor[k, columns] = coo.data
    return target, factor


@inline
def _falling(x):
    """Return exp(-x) for 0 <= x, to 3e-16; zero beyond 700.

    exp(-x) = 2^n exp(r) with |r| <= ln(2)/2, whose Taylor series is short.
    """
    bounded = min(x, 700.0)
    shifted = -1.4426950408889634 * bounded + 6755399441055744.0
    n = shifted - 6755399441055744.0  # rounded to an integer
    r = -bounded - n * 0.6931471803691238
    r -= n * 1.9082149292705877e-10
    tail = 1.0 / 479001600 + r * (1.0 / 6227020800)
    tail = 1.0 / 3628800 + r * (1.0 / 39916800 + r * tail)
    tail = 1.0 / 40320 + r * (1.0 / 362880 + r * tail)
    tail = 1.0 / 720 + r * (1.0 / 5040 + r * tail)
    tail = 1.0 / 24 + r * (1.0 / 120 + r * tail)
    tail = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6 + r * tail)))
    power = np.int64((np.int64(n) + 1023) << 52).view(np.float64)
    return tail * power if x <= 700.0 else 0.0


@kernel
def _sums(p, g, count, t):
    """Return S, -S' and S'' at t for populations p and their decay rates g."""
    s0, s1, s2 = 0.0, 0.0, 0.0
    for k in range(count):
        q = p[k] * _falling(g[k] * t)
        s0 += q
        s1 += q * g[k]
        s2 += q * g[k] * g[k]
    return s0, s1, s2


@kernel
def _solved(p, g, count, level, limit):
    """Return the t in [0, limit] with S(t) = level, and whether there is one.

    ln S is convex and falls: Newton's iteration with its second derivative, inside a
    bracket.
    """
    if count == 1:
        t = np.log(p[0] / level) / g[0] if g[0] > 0.0 else np.inf
        return min(max(t, 0.0), limit), t <= limit
    fastest, slowest = 0.0, np.inf
    for k in range(count):
        fastest, slowest = max(fastest, g[k]), min(slowest, g[k])
    s0, s1, s2 = _sums(p, g, count, 0.0)
    if s0 <= level:
        return 0.0, True
    if s0 * np.exp(-slowest * limit) > level and _sums(p, g, count, limit)[0] > level:
        return limit, False
    low, high, t = 0.0, limit, 0.0
    for _ in range(200):
        miss = np.log(s0 / level) if s0 > 0.0 else -np.inf
        low, high = (t, high) if miss > 0.0 else (low, t)
        new = np.inf
        if miss > -np.inf and s1 > 0.0:
            slope = s1 / s0
            root = slope * slope - 2.0 * miss * max(s2 / s0 - slope * slope, 0.0)
            new = t + (2.0 * miss / (slope + np.sqrt(root)) if root > 0.0
                       else miss / slope)  # fmt: skip
        if not (low <= new <= high):
            new = 0.5 * (low + high)
        moved = fastest * abs(new - t)
        if new == t or moved * moved * moved < SETTLED or high - low <= 4e-16 * high:
            return new, True
        t = new
        s0, s1, s2 = _sums(p, g, count, t)
    return t, True


@kernel
def _occupied(places, a, p, count, least):
    """Keep the basis states with more than `least` population; return how many."""
    kept = 0
    for k in range(count):
        q = a[k].real * a[k].real + a[k].imag * a[k].imag
        if q > least:
            places[kept], a[kept], p[kept] = places[k], a[k], q
            kept += 1
    return kept


@kernel
def _evolve(frequency, decay, places, a, count, t):
    """Multiply amplitudes by exp(-i E t - g t / 2); return the squared norm."""
    total = 0.0
    for k in range(count):
        fall = _falling(0.5 * t * decay[places[k]])
        turns = frequency[places[k]] * t
        if turns == 0.0:
            a[k] *= fall
        else:
            cos, sin = sincos_turns(-turns)
            a[k] *= complex(fall * cos, fall * sin)
        total += a[k].real * a[k].real + a[k].imag * a[k].imag
    return total


@kernel
def _chosen(strength, places, p, count, uniform, passed):
    """Return which c jumps, at the rates |c a|^2 of populations p, and its rate."""
    channels = passed.shape[0]
    total = 0.0
    for c in range(channels):
        for k in range(count):
            total += strength[c, places[k]] * p[k]
        passed[c] = total
    chosen = 0
    while chosen < channels - 1 and passed[chosen] <= uniform * total:
        chosen += 1
    return chosen, passed[chosen] - (passed[chosen - 1] if chosen > 0 else 0.0)


@kernel
def _move(target, factor, chosen, rate, places, a, count):
    """Replace a by c a, normalized; return how many basis states it occupies."""
    scale = 1.0 / np.sqrt(rate)
    kept = 0
    for k in range(count):
        place = target[chosen, places[k]]
        if place >= 0:
            a[kept] = scale * factor[chosen, places[k]] * a[k]
            places[kept] = place
            kept += 1
    return kept


@kernel
def diagonal_lanes(
    flow, x, y, square, start, duration, clock, draws, key, trajectory, tally
):
    """Carry the lanes whose squared norm falls to their clock; y is the result.

    On entry y holds all lanes carried without a jump, and ``square`` their norms.
    """
    dim, lanes = x.shape[1], x.shape[2]
    frequency, decay = flow.frequency, flow.decay
    target, factor, strength = flow.target, flow.factor, flow.strength
    places = np.empty(dim, dtype=np.int64)
    a = np.empty(dim, dtype=np.complex128)
    p, g = np.empty(dim), np.empty(dim)
    passed = np.empty(flow.channels)
    residual = tally.residual[0]
    for w in range(lanes):
        if square[w] > clock[w]:
            continue
        count, norm, level, left = 0, 0.0, clock[w], duration
        for i in range(dim):
            y[0, i, w], y[1, i, w] = 0.0, 0.0
            if x[0, i, w] != 0.0 or x[1, i, w] != 0.0:
                places[count], a[count] = i, complex(x[0, i, w], x[1, i, w])
                norm += x[0, i, w] * x[0, i, w] + x[1, i, w] * x[1, i, w]
                count += 1
        while left > 0.0:
            count = _occupied(places, a, p, count, NEGLIGIBLE * norm)
            for k in range(count):
                g[k] = decay[places[k]]
            t, due = _solved(p, g, count, level, left)
            norm = _evolve(frequency, decay, places, a, count, t)
            if not due:
                break
            residual = max(residual, abs(np.log(norm / level)))
            for k in range(count):
                p[k] = a[k].real * a[k].real + a[k].imag * a[k].imag
            uniform, level = uniform_pair(key, trajectory[w], draws[w])
            chosen, rate = _chosen(strength, places, p, count, uniform, passed)
            count = _move(target, factor, chosen, rate, places, a, count)
            norm = 1.0
            draws[w] += 1
            left -= t
            count_jump(tally, trajectory[w], chosen, start + (duration - left))
        clock[w] = level
        for k in range(count):
            y[0, places[k], w], y[1, places[k], w] = a[k].real, a[k].imag
    tally.residual[0] = residual
