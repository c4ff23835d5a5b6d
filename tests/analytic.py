"""Small systems with known answers, each derived in a comment, shared by the tests.

Nothing here uses a reference or a scheme of the package: truths are closed formulas or
exponentials of superoperators that this file builds by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from stochq.model import ComplexWhiteNoise, Dissipator, Model, WhiteNoise
from stochq.references import Reference
from stochq.simulation import simulate
from stochq.states import Occupations
from stochq.verdict import Verdict
from stochq.verification import verify

#: False-alarm probability of every statistical test.
ALPHA = 1e-6

#: |-> = (1, 0) is the ground state, |+> = (0, 1) the excited one.
LOWER = np.array([[0, 1], [0, 0]], dtype=complex)
EXCITED = np.diag([0.0, 1.0])
SX = np.array([[0, 1], [1, 0]], dtype=complex)
SY = np.array([[0, -1j], [1j, 0]])
SZ = np.diag([1.0, -1.0]).astype(complex)
GROUND, UP = np.array([1.0, 0.0]), np.array([0.0, 1.0])


@dataclass(frozen=True)
class System:
    """A model and what its averages must be."""

    model: Model
    truth: Callable[[np.ndarray], dict[str, np.ndarray]]

    def reference(self, times) -> Reference:
        """Return the known answer as curves to verify against."""
        curves = self.truth(np.asarray(times) - times[0])
        return Reference(times, list(curves), list(curves.values()))


def judge(
    model, reference, *, n_traj, seed, resolution=0.2, bias=None, **how
) -> Verdict:
    """Simulate a model at the reference's times and compare."""
    ensemble = simulate(model, reference.times, n_traj=n_traj, seed=seed, **how)
    return verify(ensemble, reference, alpha=ALPHA, resolution=resolution, bias=bias)


def lindblad(hamiltonian, jumps) -> np.ndarray:
    """Return the generator on rho.ravel(), (A rho B).ravel() = (A kron B^T) rho."""
    h = np.asarray(hamiltonian, dtype=complex)
    one = np.eye(len(h))
    total = -1j * (np.kron(h, one) - np.kron(one, h.T))
    for c in jumps:
        loss = c.conj().T @ c
        total = total + np.kron(c, c.conj())
        total = total - 0.5 * (np.kron(loss, one) + np.kron(one, loss.T))
    return total


def exact_means(hamiltonian, jumps, rho, observables, times) -> dict[str, np.ndarray]:
    """Return Tr(O exp(L t) rho), with t counted from the first of `times`."""
    generator = lindblad(hamiltonian, jumps)
    start = np.asarray(rho, dtype=complex).ravel()
    states = [expm(generator * (t - times[0])) @ start for t in times]
    return {
        name: np.array([(np.asarray(o).T.ravel() @ s).real for s in states])
        for name, o in observables.items()
    }


def density(ket) -> np.ndarray:
    """Return |psi><psi|."""
    return np.outer(ket, np.conj(ket))


def random_hermitian(rng, d) -> np.ndarray:
    """Return a random Hermitian matrix of norm of order one."""
    m = (rng.normal(size=(d, d)) + 1j * rng.normal(size=(d, d))) / np.sqrt(4 * d)
    return m + m.conj().T


def random_ket(rng, d) -> np.ndarray:
    """Return a random unit vector."""
    v = rng.normal(size=d) + 1j * rng.normal(size=d)
    return v / np.linalg.norm(v)


def decaying_qubit(rate=0.7) -> System:
    """Spontaneous emission.

    d rho_++/dt = -rate rho_++ and d rho_+-/dt = -(rate/2) rho_+-, so from
    0.6 |-> + 0.8 |+>: n = 0.64 exp(-rate t), <sigma_x> = 0.96 exp(-rate t / 2).
    """
    return System(
        Model(
            dissipators=Dissipator(LOWER, rate, name="decay"),
            initial=[0.6, 0.8],
            observables={"n": EXCITED, "x": SX},
        ),
        lambda t: {"n": 0.64 * np.exp(-rate * t), "x": 0.96 * np.exp(-rate * t / 2)},
    )


def kubo_dephasing(rate=0.6, frequency=1.3) -> System:
    """Kubo oscillator: H(t) = (frequency/2 + eta(t)) sigma_z, <eta eta> = rate delta.

    The phase 2 int eta is Gaussian with variance 4 rate t, so the coherence decays as
    exp(-2 rate t) while it turns: from (|-> + |+>)/sqrt(2),
    <sigma_x> = exp(-2 rate t) cos(frequency t), <sigma_y> = exp(...) sin(...).
    """

    def truth(t):
        fall = np.exp(-2 * rate * t)
        return {
            "x": fall * np.cos(frequency * t),
            "y": fall * np.sin(frequency * t),
            "z": 0 * t,
        }

    return System(
        Model(
            hamiltonian=frequency / 2 * SZ,
            noise=WhiteNoise(SZ, rate=rate, name="phase"),
            initial=np.array([1, 1]) / np.sqrt(2),
            observables={"x": SX, "y": SY, "z": SZ},
        ),
        truth,
    )


