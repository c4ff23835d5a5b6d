"""What is known of the step bias of an ensemble, and how far that may be off."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from stochq.arrays import Floats
from stochq.ensemble import Ensemble
from stochq.errors import ModelError

__all__ = ["BiasFrom", "KnownBias", "known_bias"]

#: Relative error allowed for in an exact step bias.
BIAS_UNCERTAINTY = 0.1

#: The same for an estimated one, of its largest value over the times: two steps cannot
#: tell whether the declared order, with which they are extrapolated, has set in.
ESTIMATE_UNCERTAINTY = 0.5

#: Standard errors of an estimated step bias that are allowed for.
BIAS_SIGMAS = 3.0

BiasFrom = Literal["exact", "estimate", "given", "unknown"]


class KnownBias(NamedTuple):
    """Step bias (O, T): ``known`` +- ``bound``, of which ``sampled`` shrinks with n."""

    known: Floats
    bound: Floats
    sampled: Floats
    source: BiasFrom


def known_bias(bias: Any, ensemble: Ensemble, rows: list[int]) -> KnownBias:
    """Return the step bias, or the bound given in its place; only `rows` matter."""
    zero = np.zeros_like(ensemble.mean)
    if bias is not None:
        return KnownBias(zero, zero + _given(bias, zero.shape), zero, "given")
    exact = ensemble.doubted_bias
    if exact is not None and np.isfinite(np.array(exact)[:, rows]).all():
        known, doubt = exact
        bound = BIAS_UNCERTAINTY * np.abs(known) + _over_times(doubt)
        return KnownBias(known, bound, zero, "exact")
    estimate = ensemble.estimated_bias
    if estimate is None or np.isnan(np.array(estimate)[:, rows]).any():
        return KnownBias(zero, zero, zero, "unknown")
    values, error = estimate
    size = np.abs(values).max(axis=1, keepdims=True)
    sampled = BIAS_SIGMAS * error
    return KnownBias(values, ESTIMATE_UNCERTAINTY * size + sampled, sampled, "estimate")


def _given(bias: Any, shape: tuple[int, ...]) -> Floats:
    """Return a bound on the bias as non-negative numbers."""
    array = np.asarray(bias)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ModelError(f"`bias` must be finite real numbers, but is {bias!r:.60}")
    if array.ndim and array.shape != shape:
        raise ModelError(
            f"`bias` must be a number or have shape {shape}, "
            f"but has shape {array.shape}"
        )
    return np.abs(array.astype(np.float64))


def _over_times(curves: Floats) -> Floats:
    """Return the largest value over all times so far, at every time, shape (O, T).

    A bias may pass through zero; what is not known of it does not.
    """
    largest: Floats = np.maximum.accumulate(curves, axis=1)
    return largest
