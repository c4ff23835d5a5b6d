"""Exact counting statistics against closed formulas that are derived in comments."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from analytic import GROUND, LOWER, SX, lindblad
from scipy import stats
from scipy.integrate import quad
from scipy.linalg import expm

from stochq import (
    Dissipator,
    JumpRecords,
    Model,
    ModelError,
    Occupations,
    WhiteNoise,
    correlation_g2,
    counting_cumulants,
    counting_distribution,
    counting_histogram,
    counting_statistics,
    first_time_distribution,
    first_waiting_times,
    fluctuation_test,
    g2,
    master_equation,
    scaled_cumulants,
    scgf,
    steady_state,
    waiting_time_distribution,
    waiting_times,
)
from stochq.documents.document_002 import stationary_current, thermal_pair
from stochq.references.counting import cumulants_of

#: False-alarm probability of every statistical test.
ALPHA = 1e-6

EPS = np.finfo(float).eps
TIMES = np.linspace(0.0, 12.0, 25)
EXCITED = np.diag([0.0, 1.0])


# --- resonance fluorescence ---------------------------------------------------------
# H = (Omega/2) sigma_x, decay Gamma. With mu^2 = Omega^2 - Gamma^2/16 the regression
# formula gives g2(t) = 1 - exp(-3 Gamma t/4) (cos mu t + (3 Gamma/4 mu) sin mu t).
# Between photons the ket evolves by H - i Gamma n/2 from the ground state: the excited
# amplitude is -i (Omega/2) exp(-Gamma t/4) sin(k t)/k, k^2 = Omega^2/4 - Gamma^2/16.

GAMMA = 0.8


def atom(omega, gamma=GAMMA, initial=GROUND):
    return Model(
        hamiltonian=omega / 2 * SX,
        dissipators=[Dissipator(LOWER, gamma, name="light")],
        initial=initial,
        observables={"n": EXCITED},
    )


def g2_formula(omega, t, gamma=GAMMA):
    mu = np.sqrt(omega**2 - gamma**2 / 16 + 0j)
    swing = np.cos(mu * t) + 0.75 * gamma / mu * np.sin(mu * t)
    return 1 - (np.exp(-0.75 * gamma * t) * swing).real


def wait_formula(omega, t, gamma=GAMMA):
    k = np.sqrt(omega**2 / 4 - gamma**2 / 16 + 0j)
    amplitude = omega / 2 * np.exp(-gamma * t / 4) * np.sin(k * t) / k
    return gamma * np.abs(amplitude) ** 2


def stationary_rate(omega, gamma=GAMMA):
    return gamma * omega**2 / (gamma**2 + 2 * omega**2)


@pytest.mark.parametrize("omega", [0.15, 1.3])  # overdamped and oscillating
def test_g2_of_resonance_fluorescence(omega):
    found = g2(atom(omega), TIMES)
    assert np.abs(found.values[0] - g2_formula(omega, TIMES)).max() < 1e-12
    assert found.values[0, 0] == pytest.approx(0, abs=1e-14)  # antibunching
    mutants = (atom(omega, 2 * GAMMA), atom(2 * omega), atom(omega / np.sqrt(2)))
    for mutant in mutants:
        wrong = g2(mutant, TIMES).values[0]
        assert np.abs(wrong - g2_formula(omega, TIMES)).max() > 1e-2


@pytest.mark.parametrize("omega", [0.15, 1.3])
def test_waiting_times_of_resonance_fluorescence(omega):
    found = waiting_time_distribution(atom(omega), TIMES)
    truth = wait_formula(omega, TIMES)
    assert np.abs(found.density - truth).max() < 1e-12
    assert found.survival[0] == pytest.approx(1.0, abs=1e-14)
    done = [quad(lambda s: wait_formula(omega, s), 0, t)[0] for t in TIMES[:8]]
    assert np.abs(1 - np.array(done) - found.survival[:8]).max() < 1e-8
    wrong = waiting_time_distribution(atom(omega, 2 * GAMMA), TIMES)
    assert np.abs(wrong.density - truth).max() > 1e-2
    # the atom starts in its ground state, as after a photon
    first = first_time_distribution(atom(omega), TIMES)
    assert np.abs(first.density - truth).max() < 1e-12


@pytest.mark.parametrize("omega", [0.15, 1.3])
def test_mandel_q_of_resonance_fluorescence(omega):
    r"""Q(inf) = 2 R int (g2 - 1) dt = -6 Omega^2 Gamma^2 / (Gamma^2 + 2 Omega^2)^2."""
    first, second = scaled_cumulants(atom(omega), order=2)
    assert first == pytest.approx(stationary_rate(omega), rel=1e-12)
    truth = -6 * omega**2 * GAMMA**2 / (GAMMA**2 + 2 * omega**2) ** 2
    assert second / first - 1 == pytest.approx(truth, rel=1e-11)
    area = quad(lambda t: g2_formula(omega, t) - 1, 0, 80, limit=400)[0]
    assert truth == pytest.approx(2 * stationary_rate(omega) * area, rel=1e-7)


def test_mandel_q_at_finite_time():
    """In a stationary window, Q(T) = (2 R/T) int_0^T (T - t) (g2(t) - 1) dt."""
    omega = 1.3
    model = atom(omega, initial=steady_state(atom(omega)))
    times = np.array([0.0, 0.5, 3.0, 20.0])
    mean, variance = counting_cumulants(model, times, order=2).values[:, 1:]
    rate = stationary_rate(omega)
    np.testing.assert_allclose(mean, rate * times[1:], rtol=1e-12)
    for T, q in zip(times[1:], variance / mean - 1, strict=True):
        area = quad(lambda t, T=T: (T - t) * (g2_formula(omega, t) - 1), 0, T)[0]
        assert q == pytest.approx(2 * rate * area / T, rel=1e-7)
    # from the ground state there are fewer photons, which the formula must not fit
    early = counting_cumulants(atom(omega), times, order=1).values[0, 1]
    assert early < 0.5 * mean[0]


# --- the statistics of records, on photons drawn from the closed formula ------------


def photons(omega, gamma, n_traj, stop, seed, early=40.0):
    """Draw photon times: fluorescence is renewed by every photon.

    Waits are drawn by inverting their distribution on a fine grid; the process runs for
    `early` before the window, until it is stationary.
    """
    grid = np.linspace(0, 120, 60_001)
    density = wait_formula(omega, grid, gamma)
    done = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    rng = np.random.default_rng(seed)
    number = int(3 * stationary_rate(omega, gamma) * (stop + early)) + 40
    waits = np.interp(rng.uniform(0, 1, (n_traj, number)), done / done[-1], grid)
    times = np.cumsum(waits, axis=1) - early
    assert times[:, -1].min() > stop
    inside = (times >= 0) & (times <= stop)
    trajectory = np.nonzero(inside)[0]
    counts = np.bincount(trajectory, minlength=n_traj)[None]
    channel = np.zeros(trajectory.size, dtype=int)
    return JumpRecords(
        trajectory, times[inside], channel, ("light",), counts, 0.0, stop
    )


def worst(found, exact, error):
    """Return the largest deviation, in standard errors that allow for its rank."""
    z = np.abs(found - exact) / error
    return float(z.max() / stats.norm.isf(ALPHA / 2 / z.size))


def test_records_of_fluorescence_have_its_statistics():
    omega, edges = 1.3, np.linspace(0.0, 8.0, 33)
    records = photons(omega, GAMMA, 4000, 30.0, seed=21)
    model = atom(omega, initial=steady_state(atom(omega)))
    widths = np.diff(edges)

    waits = waiting_times(records, edges)
    survival = waiting_time_distribution(model, edges).survival
    assert worst(waits.density, -np.diff(survival) / widths, waits.error) < 1
    first = first_waiting_times(records, edges)
    survival = first_time_distribution(model, edges).survival
    assert worst(first.density, -np.diff(survival) / widths, first.error) < 1
    # the two differ: the steady state is not that after a photon
    assert worst(waits.density, -np.diff(survival) / widths, waits.error) > 1

    pairs = correlation_g2(records, edges)
    bins = pairwise(edges)
    means = [quad(lambda t: g2_formula(omega, t), a, b)[0] for a, b in bins]
    assert worst(pairs.g2, means / widths, pairs.error) < 1
    assert worst(pairs.g2, np.ones(32), pairs.error) > 1

    times = np.array([3.0, 10.0, 30.0])
    counted = counting_statistics(records, times=times)
    exact = counting_cumulants(model, [0.0, *times]).values[:, 1:]
    assert worst(counted.cumulants, exact, counted.errors) < 1
    fano = exact[1] / exact[0]
    assert worst(counted.mandel_q, fano - 1, counted.fano_error) < 1
    assert worst(counted.mandel_q, np.zeros(3), counted.fano_error) > 1
    histogram = counting_histogram(records)
    law = counting_distribution(model, 30.0)
    chance = np.interp(histogram.values, law.values, law.probability)
    assert worst(histogram.probability, chance, histogram.error) < 1


@pytest.mark.parametrize(
    ("omega", "gamma"), [(1.3, 2 * GAMMA), (1.3 * np.sqrt(2), GAMMA)]
)
def test_records_of_another_atom_are_told_apart(omega, gamma):
    edges = np.linspace(0.0, 8.0, 33)
    records, model = photons(omega, gamma, 4000, 30.0, seed=22), atom(1.3)
    waits = waiting_times(records, edges)
    survival = waiting_time_distribution(model, edges).survival
    assert worst(waits.density, -np.diff(survival) / np.diff(edges), waits.error) > 1
    stationary = replace(model, initial=steady_state(model))
    counted = counting_statistics(records)
    exact = counting_cumulants(stationary, [0.0, 30.0]).values[:, 1:]
    assert worst(counted.cumulants, exact, counted.errors) > 1


# --- Poisson and telegraph ----------------------------------------------------------


def poisson(rate):
    """Jumps of a multiple of 1 are a Poisson process, whatever else happens."""
    return Model(
        hamiltonian=0.7 * SX,
        dissipators=[
            Dissipator(np.sqrt(rate / 2) * np.eye(2), 2.0, name="clock"),
            Dissipator(LOWER, 0.3, name="decay"),
        ],
        initial=GROUND,
        observables={"n": EXCITED},
    )


def test_jumps_of_the_identity_are_a_poisson_process():
    model, rate = poisson(1.7), 1.7
    np.testing.assert_allclose(scaled_cumulants(model, "clock"), rate, rtol=1e-10)
    x = np.linspace(-2, 2, 7)
    np.testing.assert_allclose(
        scgf(model, "clock", x=x), rate * np.expm1(x), atol=1e-12, rtol=1e-12
    )
    times = np.array([1.0, 2.0, 9.0])
    found = counting_cumulants(model, times, "clock", order=6)
    assert np.abs(found.values - rate * (times - 1.0)).max() < 1e-8
    distribution = counting_distribution(model, 3.0, "clock")
    truth = stats.poisson.pmf(distribution.values, 3 * rate)
    assert np.abs(distribution.probability - truth).max() < distribution.error < 1e-11
    waits = waiting_time_distribution(model, TIMES, "clock")
    assert np.abs(waits.density - rate * np.exp(-rate * TIMES)).max() < 1e-12
    assert np.abs(g2(model, TIMES, "clock").values - 1).max() < 1e-12
    # clock and decay do not know of each other
    crossed = g2(model, TIMES, "clock", then="decay")
    assert np.abs(crossed.values - 1).max() < 1e-12


def telegraph(up, down, initial=GROUND):
    return Model(
        dissipators=[
            Dissipator(LOWER.T, up, name="up"),
            Dissipator(LOWER, down, name="down"),
        ],
        initial=initial,
        observables={"n": EXCITED},
    )


def test_cumulants_of_a_telegraph():
    """lambda(x) = -(u+d)/2 + sqrt((u-d)^2/4 + u d e^x) is the root of a 2 x 2 matrix.

    Its derivatives: with s = u + d, c1 = ud/s, c2 = c1 (u^2+d^2)/s^2 and
    c3 = c1 (u^4 - 2u^3d + 6u^2d^2 - 2ud^3 + d^4)/s^4.
    """
    u, d = 0.6, 1.9
    s, c1 = u + d, u * d / (u + d)
    third = u**4 - 2 * u**3 * d + 6 * (u * d) ** 2 - 2 * u * d**3 + d**4
    truth = c1 * np.array([1, (u**2 + d**2) / s**2, third / s**4])
    for name in ("up", "down"):  # each is followed by the other
        found = scaled_cumulants(telegraph(u, d), name, order=3)
        np.testing.assert_allclose(found, truth, rtol=1e-11)
    wrong = scaled_cumulants(telegraph(2 * u, d), "down", order=3)
    assert np.abs(wrong / truth - 1).min() > 0.1
    x = np.linspace(-1.5, 1.5, 9)
    closed = -s / 2 + np.sqrt((u - d) ** 2 / 4 + u * d * np.exp(x))
    found = scgf(telegraph(u, d), "down", x=x)
    np.testing.assert_allclose(found, closed, atol=1e-13)


def test_waits_and_correlations_between_the_jumps_of_a_telegraph():
    """After `up` it is excited: `down` comes at rate d, and `up` after both."""
    u, d = 0.6, 1.9
    s, p = u + d, u / (u + d)
    model = telegraph(u, d)
    found = waiting_time_distribution(model, TIMES, "down", after="up")
    assert np.abs(found.density - d * np.exp(-d * TIMES)).max() < 1e-12
    found = waiting_time_distribution(model, TIMES, {"up": 1}, after=["down"])
    assert np.abs(found.density - u * np.exp(-u * TIMES)).max() < 1e-12
    found = waiting_time_distribution(model, TIMES, "up")
    both = u * d / (d - u) * (np.exp(-u * TIMES) - np.exp(-d * TIMES))
    assert np.abs(found.density - both).max() < 1e-12
    found = g2(model, TIMES, "up", then="down").values[0]
    assert np.abs(found - (1 + (1 - p) / p * np.exp(-s * TIMES))).max() < 1e-12
    found = g2(model, TIMES, "down", then="up").values[0]
    assert np.abs(found - (1 + p / (1 - p) * np.exp(-s * TIMES))).max() < 1e-12


def test_weights_enter_as_powers():
    found = scaled_cumulants(telegraph(0.6, 1.9), {"down": -0.3})
    once = scaled_cumulants(telegraph(0.6, 1.9), "down")
    np.testing.assert_allclose(found, once * (-0.3) ** np.arange(1, 5), rtol=1e-10)
    # up and down alternate: their difference stays bounded
    net = scaled_cumulants(telegraph(0.6, 1.9), {"up": 1, "down": -1})
    assert np.abs(net).max() < 1e-13


# --- the distribution, brute force --------------------------------------------------


def n_resolved(model, jumps, t, most):
    """Return P(n) from the chain rho_n' = L_0 rho_n + J rho_{n-1}, built by hand."""
    full = lindblad(model.hamiltonian.toarray(), jumps)
    counted = np.kron(jumps[0], jumps[0].conj())
    shift = np.eye(most + 1, k=-1)
    chain = np.kron(np.eye(most + 1), full - counted) + np.kron(shift, counted)
    start = np.zeros((most + 1) * 4, dtype=complex)
    start[:4] = model.initial.density_matrix().ravel()
    states = (expm(chain * t) @ start).reshape(most + 1, 4)
    return (states[:, 0] + states[:, 3]).real


