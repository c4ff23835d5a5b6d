"""What is wanted of trajectories beside expectation values, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stochq.arrays import Complexes, Floats
from stochq.errors import ModelError, SchemeMismatchError
from stochq.functions import Function, checked_values
from stochq.recording.frames import AVERAGED, Frame
from stochq.recording.histograms import Binning
from stochq.schemes import Richardson, Scheme
from stochq.schemes.lanes import ATOM, Lanes

__all__ = [
    "Failure",
    "Wanted",
    "check_functions",
    "evaluate",
    "failures_of",
    "joined_failures",
    "refuse_unfit",
    "refuse_weights",
]

#: Failing trajectories of a run that are told one by one; all are counted.
MOST_TOLD = 16

#: Characters of an error message that are kept.
LONGEST = 200


@dataclass(frozen=True)
class Wanted:
    """What is wanted of every trajectory beside the observables.

    Attributes
    ----------
    jumps : int
        How many jumps of each trajectory to keep.
    signals : bool
        Whether to keep the signals of monitors.
    functions : tuple of (str, Function)
        Functions of single trajectories, whose values follow those of the observables.
    states : tuple of int
        Output times at which states are summed up.
    bins : tuple of Binning
        What counts values for histograms.
    """

    jumps: int = 0
    signals: bool = False
    functions: tuple[tuple[str, Function], ...] = ()
    states: tuple[int, ...] = ()
    bins: tuple[Binning, ...] = ()


class Failure(NamedTuple):
    """Where a trajectory first had no finite value.

    Attributes
    ----------
    trajectory : int
        Its number.
    what : str
        The observable or function.
    time_index : int
        The output time.
    message : str
        What happened.
    """

    trajectory: int
    what: str
    time_index: int
    message: str


class Raised(NamedTuple):
    """The first error of a trajectory: its time, its function, and what it said."""

    time_index: int
    function: int
    message: str


def refuse_unfit(wanted: Wanted, scheme: Scheme) -> None:
    """Refuse what only single trajectories have, where a scheme has none.

    Raises
    ------
    SchemeMismatchError
        If the scheme extrapolates means, or its single trajectories mean nothing.
    """
    asked = {
        "keep_jumps": wanted.jumps,
        "keep_signals": wanted.signals,
        "functions": wanted.functions,
        "states": wanted.states,
        "histograms": wanted.bins,
    }
    named = [name for name, value in asked.items() if value]
    if isinstance(scheme, Richardson) and named:
        raise SchemeMismatchError(
            f"`{named[0]}` must go with a scheme that has single trajectories, but "
            f"{scheme} extrapolates means; use Strang(dt=...)"
        )
    for name, value in (("functions", wanted.functions), ("histograms", wanted.bins)):
        if value and not scheme.traits.paths:
            raise SchemeMismatchError(
                f"`{name}` must go with a scheme whose single trajectories mean "
                f"something, but {scheme} only has means; use Strang(dt=...)"
            )


def refuse_weights(wanted: Wanted) -> None:
    """Refuse what has no meaning where trajectories have different weights.

    Raises
    ------
    SchemeMismatchError
        If functions or states are wanted of a stratified ensemble.
    """
    asked_for = {
        "functions": wanted.functions,
        "states": wanted.states,
        "histograms": wanted.bins,
        "keep_jumps": wanted.jumps,
        "keep_signals": wanted.signals,
    }
    for name, asked in asked_for.items():
        if asked:
            raise SchemeMismatchError(
                f"`{name}` must go with trajectories of equal weights, but "
                "`stratified` is True; leave one of them out"
            )


def check_functions(
    functions: Sequence[tuple[str, Function]], frame: Frame, lanes: Lanes
) -> None:
    """Try functions on the initial states of an atom, and on one alone.

    Raises
    ------
    SchemeMismatchError
        If a function is not made for the states of this model.
    ModelError
        If it raises, or returns anything but one real number per trajectory.
    """
    if not functions:
        return
    if frame.kind == AVERAGED:
        raise SchemeMismatchError(
            "`functions` must go with kets, density matrices or orbitals, but averaged "
            "dissipators of a one-body model leave none; unravel them"
        )
    with np.errstate(all="ignore"):
        _, states = next(frame.atoms(lanes))
        for name, function in functions:
            kinds = getattr(function, "kinds", (frame.kind,))
            if frame.kind not in kinds:
                raise SchemeMismatchError(
                    f"`functions[{name!r}]` must be a function of {frame.kind}, which "
                    f"this model has, but {function!r:.60} is one of "
                    f"{' or '.join(kinds)}"
                )
            for some in (states, states[:1]):
                _try(name, function, some)


def _try(name: str, function: Function, states: Complexes) -> None:
    """Call a function on initial states."""
    try:
        checked_values(function(states), len(states))
    except Exception as error:
        reason = str(error)
        if not reason.startswith("must return"):
            reason = (
                "must take states of shape (n, ...) and return real numbers (n,), but "
                f"raises {_told(error)} for an array of shape {states.shape}"
            )
        raise ModelError(f"`functions[{name!r}]` {reason}") from error


def _told(error: Exception) -> str:
    """Return the kind of an error and what it says, in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:LONGEST]


