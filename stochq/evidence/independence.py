"""Whether trajectories are independent, as every error bar takes them to be.

Random numbers used twice leave the mean right and its error bar too small. Two things
give them away: batches that repeat after a lag, and batches whose means scatter more
than the spread of single trajectories allows.
"""

from __future__ import annotations

import numpy as np

from stochq.arrays import Floats

__all__ = ["lag_of_repetition", "scatter_of_batches"]

#: Probability, at most, that independent trajectories are said to repeat.
FALSE_ALARM = 1e-6

#: Fewer batches than this tell nothing.
FEWEST_BATCHES = 200

#: Standard deviations beyond which a number counts as if it were that large.
CLIPPED = 2.0

#: Standard errors of the scatter that chance may add.
SCATTER_SIGMAS = 7.0


def lag_of_repetition(series: Floats) -> int | None:
    r"""Return the lag at which series repeat themselves, or None.

    .. math:: \rho_L = \frac{1}{n} \sum_{i=1}^{n} x_i x_{i + L} > t, \quad n = B - L,
        \qquad \frac{n t^2}{2} = \ln\frac{1}{q}\,\Bigl(1 + \frac{M t}{3}\Bigr)

    with x standardized after clipping at two standard deviations, and M = max x^2:
    Bernstein's bound on the probability q of such a correlation by chance, shared
    among all lags and series. At least 100 pairs are compared.

    Parameters
    ----------
    series : ndarray, shape (B, S)
        One number for each batch, for each of S series.
    """
    count, width = series.shape
    if count < FEWEST_BATCHES:
        return None
    x = _standardized(_standardized(series).clip(-CLIPPED, CLIPPED))
    power = np.square(np.abs(np.fft.rfft(x, 2 * count, axis=0)))
    lags = np.arange(1, count - FEWEST_BATCHES // 2 + 1)
    pairs = (count - lags)[:, None]
    correlation = np.fft.irfft(power, 2 * count, axis=0)[lags] / pairs
    surprise = np.log(width * count / FALSE_ALARM)
    slope = surprise * np.square(x).max(axis=0, initial=0.0) / 3
    bound = (slope + np.sqrt(np.square(slope) + 2 * pairs * surprise)) / pairs
    excess = (correlation - bound).max(axis=1, initial=-1.0)
    return int(excess.argmax()) + 1 if (excess > 0).any() else None


def _standardized(series: Floats) -> Floats:
    """Return series with mean 0 and mean square 1; those that are constant as 0."""
    x = series - series.mean(axis=0)
    size = np.sqrt(np.square(x).mean(axis=0))
    found: Floats = x / np.where(size > 0, size, np.inf)
    return found


def scatter_of_batches(batches: Floats, size: int) -> tuple[Floats, Floats]:
    """Return the scatter of batches (P,), 1 if they are independent, and its limit.

    The scatter is the variance of batch means times the size of a batch. Its standard
    error is ``sqrt((kurtosis - 1) / B)``, by the batches' kurtosis.

    Parameters
    ----------
    batches : ndarray, shape (B, P)
        Means over `size` trajectories, in standard deviations of one trajectory.
    size : int
        Trajectories in a batch.
    """
    square = np.square(batches - batches.mean(axis=0))
    variance = square.mean(axis=0)
    kurtosis = np.square(square).mean(axis=0) / np.square(variance).clip(1e-300)
    told = len(batches) >= FEWEST_BATCHES and size > 1
    sigmas = SCATTER_SIGMAS if told else np.inf
    return variance * size, 1 + sigmas * np.sqrt(
        (kurtosis.clip(3.0) - 1) / len(batches)
    )