def test_fourier_inversion_against_brute_force():
    model = replace(
        atom(1.3),
        dissipators=[
            Dissipator(LOWER, GAMMA, name="light"),
            Dissipator(LOWER, 0.25, name="lost"),
        ],
    )
    found = counting_distribution(model, 6.0, {"light": 0.5})
    jumps = [np.sqrt(GAMMA) * LOWER, np.sqrt(0.25) * LOWER]
    most = found.values.size - 1
    truth = n_resolved(model, jumps, 6.0, most)
    assert (found.values == 0.5 * np.arange(most + 1)).all()
    assert np.abs(found.probability - truth).max() < found.error + 64 * EPS
    missing = n_resolved(model, jumps[:1], 6.0, most)  # without the lost photons
    assert np.abs(found.probability - missing).max() > 1e-2
    assert len(found.to_frame()) == most + 1


def test_moments_of_the_distribution_are_the_cumulants():
    model = thermal_pair(epsilon=0.4, coupling="dissipators")
    weights = {"bath A": [-1.5, 1.5], "coupling": [0.5, -0.5]}
    for t in (0.3, 40.0):
        found = counting_distribution(model, t, weights)
        q, p = found.values, found.probability
        assert found.unit == pytest.approx(0.5)
        moments = np.array([[p @ q**n] for n in range(5)])
        exact = counting_cumulants(model, [0.0, t], weights).values[:, 1]
        np.testing.assert_allclose(cumulants_of(moments)[:, 0], exact, atol=1e-7)


