"""The order of a curve of errors: a weighted fit of log error on log dt.

    log e = a + p log dt + (1/2) log(1 + c dt)

The last term is the next order of e^2, so that p is the slope where dt vanishes; three
levels have none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import norm, t

from stochq.arrays import Floats

__all__ = ["FEWEST", "Fit", "Order", "fit_line", "fit_order"]

#: Fewest levels that have an order, and that show the next one.
FEWEST, CURVED = 3, 4

#: A straight line over levels with a next order is wrong by three times what it moves
#: when the largest step is left out.
STRAIGHT = 3.0

#: Bounds of c times the largest step: the next order may not become the leading one.
CURVATURE = (-0.9, 10.0)


class Fit(NamedTuple):
    """A fitted line, its steps in units of the largest.

    ``response`` is how the slope moves with the logarithm of every error.
    """

    largest: float
    amplitude: float
    slope: float
    curvature: float
    scatter: float
    response: Floats

    def __call__(self, dts: Floats) -> Floats:
        """Return the fitted errors at some steps."""
        steps = dts / self.largest
        log = self.amplitude + self.slope * np.log(steps)
        fitted: Floats = np.exp(log + 0.5 * np.log1p(self.curvature * steps))
        return fitted


class Order(NamedTuple):
    """A measured order with what its error bar is made of.

    Attributes
    ----------
    slope : float
        p.
    sampling : float
        From leaving out one batch of trajectories after the other.
    scatter : float
        From the distances of the errors from the line.
    trend : float
        From what the slope moves by when the largest step is left out.
    reference : float
        By what it may move because the reference has steps too.
    """

    slope: float
    sampling: float
    scatter: float
    trend: float
    reference: float

    @property
    def error(self) -> float:
        """All of them in quadrature: one standard error."""
        return float(np.linalg.norm(self[1:]))


def fit_line(dts: Floats, errors: Floats, relative: Floats, *, curved: bool) -> Fit:
    """Return the weighted least-squares fit.

    Parameters
    ----------
    dts, errors : ndarray, shape (L,)
        Steps and errors, all positive.
    relative : ndarray, shape (L,)
        Standard errors of log error, up to a common factor.
    curved : bool
        Whether to fit c; else it is 0.
    """
    largest = float(dts.max())
    steps, logs = dts / largest, np.log(errors)

    def residuals(x: Floats) -> Floats:
        line = x[0] + x[1] * np.log(steps)
        if curved:
            line = line + 0.5 * np.log1p(x[2] * steps)
        distance: Floats = (line - logs) / relative
        return distance

    slope, amplitude = np.polyfit(np.log(steps), logs, 1)
    start, low, high = [amplitude, slope], [-np.inf] * 2, [np.inf] * 2
    if curved:
        start, low, high = [*start, 0.0], [*low, CURVATURE[0]], [*high, CURVATURE[1]]
    best = least_squares(residuals, start, bounds=(low, high), xtol=1e-12, ftol=1e-12)
    jacobian = np.asarray(best.jac)
    response = np.linalg.pinv(jacobian)[1] / relative
    return Fit(
        largest=largest,
        amplitude=float(best.x[0]),
        slope=float(best.x[1]),
        curvature=float(best.x[2]) if curved else 0.0,
        scatter=_scatter(jacobian, 2.0 * best.cost),
        response=response,
    )


def _scatter(jacobian: Floats, chi_square: float) -> float:
    """Return the standard error of the slope that the residuals show.

    Few degrees of freedom widen it as Student's t does at one standard deviation.
    """
    freedom = jacobian.shape[0] - jacobian.shape[1]
    if not freedom:
        return 0.0
    variance = np.square(np.linalg.pinv(jacobian)[1]).sum() * chi_square / freedom
    return float(np.sqrt(variance) * t.ppf(norm.cdf(1.0), freedom))


def _jackknife(response: Floats, replicas: Floats) -> float:
    """Return the standard error of the slope from replicas, shape (B, L)."""
    slopes = np.log(replicas) @ response
    batches = len(slopes)
    return float(
        np.sqrt((batches - 1) / batches * np.square(slopes - slopes.mean()).sum())
    )


def fit_order(
    dts: Floats,
    errors: Floats,
    relative: Floats,
    replicas: Floats | None = None,
    cell: float = 0.0,
) -> tuple[Order, Fit]:
    """Return the order of some errors and the fitted line.

    Parameters
    ----------
    dts, errors : ndarray, shape (L,)
        Steps and errors of at least `FEWEST` levels.
    relative : ndarray, shape (L,)
        Standard errors of log error, up to a common factor.
    replicas : ndarray, shape (B, L), optional
        The errors with one batch of trajectories left out at a time.
    cell : float, default 0
        Step of the reference: its own error there is unseen.
    """
    curved = dts.size >= CURVED
    fit = fit_line(dts, errors, relative, curved=curved)
    rest = dts < dts.max()
    finer = fit_line(dts[rest], errors[rest], relative[rest], curved=curved)
    reference = 0.0
    if cell > 0.0:
        unseen = np.hypot(errors, fit(np.array([cell])))
        reference = fit_line(dts, unseen, relative, curved=curved).slope - fit.slope
    order = Order(
        slope=fit.slope,
        sampling=0.0 if replicas is None else _jackknife(fit.response, replicas),
        scatter=fit.scatter,
        trend=abs(finer.slope - fit.slope) * (1.0 if curved else STRAIGHT),
        reference=abs(reference),
    )
    return order, fit
