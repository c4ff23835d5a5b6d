"""The curves that trajectories are judged against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Floats, as_times, positive_rate, read_only, restore, state_of
from stochq.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Reference"]


def _as_names(names: Any) -> tuple[str, ...]:
    """Return distinct non-empty names, shape (O,)."""
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ModelError(
            f"`names` must be a non-empty sequence of strings, but is {names!r}"
        )
    for name in names:
        if not isinstance(name, str) or not name:
            raise ModelError(f"`names` must be non-empty strings, but hold {name!r}")
    if len(set(names)) < len(names):
        raise ModelError(f"`names` must be distinct, but are {list(names)}")
    return tuple(names)


def _as_curves(values: Any, argument: str, shape: tuple[int, int]) -> Floats:
    """Return finite real curves (O, T), copied and read-only."""
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "iuf":
        raise ModelError(
            f"`{argument}` must be real with shape {shape}, one row per name and one "
            f"column per time, but has shape {array.shape} and type {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ModelError(f"`{argument}` must be finite, but contains NaN or infinity")
    return read_only(array.astype(np.float64))


def _as_errors(mcse: Any, shape: tuple[int, int]) -> Floats:
    """Return standard errors (O, T), none of them negative."""
    errors = _as_curves(mcse, "mcse", shape)
    if (errors < 0).any():
        raise ModelError(f"`mcse` must not be negative, but contains {errors.min():g}")
    return errors


@dataclass(frozen=True, eq=False)
class Reference:
    r"""Mean values that an ensemble must reproduce, and how accurate they are.

    A reference comes from an averaged equation (`master_equation`,
    `correlation_equation`), or from curves of your own.

    Parameters
    ----------
    times : array_like, shape (T,)
        Strictly increasing [time].
    names : sequence of str, shape (O,)
        The observables.
    values : array_like, shape (O, T)
        Their mean values.
    error : float, default 0
        Estimate of the largest numerical error of `values`.
    method : str, default "given"
        Where the values come from.
    sensitivity : mapping of str to array_like of shape (O, T), optional
        :math:`\partial \text{values} / \partial \ln(\text{rate})` for named rates.
    mcse : array_like, shape (O, T), optional
        Standard errors of `values`, where they were sampled themselves: by another
        program, or as a multilevel estimate.

    Raises
    ------
    ModelError
        If shapes disagree, a value is not finite, or a name is missing or repeated.
    """

    times: Floats
    names: tuple[str, ...]
    values: Floats
    error: float = 0.0
    method: str = "given"
    sensitivity: Mapping[str, Floats] = field(default_factory=dict)
    mcse: Floats | None = None

    __getstate__ = state_of
    __setstate__ = restore

    def __post_init__(self) -> None:
        """Check that every part fits the others."""
        times, names = as_times(self.times), _as_names(self.names)
        shape = (len(names), times.size)
        sensitivity = {
            name: _as_curves(curves, f"sensitivity[{name!r}]", shape)
            for name, curves in self.sensitivity.items()
        }
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "values", _as_curves(self.values, "values", shape))
        object.__setattr__(self, "error", positive_rate(self.error, "error"))
        object.__setattr__(self, "sensitivity", MappingProxyType(sensitivity))
        if self.mcse is not None:
            object.__setattr__(self, "mcse", _as_errors(self.mcse, shape))

    def __repr__(self) -> str:
        """Say what it is, in one line."""
        return (
            f"Reference({self.method!r}, {len(self.names)} observables, "
            f"{self.times.size} times, error={self.error:.2g})"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table with the columns observable, time, value."""
        import pandas as pd

        return pd.DataFrame(
            {
                "observable": np.repeat(self.names, self.times.size),
                "time": np.tile(self.times, len(self.names)),
                "value": self.values.ravel(),
            }
        )
