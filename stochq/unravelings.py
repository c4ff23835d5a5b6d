"""How a dissipator becomes trajectories: the choices, as values.

All choices for one dissipator have the same average; they differ in what a single
trajectory does, in variance and in cost.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Choice", "Jump", "Kicks", "UnitaryNoise"]


@dataclass(frozen=True)
class Jump:
    """Quantum jumps psi -> c psi at the rate gamma <c^dag c>, times solved exactly."""


@dataclass(frozen=True)
class UnitaryNoise:
    """White noise in place of the dissipator; each trajectory stays unitary.

    A Hermitian c becomes ``eta(t) c`` with covariance gamma. Two dissipators c, c^dag
    of one name and equal rates become ``sqrt(gamma) (xi c + conj(xi) c^dag)``.
    """


@dataclass(frozen=True)
class Kicks:
    """Unitary kicks at random times, at a rate that does not depend on the state.

    For a Hermitian c with two eigenvalues l1 < l2, the shift c - (l1 + l2)/2 leaves the
    average alone and is (l2 - l1)/2 times a unitary K, so the kicks psi -> K psi come
    at the rate gamma (l2 - l1)^2 / 4. For a number operator n: K = 1 - 2n at gamma/4.
    """


Choice = Jump | UnitaryNoise | Kicks
