r"""When a run has seen enough: tolerances, looked at seldom and with reserve.

A run that stops as soon as its error bar looks small stops too early, the more so the
oftener it looks and the rarer its events are. Four things keep the error at its nominal
size: a floor, looks at sizes that grow geometrically, upper limits in place of the
estimates, and an allowance for events that have not been seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from stochq.arrays import Floats, whole_number
from stochq.statistics.moments import Moments

__all__ = [
    "FLOOR",
    "Goal",
    "Tolerance",
    "Tolerances",
    "as_goal",
    "cautious_error",
    "goal_of",
    "looks",
]

#: Standard errors of the variance that its upper limit lies above it.
RESERVE = 2.0

#: Events that stay unseen count as a standard error of this many of them. With z
#: standard errors, the chance to miss so many is exp(-2 z), which is less than what a
#: normal error leaves beyond z, up to z = 3.
UNSEEN = 2.0

#: Trajectories up to which a float counts them.
MOST = 2**53

#: Atoms at the first look, a power of two of at least 4.
FLOOR = 4


@dataclass(frozen=True)
class Tolerance:
    r"""The standard error at which an observable is known well enough.

    .. math:: \sigma_O(t) \le \mathrm{absolute} + \mathrm{relative}\,
        \max_s \bigl(|\bar O(s)| - \sigma_O(s)\bigr) \quad\text{at every time } t

    A run that waits for a large mean ends when chance makes it large, so the mean is
    taken one standard error smaller. What is 0 at all times cannot be known relative to
    itself: add an absolute tolerance.

    Parameters
    ----------
    absolute : float, default 0
        In the observable's unit.
    relative : float, default 0
        In units of the largest mean over all times.

    Raises
    ------
    ValueError
        If one is negative or not finite, or both are 0.
    """

    absolute: float = 0.0
    relative: float = 0.0

    def __post_init__(self) -> None:
        """Check both."""
        for name in ("absolute", "relative"):
            value = getattr(self, name)
            number = isinstance(value, (int, float, np.number))
            if not number or isinstance(value, bool) or not 0 <= value < np.inf:
                raise ValueError(
                    f"`{name}` of a Tolerance must be a finite number >= 0, "
                    f"but is {value!r:.60}"
                )
            object.__setattr__(self, name, float(value))
        if self.absolute == self.relative == 0:
            raise ValueError(
                "`tolerance` must be > 0, but is 0, which no number of trajectories "
                "reaches"
            )

    def ratio(self, error: Floats, scale: float) -> float:
        """Return the largest error in units of what is allowed at this mean."""
        largest, allowed = float(error.max()), self.absolute + self.relative * scale
        if not np.isfinite(largest + scale):
            return np.nan
        if largest == 0:
            return 0.0
        return float(largest / allowed) if allowed > 0 else np.inf


#: One for all observables, or some by name; a number is an absolute tolerance.
Tolerances: TypeAlias = float | Tolerance | Mapping[str, float | Tolerance]


@dataclass(frozen=True)
class Goal:
    """What a run stops at; the first that is reached counts.

    Attributes
    ----------
    n_traj : int or None
        A number of trajectories.
    tolerance : tuple of (Tolerance or None), or None
        One for each observable; None: that observable does not matter.
    max_time : float or None
        Wall time [s].
    """

    n_traj: int | None = None
    tolerance: tuple[Tolerance | None, ...] | None = None
    max_time: float | None = None

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the same in plain values, which `goal_of` reads."""
        tolerances = dict(zip(names, self.tolerance or (), strict=False))
        asked = {k: [t.absolute, t.relative] for k, t in tolerances.items() if t}
        return {
            "n_traj": self.n_traj,
            "tolerance": asked or None,
            "max_time": self.max_time,
        }

    def ratio(self, moments: Moments, ranges: Floats, fixed: Any) -> float:
        """Return the largest error in units of its tolerance.

        It is NaN where values are not finite, and infinite without a tolerance, or if
        a relative one has no mean yet to be relative to.
        """
        if self.tolerance is None:
            return np.inf
        errors = cautious_error(moments, ranges, fixed)
        scales = np.maximum(np.abs(moments.mean) - errors, 0.0).max(axis=1)
        ratios = [
            asked.ratio(error, scale)
            for asked, error, scale in zip(self.tolerance, errors, scales, strict=True)
            if asked is not None
        ]
        return float(np.max(ratios))  # NaN if one of them is


