"""Magnus: the exponential of increments and Levy areas, for noise of any kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from stochq.arrays import whole_number
from stochq.errors import SchemeMismatchError
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.explicit import refuse_jumps, refuse_raw_ito
from stochq.schemes.generator import Generator, apply_generator, pack_generator
from stochq.schemes.lanes import Lanes, copy
from stochq.schemes.noise import (
    Draw,
    Wiener,
    draw_increments,
    scratch_for,
    step_draws,
    wiener_processes,
)
from stochq.schemes.traits import StepGrid, Stepped, Traits
from stochq.structure import commuting_groups

__all__ = ["Magnus"]

#: Terms of the exponential series; at norm 1 the last one is below 1e-18.
TERMS = 20


@kernel
def _exponential(generator, weights, x, term, y):
    """Replace x by exp(g) x: a Taylor series on pieces whose norm is at most 1."""
    dim, lanes = x.shape[1], x.shape[2]
    norm = 0.0
    for w in range(lanes):
        for i in range(dim):
            row = 0.0
            for e in range(generator.indptr[i], generator.indptr[i + 1]):
                size = abs(generator.re[e]) + abs(generator.im[e])
                row += size * abs(weights[generator.term[e], w])
            norm = max(norm, row)
    pieces = max(1, int(np.ceil(norm)))
    for _ in range(pieces):
        copy(x, term)
        for n in range(1, TERMS + 1):
            apply_generator(generator, weights, term, y)
            largest = 0.0
            for part in range(2):
                for i in range(dim):
                    for w in range(lanes):
                        term[part, i, w] = y[part, i, w] / (n * pieces)
                        x[part, i, w] += term[part, i, w]
                        largest = max(largest, abs(term[part, i, w]))
            if largest < 1e-18:
                break


@kernel
def _add_areas(generator, increments, sums, weights):
    """Add what one cell gives to (1/2) (int W_k dW_j - int W_j dW_k), j < k."""
    first = generator.kind.shape[0] - generator.pairs
    for q in range(first, generator.kind.shape[0]):
        j, k = generator.pair[q, 0], generator.pair[q, 1]
        for w in range(weights.shape[1]):
            area = sums[k, w] * increments[j, w] - sums[j, w] * increments[k, w]
            weights[q, w] += 0.5 * area


@kernel
def _weights_and_areas(
    generator, wiener, h, cells, cell, step, trajectory, shared, weights, sums, scratch
):
    """Write the coefficients of g over one step, areas up to those of cells included.

    The terms are the drift, the channels and the commutators, in this order.
    """
    weights[:] = 0.0
    sums[:] = 0.0
    weights[0, :] = h
    width = h / cells
    whole = step * 0  # the only group; a plain 0 would be compiled again
    for _ in range(cells):
        draw_increments(wiener, whole, width, step, cell, trajectory, shared, scratch)
        _add_areas(generator, scratch.increments, sums, weights)
        for j in range(sums.shape[0]):
            for w in range(sums.shape[1]):
                sums[j, w] += scratch.increments[j, w]
    for j in range(sums.shape[0]):
        for w in range(sums.shape[1]):
            weights[1 + j, w] = sums[j, w]


@kernel
def _magnus_steps(
    x, trajectory, shared, position, generator, wiener, h, cells, path_cells,
    first_step, count,
):  # fmt: skip
    """Take `count` steps psi -> exp(g) psi on every lane."""
    groups, _, dim, lanes = x.shape
    weights = np.zeros((generator.kind.shape[0], lanes))
    sums = np.zeros((wiener.function.shape[0], lanes))
    term, y = np.empty((2, dim, lanes)), np.empty((2, dim, lanes))
    for g in range(groups):
        scratch = scratch_for(wiener, lanes, position)
        for n in range(count):
            _weights_and_areas(
                generator, wiener, h, cells, h / path_cells, first_step + n,
                trajectory[g], shared, weights, sums, scratch,
            )  # fmt: skip
            _exponential(generator, weights, x[g], term, y)
    return position + count * path_cells


@dataclass(frozen=True)
class _Exponential:
    """The Magnus scheme ready to run."""

    grid: StepGrid
    generator: Generator
    wiener: Wiener
    cells: int | None

    @property
    def together(self) -> int:
        """How many atoms may share a group of lanes."""
        return 1

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes through one interval between output times."""
        lanes.position = _magnus_steps(
            lanes.x, lanes.trajectory, lanes.shared, lanes.position, self.generator,
            self.wiener, self.grid.lengths[self.grid.kind[interval]],
            self.cells or self.grid.cells[interval], self.grid.cells[interval],
            self.grid.first_step[interval], self.grid.counts[interval],
        )  # fmt: skip

    def draws(self) -> list[Draw]:
        """Return the increments in the order in which they are drawn."""
        return step_draws(self.wiener, self.grid)


