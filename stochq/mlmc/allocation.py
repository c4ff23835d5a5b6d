"""How many trajectories each level needs, and what their statistics say.

All decisions rest on means, variances and numbers of steps, never on clocks, so that a
seed gives the same estimate everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from stochq.arrays import Floats
from stochq.mlmc.levels import Ladder, Level

__all__ = [
    "Plain",
    "allocate",
    "cheapest_plain",
    "remaining_bias",
    "telescoping_checks",
    "telescoping_limit",
    "telescoping_z",
    "variances",
    "warnings_of",
    "worst_kurtosis",
]

#: Corrections that the remaining bias is extrapolated from.
TAIL = 3

#: False-alarm probability of the telescoping check, all points and levels together.
TELESCOPING_ALPHA = 1e-4

#: Kurtosis, and relative error of a variance, from which on it is badly known.
HEAVY, UNSURE = 100.0, 0.05

#: A variance that falls by less than this factor per level hardly falls.
SLOW = 0.8

#: Differences below this part of the tolerance are rounding.
ROUNDING = 1e-6


def variances(levels: Sequence[Level], ladder: Ladder) -> Floats:
    """Return the variances that sizes are chosen from, shape (L, O, T).

    Few trajectories may not have seen what makes fine and coarse values differ, so no
    variance is taken to fall below half of what the best order allows: twice the order
    of paths, or that order where a jump that comes or not makes the difference.
    """
    traits = ladder.scheme.traits
    order = max(traits.strong, traits.strong_commuting)
    least = 0.5 * 2.0 ** (-order if ladder.dynamics.jumps else -2.0 * order)
    found = [level.variance for level in levels]
    for k in range(2, len(found)):
        found[k] = np.maximum(found[k], least * found[k - 1])
    return np.array(found)


def allocate(variance: Floats, steps: Floats, budget: Floats) -> Floats:
    r"""Return trajectories per level that keep the sampling variance, shape (L,).

    .. math:: N_l = \frac1B \sqrt{V_l / C_l} \sum_k \sqrt{V_k C_k}

    is the cheapest choice for one quantity. The largest N_l over all quantities keeps
    the variance of each; all are then lowered together until one quantity needs them.

    Parameters
    ----------
    variance : ndarray, shape (L, O, T)
        V_l of every quantity.
    steps : ndarray, shape (L,)
        C_l, the cost of one trajectory.
    budget : ndarray, shape (O, T)
        B, the variance allowed.
    """
    cost = steps[:, None, None]
    work = np.sqrt(variance * cost).sum(axis=0)
    sizes = (np.sqrt(variance / cost) * work / budget).max(axis=(1, 2))
    safe = np.where(sizes > 0, sizes, 1.0)
    used = (variance / safe[:, None, None]).sum(axis=0) / budget
    needed: Floats = sizes * used.max()
    return needed


def remaining_bias(levels: Sequence[Level], weak: float) -> tuple[Floats, Floats]:
    r"""Return the size of E[P_L] - E[P] from the last corrections, shape (O, T).

    .. math:: |b_L| \approx \frac{\max_j 2^{-p j} |Y_{L-j}|}{2^p - 1},
        \qquad j = 0, 1, 2, \quad p = \text{weak order}

    The largest of three guards against one that is small by chance or passes zero. The
    second value is what it is beyond two standard errors of the corrections.
    """
    last = levels[-1].number
    tail = levels[max(1, last - TAIL + 1) :]
    sizes, sure = [], []
    for level in tail:
        scale = 2.0 ** (-weak * (last - level.number)) / (2.0**weak - 1.0)
        sizes.append(scale * np.abs(level.mean))
        sure.append(scale * (np.abs(level.mean) - 2.0 * level.mcse))
    return np.max(sizes, axis=0), np.max(sure, axis=0)


def telescoping_z(fine: Level, coarse: Level, tolerance: Floats) -> Floats:
    """Return how far E[P_l] of two levels is apart, in standard errors, shape (O, T).

    Level l has it as its fine value, level l + 1 as its coarse one. The law is the same
    if all is right, so the variance is that of both samples together: what is rare may
    be missing in the smaller one.

    Parameters
    ----------
    fine, coarse : Level
        Levels l and l + 1.
    tolerance : ndarray, shape (O, 1)
        A small part of it is rounding.
    """
    a, b = fine.n_traj, coarse.n_traj
    squares = fine.fine_variance * (a - 1) + coarse.coarse_variance * (b - 1)
    error = np.sqrt(squares / (a + b - 2) * (1.0 / a + 1.0 / b))
    gap: Floats = fine.fine_mean - coarse.coarse_mean
    return gap / np.hypot(error, ROUNDING * tolerance)


def telescoping_checks(levels: Sequence[Level], tolerance: Floats) -> Floats:
    """Return the largest telescoping deviation of each level, NaN on level 0 (L,)."""
    worst = [np.nan]
    for fine, coarse in pairwise(levels):
        worst.append(float(np.abs(telescoping_z(fine, coarse, tolerance)).max()))
    return np.array(worst)


def telescoping_limit(levels: Sequence[Level]) -> float:
    """Return the deviation that no point of any level exceeds by chance."""
    points = levels[0].mean.size * max(1, len(levels) - 1)
    return float(-ndtri(0.5 * TELESCOPING_ALPHA / points))


@dataclass(frozen=True)
class Plain:
    """What plain Monte Carlo of the same accuracy would take.

    Attributes
    ----------
    h : float
        Its step [time].
    n_traj : int
        Its trajectories.
    cost : int
        Steps of all trajectories.
    seconds : float
        Estimated wall time: measured per trajectory.
    """

    h: float
    n_traj: int
    cost: int
    seconds: float


def cheapest_plain(
    ladder: Ladder, levels: Sequence[Level], bias: Floats, tolerance: Floats
) -> tuple[int, int]:
    """Return the level whose steps make plain Monte Carlo cheapest, and its n_traj.

    Coarser steps than the finest level's count where their bias leaves room for a
    sampling error: their distance to the finest level is known from the corrections.

    Parameters
    ----------
    ladder, levels
        The estimate.
    bias : ndarray, shape (O, T)
        What remains on the finest level.
    tolerance : ndarray, shape (O, 1)
        Root mean square error allowed.
    """
    best: list[tuple[float, int, int]] = []
    for level in levels:
        above = [other.mean for other in levels[level.number + 1 :]]
        room = np.square(tolerance) - np.square(np.abs(sum(above)) + bias)
        if (room > 0).all():
            n_traj = max(2, int(np.ceil((level.fine_variance / room).max())))
            steps = max(1, sum(ladder.grid(level.number).counts))
            best.append((n_traj * steps, level.number, n_traj))
    _, number, n_traj = min(best)
    return number, n_traj


def worst_kurtosis(level: Level, tolerance: Floats) -> float:
    """Return the largest kurtosis of a correction where its variance matters.

    That is where it is at least half of the largest, in units of the tolerance, and
    where more than one trajectory is needed at all; NaN if that is nowhere.
    """
    weight = level.variance / np.square(tolerance)
    matters = (weight >= 0.5 * weight.max()) & (weight > 1.0)
    return float(level.kurtosis[matters].max()) if matters.any() else np.nan


def warnings_of(
    levels: Sequence[Level], tolerance: Floats, telescoping: Floats
) -> tuple[str, ...]:
    """Say what makes an estimate, or its errors, less certain than they look."""
    limit = telescoping_limit(levels)
    found = [
        f"the telescoping sum does not hold: E[P_{k - 1}] differs by {z:.1f} standard "
        f"errors (chance: {limit:.1f}) between levels {k - 1} and {k}; the estimate is "
        "wrong, because the scheme does something else on coarse steps than on fine"
        for k, z in enumerate(telescoping.tolist())
        if z > limit
    ]
    for level in levels:
        kurtosis = worst_kurtosis(level, tolerance)
        error = np.sqrt((kurtosis - 1.0) / level.n_traj)
        if kurtosis > HEAVY and error > UNSURE:
            found.append(
                f"level {level.number}: kurtosis {kurtosis:.3g}, few trajectories make "
                f"its variance, which is known to about {100 * error:.2g} % only; take "
                "a larger pilot"
            )
    sizes = [float((x.variance / np.square(tolerance)).max()) for x in levels[1:]]
    if len(sizes) > 1 and sizes[-1] > max(1.0, sizes[0] * SLOW ** (len(sizes) - 1)):
        found.append(
            "the variance of corrections hardly falls from level to level: coarse and "
            "fine steps have too little in common here"
        )
    return tuple(found)
