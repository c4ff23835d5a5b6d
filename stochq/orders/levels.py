"""The steps of a study: each half of the one before, all on one Brownian path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stochq.arrays import Floats
from stochq.schemes import Richardson, Scheme
from stochq.schemes.traits import StepGrid, grid_for

__all__ = ["CELLS", "Levels", "levels_of"]

#: Cells of the Brownian path in the smallest step: even, so that halves of steps exist.
CELLS = 32


@dataclass(frozen=True)
class Levels:
    """The steps of a study.

    An extrapolated scheme combines two neighboring levels of its base.

    Attributes
    ----------
    base : Scheme
        What integrates.
    grids : tuple of StepGrid
        Steps h, h/2, h/4 ... of the base.
    weights : ndarray, shape (L, len(grids))
        What each level of the scheme is made of.
    """

    base: Scheme
    grids: tuple[StepGrid, ...]
    weights: Floats

    @property
    def dts(self) -> Floats:
        """The largest step of each level, shape (L,) [time]."""
        return np.array([max(grid.lengths) for grid in self.grids[: len(self.weights)]])

    @property
    def cells(self) -> int:
        """Cells of the path in a step of the first level."""
        return int(CELLS * 2 ** (len(self.grids) - 1))

    def on_path(self, number: int) -> StepGrid:
        """Return the steps of one level on the path that all share."""
        return self.grids[number].on_path(self.cells >> number)

    def finest(self, cells: int) -> StepGrid:
        """Return steps of some cells each on that path."""
        return self.grids[0].refined(self.cells // cells).on_path(cells)


def levels_of(times: Floats, scheme: Scheme, levels: int) -> Levels:
    """Return the steps of a study that starts with the step of a scheme."""
    grid = grid_for(scheme, times)
    if not isinstance(scheme, Richardson):
        grids = tuple(grid.refined(2**k) for k in range(levels))
        return Levels(scheme, grids, np.eye(levels))
    fine, coarse = scheme.weights
    grids = tuple(grid.refined(2**k) for k in range(levels + 1))
    weights = coarse * np.eye(levels, levels + 1) + fine * np.eye(levels, levels + 1, 1)
    return Levels(scheme.base, grids, weights)
