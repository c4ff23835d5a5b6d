"""Running a multilevel estimate: levels are added until the step bias is small."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stochq.arrays import Floats, as_times, whole_number
from stochq.errors import ModelError
from stochq.lowering import lower
from stochq.mlmc.allocation import (
    Plain,
    allocate,
    cheapest_plain,
    remaining_bias,
    telescoping_checks,
    variances,
    warnings_of,
)
from stochq.mlmc.estimate import MultilevelEstimate
from stochq.mlmc.levels import Ladder, Level, whole_atoms
from stochq.mlmc.start import checked_paths, checked_tolerance, coarsest_scheme
from stochq.model import Model
from stochq.running.parallel import checked_jobs
from stochq.schemes import Exact, Scheme
from stochq.streams import Purpose, stream_key
from stochq.unravelings import Choice

__all__ = ["simulate_mlmc"]

#: Levels that an estimate starts with: fewer corrections cannot tell a bias.
FIRST_LEVELS = 3

#: Part of the squared tolerance that the squared bias may take.
BIAS_PART = 0.5

#: Two standard errors of a bias that is known, as a part of what is allowed.
SETTLED = 0.25

#: Largest factor by which a level grows before its variance is looked at again.
GROWTH = 8

#: Part of the cost that is spent on measuring the time of plain Monte Carlo.
TIMING_PART = 0.05


@dataclass(frozen=True, eq=False)
class _Goal:
    """What an estimate has to reach, and with what."""

    tolerance: Floats  # (O, 1)
    max_levels: int
    pilot: int
    names: tuple[str, ...]

    @property
    def bias(self) -> Floats:
        """Largest bias that leaves room for a sampling error, shape (O, 1)."""
        limit: Floats = np.sqrt(BIAS_PART) * self.tolerance
        return limit

    def sizes(self, ladder: Ladder, levels: list[Level], bias: Floats) -> list[int]:
        """Return trajectories per level that keep the tolerance with some bias.

        No level grows by more than a factor at once: variances are known better then.
        """
        budget = np.square(self.tolerance) - np.square(np.minimum(bias, self.bias))
        steps = np.array([float(level.steps) for level in levels])
        sizes = allocate(variances(levels, ladder), steps, budget)
        return [
            whole_atoms(min(n, GROWTH * level.n_traj))
            for n, level in zip(sizes, levels, strict=True)
        ]

    def unreachable(
        self, ladder: Ladder, levels: list[Level], bias: Floats, sure: Floats
    ) -> ValueError:
        """Return the error that says what would be needed, and what looks wrong."""
        excess = bias / self.bias
        o, t = np.unravel_index(excess.argmax(), excess.shape)
        most = float(2.0 * bias[o, t] - sure[o, t])  # two standard errors above it
        more = np.ceil(np.log2(most / self.bias[o, 0]) / ladder.scheme.traits.weak)
        checks = telescoping_checks(levels, self.tolerance)
        suspicions = warnings_of(levels, self.tolerance, checks)
        return ValueError(
            f"`tolerance` must be within reach of {self.max_levels} levels, but the "
            f"step bias of {self.names[o]!r} at t = {ladder.times[t]:g} is still about "
            f"{bias[o, t]:.2g} with the smallest step {levels[-1].h:.2g}, where "
            f"{self.tolerance[o, 0]:g} allows {self.bias[o, 0]:.2g}; take "
            f"max_levels={self.max_levels + max(1, int(more))} or more, a smaller dt, "
            "a scheme of higher weak order, or a tolerance of "
            + "; ".join([f"{most / np.sqrt(BIAS_PART):.2g}", *suspicions])
        )


def _bias_of(ladder: Ladder, levels: list[Level]) -> tuple[Floats, Floats]:
    """Return the bias that is left, and what of it is sure; none without a step."""
    if isinstance(ladder.scheme, Exact):
        return np.zeros_like(levels[0].mean), np.zeros_like(levels[0].mean)
    return remaining_bias(levels, ladder.scheme.traits.weak)


def _next_sizes(
    ladder: Ladder, goal: _Goal, levels: list[Level], bias: Floats, sure: Floats
) -> list[int]:
    """Return how many trajectories levels should have next.

    Corrections come first: they say whether another level is needed, and level 0 may
    cost most. Sizes rest at first on what of the bias is sure, since its sampling error
    falls meanwhile.
    """
    held = [level.n_traj for level in levels]
    sizes = goal.sizes(ladder, levels, np.maximum(sure, 0.0))
    corrections = [held[0], *map(max, sizes[1:], held[1:])]
    if corrections != held or (bias > goal.bias).any():
        return corrections
    if sizes[0] > held[0]:
        return sizes
    return goal.sizes(ladder, levels, bias)


def _climb(ladder: Ladder, goal: _Goal) -> tuple[list[Level], Floats]:
    """Return levels that keep the tolerance, and the bias that is left (O, T).

    All levels get the trajectories they need, unless the bias is too large for sure;
    while it is too large, levels are added.
    """
    ladder.source(0).run(0, 1)  # compiles the kernels before clocks start
    first = 1 if isinstance(ladder.scheme, Exact) else FIRST_LEVELS
    levels = [ladder.started(number, goal.pilot) for number in range(first)]
    while True:
        bias, sure = _bias_of(ladder, levels)
        if (sure <= goal.bias).all():
            sizes = _next_sizes(ladder, goal, levels, bias, sure)
            if any(n > x.n_traj for n, x in zip(sizes, levels, strict=True)):
                levels = list(map(ladder.extended, levels, sizes))
                continue
            if (bias <= goal.bias).all():
                return levels, bias
        levels = _raised(ladder, goal, levels, bias, sure)


def _raised(
    ladder: Ladder, goal: _Goal, levels: list[Level], bias: Floats, sure: Floats
) -> list[Level]:
    """Return levels with one more, or the last ones larger where none is left.

    Raises
    ------
    ValueError
        If no level is left and the bias is known to be too large.
    """
    if len(levels) < goal.max_levels:
        return [*levels, ladder.started(len(levels), goal.pilot)]
    if ((bias > goal.bias) & (bias - sure <= SETTLED * goal.bias)).any():
        raise goal.unreachable(ladder, levels, bias, sure)
    return [
        ladder.extended(level, 2 * level.n_traj) if level.number else level
        for level in levels
    ]


def _plain(
    ladder: Ladder, levels: list[Level], bias: Floats, tolerance: Floats
) -> Plain:
    """Return what plain Monte Carlo would take, its time measured on a part of it.

    Without a step it is what has been run.
    """
    if isinstance(ladder.scheme, Exact):
        only = levels[0]
        return Plain(only.h, only.n_traj, only.cost, only.seconds)
    number, n_traj = cheapest_plain(ladder, levels, bias, tolerance)
    steps = max(1, sum(ladder.grid(number).counts))
    spent = sum(level.cost for level in levels)
    timed = min(n_traj, TIMING_PART * spent / steps)
    seconds = ladder.seconds_of_plain(number, max(1, int(timed)))
    return Plain(levels[number].h, n_traj, n_traj * steps, n_traj * seconds)


def simulate_mlmc(
    model: Model,
    times: Any,
    *,
    tolerance: Any,
    seed: int,
    scheme: Scheme | None = None,
    unraveling: Mapping[str, Choice] | None = None,
    max_levels: int = 10,
    pilot: int = 512,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> MultilevelEstimate:
    r"""Average observables to a requested error, with steps of many sizes.

    .. math:: \bar O = \overline{P_0} + \sum_{l=1}^{L} \overline{P_l - P_{l-1}}, \qquad
        \mathrm{rmse}^2 = \sum_l \frac{V_l}{N_l} + b_L^2

    P_l is an observable integrated with steps ``scheme.dt * 2**-l``. Most trajectories
    have the coarsest step; the corrections, with both steps on one Brownian path, have
    small variances V_l and need few. Levels are added until the bias b_L that is left,
    extrapolated from the last corrections with the scheme's weak order, is small; no
    averaged equation is used. The estimate is the same to the last bit for any
    `n_jobs`.

    Jump clocks are shared between coarse and fine steps, but where noise and jumps act
    together a small difference between paths can make a jump come or not. Variances
    then fall only as the strong order of the scheme, h^(1/2) or h, instead of twice it,
    and corrections have a large kurtosis.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,)
        Output times, strictly increasing [time].
    tolerance : float, dict of str to float, or array_like of shape (O,)
        Root mean square error allowed at every time, absolute: one number for all
        observables, or one each, in the observable's unit.
    seed : int
        Any integer >= 0. Levels have independent streams.
    scheme : Scheme, optional
        With the coarsest step as its dt. By default `Exact` where it fits, which is
        plain Monte Carlo, else `Strang` with the longest step whose level pays.
    unraveling : dict of str to Choice, optional
        As in `simulate`.
    max_levels : int, default 10
        Levels at most, at least 3.
    pilot : int, default 512
        First trajectories of a level, from which variances are estimated, in whole
        atoms of 64.
    n_jobs, progress
        As in `simulate`; there is one bar for each run of a level.

    Returns
    -------
    MultilevelEstimate

    Raises
    ------
    ValueError
        If an argument is out of range, or the tolerance out of reach of `max_levels`.
    ModelError
        If `times` or `unraveling` do not fit.
    SchemeMismatchError
        If the scheme cannot integrate this model, has no paths, or is unstable with
        its coarsest step.
    """
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    start = time.perf_counter()
    grid = as_times(times)
    stream_key(seed, Purpose.NOISE)  # checks the seed
    names = tuple(model.observables)
    limits = checked_tolerance(tolerance, names)
    goal = _Goal(
        tolerance=limits[:, None],
        max_levels=whole_number(max_levels, "max_levels", at_least=FIRST_LEVELS),
        pilot=whole_number(pilot, "pilot", at_least=64),
        names=names,
    )
    n_jobs = checked_jobs(n_jobs)
    dynamics = lower(model, unraveling)
    if scheme is None:
        scheme = coarsest_scheme(dynamics, grid, goal.tolerance, seed)
    scheme = checked_paths(scheme)
    ladder = Ladder(dynamics, grid, scheme, seed, n_jobs, progress)
    levels, bias = _climb(ladder, goal)
    checks = telescoping_checks(levels, goal.tolerance)
    return MultilevelEstimate(
        names=names,
        times=grid,
        mean=np.sum([level.mean for level in levels], axis=0),
        mcse=np.sqrt(np.sum([np.square(level.mcse) for level in levels], axis=0)),
        bias=bias,
        tolerance=limits,
        levels=tuple(levels),
        telescoping=checks,
        plain=_plain(ladder, levels, bias, goal.tolerance),
        warnings=warnings_of(levels, goal.tolerance, checks),
        seed=seed,
        scheme=scheme,
        provenance={
            "scheme": repr(scheme),
            "unraveling": dict(dynamics.unraveling),
            "calculus": model.calculus,
            "pilot": goal.pilot,
            "wall_seconds": time.perf_counter() - start,
        },
    )
