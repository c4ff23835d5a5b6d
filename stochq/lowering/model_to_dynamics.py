"""A model and a choice of unraveling become what a scheme integrates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from stochq.arrays import Ints, Operator
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering.dissipators import kick_of, noise_of_dissipators
from stochq.lowering.dynamics import Dynamics, summed
from stochq.lowering.noise import (
    Channel,
    distinct_functions,
    mixing_of,
    noise_channels,
    process_count,
)
from stochq.model import Model
from stochq.states import State
from stochq.unravelings import Choice, Jump, Kicks, UnitaryNoise

__all__ = ["lower"]


def _checked_unraveling(
    model: Model, unraveling: Mapping[str, Choice] | None
) -> dict[str, Choice]:
    """Return a choice for the name of every dissipator."""
    names = list(dict.fromkeys(d.name for d in model.dissipators))
    default: Choice = UnitaryNoise() if model.one_body else Jump()
    choices: dict[str, Choice] = dict.fromkeys(names, default)
    if unraveling is None:
        return choices
    if not isinstance(unraveling, Mapping):
        raise ModelError(
            "`unraveling` must be a dictionary {name of a dissipator: choice}, "
            f"but is {unraveling!r}"
        )
    for name, choice in unraveling.items():
        if name not in choices:
            raise ModelError(
                f"`unraveling` must name dissipators among {names}, but names {name!r}"
            )
        if not isinstance(choice, Jump | UnitaryNoise | Kicks):
            raise ModelError(
                f"`unraveling[{name!r}]` must be Jump(), UnitaryNoise() or Kicks(), "
                f"but is {choice!r}"
            )
        choices[name] = choice
    return choices


def lower(model: Model, unraveling: Mapping[str, Choice] | None = None) -> Dynamics:
    """Lower a model to independent real Wiener processes and unit-rate jumps.

    Parameters
    ----------
    model : Model
        The physics.
    unraveling : dict of str to Jump, UnitaryNoise or Kicks, optional
        A choice for the dissipators of each name. By default dissipators jump; those of
        a one-body model become unitary noise, which keeps its states Gaussian.

    Returns
    -------
    Dynamics

    Raises
    ------
    ModelError
        If `unraveling` names something that the model does not have.
    SchemeMismatchError
        If a choice does not fit an operator.
    """
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    choices = _checked_unraveling(model, unraveling)
    noise: list[Channel] = []
    for member in model.noise:
        noise += noise_channels(member.real(), process_count(noise))
    jumps: list[tuple[str, Operator]] = []
    for name, choice in choices.items():
        group = [d for d in model.dissipators if d.name == name]
        if isinstance(choice, UnitaryNoise):
            first = process_count(noise)
            noise += [
                Channel(L, None, {first + k: 1.0})
                for k, L in enumerate(noise_of_dissipators(name, group))
            ]
        elif isinstance(choice, Kicks):
            jumps += [(name, kick_of(name, d)) for d in group]
        elif model.one_body:
            raise SchemeMismatchError(
                f"`unraveling[{name!r}]` of a one-body model must be UnitaryNoise() or "
                "Kicks(), but is Jump(), whose rates need the many-body state"
            )
        else:
            jumps += [(name, np.sqrt(d.rate) * d.operator) for d in group]
    movers = [model.hamiltonian, *(H for H, _ in model.drives)]
    movers += [channel.operator for channel in noise] + [c for _, c in jumps]
    basis = _reachable(model.initial, movers)

    def cut(operator: Operator) -> Operator:
        return operator if basis.size == model.dim else operator[basis][:, basis]

    noise = [replace(channel, operator=cut(channel.operator)) for channel in noise]
    noise = [channel for channel in noise if _is_nonzero(channel.operator)]
    drives = [(cut(H), f) for H, f in model.drives]
    drives = [(H, f) for H, f in drives if _is_nonzero(H)]
    jumps = [(name, cut(c)) for name, c in jumps]
    jumps = [(name, c) for name, c in jumps if _is_nonzero(c)]
    functions, function_of = distinct_functions(
        [*(f for _, f in drives), *(channel.envelope for channel in noise)]
    )
    numbers = sorted({k for channel in noise for k in channel.row})
    return Dynamics(
        model=model,
        hamiltonian=cut(model.hamiltonian),
        drives=tuple(H for H, _ in drives),
        noise=tuple(channel.operator for channel in noise),
        mixing=mixing_of(noise, numbers),
        numbers=np.array(numbers, dtype=np.int64),
        functions=functions,
        function_of=function_of,
        raw=model.calculus == "raw-ito",
        jumps=tuple(c for _, c in jumps),
        jump_names=tuple(name for name, _ in jumps),
        unraveling={name: type(choice).__name__ for name, choice in choices.items()},
        initial=model.initial.restricted(basis),
        observables=tuple(cut(o) for o in model.observables.values()),
        basis=basis,
    )


def _reachable(initial: State, movers: Sequence[Operator]) -> Ints:
    """Return the basis states that a trajectory can ever occupy, ascending.

    A chain that starts with two excitations never leaves their sector, whatever space
    its matrices were written in.
    """
    graph = summed(abs(movers[0]), [abs(m) for m in movers[1:]])
    graph = sp.csr_array(graph + graph.conj().T)
    _, label = connected_components(graph, directed=False)
    return np.flatnonzero(np.isin(label, label[initial.support]))


def _is_nonzero(operator: Any) -> bool:
    """Tell whether any stored element differs from zero."""
    return bool(np.any(operator.data != 0))
