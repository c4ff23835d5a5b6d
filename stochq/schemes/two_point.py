"""Two-point noise: the averages of Strang splitting from one random bit per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics
from stochq.schemes.splitting import (
    Splitting,
    outer_and_inner,
    prepare_splitting,
)
from stochq.schemes.strang import symmetric_program
from stochq.schemes.traits import StepGrid, Stepped, Traits

__all__ = ["TwoPoint"]


@dataclass(frozen=True)
class TwoPoint(Stepped):
    r"""Strang splitting with increments +x or -x, matched to the exact average.

    .. math:: \cos(g x) = e^{-g^2 h / 2}

    for a channel whose two eigenvalues are g apart: each factor then averages to what
    Gaussian noise averages to, exactly, and the scheme has the averages of `Strang`.
    Its single trajectories are not those of white noise: their spread, histograms and
    nonlinear functions mean nothing.

    Orders: weak 2; paths do not converge.
    Handles: independent channels with two different eigenvalues each; jumps.
    Conserves: the norm under noise, to rounding, on every path.
    Use when: only means are wanted; it is several times faster than `Strang`.

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
        weak=2.0,
        strong=0.0,
        strong_commuting=0.0,
        jumps=True,
        unitary=True,
        paths=False,
    )

    def prepare(self, dynamics: Dynamics, grid: StepGrid, seed: int) -> Splitting:
        """Return an integrator for a lowered model.

        Raises
        ------
        SchemeMismatchError
            If a channel has more than two eigenvalues or is correlated with others, or
            if a Brownian path is asked for.
        """
        if any(grid.cells):
            raise SchemeMismatchError(
                "TwoPoint() must not be asked to follow a Brownian path, but is; its "
                "increments are not Gaussian, use Strang(dt=...)"
            )
        groups = len(dynamics.groups)
        program = symmetric_program(*outer_and_inner(dynamics, groups), two_point=True)
        ready = prepare_splitting(self, program, dynamics, grid, seed)
        manifold = np.isnan(ready.factors.gap) & ~ready.wiener.drive
        if dynamics.mixing is not None or manifold.any():
            raise SchemeMismatchError(
                "TwoPoint() must have independent noise channels with two different "
                "eigenvalues each, but this model has others; use Strang(dt=...)"
            )
        return ready
