"""Linear maps of density matrices, without d^2 x d^2 matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Complexes, Floats, Operator
from stochq.lowering import Dynamics
from stochq.lowering.dissipators import Monitor
from stochq.schemes.monitors import ket_terms, matrix_terms, moment
from stochq.structure import is_diagonal

__all__ = [
    "AveragedStep",
    "Map",
    "Spectrum",
    "compose",
    "conjugate",
    "measured",
    "mixture",
    "semigroup",
    "unitary",
]

#: A map of a stack of density matrices (B, d, d).
Map = Callable[[Complexes], Complexes]

#: Multiplications in a matrix product that OpenBLAS does on one thread.
BLAS_SERIAL = 40**3


class AveragedStep(NamedTuple):
    """Averaged factors: n steps are start, body, (link, body) n - 1 times, end = start.

    The outer halves of neighboring steps are one factor, the link.
    """

    start: Sequence[Map]
    body: Sequence[Map]
    link: Sequence[Map]


def _product(matrix: Complexes, rho: Complexes) -> Complexes:
    """Return M rho for a stack of rho, in blocks too small for BLAS to thread.

    Threads that wait for a busy core make such products a hundred times slower.
    """
    dim = rho.shape[-1]
    width = max(1, BLAS_SERIAL // dim**2)
    if width >= dim:
        return matrix @ rho
    parts = [matrix @ rho[..., i : i + width] for i in range(0, dim, width)]
    return np.concatenate(parts, axis=-1)


def _dagger(rho: Complexes) -> Complexes:
    """Return the adjoint of every matrix of a stack."""
    return np.conj(np.swapaxes(rho, -1, -2))


def conjugate(matrix: Complexes, rho: Complexes) -> Complexes:
    """Return M rho M^dag for a stack of rho."""
    return _dagger(_product(matrix, _dagger(_product(matrix, rho))))


def unitary(matrix: Operator) -> Map:
    """Return rho -> U rho U^dag."""
    dense = matrix.toarray()
    return lambda rho: conjugate(dense, rho)


def semigroup(dynamics: Dynamics, duration: float) -> Map:
    """Return rho -> exp(t L) rho for what is not noise, by Taylor steps."""
    jumps = [c.toarray() for c in (*dynamics.jumps, *dynamics.averaged)]
    jumps += [c.toarray() for c in _other_outcomes(dynamics)]
    losses = sum((c.conj().T @ c for c in jumps), start=0.0)
    effective = (dynamics.hamiltonian + 1j * dynamics.gain).toarray() - 0.5j * losses

    def generator(rho: Complexes) -> Complexes:
        half = -1j * _product(effective, rho)
        total = half + _dagger(half)
        for c in jumps:
            total = total + conjugate(c, rho)
        return total

    def general(rho: Complexes) -> Complexes:
        # rho need not be Hermitian (basis matrices are not): split it into two parts
        dagger = _dagger(rho)
        one, two = 0.5 * (rho + dagger), -0.5j * (rho - dagger)
        return generator(one) + 1j * generator(two)

    rate = np.linalg.norm(effective, 2) + sum(np.linalg.norm(c, 2) ** 2 for c in jumps)
    parts = max(1, int(np.ceil(2 * rate * duration)))

    def advance(rho: Complexes) -> Complexes:
        for _ in range(parts):
            term = rho
            for n in range(1, 30):
                term = general(term) * (duration / parts / n)
                rho = rho + term
                if np.abs(term).max() < 1e-17:
                    break
        return rho

    return advance


def _other_outcomes(dynamics: Dynamics) -> list[Operator]:
    """Return sqrt(r) (1 - P) for the projections of orbitals, which are sqrt(r) P."""
    if not dynamics.one_body:
        return []
    one = sp.eye_array(dynamics.dim, format="csr", dtype=np.complex128)
    return [
        np.sqrt((abs(c) ** 2).sum()) * one - c
        for c, kind in zip(dynamics.jumps, dynamics.jump_kinds, strict=True)
        if kind == "projection"
    ]


def _rotated(vectors: Complexes, factor: Any) -> Map:
    """Return rho -> V (factor * (V^dag rho V)) V^dag."""
    dagger = vectors.conj().T
    return lambda rho: conjugate(vectors, factor * conjugate(dagger, rho))


class Spectrum(NamedTuple):
    """Eigenvalues and eigenvectors of a channel; no vectors for a diagonal one."""

    values: Floats
    vectors: Complexes | None

    @classmethod
    def of(cls, operator: Operator) -> Spectrum:
        """Return the spectrum of a Hermitian operator."""
        if is_diagonal(operator):
            return cls(operator.diagonal().real, None)
        return cls(*np.linalg.eigh(operator.toarray()))

    def map(self, factor: Complexes) -> Map:
        """Return rho -> V (factor * (V^dag rho V)) V^dag."""
        if self.vectors is None:
            return lambda rho: factor * rho
        return _rotated(self.vectors, factor)

    def dephasing(self, variance: float) -> Map:
        """Return rho -> E[exp(-i x L) rho exp(i x L)], x ~ N(0, variance)."""
        gaps = self.values[:, None] - self.values[None, :]
        return self.map(np.exp(-0.5 * variance * gaps**2))

    def turn(self, angle: float) -> Map:
        """Return rho -> exp(-i x L) rho exp(i x L)."""
        return self.map(np.exp(-1j * angle * (self.values[:, None] - self.values)))


def measured(monitor: Monitor, duration: float) -> Map:
    """Return what one monitored factor averages to, outcomes forgotten."""
    if monitor.efficiency == 1:
        terms = [term.toarray() for term in ket_terms(monitor.operator, duration)]
        nodes, weights = np.polynomial.hermite_e.hermegauss(len(terms))
        weights = weights / weights.sum()  # exact for the products of two terms
        operators = [
            sum(x**n * term for n, term in enumerate(terms)) for x in nodes.tolist()
        ]
        return mixture(list(zip(weights.tolist(), operators, strict=True)))
    terms = matrix_terms(monitor, duration)
    mean = sum(moment(n) * term for n, term in enumerate(terms))

    def advance(rho: Complexes) -> Complexes:
        vectors = rho.reshape(rho.shape[0], -1).T
        return np.ascontiguousarray((mean @ vectors).T).reshape(rho.shape)

    return advance


def compose(factors: Sequence[Map]) -> Map:
    """Return the map that applies factors one after another."""

    def advance(rho: Complexes) -> Complexes:
        for factor in factors:
            rho = factor(rho)
        return rho

    return advance


def mixture(steps: Sequence[tuple[float, Complexes]]) -> Map:
    """Return rho -> sum_i w_i A_i rho A_i^dag."""

    def advance(rho: Complexes) -> Complexes:
        total = np.zeros_like(rho)
        for weight, step in steps:
            total += weight * conjugate(step, rho)
        return total

    return advance
