"""Textbook jump processes against their closed formulas, each with mutants.

Every verdict and every count has the false-alarm probability ALPHA = 1e-6; about forty
of them must pass, so that the file raises a false alarm with probability 4e-5.
"""

from dataclasses import replace
from math import comb

import numpy as np
import pytest
import scipy.sparse as sp
from analytic import (
    ALPHA,
    EXCITED,
    GROUND,
    LOWER,
    SX,
    SY,
    SZ,
    density,
    driven_qubit,
    exact_means,
    judge,
)
from scipy.linalg import expm
from scipy.sparse.linalg import expm_multiply
from scipy.stats import norm, ortho_group

from stochq import Dissipator, Model, Reference, simulate, trajectory, verify
from stochq.spaces import boson_annihilation, spin_operators

EPS = np.finfo(float).eps

#: Standard errors that a count may be off: two-sided, at the level ALPHA.
SIGMAS = norm.isf(ALPHA / 2)


def check(model, reference, *, n_traj, seed, mutants, resolution=0.2):
    """Assert that a model passes against a formula and that its mutants fail."""
    how = {"n_traj": n_traj, "seed": seed, "resolution": resolution}
    verdict = judge(model, reference, **how)
    assert verdict.status == "pass", verdict.explain()
    for mutant in mutants:
        wrong = judge(mutant, reference, **how)
        assert wrong.status == "fail", wrong.explain()


def curves(times, **values):
    """Return a reference from named curves."""
    return Reference(times, tuple(values), list(values.values()))


def truth(model, times):
    """Return the exact averages of a model with jumps only, from expm."""
    jumps = [np.sqrt(d.rate) * d.operator.toarray() for d in model.dissipators]
    observables = {k: o.toarray() for k, o in model.observables.items()}
    rho = model.initial.density_matrix()
    means = exact_means(model.hamiltonian.toarray(), jumps, rho, observables, times)
    return curves(times, **means)


def poisson_z(count, mean):
    """Return how many standard errors a Poisson count is off."""
    return (count - mean) / np.sqrt(mean)


# ------------------------------------------------------------------- damped cavity

KAPPA, CUTOFF = 0.8, 28
A = boson_annihilation(CUTOFF).toarray()
NUMBER = A.conj().T @ A
DECAY = np.linspace(0, 3, 7)  # [1/kappa] is 1.25


def coherent(alpha):
    """Return the coherent state; beyond the cutoff it has less than 1e-16 of norm."""
    amplitudes = np.cumprod([1, *(alpha / np.sqrt(np.arange(1, CUTOFF + 1)))])
    return amplitudes / np.linalg.norm(amplitudes)


def cavity(initial, operator=A, **observables):
    """Return a cavity of frequency 2 that loses photons at the rate kappa."""
    return Model(
        hamiltonian=2.0 * NUMBER,
        dissipators=Dissipator(operator, KAPPA, name="loss"),
        initial=initial,
        observables=observables or {"n": NUMBER},
    )


