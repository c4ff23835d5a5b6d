"""Sums over trajectories of their states as matrices, atom by atom, in fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stochq.arrays import Complexes, Floats
from stochq.functions import ORBITALS
from stochq.jit import kernel
from stochq.recording.frames import AVERAGED, Frame
from stochq.schemes.lanes import ATOM, Lanes, squared_norms

__all__ = ["StateSum", "add_states", "state_sums"]


class StateSum(NamedTuple):
    """The states of some trajectories, summed up, at T' times.

    Attributes
    ----------
    total : ndarray, shape (T', d, d)
        Sum of |psi><psi| or rho, or of G_xy = <c_x^dag c_y> for orbitals, in the
        reduced basis.
    squares : ndarray, shape (T',)
        Sum of their squared Hilbert-Schmidt norms.
    n_traj : int
        How many trajectories there are.
    """

    total: Complexes
    squares: Floats
    n_traj: int

    def merge(self, other: StateSum) -> StateSum:
        """Return the sum over both sets of trajectories."""
        return StateSum(
            self.total + other.total,
            self.squares + other.squares,
            self.n_traj + other.n_traj,
        )


@kernel
def _sum_kets(x, present, normalize, total, squares):
    """Add up |psi><psi| of the counted lanes of every atom into total (A, d, d)."""
    lanes = x.shape[3]
    square = np.empty(lanes)
    weight = np.empty(lanes)
    for g in range(x.shape[0]):
        squared_norms(x[g], square)
        for w in range(lanes):
            weight[w] = 1.0 / square[w] if normalize else 1.0
        for start in range(0, lanes, ATOM):
            atom = (g * lanes + start) // ATOM
            stop = start + min(ATOM, present - atom * ATOM)
            for w in range(start, stop):
                norm = square[w] * weight[w]
                squares[atom] += norm * norm
            for i in range(x.shape[2]):
                for j in range(i + 1):
                    re, im = 0.0, 0.0
                    for w in range(start, stop):
                        a, b = x[g, 0, i, w], x[g, 1, i, w]
                        c, d = x[g, 0, j, w], x[g, 1, j, w]
                        re += weight[w] * (a * c + b * d)
                        im += weight[w] * (b * c - a * d)
                    total[atom, i, j] = complex(re, im)
                    total[atom, j, i] = complex(re, -im)


@kernel
def _sum_matrices(x, diagonal, present, normalize, total, squares):
    """Add up the elements of rho of the counted lanes of every atom into total."""
    lanes = x.shape[3]
    weight = np.empty(lanes)
    for g in range(x.shape[0]):
        for w in range(lanes):
            trace = 0.0
            for i in diagonal:
                trace += x[g, 0, i, w]
            weight[w] = 1.0 / trace if normalize else 1.0
        for start in range(0, lanes, ATOM):
            atom = (g * lanes + start) // ATOM
            stop = start + min(ATOM, present - atom * ATOM)
            for i in range(x.shape[2]):
                re, im = 0.0, 0.0
                for w in range(start, stop):
                    a, b = weight[w] * x[g, 0, i, w], weight[w] * x[g, 1, i, w]
                    re += a
                    im += b
                    squares[atom] += a * a + b * b
                total[atom, i] = complex(re, im)


@kernel
def _sum_orbitals(x, total, squares):
    """Add up G = conj(U) U^T of the trajectories of every atom into total (A, d, d)."""
    for g in range(x.shape[0]):
        atom = g // ATOM
        for i in range(x.shape[2]):
            for j in range(i + 1):
                re, im = 0.0, 0.0
                for k in range(x.shape[3]):
                    a, b = x[g, 0, i, k], x[g, 1, i, k]
                    c, d = x[g, 0, j, k], x[g, 1, j, k]
                    re += a * c + b * d
                    im += a * d - b * c
                total[atom, i, j] += complex(re, im)
                squares[atom] += (re * re + im * im) * (1.0 if i == j else 2.0)
                if i != j:
                    total[atom, j, i] += complex(re, -im)


def add_states(
    lanes: Lanes, frame: Frame, present: int, normalize: bool
) -> tuple[Complexes, Floats]:
    """Return the states summed over the trajectories of each atom, and their squares.

    They are weighed as in the means of observables: divided by their norm or trace
    where `normalize` asks for it.

    Parameters
    ----------
    lanes : Lanes
        Whole atoms, from the first on.
    frame : Frame
        What the lanes hold.
    present : int
        Trajectories that count; others only fill up the last atom.
    normalize : bool
        Whether norms are divided out.

    Returns
    -------
    total : ndarray, shape (A, d, d)
        As in `StateSum`, of A atoms.
    squares : ndarray, shape (A,)
    """
    groups, _, rows, width = lanes.x.shape
    count = groups if lanes.shared else groups * width
    atoms = -(-count // ATOM)
    squares = np.zeros(atoms)
    if frame.held_as_matrix:
        sums = np.zeros((atoms, rows), dtype=np.complex128)
        diagonal = np.flatnonzero(frame.elements % (frame.side + 1) == 0)
        _sum_matrices(lanes.x, diagonal, present, normalize, sums, squares)
        total = frame.matrices(sums)
        if frame.kind == AVERAGED:  # G is the transpose of N rho
            particles = float(frame.particles)
            return particles * total.transpose(0, 2, 1), particles**2 * squares
        return total, squares
    total = np.zeros((atoms, rows, rows), dtype=np.complex128)
    if frame.kind == ORBITALS:
        _sum_orbitals(lanes.x, total, squares)
    else:
        _sum_kets(lanes.x, present, normalize, total, squares)
    return total, squares


def state_sums(
    sums: Sequence[tuple[Complexes, Floats]], present: int
) -> tuple[StateSum, ...]:
    """Return the sums of every atom at all times, from those of all atoms at each."""
    if not sums:
        return ()
    totals = np.stack([total for total, _ in sums], axis=1)
    squares = np.stack([square for _, square in sums], axis=1)
    return tuple(
        StateSum(totals[k], squares[k], min(ATOM, present - k * ATOM))
        for k in range(len(totals))
    )
