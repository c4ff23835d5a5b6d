r"""Monitored operators: one factor each, driven by its own signal.

The unnormalized state follows a linear equation (Stratonovich)

.. math:: d\psi = -\tfrac12 (c^\dagger c + c^2)\, \psi\, dt + c\, \psi \circ dY, \qquad
    dY = \langle c + c^\dagger \rangle\, dt + dW,

so the factor for a duration tau is D(tau/2) exp(c s) D(tau/2) with the exponential D of
the drift, and s the integral of dY along exp(c s) psi. That is one equation with
additive noise for one number: a step of Heun's scheme has a local error of third order
in averages. Density matrices follow the same equation with c replaced by
:math:`B \rho = \sqrt\eta\,(c \rho + \rho c^\dagger)` and the mean by Tr(B rho)/Tr(rho).

The norm is put back to what it was, so that the clock of jumps does not see monitors.

References
----------
.. [1] H. M. Wiseman and G. J. Milburn, "Quantum Measurement and Control", Cambridge
   University Press (2010), chapter 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stochq.arrays import Ints, Operator, adjoint
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.lowering.dissipators import Monitor
from stochq.schemes.flow import propagators
from stochq.schemes.lanes import apply_matrix, clear, copy, squared_norms
from stochq.states import DensityMatrix
from stochq.structure import Sparse, pack

__all__ = ["MonitorFactors", "monitor_factor", "monitor_factors", "sizes"]

#: Largest |W(t)| / sqrt(t) that series are made for.
LARGEST_NORMAL = 9.0

#: Largest |s| |c| that one series sums up; more is cut into equal pieces.
SERIES_REACH = 4.0


class MonitorFactors(NamedTuple):
    """Everything a kernel needs to apply the factors of monitored operators.

    ``operators`` and ``drifts`` stack matrices: the operators, and exp(drift tau/2)
    of each monitor for every kind of step, whole and halved. The exponential of an
    operator is a product of ``pieces`` series of ``terms`` terms. ``diagonal`` lists
    the elements that make up the trace, none for kets.
    """

    operators: Sparse
    drifts: Sparse
    terms: Ints
    pieces: Ints
    lifted: bool
    diagonal: Ints


def monitor_factors(dynamics: Dynamics, lengths: Sequence[float]) -> MonitorFactors:
    """Return the factors of a model's monitors for steps of the given lengths.

    Those of orbitals are elsewhere.
    """
    watched = () if dynamics.one_body else dynamics.monitors
    halves = [0.5 * part * h for h in lengths for part in (1.0, 0.5)]
    drifts: list[Operator] = []
    for monitor in watched:
        drifts += propagators(1j * _drift(monitor), halves)
    longest = max(lengths, default=1.0)
    reach = [_reach(monitor.operator, longest) for monitor in watched]
    pieces = [max(1, int(np.ceil(r / SERIES_REACH))) for r in reach]
    terms = [_terms(r / n) for r, n in zip(reach, pieces, strict=True)]
    initial = dynamics.initial
    return MonitorFactors(
        operators=pack([m.operator for m in watched]),
        drifts=pack(drifts),
        terms=np.array(terms, dtype=np.int64),
        pieces=np.array(pieces, dtype=np.int64),
        lifted=dynamics.lifted,
        diagonal=(
            initial.diagonal
            if isinstance(initial, DensityMatrix)
            else np.zeros(0, dtype=np.int64)
        ),
    )


def _drift(monitor: Monitor) -> Operator:
    """Return -(c^dag c + c^2)/2 of a ket, or what lowering gave for its matrix."""
    if monitor.drift is not None:
        return monitor.drift
    c = monitor.operator
    return -0.5 * (adjoint(c) @ c + c @ c)


def _reach(operator: Operator, duration: float) -> float:
    """Return a bound on |s| |c|, from |dY| <= 2 |c| dt + |dW|."""
    rows, columns = abs(operator).sum(axis=1).max(), abs(operator).sum(axis=0).max()
    size = float(np.sqrt(rows * columns))
    return size * float(LARGEST_NORMAL * np.sqrt(duration) + 2.0 * size * duration)


def _terms(reach: float) -> int:
    """Return how many terms of a series of exp are above rounding."""
    term, count = 1.0, 0
    while term > np.finfo(float).eps:
        count += 1
        term *= reach / count
    return count


@kernel
def sizes(lifted, diagonal, x, out):
    """Write what is put back: <psi|psi>, or Tr(rho), of every lane."""
    if not lifted:
        squared_norms(x, out)
        return
    clear(out)
    for i in diagonal:
        for w in range(out.shape[0]):
            out[w] += x[0, i, w]


@kernel
def _mean(monitors, first_row, x, y, size, mean):
    """Write <c + c^dag>, or Tr(B rho)/Tr(rho), of every lane; y is work space."""
    apply_matrix(monitors.operators, first_row, x, y)
    sizes(monitors.lifted, monitors.diagonal, x, size)
    if monitors.lifted:
        sizes(monitors.lifted, monitors.diagonal, y, mean)
        for w in range(mean.shape[0]):
            mean[w] /= size[w]
        return
    clear(mean)
    for i in range(x.shape[1]):
        for w in range(mean.shape[0]):
            mean[w] += x[0, i, w] * y[0, i, w] + x[1, i, w] * y[1, i, w]
    for w in range(mean.shape[0]):
        mean[w] *= 2.0 / size[w]


@kernel
def _exponential(monitors, m, s, x, out, y):
    """Write exp(c s) x into out, lane by lane, by Horner's rule; y is work space."""
    dim, lanes = x.shape[1], x.shape[2]
    pieces = monitors.pieces[m]
    for piece in range(pieces):
        start = x if piece == 0 else out.copy()
        copy(start, out)
        for n in range(monitors.terms[m], 0, -1):
            apply_matrix(monitors.operators, m * dim, out, y)
            share = 1.0 / (n * pieces)
            for part in range(2):
                for i in range(dim):
                    for w in range(lanes):
                        out[part, i, w] = (
                            start[part, i, w] + share * s[w] * y[part, i, w]
                        )


