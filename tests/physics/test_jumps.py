"""Quantum jumps against closed formulas and exact exponentials, with mutants.

Every verdict has the false-alarm probability `analytic.ALPHA`, 1e-6.
"""

from dataclasses import replace

import numpy as np
import pytest
from analytic import (
    ALPHA,
    EXCITED,
    GROUND,
    LOWER,
    SX,
    SY,
    SZ,
    UP,
    decaying_qubit,
    density,
    driven_qubit,
    exact_means,
    judge,
    random_hermitian,
    random_ket,
)
from scipy import stats

from stochq.lowering import lower
from stochq.model import Dissipator, Model
from stochq.references import Reference, master_equation
from stochq.schemes import Exact, Strang
from stochq.schemes.flow import CONDITION_LIMIT, jump_flow
from stochq.simulation import simulate
from stochq.verification import verify

EPS = np.finfo(float).eps
TIMES = np.linspace(0, 4, 9)


def truth(model, times):
    """Return the exact averages of a model with jumps only, from expm."""
    jumps = [np.sqrt(d.rate) * d.operator.toarray() for d in model.dissipators]
    observables = {k: o.toarray() for k, o in model.observables.items()}
    rho = model.initial.density_matrix()
    curves = exact_means(model.hamiltonian.toarray(), jumps, rho, observables, times)
    return Reference(times, list(curves), list(curves.values()))


def check(model, times=TIMES, *, n_traj=4000, seed=7, mutants=(), **how):
    """Assert that the model passes against its exact average and that mutants fail."""
    reference = truth(model, times)
    verdict = judge(model, reference, n_traj=n_traj, seed=seed, **how)
    assert verdict.status == "pass", verdict.explain()
    for mutant in mutants:
        wrong = judge(mutant, reference, n_traj=n_traj, seed=seed, **how)
        assert wrong.status == "fail", wrong.explain()
    return verdict


def forget_root(model, name):
    """Return the model that has rate^2 in place of rate."""
    rates = [d.rate for d in model.dissipators if d.name == name]
    return model.with_rate(name, rates[0])


# ------------------------------------------------------------------ decay, driving


def test_a_qubit_decays_by_its_formula():
    system = decaying_qubit(rate=0.7)
    for model, status in [
        (system.model, "pass"),
        (system.model.with_rate("decay", 2), "fail"),
        (system.model.with_rate("decay", 0), "fail"),
        (forget_root(system.model, "decay"), "fail"),
        (replace(system.model, dissipators=Dissipator(LOWER.T, 0.7)), "fail"),
    ]:
        verdict = judge(model, system.reference(TIMES), n_traj=4000, seed=1)
        assert verdict.status == status, verdict.explain()


def test_jump_times_are_exponential():
    """From |+>, n drops from 1 to 0 at one jump: the first output time after it."""
    rate, edges = 0.7, np.linspace(0, 8, 161)
    model = replace(decaying_qubit(rate).model, initial=UP)
    survivors = np.zeros(161)
    for seed in range(8):  # up to 512 trajectories the batches are the trajectories
        values = simulate(model, edges, n_traj=512, seed=seed).batches[:, 0]
        assert np.isin(values.round(12), (0, 1)).all()
        assert (np.diff(values, axis=1) <= 1e-12).all()
        survivors += (values > 0.5).sum(axis=0)
    assert survivors[0] == 4096
    counts = np.array([*-np.diff(survivors), survivors[-1]])

    def p_value(gamma):
        law = np.array([*-np.diff(np.exp(-gamma * edges)), np.exp(-gamma * edges[-1])])
        joined = [a.reshape(-1, 7).sum(axis=1) for a in (counts, law)]
        return stats.chisquare(joined[0], 4096 * joined[1]).pvalue

    assert p_value(rate) > ALPHA
    assert p_value(1.2 * rate) < ALPHA


@pytest.mark.parametrize("drive", [0.2, 1.0, 4.0], ids=["weak", "even", "strong"])
def test_resonance_fluorescence_follows_the_bloch_equations(drive):
    system = driven_qubit(drive, decay=0.9)
    reference = system.reference(TIMES)
    exact = truth(system.model, TIMES)
    assert np.abs(reference.values - exact.values).max() < 1e-12
    n_traj = 4000 if drive > 0.5 else 20_000
    for model, status in [
        (system.model, "pass"),
        (system.model.with_rate("decay", 2), "fail"),
        (replace(system.model, hamiltonian=drive * SX), "fail"),
    ]:
        verdict = judge(model, reference, n_traj=n_traj, seed=2)
        assert verdict.status == status, verdict.explain()


