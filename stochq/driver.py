"""From a simulation made ready to its ensemble: what is there, what is run, the end."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import joblib

from stochq.assembly import ensemble_of
from stochq.atoms import Source
from stochq.checkpoints.blockfile import Layout
from stochq.checkpoints.folder import Checkpoint, refuse_another
from stochq.checkpoints.reading import Found, read_goal
from stochq.ensemble import Ensemble
from stochq.errors import (
    CheckpointError,
    CheckpointWarning,
    FailureWarning,
    SchemeMismatchError,
    TrajectoryError,
)
from stochq.resources import refuse_what_does_not_fit
from stochq.running.interrupts import GO_ON, Asked, interruptible
from stochq.running.parallel import Workers, collect
from stochq.running.rounds import Reason, Rounds, run_rounds
from stochq.running.shards import Span, span_of
from stochq.running.stopping import Goal
from stochq.schemes.lanes import ATOM
from stochq.setting import ENDLESS, Setting
from stochq.statistics.forest import Forest
from stochq.statistics.summary import Statistics
from stochq.strata import collect_strata, strata_of

__all__ = ["How", "run_setting"]


@dataclass(frozen=True)
class How:
    """How a simulation is run, which changes no bit of it.

    Attributes
    ----------
    n_jobs, batch, progress
        As in `simulate`.
    folder : Path or None
        Its checkpoint.
    shard : (int, int) or None
        Which part of it this is.
    """

    n_jobs: int | None = None
    batch: int | None = None
    progress: bool | None = None
    folder: Path | None = None
    shard: tuple[int, int] | None = None


def run_setting(setting: Setting, goal: Goal, how: How) -> Ensemble:
    """Run a simulation that is ready, and return its ensemble."""
    start, span = time.perf_counter(), span_of(goal, how.shard)
    jobs = joblib.effective_n_jobs(how.n_jobs)
    refuse_what_does_not_fit(setting, _at_least(goal, span), jobs, how.folder)
    if setting.extras.stratified:
        statistics = _stratified(setting, goal, how)
        return _result(setting, statistics, span, "n_traj", start)
    source = _source(setting, goal, how)
    keeper = _opened(setting, source, how)
    with closing(keeper) if keeper else nullcontext():
        forest = Forest()
        if keeper:
            forest = _present(keeper.found, span, how, goal)
            about = {"shard": span.shard, "default_step": setting.by_default}
            keeper.aim(goal.record(setting.names) | about)
        rounds = Rounds(
            goal, span, setting.ranges, setting.fixed, _held(keeper), how.progress
        )
        ended = _run(setting, source, forest, rounds, how, keeper)
    done = forest.leading(span.first)
    if ended.asked() and not done.members():
        raise ended.asked.error(_said(setting, 0, goal, how, ended.lost), None)
    told = {"workers": ended.workers}
    ensemble = _result(setting, done.total(), span, ended.reason, start, told)
    if ended.asked():
        said = _said(setting, ensemble.n_traj, goal, how, ended.lost)
        raise ended.asked.error(said, ensemble)
    if ended.lost:
        warnings.warn(
            f"{how.folder} does not hold all of the ensemble, since it could not be "
            f"written: {ended.lost}",
            CheckpointWarning,
            stacklevel=3,
        )
    return ensemble


def _held(keeper: Checkpoint | None) -> int:
    """Return the atom after the last one of which a checkpoint had trajectories."""
    places = keeper.found.rests if keeper else ()
    return max((place + 1 for place, _ in places), default=0)


def _at_least(goal: Goal, span: Span) -> int | None:
    """Return how many trajectories a run has for certain, or None."""
    if goal.n_traj is None or goal.tolerance is not None or goal.max_time is not None:
        return None
    return min(goal.n_traj, (span.stop - span.first) * ATOM)


class _Ended(NamedTuple):
    """How a run ended: why, by which signal, what is not on disk, and who ran it."""

    reason: Reason
    asked: Asked
    lost: str
    workers: str


def _run(
    setting: Setting,
    source: Source,
    forest: Forest,
    rounds: Rounds,
    how: How,
    keeper: Checkpoint | None,
) -> _Ended:
    """Run what a forest lacks, keep it, and say how that ended."""
    workers = Workers(how.n_jobs, how.batch)
    with interruptible() as asked:
        try:
            reason = run_rounds(source, forest, rounds, workers, asked, keeper)
        except TrajectoryError as error:
            raise _with_replay(error, setting) from error
        except BrokenExecutor:
            if not asked():
                raise
            reason = "signal"  # which was for the workers, too
        finally:
            lost = keeper.save() if keeper else ""
    told = workers.told[-1] if workers.told else "none: all was there"
    return _Ended(reason, asked, lost, told)


def _source(setting: Setting, goal: Goal, how: How) -> Source:
    """Return what gives the values."""
    try:
        return setting.source(goal.n_traj)
    except SchemeMismatchError:  # the scheme may be that of another run
        refuse_another(how.folder, setting.describe())
        raise


def _opened(setting: Setting, source: Source, how: How) -> Checkpoint | None:
    """Return the checkpoint of a run, with what it holds."""
    if how.folder is None:
        return None
    keeper = Checkpoint.open(how.folder, setting.describe(), Layout.of(source))
    with ExitStack() as held:
        held.callback(keeper.close)
        _refuse_shard(how.folder, how.shard)
        held.pop_all()
    return keeper


def _refuse_shard(folder: Path, shard: Sequence[int] | None) -> None:
    """Refuse to go on with a shard as if it were another one, or the whole."""
    try:
        before = read_goal(folder).get("shard")
    except CheckpointError:
        return  # there is none yet, or it is written anew
    if before is not None and list(before) != list(shard or ()):
        now = "the whole" if shard is None else f"shard {shard[0]} of {shard[1]}"
        raise CheckpointError(
            f"{folder} must be gone on with as shard {before[0]} of {before[1]}, but "
            f"{now} is asked for; merge all shards, or use another folder"
        )


def _present(found: Found, span: Span, how: How, goal: Goal) -> Forest:
    """Return what a checkpoint holds of this run; refuse one that holds more.

    What follows the last full atom counts only where this run would end with it.
    """
    whole, last = span.stop, None
    if goal.n_traj is not None:
        whole = min(whole, goal.n_traj // ATOM)
        last = goal.n_traj if whole < span.stop and not goal.tolerance else None
    forest = found.upto(last)
    held = [(first * ATOM, stop * ATOM) for first, stop in forest.ranges()]
    held += [(place * ATOM, place * ATOM + count) for place, count in found.rests]
    first, end = span.first * ATOM, min(span.stop * ATOM, goal.n_traj or ENDLESS)
    if all(first <= begin and stop <= end for begin, stop in held):
        return forest
    least, most = min(begin for begin, _ in held), max(stop for _, stop in held)
    cure = "give every shard a folder of its own"
    if span.shard is None:
        cure = f"ask for at least n_traj = {most}, or use another folder"
    raise CheckpointError(
        f"{how.folder} must hold no more than what is asked for, but holds "
        f"trajectories {least} ... {most - 1}; {cure}"
    )


def _stratified(setting: Setting, goal: Goal, how: How) -> Statistics:
    """Return the statistics of all strata."""
    others = {
        "tolerance": goal.tolerance,
        "max_time": goal.max_time,
        "checkpoint": how.folder,
        "shard": how.shard,
    }
    named = [name for name, value in others.items() if value is not None]
    if named or goal.n_traj is None:
        raise SchemeMismatchError(
            "`stratified` must go with n_traj alone, which its strata share, but "
            f"{named[0] if named else 'n_traj'} is {'given' if named else 'missing'}"
        )
    dynamics, times = setting.dynamics, setting.times
    strata = strata_of(dynamics, times, goal.n_traj)
    run_all = partial(
        collect, n_jobs=how.n_jobs, batch=how.batch, progress=how.progress
    )
    return collect_strata(
        dynamics, times, setting.scheme, strata, setting.seed, run_all
    )


def _result(
    setting: Setting,
    statistics: Statistics,
    span: Span,
    reason: Reason,
    start: float,
    told: Mapping[str, Any] | None = None,
) -> Ensemble:
    """Return the ensemble of a run, and say which trajectories failed."""
    provenance = {"wall_seconds": time.perf_counter() - start, **(told or {})}
    ensemble = ensemble_of(setting, statistics, span, reason, provenance)
    if ensemble.failed:
        first = ensemble.failures[0]
        warnings.warn(
            f"{ensemble.failed} of {ensemble.n_traj} trajectories have values that are "
            f"not finite, and so have the means; the first is trajectory "
            f"{first.trajectory}, {first.what!r} at "
            f"t = {setting.times[first.time_index]:.6g}: {first.message}; "
            f"{_replay(setting, first.trajectory)}",
            FailureWarning,
            stacklevel=4,
        )
    return ensemble


def _replay(setting: Setting, index: int) -> str:
    """Return the command that runs one trajectory again."""
    choices = f", unraveling={setting.unraveling}" if setting.unraveling else ""
    return (
        f"replay it: trajectory(model, times, seed={setting.seed}, index={index}, "
        f"scheme={setting.scheme}{choices})"
    )


def _with_replay(error: TrajectoryError, setting: Setting) -> TrajectoryError:
    """Return an error that says how to look at what failed."""
    message = f"{error}; {_replay(setting, error.first)}"
    return TrajectoryError(message, error.first, error.last)


def _said(setting: Setting, n_traj: int, goal: Goal, how: How, lost: str) -> str:
    """Return what is left of an interrupted run, and how to go on."""
    of = "" if goal.n_traj is None else f" of {goal.n_traj}"
    done = f"interrupted after {n_traj}{of} trajectories"
    if how.folder is None:
        return f"{done}; nothing is on disk, since no checkpoint was asked for"
    if lost:
        return f"{done}; {how.folder} could not be written: {lost}"
    cure = f"stochq resume {how.folder}"
    if not setting.describe().rebuildable:
        cure = "the same call: the run contains Python functions, no folder can hold it"
    return f"{done}, kept in {how.folder}{GO_ON}{cure}"
