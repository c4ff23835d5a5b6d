"""Explicit schemes on psi: what Euler-Maruyama, Milstein, Heun and Platen share.

Each is a polynomial of second degree in the increments of the generator over a step,

    psi -> (1 + g_1 + g_2^2 / 2) psi,

with g_1 and g_2 made from D = -iH, S = (1/2) sum L_k^2, the noise sum_k -i L_k dW_k
and, for weak order 2, random signs times commutators. They do not keep the norm of a
path, which is reported and never mended: the mean of the unnormalized psi psi^dag is
what converges to rho.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stochq.errors import SchemeMismatchError
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.generator import (
    CHANNEL,
    COMMUTATOR,
    DRIFT,
    Generator,
    apply_generator,
    pack_generator,
    strength,
)
from stochq.schemes.lanes import Lanes, add
from stochq.schemes.noise import (
    Draw,
    Wiener,
    draw_increments,
    scratch_for,
    step_draws,
    wiener_processes,
)
from stochq.schemes.traits import StepGrid, refuse_monitors
from stochq.streams import Purpose, stream_key, uniform_pair

__all__ = ["Explicit", "Recipe", "prepare_explicit", "refuse_jumps", "refuse_raw_ito"]


class Recipe(NamedTuple):
    """What g_1 and g_2 are made of: how many D h, S h and noise each.

    g_1 always has one noise term; ``areas`` adds random signs times commutators to it.
    """

    drift_1: float
    square_1: float
    drift_2: float
    square_2: float
    noise_2: float
    areas: bool = False

    def read_as_raw_ito(self) -> Recipe:
        """Return the recipe without the drift that keeps the norm: D becomes D + S."""
        return self._replace(
            square_1=self.square_1 + self.drift_1, square_2=self.square_2 + self.drift_2
        )


@kernel
def _weights(generator, recipe, h, step, wiener, increments, one, two):
    """Write the coefficients of the drift, squares and channels in g_1 and g_2."""
    for q in range(generator.kind.shape[0]):
        kind = generator.kind[q]
        if kind == COMMUTATOR:
            continue
        if kind == CHANNEL:
            j = generator.pair[q, 0]
            first = recipe.drift_1 if wiener.drive[j] else 1.0
            second = recipe.drift_2 if wiener.drive[j] else recipe.noise_2
            for w in range(one.shape[1]):
                one[q, w] = first * increments[j, w]
                two[q, w] = second * increments[j, w]
        else:
            s = h * strength(generator, wiener.table, q, step)
            one[q, :] = s * (recipe.drift_1 if kind == DRIFT else recipe.square_1)
            two[q, :] = s * (recipe.drift_2 if kind == DRIFT else recipe.square_2)


@kernel
def _sign_areas(generator, wiener, key, trajectory, shared, h, step, one):
    """Give each commutator [M_j, M_k] the coefficient +h/2 or -h/2 in g_1."""
    lanes = one.shape[1]
    first = generator.kind.shape[0] - generator.pairs
    for q in range(first, generator.kind.shape[0]):
        s = 0.5 * h * strength(generator, wiener.table, q, step)
        address = step * generator.pairs + (q - first)
        for w in range(lanes):
            if w == 0 or not shared:
                u, _ = uniform_pair(key, trajectory[w], address)
                one[q, w] = s if u < 0.5 else -s
            else:
                one[q, w] = one[q, 0]


@kernel
def explicit_steps(
    x, trajectory, shared, position, generator, recipe, wiener, h, cell, first_step,
    count, key,
):  # fmt: skip
    """Take `count` steps psi -> (1 + g_1 + g_2^2 / 2) psi on every lane."""
    groups, _, dim, lanes = x.shape
    terms = generator.kind.shape[0]
    one = np.zeros((terms, lanes))
    two = np.zeros((terms, lanes))
    y = np.empty((2, dim, lanes))
    u = np.empty((2, dim, lanes))
    v = np.empty((2, dim, lanes))
    end = position
    whole = first_step * 0  # the only group; a plain 0 would be compiled again
    for g in range(groups):
        scratch = scratch_for(wiener, lanes, position)
        for n in range(count):
            step = first_step + n
            draw_increments(
                wiener, whole, h, step, cell, trajectory[g], shared, scratch
            )
            _weights(generator, recipe, h, step, wiener, scratch.increments, one, two)
            if recipe.areas:
                _sign_areas(generator, wiener, key, trajectory[g], shared, h, step, one)
            apply_generator(generator, one, x[g], y)
            if recipe.noise_2 != 0.0:
                apply_generator(generator, two, x[g], u)
                apply_generator(generator, two, u, v)
                add(0.5, v, x[g])
            add(1.0, y, x[g])
        end = scratch.cursor[0]
    if cell > 0.0:
        end = position + count * np.int64(np.rint(h / cell))
    return end


@dataclass(frozen=True)
class Explicit:
    """An explicit scheme ready to run."""

    recipe: Recipe
    grid: StepGrid
    generator: Generator
    wiener: Wiener
    key: npt.NDArray[np.uint32]

    @property
    def together(self) -> int:
        """How many atoms may share a group of lanes."""
        return 4

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes through one interval between output times."""
        lanes.position = explicit_steps(
            lanes.x, lanes.trajectory, lanes.shared, lanes.position, self.generator,
            self.recipe, self.wiener, self.grid.lengths[self.grid.kind[interval]],
            self.grid.cell(interval), self.grid.first_step[interval],
            self.grid.counts[interval], self.key,
        )  # fmt: skip

    def draws(self) -> list[Draw]:
        """Return the increments in the order in which they are drawn."""
        return step_draws(self.wiener, self.grid)


