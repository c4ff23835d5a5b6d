"""Milstein: the Ito scheme of strong order 1, for commuting noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes.explicit import Explicit, Recipe, prepare_explicit
from stochq.schemes.traits import StepGrid, Stepped, Traits
from stochq.structure import commuting_groups

__all__ = ["Milstein"]

#: g_1 = D h + noise, g_2 = noise.
RECIPE = Recipe(drift_1=1.0, square_1=0.0, drift_2=0.0, square_2=0.0, noise_2=1.0)


@dataclass(frozen=True)
class Milstein(Stepped):
    r"""The Ito step with its second iterated integrals, known where the noise commutes.

    .. math:: \psi + \bigl(-iH - \tfrac12 \textstyle\sum_k L_k^2\bigr) \psi\, h
        + \textstyle\sum_k M_k \psi\, \Delta W_k + \tfrac12 \textstyle\sum_{jk}
        M_j M_k \psi\, (\Delta W_j \Delta W_k - \delta_{jk} h), \qquad M_k = -i L_k

    The drift -1/2 sum L_k^2 and the -h of the last sum cancel.

    Orders: weak 1, strong 1.
    Handles: commuting noise only, with any Hamiltonian; no jumps.
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
        calculus="ito",
        weak=1.0,
        strong=0.0,
        strong_commuting=1.0,
        jumps=False,
        unitary=False,
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Explicit:
        """Return an integrator for a lowered model.

        Raises
        ------
        SchemeMismatchError
            If noise channels do not commute, or the model has jumps.
        """
        if len(commuting_groups(dynamics.noise)) > 1:
            raise SchemeMismatchError(
                "Milstein() must have noise channels that commute, but this model has "
                "others, which need Levy areas; use Magnus(dt=...)"
            )
        return prepare_explicit(self, RECIPE, dynamics, grid, seed)
