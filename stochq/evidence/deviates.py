r"""How unlikely a deviation is, as the normal deviate of the same probability.

A mean of n trajectories is normal only for large n. Its t-statistic is first put to
Student's law, then freed of its skewness by Hall's cubic; where so few events carry a
mean that no law of the sample can be trusted, the tail is that of a count of events.

References
----------
.. [1] P. Hall, "On the removal of skewness by transformation",
   J. R. Statist. Soc. B 54, 221 (1992).
.. [2] V. Bentkus, "On Hoeffding's inequalities", Ann. Probab. 32, 1650 (2004): of all
   sums of variables between 0 and S with given mean, those of rare events of size S
   have the heaviest tail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import gammaincc, gammainccinv, ndtr, ndtri, stdtr, stdtrit

from stochq.arrays import Floats

__all__ = [
    "from_events",
    "from_student",
    "missable_events",
    "surely_caught",
    "without_skewness",
]

#: Probability with which a fault of the detectable size is caught.
POWER = 0.99

#: Where a tail underflows, any deviate this large means the same.
FAR = 30.0


def from_student(t: Any, freedom: Any) -> Floats:
    """Return the normal deviate with the tail probability of Student's t."""
    t = np.asarray(t, dtype=np.float64)
    size = -ndtri(stdtr(freedom, -np.abs(t)))
    size = np.where(np.isinf(size), np.maximum(np.abs(t), FAR), size)
    result: Floats = np.where(t == 0, 0.0, np.sign(t) * size)
    return result


def surely_caught(critical: float, freedom: Any) -> float:
    """Return the t-statistic, in the mean, of what is caught with 99 % probability."""
    return float(ndtri(POWER) - stdtrit(freedom, ndtr(-critical)))


def without_skewness(z: Any, skewness: Any) -> Floats:
    r"""Return the normal deviate of a t-statistic of a skewed mean.

    .. math:: g(z) = z + a \bigl(\tfrac{z^2}{3} + \tfrac16\bigr) + \tfrac{a^2 z^3}{27}

    Parameters
    ----------
    z : array_like
        (mean - expected) / standard error.
    skewness : array_like
        a, the skewness of the mean: that of one sample, over sqrt(n).

    Notes
    -----
    A mean that is large by luck has seen more of the large events and has a larger
    standard error, and the other way round: without the correction, deviations against
    the skewness come out too large.
    """
    z, a = np.asarray(z), np.asarray(skewness)
    result: Floats = z + a * (np.square(z) / 3 + 1 / 6) + a * a * z * z * z / 27
    return result


def from_events(seen: Any, missing: Any) -> Floats:
    r"""Return the normal deviate of having seen k events where k + m were expected.

    .. math:: \Phi(-z) = P(K \le k), \qquad K \sim \text{Poisson}(k + m)

    The deviate is never negative: what is as expected is no deviation.

    Parameters
    ----------
    seen : array_like
        k, events seen; any number >= 0.
    missing : array_like
        m, the deviation in units of an event.
    """
    seen, missing = np.asarray(seen), np.asarray(missing)
    z = -ndtri(gammaincc(seen + 1.0, seen + missing))
    result: Floats = np.where(np.isinf(z) & (z > 0), FAR, z).clip(0.0)
    return result


def missable_events(seen: Any, critical: float) -> Floats:
    """Return how many events may be missing before that is caught for sure."""
    seen = np.asarray(seen, dtype=np.float64)
    chance = ndtr(-(critical + float(ndtri(POWER))))
    missing: Floats = gammainccinv(seen + 1.0, chance) - seen
    return missing