@kernel
def monitor_factor(monitors, m, first_row, duration, noise, x, signal, room, work):
    """Apply the factor of one monitored operator to all lanes.

    Parameters
    ----------
    monitors : MonitorFactors
        The operators.
    m : int
        Which one.
    first_row : int
        Where exp(drift duration/2) begins in the stack of drifts.
    duration : float
        How long [time].
    noise : float array, shape (W,)
        The increment of W.
    x : float array, shape (2, d, W)
        The state, changed in place.
    signal : float array, shape (W,)
        The integral of dY is added to it.
    room : float array, shape (3, 2, d, W)
        Work space.
    work : float array, shape (5, W)
        Work space.
    """
    dim, lanes = x.shape[1], x.shape[2]
    y, z, spare = room[0], room[1], room[2]
    before, size, one, two, s = work[0], work[1], work[2], work[3], work[4]
    sizes(monitors.lifted, monitors.diagonal, x, before)
    apply_matrix(monitors.drifts, first_row, x, y)
    _mean(monitors, m * dim, y, spare, size, one)
    for w in range(lanes):
        s[w] = noise[w] + duration * one[w]
    _exponential(monitors, m, s, y, z, spare)
    _mean(monitors, m * dim, z, spare, size, two)
    for w in range(lanes):
        s[w] = noise[w] + 0.5 * duration * (one[w] + two[w])
        signal[w] += s[w]
    _exponential(monitors, m, s, y, z, spare)
    apply_matrix(monitors.drifts, first_row, z, x)
    sizes(monitors.lifted, monitors.diagonal, x, size)
    for w in range(lanes):
        ratio = before[w] / size[w]
        size[w] = ratio if monitors.lifted else np.sqrt(ratio)
    for part in range(2):
        for i in range(dim):
            for w in range(lanes):
                x[part, i, w] *= size[w]
