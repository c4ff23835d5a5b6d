"""One trajectory again: its states, its expectation values and the noise it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stochq.arrays import Complexes, Floats, Ints, as_times, whole_number
from stochq.atoms import Plan, taken
from stochq.choice import default_scheme
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import Dynamics, lower
from stochq.model import Model
from stochq.recording.frames import Frame
from stochq.recording.wanted import Wanted
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM, Lanes
from stochq.schemes.traits import path_grid
from stochq.streams import normals_at
from stochq.unravelings import Choice

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NoiseRecord", "Trajectory", "checked_scheme", "replay", "trajectory"]

#: Jumps of a trajectory that there is room for at first.
ROOM = 1024


@dataclass(frozen=True, eq=False)
class NoiseRecord:
    """The increments of the Wiener processes that one trajectory saw.

    Attributes
    ----------
    start, stop : ndarray, shape (n,)
        The piece of time of each increment [time].
    process : ndarray of int, shape (n,)
        The independent Wiener process it belongs to, numbered along the model's noise:
        one per operator where `rate` is given, two for a complex noise, and for a
        `covariance` C = F F^T the columns of F, as many as C has rank. Those of the
        monitors follow.
    increment : ndarray, shape (n,)
        Delta W, of variance ``stop - start`` [sqrt(time)].
    """

    start: Floats
    stop: Floats
    process: Ints
    increment: Floats

    def to_frame(self) -> pd.DataFrame:
        """Return a table with the columns start, stop, process, increment."""
        import pandas as pd

        return pd.DataFrame(
            {
                "start": self.start,
                "stop": self.stop,
                "process": self.process,
                "increment": self.increment,
            }
        )

    def path(self, process: int, times: Floats) -> Floats:
        """Return W(t) - W(times[0]) of one process at ends of increments, shape (T,).

        Raises
        ------
        ValueError
            If the process is unknown, or a time lies inside an increment.
        """
        mine = self.process == process
        if not mine.any():
            known = np.unique(self.process).tolist()
            raise ValueError(f"`process` must be one of {known}, but is {process}")
        order = np.argsort(self.stop[mine], kind="stable")
        stop = self.stop[mine][order]
        path = np.concatenate(([0.0], np.cumsum(self.increment[mine][order])))
        ends = np.concatenate((self.start[mine].min(keepdims=True), stop))
        times = as_times(times)
        place = np.abs(ends[:, None] - times).argmin(axis=0)
        slack = 1e-9 * max(1.0, float(np.abs(ends).max()))
        if np.abs(ends[place] - times).max(initial=0.0) > slack:
            raise ValueError("`times` must be ends of increments, but one is not")
        walked: Floats = path[place] - path[place[:1]]
        return walked


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One trajectory of a model.

    Attributes
    ----------
    names : tuple of str
        The O observables.
    times : ndarray, shape (T,) [time]
        Output times.
    states : ndarray, shape (T, d), (T, sites, particles) for orbitals, or (T, d, d)
        The state as it was integrated, a density matrix where something stays averaged
        or is seen in part: between jumps its norm falls, explicit schemes do not keep
        it at all. In a one-body model the matrix is ``U U^dag / N``.
    norms : ndarray, shape (T,)
        <psi|psi>, or Tr(rho).
    expectations : ndarray, shape (O, T)
        Expectation values as they enter the ensemble's means.
    noise : NoiseRecord
        What it was driven by.
    jumps : ndarray of (time, channel), shape (n,)
        When it jumped, ``jumps["time"]`` [time], and the number of the operator among
        all of the model's, ``jumps["channel"]``, as in `JumpRecords`.
    signals : ndarray, shape (monitors, T - 1)
        The integral of every monitor's dY over each interval [sqrt(time)].
    signal_names : tuple of str
        The dissipator that each monitor unravels.
    seed, index : int
        Its address.
    scheme : Scheme
        What integrated it.
    """

    names: tuple[str, ...]
    times: Floats
    states: Complexes
    norms: Floats
    expectations: Floats
    noise: NoiseRecord
    jumps: npt.NDArray[Any]
    signals: Floats
    signal_names: tuple[str, ...]
    seed: int
    index: int
    scheme: Scheme

    def __repr__(self) -> str:
        """Say what it is, in one line."""
        return (
            f"Trajectory(seed={self.seed}, index={self.index}, {len(self.names)} "
            f"observables, {self.times.size} times, scheme={self.scheme})"
        )


def checked_scheme(scheme: Any) -> Scheme:
    """Return a scheme.

    Raises
    ------
    SchemeMismatchError
        If it is something else.
    """
    if isinstance(scheme, type) or not hasattr(scheme, "prepare"):
        raise SchemeMismatchError(
            f"`scheme` must be a scheme such as Strang(dt=0.01), but is {scheme!r}"
        )
    return scheme  # type: ignore[no-any-return]


