"""Heun: the plainest Stratonovich scheme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stochq.lowering import Dynamics
from stochq.schemes.explicit import Explicit, Recipe, prepare_explicit
from stochq.schemes.traits import StepGrid, Stepped, Traits

__all__ = ["Heun"]

#: g_1 = g_2 = D h + noise.
RECIPE = Recipe(drift_1=1.0, square_1=0.0, drift_2=1.0, square_2=0.0, noise_2=1.0)


@dataclass(frozen=True)
class Heun(Stepped):
    r"""Predictor and corrector with one increment: psi + g psi + g^2 psi / 2.

    With g = -iH dt - i sum L_k dW_k this is the trapezoidal rule on the Euler
    predictor, which converges to the Stratonovich solution with no correction.

    Orders: weak 1, strong 1 for commuting noise and 1/2 otherwise.
    Handles: noise of every kind; no jumps.
    Conserves: nothing; the squared norm of a path grows as dt.
    Use when: teaching, or checking another scheme. Needs a small dt.

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
        weak=1.0,
        strong=0.5,
        strong_commuting=1.0,
        jumps=False,
        unitary=False,
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Explicit:
        """Return an integrator for a lowered model."""
        return prepare_explicit(self, RECIPE, dynamics, grid, seed)
