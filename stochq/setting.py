"""A simulation made ready: the lowered model, its scheme, and what is asked of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stochq.arrays import Floats, as_times
from stochq.atoms import Source, plan_of
from stochq.bias import observable_limits
from stochq.checkpoints.reading import is_checkpoint, read_description, read_goal
from stochq.choice import default_scheme
from stochq.conserved import deterministic
from stochq.descriptions import Description, Recipe, describe, rebuild, rebuilt_scheme
from stochq.errors import (
    CheckpointError,
    CheckpointWarning,
    DescriptionError,
)
from stochq.extras import EXTRA_CLASSES, Extras, Limits
from stochq.functions import limits_of
from stochq.lowering import Dynamics, lower
from stochq.model import Model
from stochq.recording.wanted import Wanted
from stochq.replay import checked_scheme
from stochq.running.shards import ENDLESS as ENDLESS_ATOMS
from stochq.running.stopping import FLOOR, Goal
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM
from stochq.statistics.moments import DIVERGENCE, Moments
from stochq.streams import Purpose, stream_key
from stochq.unravelings import Choice

__all__ = [
    "ENDLESS",
    "Setting",
    "setting_of",
    "setting_of_folder",
    "stored_scheme",
    "warn_if_outgrown",
    "was_default",
]

#: Trajectories for which the step is chosen where only a time limit is given, and
#: those of the pilot that guesses how many a tolerance takes.
NOMINAL, PILOT = 100_000, 1_000

#: Part of a step below which the one for a larger goal makes a difference.
OUTGROWN = 0.7

#: A number of trajectories that no run reaches.
ENDLESS = ATOM * ENDLESS_ATOMS


@dataclass(frozen=True, eq=False)
class Setting:
    """What a simulation runs.

    Attributes
    ----------
    model : Model
        The physics.
    times : ndarray, shape (T,)
        Output times [time].
    seed : int
        Addresses all random numbers.
    unraveling : dict of str to Choice
        As it was given.
    extras : Extras
        What is asked for beside the observables.
    dynamics : Dynamics
        The lowered model.
    wanted : Wanted
        What plans are asked for.
    limits : dict of str to (float, float)
        Smallest and largest possible values, where they are known.
    scheme : Scheme
        What integrates it.
    by_default : bool
        Whether its step was chosen for a goal, not by the user.
    """

    model: Model
    times: Floats
    seed: int
    unraveling: Mapping[Any, Choice]
    extras: Extras
    dynamics: Dynamics
    wanted: Wanted
    limits: Limits
    scheme: Scheme
    by_default: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows: observables, then functions."""
        return (*self.model.observables, *self.extras.functions)

    @cached_property
    def ranges(self) -> Floats:
        """Largest minus smallest possible value of every row, NaN if unknown."""
        ends = [self.limits.get(name, (np.nan, np.nan)) for name in self.names]
        return np.array([high - low for low, high in ends])

    @cached_property
    def fixed(self) -> Any:
        """Where every trajectory must have the same value, shape (O, T)."""
        mask = deterministic(self.dynamics, self.times.size, self.scheme.traits.unitary)
        rows = np.zeros((len(self.extras.functions), self.times.size), dtype=bool)
        rows[:, 0] = self.dynamics.initial.pure or self.dynamics.mixed
        return np.concatenate([mask, rows])

    def source(self, n_traj: int | None = None) -> Source:
        """Return what gives the values of n_traj trajectories, or of any number."""
        count = ENDLESS if n_traj is None else n_traj
        return plan_of(
            self.dynamics, self.times, self.scheme, self.seed, count, self.wanted
        )

    def describe(self) -> Description:
        """Return the same in plain values."""
        recipe = Recipe(
            model=self.model,
            times=self.times,
            scheme=self.scheme,
            unraveling=self.unraveling,
            seed=self.seed,
            extras=(self.extras,),
        )
        return describe(recipe, EXTRA_CLASSES)