def test_the_exceptional_point_uses_the_ladder():
    system = driven_qubit(0.45, decay=0.9)  # the eigenvectors of H_eff coincide
    assert not jump_flow(lower(system.model), 1.0).spectral
    assert jump_flow(lower(driven_qubit(0.6, 0.9).model), 1.0).spectral
    reference = system.reference(TIMES)
    for model, status in [
        (system.model, "pass"),
        (driven_qubit(0.45, decay=1.2).model, "fail"),
    ]:
        verdict = judge(model, reference, n_traj=20_000, seed=3)
        assert verdict.status == status, verdict.explain()


@pytest.mark.parametrize("offset", [1e-3, 1e-6, 1e-9, 1e-11, 1e-12, 1e-13, 0])
def test_near_the_exceptional_point_nothing_changes(offset):
    system = driven_qubit(0.45 * (1 + offset), decay=0.9)
    far = simulate(driven_qubit(0.45, 0.9).model, TIMES, n_traj=2000, seed=4)
    near = simulate(system.model, TIMES, n_traj=2000, seed=4)
    # the same random numbers: at most a few trajectories jump elsewhere
    assert np.abs(near.mean - far.mean).max() <= 10 * offset + 3 / 2000
    # the squared norm is a form of the eigenvectors' squared condition number
    assert near.provenance["jump_time_residual"] < CONDITION_LIMIT**2 * EPS


# ------------------------------------------------------ structures of H_eff and of c


def test_equal_rates_make_a_degenerate_effective_hamiltonian():
    a, b = np.kron(LOWER, np.eye(2)), np.kron(np.eye(2), LOWER)
    model = Model(
        dissipators=[
            Dissipator(a, 0.6, name="a"),
            Dissipator(b, 0.6, name="b"),
        ],
        initial=np.kron([0.6, 0.8], UP),
        observables={
            "n_a": a.T @ a,
            "n_b": b.T @ b,
            "xx": np.kron(SX, SX),
        },
    )
    check(model, mutants=[model.with_rate("a", 2), model.with_rate("b", 0)])


def test_correlated_decay_has_a_dark_state():
    """c = a + b leaves the singlet dark and empties the triplet at twice the rate."""
    a, b = np.kron(LOWER, np.eye(2)), np.kron(np.eye(2), LOWER)
    singlet = (np.kron(UP, GROUND) - np.kron(GROUND, UP)) / np.sqrt(2)
    n_a, n_b = a.T @ a, b.T @ b
    model = Model(
        dissipators=Dissipator(a + b, 0.7, name="both"),
        initial=np.kron(UP, GROUND),
        observables={"n_a": n_a, "n": n_a + n_b, "singlet": density(singlet)},
    )
    independent = replace(model, dissipators=[Dissipator(a, 0.7), Dissipator(b, 0.7)])
    verdict = check(model, mutants=[model.with_rate("both", 2), independent])
    assert verdict.names == ("n_a", "n", "singlet")
    late = simulate(model, [0, 60], n_traj=1000, seed=3)
    assert abs(late.mean[1, 1] - 0.5) < 5 * late.mcse[1, 1]
    dark = replace(model, initial=singlet)
    ensemble = simulate(dark, [0, 1e5], n_traj=100, seed=1)
    assert np.abs(ensemble.mean - ensemble.mean[:, :1]).max() <= 1e-12


def test_complex_jump_operators():
    rng = np.random.default_rng(11)
    jumps = [rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)) for _ in range(2)]
    model = Model(
        hamiltonian=random_hermitian(rng, 3),
        dissipators=[
            Dissipator(jumps[0], 0.11, name="one"),
            Dissipator(jumps[1], 0.05, name="two"),
        ],
        initial=random_ket(rng, 3),
        observables={"A": random_hermitian(rng, 3), "B": random_hermitian(rng, 3)},
    )
    conjugated = [
        Dissipator(jumps[0].conj(), 0.11, name="one"),
        Dissipator(jumps[1].conj(), 0.05, name="two"),
    ]
    check(
        model,
        n_traj=10_000,
        mutants=[
            model.with_rate("one", 2),
            model.with_rate("two", 2),
            replace(model, dissipators=conjugated),
        ],
    )


