"""Random orders: a coin decides in every step whether groups act forward or backward.

    F(h/2) G_1(h) ... G_m(h) F(h/2)    or    F(h/2) G_m(h) ... G_1(h) F(h/2).

The mean of a step over the coin is symmetric, so averages have weak order 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stochq.lowering import Dynamics
from stochq.schemes.splitting import (
    BACKWARD,
    FORWARD,
    Entry,
    Program,
    Splitting,
    outer_and_inner,
    prepare_splitting,
    program_of,
)
from stochq.schemes.traits import StepGrid, Stepped, Traits

__all__ = ["RandomOrder", "random_program"]


def random_program(outer: int, inner: list[int]) -> Program:
    """Return a forward and a backward sweep; each lane takes one of them."""
    if len(inner) < 2:
        return program_of([Entry(group) for group in (*inner, outer)])
    forward = [Entry(group, coin=FORWARD) for group in inner]
    backward = [Entry(group, coin=BACKWARD) for group in reversed(inner)]
    return program_of([*forward, *backward, Entry(outer)])


@dataclass(frozen=True)
class RandomOrder(Stepped):
    """Exponential splitting in a random order, forward or backward, in every step.

    Orders: weak 2; pathwise 1 for commuting noise, 1/2 otherwise.
    Handles: noise of every kind, jumps, and both.
    Conserves: the norm under noise, to rounding, on every path.
    Use when: the order of factors must not favor a direction on any path.

    Parameters
    ----------
    dt : float
        Largest step [time].

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
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Splitting:
        """Return an integrator for a lowered model."""
        if not any(grid.cells):  # both sweeps draw the same increments
            grid = grid.on_path(1)
        groups = len(dynamics.groups)
        program = random_program(*outer_and_inner(dynamics, groups))
        return prepare_splitting(self, program, dynamics, grid, seed)
