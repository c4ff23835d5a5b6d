"""Exponential splitting: what its members (Strang, alternating, random ...) share.

With the flow F (Hamiltonian and jumps) and groups G_1 ... G_m of commuting channels, a
step is a product of factors, each the exact solution of its own part; monitored
operators are the last of the G, one each. A `Program` lists the factors of a step; the
outer halves of neighboring steps are merged into one factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stochq.arrays import Ints
from stochq.errors import SchemeMismatchError
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.conditioned import (
    ConditionedFlow,
    conditioned_flow,
    conditioned_lanes,
)
from stochq.schemes.flow import JumpFlow, flow_propagators, jump_flow
from stochq.schemes.jumps import flow_lanes
from stochq.schemes.lanes import Lanes, apply_matrix, copy
from stochq.schemes.monitored_orbitals import (
    MonitoredModes,
    measure_modes,
    modes_room,
    monitored_groups,
    monitored_modes,
)
from stochq.schemes.monitors import (
    MonitorFactors,
    check_monitors,
    monitor_factor,
    monitor_factors,
    monitor_room,
)
from stochq.schemes.noise import (
    Draw,
    Wiener,
    apply_noise,
    draw_increments,
    path_draws,
    scratch_for,
    wiener_processes,
)
from stochq.schemes.orbital_events import OrbitalEvents, orbital_events
from stochq.schemes.orbitals import orbital_flow, orbital_room
from stochq.schemes.signs import signed_factor
from stochq.schemes.traits import StepGrid, refuse_monitors
from stochq.streams import Purpose, stream_key, uniform_pair
from stochq.structure import (
    NoiseFactors,
    Sparse,
    noise_factors,
    pack,
)

__all__ = [
    "FLOW",
    "NOTHING",
    "Entry",
    "Factor",
    "Program",
    "Splitting",
    "has_flow",
    "merged_outside",
    "monitored_factor",
    "outer_and_inner",
    "prepare_parts",
    "prepare_splitting",
    "program_of",
    "stochastic_factor",
]

#: Factors of a program that are not a group of channels.
FLOW, NOTHING = -1, -2

#: When an entry acts: always, or only on lanes whose coin shows one side.
ALWAYS, FORWARD, BACKWARD = 0, 1, 2


class Entry(NamedTuple):
    """One factor of a step."""

    factor: int
    halved: bool = False
    coin: int = ALWAYS


class Program(NamedTuple):
    """The factors of a step, one row for each step of a period.

    The last column is the outermost factor: it acts for the second half of this step
    and the first half of the next one together.
    """

    factor: Ints
    halved: npt.NDArray[np.bool_]
    coin: Ints
    tossed: bool
    two_point: bool


class Keys(NamedTuple):
    """The streams that an integration draws from."""

    jumps: npt.NDArray[np.uint32]
    order: npt.NDArray[np.uint32]


def program_of(*steps: Sequence[Entry], two_point: bool = False) -> Program:
    """Return the program of a period of steps of equal lengths."""
    return Program(
        factor=np.array([[e.factor for e in step] for step in steps], dtype=np.int64),
        halved=np.array([[e.halved for e in step] for step in steps], dtype=np.bool_),
        coin=np.array([[e.coin for e in step] for step in steps], dtype=np.int64),
        tossed=any(e.coin for step in steps for e in step),
        two_point=two_point,
    )


def outer_and_inner(dynamics: Dynamics, groups: int) -> tuple[int, list[int]]:
    """Return the outermost factor and the groups inside it.

    It is the flow or, without one, nothing.
    """
    return (FLOW if has_flow(dynamics) else NOTHING), list(range(groups))


def merged_outside(dynamics: Dynamics, groups: int) -> tuple[int, list[int]]:
    """Return the same, but a constant first group outside where there is no flow.

    Halves of neighboring steps then merge. Halves whose strengths differ cannot.
    """
    outer, inner = outer_and_inner(dynamics, groups)
    if outer == NOTHING and inner and not dynamics.time_dependent:
        return inner[0], inner[1:]
    return outer, inner


@kernel
def _toss(key, trajectory, shared, step, coin):
    """Write 0 or 1 with equal odds for every lane's trajectory."""
    for w in range(coin.shape[0]):
        if w == 0 or not shared:
            u, _ = uniform_pair(key, trajectory[w], step)
            coin[w] = 1.0 if u < 0.5 else 0.0
        else:
            coin[w] = coin[0]