def test_jump_operators_proportional_to_unitaries():
    """c = i 1 does nothing, c = sigma_x flips; their clocks do not see the state."""
    model = Model(
        hamiltonian=0.4 * SZ,
        dissipators=[
            Dissipator(1j * np.eye(2), 2.0, name="idle"),
            Dissipator(SX, 0.3, name="flip"),
        ],
        initial=[0.6, 0.8],
        observables={"z": SZ, "x": SX, "y": SY},
    )
    check(model, mutants=[model.with_rate("flip", 2), forget_root(model, "flip")])
    idle = check(model.with_rate("idle", 50), mutants=[])
    assert idle.status == "pass"


def test_zero_rates_do_nothing():
    model = decaying_qubit().model.with_rate("decay", 0)
    assert lower(model).jumps == ()
    ensemble = simulate(model, TIMES, n_traj=64, seed=1)
    assert np.ptp(ensemble.mean, axis=1).max() <= 4 * EPS
    assert ensemble.deterministic.all()


def test_what_is_dark_stays():
    model = replace(decaying_qubit().model, initial=GROUND, hamiltonian=3.0 * SZ)
    ensemble = simulate(model, [0, 1, 1e4, 1e7], n_traj=256, seed=1)
    assert not ensemble.mean.any()
    assert not ensemble.sd.any()


def test_thermal_jumps_reach_the_gibbs_state():
    boltzmann = np.exp(-1.3)
    model = Model(
        hamiltonian=EXCITED,
        dissipators=[
            Dissipator(LOWER, 0.8, name="bath"),
            Dissipator(LOWER.T, 0.8 * boltzmann, name="bath"),
        ],
        initial=UP,
        observables={"n": EXCITED},
    )
    # n relaxes at the rate 0.8 (1 + e) to e/(1 + e)
    level = boltzmann / (1 + boltzmann)
    fall = np.exp(-0.8 * (1 + boltzmann) * TIMES)
    reference = Reference(TIMES, ["n"], [level + (1 - level) * fall])
    one_way = replace(model, dissipators=Dissipator(LOWER, 0.8))
    swapped = replace(
        model,
        dissipators=[Dissipator(LOWER.T, 0.8), Dissipator(LOWER, 0.8 * boltzmann)],
    )
    for candidate, status in [
        (model, "pass"),
        (model.with_rate("bath", 2), "fail"),
        (one_way, "fail"),
        (swapped, "fail"),
    ]:
        verdict = judge(candidate, reference, n_traj=4000, seed=5)
        assert verdict.status == status, verdict.explain()


# -------------------------------------------------------------------- times, scales


def test_rates_spread_over_six_decades():
    """Four levels emptied one after another at 1e3, 1 and 1e-3."""
    levels = np.eye(4)
    rates = [1e3, 1.0, 1e-3]
    model = Model(
        dissipators=[
            Dissipator(np.outer(levels[k + 1], levels[k]), rates[k], name=f"{k}")
            for k in range(3)
        ],
        initial=[1, 0, 0, 0],
        observables={f"p{k}": np.diag(levels[k]) for k in range(4)},
    )
    times = np.concatenate([[0], np.geomspace(1e-4, 1e4, 17)])
    verdict = check(
        model,
        times,
        n_traj=20_000,
        resolution=0.3,
        mutants=[model.with_rate(f"{k}", 1.5) for k in range(3)],
    )
    assert verdict.status == "pass"
    ensemble = simulate(model, times, n_traj=1000, seed=1)
    assert ensemble.provenance["jump_time_residual"] < 1e-10


def test_superpositions_of_fast_and_slow_decay():
    """One ket that decays on scales 1e-3 and 1e3 at once: a hard root to find."""
    fast = np.outer([1, 0, 0], [0, 1, 0])
    slow = np.outer([1, 0, 0], [0, 0, 1])
    model = Model(
        dissipators=[Dissipator(fast, 1e3, name="f"), Dissipator(slow, 1e-3, name="s")],
        initial=np.sqrt([0.2, 0.5, 0.3]),
        observables={"p0": np.diag([1, 0, 0.0]), "p2": np.diag([0, 0, 1.0])},
    )
    times = np.array([0, 1e-3, 1, 1e3, 1e4])
    check(
        model,
        times,
        n_traj=10_000,
        mutants=[model.with_rate("f", 3), model.with_rate("s", 1.5)],
    )
    ensemble = simulate(model, times, n_traj=4000, seed=1)
    assert ensemble.provenance["jump_time_residual"] < 1e-10