def test_a_coherent_state_stays_coherent_on_every_trajectory():
    """c |alpha> = alpha |alpha>: jumps change nothing, alpha e^{-(i w + kappa/2) t}."""
    quadratures = {"x": (A + A.T) / 2, "p": (A - A.T) / 2j, "n": NUMBER}
    model = cavity(coherent(1.3), **quadratures)
    alpha = 1.3 * np.exp(-(2j + KAPPA / 2) * DECAY)
    expected = np.array([alpha.real, alpha.imag, np.abs(alpha) ** 2])
    ensemble = simulate(model, DECAY, n_traj=500, seed=1)
    # the amplitude missing at the cutoff, 1e-9, and rounding of d = 29 levels
    assert np.abs(ensemble.mean - expected).max() < 1e-8
    assert ensemble.sd.max() < 1e-8
    emitted = ensemble.n_traj * 1.3**2 * (1 - np.exp(-KAPPA * DECAY[1:]))
    assert np.abs(poisson_z(ensemble.jumps[0, 1:], emitted)).max() < SIGMAS
    path = trajectory(model, DECAY, seed=1, index=3)
    state = path.states[-1] / np.sqrt(path.norms[-1])
    assert abs(np.vdot(coherent(alpha[-1]), state)) ** 2 > 1 - 1e-8

    faster = simulate(model.with_rate("loss", 1.3), DECAY, n_traj=500, seed=1)
    assert np.abs(faster.mean - expected).max() > 0.05
    twice = simulate(model.with_rate("loss", 2), DECAY, n_traj=500, seed=1)
    assert np.abs(poisson_z(twice.jumps[0, 1:], emitted)).max() > SIGMAS
    number_state = simulate(cavity(np.eye(29)[2]), DECAY, n_traj=500, seed=1)
    assert number_state.sd.max() > 0.3


def test_a_number_state_decays_binomially():
    """Each photon survives with probability e^{-kappa t} by itself."""
    level = np.eye(CUTOFF + 1)
    survival = np.exp(-KAPPA * DECAY)
    binomial = {
        f"p{m}": comb(5, m) * survival**m * (1 - survival) ** (5 - m) for m in range(6)
    }
    levels = {f"p{m}": np.diag(level[m]) for m in range(6)}
    model = cavity(level[5], **levels)
    no_root = cavity(level[5], np.eye(CUTOFF + 1, k=1), **levels)  # a without sqrt(n)
    check(
        model,
        curves(DECAY, **binomial),
        n_traj=4000,
        seed=2,
        mutants=[model.with_rate("loss", 1.3), no_root],
    )


def test_the_parity_of_a_cat_is_lost_at_its_size():
    r"""|alpha> + |-alpha>: each photon that leaves turns the parity.

    With s = e^{-kappa t} the coherence shrinks by e^{-2 |alpha|^2 (1 - s)}, so that
    <parity> = (e^{-2 |alpha|^2 s} + e^{-2 |alpha|^2 (1 - s)}) / (1 + e^{-2 |alpha|^2}).
    """
    size, s = 1.5**2, np.exp(-KAPPA * DECAY)
    parity = np.exp(-2 * size * s) + np.exp(-2 * size * (1 - s))
    number = size * s * np.tanh(size)
    cat = coherent(1.5) + coherent(-1.5)
    odd = coherent(1.5) - coherent(-1.5)
    seen = {"parity": np.diag((-1.0) ** np.arange(CUTOFF + 1)), "n": NUMBER}
    model = cavity(cat / np.linalg.norm(cat), **seen)
    check(
        model,
        curves(DECAY, parity=parity / (1 + np.exp(-2 * size)), n=number),
        n_traj=4000,
        seed=3,
        mutants=[
            model.with_rate("loss", 1.2),
            replace(model, initial=odd / np.linalg.norm(odd)),
            replace(model, initial=coherent(1.5)),
        ],
    )


# ----------------------------------------------------- driven and measured qubits


def bloch(drive, detuning, decay, times):
    """Return x, y, z of the Bloch equations, from the ground state z = 1.

    H = detuning n + (drive/2) sigma_x = B.sigma/2 + const with B = (drive, 0,
    -detuning): r' = B x r - (decay/2 x, decay/2 y, decay (z - 1)).
    """
    turn = np.array([[0, detuning, 0], [-detuning, 0, -drive], [0, drive, 0]])
    matrix = turn - decay * np.diag([0.5, 0.5, 1.0])
    stationary = np.linalg.solve(matrix, [0, 0, -decay])
    start = np.array([0, 0, 1.0]) - stationary
    return np.array([stationary + expm(matrix * t) @ start for t in times]).T