def evaluate(
    functions: Sequence[tuple[str, Function]],
    lanes: Lanes,
    frame: Frame,
    time_index: int,
    out: Floats,
    raised: dict[int, Raised],
) -> None:
    """Write the values of all functions at one time, shape (F, n), atom by atom.

    Where a function raises for an atom, its states are passed one by one; those that
    fail have NaN, and their first error is added to `raised`, by their place in `out`.
    """
    with np.errstate(all="ignore"):  # what is not finite is told as a failure
        for place, states in frame.atoms(lanes):
            size = place.stop - place.start
            for k, (_, function) in enumerate(functions):
                try:
                    found = checked_values(function(states), ATOM)[:size]
                except Exception:
                    found, errors = _one_by_one(function, states[:size])
                    for lane, message in errors:
                        first = Raised(time_index, k, message)
                        raised.setdefault(place.start + lane, first)
                out[k, place] = found


def _one_by_one(
    function: Function, states: Complexes
) -> tuple[Floats, list[tuple[int, str]]]:
    """Return the values of a function that fails for some states, and its errors."""
    values, errors = np.full(len(states), np.nan), []
    for k in range(len(states)):
        try:
            values[k] = checked_values(function(states[k : k + 1]), 1)[0]
        except Exception as error:
            errors.append((k, _told(error)))
    return values, errors


def failures_of(
    values: Floats,
    names: Sequence[str],
    first: int = 0,
    raised: dict[int, Raised] | None = None,
    observables: int = 0,
) -> tuple[tuple[Failure, ...], int]:
    """Return the first failures of some trajectories, and how many of them fail.

    Parameters
    ----------
    values : ndarray, shape (O + F, T, n)
        Values of observables and functions; what is not finite has failed.
    names : sequence of str
        Their names.
    first : int, default 0
        The number of the first trajectory.
    raised : dict, optional
        What was raised, by place along the last axis.
    observables : int, default 0
        How many rows come before those of functions.
    """
    finite = np.isfinite(values)
    if finite.all():
        return (), 0
    failing = np.flatnonzero(~finite.all(axis=(0, 1)))
    told = []
    for place in failing[:MOST_TOLD].tolist():
        t, row = np.argwhere(~finite[:, :, place].T)[0].tolist()
        message = f"must be finite, but is {values[row, t, place]}"
        error = (raised or {}).get(place)
        if error and (error.time_index, observables + error.function) == (t, row):
            message = error.message
        told.append(Failure(first + place, names[row], t, message))
    return tuple(told), int(failing.size)


def joined_failures(*parts: tuple[Failure, ...]) -> tuple[Failure, ...]:
    """Return the first failures of consecutive runs, as many as are told."""
    return tuple(failure for part in parts for failure in part)[:MOST_TOLD]
