"""Exact propagation of x' = G x, and of its derivatives with respect to rates.

G is linear in the rates, G = G_0 + sum_r G_r, so s_r = dx / d ln(rate_r) obeys
s_r' = G s_r + G_r x. Unknowns that the start does not reach or that no observable
reads are dropped, and what is left splits into independent blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import expm, expm_frechet
from scipy.sparse.csgraph import breadth_first_order, connected_components

from stochq.arrays import Complexes, Floats, Ints, Operator
from stochq.superoperator import summed

__all__ = ["LinearSystem", "Solution", "blocks", "propagate", "relevant"]

EPS = float(np.finfo(np.float64).eps)

#: Small blocks are gathered until they hold this many unknowns.
GATHERED = 64

#: Complex numbers that the dense step matrices may occupy.
DENSE_ENTRIES = 3 * 10**7

#: 1-norm of one Taylor substep: larger ones cancel more digits.
TAYLOR_NORM = 3.0
Bools = npt.NDArray[np.bool_]
Advance = Callable[[Complexes], Complexes]


@dataclass(frozen=True, eq=False)
class LinearSystem:
    """x' = (G_0 + sum_r G_r) x, read as y = R x.

    Attributes
    ----------
    constant : csr_array, shape (n, n)
        G_0, the part without a rate [1/time].
    rated : mapping of str to csr_array of shape (n, n)
        G_r of every named rate whose derivative is wanted.
    start : ndarray, shape (n,)
        x at the first time.
    readout : csr_array, shape (O, n)
        R.
    grows : bool
        Whether x may become larger than the start.
    """

    constant: Operator
    rated: Mapping[str, Operator]
    start: Complexes
    readout: Operator
    grows: bool = False

    def generator(self) -> Operator:
        """Return G, shape (n, n)."""
        return summed(self.constant, self.rated.values())

    def restricted(self, kept: Ints) -> LinearSystem:
        """Return the system of the unknowns `kept`, which no other one enters."""
        return LinearSystem(
            self.constant[kept][:, kept],
            {name: part[kept][:, kept] for name, part in self.rated.items()},
            self.start[kept],
            self.readout[:, kept],
            self.grows,
        )


@dataclass(frozen=True, eq=False)
class Solution:
    """y (O, T), dy / d ln(rate) (O, T) of each name, and the error of y."""

    values: Complexes
    sensitivity: Mapping[str, Complexes]
    error: float


def blocks(pattern: Operator) -> list[Ints]:
    """Return the index sets of the connected components of a graph."""
    _, labels = connected_components(pattern, directed=False)
    edges = np.cumsum(np.bincount(labels))[:-1]
    return np.split(np.argsort(labels, kind="stable"), edges)


def _gathered(parts: list[Ints]) -> list[Ints]:
    """Join small blocks, since one exponential of 64 beats 64 of one."""
    batch = np.cumsum([part.size for part in parts]) // GATHERED
    cuts = np.flatnonzero(np.diff(batch)) + 1
    edges = [0, *cuts.tolist(), len(parts)]
    return [np.concatenate(parts[a:b]) for a, b in pairwise(edges)]


def _reached(flow: Operator, source: Bools) -> Bools:
    """Mark the unknowns that those of `source` reach along `flow`."""
    n = source.size
    edges = sp.csr_array(source[None, :], dtype=np.float64)
    rows: Any = [[flow, None], [edges, sp.csr_array((1, 1))]]
    graph = sp.block_array(rows, format="csr")
    marks = np.zeros(n + 1, dtype=np.bool_)
    marks[breadth_first_order(graph, n, return_predecessors=False)] = True
    return marks[:n]


def relevant(pattern: Operator, start: Complexes, readout: Operator) -> list[Ints]:
    """Return the blocks of unknowns that carry the start to the observables."""
    size = np.abs(start)
    filled = size > 2 * EPS * size.max()
    read = np.asarray(abs(readout).sum(axis=0)).ravel() > 0
    kept = np.flatnonzero(_reached(pattern.T, filled) & _reached(pattern, read))
    return _gathered([kept[block] for block in blocks(pattern[kept][:, kept])])


def _distinct_steps(times: Floats) -> tuple[Floats, Ints, float]:
    """Return the distinct steps (S,), which one is taken when (T - 1,), and the drift.

    Steps that differ by rounding are one; the drift is the largest error of a time.
    """
    steps = np.diff(times)
    order = np.argsort(steps, kind="stable")
    sorted_steps = steps[order]
    rounding = 4 * EPS * float(np.abs(times).max())
    new = np.diff(sorted_steps) > np.maximum(1e-12 * sorted_steps[1:], rounding)
    which = np.empty(steps.size, dtype=np.int64)
    which[order] = np.concatenate(([0], np.cumsum(new)))[: steps.size]
    distinct = np.bincount(which, weights=steps) / np.bincount(which)
    drift = np.abs(np.cumsum(distinct[which]) - (times[1:] - times[0]))
    return distinct, which, float(drift.max(initial=0.0))


def _norm(matrix: Operator) -> float:
    """Return the 1-norm of a sparse matrix."""
    return float(np.asarray(abs(matrix).sum(axis=0)).max(initial=0.0))


def _dense_step(system: LinearSystem, step: float) -> Advance:
    """Return one exact step as matrices: exp(G step) and its derivatives along G_r."""
    exponent = step * system.generator().toarray()
    if not exponent.size:  # no observable sees anything that moves
        return lambda states: states
    power = expm(exponent)
    slopes = [
        expm_frechet(exponent, step * part.toarray(), compute_expm=False)
        for part in system.rated.values()
    ]

    def advance(states: Complexes) -> Complexes:
        moved: Complexes = power @ states
        for r, slope in enumerate(slopes, start=1):
            moved[:, r] += slope @ states[:, 0]
        return moved

    return advance


def _taylor_step(system: LinearSystem, step: float) -> Advance:
    """Return one exact step as the action of a Taylor series, substep by substep."""
    generator = system.generator()
    slopes = sp.vstack(list(system.rated.values()) or [generator[:0]], format="csr")
    pieces = max(1, int(np.ceil(_norm(generator) * step / TAYLOR_NORM)))

    def derivative(states: Complexes) -> Complexes:
        slope: Complexes = generator @ states
        slope[:, 1:] += (slopes @ states[:, 0]).reshape(-1, states.shape[0]).T
        return slope

    def advance(states: Complexes) -> Complexes:
        for _ in range(pieces):
            states = _taylor(derivative, states, step / pieces)
        return states

    return advance


def _taylor(derivative: Advance, states: Complexes, step: float) -> Complexes:
    """Return exp(step x derivative) applied to `states`, to rounding."""
    term, total = states, states.copy()
    for order in count(1):
        term = (step / order) * derivative(term)
        total += term
        small = EPS / 4 * np.linalg.norm(total, axis=0)
        if (np.linalg.norm(term, axis=0) <= small).all():
            break
    return total


def _dense_is_cheaper(system: LinearSystem, steps: int, times: Floats) -> bool:
    """Compare rough costs in seconds of the two ways to step."""
    generator, names = system.generator(), len(system.rated)
    n, span = generator.shape[0], float(times[-1] - times[0])
    if steps * (1 + names) * n * n > DENSE_ENTRIES:
        return False
    dense = steps * (1 + 3 * names) * (2e-4 + 1.5e-8 * n**3)
    products = 8 * _norm(generator) * span + 20 * times.size
    return bool(dense <= products * (2e-5 + 5e-9 * generator.nnz * (1 + names)))


def _propagate_block(system: LinearSystem, times: Floats) -> tuple[Complexes, float]:
    """Return y and its derivatives (O, 1 + R, T), and the error of y."""
    steps, which, drift = _distinct_steps(times)
    dense = _dense_is_cheaper(system, steps.size, times)
    advances = [(_dense_step if dense else _taylor_step)(system, s) for s in steps]
    states = np.zeros((system.start.size, 1 + len(system.rated)), dtype=np.complex128)
    states[:, 0] = system.start
    read = [system.readout @ states]
    for index in which.tolist():
        states = advances[index](states)
        read.append(system.readout @ states)
    rows = np.sqrt(np.asarray(abs(system.readout).power(2).sum(axis=1)))
    size = np.linalg.norm(system.start)
    if system.grows:
        size = max(size, np.linalg.norm(states[:, 0]))
    scale = float(rows.max() * size)
    norm, span = _norm(system.generator()), float(times[-1] - times[0])
    rounding = EPS * (norm * span + times.size + system.start.size)
    return np.stack(read, axis=-1), scale * (rounding + norm * drift)


def propagate(system: LinearSystem, times: Floats, names: tuple[str, ...]) -> Solution:
    """Return y at every time, and its derivative for each of `names`."""
    fixed = [part for name, part in system.rated.items() if name not in names]
    system = LinearSystem(
        summed(system.constant, fixed),
        {name: system.rated[name] for name in names},
        system.start,
        system.readout,
        system.grows,
    )
    shape = (system.readout.shape[0], 1 + len(names), times.size)
    read, error = np.zeros(shape, dtype=np.complex128), 0.0
    pattern = summed(abs(system.constant), map(abs, system.rated.values()))
    for kept in relevant(pattern, system.start, system.readout):
        part, part_error = _propagate_block(system.restricted(kept), times)
        read += part
        error += part_error
    slopes = {name: read[:, r] for r, name in enumerate(names, start=1)}
    return Solution(read[:, 0], slopes, error)
