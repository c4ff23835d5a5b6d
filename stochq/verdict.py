"""The verdict: whether trajectories and their averaged equation agree.

Every mean is compared with its reference at every time, every observable by the mean of
its curve, and every named rate by its own score. The family-wise p-value is that of the
largest deviation, under the joint law of all of them. Three things are kept apart: the
sampling error, the step bias, and the smallest fault that would have been caught.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm
from scipy.stats import t as student

from stochq.arrays import Floats
from stochq.ensemble import Ensemble
from stochq.errors import ModelError
from stochq.maxima import MaxLaw
from stochq.references import Reference
from stochq.scores import (
    Points,
    Score,
    compare,
    mean_scores,
    rate_scores,
    standardized,
)

__all__ = ["Verdict", "verify"]

#: Probability with which a fault of the detectable size is caught.
POWER = 0.99

#: Relative error allowed for in an exact step bias.
BIAS_UNCERTAINTY = 0.1

#: The same for an estimated one, of its largest value over the times: two steps cannot
#: tell whether the declared order, with which they are extrapolated, has set in.
ESTIMATE_UNCERTAINTY = 0.5

#: Fewer trajectories than this never pass: their own errors are not known well enough.
FEWEST = 100

#: Standard errors of an estimated step bias that are allowed for.
BIAS_SIGMAS = 3.0

Status = Literal["pass", "fail", "inconclusive"]
BiasFrom = Literal["exact", "estimate", "given", "unknown"]

#: How a step bias became known, in words.
BIAS_WORDS = {
    "exact": "computed exactly and taken off",
    "estimate": "estimated from dt and dt/2 on common paths and taken off",
}


@dataclass(frozen=True, eq=False)
class Verdict:
    """PASS, FAIL or INCONCLUSIVE, with the numbers behind it.

    Attributes
    ----------
    status : "pass", "fail" or "inconclusive"
        Fail: the deviation is too large for chance (p < alpha). Inconclusive: it is
        not, but a fault of the size asked for would have gone unnoticed.
    p_value : float
        Probability of a largest deviation like this one if the reference is right,
        over all observables, times and rates together.
    max_z : float
        Largest deviation beyond the step bias, in standard errors.
    where : str
        What deviates most.
    detectable_shift : float
        Smallest shift of an observable's curve (its mean over the compared times)
        caught with 99 % probability, in units of its scale: the excursion of the
        reference over the times, or the largest spread of single trajectories if that
        is more. The worst observable counts.
    detectable_rate : dict of str to float
        Smallest relative change of each named rate caught with 99 % probability.
    rate_error : dict of str to (float, float)
        Estimated relative error of each named rate, and its standard error.
    bias : float
        Largest step bias, in standard errors at the same point (NaN if unknown).
    step_bias : ndarray, shape (O, T)
        The step bias that was taken off, in each observable's unit (NaN if unknown, 0
        where a bound was given instead).
    bias_from : "exact", "estimate", "given" or "unknown"
        Whether it was computed without sampling, or estimated from steps dt and dt/2 on
        common paths.
    critical_z : float
        Deviation at which p = alpha.
    z : ndarray, shape (O, T)
        Signed deviation of every compared point beyond the step bias, in units of
        `error`.
    error : ndarray, shape (O, T)
        Standard errors that the verdict used: ``ensemble.mcse``, enlarged where a mean
        rests on few rare events.
    names : tuple of str
        Compared observables, the rows of `z`.
    times : ndarray, shape (T,) [time]
        Compared times, the columns of `z`.
    alpha, resolution : float
        The false-alarm probability, and the detectable shift asked for.
    n_traj : int
        Trajectories behind it.
    reasons : tuple of str
        Why it is inconclusive, with the remedy.
    """

    status: Status
    p_value: float
    max_z: float
    where: str
    detectable_shift: float
    detectable_rate: Mapping[str, float]
    rate_error: Mapping[str, tuple[float, float]]
    bias: float
    step_bias: Floats
    bias_from: BiasFrom
    critical_z: float
    z: Floats
    error: Floats
    names: tuple[str, ...]
    times: Floats
    alpha: float
    resolution: float
    n_traj: int
    reasons: tuple[str, ...]

    def explain(self) -> str:
        """Return the verdict in words, one statement per line."""
        p = f"= {self.p_value:.2g}" if self.p_value >= 1e-300 else "< 1e-300"
        if np.isnan(self.critical_z):  # means that no state can have
            return f"{self.status.upper()}: {self.where}"
        lines = [
            f"{self.status.upper()}: largest deviation {self.max_z:.3g} standard "
            f"errors ({self.where}), p {p}, alpha = {self.alpha:g}",
            f"sampling error: {self.n_traj} trajectories; p < alpha needs "
            f"{self.critical_z:.2f} standard errors over {self.z.size} points",
        ]
        if not np.any(self.z):
            lines[1] = (
                "sampling error: none, no compared point differs from its reference"
            )
        if self.bias_from in ("unknown", "given"):
            lines.append(f"step bias: {self.bias_from}")
        elif self.bias == 0:
            lines.append("step bias: none")
        else:
            lines.append(
                f"step bias: at most {self.bias:.3g} standard errors, "
                + BIAS_WORDS[self.bias_from]
            )
        lines.append(
            f"would have caught: a shift of {100 * self.detectable_shift:.3g} % of "
            f"scale (asked for: {100 * self.resolution:.3g} %)"
        )
        for name, rate in self.detectable_rate.items():
            error, spread = self.rate_error[name]
            lines.append(
                f"  rate {name!r} off by {rate:.2%} "
                f"(found, if it alone is wrong: {error:+.2%} +- {spread:.2%})"
            )
        return "\n".join([*lines, *self.reasons])

    def __repr__(self) -> str:
        """Give the first line of the explanation."""
        return self.explain().splitlines()[0]


class _Bias(NamedTuple):
    """Step bias (O, T): what is known of it, and what may be wrong with that."""

    known: Floats
    bound: Floats
    source: BiasFrom


def _step_bias(bias: Any, ensemble: Ensemble, rows: list[int]) -> _Bias:
    """Return the step bias, or the bound given in its place; only `rows` matter."""
    zero = np.zeros_like(ensemble.mean)
    if bias is None:
        exact = ensemble.doubted_bias
        if exact is not None and np.isfinite(np.array(exact)[:, rows]).all():
            known, doubt = exact
            bound = BIAS_UNCERTAINTY * np.abs(known) + _over_times(doubt)
            return _Bias(known, bound, "exact")
        estimate = ensemble.estimated_bias
        if estimate is None or np.isnan(np.array(estimate)[:, rows]).any():
            return _Bias(zero, zero, "unknown")
        values, error = estimate
        size = np.abs(values).max(axis=1, keepdims=True)
        bound = ESTIMATE_UNCERTAINTY * size + BIAS_SIGMAS * error
        return _Bias(values, bound, "estimate")
    array = np.asarray(bias)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ModelError(f"`bias` must be finite real numbers, but is {bias!r:.60}")
    array = np.abs(array.astype(np.float64))
    if array.ndim and array.shape != zero.shape:
        raise ModelError(
            f"`bias` must be a number or have shape {zero.shape}, "
            f"but has shape {array.shape}"
        )
    return _Bias(zero, zero + array, "given")


def _over_times(curves: Floats) -> Floats:
    """Return the largest value over all times so far, at every time, shape (O, T).

    A bias may pass through zero; what is not known of it does not.
    """
    largest: Floats = np.maximum.accumulate(curves, axis=1)
    return largest


def _normal_equivalent(z: Floats, freedom: Any) -> Floats:
    """Return the normal deviate with the tail probability of Student's t."""
    normal = norm.isf(student.sf(z, freedom))
    # where the tail underflows, any number this large means the same
    result: Floats = np.where(np.isfinite(normal), normal, np.maximum(z, 30.0))
    return np.where(z <= 0, 0.0, result)


