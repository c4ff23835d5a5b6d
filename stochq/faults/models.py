"""Mistakes in the physics: trajectories of another model than the one meant."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stochq.arrays import Floats
from stochq.errors import ModelError
from stochq.faults.base import Planted
from stochq.model import Model
from stochq.references import Reference, master_equation
from stochq.running.stopping import Goal
from stochq.setting import Setting, setting_of

__all__ = ["ModelFault", "same_generator"]

#: Generators that differ by less, relative to their size, are equal but for rounding.
ROUNDING = 1e-12

#: Times at which generators that depend on time are compared.
LOOKS = 5


@dataclass(frozen=True, eq=False)
class ModelFault:
    """Trajectories of another model than the one meant.

    Attributes
    ----------
    name, what, excuse : str
        As in `Fault`.
    model : Model
        The faulty model.
    factor : float, optional
        What the named rate `what` is multiplied by, if that is the fault.
    rate : str
        That rate's name.
    """

    name: str
    what: str
    excuse: str
    model: Model
    factor: float = 1.0
    rate: str = ""

    def equivalent(self, right: Setting) -> bool:
        """Tell whether the averaged equations are the same."""
        return same_generator(right.model, self.model, right.times)

    def curves(self, right: Setting) -> Reference | None:
        """Return the averages of the faulty model, if its equation closes."""
        try:
            return master_equation(self.model, right.times, sensitivity=False)
        except ModelError:
            return None

    def plant(self, right: Setting, seed: int, n_traj: int) -> Planted:
        """Return a run of the faulty model, for which all else was asked alike."""
        setting = setting_of(
            self.model,
            right.times,
            seed,
            right.unraveling,
            right.extras,
            None if right.by_default else right.scheme,
            Goal(n_traj),
        )
        return Planted(setting, setting.source(n_traj))


def same_generator(one: Model, other: Model, times: Floats) -> bool:
    """Tell whether two models have the same averaged equation, to rounding.

    That of the density matrix; for a one-body model of free fermions the equation of G,
    which is that of one particle (G^T follows the master equation of its density
    matrix).
    """
    looks = np.linspace(times[0], times[-1], LOOKS if one.time_dependent else 1)
    one, other = (_one_particle(model) for model in (one, other))
    for t in looks:
        right, wrong = one.lindbladian(float(t)), other.lindbladian(float(t))
        scale = max(float(np.abs(m.data).max(initial=0.0)) for m in (right, wrong))
        gap = float(np.abs((right - wrong).data).max(initial=0.0))
        if gap > ROUNDING * scale:
            return False
    return True


def _one_particle(model: Model) -> Model:
    """Return a one-body model as that of one particle; others as they are."""
    return replace(model, initial=np.eye(model.dim)[0]) if model.one_body else model
