"""Jump records: which channel jumped when, on which trajectory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats, Ints, read_only, whole_number
from stochq.weights import as_selection

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["JumpRecords"]


def _column(value: Any, name: str, kinds: str, dtype: Any) -> npt.NDArray[Any]:
    """Return a column (n,) of the records, read-only."""
    array = np.asarray(value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
        raise ValueError(
            f"`{name}` must have shape (n,), one entry per jump, but has shape "
            f"{array.shape} and type {array.dtype}"
        )
    return read_only(array.astype(dtype, copy=False).view())


def _number(value: Any, name: str) -> float:
    """Return a finite number [time]."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iuf" or not np.isfinite(number):
        raise ValueError(f"`{name}` must be a finite number, but is {value!r:.60}")
    return float(number)


def _as_counts(value: Any, names: tuple[str, ...]) -> Ints:
    """Return the numbers of jumps (C, n_traj)."""
    counts = np.asarray(value)
    if counts.dtype.kind not in "iu" or counts.ndim != 2 or len(counts) != len(names):
        raise ValueError(
            f"`counts` must be integers of shape ({len(names)}, n_traj), one row per "
            f"channel, but has shape {counts.shape} and type {counts.dtype}"
        )
    if counts.shape[1] == 0 or (counts < 0).any():
        raise ValueError(
            "`counts` must be >= 0 and of one trajectory at least, but "
            + ("some are negative" if counts.size else f"has shape {counts.shape}")
        )
    return read_only(counts.astype(np.int64, copy=False).view())


def _counted(channel: Any, trajectory: Ints, shape: tuple[int, ...]) -> Ints:
    """Return the number of jumps of every channel and trajectory, shape (C, n_traj)."""
    flat = channel.astype(np.int64) * shape[1] + trajectory
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


