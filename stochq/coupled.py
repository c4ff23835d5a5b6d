"""Two runs on common random numbers: differences with small errors, and step bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Floats, as_times, whole_number
from stochq.atoms import Plan, Stack, coupled_plans
from stochq.bias import exact_step_bias
from stochq.choice import default_scheme
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import Dynamics, lower
from stochq.model import Model
from stochq.replay import checked_scheme
from stochq.running.parallel import checked_jobs, collect
from stochq.schemes import Scheme, Strang, TwoPoint
from stochq.schemes.traits import grid_for, path_grid
from stochq.unravelings import Choice

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Difference",
    "StepBias",
    "coupled_step_bias",
    "simulate_difference",
    "step_bias",
]


@dataclass(frozen=True, eq=False)
class Difference:
    """Means of two runs on common random numbers, and of their difference.

    Attributes
    ----------
    names : tuple of str
        The O observables.
    times : ndarray, shape (T,) [time]
        Output times.
    first, second : ndarray, shape (O, T)
        Mean of each run.
    mean, sd, mcse : ndarray, shape (O, T)
        Mean over trajectories of (first - second), its standard deviation, and the
        standard error of the mean.
    independent_mcse : ndarray, shape (O, T)
        Standard error that independent runs of this size would have.
    n_traj, seed : int
        Trajectories 0 ... n_traj - 1 of that seed, in both runs.
    """

    names: tuple[str, ...]
    times: Floats
    first: Floats
    second: Floats
    mean: Floats
    sd: Floats
    mcse: Floats
    independent_mcse: Floats
    n_traj: int
    seed: int

    def __repr__(self) -> str:
        """Say what was run, in one line."""
        return (
            f"Difference({len(self.names)} observables, {self.times.size} times, "
            f"n_traj={self.n_traj}, seed={self.seed}, largest mcse "
            f"{self.mcse.max():.2g}, of independent runs "
            f"{self.independent_mcse.max():.2g})"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table with one row per observable and time."""
        import pandas as pd

        columns = ("first", "second", "mean", "sd", "mcse", "independent_mcse")
        return pd.DataFrame(
            {
                "observable": np.repeat(self.names, self.times.size),
                "time": np.tile(self.times, len(self.names)),
                **{name: getattr(self, name).ravel() for name in columns},
            }
        )


def _pair(value: Any, argument: str) -> tuple[Any, Any]:
    """Return two values from one that serves both, or from a tuple of two."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(
                f"`{argument}` must be one value or a pair, but has {len(value)}"
            )
        return value[0], value[1]
    return value, value


def _difference(
    plans: tuple[Plan, Plan], n_jobs: int | None, progress: bool | None
) -> Any:
    """Return the moments of first, second and first - second, stacked."""
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
    return collect(Stack(plans, rows), n_jobs=n_jobs, progress=progress).moments


def simulate_difference(
    first: Model,
    second: Model,
    times: Any,
    *,
    n_traj: int,
    seed: int,
    scheme: Any,
    unraveling: Any = None,
    path_dt: float | None = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> Difference:
    """Run two models, or two schemes, on the same Brownian paths and jump clocks.

    What the runs share cancels in their difference, whose error is often far below that
    of either mean. Noise channels are matched by their order in the models.

    Parameters
    ----------
    first, second : Model
        With observables of the same names; the same model to compare schemes.
    times : array_like, shape (T,)
        Output times [time].
    n_traj, seed : int
        As in `simulate`.
    scheme : Scheme, or a pair of them
        One for both runs, or one each.
    unraveling : dict, or a pair of them, optional
        As in `simulate`.
    path_dt : float, optional
        Width of the cells of the common path [time]; by default half of the smaller
        step.
    n_jobs, progress
        As in `simulate`.

    Returns
    -------
    Difference

    Raises
    ------
    ModelError
        If the observables differ.
    SchemeMismatchError
        If the steps do not fit one path, or a scheme cannot follow it.
    """
    for model in (first, second):
        if not isinstance(model, Model):
            raise ModelError(f"a model must be a Model, but is {type(model).__name__}")
    if tuple(first.observables) != tuple(second.observables):
        raise ModelError(
            "both models must have observables of the same names, but have "
            f"{list(first.observables)} and {list(second.observables)}"
        )
    grid = as_times(times)
    whole_number(n_traj, "n_traj", at_least=2)
    schemes = [checked_scheme(one) for one in _pair(scheme, "scheme")]
    path_dt = _common_cell(schemes, grid) if path_dt is None else path_dt
    plans = []
    for model, one, choice in zip(
        (first, second), schemes, _pair(unraveling, "unraveling"), strict=True
    ):
        steps = path_grid(one, grid, path_dt)
        plans.append(Plan.of(lower(model, choice), steps, one, seed, n_traj))
    moments = _difference((plans[0], plans[1]), checked_jobs(n_jobs), progress)
    means, mcse = np.split(moments.mean, 3), np.split(moments.mcse, 3)
    return Difference(
        names=tuple(first.observables),
        times=grid,
        first=means[0],
        second=means[1],
        mean=means[2],
        sd=np.split(moments.sd, 3)[2],
        mcse=mcse[2],
        independent_mcse=np.hypot(mcse[0], mcse[1]),
        n_traj=n_traj,
        seed=seed,
    )


def _common_cell(schemes: list[Scheme], times: Floats) -> float:
    """Return half of the smallest step, or of an interval where there is no step."""
    smallest = min(scheme.dt for scheme in schemes)
    longest = float(np.diff(times).max(initial=1.0))
    return 0.5 * smallest if np.isfinite(smallest) else 0.5 * longest


@dataclass(frozen=True, eq=False)
class StepBias:
    """What the means of a scheme are wrong by because its step is not zero.

    Attributes
    ----------
    names : tuple of str
        The O observables.
    times : ndarray, shape (T,) [time]
        Output times.
    values : ndarray, shape (O, T)
        Scheme's mean minus exact mean, in each observable's unit.
    error : ndarray, shape (O, T)
        Standard error of `values`; zero where they were computed without sampling.
    exact : bool
        Whether they were.
    """

    names: tuple[str, ...]
    times: Floats
    values: Floats
    error: Floats
    exact: bool

    def __repr__(self) -> str:
        """Say how large it is, in one line."""
        o, t = np.unravel_index(np.abs(self.values).argmax(), self.values.shape)
        error = "exact" if self.exact else f"+- {self.error[o, t]:.2g}"
        return (
            f"StepBias(largest {self.values[o, t]:.3g} {error}, for "
            f"{self.names[o]!r} at t = {self.times[t]:g})"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: observable, time, step_bias, error."""
        import pandas as pd

        return pd.DataFrame(
            {
                "observable": np.repeat(self.names, self.times.size),
                "time": np.tile(self.times, len(self.names)),
                "step_bias": self.values.ravel(),
                "error": self.error.ravel(),
            }
        )


