"""Lanes read as states: from the reduced space of a run to the model's whole basis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stochq.arrays import Complexes, Ints
from stochq.functions import KETS, MATRICES, ORBITALS
from stochq.lowering import Dynamics
from stochq.schemes.lanes import ATOM, Lanes
from stochq.states import DensityMatrix

__all__ = ["AVERAGED", "Frame"]

#: Matrices U U^dag / N of one-body models, which are not Gaussian states.
AVERAGED = "averaged one-body matrices"

#: max |U^dag U - 1| that counts as rounding.
ORTHONORMAL = 1e-10


@dataclass(frozen=True, eq=False)
class Frame:
    """What the lanes of a run hold, and where it belongs in the model's whole basis.

    Attributes
    ----------
    kind : str
        Kets, density matrices, orbitals, or averaged one-body matrices.
    basis : ndarray of int, shape (d,)
        The basis states of the model that can be reached.
    dim : int
        Dimension D of the model.
    particles : int
        Fermions of a one-body model, else 1.
    elements : ndarray of int
        Which elements of a density matrix (d, d) the lanes hold; else none.
    """

    kind: str
    basis: Ints
    dim: int
    particles: int
    elements: Ints

    @classmethod
    def of(cls, dynamics: Dynamics) -> Frame:
        """Return the frame of a lowered model."""
        carried = dynamics.carried.initial
        if isinstance(carried, DensityMatrix):
            kind = AVERAGED if dynamics.one_body else MATRICES
            elements = carried.elements
        else:
            kind = ORBITALS if dynamics.one_body else KETS
            elements = np.zeros(0, dtype=np.int64)
        return cls(
            kind=kind,
            basis=dynamics.basis,
            dim=dynamics.model.dim,
            particles=dynamics.initial.columns,
            elements=elements,
        )

    @property
    def side(self) -> int:
        """Rows d of a density matrix in the reduced basis."""
        return int(self.basis.size)

    @property
    def held_as_matrix(self) -> bool:
        """Whether lanes hold elements of matrices."""
        return self.kind in {MATRICES, AVERAGED}

    def embed(self, raw: Complexes) -> Complexes:
        """Return what lanes hold in the model's whole basis.

        Parameters
        ----------
        raw : ndarray, shape (n, d), (n, d, particles) or (n, elements)
            Amplitudes of n trajectories.

        Returns
        -------
        ndarray, shape (n, D), (n, D, particles) or (n, D, D)
        """
        if self.held_as_matrix:
            return self.embed_matrices(self.matrices(raw))
        if self.side == self.dim:
            return raw
        whole = np.zeros((raw.shape[0], self.dim, *raw.shape[2:]), dtype=np.complex128)
        whole[:, self.basis] = raw
        return whole

    def matrices(self, raw: Complexes) -> Complexes:
        """Return the matrices (..., d, d) that have these elements (..., n)."""
        rho = np.zeros((*raw.shape[:-1], self.side**2), dtype=np.complex128)
        rho[..., self.elements] = raw
        return rho.reshape(*raw.shape[:-1], self.side, self.side)

    def embed_matrices(self, reduced: Complexes) -> Complexes:
        """Return matrices (..., d, d) in the model's whole basis, (..., D, D)."""
        if self.side == self.dim:
            return reduced
        whole = np.zeros((*reduced.shape[:-2], self.dim, self.dim), dtype=np.complex128)
        whole[..., self.basis[:, None], self.basis] = reduced
        return whole

    def normalized(self, states: Complexes) -> Complexes:
        """Return states of norm or trace 1, or orthonormal orbitals."""
        if self.kind == ORBITALS:
            return _orthonormal(states)
        if self.held_as_matrix:
            traces = np.trace(states, axis1=1, axis2=2).real
            matrices: Complexes = states / traces[:, None, None]
            return matrices
        squares = np.square(states.real) + np.square(states.imag)
        kets: Complexes = states / np.sqrt(squares.sum(axis=1))[:, None]
        return kets

    def atoms(self, lanes: Lanes) -> Iterator[tuple[slice, Complexes]]:
        """Yield 64 normalized states at a time, and which trajectories they are.

        The arrays always have 64 states, whatever shares a group of lanes, so that
        nothing computed from them depends on the batch; orbitals of a last atom that
        is not full are repeated, beyond the end of the slice.
        """
        groups, _, _, width = lanes.x.shape
        if lanes.shared:
            for first in range(0, groups, ATOM):
                x = lanes.x[first : first + ATOM]
                raw = x[:, 0] + 1j * x[:, 1]
                full = np.concatenate([raw, np.repeat(raw[-1:], ATOM - len(raw), 0)])
                yield slice(first, first + len(raw)), self._ready(full)
            return
        for group in range(groups):
            for lane in range(0, width, ATOM):
                x = lanes.x[group, :, :, lane : lane + ATOM]
                first = group * width + lane
                raw = np.ascontiguousarray((x[0] + 1j * x[1]).T)
                yield slice(first, first + ATOM), self._ready(raw)

    def _ready(self, raw: Complexes) -> Complexes:
        """Return normalized states that nobody can change."""
        states = self.normalized(self.embed(raw))
        states.setflags(write=False)
        return states


def _orthonormal(orbitals: Complexes) -> Complexes:
    """Return orthonormal orbitals that span the same spaces; NaN where they are lost.

    What is orthonormal to rounding already stays as it is.
    """
    gram = orbitals.conj().transpose(0, 2, 1) @ orbitals
    defect = np.abs(gram - np.eye(gram.shape[1])).max(axis=(1, 2))
    loose = np.flatnonzero(~(defect <= ORTHONORMAL))
    if not loose.size:
        return orbitals
    found = orbitals.copy()
    found[loose] = np.linalg.qr(orbitals[loose])[0]
    return found
