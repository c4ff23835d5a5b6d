"""What a scheme declares about itself, and what it must be able to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar, Literal, Protocol

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
    "grid_for",
    "path_grid",
    "refuse_monitors",
    "step_grid",
]

#: More steps than any run could take.
MOST_STEPS = 1e12

#: What a step may be.
NUMBERS = (int, float, np.integer, np.floating)


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
    monitors : bool
        Whether it integrates monitored operators and density matrices.
    """

    calculus: Literal["stratonovich", "ito", "none"]
    weak: float
    strong: float
    strong_commuting: float
    jumps: bool
    unitary: bool
    paths: bool = True
    monitors: bool = False


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


def refuse_monitors(scheme: Any, dynamics: Dynamics) -> None:
    """Raise for monitored operators and density matrices.

    Raises
    ------
    SchemeMismatchError
        If the model has any and the scheme does not integrate them.
    """
    if scheme.traits.monitors or not (dynamics.monitors or dynamics.mixed):
        return
    what = "averaged dissipators"
    if dynamics.monitors:
        what = f"{sorted({m.name for m in dynamics.monitors})} monitored"
    raise SchemeMismatchError(
        f"{type(scheme).__name__} must have a model without monitors and density "
        f"matrices, but it has {what}; use Strang(dt=...)"
    )


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

    @cached_property
    def first_step(self) -> tuple[int, ...]:
        """Number of steps before each interval."""
        return tuple(accumulate(self.counts, initial=0))

    def cell(self, interval: int) -> float:
        """Return the width of the path's cells [time]; 0 where there is no path."""
        cells = self.cells[interval]
        return self.lengths[self.kind[interval]] / cells if cells else 0.0

    def edges(self) -> tuple[Floats, Floats]:
        """Return where every step starts and stops [time]."""
        starts, stops = [np.zeros(0)], [np.zeros(0)]
        for t, n, kind in zip(self.start, self.counts, self.kind, strict=True):
            edges = t + self.lengths[kind] * np.arange(n + 1)
            starts.append(edges[:-1])
            stops.append(edges[1:])
        return np.concatenate(starts), np.concatenate(stops)


def grid_for(scheme: Scheme, times: Floats) -> StepGrid:
    """Return the steps that a scheme takes between output times."""
    return step_grid(times, scheme.dt, getattr(scheme, "multiple", 1))


def step_grid(times: Floats, dt: float, multiple: int = 1) -> StepGrid:
    """Divide each interval into equal steps of at most dt, `multiple` by `multiple`.

    Raises
    ------
    SchemeMismatchError
        If there are more steps than any run could take.
    """
    widths = np.diff(times)
    wanted = np.ceil(widths / dt / multiple - 1e-9)
    return _equal_steps(times, multiple * np.maximum(1.0, wanted), dt)


def _equal_steps(times: Floats, wanted: Floats, dt: float) -> StepGrid:
    """Divide each interval into a given number of equal steps."""
    widths = np.diff(times)
    if not wanted.sum() < MOST_STEPS:
        raise SchemeMismatchError(
            f"`dt` must leave fewer than {MOST_STEPS:.0e} steps, but {dt:g} needs "
            f"{wanted.sum():.2g}"
        )
    counts = wanted.astype(int)
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


def path_grid(scheme: Scheme, times: Floats, path_dt: float | None) -> StepGrid:
    """Return the steps of a scheme on the Brownian path drawn in cells of `path_dt`.

    Every interval is halved until its pieces are no larger than dt, and then on until
    they are no larger than `path_dt`, so that all steps fit the cells of one path.

    Raises
    ------
    SchemeMismatchError
        If a cell is larger than half a step.
    """
    if path_dt is None:
        return grid_for(scheme, times)
    path_dt = checked_dt(path_dt, "a path", "path_dt")
    if np.isfinite(scheme.dt) and path_dt > 0.5 * scheme.dt * (1 + 1e-9):
        raise SchemeMismatchError(
            f"`path_dt` must be at most half of dt = {scheme.dt:g}, but is {path_dt:g}"
        )
    widths = np.diff(times)
    cells = _halved(widths, path_dt)
    steps = np.maximum(_halved(widths, scheme.dt), getattr(scheme, "multiple", 1))
    cells = np.maximum(cells, 2 * steps)
    grid = _equal_steps(times, steps, scheme.dt)
    _equal_steps(times, cells, path_dt)  # checks their number
    return replace(grid, cells=tuple((cells / steps).astype(int).tolist()))


def _halved(widths: Floats, dt: float) -> Floats:
    """Return into how many pieces of at most dt halving cuts each interval."""
    with np.errstate(over="ignore"):
        powers = np.ceil(np.log2(np.maximum(widths / dt, 1.0)) - 1e-9)
        found: Floats = np.exp2(powers)
    return found


def checked_dt(dt: float, scheme: str, argument: str = "dt") -> float:
    """Return a finite step > 0.

    Raises
    ------
    SchemeMismatchError
        If it is not.
    """
    if isinstance(dt, bool) or not isinstance(dt, NUMBERS):
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
    """What every scheme with a time step starts from: dt, checked [time].

    The steps of an interval come in multiples of ``multiple``.
    """

    dt: float
    multiple: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Check dt."""
        object.__setattr__(self, "dt", checked_dt(self.dt, type(self).__name__))
