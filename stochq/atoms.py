"""Running atoms: trajectories from their initial state through all output times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stochq.arrays import Floats
from stochq.lowering import Dynamics
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM, load, measure
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
    seed: int

    @classmethod
    def of(cls, dynamics: Dynamics, times: Floats, scheme: Scheme, seed: int) -> Plan:
        """Return the plan of a lowered model; what jumps take off norms is put back."""
        return cls(
            state=dynamics.initial,
            integrator=scheme.prepare(dynamics, times, seed),
            forms=pack_quadratic(dynamics.observables),
            intervals=times.size - 1,
            normalize=bool(dynamics.jumps) and not dynamics.one_body,
            seed=seed,
        )


@dataclass(frozen=True)
class Run:
    """Values of every trajectory of some atoms.

    Attributes
    ----------
    values : ndarray, shape (O, T, n)
        Expectation values of n trajectories.
    norm_defect : float
        Largest |<psi|psi> - 1| where nothing lowers the norm.
    residual : float
        Largest |ln(S / u)| at a solved jump time.
    """

    values: Floats
    norm_defect: float
    residual: float


def run_atoms(plan: Plan, first: int, count: int) -> Run:
    """Run atoms first ... first + count - 1."""
    lanes = load(plan.state, plan.seed, first, count)
    values = np.empty((plan.forms.ptr.size - 1, plan.intervals + 1, count * ATOM))
    defect = 0.0
    for t in range(plan.intervals + 1):
        if t:
            plan.integrator.advance(lanes, t - 1)
        values[:, t], norms = measure(lanes, plan.forms, plan.normalize)
        if not plan.normalize:
            defect = max(defect, float(np.abs(norms - 1).max()))
    return Run(values, defect, float(lanes.residual[0]))