def fluorescence(drive=1.4, detuning=0.8, decay=0.9):
    """Return a detuned driven qubit that decays, seen by its Bloch vector."""
    return Model(
        hamiltonian=detuning * EXCITED + drive / 2 * SX,
        dissipators=Dissipator(LOWER, decay, name="decay"),
        initial=GROUND,
        observables={"x": SX, "y": SY, "z": SZ},
    )


def test_resonance_fluorescence_with_detuning():
    times = np.linspace(0, 12, 9)
    x, y, z = bloch(1.4, 0.8, 0.9, times)
    # n = (drive^2/4) / (detuning^2 + decay^2/4 + drive^2/2), the textbook's
    level = 0.49 / (0.64 + 0.2025 + 0.98)
    assert abs((1 - bloch(1.4, 0.8, 0.9, [1e3])[2, 0]) / 2 - level) < 1e-12
    model = fluorescence()
    check(
        model,
        curves(times, x=x, y=y, z=z),
        n_traj=6000,
        seed=4,
        mutants=[
            model.with_rate("decay", 1.3),
            fluorescence(detuning=-0.8),
            fluorescence(drive=2.8),
            replace(model, dissipators=Dissipator(LOWER.T, 0.9)),
        ],
    )


def test_photons_come_at_the_rate_of_the_excited_state():
    """E[photons] = decay int n dt, which is linear once n has settled.

    On resonance photons are antibunched and their number varies less than a Poissonian
    one (Mandel's Q = -6 drive^2 decay^2/(decay^2 + 2 drive^2)^2), so that SIGMAS of a
    Poissonian count keep the level.
    """
    times, drive, decay, n_traj = np.array([0.0, 60.0, 90.0]), 1.4, 0.9, 2000
    expected = n_traj * decay * drive**2 / (decay**2 + 2 * drive**2) * 30
    model = fluorescence(detuning=0.0)
    for candidate, right in [
        (model, True),
        (model.with_rate("decay", 1.1), False),
        (fluorescence(detuning=0.5), False),
    ]:
        jumps = simulate(candidate, times, n_traj=n_traj, seed=18).jumps[0]
        assert (abs(poisson_z(jumps[2] - jumps[1], expected)) < SIGMAS) == right


def measured_rabi(drive, watch):
    """Return a Rabi oscillation whose excited level is measured at a rate."""
    return Model(
        hamiltonian=drive / 2 * SX,
        dissipators=Dissipator(EXCITED, watch, name="watch"),
        initial=GROUND,
        observables={"z": SZ},
    )


@pytest.mark.parametrize("watch", [1.0, 4.0, 30.0], ids=["weak", "critical", "Zeno"])
def test_measurement_slows_the_rabi_oscillation(watch):
    """D[n] at rate G damps the coherence at G/2: y' = -drive z - G/2 y, z' = drive y.

    z'' + (G/2) z' + drive^2 z = 0, z(0) = 1, z'(0) = 0: with v^2 = G^2/16 - drive^2,
    z = e^{-G t/4} (cosh v t + (G/4v) sinh v t). For G >> drive it falls at the rate
    G/4 - v = (2 drive^2/G) (1 + 4 drive^2/G^2 + ...): watching stops the motion.
    """
    times = np.linspace(0, max(4.0, watch / 2), 9)
    v = np.sqrt(complex(watch**2 / 16 - 1)) or 1e-9
    z = np.cosh(v * times) + watch / (4 * v) * np.sinh(v * times)
    model = measured_rabi(1.0, watch)
    check(
        model,
        curves(times, z=(np.exp(-watch * times / 4) * z).real),
        n_traj=3000,
        seed=5,
        mutants=[model.with_rate("watch", 1.4), model.with_rate("watch", 0)],
    )


