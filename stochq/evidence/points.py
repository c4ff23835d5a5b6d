"""Deviations of an ensemble from a reference, point by point.

A point is one observable at one time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stochq.arrays import Floats
from stochq.ensemble import Ensemble
from stochq.errors import ModelError
from stochq.evidence.biases import KnownBias
from stochq.evidence.deviates import (
    from_events,
    from_student,
    missable_events,
    surely_caught,
    without_skewness,
)
from stochq.evidence.rare import DUST, HANDFUL, STILL, Rare, rare_events
from stochq.references import Reference

__all__ = ["Points", "compare", "standardized"]

#: Deviations below this part of the range are rounding where nothing can fluctuate.
ROUNDING = 1e-9

#: Events that may be missing where few are expected, in the square of an error.
MISSED = 16


@dataclass(frozen=True)
class Points:
    """Compared points, flattened to (P,): what was found and what is allowed.

    ``taken`` is the step bias taken off, ``allowed`` what else may be wrong: the bias
    by its ``doubt``, of which ``sampled`` is what more trajectories would tell.
    ``random`` points fluctuate; the mean of an ``unseen`` one rests on so few
    ``events`` of the given ``size`` that others may have been missed: it takes
    ``seen_at`` times as many trajectories to see them. ``skewness`` is that of the
    mean, ``own`` the part of ``error`` that is the ensemble's and not the reference's.
    """

    names: tuple[str, ...]
    times: Floats
    observable: Any
    delta: Floats
    error: Floats
    own: Floats
    skewness: Floats
    events: Floats
    size: Floats
    seen_at: Floats
    random: Any
    allowed: Floats
    taken: Floats
    doubt: Floats
    sampled: Floats
    scale: Floats
    range: Floats
    batches: Floats
    freedom: int

    @property
    def unseen(self) -> Any:
        """Points at which events may have been missed."""
        return self.seen_at > 1

    @property
    def regular(self) -> Any:
        """Points that sums of points may contain: normal but for their skewness."""
        return self.random & ~self.unseen

    def deviates(self, *, beyond_allowed: bool) -> Floats:
        """Return how unlikely each deviation is, as a signed normal deviate (P,)."""
        allowed = self.allowed if beyond_allowed else 0.0
        excess = (np.abs(self.delta) - allowed).clip(0.0)
        sign = np.sign(self.delta)
        usual = self.random & np.isfinite(self.error)
        error = np.where(usual, self.error, 1.0)
        t = from_student(sign * excess / error, self.freedom)
        share = np.where(usual, self.own, 0.0) / error
        normal = without_skewness(t, self.skewness * share**3)
        counted = sign * from_events(self.events, excess / self.size)
        found = np.where(self.unseen, counted, np.where(excess > 0, normal, 0.0))
        return np.where(usual, found, 0.0)

    def reach(self, critical: float) -> Floats:
        """Return the deviation at each point (P,) that is caught for sure."""
        missing = missable_events(self.events, critical) * self.size
        missing = np.where(np.isinf(self.error), np.inf, missing)
        usual = surely_caught(critical, self.freedom) * self.error
        size = np.where(self.unseen, missing, usual)
        return np.where(self.random, size, 0.0) + self.allowed

    def grown(self, more: float) -> Points:
        """Return the points as they would be with `more` times as many trajectories."""
        sure = np.square(self.error) - np.square(self.own)
        own = np.where(self.unseen, self.size * np.sqrt(self.events), self.own)
        own = np.where(np.isinf(self.own), np.inf, own / np.sqrt(more))
        return replace(
            self,
            error=np.sqrt(np.square(own) + np.nan_to_num(sure).clip(0.0)),
            own=own,
            events=self.events * more,
            size=self.size / more,
            seen_at=self.seen_at / more,
        )


def _columns(ensemble: Ensemble, reference: Reference) -> tuple[list[int], list[int]]:
    """Return the observables and times of the ensemble that the reference covers."""
    missing = set(reference.names) - set(ensemble.names)
    if missing:
        raise ModelError(
            f"`reference` must be about observables among {list(ensemble.names)}, "
            f"but is about {sorted(missing)}"
        )
    spacing = np.abs(ensemble.times[:, None] - reference.times[None, :])
    nearest = spacing.argmin(axis=0)
    gaps = np.diff(ensemble.times, append=np.inf)[nearest]
    gaps = np.minimum(gaps, np.diff(ensemble.times, prepend=-np.inf)[nearest])
    slack = np.minimum(1e-9 * np.abs(ensemble.times).max(), 1e-3 * gaps)
    if (spacing.min(axis=0) > slack).any():
        raise ModelError(
            "`reference` must have times that the ensemble has, but "
            f"{reference.times[spacing.min(axis=0).argmax()]:g} is not among them"
        )
    return [ensemble.names.index(name) for name in reference.names], nearest.tolist()


def _unknown(ensemble: Ensemble) -> Any:
    """Return where (O, T) the error of a mean is unknown: it rests on next to nothing.

    An observable has a range, which says how much unseen events may matter. A function
    that does not state its limits has none until it has fluctuated some times.
    """
    moments = ensemble.moments
    size = np.maximum(np.abs(moments.high), np.abs(moments.low))
    few = (moments.events < HANDFUL) | (moments.sd <= STILL * size)  # or rounding
    return ~ensemble.bounded[:, None] & ~ensemble.deterministic & few


def _elements(ensemble: Ensemble) -> Floats:
    """Return the size of the matrix of each observable; a function has its range."""
    observables = ensemble.dynamics.observables
    sizes = [float(np.abs(o.data).max(initial=0.0)) for o in observables]
    return np.array([*sizes, *ensemble.ranges[len(sizes) :]])


def _skewness(ensemble: Ensemble) -> Floats:
    """Return the skewness of the mean, m3 / m2^(3/2), shape (O, T)."""
    root = np.sqrt(np.where(ensemble.moments.m2 > 0, ensemble.moments.m2, 1.0))
    found: Floats = ensemble.moments.m3 / root / root / root
    return found


def compare(ensemble: Ensemble, reference: Reference, bias: KnownBias) -> Points:
    """Return the deviations of all points that the reference covers.

    Parameters
    ----------
    ensemble, reference
        What is compared.
    bias : KnownBias
        Step bias of the ensemble: what is known is taken off, the rest allowed for.
    """
    rows, columns = _columns(ensemble, reference)
    pick = np.ix_(rows, columns)
    ranges = ensemble.ranges[rows]
    spread = np.minimum(ensemble.moments.sd[pick].max(axis=1), ranges)
    size = np.maximum(np.abs(reference.values).max(axis=1), ranges)
    elements = _elements(ensemble)[rows]
    # what is zero in every state has no size but that of its matrix
    size = np.where(size > DUST * elements, size, elements).clip(1e-300)
    scale = np.maximum(np.ptp(reference.values, axis=1), spread)
    # what is the same on every trajectory and at all times has no scale but its size
    scale = np.where(scale > DUST * size, scale, size)
    rounding = ROUNDING * size[:, None]
    dust = ROUNDING * spread[:, None] + DUST * ranges[:, None]
    fixed = ensemble.deterministic[pick]
    rare = Rare(*(part[pick] for part in rare_events(ensemble)))
    floor = rare.size * np.sqrt(rare.events + MISSED)
    own = np.where(rare.seen_at > 1, floor, ensemble.mcse[pick])
    own = np.where(_unknown(ensemble)[pick], np.inf, own)
    sure = np.zeros_like(own) if reference.mcse is None else reference.mcse
    error = np.hypot(own, sure)
    random = (error > DUST * size[:, None]) & (~fixed | (sure > 0))
    allowed = np.where(fixed, rounding, dust) + reference.error + bias.bound[pick]
    shape = error.shape
    return Points(
        names=reference.names,
        times=reference.times,
        observable=np.repeat(np.arange(shape[0]), shape[1]),
        delta=(ensemble.mean[pick] - bias.known[pick] - reference.values).ravel(),
        error=error.ravel(),
        own=own.ravel(),
        skewness=_skewness(ensemble)[pick].ravel(),
        events=rare.events.ravel(),
        size=rare.size.ravel().clip(1e-300),
        seen_at=rare.seen_at.ravel(),
        random=random.ravel(),
        allowed=allowed.ravel(),
        taken=bias.known[pick].ravel(),
        doubt=bias.bound[pick].ravel(),
        sampled=bias.sampled[pick].ravel(),
        scale=np.repeat(scale, shape[1]),
        range=np.repeat(np.maximum(ranges, rounding[:, 0]), shape[1]),
        batches=ensemble.batches[:, rows][:, :, columns].reshape(-1, error.size),
        freedom=ensemble.n_traj - 1,
    )


def standardized(points: Points, chosen: Any) -> Floats:
    """Return Y (B, P') with Y^T Y the correlation of the means of chosen points."""
    centered = points.batches[:, chosen]
    centered = centered - centered.mean(axis=0)
    factor: Floats = centered / np.linalg.norm(centered, axis=0).clip(1e-300)
    return factor