@kernel
def _event_room(events, dim, lanes):
    """Return work space for events of orbitals, if there are any."""
    if events is None:
        return None
    return orbital_room(events, dim, lanes)


@kernel
def _monitor_room(monitors, modes, dim, lanes):
    """Return work space for monitored modes or operators, if there are any."""
    if modes is not None:
        return modes_room(modes, lanes)
    if monitors is not None:
        return monitor_room(monitors, dim, lanes)
    return None


@kernel
def _advance(
    x, trajectory, clock, draws, tally, shared, position, flow, propagator, kinds, kind,
    factors, wiener, program, start, h, cell, first_step, count, keys, conditioned,
    monitors, signals, events, modes,
):  # fmt: skip
    """Take `count` steps of length h with every group of lanes; return the position.

    The outermost factor acts for half a step first, and the last step ends with the
    other half. What a model does not have is None, and is not compiled for it.
    """
    groups, _, dim, lanes = x.shape
    coin = np.empty(lanes)
    y = np.empty((2, dim, lanes))
    square = np.empty(lanes)
    vectors = np.empty((4, dim), dtype=np.complex128)
    noises = factors.group_ptr.shape[0] - 1
    place = _event_room(events, dim, lanes)
    space = _monitor_room(monitors, modes, dim, lanes)
    period = program.factor.shape[0]
    last = program.factor.shape[1] - 1
    copy_rows = 2 * kinds * dim
    copies = (propagator.indptr.shape[0] - 1) // copy_rows
    end = position
    for g in range(groups):
        scratch = scratch_for(wiener, lanes, position)
        halves = 0  # of a step, through which the flow has carried the lanes
        for n in range(count + 1):
            step = first_step + n - 1
            row = step % period if n > 0 else 0
            if program.tossed and n > 0:
                _toss(keys.order, trajectory[g], shared, step, coin)
            for o in range(last + 1):
                factor = program.factor[row, o]
                if factor == NOTHING or (n == 0 and (o < last or last == 0)):
                    continue
                outer_half = o == last and last > 0 and (n == 0 or n == count)
                halved = outer_half or program.halved[row, o]
                duration = 0.5 * h if halved else h
                if factor == FLOW:
                    first_row = (2 * kind + (1 if halved else 0)) * dim
                    first_row += (step % copies) * copy_rows if n > 0 else 0
                    _flow_factor(
                        flow, events, conditioned, x[g], start + 0.5 * h * halves,
                        duration, propagator, first_row, clock[g], draws[g], keys.jumps,
                        trajectory[g], y, square, vectors, place, tally,
                    )  # fmt: skip
                    halves += 1 if halved else 2
                elif factor >= noises:
                    m = factor - noises
                    draw_increments(
                        wiener, factor, duration, step, cell, trajectory[g], shared,
                        scratch,
                    )  # fmt: skip
                    number = 2 * (m * kinds + kind) + (1 if halved else 0)
                    _monitored_factor(
                        monitors, modes, m, number, duration,
                        scratch.draws[wiener.process_ptr[factor] :], x[g], signals[g],
                        scratch.work, space,
                    )  # fmt: skip
                elif program.two_point:
                    signed_factor(
                        factors, wiener, factor, duration, step, trajectory[g], shared,
                        x[g], scratch,
                    )  # fmt: skip
                else:
                    _gaussian_factor(
                        factors, wiener, factor, duration, step, cell, trajectory[g],
                        shared, x[g], scratch, program.coin[row, o], coin,
                    )  # fmt: skip
        end = scratch.cursor[0]
    if cell > 0.0:
        end = position + count * np.int64(np.rint(h / cell))
    return end


@kernel
def _flow_factor(
    flow, events, conditioned, x, start, duration, step, first_row, clock, draws, key,
    trajectory, y, square, vectors, place, tally,
):  # fmt: skip
    """Carry lanes through the flow: what jumps by its own kernel, all else at once."""
    if events is not None:
        orbital_flow(
            events, x, start, duration, step, first_row, clock, draws, key, trajectory,
            y, place, tally,
        )  # fmt: skip
    elif conditioned is not None:
        conditioned_lanes(
            conditioned, x, start, duration, step, first_row, clock, draws, key,
            trajectory, y, square, tally,
        )  # fmt: skip
    elif flow is not None:
        flow_lanes(
            flow, x, start, duration, step, first_row, clock, draws, key, trajectory, y,
            square, vectors, tally,
        )  # fmt: skip
    else:
        apply_matrix(step, first_row, x, y)
        copy(y, x)


