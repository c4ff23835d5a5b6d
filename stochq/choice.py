"""The default scheme: what fits a model's structure, with a step its error can bear."""

from __future__ import annotations

import numpy as np

from stochq.arrays import Floats
from stochq.atoms import Plan, run_atoms
from stochq.bias import observable_ranges, step_bias
from stochq.lowering import Dynamics
from stochq.schemes import Exact, Scheme, Strang
from stochq.schemes.lanes import ATOM

__all__ = ["default_scheme"]

#: Part of the expected sampling error that the default step may add as bias.
BIAS_SHARE = 0.1

#: A spread below this part of the range does not call for a smaller step.
SPREAD_FLOOR = 1e-3


def _heuristic_dt(dynamics: Dynamics) -> float:
    """Return a twentieth of the fastest local time of the model."""
    noise = sum((abs(L) @ abs(L) for L in dynamics.noise), 0 * abs(dynamics.noise[0]))
    rate = float(noise.sum(axis=1).max())
    rate += float(abs(dynamics.effective_hamiltonian).sum(axis=1).max(initial=0.0))
    return 0.05 / rate


def _largest_step(
    dynamics: Dynamics, times: Floats, budget: Floats, dt: float
) -> float | None:
    """Return a dt, at most the given one, whose bias keeps a budget (O,).

    None stands for a bias that is out of reach. The bias of Strang falls as dt^2, which
    gives the next dt to try.
    """
    for _ in range(40):
        bias = step_bias(dynamics, times, Strang(dt), quick=True)
        if bias is None:
            return None
        excess = float((np.abs(bias) / budget[:, None]).max())
        if excess <= 1.0:
            break
        dt *= float(np.clip(0.95 / np.sqrt(excess), 0.1, 0.9))
    return dt


def _typical_spread(dynamics: Dynamics, times: Floats, scheme: Scheme) -> Floats:
    """Return the median over times of each observable's spread, from one atom (O,).

    The pilot has a seed of its own, so that the step depends on the model, the times
    and the number of trajectories only.
    """
    values = run_atoms(
        Plan.of(dynamics, times, scheme, seed=0, n_traj=ATOM), 0, 1
    ).values
    spread: Floats = np.median(values.std(axis=-1)[:, 1:], axis=1)
    return spread


def default_scheme(dynamics: Dynamics, times: Floats, n_traj: int) -> Scheme:
    """Return the scheme that fits a model's structure, with its step.

    `Exact` where all parts commute. Otherwise `Strang` with the largest step whose
    exact bias stays below a tenth of the sampling error expected of `n_traj`
    trajectories at a typical time, for every observable; where an exact bias is out of
    reach, a twentieth of the fastest local time of the model.

    Parameters
    ----------
    dynamics : Dynamics
        A lowered model.
    times : ndarray, shape (T,) [time]
        Output times.
    n_traj : int
        Planned number of trajectories.
    """
    if Exact.handles(dynamics):
        return Exact()
    if times.size < 2:
        return Strang(dt=1.0)
    ranges = observable_ranges(dynamics)
    sizes = np.array([np.abs(o.data).max(initial=0.0) for o in dynamics.observables])
    # what is the same in every state needs no step at all
    ranges = np.where(ranges > 1e-9 * sizes, ranges, np.inf)
    longest = float(np.diff(times).max())
    rough = _largest_step(dynamics, times, 0.01 * ranges, longest)
    if rough is None:
        return Strang(min(longest, _heuristic_dt(dynamics)))
    spread = _typical_spread(dynamics, times, Strang(rough))
    spread = np.maximum(spread, SPREAD_FLOOR * ranges)
    budget = BIAS_SHARE * spread / np.sqrt(n_traj)
    return Strang(_largest_step(dynamics, times, budget, rough) or rough)
