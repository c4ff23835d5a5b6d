"""What a scheme declares about itself, and what it must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from stochq.arrays import Floats
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes.lanes import Lanes

__all__ = ["Integrator", "Scheme", "StepGrid", "Traits", "checked_dt", "step_grid"]


@dataclass(frozen=True)
class Traits:
    """Declared properties of a scheme.

    Attributes
    ----------
    calculus : "stratonovich", "ito" or "none"
        How it reads the noise increments ("none": it has no step at all).
    weak : float
        Order of the error of averages in dt; infinite if there is none.
    strong : float
        Order of the error of single paths for non-commuting noise.
    jumps : bool
        Whether it integrates jumps.
    unitary : bool
        Whether noise keeps the norm of every trajectory to rounding.
    """

    calculus: Literal["stratonovich", "ito", "none"]
    weak: float
    strong: float
    jumps: bool
    unitary: bool


class Integrator(Protocol):
    """A scheme made ready for one model and one set of times; holds arrays only."""

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes from ``times[interval]`` to ``times[interval + 1]``."""


class Scheme(Protocol):
    """A way to integrate trajectories, as a value: `Strang(dt=0.01)`."""

    @property
    def traits(self) -> Traits:
        """What the scheme declares."""

    @property
    def dt(self) -> float:
        """Largest time step [time]; infinite for a scheme without steps."""

    def prepare(self, dynamics: Dynamics, times: Floats, seed: int) -> Integrator:
        """Return an integrator for a lowered model."""


@dataclass(frozen=True)
class StepGrid:
    """Equal steps inside every interval between output times.

    Attributes
    ----------
    counts : ndarray of int, shape (T - 1,)
        Steps per interval.
    lengths : tuple of float
        The different step lengths [time]; equal to rounding counts as equal.
    kind : ndarray of int, shape (T - 1,)
        Which of `lengths` an interval uses.
    """

    counts: tuple[int, ...]
    lengths: tuple[float, ...]
    kind: tuple[int, ...]


def step_grid(times: Floats, dt: float) -> StepGrid:
    """Divide each interval into equal steps of at most dt."""
    widths = np.diff(times)
    counts = np.maximum(1, np.ceil(widths / dt - 1e-9)).astype(int)
    scale = float(np.abs(times).max(initial=0.0))
    lengths: list[float] = []
    kind = []
    for length in widths / counts:
        for number, known in enumerate(lengths):
            if abs(length - known) <= 8 * np.finfo(float).eps * scale:
                kind.append(number)
                break
        else:
            kind.append(len(lengths))
            lengths.append(float(length))
    return StepGrid(tuple(int(c) for c in counts), tuple(lengths), tuple(kind))


def checked_dt(dt: float, scheme: str) -> float:
    """Return a finite step > 0.

    Raises
    ------
    SchemeMismatchError
        If it is not.
    """
    if isinstance(dt, bool) or not isinstance(dt, (int, float, np.number)):
        raise SchemeMismatchError(f"`dt` of {scheme} must be a number, but is {dt!r}")
    if not np.isfinite(dt) or dt <= 0:
        raise SchemeMismatchError(
            f"`dt` of {scheme} must be finite and > 0, but is {dt}"
        )
    return float(dt)
