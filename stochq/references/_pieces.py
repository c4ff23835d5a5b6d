"""Pieces of time on which envelopes are smooth, and the steps that see all of them.

An adaptive integrator steps over what happens between the times it looks at. Each
envelope is therefore scanned first: an interval of time is halved until a polynomial
fits f on it, and no step is longer than the intervals that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BarycentricInterpolator

from stochq.arrays import Floats, Ints
from stochq.envelopes import Envelope, Sampled, evaluate

__all__ = ["Cut", "Piece", "pieces"]

Bools = npt.NDArray[np.bool_]

EPS = float(np.finfo(np.float64).eps)

#: A Python function is looked at on so many intervals, and so many per output; samples
#: may ask for up to FINEST.
SCANNED, PER_OUTPUT, FINEST = 2**14, 4, 2**21

#: Degree of the polynomial, and how well it must fit: relative to max |f| on its own
#: interval, and on all of them. The first alone would chase the tails of a pulse.
DEGREE, FIT, NEGLIGIBLE = 8, 1e-5, 1e-13

#: Intervals of the scan that one polynomial is tried on at least.
TRIED = 2 * DEGREE

#: Steps that differ by less than this factor share a piece.
ALIKE = 8.0


class Piece(NamedTuple):
    """An interval of time and the longest step allowed on it."""

    start: float
    end: float
    step: float


class Cut(NamedTuple):
    """Pieces, one after another, and how far from their ends f is looked at [time].

    Jumps and kinks lie on the ends, where f is that of either side.
    """

    pieces: list[Piece]
    margin: float


class _Cuts(NamedTuple):
    """Times that cut an envelope: those where it has jumps or kinks, and others."""

    rough: Floats
    smooth: Floats


def _fits(values: Floats, scale: float) -> Bools:
    """Tell which rows, samples (R, n + 1), a polynomial through 9 of them fits."""
    places = np.linspace(0, DEGREE, values.shape[1])
    basis = BarycentricInterpolator(np.arange(DEGREE + 1), np.eye(DEGREE + 1))(places)
    chosen = values[:, :: (values.shape[1] - 1) // DEGREE]
    misfit = np.abs(chosen @ basis.T - values).max(axis=1)
    fits: Bools = misfit <= FIT * np.abs(values).max(axis=1) + NEGLIGIBLE * scale
    return fits


def _halved(values: Floats) -> tuple[Ints, Ints]:
    """Halve the interval of samples (N + 1,) until a polynomial fits each part.

    Returns
    -------
    ndarray
        Where the parts meet, as sorted indices.
    ndarray
        Where the parts of TRIED intervals start that no polynomial fits.
    """
    size, scale = values.size - 1, float(np.abs(values).max())
    starts, found = np.zeros(1, dtype=np.int64), [np.array([0, size])]
    while True:
        rows = values[starts[:, None] + np.arange(size + 1)]
        starts = starts[~_fits(rows, scale)]
        if size == TRIED or not starts.size:
            return np.unique(np.concatenate(found)), starts
        size //= 2
        starts = np.concatenate((starts, starts + size))
        found.append(starts)


def _jump(envelope: Envelope, low: float, high: float) -> float | None:
    """Return where f jumps between two times, to rounding, or None if it does not."""
    ends = evaluate(envelope, np.array([low, high]))
    total = ends[1] - ends[0]
    while low < (middle := (low + high) / 2) < high:
        value = evaluate(envelope, np.array([middle]))[0]
        if abs(value - ends[0]) < abs(value - ends[1]):
            low, ends[0] = middle, value
        else:
            high, ends[1] = middle, value
    return high if abs(ends[1] - ends[0]) > abs(total) / 2 else None


def _straight(values: Floats) -> bool:
    """Tell whether samples lie on a parabola."""
    misfit = float(np.abs(np.diff(values, 3)).max(initial=0.0))
    return misfit <= FIT * float(np.abs(values).max())


def _part(envelope: Envelope, grid: Floats, values: Floats) -> _Cuts:
    """Cut what no polynomial fits: at its jumps, or else at all its times."""
    if _straight(values):
        return _Cuts(grid[:0], grid[:0])
    k = int(np.argmax(np.abs(np.diff(values))))
    jump = _jump(envelope, float(grid[k]), float(grid[k + 1]))
    if jump is None:
        return _Cuts(grid[:0], grid)
    left = _part(envelope, grid[: k + 1], values[: k + 1])
    right = _part(envelope, grid[k + 1 :], values[k + 1 :])
    return _Cuts(
        np.concatenate([left.rough, [jump], right.rough]),
        np.concatenate([left.smooth, right.smooth]),
    )


def _power_of_two(wanted: float) -> int:
    """Return the power of two from TRIED to FINEST that is not less than `wanted`."""
    return int(2 ** np.ceil(np.log2(np.clip(wanted, TRIED, FINEST))))


def _cuts_of_function(envelope: Envelope, times: Floats) -> _Cuts:
    """Cut where a Python function is not a polynomial, down to the scan."""
    intervals = _power_of_two(max(SCANNED, PER_OUTPUT * times.size))
    grid = np.linspace(times[0], times[-1], intervals + 1)
    values = evaluate(envelope, grid)
    edges, rough = _halved(values)
    parts = [_part(envelope, grid[k : k + TRIED + 1], values[k : k + TRIED + 1])
             for k in rough]  # fmt: skip
    return _Cuts(
        np.concatenate([grid[:0], *(part.rough for part in parts)]),
        np.concatenate([grid[edges], *(part.smooth for part in parts)]),
    )


def _cuts_of_samples(envelope: Sampled, start: float, end: float) -> _Cuts:
    """Cut at the samples that a smooth curve does not run through."""
    knots = samples = envelope.times
    if envelope.order == 2:  # its parabolas meet halfway between the samples
        knots = (samples[1:] + samples[:-1]) / 2
    knots = knots[(knots > start) & (knots < end)]
    wanted = TRIED * (end - start) / float(np.diff(samples).min(initial=np.inf))
    if envelope.order <= 1 or wanted > FINEST:
        return _Cuts(knots, knots[:0])
    grid = np.linspace(start, end, _power_of_two(wanted) + 1)
    edges, rough = _halved(envelope(grid))
    part = (np.searchsorted(grid, knots, side="right") - 1) // TRIED * TRIED
    return _Cuts(knots[np.isin(part, rough)], grid[np.setdiff1d(edges, rough)])


def _cuts(envelope: Envelope, times: Floats) -> _Cuts:
    """Return the times at which one envelope cuts the span of the outputs."""
    evaluate(envelope, times[[0, -1]])  # must cover all of it
    if isinstance(envelope, Sampled):
        return _cuts_of_samples(envelope, float(times[0]), float(times[-1]))
    return _cuts_of_function(envelope, times)


def _marked(cuts: Sequence[_Cuts], start: float, end: float) -> tuple[Floats, Bools]:
    """Return all cuts, those that rounding tells apart as one, and which are rough."""
    rough = np.concatenate([[start, end], *(cut.rough for cut in cuts)])
    every = np.concatenate([rough, *(cut.smooth for cut in cuts)])
    order = np.argsort(every, kind="stable")
    apart = np.diff(every[order], prepend=-np.inf) > _rounding(start, end)
    first = np.flatnonzero(apart)
    edges = every[order][first]
    edges[-1] = end
    return edges, np.logical_or.reduceat(order < rough.size, first)


def _rounding(start: float, end: float) -> float:
    """Return the distance at which two times are one [time]."""
    span, largest = end - start, max(abs(start), abs(end))
    return max(1e-13 * span, min(8 * EPS * largest, span / 4))


def pieces(envelopes: Iterable[Envelope], times: Floats) -> Cut:
    """Cut the span of the outputs at jumps, kinks and changes of the longest step."""
    start, end = float(times[0]), float(times[-1])
    cuts = [_cuts(envelope, times) for envelope in envelopes]
    edges, rough = _marked(cuts, start, end)
    widths = np.diff(edges)
    level = np.floor(np.log(widths / (end - start)) / np.log(ALIKE))
    inner = np.flatnonzero(rough[1:-1] | (np.diff(level) != 0)) + 1
    bounds = np.concatenate(([0], inner, [edges.size - 1]))
    steps = np.minimum.reduceat(widths, bounds[:-1]).tolist()
    found = map(Piece, edges[bounds[:-1]].tolist(), edges[bounds[1:]].tolist(), steps)
    return Cut(list(found), 2 * _rounding(start, end))