def test_late_distributions_are_centered_on_what_matters():
    found = counting_distribution(atom(1.3), 3000.0)
    mean = stationary_rate(1.3) * 3000
    deviation = np.sqrt(scaled_cumulants(atom(1.3))[1] * 3000)
    assert found.values[0] > mean - 12 * deviation
    assert found.values[-1] < mean + 12 * deviation
    assert found.probability.sum() == pytest.approx(1, abs=1e-12)


# --- cumulants ----------------------------------------------------------------------


def test_finite_time_cumulants_reach_the_scaled_ones():
    model, weights = thermal_pair(epsilon=0.4), {"bath A": [-1, 1], "bath B": 0.5}
    late = counting_cumulants(model, [0.0, 4000.0, 5000.0], weights).values
    slope = (late[:, 2] - late[:, 1]) / 1000
    np.testing.assert_allclose(slope, scaled_cumulants(model, weights), rtol=1e-8)


def test_scaled_cumulants_are_the_derivatives_of_the_scgf():
    """Both are independent: the function is interpolated at Chebyshev points."""
    model, weights = thermal_pair(epsilon=0.4), {"bath A": [-1, 1]}
    found = scaled_cumulants(model, weights, order=6)
    nodes = 0.5 * np.polynomial.chebyshev.chebpts1(24)
    fit = np.polynomial.Chebyshev.fit(nodes, scgf(model, weights, x=nodes), 18)
    truth = [fit.deriv(n)(0.0) for n in range(1, 7)]
    np.testing.assert_allclose(found[:4], truth[:4], rtol=1e-6)


