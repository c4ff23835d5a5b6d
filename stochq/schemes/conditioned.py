r"""The flow of density matrices: propagators, and jumps at their times.

The trace S(t) of a matrix carried without jumps is the probability of no jump. The jump
time solves S(t) = u by bisection on a ladder of propagators, to 2^-48 of a step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stochq.arrays import Ints
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.flow import RUNGS, propagators
from stochq.schemes.lanes import apply_matrix, choose, copy, count_jump
from stochq.schemes.monitors import sizes
from stochq.states import DensityMatrix
from stochq.streams import uniform_pair
from stochq.structure import Sparse, pack

__all__ = [
    "ConditionedFlow",
    "conditioned_flow",
    "conditioned_lanes",
]


class ConditionedFlow(NamedTuple):
    """What a kernel needs to carry density matrices through jumps.

    ``jumps`` stacks rho -> c rho c^dag, ``ladder`` the propagators for D, D/2, ...,
    D/2^48 with D the ``duration``; ``diagonal`` lists the elements of the trace.
    """

    channels: int
    jumps: Sparse
    ladder: Sparse
    duration: float
    diagonal: Ints


def conditioned_flow(dynamics: Dynamics, duration: float) -> ConditionedFlow | None:
    """Return the flow of density matrices that jump, for steps of at most `duration`.

    None for all else.
    """
    initial = dynamics.initial
    if not isinstance(initial, DensityMatrix) or not dynamics.jumps:
        return None
    rungs = [duration / 2**m for m in range(RUNGS + 1)]
    return ConditionedFlow(
        channels=len(dynamics.jumps),
        jumps=pack(dynamics.jumps),
        ladder=pack(propagators(dynamics.effective_hamiltonian, rungs)),
        duration=duration,
        diagonal=initial.diagonal,
    )


@kernel
def _trace(flow, v, w):
    """Return the trace of one lane."""
    total = 0.0
    for i in flow.diagonal:
        total += v[0, i, w]
    return total


@kernel
def _climb(flow, v, level, limit, trial):
    """Advance v to the last instant before S = level, or by limit if S stays above.

    Returns the time and whether a jump is due. Time is counted in whole units of
    D / 2^RUNGS, so that no rounding accumulates.
    """
    dim = v.shape[1]
    unit = flow.duration / 2.0**RUNGS
    goal = np.int64(np.rint(limit / unit))
    done = np.int64(0)
    for m in range(RUNGS + 1):
        rung = np.int64(1) << (RUNGS - m)
        if done + rung <= goal:
            apply_matrix(flow.ladder, m * dim, v, trial)
            if _trace(flow, trial, 0) > level:
                copy(trial, v)
                done += rung
    if done == goal:
        return limit, False
    return min((done + 1) * unit, limit), True


@kernel
def _jump(flow, v, uniform, trial):
    """Replace v by c v c^dag of trace one; choose c at the rates Tr(c^dag c v)."""
    dim = v.shape[1]
    passed = np.empty(flow.channels)
    total = 0.0
    for k in range(flow.channels):
        apply_matrix(flow.jumps, k * dim, v, trial)
        total += _trace(flow, trial, 0)
        passed[k] = total
    chosen = choose(passed, uniform * total)
    apply_matrix(flow.jumps, chosen * dim, v, trial)
    trace = _trace(flow, trial, 0)
    for part in range(2):
        for i in range(dim):
            v[part, i, 0] = trial[part, i, 0] / trace
    return chosen


@kernel
def _carry(flow, v, start, duration, clock, draw, key, trajectory, trial, tally):
    """Carry one matrix through `duration`, with all its jumps."""
    left = duration
    while left > 0.0:
        t, due = _climb(flow, v, clock, left, trial)
        if not due:
            break
        uniform, fresh = uniform_pair(key, trajectory, draw)
        chosen = _jump(flow, v, uniform, trial)
        count_jump(tally, trajectory, chosen, start + (duration - left) + t)
        clock = fresh
        draw += 1
        left -= t
    return clock, draw


@kernel
def conditioned_lanes(
    flow, x, start, duration, step, first_row, clock, draws, key, trajectory, y, size,
    tally,
):  # fmt: skip
    """Carry a group of lanes through the flow from `start` on, jumps included.

    ``step`` from ``first_row`` on is the propagator for exactly that duration.
    """
    dim = x.shape[1]
    apply_matrix(step, first_row, x, y)
    sizes(True, flow.diagonal, y, size)
    v, trial = np.empty((2, dim, 1)), np.empty((2, dim, 1))
    for w in range(x.shape[2]):
        if size[w] <= clock[w]:
            v[:, :, 0] = x[:, :, w]
            clock[w], draws[w] = _carry(
                flow, v, start, duration, clock[w], draws[w], key, trajectory[w],
                trial, tally,
            )  # fmt: skip
            y[:, :, w] = v[:, :, 0]
    copy(y, x)
