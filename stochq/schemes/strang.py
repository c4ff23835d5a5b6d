"""Symmetric exponential splitting: unitary on every path, weak order 2.

With the flow F (Hamiltonian and jumps) and groups G_1 ... G_m of commuting noise
channels, one step is

    F(h/2) G_1(h/2) ... G_m(h) ... G_1(h/2) F(h/2),

monitored operators being the last of the G (see `stochq.schemes.monitors`), where the
two halves of a group have *independent* increments. Each factor averages to
the exact semigroup of its part, so the step averages to the Strang product of those
semigroups, whose error is of second order in h. (One increment shared by the halves
would make it first order.) The outer halves of neighboring steps merge into one factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stochq.lowering import Dynamics
from stochq.schemes.large import prepare_flow
from stochq.schemes.monitored_orbitals import monitored_groups
from stochq.schemes.splitting import (
    Entry,
    Program,
    merged_outside,
    program_of,
)
from stochq.schemes.traits import Integrator, StepGrid, Stepped, Traits

__all__ = ["Strang", "symmetric_program"]


def symmetric_program(
    outer: int, inner: list[int], *, two_point: bool = False
) -> Program:
    """Return halves of the inner factors out and back, then the outermost factor."""
    if not inner:
        return program_of([Entry(outer)], two_point=two_point)
    *middle, innermost = inner
    out = [Entry(factor, halved=True) for factor in middle]
    step = [*out, Entry(innermost), *reversed(out), Entry(outer)]
    return program_of(step, two_point=two_point)


@dataclass(frozen=True)
class Strang(Stepped):
    """Symmetric exponential splitting with independent half increments.

    A step is F(h/2) G_1(h/2) ... G_m(h) ... G_1(h/2) F(h/2): the flow F of the constant
    Hamiltonian and the jumps, and the groups G of commuting drives and noise channels,
    diagonal ones first; then the monitored operators. Functions of time enter by their
    averages over the step.

    Orders: weak 2; pathwise 1 for commuting noise, 1/2 otherwise.
    Handles: noise of every kind, jumps (their times have no step error), monitors, all
    together, and density matrices.
    Conserves: the norm under noise, to rounding, on every path.

    Parameters
    ----------
    dt : float
        Largest step [time]; every interval between output times gets equal steps.

    Raises
    ------
    SchemeMismatchError
        If dt is not finite and positive.
    """

    traits: ClassVar[Traits] = Traits(
        calculus="stratonovich",
        weak=2.0,
        strong=0.5,
        strong_commuting=1.0,
        jumps=True,
        unitary=True,
        monitors=True,
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Integrator:
        """Return an integrator for a lowered model."""
        dynamics = dynamics.carried
        factors = len(dynamics.groups) + len(monitored_groups(dynamics))
        program = symmetric_program(*merged_outside(dynamics, factors))
        return prepare_flow(self, program, dynamics, grid, seed, frozen=True)
