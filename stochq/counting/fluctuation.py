"""The detailed fluctuation theorem, tested on a histogram: P(q) / P(-q) = exp(A q)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import expit, ndtri

from stochq.arrays import Floats, Ints
from stochq.counting.histogram import steps_of
from stochq.counting.signs import (
    affinity_error,
    curve_p,
    estimated_affinity,
    slope_p,
)
from stochq.counting.sums import as_records
from stochq.errors import ModelError
from stochq.records import JumpRecords
from stochq.weights import as_weights

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FluctuationTest", "fluctuation_test"]

#: Probability with which an affinity that is off by the detectable size is caught.
POWER = 0.99


@dataclass(frozen=True, eq=False)
class FluctuationTest:
    """Whether counts obey ln P(q)/P(-q) = A q, with the numbers behind it.

    Attributes
    ----------
    status : "pass", "fail" or "inconclusive"
        Fail: p < alpha. Inconclusive: not so, but an affinity that is off by
        `resolution` would have gone unnoticed.
    p_value : float
        Of slope and curve together: twice the smaller one, at most 1.
    p_slope : float
        Exact probability, given the numbers of |q|, of a sum of q as far from what the
        theorem says; it sees a wrong affinity.
    p_curve : float
        Smallest exact binomial probability of one |q|, times the number of |q|; it sees
        a line that is not straight.
    affinity : float
        A, as tested [1/weight].
    estimate, error : float
        Its maximum-likelihood estimate and standard error; infinite if all q that came
        up have one sign.
    detectable : float
        Smallest error of A caught with 99 % probability [1/weight].
    integral, integral_error : float
        Mean of exp(-A Q), 1 if the theorem holds, and its standard error. Rare negative
        values carry it, so that both come out too small where those were not seen.
    size : ndarray, shape (V,)
        Values |q| > 0 that came up [weight].
    plus, minus : ndarray of int, shape (V,)
        Trajectories with +|q| and with -|q|.
    alpha, resolution : float
        The false-alarm probability, and the relative error of A to be caught.
    """

    status: Literal["pass", "fail", "inconclusive"]
    p_value: float
    p_slope: float
    p_curve: float
    affinity: float
    estimate: float
    error: float
    detectable: float
    integral: float
    integral_error: float
    size: Floats
    plus: Ints
    minus: Ints
    alpha: float
    resolution: float

    def __str__(self) -> str:
        """Return the verdict in one line."""
        return (
            f"{self.status.upper()}: affinity {self.estimate:.4g} +- {self.error:.2g}, "
            f"tested {self.affinity:.4g}, p = {self.p_value:.2g}; would have caught an "
            f"error of {self.detectable:.2g}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per |q|: q, plus, minus, log_ratio, error, expected.

        log_ratio is ln (plus + 1/2)/(minus + 1/2), finite where one of them is 0.
        """
        import pandas as pd

        plus, minus = self.plus + 0.5, self.minus + 0.5
        return pd.DataFrame(
            {
                "q": self.size,
                "plus": self.plus,
                "minus": self.minus,
                "log_ratio": np.log(plus / minus),
                "error": np.sqrt(1 / plus + 1 / minus),
                "expected": self.affinity * self.size,
            }
        )


def _checked(affinity: Any, alpha: float, resolution: float) -> float:
    """Return the affinity; refuse what is not a number in its range."""
    for name, value, low, high in (
        ("affinity", affinity, -np.inf, np.inf),
        ("alpha", alpha, 0.0, 1.0),
        ("resolution", resolution, 0.0, np.inf),
    ):
        real = isinstance(value, (int, float, np.integer, np.floating))
        if isinstance(value, bool) or not real or not low < value < high:
            raise ModelError(
                f"`{name}` must be a number between {low:g} and {high:g}, but is "
                f"{value!r:.60}"
            )
    return float(affinity)


