"""No step at all: models without noise, and those whose parts commute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes.large import prepare_flow
from stochq.schemes.splitting import (
    FLOW,
    Entry,
    merged_outside,
    program_of,
)
from stochq.schemes.strang import symmetric_program
from stochq.schemes.traits import Integrator, StepGrid, Traits
from stochq.structure import commute

__all__ = ["Exact"]


@dataclass(frozen=True)
class Exact:
    """No time step and no step error: no noise, or factors that all commute.

    Handles: kets under jumps and a Hamiltonian without noise, whatever depends on time;
    commuting constant noise, with a Hamiltonian that commutes with it.

    Jumps come where the squared norm S of a state carried by H_eff meets a uniform
    number u. In closed form or in the eigenbasis of H_eff |ln(S / u)| is solved to
    rounding; where H_eff is large or depends on time, its Taylor series leaves out less
    than 1e-17 and jump times are solved to 1e-13, with functions of time replaced by
    polynomials that agree with them to 1e-13 of their largest value.
    ``provenance["jump_time_residual"]`` is the largest residual of a run, and
    `explain_scheme` says which method a model gets and why.
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
        """Tell whether there is no noise, or all factors of the model commute."""
        dynamics = dynamics.carried
        if dynamics.monitors:
            return False
        lifted = dynamics.one_body or dynamics.lifted
        if dynamics.time_dependent and (dynamics.noise or lifted):
            return False
        if not dynamics.noise:
            return True
        if dynamics.jumps or len(dynamics.groups) > 1:
            return False
        flow = dynamics.effective_hamiltonian
        return not flow.nnz or all(commute(flow, L) for L in dynamics.noise)

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Integrator:
        """Return an integrator for a lowered model.

        Raises
        ------
        SchemeMismatchError
            If the model has factors that do not commute.
        """
        if not self.handles(dynamics):
            raise SchemeMismatchError(
                "Exact() must have a model without noise and monitors, or a constant "
                "one whose parts commute, but this one has others; use Strang(dt=...)"
            )
        dynamics = dynamics.carried
        program = program_of([Entry(FLOW)])
        if dynamics.noise:
            program = symmetric_program(*merged_outside(dynamics, 1))
        return prepare_flow(self, program, dynamics, grid, seed, frozen=False)
