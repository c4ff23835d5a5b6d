"""Counted quantities: the sum of the weights of a trajectory's jumps."""

from __future__ import annotations

from typing import Any

import numpy as np

from stochq.arrays import Floats, as_times
from stochq.records import JumpRecords

__all__ = ["as_edges", "as_records", "sums_at", "sums_at_end"]


def as_records(records: Any, at_least: int = 2) -> JumpRecords:
    """Return the records, checked to be of enough trajectories for an error bar."""
    if not isinstance(records, JumpRecords):
        raise ValueError(
            f"`records` must be JumpRecords, but is {type(records).__name__}"
        )
    if records.n_traj < at_least:
        raise ValueError(
            f"`records` must be of at least {at_least} trajectories, but is of "
            f"{records.n_traj}"
        )
    return records


def as_edges(edges: Any, longest: float) -> Floats:
    """Return the edges (B + 1,) of bins of delays, within a window's length."""
    try:
        array = as_times(edges)
    except ValueError as error:
        raise ValueError(str(error).replace("times", "edges")) from error
    if array.size < 2 or array[0] < 0 or array[-1] > longest:
        raise ValueError(
            f"`edges` must have two edges or more, from 0 to {longest:g} (the window), "
            f"but are {array.size} from {array[0]:g} to {array[-1]:g}"
        )
    return array


def sums_at_end(records: JumpRecords, weights: Floats) -> Floats:
    """Return Q = sum_k w[c_k] of every trajectory, shape (n_traj,)."""
    total: Floats = weights @ records.counts
    return total


def sums_at(records: JumpRecords, weights: Floats, times: Any) -> Floats:
    """Return Q(t) of the jumps up to every time, shape (T, n_traj)."""
    if times is None:
        return sums_at_end(records, weights)[None]
    times = as_times(times)
    if times[0] < records.start or times[-1] > records.stop:
        raise ValueError(
            f"`times` must be from {records.start:g} to {records.stop:g}, but are from "
            f"{times[0]:g} to {times[-1]:g}"
        )
    if times[0] < records.stop:
        records.require_complete("counts at earlier times")
    sums = np.empty((times.size, records.n_traj))
    for row, t in zip(sums, times, strict=True):
        past = records.time <= t
        added = weights[records.channel[past]]
        row[:] = np.bincount(records.trajectory[past], added, minlength=row.size)
    return sums
