"""A time step that is too large."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stochq.faults.base import Planted
from stochq.references import Reference
from stochq.schemes import Richardson
from stochq.schemes.traits import grid_for
from stochq.setting import Setting

__all__ = ["LONGER", "StepFault", "step_faults"]

#: How many times too long the step is, if output times leave room for it.
LONGER = 16


@dataclass(frozen=True)
class StepFault:
    """The step LONGER times as long, or as long as the longest output interval.

    Attributes
    ----------
    factor : float
        How much longer steps become.
    dt : float
        What they are then [time].
    """

    factor: float
    dt: float

    name = "time step too large"

    @property
    def what(self) -> str:
        """What it is made in."""
        return f"dt x {self.factor:.3g}"

    excuse = "a step already fills the interval between output times"

    def equivalent(self, right: Setting) -> bool:
        """Tell whether the step is as long as it was."""
        return bool(np.isclose(self.factor, 1.0))

    def curves(self, right: Setting) -> Reference | None:
        """Return nothing: they are not known beforehand."""
        return None

    def plant(self, right: Setting, seed: int, n_traj: int) -> Planted:
        """Return the run with the longer step."""
        scheme: Any = right.scheme
        if isinstance(scheme, Richardson):
            scheme = replace(scheme, base=replace(scheme.base, dt=self.dt))  # type: ignore[type-var]
        else:
            scheme = replace(scheme, dt=self.dt)
        faulty = replace(right, seed=seed, scheme=scheme)
        return Planted(faulty, faulty.source(n_traj))


def step_faults(right: Setting) -> list[StepFault]:
    """Return the step too large; none for a scheme without steps."""
    if np.isinf(right.scheme.dt):
        return []
    used = max(grid_for(right.scheme, right.times).lengths)
    dt = min(LONGER * used, float(np.diff(right.times).max()))
    return [StepFault(dt / used, dt)]
