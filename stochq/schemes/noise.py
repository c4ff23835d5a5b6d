"""Noise: the increments of channels, and the factors exp(-i sum_j dtheta_j L_j).

See `stochq.structure` for how an exponential becomes phases of rows and rotations along
eigenvectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats, Ints
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.lanes import clear, draw_normal, turn
from stochq.schemes.traits import StepGrid
from stochq.streams import BLOCK, Purpose, stream_key

__all__ = [
    "Draw",
    "Scratch",
    "Wiener",
    "apply_noise",
    "draw_increments",
    "path_draws",
    "scratch_for",
    "step_draws",
    "time_table",
    "wiener_processes",
]


#: Addresses between two cells of a path: more than any model has processes. A path is
#: the same whatever else a model has.
STRIDE = 2**22


class Wiener(NamedTuple):
    """The independent processes behind each group of channels, and their weights.

    Processes are numbered group by group, those of group g from ``process_ptr[g]`` on;
    ``number`` is the number of each on a Brownian path, which no scheme changes.
    Where ``weighed``, the increment of channel j is f_j(t) sum_k F_jk dW_k, or
    f_j(t) dt for a drive; else it is its own dW_j. ``function`` is a column of
    ``table``, the values over every step, or -1.
    """

    key: npt.NDArray[np.uint32]
    channel_ptr: Ints
    process_ptr: Ints
    number: Ints
    weighed: bool
    drive: npt.NDArray[np.bool_]
    function: Ints
    table: Floats
    mix_ptr: Ints
    mix_process: Ints
    mix_weight: Floats


class Draw(NamedTuple):
    """One increment of one Wiener process: its piece of time and its address."""

    start: float
    stop: float
    process: int
    address: int


def path_draws(wiener: Wiener, grid: StepGrid) -> list[Draw]:
    """Return the increments that a Brownian path of cells is made of."""
    draws, cell = [], 0
    for interval, count in enumerate(grid.counts):
        width = grid.cell(interval)
        for c in range(count * grid.cells[interval]):
            t = float(grid.start[interval]) + c * width
            for p in sorted(wiener.number.tolist()):
                draws.append(Draw(t, t + width, p, (cell + c) * STRIDE + p))
        cell += count * grid.cells[interval]
    return draws


def step_draws(wiener: Wiener, grid: StepGrid) -> list[Draw]:
    """Return the increments of a scheme that draws all of them once a step."""
    if any(grid.cells):
        return path_draws(wiener, grid)
    draws: list[Draw] = []
    for interval, count in enumerate(grid.counts):
        h = grid.lengths[grid.kind[interval]]
        for n in range(count):
            t = float(grid.start[interval]) + n * h
            for p in wiener.number.tolist():
                draws.append(Draw(t, t + h, p, len(draws)))
    return draws


class Scratch(NamedTuple):
    """Work space of the noise kernels for one group of lanes.

    ``cursor`` holds the number of normals drawn so far and, on a Brownian path, the
    number of cells that each group of channels has consumed.
    """

    draws: Floats
    increments: Floats
    term: Floats
    words: npt.NDArray[np.uint64]
    block: Floats
    held: Ints
    cursor: Ints
    work: Floats


def time_table(dynamics: Dynamics, grid: StepGrid) -> Floats:
    """Return the functions of time over every step, shape (steps, 2 F)."""
    if not dynamics.functions:
        return np.zeros((0, 0))
    return dynamics.table(*grid.edges())


def wiener_processes(
    dynamics: Dynamics,
    groups: Sequence[Sequence[int]],
    grid: StepGrid,
    seed: int,
    monitored: Sequence[Sequence[int]] = (),
) -> Wiener:
    """Return the processes behind groups of ``dynamics.channels``.

    Channels that share processes must share a group. Each of the ``monitored`` groups
    of numbers on a Brownian path is one more, of processes without channels.
    """
    drives = len(dynamics.drives)
    order = [j for group in groups for j in group]
    rows: list[list[tuple[int, float]]] = []
    for j in order:
        if j < drives:
            rows.append([])
        elif dynamics.mixing is None:
            rows.append([(j - drives, 1.0)])
        else:
            row = dynamics.mixing[[j - drives]].tocsr()
            rows.append(list(zip(row.indices.tolist(), row.data.tolist(), strict=True)))
    number = list(dict.fromkeys(k for row in rows for k, _ in row))
    place = {k: p for p, k in enumerate(number)}
    channel_ptr = np.cumsum([0] + [len(group) for group in groups])
    process_ptr = [0]
    for last in channel_ptr[1:]:
        found = [place[k] for row in rows[:last] for k, _ in row]
        process_ptr.append(max(found, default=-1) + 1)
    sizes = np.array([len(group) for group in monitored], dtype=np.int64)
    process_ptr += (process_ptr[-1] + np.cumsum(sizes)).tolist()
    watched = [k for group in monitored for k in group]
    return Wiener(
        key=stream_key(seed, Purpose.NOISE),
        channel_ptr=np.append(channel_ptr, 0 * sizes + len(order)).astype(np.int64),
        process_ptr=np.array(process_ptr, dtype=np.int64),
        number=np.append(dynamics.numbers[number], watched).astype(np.int64),
        weighed=dynamics.time_dependent or dynamics.mixing is not None,
        drive=np.array([j < drives for j in order], dtype=np.bool_),
        function=np.array([dynamics.column_of[j] for j in order], dtype=np.int64),
        table=time_table(dynamics, grid),
        mix_ptr=np.cumsum([0] + [len(row) for row in rows]).astype(np.int64),
        mix_process=np.array([place[k] for row in rows for k, _ in row], np.int64),
        mix_weight=np.array([w for row in rows for _, w in row], dtype=np.float64),
    )


@kernel
def scratch_for(wiener, lanes, position):
    """Return work space whose cursors stand at a position."""
    processes, channels = wiener.number.shape[0], wiener.function.shape[0]
    draws = np.zeros((processes, lanes))
    increments = np.zeros((channels, lanes)) if wiener.weighed else draws
    cursor = np.empty(wiener.process_ptr.shape[0] + 1, dtype=np.int64)
    cursor[:] = position
    return Scratch(
        draws,
        increments,
        np.empty((1, lanes)),
        np.empty((BLOCK, lanes), dtype=np.uint64),
        np.empty((BLOCK, lanes)),
        np.full(1, -1, dtype=np.int64),
        cursor,
        np.empty((5, lanes)),
    )


@kernel
def draw_increments(wiener, group, duration, step, cell, trajectory, shared, scratch):
    """Draw the increments over one duration of all channels of a group.

    On a path of cells (``cell`` > 0) they are sums over the next cells of the group.
    """
    first, last = wiener.process_ptr[group], wiener.process_ptr[group + 1]
    key, cursor, draws = wiener.key, scratch.cursor, scratch.draws
    words, block, held = scratch.words, scratch.block, scratch.held
    if cell == 0.0:
        scale = np.sqrt(duration)
        for p in range(first, last):
            draw_normal(
                key, trajectory, shared, cursor[0], scale, words, block, held, draws, p
            )
            cursor[0] += 1
    else:
        scale, whole = np.sqrt(cell), group * 0  # a plain 0 would be compiled again
        begin = cursor[1 + group]
        end = begin + np.int64(np.rint(duration / cell))
        draws[first:last] = 0.0
        for c in range(begin, end):
            for p in range(first, last):
                address = c * STRIDE + wiener.number[p]
                draw_normal(
                    key, trajectory, shared, address, scale, words, block, held,
                    scratch.term, whole,
                )  # fmt: skip
                for w in range(trajectory.shape[0]):
                    draws[p, w] += scratch.term[whole, w]
        cursor[1 + group] = end
    if wiener.weighed:
        _weigh(wiener, group, duration, step, draws, scratch.increments)


@kernel
def _weigh(wiener, group, duration, step, draws, increments):
    """Write f_j sum_k F_jk dW_k, or f_j dt for drives, for the channels of a group."""
    lanes = increments.shape[1]
    for j in range(wiener.channel_ptr[group], wiener.channel_ptr[group + 1]):
        column = wiener.function[j]
        f = wiener.table[step, column] if column >= 0 else 1.0
        for w in range(lanes):
            increments[j, w] = f * duration if wiener.drive[j] else 0.0
        for e in range(wiener.mix_ptr[j], wiener.mix_ptr[j + 1]):
            k, weight = wiener.mix_process[e], f * wiener.mix_weight[e]
            for w in range(lanes):
                increments[j, w] += weight * draws[k, w]


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
                e = vector_ptr[t]
                size = vector_ptr[t + 1] - e
                if size == 1:
                    _rotate_one(x, index[e], cos, sin)
                elif size == 2 and im[e] == 0.0 and im[e + 1] == 0.0:
                    _rotate_pair(x, index[e], index[e + 1], re[e], re[e + 1], cos, sin)
                else:
                    _rotate_along(index, re, im, e, e + size, x, cos, sin, a, b)


@kernel
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


@kernel
def _rotate_pair(x, i, j, p, q, cos, sin):
    """Apply 1 + (exp(-i phi) - 1) v v^dag for v = (p, q) on two rows, p and q real.

    Pairs are what hopping and bonds are made of: one loop is three times as fast.
    """
    for w in range(cos.shape[0]):
        ur, ui, vr, vi = x[0, i, w], x[1, i, w], x[0, j, w], x[1, j, w]
        re, im = p * ur + q * vr, p * ui + q * vi
        c, s = cos[w] - 1.0, -sin[w]
        a, b = c * re - s * im, c * im + s * re
        x[0, i, w] = ur + p * a
        x[1, i, w] = ui + p * b
        x[0, j, w] = vr + q * a
        x[1, j, w] = vi + q * b


@kernel
def _rotate_one(x, i, cos, sin):
    """Multiply one amplitude by exp(-i phi)."""
    for w in range(cos.shape[0]):
        p, q = x[0, i, w], x[1, i, w]
        x[0, i, w] = p * cos[w] + q * sin[w]
        x[1, i, w] = q * cos[w] - p * sin[w]
