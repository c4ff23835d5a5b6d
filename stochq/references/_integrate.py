"""Integration of x' = G(t) x, and of its derivatives with respect to rates.

G(t) is a sum of constant matrices times products of envelopes. Without envelopes the
exact propagation of `_propagate` is used; otherwise an adaptive Runge-Kutta method of
order eight (DOP853), piece of time by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.integrate import DOP853

from stochq.arrays import Complexes, Floats, Ints, Operator
from stochq.errors import ModelError
from stochq.references._moving import Moving, Products
from stochq.references._pieces import Cut, Piece, pieces
from stochq.references._propagate import LinearSystem, Solution, propagate, relevant
from stochq.superoperator import Term, instant, summed

__all__ = ["System", "solve"]

#: Relative tolerances: of what is returned, and of what it is compared with.
FINE, COARSE = 1e-12, 1e-10

#: How much longer the longest steps of the comparison are, so that the two integrations
#: never look at the same times only.
STRETCH = 1.7

Slope = Callable[[float, Complexes], Complexes]


@dataclass(frozen=True, eq=False)
class System:
    """x' = (G_0(t) + sum_r G_r(t)) x, read as y = R x.

    Attributes
    ----------
    constant : sequence of Term
        G_0, the part without a rate: matrices (n, n) [1/time] and their envelopes.
    rated : mapping of str to sequence of Term
        G_r of every named rate.
    start : ndarray, shape (n,)
        x at the first time.
    readout : csr_array, shape (O, n)
        R.
    grows : bool
        Whether x may become larger than the start.
    """

    constant: Sequence[Term]
    rated: Mapping[str, Sequence[Term]]
    start: Complexes
    readout: Operator
    grows: bool = False

    @property
    def terms(self) -> list[Term]:
        """All terms of G."""
        return [*self.constant, *(t for part in self.rated.values() for t in part)]

    def restricted(self, kept: Ints) -> System:
        """Return the system of the unknowns `kept`, which no other one enters."""

        def cut(terms: Sequence[Term]) -> list[Term]:
            return [Term(factors, G[kept][:, kept]) for factors, G in terms]

        return System(
            cut(self.constant),
            {name: cut(part) for name, part in self.rated.items()},
            self.start[kept],
            self.readout[:, kept],
            self.grows,
        )


def _slope(system: System, products: Products, names: Sequence[str]) -> Slope:
    """Return d/dt of (x, s_1, s_2, ...), the columns of one array, flattened."""
    n, count = system.start.size, len(names)
    generator = Moving(products.gathered(system.terms), (n, n), products.size)
    blocks = [sp.csr_array(([1.0], ([r], [0])), shape=(count, 1)) for r in range(count)]
    above = [
        (a, sp.kron(block, G))
        for block, name in zip(blocks, names, strict=True)
        for a, G in products.gathered(system.rated[name])
    ]
    forcing = Moving(above, (count * n, n), products.size)

    def slope(t: float, flat: Complexes) -> Complexes:
        states, coefficients = flat.reshape(n, 1 + count), products.at(t)
        change = generator.applied(coefficients, states)
        if count:
            forced = forcing.applied(coefficients, states[:, 0])
            change[:, 1:] += forced.reshape(count, n).T
        return change.ravel()

    return slope


class _Run:
    """One integration with one tolerance, from piece to piece."""

    def __init__(
        self, slope: Slope, start: Complexes, tolerance: float, stretch: float
    ) -> None:
        self._slope, self.flat = slope, start
        self._rtol, self._stretch = tolerance, stretch
        self._atol = tolerance * float(np.linalg.norm(start)) / np.sqrt(start.size)
        self._usual: float | None = None

    def across(self, piece: Piece, margin: float, times: Floats) -> Iterator[Complexes]:
        """Advance to the end of a piece, and yield x at every time on the way."""
        low, high = piece.start + margin, piece.end - margin
        longest, length = self._stretch * piece.step, piece.end - piece.start
        solver = DOP853(
            # f is looked at on this side of a jump at the end of the piece
            lambda t, x: self._slope(min(max(t, low), high), x),
            piece.start,
            self.flat,
            piece.end,
            max_step=longest,
            rtol=self._rtol,
            atol=self._atol,
            first_step=self._usual and min(self._usual, length, longest),
        )
        usual = 0.0
        while (before := solver.t) < piece.end:
            message = solver.step()
            if message:
                raise ModelError(
                    "the averaged equation must be integrable, but is not near "
                    f"t = {solver.t:g}: {message}"
                )
            shown = times[(times > before) & (times <= solver.t)]
            if shown.size:
                yield from map(solver.dense_output(), shown)
            usual = max(usual, solver.t - before)
        self.flat, self._usual = np.asarray(solver.y, dtype=np.complex128), usual


def _integrated(
    system: System, run: _Run, cut: Cut, times: Floats, columns: int
) -> Complexes:
    """Return y and its derivatives, shape (O, columns, T)."""

    def read(flat: Complexes) -> Complexes:
        return np.asarray(system.readout @ flat.reshape(-1, columns))

    found = [read(run.flat)]
    for piece in cut.pieces:
        inside = times[(times > piece.start) & (times <= piece.end)]
        found += map(read, run.across(piece, cut.margin, inside))
    return np.stack(found, axis=-1)


def _integrate(system: System, times: Floats, names: tuple[str, ...]) -> Solution:
    """Return y at every time, its derivatives, and how far a coarser run is."""
    first, *others = (abs(term.operator) for term in system.terms)
    kept = np.concatenate(relevant(summed(first, others), system.start, system.readout))
    if not kept.size or times.size == 1:
        still = np.asarray(system.readout @ system.start)
        values = np.repeat(still[:, None], times.size, axis=1)
        return Solution(values, {name: 0 * values for name in names}, 0.0)
    system, products = system.restricted(kept), Products(system.terms)
    cut = pieces(products.members, times)

    def integrated(names: tuple[str, ...], tol: float, stretch: float) -> Complexes:
        states = np.zeros((kept.size, 1 + len(names)), dtype=np.complex128)
        states[:, 0] = system.start
        slope = _slope(system, products, names)
        run = _Run(slope, states.ravel(), tol, stretch)
        return _integrated(system, run, cut, times, 1 + len(names))

    read = integrated(names, FINE, 1.0)
    values, coarse = read[:, 0], integrated((), COARSE, STRETCH)[:, 0]
    error = np.abs(values - coarse).max() + FINE * np.abs(values).max()
    slopes = {name: read[:, r] for r, name in enumerate(names, start=1)}
    return Solution(values, slopes, float(error))


def solve(system: System, times: Floats, names: tuple[str, ...]) -> Solution:
    """Return y at every time, and its derivative for each of `names`."""
    if any(term.factors for term in system.terms):
        return _integrate(system, times, names)
    constant = LinearSystem(
        instant(system.constant, 0.0),
        {name: instant(part, 0.0) for name, part in system.rated.items()},
        system.start,
        system.readout,
        system.grows,
    )
    return propagate(constant, times, names)
