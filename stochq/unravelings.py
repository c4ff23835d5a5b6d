"""How dissipators become trajectories: the choices, as values.

All choices for a dissipator have the same average; they differ in what a single
trajectory does, in variance and in cost. A choice is for the dissipators of one name,
or of a tuple of names: a group with the jump operators c_1 ... c_n, each with the
square root of its rate.

A group stays the same dissipator when it is mixed by a unitary U, c'_a = sum_b U_ab
c_b, and when each operator is shifted, c_a -> c_a + alpha_a, with the Hamiltonian
H - (i/2) sum_a (conj(alpha_a) c_a - alpha_a c_a^dag).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from stochq.arrays import Complexes
from stochq.errors import ModelError

__all__ = [
    "Averaged",
    "Choice",
    "Heterodyne",
    "Homodyne",
    "Jump",
    "Kicks",
    "Projections",
    "UnitaryNoise",
    "described",
]

#: max |U^dag U - 1| allowed in what a user computed in double precision.
UNITARY_TOLERANCE = 1e-9

#: A matrix as rows, so that choices can be compared.
Rows = tuple[tuple[complex, ...], ...]


def _finite(value: Any, argument: str) -> Complexes:
    """Return finite complex numbers."""
    try:
        array = np.asarray(value, dtype=np.complex128)
    except (TypeError, ValueError):
        raise ModelError(
            f"`{argument}` must be numbers, but is {value!r:.60}"
        ) from None
    if not np.isfinite(array).all():
        raise ModelError(f"`{argument}` must be finite, but contains NaN or infinity")
    return array


def _as_mixing(value: Any, owner: str) -> Rows | None:
    """Return U, of shape (m, n) with U^dag U = 1, as rows."""
    if value is None:
        return None
    U = _finite(value, f"mixing` of `{owner}")
    if U.ndim != 2:
        raise ModelError(
            f"`mixing` of `{owner}` must have shape (m, n), but has shape {U.shape}"
        )
    defect = float(np.abs(U.conj().T @ U - np.eye(U.shape[1])).max(initial=0.0))
    if defect > UNITARY_TOLERANCE:
        raise ModelError(
            f"`mixing` of `{owner}` must have U^dag U = 1, but max |U^dag U - 1| is "
            f"{defect:.3g}"
        )
    return tuple(tuple(row) for row in U.tolist())


def _real(value: Any, argument: str, low: float, high: float) -> float:
    """Return a real number in [low, high]."""
    number = isinstance(value, (int, float, np.integer, np.floating))
    if isinstance(value, bool) or not number or not low <= value <= high:
        allowed = "a number" if np.isinf(high) else f"a number in [{low:g}, {high:g}]"
        raise ModelError(f"`{argument}` must be {allowed}, but is {value!r:.60}")
    return float(value)


@dataclass(frozen=True)
class Jump:
    """Quantum jumps psi -> c psi at the rate <c^dag c>, times solved exactly.

    Parameters
    ----------
    shift : complex, or one for each operator, default 0
        alpha, added to sqrt(rate) c after mixing [1/sqrt(time)]; the Hamiltonian is
        corrected, so that the average stays the same.
    mixing : array_like, shape (m, n), optional
        U with U^dag U = 1, which makes m jump operators out of the group's n.

    Raises
    ------
    ModelError
        If a shift is not finite, or the mixing is not isometric.
    """

    shift: Any = 0.0
    mixing: Any = None

    def __post_init__(self) -> None:
        """Check both and make them comparable."""
        if self.shift is None:
            raise ModelError("`shift` of `Jump()` must be numbers, but is None")
        shift = _finite(self.shift, "shift` of `Jump()")
        if shift.ndim > 1:
            raise ModelError(
                "`shift` of `Jump()` must be a number or one for each operator, but "
                f"has shape {shift.shape}"
            )
        plain = complex(shift) if shift.ndim == 0 else tuple(shift.tolist())
        object.__setattr__(self, "shift", plain)
        object.__setattr__(self, "mixing", _as_mixing(self.mixing, "Jump()"))


@dataclass(frozen=True)
class Homodyne:
    r"""Continuous monitoring of one quadrature, a real diffusion.

    .. math:: dY = \sqrt\eta\, \langle e^{-i\varphi} c + e^{i\varphi} c^\dagger
        \rangle\, dt + dW

    Parameters
    ----------
    phase : float, default 0
        phi, the phase of the local oscillator [rad].
    efficiency : float, default 1
        eta in [0, 1], the part of the signal that is seen. Below 1 the state of a
        trajectory is a density matrix.
    mixing : array_like, shape (m, n), optional
        U with U^dag U = 1, which makes m monitored operators out of the group's n.

    Raises
    ------
    ModelError
        If a parameter is out of range.

    Notes
    -----
    Source: H. M. Wiseman and G. J. Milburn, Phys. Rev. A 47, 642 (1993).
    """

    phase: float = 0.0
    efficiency: float = 1.0
    mixing: Any = None

    def __post_init__(self) -> None:
        """Check the parameters."""
        phase = _real(self.phase, "phase` of `Homodyne()", -np.inf, np.inf)
        _finite(phase, "phase` of `Homodyne()")
        eta = _real(self.efficiency, "efficiency` of `Homodyne()", 0.0, 1.0)
        object.__setattr__(self, "phase", phase)
        object.__setattr__(self, "efficiency", eta)
        object.__setattr__(self, "mixing", _as_mixing(self.mixing, "Homodyne()"))


@dataclass(frozen=True)
class Heterodyne:
    r"""Continuous monitoring of both quadratures: quantum state diffusion.

    .. math:: dZ = \sqrt\eta\, \langle c \rangle\, dt + d\zeta, \qquad
        \langle d\zeta^* d\zeta \rangle = dt, \quad \langle d\zeta^2 \rangle = 0

    It is homodyne monitoring of c / sqrt 2 with the phases 0 and pi / 2.

    Parameters
    ----------
    efficiency : float, default 1
        eta in [0, 1]. Below 1 the state of a trajectory is a density matrix.
    mixing : array_like, shape (m, n), optional
        U with U^dag U = 1, which makes m monitored operators out of the group's n.

    Raises
    ------
    ModelError
        If a parameter is out of range.

    Notes
    -----
    Source: N. Gisin and I. C. Percival, J. Phys. A 25, 5677 (1992).
    """

    efficiency: float = 1.0
    mixing: Any = None

    def __post_init__(self) -> None:
        """Check the parameters."""
        eta = _real(self.efficiency, "efficiency` of `Heterodyne()", 0.0, 1.0)
        object.__setattr__(self, "efficiency", eta)
        object.__setattr__(self, "mixing", _as_mixing(self.mixing, "Heterodyne()"))


@dataclass(frozen=True)
class UnitaryNoise:
    """White noise in place of the dissipator; each trajectory stays unitary.

    A Hermitian c becomes ``eta(t) c`` with covariance gamma. Two dissipators c, c^dag
    of equal rates in one group become ``sqrt(gamma) (xi c + conj(xi) c^dag)``.
    """


@dataclass(frozen=True)
class Kicks:
    """Unitary kicks at random times, at a rate that does not depend on the state.

    For a Hermitian c with two eigenvalues l1 < l2, the shift c - (l1 + l2)/2 leaves the
    average alone and is (l2 - l1)/2 times a unitary K, so the kicks psi -> K psi come
    at the rate gamma (l2 - l1)^2 / 4. For a number operator n: K = 1 - 2n at gamma/4.
    """


@dataclass(frozen=True)
class Projections:
    """Projective measurements at random times, at a rate free of the state.

    For a Hermitian c with two eigenvalues l1 < l2, c is measured at the rate
    gamma (l2 - l1)^2 / 2 and the state projected onto what was found. For a number
    operator n: both outcomes of n at gamma/2.
    """


@dataclass(frozen=True)
class Averaged:
    """No unraveling: the state is a density matrix, the dissipator acts on its average.

    The rest of the model stays stochastic, so that trajectories are conditioned on that
    rest alone. In a one-body model the state is the correlation matrix.
    """


Choice = Jump | Homodyne | Heterodyne | UnitaryNoise | Kicks | Projections | Averaged


def described(choice: Choice) -> str:
    """Return a choice in short: its name, and what is not at its default."""
    changed = [
        f"{f.name}={getattr(choice, f.name)!r}"
        for f in fields(choice)
        if getattr(choice, f.name) != f.default
    ]
    name = type(choice).__name__
    return f"{name}({', '.join(changed)})" if changed else name
