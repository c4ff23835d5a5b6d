"""Alternating orders: forward in one step, backward in the next.

With the flow F outside, the steps are in turn

    F(h/2) G_1(h) ... G_m(h) F(h/2)    and    F(h/2) G_m(h) ... G_1(h) F(h/2).

Two neighboring steps are a symmetric splitting of step 2h, so averages have weak order
2 although every group acts once a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stochq.lowering import Dynamics
from stochq.schemes.splitting import (
    Entry,
    Program,
    Splitting,
    outer_and_inner,
    prepare_splitting,
    program_of,
)
from stochq.schemes.traits import StepGrid, Stepped, Traits

__all__ = ["Alternating", "alternating_program"]


def alternating_program(outer: int, inner: list[int]) -> Program:
    """Return a period of two steps: the groups forward, then backward."""
    forward = [Entry(group) for group in inner]
    return program_of([*forward, Entry(outer)], [*reversed(forward), Entry(outer)])


@dataclass(frozen=True)
class Alternating(Stepped):
    """Exponential splitting whose order is reversed in every second step.

    Every interval has an even number of steps.

    Orders: weak 2; pathwise 1 for commuting noise, 1/2 otherwise.
    Handles: noise of every kind, jumps, and both.
    Conserves: the norm under noise, to rounding, on every path.
    Use when: there are many groups of channels that do not commute, each costly.

    Parameters
    ----------
    dt : float
        Largest step [time].

    Raises
    ------
    SchemeMismatchError
        If dt is not finite and positive.
    """

    multiple: ClassVar[int] = 2
    traits: ClassVar[Traits] = Traits(
        calculus="stratonovich",
        weak=2.0,
        strong=0.5,
        strong_commuting=1.0,
        jumps=True,
        unitary=True,
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Splitting:
        """Return an integrator for a lowered model."""
        groups = len(dynamics.groups)
        program = alternating_program(*outer_and_inner(dynamics, groups))
        return prepare_splitting(self, program, dynamics, grid, seed)
