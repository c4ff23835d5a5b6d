r"""Levels of a multilevel estimate: coupled runs and their statistics.

Level l has steps h_l = h_0 2^-l. With P_l for an observable integrated with steps h_l,

.. math:: E[P_L] = E[P_0] + \sum_{l=1}^{L} E[P_l - P_{l-1}],

where both values of a correction follow one Brownian path, so that their difference
has small variance and needs few trajectories. Levels draw from independent streams.

References
----------
.. [1] M. B. Giles, "Multilevel Monte Carlo methods", Acta Numerica 24, 259 (2015).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from stochq.arrays import Floats
from stochq.atoms import Plan, Run, Stack, coupled_plans
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.running.parallel import collect
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM
from stochq.schemes.traits import StepGrid, grid_for
from stochq.statistics.moments import Moments
from stochq.streams import child_seed

__all__ = ["Ladder", "Level", "whole_atoms"]

#: Streams of levels, apart from others that belong to the same seed.
STREAM = 1

#: Spread of an unstable scheme, in bounds of the eigenvalues.
SPREAD = 10.0

#: Fourth powers about zero cannot tell those about the mean, where the variance is
#: below this part of the mean square.
ROUNDING = 1e-6

#: Trajectories whose statistics are collected at once; a bound on memory.
CHUNK = 2**16


@dataclass(frozen=True, eq=False)
class Level:
    """One level: E[P_0], or the correction E[P_l - P_{l-1}].

    Attributes
    ----------
    number : int
        l.
    h : float
        Largest step of the fine runs [time].
    steps : int
        Steps of one trajectory, fine and coarse together: its cost.
    moments : Moments
        Of the fine values, the coarse values, their difference and its square, shape
        (4 O, T); of the fine values and their square on level 0, shape (2 O, T).
    seconds : float
        Wall time of its runs.
    """

    number: int
    h: float
    steps: int
    moments: Moments
    seconds: float

    def _rows(self, values: Floats, row: int) -> Floats:
        """Return the fine (0), coarse (1), difference (-2) or square (-1) rows."""
        return np.split(values, 4 if self.number else 2)[row]

    @property
    def n_traj(self) -> int:
        """Number of trajectories."""
        return self.moments.count

    @property
    def cost(self) -> int:
        """Steps of all trajectories."""
        return self.n_traj * self.steps

    @property
    def mean(self) -> Floats:
        """Mean of the correction (of P_0 on level 0), shape (O, T)."""
        return self._rows(self.moments.mean, -2)

    @property
    def variance(self) -> Floats:
        """Variance of the correction of one trajectory, shape (O, T)."""
        return np.square(self._rows(self.moments.sd, -2))

    @property
    def mcse(self) -> Floats:
        """Standard error of `mean`, shape (O, T)."""
        return self._rows(self.moments.mcse, -2)

    @property
    def kurtosis(self) -> Floats:
        r"""Kurtosis of the correction Y, shape (O, T); NaN where it does not vary.

        .. math:: \frac{E[Y^4] - 4 \mu E[Y^3] + 6 \mu^2 E[Y^2] - 3 \mu^4}{\sigma^4}
        """
        n, mean = self.n_traj, self.mean
        spread = self._rows(self.moments.m2, -2) / n
        third = self._rows(self.moments.m3, -2) / n + 3 * mean * spread + mean**3
        second = self._rows(self.moments.mean, -1)
        fourth = self._rows(self.moments.m2, -1) / n + second**2
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        varies = spread > ROUNDING * second
        safe = np.where(varies, spread, 1.0)
        found: Floats = np.where(varies, central / safe / safe, np.nan)
        return found

    @property
    def fine_mean(self) -> Floats:
        """Mean of P_l, shape (O, T)."""
        return self._rows(self.moments.mean, 0)

    @property
    def fine_variance(self) -> Floats:
        """Variance of P_l of one trajectory, shape (O, T)."""
        return np.square(self._rows(self.moments.sd, 0))

    @property
    def coarse_mean(self) -> Floats:
        """Mean of P_{l-1} on this level's paths, shape (O, T); not for level 0."""
        return self._rows(self.moments.mean, 1)

    @property
    def coarse_variance(self) -> Floats:
        """Variance of P_{l-1} of one trajectory, shape (O, T); not for level 0."""
        return np.square(self._rows(self.moments.sd, 1))


@dataclass(frozen=True)
class _Squared:
    """A stack, and the squares of its last row: they tell fourth powers."""

    stack: Stack

    @property
    def n_traj(self) -> int:
        """Number of trajectories."""
        return self.stack.n_traj

    @property
    def size(self) -> int:
        """Complex amplitudes of one trajectory."""
        return self.stack.size

    @property
    def results(self) -> int:
        """Values of one trajectory."""
        return self.stack.results + self.stack.plans[0].results

    def run(self, first: int, count: int) -> Run:
        """Run atoms first ... first + count - 1."""
        run = self.stack.run(first, count)
        last = np.split(run.values, len(self.stack.weights))[-1]
        return replace(run, values=np.concatenate([run.values, np.square(last)]))


