"""Which scheme has which averaged step."""

from __future__ import annotations

import numpy as np

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
from stochq.schemes.traits import StepGrid

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
    grid : StepGrid
        The steps that will be asked for.
    """

    def __init__(self, scheme: Scheme, dynamics: Dynamics, grid: StepGrid) -> None:
        self._scheme, self._dynamics = scheme, dynamics
        constant = not dynamics.time_dependent
        self._table = np.zeros((1, 0)) if constant else dynamics.table(*grid.edges())
        factors = isinstance(scheme, SPLITTINGS)
        self._factors = Factors(dynamics) if factors else None

    def step(self, h: float, number: int) -> AveragedStep:
        """Return one step of length h [time], with `number` steps before it."""
        row = self._table[min(number, len(self._table) - 1)]
        scheme = self._scheme
        if self._factors is None:
            frozen = self._dynamics.frozen(row)
            if isinstance(scheme, Midpoint):
                return midpoint_step(frozen, h)
            return polynomial_step(frozen, RECIPES[type(scheme)], h)
        if isinstance(scheme, (Alternating, RandomOrder)):
            return swept_step(self._factors, scheme, h, row, number)
        return strang_step(self._factors, h, row)
