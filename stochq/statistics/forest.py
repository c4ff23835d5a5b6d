"""The fixed tree in which statistics of consecutive trajectories merge.

Sums of floating-point numbers depend on their order. Two neighboring blocks become one
of twice the size, as the digits of a binary counter do. The tree depends on the numbers
of the atoms only: never on who ran them, in what order, or from which file they came.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from stochq.schemes.lanes import ATOM
from stochq.statistics.blocks import Block
from stochq.statistics.moments import DIVERGENCE, batch_size
from stochq.statistics.summary import Statistics

__all__ = ["Forest"]


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
