"""Explicit schemes on psi: what Euler-Maruyama and Heun have in common.

Both are polynomials in the increment of the generator over a step,
``g = M_0 h + sum_k M_k dW_k`` with M_k = -i L_k, and M_0 the drift of their calculus.
They do not keep the norm of a path, which is reported and never mended: the mean of the
unnormalized psi psi^dag is what converges to rho.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats, Operator
from stochq.errors import SchemeMismatchError
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.lanes import Lanes, clear, copy, draw_normal
from stochq.schemes.traits import StepGrid, step_grid
from stochq.streams import BLOCK, Purpose, stream_key
from stochq.structure import Sparse, pack

__all__ = ["Explicit", "apply_generator", "draw_increments", "prepare_explicit"]


@kernel
def apply_generator(generator, increments, x, y):
    """Write y = sum_k increments_k M_k x, with M_k stacked and increments (K+1, W)."""
    dim, lanes = x.shape[1], x.shape[2]
    for i in range(dim):
        clear(y[0, i])
        clear(y[1, i])
    for k in range(increments.shape[0]):
        for i in range(dim):
            row = k * dim + i
            for p in range(generator.indptr[row], generator.indptr[row + 1]):
                j = generator.indices[p]
                a, b = generator.data[p].real, generator.data[p].imag
                for w in range(lanes):
                    s = increments[k, w]
                    y[0, i, w] += s * (a * x[0, j, w] - b * x[1, j, w])
                    y[1, i, w] += s * (a * x[1, j, w] + b * x[0, j, w])


@kernel
def draw_increments(
    h, key, trajectory, shared, position, increments, words, block, held
):
    """Write h and dW_1 ... dW_K into increments (K+1, W); return the next position."""
    scale = np.sqrt(h)
    for w in range(increments.shape[1]):
        increments[0, w] = h
    for k in range(1, increments.shape[0]):
        draw_normal(
            key, trajectory, shared, position, scale, words, block, held, increments[k]
        )
        position += 1
    return position


@kernel
def explicit_steps(
    order, x, trajectory, shared, position, generator, channels, h, count, key
):
    """Take `count` steps psi -> (1 + g + ... + g^order / order!) psi on every lane."""
    groups, _, dim, lanes = x.shape
    increments = np.empty((channels + 1, lanes))
    words = np.empty((BLOCK, lanes), dtype=np.uint64)
    block = np.empty((BLOCK, lanes))
    term = np.empty((2, dim, lanes))
    y = np.empty((2, dim, lanes))
    held = np.empty(1, dtype=np.int64)
    end = position
    for g in range(groups):
        held[0] = -1
        pos = position
        for _ in range(count):
            pos = draw_increments(
                h, key, trajectory[g], shared, pos, increments, words, block, held
            )
            copy(x[g], term)
            for n in range(1, order + 1):
                apply_generator(generator, increments, term, y)
                for i in range(dim):
                    for w in range(lanes):
                        term[0, i, w] = y[0, i, w] / n
                        term[1, i, w] = y[1, i, w] / n
                        x[g, 0, i, w] += term[0, i, w]
                        x[g, 1, i, w] += term[1, i, w]
        end = pos
    return end


@dataclass(frozen=True)
class Explicit:
    """An explicit scheme ready to run."""

    order: int
    grid: StepGrid
    generator: Sparse
    channels: int
    key: npt.NDArray[np.uint32]

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes through one interval between output times."""
        lanes.position = explicit_steps(
            self.order,
            lanes.x,
            lanes.trajectory,
            lanes.shared,
            lanes.position,
            self.generator,
            self.channels,
            self.grid.lengths[self.grid.kind[interval]],
            self.grid.counts[interval],
            self.key,
        )


def prepare_explicit(
    scheme: Any,
    drift: Operator,
    order: int,
    dynamics: Dynamics,
    times: Floats,
    seed: int,
) -> Explicit:
    """Return the integrator of a polynomial scheme.

    Raises
    ------
    SchemeMismatchError
        If the model has jumps.
    """
    if dynamics.jumps:
        raise SchemeMismatchError(
            f"{type(scheme).__name__} must have a model without jumps, but "
            f"{sorted(set(dynamics.jump_names))} jump; use Strang(dt=...), or "
            "UnitaryNoise() for them"
        )
    return Explicit(
        order=order,
        grid=step_grid(times, scheme.dt),
        generator=pack([drift, *(-1j * L for L in dynamics.noise)]),
        channels=len(dynamics.noise),
        key=stream_key(seed, Purpose.NOISE),
    )
