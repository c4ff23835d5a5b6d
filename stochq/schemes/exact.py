"""No step at all: the solution of a model whose parts commute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes.splitting import (
    Splitting,
    merged_outside,
    prepare_splitting,
)
from stochq.schemes.strang import symmetric_program
from stochq.schemes.traits import StepGrid, Traits
from stochq.structure import commute

__all__ = ["Exact"]


@dataclass(frozen=True)
class Exact:
    """No time step and no step error, for models whose factors all commute.

    Handles: jumps and a Hamiltonian without noise; commuting noise, with a Hamiltonian
    that commutes with it; nothing that depends on time.
    """

    traits: ClassVar[Traits] = Traits(
        calculus="none",
        weak=np.inf,
        strong=0.0,
        strong_commuting=np.inf,
        jumps=True,
        unitary=True,
        monitors=True,
    )

    @property
    def dt(self) -> float:
        """Infinite: there is no step."""
        return np.inf

    @staticmethod
    def handles(dynamics: Dynamics) -> bool:
        """Tell whether all factors of the model commute."""
        dynamics = dynamics.carried
        if dynamics.time_dependent or dynamics.monitors:
            return False
        if not dynamics.noise:
            return True
        if dynamics.jumps or len(dynamics.groups) > 1:
            return False
        flow = dynamics.effective_hamiltonian
        return not flow.nnz or all(commute(flow, L) for L in dynamics.noise)

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Splitting:
        """Return an integrator for a lowered model.

        Raises
        ------
        SchemeMismatchError
            If the model has factors that do not commute.
        """
        if not self.handles(dynamics):
            raise SchemeMismatchError(
                "Exact() must have a constant model whose parts commute (no noise, or "
                "only commuting noise) and no monitors, but this one has others; use "
                "Strang(dt=...)"
            )
        dynamics = dynamics.carried
        program = symmetric_program(*merged_outside(dynamics, len(dynamics.noise[:1])))
        return prepare_splitting(self, program, dynamics, grid, seed)
