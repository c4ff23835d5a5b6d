"""Document 004, Benatti, Carollo, Floreanini, Narnhofer: collective spin dissipation.

N spins s_mu = sigma_mu / 2 with S_mu = sum_k s_mu^(k) and the mean-field generator

    L_N[x] = (1/N) sum_{mu nu} D_{mu nu} (S_mu x S_nu - {S_mu S_nu, x} / 2),

D = A + iB >= 0. Collective operators keep the total spin, so that pure product states
of equal spins live in dimension N + 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stochq.arrays import Complexes, Floats, Operator, whole_number
from stochq.channels import Dissipator
from stochq.claims import Case, Claim, Limit, Reading
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references import (
    Reference,
    macroscopic_magnetization,
    master_equation,
)
from stochq.spaces import coherent_spin_state, spin_operators

__all__ = ["CLAIMS", "collective_jumps", "collective_spin", "minimal_kossakowski"]


def minimal_kossakowski(lam: float) -> Complexes:
    """Return D = A + iB of rank one with B_12 = lambda and A = |lambda| diag(1, 1, 0).

    It is the least A that makes D positive semi-definite.
    """
    d = np.zeros((3, 3), dtype=np.complex128)
    d[0, 0] = d[1, 1] = abs(lam)
    d[0, 1], d[1, 0] = 1j * lam, -1j * lam
    return d


def collective_jumps(n_spins: int, kossakowski: Any) -> list[Operator]:
    r"""Return the Schroedinger jump operators of a Kossakowski matrix.

    .. math:: c_a = \sqrt{d_a / N} \sum_\mu \bar u_{a\mu} S_\mu, \qquad
        D = \sum_a d_a u_a u_a^\dagger

    Parameters
    ----------
    n_spins : int
        N; the operators act on total spin N/2, shape (N + 1, N + 1).
    kossakowski : array_like, shape (3, 3)
        D, Hermitian and positive semi-definite [1/time].

    Raises
    ------
    ModelError
        If D is not Hermitian or not positive semi-definite.
    """
    d = np.asarray(kossakowski, dtype=np.complex128)
    scale = max(float(np.abs(d).max(initial=0.0)), 1e-300)
    if d.shape != (3, 3) or np.abs(d - d.conj().T).max() > 1e-12 * scale:
        raise ModelError(
            f"`kossakowski` must be Hermitian with shape (3, 3), but is {d.tolist()}"
        )
    values, vectors = np.linalg.eigh(d)
    if values[0] < -1e-12 * scale:
        raise ModelError(
            "`kossakowski` must be positive semi-definite, "
            f"but has the eigenvalue {values[0]:.3g}"
        )
    spins = spin_operators(n_spins / 2)
    jumps = []
    for value, vector in zip(values, vectors.T, strict=True):
        if value > 1e-12 * scale:
            mixed = sum(u.conjugate() * s for u, s in zip(vector, spins, strict=True))
            jumps.append(np.sqrt(value / n_spins) * mixed)
    return jumps


def collective_spin(
    n_spins: int = 50,
    lam: float = 1.0,
    *,
    kossakowski: Any = None,
    polar_angle: float = 2.4,
    azimuth: float = 0.6,
) -> Model:
    r"""Return N spins under collective dissipation, from a pure product state.

    Parameters
    ----------
    n_spins : int
        N; the dimension is N + 1.
    lam : float
        lambda = B_12 [1/time], with the least A, unless `kossakowski` is given.
    kossakowski : array_like, shape (3, 3), optional
        Any D = A + iB >= 0 [1/time].
    polar_angle, azimuth : float
        Direction of all spins at the start [rad].

    Returns
    -------
    Model
        Observables "w_1", "w_2", "w_3", the magnetization S_mu / N. The dissipators are
        called "collective".

    Notes
    -----
    Source: document 004, Eqs. 17 and 40.
    """
    whole_number(n_spins, "n_spins", at_least=1)
    d = minimal_kossakowski(lam) if kossakowski is None else kossakowski
    return Model(
        name=f"collective dissipation of {n_spins} spins",
        dissipators=[
            Dissipator(c, name="collective") for c in collective_jumps(n_spins, d)
        ],
        initial=coherent_spin_state(n_spins / 2, _direction(polar_angle, azimuth)),
        observables={
            f"w_{mu + 1}": s / n_spins
            for mu, s in enumerate(spin_operators(n_spins / 2))
        },
    )


def _direction(polar_angle: float, azimuth: float) -> Floats:
    """Return a unit vector."""
    return np.array(
        [
            np.sin(polar_angle) * np.cos(azimuth),
            np.sin(polar_angle) * np.sin(azimuth),
            np.cos(polar_angle),
        ]
    )


def _finite_size_deviation(n_spins: int, times: Floats) -> float:
    """Return max |exact finite-N magnetization - tanh law|."""
    model = collective_spin(n_spins)
    exact = master_equation(model, times, sensitivity=False).values
    law = macroscopic_magnetization(exact[:, 0], 1.0, times)
    return float(np.abs(exact - law).max())


def _b1_cases() -> list[Case]:
    """Return N = 50 spins by collective jumps, and the approach to the tanh law."""
    times = np.linspace(0, 12, 49)
    model = collective_spin(50)
    sizes = (50, 100, 200)
    limit = Limit(
        label="finite-N magnetization -> w_3 = xi tanh(xi (lambda t + c))",
        sizes=sizes,
        deviations=tuple(_finite_size_deviation(n, times) for n in sizes),
        order=1.0,
        tolerance=0.25,
        law=Reference(
            times,
            ("w_1", "w_2", "w_3"),
            macroscopic_magnetization(0.5 * _direction(2.4, 0.6), 1.0, times),
            method="N -> infinity",
        ),
    )
    reading = Reading("document", master_equation(model, times), "Eq. 17, N = 50")
    n_traj = {"quick": 8192, "full": 131072}
    case = Case("collective jumps", model, times, n_traj, [reading], limits=[limit])
    return [case]


CLAIMS = (
    Claim(
        id="B1",
        document="004",
        statement="as N grows the magnetization follows "
        "w_3 = xi tanh(xi (lambda t + c))",
        equation="w_3 = xi tanh(xi (lambda t + c)), w_12 ~ 1 / cosh(xi (lambda t + c))",
        source="Eqs. 37 to 41",
        expected="holds",
        cases=_b1_cases,
    ),
)
