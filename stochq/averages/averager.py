"""Which scheme has which averaged step."""

from __future__ import annotations

from stochq.averages.factors import Factors, strang_step, swept_step
from stochq.averages.maps import AveragedStep
from stochq.averages.polynomials import POINTS, midpoint_step, polynomial_step
from stochq.lowering import Dynamics
from stochq.schemes import (
    Alternating,
    EulerMaruyama,
    Exact,
    Heun,
    Midpoint,
    Milstein,
    Platen,
    RandomOrder,
    Scheme,
    Strang,
    TwoPoint,
    euler_maruyama,
    heun,
    milstein,
    platen,
)
from stochq.schemes.explicit import Recipe

__all__ = ["Averager", "has_average", "kraus_operators"]

#: Most channels that a product of one-dimensional quadratures is used for.
QUADRATURE_CHANNELS = 3

#: The polynomial of every explicit scheme.
RECIPES: dict[type, Recipe] = {
    EulerMaruyama: euler_maruyama.RECIPE,
    Milstein: milstein.RECIPE,
    Heun: heun.RECIPE,
    Platen: platen.RECIPE,
}

SPLITTINGS = (Strang, TwoPoint, Alternating, RandomOrder)


def kraus_operators(scheme: Scheme, dynamics: Dynamics) -> int:
    """Return how many operators A_i make sum_i w_i A_i rho A_i^dag; 0 for factors."""
    channels = dynamics.processes
    if isinstance(scheme, Midpoint):
        return int(POINTS**channels)
    if type(scheme) in RECIPES:
        pairs = channels**2 if isinstance(scheme, Platen) else 0
        return 2 * channels**2 + 1 + pairs
    return 0


def has_average(scheme: Scheme, dynamics: Dynamics) -> bool:
    """Tell whether the average of a step is known without sampling."""
    if isinstance(scheme, Midpoint):
        return dynamics.processes <= QUADRATURE_CHANNELS
    return isinstance(scheme, (*SPLITTINGS, *RECIPES, Exact))


class Averager:
    """The exactly averaged steps of a scheme for one model.

    Parameters
    ----------
    scheme : Scheme
        One that `has_average`.
    dynamics : Dynamics
        A lowered model.
    """

    def __init__(self, scheme: Scheme, dynamics: Dynamics) -> None:
        self._scheme, self._dynamics = scheme, dynamics
        factors = isinstance(scheme, SPLITTINGS)
        self._factors = Factors(dynamics) if factors else None

    def step(self, h: float, t: float, number: int) -> AveragedStep:
        """Return one step.

        Parameters
        ----------
        h : float
            Step [time].
        t : float
            Middle of the step [time], where functions of time are taken.
        number : int
            Steps before this one.
        """
        scheme = self._scheme
        if self._factors is None:
            frozen = self._dynamics.at(t)
            if isinstance(scheme, Midpoint):
                return midpoint_step(frozen, h)
            return polynomial_step(frozen, RECIPES[type(scheme)], h)
        if isinstance(scheme, (Alternating, RandomOrder)):
            return swept_step(self._factors, scheme, h, t, number)
        return strang_step(self._factors, h, t)
