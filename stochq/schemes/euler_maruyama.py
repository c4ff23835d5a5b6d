"""Euler-Maruyama: the plainest Ito scheme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stochq.lowering import Dynamics
from stochq.schemes.explicit import Explicit, Recipe, prepare_explicit
from stochq.schemes.traits import StepGrid, Stepped, Traits

__all__ = ["EulerMaruyama"]

#: g_1 = (D - S) h + noise.
RECIPE = Recipe(drift_1=1.0, square_1=-1.0, drift_2=0.0, square_2=0.0, noise_2=0.0)


@dataclass(frozen=True)
class EulerMaruyama(Stepped):
    r"""The Ito step psi + (-iH - 1/2 sum L_k^2) psi dt - i sum L_k psi dW_k.

    The drift -1/2 sum L_k^2 makes it the same process as the Stratonovich reading of
    the noise Hamiltonian; without it the norm would grow.

    Orders: weak 1, strong 1/2.
    Handles: noise of every kind; no jumps.
    Conserves: nothing; the norm of a path wanders as sqrt(dt).
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
        calculus="ito",
        weak=1.0,
        strong=0.5,
        strong_commuting=0.5,
        jumps=False,
        unitary=False,
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Explicit:
        """Return an integrator for a lowered model."""
        return prepare_explicit(self, RECIPE, dynamics, grid, seed)
