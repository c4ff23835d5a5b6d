"""Running atoms: trajectories from their initial state through all output times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats, Ints
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes import Magnus, Richardson, Scheme
from stochq.schemes.lanes import ATOM, Lanes, Tally, load, measure
from stochq.schemes.large import SeriesSplitting
from stochq.schemes.traits import Integrator, StepGrid, grid_for
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


class Kept(NamedTuple):
    """The first jumps of consecutive trajectories, and how many there were in all.

    One entry per jump of trajectory, time and channel; counts have the shape
    (channels, n).
    """

    trajectory: Ints
    time: Floats
    channel: npt.NDArray[np.int32]
    counts: Ints

    @classmethod
    def of(cls, tally: Tally) -> Kept:
        """Return what a tally holds of the trajectories that count."""
        size = min(tally.kept.size, tally.n_traj - tally.first)
        mine = np.arange(tally.time.shape[1]) < tally.kept[:size, None]
        return cls(
            tally.first + np.nonzero(mine)[0],
            tally.time[:size][mine],
            tally.channel[:size][mine],
            tally.counts[:, :size],
        )

    @classmethod
    def joined(cls, parts: Sequence[Kept]) -> Kept:
        """Return consecutive parts as one."""
        columns = zip(*parts, strict=True)
        return cls(*(np.concatenate(column, axis=-1) for column in columns))


@dataclass(frozen=True)
class Run:
    """Values of every trajectory of some atoms.

    Attributes
    ----------
    values : ndarray, shape (O, T, n)
        Expectation values of n trajectories.
    jumps : ndarray of int, shape (channels, T)
        Jumps up to each time of all trajectories together, by operator.
    norms : ndarray, shape (T, n)
        <psi|psi> of n trajectories; 1 where jumps lower it, which is put back.
    norm_defect : float
        Largest |<psi|psi> - 1| where nothing lowers the norm.
    residual : float
        Largest |ln(S / u)| at a solved jump time.
    kept : Kept or None
        The jumps of single trajectories, if asked for.
    signals : ndarray, shape (monitors, T - 1, n)
        Integrals of dY over the intervals [sqrt(time)]; no monitors if not kept.
    """

    values: Floats
    jumps: Ints
    norms: Floats
    norm_defect: float
    residual: float
    kept: Kept | None = None
    signals: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))


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
    keep_jumps: int = 0
    keep_signals: bool = False

    @classmethod
    def of(
        cls,
        dynamics: Dynamics,
        grid: StepGrid,
        scheme: Scheme,
        seed: int,
        n_traj: int,
        keep_jumps: int = 0,
        keep_signals: bool = False,
    ) -> Plan:
        """Return the plan of a lowered model; what jumps take off norms is put back."""
        integrator = scheme.prepare(dynamics, grid, seed)
        dynamics = dynamics.carried
        conditioned = bool(dynamics.jumps or dynamics.monitors)
        return cls(
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
            keep_jumps=keep_jumps,
            keep_signals=keep_signals,
        )

    @property
    def size(self) -> int:
        """Complex amplitudes of one trajectory."""
        return int(self.state.dim * self.state.columns)

    @property
    def results(self) -> int:
        """Values of one trajectory."""
        kept = self.monitors if self.keep_signals else 0
        return (self.observables + kept) * (self.intervals + 1)

    def load(self, numbers: Ints, width: int = ATOM) -> Lanes:
        """Return trajectories at their initial state, kets in groups of lanes."""
        tally = Tally.of(self.channels, self.n_traj, numbers, self.keep_jumps)
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
            return _joined(*runs)
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
        values = np.empty((self.observables, self.intervals + 1, size))
        kept = self.monitors if self.keep_signals else 0
        signals = np.empty((kept, self.intervals, size))
        jumps = np.zeros((self.channels, self.intervals + 1), dtype=np.int64)
        norms = np.ones((self.intervals + 1, size))
        for t in range(self.intervals + 1):
            if t:
                self.integrator.advance(lanes, t - 1)
                jumps[:, t] = lanes.tally.jumps
                if kept:
                    signals[:, t - 1] = taken(lanes)
            values[:, t], squares = self.measure(lanes)
            if not self.normalize:
                norms[t] = squares
        return Run(
            values[..., :present],
            jumps,
            norms[:, :present],
            float(np.abs(norms - 1).max()),
            float(lanes.tally.residual[0]),
            Kept.of(lanes.tally) if self.keep_jumps else None,
            signals[..., :present],
        )


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


def _joined(one: Run, other: Run) -> Run:
    """Return the values of two runs, one after the other."""
    return Run(
        np.concatenate([one.values, other.values], axis=-1),
        one.jumps + other.jumps,
        np.concatenate([one.norms, other.norms], axis=-1),
        max(one.norm_defect, other.norm_defect),
        max(one.residual, other.residual),
        Kept.joined([one.kept, other.kept]) if one.kept and other.kept else None,
        np.concatenate([one.signals, other.signals], axis=-1),
    )


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
        return Run(
            np.concatenate(rows),
            runs[0].jumps,
            sum(w * run.norms for w, run in zip(self.weights[0], runs, strict=True)),
            max(run.norm_defect for run in runs),
            max(run.residual for run in runs),
            signals=runs[0].signals,
        )


def plan_of(
    dynamics: Dynamics,
    times: Floats,
    scheme: Scheme,
    seed: int,
    n_traj: int,
    keep_jumps: int = 0,
    keep_signals: bool = False,
) -> Source:
    """Return what runs a lowered model by a scheme.

    An extrapolated scheme is two plans, with steps h/2 and h on one Brownian path.

    Raises
    ------
    SchemeMismatchError
        If the scheme cannot integrate this model, or jumps or signals are to be kept
        that it does not have.
    """
    if not isinstance(scheme, Richardson):
        grid = grid_for(scheme, times)
        return Plan.of(dynamics, grid, scheme, seed, n_traj, keep_jumps, keep_signals)
    if keep_jumps or keep_signals:
        argument = "keep_jumps" if keep_jumps else "keep_signals"
        raise SchemeMismatchError(
            f"`{argument}` must go with a scheme that has single trajectories, but "
            f"{scheme} extrapolates means; use Strang(dt=...)"
        )
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
