"""Confidence sequences: bands that hold at all sample sizes at once.

A band of two standard errors holds 95 % of the time at one sample size that was fixed
beforehand. Whoever watches a running mean and stops at will sees it fail sooner or
later, with probability one. A confidence sequence never fails, but with probability
alpha.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import lambertw

from stochq.arrays import Floats

__all__ = ["ConfidenceSequence", "confidence_sequence"]

#: Sample size at which the sequence is as narrow as it can be made.
NARROWEST = 128

#: Values that must have deviated before their spread is believed.
SEEN = 10.0


class ConfidenceSequence(NamedTuple):
    """Running means and the half-width of their band.

    Attributes
    ----------
    mean, half_width : ndarray, shape (n,)
        After 1, 2, ... n values; the half-width is infinite where too little has been
        seen to bound the mean.
    """

    mean: Floats
    half_width: Floats


def confidence_sequence(
    values: Floats, *, alpha: float = 0.05, narrowest: float = NARROWEST
) -> ConfidenceSequence:
    r"""Return running means with a band that holds at all n, with level 1 - alpha.

    .. math:: |\bar x_n - \mu|^2 \le \frac{S_n}{n}\,
        \frac{k_n - 1}{1 - k_n / (1 + n g)}, \qquad
        k_n = \Bigl(\frac{1 + n g}{\alpha^2}\Bigr)^{1/n}, \quad
        S_n = \sum_{i \le n} (x_i - \bar x_n)^2

    For normal values of unknown spread it holds exactly. Were mu the mean, the ratio of
    likelihoods

    .. math:: M_n = (1 + n g)^{-1/2}
        \Bigl(\frac{S_n + n \Delta^2}{S_n + n \Delta^2 / (1 + n g)}\Bigr)^{n/2},
        \qquad \Delta = \bar x_n - \mu,

    of means drawn from N(mu, g sigma^2) against mu itself, both mixed over sigma with
    the density 1 / sigma, would be a martingale of mean 1, which ever exceeds 1 / alpha
    with probability alpha at most (Ville). The band is where it does not. For large n
    it is the normal mixture of Robbins with the measured spread,

    .. math:: |\bar x_n - \mu|^2 \le \frac{S_n}{n^2}\, \frac{1 + n g}{n g}\,
        \log \frac{1 + n g}{\alpha^2},

    which the means of any values with a variance obey asymptotically. g makes that
    narrowest at one n; from a tenth to ten times of it, it is at most a quarter wider
    than it could be.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Independent values of one law, in their order. The band begins where their
        participation ratio, (sum d^2)^2 / sum d^4 for deviations d, reaches 10: before
        that, rare large values may be missing from the spread. Of heavy-tailed numbers
        means over many should be given: the law must be nearly normal by then.
    alpha : float, default 0.05
        Probability that the band misses the mean at any n.
    narrowest : float, default 128
        Sample size for which the band is tuned; it must not depend on the values.

    Returns
    -------
    ConfidenceSequence

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    .. [1] H. Robbins, "Statistical methods related to the law of the iterated
       logarithm", Ann. Math. Statist. 41, 1397 (1970): the normal mixture.
    .. [2] T. L. Lai, "On confidence sequences", Ann. Statist. 4, 265 (1976): unknown
       spread.
    .. [3] S. R. Howard, A. Ramdas, J. McAuliffe and J. Sekhon, "Time-uniform,
       nonparametric, nonasymptotic confidence sequences", Ann. Statist. 49, 1055
       (2021): the tuning of g.
    .. [4] I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy and A. Ramdas,
       "Time-uniform central limit theory and asymptotic confidence sequences",
       arXiv:2103.06476 (2021): values that are not normal.
    """
    values = _checked(values, alpha, narrowest)
    n = np.arange(1.0, values.size + 1)
    mean, squares, ratio = _running(values, n)
    spread = n * _tuned(alpha, narrowest)  # n g
    log_k = (np.log1p(spread) - 2 * np.log(alpha)) / n
    known = log_k < np.log1p(spread)
    log_k = np.where(known, log_k, 0.0)
    bound = np.expm1(log_k) / -np.expm1(log_k - np.log1p(spread))
    half_width = np.sqrt(squares / n * bound)
    believed = known & np.maximum.accumulate(ratio >= SEEN)
    return ConfidenceSequence(mean, np.where(believed, half_width, np.inf))


def _checked(values: Floats, alpha: float, narrowest: float) -> Floats:
    """Return the values, once all arguments are known to be in range."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(
            f"`values` must have shape (n,) with n >= 1, but have shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError("`values` must be finite numbers, but some are not")
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be between 0 and 1, but is {alpha}")
    if not 1 <= narrowest < np.inf:
        raise ValueError(f"`narrowest` must be at least 1, but is {narrowest}")
    return array


def _tuned(alpha: float, narrowest: float) -> float:
    """Return the g for which the normal mixture is narrowest at one sample size.

    At x = n g the width (1 + 1/x) log((1 + x) / alpha^2) has a minimum where
    exp(x) = (1 + x) / alpha^2, so that 1 + x = -W_{-1}(-alpha^2 / e).
    """
    branch = lambertw(-np.square(alpha) / np.e, -1).real
    return float(-branch - 1) / narrowest


def _running(values: Floats, n: Floats) -> tuple[Floats, Floats, Floats]:
    """Return running means, sums of squared deviations, and participation ratios."""
    center = values.mean()
    first, second, third, fourth = (
        np.cumsum((values - center) ** power) for power in (1, 2, 3, 4)
    )
    mean = first / n
    squares = (second - n * mean**2).clip(0.0)
    fourths = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * n * mean**4
    ratio = np.where(fourths > 0, squares**2 / np.where(fourths > 0, fourths, 1), 0.0)
    return center + mean, squares, ratio
