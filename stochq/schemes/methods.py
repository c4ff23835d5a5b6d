"""How a flow is integrated: what is exact and costs least for a model."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from stochq.lowering import Dynamics
from stochq.schemes.diagonal import monomials
from stochq.schemes.flow import (
    CONDITION_LIMIT,
    eigenbasis,
    flow_generator,
    total_rate,
)
from stochq.schemes.series import series_work
from stochq.schemes.traits import StepGrid
from stochq.structure import blocks

__all__ = ["Chosen", "Method", "flow_method"]

#: Most elements of eigenvector or propagator matrices; products of a Taylor series
#: that one of them costs as much as (measured); dimension of the largest ladder.
DENSE_ELEMENTS, DENSE_WORTH, LADDER_DIM = 2**23, 4.0, 64


class Method(Enum):
    """How a state is carried through the flow."""

    PROPAGATOR = "propagators"
    DIAGONAL = "populations of a diagonal H_eff"
    EVENTS = "events at a rate that does not depend on the state"
    EIGENBASIS = "eigenbasis of H_eff"
    LADDER = "ladder of propagators"
    TAYLOR = "Taylor series"


class Chosen(NamedTuple):
    """A method and the reason for it."""

    kind: Method
    reason: str


def flow_method(dynamics: Dynamics, grid: StepGrid, *, frozen: bool) -> Chosen:
    """Return how the flow of a model is integrated over the steps of a grid.

    Frozen, drives are not part of it and rates hold their averages over a step.
    """
    if dynamics.one_body or dynamics.lifted:
        kind = "density matrices" if dynamics.lifted else "orbitals"
        return Chosen(Method.PROPAGATOR, kind)
    if (dynamics.jump_function_of >= 0).any() or (dynamics.drives and not frozen):
        return Chosen(Method.TAYLOR, "it depends on time")
    generator = flow_generator(dynamics)
    elements = sum(members.size**2 for members in blocks(generator))
    if not dynamics.jumps:
        if elements > DENSE_ELEMENTS:
            return Chosen(Method.TAYLOR, "too large for a propagator")
        return Chosen(Method.PROPAGATOR, "no jumps")
    if monomials(generator, dynamics.jumps) is not None:
        return Chosen(Method.DIAGONAL, "every c moves basis states to basis states")
    duration = max(grid.lengths, default=0.0)
    series = series_work(generator, duration)
    if elements > DENSE_ELEMENTS or DENSE_WORTH * elements > series:
        return Chosen(Method.TAYLOR, "its terms cost less than the eigenvectors")
    if total_rate(dynamics) >= 0.0:
        return Chosen(Method.EVENTS, "sum c^dag c is a multiple of 1")
    condition = eigenbasis(generator)[3]
    found = f"condition number of its eigenvectors {condition:.2g}"
    if condition < CONDITION_LIMIT:
        return Chosen(Method.EIGENBASIS, found)
    if dynamics.dim > LADDER_DIM:
        return Chosen(Method.TAYLOR, found)
    return Chosen(Method.LADDER, found)
