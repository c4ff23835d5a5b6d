"""Implicit midpoint: the Stratonovich scheme that keeps the norm by construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.explicit import refuse_jumps, refuse_raw_ito
from stochq.schemes.generator import (
    CHANNEL,
    Generator,
    apply_generator,
    pack_generator,
)
from stochq.schemes.lanes import Lanes, add, add_lanes, copy
from stochq.schemes.noise import (
    Draw,
    Wiener,
    draw_increments,
    scratch_for,
    step_draws,
    wiener_processes,
)
from stochq.schemes.traits import StepGrid, Stepped, Traits

__all__ = ["Midpoint"]

#: Residual, relative to the state, at which the solution of a step is exact.
RESIDUAL = 1e-16

#: Most iterations of one solution; it needs about 20.
ITERATIONS = 200


@kernel
def _drift_and_noise(generator, h, increments, weights):
    """Write the coefficients h of the drift and dtheta_j of the channels."""
    for q in range(generator.kind.shape[0]):
        if generator.kind[q] == CHANNEL:
            for w in range(weights.shape[1]):
                weights[q, w] = increments[generator.pair[q, 0], w]
        else:
            weights[q, :] = h


@kernel
def _dots(a, b, out):
    """Write Re <a|b> of every lane."""
    out[:] = 0.0
    for part in range(2):
        for i in range(a.shape[1]):
            for w in range(out.shape[0]):
                out[w] += a[part, i, w] * b[part, i, w]


@kernel
def _ratios(above, below, out):
    """Write above / below, or 0 where there is nothing left."""
    for w in range(out.shape[0]):
        out[w] = above[w] / below[w] if below[w] > 0.0 else 0.0


@kernel
def _normal(generator, weights, x, u, y):
    """Write y = (1 - g^2 / 4) x."""
    apply_generator(generator, weights, x, u)
    apply_generator(generator, weights, u, y)
    for part in range(2):
        for i in range(x.shape[1]):
            for w in range(x.shape[2]):
                y[part, i, w] = x[part, i, w] - 0.25 * y[part, i, w]


@kernel
def _solve(generator, weights, x, work, m):
    """Solve (1 - g/2) m = x by conjugate gradients on (1 - g^2/4) m = (1 + g/2) x.

    g is anti-Hermitian, so the matrix is Hermitian and at least 1: nothing can fail
    however large an increment is.
    """
    lanes = x.shape[2]
    r, p, q, u = work[0], work[1], work[2], work[3]
    start, old, new, factor = (
        np.empty(lanes), np.empty(lanes), np.empty(lanes), np.empty(lanes)
    )  # fmt: skip
    apply_generator(generator, weights, x, u)
    copy(x, m)
    add(0.5, u, m)  # the right-hand side is the first guess
    _normal(generator, weights, m, u, q)
    copy(m, r)
    add(-1.0, q, r)
    copy(r, p)
    _dots(x, x, start)
    _dots(r, r, old)
    for _ in range(ITERATIONS):
        _ratios(old, start, factor)
        if factor.max() <= RESIDUAL * RESIDUAL:
            break
        _normal(generator, weights, p, u, q)
        _dots(p, q, new)
        _ratios(old, new, factor)
        add_lanes(factor, p, m)
        for w in range(lanes):
            factor[w] = -factor[w]
        add_lanes(factor, q, r)
        _dots(r, r, new)
        _ratios(new, old, factor)
        for w in range(lanes):
            old[w] = new[w]
        copy(p, u)
        copy(r, p)
        add_lanes(factor, u, p)


@kernel
def _midpoint_steps(
    x, trajectory, shared, position, generator, wiener, h, cell, first_step, count
):
    """Take `count` steps psi -> psi + g m with (1 - g/2) m = psi, on every lane."""
    groups, _, dim, lanes = x.shape
    weights = np.zeros((generator.kind.shape[0], lanes))
    work = np.empty((4, 2, dim, lanes))
    m = np.empty((2, dim, lanes))
    end = position
    whole = first_step * 0  # the only group; a plain 0 would be compiled again
    for g in range(groups):
        scratch = scratch_for(wiener, lanes, position)
        for n in range(count):
            draw_increments(
                wiener, whole, h, first_step + n, cell, trajectory[g], shared, scratch
            )
            _drift_and_noise(generator, h, scratch.increments, weights)
            _solve(generator, weights, x[g], work, m)
            apply_generator(generator, weights, m, work[0])
            add(1.0, work[0], x[g])
        end = scratch.cursor[0]
    if cell > 0.0:
        end = position + count * np.int64(np.rint(h / cell))
    return end


@dataclass(frozen=True)
class _Implicit:
    """The implicit midpoint rule ready to run."""

    grid: StepGrid
    generator: Generator
    wiener: Wiener

    @property
    def together(self) -> int:
        """How many atoms may share a group of lanes."""
        return 1

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes through one interval between output times."""
        lanes.position = _midpoint_steps(
            lanes.x, lanes.trajectory, lanes.shared, lanes.position, self.generator,
            self.wiener, self.grid.lengths[self.grid.kind[interval]],
            self.grid.cell(interval), self.grid.first_step[interval],
            self.grid.counts[interval],
        )  # fmt: skip

    def draws(self) -> list[Draw]:
        """Return the increments in the order in which they are drawn."""
        return step_draws(self.wiener, self.grid)


@dataclass(frozen=True)
class Midpoint(Stepped):
    r"""The implicit midpoint rule, a Cayley transform of the increment.

    .. math:: \psi' = \psi + g\, \tfrac{\psi + \psi'}{2}, \qquad
        g = -iH h - i \textstyle\sum_k L_k \Delta W_k

    g is anti-Hermitian, so psi -> (1 - g/2)^{-1} (1 + g/2) psi is unitary.

    Orders: weak 1; strong 1 for commuting noise and 1/2 otherwise.
    Handles: noise of every kind; no jumps.
    Conserves: the norm of every path, to the rounding of its solution.
    Use when: the norm must be kept and the channels have no structure to split by.

    Parameters
    ----------
    dt : float
        Largest step [time].

    Raises
    ------
    SchemeMismatchError
        If dt is not finite and positive.
    """

    traits: ClassVar[Traits] = Traits(
        calculus="stratonovich",
        weak=1.0,
        strong=0.5,
        strong_commuting=1.0,
        jumps=False,
        unitary=True,
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> _Implicit:
        """Return an integrator for a lowered model.

        Raises
        ------
        SchemeMismatchError
            If the model has jumps or its noise is read as raw Ito.
        """
        refuse_jumps(self, dynamics)
        refuse_raw_ito(self, dynamics)
        everything = [list(range(len(dynamics.channels)))]
        return _Implicit(
            grid=grid,
            generator=pack_generator(dynamics),
            wiener=wiener_processes(dynamics, everything, grid, seed),
        )