@pytest.mark.parametrize("drive", [1.0, 0.45], ids=["spectral", "ladder"])
def test_intervals_with_hundreds_of_jumps(drive):
    system = driven_qubit(drive, decay=0.9)
    times = np.array([0.0, 1e3 / 0.9])
    stationary = drive**2 / (0.9**2 + 2 * drive**2)
    reference = Reference(times, ["n"], [[0.0, stationary]])
    verdict = judge(system.model, reference, n_traj=1024, seed=6, resolution=0.5)
    assert verdict.status == "pass", verdict.explain()
    wrong = Reference(times, ["n"], [[0.0, 2 * stationary]])
    assert judge(system.model, wrong, n_traj=1024, seed=6).status == "fail"


def test_an_interval_of_a_hundred_thousand_lifetimes():
    model = replace(decaying_qubit(0.7).model, hamiltonian=0.3 * SZ)
    ensemble = simulate(model, [0, 1e5 / 0.7], n_traj=256, seed=1)
    # every trajectory has jumped, or has lost all but exp(-5e4) of its excitation
    assert not ensemble.mean[:, 1].any()
    assert ensemble.provenance["jump_time_residual"] < 1e-12


def test_the_start_is_at_the_first_time():
    system = decaying_qubit()
    times = np.array([-3.0, -2.9, -1.0, 0.5, 0.7])
    assert judge(system.model, system.reference(times), n_traj=4000, seed=8).status == (
        "pass"
    )
    early = simulate(system.model, times, n_traj=640, seed=8)
    late = simulate(system.model, times + 7, n_traj=640, seed=8)
    assert np.abs(early.mean - late.mean).max() <= 1e-12
    shifted = Reference(times, ["n"], [0.64 * np.exp(-0.7 * np.abs(times))])
    assert judge(system.model, shifted, n_traj=4000, seed=8).status == "fail"


def test_output_times_do_not_change_trajectories():
    model = driven_qubit(1.0, 0.9).model
    few = simulate(model, [0, 4], n_traj=640, seed=9)
    many = simulate(model, np.linspace(0, 4, 101) ** 2 / 4, n_traj=640, seed=9)
    assert np.abs(few.mean[:, -1] - many.mean[:, -1]).max() <= 1e-10


def test_mixed_starts_are_sampled():
    rho = np.array([[0.3, 0.2j], [-0.2j, 0.7]])
    model = replace(
        driven_qubit(1.0, 0.9).model,
        initial=rho,
        observables={"n": EXCITED, "y": SY, "x": SX},
    )
    mutants = [
        replace(model, initial=rho.T),
        replace(model, initial=np.diag([0.3, 0.7])),
        model.with_rate("decay", 2),
    ]
    check(model, mutants=mutants)
    kets = [(0.3, GROUND), (0.7, UP)]
    swapped = [(0.7, GROUND), (0.3, UP)]
    check(
        replace(model, initial=kets), mutants=[replace(model, initial=swapped)], seed=12
    )


def test_strang_without_noise_is_exact_too():
    system = driven_qubit(1.0, 0.9)
    exact = simulate(system.model, TIMES, n_traj=640, seed=3, scheme=Exact())
    steps = simulate(system.model, TIMES, n_traj=640, seed=3, scheme=Strang(0.05))
    assert np.abs(exact.mean - steps.mean).max() <= 1e-9


def test_jump_times_are_solved_to_rounding():
    ensemble = simulate(driven_qubit(1.0, 0.9).model, TIMES, n_traj=2000, seed=3)
    assert ensemble.provenance["jump_time_residual"] < 1e-12


def test_nearly_normalized_kets_pass():
    """A ket within the accepted tolerance of norm 1 must not fail the verdict."""
    system = decaying_qubit()
    model = replace(system.model, initial=np.array([0.6, 0.8]) * (1 + 0.9e-10))
    ensemble = simulate(model, TIMES, n_traj=2000, seed=1)
    verdict = verify(ensemble, master_equation(model, TIMES), alpha=ALPHA)
    assert verdict.status == "pass", verdict.explain()


def test_energies_far_above_rates_do_not_hide_decay():
    """In SI units an optical frequency is 1e13 times the root of a decay rate."""
    rate = 100.0
    model = Model(
        hamiltonian=2e15 * EXCITED,
        dissipators=Dissipator(LOWER, rate, name="decay"),
        initial=UP,
        observables={"n": EXCITED},
    )
    times = np.linspace(0, 2, 5) / rate
    reference = Reference(times, ["n"], [np.exp(-rate * times)])
    for candidate, status in [(model, "pass"), (model.with_rate("decay", 2), "fail")]:
        verdict = judge(candidate, reference, n_traj=2000, seed=1)
        assert verdict.status == status, verdict.explain()
