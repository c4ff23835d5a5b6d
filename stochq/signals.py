"""Signals of monitored operators: heterodyne detection as complex numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stochq.arrays import Complexes, Floats
from stochq.lowering.dissipators import Monitor

__all__ = ["complex_signal"]


def complex_signal(
    monitors: Sequence[Monitor], signals: Floats | None, name: str
) -> Complexes:
    """Return (Y_1 + i Y_2) / sqrt 2 for the quadratures of a dissipator's monitors.

    Raises
    ------
    ValueError
        If there are no signals, or the monitors of that name are not heterodyne.
    """
    if signals is None:
        raise ValueError(
            "`signals` must be kept for this, but are not; simulate with "
            "keep_signals=True"
        )
    places = [k for k, monitor in enumerate(monitors) if monitor.name == name]
    ones, twos = places[::2], places[1::2]
    if (
        not places
        or len(ones) != len(twos)
        or not all(
            _are_quadratures(monitors[a], monitors[b])
            for a, b in zip(ones, twos, strict=True)
        )
    ):
        raise ValueError(
            f"`name` must be that of a dissipator unraveled by Heterodyne(), but is "
            f"{name!r}; monitored are {sorted({m.name for m in monitors})}"
        )
    combined: Complexes = np.sqrt(0.5) * (signals[ones] + 1j * signals[twos])
    return combined


def _are_quadratures(one: Monitor, other: Monitor) -> bool:
    """Tell whether the second operator is -i times the first."""
    difference = abs(other.operator + 1j * one.operator)
    return bool(difference.max() <= 1e-14 * abs(one.operator).max())
