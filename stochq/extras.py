"""What a user asks of trajectories beside expectation values, checked and resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stochq.arrays import Floats, whole_number
from stochq.errors import ModelError, SchemeMismatchError
from stochq.functions import (
    EntanglementEntropy,
    Function,
    OrbitalEntropy,
    Purity,
    SquaredCorrelation,
    SquaredModulus,
    as_functions,
)
from stochq.lowering import Dynamics
from stochq.model import Model
from stochq.recording.histograms import Bins, as_time_indices, resolved
from stochq.recording.mean_state import check_room
from stochq.recording.wanted import Wanted, refuse_weights

__all__ = ["EXTRA_CLASSES", "Extras", "Limits", "as_extras"]

#: Most jumps kept of one trajectory: room for them is made before they happen.
MOST_KEPT = 10**6

#: Smallest and largest possible values, by the name of an observable or function.
Limits = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Extras:
    """What is asked for beside the observables.

    Attributes
    ----------
    functions : dict of str to Function
        Functions of single trajectories.
    histograms : tuple of Bins
        Which values to count.
    states : bool or tuple of float
        Times at which mean states are kept; True: all output times.
    keep_jumps : int
        How many jumps of each trajectory to keep.
    keep_signals : bool
        Whether to keep the signals of monitors.
    stratified : bool
        Whether trajectories sample only what must be sampled.
    """

    functions: Mapping[str, Function] = field(default_factory=dict)
    histograms: tuple[Bins, ...] = ()
    states: bool | tuple[float, ...] = False
    keep_jumps: int = 0
    keep_signals: bool = False
    stratified: bool = False

    def wanted(self, dynamics: Dynamics, times: Floats, limits: Limits) -> Wanted:
        """Return the same as a plan needs it.

        Raises
        ------
        ModelError
            If a name or a time is unknown.
        SchemeMismatchError
            If the model does not have what is asked for.
        """
        for name, asked, having, what, choice in (
            ("keep_jumps", self.keep_jumps, dynamics.jumps, "jumps", "Jump()"),
            (
                "keep_signals",
                self.keep_signals,
                dynamics.monitors,
                "is monitored",
                "Homodyne()",
            ),
        ):
            if asked and not having:
                raise SchemeMismatchError(
                    f"`{name}` must go with a model that {what}, but this one has no "
                    f"dissipator that does; leave it out, or unravel one by {choice}"
                )
        names = (*dynamics.model.observables, *self.functions)
        wanted = Wanted(
            jumps=self.keep_jumps,
            signals=self.keep_signals,
            functions=tuple(self.functions.items()),
            states=_at(self.states, times),
            bins=resolved(self.histograms, names, times, limits),
        )
        if wanted.states:
            check_room(dynamics.model.dim, len(wanted.states))
        if self.stratified:
            refuse_weights(wanted)
        return wanted


#: What a description of a run may hold of them.
EXTRA_CLASSES = (
    Extras,
    Bins,
    EntanglementEntropy,
    OrbitalEntropy,
    Purity,
    SquaredCorrelation,
    SquaredModulus,
)


def _at(states: bool | tuple[float, ...], times: Floats) -> tuple[int, ...]:
    """Return the output times at which states are summed up."""
    if states is False:
        return ()
    return as_time_indices(None if states is True else states, times, "states")


def as_extras(
    model: Any,
    functions: Any,
    histograms: Any,
    states: Any,
    keep_jumps: Any,
    keep_signals: Any,
    stratified: Any,
) -> Extras:
    """Return what is asked for, checked as far as it can be before lowering.

    Raises
    ------
    ModelError, ValueError
        If an argument is not what it must be, the model included.
    """
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    for name, value in (("keep_signals", keep_signals), ("stratified", stratified)):
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"`{name}` must be True or False, but is {value!r:.60}")
    if keep_jumps is not None:
        whole_number(keep_jumps, "keep_jumps", at_least=1)
        if keep_jumps > MOST_KEPT:
            raise ValueError(
                f"`keep_jumps` must be at most {MOST_KEPT}, but is {keep_jumps}"
            )
    return Extras(
        functions=dict(as_functions(functions, model.observables)),
        histograms=_listed(histograms),
        states=_as_states(states),
        keep_jumps=int(keep_jumps or 0),
        keep_signals=bool(keep_signals),
        stratified=bool(stratified),
    )


def _listed(histograms: Any) -> tuple[Bins, ...]:
    """Return requests for histograms as a tuple."""
    if histograms is None:
        return ()
    listed = (histograms,) if isinstance(histograms, Bins) else histograms
    if not isinstance(listed, Sequence) or not all(isinstance(b, Bins) for b in listed):
        raise ModelError(
            "`histograms` must be a list of Bins(observable), "
            f"but is {histograms!r:.60}"
        )
    return tuple(listed)


def _as_states(states: Any) -> bool | tuple[float, ...]:
    """Return the times of mean states as plain numbers."""
    if states is None or isinstance(states, (bool, np.bool_)):
        return bool(states)
    try:
        return tuple(float(t) for t in np.atleast_1d(np.asarray(states)))
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"`states` must be True or some of the output times, but is {states!r:.60}"
        ) from error
