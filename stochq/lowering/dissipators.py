"""Dissipators lowered: what a group of them becomes under each unraveling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Complexes, Operator, adjoint, is_hermitian, scaled
from stochq.channels import Dissipator
from stochq.envelopes import Envelope
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering.noise import complex_channels
from stochq.unravelings import (
    Averaged,
    Choice,
    Heterodyne,
    Homodyne,
    Jump,
    Kicks,
    Projections,
    UnitaryNoise,
)

__all__ = ["JumpChannel", "JumpKind", "Monitor", "Unraveled", "unravel"]

#: Eigenvalues closer than this, relative to the largest, are one eigenvalue.
DEGENERACY_TOLERANCE = 1e-10

JumpKind = Literal["jump", "kick", "projection"]


class JumpChannel(NamedTuple):
    """A jump operator c, with the square root of its rate [1/sqrt(time)].

    A kick is unitary up to a factor. Projections come in pairs, P and 1 - P, of which
    orbitals, whose matrices stand for many-body operators, keep the first.
    """

    name: str
    operator: Operator
    envelope: Envelope | None = None
    kind: JumpKind = "jump"


class Monitor(NamedTuple):
    r"""A monitored operator c, with the square root of its rate [1/sqrt(time)].

    The signal is :math:`dY = \sqrt\eta \langle c + c^\dagger \rangle dt + dW`; the
    phase of the local oscillator is in c. ``number`` is the place of W on a Brownian
    path.
    """

    name: str
    operator: Operator
    efficiency: float
    number: int = 0


@dataclass
class Unraveled:
    """What the dissipators of a model became."""

    noise: list[tuple[Operator, Envelope | None]] = field(default_factory=list)
    jumps: list[JumpChannel] = field(default_factory=list)
    monitors: list[Monitor] = field(default_factory=list)
    averaged: list[Operator] = field(default_factory=list)
    hamiltonian: list[Operator] = field(default_factory=list)


def unravel(
    group: Sequence[Dissipator], choice: Choice, one_body: bool, found: Unraveled
) -> None:
    """Add what a group of dissipators becomes under a choice.

    Raises
    ------
    ModelError
        If a mixing or a shift does not fit the number of operators.
    SchemeMismatchError
        If the choice does not fit the operators.
    """
    label = " and ".join(dict.fromkeys(repr(d.name) for d in group))
    if one_body:
        _check_one_body(group, choice, label)
    if isinstance(choice, UnitaryNoise):
        found.noise += _noise_of(group, label, one_body)
    elif isinstance(choice, Kicks):
        found.jumps += [_kick(d, label) for d in group]
    elif isinstance(choice, Projections):
        found.jumps += [j for d in group for j in _projections(d, label, one_body)]
    elif isinstance(choice, Jump):
        _add_jumps(group, choice, label, found)
    else:
        _check_constant(group, choice, label)
        if isinstance(choice, Averaged):
            found.averaged += [d.jump_operator for d in group]
        else:
            found.monitors += _monitors(group, choice, label)


def _check_constant(group: Sequence[Dissipator], choice: Choice, label: str) -> None:
    """Refuse strengths that depend on time."""
    if any(d.strength is not None for d in group):
        raise SchemeMismatchError(
            f"{type(choice).__name__} for {label} must have constant rates, but a "
            "strength depends on time; use Jump() or UnitaryNoise()"
        )


def _check_one_body(group: Sequence[Dissipator], choice: Choice, label: str) -> None:
    """Refuse what would not keep a Slater determinant one."""
    if isinstance(choice, UnitaryNoise | Kicks):
        return
    if isinstance(choice, Averaged):
        fits, needed = all(is_hermitian(d.operator) for d in group), "Hermitian"
    else:
        fits = all(_is_one_mode(d.operator) for d in group)
        needed = "g v v^dag, the number of fermions in one mode"
    if not fits:
        raise SchemeMismatchError(
            f"{type(choice).__name__} for {label} of a one-body model must have "
            f"operators that are {needed}, but one is not; write the fermions in a "
            "many-body space, or use UnitaryNoise() if it is Hermitian or has its "
            "adjoint beside it"
        )
    if isinstance(choice, Averaged | Projections):
        return
    if getattr(choice, "efficiency", 1.0) < 1.0:
        raise SchemeMismatchError(
            f"{type(choice).__name__} for {label} of a one-body model must have "
            f"efficiency 1, but has {choice.efficiency:g}: what is not seen leaves no "  # type: ignore[union-attr]
            "single Slater determinant; use efficiency=1"
        )
    if choice.mixing is not None or getattr(choice, "shift", 0.0) != 0.0:
        raise SchemeMismatchError(
            f"{type(choice).__name__} for {label} of a one-body model must have no "
            "mixing and no shift, which orbitals cannot follow"
        )


def _is_one_mode(operator: Operator) -> bool:
    """Tell whether A = g v v^dag: Hermitian, with A^2 = tr(A) A."""
    trace = operator.diagonal().sum().real
    rest = operator @ operator - trace * operator
    size = float(np.abs(operator.data).max(initial=0.0))
    small = float(np.abs(rest.data).max(initial=0.0)) <= DEGENERACY_TOLERANCE * size**2
    return is_hermitian(operator) and small


def _mixed(
    group: Sequence[Dissipator], mixing: Sequence[Sequence[complex]] | None, label: str
) -> list[tuple[str, Operator, Envelope | None]]:
    """Return name, operator and strength of sum_b U_ab sqrt(rate_b) c_b."""
    if mixing is None:
        return [(d.name, d.jump_operator, d.strength) for d in group]
    if len(mixing[0]) != len(group):
        raise ModelError(
            f"`mixing` for {label} must have a column for each of its {len(group)} "
            f"operators, but has {len(mixing[0])}"
        )
    if any(d.strength is not group[0].strength for d in group):
        raise SchemeMismatchError(
            f"`mixing` for {label} must have operators of one strength, but they have "
            "several functions of time"
        )
    name = " + ".join(dict.fromkeys(d.name for d in group))
    return [(name, _combined(row, group), group[0].strength) for row in mixing]


def _combined(row: Sequence[complex], group: Sequence[Dissipator]) -> Operator:
    """Return sum_b U_b sqrt(rate_b) c_b."""
    total: Operator = sum(u * d.jump_operator for u, d in zip(row, group, strict=True))
    return sp.csr_array(total)


def _add_jumps(
    group: Sequence[Dissipator], choice: Jump, label: str, found: Unraveled
) -> None:
    """Add jumps, mixed and shifted, and what the shift adds to the Hamiltonian."""
    members = _mixed(group, choice.mixing, label)
    shifts = _shifts(choice, len(members), label)
    for (name, c, strength), alpha in zip(members, shifts.tolist(), strict=True):
        if alpha:
            if strength is not None:
                raise SchemeMismatchError(
                    f"`shift` for {label} must have constant rates, but a strength "
                    "depends on time"
                )
            # D[c + alpha] and -i[H', .] with H' = -(i/2)(alpha^* c - alpha c^dag)
            correction = -0.5j * (np.conj(alpha) * c - alpha * adjoint(c))
            found.hamiltonian.append(sp.csr_array(correction))
            one = sp.eye_array(c.shape[0], format="csr", dtype=np.complex128)
            c = sp.csr_array(c + alpha * one)
        found.jumps.append(JumpChannel(name, c, strength))


def _shifts(choice: Jump, count: int, label: str) -> Complexes:
    """Return alpha for each operator, shape (count,)."""
    given = np.atleast_1d(np.asarray(choice.shift, dtype=np.complex128))
    if given.size not in (1, count):
        raise ModelError(
            f"`shift` for {label} must be one number, or one for each of its {count} "
            f"operators, but has {given.size}"
        )
    shifts: Complexes = np.broadcast_to(given, (count,))
    return shifts


def _monitors(
    group: Sequence[Dissipator], choice: Homodyne | Heterodyne, label: str
) -> list[Monitor]:
    """Return monitored operators; heterodyne detection is two homodyne ones."""
    eta = choice.efficiency
    members = _mixed(group, choice.mixing, label)
    if isinstance(choice, Homodyne):
        turn = np.exp(-1j * choice.phase)
        return [Monitor(name, sp.csr_array(turn * c), eta) for name, c, _ in members]
    half = np.sqrt(0.5)
    return [
        Monitor(name, sp.csr_array(factor * c), eta)
        for name, c, _ in members
        for factor in (half, -1j * half)
    ]


def _noise_of(
    group: Sequence[Dissipator], label: str, one_body: bool
) -> list[tuple[Operator, Envelope | None]]:
    """Return the unitary noise that averages to a group of dissipators."""
    channels: list[tuple[Operator, Envelope | None]] = []
    waiting = []
    for member in group:
        if is_hermitian(member.operator):
            channels.append((member.jump_operator, member.strength))
        else:
            waiting.append(member)
    while waiting:
        first = waiting.pop()
        partner = next((m for m in waiting if _is_adjoint_pair(first, m)), None)
        if partner is None:
            raise SchemeMismatchError(
                f"UnitaryNoise() for {label} must have Hermitian operators or pairs "
                "c, c^dag of equal rates in one group, but one operator is neither"
                + ("" if one_body else "; use Jump()")
            )
        waiting.remove(partner)
        pair = complex_channels(first.operator, first.rate)
        channels += [(L, first.strength) for L in pair]
    return channels


def _is_adjoint_pair(one: Dissipator, other: Dissipator) -> bool:
    """Tell whether the two jump operators are adjoint with equal rates."""
    if one.strength is not other.strength:
        return False
    difference = one.operator - adjoint(other.operator)
    scale = float(np.abs(one.operator.data).max(initial=0.0))
    close = np.abs(difference.data).max(initial=0.0) <= 1e-12 * scale
    return bool(close and np.isclose(one.rate, other.rate, rtol=1e-12, atol=0.0))


def _kick(member: Dissipator, label: str) -> JumpChannel:
    """Return sqrt(rate) (l2 - l1)/2 K, the kick of a two-valued Hermitian operator."""
    low, high = _two_eigenvalues(member.operator, f"Kicks() for {label}")
    shifted = member.operator - 0.5 * (low + high) * _identity(member)
    kick = scaled(sp.csr_array(shifted), np.sqrt(member.rate))
    return JumpChannel(member.name, kick, member.strength, "kick")


def _projections(member: Dissipator, label: str, one_body: bool) -> list[JumpChannel]:
    """Return sqrt(r) P and sqrt(r) (1 - P) with r = rate (l2 - l1)^2 / 2.

    The measurement averages to r (P rho P + Q rho Q - rho) = 2 r D[P], and
    D[c] = (l2 - l1)^2 D[P].
    """
    low, high = _two_eigenvalues(member.operator, f"Projections() for {label}")
    if one_body:  # the mode that is measured: A = g v v^dag, g of either sign
        outcomes = [member.operator / member.operator.diagonal().sum().real]
    else:
        P = (member.operator - low * _identity(member)) / (high - low)
        outcomes = [P, _identity(member) - P]
    root = np.sqrt(0.5 * member.rate) * (high - low)
    return [
        JumpChannel(
            member.name, scaled(sp.csr_array(E), root), member.strength, "projection"
        )
        for E in outcomes
    ]


def _identity(member: Dissipator) -> Operator:
    """Return the identity of a dissipator's dimension."""
    return sp.eye_array(member.operator.shape[0], format="csr", dtype=np.complex128)


def _two_eigenvalues(operator: Operator, what: str) -> tuple[float, float]:
    """Return l1 < l2 if (A - l1)(A - l2) = 0, without diagonalizing A."""
    if not is_hermitian(operator):
        raise SchemeMismatchError(
            f"{what} must have a Hermitian operator, but it is not; use Jump()"
        )
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
        f"{what} must have an operator with exactly two different "
        "eigenvalues, but it has another number; use Jump() or UnitaryNoise()"
    )
