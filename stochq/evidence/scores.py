"""Weighted sums of deviations: the mean of a curve for a shift, a filter for a rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stochq.arrays import Floats
from stochq.evidence.deviates import from_student, surely_caught, without_skewness
from stochq.evidence.points import Points
from stochq.references import Reference

__all__ = ["Score", "mean_scores", "rate_scores"]

#: Ridge added to the correlation when a score's weights are chosen.
RIDGE = 0.1

#: Batches, at least, of which one half chooses weights and the other measures errors.
FEWEST_BATCHES = 8


@dataclass(frozen=True)
class Score:
    """A weighted sum of standardized deviations: w (P,), its value and its error.

    ``own`` is the ensemble's part of the error, ``shared`` that of a reference which
    was itself sampled; ``freedom`` the number of batches behind it, less one.
    """

    label: str
    weights: Floats
    estimate: float
    own: float
    shared: float
    allowed: float
    skewness: float
    freedom: int

    @property
    def error(self) -> float:
        """Standard error of the sum."""
        return float(np.hypot(self.own, self.shared))

    def reach(self, critical: float, more: float = 1.0) -> float:
        """Return the size that is caught for sure, with more times the trajectories."""
        error = float(np.hypot(self.own / np.sqrt(more), self.shared))
        return surely_caught(critical, self.freedom) * error + self.allowed

    @property
    def z(self) -> float:
        """Deviation beyond what is allowed, as a normal deviate."""
        excess = max(abs(self.estimate) - self.allowed, 0.0)
        t = from_student(np.sign(self.estimate) * excess / self.error, self.freedom)
        return float(abs(without_skewness(t, self.skewness))) if excess > 0 else 0.0


def _score(label: str, weights: Floats, factor: Floats, points: Points) -> Score | None:
    """Return the score of given weights, with the error that some batches give it.

    A reference that was itself sampled adds to the error as if all its points were off
    together, which is the most that it can do.
    """
    part = factor.shape[0] / points.batches.shape[0]
    pick = points.regular
    error, own = points.error[pick], points.own[pick]
    column = factor @ (weights * own / error)
    size = float(np.linalg.norm(column))
    if size == 0:
        return None
    shared = np.sqrt(np.square(error) - np.square(own)) / error
    return Score(
        label=label,
        weights=weights,
        estimate=float(weights @ (points.delta[pick] / error)),
        own=size,
        shared=float(np.abs(weights) @ shared),
        allowed=float(np.abs(weights) @ (points.allowed[pick] / error)),
        skewness=float((column**3).sum()) / size**3 * np.sqrt(part),
        freedom=factor.shape[0] - 1,
    )


def _halves(factor: Floats) -> list[Floats]:
    """Return the even and the odd batches, each standardized anew."""
    halves = [factor[0::2], factor[1::2]]
    return [half / np.linalg.norm(half, axis=0).clip(1e-300) for half in halves]


def _ridged(factor: Floats, slope: Floats) -> Floats:
    """Return weights in the direction (R + ridge)^-1 s, with R = Y^T Y."""
    batches, points = factor.shape
    if points <= batches:
        gram = factor.T @ factor + RIDGE * np.eye(points)
        return np.asarray(np.linalg.solve(gram, slope))
    gram = factor @ factor.T + RIDGE * np.eye(batches)
    return np.asarray(slope - factor.T @ np.linalg.solve(gram, factor @ slope))


def rate_scores(
    reference: Reference, points: Points, factor: Floats
) -> Mapping[str, Score]:
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
    if factor.shape[0] < FEWEST_BATCHES:
        return scores
    even, odd = _halves(factor)
    for name, slope in reference.sensitivity.items():
        s = slope.ravel()[points.regular] / points.error[points.regular]
        if np.any(s):
            weights = _ridged(even, s)
            weights /= float(weights @ s)
            score = _score(f"rate {name!r}", weights, odd, points)
            if score is not None:
                scores[name] = score
    return scores


def mean_scores(points: Points, factor: Floats) -> Mapping[str, Score]:
    """Return the deviation of each observable's curve, averaged over its times."""
    scores: dict[str, Score] = {}
    errors = points.error[points.regular]
    observable = points.observable[points.regular]
    for o, name in enumerate(points.names):
        mine = observable == o
        if mine.any():
            weights = np.where(mine, errors, 0.0) / mine.sum()
            score = _score(f"the mean of {name!r}", weights, factor, points)
            if score is not None:
                scores[name] = score
    return scores
