"""Shards: parts of a run that need not know of each other, for arrays of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stochq.running.stopping import Goal
from stochq.schemes.lanes import ATOM

__all__ = ["ENDLESS", "Span", "span_of"]

#: More atoms than any run has.
ENDLESS = 2**54


@dataclass(frozen=True)
class Span:
    """The atoms that a run may have: all, or those of a shard.

    Attributes
    ----------
    first, stop : int
        Its first atom, and the one after its last.
    shard : (int, int) or None
        Which shard it is, of how many.
    """

    first: int
    stop: int
    shard: tuple[int, int] | None = None


def span_of(goal: Goal, shard: Any) -> Span:
    """Return the atoms of a run.

    Raises
    ------
    ValueError
        If the shard is not (i, n) with 1 <= i <= n, is empty, or its run has no fixed
        number of trajectories.
    """
    atoms = ENDLESS if goal.n_traj is None else -(-goal.n_traj // ATOM)
    if shard is None:
        return Span(0, atoms)
    pair = isinstance(shard, (tuple, list)) and len(shard) == 2
    whole = pair and all(
        isinstance(k, (int, np.integer)) and not isinstance(k, bool) for k in shard
    )
    if not whole or not 1 <= shard[0] <= shard[1]:
        raise ValueError(
            "`shard` must be (i, n) with 1 <= i <= n, the i-th of n parts, "
            f"but is {shard!r:.60}"
        )
    if goal.n_traj is None or goal.tolerance is not None:
        raise ValueError(
            "`shard` must go with n_traj and no tolerance: no shard sees the others, "
            "but a tolerance is about all of them"
        )
    number, count = int(shard[0]), int(shard[1])
    span = Span(atoms * (number - 1) // count, atoms * number // count, (number, count))
    if span.first == span.stop:
        raise ValueError(
            f"`shard` must have trajectories, but {count} shards of {atoms} atoms (64 "
            f"trajectories each) leave none for shard {number}; use at most {atoms}"
        )
    return span