def test_heat_has_the_mean_of_the_master_equation():
    """d<Q>/dt is the current J_A; document 002, D6, has it in closed form."""
    heat = {"omega": 1.3, "beta_a": 0.5, "beta_b": 1.4, "epsilon": 0.3}
    rates = {"gamma_a": 1.0, "gamma_b": 0.6}
    model, w = thermal_pair(**heat, **rates), 1.3
    found = scaled_cumulants(model, {"bath A": [-w, w]}, order=1)[0]
    truth = stationary_current(**heat, **rates)
    assert found == pytest.approx(truth, rel=1e-11)
    backwards = scaled_cumulants(model, {"bath A": [w, -w]}, order=1)[0]
    assert backwards == pytest.approx(-truth, rel=1e-11)
    times = np.linspace(0, 3, 3001)
    current = master_equation(model, times).values[model_row(model, "J_A")]
    mean = counting_cumulants(model, times[[0, -1]], {"bath A": [-w, w]}, order=1)
    simpson = current[0] + current[-1] + 4 * current[1::2].sum()
    simpson = (simpson + 2 * current[2:-1:2].sum()) * 1e-3 / 3
    assert mean.values[0, 1] == pytest.approx(simpson, rel=1e-9)


def model_row(model, name):
    return list(model.observables).index(name)


