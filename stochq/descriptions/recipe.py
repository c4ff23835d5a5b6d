"""Everything that decides what a run computes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from stochq.arrays import Floats, as_times, whole_number
from stochq.errors import ModelError
from stochq.model import Model
from stochq.schemes import SCHEMES, Exact, Richardson, Scheme
from stochq.unravelings import Choice

__all__ = ["CHOICE_CLASSES", "SCHEME_CLASSES", "Recipe"]

SCHEME_CLASSES: tuple[type, ...] = (*SCHEMES, Exact, Richardson)
CHOICE_CLASSES: tuple[type, ...] = get_args(Choice)


@dataclass(frozen=True, eq=False)
class Recipe:
    """A run but for its number of trajectories: equal recipes give equal trajectories.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,) [time]
        Strictly increasing output times.
    scheme : Scheme
        One of the package's own.
    unraveling : mapping of str, or tuple of str, to Choice
        As it was given; what is not named takes its default.
    seed : int
        Any integer >= 0.
    stratified, keep_jumps, keep_signals
        As for `simulate`; ``keep_jumps = 0`` keeps none.
    extras : tuple
        What else is taken from every trajectory: frozen dataclasses of plain values,
        or functions.

    Raises
    ------
    ModelError
        If a part is not what it must be.
    ValueError
        If a number is out of range.
    """

    model: Model
    times: Floats
    scheme: Scheme
    unraveling: Mapping[str | tuple[str, ...], Choice] = field(default_factory=dict)
    seed: int = 0
    stratified: bool = False
    keep_jumps: int = 0
    keep_signals: bool = False
    extras: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        """Check every part, so that one from a file is as sound as any."""
        if not isinstance(self.model, Model):
            raise ModelError(
                f"`model` must be a Model, but is {type(self.model).__name__}"
            )
        if type(self.scheme) not in SCHEME_CLASSES:
            names = ", ".join(kind.__name__ for kind in SCHEME_CLASSES)
            raise ModelError(
                f"`scheme` must be one of {names}, but is {self.scheme!r:.60}"
            )
        if not isinstance(self.extras, tuple):
            raise ModelError(
                f"`extras` must be a tuple, but is {type(self.extras).__name__}"
            )
        object.__setattr__(self, "times", as_times(self.times))
        object.__setattr__(self, "unraveling", _canonical(self.unraveling))
        for name in ("seed", "keep_jumps"):
            number = whole_number(getattr(self, name), name, at_least=0)
            object.__setattr__(self, name, number)
        for name in ("stratified", "keep_signals"):
            value = getattr(self, name)
            if not isinstance(value, bool | np.bool_):
                raise ModelError(f"`{name}` must be True or False, but is {value!r}")
            object.__setattr__(self, name, bool(value))


def _canonical(unraveling: Any) -> Mapping[str | tuple[str, ...], Choice]:
    """Return choices in the order of their names: how a dictionary came about is none.

    A group of one name is that name.
    """
    if not isinstance(unraveling, Mapping):
        raise ModelError(
            "`unraveling` must be a dictionary {name of a dissipator: choice}, "
            f"but is {unraveling!r:.60}"
        )
    groups: dict[tuple[str, ...], Choice] = {}
    for key, choice in unraveling.items():
        group = (key,) if isinstance(key, str) else key
        named = isinstance(group, tuple) and all(isinstance(n, str) for n in group)
        if not named or not group or group in groups:
            raise ModelError(
                "`unraveling` must choose once for each name or tuple of names, "
                f"but has {key!r:.60}"
            )
        if type(choice) not in CHOICE_CLASSES:
            raise ModelError(
                f"`unraveling[{key!r}]` must be a choice, but is {choice!r:.60}"
            )
        groups[group] = choice
    return {g[0] if len(g) == 1 else g: groups[g] for g in sorted(groups)}