def _as_tolerance(value: Any, argument: str) -> Tolerance:
    """Return a tolerance, absolute if it is a number."""
    if isinstance(value, Tolerance):
        return value
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not 0 < value < np.inf:
        raise ValueError(
            f"`{argument}` must be a finite number > 0 or a Tolerance, "
            f"but is {value!r:.60}"
        )
    return Tolerance(float(value))


def as_goal(n_traj: Any, tolerance: Any, max_time: Any, names: Sequence[str]) -> Goal:
    """Return the goal of a run, checked.

    Raises
    ------
    ValueError
        If there is none, one is out of range, or an observable is unknown.
    """
    if n_traj is None and tolerance is None and max_time is None:
        raise ValueError(
            "`n_traj`, `tolerance` or `max_time` must say when to stop, "
            "but none is given"
        )
    if n_traj is not None:
        n_traj = whole_number(n_traj, "n_traj", at_least=2)
        if n_traj > MOST:
            raise ValueError(f"`n_traj` must be at most 2^53, but is {n_traj!r:.60}")
    if max_time is not None:
        number = isinstance(max_time, (int, float, np.number))
        if not number or isinstance(max_time, bool) or not 0 < max_time < np.inf:
            raise ValueError(
                "`max_time` must be a finite number of seconds > 0, "
                f"but is {max_time!r:.60}"
            )
        max_time = float(max_time)
    return Goal(n_traj, _by_observable(tolerance, names), max_time)


def _by_observable(
    tolerance: Any, names: Sequence[str]
) -> tuple[Tolerance | None, ...] | None:
    """Return one tolerance for each observable."""
    if tolerance is None:
        return None
    if not isinstance(tolerance, Mapping):
        return (_as_tolerance(tolerance, "tolerance"),) * len(names)
    unknown = [name for name in tolerance if name not in names]
    if unknown or not tolerance:
        raise ValueError(
            f"`tolerance` must name observables among {list(names)}, "
            f"but names {unknown or 'none'}"
        )
    return tuple(
        _as_tolerance(tolerance[name], f"tolerance[{name!r}]")
        if name in tolerance
        else None
        for name in names
    )


def goal_of(record: Mapping[str, Any], names: Sequence[str]) -> Goal:
    """Return a goal from its record.

    Raises
    ------
    ValueError
        If it is none.
    """
    asked = record.get("tolerance")
    if asked is not None:
        try:
            asked = {str(k): Tolerance(*map(float, v)) for k, v in asked.items()}
        except (AttributeError, TypeError) as error:
            raise ValueError("`tolerance` must be a table of pairs") from error
    return as_goal(record.get("n_traj"), asked, record.get("max_time"), names)


def cautious_error(moments: Moments, ranges: Floats, fixed: Any) -> Floats:
    r"""Return an upper limit of the standard error of the mean, shape (O, T).

    .. math:: \sigma^2 = \frac{s^2}{n} \Bigl(1 + 2 \sqrt{(\kappa - 1)/n}\Bigr)
        + \Bigl(\frac{2 R}{n}\Bigr)^2

    with the kurtosis kappa of the sample, so that the variance is taken two of its own
    standard errors larger, and the range R of the observable. An event that moves a
    trajectory by R and happens with probability p is unseen in n of them with
    probability exp(-p n); the mean is then off by p R, which is z sigma at p n = 2 z.

    Where no range is known, it is that of 0 and the values that were seen. Rare events
    of such a function that reach much farther can be missed; with stated limits they
    cannot.

    Parameters
    ----------
    moments : Moments
        Of the trajectories so far.
    ranges : ndarray, shape (O,)
        Largest minus smallest possible value, NaN if unknown.
    fixed : ndarray of bool, shape (O, T)
        Where every trajectory has the same value, and the error is 0.
    """
    n = moments.count
    high, low = moments.high.max(axis=1), moments.low.min(axis=1)
    seen = high.clip(0.0, None) - low.clip(None, 0.0)
    reach = np.fmax(ranges, seen)[:, None]  # explicit schemes may leave the range
    doubt = np.where(moments.m2 > 0, moments.variance_doubt, 0.0)
    variance = np.square(moments.mcse) * (1 + RESERVE * doubt)
    error: Floats = np.sqrt(variance + np.square(UNSEEN * reach / n))
    return np.where(fixed, 0.0, error)


def looks(first: int) -> Iterator[int]:
    """Yield numbers of atoms to look at: 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ...

    They are multiples of large powers of two, so that tasks need not be cut up.

    Parameters
    ----------
    first : int
        The first one to yield is at least this.
    """
    quarter = FLOOR // 4
    while True:
        yield from (n * quarter for n in (4, 5, 6, 7) if n * quarter >= first)
        quarter *= 2