def test_the_zeno_rate_is_two_drive_squared_over_the_measurement_rate():
    for watch in (30.0, 60.0):
        slow = 2.0 / watch
        ensemble = simulate(
            measured_rabi(1.0, watch), [0, 1 / slow], n_traj=2000, seed=6
        )
        mean, error = ensemble.mean[0, 1], ensemble.mcse[0, 1]
        # z(1/slow) = e^{-1} (1 + O(4 drive^2/watch^2)), 0.5 % at most
        assert abs(mean - np.exp(-1)) < SIGMAS * error + 4 / watch**2
        assert abs(mean - np.exp(-2)) > 1.5 * SIGMAS * error  # twice the rate
        assert abs(mean - np.exp(-0.5)) > 1.5 * SIGMAS * error  # half the rate


# --------------------------------------------------------------------- superradiance


def dicke(spins, operator=None):
    """Return N inverted spins that decay together, c = S_-/sqrt(N)."""
    s1, s2, s3 = spin_operators(spins / 2)
    lower = (s1 - 1j * s2) / np.sqrt(spins) if operator is None else operator
    return Model(
        hamiltonian=0.3 * s3,
        dissipators=Dissipator(lower, 1.0, name="decay"),
        initial=np.eye(spins + 1)[0],
        observables={"m": s3 / spins, "m2": s3 @ s3 / spins**2},
    )


def dicke_ladder(spins, times):
    """Return the exact <m>/N and <m^2>/N^2 of the classical cascade m -> m - 1.

    Populations obey p_m' = -w_m p_m + w_{m+1} p_{m+1}, w_m = (j + m)(j - m + 1)/N.
    """
    m = spins / 2 - np.arange(spins + 1)
    rates = (spins / 2 + m) * (spins / 2 - m + 1) / spins
    generator = sp.diags_array([-rates, rates[:-1]], offsets=[0, -1], format="csc")
    start = np.eye(spins + 1)[0]
    p = expm_multiply(generator, start, times[0], times[-1], times.size)
    return curves(times, m=p @ m / spins, m2=p @ m**2 / spins**2)