def _sizes(steps: Ints) -> tuple[Ints, Ints, Ints]:
    """Return |q| > 0 in units, and the numbers of +|q| and of -|q|."""
    counted = np.bincount(np.abs(steps))
    positive = np.bincount(steps[steps > 0], minlength=counted.size)
    k = np.flatnonzero(counted)
    k = k[k > 0]
    return k, positive[k], counted[k] - positive[k]


def _integral(exponents: Any) -> tuple[float, float]:
    """Return the mean of exp(exponents) and its standard error."""
    with np.errstate(over="ignore", invalid="ignore"):
        sample = np.exp(exponents)
        return float(sample.mean()), float(sample.std(ddof=1) / sample.size**0.5)


def fluctuation_test(
    records: JumpRecords,
    weights: Any,
    affinity: float,
    *,
    time: float | None = None,
    alpha: float = 1e-3,
    resolution: float = 0.1,
) -> FluctuationTest:
    r"""Test whether a counted quantity obeys the fluctuation theorem with an affinity.

    .. math:: \ln \frac{P(q)}{P(-q)} = A q

    Given that \|Q\| = q, the sign is then positive with probability
    1/(1 + exp(-A q)), whatever the distribution of \|Q\|: the test is exact at any
    number of counts.

    Parameters
    ----------
    records : JumpRecords
        Of two trajectories or more.
    weights : str, sequence of str, or mapping of str to float or to floats
        As in `counting_statistics`; multiples of one unit.
    affinity : float
        A [1/weight]: the entropy produced by one unit of Q.
    time : float, optional
        Jumps up to this time [time]; up to the end of the window by default.
    alpha : float, default 1e-3
        Probability of a false alarm.
    resolution : float, default 0.1
        Relative error of A to be caught (in units of 1/unit, if A = 0).

    Returns
    -------
    FluctuationTest

    Raises
    ------
    ModelError
        If the weights do not fit the channels, or a number is out of range.
    ValueError
        If the time is not in the window, or jumps were dropped that it needs.

    Notes
    -----
    Most currents obey the theorem only as the time goes to infinity, heat counted at a
    bath among them: their histogram is no straight line at any finite time, and must
    fail here. It is exact at all times where what is counted produces all the entropy,
    as quanta that cross a resonant coupling between two systems that start in
    equilibrium with their own baths do.
    """
    records = as_records(records)
    affinity = _checked(affinity, alpha, resolution)
    steps, unit = steps_of(records, weights, time)
    chosen = as_weights(weights, records.names)
    if not (chosen.min() < 0 < chosen.max()):
        raise ModelError(
            "`weights` must have both signs, so that the quantity can go either way, "
            f"but lie between {chosen.min():g} and {chosen.max():g}"
        )
    k, plus, minus = _sizes(steps)
    a, total = affinity * unit, plus + minus
    p_slope = p_curve = 1.0
    estimate, error, detectable = np.nan, np.inf, np.inf
    if k.size:
        p_slope = slope_p(k, total, expit(-a * k), int(k @ minus))
        p_curve = curve_p(plus, total, expit(a * k))
        estimate, error = estimated_affinity(k, plus, minus)
        sigmas = float(ndtri(1 - alpha / 4) + ndtri(POWER))
        detectable = sigmas * affinity_error(a, k, total)
    p_value = min(1.0, 2 * min(p_slope, p_curve))
    seen = detectable <= resolution * (abs(a) or 1.0)
    integral, integral_error = _integral(-a * steps)
    return FluctuationTest(
        status="fail" if p_value < alpha else "pass" if seen else "inconclusive",
        p_value=p_value,
        p_slope=p_slope,
        p_curve=p_curve,
        affinity=affinity,
        estimate=estimate / unit,
        error=error / unit,
        detectable=detectable / unit,
        integral=integral,
        integral_error=integral_error,
        size=(unit * k).astype(np.float64),
        plus=plus,
        minus=minus,
        alpha=alpha,
        resolution=resolution,
    )