def _record(plan: Plan, seed: int, index: int) -> NoiseRecord:
    """Return the increments of one trajectory."""
    draws = plan.integrator.draws()
    start = np.array([d.start for d in draws], dtype=np.float64)
    stop = np.array([d.stop for d in draws], dtype=np.float64)
    address = np.array([d.address for d in draws], dtype=np.int64)
    drawn = normals_at(seed, index, address)
    return NoiseRecord(
        start,
        stop,
        np.array([d.process for d in draws], dtype=np.int64),
        np.sqrt(stop - start) * drawn,
    )


def _jumps(lanes: Lanes, lane: int, count: int, numbers: Ints) -> npt.NDArray[Any]:
    """Return the times of the jumps of one trajectory, and the numbers of operators."""
    jumps = np.empty(count, dtype=[("time", np.float64), ("channel", np.int32)])
    jumps["time"] = lanes.tally.time[lane, :count]
    jumps["channel"] = numbers[lanes.tally.channel[lane, :count]]
    return jumps


def _state(lanes: Lanes, lane: int, frame: Frame) -> Complexes:
    """Return the state of one trajectory in the model's whole basis."""
    x = lanes.x[0, 0] + 1j * lanes.x[0, 1]
    whole: Complexes = frame.embed((x if lanes.shared else x[:, lane])[None])[0]
    return whole


def replay(
    dynamics: Dynamics,
    times: Floats,
    scheme: Scheme,
    seed: int,
    index: int,
    path_dt: float | None = None,
    room: int = ROOM,
) -> Trajectory:
    """Return trajectory number `index` of a lowered model, bit by bit as in ensembles.

    A ket is carried with the 63 others of its atom. A trajectory with more jumps than
    there is room for is carried once more.
    """
    if not scheme.traits.paths:
        raise SchemeMismatchError(
            f"`scheme` must have single trajectories that mean something, but {scheme} "
            "only has means; use Strang(dt=...)"
        )
    grid = path_grid(scheme, times, path_dt)
    plan = Plan.of(dynamics, grid, scheme, seed, index + 1, Wanted(room))
    if plan.state.one_body:
        numbers, lane = np.array([index], dtype=np.int64), 0
    else:
        numbers, lane = np.arange(ATOM) + index // ATOM * ATOM, index % ATOM
    lanes = plan.load(numbers)
    states, values, norms, signals = [], [], [], []
    for t in range(times.size):
        if t:
            plan.integrator.advance(lanes, t - 1)
            signals.append(taken(lanes)[:, lane])
        found, squares = plan.measure(lanes)
        states.append(_state(lanes, lane, plan.frame))
        values.append(found[:, lane])
        norms.append(float(squares[lane]))
    jumped = int(lanes.tally.counts[:, lane].sum())
    if jumped > room:
        return replay(dynamics, times, scheme, seed, index, path_dt, jumped)
    return Trajectory(
        names=tuple(dynamics.model.observables),
        times=times,
        states=np.array(states),
        norms=np.array(norms),
        expectations=np.array(values).T,
        noise=_record(plan, seed, index),
        jumps=_jumps(lanes, lane, jumped, dynamics.jump_numbers),
        signals=np.array(signals).reshape(times.size - 1, -1).T,
        signal_names=tuple(m.name for m in dynamics.monitors),
        seed=seed,
        index=index,
        scheme=scheme,
    )


def trajectory(
    model: Model,
    times: Any,
    *,
    seed: int,
    index: int,
    scheme: Scheme | None = None,
    unraveling: Mapping[str, Choice] | None = None,
    path_dt: float | None = None,
) -> Trajectory:
    """Return one trajectory of a model, with its states and the noise it saw.

    Trajectory `index` of a seed is the same here and in `simulate` with the same
    scheme, to the last bit. With `path_dt` the noise is drawn in cells of that width
    and summed over steps: schemes and steps that share a `path_dt` share one Brownian
    path, so dt, dt/2 and dt/4 can be compared on it.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,)
        Output times, strictly increasing [time].
    seed, index : int
        Which trajectory.
    scheme : Scheme, optional
        By default what `simulate` takes for 1,000 trajectories; to replay a trajectory
        of an ensemble, ``ensemble.trajectory(index)`` takes the ensemble's own.
    unraveling : dict of str to choice, optional
        As in `simulate`.
    path_dt : float, optional
        Largest cell of the Brownian path [time], at most dt/2. On a path every interval
        between output times is halved until its pieces are no larger than asked for.

    Returns
    -------
    Trajectory

    Raises
    ------
    ValueError
        If the seed or the index is not an integer >= 0.
    ModelError
        If `times` or `unraveling` do not fit.
    SchemeMismatchError
        If the scheme cannot integrate this model, or has no single trajectories.
    """
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    grid = as_times(times)
    whole_number(seed, "seed", at_least=0)
    whole_number(index, "index", at_least=0)
    if index >= 2**62:
        raise ValueError(f"`index` must be below 2^62, but is {index}")
    dynamics = lower(model, unraveling)
    if scheme is None:
        scheme = default_scheme(dynamics, grid, 1000)
    return replay(dynamics, grid, checked_scheme(scheme), seed, int(index), path_dt)
