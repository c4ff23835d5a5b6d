"""Ensembles: many trajectories in parallel, and their mergeable statistics."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from stochq.arrays import Floats, Ints, as_times, whole_number
from stochq.atoms import Plan, run_atoms
from stochq.bias import observable_ranges, step_bias
from stochq.choice import default_scheme
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import Dynamics, lower
from stochq.model import Model
from stochq.moments import Moments, batch_means, batch_size, merge_tree
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM
from stochq.streams import Purpose, stream_key
from stochq.structure import commute
from stochq.unravelings import Choice

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ensemble", "simulate"]

#: Bytes of amplitudes and of results that one task may hold.
TASK_BYTES = 2**23


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Averages over trajectories, with their sampling errors.

    Attributes
    ----------
    names : tuple of str
        The O observables.
    times : ndarray, shape (T,) [time]
        Output times; the initial state holds at ``times[0]``.
    mean, sd, mcse : ndarray, shape (O, T)
        Mean over trajectories, standard deviation of one trajectory, and Monte Carlo
        standard error ``sd / sqrt(n_traj)`` of the mean, in each observable's unit.
    n_traj, seed : int
        Trajectories 0 ... n_traj - 1 of that seed.
    batches : ndarray, shape (B, O, T)
        Means of equal batches of trajectories, from which the correlation between
        observables and times is estimated.
    jumps : ndarray of int, shape (channels, T)
        Jumps up to each time of all trajectories together, by jump operator (their
        dissipators are ``dynamics.jump_names``).
    ranges : ndarray, shape (O,)
        Largest minus smallest possible value of each observable.
    deterministic : ndarray of bool, shape (O, T)
        Where every trajectory must have the same value: conserved quantities, pure
        initial states, models without noise and jumps.
    dynamics : Dynamics
        The lowered model.
    scheme : Scheme
        What integrated it.
    provenance : dict
        Versions, scheme, dt, unraveling, largest norm defect, wall time.
    """

    names: tuple[str, ...]
    times: Floats
    moments: Moments
    seed: int
    batches: Floats
    jumps: Ints
    ranges: Floats
    deterministic: Any
    dynamics: Dynamics
    scheme: Scheme
    provenance: Mapping[str, Any]

    @property
    def n_traj(self) -> int:
        """Number of trajectories."""
        return self.moments.count

    @property
    def mean(self) -> Floats:
        """Mean over trajectories, shape (O, T)."""
        return self.moments.mean

    @property
    def sd(self) -> Floats:
        """Standard deviation of one trajectory, shape (O, T)."""
        return self.moments.sd

    @property
    def mcse(self) -> Floats:
        """Monte Carlo standard error of the mean, shape (O, T)."""
        return self.moments.mcse

    @cached_property
    def step_bias(self) -> Floats | None:
        """Exact step bias of the means, shape (O, T), or None if out of reach."""
        return step_bias(self.dynamics, self.times, self.scheme)

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: observable, time, mean, sd, mcse_mean."""
        import pandas as pd

        return pd.DataFrame(
            {
                "observable": np.repeat(self.names, self.times.size),
                "time": np.tile(self.times, len(self.names)),
                "mean": self.mean.ravel(),
                "sd": self.sd.ravel(),
                "mcse_mean": self.mcse.ravel(),
            }
        )

    def __repr__(self) -> str:
        """Say what was run, in one line."""
        return (
            f"Ensemble({self.dynamics.model.name!r}, {len(self.names)} observables, "
            f"{self.times.size} times, n_traj={self.n_traj}, seed={self.seed}, "
            f"scheme={self.scheme})"
        )


@dataclass(frozen=True)
class _Part:
    """The statistics of consecutive atoms."""

    atoms: list[Moments]
    batches: Floats
    jumps: Ints
    norm_defect: float
    residual: float


def _run_part(plan: Plan, first: int, count: int) -> _Part:
    """Run atoms first ... first + count - 1 and keep their statistics."""
    run = run_atoms(plan, first, count)
    atoms = [
        Moments.of(run.values[..., start : start + ATOM])
        for start in range(0, run.values.shape[-1], ATOM)
    ]
    means = batch_means(run.values, min(batch_size(plan.n_traj), ATOM))
    return _Part(atoms, means, run.jumps, run.norm_defect, run.residual)


def _atoms_per_task(size: int, results: int, n_traj: int, jobs: int) -> int:
    """Return a batch that fits in cache and gives every worker several tasks."""
    bytes_per_atom = ATOM * max(16 * size, 8 * results)
    fitting = max(1, TASK_BYTES // bytes_per_atom)
    return int(max(1, min(fitting, -(-n_traj // (4 * jobs * ATOM)))))


def _deterministic(dynamics: Dynamics, n_times: int, unitary: bool) -> Any:
    """Return where all trajectories must have one value, shape (O, T)."""
    mask = np.zeros((len(dynamics.observables), n_times), dtype=bool)
    kets = dynamics.initial.members()
    pure = dynamics.initial.pure
    generic = _generic_combination(dynamics)
    for o, observable in enumerate(dynamics.observables):
        values = [float(np.vdot(ket, observable @ ket).real) for ket in kets]
        spread = max(values) - min(values)
        same = spread <= 1e-12 * max(1.0, *(abs(value) for value in values))
        mask[o, 0] = same
        if not unitary:
            continue
        if not dynamics.noise and not dynamics.jumps:
            mask[o] = pure
            continue
        if same and commute(observable, generic):
            mask[o] = (
                not dynamics.jumps
                or dynamics.one_body
                or all(
                    np.linalg.norm(observable @ ket - value * ket) <= 1e-12
                    for ket, value in zip(kets, values, strict=True)
                )
            )
    return mask


def _generic_combination(dynamics: Dynamics) -> Any:
    """Return a combination of all operators that move the state, each of size 1.

    Its coefficients are generic (multiples of the golden ratio, mod 1): a matrix
    commutes with the combination only if it commutes with every one of them.
    """
    total = 0.0 * dynamics.hamiltonian
    movers = (dynamics.hamiltonian, *dynamics.noise, *dynamics.jumps)
    for k, operator in enumerate(m for m in movers if m.nnz):
        size = float(np.abs(operator.data).max())
        total = total + (0.5 + (k + 1) * 0.6180339887498949 % 1.0) / size * operator
    return total.tocsr()


def _versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {"python": platform.python_version()}
    for package in ("stochq", "numpy", "scipy", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _check_jobs(n_jobs: Any) -> int:
    """Return a number of workers in joblib's convention."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)):
        raise ValueError(f"`n_jobs` must be an integer, but is {n_jobs!r}")
    if n_jobs == 0:
        raise ValueError(
            "`n_jobs` must be >= 1, or negative to count down from all cores, but is 0"
        )
    return int(n_jobs)


