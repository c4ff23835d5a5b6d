"""What a multilevel estimate starts from: tolerances, a scheme, its coarsest step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stochq.arrays import Floats, as_array
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.mlmc.levels import Ladder, Level
from stochq.replay import checked_scheme
from stochq.schemes import Exact, Scheme, Strang
from stochq.streams import child_seed

__all__ = ["checked_paths", "checked_tolerance", "coarsest_scheme"]

#: Streams of the search for a coarsest step, apart from those of levels.
SEARCH = 2

#: Trajectories and halvings of that search.
SEARCH_TRAJ, HALVINGS = 256, 16


def _number(value: Any, name: str) -> float:
    """Return a finite number > 0."""
    array = as_array(value, "tolerance")
    if array.ndim or array.dtype.kind not in "iuf":
        raise ValueError(f"`{name}` must be a number > 0, but is {value!r}")
    if not np.isfinite(array) or array <= 0:
        raise ValueError(f"`{name}` must be finite and > 0, but is {value!r}")
    return float(array)


def checked_tolerance(tolerance: Any, names: Sequence[str]) -> Floats:
    """Return the tolerance of each observable, shape (O,).

    Raises
    ------
    ValueError
        If it is not a number > 0 for each of them.
    """
    if isinstance(tolerance, Mapping):
        if set(tolerance) != set(names):
            raise ValueError(
                f"`tolerance` must name the observables {list(names)}, "
                f"but names {list(tolerance)}"
            )
        rows = [_number(tolerance[n], f"tolerance[{n!r}]") for n in names]
    elif isinstance(tolerance, (list, tuple, np.ndarray)) and np.ndim(tolerance):
        if np.shape(tolerance) != (len(names),):
            raise ValueError(
                f"`tolerance` must be one number or have shape ({len(names)},), one "
                f"for each observable, but has shape {np.shape(tolerance)}"
            )
        rows = [_number(x, f"tolerance[{k}]") for k, x in enumerate(tolerance)]
    else:
        rows = [_number(tolerance, "tolerance")] * len(names)
    return np.array(rows)


def checked_paths(scheme: Any) -> Scheme:
    """Return a scheme that has levels, or no step at all.

    Raises
    ------
    SchemeMismatchError
        If two of its steps cannot share a Brownian path.
    """
    chosen = checked_scheme(scheme)
    if not chosen.traits.paths:
        raise SchemeMismatchError(
            "`scheme` must follow a Brownian path, which coarse and fine steps share, "
            f"but {chosen} does not; use Strang(dt=...), or simulate for its means"
        )
    return chosen


def _pays(level: Level, tolerance: Floats) -> bool:
    """Tell whether a search may end at a pair of steps h and h/2.

    It may if coarse and fine runs together are cheaper than fine runs alone, or if
    the bias of h is small for sure.
    """
    worst = [
        float((v / np.square(tolerance)).max())
        for v in (level.coarse_variance, level.variance, level.fine_variance)
    ]
    coarse, both, fine = np.sqrt(np.array(worst) * [1.0, 3.0, 2.0])
    if coarse + both <= fine:
        return True
    surely = np.abs(level.mean) + 3.0 * level.mcse
    return bool((surely <= 0.5 * tolerance).all())


def coarsest_scheme(
    dynamics: Dynamics, times: Floats, tolerance: Floats, seed: int
) -> Scheme:
    """Return `Exact` where all parts commute, else `Strang` with a coarsest step.

    It is the longest interval between output times, halved until steps h and h/2 are
    so close that the level with h pays. The search has streams of its own.
    """
    if Exact.handles(dynamics):
        return Exact()
    dt = float(np.diff(times).max(initial=0.0)) or 1.0
    for k in range(HALVINGS):
        ladder = Ladder(dynamics, times, Strang(dt), child_seed(seed, SEARCH, k))
        if _pays(ladder.started(1, SEARCH_TRAJ), tolerance):
            break
        dt /= 2
    return Strang(dt)
