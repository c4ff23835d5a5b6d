r"""Stratified ensembles: what is known exactly is not sampled.

A mixture of initial kets is split into its members m, of weight w_m, and each member
into the branch without a jump and the rest:

.. math:: \bar O = \sum_m w_m \bigl[ p_m O_m + (1 - p_m)\, E_m(O \mid \text{a jump})
    \bigr], \qquad p_m = \lVert e^{-i H_{eff} T} \psi_m \rVert^2 .

O_m and p_m come from one solution of the equation without jumps. Trajectories start
from a clock in (p_m, 1), so that all of them jump; rare jumps then waste none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.sparse.linalg import expm_multiply

from stochq.arrays import Floats, Ints
from stochq.atoms import Plan, Run, Source, plan_of
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes import Exact, Scheme
from stochq.schemes.lanes import ATOM
from stochq.schemes.traits import grid_for
from stochq.states import Kets
from stochq.statistics.moments import Moments
from stochq.statistics.summary import Statistics
from stochq.streams import child_seed

__all__ = ["Stratum", "collect_strata", "no_jump_branch", "strata_of"]

#: Expected trajectories for which a member of the mixture gets a stratum of its own.
OWN = 64

#: Fewest trajectories of a stratum that is sampled at all.
FEWEST = 16

#: Probability of a jump below which there is nothing to sample but rounding.
UNLIKELY = 1e-14

#: A squared norm that no state falls to.
NEVER = -1.0


@dataclass(frozen=True, eq=False)
class Stratum:
    """Part of an ensemble, with its own trajectories.

    Attributes
    ----------
    weight : float
        Its probability.
    initial : Kets
        Where its trajectories start, conditioned on a jump.
    factor : float
        Probability of a jump.
    offset : ndarray, shape (O, T)
        What the branch without jumps adds to its means.
    n_traj : int
        Trajectories; 0 where nothing is left to sample.
    """

    weight: float
    initial: Kets
    factor: float
    offset: Floats
    n_traj: int


@dataclass(frozen=True)
class _Weighed:
    """A source whose values are offset + factor x values of another."""

    source: Source
    factor: float
    offset: Floats

    @property
    def n_traj(self) -> int:
        """Number of trajectories."""
        return self.source.n_traj

    @property
    def size(self) -> int:
        """Complex amplitudes of one trajectory."""
        return self.source.size

    @property
    def results(self) -> int:
        """Values of one trajectory."""
        return self.source.results

    def run(self, first: int, count: int) -> Run:
        """Run atoms first ... first + count - 1."""
        run = self.source.run(first, count)
        values = self.offset[..., None] + self.factor * run.values
        return replace(run, values=values)


def no_jump_branch(dynamics: Dynamics, times: Floats) -> tuple[Floats, Floats]:
    """Return what a model does as long as nothing jumps.

    Parameters
    ----------
    dynamics : Dynamics
        A lowered model without noise.
    times : ndarray, shape (T,)
        Output times [time].

    Returns
    -------
    probability : ndarray, shape (M,)
        For each initial ket, that nothing has jumped at the last time.
    values : ndarray, shape (M, O, T)
        Expectation values on the condition that nothing has jumped yet.
    """
    solve = _run_without_jumps if dynamics.time_dependent else _exponential
    squares, values = solve(dynamics, times)
    possible = squares > 0  # a branch that is gone to rounding has no values
    normalized = np.divide(values, squares, where=possible, out=np.zeros_like(values))
    return squares[:, 0, -1], normalized


def _exponential(dynamics: Dynamics, times: Floats) -> tuple[Floats, Floats]:
    """Return <psi|psi> (M, 1, T) and <psi|O|psi> (M, O, T) of exp(-i H_eff t) psi."""
    states = [dynamics.initial.members().T]
    for start, stop in pairwise(times.tolist()):
        generator = -1j * (stop - start) * dynamics.effective_hamiltonian
        states.append(expm_multiply(generator.tocsc(), states[-1]))
    squares = [[np.square(np.abs(psi)).sum(axis=0) for psi in states]]
    values = [
        [(psi.conj() * (observable @ psi)).sum(axis=0).real for psi in states]
        for observable in dynamics.observables
    ]
    return np.moveaxis(np.array(squares), -1, 0), np.moveaxis(np.array(values), -1, 0)


def _run_without_jumps(dynamics: Dynamics, times: Floats) -> tuple[Floats, Floats]:
    """Return the same for an H_eff that depends on time, by the flow of `Exact`.

    Its clock never strikes, so that nothing jumps; pulses count as they do there.
    """
    grid = grid_for(Exact(), times)
    shape = (len(dynamics.observables), times.size)
    squares, values = [], []
    for psi in dynamics.initial.members():
        alone = replace(dynamics, initial=Kets(np.ones(1), psi[None]))
        plan = replace(Plan.of(alone, grid, Exact(), 0, 1), normalize=False)
        lanes = plan.load(np.arange(ATOM))
        lanes.clock[:] = NEVER
        found, norms = np.empty(shape), np.empty((1, times.size))
        for t in range(times.size):
            if t:
                plan.integrator.advance(lanes, t - 1)
            measured, square = plan.measure(lanes)
            found[:, t], norms[0, t] = measured[:, 0], square[0]
        squares.append(norms)
        values.append(found)
    return np.array(squares), np.array(values)


def _splits_off_jumps(dynamics: Dynamics) -> bool:
    """Tell whether the branch without jumps is one curve."""
    random = dynamics.noise or dynamics.monitors or dynamics.mixed
    return bool(dynamics.jumps) and not random


def strata_of(dynamics: Dynamics, times: Floats, n_traj: int) -> list[Stratum]:
    """Return the strata of an ensemble, with their shares of the trajectories.

    Members of the mixture that expect few trajectories share one stratum.

    Raises
    ------
    SchemeMismatchError
        If there is nothing to split.
    """
    initial = dynamics.initial
    splits = _splits_off_jumps(dynamics)
    if not isinstance(initial, Kets) or (initial.pure and not splits):
        raise SchemeMismatchError(
            "`stratified` must have a mixed initial state of kets, or jumps without "
            "noise, but this model has neither"
        )
    shape = (len(dynamics.observables), times.size)
    weights = initial.probabilities
    stays, values = np.zeros(weights.size), np.zeros((weights.size, *shape))
    if splits:
        stays, values = no_jump_branch(dynamics, times)
        stays = np.clip(stays, 0.0, 1.0)
    shares = weights * (1.0 - stays)
    if not shares.sum() > UNLIKELY:
        raise SchemeMismatchError(
            "`stratified` must leave something to sample, but nothing ever jumps here; "
            "simulate without it"
        )
    groups = _grouped(shares, n_traj)
    counts = _allotted(np.array([shares[g].sum() for g in groups]), n_traj)
    strata = []
    for members, count in zip(groups, counts.tolist(), strict=True):
        weight = float(weights[members].sum())
        branch = (weights * stays)[members]
        left = shares[members] if count else weights[members]
        start = Kets(left / left.sum(), initial.vectors[members], stays[members])
        strata.append(
            Stratum(
                weight=weight,
                initial=start,
                factor=float(shares[members].sum()) / weight,
                offset=np.tensordot(branch, values[members], axes=1) / weight,
                n_traj=count,
            )
        )
    return strata


def _grouped(shares: Floats, n_traj: int) -> list[Ints]:
    """Return the members of every stratum: large ones alone, small ones together."""
    expected = n_traj * shares / shares.sum()
    alone = expected >= OWN
    groups = [np.array([m]) for m in np.flatnonzero(alone)]
    rest = np.flatnonzero(~alone)
    return [*groups, rest] if rest.size else groups


def _allotted(shares: Floats, n_traj: int) -> Ints:
    """Return trajectories in proportion to shares, about n_traj of them."""
    counts = np.rint(n_traj * shares / shares.sum()).astype(np.int64)
    return np.where(shares > 0, np.maximum(counts, FEWEST), 0)


def collect_strata(
    dynamics: Dynamics,
    times: Floats,
    scheme: Scheme,
    strata: Sequence[Stratum],
    seed: int,
    run_all: Callable[[Source], Statistics],
) -> Statistics:
    """Run every stratum by `run_all` and put them together.

    Each has the independent seed ``child_seed(seed, 1, its number)``.
    """
    runs, reaches = [], []
    known = np.zeros((len(dynamics.observables), times.size))
    for number, stratum in enumerate(strata):
        if not stratum.n_traj:
            known = known + stratum.weight * stratum.offset
            continue
        mine = replace(dynamics, initial=stratum.initial)
        own = child_seed(seed, 1, number)
        plan = plan_of(mine, times, scheme, own, stratum.n_traj)
        source = _Weighed(plan, stratum.factor, stratum.offset)
        runs.append((stratum.weight, run_all(source)))
        reaches.append(stratum.weight * stratum.factor / stratum.n_traj)
    return _together(runs, known, max(reaches))


def _together(
    runs: Sequence[tuple[float, Statistics]], known: Floats, reach: float
) -> Statistics:
    """Return the statistics of the sum over strata, weight times mean.

    ``reach`` is how far one trajectory moves the sum, per unit of its value.
    """
    count = sum(run.moments.count for _, run in runs)
    fewest = min(len(run.batches) for _, run in runs)
    return Statistics(
        moments=_moments(runs, known, count),
        batches=known + sum(w * _coarser(run.batches, fewest) for w, run in runs),
        size=max(run.size for _, run in runs),
        comoments=np.zeros((0, 0)),
        jumps=np.sum([run.jumps for _, run in runs], axis=0),
        norms=np.sum([run.norms for _, run in runs], axis=0),
        norm_defect=max(run.norm_defect for _, run in runs),
        residual=max(run.residual for _, run in runs),
        signals=runs[0][1].signals,
        weight=reach * count,
    )


def _moments(
    runs: Sequence[tuple[float, Statistics]], known: Floats, count: int
) -> Moments:
    """Return moments of n equal trajectories whose mean has the law of the sum.

    Cumulants of independent means add up: the variance of the sum is
    ``sum w^2 var / n_s``, its third cumulant ``sum w^3 k3 / n_s^2``, its fourth
    ``sum w^4 k4 / n_s^3``. One trajectory of a stratum moves the sum by w / n_s, as
    w n / n_s would move a mean of n.
    """
    mean, variance, skew = known, np.zeros_like(known), np.zeros_like(known)
    tails = np.zeros_like(known)
    low, high = np.zeros_like(known), np.zeros_like(known)
    for weight, run in runs:
        part, n = run.moments, run.moments.count
        reach = weight * count / n
        mean = mean + weight * part.mean
        variance = variance + weight**2 * part.m2 / (n - 1) / n
        skew = skew + weight**3 * part.m3 / n**3
        excess = part.m4 / n - 3 * np.square(part.m2 / n)
        tails = tails + weight**4 * excess / n**3
        low = np.minimum(low, reach * (part.low - part.mean))
        high = np.maximum(high, reach * (part.high - part.mean))
    return Moments(
        count=count,
        mean=mean,
        m2=variance * count * (count - 1),
        m3=skew * count**3,
        m4=count * (tails * count**3 + 3 * np.square(variance * count)),
        low=mean + low,
        high=mean + high,
    )


def _coarser(batches: Floats, count: int) -> Floats:
    """Return `count` means of equal runs of batches."""
    size = len(batches) // count
    runs = batches[: size * count].reshape(count, size, *batches.shape[1:])
    means: Floats = runs.mean(axis=1)
    return means
