"""What a run will cost, before it is run: trajectories, time, memory and disk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np

from stochq.atoms import Source
from stochq.extras import as_extras
from stochq.functions import Function
from stochq.model import Model
from stochq.recording.histograms import Bins
from stochq.recording.runs import Run
from stochq.resources import in_words, memory_left, needs_of
from stochq.running.parallel import checked_jobs
from stochq.running.stopping import Goal, Tolerances, as_goal, looks
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM
from stochq.setting import Setting, setting_of
from stochq.statistics.blocks import Block
from stochq.statistics.moments import DIVERGENCE, Moments
from stochq.statistics.summary import Statistics
from stochq.unravelings import Choice

__all__ = ["Cost", "plan"]

#: Trajectories of the pilot, and seconds that its timing may take.
PILOT_ATOMS, PILOT_SECONDS = 16, 1.0

#: Atoms above which nobody waits for a tolerance.
MOST_ATOMS = 2**50


@dataclass(frozen=True)
class Cost:
    """What a run is expected to take.

    Attributes
    ----------
    n_traj : int
        Trajectories: as asked for, as many as the tolerance takes, or as are done when
        the time is over.
    stopped_by : str
        Which goal is reached first: "n_traj", "tolerance" or "max_time".
    seconds : float
        Wall time.
    seconds_per_trajectory : float
        Of one worker.
    jobs : int
        Workers.
    memory : int
        Bytes beside what Python and compiled kernels take, an upper estimate.
    memory_left : int or None
        Bytes that can be had, if the system tells.
    disk : int
        Bytes of a checkpoint.
    mcse : float
        Largest standard error that is to be expected, over observables and times.
    scheme : Scheme
        What will integrate the model.
    pilot : int
        Trajectories that all this is estimated from.
    """

    n_traj: int
    stopped_by: str
    seconds: float
    seconds_per_trajectory: float
    jobs: int
    memory: int
    memory_left: int | None
    disk: int
    mcse: float
    scheme: Scheme
    pilot: int

    @property
    def fits(self) -> bool:
        """Whether there is enough memory."""
        return self.memory_left is None or self.memory <= self.memory_left

    def explain(self) -> str:
        """Return the same in words, one statement per line."""
        workers = "1 worker" if self.jobs == 1 else f"{self.jobs} workers"
        left = "" if self.memory_left is None else f" of {in_words(self.memory_left)}"
        return "\n".join(
            [
                f"trajectories: {self.n_traj:.6g}, ended by {self.stopped_by}",
                f"time: {_duration(self.seconds)} with {workers}, "
                f"{1e6 * self.seconds_per_trajectory:.3g} us per trajectory",
                f"memory: {in_words(self.memory)}{left}"
                + ("" if self.fits else "; it does NOT fit"),
                f"disk: {in_words(self.disk)} with checkpoint=",
                f"largest mcse: {self.mcse:.2g}",
                f"scheme: {self.scheme} ({self.pilot} pilot trajectories)",
            ]
        )

    def __repr__(self) -> str:
        """Give the explanation."""
        return self.explain()


def _duration(seconds: float) -> str:
    """Return a time in words."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} s"


def _timed(source: Source) -> tuple[Run, float]:
    """Return a pilot, and the seconds of one trajectory, compiled."""
    with np.errstate(**DIVERGENCE):
        source.run(0, 1)  # compiles what is not compiled yet
        spent, best, atoms = 0.0, np.inf, PILOT_ATOMS
        while True:
            start = time.perf_counter()
            run = source.run(0, atoms)
            Statistics.of(run, Block(PILOT_ATOMS.bit_length() - 1, 0), ATOM)
            seconds = time.perf_counter() - start
            best = min(best, seconds / (atoms * ATOM))
            spent += seconds
            if spent > 0.2 * PILOT_SECONDS or seconds * 2 > PILOT_SECONDS:
                return run, best


def _needed(moments: Moments, goal: Goal, setting: Setting) -> int:
    """Return the look at which a tolerance should be reached, in trajectories."""
    for atoms in looks(1):
        guess = _scaled(moments, atoms * ATOM)
        ratio = goal.ratio(guess, setting.ranges, setting.fixed)
        if not ratio > 1.0 or atoms > MOST_ATOMS:
            return atoms * ATOM
    raise AssertionError("looks never end")


def _scaled(moments: Moments, count: int) -> Moments:
    """Return what the moments of another number of trajectories should be."""
    factor = count / moments.count
    return replace(
        moments,
        count=count,
        m2=factor * moments.m2,
        m3=factor * moments.m3,
        m4=factor * moments.m4,
    )


def plan(
    model: Model,
    times: Any,
    *,
    n_traj: int | None = None,
    tolerance: Tolerances | None = None,
    max_time: float | None = None,
    seed: int = 0,
    scheme: Scheme | None = None,
    unraveling: Mapping[Any, Choice] | None = None,
    n_jobs: int | None = None,
    functions: Mapping[str, Function] | None = None,
    histograms: Bins | list[Bins] | tuple[Bins, ...] | None = None,
    states: Any = None,
    keep_jumps: int | None = None,
    keep_signals: bool = False,
) -> Cost:
    """Estimate what `simulate` with the same arguments will take, from a pilot.

    Parameters
    ----------
    model, times, n_traj, tolerance, max_time, seed, scheme, unraveling, n_jobs
        As in `simulate`.
    functions, histograms, states, keep_jumps, keep_signals
        As in `simulate`.

    Returns
    -------
    Cost
        Trajectories, wall time, memory and disk. Times are those of this machine now;
        n_traj for a tolerance is as good as 1,024 trajectories can tell, which is
        little where events are rare.

    Raises
    ------
    ValueError, ModelError, SchemeMismatchError
        As `simulate` does.
    """
    extras = as_extras(
        model,
        functions,
        histograms,
        states,
        keep_jumps,
        keep_signals,
        False,
    )
    names = [*model.observables, *extras.functions]
    goal = as_goal(n_traj, tolerance, max_time, names)
    jobs = joblib.effective_n_jobs(checked_jobs(n_jobs))
    setting = setting_of(model, times, seed, unraveling, extras, scheme, goal)
    pilot, each = _timed(setting.source())
    moments = Moments.of(pilot.values)
    recorded = pilot.kept.time.size / moments.count if pilot.kept else 0.0
    counts = {"n_traj": goal.n_traj}
    if goal.tolerance is not None:
        counts["tolerance"] = _needed(moments, goal, setting)
    if goal.max_time is not None:
        atoms = max(1, int(goal.max_time * jobs / each) // ATOM)
        counts["max_time"] = atoms * ATOM
    known = {name: count for name, count in counts.items() if count is not None}
    reason = min(known, key=lambda name: known[name])
    count = known[reason]
    needs = needs_of(setting, count, jobs, recorded)
    return Cost(
        n_traj=count,
        stopped_by=reason,
        seconds=count * each / jobs,
        seconds_per_trajectory=each,
        jobs=jobs,
        memory=needs.memory,
        memory_left=memory_left(),
        disk=needs.disk,
        mcse=float(_scaled(moments, count).mcse.max()),
        scheme=setting.scheme,
        pilot=moments.count,
    )
