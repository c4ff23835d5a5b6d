"""What a study refers to on its Brownian path."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stochq.arrays import Floats
from stochq.atoms import Plan
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.orders.levels import Levels
from stochq.orders.paths import Paths
from stochq.schemes import Exact, Heun, Magnus, Scheme, Strang
from stochq.schemes.traits import StepGrid, step_grid

__all__ = ["paths_of"]


@dataclass(frozen=True)
class _Reference:
    """A plan with what it is called and its step [time], which 0 says is harmless."""

    plan: Plan
    label: str
    cell: float


class _References:
    """What a study can refer to, on the finest path."""

    def __init__(
        self, dynamics: Dynamics, times: Floats, levels: Levels, seed: int, n_traj: int
    ) -> None:
        self.dynamics, self.times, self.levels = dynamics, times, levels
        self.seed, self.n_traj = seed, n_traj
        self.cell = levels.finest(1)
        self.width = max(self.cell.lengths)

    def plan(self, scheme: Scheme, grid: StepGrid) -> Plan:
        """Return the plan of a scheme on steps."""
        return Plan.of(self.dynamics, grid, scheme, self.seed, self.n_traj)

    def exact(self) -> _Reference:
        """Return the solution on the path, where all parts of a model commute."""
        whole = replace(step_grid(self.times, np.inf), cells=self.cell.counts)
        return _Reference(self.plan(Exact(), whole), "the exact solution", 0.0)

    def splitting(self) -> _Reference | None:
        """Return `Strang`, whose weak error is harmless; None where nothing splits."""
        strang = Strang(2 * self.width)
        try:
            plan = self.plan(strang, self.levels.finest(2))
        except SchemeMismatchError:
            return None
        return _Reference(plan, f"Strang in steps of {strang.dt:.3g}", strang.dt)

    def states(self) -> _Reference:
        """Return what states without a closed solution refer to.

        A product of exponentials solves the equation driven by straight pieces; where
        the norm is not kept, there is none.
        """
        if self.dynamics.raw:
            heun = self.plan(Heun(self.width), self.cell)
            return self.splitting() or _Reference(
                heun, f"Heun in steps of {self.width:.3g}", self.width
            )
        plan = self.plan(Magnus(self.width), self.cell)
        label = f"exponentials over cells of {self.width:.3g}"
        return _Reference(plan, label, self.width)


def paths_of(
    dynamics: Dynamics, times: Floats, levels: Levels, seed: int, n_traj: int
) -> Paths:
    """Return the source of a study.

    The reference is the solution on the path where there is one. Else states refer to
    the product of exponentials over its cells, and means to `Strang`, whose weak order
    is 2.
    """
    plans = tuple(
        Plan.of(dynamics, levels.on_path(k), levels.base, seed, n_traj)
        for k in range(len(levels.grids))
    )
    conditioned = bool(dynamics.jumps or dynamics.monitors or dynamics.mixed)
    known = _References(dynamics, times, levels, seed, n_traj)
    if Exact.handles(dynamics):
        states = means = known.exact()
    else:
        split = known.splitting()
        states = split if split and conditioned else known.states()
        means = replace(split, cell=0.0) if split else states
    return Paths(
        plans=plans,
        weights=levels.weights,
        states=None if conditioned else states.plan,
        means=means.plan,
        label=states.label,
        cells=(states.cell, means.cell),
    )
