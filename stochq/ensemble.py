"""Ensembles: averages over many trajectories, with their sampling errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Complexes, Floats, Ints, whole_number
from stochq.bias import doubted_step_bias
from stochq.coupled import coupled_step_bias
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.recording.histograms import Histogram
from stochq.recording.mean_state import MeanState
from stochq.recording.wanted import Failure
from stochq.records import JumpRecords
from stochq.replay import Trajectory, replay
from stochq.schemes import Richardson, Scheme, TwoPoint
from stochq.signals import complex_signal
from stochq.statistics.moments import Moments
from stochq.statistics.summary import Statistics
from stochq.streams import child_seed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ensemble"]

#: Trajectories of an estimated step bias: at least, and as part of an ensemble's.
PILOT, PILOT_SHARE = 256, 8

#: Bytes that a covariance may take.
MOST_BYTES = 2**31


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Averages over trajectories, with their sampling errors.

    Attributes
    ----------
    names : tuple of str
        The O observables, then the functions of single trajectories.
    times : ndarray, shape (T,) [time]
        Output times; the initial state holds at ``times[0]``.
    mean, sd, mcse : ndarray, shape (O, T)
        Mean over trajectories, standard deviation of one trajectory, and Monte Carlo
        standard error ``sd / sqrt(n_traj)`` of the mean, in each observable's unit.
    n_traj, seed : int
        Trajectories 0 ... n_traj - 1 of that seed; a shard's begin at `first`.
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
        Largest minus smallest possible value of each observable; the range that was
        seen, for functions that do not state their limits.
    weight : float
        What a trajectory counts, at most: 1, or less where the ensemble is stratified
        and trajectories sample only what is not known.
    bounded : ndarray of bool, shape (O,)
        Whether the range is known, rather than the one that was seen.
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
    histograms : tuple of Histogram
        Those that were asked for.
    mean_state : MeanState or None
        The mean of the states, if it was asked for.
    failures : tuple of Failure
        The first trajectories that have values which are not finite, with what
        happened. They are part of the means, which are then not finite either.
    failed : int
        How many such trajectories there are.
    stopped_by : str
        What ended the run: "n_traj", "tolerance", "max_time", "not finite" or "signal".
    first : int
        The first trajectory.
    provenance : dict
        Versions, scheme, dt, unraveling, largest norm defect, wall time.
    """

    names: tuple[str, ...]
    times: Floats
    statistics: Statistics
    seed: int
    ranges: Floats
    bounded: Any
    deterministic: Any
    dynamics: Dynamics
    scheme: Scheme
    jump_records: JumpRecords | None
    provenance: Mapping[str, Any]
    signals: Floats | None = None
    histograms: tuple[Histogram, ...] = ()
    mean_state: MeanState | None = None
    stopped_by: str = "n_traj"
    first: int = 0

    @property
    def moments(self) -> Moments:
        """Moments of single trajectories, of shape (O, T)."""
        return self.statistics.moments

    @property
    def batches(self) -> Floats:
        """Means of equal batches of trajectories, shape (B, O, T)."""
        return self.statistics.batches

    @property
    def jumps(self) -> Ints:
        """Jumps of all trajectories up to each time, shape (channels, T)."""
        return self.statistics.jumps

    @property
    def mean_norm(self) -> Floats:
        """Mean of <psi|psi>, shape (T,)."""
        return self.statistics.mean_norm

    @property
    def weight(self) -> float:
        """What a trajectory counts, at most."""
        return self.statistics.weight

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The first trajectories that failed."""
        return self.statistics.failures

    @property
    def failed(self) -> int:
        """How many trajectories failed."""
        return self.statistics.failed

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

    def covariance(self) -> Floats:
        r"""Return the covariance of single trajectories, shape (O, T, O, T).

        .. math:: C_{Ot,O't'} = \frac{1}{n-1} \sum_i
            \bigl(O_i(t) - \bar O(t)\bigr) \bigl(O'_i(t') - \bar O'(t')\bigr)

        That of the means is ``covariance() / n_traj``. Up to 128 observables times
        output times it is summed over all trajectories; above, and where the ensemble
        is stratified, it is estimated from the means of batches.

        Raises
        ------
        ValueError
            If there are so many points that their covariance takes more than 2 GiB.
        """
        shape = (*self.mean.shape, *self.mean.shape)
        points = self.mean.size
        if 8 * points**2 > MOST_BYTES:
            raise ValueError(
                "`covariance` must take at most 2 GiB, but that of "
                f"{points} points does not; use `batches`"
            )
        if self.statistics.comoments.size:
            exact: Floats = self.statistics.comoments / (self.n_traj - 1)
            return exact.reshape(shape)
        deviations = self.batches - self.batches.mean(axis=0)
        flat = deviations.reshape(len(deviations), points)
        scale = (self.n_traj / len(flat)) / (len(flat) - 1)
        return np.asarray(scale * (flat.T @ flat)).reshape(shape)

    @cached_property
    def step_bias(self) -> Floats | None:
        """Exact step bias of the means, shape (O, T), or None if out of reach."""
        return None if self.doubted_bias is None else self.doubted_bias[0]

    @cached_property
    def doubted_bias(self) -> tuple[Floats, Floats] | None:
        """Exact step bias and how far it may be off, each (O, T), or None.

        NaN for functions of single trajectories, unless the scheme has no step.
        """
        bias = doubted_step_bias(self.dynamics, self.times, self.scheme)
        return None if bias is None else (self._padded(bias[0]), self._padded(bias[1]))

    def _padded(self, bias: Floats) -> Floats:
        """Return the step bias of the observables with rows for the functions."""
        unknown = 0.0 if np.isinf(self.scheme.dt) else np.nan
        rows = len(self.names) - len(bias)
        return np.pad(bias, ((0, rows), (0, 0)), constant_values=unknown)

    @cached_property
    def estimated_bias(self) -> tuple[Floats, Floats] | None:
        """Step bias from dt and dt/2 on common paths, and its standard error (O, T).

        It takes a fraction of the ensemble's trajectories, on other random numbers.
        None where the scheme cannot follow a path.
        """
        if isinstance(self.scheme, Richardson):
            return None
        bias, error = coupled_step_bias(
            self.dynamics,
            self.times,
            self.scheme,
            n_traj=max(PILOT, self.n_traj // PILOT_SHARE),
            seed=child_seed(self.seed, 0),
        )
        return self._padded(bias), self._padded(error)

    def trajectory(self, index: int) -> Trajectory:
        """Return one trajectory of this ensemble with its states and its noise.

        Raises
        ------
        ValueError
            If the index is not one of the ensemble's trajectories.
        SchemeMismatchError
            If the scheme has no single trajectories.
        """
        if self.provenance["stratified"]:
            raise SchemeMismatchError(
                "`trajectory` must belong to one sample, but this ensemble is "
                "stratified; simulate without it"
            )
        stop = self.first + self.n_traj
        if whole_number(index, "index", at_least=self.first) >= stop:
            raise ValueError(f"`index` must be below {stop}, but is {index}")
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
