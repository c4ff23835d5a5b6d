"""Verification: whether trajectories and their averaged equation agree.

Every mean is compared with its reference at every time, every observable by the mean of
its curve, and every named rate by its own score. The family-wise p-value is that of the
largest deviation, under the joint law of all of them. Three things are kept apart: the
sampling error, the step bias, and the smallest fault that would have been caught.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stochq.arrays import Floats
from stochq.ensemble import Ensemble
from stochq.errors import ModelError
from stochq.evidence.biases import KnownBias, known_bias
from stochq.evidence.family import holm_level
from stochq.evidence.independence import lag_of_repetition, scatter_of_batches
from stochq.evidence.maxima import IndependentLaw, MaxLaw
from stochq.evidence.points import Points, compare, standardized
from stochq.evidence.remedies import FEWEST, detectable_shift, remedy
from stochq.evidence.scores import Score, mean_scores, rate_scores
from stochq.references import Reference
from stochq.verdict import Status, Verdict

__all__ = ["verify", "verify_together"]

#: Events behind a mean, at least, for its batches to be near normal.
OFTEN = 400


def _diverged(
    ensemble: Ensemble, reference: Reference, alpha: float, resolution: float
) -> Verdict:
    """Return the verdict on means that no state can have."""
    where = "means beyond every possible value: use a smaller dt"
    return _without_numbers("fail", where, ensemble, reference, alpha, resolution)


def _failed(
    ensemble: Ensemble, reference: Reference, alpha: float, resolution: float
) -> Verdict:
    """Return the verdict on functions that have no value for some trajectories."""
    where = (
        f"{ensemble.failed} of {ensemble.n_traj} trajectories have no finite value of "
        "what is compared (see `ensemble.failures`)"
    )
    status: Status = "inconclusive"
    return _without_numbers(status, where, ensemble, reference, alpha, resolution)


def _without_numbers(
    status: Status,
    where: str,
    ensemble: Ensemble,
    reference: Reference,
    alpha: float,
    resolution: float,
) -> Verdict:
    """Return a verdict on means that are no numbers to reckon with."""
    nothing = np.full(reference.values.shape, np.nan)
    return Verdict(
        status=status,
        p_value=0.0 if status == "fail" else np.nan,
        max_z=np.inf if status == "fail" else np.nan,
        where=where,
        detectable_shift=np.inf,
        detectable_rate={},
        rate_error={},
        bias=np.nan,
        step_bias=nothing,
        bias_error=nothing,
        bias_from="unknown",
        critical_z=np.nan,
        z=nothing,
        error=nothing,
        names=reference.names,
        times=reference.times,
        alpha=alpha,
        resolution=resolution,
        n_traj=ensemble.n_traj,
        reasons=() if status == "fail" else (f"{status}: {where}",),
    )


def verify(
    ensemble: Ensemble,
    reference: Reference,
    *,
    alpha: float = 1e-3,
    resolution: float = 0.1,
    bias: Any = None,
) -> Verdict:
    r"""Judge an ensemble against a reference.

    .. math:: z_i = \frac{|\bar O_i - b_i - O_i^{\rm ref}|}{\sigma_i}, \qquad
        p = P\bigl(\max_i |Z_i| > \max_i z_i\bigr),\quad Z \sim N(0, R)

    over all observables, times and named rates i, with standard errors sigma, step
    biases b and the correlation R of the means, estimated from batches. Each z is made
    the normal deviate of the same probability: by Student's law, without the skewness
    of the mean, and by a count of events where few of them carry it. Points that no
    trajectory can change (conserved quantities) must agree to rounding. Trajectories
    that depend on each other fail.

    Parameters
    ----------
    ensemble : Ensemble
        From `simulate`.
    reference : Reference
        From `master_equation` or your own curves; it may cover some of the ensemble's
        observables and times.
    alpha : float, default 1e-3
        Probability of failing a correct model.
    resolution : float, default 0.1
        The shift of an observable's curve, in units of its scale, that must be
        detectable; a run that could not have seen it is inconclusive.
    bias : float or array_like, shape (O, T), optional
        Bound on the step bias, in each observable's unit. By default the bias is
        computed exactly from the averaged step and taken off, with a tenth of it
        allowed for as error; where that is out of reach the verdict cannot be "pass"
        without a bound.

    Returns
    -------
    Verdict

    Raises
    ------
    ModelError
        If the reference has observables or times that the ensemble lacks, or an
        argument is out of range.
    """
    if not isinstance(ensemble, Ensemble):
        raise ModelError(
            "`ensemble` must be what simulate() returns, "
            f"but is {type(ensemble).__name__}"
        )
    if not isinstance(reference, Reference):
        raise ModelError(
            "`reference` must be a Reference, such as master_equation(...) or "
            f"Reference(times, names, values), but is {type(reference).__name__}"
        )
    _check_number("alpha", alpha)
    _check_number("resolution", resolution)
    rows = [ensemble.names.index(n) for n in reference.names if n in ensemble.names]
    if lost := _lost(ensemble, rows):
        told = _diverged if min(lost) < len(ensemble.dynamics.observables) else _failed
        return told(ensemble, reference, alpha, resolution)
    known = known_bias(bias, ensemble, rows)
    points = compare(ensemble, reference, known)
    far = np.abs(points.delta + points.taken) > 2 * points.range
    bounded = not ensemble.dynamics.raw  # a norm that grows takes means anywhere
    if far.any() and bounded and not ensemble.scheme.traits.unitary:
        return _diverged(ensemble, reference, alpha, resolution)
    if repeated := _dependence(ensemble, points):
        return _without_numbers(
            "fail", repeated, ensemble, reference, alpha, resolution
        )
    return _judged(ensemble, reference, known, points, alpha, resolution)


def _check_number(name: str, value: Any) -> None:
    """Refuse what is not a real number between 0 and 1."""
    real = isinstance(value, (int, float, np.integer, np.floating))
    if not real or not 0 < value < 1:
        raise ModelError(f"`{name}` must be between 0 and 1, but is {value!r:.60}")


def _judged(
    ensemble: Ensemble,
    reference: Reference,
    known: KnownBias,
    points: Points,
    alpha: float,
    resolution: float,
) -> Verdict:
    """Return the verdict on deviations of independent trajectories."""
    broken = ~points.random & (np.abs(points.delta) > points.allowed)
    factor = standardized(points, points.regular)
    means = mean_scores(points, factor)
    rates = rate_scores(reference, points, factor)
    scores = [*means.values(), *rates.values()]
    z = points.deviates(beyond_allowed=True)
    law = _joint_law(points, factor, scores, reference.mcse is not None)
    critical = law.quantile(alpha) if law else 0.0
    max_z = max([float(np.abs(z).max()), *(score.z for score in scores)])
    p_value = law.tail(max_z) if law else 1.0
    if np.isnan(max_z) or np.isnan(z).any():
        p_value = np.nan
    if broken.any():
        max_z, p_value = np.inf, 0.0
    found = remedy(ensemble, known, points, means, critical, resolution)
    failed = p_value < alpha
    if np.isnan(p_value):
        found.reasons.append("inconclusive: deviations are not finite numbers")
    shape = (len(points.names), points.times.size)
    unknown = np.nan if known.source == "unknown" else 0.0
    taken = points.taken.reshape(shape) + unknown
    errors = np.where(points.random & (points.error > 0), points.error, np.inf)
    return Verdict(
        status="fail" if failed else "inconclusive" if found.reasons else "pass",
        p_value=p_value,
        max_z=max_z,
        where=_where(points, z, broken, scores),
        detectable_shift=detectable_shift(points, means, critical),
        detectable_rate={name: s.reach(critical) for name, s in rates.items()},
        rate_error={name: (s.estimate, s.error) for name, s in rates.items()},
        bias=float((np.abs(taken).ravel() / errors).max()),
        step_bias=taken,
        bias_error=points.doubt.reshape(shape) + unknown,
        bias_from=known.source,
        critical_z=critical,
        z=points.deviates(beyond_allowed=False).reshape(shape),
        error=points.error.reshape(shape),
        names=points.names,
        times=points.times,
        alpha=alpha,
        resolution=resolution,
        n_traj=ensemble.n_traj,
        reasons=() if failed else tuple(found.reasons),
        n_needed=None if failed else found.n_traj,
        dt_needed=None if failed else found.dt,
    )


def _dependence(ensemble: Ensemble, points: Points) -> str | None:
    """Say how trajectories depend on each other, if they do."""
    if ensemble.provenance["stratified"]:  # its batches are not those of one law
        return None
    often = points.regular & (np.square(points.skewness) * OFTEN <= 1)
    if not often.any():
        return None
    factor, size = standardized(points, often), ensemble.statistics.size
    observable = points.observable[often]
    curves = [factor[:, observable == o].mean(axis=1) for o in np.unique(observable)]
    lag = lag_of_repetition(np.stack(curves, axis=1))
    if lag is not None:
        return (
            f"trajectories repeat themselves after {lag * size}: random numbers were "
            "used more than once"
        )
    sd = points.own[often] * np.sqrt(ensemble.n_traj)
    scatter, limit = scatter_of_batches(points.batches[:, often] / sd, size)
    if (scatter > limit).any():
        return (
            f"trajectories depend on each other: means over {size} of them scatter "
            f"{scatter.max():.3g} times as much as those of independent ones"
        )
    return None


def verify_together(
    pairs: Sequence[tuple[Ensemble, Reference]],
    *,
    alpha: float = 1e-3,
    resolution: float = 0.1,
) -> list[Verdict]:
    """Judge several ensembles, each against its reference, at one common level.

    Parameters
    ----------
    pairs : sequence of (Ensemble, Reference)
        What to compare. Pairs may share an ensemble: Holm's rule needs no independence.
    alpha : float, default 1e-3
        Probability that any correct model fails.
    resolution : float, default 0.1
        As in `verify`.

    Returns
    -------
    list of Verdict
        Each at the level ``alpha / (K - R)``, with R of K verdicts failed.

    Raises
    ------
    ModelError
        As `verify` does.
    """
    _check_number("alpha", alpha)
    if not isinstance(pairs, (list, tuple)):
        raise ModelError(
            "`pairs` must be a list of (ensemble, reference) tuples, "
            f"but is {type(pairs).__name__}"
        )
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ModelError(
                f"`pairs` must be (ensemble, reference) tuples, but hold {pair!r:.60}"
            )
    level, found = alpha / max(len(pairs), 1), list[Verdict]()
    while True:
        found = [verify(e, r, alpha=level, resolution=resolution) for e, r in pairs]
        common = holm_level([verdict.p_value for verdict in found], alpha)
        if common == level:
            return found
        level = common


def _lost(ensemble: Ensemble, rows: list[int]) -> list[int]:
    """Return which rows have means or errors that are not finite."""
    found = np.isfinite(ensemble.mean) & np.isfinite(ensemble.moments.sd)
    return [row for row in rows if not found[row].all()]


def _joint_law(
    points: Points, factor: Floats, scores: Sequence[Score], sampled: bool
) -> MaxLaw | IndependentLaw | None:
    """Return the law of the largest deviation over points and scores.

    How the points of a sampled reference are correlated is not known, nor is it where
    there are few batches: then the bound for any correlation serves.
    """
    if not points.random.any():
        return None
    if sampled or factor.shape[0] < FEWEST:
        return IndependentLaw(int(points.random.sum()) + len(scores))
    columns = [standardized(points, points.random)]
    for score in scores:
        column = factor @ score.weights
        columns.append((column / np.linalg.norm(column))[:, None])
    return MaxLaw(np.hstack(columns))


def _where(points: Points, z: Floats, broken: Any, scores: Sequence[Score]) -> str:
    """Name what deviates most."""
    sizes = np.abs(points.delta) * broken if broken.any() else np.abs(z)
    most = max(scores, key=lambda score: score.z, default=None)
    if not broken.any() and most is not None and most.z > sizes.max():
        return most.label
    o, t = divmod(int(sizes.argmax()), points.times.size)
    at = f"{points.names[o]!r} at t = {points.times[t]:.4g}"
    return f"{at}, which no trajectory can change" if broken.any() else at
