"""Cumulants of a counted quantity, its Fano factor and Mandel's Q."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Floats, as_times
from stochq.counting.sums import as_records, sums_at
from stochq.records import JumpRecords
from stochq.weights import as_weights

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CountingStatistics", "counting_statistics"]

#: Trajectories that the fourth cumulant needs when one is left out.
FEWEST = 5


@dataclass(frozen=True, eq=False)
class CountingStatistics:
    """Cumulants of Q(t) over trajectories, with standard errors.

    Attributes
    ----------
    times : ndarray, shape (T,)
        Jumps are counted from the start of the window up to each of these [time].
    names : tuple of str, shape (4,)
        mean, variance, cumulant 3, cumulant 4.
    cumulants, errors : ndarray, shape (4, T)
        Unbiased estimates [weight^k], and their standard errors.
    fano, fano_error : ndarray, shape (T,)
        variance / mean [weight]; nan where nothing was counted.
    n_traj : int
        Number of trajectories.
    """

    times: Floats
    names: tuple[str, ...]
    cumulants: Floats
    errors: Floats
    fano: Floats
    fano_error: Floats
    n_traj: int

    @property
    def mandel_q(self) -> Floats:
        """Mandel's Q = fano - 1, shape (T,); its standard error is `fano_error`."""
        return self.fano - 1.0

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: time, statistic, value, error."""
        import pandas as pd

        names = [*self.names, "fano"]
        return pd.DataFrame(
            {
                "time": np.tile(self.times, len(names)),
                "statistic": np.repeat(names, self.times.size),
                "value": np.concatenate([self.cumulants.ravel(), self.fano]),
                "error": np.concatenate([self.errors.ravel(), self.fano_error]),
            }
        )


def _k_statistics(n: float, s: Floats) -> Floats:
    """Return k_1 to k_4 (4, ...) from power sums s_r = sum x^r, shape (4, ...)."""
    s1, s2, s3, s4 = s
    k2 = (n * s2 - s1**2) / (n * (n - 1))
    k3 = (2 * s1**3 - 3 * n * s1 * s2 + n**2 * s3) / (n * (n - 1) * (n - 2))
    k4 = -6 * s1**4 + 12 * n * s1**2 * s2 - 3 * n * (n - 1) * s2**2
    k4 = k4 - 4 * n * (n + 1) * s1 * s3 + n**2 * (n + 1) * s4
    return np.array([s1 / n, k2, k3, k4 / (n * (n - 1) * (n - 2) * (n - 3))])


def _with_fano(cumulants: Floats, shift: float) -> Floats:
    """Return the cumulants with the shift put back and the Fano factor, (5, ...)."""
    mean = cumulants[0] + shift
    # a mean that is zero but for the rounding of the shift is zero
    known = np.abs(mean) > 1e-14 * abs(shift)
    fano = np.divide(cumulants[1], mean, where=known, out=np.full_like(mean, np.nan))
    return np.array([mean, *cumulants[1:], fano])


def _estimate(values: Floats) -> tuple[Floats, Floats]:
    """Return k_1 to k_4 and the Fano factor of a sample (n,), and standard errors."""
    n, shift = float(values.size), float(values.mean())
    powers = (values - shift) ** np.arange(1, 5)[:, None]
    sums = powers.sum(axis=1)
    full = _with_fano(_k_statistics(n, sums), shift)
    left_out = _with_fano(_k_statistics(n - 1, sums[:, None] - powers), shift)
    errors = np.sqrt((n - 1) * left_out.var(axis=1))
    return full, errors


def counting_statistics(
    records: JumpRecords, weights: Any = None, *, times: Any = None
) -> CountingStatistics:
    r"""Return cumulants of what the jumps of a trajectory add up to.

    .. math:: Q(t) = \sum_{k:\, t_k \le t} w_{c_k}, \qquad
        F(t) = \frac{\mathrm{var}\,Q(t)}{\langle Q(t)\rangle}

    Parameters
    ----------
    records : JumpRecords
        Of five trajectories or more.
    weights : None, str, sequence of str, or mapping of str to float or to floats
        w: 1 counts jumps, -omega and omega of emission and absorption give heat, -1 and
        1 a net current. All jumps count 1 by default; with a mapping, what is not named
        weighs 0, and a sequence has one weight for each dissipator of its name.
    times : array_like, shape (T,), optional
        Where to look [time]; the end of the window by default, which needs no record
        but `counts`.

    Returns
    -------
    CountingStatistics

    Raises
    ------
    ModelError
        If the weights do not fit the channels.
    ValueError
        If the times are not in the window, jumps were dropped that they need, or there
        are fewer than five trajectories.

    Notes
    -----
    The estimates are Fisher's k-statistics, unbiased at every sample size; the Fano
    factor has a bias of order 1/n_traj. Standard errors are those of the jackknife over
    trajectories; for the mean that is the usual one. All of them are estimates: with a
    handful of jumps in the whole ensemble they come out too small as often as not.

    What is counted belongs to the unraveling: other jump operators with the same
    average have other statistics.
    """
    records = as_records(records, FEWEST)
    sums = sums_at(records, as_weights(weights, records.names), times)
    found = [_estimate(row) for row in sums]
    values = np.stack([value for value, _ in found], axis=1)
    errors = np.stack([error for _, error in found], axis=1)
    return CountingStatistics(
        times=as_times([records.stop] if times is None else times),
        names=("mean", "variance", "cumulant 3", "cumulant 4"),
        cumulants=values[:4],
        errors=errors[:4],
        fano=values[4],
        fano_error=errors[4],
        n_traj=records.n_traj,
    )
