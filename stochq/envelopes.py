"""Time dependence: real functions f(t) that multiply an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from scipy.interpolate import make_interp_spline

from stochq.arrays import Floats, as_times, read_only
from stochq.errors import ModelError

__all__ = ["Envelope", "Sampled", "as_envelope", "as_envelopes", "evaluate"]

#: f(t): a Python function of one float, or samples.
Envelope: TypeAlias = Callable[[float], float]

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

    def __post_init__(self) -> None:
        """Check the samples and fit the spline."""
        times = as_times(self.times)
        values = np.asarray(self.values)
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
                f"the samples of an envelope must cover the times [{t.min():g}, "
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
    raw = [envelope(t) for t in times.tolist()]
    array = _as_reals(raw)
    if array is None:
        worst = next(k for k, value in enumerate(raw) if _as_reals([value]) is None)
        raise ModelError(
            "a function of time must return a finite real number, but returned "
            f"{raw[worst]!r:.60} at t = {times[worst]:g}"
        )
    return array
