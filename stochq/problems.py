"""Built-in problems that orders of convergence are measured on.

One has a closed solution on every Brownian path, one has noise that commutes and a
Hamiltonian that does not commute with it, and in one nothing commutes. What commutes is
checked when a problem is made, not only stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from stochq.arrays import Complexes, Floats
from stochq.channels import WhiteNoise
from stochq.errors import ModelError
from stochq.lowering import lower
from stochq.model import Model

__all__ = [
    "Problem",
    "all_problems",
    "fluctuating_couplings",
    "fluctuating_levels",
    "kubo_oscillator",
]

#: A commutator that is not zero is at least this large, relative to its operators.
CLEARLY = 0.05


@dataclass(frozen=True, eq=False)
class Problem:
    """A model whose solution on a Brownian path is known, or known to any accuracy.

    Attributes
    ----------
    model : Model
        The physics; its name is the problem's.
    times : ndarray, shape (T,) [time]
        Output times; errors are taken at the last one.
    noise_commutes : bool
        Whether the noise channels commute with each other.
    hamiltonian_commutes : bool
        Whether the Hamiltonian commutes with every one of them.

    Raises
    ------
    ModelError
        If a commutator that must vanish does not, or one that must not is small.
    """

    model: Model
    times: Floats
    noise_commutes: bool
    hamiltonian_commutes: bool

    def __post_init__(self) -> None:
        """Compute the commutators."""
        between, outside = self.commutators()
        _check("the noise channels", between, self.noise_commutes)
        _check("the Hamiltonian and the noise", outside, self.hamiltonian_commutes)

    def commutators(self) -> tuple[list[float], list[float]]:
        """Return ||[L_j, L_k]|| and ||[H, L_k]||, relative to 2 ||A|| ||B||."""
        dynamics = lower(self.model)
        noise = [L.toarray() for L in dynamics.noise]
        hamiltonian = dynamics.hamiltonian.toarray()
        between = [_commutator(a, b) for a, b in combinations(noise, 2)]
        return between, [_commutator(hamiltonian, L) for L in noise]


def _commutator(a: Complexes, b: Complexes) -> float:
    """Return ||[A, B]|| / (2 ||A|| ||B||), at most 1."""
    size = 2 * np.linalg.norm(a, 2) * np.linalg.norm(b, 2)
    return float(np.linalg.norm(a @ b - b @ a, 2) / size)


def _check(what: str, found: list[float], commute: bool) -> None:
    """Raise unless all commutators are zero, or all are clearly not."""
    if commute and max(found, default=0.0) > 0:
        raise ModelError(f"{what} must commute, but have a commutator {max(found):.3g}")
    least = min(found, default=0.0)
    if not commute and least < CLEARLY:
        raise ModelError(f"{what} must not commute, but have a commutator {least:.3g}")


def _ladder() -> Floats:
    """Return a ladder of three levels with two unequal couplings [energy]."""
    return np.array([[0.2, 0.3, 0.0], [0.3, 0.0, 0.4], [0.0, 0.4, -0.15]])


def _coherences() -> dict[str, Complexes]:
    """Return populations and coherences of three levels, of every symmetry."""
    unit = np.eye(3, dtype=np.complex128)
    lower_bond, upper_bond = np.outer(unit[0], unit[1]), np.outer(unit[1], unit[2])
    across = np.outer(unit[0], unit[2])
    return {
        "n_1": np.outer(unit[0], unit[0]),
        "n_2": np.outer(unit[1], unit[1]),
        "Re rho_12": lower_bond + lower_bond.T,
        "Im rho_23": 1j * (upper_bond.T - upper_bond),
        "Re rho_13": across + across.T,
    }


def _times() -> Floats:
    """Return a unit of time in quarters."""
    return np.linspace(0.0, 1.0, 5)


def kubo_oscillator() -> Problem:
    r"""Return a two-level system whose frequency fluctuates.

    .. math:: H(t) = \bigl(\tfrac{\omega}{2} + \eta(t)\bigr) \sigma_z, \qquad
        \psi(t) = e^{-i (\omega t / 2 + \int\eta) \sigma_z} \psi(0)

    Notes
    -----
    Source: R. Kubo, "A stochastic theory of line shape" (1969), in the limit of white
    noise.
    """
    z = np.diag([1.0, -1.0])
    model = Model(
        name="Kubo oscillator",
        hamiltonian=0.65 * z,
        noise=[WhiteNoise(z, rate=0.25, name="frequency")],
        initial=np.array([0.6, 0.8]),
        observables={
            "sigma_x": np.array([[0.0, 1.0], [1.0, 0.0]]),
            "sigma_y": np.array([[0.0, -1j], [1j, 0.0]]),
        },
    )
    return Problem(model, _times(), noise_commutes=True, hamiltonian_commutes=True)


def fluctuating_levels() -> Problem:
    r"""Return a driven ladder of three levels, two of whose energies fluctuate.

    .. math:: H(t) = h + \eta_2(t)\, n_2 + \eta_3(t)\, n_3, \qquad
        n_j = |j\rangle\langle j|

    The noise commutes, h does not commute with it.
    """
    model = Model(
        name="fluctuating levels",
        hamiltonian=_ladder(),
        noise=[
            WhiteNoise(np.diag([0.0, 1.0, 0.0]), rate=0.4, name="second"),
            WhiteNoise(np.diag([0.0, 0.0, 1.0]), rate=0.3, name="third"),
        ],
        initial=np.array([0.8, 0.6, 0.0]),
        observables=_coherences(),
    )
    return Problem(model, _times(), noise_commutes=True, hamiltonian_commutes=False)


def fluctuating_couplings() -> Problem:
    r"""Return a driven ladder of three levels, both of whose couplings fluctuate.

    .. math:: H(t) = h + \eta_1(t)\, L_{12} + \eta_2(t)\, L_{23}, \qquad
        L_{jk} = (|j\rangle + |k\rangle)(\langle j| + \langle k|)

    Neither the two noises nor h and any of them commute.
    """
    bonds = [np.outer(bond, bond) for bond in ([1.0, 1.0, 0.0], [0.0, 1.0, 1.0])]
    model = Model(
        name="fluctuating couplings",
        hamiltonian=_ladder(),
        noise=[
            WhiteNoise(bonds[0], rate=0.1, name="lower"),
            WhiteNoise(bonds[1], rate=0.15, name="upper"),
        ],
        initial=np.array([0.8, 0.6, 0.0]),
        observables=_coherences(),
    )
    return Problem(model, _times(), noise_commutes=False, hamiltonian_commutes=False)


def all_problems() -> tuple[Problem, ...]:
    """Return every problem, from the simplest on."""
    return kubo_oscillator(), fluctuating_levels(), fluctuating_couplings()
