"""Why a run cannot pass, and what would help: more trajectories, or a smaller step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from stochq.ensemble import Ensemble
from stochq.evidence.biases import KnownBias
from stochq.evidence.points import Points
from stochq.evidence.rare import SHOWN
from stochq.evidence.scores import Score

__all__ = ["FEWEST", "Remedy", "detectable_shift", "remedy"]

#: Fewer trajectories than this never pass: their own errors are not known well enough.
FEWEST = 100

#: More trajectories than this are no remedy.
MOST = 1e15

#: By how much more than just enough a remedy is: errors differ from run to run.
MARGIN = 1.25

#: Part of the resolution that a remedy leaves to the step bias and to its doubt.
BIAS_PART, DOUBT_PART = 0.5, 0.25


class Remedy(NamedTuple):
    """Reasons in words, and how many trajectories or which step would decide."""

    reasons: list[str]
    n_traj: int | None
    dt: float | None


def detectable_shift(
    points: Points, means: Mapping[str, Score], critical: float, more: float = 1.0
) -> float:
    """Return the detectable shift of the worst observable, in units of its scale.

    Parameters
    ----------
    points : Points
        What was compared.
    means : dict of str to Score
        The mean of each observable's curve, where it is known.
    critical : float
        Deviate at which a verdict fails.
    more : float
        With how many times as many trajectories.
    """
    grown = points if more == 1 else points.grown(more)
    each = grown.reach(critical)
    worst = 0.0
    for o, name in enumerate(points.names):
        mine = points.observable == o
        if name in means:
            size = means[name].reach(critical, more)
        else:  # no point rests on many events: take the points one by one
            size = float(each[mine].max())
        worst = max(worst, size / float(points.scale[mine][0]))
    return worst


def remedy(
    ensemble: Ensemble,
    bias: KnownBias,
    points: Points,
    means: Mapping[str, Score],
    critical: float,
    resolution: float,
) -> Remedy:
    """Say why a run that does not fail cannot pass either, and what would help."""
    n = ensemble.n_traj
    shift = detectable_shift(points, means, critical)
    reasons = _unknowns(ensemble, bias, points, shift)
    needed: int | None = None
    step: float | None = None
    if n < FEWEST:
        needed = FEWEST
        reasons.append(f"inconclusive: fewer than {FEWEST} trajectories")
    rest = points.allowed - points.doubt
    taken, doubt, sampled, other = (
        float((np.abs(part) / points.scale).max())
        for part in (points.taken, points.doubt, points.sampled, rest)
    )
    if taken > resolution or (shift > resolution and doubt > 0.5 * resolution):
        if sampled > 0.5 * doubt and taken <= resolution:
            needed = _rounded_up(n * (sampled / (DOUBT_PART * resolution)) ** 2)
            reasons.append(
                f"inconclusive: the step bias is only known to {doubt:.3g} of scale; "
                f"about {needed} trajectories would tell it"
            )
        else:
            step = _smaller_step(ensemble, taken, doubt, resolution)
            cure = "use a smaller dt" if step is None else f"use dt <= {step:.2g}"
            reasons.append(
                f"inconclusive: the step bias is {max(taken, doubt):.3g} of scale; "
                + cure
            )
    elif shift > resolution and other > 0.5 * resolution:
        reasons.append(
            f"inconclusive: the reference is only known to {other:.3g} of scale"
        )
    elif np.isfinite(shift) and shift > resolution:
        more = _more_trajectories(points, means, critical, resolution)
        cure = "no number of trajectories would resolve"
        if more is not None:
            needed = max(_rounded_up(n * more), FEWEST)
            cure = f"about {needed} trajectories would resolve"
        reasons.append(
            f"inconclusive: a shift below {100 * shift:.3g} % of scale would go "
            f"unnoticed{_because(ensemble, points)}; {cure} {100 * resolution:.3g} %"
        )
    return Remedy(reasons, needed, step)


def _unknowns(
    ensemble: Ensemble, bias: KnownBias, points: Points, shift: float
) -> list[str]:
    """Say what is not known at all."""
    reasons = []
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
    return reasons


def _because(ensemble: Ensemble, points: Points) -> str:
    """Say which events have come up too seldom, if that is what limits a run."""
    if not points.unseen.any() or ensemble.jumps.size == 0:
        return ""
    rarest = int(ensemble.jumps[:, -1].argmin())
    name, count = ensemble.dynamics.jump_names[rarest], ensemble.jumps[rarest, -1]
    if count >= SHOWN:
        return ", as some means rest on few of the trajectories"
    often = "once" if count == 1 else f"{count} times"
    return f", as some means rest on few jumps ({name!r} came up {often})"


def _smaller_step(
    ensemble: Ensemble, taken: float, doubt: float, resolution: float
) -> float | None:
    """Return a step whose bias is small enough, by the scheme's declared order."""
    dt, order = ensemble.scheme.dt, ensemble.scheme.traits.weak
    excess = max(taken / (BIAS_PART * resolution), doubt / (DOUBT_PART * resolution))
    if not np.isfinite(dt) or not np.isfinite(excess):
        return None
    return float(dt / excess ** (1.0 / order))


def _rounded_up(count: float) -> int:
    """Return a number of trajectories with a margin, rounded up to two digits."""
    unit: int = 10 ** max(int(np.log10(MARGIN * count)) - 1, 0)
    return int(np.ceil(MARGIN * count / unit)) * unit


def _more_trajectories(
    points: Points, means: Mapping[str, Score], critical: float, resolution: float
) -> float | None:
    """Return how many times as many trajectories would resolve what was asked for."""

    def enough(more: float) -> bool:
        return detectable_shift(points, means, critical, more) <= resolution

    low, high = 0.0, float(np.log2(MOST))
    if not enough(2**high):
        return None
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if enough(2**middle) else (middle, high)
    return float(2**high)