def coupled_step_bias(
    dynamics: Dynamics,
    times: Floats,
    scheme: Scheme,
    *,
    n_traj: int,
    seed: int,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> tuple[Floats, Floats]:
    r"""Estimate a step bias from steps h and h/2 on common Brownian paths.

    Two-point noise takes the bias of `Strang`, whose averages it has.

    .. math:: b(h) \approx \frac{\overline{O_h - O_{h/2}}}{1 - 2^{-p}},
        \qquad p = \text{weak order}

    Returns
    -------
    bias, error : ndarray, shape (O, T)
        The estimate and its standard error.

    Raises
    ------
    SchemeMismatchError
        If the scheme cannot follow a Brownian path.
    """
    if isinstance(scheme, TwoPoint):  # its averages are those of Gaussian noise
        scheme = Strang(scheme.dt)
    if not scheme.traits.paths:
        raise SchemeMismatchError(
            f"`scheme` must follow a Brownian path for a coupled bias, but {scheme} "
            "does not; its exact bias is out of reach for a model of this size"
        )
    grid = grid_for(scheme, times)
    plans = coupled_plans(dynamics, grid, scheme, seed, n_traj)
    source = Stack(plans, np.array([[-1.0, 1.0]]))
    moments = collect(source, n_jobs=n_jobs, progress=progress).moments
    scale = 1.0 / (1.0 - 2.0**-scheme.traits.weak)
    return scale * moments.mean, scale * moments.mcse


def step_bias(
    model: Model,
    times: Any,
    scheme: Scheme | None = None,
    *,
    unraveling: Mapping[str, Choice] | None = None,
    n_traj: int = 2048,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> StepBias:
    """Return what a scheme's means are wrong by because its step is not zero.

    Small models have it exactly, from the average of one step as a linear map of the
    density matrix. Others have an estimate from steps h and h/2 on common Brownian
    paths, with a standard error.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,)
        Output times [time].
    scheme : Scheme, optional
        With its step; by default what `simulate` takes.
    unraveling : dict of str to choice, optional
        As in `simulate`.
    n_traj, seed : int
        For the estimate, where it is needed.
    n_jobs, progress
        As in `simulate`.

    Returns
    -------
    StepBias

    Raises
    ------
    SchemeMismatchError
        If neither way is open: a large model and a scheme without paths.
    """
    grid = as_times(times)
    whole_number(n_traj, "n_traj", at_least=2)
    whole_number(seed, "seed", at_least=0)
    dynamics = lower(model, unraveling)
    if scheme is None:
        scheme = default_scheme(dynamics, grid, n_traj)
    scheme = checked_scheme(scheme)
    values = exact_step_bias(dynamics, grid, scheme)
    exact = values is not None
    if values is None:
        values, error = coupled_step_bias(
            dynamics, grid, scheme, n_traj=n_traj, seed=seed,
            n_jobs=checked_jobs(n_jobs), progress=progress,
        )  # fmt: skip
    else:
        error = np.zeros_like(values)
    return StepBias(tuple(model.observables), grid, values, error, exact)
