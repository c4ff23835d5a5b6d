"""Events of orbitals: kicks, projective measurements and jumps at their own times.

Kicks and projections come at a total rate Gamma that does not depend on the state, so
that waiting times are -ln(u) / Gamma and have no step error. Between them orbitals move
by exp(-i h t) alone, so that all events of a duration act first, each on its mode
carried back, exp(i h t) v, and the propagator of the whole duration follows: an event
costs O(sites (sites + particles)).

Jumps n_v come at the rates g_v <n_v>. Between them U(t) = exp(-i H_eff t) U with
H_eff = h - (i/2) sum_v g_v v v^dag, and S(t) = det U^dag U is the probability of no
jump. Its logarithm has the slope -sum_v g_v <n_v>, so that S(t) = u is solved by a
bracketed Newton iteration that carries the orbitals along, orthonormal again at every
iterate. Kicks and projections among them add Gamma to the slope.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stochq.arrays import Floats
from stochq.jit import kernel
from stochq.schemes.isometries import (
    SUMS,
    amplitudes,
    kick,
    orthonormalize,
    project,
    square,
)
from stochq.schemes.lanes import add, apply_matrix, choose, copy, count_jump
from stochq.schemes.orbital_events import JUMP, KICK
from stochq.streams import uniform_pair

__all__ = ["orbital_flow", "orbital_room"]

#: |ln(S / u)| at which the time of a jump is found.
TOLERANCE = 1e-10

#: A series of exp(-i H_eff t) ends with terms below this; it covers ||H_eff|| t of at
#: most this much.
LAST_TERM, REACH = 1e-17, 1.0


class Room(NamedTuple):
    """Work space of the kernels of orbitals for one trajectory."""

    v: Floats
    row: Floats
    sums: Floats
    gram: Floats
    passed: Floats
    z: Floats


@kernel
def orbital_room(events, dim, lanes):
    """Return work space for orbitals of a shape."""
    size = lanes if events.jumping else 0
    return Room(
        np.empty((2, dim)),
        np.empty((2, lanes)),
        np.empty((2, SUMS)),
        np.empty((2, size, size)),
        np.empty(events.kind.shape[0]),
        np.empty((2, dim if events.jumping else 0, lanes)),
    )


@kernel
def _carried_back(events, mode, t, v):
    """Write exp(i h t) v for a mode, normalized."""
    dim = v.shape[1]
    c = np.empty(dim, dtype=np.complex128)
    for k in range(dim):
        c[k] = np.exp(1j * events.energies[k] * t) * events.turned[mode, k]
    right = events.right
    norm = 0.0
    for i in range(dim):
        total = 0j
        for p in range(right.indptr[i], right.indptr[i + 1]):
            total += right.data[p] * c[right.indices[p]]
        v[0, i] = total.real
        v[1, i] = total.imag
        norm += total.real * total.real + total.imag * total.imag
    scale = 1.0 / np.sqrt(norm)
    for i in range(dim):
        v[0, i] *= scale
        v[1, i] *= scale


@kernel
def _on_sites(events, mode, v):
    """Write a mode."""
    for i in range(v.shape[1]):
        v[0, i] = events.modes[mode, i].real
        v[1, i] = events.modes[mode, i].imag


@kernel
def _happen(events, channel, remainder, t, x, room):
    """Let an event of a channel act at a time t of the frame that moves with h.

    ``remainder`` is a uniform number, which decides what a projection finds.
    """
    kind = events.kind[channel]
    for mode in range(events.mode_ptr[channel], events.mode_ptr[channel + 1]):
        if t == 0.0:
            _on_sites(events, mode, room.v)
        else:
            _carried_back(events, mode, t, room.v)
        amplitudes(room.v, x, room.row)
        if kind == KICK:
            kick(room.v, room.row, x)
        else:
            occupied = kind == JUMP or remainder < square(room.row)
            project(room.v, occupied, room.row, x, room.sums)


@kernel
def _chosen(passed, uniform):
    """Return the channel that a uniform number chooses by weight, and what is left.

    ``passed`` are sums of weights. Within the chosen channel's share the number is
    uniform again.
    """
    last = passed.shape[0] - 1
    goal = uniform * passed[last]
    chosen = choose(passed, goal)
    below = passed[chosen - 1] if chosen > 0 else 0.0
    return chosen, (goal - below) / (passed[chosen] - below)


@kernel
def _steady(
    events, x, start, duration, step, first_row, budget, draw, key, trajectory, y, room,
    tally,
):  # fmt: skip
    """Carry orbitals from `start` on with events at constant rates.

    ``budget`` is -ln u, less Gamma times the time since the last event; return it and
    the next draw.
    """
    total = 0.0
    for k in range(events.rate.shape[0]):
        total += events.rate[k]
        room.passed[k] = total
    t = 0.0
    while budget < total * (duration - t):
        t += budget / total
        uniform, fresh = uniform_pair(key, trajectory, draw)
        chosen, remainder = _chosen(room.passed, uniform)
        _happen(events, chosen, remainder, t, x, room)
        count_jump(tally, trajectory, chosen, start + t)
        budget = -np.log(fresh)
        draw += 1
    apply_matrix(step, first_row, x, y)
    copy(y, x)
    return budget - total * (duration - t), draw


@kernel
def _series(events, t, x, y, z):
    """Replace U by exp(-i H_eff t) U, by a series as long as ||H_eff|| t asks."""
    first_row = 0 * x.shape[1]  # a plain 0 would be compiled as another type
    reach = abs(events.norm * t)
    copy(x, y)
    size, n = 1.0, 1
    while size > LAST_TERM:
        apply_matrix(events.generator, first_row, y, z)
        factor = t / n
        for part in range(2):
            for i in range(x.shape[1]):
                for w in range(x.shape[2]):
                    y[part, i, w] = factor * z[part, i, w]
        add(1.0, y, x)
        size *= reach / n
        n += 1


@kernel
def _rates(events, x, room):
    """Write the sums of all channels' rates; return the last of them."""
    total = 0.0
    for k in range(events.rate.shape[0]):
        occupation = 1.0
        if events.kind[k] == JUMP:
            _on_sites(events, events.mode_ptr[k], room.v)
            amplitudes(room.v, x, room.row)
            occupation = square(room.row)
        total += events.rate[k] * occupation
        room.passed[k] = total
    return total


