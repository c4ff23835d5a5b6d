"""Symmetric exponential splitting: unitary on every path, weak order 2.

With the flow F (Hamiltonian and jumps) and groups G_1 ... G_m of commuting noise
channels, one step is

    F(h/2) G_1(h/2) ... G_m(h) ... G_1(h/2) F(h/2),

where the two halves of a group have *independent* increments. Each factor averages to
the exact semigroup of its part, so the step averages to the Strang product of those
semigroups, whose error is of second order in h. (One increment shared by the halves
would make it first order.) The outer halves of neighboring steps merge into one factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats, Ints
from stochq.errors import SchemeMismatchError
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.flow import (
    JumpFlow,
    flow_generator,
    jump_flow,
    propagators,
)
from stochq.schemes.jumps import flow_lanes
from stochq.schemes.lanes import Lanes
from stochq.schemes.noise import noise_factor
from stochq.schemes.traits import StepGrid, Traits, checked_dt, step_grid
from stochq.streams import BLOCK, Purpose, stream_key
from stochq.structure import (
    NoiseFactors,
    Sparse,
    commute,
    commuting_groups,
    noise_factors,
    pack,
)

__all__ = ["Exact", "Strang", "has_flow", "splitting_groups"]


class Program(NamedTuple):
    """The factors of one step: -1 for the flow, or the number of a noise group."""

    factor: Ints
    halved: npt.NDArray[np.bool_]


def _program(with_flow: bool, groups: int) -> Program:
    """Return inner factors out and back, then the outermost factor, merged to a whole.

    For factors 0 (outermost) ... m: halves of 1 ... m-1, all of m, halves of
    m-1 ... 1, and all of 0.
    """
    order = ([-1] if with_flow else []) + list(range(groups))
    if len(order) < 2:
        return Program(np.array(order, dtype=np.int64), np.zeros(len(order), bool))
    outer, *middle, innermost = order
    factor = [*middle, innermost, *reversed(middle), outer]
    halved = [f in middle for f in factor]
    return Program(np.array(factor, dtype=np.int64), np.array(halved))


class Keys(NamedTuple):
    """The streams that an integration draws from."""

    noise: npt.NDArray[np.uint32]
    jumps: npt.NDArray[np.uint32]


@kernel
def _advance(
    x, trajectory, clock, draws, tally, shared, position, flow, step, kind,
    factors, program, h, count, keys,
):  # fmt: skip
    """Take `count` steps of length h with every group of lanes; return the position.

    The program lists the factors of a step that begins after half of the last factor:
    that half is taken first, and the last step ends with the other half.
    """
    groups, _, dim, lanes = x.shape
    increments = np.zeros((factors.value_ptr.shape[0], lanes))
    words = np.empty((BLOCK, lanes), dtype=np.uint64)
    block = np.empty((BLOCK, lanes))
    work = np.empty((5, lanes))
    y = np.empty((2, dim, lanes))
    square = np.empty(lanes)
    vectors = np.empty((4, dim), dtype=np.complex128)
    held = np.empty(1, dtype=np.int64)
    last = program.factor.shape[0] - 1
    end = position
    for g in range(groups):
        held[0] = -1
        pos = position
        for n in range(count + 1):
            for o in range(last + 1):
                if n == 0 and (o < last or last == 0):
                    continue
                outer_half = o == last and last > 0 and (n == 0 or n == count)
                halved = outer_half or program.halved[o]
                duration = 0.5 * h if halved else h
                if program.factor[o] < 0:
                    row = (2 * kind + (1 if halved else 0)) * dim
                    flow_lanes(
                        flow, x[g], shared, duration, step, row, clock[g], draws[g],
                        keys.jumps, trajectory[g], y, square, vectors, tally,
                    )  # fmt: skip
                else:
                    pos = noise_factor(
                        factors, program.factor[o], duration, keys.noise,
                        trajectory[g], shared, pos, x[g], increments, words, block,
                        held, work,
                    )  # fmt: skip
        end = pos
    return end


@dataclass(frozen=True)
class _Splitting:
    """A splitting scheme ready to run."""

    grid: StepGrid
    program: Program
    flow: JumpFlow
    step: Sparse
    factors: NoiseFactors
    keys: Keys

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes through one interval between output times."""
        kind = self.grid.kind[interval]
        lanes.position = _advance(
            lanes.x, lanes.trajectory, lanes.clock, lanes.draws, lanes.tally,
            lanes.shared, lanes.position, self.flow, self.step, kind, self.factors,
            self.program, self.grid.lengths[kind], self.grid.counts[interval],
            self.keys,
        )  # fmt: skip