def _shift(points: Points, means: Mapping[str, Score], reach: float) -> float:
    """Return the detectable shift of the worst observable, in units of its scale."""
    worst = 0.0
    for o, name in enumerate(points.names):
        mine = points.observable == o
        if name in means:
            size = reach * means[name].error + means[name].allowed
        else:  # no point rests on many events: take the points one by one
            each = reach * points.error * points.random + points.allowed
            size = float(each[mine].max())
        worst = max(worst, size / float(points.scale[mine][0]))
    return worst


def _reasons(
    ensemble: Ensemble, bias: _Bias, points: Points, shift: float, resolution: float
) -> list[str]:
    """Say why a run that does not fail cannot pass either, and what would help."""
    reasons, n = [], ensemble.n_traj
    if bias.source == "unknown":
        reasons.append(
            "inconclusive: the step bias of this scheme is unknown for what is "
            "compared here; pass `bias=`, for example the difference to a run with dt/2"
        )
    if not (points.times > ensemble.times[0]).any():
        reasons.append("inconclusive: only the initial state was compared")
    if np.isinf(points.error).any():
        reasons.append(
            "inconclusive: a function without `limits` has hardly fluctuated: how much "
            "rare events matter is not known"
        )
    elif not np.isfinite(shift):
        reasons.append("inconclusive: the errors are not finite numbers")
    if n < FEWEST:
        reasons.append(f"inconclusive: fewer than {FEWEST} trajectories")
    taken = float((np.abs(points.taken) / points.scale).max())
    floor = float((points.allowed / points.scale).max())
    if taken > resolution or (shift > resolution and floor > 0.5 * resolution):
        reasons.append(
            f"inconclusive: the step bias is {max(taken, floor):.3g} of scale; "
            "use a smaller dt"
        )
    elif np.isfinite(shift) and shift > resolution:
        needed = n * ((shift - floor) / (resolution - floor)) ** 2
        reasons.append(
            f"inconclusive: a shift below {shift:.2%} of scale would go unnoticed; "
            f"about {needed:.2g} trajectories would resolve {resolution:.2%}"
        )
    return reasons


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
    biases b and the correlation R of the means, estimated from batches. Points that no
    trajectory can change (conserved quantities) must agree to rounding.

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
    for name, value in (("alpha", alpha), ("resolution", resolution)):
        if not isinstance(value, (int, float, np.number)) or not 0 < value < 1:
            raise ModelError(f"`{name}` must be between 0 and 1, but is {value}")
    rows = [ensemble.names.index(n) for n in reference.names if n in ensemble.names]
    found = (ensemble.mean[rows], ensemble.moments.sd[rows])
    finite = np.isfinite(np.array(found)).all(axis=(0, 2))
    if not finite.all():
        observables = len(ensemble.dynamics.observables)
        if all(row >= observables for row in np.array(rows)[~finite].tolist()):
            return _failed(ensemble, reference, alpha, resolution)
        return _diverged(ensemble, reference, alpha, resolution)
    biases = _step_bias(bias, ensemble, rows)
    points = compare(ensemble, reference, biases.known, biases.bound)
    far = np.abs(points.delta + points.taken) > 2 * points.range
    bounded = not ensemble.dynamics.raw  # a norm that grows takes means anywhere
    if far.any() and bounded and not ensemble.scheme.traits.unitary:
        return _diverged(ensemble, reference, alpha, resolution)
    excess = np.abs(points.delta) - points.allowed
    broken = ~points.random & (excess > 0)
    factor = standardized(points, points.regular)
    means = mean_scores(points, factor)
    rates = rate_scores(reference, points, factor)
    scores = [*means.values(), *rates.values()]
    errors = np.where(points.random & (points.error > 0), points.error, np.inf)
    z = _normal_equivalent(excess / errors, ensemble.n_traj - 1)
    score_z = _normal_equivalent(
        np.array([score.z for score in scores]), max(factor.shape[0] // 2 - 1, 1)
    )
    law = _joint_law(points, factor, scores)
    critical = law.quantile(alpha) if law else 0.0
    max_z = max(float(z.max()), float(score_z.max(initial=0.0)))
    p_value = law.tail(max_z) if law else 1.0
    if np.isnan(z).any() or np.isnan(score_z).any():
        p_value = np.nan
    if broken.any():
        max_z, p_value = np.inf, 0.0
    reach = critical + float(ndtri(POWER))
    shift = _shift(points, means, reach)
    reasons = _reasons(ensemble, biases, points, shift, resolution)
    failed = p_value < alpha
    if np.isnan(p_value):
        reasons.append("inconclusive: deviations are not finite numbers")
    shape = (len(points.names), points.times.size)
    taken = points.taken.reshape(shape) + (
        np.nan if biases.source == "unknown" else 0.0
    )
    return Verdict(
        status="fail" if failed else "inconclusive" if reasons else "pass",
        p_value=p_value,
        max_z=max_z,
        where=_where(points, z, broken, scores, score_z),
        detectable_shift=shift,
        detectable_rate={k: reach * s.error + s.allowed for k, s in rates.items()},
        rate_error={k: (s.estimate, s.error) for k, s in rates.items()},
        bias=float((np.abs(taken).ravel() / errors).max()),
        step_bias=taken,
        bias_from=biases.source,
        critical_z=critical,
        z=(points.delta / errors).reshape(shape),
        error=points.error.reshape(shape),
        names=points.names,
        times=points.times,
        alpha=alpha,
        resolution=resolution,
        n_traj=ensemble.n_traj,
        reasons=() if failed else tuple(reasons),
    )


def _joint_law(points: Points, factor: Floats, scores: list[Score]) -> MaxLaw | None:
    """Return the law of the largest deviation over points and scores."""
    if not points.random.any():
        return None
    columns = [standardized(points, points.random)]
    for score in scores:
        column = factor @ score.weights
        columns.append((column / np.linalg.norm(column))[:, None])
    joint = np.hstack(columns)
    if joint.shape[0] < FEWEST:  # too few batches to tell correlation: assume none
        joint = np.eye(joint.shape[1])
    return MaxLaw(joint)


def _where(
    points: Points, z: Floats, broken: Any, scores: list[Score], score_z: Floats
) -> str:
    """Name what deviates most."""
    if not broken.any() and score_z.max(initial=0.0) > z.max():
        return scores[int(score_z.argmax())].label
    worst = int((np.abs(points.delta) * broken if broken.any() else z).argmax())
    o, t = divmod(worst, points.times.size)
    at = f"{points.names[o]!r} at t = {points.times[t]:.4g}"
    return f"{at}, which no trajectory can change" if broken.any() else at