# --- fluctuation theorems: D9 and D12 -----------------------------------------------

BETA_A, BETA_B = 0.5, 1.4
AFFINITY = BETA_B - BETA_A
FROM_A = {"bath A": [-1, 1]}
THROUGH = {"coupling": [-1, 1]}  # a^dag b brings a quantum back to A


def gibbs_pair(initial=None, epsilon=0.5):
    return thermal_pair(
        beta_a=BETA_A,
        beta_b=BETA_B,
        epsilon=epsilon,
        coupling="dissipators",
        initial=initial,
    )


def own_equilibrium():
    """Return rho_A rho_B, each in equilibrium with its own bath."""
    levels = [np.array([1.0, np.exp(-b)]) / (1 + np.exp(-b)) for b in (BETA_A, BETA_B)]
    return np.diag(np.kron(*levels))


def slopes(found):
    """Return ln[P(n)/P(-n)]/n for the n whose probability is known to 1e-4."""
    middle = int(np.flatnonzero(found.values == 0)[0])
    out = []
    for n in range(1, middle + 1):
        if found.probability[middle - n] < 1e4 * found.error:
            break
        ratio = found.probability[middle + n] / found.probability[middle - n]
        out.append(np.log(ratio) / n)
    return np.array(out)


def test_d9_symmetry_of_the_scgf():
    """lambda(x) = lambda(-x - (beta_B - beta_A)) for the heat from bath A."""
    x = np.linspace(-3, 2, 11)
    for model in (gibbs_pair(), thermal_pair(beta_a=BETA_A, beta_b=BETA_B)):
        left = scgf(model, FROM_A, x=x)
        right = scgf(model, FROM_A, x=-x - AFFINITY)
        assert np.abs(left - right).max() < 1e-12
        wrong_sign = scgf(model, FROM_A, x=-x + AFFINITY)
        assert np.abs(left - wrong_sign).max() > 1e-2
        one_sided = {"bath A": [-1, 0]}  # absorption is missing
        left, right = (scgf(model, one_sided, x=s) for s in (x, -x - AFFINITY))
        assert np.abs(left - right).max() > 1e-2


