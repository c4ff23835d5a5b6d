"""Running atoms: trajectories from their initial state through all output times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.lowering import Dynamics
from stochq.recording.frames import Frame
from stochq.recording.runs import Kept, Run, joined
from stochq.recording.state_sums import add_states, state_sums
from stochq.recording.wanted import (
    Raised,
    Wanted,
    check_functions,
    evaluate,
    failures_of,
    refuse_unfit,
)
from stochq.schemes import Magnus, Richardson, Scheme
from stochq.schemes.lanes import ATOM, Lanes, Tally, load, measure
from stochq.schemes.large import SeriesSplitting
from stochq.schemes.traits import Integrator, StepGrid, grid_for, refuse_monitors
from stochq.states import DensityMatrix, State
from stochq.structure import Linear, Quadratic, pack_linear, pack_quadratic

__all__ = [
    "Kept",
    "Plan",
    "Run",
    "Source",
    "Stack",
    "coupled_plans",
    "plan_of",
    "taken",
]


#: Largest dimension for which several atoms share a group of lanes and fit in cache;
#: a Taylor series takes as many of them at a time as fit, those that are alike.
WIDE_DIM, SERIES_DIM = 64, 1024

#: Expectation values, and nothing else.
NOTHING = Wanted()


class Source(Protocol):
    """Something that gives values of trajectories, atom by atom."""

    @property
    def n_traj(self) -> int:
        """Number of trajectories."""

    @property
    def size(self) -> int:
        """Complex amplitudes of one trajectory."""

    @property
    def results(self) -> int:
        """Values of one trajectory."""

    def run(self, first: int, count: int) -> Run:
        """Run atoms first ... first + count - 1, as far as there are trajectories."""


@dataclass(frozen=True)
class Plan:
    """What a worker needs to run any atom: arrays only, no model."""

    state: State
    integrator: Integrator
    forms: Quadratic | Linear
    intervals: int
    normalize: bool
    channels: int
    monitors: int
    observables: int
    seed: int
    n_traj: int
    names: tuple[str, ...]
    frame: Frame
    wanted: Wanted = NOTHING

    @classmethod
    def of(
        cls,
        dynamics: Dynamics,
        grid: StepGrid,
        scheme: Scheme,
        seed: int,
        n_traj: int,
        wanted: Wanted = NOTHING,
    ) -> Plan:
        """Return the plan of a lowered model; what jumps take off norms is put back.

        Functions are tried on the initial states.
        """
        integrator = scheme.prepare(dynamics, grid, seed)
        frame, names = Frame.of(dynamics), _names(dynamics)
        dynamics = dynamics.carried
        conditioned = bool(dynamics.jumps or dynamics.monitors)
        plan = cls(
            state=dynamics.initial,
            integrator=integrator,
            forms=_forms(dynamics),
            intervals=len(grid.counts),
            normalize=conditioned and not dynamics.one_body,
            channels=len(dynamics.jumps),
            monitors=len(dynamics.monitors),
            observables=len(dynamics.observables),
            seed=seed,
            n_traj=n_traj,
            names=(*names, *(name for name, _ in wanted.functions)),
            frame=frame,
            wanted=wanted,
        )
        if wanted.functions:
            check_functions(wanted.functions, frame, plan.load(np.arange(ATOM)))
        return plan

    @property
    def size(self) -> int:
        """Complex amplitudes of one trajectory."""
        return int(self.state.dim * self.state.columns)

    @property
    def results(self) -> int:
        """Values of one trajectory."""
        kept = self.monitors if self.wanted.signals else 0
        curves = self.observables + len(self.wanted.functions) + kept
        matrices = 2 * self.frame.side**2 * len(self.wanted.states)
        return curves * (self.intervals + 1) + -(-matrices // ATOM)

    @property
    def calls_python(self) -> bool:
        """Whether Python's lock would keep threads waiting for each other."""
        return bool(self.wanted.functions)

    def load(self, numbers: Ints, width: int = ATOM) -> Lanes:
        """Return trajectories at their initial state, kets in groups of lanes."""
        tally = Tally.of(self.channels, self.n_traj, numbers, self.wanted.jumps)
        lanes = load(self.state, tally, self.seed, numbers, width)
        groups, _, _, breadth = lanes.x.shape
        lanes.signals = np.zeros((groups, self.monitors, breadth))
        return lanes

    def measure(self, lanes: Lanes) -> tuple[Floats, Floats]:
        """Return expectation values (O, n) and squared norms (n,)."""
        return measure(lanes, self.forms, self.normalize)

    def run(self, first: int, count: int) -> Run:
        """Run atoms first ... first + count - 1, as far as there are trajectories.

        Several atoms share a group of lanes where that is faster; what is left over
        has a narrower group. No lane knows of the others.
        """
        together = self._together()
        rest = count % together
        if 0 < rest < count:
            runs = (
                self._run(first, count - rest, together),
                self._run(first + count - rest, rest, rest),
            )
            return joined(*runs)
        return self._run(first, count, rest or together)

    def _together(self) -> int:
        """Return how many atoms share a group of lanes."""
        series = isinstance(self.integrator, SeriesSplitting)
        widest = SERIES_DIM if series else WIDE_DIM
        if self.state.one_body or self.state.dim > widest:
            return 1
        return self.integrator.together

    def _run(self, first: int, count: int, together: int) -> Run:
        """Run atoms in groups of `together`."""
        present = self.n_traj - first * ATOM
        # orbitals fill their lanes by themselves; kets fill up their last atom
        size = min(present, count * ATOM) if self.state.one_body else count * ATOM
        lanes = self.load(first * ATOM + np.arange(size), together * ATOM)
        values = np.empty((len(self.names), self.intervals + 1, size))
        kept = self.monitors if self.wanted.signals else 0
        signals = np.empty((kept, self.intervals, size))
        jumps = np.zeros((self.channels, self.intervals + 1), dtype=np.int64)
        norms = np.ones((self.intervals + 1, size))
        raised: dict[int, Raised] = {}
        sums = []
        for t in range(self.intervals + 1):
            if t:
                self.integrator.advance(lanes, t - 1)
                jumps[:, t] = lanes.tally.jumps
                if kept:
                    signals[:, t - 1] = taken(lanes)
            values[: self.observables, t], squares = self.measure(lanes)
            if not self.normalize:
                norms[t] = squares
            if self.wanted.functions:
                rows = values[self.observables :, t]
                evaluate(self.wanted.functions, lanes, self.frame, t, rows, raised)
            if t in self.wanted.states:
                sums.append(add_states(lanes, self.frame, present, self.normalize))
        values = values[..., :present]
        failures, failed = failures_of(
            values, self.names, first * ATOM, raised, self.observables
        )
        return Run(
            values,
            jumps,
            norms[:, :present],
            float(np.abs(norms - 1).max()),
            float(lanes.tally.residual[0]),
            Kept.of(lanes.tally) if self.wanted.jumps else None,
            signals[..., :present],
            failures,
            failed,
            state_sums(sums, present),
            tuple(binning.of_run(values) for binning in self.wanted.bins),
        )