@dataclass(frozen=True)
class Magnus(Stepped):
    r"""The exponential of the first two terms of the Magnus series.

    .. math:: \psi' = \exp\Bigl(M_0 h + \sum_k M_k \Delta W_k
        + \tfrac12 \sum_{j<k} [M_j, M_k]
        \textstyle\int (W_k\, dW_j - W_j\, dW_k)\Bigr) \psi, \qquad
        M_0 = -iH,\quad M_k = -i L_k

    The Levy areas are sums over the cells of every step, whose own areas are left out:
    their mean square error is h^2 / (4 cells) each. The default number of cells grows
    as 1/dt, which strong order 1 needs. On a given Brownian path the default is the
    cells of the path, and `cells` must divide them.

    Orders: strong 1 for noise of any kind; weak 1.
    Handles: noise of every kind; no jumps.
    Conserves: the norm of every path, to the rounding of the exponential.
    Use when: single paths matter and the noise does not commute.

    Parameters
    ----------
    dt : float
        Largest step [time].
    cells : int, optional
        Increments per step from which areas are made; by default the power of two
        above 1 / (dt x rate), where rate is the norm of sum L_k^2.

    Raises
    ------
    SchemeMismatchError
        If dt is not finite and positive.
    ValueError
        If `cells` is not an integer >= 1.
    """

    cells: int | None = None
    traits: ClassVar[Traits] = Traits(
        calculus="stratonovich",
        weak=1.0,
        strong=1.0,
        strong_commuting=1.0,
        jumps=False,
        unitary=True,
    )

    def __post_init__(self) -> None:
        """Check dt and the number of cells."""
        super().__post_init__()
        if self.cells is not None:
            whole_number(self.cells, "cells", at_least=1)

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> _Exponential:
        """Return an integrator for a lowered model.

        Raises
        ------
        SchemeMismatchError
            If the model has jumps or its noise is read as raw Ito.
        """
        refuse_jumps(self, dynamics)
        refuse_raw_ito(self, dynamics)
        if not any(grid.cells):
            h = max(grid.lengths, default=self.dt)
            grid = grid.on_path(self.settled(dynamics, h).cells or 1)
        elif self.cells and any(n % self.cells for n in grid.cells):
            raise SchemeMismatchError(
                f"`cells` of Magnus must divide the {max(grid.cells)} cells that the "
                f"path has in a step, but is {self.cells}"
            )
        everything = [list(range(len(dynamics.channels)))]
        return _Exponential(
            grid=grid,
            generator=pack_generator(dynamics, areas=True),
            wiener=wiener_processes(dynamics, everything, grid, seed),
            cells=self.cells,
        )

    def settled(self, dynamics: Dynamics, h: float) -> Magnus:
        """Return the scheme with its number of cells for a step h fixed.

        Runs whose means are compared must have the same cells in the same step, however
        fine their common path is.
        """
        if self.cells is not None:
            return self
        rates = [abs(L @ L).sum(axis=1).max() for L in dynamics.noise]
        if len(commuting_groups(dynamics.noise)) < 2:
            return replace(self, cells=1)
        wanted = max(1.0, 1.0 / (h * float(sum(rates))))
        return replace(self, cells=2 ** int(np.ceil(np.log2(wanted) - 1e-9)))
