"""Time dependence: real functions f(t) that multiply an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from scipy.interpolate import make_interp_spline

from stochq.arrays import Floats, Ints, as_array, as_times, read_only, restore
from stochq.errors import ModelError

__all__ = [
    "Envelope",
    "Sampled",
    "as_envelope",
    "as_envelopes",
    "evaluate",
    "step_averages",
]

#: f(t): a Python function of one float, or samples.
Envelope: TypeAlias = Callable[[float], float]

#: Halvings of a step in search of a jump, and the relative difference of two rules
#: below which a function is smooth.
DEPTH, SMOOTH = 40, 1e-10

#: How far outside its samples, in units of their span, a time may round to.
EDGE = 1e-9


@dataclass(frozen=True, eq=False)
class Sampled:
    """A function of time given by samples, interpolated by a spline.

    Parameters
    ----------
    times : array_like, shape (S,)
        Strictly increasing [time].
    values : array_like, shape (S,)
        f at these times, real.
    order : {0, 1, 2, 3}, default 3
        Degree of the spline: 0 holds each value until the next time, 1 draws straight
        lines, 3 is smooth.

    Raises
    ------
    ModelError
        If shapes disagree, a value is not finite, there are too few samples, or f is
        asked for at a time that the samples do not cover.
    """

    times: Floats
    values: Floats
    order: int = 3
    _spline: Any = field(init=False, repr=False)

    __setstate__ = restore

    def __post_init__(self) -> None:
        """Check the samples and fit the spline."""
        times = as_times(self.times)
        values = as_array(self.values, "values")
        if values.shape != times.shape or values.dtype.kind not in "iuf":
            raise ModelError(
                f"`values` of Sampled must be real with shape {times.shape} like "
                f"`times`, but has shape {values.shape} and type {values.dtype}"
            )
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            raise ModelError("`values` of Sampled must be finite, but contains NaN or "
                             "infinity")  # fmt: skip
        whole = isinstance(self.order, (int, np.integer))
        if not whole or isinstance(self.order, bool) or not 0 <= self.order <= 3:
            raise ModelError(
                f"`order` of Sampled must be 0, 1, 2 or 3, but is {self.order!r}"
            )
        if times.size <= self.order:
            raise ModelError(
                f"`times` of Sampled must hold more than {self.order} samples for a "
                f"spline of order {self.order}, but holds {times.size}"
            )
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", read_only(values))
        spline = make_interp_spline(times, values, k=self.order) if self.order else None
        object.__setattr__(self, "_spline", spline)

    def __call__(self, t: Any) -> Any:
        """Return f(t) for one time or an array of times."""
        t = np.asarray(t, dtype=np.float64)
        first, last = self.times[0], self.times[-1]
        slack = EDGE * (last - first)
        if t.size and (t.min() < first - slack or t.max() > last + slack):
            raise ModelError(
                f"the samples of a function of time must cover the times [{t.min():g}, "
                f"{t.max():g}], but cover [{first:g}, {last:g}]"
            )
        t = np.clip(t, first, last)
        if self._spline is None:
            return self.values[np.searchsorted(self.times, t, side="right") - 1]
        return self._spline(t)


def as_envelope(value: Any, name: str) -> Envelope | None:
    """Return a function of time, or None for a constant 1.

    Raises
    ------
    ModelError
        If `value` is neither None nor callable.
    """
    if value is None or callable(value):
        return value  # type: ignore[no-any-return]
    raise ModelError(
        f"`{name}` must be a function of time or Sampled(times, values), "
        f"but is {value!r:.60}"
    )


def as_envelopes(value: Any, channels: int, name: str) -> tuple[Envelope | None, ...]:
    """Return one function of time per channel; one given alone serves all of them."""
    if value is None or callable(value):
        return (as_envelope(value, name),) * channels
    if not isinstance(value, Sequence) or len(value) != channels:
        raise ModelError(
            f"`{name}` must be a function of time, Sampled(times, values), or a "
            f"sequence of {channels} of them, but is {value!r:.60}"
        )
    return tuple(as_envelope(v, f"{name}[{k}]") for k, v in enumerate(value))


def _as_reals(raw: list[Any]) -> Floats | None:
    """Return finite real numbers as an array (T,), or None if one is not."""
    try:
        array = np.array(raw)
    except ValueError:  # they do not even have one shape
        return None
    if (
        array.ndim != 1
        or array.dtype.kind not in "biuf"
        or not np.isfinite(array).all()
    ):
        return None
    return array.astype(np.float64)


def evaluate(envelope: Envelope, times: Floats) -> Floats:
    """Return f at the times, shape (T,).

    Raises
    ------
    ModelError
        If a value is not a finite real number.
    """
    if isinstance(envelope, Sampled):
        values: Floats = envelope(times)
        return values
    try:
        raw = [envelope(t) for t in times.tolist()]
    except TypeError as error:
        raise ModelError(
            f"a function of time must take one number, but fails: {error}"
        ) from error
    except ArithmeticError as error:
        raise ModelError(
            f"a function of time must return a finite number from {times[0]:g} to "
            f"{times[-1]:g}, but fails: {error}"
        ) from error
    array = _as_reals(raw)
    if array is None:
        worst = next(k for k, value in enumerate(raw) if _as_reals([value]) is None)
        raise ModelError(
            "a function of time must return a finite real number, but returned "
            f"{raw[worst]!r:.60} at t = {times[worst]:g}"
        )
    return array


def step_averages(
    envelope: Envelope, starts: Floats, stops: Floats
) -> tuple[Floats, Floats]:
    r"""Return the mean and the root mean square of f over steps, each shape (S,).

    Gauss and Legendre's rule of 8 points, compared with that of 4: where they differ, a
    step is halved, so that pulses and jumps inside a step are found and followed.

    Raises
    ------
    ModelError
        If a value is not a finite real number.
    """
    totals = np.zeros((2, starts.size))
    first, last, owner = _cut_at_samples(envelope, starts, stops)
    scale = 0.0
    for depth in range(DEPTH + 1):
        fine, size = _integrals(envelope, first, last, 8)
        coarse, _ = _integrals(envelope, first, last, 4)
        scale = max(scale, size)
        allowed = SMOOTH * (last - first) * np.array([[scale], [scale**2]])
        good = (np.abs(fine - coarse) <= allowed).all(axis=0) | (depth == DEPTH)
        for total, part in zip(totals, fine, strict=True):
            np.add.at(total, owner[good], part[good])
        left, right, rest = first[~good], last[~good], owner[~good]
        middle = 0.5 * (left + right)
        first, last = np.concatenate([left, middle]), np.concatenate([middle, right])
        owner = np.concatenate([rest, rest])
        if not owner.size:
            break
    mean, square = totals / (stops - starts)
    return mean, np.sqrt(square)


def _cut_at_samples(
    envelope: Envelope, starts: Floats, stops: Floats
) -> tuple[Floats, Floats, Ints]:
    """Return the pieces of steps between samples, and the step of each piece."""
    if not isinstance(envelope, Sampled) or not starts.size:
        return starts, stops, np.arange(starts.size)
    knots = envelope.times
    inside = knots[(knots > starts[0]) & (knots < stops[-1])]
    edges = np.unique(np.concatenate([starts, stops[-1:], inside]))
    owner = np.searchsorted(starts, edges[:-1], side="right") - 1
    return edges[:-1], edges[1:], owner


def _integrals(
    envelope: Envelope, starts: Floats, stops: Floats, points: int
) -> tuple[Floats, float]:
    """Return the integrals of f and f^2 over intervals (2, n), and the largest |f|."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    half = 0.5 * (stops - starts)
    times = (starts + half)[:, None] + half[:, None] * nodes
    values = evaluate(envelope, times.ravel()).reshape(times.shape)
    sums = np.stack([values @ weights, np.square(values) @ weights]) * half
    return sums, float(np.abs(values).max(initial=0.0))
