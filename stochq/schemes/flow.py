"""The flow between noise factors, prepared: exp(-i H_eff t) and the jump operators.

Between jumps psi(t) = R exp(-i Lambda t) R^-1 psi(0) in the eigenbasis of
H_eff = H - (i/2) sum c^dag c. Where the eigenvectors are nearly dependent (close to an
exceptional point) a ladder of exact propagators for durations D / 2^m replaces them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from stochq.arrays import Complexes, Floats, Ints, Operator, adjoint
from stochq.lowering import Dynamics
from stochq.schemes.diagonal import monomials
from stochq.structure import Sparse, blocks, is_diagonal, pack

__all__ = [
    "CONDITION_LIMIT",
    "RUNGS",
    "JumpFlow",
    "eigenbasis",
    "flow_generator",
    "flow_propagators",
    "jump_flow",
    "propagators",
    "total_rate",
]

#: Condition number of the eigenvectors above which the ladder replaces them.
CONDITION_LIMIT = 1e4

#: Size above which a block's exponential is made sparse; terms of its series; part of
#: its elements above which it is made dense after all; elements below this are dropped.
DENSE_SIZE, SERIES, DENSE_PART, DROPPED = 128, 18, 0.25, 1e-19

#: Most copies of a propagator, and elements that all of them together may have.
COPIES, COPIES_ELEMENTS = 16, 2**18

EPS = float(np.finfo(np.float64).eps)

#: Rungs of the ladder of propagators: durations D, D/2, ..., D/2^48.
RUNGS = 48


class JumpFlow(NamedTuple):
    """Everything a kernel needs to carry a state through jumps.

    ``channels`` counts the jump operators; ``total`` is their rate where it does not
    depend on the state, else -1; ``right``, ``left`` and ``gram`` are R, R^-1 and
    R^dag R; ``jumps`` and ``rates`` stack the c and the c^dag c; ``ladder`` stacks
    the propagators, D is ``duration``. Where the flow is ``diagonal``, the c take each
    basis state to ``target``, times ``factor``, at the rate ``strength``, with
    ``frequency`` E / 2 pi and ``decay``.
    """

    channels: int
    diagonal: bool
    spectral: bool
    total: float
    energies: Complexes
    right: Sparse
    left: Sparse
    gram: Sparse
    jumps: Sparse
    rates: Sparse
    ladder: Sparse
    duration: float
    target: Ints
    factor: Complexes
    strength: Floats
    frequency: Floats
    decay: Floats


def eigenbasis(generator: Operator) -> tuple[Complexes, Operator, Operator, float]:
    """Return energies, R, R^-1 and the condition number of R, block by block."""
    dim = generator.shape[0]
    if is_diagonal(generator):
        one = sp.eye_array(dim, format="csr", dtype=np.complex128)
        return generator.diagonal(), one, one, 1.0
    energies = np.zeros(dim, dtype=np.complex128)
    right: Any = sp.eye_array(dim, format="lil", dtype=np.complex128)
    left: Any = sp.eye_array(dim, format="lil", dtype=np.complex128)
    condition = 1.0
    for members in blocks(generator):
        dense = generator[members][:, members].toarray()
        values, vectors = _eigen(dense)
        energies[members] = values
        square = np.ix_(members, members)
        right[square] = vectors
        condition = max(condition, float(np.linalg.cond(vectors)))
        if condition < CONDITION_LIMIT:
            left[square] = np.linalg.inv(vectors)
    return energies, right.tocsr(), left.tocsr(), condition


def _eigen(dense: Complexes) -> tuple[Complexes, Complexes]:
    """Return eigenvalues and eigenvectors, orthogonal ones where all decay alike."""
    loss = 1j * dense.diagonal().imag.mean() * np.eye(len(dense))
    rest = dense - loss
    if np.abs(rest - rest.conj().T).max() > EPS * np.abs(dense).max():
        return np.linalg.eig(dense)
    values, vectors = np.linalg.eigh(rest)
    return values + loss[0, 0], vectors


def total_rate(dynamics: Dynamics) -> float:
    """Return Gamma if sum c^dag c = Gamma 1, whatever the state, else -1."""
    rates = sp.csr_array(sum(adjoint(c) @ c for c in dynamics.jumps))
    diagonal = rates.diagonal().real
    gamma = float(diagonal.mean())
    rest = rates - sp.diags_array(np.full(diagonal.size, gamma), format="csr")
    uneven = float(np.abs(rest.data).max(initial=0.0))
    return gamma if uneven <= 16 * EPS * gamma else -1.0


def propagators(generator: Operator, durations: Sequence[float]) -> list[Operator]:
    """Return exp(-i H_eff t) for each duration t, block by block."""
    found = [(members, generator[members][:, members]) for members in blocks(generator)]
    return [
        _assembled([(m, _exponential(-1j * t * G)) for m, G in found], generator)
        for t in durations
    ]


def _assembled(parts: Sequence[tuple[Ints, Operator]], generator: Operator) -> Operator:
    """Return the matrix with these blocks, and 1 on the diagonal elsewhere."""
    touched = np.zeros(generator.shape[0], dtype=np.bool_)
    for members, _ in parts:
        touched[members] = True
    rest = np.flatnonzero(~touched)
    rows, columns, data = [rest], [rest], [np.ones(rest.size, dtype=np.complex128)]
    for members, part in parts:
        block = sp.coo_array(part)
        rows.append(members[block.coords[0]])
        columns.append(members[block.coords[1]])
        data.append(block.data)
    places = (np.concatenate(rows), np.concatenate(columns))
    return sp.csr_array((np.concatenate(data), places), shape=generator.shape)


def _exponential(exponent: Operator) -> Operator:
    """Return exp(A), sparse where A is large and exp(A) falls off away from it.

    A large matrix is halved until its Taylor series converges fast, and squared back;
    what is below rounding is dropped on the way.
    """
    size = exponent.shape[0]
    if size <= DENSE_SIZE:
        return sp.csr_array(scipy.linalg.expm(exponent.toarray()))
    norm = float(abs(exponent).sum(axis=0).max())
    halvings = max(0, int(np.ceil(np.log2(max(norm, 1e-300)))) + 1)
    small = sp.csr_array(exponent) * 0.5**halvings
    term = total = sp.eye_array(size, format="csr", dtype=np.complex128)
    for n in range(1, SERIES + 1):
        term = _dropped(term @ small / n)
        total = total + term
    for _ in range(halvings):
        if total.nnz > DENSE_PART * size**2:
            return sp.csr_array(scipy.linalg.expm(exponent.toarray()))
        total = _dropped(total @ total)
    return total


def _dropped(matrix: Operator) -> Operator:
    """Return a sparse matrix without elements that are below rounding."""
    matrix = sp.csr_array(matrix)
    matrix.data[np.abs(matrix.data) < DROPPED] = 0.0
    matrix.eliminate_zeros()
    return matrix


def dithered(propagator: Operator, copies: int) -> list[Operator]:
    """Return copies of a unitary matrix whose rounding errors cancel on average.

    One rounded matrix, applied 10^5 times, would make the norm drift by 10^5 times its
    defect. Here each element is rounded up or down in different copies, as often as its
    position between two floating-point numbers asks for.
    """
    exact = propagator.astype(np.clongdouble)
    defect = exact.conj().T @ exact - sp.eye_array(exact.shape[0], dtype=exact.dtype)
    exact = exact - 0.5 * (exact @ defect)  # unitary beyond double precision
    pattern = abs(propagator) > 0
    exact = sp.csr_array(exact.multiply(pattern))
    exact.sort_indices()
    rng = np.random.default_rng(0)  # a fixed, structureless order of ups and downs
    parts = [
        _rounded_both_ways(part, copies, rng)
        for part in (exact.data.real, exact.data.imag)
    ]
    return [
        sp.csr_array((re + 1j * im, exact.indices, exact.indptr), shape=exact.shape)
        for re, im in zip(*parts, strict=True)
    ]


def _rounded_both_ways(
    values: Any, copies: int, rng: np.random.Generator
) -> list[Floats]:
    """Return roundings to double whose mean is as close as can be, one per copy."""
    nearest = values.astype(np.float64)
    error = (values - nearest).astype(np.float64)
    other = np.nextafter(nearest, np.where(error > 0, np.inf, -np.inf))
    gap = np.where(error == 0, 1.0, other - nearest)
    share = np.where(error == 0, 0.0, error / gap)
    order = np.argsort(rng.random((copies, values.size)), axis=0)
    take = order < np.rint(share * copies)
    return [np.where(row, other, nearest) for row in take]


def flow_propagators(dynamics: Dynamics, durations: Sequence[float]) -> list[Operator]:
    """Return the propagators of the flow, the whole list once for every copy.

    Flows that keep the norm have several copies, as many as stay small.
    """
    matrices = propagators(flow_generator(dynamics), durations)
    still = dynamics.lifted or not flow_generator(dynamics).nnz
    if still or (dynamics.jumps and not dynamics.one_body) or dynamics.raw:
        return matrices
    elements = sum(matrix.nnz for matrix in matrices)
    copies = int(np.clip(COPIES_ELEMENTS // max(1, elements), 1, COPIES))
    if copies == 1:
        return matrices
    each = [dithered(matrix, copies) for matrix in matrices]
    return [each[k][copy] for copy in range(copies) for k in range(len(matrices))]


def flow_generator(dynamics: Dynamics) -> Operator:
    """Return H_eff; what events take off orbitals is put back, so there it is H."""
    if dynamics.one_body:
        return dynamics.hamiltonian
    return dynamics.effective_hamiltonian


def jump_flow(dynamics: Dynamics, duration: float) -> JumpFlow | None:
    """Return the flow of a lowered model for steps of at most `duration`.

    None without jumps of kets; events of orbitals are not its business.
    """
    if not dynamics.jumps or dynamics.one_body or dynamics.lifted:
        return None
    generator = flow_generator(dynamics)
    found = monomials(generator, dynamics.jumps)
    target, factor = found or (np.zeros((0, 0), np.int64), np.zeros((0, 0), complex))
    energies, right, left, condition = eigenbasis(generator)
    spectral = condition < CONDITION_LIMIT
    ladder: list[Operator] = []
    if not spectral:
        rungs = [duration / 2**m for m in range(RUNGS + 1)]
        ladder = propagators(generator, rungs)
    rates = [adjoint(c) @ c for c in dynamics.jumps]
    return JumpFlow(
        channels=len(dynamics.jumps),
        diagonal=found is not None,
        spectral=spectral,
        total=total_rate(dynamics),
        energies=energies,
        right=pack(right),
        left=pack(left),
        gram=pack(adjoint(right) @ right),
        jumps=pack(dynamics.jumps),
        rates=pack(rates),
        ladder=pack(ladder),
        duration=duration,
        target=target,
        factor=factor,
        strength=np.square(np.abs(factor)),
        frequency=energies.real / (2 * np.pi),
        decay=-2.0 * energies.imag,
    )