def _dispatch(
    plan: Plan, task: int, n_jobs: int, progress: bool | None
) -> Iterator[_Part]:
    """Run all atoms, `task` at a time, and yield their parts in order."""
    atoms = -(-plan.n_traj // ATOM)
    tasks = (
        delayed(_run_part)(plan, first, min(task, atoms - first))
        for first in range(0, atoms, task)
    )
    disable = None if progress is None else not progress
    with tqdm(total=plan.n_traj, unit="traj", disable=disable, leave=False) as bar:
        parts = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")(tasks)
        for part in parts:
            bar.update(sum(atom.count for atom in part.atoms))
            yield part


def simulate(
    model: Model,
    times: Any,
    *,
    n_traj: int,
    seed: int,
    scheme: Scheme | None = None,
    unraveling: Mapping[str, Choice] | None = None,
    n_jobs: int = 1,
    batch: int | None = None,
    progress: bool | None = None,
) -> Ensemble:
    r"""Average observables over trajectories of a model.

    .. math:: \bar O(t) = \frac1n \sum_{i=1}^{n}
        \frac{\langle\psi_i(t)| O |\psi_i(t)\rangle}
        {\langle\psi_i(t)|\psi_i(t)\rangle}

    The norm is divided out where jumps lower it; noise alone keeps it, and explicit
    schemes average the unnormalized form, which is what converges to Tr(O rho).
    Trajectory i owns the random numbers (seed, i): the result is the same to the last
    bit for any `n_jobs` and `batch`.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,) [time]
        Strictly increasing output times; the initial state holds at ``times[0]``,
        whatever its value.
    n_traj : int
        Number of trajectories, at least 2.
    seed : int
        Any integer >= 0.
    scheme : Scheme, optional
        `Exact()`, `Strang(dt=...)`, `Heun(dt=...)` or `EulerMaruyama(dt=...)`. By
        default the model's structure decides, and dt keeps the step bias below a
        tenth of the standard error that is typical over the times (it may be more
        where an observable hardly fluctuates yet).
    unraveling : dict of str to Choice, optional
        What the dissipators of each name become: `Jump()`, `UnitaryNoise()` or
        `Kicks()`; by default jumps, and unitary noise in a one-body model.
    n_jobs : int, default 1
        Parallel threads, in joblib's convention (-1: all cores).
    batch : int, optional
        Atoms of 64 trajectories per task; affects speed only.
    progress : bool, optional
        Show a bar; by default on a terminal only.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        If an argument is out of range.
    ModelError
        If `times` or `unraveling` do not fit.
    SchemeMismatchError
        If the scheme or an unraveling cannot integrate this model.
    """
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    start = time.perf_counter()
    grid = as_times(times)
    whole_number(n_traj, "n_traj", at_least=2)
    stream_key(seed, Purpose.NOISE)  # checks the seed
    n_jobs = _check_jobs(n_jobs)
    if batch is not None:
        whole_number(batch, "batch", at_least=1)
    dynamics = lower(model, unraveling)
    if scheme is None:
        scheme = default_scheme(dynamics, grid, n_traj)
    elif isinstance(scheme, type) or not hasattr(scheme, "prepare"):
        raise SchemeMismatchError(
            f"`scheme` must be a scheme such as Strang(dt=0.01), but is {scheme!r}"
        )
    plan = Plan.of(dynamics, grid, scheme, seed, n_traj)
    if batch is None:
        results = len(model.observables) * grid.size
        jobs = n_jobs if n_jobs > 0 else 8
        size = dynamics.dim * dynamics.initial.columns
        batch = _atoms_per_task(size, results, n_traj, jobs)
    parts = list(_dispatch(plan, batch, n_jobs, progress))
    means = np.concatenate([part.batches for part in parts])
    if batch_size(n_traj) > ATOM:
        means = batch_means(np.moveaxis(means, 0, -1), batch_size(n_traj) // ATOM)
    return Ensemble(
        names=tuple(model.observables),
        times=grid,
        moments=merge_tree(atom for part in parts for atom in part.atoms),
        seed=seed,
        batches=means,
        jumps=np.sum([part.jumps for part in parts], axis=0),
        ranges=observable_ranges(dynamics),
        deterministic=_deterministic(dynamics, grid.size, scheme.traits.unitary),
        dynamics=dynamics,
        scheme=scheme,
        provenance={
            "versions": _versions(),
            "scheme": repr(scheme),
            "dt": scheme.dt,
            "unraveling": dict(dynamics.unraveling),
            "norm_defect": max(part.norm_defect for part in parts),
            "jump_time_residual": max(part.residual for part in parts),
            "wall_seconds": time.perf_counter() - start,
        },
    )