def driven_qubit(drive, decay) -> System:
    """Resonance fluorescence: H = (drive/2) sigma_x, decay at `decay`, from |->.

    The Bloch equations give y'' + (3/2) decay y' + (decay^2/2 + drive^2) ... ; with
    mu^2 = drive^2 - decay^2/16,

    n = drive^2 / (decay^2 + 2 drive^2)
        [1 - exp(-3 decay t / 4) (cos mu t + (3 decay / 4 mu) sin mu t)].

    At drive = decay/2 the eigenvectors of H_eff = H - (i decay/2) n coincide: its
    eigenvalues are -i decay/4 +- sqrt(drive^2/4 - decay^2/16).
    """

    def truth(t):
        mu = np.sqrt(complex(drive**2 - decay**2 / 16))
        ring = np.cos(mu * t) + 0.75 * decay / mu * np.sin(mu * t)
        level = drive**2 / (decay**2 + 2 * drive**2)
        return {"n": level * (1 - np.exp(-0.75 * decay * t) * ring.real)}

    return System(
        Model(
            hamiltonian=drive / 2 * SX,
            dissipators=Dissipator(LOWER, decay, name="decay"),
            initial=GROUND,
            observables={"n": EXCITED},
        ),
        truth,
    )


def noisy_exchange(rate=0.8) -> System:
    """Two two-level systems A, B coupled by sqrt(rate) (xi a^dag b + h.c.).

    The average moves n_A - n_B at the rate -2 rate: from |+->, the populations are
    (1 +- exp(-2 rate t))/2, and n_A + n_B stays 1 on every trajectory.
    """
    a, b = np.kron(LOWER, np.eye(2)), np.kron(np.eye(2), LOWER)
    n_a, n_b = a.conj().T @ a, b.conj().T @ b
    return System(
        Model(
            noise=ComplexWhiteNoise(a.conj().T @ b, rate=rate, name="exchange"),
            initial=np.kron(UP, GROUND),
            observables={"n_A": n_a, "n_B": n_b, "n": n_a + n_b},
        ),
        lambda t: {
            "n_A": (1 + np.exp(-2 * rate * t)) / 2,
            "n_B": (1 - np.exp(-2 * rate * t)) / 2,
            "n": 1 + 0 * t,
        },
    )


def dephased_pair(hopping=1.0, rates=(0.9, 0.5)) -> System:
    """Free fermions on two sites, one particle, dephased at both.

    With D = n_1 - n_2 and the current C = 2 Im G: D' = -2J C, C' = 2J D - G C, where a
    coherence decays at G = (rate_1 + rate_2)/2. So D'' + G D' + 4 J^2 D = 0 and
    D = exp(-G t/2)(cos v t + (G/2v) sin v t), v^2 = 4 J^2 - G^2/4.
    """
    total = (rates[0] + rates[1]) / 2
    v = np.sqrt(4 * hopping**2 - total**2 / 4)
    p1, p2 = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])

    def truth(t):
        ring = np.cos(v * t) + total / (2 * v) * np.sin(v * t)
        half = np.exp(-total * t / 2) * ring / 2
        return {"n1": 0.5 + half, "n2": 0.5 - half}

    return System(
        Model(
            hamiltonian=-hopping * np.array([[0, 1], [1, 0]]),
            dissipators=[
                Dissipator(p1, rates[0], name="first"),
                Dissipator(p2, rates[1], name="second"),
            ],
            initial=Occupations([1, 0]),
            observables={"n1": p1, "n2": p2},
        ),
        truth,
    )


def flux_ring(sites=4, particles=2, flux=0.7, rate=0.6):
    """Return a ring with flux as (h, jumps, occupations, observables) of one body.

    For one particle the one-body matrices act as operators on a d = sites Hilbert
    space. All orbitals see the same noise, and averages of one-body operators are
    linear in the orbitals, so rho = sum of the filled sites' projectors obeys the same
    Lindblad equation. The flux makes the two directions around the ring different.
    """
    h = np.zeros((sites, sites), dtype=complex)
    for x in range(sites):
        h[x, (x + 1) % sites] += -np.exp(1j * flux)
        h[(x + 1) % sites, x] += -np.exp(-1j * flux)
    jumps = []
    for x in range(sites):
        local = np.zeros((sites, sites), dtype=complex)
        local[x, x] = np.sqrt(rate)
        jumps.append(local)
    filled = np.zeros(sites, dtype=int)
    filled[:particles] = 1
    observables = {
        f"n{x}": (np.arange(sites) == x).astype(float) * np.eye(sites)
        for x in range(sites)
    }
    bond = np.zeros((sites, sites), dtype=complex)
    bond[0, 1], bond[1, 0] = 1j, -1j
    observables["current"] = bond
    return h, jumps, filled, observables
