"""What a verdict says: PASS, FAIL or INCONCLUSIVE, with the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stochq.arrays import Floats
from stochq.evidence.biases import BiasFrom

__all__ = ["BIAS_WORDS", "Status", "Verdict"]

Status = Literal["pass", "fail", "inconclusive"]

#: Errors below this part of the largest are rounding.
ROUNDING = 1e-9

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
        Smallest relative change of each named rate caught with 99 % probability, to
        first order in the change: a size above some 20 % is a rough one.
    rate_error : dict of str to (float, float)
        Estimated relative error of each named rate, and its standard error.
    bias : float
        Largest step bias, in standard errors at the same point (NaN if unknown).
    step_bias : ndarray, shape (O, T)
        The step bias that was taken off, in each observable's unit (NaN if unknown, 0
        where a bound was given instead).
    bias_error : ndarray, shape (O, T)
        How far it may be off, the half-width of its interval (NaN if unknown). It is
        allowed for at every point.
    bias_from : "exact", "estimate", "given" or "unknown"
        Whether it was computed without sampling, or estimated from steps dt and dt/2 on
        common paths.
    critical_z : float
        Deviation at which p = alpha.
    z : ndarray, shape (O, T)
        Signed deviation of every compared point, as the normal deviate of the same
        probability: about ``(mean - step_bias - reference) / error``, but for the
        skewness of means of rare events. What is allowed for is still in it.
    error : ndarray, shape (O, T)
        Standard errors of the deviations: ``ensemble.mcse``, more where a mean rests
        on few rare events or the reference was itself sampled.
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
    n_needed : int or None
        About how many trajectories would decide, if that is what it takes; with a
        margin of a quarter, since errors differ from run to run.
    dt_needed : float or None
        Which step would decide, if that is what it takes.
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
    bias_error: Floats
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
    n_needed: int | None = None
    dt_needed: float | None = None

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
                "sampling error: none, or too few events to tell: no point fluctuates"
            )
        if self.bias_from in ("unknown", "given"):
            lines.append(f"step bias: {self.bias_from}")
        elif self.bias == 0:
            lines.append("step bias: none")
        else:
            moving = self.error > ROUNDING * self.error.max()
            errors = np.where(moving, self.error, np.inf)
            doubt = float((self.bias_error / errors).max())
            lines.append(
                f"step bias: at most {self.bias:.3g} standard errors, "
                f"{BIAS_WORDS[self.bias_from]}; {doubt:.2g} more allowed for"
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
