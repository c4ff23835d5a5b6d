"""Nonlinear functions of trajectories against closed formulas; their means would lie.

An average over trajectories of a nonlinear function depends on the unraveling, and is
not the function of the averaged state: each test says how far the latter is off.
"""

import numpy as np
import pytest
from analytic import EXCITED, LOWER, SX, SZ

from stochq import (
    Dissipator,
    EntanglementEntropy,
    Exact,
    Homodyne,
    Jump,
    Model,
    Occupations,
    OrbitalEntropy,
    Purity,
    SquaredModulus,
    Strang,
    WhiteNoise,
    lower,
)
from stochq.atoms import plan_of
from stochq.recording.wanted import Wanted
from stochq.schemes.lanes import ATOM
from stochq.spaces import hopping_chain, site_number

TIMES = np.array([0.0, 0.4, 1.0, 2.0])
PLUS = np.array([1.0, 1.0]) / np.sqrt(2)
N = 100 * ATOM

#: Beyond this many standard errors nothing falls by chance.
ERRORS = 4.5


def values_of(model, functions, *, scheme, unraveling=None, n_traj=N):
    """Return the values of observables and of functions, each (rows, T, n)."""
    wanted = Wanted(functions=tuple(functions.items()))
    dynamics = lower(model, unraveling)
    plan = plan_of(dynamics, TIMES, scheme, 21, n_traj, wanted)
    run = plan.run(0, n_traj // ATOM)
    assert run.failed == 0
    count = len(model.observables)
    return run.values[:count], run.values[count:]


def off(values, expected) -> float:
    """Return the largest deviation of means from curves (T,), in standard errors."""
    scatter = values.std(axis=-1, ddof=1)
    moving = scatter > 1e-9
    error = scatter / np.sqrt(values.shape[-1])
    shift = np.abs(values.mean(axis=-1) - expected)
    assert (shift[~moving] < 1e-9).all()
    return float((shift[moving] / error[moving]).max())


def test_white_noise_turns_coherences_and_keeps_their_size():
    """H = eta sigma_z of rate g: sigma_- turns by exp(2 i W), <W^2> = g t.

    <sigma_x> = cos 2W, so E <sigma_x>^2 = (1 + exp(-8 g t)) / 2; |<sigma_->|^2 = 1/4.
    """
    rate = 0.3
    model = Model(
        noise=[WhiteNoise(SZ, rate=rate)], initial=PLUS, observables={"x": SX}
    )
    functions = {"x2": SquaredModulus(SX), "c": SquaredModulus(LOWER)}
    observables, (square, modulus) = values_of(model, functions, scheme=Exact())
    assert np.abs(modulus - 0.25).max() < 1e-14
    assert np.abs(square - observables[0] ** 2).max() < 1e-14
    known = (1 + np.exp(-8 * rate * TIMES)) / 2
    assert off(square, known) < ERRORS
    # of the averaged state, of half the angle, of twice the rate
    for wrong in (
        np.exp(-4 * rate * TIMES),
        (1 + np.exp(-2 * rate * TIMES)) / 2,
        (1 + np.exp(-16 * rate * TIMES)) / 2,
    ):
        assert off(square, wrong) > 4 * ERRORS


def test_a_measured_qubit_is_as_pure_as_its_efficiency_allows():
    """c = sqrt(k) sigma_z seen with efficiency eta, no Hamiltonian.

    What is seen moves along |rho_01|^2 = (1 - z^2) / 4, what is not seen takes off
    exp(-4 (1 - eta) k t). The purity is (1 + z^2 + 4 |rho_01|^2) / 2 on every path.
    """
    rate, efficiency = 0.5, 0.6
    model = Model(
        dissipators=[Dissipator(SZ, rate, name="d")],
        initial=PLUS,
        observables={"z": SZ},
    )
    observables, (purity, modulus) = values_of(
        model,
        {"P": Purity(), "c": SquaredModulus(LOWER)},
        scheme=Strang(0.05),
        unraveling={"d": Homodyne(efficiency=efficiency)},
        n_traj=4 * ATOM,
    )
    (z,) = observables
    assert z[-1].std() > 0.3

    def coherence(eta):
        left = np.exp(-4 * (1 - eta) * rate * TIMES)[:, None]
        return (1 - z**2) / 4 * left

    known = (1 + z**2 + 4 * coherence(efficiency)) / 2
    assert np.abs(modulus - coherence(efficiency)).max() < 1e-9
    assert np.abs(purity - known).max() < 1e-9
    assert np.abs(modulus - coherence(1.0)).max() > 0.05
    assert np.abs(modulus - coherence(1 - efficiency)).max() > 0.02
    whole = (1 + np.exp(-8 * rate * TIMES)) / 2  # of the averaged state
    assert (purity.mean(axis=-1) - whole)[1:].min() > 0.05


def test_jumping_kets_are_pure_and_their_mean_is_not():
    model = Model(
        hamiltonian=SX,
        dissipators=[Dissipator(LOWER, 0.7, name="d")],
        initial=PLUS,
        observables={"x": SX, "z": SZ},
    )
    (x, z), (purity,) = values_of(
        model, {"P": Purity()}, scheme=Exact(), unraveling={"d": Jump()}
    )
    assert np.abs(purity - 1).max() < 1e-12
    assert ((x.mean(axis=-1) ** 2 + z.mean(axis=-1) ** 2)[1:] < 0.95).all()


def test_entanglement_after_one_of_two_atoms_may_have_jumped():
    """From (|00> + |11>)/sqrt(2), the first atom decays at rate g.

    Unseen so far, the ket is (|00> + e |11>) with e = exp(-g t / 2), with probability
    (1 + e^2) / 2; a jump leaves |01>, a product. Hence, with p = 1 / (1 + e^2),
    E S = -(1 + e^2)/2 [p ln p + (1 - p) ln(1 - p)].
    """
    rate = 0.9
    model = Model(
        dissipators=[Dissipator(np.kron(LOWER, np.eye(2)), rate, name="d")],
        initial=np.array([1, 0, 0, 1]) / np.sqrt(2),
        observables={"n": np.kron(EXCITED, np.eye(2))},
    )
    functions = {
        "S": EntanglementEntropy((2, 2), 0),
        "P": Purity((2, 2), 1),
    }
    _, (entropy, purity) = values_of(model, functions, scheme=Exact())

    def known(g):
        stays = (1 + np.exp(-g * TIMES)) / 2
        p = 0.5 / stays
        mean = -stays * (p * np.log(p) + (1 - p) * np.log(1 - p))
        return mean, stays * (p**2 + (1 - p) ** 2) + 1 - stays

    assert off(entropy, known(rate)[0]) < ERRORS
    assert off(purity, known(rate)[1]) < ERRORS
    for wrong in (2 * rate, rate / 2):
        assert off(entropy[1:], known(wrong)[0][1:]) > 4 * ERRORS
    assert off(entropy[1:] / np.log(2), known(rate)[0][1:]) > 4 * ERRORS  # in bits


def jordan_wigner(sites) -> list[np.ndarray]:
    """Return c_x on 2^sites states, with a string of sigma_z before x."""
    found = []
    for x in range(sites):
        c = np.eye(1)
        for y in range(sites):
            c = np.kron(c, SZ if y < x else LOWER if y == x else np.eye(2))
        found.append(c)
    return found


@pytest.mark.parametrize("block", [(0, 1), (0,)])
def test_orbitals_are_as_entangled_as_their_many_body_ket(block):
    """Four sites, two fermions, dephasing noise: the same noise moves both pictures."""
    sites, rate = 4, 0.6
    c = jordan_wigner(sites)
    hopping = hopping_chain(sites, 1.0)
    many = sum(
        hopping[x, y] * c[x].conj().T @ c[y]
        for x in range(sites)
        for y in range(sites)
        if hopping[x, y]
    )
    numbers = [m.conj().T @ m for m in c]
    start = c[0].conj().T @ c[2].conj().T @ np.eye(2**sites)[0]
    scheme = Strang(0.02)
    ket_model = Model(
        hamiltonian=many,
        noise=[WhiteNoise(numbers, rate=[rate] * sites)],
        initial=start,
        observables={"n": numbers[0]},
    )
    orbital_model = Model(
        hamiltonian=hopping,
        noise=[
            WhiteNoise([site_number(sites, x) for x in range(sites)], rate=[rate] * 4)
        ],
        initial=Occupations([1, 0, 1, 0]),
        observables={"n": site_number(sites, 0)},
    )
    ket_entropy = {"S": EntanglementEntropy((2,) * sites, block)}
    n = {"n_traj": 2 * ATOM, "scheme": scheme}
    (mine,), (of_kets,) = values_of(ket_model, ket_entropy, **n)
    (other,), (of_orbitals,) = values_of(
        orbital_model, {"S": OrbitalEntropy(block)}, **n
    )
    # the two split H differently: steps of 0.02 agree to their strong error
    assert np.abs(mine - other).max() < 0.02
    assert np.abs(of_kets - of_orbitals).max() < 0.02
    assert of_orbitals[-1].std() > 0.05
    shuffled = np.roll(of_orbitals, 1, axis=-1)  # other trajectories are far away
    assert np.abs(of_kets - shuffled).max() > 0.2
