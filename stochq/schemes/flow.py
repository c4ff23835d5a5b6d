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

from stochq.arrays import Complexes, Floats, Operator, adjoint
from stochq.lowering import Dynamics
from stochq.structure import Sparse, blocks, pack

__all__ = ["RUNGS", "JumpFlow", "flow_generator", "jump_flow", "propagators"]

#: Condition number of the eigenvectors above which the ladder replaces them.
CONDITION_LIMIT = 1e4

#: Rungs of the ladder of propagators: durations D, D/2, ..., D/2^48.
RUNGS = 48


class JumpFlow(NamedTuple):
    """Everything a kernel needs to carry a state through jumps.

    ``channels`` counts the jump operators; ``right``, ``left`` and ``gram`` are R, R^-1
    and R^dag R; ``jumps`` and ``rates`` stack the c and the c^dag c; ``ladder`` stacks
    the propagators, D is ``duration``. ``weights`` are the rates of kicks that do not
    depend on the state.
    """

    channels: int
    spectral: bool
    energies: Complexes
    right: Sparse
    left: Sparse
    gram: Sparse
    jumps: Sparse
    rates: Sparse
    weights: Floats
    ladder: Sparse
    duration: float


def _eigenbasis(generator: Operator) -> tuple[Complexes, Operator, Operator, float]:
    """Return energies, R, R^-1 and the condition number of R, block by block."""
    dim = generator.shape[0]
    energies = np.zeros(dim, dtype=np.complex128)
    right: Any = sp.eye_array(dim, format="lil", dtype=np.complex128)
    left: Any = sp.eye_array(dim, format="lil", dtype=np.complex128)
    condition = 1.0
    for members in blocks(generator):
        dense = generator[members][:, members].toarray()
        hermitian = np.array_equal(dense, dense.conj().T)
        values, vectors = (np.linalg.eigh if hermitian else np.linalg.eig)(dense)
        energies[members] = values
        square = np.ix_(members, members)
        right[square] = vectors
        condition = max(condition, float(np.linalg.cond(vectors)))
        if condition < CONDITION_LIMIT:
            left[square] = np.linalg.inv(vectors)
    return energies, right.tocsr(), left.tocsr(), condition


def propagators(generator: Operator, durations: Sequence[float]) -> list[Operator]:
    """Return exp(-i H_eff t) for each duration t, block by block."""
    results: list[Any] = [
        sp.eye_array(generator.shape[0], format="lil", dtype=np.complex128)
        for _ in durations
    ]
    for members in blocks(generator):
        dense = generator[members][:, members].toarray()
        square = np.ix_(members, members)
        for result, duration in zip(results, durations, strict=True):
            result[square] = scipy.linalg.expm(-1j * duration * dense)
    return [result.tocsr() for result in results]


def flow_generator(dynamics: Dynamics) -> Operator:
    """Return H_eff; kicks of orbitals keep the norm, so there it is H."""
    if dynamics.one_body:
        return dynamics.hamiltonian
    return dynamics.effective_hamiltonian


def jump_flow(dynamics: Dynamics, duration: float) -> JumpFlow:
    """Return the flow of a lowered model for steps of at most `duration`."""
    generator = flow_generator(dynamics)
    energies, right, left, condition = _eigenbasis(generator)
    spectral = condition < CONDITION_LIMIT
    ladder: list[Operator] = []
    if not spectral:
        rungs = [duration / 2**m for m in range(RUNGS + 1)]
        ladder = propagators(generator, rungs)
    rates = [adjoint(c) @ c for c in dynamics.jumps]
    return JumpFlow(
        channels=len(dynamics.jumps),
        spectral=spectral,
        energies=energies,
        right=pack(right),
        left=pack(left),
        gram=pack(adjoint(right) @ right),
        jumps=pack(dynamics.jumps),
        rates=pack(rates),
        weights=np.array([float(r.diagonal().real.mean()) for r in rates]),
        ladder=pack(ladder),
        duration=duration,
    )
