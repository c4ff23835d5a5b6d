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
from stochq.checkpoints.folder import Checkpoint
from stochq.running.interrupts import Asked
from stochq.running.parallel import Workers, run_blocks
from stochq.running.shards import ENDLESS, Span
from stochq.running.stopping import Goal, looks
from stochq.schemes.lanes import ATOM
from stochq.statistics.blocks import Block
from stochq.statistics.forest import Forest
from stochq.statistics.moments import DIVERGENCE
from stochq.statistics.summary import Statistics

__all__ = ["Reason", "Rounds", "run_rounds"]

Reason = Literal["n_traj", "tolerance", "max_time", "not finite", "signal"]

#: Seconds between updates of the error beside the progress bar.
SHOW_SECONDS = 2.0


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
    least : int
        Atoms before this one are run whatever the goal says: a checkpoint had them.
    progress : bool or None
        Show a bar; None: on a terminal only.
    """

    goal: Goal
    span: Span
    ranges: Floats
    fixed: Any
    least: int = 0
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
    first = rounds.span.first
    must = max(first + 1, min(rounds.least, rounds.span.stop))

    def stopped() -> bool:
        """Tell whether to stop; a run that is out of time has what it must have."""
        late = time.monotonic() >= end
        return asked() or (late and not forest.missing(first, must))

    workers = replace(workers, stopped=stopped)
    present = max([must, *(stop for _, stop in forest.ranges())])
    with _bar(forest, rounds) as bar:
        shown = _Shown(bar, rounds)
        for target in rounds.targets(present):
            for block, part in _lacking(source, forest, first, target, workers):
                forest.take(block, part)
                if checkpoint is not None:
                    checkpoint.add(block, part)
                shown.update(forest, part.moments.count)
            if forest.missing(first, target):
                return "signal" if asked() else "max_time"
            if target < rounds.span.stop and (reason := _enough(forest, rounds, shown)):
                return reason
    return "n_traj"


def _lacking(
    source: Source, forest: Forest, first: int, stop: int, workers: Workers
) -> Iterator[tuple[Block, Statistics]]:
    """Run the atoms of a range that a forest does not have."""
    for begin, end in forest.missing(first, stop):
        yield from run_blocks(source, begin, end, workers, start=first)


def _enough(forest: Forest, rounds: Rounds, shown: _Shown) -> Reason | None:
    """Return why a run has enough trajectories, or nothing."""
    ratio = _ratio(forest, rounds)
    if np.isnan(ratio):
        return "not finite"
    shown.expect(forest.n_traj, ratio)
    return "tolerance" if ratio <= 1.0 else None


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
        guess, most = n_traj * ratio**2, self.rounds.goal.n_traj
        self.bar.total = int(min(guess, most or guess)) if guess < ENDLESS else most