@pytest.mark.parametrize("spins", [100, 1000])
def test_superradiance(spins):
    """The burst comes after ln(N), with the spread of its delay of order 1."""
    times = np.linspace(0, 14, 15)
    ensemble = simulate(dicke(spins), times, n_traj=500, seed=7)
    verdict = verify(ensemble, dicke_ladder(spins, times), alpha=ALPHA, resolution=0.2)
    assert verdict.status == "pass", verdict.explain()
    faster = dicke_ladder(spins, 1.2 * times)
    fewer = dicke_ladder(spins // 2, times)
    for curve in (faster, fewer):
        wrong = Reference(times, curve.names, curve.values)
        assert verify(ensemble, wrong, alpha=ALPHA).status == "fail"
    # every quantum that left was one jump
    left = 500 * spins * (0.5 - ensemble.mean[0])
    assert np.abs(left - ensemble.jumps[0]).max() < 1e-9 * 500 * spins


def test_spins_that_decay_alone_do_not_burst():
    """The ladder without cooperation has the rates j + m."""
    times = np.linspace(0, 14, 15)
    alone = sp.diags_array(np.sqrt(np.arange(100, 0, -1.0)), offsets=-1, format="csr")
    reference = dicke_ladder(100, times)
    for model in (dicke(100, alone), dicke(100).with_rate("decay", 1.2)):
        verdict = judge(model, reference, n_traj=500, seed=7)
        assert verdict.status == "fail", verdict.explain()


# ------------------------------------------------------------- exceptional points


@pytest.mark.parametrize("offset", [0.0, 1e-9, 1e-5])
@pytest.mark.parametrize("point", [0.5, 0.25], ids=["of H_eff", "of the Liouvillian"])
def test_a_driven_qubit_at_its_exceptional_points(point, offset):
    """H_eff is defective at drive = decay/2, the Bloch equations at decay/4."""
    times, decay = np.linspace(0, 6, 9), 0.9
    drive = point * decay * (1 + offset)
    model = replace(
        driven_qubit(drive, decay).model, observables={"n": EXCITED, "y": SY, "x": SX}
    )
    x, y, z = bloch(drive, 0.0, decay, times)
    check(
        model,
        curves(times, n=(1 - z) / 2, y=y, x=x),
        n_traj=4000,
        seed=8,
        resolution=0.5,
        mutants=[model.with_rate("decay", 1.5)],
    )


@pytest.mark.parametrize("offset", [0.0, 1e-9, 1e-5, 1e-2])
def test_three_levels_that_coincide(offset):
    """H = drive S_x with c^dag c = diag(2, 1, 0): a spin 1 in an imaginary field.

    H_eff = drive S_x - (i decay/2)(1 + S_z) has the eigenvalues -i decay/2 +
    m sqrt(drive^2 - decay^2/4): at drive = decay/2 all three coincide, with one
    eigenvector.
    """
    decay = 0.8
    s1, s2, s3 = (s.toarray() for s in spin_operators(1))
    lower = np.diag(np.sqrt([2.0, 1.0]), k=-1)
    model = Model(
        hamiltonian=decay / 2 * (1 + offset) * s1,
        dissipators=Dissipator(lower, decay, name="decay"),
        initial=[0, 0, 1],
        observables={"m": s3, "y": s2, "top": np.diag([1.0, 0, 0])},
    )
    times = np.linspace(0, 8, 7)
    check(
        model,
        truth(model, times),
        n_traj=4000,
        seed=9,
        resolution=0.5,
        mutants=[model.with_rate("decay", 1.5)],
    )


# ------------------------------------------------------------------ scales of time


def bateman(rates, times):
    """Return the populations of a cascade 0 -> 1 -> ... -> K, from level 0.

    p_k = r_0 ... r_{k-1} sum_{i <= k} e^{-r_i t} / prod_{l != i} (r_l - r_i), with
    r_K = 0 at the end (Bateman 1910).
    """
    rates = [*rates, 0.0]
    populations = []
    for k in range(len(rates)):
        total = np.zeros_like(times)
        for i in range(k + 1):
            others = [rates[j] - rates[i] for j in range(k + 1) if j != i]
            total += np.exp(-rates[i] * times) / np.prod(others)
        populations.append(np.prod(rates[:k]) * total)
    return populations


@pytest.mark.parametrize("rotated", [False, True], ids=["levels", "rotated"])
def test_a_cascade_over_six_decades(rotated):
    """In a rotated basis no matrix of the cascade has a zero."""
    rates = [1e3, 1.0, 1e-3]
    basis = ortho_group.rvs(4, random_state=3) if rotated else np.eye(4)
    level = basis.T  # level[k]: the ket of level k
    model = Model(
        dissipators=[
            Dissipator(np.outer(level[k + 1], level[k]), rates[k], name=f"r{k}")
            for k in range(3)
        ],
        initial=level[0],
        observables={f"p{k}": np.outer(level[k], level[k]) for k in range(4)},
    )
    times = np.array([0, *np.geomspace(1e-4, 1e4, 13)])
    populations = bateman(rates, times)
    check(
        model,
        curves(times, **{f"p{k}": p for k, p in enumerate(populations)}),
        n_traj=4000,
        seed=10,
        resolution=0.3,
        mutants=[model.with_rate(f"r{k}", 1.5) for k in range(3)],
    )


def test_a_million_lifetimes_of_a_weakly_driven_qubit():
    """drive = 1e-3 decay: about one photon in 1e6 lifetimes.

    n = drive^2/(decay^2 + 2 drive^2), and a trajectory is back in the dark state that
    the drive dresses within a few lifetimes of its photon. Photons are antibunched over
    1e-6 of their distance, so that their counts are Poissonian.
    """
    decay, n_traj = 2.0, 2000
    drive = 1e-3 * decay
    model = replace(
        driven_qubit(drive, decay).model, observables={"n": EXCITED, "y": SY}
    )
    times = np.array([0, 1e5, 4e5, 1e6]) / decay
    ensemble = simulate(model, times, n_traj=n_traj, seed=11)
    level = drive**2 / (decay**2 + 2 * drive**2)
    expected = n_traj * decay * level * times[1:]
    assert np.abs(poisson_z(ensemble.jumps[0, 1:], expected)).max() < SIGMAS
    # a photon in the last ten lifetimes: 1e-5 of the trajectories, else stationary
    assert np.abs(ensemble.mean[0, 1:] / level - 1).max() < 1e-2
    doubled = simulate(
        replace(model, hamiltonian=drive / np.sqrt(2) * SX), times, n_traj=200, seed=11
    )
    z = poisson_z(doubled.jumps[0, 1:], expected / 10)
    assert np.abs(z).max() > SIGMAS  # sqrt(2) in the drive is 2 in the photons


# -------------------------------------------------------- jump operators at their edge


def test_a_degenerate_effective_hamiltonian_depolarizes():
    """sigma_x, sigma_y, sigma_z at rate/4 each: r e^{-rate t}; H_eff is -i 3/8 rate."""
    start = np.array([0.6, 0.8j])
    model = Model(
        dissipators=[
            Dissipator(s, 0.2, name=n) for n, s in zip("xyz", (SX, SY, SZ), strict=True)
        ],
        initial=start,
        observables={"x": SX, "y": SY, "z": SZ},
    )
    times = np.linspace(0, 4, 9)
    fall = np.exp(-0.8 * times)
    check(
        model,
        curves(times, x=0 * fall, y=0.96 * fall, z=-0.28 * fall),
        n_traj=5000,
        seed=12,
        mutants=[
            model.with_rate("x", 0),
            model.with_rate("z", 0),
            model.with_rate("x", 1.5),
        ],
    )
    jumps = simulate(model, times, n_traj=8000, seed=12).jumps[:, -1]
    assert np.abs(poisson_z(jumps, 8000 * 0.2 * 4)).max() < SIGMAS


def test_rates_of_zero_change_no_bit():
    model = fluorescence()
    times = np.linspace(0, 3, 4)
    idle = [Dissipator(LOWER.T, 0.0, name="pump"), Dissipator(SZ, 0, name="phase")]
    padded = replace(model, dissipators=[idle[0], *model.dissipators, idle[1]])
    plain = simulate(model, times, n_traj=640, seed=13)
    same = simulate(padded, times, n_traj=640, seed=13)
    assert np.array_equal(plain.mean, same.mean)
    assert np.array_equal(plain.mcse, same.mcse)
    other = [Dissipator(LOWER.T, 0.05, name="pump"), *model.dissipators]
    assert not np.array_equal(
        plain.mean,
        simulate(replace(model, dissipators=other), times, n_traj=640, seed=13).mean,
    )


@pytest.mark.parametrize("dim", [2, 7])
def test_jumps_proportional_to_one_change_nothing(dim):
    """c = e^{i phi} 1: Poissonian clicks, while the state turns as if alone."""
    turn = spin_operators((dim - 1) / 2)[0]
    m = np.arange(dim) - (dim - 1) / 2
    model = Model(
        hamiltonian=turn,
        dissipators=Dissipator(np.exp(0.7j) * np.eye(dim), 3.0, name="clicks"),
        initial=np.eye(dim)[0],
        observables={"z": np.diag(m)},
    )
    times = np.linspace(0, 5, 6)
    ensemble = simulate(model, times, n_traj=1000, seed=14)
    # about 15 jumps and 10 revolutions of d amplitudes
    rounding = 100 * dim * EPS
    expected = m[0] * np.cos(times)
    assert np.abs(ensemble.mean - expected).max() < 100 * rounding
    assert np.abs(ensemble.mean - m[0] * np.cos(1.01 * times)).max() > 0.01
    clicks = ensemble.jumps[0, 1:]
    assert np.abs(poisson_z(clicks, 3000 * times[1:])).max() < SIGMAS
    assert np.abs(poisson_z(clicks, 3300 * times[1:])).max() > SIGMAS


def test_jumps_that_annihilate_the_state_never_happen():
    """Three levels 2 -> 1 -> 0, and a level 3 whose decay nobody ever feeds."""
    level = np.eye(4)
    steps = [(1, 2), (0, 1), (2, 3)]  # to, from
    model = Model(
        hamiltonian=np.diag([0.0, 1.0, 2.0, 7.0]),
        dissipators=[
            Dissipator(np.outer(level[i], level[j]), 1.0, name=f"{j}->{i}")
            for i, j in steps
        ],
        initial=level[2],
        observables={f"p{k}": np.diag(level[k]) for k in range(4)},
    )
    times = np.array([0, 0.5, 1, 2, 4, 60])
    ensemble = simulate(model, times, n_traj=4000, seed=15)
    first, second, never = ensemble.jumps
    assert not never.any()
    # a trajectory in level 1 has jumped once, one in level 0 twice, and none thrice
    counts = 4000 * ensemble.mean
    assert np.abs(first - counts[0] - counts[1]).max() < 1e-6
    assert np.abs(second - counts[0]).max() < 1e-6
    assert first[-1] == second[-1] == 4000
    fed = replace(model, initial=level[3])
    assert simulate(fed, times, n_traj=64, seed=15).jumps[2, -1] == 64


def trapped(second=0.6):
    """Return a Lambda system: two ground states driven to one that decays to both."""
    g1, g2, e = np.eye(3)
    drive = 0.5 * np.outer(e, g1) + second / 2 * np.outer(e, g2)
    dark = np.array([0.6, -1.0, 0.0]) / np.hypot(1.0, 0.6)
    return Model(
        hamiltonian=drive + drive.T,
        dissipators=[
            Dissipator(np.outer(g1, e), 0.7, name="to 1"),
            Dissipator(np.outer(g2, e), 0.5, name="to 2"),
        ],
        initial=g1,
        observables={"dark": density(dark), "e": np.diag(e)},
    )


def test_coherent_trapping_ends_all_jumps():
    """The dark state 0.6 |1> - |2> is not driven: trajectories fall in and stay."""
    model, times = trapped(), np.linspace(0, 30, 7)
    check(
        model,
        truth(model, times),
        n_traj=4000,
        seed=16,
        mutants=[
            model.with_rate("to 1", 1.5),
            trapped(second=-0.6),
        ],
    )
    late = simulate(model, [0, 10, 500, 1e6], n_traj=1000, seed=16)
    assert np.abs(late.mean[0, 2:] - 1).max() < 1e-9
    assert late.jumps[:, 1].sum() < late.jumps[:, 2].sum() == late.jumps[:, 3].sum()
    # half-dark: without the second drive level 2 is dark, and its share is known
    alone = simulate(trapped(second=0.0), [0, 500, 1e6], n_traj=1000, seed=16)
    assert (alone.jumps[1] == [0, 1000, 1000]).all()
    assert alone.jumps[0, 1] == alone.jumps[0, 2]


def test_what_starts_dark_never_jumps():
    model = trapped()
    dark = np.array([0.6, -1.0, 0.0]) / np.hypot(1.0, 0.6)
    ensemble = simulate(
        replace(model, initial=dark), [0, 1, 1e3, 1e6], n_traj=500, seed=17
    )
    assert not ensemble.jumps.any()
    assert np.abs(ensemble.mean[0] - 1).max() < 1e-9
    bright = np.array([1.0, 0.6, 0.0]) / np.hypot(1.0, 0.6)
    other = simulate(replace(model, initial=bright), [0, 1e3], n_traj=500, seed=17)
    assert other.jumps[:, 1].sum() >= 500
