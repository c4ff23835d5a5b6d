"""Waiting times: from a jump to the next one, and from the start to the first."""

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

__all__ = ["WaitingTimes", "first_waiting_times", "waiting_times"]


@dataclass(frozen=True, eq=False)
class WaitingTimes:
    """The density of waiting times, averaged over bins.

    Attributes
    ----------
    edges : ndarray, shape (B + 1,)
        Of the bins [time].
    density, error : ndarray, shape (B,)
        Mean density in every bin [1/time] and its standard error.
    counts : ndarray of int, shape (B,)
        Waits in every bin.
    starts : int
        Waits that were followed, also those that were longer than the last bin.
    """

    edges: Floats
    density: Floats
    error: Floats
    counts: Ints
    starts: int

    @property
    def longer(self) -> float:
        """Part of the waits that lie outside the bins."""
        return 1.0 - float(self.counts.sum()) / self.starts

    def to_frame(self) -> pd.DataFrame:
        """Return one row per bin: low, high, density, error, count."""
        import pandas as pd

        return pd.DataFrame(
            {
                "low": self.edges[:-1],
                "high": self.edges[1:],
                "density": self.density,
                "error": self.error,
                "count": self.counts,
            }
        )


def _next_times(jumps: JumpRecords, trajectory: Ints, time: Floats, later: Any) -> Any:
    """Return how long after each given (trajectory, time) the next jump comes, or inf.

    `later` is its place among `jumps`, unless that is of another trajectory.
    """
    ends = np.searchsorted(jumps.trajectory, trajectory, side="right")
    found = np.full(time.size, np.inf)
    exists = later < ends
    found[exists] = jumps.time[later[exists]]
    return found - time


def _density(
    trajectory: Ints, waits: Floats, edges: Floats, n_traj: int
) -> WaitingTimes:
    """Return the binned density of waits that were all followed long enough."""
    if not waits.size:
        raise ValueError(
            "`records` must hold jumps early enough to be followed for the longest "
            f"wait {edges[-1]:g}, but hold none; use shorter `edges` or a longer window"
        )
    events = binned(trajectory, waits, edges, n_traj)
    counts = np.asarray(events.sum(axis=0)).ravel()
    starts = per_trajectory(trajectory, n_traj).astype(np.float64)
    unit = 1.0 / (waits.size * np.diff(edges))
    relative = ratio_errors(events, starts[None])
    return WaitingTimes(
        edges=edges,
        density=counts * unit,
        error=relative * np.maximum(counts, 1.0) * unit,
        counts=np.rint(counts).astype(np.int64),
        starts=waits.size,
    )


def waiting_times(
    records: JumpRecords, edges: Any, channels: Any = None, *, after: Any = None
) -> WaitingTimes:
    r"""Return the distribution of the times between successive jumps.

    .. math:: w(\tau)\,d\tau = \mathrm{Prob}(\text{the next jump of `channels` comes
        } \tau .. \tau + d\tau \text{ after one of `after`})

    Parameters
    ----------
    records : JumpRecords
        Every jump of the channels must have been kept.
    edges : array_like, shape (B + 1,)
        Of the bins, 0 or later [time]; the last one is the longest wait told apart.
    channels : None, str, sequence of str, or mapping of str to 0 and 1
        What ends a wait; any jump by default. ``{"bath": [1, 0]}`` chooses the first of
        two dissipators that share a name.
    after : optional
        What starts one; the same channels by default.

    Returns
    -------
    WaitingTimes

    Raises
    ------
    ModelError
        If a name is unknown.
    ValueError
        If the edges do not fit the window, jumps were dropped, or no wait was followed.

    Notes
    -----
    A window that ends favors short waits. Here only the waits count that start before
    ``stop - edges[-1]``: all of them are followed up to the last edge, so each is
    sorted into its bin, or known to be longer, whatever its length. In a stationary
    window the expected numbers are exactly those of the density; otherwise it is the
    mean over the jumps in the window. Errors are those of a ratio of two means over
    trajectories; a bin that stayed empty has the error of one event.
    """
    records = as_records(records)
    edges = as_edges(edges, records.duration)
    ending = as_selection(channels, records.names, "channels")
    starting = ending if after is None else as_selection(after, records.names, "after")
    either = np.flatnonzero((ending > 0) | (starting > 0))
    _require(records, either)
    jumps = records if channels is None else records.select(channels)
    from_here = (starting[records.channel] > 0) & (
        records.time <= records.stop - edges[-1]
    )
    # jumps of `channels` up to and with each jump of the records
    passed = np.cumsum(ending[records.channel] > 0)[from_here]
    trajectory = records.trajectory[from_here]
    waits = _next_times(jumps, trajectory, records.time[from_here], passed)
    return _density(trajectory, waits, edges, records.n_traj)


def first_waiting_times(
    records: JumpRecords, edges: Any, channels: Any = None
) -> WaitingTimes:
    """Return the distribution of the time from the start to the first jump.

    Parameters
    ----------
    records : JumpRecords
        Every jump of the channels must have been kept.
    edges : array_like, shape (B + 1,)
        Of the bins, 0 or later, at most the length of the window [time].
    channels : None, str, sequence of str, or mapping of str to 0 and 1
        As in `waiting_times`.

    Returns
    -------
    WaitingTimes
        With one start per trajectory.

    Raises
    ------
    ModelError
        If a name is unknown.
    ValueError
        If the edges do not fit the window, or jumps were dropped.
    """
    records = as_records(records)
    edges = as_edges(edges, records.duration)
    jumps = records if channels is None else records.select(channels)
    jumps.require_complete("waiting times")
    trajectory = np.arange(records.n_traj)
    first = np.searchsorted(jumps.trajectory, trajectory)
    start = np.full(records.n_traj, records.start)
    waits = _next_times(jumps, trajectory, start, first)
    return _density(trajectory, waits, edges, records.n_traj)


def _require(records: JumpRecords, channels: Ints) -> None:
    """Raise a ValueError if jumps of some channels were dropped."""
    kept = np.bincount(records.channel, minlength=len(records.names))
    if (kept < records.counts.sum(axis=1))[channels].any():
        records.require_complete("waiting times")
