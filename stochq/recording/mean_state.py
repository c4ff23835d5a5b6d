r"""The mean state of an ensemble, and distances to it without the bias of noise.

A plug-in distance is never zero: for a mean of n pure states
:math:`E\,\|\bar\rho - \rho\|_2^2 = (1 - \mathrm{Tr}\,\rho^2) / n`. Two halves of the
trajectories are independent, and products of their errors average to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stochq.arrays import HERMITIAN_TOLERANCE, Complexes, Floats, as_array
from stochq.errors import ModelError
from stochq.recording.frames import Frame
from stochq.recording.state_sums import StateSum

__all__ = ["MeanState", "check_room"]

#: Bytes that a mean state may take in the model's whole basis.
MOST_BYTES = 2**31


@dataclass(frozen=True, eq=False)
class MeanState:
    r"""The mean over trajectories of their states as matrices.

    .. math:: \bar\rho = \frac1n \sum_{i=1}^n |\psi_i\rangle\langle\psi_i|

    for kets; of density matrices where trajectories have them; and of correlation
    matrices :math:`G_{xy} = \langle c_x^\dagger c_y \rangle` in a one-body model. Norms
    are divided out as in the means of observables, so that ``Tr(O rho)`` is the mean of
    every observable.

    Attributes
    ----------
    times : ndarray, shape (T',) [time]
        Output times at which it was kept.
    matrix : ndarray, shape (T', D, D)
        The mean in the model's whole basis.
    halves : ndarray, shape (2, T', D, D)
        Means over the atoms (64 trajectories each) of even and of odd number.
    n_traj : int
        Trajectories of the whole.
    counts : (int, int)
        Trajectories of the halves.
    squares : ndarray, shape (T',)
        Mean squared Hilbert-Schmidt norm of a trajectory's matrix: 1 for kets.
    """

    times: Floats
    matrix: Complexes
    halves: Complexes
    n_traj: int
    counts: tuple[int, int]
    squares: Floats

    @classmethod
    def of(
        cls, frame: Frame, times: Floats, even: StateSum, odd: StateSum
    ) -> MeanState:
        """Return the mean of the sums over atoms of even and of odd number."""
        whole = even.merge(odd)
        sums = [even, odd]
        with np.errstate(invalid="ignore", divide="ignore"):
            halves = [frame.embed_matrices(s.total / s.n_traj) for s in sums]
        return cls(
            times=times,
            matrix=frame.embed_matrices(whole.total / whole.n_traj),
            halves=np.array(halves),
            n_traj=whole.n_traj,
            counts=(even.n_traj, odd.n_traj),
            squares=whole.squares / whole.n_traj,
        )

    @property
    def sampling_scale(self) -> Floats:
        r"""Expected squared Hilbert-Schmidt norm of the mean's sampling error, (T',).

        .. math:: E\,\|\bar\rho - \rho\|_2^2 = \frac{1}{n} \bigl( E\,\|\rho_i\|_2^2
            - \|\rho\|_2^2 \bigr), \quad\text{estimated by}\quad
            \frac{\overline{\|\rho_i\|_2^2} - \|\bar\rho\|_2^2}{n - 1}

        without bias; it is ``(1 - Tr rho^2) / n`` where trajectories are kets.
        """
        found: Floats = (self.squares - _squared_norm(self.matrix)) / (self.n_traj - 1)
        return found

    def hilbert_schmidt(self, reference: Any) -> Floats:
        r"""Return the squared Hilbert-Schmidt distance to a reference, shape (T',).

        .. math:: \mathrm{Re}\,\mathrm{Tr}\,(\rho_1 - \sigma)(\rho_2 - \sigma)

        of the two halves. They are independent, so that its expectation is
        :math:`\|\rho - \sigma\|_2^2`; it is negative about every second time where the
        states agree.

        Parameters
        ----------
        reference : array_like, shape (T', D, D) or (D, D)
            sigma, Hermitian, in the model's whole basis.

        Raises
        ------
        ModelError
            If the reference is not a Hermitian matrix of that shape.
        ValueError
            If there are 64 trajectories or fewer, which have no second half.
        """
        one, two = self._errors(reference)
        products: Floats = (one * two.conj()).sum(axis=(1, 2)).real
        return products

    def trace_distance(self, reference: Any) -> Floats:
        r"""Return a lower estimate of the trace distance to a reference, shape (T',).

        .. math:: \frac14 \bigl[ \mathrm{Tr}\,S_1 (\rho_2 - \sigma) +
            \mathrm{Tr}\,S_2 (\rho_1 - \sigma) \bigr], \qquad
            S_k = \mathrm{sign}(\rho_k - \sigma)

        The trace distance is ``max Tr S (rho - sigma) / 2`` over all Hermitian S with
        eigenvalues between -1 and 1. Each S is found from one half and tried on the
        other, of which it is independent: the expectation is
        ``Tr E[S] (rho - sigma) / 2``, which is 0 where the states agree and never
        larger than the true distance, since E[S] is one of those S. It is smaller the
        less the halves can tell the signs: a result near zero says that a difference
        was not resolved, not that there is none. Single results scatter about their
        expectation, to either side.

        Parameters
        ----------
        reference : array_like, shape (T', D, D) or (D, D)
            sigma, Hermitian, in the model's whole basis.

        Raises
        ------
        ModelError
            If the reference is not a Hermitian matrix of that shape.
        ValueError
            If there are 64 trajectories or fewer, which have no second half.
        """
        one, two = self._errors(reference)
        found = np.full(self.times.size, np.nan)
        for t in range(self.times.size):
            if np.isfinite(one[t]).all() and np.isfinite(two[t]).all():
                tried = _tried(_sign(one[t]), two[t]) + _tried(_sign(two[t]), one[t])
                found[t] = tried / 4
        return found

    def _errors(self, reference: Any) -> Complexes:
        """Return the halves minus the reference, shape (2, T', D, D)."""
        sigma = _checked_reference(reference, self.matrix.shape)
        if not all(self.counts):
            raise ValueError(
                "`n_traj` must be above 64 for two independent halves, but is "
                f"{self.n_traj}"
            )
        return np.asarray(self.halves - sigma)

    def __repr__(self) -> str:
        """Say what it is, in one line."""
        return (
            f"MeanState({self.times.size} times, dimension {self.matrix.shape[-1]}, "
            f"n_traj={self.n_traj})"
        )


def check_room(dim: int, n_times: int) -> None:
    """Refuse mean states that would not fit.

    Raises
    ------
    ModelError
        If the mean and its halves take more than 2 GiB.
    """
    needed = 3 * 16 * n_times * dim**2
    if needed > MOST_BYTES:
        raise ModelError(
            "`states` must take at most 2 GiB, but a mean state of dimension "
            f"{dim} at {n_times} times takes {needed / 2**30:.3g} GiB; ask for fewer "
            "times"
        )


def _squared_norm(matrices: Complexes) -> Floats:
    """Return the squared Hilbert-Schmidt norm of matrices (T', D, D), shape (T',)."""
    squares: Floats = np.square(np.abs(matrices)).sum(axis=(1, 2))
    return squares


def _sign(matrix: Complexes) -> Complexes:
    """Return the sign of a Hermitian matrix."""
    values, vectors = np.linalg.eigh(matrix)
    sign: Complexes = (vectors * np.sign(values)) @ vectors.conj().T
    return sign


def _tried(sign: Complexes, difference: Complexes) -> float:
    """Return Tr(S A) of Hermitian matrices."""
    return float((sign * difference.conj()).sum().real)


def _checked_reference(reference: Any, shape: tuple[int, ...]) -> Complexes:
    """Return a Hermitian reference, shape (T', D, D) or (D, D)."""
    if callable(getattr(reference, "full", None)):
        reference = reference.full()
    given = as_array(reference, "reference")
    if given.shape not in (shape, shape[1:]) or given.dtype.kind not in "biufc":
        raise ModelError(
            f"`reference` must be a matrix of shape {shape} or {shape[1:]}, "
            f"but has shape {given.shape}"
        )
    sigma = given.astype(np.complex128)
    if not np.isfinite(sigma).all():
        raise ModelError("`reference` must be finite, but contains NaN or infinity")
    defect = float(np.abs(sigma - sigma.conj().swapaxes(-1, -2)).max())
    allowed = 1e3 * HERMITIAN_TOLERANCE * max(1.0, float(np.abs(sigma).max()))
    if defect > allowed:
        raise ModelError(
            "`reference` must be Hermitian, but max |sigma - sigma^dag| is "
            f"{defect:.3g}"
        )
    return sigma
