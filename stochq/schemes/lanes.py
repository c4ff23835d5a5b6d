"""Trajectories side by side: the arrays that every scheme advances, and their kernels.

An atom is 64 trajectories whose amplitudes are the innermost axis, real and imaginary
parts apart, so that each line of a kernel is one vector instruction over trajectories.
For orbitals the lanes are the columns of one trajectory, which share its noise: a ket
is an orbital matrix with one column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats, Ints
from stochq.jit import kernel
from stochq.states import State
from stochq.streams import (
    BLOCK,
    Purpose,
    fill_normals,
    sincos_turns,
    stream_key,
    uniform_pair,
)
from stochq.structure import Linear, Quadratic

__all__ = [
    "ATOM",
    "Lanes",
    "Tally",
    "add",
    "add_lanes",
    "apply_matrix",
    "choose",
    "clear",
    "copy",
    "count_jump",
    "draw_normal",
    "load",
    "measure",
    "squared_norms",
    "turn",
]

#: Trajectories per atom; atoms are the unit of work, of merging and of checkpoints.
ATOM = 64


class Tally(NamedTuple):
    """What an integration reports beside the states.

    Attributes
    ----------
    jumps : ndarray of int, shape (channels,)
        Jumps so far by operator, of all trajectories below `n_traj` together.
    residual : ndarray, shape (1,)
        Largest |ln(squared norm / clock)| at a solved jump time.
    n_traj : int
        Trajectories that count; lanes beyond them only fill up the last atom.
    first : int
        The first trajectory of the rows below.
    counts : ndarray of int, shape (channels, n)
        Jumps so far of every trajectory; n = 0 where none are kept.
    kept : ndarray of int, shape (n,)
        Jumps of every trajectory in the arrays below.
    time : ndarray, shape (n, K)
        Times of the first K jumps of every trajectory [time].
    channel : ndarray of int32, shape (n, K)
        Their operators.
    """

    jumps: Ints
    residual: Floats
    n_traj: int
    first: int
    counts: Ints
    kept: Ints
    time: Floats
    channel: npt.NDArray[np.int32]

    @classmethod
    def of(cls, channels: int, n_traj: int, numbers: Ints, limit: int) -> Tally:
        """Return an empty tally that keeps `limit` jumps of each trajectory."""
        n = numbers.size if limit else 0
        return cls(
            jumps=np.zeros(channels, dtype=np.int64),
            residual=np.zeros(1),
            n_traj=int(n_traj),
            first=int(numbers[0]),
            counts=np.zeros((channels, n), dtype=np.int64),
            kept=np.zeros(n, dtype=np.int64),
            time=np.zeros((n, limit)),
            channel=np.zeros((n, limit), dtype=np.int32),
        )


@dataclass
class Lanes:
    """The state of G groups of lanes (atoms of kets, or single orbital trajectories).

    Attributes
    ----------
    x : ndarray, shape (G, 2, d, W)
        Real and imaginary parts of the amplitudes.
    trajectory : ndarray, shape (G, W)
        The trajectory that each lane belongs to.
    clock : ndarray, shape (G, W)
        The squared norm at which the next jump happens.
    draws : ndarray, shape (G, W)
        Jumps drawn so far, the address of the next draw.
    position : int
        Noise normals drawn so far by every trajectory.
    shared : bool
        Whether all lanes of a group are one trajectory.
    tally : Tally
        Jumps so far and the accuracy of their times.
    signals : ndarray, shape (G, monitors, W)
        Integrals of dY since they were last set to zero.
    """

    x: Floats
    trajectory: Ints
    clock: Floats
    draws: Ints
    shared: bool
    tally: Tally
    position: int = 0
    signals: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))


@kernel
def _uniforms(key, trajectories, draw, out):
    """Write the first uniform of a draw for every trajectory."""
    for i in range(trajectories.size):
        out[i], _ = uniform_pair(key, trajectories[i], draw)


def _first_uniforms(seed: int, purpose: Purpose, trajectories: Ints) -> Floats:
    """Return uniform number 0 of each trajectory."""
    out = np.empty(trajectories.size)
    _uniforms(stream_key(seed, purpose), trajectories, 0, out)
    return out


def load(
    state: State, tally: Tally, seed: int, numbers: Ints, width: int = ATOM
) -> Lanes:
    """Return trajectories at their initial state, kets in groups of `width` lanes.

    Parameters
    ----------
    state : Kets or Orbitals
        What they start from; mixtures are sampled.
    tally : Tally
        Where to count.
    seed : int
        Addresses all random numbers, with the trajectory's number.
    numbers : ndarray of int, shape (n,)
        Which trajectories; for kets, n is a multiple of `width`.
    width : int, default 64
        Lanes of a group.
    """
    uniforms = _first_uniforms(seed, Purpose.INITIAL, numbers)
    drawn = state.draw(uniforms)
    clock = state.clocks(uniforms, _first_uniforms(seed, Purpose.JUMPS, numbers))
    if state.one_body:  # (trajectories, sites, particles) as it is
        states, shape = drawn, (numbers.size, state.columns)
    else:
        states = drawn.reshape(-1, width, state.dim).transpose(0, 2, 1)
        shape = (numbers.size // width, width)
    owners = np.repeat(numbers, state.columns).reshape(shape)
    return Lanes(
        x=np.ascontiguousarray(np.stack([states.real, states.imag], axis=1)),
        trajectory=owners,
        clock=np.repeat(clock, state.columns).reshape(shape),
        draws=np.ones_like(owners),
        shared=state.one_body,
        tally=tally,
    )


@kernel
def count_jump(tally, trajectory, channel, time):
    """Count a jump of a trajectory, and keep it while there is room."""
    if trajectory >= tally.n_traj:
        return
    tally.jumps[channel] += 1
    row = trajectory - tally.first
    if row < tally.kept.shape[0]:
        tally.counts[channel, row] += 1
        place = tally.kept[row]
        if place < tally.time.shape[1]:
            tally.time[row, place] = time
            tally.channel[row, place] = channel
            tally.kept[row] = place + 1


@kernel
def choose(passed, goal):
    """Return the first place where a running sum is above a goal, or the last one."""
    last = passed.shape[0] - 1
    chosen = 0
    while chosen < last and passed[chosen] <= goal:
        chosen += 1
    return chosen


@kernel
def clear(row):
    """Set a row of lanes to zero."""
    for w in range(row.shape[0]):
        row[w] = 0.0


@kernel
def copy(source, target):
    """Copy one state (2, d, W) onto another."""
    for part in range(2):
        for i in range(source.shape[1]):
            for w in range(source.shape[2]):
                target[part, i, w] = source[part, i, w]


@kernel
def add(factor, source, target):
    """Add a multiple of one state (2, d, W) to another."""
    for part in range(2):
        for i in range(source.shape[1]):
            for w in range(source.shape[2]):
                target[part, i, w] += factor * source[part, i, w]


@kernel
def add_lanes(factors, source, target):
    """Add a multiple of one state (2, d, W) to another, its factor lane by lane."""
    for part in range(2):
        for i in range(source.shape[1]):
            for w in range(source.shape[2]):
                target[part, i, w] += factors[w] * source[part, i, w]


@kernel
def apply_matrix(matrix, first_row, x, y):
    """Write y = M x for all lanes; M is the block of a stack that starts at a row."""
    dim, lanes = x.shape[1], x.shape[2]
    for i in range(dim):
        for w in range(lanes):
            y[0, i, w] = 0.0
            y[1, i, w] = 0.0
        row = first_row + i
        for p in range(matrix.indptr[row], matrix.indptr[row + 1]):
            j = matrix.indices[p]
            a, b = matrix.data[p].real, matrix.data[p].imag
            if b == 0.0:
                for w in range(lanes):
                    y[0, i, w] += a * x[0, j, w]
                    y[1, i, w] += a * x[1, j, w]
            else:
                for w in range(lanes):
                    y[0, i, w] += a * x[0, j, w] - b * x[1, j, w]
                    y[1, i, w] += a * x[1, j, w] + b * x[0, j, w]


@kernel
def turn(turns, cos, sin):
    """Write cos and sin of 2 pi turns, on the unit circle to rounding.

    Their errors have either sign alike: what pulls them back to the circle would round
    to one side only, and make norms drift.
    """
    for w in range(turns.shape[0]):
        c, s = sincos_turns(turns[w])
        cos[w] = c
        sin[w] = s


@kernel
def draw_normal(
    key, trajectories, shared, address, scale, words, block, held, out, target
):
    """Write `scale` times the normal number `address` of every lane into a row of out.

    A block of four normals is kept in `block`, its number in ``held[0]``.
    """
    number = address // BLOCK
    if held[0] != number:
        width = 1 if shared else trajectories.shape[0]
        fill_normals(key, trajectories, width, number, words, block)
        held[0] = number
    row = address - BLOCK * number
    if shared:
        out[target, :] = scale * block[row, 0]
    else:
        for w in range(out.shape[1]):
            out[target, w] = scale * block[row, w]


@kernel
def _deliver(value, shared, group, out):
    """Write one value per trajectory: of each lane, or the sum of shared lanes."""
    lanes = value.shape[0]
    if shared:
        out[group] = 0.0
    for w in range(lanes):
        if shared:
            out[group] += value[w]
        else:
            out[group * lanes + w] = value[w]


@kernel
def _form(x, forms, o, value):
    """Write <x|O|x> of every lane for observable number o."""
    lanes = value.shape[0]
    clear(value)
    for p in range(forms.ptr[o], forms.ptr[o + 1]):
        i, j, a, b = forms.row[p], forms.column[p], forms.re[p], forms.im[p]
        if i == j:
            for w in range(lanes):
                value[w] += a * (x[0, i, w] * x[0, i, w] + x[1, i, w] * x[1, i, w])
        else:
            for w in range(lanes):
                same = x[0, i, w] * x[0, j, w] + x[1, i, w] * x[1, j, w]
                cross = x[0, i, w] * x[1, j, w] - x[1, i, w] * x[0, j, w]
                value[w] += a * same - b * cross


@kernel
def squared_norms(x, square):
    """Write <x|x> of every lane."""
    clear(square)
    for i in range(x.shape[1]):
        for w in range(square.shape[0]):
            square[w] += x[0, i, w] * x[0, i, w] + x[1, i, w] * x[1, i, w]


@kernel
def _measure(x, forms, normalize, shared, out, norms):
    """Write <x|O|x> (over <x|x> if asked) into out (O, n) and <x|x> into norms (n,)."""
    lanes = x.shape[3]
    value = np.empty(lanes)
    square = np.empty(lanes)
    for g in range(x.shape[0]):
        squared_norms(x[g], square)
        for o in range(forms.ptr.shape[0] - 1):
            _form(x[g], forms, o, value)
            if normalize:
                for w in range(lanes):
                    value[w] /= square[w]
            _deliver(value, shared, g, out[o])
        _deliver(square, shared, g, norms)
        if shared:
            norms[g] /= lanes


@kernel
def _measure_rows(x, forms, out):
    """Write Tr(O rho), and at last Tr(rho), of every lane into out (O + 1, n)."""
    lanes = x.shape[3]
    for g in range(x.shape[0]):
        begin = g * lanes
        for o in range(out.shape[0]):
            for w in range(lanes):
                out[o, begin + w] = 0.0
            for p in range(forms.ptr[o], forms.ptr[o + 1]):
                i, a, b = forms.element[p], forms.re[p], forms.im[p]
                for w in range(lanes):
                    out[o, begin + w] += a * x[g, 0, i, w] - b * x[g, 1, i, w]


def measure(
    lanes: Lanes, forms: Quadratic | Linear, normalize: bool
) -> tuple[Floats, Floats]:
    """Return the expectation values (O, n) and squared norms (n,) of n trajectories.

    Density matrices have traces in place of squared norms.
    """
    groups, _, _, width = lanes.x.shape
    count = groups if lanes.shared else groups * width
    out = np.empty((forms.ptr.size - 1, count))
    if isinstance(forms, Linear):
        _measure_rows(lanes.x, forms, out)
        values, traces = out[:-1], out[-1]
        return values / traces if normalize else values, traces
    norms = np.empty(count)
    _measure(lanes.x, forms, normalize, lanes.shared, out, norms)
    return out, norms