def test_d9_bath_heat_obeys_the_theorem_only_at_late_times():
    model = gibbs_pair(own_equilibrium(), epsilon=0.3)
    early, late = (slopes(counting_distribution(model, t, FROM_A)) for t in (5.0, 80.0))
    assert early[0] == pytest.approx(0.36, abs=0.01)
    assert np.ptp(early[:3]) > 0.2  # no straight line
    assert early.max() < AFFINITY - 0.1
    assert late[0] == pytest.approx(0.84, abs=0.01)
    assert np.ptp(late) < 0.05


def test_d12_the_coupling_obeys_the_theorem_at_every_time():
    model = gibbs_pair(own_equilibrium())
    for t in (0.5, 5.0, 20.0):
        found = slopes(counting_distribution(model, t, THROUGH))
        assert found.size >= 2
        assert np.abs(found - AFFINITY).max() < 1e-4
    # it takes the right start, and the right current
    other = slopes(counting_distribution(gibbs_pair(), 5.0, THROUGH))
    assert np.abs(other - AFFINITY).max() > 0.1
    bath = slopes(counting_distribution(model, 5.0, FROM_A))
    assert np.abs(bath - AFFINITY).max() > 0.1


def drawn(found, n_traj, seed):
    """Return records with counts drawn from an exact distribution."""
    rng = np.random.default_rng(seed)
    chance = found.probability.clip(0)
    net = rng.choice(found.values, n_traj, p=chance / chance.sum()).astype(np.int64)
    none = np.zeros(0, dtype=np.int64)
    counts = np.array([(-net).clip(0), net.clip(0)])
    return JumpRecords(none, none, none, ("c", "c"), counts, 0.0, 5.0, limit=0)