@kernel
def _monitored_factor(
    monitors, modes, m, number, duration, noise, x, signals, work, room
):
    """Apply factor m of the monitored: a group of orbital modes, or one operator."""
    if modes is not None:
        measure_modes(modes, m, duration, noise, x, signals, room)
    elif monitors is not None:
        monitor_factor(monitors, number, duration, noise[0], x, signals[m], room, work)


@kernel
def _gaussian_factor(
    factors, wiener, group, duration, step, cell, trajectory, shared, x, scratch, side,
    coin,
):  # fmt: skip
    """Draw a group's increments over a duration and apply its factor.

    An entry of the backward sweep acts on the lanes that the forward sweep left out,
    over the same piece of their path.
    """
    if side == BACKWARD and cell > 0.0:
        scratch.cursor[1 + group] -= np.int64(np.rint(duration / cell))
    draw_increments(wiener, group, duration, step, cell, trajectory, shared, scratch)
    if side != ALWAYS:
        increments = scratch.increments
        for j in range(wiener.channel_ptr[group], wiener.channel_ptr[group + 1]):
            for w in range(coin.shape[0]):
                acts = coin[w] if side == FORWARD else 1.0 - coin[w]
                increments[j, w] *= acts
    apply_noise(factors, group, scratch.increments, x, scratch.work)


@kernel
def stochastic_factor(
    factors, wiener, group, duration, step, cell, trajectory, x, scratch, two_point
):
    """Draw a group's increments over a duration and apply its factor."""
    if two_point:
        signed_factor(
            factors, wiener, group, duration, step, trajectory, False, x, scratch
        )
        return
    draw_increments(wiener, group, duration, step, cell, trajectory, False, scratch)
    apply_noise(factors, group, scratch.increments, x, scratch.work)


@kernel
def monitored_factor(
    monitors, wiener, group, number, duration, step, cell, trajectory, x, signal,
    scratch,
):  # fmt: skip
    """Draw a monitor's increment over a duration and apply its factor."""
    room = monitor_room(monitors, x.shape[1], x.shape[2])
    draw_increments(wiener, group, duration, step, cell, trajectory, False, scratch)
    noise = scratch.draws[wiener.process_ptr[group]]
    monitor_factor(monitors, number, duration, noise, x, signal, room, scratch.work)


class Factor(NamedTuple):
    """One factor of an interval: what acts, for how long, and in which step.

    ``elapsed`` is the time that the flow has covered before it [time].
    """

    factor: int
    halved: bool
    duration: float
    step: int
    elapsed: float


