"""Flow and jumps by Taylor series that are their own dense output.

Every lane has its own time. A round carries lanes that are not yet at the end by one
series each: to the end of their step, or to the jump inside it, where S(t) = u is
solved by a bracketed Newton iteration on ln S. The number of terms and the length of a
step are those of the whole model: no lane knows of the others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats, Ints
from stochq.jit import kernel
from stochq.schemes.dense_output import expand, solve, sum_series, work_space
from stochq.schemes.lanes import choose, count_jump
from stochq.streams import uniform_pair

__all__ = ["taylor_lanes"]

#: Widths are multiples of it.
STRIP = 8


class Progress(NamedTuple):
    """How far each lane is: time done and left, piece of time, extent in the basis."""

    done: Floats
    left: Floats
    piece: Ints
    extent: Ints
    active: npt.NDArray[np.bool_]


@kernel
def _set_factors(flow, work, piece, t, tau, c, width):
    """Write tau^(l + 1) a_{m,l} of a lane at time t in a piece."""
    factor = work.factor
    u = (t - flow.middle[piece]) / flow.half[piece]
    ratio = tau / flow.half[piece]
    degree = factor.shape[1]
    factor[0, 0, c] = tau
    for m in range(1, factor.shape[0]):
        for power in range(degree):
            factor[m, power, c] = flow.powers[piece, m - 1, power]
        for done in range(degree):  # repeated division shifts the polynomial to u
            for power in range(degree - 2, done - 1, -1):
                factor[m, power, c] += u * factor[m, power + 1, c]
        scale = tau
        for power in range(degree):
            factor[m, power, c] *= scale
            scale *= ratio
    for m in range(factor.shape[0]):
        for power in range(degree):
            factor[m, power, width + c] = factor[m, power, c]


@kernel
def _start_round(flow, x, start, clock, progress, work, count, low, high):
    """Gather the chosen lanes and plan their steps; return the padded width."""
    width = (count + STRIP - 1) // STRIP * STRIP
    last = flow.middle.shape[0] - 1
    for c in range(width):  # lanes beyond the chosen fill up the last strip
        w = work.lane[min(c, count - 1)]
        n, t = progress.piece[w], start + progress.done[w]
        tau = flow.longest[n]
        step = min(progress.left[w], tau)
        if n < last:
            step = max(0.0, min(step, flow.edges[n + 1] - t))
        work.end[c] = step
        work.sigma[c] = step / tau
        work.level[c] = clock[w]
        _set_factors(flow, work, n, t, tau, c, width)
        for i in range(low, high):
            work.y[0, i, c] = x[0, flow.order[i], w]
            work.y[0, i, width + c] = x[1, flow.order[i], w]
    return width


@kernel
def _finish_steps(flow, x, start, progress, work, count, width, low, high):
    """Store the lanes without a jump, keep the others; return how many they are."""
    last = flow.middle.shape[0] - 1
    due = 0
    for c in range(count):
        w, step = work.lane[c], work.end[c]
        if flow.channels > 0 and work.square[c] <= work.level[c]:
            work.lane[due], work.end[due] = w, step
            work.level[due], work.sigma[due] = work.level[c], work.sigma[c]
            work.square[due], work.slope[due] = work.square[c], work.slope[c]
            work.turned[0, due] = c  # which column it is
            due += 1
            continue
        for i in range(low, high):
            x[0, flow.order[i], w] = work.z[i, c]
            x[1, flow.order[i], w] = work.z[i, width + c]
        n = progress.piece[w]
        if n < last and step >= flow.edges[n + 1] - (start + progress.done[w]):
            progress.piece[w] = n + 1
        left = progress.left[w]
        progress.left[w] = left - step if step < left else 0.0
        progress.done[w] += step
        progress.active[w] = progress.left[w] > 0.0
    return due


@kernel
def _compact(terms, work, count, width, low, high):
    """Move the columns of the lanes that are due to the left; return their width."""
    new = (count + STRIP - 1) // STRIP * STRIP
    for c in range(count, new):
        work.turned[0, c] = work.turned[0, count - 1]
        work.level[c], work.sigma[c] = work.level[count - 1], work.sigma[count - 1]
        work.square[c], work.slope[c] = work.square[count - 1], work.slope[count - 1]
    columns = work.turned[0, :new].copy()
    row = np.empty(2 * new)
    for k in range(terms + 1):
        for i in range(low, high):
            for c in range(new):
                row[c] = work.y[k, i, int(columns[c])]
                row[new + c] = work.y[k, i, width + int(columns[c])]
            for c in range(2 * new):
                work.y[k, i, c] = row[c]
    return new


@kernel
def _product(matrix, first_row, low, high, v, i):
    """Return row i of M v for a v that vanishes outside low ... high."""
    total = 0j
    for p in range(matrix.indptr[first_row + i], matrix.indptr[first_row + i + 1]):
        j = matrix.indices[p]
        if low <= j < high:
            total += matrix.data[p] * v[j]
    return total


@kernel
def _rate_factor(flow, channel, piece, t):
    """Return what multiplies the rate of a jump at a time."""
    term = flow.rate_of[channel]
    if term == 0:
        return 1.0
    u = (t - flow.middle[piece]) / flow.half[piece]
    value = 0.0
    for power in range(flow.powers.shape[2] - 1, -1, -1):
        value = value * u + flow.powers[piece, term - 1, power]
    return max(value, 0.0)


@kernel
def _choose(flow, v, low, high, piece, t, uniform):
    """Choose a jump at the rates |c v|^2."""
    dim = v.shape[0]
    passed = np.empty(flow.channels)
    total = 0.0
    for c in range(flow.channels):
        rate = 0.0
        for i in range(low, high):
            image = _product(flow.rates, c * dim, low, high, v, i)
            rate += (v[i].conjugate() * image).real
        total += _rate_factor(flow, c, piece, t) * rate
        passed[c] = total
    return choose(passed, uniform * total)


@kernel
def _land(flow, chosen, v, low, high, x, w):
    """Write c v, normalized, into a lane of x."""
    dim, norm = v.shape[0], 0.0
    for i in range(dim):
        image = _product(flow.jumps, chosen * dim, low, high, v, i)
        x[0, flow.order[i], w], x[1, flow.order[i], w] = image.real, image.imag
        norm += image.real * image.real + image.imag * image.imag
    scale = 1.0 / np.sqrt(norm)
    for i in range(dim):
        x[0, i, w] *= scale
        x[1, i, w] *= scale


@kernel
def _extent(flow, x, w):
    """Return the first and the last part of the basis that a lane occupies, as one."""
    parts = flow.parts.shape[0] - 1
    first, last = parts - 1, 0
    for part in range(parts):
        for i in range(flow.parts[part], flow.parts[part + 1]):
            j = flow.order[i]
            if x[0, j, w] != 0.0 or x[1, j, w] != 0.0:
                first, last = min(first, part), part
                break
    return first * (parts + 1) + max(first, last)


@kernel
def _jump_all(
    flow, x, start, clock, draws, key, trajectory, progress, work, count, width, low,
    high, tally,
):  # fmt: skip
    """Let the lanes jump that stand in the first `count` columns of z."""
    v = np.zeros(x.shape[1], dtype=np.complex128)
    for c in range(count):
        w = work.lane[c]
        miss = abs(np.log(work.square[c] / work.level[c]))
        tally.residual[0] = max(tally.residual[0], miss)
        for i in range(low, high):
            v[i] = complex(work.z[i, c], work.z[i, width + c])
        n = progress.piece[w]
        spent = min(work.sigma[c] * flow.longest[n], work.end[c])
        progress.done[w] += spent
        progress.left[w] = max(0.0, progress.left[w] - spent)
        now = start + progress.done[w]
        uniform, clock[w] = uniform_pair(key, trajectory[w], draws[w])
        draws[w] += 1
        chosen = _choose(flow, v, low, high, n, now, uniform)
        _land(flow, chosen, v, low, high, x, w)
        count_jump(tally, trajectory[w], chosen, now)
        progress.active[w] = progress.left[w] > 0.0
        progress.extent[w] = _extent(flow, x, w)


@kernel
def _next_lanes(progress, limit, lane):
    """Choose up to `limit` active lanes of one extent; return how many."""
    count, wanted = 0, -1
    for w in range(progress.active.shape[0]):
        if progress.active[w] and (wanted < 0 or progress.extent[w] == wanted):
            wanted = progress.extent[w]
            lane[count] = w
            count += 1
            if count == limit:
                break
    return count


@kernel
def _progress(flow, x, start, duration, trajectory, n_traj):
    """Return lanes that are about to start; those that do not count never do."""
    lanes = x.shape[2]
    slack = 4e-16 * max(abs(start), abs(start + duration))
    first = np.searchsorted(flow.edges, start + slack, "right") - 1
    piece = np.full(lanes, min(flow.middle.shape[0] - 1, max(0, first)))
    extent = np.empty(lanes, dtype=np.int64)
    for w in range(lanes):
        extent[w] = _extent(flow, x, w)
    return Progress(
        np.zeros(lanes),
        np.full(lanes, duration),
        piece,
        extent,
        trajectory < n_traj,
    )


@kernel
def taylor_lanes(flow, x, start, duration, clock, draws, key, trajectory, tally):
    """Carry a group of lanes through the flow from `start` on, jumps included."""
    dim, lanes = x.shape[1], x.shape[2]
    limit = min(flow.lanes, (lanes + STRIP - 1) // STRIP * STRIP)
    work = work_space(
        flow.terms, dim, limit, flow.powers.shape[1], flow.powers.shape[2]
    )
    progress = _progress(flow, x, start, duration, trajectory, tally.n_traj)
    parts = flow.parts.shape[0]
    while True:
        count = _next_lanes(progress, limit, work.lane)
        if count == 0:
            return
        extent = progress.extent[work.lane[0]]
        low, high = flow.parts[extent // parts], flow.parts[extent % parts + 1]
        width = _start_round(flow, x, start, clock, progress, work, count, low, high)
        expand(flow, work, low, high, width)
        sum_series(flow.terms, work, low, high, width)
        due = _finish_steps(flow, x, start, progress, work, count, width, low, high)
        if due > 0:
            width = _compact(flow.terms, work, due, width, low, high)
            solve(flow.terms, work, width, low, high)
            _jump_all(
                flow, x, start, clock, draws, key, trajectory, progress, work, due,
                width, low, high, tally,
            )  # fmt: skip