def test_the_fluctuation_test_tells_d12_from_d9():
    model, weights = gibbs_pair(own_equilibrium()), {"c": [-1, 1]}
    through = drawn(counting_distribution(model, 5.0, THROUGH), 40_000, seed=1)
    assert fluctuation_test(through, weights, AFFINITY).status == "pass"
    assert fluctuation_test(through, weights, -AFFINITY).status == "fail"
    assert fluctuation_test(through, weights, 1.2 * AFFINITY).status == "fail"
    heat = drawn(counting_distribution(model, 5.0, FROM_A), 40_000, seed=2)
    found = fluctuation_test(heat, weights, AFFINITY)
    assert found.status == "fail"
    # no affinity at all makes a straight line of it
    assert fluctuation_test(heat, weights, found.estimate).p_curve < 1e-3


# --- larger spaces, refusals --------------------------------------------------------


def test_a_chain_lets_out_what_it_takes_in():
    from stochq.spaces import tls_lowering

    lower = [tls_lowering(4, j) for j in range(4)]
    hop = sum(lower[j].conj().T @ lower[j + 1] for j in range(3))
    model = Model(
        hamiltonian=hop + hop.conj().T,
        dissipators=[
            Dissipator(lower[0].conj().T, 1.0, name="in"),
            Dissipator(lower[3], 0.7, name="out"),
        ],
        initial=np.eye(16)[0],
        observables={"n": lower[0].conj().T @ lower[0]},
    )
    taken, given = (scaled_cumulants(model, name) for name in ("in", "out"))
    np.testing.assert_allclose(taken, given, atol=1e-12)
    assert np.abs(scgf(model, "in", x=0.7) - scgf(model, "out", x=0.7)) < 1e-11
    assert taken[1] < taken[0]  # fermions in a chain come out evenly
    net = scaled_cumulants(model, {"in": 1, "out": -1})
    assert np.abs(net).max() < 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: scaled_cumulants(3), "must be a Model, but is int"),
        (lambda m: scaled_cumulants(m, "c"), "must name dissipators among"),
        (lambda m: scaled_cumulants(m, order=0), "`order` must be >= 1"),
        (lambda m: scaled_cumulants(m, order=11), "`order` must be at most 10"),
        (lambda m: scgf(m, x=1j), "`x` must be real"),
        (lambda m: scgf(m, x=1e5), "must be within 300"),
        (lambda m: counting_distribution(m, 0.0), "longer than 0"),
        (lambda m: counting_distribution(m, np.nan), "finite and >= 0"),
        (lambda m: counting_distribution(m, 1e9), "must be shorter"),
        (lambda m: counting_cumulants(m, [1.0, 0.0]), "strictly increasing"),
        (lambda m: g2(m, [-1.0, 1.0]), "must be delays >= 0"),
        (lambda m: g2(m, TIMES, {"light": 2}), "`channels` must choose"),
        (
            lambda m: scaled_cumulants(replace(m, drives=[(SX, np.cos)])),
            "must not depend on time",
        ),
        (lambda m: scaled_cumulants(replace(m, dissipators=())), "has none"),
        (
            lambda m: scaled_cumulants(
                replace(
                    m,
                    calculus="raw-ito",
                    dissipators=(),
                    noise=WhiteNoise(SX, rate=1.0),
                )
            ),
            "has none",
        ),
        (
            lambda m: scaled_cumulants(replace(m, initial=Occupations([1, 0]))),
            "one-body model",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(atom(1.3))


def test_a_dark_steady_state_has_no_waits():
    with pytest.raises(ModelError, match="`after` must jump in the steady state"):
        waiting_time_distribution(replace(atom(1.3), hamiltonian=None), TIMES)
    with pytest.raises(ModelError, match="one stationary state"):
        scaled_cumulants(
            Model(
                dissipators=Dissipator(EXCITED), initial=GROUND, observables={"n": SX}
            )
        )