@dataclass(frozen=True)
class Splitting:
    """A splitting scheme ready to run.

    Jumps of kets are a ``flow``, those of density matrices ``conditioned``, those of
    orbitals ``events``; monitored are ``monitors``, or ``modes`` of orbitals.
    """

    grid: StepGrid
    program: Program
    flow: JumpFlow | None
    conditioned: ConditionedFlow | None
    events: OrbitalEvents | None
    propagator: Sparse
    factors: NoiseFactors
    modes: MonitoredModes | None
    wiener: Wiener
    monitors: MonitorFactors | None
    keys: Keys

    @property
    def together(self) -> int:
        """How many atoms may share a group of lanes."""
        return 4

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes through one interval between output times."""
        kind = self.grid.kind[interval]
        lanes.position = _advance(
            lanes.x, lanes.trajectory, lanes.clock, lanes.draws, lanes.tally,
            lanes.shared, lanes.position, self.flow, self.propagator,
            len(self.grid.lengths), kind,
            self.factors, self.wiener, self.program, float(self.grid.start[interval]),
            self.grid.lengths[kind], self.grid.cell(interval),
            self.grid.first_step[interval], self.grid.counts[interval], self.keys,
            self.conditioned, self.monitors, lanes.signals, self.events, self.modes,
        )  # fmt: skip

    def draws(self) -> list[Draw]:
        """Return the increments in the order in which they are drawn."""
        if any(self.grid.cells):
            return path_draws(self.wiener, self.grid)
        found: list[Draw] = []
        ptr = self.wiener.process_ptr
        for interval in range(len(self.grid.counts)):
            clock = np.full(self.wiener.channel_ptr.size, self.grid.start[interval])
            for item in self.walk(interval):
                if (group := item.factor) < 0:
                    continue
                begin = float(clock[group])
                clock[group] += item.duration
                for p in self.wiener.number[ptr[group] : ptr[group + 1]].tolist():
                    found.append(Draw(begin, float(clock[group]), p, len(found)))
        return found

    def walk(self, interval: int) -> Iterator[Factor]:
        """Yield the factors of an interval in the order of `_advance`."""
        grid, program = self.grid, self.program
        h, count = grid.lengths[grid.kind[interval]], grid.counts[interval]
        first, last = grid.first_step[interval], program.factor.shape[1] - 1
        halves = 0
        for n in range(count + 1):
            step = first + n - 1
            row = step % len(program.factor) if n else 0
            for o in range(last + 1):
                factor = int(program.factor[row, o])
                if factor == NOTHING or (n == 0 and (o < last or last == 0)):
                    continue
                outer = o == last and last > 0 and n in (0, count)
                halved = outer or bool(program.halved[row, o])
                duration = 0.5 * h if halved else h
                yield Factor(factor, halved, duration, step, 0.5 * h * halves)
                if factor == FLOW:
                    halves += 1 if halved else 2


def has_flow(dynamics: Dynamics) -> bool:
    """Tell whether anything but increments moves the state."""
    return bool(
        dynamics.hamiltonian.nnz
        or dynamics.jumps
        or dynamics.averaged
        or dynamics.gain.nnz
    )


def _check_splitting(dynamics: Dynamics, groups: list[list[int]], scheme: Any) -> None:
    """Refuse what the factors of a splitting cannot hold."""
    name = type(scheme).__name__
    strengths = dynamics.function_of[len(dynamics.drives) :]
    if dynamics.raw and (strengths >= 0).any():
        raise SchemeMismatchError(
            f'{name} must have constant strengths for calculus="raw-ito", but a '
            "strength depends on time; use EulerMaruyama(dt=...)"
        )
    if dynamics.mixing is None:
        return
    group_of = {j: g for g, group in enumerate(groups) for j in group}
    for column in dynamics.mixing.T.tocsr():
        homes = {group_of[len(dynamics.drives) + j] for j in column.indices.tolist()}
        if len(homes) > 1:
            raise SchemeMismatchError(
                f"{name} must have correlated channels that commute where their "
                "strengths are different functions of time, but these do not; use "
                "Magnus(dt=...) or Heun(dt=...)"
            )


def prepare_splitting(
    scheme: Any, program: Program, dynamics: Dynamics, grid: StepGrid, seed: int
) -> Splitting:
    """Return the integrator of a splitting scheme.

    Raises
    ------
    SchemeMismatchError
        If the model does not split into factors in closed form.
    """
    if (dynamics.jump_function_of >= 0).any():
        cure = "UnitaryNoise() for them" if dynamics.one_body else "Strang(dt=...)"
        raise SchemeMismatchError(
            f"{type(scheme).__name__} must have jumps of constant rates, but a "
            f"strength depends on time; use {cure}"
        )
    durations = [part * h for h in grid.lengths for part in (1.0, 0.5)]
    longest = max(grid.lengths, default=1.0)
    return replace(
        prepare_parts(scheme, program, dynamics, dynamics.groups, grid, seed),
        flow=jump_flow(dynamics, longest),
        conditioned=conditioned_flow(dynamics, longest),
        events=orbital_events(dynamics),
        propagator=pack(flow_propagators(dynamics, durations)),
    )


def prepare_parts(
    scheme: Any,
    program: Program,
    dynamics: Dynamics,
    groups: list[list[int]],
    grid: StepGrid,
    seed: int,
) -> Splitting:
    """Return the integrator of a splitting scheme without its flow."""
    refuse_monitors(scheme, dynamics)
    _check_splitting(dynamics, groups, scheme)
    check_monitors(dynamics, max(grid.lengths, default=0.0))
    durations = [part * h for h in grid.lengths for part in (1.0, 0.5)]
    order = [j for group in groups for j in group]
    edges = np.cumsum([0] + [len(group) for group in groups])
    relabeled = [list(range(a, b)) for a, b in pairwise(edges.tolist())]
    return Splitting(
        grid=grid,
        program=program,
        flow=None,
        conditioned=None,
        events=None,
        propagator=pack([]),
        factors=noise_factors(
            [dynamics.channels[j] for j in order],
            relabeled,
            by_eigenvalue=program.two_point,
        ),
        modes=monitored_modes(dynamics),
        wiener=wiener_processes(
            dynamics, groups, grid, seed, monitored_groups(dynamics)
        ),
        monitors=monitor_factors(dynamics, durations),
        keys=Keys(stream_key(seed, Purpose.JUMPS), stream_key(seed, Purpose.ORDER)),
    )