def setting_of(
    model: Model,
    times: Any,
    seed: int,
    unraveling: Mapping[Any, Choice] | None,
    extras: Extras,
    scheme: Scheme | None,
    goal: Goal,
) -> Setting:
    """Return a simulation made ready; its step is chosen for its goal.

    Raises
    ------
    ModelError, SchemeMismatchError, ValueError
        If something does not fit.
    """
    stream_key(seed, Purpose.NOISE)  # checks the seed
    grid = as_times(times)
    dynamics = lower(model, unraveling)
    known = zip(model.observables, observable_limits(dynamics), strict=True)
    limits = dict(known) | limits_of(tuple(extras.functions.items()))
    wanted = extras.wanted(dynamics, grid, limits)
    how = (model, grid, seed, dict(unraveling or {}), extras, dynamics, wanted, limits)
    if scheme is not None:
        return Setting(*how, checked_scheme(scheme))
    count = goal.n_traj or NOMINAL
    if goal.tolerance is not None:
        pilot = Setting(*how, default_scheme(dynamics, grid, PILOT))
        count = min(needed(pilot, goal), goal.n_traj or ENDLESS)
    return Setting(*how, default_scheme(dynamics, grid, count), by_default=True)


def warn_if_outgrown(setting: Setting, goal: Goal, folder: Path) -> None:
    """Say that a step which was chosen for a smaller goal is too large for this one."""
    if not setting.by_default or np.isinf(setting.scheme.dt):
        return
    how = (setting.model, setting.times, setting.seed, setting.unraveling)
    fresh = setting_of(*how, setting.extras, None, goal).scheme
    if fresh.dt < OUTGROWN * setting.scheme.dt:
        warnings.warn(
            f"{folder} keeps {setting.scheme}, whose step was chosen for a smaller "
            f"goal; for this one it would be {fresh.dt:g}, and the step bias may now "
            "exceed the standard errors: start with the final goal, or give `scheme`",
            CheckpointWarning,
            stacklevel=3,
        )


def pilot_moments(setting: Setting, atoms: int = FLOOR) -> Moments:
    """Return the moments of the first trajectories."""
    with np.errstate(**DIVERGENCE):
        return Moments.of(setting.source(atoms * ATOM).run(0, atoms).values)


def needed(setting: Setting, goal: Goal) -> int:
    """Return a power of two of trajectories that should reach the tolerance.

    The same for every seed would need a pilot of its own; this one is made of the
    run's first trajectories, so that equal calls have equal steps.
    """
    moments = pilot_moments(setting)
    ratio = goal.ratio(moments, setting.ranges, setting.fixed)
    if not np.isfinite(ratio):
        return NOMINAL
    count = moments.count * max(1.0, ratio) ** 2
    return int(2 ** np.ceil(np.log2(min(count, 2.0**40))))


def stored_scheme(folder: Path | None) -> Scheme | None:
    """Return the scheme of the run that a folder holds, if it holds one."""
    if folder is None or not is_checkpoint(folder):
        return None
    try:
        return rebuilt_scheme(read_description(folder))
    except (CheckpointError, DescriptionError):
        return None  # whoever opens the checkpoint says what is wrong with it


def was_default(folder: Path) -> bool:
    """Tell whether the step of a folder's run was chosen for a goal."""
    try:
        return bool(read_goal(folder).get("default_step"))
    except CheckpointError:
        return False  # it is written anew


def setting_of_folder(folder: Path) -> Setting:
    """Return the simulation that a folder holds, from the folder alone.

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged.
    DescriptionError
        If it contains Python functions, which no folder can hold.
    """
    recipe = rebuild(read_description(folder), EXTRA_CLASSES)
    try:
        (extras,) = recipe.extras
        return setting_of(
            recipe.model,
            recipe.times,
            recipe.seed,
            recipe.unraveling,
            extras,
            recipe.scheme,
            Goal(),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder} must describe a valid run, but: {error}"
        ) from error
