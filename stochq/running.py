"""A run, from what there is to where it stops: rounds, progress, signals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from tqdm.auto import tqdm

from stochq.arrays import Floats
from stochq.atoms import Source
from stochq.checkpoint import Checkpoint
from stochq.interrupts import Asked
from stochq.parallel import DIVERGENCE, Workers, run_blocks
from stochq.schemes.lanes import ATOM
from stochq.statistics import Forest
from stochq.stopping import Goal, looks

__all__ = ["Reason", "Rounds", "Span", "run_rounds"]

Reason = Literal["n_traj", "tolerance", "max_time", "not finite", "signal"]

#: Seconds between updates of the error beside the progress bar.
SHOW_SECONDS = 2.0


@dataclass(frozen=True)
class Span:
    """The atoms that a run may have: all, or those of a shard.

    Attributes
    ----------
    first, stop : int
        Its first atom, and the one after its last.
    """

    first: int
    stop: int


@dataclass(frozen=True)
class Rounds:
    """What a run needs to know to stop.

    Attributes
    ----------
    goal : Goal
        What was asked for.
    span : Span
        Where it runs.
    ranges : ndarray, shape (O,)
        Largest minus smallest possible value of every row.
    fixed : ndarray of bool, shape (O, T)
        Where every trajectory has the same value.
    progress : bool or None
        Show a bar; None: on a terminal only.
    """

    goal: Goal
    span: Span
    ranges: Floats
    fixed: Any
    progress: bool | None = None

    def targets(self, present: int) -> Iterator[int]:
        """Yield the atoms at which to look whether it is time to stop."""
        if self.goal.tolerance is not None:
            for look in looks(max(present - self.span.first, 1)):
                if self.span.first + look >= self.span.stop:
                    break
                yield self.span.first + look
        yield self.span.stop


def run_rounds(
    source: Source,
    forest: Forest,
    rounds: Rounds,
    workers: Workers,
    asked: Asked,
    checkpoint: Checkpoint | None,
) -> Reason:
    """Run what a forest lacks, until a goal is reached; say which.

    Parameters
    ----------
    source : Source
        What gives the values.
    forest : Forest
        What there is; it takes in what is run.
    rounds : Rounds
        When to stop.
    workers : Workers
        Who runs it.
    asked : Asked
        Whether a signal asks to stop.
    checkpoint : Checkpoint or None
        Where it is kept.

    Raises
    ------
    TrajectoryError
        If trajectories cannot be integrated; what was done is in the forest.
    """
    end = time.monotonic() + (rounds.goal.max_time or np.inf)

    def stopped() -> bool:
        return asked() or time.monotonic() >= end

    workers = replace(workers, stopped=stopped)
    first = rounds.span.first
    present = max((stop for _, stop in forest.ranges()), default=first)
    with _bar(forest, rounds) as bar:
        shown = _Shown(bar, rounds)
        for target in rounds.targets(present):
            for begin, stop in forest.missing(first, target):
                for found in run_blocks(source, begin, stop, workers, start=first):
                    forest.take(*found)
                    if checkpoint is not None:
                        checkpoint.add(*found)
                    shown.update(forest, found[1].moments.count)
            if forest.missing(first, target):
                return "signal" if asked() else "max_time"
            if target == rounds.span.stop:
                break
            ratio = _ratio(forest, rounds)
            if not np.isfinite(ratio):
                return "not finite"
            if ratio <= 1.0:
                return "tolerance"
            shown.expect(forest.n_traj, ratio)
            if asked():
                return "signal"
    return "n_traj"


def _ratio(forest: Forest, rounds: Rounds) -> float:
    """Return the largest error in units of its tolerance."""
    with np.errstate(**DIVERGENCE):
        moments = forest.total().moments
        return rounds.goal.ratio(moments, rounds.ranges, rounds.fixed)


def _bar(forest: Forest, rounds: Rounds) -> Any:
    """Return a progress bar over trajectories that starts where the run does."""
    disable = None if rounds.progress is None else not rounds.progress
    total = None
    if rounds.goal.n_traj is not None:
        atoms = rounds.span.stop - rounds.span.first
        total = min(atoms * ATOM, rounds.goal.n_traj - rounds.span.first * ATOM)
    return tqdm(
        total=total, initial=forest.n_traj, unit="traj", disable=disable, leave=False
    )


@dataclass
class _Shown:
    """A progress bar with the largest standard error beside it, now and then."""

    bar: Any
    rounds: Rounds
    next: float = 0.0

    def update(self, forest: Forest, count: int) -> None:
        """Take note of trajectories that are done."""
        self.bar.update(count)
        if self.bar.disable or time.monotonic() < self.next:
            return
        self.next = time.monotonic() + SHOW_SECONDS
        with np.errstate(**DIVERGENCE):
            worst = float(forest.total().moments.mcse.max())
        self.bar.set_postfix_str(f"mcse <= {worst:.2g}", refresh=False)

    def expect(self, n_traj: int, ratio: float) -> None:
        """Guess how many trajectories it will take."""
        most = self.rounds.goal.n_traj
        guess = int(n_traj * ratio**2)
        self.bar.total = guess if most is None else min(guess, most)
