"""The distribution of a counted quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.counting.sums import as_records, sums_at
from stochq.errors import ModelError
from stochq.records import JumpRecords
from stochq.weights import as_weights, lattice_unit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CountingHistogram", "counting_histogram", "steps_of"]


@dataclass(frozen=True, eq=False)
class CountingHistogram:
    """How often each value of Q came up.

    Attributes
    ----------
    values : ndarray, shape (V,)
        From the smallest to the largest that came up, in steps of `unit` [weight].
    counts : ndarray of int, shape (V,)
        Number of trajectories with that value.
    probability, error : ndarray, shape (V,)
        k/n, and sqrt(p(1-p)/(n+3)) at p = (k+1)/(n+2): the binomial standard error
        that stays above zero where a value came up never or always.
    unit : float
        Lattice constant of the values.
    """

    values: Floats
    counts: Ints
    probability: Floats
    error: Floats
    unit: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row per value: value, count, probability, error."""
        import pandas as pd

        return pd.DataFrame(
            {
                "value": self.values,
                "count": self.counts,
                "probability": self.probability,
                "error": self.error,
            }
        )


def steps_of(
    records: JumpRecords, weights: Any, time: float | None
) -> tuple[Ints, float]:
    """Return Q / unit of every trajectory as integers (n_traj,), and the unit."""
    given = as_weights(weights, records.names)
    unit = lattice_unit(given)
    if time is not None and np.ndim(time):
        raise ModelError(f"`time` must be one time, but is {time!r:.60}")
    sums = sums_at(records, given / unit, None if time is None else [time])[0]
    return np.rint(sums).astype(np.int64), unit


def counting_histogram(
    records: JumpRecords, weights: Any = None, *, time: float | None = None
) -> CountingHistogram:
    """Return the histogram of the sum of the weights of a trajectory's jumps.

    Parameters
    ----------
    records : JumpRecords
        Of two trajectories or more.
    weights : None, str, sequence of str, or mapping of str to float or to floats
        As in `counting_statistics`; multiples of one unit, which is found.
    time : float, optional
        Jumps up to this time [time]; up to the end of the window by default.

    Returns
    -------
    CountingHistogram

    Raises
    ------
    ModelError
        If the weights do not fit the channels or have no common unit.
    ValueError
        If the time is not in the window, or jumps were dropped that it needs.
    """
    records = as_records(records)
    steps, unit = steps_of(records, weights, time)
    low, n = int(steps.min()), records.n_traj
    counts = np.bincount(steps - low)
    smoothed = (counts + 1) / (n + 2)
    return CountingHistogram(
        values=unit * (low + np.arange(counts.size, dtype=np.float64)),
        counts=counts,
        probability=counts / n,
        error=np.sqrt(smoothed * (1 - smoothed) / (n + 3)),
        unit=unit,
    )
