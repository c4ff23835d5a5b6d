"""Running atoms: trajectories from their initial state through all output times."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes import Magnus, Richardson, Scheme
from stochq.schemes.lanes import ATOM, Lanes, Tally, load, measure
from stochq.schemes.traits import Integrator, StepGrid, grid_for
from stochq.states import DensityMatrix, State
from stochq.structure import Linear, Quadratic, pack_linear, pack_quadratic

__all__ = ["Plan", "Run", "Source", "Stack", "coupled_plans", "plan_of", "taken"]


#: Largest dimension for which several atoms share a group of lanes and fit in cache.
WIDE_DIM = 64


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
    signals : ndarray, shape (monitors, T - 1, n)
        Integrals of dY over the intervals [sqrt(time)]; no monitors if not kept.
    """

    values: Floats
    jumps: Ints
    norms: Floats
    norm_defect: float
    residual: float
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
    keep_signals: bool = False

    @classmethod
    def of(
        cls, dynamics: Dynamics, grid: StepGrid, scheme: Scheme, seed: int, n_traj: int
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
        tally = Tally(np.zeros(self.channels, np.int64), np.zeros(1), self.n_traj)
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
        if self.state.one_body or self.state.dim > WIDE_DIM:
            return 1
        return self.integrator.together

    def _run(self, first: int, count: int, together: int) -> Run:
        """Run atoms in groups of `together`."""
        numbers = np.arange(first * ATOM, (first + count) * ATOM)
        lanes = self.load(numbers, together * ATOM)
        values = np.empty((self.observables, self.intervals + 1, count * ATOM))
        kept = self.monitors if self.keep_signals else 0
        signals = np.empty((kept, self.intervals, count * ATOM))
        jumps = np.zeros((self.channels, self.intervals + 1), dtype=np.int64)
        norms = np.ones((self.intervals + 1, count * ATOM))
        for t in range(self.intervals + 1):
            if t:
                self.integrator.advance(lanes, t - 1)
                jumps[:, t] = lanes.tally.jumps
                if kept:
                    signals[:, t - 1] = taken(lanes)
            values[:, t], squares = self.measure(lanes)
            if not self.normalize:
                norms[t] = squares
        kept_traj = self.n_traj - first * ATOM
        return Run(
            values[..., :kept_traj],
            jumps,
            norms[:, :kept_traj],
            float(np.abs(norms - 1).max()),
            float(lanes.tally.residual[0]),
            signals[..., :kept_traj],
        )


def _forms(dynamics: Dynamics) -> Quadratic | Linear:
    """Return what measures the observables: of kets, or of density matrices."""
    if isinstance(dynamics.initial, DensityMatrix):
        return pack_linear(dynamics.observables, dynamics.initial.diagonal)
    return pack_quadratic(dynamics.observables)


def taken(lanes: Lanes) -> Floats:
    """Return the signals since they were last taken, (monitors, n), and forget them."""
    groups, monitors, width = lanes.signals.shape
    signals = np.moveaxis(lanes.signals, 1, 0).copy()
    lanes.signals[:] = 0.0
    return signals.reshape(monitors, groups * width)


def _joined(one: Run, other: Run) -> Run:
    """Return the values of two runs, one after the other."""
    return Run(
        np.concatenate([one.values, other.values], axis=-1),
        one.jumps + other.jumps,
        np.concatenate([one.norms, other.norms], axis=-1),
        max(one.norm_defect, other.norm_defect),
        max(one.residual, other.residual),
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
            runs[0].signals,
        )


def plan_of(
    dynamics: Dynamics,
    times: Floats,
    scheme: Scheme,
    seed: int,
    n_traj: int,
    *,
    keep_signals: bool = False,
) -> Source:
    """Return what runs a lowered model by a scheme.

    An extrapolated scheme is two plans, with steps h/2 and h on one Brownian path.

    Raises
    ------
    SchemeMismatchError
        If signals are to be kept of an extrapolated scheme, which has means only.
    """
    if not isinstance(scheme, Richardson):
        plan = Plan.of(dynamics, grid_for(scheme, times), scheme, seed, n_traj)
        return replace(plan, keep_signals=keep_signals)
    if keep_signals:
        raise SchemeMismatchError(
            f"`keep_signals` must go with a scheme of single trajectories, but {scheme}"
            " has means only; use Strang(dt=...)"
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
