"""Deviations of an ensemble from a reference, and weighted sums of them.

A point is one observable at one time. A score is a sum of points with weights that suit
one fault: the mean of a curve for a shift, a matched filter for a wrong rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stochq.arrays import Floats
from stochq.ensemble import Ensemble
from stochq.errors import ModelError
from stochq.references import Reference

__all__ = ["Points", "Score", "compare", "mean_scores", "rate_scores", "standardized"]

#: Deviations below this part of the range are rounding where nothing can fluctuate.
ROUNDING = 1e-9

#: Deviations below this part of an observable's range are rounding anywhere.
DUST = 1e-14

#: Below this number of events a mean is not taken for normal, nor as fully seen.
RARE_EVENTS = 400

#: Fewer events than this may stand for others that were missed altogether.
FEW = 25

#: Fewer events than this do not show how large events are.
HANDFUL = 10

#: How many more events could have been missed, in the square of an error.
MISSED = 16

#: Ridge added to the correlation when a score's weights are chosen.
RIDGE = 0.1


@dataclass(frozen=True)
class Points:
    """Compared points, flattened to (P,): what was found and what is allowed.

    ``taken`` is the step bias taken off. ``random`` points fluctuate; ``regular`` ones
    rest on many events besides, so that
    sums of them are normal with the covariance of the batches.
    """

    names: tuple[str, ...]
    times: Floats
    observable: Any
    delta: Floats
    error: Floats
    allowed: Floats
    taken: Floats
    scale: Floats
    range: Floats
    random: Any
    regular: Any
    batches: Floats


@dataclass(frozen=True)
class Score:
    """A weighted sum of standardized deviations: w (P,), its value and its error."""

    label: str
    weights: Floats
    estimate: float
    error: float
    allowed: float

    @property
    def z(self) -> float:
        """Deviation beyond what is allowed, in standard errors."""
        return (abs(self.estimate) - self.allowed) / self.error


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


def _event_size(ensemble: Ensemble) -> Floats:
    """Return how much one event may move a trajectory's value, shape (O, 1).

    That is the largest deviation that any trajectory had at any time; or the range of
    the observable, if nothing has moved it, or some jump operator or member of a mixed
    initial state has come up too seldom to have shown what it does.
    """
    moments, dynamics = ensemble.moments, ensemble.dynamics
    counts = [*ensemble.jumps[:, -1], *(dynamics.initial.probabilities * moments.count)]
    ranges = ensemble.weight * ensemble.ranges[:, None]
    if min(counts) < RARE_EVENTS:
        return ranges
    seen = np.maximum(moments.high - moments.mean, moments.mean - moments.low)
    largest: Floats = seen.max(axis=1, keepdims=True)
    return np.where(largest > DUST * ranges, largest, ranges)


def _unseen(ensemble: Ensemble, size: Floats) -> Any:
    """Return where (O, T) events may matter that have not been seen.

    Where all that was seen amounts to few of the largest events, as many again may be
    missing. That goes for jumps, for mixtures, and for the heavy tails of noise.
    """
    few = ensemble.moments.m2 <= FEW * np.square(size)
    return ~ensemble.deterministic & few


def _standard_errors(ensemble: Ensemble, size: Floats, unseen: Any) -> Floats:
    """Return standard errors (O, T) that allow for rare events.

    k events of size S among n trajectories give the error ``sqrt(k) S / n``, too little
    if k came out small by luck; ``sqrt(k + MISSED) S / n`` stays honest, and is the
    same where events are many. k is read from the skewness, and S added where events
    may not have been seen at all; a handful of events does not even tell S, which may
    then be the range.
    """
    events = np.maximum(ensemble.moments.events, 1.0)
    errors = ensemble.mcse * np.sqrt(1 + MISSED / events)
    ranges = ensemble.weight * ensemble.ranges[:, None]
    size = np.where(events < HANDFUL, ranges, size)
    missed = np.sqrt(MISSED) * size / ensemble.n_traj
    found: Floats = np.hypot(errors, np.where(unseen, missed, 0.0))
    return found


def compare(
    ensemble: Ensemble, reference: Reference, bias: Floats, bound: Floats
) -> Points:
    """Return the deviations of all points that the reference covers.

    Parameters
    ----------
    ensemble, reference
        What is compared.
    bias : ndarray, shape (O, T)
        Known step bias, taken off the deviations.
    bound : ndarray, shape (O, T)
        Size of what else may be wrong with the means.
    """
    rows, columns = _columns(ensemble, reference)
    pick = np.ix_(rows, columns)
    ranges = ensemble.ranges[rows]
    spread = np.minimum(ensemble.moments.sd[pick].max(axis=1), ranges)
    scale = np.maximum(np.ptp(reference.values, axis=1), spread)
    size = np.maximum(np.abs(reference.values).max(axis=1), ranges)
    elements = _elements(ensemble)[rows]
    # what is zero in every state has no size but that of its matrix
    size = np.where(size > DUST * elements, size, elements).clip(1e-300)
    # what is the same on every trajectory and at all times has no scale but its size
    scale = np.where(scale > DUST * size, scale, size)
    rounding = ROUNDING * size[:, None]
    event = _event_size(ensemble)
    unseen = _unseen(ensemble, event)
    error = _standard_errors(ensemble, event, unseen)
    error = np.where(_unknown(ensemble), np.inf, error)[pick]
    deterministic = ensemble.deterministic[pick] | (error <= DUST * size[:, None])
    shape = error.shape
    dust = ROUNDING * spread[:, None] + DUST * ranges[:, None]
    allowed = np.where(ensemble.deterministic[pick], rounding, dust)
    allowed = allowed + reference.error + bound[pick]
    often = ~unseen[pick] & (ensemble.moments.events[pick] >= RARE_EVENTS)
    return Points(
        names=reference.names,
        times=reference.times,
        observable=np.repeat(np.arange(shape[0]), shape[1]),
        delta=(ensemble.mean[pick] - bias[pick] - reference.values).ravel(),
        error=error.ravel(),
        allowed=allowed.ravel(),
        taken=bias[pick].ravel(),
        scale=np.repeat(scale, shape[1]),
        range=np.repeat(np.maximum(ranges, rounding[:, 0]), shape[1]),
        random=~deterministic.ravel(),
        regular=(~deterministic & often).ravel(),
        batches=ensemble.batches[:, rows][:, :, columns].reshape(-1, error.size),
    )


def _unknown(ensemble: Ensemble) -> Any:
    """Return where (O, T) the error of a mean is unknown: it rests on next to nothing.

    An observable has a range, which says how much unseen events may matter. A function
    that does not state its limits has none until it has fluctuated some times.
    """
    few = ensemble.moments.events < HANDFUL
    return ~ensemble.bounded[:, None] & ~ensemble.deterministic & few


def _elements(ensemble: Ensemble) -> Floats:
    """Return the size of the matrix of each observable; a function has its range."""
    observables = ensemble.dynamics.observables
    sizes = [float(np.abs(o.data).max(initial=0.0)) for o in observables]
    return np.array([*sizes, *ensemble.ranges[len(sizes) :]])


def standardized(points: Points, chosen: Any) -> Floats:
    """Return Y (B, P') with Y^T Y the correlation of the means of chosen points."""
    centered = points.batches[:, chosen]
    centered = centered - centered.mean(axis=0)
    factor: Floats = centered / np.linalg.norm(centered, axis=0).clip(1e-300)
    return factor


def _weighted(label: str, weights: Floats, error: float, points: Points) -> Score:
    """Return the score of given weights on the standardized regular points."""
    pick = points.regular
    allowance = points.allowed[pick] / points.error[pick]
    return Score(
        label=label,
        weights=weights,
        estimate=float(weights @ (points.delta[pick] / points.error[pick])),
        error=error,
        allowed=float(np.abs(weights) @ allowance),
    )


def rate_scores(
    reference: Reference, points: Points, factor: Floats
) -> dict[str, Score]:
    """Return the best linear estimate of each named rate's relative error.

    Weights (R + ridge)^-1 s, for the sensitivity s in standard errors, are chosen on
    the even batches; their variance is measured on the odd ones, so that it is not too
    small by having been minimized.

    Parameters
    ----------
    reference : Reference
        Has the sensitivities.
    points : Points
        All compared points.
    factor : ndarray, shape (B, P')
        Standardized batches of the regular points.
    """
    scores: dict[str, Score] = {}
    if factor.shape[0] < 8:
        return scores
    even, odd = (
        half / np.linalg.norm(half, axis=0).clip(1e-300)
        for half in (factor[0::2], factor[1::2])
    )
    gram = even @ even.T + RIDGE * np.eye(even.shape[0])
    for name, slope in reference.sensitivity.items():
        s = slope.ravel()[points.regular] / points.error[points.regular]
        if np.any(s):
            weights = s - even.T @ np.linalg.solve(gram, even @ s)
            weights /= float(weights @ s)
            error = float(np.linalg.norm(odd @ weights))
            if error > 0:
                scores[name] = _weighted(f"rate {name!r}", weights, error, points)
    return scores


def mean_scores(points: Points, factor: Floats) -> dict[str, Score]:
    """Return the deviation of each observable's curve, averaged over its times."""
    scores = {}
    errors = points.error[points.regular]
    observable = points.observable[points.regular]
    for o, name in enumerate(points.names):
        mine = observable == o
        if mine.any():
            weights = np.where(mine, errors, 0.0) / mine.sum()
            error = float(np.linalg.norm(factor @ weights))
            if error > 0:
                label = f"the mean of {name!r}"
                scores[name] = _weighted(label, weights, error, points)
    return scores
