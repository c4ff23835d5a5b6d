"""What running atoms gives: values of trajectories, and what was kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats, Ints
from stochq.recording.state_sums import StateSum
from stochq.recording.wanted import Failure, joined_failures
from stochq.schemes.lanes import Tally

__all__ = ["Kept", "Run", "joined"]


class Kept(NamedTuple):
    """The first jumps of consecutive trajectories, and how many there were in all.

    One entry per jump of trajectory, time and channel; counts have the shape
    (channels, n).
    """

    trajectory: Ints
    time: Floats
    channel: npt.NDArray[np.int32]
    counts: Ints

    @classmethod
    def of(cls, tally: Tally) -> Kept:
        """Return what a tally holds of the trajectories that count."""
        size = min(tally.kept.size, tally.n_traj - tally.first)
        mine = np.arange(tally.time.shape[1]) < tally.kept[:size, None]
        return cls(
            tally.first + np.nonzero(mine)[0],
            tally.time[:size][mine],
            tally.channel[:size][mine],
            tally.counts[:, :size],
        )

    @classmethod
    def joined(cls, parts: Sequence[Kept]) -> Kept:
        """Return consecutive parts as one."""
        columns = zip(*parts, strict=True)
        return cls(*(np.concatenate(column, axis=-1) for column in columns))


@dataclass(frozen=True)
class Run:
    """Values of every trajectory of some atoms.

    Attributes
    ----------
    values : ndarray, shape (O + F, T, n)
        Expectation values of n trajectories, then values of functions.
    jumps : ndarray of int, shape (channels, T)
        Jumps up to each time of all trajectories together, by operator.
    norms : ndarray, shape (T, n)
        <psi|psi> of n trajectories; 1 where jumps lower it, which is put back.
    norm_defect : float
        Largest |<psi|psi> - 1| where nothing lowers the norm.
    residual : float
        Largest |ln(S / u)| at a solved jump time.
    kept : Kept or None
        The jumps of single trajectories, if asked for.
    signals : ndarray, shape (monitors, T - 1, n)
        Integrals of dY over the intervals [sqrt(time)]; no monitors if not kept.
    failures : tuple of Failure
        The first trajectories that have values which are not finite.
    failed : int
        How many there are.
    states : tuple of StateSum
        The sum of the states of each atom, if asked for.
    counts : tuple of ndarray of int
        How many values fall into the bins of each histogram.
    """

    values: Floats
    jumps: Ints
    norms: Floats
    norm_defect: float
    residual: float
    kept: Kept | None = None
    signals: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))
    failures: tuple[Failure, ...] = ()
    failed: int = 0
    states: tuple[StateSum, ...] = ()
    counts: tuple[Ints, ...] = ()


def joined(one: Run, other: Run) -> Run:
    """Return the values of two runs, one after the other."""
    return Run(
        np.concatenate([one.values, other.values], axis=-1),
        one.jumps + other.jumps,
        np.concatenate([one.norms, other.norms], axis=-1),
        max(one.norm_defect, other.norm_defect),
        max(one.residual, other.residual),
        Kept.joined([one.kept, other.kept]) if one.kept and other.kept else None,
        np.concatenate([one.signals, other.signals], axis=-1),
        joined_failures(one.failures, other.failures),
        one.failed + other.failed,
        one.states + other.states,
        tuple(a + b for a, b in zip(one.counts, other.counts, strict=True)),
    )
