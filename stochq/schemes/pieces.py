"""Functions of time as polynomials on pieces, to rounding.

A piece is halved until the polynomial through its Chebyshev points runs through the
points between them too, and through those of a scan of the whole span. A jump is shut
into a piece of negligible length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from stochq.arrays import Floats
from stochq.envelopes import Envelope, Sampled, evaluate
from stochq.errors import SchemeMismatchError

__all__ = ["Pieces", "constant_pieces", "held_pieces", "polynomial_pieces"]

#: Degree of the polynomials, how far they may miss relative to max |f|, points of the
#: scan, length of a piece that is halved no more relative to the span, and most pieces.
DEGREE, MISFIT, SCANNED, SHORTEST, MOST = 10, 1e-13, 2**13, 2.0**-44, 2**17

EPS = float(np.finfo(np.float64).eps)

_NODES = np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)
#: From values at the nodes to coefficients of powers.
_POWERS = np.stack(
    [
        np.pad(row, (0, DEGREE + 1 - row.size))
        for row in map(chebyshev.cheb2poly, np.eye(DEGREE + 1))
    ],
    axis=1,
) @ np.linalg.inv(chebyshev.chebvander(_NODES, DEGREE))
_CHECKS = np.linspace(-1, 1, 2 * DEGREE + 2)[1:-1] + 0.3 / DEGREE**2


class Pieces(NamedTuple):
    """Polynomials in u = (t - middle) / half on pieces of time.

    Attributes
    ----------
    edges : ndarray, shape (N + 1,)
        Where pieces begin; the last may end at infinity [time].
    middle, half : ndarray, shape (N,)
        Middle and half the length of each [time].
    powers : ndarray, shape (N, F, L + 1)
        Coefficient of u^l in function f on piece n.
    """

    edges: Floats
    middle: Floats
    half: Floats
    powers: Floats


def constant_pieces(start: float, functions: int) -> Pieces:
    """Return one piece that never ends, on which all functions vanish."""
    nothing = np.zeros((1, functions, 1))
    return Pieces(np.array([start, np.inf]), np.array([start]), np.ones(1), nothing)


def held_pieces(edges: Floats, values: Floats) -> Pieces:
    """Return functions that hold the values (N, F) between edges (N + 1,)."""
    half = 0.5 * np.diff(edges)
    return Pieces(edges, edges[:-1] + half, half, values[:, :, None])


def polynomial_pieces(
    functions: Sequence[tuple[Envelope, bool]], start: float, stop: float
) -> Pieces:
    """Return the functions f (or f^2, where marked) from start to stop as polynomials.

    Raises
    ------
    SchemeMismatchError
        If there are too many pieces.
    ModelError
        If a value is not a finite real number.
    """
    found: list[tuple[float, float, Floats]] = []
    evaluated = _together(functions)
    scan = np.linspace(start, stop, SCANNED + 1)
    seen = evaluated(scan)
    size = np.abs(seen).max(axis=1)
    shortest = SHORTEST * max(abs(start), abs(stop), stop - start)
    edges = _knots([f for f, _ in functions], start, stop)
    waiting = [(a, b) for a, b in zip(edges[-2::-1], edges[:0:-1], strict=True)]
    while waiting:
        a, b = waiting.pop()
        inside = slice(*np.searchsorted(scan, (a, b), side="right"))
        there = (scan[inside], seen[:, inside])
        powers = _fitted(evaluated, a, b, there, size, shortest)
        if powers is None:
            waiting += [(0.5 * (a + b), b), (a, 0.5 * (a + b))]
        else:
            found.append((a, b, powers))
        if len(found) + len(waiting) > MOST:
            raise SchemeMismatchError(
                f"functions of time must be polynomials on at most {MOST} pieces, but "
                "need more; use Strang(dt=...), which takes averages over steps"
            )
    edges = np.array([*(a for a, _, _ in found), stop])
    half = 0.5 * np.diff(edges)
    return Pieces(edges, edges[:-1] + half, half, _trimmed([p for _, _, p in found]))


def _together(
    functions: Sequence[tuple[Envelope, bool]],
) -> Callable[[Floats], Floats]:
    """Return all functions as one, from times (n,) to values (F, n)."""

    def evaluated(times: Floats) -> Floats:
        values = [(evaluate(f, times), squared) for f, squared in functions]
        return np.array([v * v if squared else v for v, squared in values])

    return evaluated


def _knots(functions: Sequence[Envelope], start: float, stop: float) -> Floats:
    """Return start, stop and the times between where a spline is not smooth."""
    knots = [np.array([start, stop])]
    for f in functions:
        if isinstance(f, Sampled):
            t = f.times
            knots.append(0.5 * (t[1:] + t[:-1]) if f.order == 2 else t)
    every = np.unique(np.concatenate(knots))
    found: Floats = every[(every >= start) & (every <= stop)]
    return found


def _fitted(
    evaluated: Callable[[Floats], Floats],
    a: float,
    b: float,
    scanned: tuple[Floats, Floats],
    size: Floats,
    shortest: float,
) -> Floats | None:
    """Return the coefficients (F, L + 1) on a piece, or None if they miss."""
    middle, half = 0.5 * (a + b), 0.5 * (b - a)
    nodes = np.clip(middle + half * _NODES, a, np.nextafter(b, a))
    checks = middle + half * _CHECKS
    values = evaluated(np.concatenate([nodes, checks]))
    powers = values[:, : nodes.size] @ _POWERS.T
    places = np.concatenate([checks, scanned[0]])
    truth = np.concatenate([values[:, nodes.size :], scanned[1]], axis=1)
    guess = np.polynomial.polynomial.polyval((places - middle) / half, powers.T)
    steepest = np.abs(np.diff(values[:, : nodes.size])).max(axis=1) / half
    rounding = 8 * EPS * max(abs(a), abs(b)) * steepest
    allowed = MISFIT * size + rounding
    if 2 * half <= shortest or (np.abs(guess - truth).max(axis=1) <= allowed).all():
        return powers
    return None


def _trimmed(powers: Sequence[Floats]) -> Floats:
    """Return coefficients (N, F, L + 1) without powers that no piece needs."""
    every = np.array(powers)
    size = np.abs(every).max(axis=(0, 2), keepdims=True)
    needed = np.flatnonzero((np.abs(every) > EPS * size).any(axis=(0, 1)))
    return np.ascontiguousarray(every[:, :, : 1 + needed.max(initial=0)])