@kernel
def _newton(budget, rate, slope):
    """Return the s with budget = rate s + slope s^2 / 2, or the first guess at it."""
    if rate <= 0.0:
        return np.inf
    root = rate * rate + 2.0 * slope * budget
    return 2.0 * budget / (rate + np.sqrt(root)) if root > 0.0 else budget / rate


@kernel
def _following(
    events, x, start, duration, budget, draw, key, trajectory, y, room, tally
):  # fmt: skip
    """Carry orbitals from `start` on with events whose rates follow the state.

    ``budget`` is ln(S / u); it is positive until the time ``above``, and negative from
    the time ``below`` on. Return it and the next draw.
    """
    longest = REACH / events.norm if events.norm > 0.0 else np.inf
    t = above = 0.0
    below = np.inf
    rate, slope = _rates(events, x, room), 0.0
    while True:
        if budget > 0.0:
            above = t
        else:
            below = t
        found = abs(budget) <= TOLERANCE or below - above <= 4e-16 * duration
        if found and rate > 0.0:
            tally.residual[0] = max(tally.residual[0], abs(budget))
            uniform, fresh = uniform_pair(key, trajectory, draw)
            chosen, remainder = _chosen(room.passed, uniform)
            _happen(events, chosen, remainder, 0.0, x, room)
            count_jump(tally, trajectory, chosen, start + t)
            budget, below = -np.log(fresh), np.inf
            draw += 1
            rate, slope, above = _rates(events, x, room), 0.0, t
        if budget > 0.0 and t >= duration:
            return budget, draw
        goal = t + _newton(budget, rate, slope)
        if not above < goal < below:
            goal = 0.5 * (above + below) if below < np.inf else t + longest
        goal = min(goal, t + longest, duration)
        _series(events, goal - t, x, y, room.z)
        budget += orthonormalize(x, room.gram) - events.constant * (goal - t)
        new = _rates(events, x, room)
        slope = (new - rate) / (goal - t)
        rate, t = new, goal


@kernel
def orbital_flow(
    events, x, start, duration, step, first_row, clock, draws, key, trajectory, y, room,
    tally,
):  # fmt: skip
    """Carry the orbitals of one trajectory from `start` on with all their events.

    ``step`` from ``first_row`` on is exp(-i h t) for exactly that duration; the clock
    is u / S since the last event, the same in every lane.
    """
    budget = -np.log(clock[0])
    if events.jumping:
        budget, draw = _following(
            events, x, start, duration, budget, draws[0], key, trajectory[0], y, room,
            tally,
        )  # fmt: skip
    else:
        budget, draw = _steady(
            events, x, start, duration, step, first_row, budget, draws[0], key,
            trajectory[0], y, room, tally,
        )  # fmt: skip
    for w in range(clock.shape[0]):
        clock[w] = np.exp(-budget)
        draws[w] = draw
