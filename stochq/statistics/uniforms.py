"""Order statistics of uniform numbers: the bands in which p-values must lie."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, poisson

from stochq.arrays import Floats, whole_number

__all__ = ["UniformBands", "probability_inside", "uniform_bands"]

#: Numbers beyond which the simultaneous band takes seconds.
MOST = 5_000


class UniformBands(NamedTuple):
    """Limits of the sorted numbers U_(1) < ... < U_(n), lower and upper.

    Attributes
    ----------
    pointwise : ndarray, shape (2, n)
        Each number by itself is within them with the probability asked for.
    simultaneous : ndarray, shape (2, n)
        All numbers are, together.
    """

    pointwise: Floats
    simultaneous: Floats


@lru_cache(maxsize=16)
def uniform_bands(n: int, level: float = 0.95) -> UniformBands:
    r"""Return where n sorted, independent, uniform numbers lie.

    .. math:: U_{(i)} \sim \mathrm{Beta}(i, n + 1 - i)

    Pointwise limits are quantiles of these laws; simultaneous ones are quantiles at one
    smaller tail, the same for every i, such that all of them hold with `level`: the
    band is as sensitive to the smallest numbers as to those in the middle.

    Parameters
    ----------
    n : int
        How many, from 1 to 5000.
    level : float, default 0.95
        Probability of being within.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] S. Aldor-Noiman, L. D. Brown, A. Buja, W. Rolke and R. A. Stine, "The power
       to see: a new graphical test of normality", Am. Stat. 67, 249 (2013).
    """
    if whole_number(n, "n", at_least=1) > MOST:
        raise ValueError(f"`n` must be at most {MOST}, but is {n}")
    if not 0 < level < 1:
        raise ValueError(f"`level` must be between 0 and 1, but is {level}")
    tails = 1 - level
    if n > 1:
        # between Bonferroni's tail and that of one number alone
        tails = np.exp(
            brentq(
                lambda log: probability_inside(*_limits(n, np.exp(log))) - level,
                np.log(tails / n) - 1e-6,
                np.log(tails),
                xtol=1e-4,
            )
        )
    return UniformBands(_limits(n, 1 - level), _limits(n, float(tails)))


def _limits(n: int, tails: float) -> Floats:
    """Return both limits (2, n) that leave out `tails` of every number."""
    i = np.arange(1, n + 1)
    sides = np.array([[tails / 2], [1 - tails / 2]])
    return np.asarray(beta.ppf(sides, i, n + 1 - i))


def probability_inside(low: Floats, high: Floats) -> float:
    r"""Return P(low_i <= U_(i) <= high_i for all i) of n uniform numbers.

    N(t), how many are below t, is a Poisson process of rate n given N(1) = n. Its law
    is carried from one limit to the next, and paths that have left the band are dropped
    (A. Moscovich and B. Nadler, "Fast calculation of boundary crossing probabilities
    for Poisson processes", Stat. Probab. Lett. 123, 177 (2017)).

    Parameters
    ----------
    low, high : ndarray, shape (n,)
        Limits that do not fall with i.
    """
    n = low.size
    times = np.sort(np.concatenate([low, high, [1.0]]))
    fewest = np.searchsorted(high, times, side="right")
    most = np.searchsorted(low, times, side="left")
    law, floor, before = np.ones(1), 0, 0.0
    for t, least, top in zip(times, fewest, most, strict=True):
        steps = poisson.pmf(np.arange(top - floor + 1), n * (t - before))
        moved = np.convolve(law, steps)
        law = moved[least - floor : top - floor + 1]
        floor, before = int(least), float(t)
        if not law.size:
            return 0.0
    return float(law[n - floor] / poisson.pmf(n, n))