@dataclass(frozen=True, eq=False)
class JumpRecords:
    """The jumps of an ensemble of trajectories in a window of time.

    At most `limit` jumps are kept of each trajectory, its first ones, so that memory is
    bounded; `counts` knows of all of them.

    Parameters
    ----------
    trajectory : ndarray of int, shape (n,)
        Trajectory of every jump kept, ascending.
    time : ndarray, shape (n,)
        When it happened [time], ascending within a trajectory.
    channel : ndarray of int, shape (n,)
        Which jump operator.
    names : tuple of str, shape (C,)
        Name of the dissipator of every jump operator.
    counts : ndarray of int, shape (C, n_traj)
        Number of jumps of every channel in the window, also of those not kept.
    start, stop : float
        The window [time].
    limit : int, optional
        The most jumps kept per trajectory; None if all are.

    Raises
    ------
    ValueError
        If the parts do not fit each other.
    """

    trajectory: Ints
    time: Floats
    channel: npt.NDArray[np.int32]
    names: tuple[str, ...]
    counts: Ints
    start: float
    stop: float
    limit: int | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        names = tuple(self.names)
        parts = {
            "trajectory": _column(self.trajectory, "trajectory", "iu", np.int64),
            "time": _column(self.time, "time", "iuf", np.float64),
            "channel": _column(self.channel, "channel", "iu", np.int32),
            "names": names,
            "counts": _as_counts(self.counts, names),
            "start": _number(self.start, "start"),
            "stop": _number(self.stop, "stop"),
        }
        for name, part in parts.items():
            object.__setattr__(self, name, part)
        self._check()

    def _check(self) -> None:
        """Raise a ValueError for the first thing that does not fit."""
        sizes = {self.trajectory.size, self.time.size, self.channel.size}
        if len(sizes) > 1:
            raise ValueError(
                "`trajectory`, `time` and `channel` must have one length, but have "
                f"{sorted(sizes)}"
            )
        if not self.start < self.stop:
            raise ValueError(
                f"`stop` must be after `start`, but the window is from {self.start:g} "
                f"to {self.stop:g}"
            )
        if self.limit is not None:
            whole_number(self.limit, "limit", at_least=0)
        inside = (self.time >= self.start) & (self.time <= self.stop)
        if not inside.all():
            raise ValueError(
                f"`time` must be within {self.start:g} and {self.stop:g}, but one is "
                f"{self.time[~inside][0]:g}"
            )
        step = np.diff(self.trajectory)
        if (step < 0).any() or ((step == 0) & (np.diff(self.time) < 0)).any():
            raise ValueError(
                "`trajectory`, `time` must ascend, but do not; sort them with "
                "np.lexsort((time, trajectory))"
            )
        self._check_counts()

    def _check_counts(self) -> None:
        """Raise a ValueError if more jumps were kept than counted."""
        C, n = self.counts.shape
        for name, index, size in (
            ("trajectory", self.trajectory, n),
            ("channel", self.channel, C),
        ):
            if index.size and not (index.min() >= 0 and index.max() < size):
                raise ValueError(
                    f"`{name}` must be from 0 to {size - 1}, but goes from "
                    f"{index.min()} to {index.max()}"
                )
        if (_counted(self.channel, self.trajectory, (C, n)) > self.counts).any():
            raise ValueError(
                "`counts` must count every jump, but some trajectory has more in its "
                "record"
            )

    @property
    def n_traj(self) -> int:
        """Number of trajectories, with or without jumps."""
        return int(self.counts.shape[1])

    @property
    def duration(self) -> float:
        """Length of the window [time]."""
        return self.stop - self.start

    @property
    def dropped(self) -> int:
        """Number of jumps that were counted but not kept."""
        return int(self.counts.sum()) - self.time.size

    @property
    def complete(self) -> bool:
        """Whether every jump was kept."""
        return self.dropped == 0

    @property
    def complete_until(self) -> float:
        """Time up to which every jump was kept: `stop`, unless jumps were dropped."""
        kept = np.bincount(self.trajectory, minlength=self.n_traj)
        cut = np.flatnonzero(kept < self.counts.sum(axis=0))
        if not cut.size:
            return self.stop
        if not kept[cut].all():
            return self.start
        last = np.cumsum(kept)[cut] - 1
        return float(self.time[last].min())

    def require_complete(self, what: str) -> None:
        """Raise a ValueError that names `what` if jumps were dropped."""
        if not self.complete:
            raise ValueError(
                f"`records` must hold every jump for {what}, but {self.dropped} of "
                f"{self.counts.sum()} were dropped (limit {self.limit} per "
                "trajectory); raise the limit, or take an earlier part of the "
                f"records, which are complete until {self.complete_until:g}, by "
                "`records.window`"
            )

    def of(self, trajectory: int) -> tuple[Floats, npt.NDArray[np.int32]]:
        """Return the times (k,) and channels (k,) of the jumps of one trajectory.

        Raises
        ------
        ValueError
            If there is no such trajectory.
        """
        whole_number(trajectory, "trajectory", at_least=0)
        if trajectory >= self.n_traj:
            raise ValueError(
                f"`trajectory` must be below {self.n_traj}, but is {trajectory}"
            )
        low, high = np.searchsorted(self.trajectory, [trajectory, trajectory + 1])
        return self.time[low:high], self.channel[low:high]

    def select(self, channels: Any) -> JumpRecords:
        """Return the records of some channels alone.

        Parameters
        ----------
        channels : str, sequence of str, or mapping of str to 0 and 1
            Names of dissipators; ``{"bath": [1, 0]}`` chooses the first of two that
            share a name.

        Raises
        ------
        ModelError
            If a name is unknown or nothing is chosen.
        """
        chosen = np.flatnonzero(as_selection(channels, self.names, "channels"))
        kept = np.isin(self.channel, chosen)
        return replace(
            self,
            trajectory=self.trajectory[kept],
            time=self.time[kept],
            channel=np.searchsorted(chosen, self.channel[kept]).astype(np.int32),
            names=tuple(self.names[c] for c in chosen),
            counts=self.counts[chosen],
        )

    def window(self, start: float, stop: float) -> JumpRecords:
        """Return the jumps after `start` and up to `stop`, within the present window.

        Raises
        ------
        ValueError
            If the window is not inside this one, or a jump in it was dropped.

        Notes
        -----
        Choose `stop` for what it means, well below `complete_until`: a window that ends
        where the fastest trajectory reached its limit depends on what happened.
        """
        start, stop = _number(start, "start"), _number(stop, "stop")
        if not self.start <= start < stop <= self.stop:
            raise ValueError(
                f"`start`, `stop` must be within {self.start:g} and {self.stop:g}, but "
                f"are {start} and {stop}"
            )
        if stop > self.complete_until:
            self.require_complete(f"a window up to {stop:g}")
        # a jump on the border belongs to the window that it ends
        after = self.time > start if start > self.start else self.time >= start
        kept = after & (self.time <= stop)
        trajectory, channel = self.trajectory[kept], self.channel[kept]
        return replace(
            self,
            trajectory=trajectory,
            time=self.time[kept],
            channel=channel,
            counts=_counted(channel, trajectory, self.counts.shape),
            start=start,
            stop=stop,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return one row per jump kept: trajectory, time, channel, name."""
        import pandas as pd

        return pd.DataFrame(
            {
                "trajectory": self.trajectory,
                "time": self.time,
                "channel": self.channel,
                "name": np.array(self.names, dtype=object)[self.channel],
            }
        )

    def __repr__(self) -> str:
        """Say what was recorded, in one line."""
        return (
            f"JumpRecords({self.counts.sum()} jumps, {self.dropped} dropped, "
            f"{self.n_traj} trajectories, {len(self.names)} channels, "
            f"{self.start:g} to {self.stop:g})"
        )
