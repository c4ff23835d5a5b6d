"""Running atoms: trajectories from their initial state through all output times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.lowering import Dynamics
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM, Tally, load, measure
from stochq.schemes.traits import Integrator
from stochq.states import State
from stochq.structure import Quadratic, pack_quadratic

__all__ = ["Plan", "Run", "run_atoms"]


@dataclass(frozen=True)
class Plan:
    """What a worker needs to run any atom: arrays only, no model."""

    state: State
    integrator: Integrator
    forms: Quadratic
    intervals: int
    normalize: bool
    channels: int
    seed: int
    n_traj: int

    @classmethod
    def of(
        cls, dynamics: Dynamics, times: Floats, scheme: Scheme, seed: int, n_traj: int
    ) -> Plan:
        """Return the plan of a lowered model; what jumps take off norms is put back."""
        return cls(
            state=dynamics.initial,
            integrator=scheme.prepare(dynamics, times, seed),
            forms=pack_quadratic(dynamics.observables),
            intervals=times.size - 1,
            normalize=bool(dynamics.jumps) and not dynamics.one_body,
            channels=len(dynamics.jumps),
            seed=seed,
            n_traj=n_traj,
        )


@dataclass(frozen=True)
class Run:
    """Values of every trajectory of some atoms.

    Attributes
    ----------
    values : ndarray, shape (O, T, n)
        Expectation values of n trajectories.
    jumps : ndarray of int, shape (channels, T)
        Jumps up to each time of all trajectories together, by operator.
    norm_defect : float
        Largest |<psi|psi> - 1| where nothing lowers the norm.
    residual : float
        Largest |ln(S / u)| at a solved jump time.
    """

    values: Floats
    jumps: Ints
    norm_defect: float
    residual: float


def run_atoms(plan: Plan, first: int, count: int) -> Run:
    """Run atoms first ... first + count - 1, as far as there are trajectories."""
    tally = Tally(np.zeros(plan.channels, np.int64), np.zeros(1), plan.n_traj)
    lanes = load(plan.state, tally, plan.seed, first, count)
    values = np.empty((plan.forms.ptr.size - 1, plan.intervals + 1, count * ATOM))
    jumps = np.zeros((plan.channels, plan.intervals + 1), dtype=np.int64)
    defect = 0.0
    for t in range(plan.intervals + 1):
        if t:
            plan.integrator.advance(lanes, t - 1)
            jumps[:, t] = tally.jumps
        values[:, t], norms = measure(lanes, plan.forms, plan.normalize)
        if not plan.normalize:
            defect = max(defect, float(np.abs(norms - 1).max()))
    values = values[..., : plan.n_traj - first * ATOM]
    return Run(values, jumps, defect, float(tally.residual[0]))