def refuse_jumps(scheme: Any, dynamics: Dynamics) -> None:
    """Raise for a model with jumps or monitors.

    Raises
    ------
    SchemeMismatchError
        If the model has jumps, monitors or density matrices.
    """
    refuse_monitors(scheme, dynamics)
    if dynamics.jumps:
        raise SchemeMismatchError(
            f"{type(scheme).__name__} must have a model without jumps, but "
            f"{sorted(set(dynamics.jump_names))} jump; use Strang(dt=...), or "
            "UnitaryNoise() for them"
        )
    if dynamics.one_body and dynamics.monitors:
        raise SchemeMismatchError(
            f"{type(scheme).__name__} must have orbitals that are not monitored, but "
            f"{sorted({m.name for m in dynamics.monitors})} are; use Strang(dt=...)"
        )


def refuse_raw_ito(scheme: Any, dynamics: Dynamics) -> None:
    """Raise for noise whose norm grows.

    Raises
    ------
    SchemeMismatchError
        If the noise is read as raw Ito.
    """
    if dynamics.raw:
        raise SchemeMismatchError(
            f"{type(scheme).__name__}() must have noise that keeps the norm, but the "
            'model has calculus="raw-ito"; use EulerMaruyama(dt=...)'
        )


def prepare_explicit(
    scheme: Any, recipe: Recipe, dynamics: Dynamics, grid: StepGrid, seed: int
) -> Explicit:
    """Return the integrator of an explicit scheme.

    Raises
    ------
    SchemeMismatchError
        If the model has jumps.
    """
    refuse_jumps(scheme, dynamics)
    if dynamics.raw:
        recipe = recipe.read_as_raw_ito()
    everything = [list(range(len(dynamics.channels)))]
    squares = bool(recipe.square_1 or recipe.square_2)
    return Explicit(
        recipe=recipe,
        grid=grid,
        generator=pack_generator(dynamics, squares=squares, areas=recipe.areas),
        wiener=wiener_processes(dynamics, everything, grid, seed),
        key=stream_key(seed, Purpose.ORDER),
    )
