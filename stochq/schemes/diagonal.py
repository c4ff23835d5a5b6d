"""Jumps where H_eff is diagonal and every c moves basis states to basis states.

Populations then decay as exponentials of their own, |a_i(t)|^2 = p_i exp(-g_i t), so
that S(t) = sum_i p_i exp(-g_i t) needs no eigenbasis. Only the occupied basis states
are carried. One that holds less than `NEGLIGIBLE` of the squared norm is dropped: its
share of the state is a martingale over jumps, and whether it ever grows to rounding, a
factor 1e20, has odds below 1e-20.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stochq.arrays import Complexes, Floats, Ints, Operator
from stochq.jit import inline, kernel
from stochq.schemes.lanes import choose, count_jump
from stochq.streams import sincos_turns, uniform_pair
from stochq.structure import is_diagonal

__all__ = ["diagonal_lanes", "monomials"]

#: Part of the squared norm that no basis state needs to have.
NEGLIGIBLE = 1e-36

#: A correction of the jump time, in units of the fastest decay, that needs no other:
#: what is left of S is its cube.
SETTLED = 1e-5

#: Sums are taken in so many parts side by side.
STRIP = 8


class Work(NamedTuple):
    """The basis states that one ket occupies, and work space.

    ``p`` and ``g`` are their populations and decay rates, ``fall`` is exp(-g t / 2).
    """

    place: Ints
    re: Floats
    im: Floats
    p: Floats
    g: Floats
    fall: Floats
    q: Floats
    term: Floats
    partial: Floats
    passed: Floats


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
def _total(values, padded, partial):
    """Return a sum, in a fixed order that fits vector registers."""
    for w in range(STRIP):
        partial[w] = 0.0
    for first in range(0, padded, STRIP):
        for w in range(STRIP):
            partial[w] += values[first + w]
    total = 0.0
    for w in range(STRIP):
        total += partial[w]
    return total


@kernel
def _fall(work, padded, t):
    """Write exp(-g t / 2), and the populations q at t; return S, -S' and S''."""
    p, g, fall, q, term, partial = (
        work.p, work.g, work.fall, work.q, work.term, work.partial,
    )  # fmt: skip
    for k in range(padded):
        fall[k] = _falling(0.5 * t * g[k])
    for k in range(padded):
        q[k] = p[k] * fall[k] * fall[k]
    s0 = _total(q, padded, partial)
    for k in range(padded):
        term[k] = q[k] * g[k]
    s1 = _total(term, padded, partial)
    for k in range(padded):
        term[k] *= g[k]
    return s0, s1, _total(term, padded, partial)


@kernel
def _guess(work, padded, level):
    """Return about where S meets the level, and S at 0.

    With the cumulants of the rates, ln S(t) = ln S - k1 t + k2 t^2/2 - k3 t^3/6 + ...
    """
    p, g, term, partial = work.p, work.g, work.term, work.partial
    s0 = _total(p, padded, partial)
    for k in range(padded):
        term[k] = p[k] * g[k]
    mean = _total(term, padded, partial) / s0
    for k in range(padded):
        term[k] = p[k] * (g[k] - mean) ** 2
    two = _total(term, padded, partial) / s0
    for k in range(padded):
        term[k] *= g[k] - mean
    three = _total(term, padded, partial) / s0
    for k in range(padded):
        term[k] *= g[k] - mean
    four = _total(term, padded, partial) / s0 - 3.0 * two * two
    if mean <= 0.0:
        return np.inf, s0
    miss = np.log(s0 / level)
    t = miss / mean
    for _ in range(6):
        value = t * (mean - t * (two / 2 - t * (three / 6 - t * four / 24)))
        slope = mean - t * (two - t * (three / 2 - t * four / 6))
        if slope <= 0.1 * mean:  # too broad a spread of rates
            return miss / mean, s0
        t += (miss - value) / slope
    return t, s0


@kernel
def _shift(work, padded, delta):
    """Move `fall` by a small time: exp(-h) = 1 - h + h^2 / 2."""
    g, fall = work.g, work.fall
    for k in range(padded):
        h = 0.5 * delta * g[k]
        fall[k] *= 1.0 - h * (1.0 - 0.5 * h)


@kernel
def _step(s0, s1, s2, miss):
    """Return Newton's step on ln S with its second derivative; NaN if there is none."""
    if not (s0 > 0.0 and s1 > 0.0):
        return np.nan
    slope = s1 / s0
    root = slope * slope - 2.0 * miss * max(s2 / s0 - slope * slope, 0.0)
    return 2.0 * miss / (slope + np.sqrt(root)) if root > 0.0 else miss / slope