def _names(dynamics: Dynamics) -> tuple[str, ...]:
    """Return the names of what is measured; what is not the model's has numbers."""
    names = tuple(dynamics.model.observables)
    count = len(dynamics.observables)
    same = len(names) == count
    return names if same else tuple(f"observable {k}" for k in range(count))


def _forms(dynamics: Dynamics) -> Quadratic | Linear:
    """Return what measures the observables: of kets, or of density matrices."""
    if isinstance(dynamics.initial, DensityMatrix):
        return pack_linear(dynamics.observables, dynamics.initial.diagonal)
    return pack_quadratic(dynamics.observables)


def taken(lanes: Lanes) -> Floats:
    """Return the signals since they were last taken, (monitors, n), and forget them."""
    seen = lanes.signals[..., :1] if lanes.shared else lanes.signals
    groups, monitors, width = seen.shape
    signals = np.moveaxis(seen, 1, 0).reshape(monitors, groups * width).copy()
    lanes.signals[:] = 0.0
    return signals


@dataclass(frozen=True)
class Stack:
    """Weighted sums of the values that several plans give for the same trajectories.

    The plans share seeds and Brownian paths, so that differences between them have
    small variance. Row r is sum_p weights[r, p] values_p; rows are stacked along the
    observables.
    """

    plans: tuple[Plan, ...]
    weights: Floats

    @property
    def n_traj(self) -> int:
        """Number of trajectories."""
        return self.plans[0].n_traj

    @property
    def size(self) -> int:
        """Complex amplitudes of one trajectory, in the largest plan."""
        return max(plan.size for plan in self.plans)

    @property
    def results(self) -> int:
        """Values of one trajectory, those of all plans included."""
        return (len(self.plans) + len(self.weights)) * self.plans[0].results

    def run(self, first: int, count: int) -> Run:
        """Run atoms first ... first + count - 1 of every plan."""
        runs = [plan.run(first, count) for plan in self.plans]
        rows = [
            sum(w * run.values for w, run in zip(row, runs, strict=True))
            for row in self.weights
        ]
        values = np.concatenate(rows)
        names = self.plans[0].names * len(rows)
        failures, failed = failures_of(values, names, first * ATOM)
        return Run(
            values,
            runs[0].jumps,
            sum(w * run.norms for w, run in zip(self.weights[0], runs, strict=True)),
            max(run.norm_defect for run in runs),
            max(run.residual for run in runs),
            signals=runs[0].signals,
            failures=failures,
            failed=failed,
        )


def plan_of(
    dynamics: Dynamics,
    times: Floats,
    scheme: Scheme,
    seed: int,
    n_traj: int,
    wanted: Wanted = NOTHING,
) -> Source:
    """Return what runs a lowered model by a scheme.

    An extrapolated scheme is two plans, with steps h/2 and h on one Brownian path.

    Raises
    ------
    SchemeMismatchError
        If the scheme cannot integrate this model, or something is wanted of single
        trajectories that it does not have.
    ModelError
        If a function does not take the states of this model.
    """
    refuse_unfit(wanted, scheme)
    if not isinstance(scheme, Richardson):
        grid = grid_for(scheme, times)
        return Plan.of(dynamics, grid, scheme, seed, n_traj, wanted)
    refuse_monitors(scheme, dynamics)
    grid = grid_for(scheme, times)
    fine, coarse = coupled_plans(dynamics, grid, scheme.base, seed, n_traj)
    return Stack((fine, coarse), np.array([scheme.weights]))


def coupled_plans(
    dynamics: Dynamics, grid: StepGrid, scheme: Scheme, seed: int, n_traj: int
) -> tuple[Plan, Plan]:
    """Return plans with steps h/2 and h, their increments summed from the same path.

    Each has the law of the scheme at its own step, whatever the path's cells are.
    """
    h = max(grid.lengths, default=1.0)
    whole, half, cells = scheme, scheme, 2
    if isinstance(scheme, Magnus):
        whole, half = scheme.settled(dynamics, h), scheme.settled(dynamics, h / 2)
        cells = max(2, half.cells or 1)
        cells *= 1 if 2 * cells % (whole.cells or 1) == 0 else (whole.cells or 1)
    fine = Plan.of(dynamics, grid.refined(2).on_path(cells), half, seed, n_traj)
    coarse = Plan.of(dynamics, grid.on_path(2 * cells), whole, seed, n_traj)
    return fine, coarse
