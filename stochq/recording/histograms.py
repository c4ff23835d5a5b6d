r"""Histograms of single trajectories: integer counts, so that parts add up exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Floats, Ints, as_array, whole_number
from stochq.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Binning", "Bins", "Histogram", "as_time_indices", "resolved"]

#: Most bins of a histogram.
MOST_BINS = 10**6

#: How far beyond the limits a value may be by rounding, in units of their distance.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Bins:
    """Ask for histograms of an observable or function of single trajectories.

    Parameters
    ----------
    observable : str
        Its name.
    times : array_like, optional
        Some of the output times [time]; by default all.
    n : int, default 256
        Bins of equal width.
    limits : (float, float), optional
        Where the first bin begins and the last ends, in the observable's unit. By
        default the smallest and largest possible value; a function of one's own must
        have limits.

    Raises
    ------
    ModelError
        If the limits are not two finite numbers, the smaller first.
    ValueError
        If n is not an integer >= 1.
    """

    observable: str
    times: Any = None
    n: int = 256
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check everything but the names and times, which a run has."""
        if whole_number(self.n, "n", at_least=1) > MOST_BINS:
            raise ValueError(f"`n` must be at most {MOST_BINS}, but is {self.n}")
        if self.times is not None:  # however it is written, it is the same request
            asked = np.atleast_1d(as_array(self.times, "times of Bins"))
            if asked.ndim == 1 and asked.dtype.kind in "iuf":
                object.__setattr__(self, "times", tuple(asked.astype(float).tolist()))
        object.__setattr__(self, "n", int(self.n))
        if self.limits is None:
            return
        ends = as_array(self.limits, "limits")
        if ends.shape != (2,) or ends.dtype.kind not in "iuf":
            raise ModelError(
                f"`limits` must be two numbers (low, high), but is {self.limits!r:.60}"
            )
        low, high = float(ends[0]), float(ends[1])
        if not (np.isfinite(ends).all() and low < high and np.isfinite(high - low)):
            raise ModelError(
                f"`limits` must be finite with low < high, but is ({low:g}, {high:g})"
            )
        object.__setattr__(self, "limits", (low, high))


