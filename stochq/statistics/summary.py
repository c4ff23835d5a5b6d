"""What is kept of the trajectories of a block, and of two together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.recording.runs import Kept, Run
from stochq.recording.state_sums import StateSum
from stochq.recording.wanted import Failure, joined_failures
from stochq.schemes.lanes import ATOM
from stochq.statistics.blocks import Block
from stochq.statistics.comoments import merged_comoments, tree_of_comoments
from stochq.statistics.moments import Moments, pairwise_means

__all__ = ["Statistics", "halves_of"]


@dataclass(frozen=True)
class Statistics:
    """What is kept of trajectories.

    Attributes
    ----------
    moments : Moments
        Of every value, shape (O, T).
    batches : ndarray, shape (B, O, T)
        Means over `size` trajectories each; what is left over has none.
    size : int
        Trajectories per batch, a power of two.
    comoments : ndarray, shape (O T, O T)
        Sums over trajectories of products of deviations; empty where it would be large.
    jumps : ndarray of int, shape (channels, T)
        Jumps up to each time, by operator.
    norms : ndarray, shape (T,)
        Sum of <psi|psi>.
    norm_defect, residual : float
        The largest of all.
    signals : ndarray, shape (monitors, T - 1, n)
        Those that were kept.
    kept : Kept or None
        The jumps of single trajectories, if asked for.
    states : (StateSum, StateSum) or None
        Sums of states over the atoms of even and of odd number, if asked for.
    counts : tuple of ndarray of int
        How many values fall into the bins of each histogram.
    failures : tuple of Failure
        The first trajectories that have values which are not finite.
    failed : int
        How many there are.
    weight : float
        What a trajectory counts, at most, in the mean of all.
    """

    moments: Moments
    batches: Floats
    size: int
    comoments: Floats
    jumps: Ints
    norms: Floats
    norm_defect: float
    residual: float
    signals: Floats
    kept: Kept | None = None
    states: tuple[StateSum, StateSum] | None = None
    counts: tuple[Ints, ...] = ()
    failures: tuple[Failure, ...] = ()
    failed: int = 0
    weight: float = 1.0

    @classmethod
    def of(cls, run: Run, block: Block, size: int) -> Statistics:
        """Return the statistics of a block, with batches of `size` trajectories."""
        count = run.values.shape[-1]
        size = min(size, _power_below(count))
        levels = _tree_of_moments(run.values)
        return cls(
            moments=_alone(levels[-1]),
            batches=_batches(run.values, size),
            size=size,
            comoments=tree_of_comoments(run.values, levels),
            jumps=run.jumps,
            norms=_tree_of_sums(run.norms),
            norm_defect=run.norm_defect,
            residual=run.residual,
            signals=run.signals,
            kept=run.kept,
            states=halves_of(run.states, block.first) if run.states else None,
            counts=run.counts,
            failures=run.failures,
            failed=run.failed,
        )

    @property
    def mean_norm(self) -> Floats:
        """Mean of <psi|psi>, shape (T,)."""
        return self.norms / self.moments.count

    def merge(self, other: Statistics) -> Statistics:
        """Return the statistics of these trajectories and the ones that follow."""
        size = max(self.size, other.size)
        one, two = self.coarsened(size), other.coarsened(size)
        a, b = self.moments, other.moments
        return Statistics(
            moments=a.merge(b),
            batches=np.concatenate([one.batches, two.batches]),
            size=size,
            comoments=merged_comoments(self.comoments, other.comoments, a, b),
            jumps=self.jumps + other.jumps,
            norms=self.norms + other.norms,
            # unlike max, NaN whatever the order
            norm_defect=float(np.maximum(self.norm_defect, other.norm_defect)),
            residual=float(np.maximum(self.residual, other.residual)),
            signals=np.concatenate([self.signals, other.signals], axis=-1),
            kept=_joined(self.kept, other.kept),
            states=_added(self.states, other.states),
            counts=tuple(
                mine + theirs
                for mine, theirs in zip(self.counts, other.counts, strict=True)
            ),
            failures=joined_failures(self.failures, other.failures),
            failed=self.failed + other.failed,
        )

    def coarsened(self, size: int) -> Statistics:
        """Return the same with batches of at least `size` trajectories, if it has them.

        Batches of trajectories that are fewer than that are left out.
        """
        times = (size // self.size).bit_length() - 1
        if times <= 0:
            return self
        batches = pairwise_means(self.batches, times)
        return replace(self, batches=batches, size=size)


def _joined(one: Kept | None, other: Kept | None) -> Kept | None:
    """Return the jumps of consecutive trajectories, if they were kept."""
    return Kept.joined([one, other]) if one and other else None


def _added(
    one: tuple[StateSum, StateSum] | None, other: tuple[StateSum, StateSum] | None
) -> tuple[StateSum, StateSum] | None:
    """Return sums over the even and the odd atoms of both, if they were kept."""
    if one is None or other is None:
        return None
    return one[0].merge(other[0]), one[1].merge(other[1])


def halves_of(atoms: Sequence[StateSum], first: int) -> tuple[StateSum, StateSum]:
    """Return sums over the atoms of even and of odd number, pairs first."""
    halves = []
    for parity in (0, 1):
        sums = list(atoms[(parity - first) % 2 :: 2])
        while len(sums) > 1:
            rest = sums[len(sums) // 2 * 2 :]  # none in a block
            pairs = zip(sums[0::2], sums[1::2], strict=False)
            sums = [*(one.merge(other) for one, other in pairs), *rest]
        halves.append(sums[0] if sums else _nothing(atoms[0]))
    return halves[0], halves[1]


def _nothing(like: StateSum) -> StateSum:
    """Return the sum over no states."""
    return StateSum(np.zeros_like(like.total), np.zeros_like(like.squares), 0)


def _power_below(count: int) -> int:
    """Return the largest power of two that is at most a number >= 1."""
    return 1 << (count.bit_length() - 1)


def _batches(values: Floats, size: int) -> Floats:
    """Return means over runs of `size` trajectories, shape (n // size, O, T)."""
    moved = np.moveaxis(values, -1, 0)
    return np.ascontiguousarray(pairwise_means(moved, size.bit_length() - 1))


def _tree_of_moments(values: Floats) -> list[Moments]:
    """Return moments at every level of a block: of its atoms, of pairs, ... of all."""
    atoms = max(1, values.shape[-1] // ATOM)
    levels = [Moments.of(values.reshape(*values.shape[:-1], atoms, -1))]
    while atoms > 1:
        last = levels[-1]
        even, odd = (
            Moments(last.count, *(power[..., start::2] for power in last.powers))
            for start in (0, 1)
        )
        levels.append(even.merge(odd))
        atoms //= 2
    return levels


def _alone(moments: Moments) -> Moments:
    """Return moments without their last axis, which has length 1."""
    return Moments(moments.count, *(power[..., 0] for power in moments.powers))


def _tree_of_sums(values: Floats) -> Floats:
    """Return sums over the last axis: of every atom, then of pairs."""
    atoms = max(1, values.shape[-1] // ATOM)
    sums = values.reshape(*values.shape[:-1], atoms, -1).sum(axis=-1)
    while sums.shape[-1] > 1:
        sums = sums[..., 0::2] + sums[..., 1::2]
    total: Floats = sums[..., 0]
    return total
