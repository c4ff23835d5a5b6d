"""What a scheme declares about itself, and what it must be able to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from stochq.arrays import Floats
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes.lanes import Lanes

__all__ = [
    "Integrator",
    "Scheme",
    "StepGrid",
    "Stepped",
    "Traits",
    "checked_dt",
    "path_grid",
    "step_grid",
]


@dataclass(frozen=True)
class Traits:
    """Declared properties of a scheme.

    Attributes
    ----------
    calculus : "stratonovich", "ito" or "none"
        How it reads the noise increments ("none": it has no step at all).
    weak : float
        Order of the error of averages in dt; infinite if there is none.
    strong, strong_commuting : float
        Order of the error of single paths in dt, for noise of any kind and for
        commuting noise; 0 where paths do not converge or the scheme refuses.
    jumps : bool
        Whether it integrates jumps.
    unitary : bool
        Whether noise keeps the norm of every trajectory to rounding.
    paths : bool
        Whether its noise is Gaussian, so that it can follow a given Brownian path and
        its single trajectories mean something.
    """

    calculus: Literal["stratonovich", "ito", "none"]
    weak: float
    strong: float
    strong_commuting: float
    jumps: bool
    unitary: bool
    paths: bool = True


class Integrator(Protocol):
    """A scheme made ready for one model and one set of steps; holds arrays only."""

    @property
    def together(self) -> int:
        """How many atoms may share a group of lanes.

        Only where every lane is computed as if it were alone; 1 else.
        """

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes from ``times[interval]`` to ``times[interval + 1]``."""

    def draws(self) -> list[Any]:
        """Return the increments (start, stop, process, address) of a whole run."""


class Scheme(Protocol):
    """A way to integrate trajectories, as a value: `Strang(dt=0.01)`."""

    @property
    def traits(self) -> Traits:
        """What the scheme declares."""

    @property
    def dt(self) -> float:
        """Largest time step [time]; infinite for a scheme without steps."""

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Integrator:
        """Return an integrator for a lowered model."""


@dataclass(frozen=True)
class StepGrid:
    """Equal steps inside every interval between output times.

    Attributes
    ----------
    start : ndarray, shape (T - 1,)
        Where each interval begins [time].
    counts : tuple of int, shape (T - 1,)
        Steps per interval.
    lengths : tuple of float
        The different step lengths [time]; equal to rounding counts as equal.
    kind : tuple of int, shape (T - 1,)
        Which of `lengths` an interval uses.
    cells : tuple of int, shape (T - 1,)
        Cells per step of the Brownian path that the increments are summed from; 0 where
        every increment is drawn as it is needed.
    """

    start: Floats
    counts: tuple[int, ...]
    lengths: tuple[float, ...]
    kind: tuple[int, ...]
    cells: tuple[int, ...]

    def refined(self, parts: int) -> StepGrid:
        """Return the grid with every step cut into equal parts."""
        return replace(
            self,
            counts=tuple(parts * n for n in self.counts),
            lengths=tuple(h / parts for h in self.lengths),
        )

    def on_path(self, cells: int) -> StepGrid:
        """Return the grid with increments summed from `cells` cells per step."""
        return replace(self, cells=(cells,) * len(self.counts))

    def first_step(self, interval: int) -> int:
        """Return the number of steps before an interval."""
        return sum(self.counts[:interval])

    def cell(self, interval: int) -> float:
        """Return the width of the path's cells [time]; 0 where there is no path."""
        cells = self.cells[interval]
        return self.lengths[self.kind[interval]] / cells if cells else 0.0

    def midpoints(self) -> Floats:
        """Return the middle of every step [time]."""
        parts = [
            t + h * (np.arange(n) + 0.5)
            for t, n, h in zip(
                self.start,
                self.counts,
                (self.lengths[k] for k in self.kind),
                strict=True,
            )
        ]
        return np.concatenate([*parts, np.zeros(0)])


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
    return StepGrid(
        start=times[:-1],
        counts=tuple(int(c) for c in counts),
        lengths=tuple(lengths),
        kind=tuple(kind),
        cells=(0,) * widths.size,
    )


def path_grid(times: Floats, dt: float, path_dt: float | None) -> StepGrid:
    """Return the steps of a scheme on the Brownian path drawn in cells of `path_dt`.

    Raises
    ------
    SchemeMismatchError
        If the cells do not fill each step an even number of times.
    """
    grid = step_grid(times, dt)
    if path_dt is None:
        return grid
    path = step_grid(times, checked_dt(path_dt, "a path", "path_dt"))
    for n, cells in zip(grid.counts, path.counts, strict=True):
        if cells % (2 * n):
            raise SchemeMismatchError(
                "`path_dt` must divide every step an even number of times, but an "
                f"interval of {n} steps has {cells} cells; take dt = 2, 4, 8 ... "
                "times path_dt"
            )
    return replace(
        grid, cells=tuple(c // n for c, n in zip(path.counts, grid.counts, strict=True))
    )


def checked_dt(dt: float, scheme: str, argument: str = "dt") -> float:
    """Return a finite step > 0.

    Raises
    ------
    SchemeMismatchError
        If it is not.
    """
    if isinstance(dt, bool) or not isinstance(dt, (int, float, np.number)):
        raise SchemeMismatchError(
            f"`{argument}` of {scheme} must be a number, but is {dt!r}"
        )
    if not np.isfinite(dt) or dt <= 0:
        raise SchemeMismatchError(
            f"`{argument}` of {scheme} must be finite and > 0, but is {dt}"
        )
    return float(dt)


@dataclass(frozen=True)
class Stepped:
    """What every scheme with a time step starts from: dt, checked [time]."""

    dt: float

    def __post_init__(self) -> None:
        """Check dt."""
        object.__setattr__(self, "dt", checked_dt(self.dt, type(self).__name__))
