"""Events that a sample may have missed, and how many stand behind its means."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Floats
from stochq.ensemble import Ensemble

__all__ = ["DUST", "HANDFUL", "SHOWN", "STILL", "Rare", "rare_events"]

#: Spreads below this part of an observable's range are rounding, not events.
STILL = 1e-12

#: Deviations below this part of an observable's range are rounding anywhere.
DUST = 1e-14

#: A mean that rests on fewer events than this has no law but that of counts.
FEW = 25

#: A spread that so many of the largest events would make hides none: where z standard
#: errors are missing, z sqrt(10) of them would be, which happens with the probability
#: exp(-z sqrt(10)), less than that of a normal deviate up to z = 5.6.
HIDING = 10

#: Jumps of one operator, or members of a mixture, that show what they do.
SHOWN = 100

#: Dimensions in which no observable has narrow peaks.
SMALL = 4

#: Part of all directions that may be few.
DIRECTIONS = 0.25

#: Kurtosis above which a law may have a tail that the sample does not show; a normal
#: law has 3, its square 15.
HEAVY = 20

#: So many jumps that nothing hides behind them.
MANY = 2**62

#: Fewer events than this do not show how large events are.
HANDFUL = 10


class Rare(NamedTuple):
    """What is known of rare events (O, T).

    ``size`` is how much one event moves the mean, ``events`` how many of that size make
    the spread, ``seen_at`` how many times as many trajectories would show them.
    """

    size: Floats
    events: Floats
    seen_at: Floats


def _shown(ensemble: Ensemble) -> Floats:
    """Return how often the rarest kind of event has come up, in units of `SHOWN` (T,).

    That is every jump operator, and every member of a mixed initial state.
    """
    members = ensemble.dynamics.initial.probabilities * ensemble.moments.count
    rarest = min(members) if len(members) > 1 else np.inf
    found: Floats = np.minimum(ensemble.jumps.min(axis=0, initial=MANY), rarest) / SHOWN
    return found


def _narrow(ensemble: Ensemble) -> Any:
    r"""Return which observables noise may bring far from zero unseen, bool (O, 1).

    Noise and monitors move every trajectory, and have no events that one could count.
    But an observable that is large in few directions only,

    .. math:: (\mathrm{tr} A^2)^2 / \mathrm{tr} A^4 < d / 4, \qquad
        A = O - \mathrm{tr}(O) / d,

    such as a fidelity, is nearly constant until a trajectory comes across them: only a
    spread as large as that makes shows it. Functions of states count as such.
    """
    dynamics = ensemble.dynamics
    moved = bool(dynamics.noise or dynamics.monitors) and dynamics.dim > SMALL
    narrow = np.full((len(ensemble.names), 1), moved)
    for o, observable in enumerate(dynamics.observables if moved else ()):
        centered = observable - observable.trace() / dynamics.dim * sp.eye_array(
            dynamics.dim
        )
        centered = centered / max(float(abs(centered).max()), 1e-300)
        square = abs(centered @ centered)
        ratio = square.trace() ** 2 / max(float(square.power(2).sum()), 1e-300)
        narrow[o] = ratio < DIRECTIONS * dynamics.dim
    return narrow


def rare_events(ensemble: Ensemble) -> Rare:
    """Return what is known of events that may have been missed.

    One event moves a trajectory's value by at most the range of the observable, or,
    once events have shown what they do, by the largest deviation that any trajectory
    had at any time. Few events stand behind a mean if its skewness says so; or if no
    more than few of the largest would make its spread, before events have come up; or
    where the kurtosis shows a heavy tail and no more than few of the largest so far
    would make its spread: others may lag behind as far as any did before.
    """
    moments = ensemble.moments
    ranges = ensemble.weight * ensemble.ranges[:, None]
    deviation = np.maximum(moments.high - moments.mean, moments.mean - moments.low)
    largest = deviation.max(axis=1, keepdims=True)
    shown = np.where(_narrow(ensemble), 0.0, _shown(ensemble))
    known = (shown >= 1) & (largest > DUST * ranges) & (moments.events >= HANDFUL)
    size = np.where(known, largest, ranges)
    events = moments.m2 / np.square(np.where(size > 0, size, 1.0))
    so_far = np.minimum(np.maximum.accumulate(deviation, axis=1), ranges)
    full, few = (
        moments.m2 / np.square(np.where(unit > 0, unit, 1.0)) / HIDING
        for unit in (ranges, so_far)
    )
    heavy = moments.count * np.square(moments.variance_doubt) + 1 > HEAVY
    share = np.minimum(moments.events / FEW, np.maximum(shown, full))
    share = np.minimum(share, np.where(heavy, few, np.inf))
    share = np.where(moments.sd > STILL * ranges, share, 0.0)
    seen_at = np.where(ensemble.deterministic, 1.0, 1.0 / share.clip(1e-300))
    return Rare(size / moments.count, events, seen_at)
