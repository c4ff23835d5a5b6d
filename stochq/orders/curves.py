"""Errors against dt: which of them count, and the order they fall with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from stochq.arrays import Floats
from stochq.orders.fits import FEWEST, Fit, Order, fit_order

__all__ = ["ErrorCurve", "Sample", "curve_of", "norms_of", "roots_of"]

Flags: TypeAlias = npt.NDArray[np.bool_]

#: Errors in standard errors below which sampling error drowns them.
DROWNED = 3.0

#: Distance from the declared order, in standard errors, up to which they agree.
REACH = 3.0

#: An error beyond it is not one: the scheme is unstable.
UNSTABLE = 1e6

#: Stands for zero in a logarithm or a divisor.
TINY = 1e-150


class Sample(NamedTuple):
    """Errors of every level that were sampled.

    Attributes
    ----------
    errors, mcse : ndarray, shape (L,)
        The errors and their Monte Carlo standard errors.
    replicas : ndarray, shape (B, L)
        The errors with one batch of trajectories left out at a time.
    """

    errors: Floats
    mcse: Floats
    replicas: Floats


@dataclass(frozen=True, eq=False)
class ErrorCurve:
    """Errors of one kind at all levels, and their order.

    Attributes
    ----------
    dts : ndarray, shape (L,) [time]
        Steps, each half of the one before.
    errors : ndarray, shape (L,)
        Strong: dimensionless. Weak: in units of the observables' ranges.
    mcse : ndarray, shape (L,)
        Monte Carlo standard errors; 0 where nothing is sampled.
    left_out : tuple of str, shape (L,)
        Why a level does not count: "rounding", "sampling", "diverged", or "".
    declared : float
        The order that the scheme declares for this model.
    order : Order or None
        The measured order; None where fewer than three levels count.
    fit : Fit or None
        The fitted line.
    """

    dts: Floats
    errors: Floats
    mcse: Floats
    left_out: tuple[str, ...]
    declared: float
    order: Order | None
    fit: Fit | None

    @property
    def used(self) -> Flags:
        """Which levels count, shape (L,)."""
        return np.array([not reason for reason in self.left_out], dtype=np.bool_)

    @property
    def shown(self) -> Flags:
        """Which levels are more than rounding and less than a divergence, (L,)."""
        shown = [why not in ("rounding", "diverged") for why in self.left_out]
        return np.array(shown, dtype=np.bool_) & (self.errors > 0)

    @property
    def slope(self) -> float:
        """The measured order; NaN where there is none."""
        return self.order.slope if self.order else np.nan

    @property
    def slope_error(self) -> float:
        """Its standard error; NaN where there is none."""
        return self.order.error if self.order else np.nan

    @property
    def exact(self) -> bool:
        """Whether nothing but rounding is wrong at any level."""
        return all(reason == "rounding" for reason in self.left_out)

    @property
    def z(self) -> float:
        """Measured minus declared order, in standard errors."""
        return (self.slope - self.declared) / self.slope_error if self.order else np.nan

    @property
    def agrees(self) -> bool:
        """Whether nothing contradicts the declared order."""
        return self.order is None or abs(self.z) <= REACH


def _reasons(errors: Floats, mcse: Floats, floor: Floats) -> tuple[str, ...]:
    """Return why levels do not count."""
    reasons = []
    for error, bar, rounding in zip(errors, mcse, floor, strict=True):
        if not error < UNSTABLE:
            reasons.append("diverged")
        elif max(error, bar) <= rounding:
            reasons.append("rounding")
        else:
            reasons.append("sampling" if error <= DROWNED * bar else "")
    return tuple(reasons)


def curve_of(
    dts: Floats,
    sample: Sample,
    declared: float,
    floor: Floats,
    cell: float = 0.0,
) -> ErrorCurve:
    """Return the curve of some errors with its order.

    Parameters
    ----------
    dts : ndarray, shape (L,) [time]
        Steps.
    sample : Sample
        Errors; with no replicas (B = 0) they are not sampled.
    declared : float
        The declared order.
    floor : ndarray, shape (L,)
        Errors that rounding may make.
    cell : float, default 0
        Step of the reference [time].
    """
    errors, mcse, replicas = sample
    left_out = _reasons(errors, mcse, floor)
    used = np.array([not reason for reason in left_out])
    order, fit = None, None
    if used.sum() >= FEWEST:
        sampled = bool((mcse[used] > 0).all())
        relative = mcse[used] / errors[used] if sampled else np.ones(used.sum())
        chosen = replicas[:, used] if sampled else None
        order, fit = fit_order(dts[used], errors[used], relative, chosen, cell)
    return ErrorCurve(dts, errors, mcse, left_out, declared, order, fit)


def _without_one(batches: Floats) -> Floats:
    """Return means over all batches but one, shape (B, ...)."""
    rest: Floats = (batches.sum(axis=0) - batches) / (len(batches) - 1)
    return rest


def roots_of(mean: Floats, mcse: Floats, batches: Floats) -> Sample:
    """Return root mean squares.

    Parameters
    ----------
    mean, mcse : ndarray, shape (L,)
        Mean squares and their standard errors.
    batches : ndarray, shape (B, L)
        Mean squares of batches of trajectories.
    """
    roots = np.sqrt(mean)
    spread = mcse / (2.0 * roots).clip(TINY)
    return Sample(roots, spread, np.sqrt(_without_one(batches)).clip(TINY))


def norms_of(mean: Floats, mcse: Floats, batches: Floats) -> Sample:
    """Return norms of mean differences, less what sampling adds to their squares.

    Parameters
    ----------
    mean, mcse : ndarray, shape (L, O)
        Mean differences and their standard errors.
    batches : ndarray, shape (B, L, O)
        Mean differences of batches of trajectories.
    """
    noise = np.square(mcse).sum(axis=-1)

    def norms(means: Floats) -> Floats:
        squares = np.square(means).sum(axis=-1) - noise
        positive: Floats = np.sqrt(squares.clip(0.0))
        return positive

    replicas = norms(_without_one(batches)).clip(TINY)  # logarithms are taken of them
    return Sample(norms(mean), np.sqrt(noise), replicas)
