"""Platen: an explicit Ito scheme of weak order 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes.explicit import Explicit, Recipe, prepare_explicit
from stochq.schemes.traits import StepGrid, Stepped, Traits

__all__ = ["Platen"]

#: g_1 = D h + noise + areas, g_2 = (D - S) h + noise; g_1 has S - S.
RECIPE = Recipe(
    drift_1=1.0, square_1=0.0, drift_2=1.0, square_2=-1.0, noise_2=1.0, areas=True
)


@dataclass(frozen=True)
class Platen(Stepped):
    r"""The Ito-Taylor step of weak order 2 with random signs in place of Levy areas.

    .. math:: \psi + (A h + N)\psi + \tfrac12 (A h + N)^2 \psi
        + \tfrac12 \textstyle\sum_{jk} M_j M_k V_{jk}\, \psi, \qquad
        A = -iH - \tfrac12 \textstyle\sum_k L_k^2

    with the noise N = sum_k M_k dW_k, M_k = -i L_k, V_kk = -h and, for j < k, random
    signs V_jk = -V_kj = +h or -h.

    Orders: weak 2; strong 1/2, and 1 for commuting noise.
    Handles: noise of every kind but correlated channels with different functions of
    time; no jumps.
    Conserves: nothing; the mean of the squared norm is 1 up to dt^2.
    Use when: checking a weak order 2 without splitting. Needs a small dt.

    References
    ----------
    .. [1] P. E. Kloeden and E. Platen, "Numerical Solution of Stochastic Differential
       Equations", section 14.2, Springer (1992).

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
        weak=2.0,
        strong=0.5,
        strong_commuting=1.0,
        jumps=False,
        unitary=False,
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Explicit:
        """Return an integrator for a lowered model.

        Raises
        ------
        SchemeMismatchError
            If the model has jumps, or correlated channels with different functions of
            time.
        """
        if dynamics.mixing is not None:
            raise SchemeMismatchError(
                "Platen() must have independent channels or one function of time for "
                "correlated ones, but this model has several; use Heun(dt=...)"
            )
        return prepare_explicit(self, RECIPE, dynamics, grid, seed)
