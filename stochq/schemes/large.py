"""Splitting whose flow is a Taylor series: for what is large or depends on time.

The factors and their order are those of `stochq.schemes.splitting`; here they are
called one by one, which costs nothing next to a flow of this size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stochq.lowering import Dynamics
from stochq.schemes.lanes import Lanes
from stochq.schemes.methods import Method, flow_method
from stochq.schemes.noise import Draw, Scratch, scratch_for
from stochq.schemes.series import Series, taylor_series
from stochq.schemes.splitting import (
    FLOW,
    Factor,
    Program,
    Splitting,
    monitored_factor,
    prepare_parts,
    prepare_splitting,
    stochastic_factor,
)
from stochq.schemes.taylor import taylor_lanes
from stochq.schemes.traits import StepGrid

__all__ = ["SeriesSplitting", "prepare_flow"]


@dataclass(frozen=True)
class SeriesSplitting:
    """A splitting scheme ready to run; `parts` holds all of it but the flow."""

    parts: Splitting
    series: Series

    @property
    def together(self) -> int:
        """How many atoms may share a group of lanes."""
        return 4

    def draws(self) -> list[Draw]:
        """Return the increments in the order in which they are drawn."""
        return self.parts.draws()

    def advance(self, lanes: Lanes, interval: int) -> None:
        """Carry all lanes through one interval between output times."""
        grid, end = self.parts.grid, lanes.position
        for g in range(len(lanes.x)):
            scratch = scratch_for(self.parts.wiener, lanes.x.shape[3], lanes.position)
            for item in self.parts.walk(interval):
                self._apply(item, lanes, g, interval, scratch)
            end = int(scratch.cursor[0])
        if grid.cells[interval]:
            end = lanes.position + grid.counts[interval] * grid.cells[interval]
        lanes.position = end

    def _apply(
        self, item: Factor, lanes: Lanes, g: int, interval: int, scratch: Scratch
    ) -> None:
        """Apply one factor to one group of lanes."""
        parts, x, owners = self.parts, lanes.x[g], lanes.trajectory[g]
        grid, cell = parts.grid, parts.grid.cell(interval)
        m = item.factor - (parts.factors.group_ptr.size - 1)
        if item.factor == FLOW:
            taylor_lanes(
                self.series, x, float(grid.start[interval]) + item.elapsed,
                item.duration, lanes.clock[g], lanes.draws[g], parts.keys.jumps, owners,
                lanes.tally,
            )  # fmt: skip
        elif m < 0:
            stochastic_factor(
                parts.factors, parts.wiener, item.factor, item.duration, item.step,
                cell, owners, x, scratch, parts.program.two_point,
            )  # fmt: skip
        else:
            number = 2 * (m * len(grid.lengths) + grid.kind[interval])
            number += int(item.halved)
            monitored_factor(
                parts.monitors, parts.wiener, item.factor, number, item.duration,
                item.step, cell, owners, x, lanes.signals[g][m], scratch,
            )  # fmt: skip


def prepare_flow(
    scheme: Any,
    program: Program,
    dynamics: Dynamics,
    grid: StepGrid,
    seed: int,
    *,
    frozen: bool,
) -> Splitting | SeriesSplitting:
    """Return the integrator of a splitting scheme, with the flow that suits the model.

    Frozen, functions of time hold their averages over a step, and drives are among the
    groups of channels; else the flow follows them.

    Raises
    ------
    SchemeMismatchError
        If the model does not split into factors in closed form.
    """
    if flow_method(dynamics, grid, frozen=frozen).kind != Method.TAYLOR:
        return prepare_splitting(scheme, program, dynamics, grid, seed)
    groups = dynamics.groups if frozen else []
    return SeriesSplitting(
        parts=prepare_parts(scheme, program, dynamics, groups, grid, seed),
        series=taylor_series(dynamics, grid, frozen),
    )