@dataclass(frozen=True)
class Binning:
    """What counts values into bins.

    Attributes
    ----------
    observable : str
        Its name.
    row : int
        Which row of a run's values it is.
    times : tuple of int
        Which of the output times.
    low, high : float
        Where the first bin begins and the last ends.
    n : int
        Bins of equal width.
    """

    observable: str
    row: int
    times: tuple[int, ...]
    low: float
    high: float
    n: int

    @property
    def edges(self) -> Floats:
        """Edges of the bins, shape (n + 1,)."""
        return np.linspace(self.low, self.high, self.n + 1)

    def count(self, values: Floats) -> Ints:
        """Return how many values fall below the bins, into each, and above them.

        A bin includes its lower edge, the last one its upper edge too; a value beyond
        the limits by rounding (1e-9 of their distance) is counted at the edge. NaN is
        counted nowhere. Counts of parts add up to those of the whole.

        Parameters
        ----------
        values : ndarray, shape (T', m)
            Values of m trajectories at the times of the bins.

        Returns
        -------
        ndarray of int, shape (T', n + 2)
        """
        width = self.high - self.low
        with np.errstate(over="ignore", invalid="ignore"):
            place = (values - self.low) / width
            place[(place < 0) & (place >= -ROUNDING)] = 0.0
            inside = np.floor(np.minimum(place, 1.0) * self.n)
            bins = np.where(
                place <= 1.0 + ROUNDING, inside.clip(-1, self.n - 1), self.n
            )
        counted = ~np.isnan(values)
        rows = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
        flat = (rows[counted] * (self.n + 2)) + bins[counted].astype(np.int64) + 1
        size = len(values) * (self.n + 2)
        found = np.bincount(flat, minlength=size).astype(np.int64)
        return found.reshape(len(values), self.n + 2)

    def of_run(self, values: Floats) -> Ints:
        """Return the counts (T', n + 2) of all values of a run, (rows, T, m)."""
        return self.count(values[self.row, list(self.times)])


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often single trajectories have which values.

    Attributes
    ----------
    observable : str
        What was counted.
    times : ndarray, shape (T',) [time]
        When.
    edges : ndarray, shape (n + 1,)
        Edges of the bins, in the observable's unit.
    counts : ndarray of int, shape (T', n + 2)
        Trajectories below the first bin, in each bin, and above the last.
    n_traj : int
        Trajectories of the ensemble; those that have no value (NaN) are not counted.
    """

    observable: str
    times: Floats
    edges: Floats
    counts: Ints
    n_traj: int

    @classmethod
    def of(
        cls, binning: Binning, times: Floats, counts: Ints, n_traj: int
    ) -> Histogram:
        """Return the histogram that a binning has counted, of all output times."""
        chosen = times[list(binning.times)]
        return cls(binning.observable, chosen, binning.edges, counts, n_traj)

    @property
    def resolution(self) -> float:
        """Width of a bin, in the observable's unit."""
        return float((self.edges[-1] - self.edges[0]) / (self.edges.size - 1))

    @property
    def missing(self) -> Ints:
        """Trajectories that have no value, shape (T',)."""
        absent: Ints = self.n_traj - self.counts.sum(axis=1)
        return absent

    @property
    def probability(self) -> Floats:
        """Fraction of the counted trajectories in each bin, shape (T', n)."""
        total = self.counts.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            fractions: Floats = self.counts[:, 1:-1] / total
        return fractions

    @property
    def density(self) -> Floats:
        """Probability per unit of the observable, shape (T', n).

        Its integral is the fraction of trajectories inside the limits.
        """
        density: Floats = self.probability / self.resolution
        return density

    def quantile(self, q: float) -> Floats:
        r"""Return the value that a fraction q of the trajectories do not exceed, (T',).

        .. math:: x_q = a_k + \frac{q N - N_{<k}}{N_k}\, \Delta, \qquad
            N_{<k} < q N \le N_{<k} + N_k

        in the bin k that begins at a_k. The ceil(q N)-th smallest value is in the same
        bin, so that the error is at most one bin width Delta (`resolution`). It is
        -inf or inf where that value is outside the limits, NaN where nothing counts.

        Parameters
        ----------
        q : float
            From 0 to 1.

        Raises
        ------
        ValueError
            If q is not from 0 to 1.
        """
        number = isinstance(q, (int, float, np.number)) and not isinstance(q, bool)
        if not number or not 0 <= q <= 1:
            raise ValueError(f"`q` must be a number from 0 to 1, but is {q!r:.60}")
        cumulated = np.cumsum(self.counts, axis=1)
        return np.array([self._at(row, q) for row in cumulated], dtype=np.float64)

    def _at(self, cumulated: Ints, q: float) -> float:
        """Return the quantile of one time, from cumulated counts (n + 2,)."""
        total = int(cumulated[-1])
        if not total:
            return np.nan
        # the rank of a value: q = 0 asks for the smallest one
        rank = float(q) * total
        if abs(rank - round(rank)) < 1e-9 * total:  # .28 x 25 is above 7 by rounding
            rank = float(round(rank))
        place = int(np.searchsorted(cumulated, max(rank, 0.5), side="left"))
        if place in (0, self.edges.size):
            return -np.inf if place == 0 else np.inf
        before = int(cumulated[place - 1])
        share = (rank - before) / (int(cumulated[place]) - before)
        low, high = self.edges[place - 1 : place + 1]
        return float(low + min(max(share, 0.0), 1.0) * (high - low))

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: observable, time, low, high, count, density.

        The first and last row of each time are what lies outside the limits.
        """
        import pandas as pd

        ends = np.concatenate(([-np.inf], self.edges, [np.inf]))
        outside = np.full((self.times.size, 1), np.nan)
        density = np.concatenate([outside, self.density, outside], axis=1)
        return pd.DataFrame(
            {
                "observable": self.observable,
                "time": np.repeat(self.times, self.counts.shape[1]),
                "low": np.tile(ends[:-1], self.times.size),
                "high": np.tile(ends[1:], self.times.size),
                "count": self.counts.ravel(),
                "density": density.ravel(),
            }
        )

    def __repr__(self) -> str:
        """Say what it is, in one line."""
        return (
            f"Histogram({self.observable!r}, {self.times.size} times, "
            f"{self.edges.size - 1} bins from {self.edges[0]:g} to {self.edges[-1]:g}, "
            f"n_traj={self.n_traj})"
        )


def as_time_indices(wanted: Any, times: Floats, name: str = "times") -> tuple[int, ...]:
    """Return which output times are wanted; None for all.

    Parameters
    ----------
    wanted : array_like or None
        Some of the output times, each to rounding (1e-9 of the whole span), increasing.
    times : ndarray, shape (T,)
        The output times.
    name : str, default "times"
        What to call them in an error message.

    Raises
    ------
    ModelError
        If one is not among the output times, or they do not increase.
    """
    if wanted is None:
        return tuple(range(times.size))
    asked = np.atleast_1d(as_array(wanted, name))
    if asked.ndim != 1 or not asked.size or asked.dtype.kind not in "iuf":
        raise ModelError(
            f"`{name}` must be some of the output times, but is {wanted!r:.60}"
        )
    slack = 1e-9 * max(float(times[-1] - times[0]), float(np.abs(times).max()) * 1e-6)
    places = np.abs(asked[:, None] - times).argmin(axis=1)
    off = ~(np.abs(times[places] - asked) <= slack)
    if off.any():
        raise ModelError(
            f"`{name}` must be among the output times, but {asked[off][0]:g} is not"
        )
    if (np.diff(places) <= 0).any():
        raise ModelError(
            f"`{name}` must be strictly increasing, but is {asked.tolist()!s:.60}"
        )
    return tuple(places.tolist())


def resolved(
    bins: Any,
    names: Sequence[str],
    times: Floats,
    limits: Mapping[str, tuple[float, float]],
) -> tuple[Binning, ...]:
    """Return what counts the values of a run.

    Parameters
    ----------
    bins : Bins, or a sequence of them, or None
        What was asked for.
    names : sequence of str
        Names of the observables, then of the functions.
    times : ndarray, shape (T,)
        Output times [time].
    limits : mapping of str to (low, high)
        Smallest and largest possible values, where they are known.

    Raises
    ------
    ModelError
        If a name or a time is unknown, or limits are missing.
    """
    listed = () if bins is None else (bins,) if isinstance(bins, Bins) else bins
    if not isinstance(listed, (list, tuple)):
        raise ModelError(f"`histograms` must be a list of Bins, but is {bins!r:.60}")
    return tuple(_resolved(b, names, times, limits) for b in listed)


def _resolved(
    bins: Any,
    names: Sequence[str],
    times: Floats,
    limits: Mapping[str, tuple[float, float]],
) -> Binning:
    """Return what counts the values of one observable."""
    if not isinstance(bins, Bins):
        raise ModelError(
            f"`histograms` must hold Bins(observable), but holds {bins!r:.60}"
        )
    if bins.observable not in names:
        raise ModelError(
            f"`observable` of Bins must be one of {list(names)}, "
            f"but is {bins.observable!r:.60}"
        )
    ends = bins.limits or limits.get(bins.observable)
    if ends is None:
        raise ModelError(
            "`limits` of Bins must be given for a function of one's own, but "
            f"{bins.observable!r} has none; write Bins({bins.observable!r}, "
            "limits=(low, high))"
        )
    low, high = float(ends[0]), float(ends[1])
    if not high - low > ROUNDING * max(abs(low), abs(high)):  # one possible value
        room = 0.5 * max(abs(low), abs(high), 1.0)
        low, high = low - room, high + room
    return Binning(
        observable=bins.observable,
        row=list(names).index(bins.observable),
        times=as_time_indices(bins.times, times, "times of Bins"),
        low=low,
        high=high,
        n=int(bins.n),
    )