@dataclass(frozen=True, eq=False)
class Ladder:
    """What all levels have in common, and how one is run.

    Attributes
    ----------
    dynamics : Dynamics
        The lowered model.
    times : ndarray, shape (T,) [time]
        Output times.
    scheme : Scheme
        With h_0 as its step.
    seed : int
        Of the whole estimate; each level has a child of it.
    n_jobs, progress
        As in `simulate`.
    """

    dynamics: Dynamics
    times: Floats
    scheme: Scheme
    seed: int
    n_jobs: int | None = None
    progress: bool | None = None

    def grid(self, number: int) -> StepGrid:
        """Return the steps of a level's fine runs."""
        return grid_for(self.scheme, self.times).refined(2**number)

    def source(self, number: int) -> Stack:
        """Return what runs a level: fine, coarse and fine - coarse, stacked."""
        seed = child_seed(self.seed, STREAM, number)
        if number == 0:
            return Stack((self._plan(self.grid(0), seed),), np.ones((1, 1)))
        plans = coupled_plans(
            self.dynamics, self.grid(number - 1), self.scheme, seed, ATOM
        )
        return Stack(plans, np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]))

    def _plan(self, grid: StepGrid, seed: int) -> Plan:
        """Return what runs one trajectory of one step."""
        return Plan.of(self.dynamics, grid, self.scheme, seed, ATOM)

    @np.errstate(over="ignore", invalid="ignore")  # what diverges is refused
    def _sampled(self, source: Stack, first: int, last: int) -> Moments:
        """Return the moments of trajectories first ... last - 1, in whole atoms."""
        parts = []
        for start in range(first, last, CHUNK):
            stop = min(start + CHUNK, last)
            plans = tuple(replace(plan, n_traj=stop) for plan in source.plans)
            part = collect(
                _Squared(replace(source, plans=plans)),
                n_jobs=self.n_jobs,
                progress=self.progress,
                first_atom=start // ATOM,
            )
            parts.append(part.moments)
        total = reduce(Moments.merge, parts)
        self._check_stable(total)
        return total

    def _check_stable(self, found: Moments) -> None:
        """Refuse values that no state has.

        Raises
        ------
        SchemeMismatchError
            If they are not finite, or spread far beyond the eigenvalues.
        """
        bounds = [abs(o).sum(axis=1).max() for o in self.dynamics.observables]
        most = SPREAD * self.dynamics.initial.columns * np.array(bounds)
        spread = found.sd[: most.size]  # of the fine values
        if not (np.isfinite(found.mean).all() and (spread <= most[:, None]).all()):
            raise SchemeMismatchError(
                f"`scheme` must be stable with its coarsest step, but {self.scheme} "
                "gives values that no state has; take a smaller dt"
            )

    def started(self, number: int, n_traj: int) -> Level:
        """Return a new level with its first trajectories, in whole atoms."""
        grid = self.grid(number)
        steps = sum(grid.counts) * (3 if number else 2) // 2
        source = self.source(number)
        start = time.perf_counter()
        moments = self._sampled(source, 0, whole_atoms(n_traj))
        return Level(
            number=number,
            h=max(grid.lengths, default=0.0),
            steps=max(1, steps),
            moments=moments,
            seconds=time.perf_counter() - start,
        )

    def extended(self, level: Level, n_traj: int) -> Level:
        """Return a level with at least n_traj trajectories; those it has are kept."""
        if whole_atoms(n_traj) <= level.n_traj:
            return level
        source = self.source(level.number)
        start = time.perf_counter()
        new = self._sampled(source, level.n_traj, whole_atoms(n_traj))
        seconds = level.seconds + time.perf_counter() - start
        return replace(level, moments=level.moments.merge(new), seconds=seconds)

    def seconds_of_plain(self, number: int, n_traj: int) -> float:
        """Return the wall time of one plain trajectory with a level's fine steps."""
        plan = self._plan(self.grid(number), child_seed(self.seed, STREAM, number))
        plan = replace(plan, n_traj=whole_atoms(n_traj))
        start = time.perf_counter()
        collect(plan, n_jobs=self.n_jobs, progress=self.progress)
        return (time.perf_counter() - start) / plan.n_traj


def whole_atoms(n_traj: float) -> int:
    """Return a number of trajectories rounded up to whole atoms."""
    return int(-(-np.ceil(n_traj) // ATOM)) * ATOM
