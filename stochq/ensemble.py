"""Ensembles: many trajectories in parallel, and their mergeable statistics."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Complexes, Floats, Ints, as_times, whole_number
from stochq.atoms import Kept, plan_of
from stochq.bias import doubted_step_bias, observable_ranges
from stochq.choice import default_scheme
from stochq.coupled import coupled_step_bias
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import Dynamics, lower
from stochq.model import Model
from stochq.moments import Moments
from stochq.parallel import checked_jobs, collect
from stochq.records import JumpRecords
from stochq.replay import Trajectory, checked_scheme, replay
from stochq.schemes import Richardson, Scheme, TwoPoint
from stochq.signals import complex_signal
from stochq.strata import collect_strata, strata_of
from stochq.streams import Purpose, child_seed, stream_key
from stochq.structure import commute
from stochq.unravelings import Choice
from stochq.wanted import Wanted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ensemble", "simulate"]

#: Most jumps kept of one trajectory: room for them is made before they happen.
MOST_KEPT = 10**6

#: Trajectories of an estimated step bias: at least, and as part of an ensemble's.
PILOT, PILOT_SHARE = 256, 8


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
    mean_norm : ndarray, shape (T,)
        Mean of <psi|psi>: 1 for unitary schemes, 1 up to step and sampling errors for
        explicit ones, growing for raw Ito noise. Where jumps lower the norm, it is
        put back and this is 1.
    ranges : ndarray, shape (O,)
        Largest minus smallest possible value of each observable.
    weight : float
        What a trajectory counts, at most: 1, or less where the ensemble is stratified
        and trajectories sample only what is not known.
    deterministic : ndarray of bool, shape (O, T)
        Where every trajectory must have the same value: conserved quantities, pure
        initial states, models without noise and jumps.
    dynamics : Dynamics
        The lowered model.
    scheme : Scheme
        What integrated it.
    jump_records : JumpRecords or None
        The jumps of every trajectory, one by one, if `keep_jumps` asked for them.
    signals : ndarray, shape (M, T - 1, n_traj), or None
        With ``keep_signals``: the integral of dY over each interval between output
        times, of every monitor and trajectory [sqrt(time)]. A heterodyne monitor has
        two, its quadratures (see `complex_signal`).
    provenance : dict
        Versions, scheme, dt, unraveling, largest norm defect, wall time.
    """

    names: tuple[str, ...]
    times: Floats
    moments: Moments
    seed: int
    batches: Floats
    jumps: Ints
    mean_norm: Floats
    ranges: Floats
    weight: float
    deterministic: Any
    dynamics: Dynamics
    scheme: Scheme
    jump_records: JumpRecords | None
    provenance: Mapping[str, Any]
    signals: Floats | None = None

    @property
    def signal_names(self) -> tuple[str, ...]:
        """The dissipator that each monitor unravels, one name per signal."""
        return tuple(monitor.name for monitor in self.dynamics.monitors)

    def complex_signal(self, name: str) -> Complexes:
        r"""Return the signals of heterodyne monitors as complex numbers.

        .. math:: dZ = (dY_1 + i\, dY_2) / \sqrt 2
            = \sqrt\eta\, \langle c \rangle\, dt + d\zeta

        Parameters
        ----------
        name : str
            The dissipator, unraveled by `Heterodyne()`.

        Returns
        -------
        ndarray, shape (operators, T - 1, n_traj)

        Raises
        ------
        ValueError
            If signals were not kept, or the name is not that of heterodyne monitors.
        """
        return complex_signal(self.dynamics.monitors, self.signals, name)

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
        """Standard deviation of one trajectory, shape (O, T).

        Raises
        ------
        SchemeMismatchError
            If the scheme has means only: single trajectories of `TwoPoint` are not
            those of white noise.
        """
        if isinstance(self.scheme, TwoPoint):
            raise SchemeMismatchError(
                "`sd` must come from a scheme whose single trajectories mean "
                f"something, but {self.scheme} only has means; use Strang(dt=...)"
            )
        return self.moments.sd

    def spread(self) -> Floats:
        """Return `sd`, or NaN where the scheme has means only, shape (O, T)."""
        if isinstance(self.scheme, TwoPoint):
            return np.full_like(self.mean, np.nan)
        return self.sd

    @property
    def mcse(self) -> Floats:
        """Monte Carlo standard error of the mean, shape (O, T)."""
        return self.moments.mcse

    @cached_property
    def step_bias(self) -> Floats | None:
        """Exact step bias of the means, shape (O, T), or None if out of reach."""
        return None if self.doubted_bias is None else self.doubted_bias[0]

    @cached_property
    def doubted_bias(self) -> tuple[Floats, Floats] | None:
        """Exact step bias and how far it may be off, each (O, T), or None."""
        return doubted_step_bias(self.dynamics, self.times, self.scheme)

    @cached_property
    def estimated_bias(self) -> tuple[Floats, Floats] | None:
        """Step bias from dt and dt/2 on common paths, and its standard error (O, T).

        It takes a fraction of the ensemble's trajectories, on other random numbers.
        None where the scheme cannot follow a path.
        """
        if isinstance(self.scheme, Richardson):
            return None
        return coupled_step_bias(
            self.dynamics,
            self.times,
            self.scheme,
            n_traj=max(PILOT, self.n_traj // PILOT_SHARE),
            seed=child_seed(self.seed, 0),
        )

    def trajectory(self, index: int) -> Trajectory:
        """Return one trajectory of this ensemble with its states and its noise.

        Raises
        ------
        ValueError
            If the index is not one of 0 ... n_traj - 1.
        SchemeMismatchError
            If the scheme has no single trajectories.
        """
        if self.provenance["stratified"]:
            raise SchemeMismatchError(
                "`trajectory` must belong to one sample, but this ensemble is "
                "stratified; simulate without it"
            )
        if whole_number(index, "index", at_least=0) >= self.n_traj:
            raise ValueError(f"`index` must be below {self.n_traj}, but is {index}")
        return replay(self.dynamics, self.times, self.scheme, self.seed, int(index))

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: observable, time, mean, sd, mcse_mean."""
        import pandas as pd

        return pd.DataFrame(
            {
                "observable": np.repeat(self.names, self.times.size),
                "time": np.tile(self.times, len(self.names)),
                "mean": self.mean.ravel(),
                "sd": self.spread().ravel(),
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
        mask[o, 0] = same or dynamics.mixed
        if not unitary or dynamics.raw:
            continue
        if not _is_random(dynamics):  # whatever drives it
            mask[o] = pure or dynamics.mixed
            continue
        if same and commute(observable, generic):
            kicks = dynamics.one_body and set(dynamics.jump_kinds) <= {"kick"}
            unseen = not dynamics.monitors and (kicks or not dynamics.jumps)
            mask[o] = unseen or all(_is_eigenstate(observable, ket) for ket in kets)
    return mask


def _is_random(dynamics: Dynamics) -> bool:
    """Tell whether trajectories differ by more than their start."""
    return bool(dynamics.noise or dynamics.jumps or dynamics.monitors)


def _is_eigenstate(observable: Any, state: Any) -> bool:
    """Tell whether a ket, or orbitals taken together, are an eigenstate.

    What is conserved and measured has the same value in every trajectory only then.
    """
    u = state.reshape(state.shape[0], -1)
    moved = observable @ u
    return bool(np.linalg.norm(moved - u @ (u.conj().T @ moved)) <= 1e-12)


def _generic_combination(dynamics: Dynamics) -> Any:
    """Return a combination of all operators that move the state, each of size 1.

    Its coefficients are generic (multiples of the golden ratio, mod 1): a matrix
    commutes with the combination only if it commutes with every one of them.
    """
    total = 0.0 * dynamics.hamiltonian
    movers = [dynamics.hamiltonian, *dynamics.channels, *dynamics.jumps]
    movers += [*dynamics.averaged, *(m.operator for m in dynamics.monitors)]
    for k, operator in enumerate(m for m in movers if m.nnz):
        size = float(np.abs(operator.data).max())
        total = total + (0.5 + (k + 1) * 0.6180339887498949 % 1.0) / size * operator
    return total.tocsr()


@cache
def _version_items() -> tuple[tuple[str, str], ...]:
    """Return the versions that a result depends on; reading them takes a while."""
    found = {"python": platform.python_version()}
    for package in ("stochq", "numpy", "scipy", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return tuple(found.items())


def _check_kept(
    dynamics: Dynamics, keep_jumps: Any, keep_signals: Any, stratified: Any
) -> None:
    """Refuse to keep what a model does not have, or what is weighted."""
    for name, value in (("keep_signals", keep_signals), ("stratified", stratified)):
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"`{name}` must be True or False, but is {value!r:.60}")
    if keep_jumps is not None:
        whole_number(keep_jumps, "keep_jumps", at_least=1)
        if keep_jumps > MOST_KEPT:
            raise ValueError(
                f"`keep_jumps` must be at most {MOST_KEPT}, but is {keep_jumps}"
            )
    for name, asked, having, what, choice in (
        ("keep_jumps", keep_jumps, dynamics.jumps, "jumps", "Jump()"),
        ("keep_signals", keep_signals, dynamics.monitors, "is monitored", "Homodyne()"),
    ):
        if asked and not having:
            raise SchemeMismatchError(
                f"`{name}` must go with a model that {what}, but this one has no "
                f"dissipator that does; leave it out, or unravel one by {choice}"
            )
        if asked and stratified:
            raise SchemeMismatchError(
                f"`{name}` must go with trajectories of equal weights, but "
                "`stratified` is True; leave one of them out"
            )


def _records(
    dynamics: Dynamics, times: Floats, kept: Kept | None, limit: int | None
) -> JumpRecords | None:
    """Return the kept jumps, numbered among all operators, with their names."""
    if kept is None or limit is None:
        return None
    numbers, names = dynamics.jump_numbers, dynamics.jump_channels
    counts = np.zeros((len(names), kept.counts.shape[1]), dtype=np.int64)
    counts[numbers] = kept.counts
    return JumpRecords(
        trajectory=kept.trajectory,
        time=kept.time,
        channel=numbers.astype(np.int32)[kept.channel],
        counts=counts,
        names=names,
        start=float(times[0]),
        stop=float(times[-1]),
        limit=limit,
    )


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
    stratified: bool = False,
    keep_jumps: int | None = None,
    keep_signals: bool = False,
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
        Such as `Exact()` or `Strang(dt=...)`; `order_table()` lists all. By default
        the model's structure decides (`explain_scheme` says why), and dt keeps the
        step bias below a tenth of the standard error that is typical over the times
        (it may be more where an observable hardly fluctuates yet), and resolves
        what is monitored.
    unraveling : dict of str to Choice, optional
        What the dissipators of each name become: `Jump()`, `Homodyne()`,
        `Heterodyne()`, `UnitaryNoise()`, `Kicks()`, `Projections()` or `Averaged()`; by
        default jumps, and unitary noise in a one-body model.
    n_jobs : int, default 1
        Parallel threads, in joblib's convention (-1: all cores).
    batch : int, optional
        Atoms of 64 trajectories per task; affects speed only.
    progress : bool, optional
        Show a bar; by default on a terminal only.
    stratified : bool, default False
        Sample only what must be: a mixed initial state is split into its kets, and
        where jumps are all that is random, the branch without a jump is solved
        exactly, so that every trajectory jumps. Means and standard errors are those of
        the whole; `sd` is that of n_traj equal trajectories with the same error, and
        `jumps` counts jumps of the sampled part.
    keep_jumps : int, optional
        Keep the times and operators of the first `keep_jumps` jumps of every
        trajectory as ``ensemble.jump_records``. They take at most
        ``20 n_traj keep_jumps`` bytes, and 8 for every trajectory's number of jumps
        by each operator; while a batch runs, 12 for every jump it may have.
    keep_signals : bool, default False
        Keep the signals of monitors, integrated over the intervals between output
        times, as `Ensemble.signals`: 8 bytes for each monitor, interval and trajectory.

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
        If the scheme or an unraveling cannot integrate this model, or `stratified` has
        nothing to split.
    """
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    start = time.perf_counter()
    grid = as_times(times)
    whole_number(n_traj, "n_traj", at_least=2)
    stream_key(seed, Purpose.NOISE)  # checks the seed
    n_jobs = checked_jobs(n_jobs)
    if batch is not None:
        whole_number(batch, "batch", at_least=1)
    dynamics = lower(model, unraveling)
    _check_kept(dynamics, keep_jumps, keep_signals, stratified)
    if scheme is None:
        scheme = default_scheme(dynamics, grid, n_traj)
    scheme = checked_scheme(scheme)
    run_all = partial(collect, n_jobs=n_jobs, batch=batch, progress=progress)
    if stratified:
        strata = strata_of(dynamics, grid, n_traj)
        run = collect_strata(dynamics, grid, scheme, strata, seed, run_all)
    else:
        wanted = Wanted(keep_jumps or 0, keep_signals)
        run = run_all(plan_of(dynamics, grid, scheme, seed, n_traj, wanted))
    return Ensemble(
        names=tuple(model.observables),
        times=grid,
        moments=run.moments,
        seed=seed,
        batches=run.batches,
        jumps=run.jumps,
        mean_norm=run.mean_norm,
        ranges=observable_ranges(dynamics),
        weight=run.weight,
        deterministic=_deterministic(dynamics, grid.size, scheme.traits.unitary),
        dynamics=dynamics,
        scheme=scheme,
        jump_records=_records(dynamics, grid, run.kept, keep_jumps),
        signals=run.signals if keep_signals else None,
        provenance={
            "versions": dict(_version_items()),
            "scheme": repr(scheme),
            "dt": scheme.dt,
            "unraveling": dict(dynamics.unraveling),
            "stratified": stratified,
            "calculus": model.calculus,
            "norm_defect": run.norm_defect,
            "jump_time_residual": run.residual,
            "wall_seconds": time.perf_counter() - start,
        },
    )
