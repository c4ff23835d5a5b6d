"""Weights of jump channels: what one jump adds to a counted quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from stochq.arrays import Floats
from stochq.errors import ModelError

__all__ = ["as_selection", "as_weights", "lattice_unit"]

#: Weights are multiples of a unit if their ratios have denominators up to here.
DENOMINATOR = 1000

#: Rounding allowed in the ratio of two weights.
ROUNDING = 1e-9


def _of_name(value: Any, name: str, count: int) -> Floats:
    """Return the weights of the `count` channels of one name."""
    try:
        given = np.asarray(value)
    except ValueError:
        given = np.array(None)
    if given.dtype.kind not in "iuf" or given.shape not in ((), (count,)):
        each = "a number" if count == 1 else f"a number or {count} numbers, one each"
        raise ModelError(f"`weights[{name!r}]` must be {each}, but is {value!r:.60}")
    if not np.isfinite(given).all():
        raise ModelError(f"`weights[{name!r}]` must be finite, but is {value!r:.60}")
    return np.broadcast_to(given, (count,)).astype(np.float64)


def _as_mapping(weights: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """Return weights per name: names that are merely listed count as one."""
    if isinstance(weights, Mapping):
        return weights
    listed = names if weights is None else weights
    listed = [listed] if isinstance(listed, str) else listed
    if not isinstance(listed, Sequence) or not all(isinstance(n, str) for n in listed):
        raise ModelError(
            "`weights` must be a name, a sequence of names or a dictionary {name: "
            f"weight}}, but is {weights!r:.60}"
        )
    return {name: 1.0 for name in listed}


def as_weights(weights: Any, names: Sequence[str]) -> Floats:
    """Return the weight of every channel, shape (C,).

    Parameters
    ----------
    weights : None, str, sequence of str, or mapping of str to float or to floats
        All channels with weight 1; those of a name; those of some names; or the weight
        of every channel of a name, or of each in order. What is not named weighs 0.
    names : sequence of str, shape (C,)
        Name of the dissipator of every channel.

    Raises
    ------
    ModelError
        If a name is unknown, a weight is not a finite number, or all are zero.
    """
    if not names:
        raise ModelError("`weights` must be of jumps, but there is no dissipator")
    found = np.zeros(len(names))
    for name, value in _as_mapping(weights, names).items():
        mine = [k for k, known in enumerate(names) if known == name]
        if not mine:
            raise ModelError(
                f"`weights` must name dissipators among {sorted(set(names))}, but "
                f"names {name!r:.60}"
            )
        found[mine] = _of_name(value, name, len(mine))
    if not found.any():
        raise ModelError("`weights` must have one that is not zero, but all are zero")
    return found


def as_selection(channels: Any, names: Sequence[str], argument: str) -> Floats:
    """Return 1 for every chosen channel and 0 for the others, shape (C,).

    Raises
    ------
    ModelError
        As `as_weights`, or if a weight is neither 0 nor 1.
    """
    try:
        chosen = as_weights(channels, names)
    except ModelError as error:
        raise ModelError(str(error).replace("`weights", f"`{argument}")) from error
    if not np.isin(chosen, (0.0, 1.0)).all():
        raise ModelError(
            f"`{argument}` must choose channels by 0 and 1, but is {channels!r:.60}"
        )
    return chosen


def lattice_unit(weights: Floats) -> float:
    """Return the largest unit u of which every weight is a multiple.

    Raises
    ------
    ModelError
        If the ratio of two weights is no fraction with a denominator up to 1000.
    """
    sizes = np.abs(weights[weights != 0])
    least = float(sizes.min())
    ratios = [Fraction(r).limit_denominator(DENOMINATOR) for r in sizes / least]
    misfit = [abs(float(f) / r - 1) for f, r in zip(ratios, sizes / least, strict=True)]
    if max(misfit) > ROUNDING:
        raise ModelError(
            "`weights` must be multiples of one unit, but the ratio of "
            f"{float(sizes[int(np.argmax(misfit))]):g} and {least:g} is no simple "
            "fraction; count jumps, or one kind of quantum at a time"
        )
    # one of the ratios is 1, so nothing larger divides them all
    return least / lcm(*(f.denominator for f in ratios))
