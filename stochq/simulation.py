"""Simulations: a model and what is asked of it, run until a goal is reached."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib

from stochq.arrays import whole_number
from stochq.assembly import ensemble_of
from stochq.atoms import Source
from stochq.checkpoints.blockfile import Layout
from stochq.checkpoints.folder import Checkpoint, CheckpointError, Found, refuse_another
from stochq.ensemble import Ensemble
from stochq.errors import SchemeMismatchError, TrajectoryError
from stochq.extras import as_extras
from stochq.functions import Function
from stochq.model import Model
from stochq.recording.histograms import Bins
from stochq.resources import refuse_what_does_not_fit
from stochq.running.interrupts import GO_ON, interruptible
from stochq.running.parallel import Workers, checked_jobs, collect
from stochq.running.rounds import Reason, Rounds, run_rounds
from stochq.running.shards import Span, span_of
from stochq.running.stopping import Goal, Tolerances, as_goal
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM
from stochq.setting import Setting, setting_of, stored_scheme
from stochq.statistics.forest import Forest
from stochq.statistics.summary import Statistics
from stochq.strata import collect_strata, strata_of
from stochq.unravelings import Choice

__all__ = ["FailureWarning", "How", "run_setting", "simulate"]


class FailureWarning(UserWarning):
    """Some trajectories have values that are not finite."""


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


def simulate(
    model: Model,
    times: Any,
    *,
    n_traj: int | None = None,
    tolerance: Tolerances | None = None,
    max_time: float | None = None,
    seed: int,
    scheme: Scheme | None = None,
    unraveling: Mapping[Any, Choice] | None = None,
    n_jobs: int | None = None,
    batch: int | None = None,
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    shard: tuple[int, int] | None = None,
    functions: Mapping[str, Function] | None = None,
    histograms: Bins | list[Bins] | tuple[Bins, ...] | None = None,
    states: Any = None,
    stratified: bool = False,
    keep_jumps: int | None = None,
    keep_signals: bool = False,
) -> Ensemble:
    r"""Average observables over trajectories of a model.

    .. math:: \bar O(t) = \frac1n \sum_{i=1}^{n}
        \frac{\langle\psi_i(t)| O |\psi_i(t)\rangle}
        {\langle\psi_i(t)|\psi_i(t)\rangle}

    The norm is divided out where jumps lower it; noise alone keeps it, and explicit
    schemes average the unnormalized form, which is what converges to Tr(O rho).
    Trajectory i owns the random numbers (seed, i), and statistics merge in a fixed
    tree: the result is the same to the last bit for any `n_jobs`, `batch` and joblib
    backend, and whether or not the run was interrupted and resumed.

    It stops when `n_traj`, `tolerance` or `max_time` is reached, whichever comes first;
    at least one must be given.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,) [time]
        Strictly increasing output times; the initial state holds at ``times[0]``,
        whatever its value.
    n_traj : int, optional
        Number of trajectories, at least 2.
    tolerance : float, Tolerance, or dict of str to these, optional
        Standard error (`mcse`) at which to stop: absolute, in the observable's unit, or
        ``Tolerance(absolute=, relative=)``, at every time, of every observable or of
        those named. It is looked at only at 256, 320, 384, 448, 512, 640, ...
        trajectories, with an upper limit of the variance and an allowance for events
        that were not seen, so that the error has its nominal size.
    max_time : float, optional
        Wall time of this call [s]; running tasks are finished.
    seed : int
        Any integer >= 0.
    scheme : Scheme, optional
        Such as `Exact()` or `Strang(dt=...)`; `order_table()` lists all. By default
        that of the checkpoint if there is one; else the model's structure decides
        (`explain_scheme` says why), and dt keeps the step bias below a tenth of the
        standard error that is typical over the times (it may be more where an
        observable hardly fluctuates yet), and resolves what is monitored. The error is
        that of `n_traj` trajectories, or of as many as a pilot says that the tolerance
        takes, or of 100,000.
    unraveling : dict of str, or tuple of str, to Choice, optional
        What the dissipators of each name become: `Jump()`, `Homodyne()`,
        `Heterodyne()`, `UnitaryNoise()`, `Kicks()`, `Projections()` or `Averaged()`; by
        default jumps, and unitary noise in a one-body model.
    n_jobs : int, optional
        Workers in joblib's convention (-1: all cores). By default 1, or what
        `joblib.parallel_config` says. They are threads, or processes where Python
        functions of states would keep threads waiting and the run is long.
    batch : int, optional
        Largest number of atoms of 64 trajectories per task; affects speed only.
    progress : bool, optional
        Show a bar; by default on a terminal only.
    checkpoint : path, optional
        A folder that keeps what is done. The same call goes on from there after an
        interruption, or with a larger goal; another model, scheme or seed is refused.
    shard : (int, int), optional
        ``(i, n)``: run only the i-th of n parts of `n_traj` trajectories, i = 1 ... n;
        `merge` joins the checkpoints.
    functions : dict of str to Function, optional
        Functions of single trajectories, such as `Purity()`, or any
        ``f(states) -> values``: they are averaged as observables are.
    histograms : Bins or list of Bins, optional
        Observables and functions to make histograms of.
    states : bool or array_like, optional
        Keep the mean state at all (True) or some of the output times.
    stratified : bool, default False
        Sample only what must be: a mixed initial state is split into its kets, and
        where jumps are all that is random, the branch without a jump is solved
        exactly, so that every trajectory jumps. Means and standard errors are those of
        the whole; `sd` is that of n_traj equal trajectories with the same error, and
        `jumps` counts jumps of the sampled part.
    keep_jumps : int, optional
        Keep the times and operators of the first `keep_jumps` jumps of every
        trajectory as ``ensemble.jump_records``. They take at most
        ``20 n_traj keep_jumps`` bytes, and 8 for every trajectory's number of jumps
        by each operator; while a batch runs, 12 for every jump it may have.
    keep_signals : bool, default False
        Keep the signals of monitors, integrated over the intervals between output
        times, as `Ensemble.signals`: 8 bytes for each monitor, interval and trajectory.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        If an argument is out of range.
    ModelError
        If `times`, `unraveling`, `functions` or `histograms` do not fit.
    SchemeMismatchError
        If the scheme or an unraveling cannot integrate this model, or `stratified` has
        nothing to split.
    CheckpointError
        If the checkpoint belongs to another run, or another process writes to it.
    ResourceError
        If the run does not fit in memory or on the disk.
    TrajectoryError
        If trajectories cannot be integrated; the message says how to replay them.
    Interrupted, Terminated
        On Ctrl-C or SIGTERM, after running tasks are done and kept.
    """
    extras = as_extras(
        model.observables if isinstance(model, Model) else {},
        functions,
        histograms,
        states,
        keep_jumps,
        keep_signals,
        stratified,
    )
    names = [*getattr(model, "observables", {}), *extras.functions]
    goal = as_goal(n_traj, tolerance, max_time, names)
    if batch is not None:
        whole_number(batch, "batch", at_least=1)
    folder = None if checkpoint is None else Path(checkpoint)
    how = How(checked_jobs(n_jobs), batch, progress, folder, shard)
    if scheme is None:
        scheme = stored_scheme(folder)
    setting = setting_of(model, times, seed, unraveling, extras, scheme, goal)
    return run_setting(setting, goal, how)


def run_setting(setting: Setting, goal: Goal, how: How) -> Ensemble:
    """Run a simulation that is ready, and return its ensemble."""
    start = time.perf_counter()
    span = span_of(goal, how.shard)
    jobs = joblib.effective_n_jobs(how.n_jobs)
    refuse_what_does_not_fit(setting, goal.n_traj, jobs, how.folder)
    if setting.extras.stratified:
        statistics = _stratified(setting, goal, how)
        return _result(setting, statistics, span, "n_traj", start)
    source = _source(setting, goal, how)
    keeper = _opened(setting, source, how)
    with closing(keeper) if keeper else nullcontext():
        forest = Forest()
        if keeper:
            forest = _present(keeper.found, span, how, goal)
            keeper.aim(goal.record(setting.names) | {"shard": how.shard})
        rounds = Rounds(goal, span, setting.ranges, setting.fixed, how.progress)
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
        done = forest.leading(span.first)
        if asked() and not done.members():
            raise asked.error(_said(0, goal, how, lost), None)
        told = {"workers": workers.told[-1]} if workers.told else {}
        ensemble = _result(setting, done.total(), span, reason, start, told)
        if asked():
            raise asked.error(_said(ensemble.n_traj, goal, how, lost), ensemble)
    return ensemble


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
    return Checkpoint.open(how.folder, setting.describe(), Layout.of(source))


def _present(found: Found, span: Span, how: How, goal: Goal) -> Forest:
    """Return what a checkpoint holds of this run; refuse one that holds more.

    What follows the last full atom counts only where this run would end with it.
    """
    whole, last = span.stop, None
    if goal.n_traj is not None:
        whole = min(whole, goal.n_traj // ATOM)
        last = goal.n_traj if whole < span.stop and not goal.tolerance else None
    forest = found.upto(last)
    ranges = forest.ranges()
    if span.shard is not None:
        rests = [(place, place + 1) for place, _ in found.rests]
        others = [r for r in rests if not span.first <= r[0] < span.stop]
        ranges = sorted([*ranges, *others])
    if not ranges or (ranges[0][0] >= span.first and ranges[-1][1] <= whole):
        return forest
    there = f"trajectories {ranges[0][0] * ATOM} ... {ranges[-1][1] * ATOM - 1}"
    cure = "give every shard a folder of its own"
    if span.shard is None:
        cure = (
            f"ask for at least n_traj = {ranges[-1][1] * ATOM}, or use another folder"
        )
    raise CheckpointError(
        f"{how.folder} must hold no more than what is asked for, but holds {there}; "
        f"{cure}"
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


def _said(n_traj: int, goal: Goal, how: How, lost: str) -> str:
    """Return what is left of an interrupted run, and how to go on."""
    of = "" if goal.n_traj is None else f" of {goal.n_traj}"
    done = f"interrupted after {n_traj}{of} trajectories"
    if how.folder is None:
        return f"{done}; nothing is on disk, since no checkpoint was asked for"
    if lost:
        return f"{done}; {how.folder} could not be written: {lost}"
    return f"{done}, kept in {how.folder}{GO_ON}stochq resume {how.folder}"