@kernel
def _solve(work, count, padded, level, limit):
    """Return the t in [0, limit] with S(t) = level, and whether there is one.

    ln S is convex and falls: its Newton iteration is kept in a bracket. On return
    ``fall`` holds exp(-g t / 2).
    """
    p, g = work.p, work.g
    if count == 1:
        t = np.log(p[0] / level) / g[0] if g[0] > 0.0 else np.inf
        due = t <= limit
        t = min(max(t, 0.0), limit)
        work.fall[:padded] = _falling(0.5 * t * g[0])
        return t, due
    t, start = _guess(work, padded, level)
    if start <= level:  # the norm is at the clock already, to rounding
        _fall(work, padded, 0.0)
        return 0.0, True
    slowest, fastest = np.inf, 0.0
    for k in range(count):
        slowest, fastest = min(slowest, g[k]), max(fastest, g[k])
    undecided = start * np.exp(-slowest * limit) > level or t >= limit
    if undecided and _fall(work, padded, limit)[0] > level:
        return limit, False
    low, high = 0.0, limit
    t = t if low < t < high else 0.5 * high
    for _ in range(200):
        s0, s1, s2 = _fall(work, padded, t)
        miss = np.log(s0 / level) if s0 > 0.0 else -np.inf
        low, high = (t, high) if miss > 0.0 else (low, t)
        delta = _step(s0, s1, s2, miss)
        if fastest * abs(delta) < SETTLED:
            _shift(work, padded, delta)
            return min(max(t + delta, 0.0), limit), True
        if high - low <= 4e-16 * high:
            break
        t = t + delta if low < t + delta < high else 0.5 * (low + high)
    return t, True


@kernel
def _evolve(work, frequency, count, padded, t):
    """Multiply amplitudes by exp(-i E t - g t / 2); return the squared norm."""
    re, im, p, fall = work.re, work.im, work.p, work.fall
    for k in range(padded):
        re[k] *= fall[k]
    for k in range(padded):
        im[k] *= fall[k]
    for k in range(count):
        turns = frequency[work.place[k]] * t
        if turns != 0.0:
            cos, sin = sincos_turns(-turns)
            re[k], im[k] = cos * re[k] - sin * im[k], sin * re[k] + cos * im[k]
    for k in range(padded):
        p[k] = re[k] * re[k] + im[k] * im[k]
    return _total(p, padded, work.partial)


@kernel
def _choose(work, strength, count, uniform):
    """Return which c jumps, at the rates |c a|^2 of populations p."""
    channels = strength.shape[0]
    if channels == 1:
        return 0
    place, p, passed = work.place, work.p, work.passed
    total = 0.0
    for c in range(channels):
        for k in range(count):
            total += strength[c, place[k]] * p[k]
        passed[c] = total
    return choose(passed, uniform * total)


@kernel
def _move(work, target, factor, chosen, count, norm):
    """Replace a by c a, not normalized; return how many basis states it occupies."""
    place, re, im, p = work.place, work.re, work.im, work.p
    least = NEGLIGIBLE * norm
    kept = 0
    for k in range(count):
        new = target[chosen, place[k]]
        if new >= 0 and p[k] > least:
            f = factor[chosen, place[k]]
            u, v = re[k], im[k]
            re[kept] = f.real * u - f.imag * v
            im[kept] = f.real * v + f.imag * u
            place[kept] = new
            kept += 1
    return kept


@kernel
def _prepare(work, decay, count):
    """Write populations and rates, zeros up to a multiple of STRIP; return it."""
    place, re, im, p, g = work.place, work.re, work.im, work.p, work.g
    padded = (count + STRIP - 1) // STRIP * STRIP
    for k in range(count, padded):
        re[k], im[k], g[k] = 0.0, 0.0, 0.0
    for k in range(count):
        g[k] = decay[place[k]]
    for k in range(padded):
        p[k] = re[k] * re[k] + im[k] * im[k]
    return padded


@kernel
def _normalize(work, padded):
    """Divide amplitudes and populations by the norm."""
    re, im, p = work.re, work.im, work.p
    norm = _total(p, padded, work.partial)
    scale = 1.0 / np.sqrt(norm)
    for k in range(padded):
        re[k] *= scale
    for k in range(padded):
        im[k] *= scale
    for k in range(padded):
        p[k] /= norm


@kernel
def _load(work, x, w):
    """Gather the occupied basis states of a lane; return how many they are."""
    count = 0
    for i in range(x.shape[1]):
        if x[0, i, w] != 0.0 or x[1, i, w] != 0.0:
            work.place[count] = i
            work.re[count], work.im[count] = x[0, i, w], x[1, i, w]
            count += 1
    return count


@kernel
def _work(dim, channels):
    """Return work space for one lane."""
    room = dim + STRIP
    return Work(
        np.empty(room, dtype=np.int64),
        np.empty(room),
        np.empty(room),
        np.empty(room),
        np.empty(room),
        np.empty(room),
        np.empty(room),
        np.empty(room),
        np.empty(STRIP),
        np.empty(channels),
    )


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
    work = _work(dim, flow.channels)
    residual = tally.residual[0]
    for w in range(lanes):
        if square[w] > clock[w]:
            continue
        level, left = clock[w], duration
        count = _load(work, x, w)
        padded = _prepare(work, decay, count)
        while left > 0.0:
            t, due = _solve(work, count, padded, level, left)
            norm = _evolve(work, frequency, count, padded, t)
            if not due:
                break
            residual = max(residual, abs(np.log(norm / level)))
            uniform, level = uniform_pair(key, trajectory[w], draws[w])
            chosen = _choose(work, strength, count, uniform)
            count = _move(work, target, factor, chosen, count, norm)
            padded = _prepare(work, decay, count)
            _normalize(work, padded)
            draws[w] += 1
            left -= t
            count_jump(tally, trajectory[w], chosen, start + (duration - left))
        clock[w] = level
        for i in range(dim):
            y[0, i, w], y[1, i, w] = 0.0, 0.0
        for k in range(count):
            y[0, work.place[k], w], y[1, work.place[k], w] = work.re[k], work.im[k]
    tally.residual[0] = residual
