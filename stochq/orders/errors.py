"""Strong and weak errors at all levels: exactly averaged, or sampled on paths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from stochq.arrays import Floats
from stochq.averages import has_average
from stochq.bias import exact_means, exact_step_bias, observable_ranges
from stochq.lowering import Dynamics
from stochq.orders.curves import ErrorCurve, Sample, curve_of, norms_of, roots_of
from stochq.orders.levels import Levels
from stochq.orders.paths import Paths
from stochq.references import master_equation
from stochq.running.parallel import collect

__all__ = ["exact_weak", "sampled_errors"]

EPS = float(np.finfo(float).eps)

#: Ranges below this part of an observable's size are rounding.
NO_RANGE = 1e-9


def _observed(dynamics: Dynamics) -> tuple[Any, Floats]:
    """Return which observables have a range, and those ranges."""
    ranges = observable_ranges(dynamics)
    sizes = np.array([np.abs(o.data).max(initial=0.0) for o in dynamics.observables])
    seen = ranges > NO_RANGE * sizes
    return seen, ranges[seen]


def _within_reach(dynamics: Dynamics, times: Floats, levels: Levels) -> bool:
    """Tell whether the exact averages of all levels are known and affordable."""
    if not has_average(levels.base, dynamics):
        return False
    # at steps h, h/2 and h/4 a bias costs what all levels do
    base: Any = levels.base
    probe = replace(base, dt=4 * max(levels.grids[-1].lengths))
    with np.errstate(all="ignore"):
        return exact_step_bias(dynamics, times, probe, quick=True) is not None


def exact_weak(
    dynamics: Dynamics, times: Floats, levels: Levels, declared: float
) -> ErrorCurve | None:
    """Return the weak errors of exactly averaged steps, or None if out of reach."""
    seen, ranges = _observed(dynamics)
    if not seen.any() or not _within_reach(dynamics, times, levels):
        return None
    truth = master_equation(dynamics.model, times, sensitivity=False)
    with np.errstate(all="ignore"):  # what diverges is marked, not warned of
        means = [exact_means(dynamics, g, levels.base)[:, -1] for g in levels.grids]
        wrong = levels.weights @ np.array(means) - truth.values[:, -1]
        errors = np.linalg.norm(wrong[:, seen] / ranges, axis=1)
    steps = np.array([sum(g.counts) for g in levels.grids[: errors.size]])
    floor = 16 * EPS * steps + truth.error / ranges.min()
    unsampled = Sample(errors, np.zeros(errors.size), np.zeros((0, errors.size)))
    return curve_of(levels.dts, unsampled, declared, floor)


def sampled_errors(
    dynamics: Dynamics,
    levels: Levels,
    paths: Paths,
    declared: tuple[float, float],
    *,
    n_jobs: int | None,
    progress: bool | None,
) -> tuple[ErrorCurve | None, ErrorCurve | None]:
    """Run all levels on shared paths; return their strong and weak errors.

    Parameters
    ----------
    dynamics : Dynamics
        A lowered model.
    levels : Levels
        The steps.
    paths : Paths
        The trajectories; without a reference for states there are no strong errors.
    declared : tuple of float
        The declared strong and weak order.
    n_jobs : int
        Parallel threads.
    progress : bool or None
        Show a bar; None: on a terminal only.
    """
    run = collect(paths, n_jobs=n_jobs, progress=progress)
    mean, mcse = run.moments.mean[:, 0], run.moments.mcse[:, 0]
    batches = run.batches[:, :, 0]
    count = len(levels.weights)
    floor = EPS * sum(levels.finest(1).counts) * np.ones(count)
    strong = None
    first = 0
    if paths.states is not None:
        first = count
        roots = roots_of(mean[:first], mcse[:first], batches[:, :first])
        strong = curve_of(levels.dts, roots, declared[0], floor, paths.cells[0])
    seen, ranges = _observed(dynamics)
    if not seen.any():
        return strong, None

    def differences(values: Floats) -> Floats:
        rows = values[..., first:].reshape(*values.shape[:-1], count, -1)
        relative: Floats = rows[..., seen] / ranges
        return relative

    norms = norms_of(differences(mean), differences(mcse), differences(batches))
    weak = curve_of(levels.dts, norms, declared[1], floor, paths.cells[1])
    return strong, weak
