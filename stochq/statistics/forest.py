"""Statistics of consecutive trajectories, and the fixed tree in which they merge.

Sums of floating-point numbers depend on their order. A block is a power of two of atoms
that starts at a multiple of its size; two neighboring blocks become one of twice the
size, as the digits of a binary counter do. The tree depends on the numbers of the atoms
only: never on who ran them, in what order, or from which file they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.jit import kernel
from stochq.recording.runs import Kept, Run
from stochq.recording.state_sums import StateSum
from stochq.recording.wanted import Failure, joined_failures
from stochq.schemes.lanes import ATOM
from stochq.statistics.moments import DIVERGENCE, Moments, batch_size, pairwise_means

__all__ = ["COVARIANCE_POINTS", "Block", "Forest", "Statistics", "blocks"]

#: Observables times output times up to which the full covariance is kept.
COVARIANCE_POINTS = 128


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
            comoments=_tree_of_comoments(run.values, levels),
            jumps=run.jumps,
            norms=_tree_of_sums(run.norms),
            norm_defect=run.norm_defect,
            residual=run.residual,
            signals=run.signals,
            kept=run.kept,
            states=_halves(run.states, block.first) if run.states else None,
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
            comoments=_merged_comoments(self.comoments, other.comoments, a, b),
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


def _halves(atoms: Sequence[StateSum], first: int) -> tuple[StateSum, StateSum]:
    """Return sums over the atoms of even and of odd number, pairs first."""
    halves = []
    for parity in (0, 1):
        sums = list(atoms[(parity - first) % 2 :: 2])
        while len(sums) > 1:
            sums = [a.merge(b) for a, b in zip(sums[0::2], sums[1::2], strict=True)]
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


@kernel
def _products(deviations, out):
    """Write sum_w d[a, w, i] d[a, w, j] into out[a, i, j], in the order of w."""
    atoms, count, points = deviations.shape
    for a in range(atoms):
        for i in range(points):
            for j in range(i + 1):
                out[a, i, j] = 0.0
        for w in range(count):
            for i in range(points):
                d = deviations[a, w, i]
                for j in range(i + 1):
                    out[a, i, j] += d * deviations[a, w, j]
        for i in range(points):
            for j in range(i):
                out[a, j, i] = out[a, i, j]


@kernel
def _merge_products(sums, means, scale):
    """Merge neighbors (2a, 2a + 1) of sums (A, P, P) into sums[a]."""
    points = sums.shape[1]
    delta = np.empty(points)
    for a in range(means.shape[0] // 2):
        for i in range(points):
            delta[i] = means[2 * a + 1, i] - means[2 * a, i]
        for i in range(points):
            for j in range(points):
                both = sums[2 * a, i, j] + sums[2 * a + 1, i, j]
                sums[a, i, j] = both + delta[i] * delta[j] * scale


def _tree_of_comoments(values: Floats, levels: Sequence[Moments]) -> Floats:
    """Return sums of products of deviations (P, P), merged as the moments were."""
    points = values.shape[0] * values.shape[1]
    if points > COVARIANCE_POINTS:
        return np.zeros((0, 0))
    atoms = levels[0].mean.shape[-1]
    flat = values.reshape(points, atoms, -1)
    mean = levels[0].mean.reshape(points, atoms, 1)
    deviations = np.ascontiguousarray((flat - mean).transpose(1, 2, 0))
    sums = np.empty((atoms, points, points))
    _products(deviations, sums)
    for level in levels[:-1]:
        means = np.ascontiguousarray(level.mean.reshape(points, -1).T)
        _merge_products(sums, means, level.count / 2)
    total: Floats = sums[0].copy()
    return total


def _merged_comoments(one: Floats, other: Floats, a: Moments, b: Moments) -> Floats:
    """Return sums of products of deviations from the mean of both samples."""
    if not one.size:
        return one
    delta = (b.mean - a.mean).ravel()
    outer = delta[:, None] * delta[None, :]
    scale = a.count * b.count / (a.count + b.count)
    merged: Floats = (one + other) + outer * scale
    return merged


class Block(NamedTuple):
    """Atoms ``place * 2^level`` up to ``(place + 1) * 2^level``."""

    level: int
    place: int

    @property
    def first(self) -> int:
        """Its first atom."""
        return self.place << self.level

    @property
    def stop(self) -> int:
        """The atom after its last one."""
        return (self.place + 1) << self.level


def blocks(first: int, stop: int, largest: int) -> Iterator[Block]:
    """Yield the blocks, of at most `largest` atoms, that make up first ... stop - 1."""
    highest = largest.bit_length() - 1
    while first < stop:
        aligned = (first & -first).bit_length() - 1 if first else highest
        level = min(aligned, highest, (stop - first).bit_length() - 1)
        yield Block(level, first >> level)
        first += 1 << level


@dataclass
class Forest:
    """Statistics of blocks, merged as far as they go, whatever order they come in.

    Attributes
    ----------
    trees : dict of Block to Statistics
        No two of them are neighbors that could be merged.
    rest : (Block, Statistics) or None
        An atom that is not full; it follows all others and is never merged with them,
        so that it can be replaced when more trajectories are wanted.
    """

    trees: dict[Block, Statistics] = field(default_factory=dict)
    rest: tuple[Block, Statistics] | None = None

    def take(self, block: Block, statistics: Statistics) -> None:
        """Take in a block, or what follows all of them and is not full."""
        if statistics.moments.count < ATOM << block.level:
            self.rest = (block, statistics)
            return
        with np.errstate(**DIVERGENCE):
            self._add(block, statistics)
            self._thin()

    def _add(self, block: Block, statistics: Statistics) -> None:
        """Merge a block of full atoms with its neighbors."""
        while (buddy := Block(block.level, block.place ^ 1)) in self.trees:
            other = self.trees.pop(buddy)
            pair = (other, statistics) if block.place & 1 else (statistics, other)
            statistics = pair[0].merge(pair[1])
            block = Block(block.level + 1, block.place >> 1)
        self.trees[block] = statistics

    def members(self) -> list[tuple[Block, Statistics]]:
        """Return blocks and their statistics in the order of their atoms."""
        members = sorted(self.trees.items(), key=lambda member: member[0].first)
        return [*members, self.rest] if self.rest else members

    def ranges(self) -> list[tuple[int, int]]:
        """Return the runs of consecutive full atoms, first and stop of each."""
        found: list[tuple[int, int]] = []
        for block in sorted(self.trees, key=lambda block: block.first):
            if found and found[-1][1] == block.first:
                found[-1] = (found[-1][0], block.stop)
            else:
                found.append((block.first, block.stop))
        return found

    def missing(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Return the runs of atoms among first ... stop - 1 that are not here."""
        found, start = [], first
        for block, _ in self.members():
            begin, end = block.first, block.stop
            if start < min(begin, stop):
                found.append((start, min(begin, stop)))
            start = max(start, end)
        if start < stop:
            found.append((start, stop))
        return found

    def leading(self, first: int) -> Forest:
        """Return the part that follows an atom without a gap."""
        found = Forest()
        for block, statistics in self.members():
            if block.first == first:
                found.take(block, statistics)
                first = block.stop
        return found

    @property
    def n_traj(self) -> int:
        """Number of trajectories."""
        return sum(statistics.moments.count for _, statistics in self.members())

    def _thin(self) -> None:
        """Coarsen batches to as many as are kept of all trajectories together."""
        size = batch_size(self.n_traj)
        for block, tree in self.trees.items():
            self.trees[block] = tree.coarsened(min(size, tree.moments.count))

    @np.errstate(**DIVERGENCE)
    def total(self) -> Statistics:
        """Return the statistics of all trajectories.

        Raises
        ------
        ValueError
            If there are none.
        """
        parts = [statistics for _, statistics in self.members()]
        if not parts:
            raise ValueError("a forest must hold at least one atom, but is empty")
        # parts are coarser where a run that had more lost what was in between
        size = max(batch_size(self.n_traj), *(part.size for part in parts))
        return _folded([_cut(part, size) for part in parts])


def _cut(statistics: Statistics, size: int) -> Statistics:
    """Return statistics with batches of one size, none where they are too few."""
    return replace(statistics.coarsened(size), size=size)


def _folded(parts: Iterable[Statistics]) -> Statistics:
    """Return the merger of consecutive parts, the last two first."""
    *others, total = parts
    for part in reversed(others):
        total = part.merge(total)
    return total
