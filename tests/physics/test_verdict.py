"""The verdict itself: what it passes, what it fails, and how often it is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from analytic import (
    ALPHA,
    LOWER,
    SX,
    SY,
    SZ,
    UP,
    decaying_qubit,
    driven_qubit,
    kubo_dephasing,
    noisy_exchange,
)
from scipy import stats

from stochq.bias import exact_step_bias
from stochq.errors import FailureWarning, ModelError
from stochq.evidence.maxima import MaxLaw
from stochq.model import Dissipator, Model, WhiteNoise
from stochq.references import Reference, correlation_equation, master_equation
from stochq.schemes import EulerMaruyama, Heun, Strang
from stochq.simulation import simulate
from stochq.states import Orbitals
from stochq.unravelings import Jump
from stochq.verification import verify

TIMES = np.linspace(0, 2, 9)
SHORT = np.linspace(0, 2, 4)


def dephased_rabi(rate=0.4):
    """Return a driven qubit under dephasing noise."""
    return Model(
        hamiltonian=0.7 * SX,
        noise=WhiteNoise(SZ, rate=rate, name="phase"),
        initial=[1, 0],
        observables={"z": SZ, "y": SY, "xy": (2 * SX + SY) / np.sqrt(5)},
    )


# -------------------------------------------------------------------- right and wrong


@pytest.mark.parametrize(
    "system",
    [kubo_dephasing(), noisy_exchange(), decaying_qubit(), driven_qubit(1.0, 0.8)],
    ids=["noise", "complex noise", "decay", "driven"],
)
def test_right_passes_and_every_wrong_rate_fails(system):
    ensemble = simulate(system.model, TIMES, n_traj=10_000, seed=4)
    verdict = verify(ensemble, system.reference(TIMES), alpha=ALPHA)
    assert verdict.status == "pass", verdict.explain()
    assert verdict.p_value > ALPHA
    assert verdict.explain().startswith("PASS")
    for name in system.model.rate_names:
        for factor in (0, 0.5, 2):
            mutant = master_equation(system.model.with_rate(name, factor), TIMES)
            wrong = verify(ensemble, mutant, alpha=ALPHA)
            assert wrong.status == "fail", (name, factor)
            assert wrong.p_value < ALPHA
            assert wrong.reasons == ()


def test_a_frozen_state_fails():
    frozen = replace(kubo_dephasing().model, hamiltonian=None, noise=())
    ensemble = simulate(frozen, TIMES, n_traj=1000, seed=1)
    assert verify(ensemble, kubo_dephasing().reference(TIMES)).status == "fail"


@pytest.mark.parametrize("error", [-0.02, 0.02])
def test_a_rate_two_percent_off_fails_and_is_named(error):
    system = kubo_dephasing()
    mutant = system.model.with_rate("phase", 1 + error)
    ensemble = simulate(mutant, TIMES, n_traj=1_000_000, seed=5)
    verdict = verify(ensemble, master_equation(system.model, TIMES), alpha=ALPHA)
    assert verdict.status == "fail", verdict.explain()
    assert verdict.where == "rate 'phase'"
    estimate, spread = verdict.rate_error["phase"]
    assert abs(estimate - error) < 5 * spread
    assert spread < 0.2 * abs(error)
    assert verdict.detectable_rate["phase"] < abs(error)
    right = verify(ensemble, master_equation(mutant, TIMES), alpha=ALPHA)
    assert right.status == "pass", right.explain()


def test_a_wrong_rate_shows_in_its_own_score():
    model = replace(
        driven_qubit(1.0, 0.8).model, noise=WhiteNoise(SZ, rate=0.3, name="phase")
    )
    ensemble = simulate(model, TIMES, n_traj=50_000, seed=3)
    for name, other in (("decay", "phase"), ("phase", "decay")):
        mutant = master_equation(model.with_rate(name, 1.3), TIMES)
        verdict = verify(ensemble, mutant, alpha=ALPHA)
        assert verdict.status == "fail"
        off = {k: abs(e / s) for k, (e, s) in verdict.rate_error.items()}
        assert off[name] > 5
        assert set(off) == {name, other}


# ------------------------------------------------------------- what cannot fluctuate


def test_conserved_quantities_are_compared_to_rounding():
    system = noisy_exchange()
    ensemble = simulate(system.model, TIMES, n_traj=2000, seed=1, scheme=Strang(0.1))
    right = system.reference(TIMES)
    assert verify(ensemble, right, alpha=ALPHA).status == "pass"
    values = right.values.copy()
    values[2, 4] += 1e-7
    tiny = Reference(TIMES, right.names, values)
    verdict = verify(ensemble, tiny, alpha=ALPHA)
    assert verdict.status == "fail"
    assert verdict.p_value == 0
    assert verdict.where == "'n' at t = 1, which no trajectory can change"
    # the same shift where trajectories fluctuate is nothing
    values = right.values.copy()
    values[0, 4] += 1e-7
    shifted = Reference(TIMES, right.names, values)
    assert verify(ensemble, shifted, alpha=ALPHA).status == "pass"


def test_the_initial_value_is_compared_to_rounding():
    system = kubo_dephasing()
    ensemble = simulate(system.model, TIMES, n_traj=500, seed=1)
    values = system.reference(TIMES).values.copy()
    values[0, 0] += 1e-6
    wrong = Reference(TIMES, system.reference(TIMES).names, values)
    assert verify(ensemble, wrong, alpha=ALPHA).status == "fail"


def test_a_missing_channel_that_leaves_nothing_random_fails():
    """With its only channel missing, the ensemble has no spread at all."""
    model = decaying_qubit().model
    ensemble = simulate(model.with_rate("decay", 0), TIMES, n_traj=500, seed=1)
    reference = master_equation(model.with_rate("decay", 1e-4), TIMES)
    assert verify(ensemble, reference, alpha=ALPHA).status == "fail"


def test_deterministic_flags_are_only_for_what_cannot_change():
    model = replace(dephased_rabi(), observables={"z": SZ, "x": SX, "one": np.eye(2)})
    ensemble = simulate(model, TIMES, n_traj=64, seed=1, scheme=Strang(0.1))
    assert ensemble.deterministic[:, 0].all()
    assert not ensemble.deterministic[:2, 1:].any()
    assert ensemble.deterministic[2].all()
    # noise along x conserves x only where H does too
    along = replace(model, noise=WhiteNoise(SX, rate=0.3))
    ensemble = simulate(along, TIMES, n_traj=64, seed=1, scheme=Strang(0.1))
    assert ensemble.deterministic[1].all()
    assert not ensemble.deterministic[0, 1:].any()
    # jumps change even what commutes with them, unless the start is an eigenstate
    jumps = replace(
        model, hamiltonian=None, noise=(), dissipators=Dissipator(SZ + 1.5 * np.eye(2))
    )
    for start, fixed in (([0.6, 0.8], False), ([1, 0], True)):
        ensemble = simulate(replace(jumps, initial=start), TIMES, n_traj=64, seed=1)
        assert ensemble.deterministic[0, 1:].all() == fixed
        assert (ensemble.sd[0, 1:] < 1e-12).all() == fixed


# ----------------------------------------------------------------------- inconclusive


def test_too_few_trajectories_are_inconclusive_and_the_remedy_works():
    system = kubo_dephasing()
    reference = system.reference(TIMES)
    few = verify(
        simulate(system.model, TIMES, n_traj=200, seed=1), reference, resolution=0.05
    )
    assert few.status == "inconclusive"
    assert few.detectable_shift > 0.05
    (reason,) = few.reasons
    assert "trajectories would resolve 5 %" in reason
    assert "INCONCLUSIVE" in few.explain()
    needed = float(reason.split("about ")[1].split(" ")[0])
    assert 200 < needed < 1e6
    many = simulate(system.model, TIMES, n_traj=int(needed), seed=1)
    assert verify(many, reference, resolution=0.05).status == "pass"


def test_less_than_a_hundred_trajectories_never_pass():
    model = noisy_exchange().model
    times = np.array([0, 1.0])
    ensemble = simulate(model, times, n_traj=99, seed=1, scheme=Strang(0.5))
    verdict = verify(ensemble, master_equation(model, times), resolution=0.99)
    assert verdict.status == "inconclusive"
    assert any("fewer than 100 trajectories" in reason for reason in verdict.reasons)
    wrong = master_equation(model.with_rate("exchange", 0), times)
    assert verify(ensemble, wrong).status == "fail"


def test_a_detectable_shift_is_detected():
    """A shift of exactly the stated size is caught in nearly all of 20 ensembles."""
    system = kubo_dephasing()
    right = system.reference(TIMES)
    caught = []
    for seed in range(20):
        ensemble = simulate(system.model, TIMES, n_traj=500, seed=seed)
        size = verify(ensemble, right).detectable_shift
        values = right.values.copy()
        scale = max(np.abs(right.values[0]).max(), ensemble.sd[0].max())
        values[0, 1:] += size * scale
        shifted = Reference(TIMES, right.names, values)
        caught.append(verify(ensemble, shifted).status == "fail")
    # at 99 % power, fewer than 16 of 20 has the probability 1e-6
    assert sum(caught) >= 16


# ------------------------------------------------------------------- false alarms


def test_rare_jumps_do_not_cause_false_alarms():
    """Half a percent of trajectories jump: in 100, often one or none is seen."""
    model = replace(decaying_qubit(0.0025).model, initial=UP)
    statuses = []
    reference = master_equation(model, SHORT)
    for seed in range(40):
        for n_traj in (100, 400):
            ensemble = simulate(model, SHORT, n_traj=n_traj, seed=seed)
            statuses.append(verify(ensemble, reference, alpha=1e-3).status)
    assert "fail" not in statuses
    mutant = master_equation(model.with_rate("decay", 30), SHORT)
    assert verify(simulate(model, SHORT, n_traj=400, seed=0), mutant).status == "fail"


def test_rare_members_of_a_mixture_do_not_cause_false_alarms():
    model = Model(
        hamiltonian=0.3 * SX,
        initial=[(0.995, [1, 0]), (0.005, [0, 1])],
        observables={"z": SZ},
    )
    reference = master_equation(model, TIMES)
    for seed in range(40):
        ensemble = simulate(model, TIMES, n_traj=150, seed=seed)
        verdict = verify(ensemble, reference, alpha=1e-3)
        assert verdict.status != "fail", verdict.explain()


def p_values(model, seeds, n_traj, **how):
    reference = master_equation(model, SHORT)
    found = []
    for seed in seeds:
        ensemble = simulate(model, SHORT, n_traj=n_traj, seed=seed, **how)
        found.append(verify(ensemble, reference).p_value)
    return np.array(found)


@pytest.mark.parametrize(
    ("model", "seeds"),
    [
        (kubo_dephasing().model, 30),
        (decaying_qubit().model, 30),
        pytest.param(kubo_dephasing().model, 500, marks=pytest.mark.slow),
        pytest.param(decaying_qubit().model, 500, marks=pytest.mark.slow),
    ],
    ids=["noise", "jumps", "noise, 500 seeds", "jumps, 500 seeds"],
)
def test_p_values_are_not_too_small_under_the_truth(model, seeds):
    """Allowances for bias and for unseen events make them larger, never smaller."""
    found = p_values(model, range(seeds), 256)
    one_sided = stats.kstest(found, "uniform", alternative="greater").pvalue
    assert one_sided > 1e-3
    # nor useless: they fill most of the interval
    assert found.min() < 0.2
    assert np.median(found) < 0.8
    mutant = model.with_rate(model.rate_names[0], 1.5)
    reference = master_equation(mutant, SHORT)
    wrong = [
        verify(simulate(model, SHORT, n_traj=1000, seed=s), reference).p_value
        for s in range(10)
    ]
    assert stats.kstest(wrong, "uniform", alternative="greater").pvalue < 1e-3


# ------------------------------------------------------------------------- maximum


def test_the_tail_of_one_variable_and_of_equal_ones_is_normal():
    for copies in (1, 7):
        law = MaxLaw(np.ones((1, copies)))
        for u in (0.5, 2.0, 5.0, 12.0):
            assert law.tail(u) == pytest.approx(2 * stats.norm.sf(u), rel=1e-9)


@pytest.mark.parametrize("points", [2, 20, 200])
def test_the_tail_of_independent_variables_is_a_product(points):
    law = MaxLaw(np.eye(points))
    for u in (1.0, 3.0, 5.0, 8.0):
        exact = -np.expm1(points * np.log1p(-2 * stats.norm.sf(u)))
        assert law.tail(u) == pytest.approx(exact, rel=0.05)


def test_the_tail_of_correlated_variables_is_that_of_a_simulation():
    rng = np.random.default_rng(3)
    walk = np.tril(np.ones((30, 30))) / np.sqrt(np.arange(1, 31))[:, None]
    law = MaxLaw(walk.T)
    sample = np.abs(rng.standard_normal((400_000, 30)) @ walk.T).max(axis=1)
    for u in (2.0, 3.0, 4.0):
        count = int((sample > u).sum())
        spread = 5 / np.sqrt(count) + 0.1
        assert law.tail(u) == pytest.approx(count / sample.size, rel=spread)
        independent = MaxLaw(np.eye(30)).tail(u)
        assert abs(independent / law.tail(u) - 1) > spread


def test_the_quantile_inverts_the_tail():
    law = MaxLaw(np.eye(25))
    for alpha in (0.05, 1e-3, 1e-9):
        u = law.quantile(alpha)
        assert law.tail(u) == pytest.approx(alpha, rel=1e-6)
    # where p is close to 1 the draws of the conditional law leave a percent of noise
    grid = [law.tail(u) for u in np.linspace(2.5, 10, 76)]
    assert np.all(np.diff(grid) < 0)
    assert law.tail(-1.0) == law.tail(0.0) == 1.0


# ---------------------------------------------------------------------------- bias


@pytest.mark.parametrize(
    "scheme", [EulerMaruyama(0.1), Heun(0.1), Strang(0.5)], ids=["EM", "Heun", "Strang"]
)
def test_step_bias_is_allowed_for(scheme):
    model = dephased_rabi()
    reference = master_equation(model, TIMES)
    ensemble = simulate(model, TIMES, n_traj=200_000, seed=7, scheme=scheme)
    verdict = verify(ensemble, reference, alpha=ALPHA, resolution=0.3)
    assert verdict.status == "pass", verdict.explain()
    assert verdict.bias > 3
    strict = verify(ensemble, reference, alpha=ALPHA, resolution=0.3, bias=0)
    assert strict.status == "fail", strict.explain()
    bias = exact_step_bias(ensemble.dynamics, TIMES, scheme)
    assert np.array_equal(verdict.step_bias, bias)
    bounded = verify(ensemble, reference, alpha=ALPHA, resolution=0.3, bias=1.1 * bias)
    assert bounded.status == "pass", bounded.explain()
    # a bound is open on both sides, so that more could hide behind it
    assert bounded.detectable_shift > verdict.detectable_shift


def test_a_coarse_step_is_inconclusive_with_its_remedy():
    model = dephased_rabi()
    ensemble = simulate(model, TIMES, n_traj=20_000, seed=7, scheme=EulerMaruyama(0.1))
    bias = exact_step_bias(ensemble.dynamics, TIMES, ensemble.scheme)
    reference = master_equation(model, TIMES)
    verdict = verify(ensemble, reference, resolution=0.02, bias=bias)
    assert verdict.status == "inconclusive"
    assert "use dt <= " in verdict.reasons[-1]


@pytest.mark.parametrize(
    "scheme", [EulerMaruyama(0.02), Heun(0.02)], ids=["EM", "Heun"]
)
def test_output_at_every_step_passes(scheme):
    """After one step y is still the same on every path, and wrong by O(dt^2)."""
    model, times = dephased_rabi(), np.linspace(0, 1, 51)
    ensemble = simulate(model, times, n_traj=2000, seed=7, scheme=scheme)
    reference = master_equation(model, times)
    verdict = verify(ensemble, reference, alpha=ALPHA, resolution=0.3)
    assert verdict.status == "pass", verdict.explain()
    mutant = master_equation(model.with_rate("phase", 2), times)
    assert verify(ensemble, mutant, alpha=ALPHA).status == "fail"


def test_an_overflow_is_not_a_pass():
    """Euler-Maruyama at |H| dt = 500 overflows: nothing was confirmed."""
    model = Model(
        hamiltonian=1e3 * SX,
        noise=WhiteNoise(SZ, rate=1.0, name="phase"),
        initial=[1, 0],
        observables={"z": SZ},
    )
    times = np.linspace(0, 200, 5)
    with pytest.warns(FailureWarning, match="200 of 200 trajectories"):
        ensemble = simulate(model, times, n_traj=200, seed=1, scheme=EulerMaruyama(0.5))
    with np.errstate(all="ignore"):
        assert not np.isfinite(ensemble.mean).all()
        try:
            status = verify(ensemble, master_equation(model, times)).status
        except ValueError as error:
            status = str(error)
    assert status != "pass"
    assert status == "fail" or "must" in status


# ----------------------------------------------------------------- parts and errors


def test_a_reference_may_cover_a_part():
    model = dephased_rabi()
    ensemble = simulate(model, TIMES, n_traj=5000, seed=2)
    full = master_equation(model, TIMES)
    part = Reference(TIMES[[2, 7]], ["y", "z"], full.values[[1, 0]][:, [2, 7]])
    verdict = verify(ensemble, part, alpha=ALPHA)
    assert verdict.status == "pass"
    assert verdict.names == ("y", "z")
    assert np.array_equal(verdict.times, TIMES[[2, 7]])
    error = ensemble.mcse[1, 2]
    bias = exact_step_bias(ensemble.dynamics, TIMES, ensemble.scheme)[1, 2]
    expected = (ensemble.mean[1, 2] - bias - full.values[1, 2]) / error
    # the deviate is corrected for skewness
    assert verdict.z[0, 0] == pytest.approx(expected, rel=0.02)
    swapped = Reference(TIMES[[2, 7]], ["z", "y"], part.values)
    assert verify(ensemble, swapped, alpha=ALPHA).status == "fail"


ERRORS = {
    "observable": ({"names": ["nonsense"]}, {}, "must be about observables among"),
    "time": ({"times": [0.1]}, {}, "`reference` must have times that the ensemble has"),
    "alpha": ({}, {"alpha": 0}, "`alpha` must be between 0 and 1"),
    "alpha NaN": ({}, {"alpha": np.nan}, "`alpha` must be between 0 and 1"),
    "resolution": ({}, {"resolution": 1.5}, "`resolution` must be between 0 and 1"),
    "bias shape": ({}, {"bias": np.zeros((2, 2))}, "`bias` must be a number or have"),
    "bias NaN": ({}, {"bias": np.nan}, "`bias` must be finite"),
}


@pytest.mark.parametrize("case", ERRORS, ids=list(ERRORS))
def test_wrong_arguments_are_refused(case):
    changes, arguments, message = ERRORS[case]
    ensemble = simulate(dephased_rabi(), TIMES, n_traj=128, seed=1, scheme=Strang(0.2))
    parts = {"times": [0.0], "names": ["z"], "values": [[1.0]]} | changes
    with pytest.raises(ModelError, match=message):
        verify(ensemble, Reference(**parts), **arguments)


def test_detectable_rates_are_those_of_the_model():
    model = replace(dephased_rabi(), dissipators=Dissipator(LOWER, 0.2, name="decay"))
    ensemble = simulate(model, TIMES, n_traj=2000, seed=1)
    verdict = verify(ensemble, master_equation(model, TIMES))
    assert set(verdict.detectable_rate) == {"phase", "decay"}
    assert all(0 < size < 2 for size in verdict.detectable_rate.values())
    more = simulate(model, TIMES, n_traj=32_000, seed=1)
    finer = verify(more, master_equation(model, TIMES))
    for name, size in verdict.detectable_rate.items():
        assert finer.detectable_rate[name] == pytest.approx(size / 4, rel=0.5)


def test_what_vanishes_in_every_state_passes():
    # no current flows on a full lattice, whatever jumps there
    hopping = np.diag([1.0, 1.0], 1)
    current = np.zeros((3, 3), dtype=complex)
    current[0, 1], current[1, 0] = 1j, -1j
    model = Model(
        hamiltonian=hopping + hopping.T,
        dissipators=Dissipator(np.diag([1.0, 0, 0]), name="a"),
        initial=Orbitals(np.eye(3)),
        observables={"current": current},
    )
    run = simulate(model, [0, 1, 2], n_traj=500, seed=1, unraveling={"a": Jump()})
    verdict = verify(run, correlation_equation(model, [0, 1, 2]))
    assert verdict.status == "pass", verdict.explain()
    assert verdict.detectable_shift < 1e-8
    assert not verdict.detectable_rate  # which it says nothing about
