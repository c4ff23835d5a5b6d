"""Simulations: a model, and what is asked of its trajectories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stochq.arrays import whole_number
from stochq.driver import How, run_setting
from stochq.ensemble import Ensemble
from stochq.extras import as_extras
from stochq.functions import Function
from stochq.model import Model
from stochq.recording.histograms import Bins
from stochq.running.parallel import checked_jobs
from stochq.running.stopping import Tolerances, as_goal
from stochq.schemes import Scheme
from stochq.setting import (
    setting_of,
    stored_scheme,
    warn_if_outgrown,
    was_default,
)
from stochq.unravelings import Choice

__all__ = ["simulate"]


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
        ``(i, n)``: run only the i-th of n parts of `n_traj` trajectories, i = 1 ... n,
        in whole atoms of 64; `merge_checkpoints` joins their checkpoints.
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
        model,
        functions,
        histograms,
        states,
        keep_jumps,
        keep_signals,
        stratified,
    )
    names = [*model.observables, *extras.functions]
    goal = as_goal(n_traj, tolerance, max_time, names)
    if batch is not None:
        batch = whole_number(batch, "batch", at_least=1)
    folder = None if checkpoint is None else _folder(checkpoint)
    how = How(checked_jobs(n_jobs), batch, progress, folder, shard)
    stored = stored_scheme(folder) if scheme is None else None
    chosen = stored or scheme
    setting = setting_of(model, times, seed, unraveling, extras, chosen, goal)
    if folder is not None and stored is not None:
        setting = replace(setting, by_default=was_default(folder))
        warn_if_outgrown(setting, goal, folder)
    return run_setting(setting, goal, how)


def _folder(checkpoint: Any) -> Path:
    """Return the folder of a checkpoint."""
    named = isinstance(checkpoint, (str, os.PathLike)) and str(checkpoint)
    if not named:
        raise ValueError(f"`checkpoint` must be a folder, but is {checkpoint!r:.60}")
    return Path(checkpoint)
