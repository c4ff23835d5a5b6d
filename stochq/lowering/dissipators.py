"""Dissipators lowered: as unitary noise, or as kicks at a constant rate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Operator, adjoint, is_hermitian
from stochq.channels import Dissipator
from stochq.errors import SchemeMismatchError
from stochq.lowering.noise import complex_channels

__all__ = ["kick_of", "noise_of_dissipators"]

#: Eigenvalues closer than this, relative to the largest, are one eigenvalue.
DEGENERACY_TOLERANCE = 1e-10


def noise_of_dissipators(name: str, group: Sequence[Dissipator]) -> list[Operator]:
    """Return the unitary noise that averages to a group of dissipators."""
    channels: list[Operator] = []
    waiting = []
    for member in group:
        if is_hermitian(member.operator):
            channels.append(np.sqrt(member.rate) * member.operator)
        else:
            waiting.append(member)
    while waiting:
        first = waiting.pop()
        partner = next((m for m in waiting if _is_adjoint_pair(first, m)), None)
        if partner is None:
            raise SchemeMismatchError(
                f"UnitaryNoise() for {name!r} must have Hermitian operators or pairs "
                "c, c^dag of equal rates, but one operator is neither; use Jump()"
            )
        waiting.remove(partner)
        channels += complex_channels(first.operator, first.rate)
    return channels


def _is_adjoint_pair(one: Dissipator, other: Dissipator) -> bool:
    """Tell whether the two jump operators are adjoint with equal rates."""
    difference = one.operator - adjoint(other.operator)
    scale = float(np.abs(one.operator.data).max(initial=0.0))
    close = np.abs(difference.data).max(initial=0.0) <= 1e-12 * scale
    return bool(close and np.isclose(one.rate, other.rate, rtol=1e-12, atol=0.0))


def kick_of(name: str, member: Dissipator) -> Operator:
    """Return sqrt(rate) (l2 - l1)/2 K, the kick of a two-valued Hermitian operator."""
    operator = member.operator
    if not is_hermitian(operator):
        raise SchemeMismatchError(
            f"Kicks() for {name!r} must have a Hermitian operator, but it is not; "
            "use Jump()"
        )
    low, high = _two_eigenvalues(operator, name)
    identity = sp.eye_array(operator.shape[0], format="csr", dtype=np.complex128)
    return np.sqrt(member.rate) * sp.csr_array(operator - 0.5 * (low + high) * identity)


def _two_eigenvalues(operator: Operator, name: str) -> tuple[float, float]:
    """Return l1 < l2 if (A - l1)(A - l2) = 0, without diagonalizing A."""
    size = operator.shape[0]
    trace = float(operator.diagonal().real.sum())
    square = operator @ operator
    # A^2 = s A - p: fit s and p on the matrix elements, then test all of them
    gram = np.array(
        [[np.vdot(operator.data, operator.data).real, -trace], [trace, -float(size)]]
    )
    right = np.array(
        [
            (operator.conj().multiply(square)).sum().real,
            square.diagonal().real.sum(),
        ]
    )
    if abs(np.linalg.det(gram)) > 1e-12 * np.abs(gram).max() ** 2:
        total, product = np.linalg.solve(gram, right)
        identity = sp.eye_array(size, format="csr", dtype=np.complex128)
        rest = square - total * operator + product * identity
        scale = float(np.abs(square.data).max(initial=0.0))
        if np.abs(rest.data).max(initial=0.0) <= DEGENERACY_TOLERANCE * scale:
            root = np.sqrt(max(total**2 / 4 - product, 0.0))
            return total / 2 - root, total / 2 + root
    raise SchemeMismatchError(
        f"Kicks() for {name!r} must have an operator with exactly two different "
        "eigenvalues, but it has another number; use Jump() or UnitaryNoise()"
    )
