"""What recorded jumps count, against closed formulas and the tilted generator.

Comparisons of curves allow Z standard errors at each of at most 40 points: a false
alarm of the file has a probability below 1e-4.
"""

import numpy as np
import pytest
from scipy.stats import norm

from stochq import (
    Dissipator,
    Model,
    correlation_g2,
    counting_cumulants,
    counting_distribution,
    counting_histogram,
    counting_statistics,
    fluctuation_test,
    simulate,
    steady_state,
    waiting_times,
)
from stochq.documents import thermal_pair

Z = norm.isf(1e-6 / 40)
OMEGA, GAMMA = 1.7, 1.0  # Rabi frequency, decay
BETA_A, BETA_B = 0.5, 1.4  # inverse temperatures of the pair, omega = 1
AFFINITY = BETA_B - BETA_A


@pytest.fixture(scope="module")
def photons():
    """Photons of a driven atom that is stationary from the start."""
    atom = Model(
        hamiltonian=OMEGA / 2 * np.array([[0, 1], [1, 0]]),
        dissipators=Dissipator([[0, 1], [0, 0]], GAMMA, name="photon"),
        initial=[1, 0],
        observables={"n": np.diag([0.0, 1.0])},
    )
    still = Model(
        hamiltonian=atom.hamiltonian,
        dissipators=atom.dissipators,
        initial=steady_state(atom),
        observables=dict(atom.observables),
    )
    run = simulate(still, [0.0, 40.0], n_traj=8000, seed=3, keep_jumps=60)
    assert run.jump_records.complete
    return run.jump_records


def off(found, error, exact):
    """Return the largest deviation in standard errors."""
    return np.abs((found - exact) / error).max()


def binned(f, edges):
    """Return the means of a function over bins, by Simpson's rule."""
    middle = (edges[1:] + edges[:-1]) / 2
    return (f(edges[:-1]) + 4 * f(middle) + f(edges[1:])) / 6


def fluorescence_g2(tau, omega=OMEGA):
    """1 - e^{-3 gamma t/4} (cos mu t + (3 gamma / 4 mu) sin mu t)."""
    mu = np.sqrt(omega**2 - GAMMA**2 / 16)
    wave = np.cos(mu * tau) + 3 * GAMMA / (4 * mu) * np.sin(mu * tau)
    return 1 - np.exp(-3 * GAMMA * tau / 4) * wave


def fluorescence_waits(tau, omega=OMEGA):
    """gamma (omega / 2 nu)^2 e^{-gamma t/2} sin^2(nu t), nu^2 = omega^2/4 - gamma^2/16.

    The amplitude of the excited state turns with nu and is damped with gamma/4.
    """
    nu = np.sqrt(omega**2 / 4 - GAMMA**2 / 16)
    wave = omega / (2 * nu) * np.sin(nu * tau)
    return GAMMA * np.exp(-GAMMA * tau / 2) * wave**2


def test_photons_are_antibunched(photons):
    edges = np.linspace(0, 6, 41)
    found = correlation_g2(photons, edges, "photon")
    assert off(found.g2, found.error, binned(fluorescence_g2, edges)) < Z
    wrong = binned(lambda t: fluorescence_g2(t, 1.1 * OMEGA), edges)
    assert off(found.g2, found.error, wrong) > 2 * Z


def test_photons_wait_as_they_must(photons):
    edges = np.linspace(0, 6, 41)
    found = waiting_times(photons, edges, "photon")
    assert off(found.density, found.error, binned(fluorescence_waits, edges)) < Z
    wrong = binned(lambda t: fluorescence_waits(t, 1.1 * OMEGA), edges)
    assert off(found.density, found.error, wrong) > 2 * Z


def test_photons_fluctuate_less_than_poisson(photons):
    found = counting_statistics(photons, "photon")
    # finite time: Q(T) = (2 R / T) int_0^T (T - t) (g2(t) - 1) dt
    T = 40.0
    t = np.linspace(0, T, 40001)
    rate = GAMMA * OMEGA**2 / (GAMMA**2 + 2 * OMEGA**2)
    exact = 2 * rate / T * np.trapezoid((T - t) * (fluorescence_g2(t) - 1), t)
    late = -6 * (OMEGA * GAMMA / (GAMMA**2 + 2 * OMEGA**2)) ** 2  # T -> infinity
    assert abs(found.mandel_q[-1] - exact) < Z * found.fano_error[-1]
    assert abs(exact - late) < 0.05 * abs(late)
    assert abs(found.mandel_q[-1] - exact / 2) > Z * found.fano_error[-1]
    assert abs(found.cumulants[0, -1] - rate * T) < Z * found.errors[0, -1]


@pytest.fixture(scope="module")
def crossings():
    """Jumps of the thermal pair of document 002 from the product of Gibbs states."""
    gibbs = [np.diag([1.0, np.exp(-beta)]) for beta in (BETA_A, BETA_B)]
    rho = np.kron(*(g / np.trace(g) for g in gibbs))
    pair = thermal_pair(
        beta_a=BETA_A,
        beta_b=BETA_B,
        epsilon=1.0,
        coupling="dissipators",
        initial=rho,
    )
    run = simulate(pair, [0.0, 5.0], n_traj=40_000, seed=8, keep_jumps=1)
    return pair, run.jump_records


#: Quanta from A to B: a b^dag carries one, a^dag b takes one back (claim D12).
CARRIED = {"coupling": [-1.0, 1.0]}

#: Heat taken from bath A: a gives omega = 1 to it, a^dag takes it (claim D9).
HEAT = {"bath A": [-1.0, 1.0]}


@pytest.mark.parametrize("weights", [CARRIED, HEAT], ids=["carried", "heat"])
def test_counts_have_the_exact_cumulants_and_law(crossings, weights):
    pair, records = crossings
    found = counting_statistics(records, weights)
    exact = counting_cumulants(pair, [0.0, 5.0], weights).values[:, -1]
    assert off(found.cumulants[:, -1], found.errors[:, -1], exact) < Z
    law = counting_distribution(pair, 5.0, weights)
    histogram = counting_histogram(records, weights)
    known = dict(zip(law.values.round(9), law.probability, strict=True))
    exact = np.array([known[q] for q in histogram.values.round(9)])
    often = exact * records.n_traj > 25  # where counts are nearly normal
    error = np.sqrt(exact * (1 - exact) / records.n_traj)
    assert off(histogram.probability[often], error[often], exact[often]) < Z
    assert off(histogram.probability[often][::-1], error[often], exact[often]) > 2 * Z


def test_quanta_carried_obey_the_fluctuation_theorem_at_once(crossings):
    _, records = crossings
    test = fluctuation_test(records, CARRIED, affinity=AFFINITY, alpha=1e-5)
    assert test.status == "pass"
    wrong = fluctuation_test(records, CARRIED, affinity=1.15 * AFFINITY, alpha=1e-5)
    assert wrong.status == "fail"


def test_heat_at_a_bath_does_not(crossings):
    _, records = crossings
    test = fluctuation_test(records, HEAT, affinity=AFFINITY, alpha=1e-5)
    assert test.status == "fail"
