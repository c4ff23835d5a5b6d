"""Jumps at their exact times, and the flow in between.

The squared norm S(t) of a state carried by exp(-i H_eff t) is the probability of no
jump, so that the jump time solves S(t) = u for a uniform u. In the eigenbasis it is
found by a bracketed Newton iteration on ln S, to rounding; on the ladder by bisection,
to 2^-48 of a step.
"""

from __future__ import annotations

import numpy as np

from stochq.jit import kernel
from stochq.schemes.diagonal import diagonal_lanes
from stochq.schemes.flow import RUNGS
from stochq.schemes.lanes import apply_matrix, choose, copy, count_jump, squared_norms
from stochq.streams import uniform_pair

__all__ = ["flow_lanes"]


@kernel
def _matvec(matrix, first_row, v, out):
    """Write out = M v."""
    for i in range(v.shape[0]):
        total = 0j
        for p in range(matrix.indptr[first_row + i], matrix.indptr[first_row + i + 1]):
            total += matrix.data[p] * v[matrix.indices[p]]
        out[i] = total


@kernel
def _square(v):
    """Return |v|^2."""
    total = 0.0
    for i in range(v.shape[0]):
        total += v[i].real * v[i].real + v[i].imag * v[i].imag
    return total


@kernel
def _survival(flow, a, t, b, c):
    """Return S(t) and dS/dt; b becomes exp(-i Lambda t) a, c is work space."""
    for k in range(a.shape[0]):
        b[k] = a[k] * np.exp(-1j * flow.energies[k] * t)
    _matvec(flow.gram, 0, b, c)
    square = slope = 0.0
    for k in range(a.shape[0]):
        overlap = b[k].conjugate() * c[k]
        square += overlap.real
        # d b_k/dt = -i E_k b_k, and dS/dt = 2 Re <db/dt|Gram|b>
        slope += 2.0 * ((1j * flow.energies[k].conjugate()) * overlap).real
    return square, slope


@kernel
def _waiting_time(flow, a, level, limit, b, c):
    """Return the t in [0, limit] with S(t) = level, or limit if S stays above it.

    The second value is |ln(S(t) / level)|, zero without a crossing; b becomes the
    amplitudes at t. Newton on ln S is exact for one exponential; the bracket guards it.
    """
    low, high = 0.0, limit
    if flow.total >= 0.0:  # the same exponential whatever the state
        square, slope = _survival(flow, a, 0.0, b, c)
        t = max(0.0, np.log(square / level) / flow.total)
        square, slope = _survival(flow, a, min(t, limit), b, c)
        miss = abs(np.log(square / level)) if t <= limit else 0.0
        return min(t, limit), miss, t <= limit
    square, slope = _survival(flow, a, limit, b, c)
    if square > level:
        return limit, 0.0, False
    square, slope = _survival(flow, a, 0.0, b, c)
    t = 0.0
    miss = np.log(square / level)
    if miss <= 0.0:  # the norm is at the clock already, to rounding
        return 0.0, 0.0, True
    for _ in range(200):
        step = -miss * square / slope if slope < 0.0 else np.inf
        new = t + step
        if not (low < new < high):
            new = 0.5 * (low + high)
        if new == low or new == high:  # noqa: SIM109 (kernels compare numbers)
            break
        moved = abs(new - t)
        t = new
        square, slope = _survival(flow, a, t, b, c)
        if square <= 0.0:
            miss = -np.inf
            square = 1.0
            slope = 0.0
        else:
            miss = np.log(square / level)
        if miss > 0.0:
            low = t
        else:
            high = t
        if abs(miss) < 4e-16 or moved <= 2e-16 * t:
            break
    return t, abs(miss), True


@kernel
def _climb(flow, v, level, limit, trial):
    """Advance v to the last instant before S = level, or by limit if S stays above.

    Returns the time and whether a jump is due. Time is counted in whole units of
    D / 2^RUNGS, so that no rounding accumulates.
    """
    dim = v.shape[0]
    unit = flow.duration / 2.0**RUNGS
    goal = np.int64(np.rint(limit / unit))
    done = np.int64(0)
    for m in range(RUNGS + 1):
        rung = np.int64(1) << (RUNGS - m)
        if done + rung <= goal:
            _matvec(flow.ladder, m * dim, v, trial)
            if _square(trial) > level:
                for i in range(dim):
                    v[i] = trial[i]
                done += rung
    if done == goal:
        return limit, False
    return min((done + 1) * unit, limit), True


@kernel
def _jump(flow, v, uniform, out):
    """Replace v by c v, normalized; choose c at the rates |c v|^2 and return which."""
    dim = v.shape[0]
    passed = np.empty(flow.channels)
    total = 0.0
    for k in range(flow.channels):
        _matvec(flow.rates, k * dim, v, out)
        for i in range(dim):
            total += (v[i].conjugate() * out[i]).real
        passed[k] = total
    chosen = choose(passed, uniform * total)
    _matvec(flow.jumps, chosen * dim, v, out)
    norm = np.sqrt(_square(out))
    for i in range(dim):
        v[i] = out[i] / norm
    return chosen


@kernel
def _carry(flow, v, start, duration, clock, draw, key, trajectory, work, tally):
    """Carry one ket through `duration`, with all its jumps; return clock and draw."""
    a, b, c = work[0], work[1], work[2]
    left = duration
    while True:
        if flow.spectral:
            _matvec(flow.left, 0, v, a)
            t, miss, due = _waiting_time(flow, a, clock, left, b, c)
            _matvec(flow.right, 0, b, v)
            tally.residual[0] = max(tally.residual[0], miss)
        else:
            t, due = _climb(flow, v, clock, left, a)
        if not due:
            return clock, draw
        uniform, fresh = uniform_pair(key, trajectory, draw)
        chosen = _jump(flow, v, uniform, a)
        clock = fresh
        draw += 1
        left -= t
        count_jump(tally, trajectory, chosen, start + (duration - left))
        if left <= 0.0:
            return clock, draw


@kernel
def flow_lanes(
    flow, x, start, duration, step, first_row, clock, draws, key, trajectory, y,
    square, work, tally,
):  # fmt: skip
    """Carry a group of lanes through the flow from `start` on, jumps included.

    ``step`` from ``first_row`` on is the propagator for exactly that duration. Lanes
    whose norm stays above their clock need nothing else; the others are carried from
    jump to jump one by one.
    """
    dim, lanes = x.shape[1], x.shape[2]
    apply_matrix(step, first_row, x, y)
    if flow.channels > 0:
        squared_norms(y, square)
        if flow.diagonal:
            diagonal_lanes(
                flow, x, y, square, start, duration, clock, draws, key, trajectory,
                tally,
            )  # fmt: skip
            copy(y, x)
            return
        v = work[3]
        for w in range(lanes):
            if square[w] > clock[w]:
                continue
            for i in range(dim):
                v[i] = complex(x[0, i, w], x[1, i, w])
            clock[w], draws[w] = _carry(
                flow, v, start, duration, clock[w], draws[w], key, trajectory[w], work,
                tally,
            )  # fmt: skip
            for i in range(dim):
                y[0, i, w] = v[i].real
                y[1, i, w] = v[i].imag
    copy(y, x)