def has_flow(dynamics: Dynamics) -> bool:
    """Tell whether anything but noise moves the state."""
    return bool(dynamics.hamiltonian.nnz or dynamics.jumps)


def splitting_groups(dynamics: Dynamics) -> list[list[int]]:
    """Return the commuting groups of noise channels, in the order they are applied."""
    return commuting_groups(dynamics.noise)


def _prepare(dynamics: Dynamics, times: Floats, dt: float, seed: int) -> _Splitting:
    """Return the integrator of a splitting with steps of at most dt."""
    grid = step_grid(times, dt)
    groups = splitting_groups(dynamics)
    order: Ints = np.array([k for group in groups for k in group], dtype=np.int64)
    noise = [dynamics.noise[k] for k in order]
    relabeled = np.split(np.arange(order.size), np.cumsum([len(g) for g in groups]))
    durations = [part * h for h in grid.lengths for part in (1.0, 0.5)]
    return _Splitting(
        grid=grid,
        program=_program(has_flow(dynamics), len(groups)),
        flow=jump_flow(dynamics, max(grid.lengths, default=1.0)),
        step=pack(propagators(flow_generator(dynamics), durations)),
        factors=noise_factors(noise, [g.tolist() for g in relabeled[:-1]]),
        keys=Keys(stream_key(seed, Purpose.NOISE), stream_key(seed, Purpose.JUMPS)),
    )


@dataclass(frozen=True)
class Strang:
    """Symmetric exponential splitting with independent half increments.

    Orders: weak 2; pathwise 1 for commuting noise, 1/2 otherwise.
    Handles: noise of every kind, jumps (their times have no step error), and both.
    Conserves: the norm under noise, to rounding, on every path.

    Parameters
    ----------
    dt : float
        Largest step [time]; every interval between output times gets equal steps.

    Raises
    ------
    SchemeMismatchError
        If dt is not finite and positive.
    """

    dt: float
    traits: ClassVar[Traits] = Traits(
        calculus="stratonovich", weak=2.0, strong=0.5, jumps=True, unitary=True
    )

    def __post_init__(self) -> None:
        """Check dt."""
        object.__setattr__(self, "dt", checked_dt(self.dt, "Strang"))

    def prepare(self, dynamics: Dynamics, times: Floats, seed: int) -> _Splitting:
        """Return an integrator for a lowered model."""
        return _prepare(dynamics, times, self.dt, seed)


@dataclass(frozen=True)
class Exact:
    """No time step and no step error, for models whose factors all commute.

    Handles: jumps and a Hamiltonian without noise; commuting noise, with a Hamiltonian
    that commutes with it.
    """

    traits: ClassVar[Traits] = Traits(
        calculus="none", weak=np.inf, strong=np.inf, jumps=True, unitary=True
    )

    @property
    def dt(self) -> float:
        """Infinite: there is no step."""
        return np.inf

    @staticmethod
    def handles(dynamics: Dynamics) -> bool:
        """Tell whether all factors of the model commute."""
        if not dynamics.noise:
            return True
        if dynamics.jumps or len(splitting_groups(dynamics)) > 1:
            return False
        flow = dynamics.hamiltonian
        return not flow.nnz or all(commute(flow, L) for L in dynamics.noise)

    def prepare(self, dynamics: Dynamics, times: Floats, seed: int) -> _Splitting:
        """Return an integrator for a lowered model.

        Raises
        ------
        SchemeMismatchError
            If the model has factors that do not commute.
        """
        if not self.handles(dynamics):
            raise SchemeMismatchError(
                "Exact() must have a model whose parts commute (no noise, or only "
                "commuting noise), but this one has others; use Strang(dt=...)"
            )
        return _prepare(dynamics, times, np.inf, seed)
