"""The largest of many correlated normal variables: its tail, exactly and far out.

Means at different times and of different observables are correlated, so a family-wise
p-value needs P(max |Z_i| > u) for Z ~ N(0, R). With T(u) = sum_i P(|Z_i| > u), a point
i drawn uniformly, Z_i drawn from its tail beyond u and the others given Z_i,

    P(max |Z| > u) = T(u) E[1 / #{j : |Z_j| > u}],

an identity whose Monte Carlo error stays relative however small the probability is.

References
----------
.. [1] R. J. Adler, J. H. Blanchet and J. Liu, "Efficient Monte Carlo for high
   excursions of Gaussian random fields", Ann. Appl. Probab. 22, 1167 (2012).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri_exp

from stochq.arrays import Floats, read_only

__all__ = ["IndependentLaw", "MaxLaw"]

#: Draws of the conditional law: the p-value's relative error is about 3 percent.
DRAWS = 2000

#: Numbers that the draws may hold; with very many points there are fewer draws.
CAPACITY = 8_000_000

#: No deviate is larger.
FARTHEST = 37.0


class MaxLaw:
    """The law of max |Z_i| for Z ~ N(0, R), R given by standardized samples.

    Parameters
    ----------
    factor : ndarray, shape (B, P)
        Y with R = Y^T Y and unit diagonal.
    """

    def __init__(self, factor: Floats) -> None:
        # the same draws for every threshold: the tail is deterministic
        rng = np.random.default_rng(0)
        self.points = factor.shape[1]
        draws = int(np.clip(CAPACITY // self.points, 200, DRAWS))
        self._rows = np.arange(draws)
        self._chosen = rng.integers(self.points, size=draws)
        self._uniform = rng.random(draws)
        self._sign = rng.choice([-1.0, 1.0], size=draws)
        columns = factor[:, self._chosen]
        self._free = _normals(draws, factor.shape[0]) @ factor
        self._slope = columns.T @ factor
        # the part of each Z that does not depend on the chosen one
        at_chosen = self._free[self._rows, self._chosen]
        self._free -= self._slope * at_chosen[:, None]

    def tail(self, threshold: float) -> float:
        """Return P(max |Z| > u), at most 1."""
        if threshold <= 0:
            return 1.0
        log_tail = float(log_ndtr(-threshold))
        beyond = -ndtri_exp(np.log(self._uniform) + log_tail) * self._sign
        values = self._free + self._slope * beyond[:, None]
        exceeding = np.abs(values) > threshold
        exceeding[self._rows, self._chosen] = True
        share = float((1.0 / exceeding.sum(axis=1)).mean())
        return float(min(1.0, 2.0 * self.points * share * np.exp(log_tail)))

    def quantile(self, alpha: float) -> float:
        """Return the u with P(max |Z| > u) = alpha."""
        return _quantile(self.tail, alpha)


@lru_cache(maxsize=4)
def _normals(draws: int, batches: int) -> Floats:
    """Return the same normal numbers whenever they are asked for."""
    return read_only(np.random.default_rng(1).standard_normal((draws, batches)))


class IndependentLaw:
    r"""The law of max |Z_i| for independent Z_i, which bounds that of correlated ones.

    .. math:: P(\max_i |Z_i| > u) \le 1 - \bigl(1 - 2 \Phi(-u)\bigr)^P

    Parameters
    ----------
    points : int
        P.

    References
    ----------
    .. [1] Z. Sidak, "Rectangular confidence regions for the means of multivariate
       normal distributions", J. Am. Statist. Assoc. 62, 626 (1967).
    """

    def __init__(self, points: int) -> None:
        self.points = points

    def tail(self, threshold: float) -> float:
        """Return the bound on P(max |Z| > u)."""
        if threshold <= 0:
            return 1.0
        one = 2.0 * np.exp(float(log_ndtr(-threshold)))
        return float(-np.expm1(self.points * np.log1p(-one)))

    def quantile(self, alpha: float) -> float:
        """Return the u at which the bound is alpha."""
        return _quantile(self.tail, alpha)


def _quantile(tail: Callable[[float], float], alpha: float) -> float:
    """Return where a falling tail, 1 at zero, is alpha."""

    def excess(u: float) -> float:
        return float(np.log(max(tail(u), 1e-300)) - np.log(alpha))

    return float(brentq(excess, 0.0, FARTHEST, xtol=1e-12))
