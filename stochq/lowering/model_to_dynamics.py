"""A model and a choice of unraveling become what a scheme integrates."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from stochq.arrays import Operator, summed
from stochq.errors import ModelError
from stochq.lowering.dissipators import Unraveled, unravel
from stochq.lowering.dynamics import Dynamics
from stochq.lowering.lifted import reachable
from stochq.lowering.noise import (
    Channel,
    distinct_functions,
    mixing_of,
    noise_channels,
    process_count,
)
from stochq.model import Model
from stochq.unravelings import Choice, Jump, UnitaryNoise, described

__all__ = ["lower"]


def _grouped(
    model: Model, unraveling: Mapping[Any, Choice] | None
) -> list[tuple[tuple[str, ...], Choice]]:
    """Return the groups of names and the choice for each, in the model's order."""
    names = list(dict.fromkeys(d.name for d in model.dissipators))
    if unraveling is not None and not isinstance(unraveling, Mapping):
        raise ModelError(
            "`unraveling` must be a dictionary {name of a dissipator: choice}, "
            f"but is {unraveling!r}"
        )
    chosen: dict[tuple[str, ...], Choice] = {}
    for key, choice in (unraveling or {}).items():
        group = (key,) if isinstance(key, str) else key
        taken = {name for other in chosen for name in other}
        _check_group(group, choice, names, taken)
        chosen[group] = choice
    default: Choice = UnitaryNoise() if model.one_body else Jump()
    for name in names:
        if not any(name in group for group in chosen):
            chosen[name,] = default
    return sorted(chosen.items(), key=lambda item: names.index(item[0][0]))


def _check_group(
    group: Any, choice: Any, names: Sequence[str], taken: Collection[str]
) -> None:
    """Check a key of `unraveling` and its choice."""
    if not isinstance(group, tuple) or not group:
        raise ModelError(
            "`unraveling` must have names or tuples of names as keys, "
            f"but has {group!r:.60}"
        )
    for k, name in enumerate(group):
        if name not in names:
            raise ModelError(
                f"`unraveling` must name dissipators among {list(names)}, "
                f"but names {name!r}"
            )
        if name in taken or name in group[:k]:
            raise ModelError(
                f"`unraveling` must choose once for each name, but names {name!r} twice"
            )
    if not isinstance(choice, Choice):
        offered = [f"{kind.__name__}()" for kind in get_args(Choice)]
        label = group[0] if len(group) == 1 else group
        raise ModelError(
            f"`unraveling[{label!r}]` must be one of {', '.join(offered)}, "
            f"but is {choice!r:.60}"
        )


def lower(model: Model, unraveling: Mapping[Any, Choice] | None = None) -> Dynamics:
    """Lower a model to independent real Wiener processes, jumps and monitors.

    Parameters
    ----------
    model : Model
        The physics.
    unraveling : dict of str, or tuple of str, to Choice, optional
        A choice for the dissipators of each name, or of several names as one group. By
        default dissipators jump; those of a one-body model become unitary noise, which
        keeps its states Gaussian.

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
    groups = _grouped(model, unraveling)
    parts = Unraveled()
    for names, choice in groups:
        members = [d for name in names for d in model.dissipators if d.name == name]
        unravel(members, choice, model.one_body, parts)
    noise: list[Channel] = []
    for member in model.noise:
        noise += noise_channels(member.real(), process_count(noise))
    first = process_count(noise)
    noise += [Channel(L, f, {first + k: 1.0}) for k, (L, f) in enumerate(parts.noise)]
    hamiltonian = summed(model.hamiltonian, parts.hamiltonian)
    first = process_count(noise)
    monitors = [m._replace(number=first + k) for k, m in enumerate(parts.monitors)]
    monitors = [m for m in monitors if _is_nonzero(m.operator)]
    movers = [hamiltonian, *(H for H, _ in model.drives)]
    movers += [channel.operator for channel in noise] + parts.averaged
    movers += [jump.operator for jump in parts.jumps]
    movers += [monitor.operator for monitor in monitors]
    basis = reachable(model.initial.support, movers)

    def cut(operator: Operator) -> Operator:
        return operator if basis.size == model.dim else operator[basis][:, basis]

    noise = [replace(channel, operator=cut(channel.operator)) for channel in noise]
    noise = [channel for channel in noise if _is_nonzero(channel.operator)]
    drives = [(cut(H), f) for H, f in model.drives]
    drives = [(H, f) for H, f in drives if _is_nonzero(H)]
    channels = [jump._replace(operator=cut(jump.operator)) for jump in parts.jumps]
    alive = [k for k, jump in enumerate(channels) if _is_nonzero(jump.operator)]
    jumps = [channels[k] for k in alive]
    monitors = [m._replace(operator=cut(m.operator)) for m in monitors]
    functions, function_of = distinct_functions(
        [
            *(f for _, f in drives),
            *(channel.envelope for channel in noise),
            *(jump.envelope for jump in jumps),
        ]
    )
    numbers = sorted({k for channel in noise for k in channel.row})
    return Dynamics(
        model=model,
        hamiltonian=cut(hamiltonian),
        drives=tuple(H for H, _ in drives),
        noise=tuple(channel.operator for channel in noise),
        mixing=mixing_of(noise, numbers),
        numbers=np.array(numbers, dtype=np.int64),
        functions=functions,
        function_of=function_of[: len(drives) + len(noise)],
        raw=model.calculus == "raw-ito",
        jumps=tuple(jump.operator for jump in jumps),
        jump_names=tuple(jump.name for jump in jumps),
        jump_channels=tuple(jump.name for jump in channels),
        jump_numbers=np.array(alive, dtype=np.int64),
        jump_kinds=tuple(jump.kind for jump in jumps),
        jump_function_of=function_of[len(drives) + len(noise) :],
        monitors=tuple(m for m in monitors if _is_nonzero(m.operator)),
        averaged=tuple(c for c in map(cut, parts.averaged) if _is_nonzero(c)),
        unraveling={
            name: described(choice) for names, choice in groups for name in names
        },
        initial=model.initial.restricted(basis),
        observables=tuple(cut(o) for o in model.observables.values()),
        basis=basis,
    )


def _is_nonzero(operator: Any) -> bool:
    """Tell whether any stored element differs from zero."""
    return bool(np.any(operator.data != 0))
