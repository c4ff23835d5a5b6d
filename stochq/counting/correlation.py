"""The second-order correlation of jumps, g2(tau)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.counting.ratios import binned, per_trajectory, ratio_errors
from stochq.counting.sums import as_edges, as_records
from stochq.records import JumpRecords
from stochq.weights import as_selection

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Correlation", "correlation_g2"]


@dataclass(frozen=True, eq=False)
class Correlation:
    """g2 averaged over bins of the delay.

    Attributes
    ----------
    edges : ndarray, shape (B + 1,)
        Of the bins [time].
    g2, error : ndarray, shape (B,)
        Mean of g2 in every bin [1] and its standard error.
    pairs : ndarray of int, shape (B,)
        Pairs of jumps in every bin.
    """

    edges: Floats
    g2: Floats
    error: Floats
    pairs: Ints

    def to_frame(self) -> pd.DataFrame:
        """Return one row per bin: low, high, g2, error, pairs."""
        import pandas as pd

        return pd.DataFrame(
            {
                "low": self.edges[:-1],
                "high": self.edges[1:],
                "g2": self.g2,
                "error": self.error,
                "pairs": self.pairs,
            }
        )


def _pairs(
    records: JumpRecords, first: Any, second: Any, longest: float
) -> tuple[Ints, Floats]:
    """Return trajectory and delay of all pairs of marked jumps up to a delay.

    Pairs of neighbors are taken first, then those with one jump between them, and so
    on, until no pair is near enough.
    """
    marked = first | second
    trajectory, time = records.trajectory[marked], records.time[marked]
    first, second = first[marked], second[marked]
    found: list[tuple[Ints, Floats]] = [(trajectory[:0], time[:0])]
    earlier = np.arange(time.size)
    for lag in range(1, time.size):
        earlier = earlier[earlier < time.size - lag]
        later = earlier + lag
        delay = time[later] - time[earlier]
        near = (trajectory[later] == trajectory[earlier]) & (delay <= longest)
        earlier, delay = earlier[near], delay[near]
        if not earlier.size:
            break
        wanted = first[earlier] & second[earlier + lag]
        found.append((trajectory[earlier[wanted]], delay[wanted]))
    trajectories, delays = zip(*found, strict=True)
    return np.concatenate(trajectories), np.concatenate(delays)


def correlation_g2(
    records: JumpRecords, edges: Any, channels: Any = None, *, then: Any = None
) -> Correlation:
    r"""Return the correlation of jumps with later jumps.

    .. math:: g_2(\tau) = \frac{\langle I_A(t)\, I_B(t+\tau)\rangle}
        {\langle I_A\rangle \langle I_B\rangle}, \qquad \tau > 0,

    with I the number of jumps per time. Independent jumps have g2 = 1.

    Parameters
    ----------
    records : JumpRecords
        Of a stationary window: start in the steady state, or leave the transient out by
        ``records.window(...)``.
    edges : array_like, shape (B + 1,)
        Of the bins of tau, 0 or later [time].
    channels : None, str, sequence of str, or mapping of str to 0 and 1
        A; all jumps by default.
    then : optional
        B; the same channels by default.

    Returns
    -------
    Correlation

    Raises
    ------
    ModelError
        If a name is unknown.
    ValueError
        If the edges do not fit the window, jumps were dropped, or none come early
        enough.

    Notes
    -----
    First jumps are those before ``stop - edges[-1]``, so that none of their partners is
    beyond the window; the rate of A is that of the same jumps, the rate of B that of
    the whole window. The number of pairs is unbiased; dividing by the two rates gives a
    bias of order 1/n_traj. Errors are those of this ratio over trajectories, so jumps
    that bunch in one trajectory do not make it look too good. An empty bin has the
    error of one pair.
    """
    records = as_records(records)
    edges = as_edges(edges, records.duration)
    one = as_selection(channels, records.names, "channels") > 0
    other = one if then is None else as_selection(then, records.names, "then") > 0
    records.require_complete("correlations")
    time_left = records.duration - edges[-1]
    first = one[records.channel] & (records.time <= records.stop - edges[-1])
    second = other[records.channel]
    if not first.any() or not second.any() or time_left <= 0:
        raise ValueError(
            "`records` must hold jumps of both kinds, the first of them early enough "
            f"to be followed for {edges[-1]:g}, but do not; use shorter `edges`"
        )
    n = records.n_traj
    trajectory, delay = _pairs(records, first, second, float(edges[-1]))
    events = binned(trajectory, delay, edges, n)
    pairs = np.asarray(events.sum(axis=0)).ravel()
    numbers = [per_trajectory(records.trajectory[kind], n) for kind in (first, second)]
    # pairs that independent jumps would have, per unit of delay
    independent = numbers[0].mean() * numbers[1].mean() * n / records.duration
    unit = 1.0 / (independent * np.diff(edges))
    relative = ratio_errors(events, np.array(numbers, dtype=np.float64))
    return Correlation(
        edges=edges,
        g2=pairs * unit,
        error=relative * np.maximum(pairs, 1.0) * unit,
        pairs=np.rint(pairs).astype(np.int64),
    )
