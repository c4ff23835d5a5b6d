"""What verdicts weigh: deviates, families of tests, dependence, remedies."""

from dataclasses import replace

import numpy as np
import pytest
from analytic import SX, SY, SZ, decaying_qubit, kubo_dephasing
from scipy import stats

from stochq.channels import Dissipator, WhiteNoise
from stochq.documents import collective_spin
from stochq.errors import ModelError
from stochq.evidence.deviates import (
    from_events,
    from_student,
    missable_events,
    surely_caught,
    without_skewness,
)
from stochq.evidence.family import holm_adjusted, holm_level
from stochq.evidence.independence import lag_of_repetition, scatter_of_batches
from stochq.evidence.maxima import IndependentLaw, MaxLaw
from stochq.model import Model
from stochq.references import Reference, master_equation
from stochq.schemes import EulerMaruyama
from stochq.simulation import simulate
from stochq.verification import verify, verify_together

TIMES = np.linspace(0, 2, 9)

# ------------------------------------------------------------------------- deviates


def test_students_law_is_that_of_few_samples():
    for t, freedom in ((2.0, 5), (-3.0, 100), (4.0, 255)):
        z = float(from_student(t, freedom))
        assert stats.norm.sf(abs(z)) == pytest.approx(stats.t.sf(abs(t), freedom))
        assert np.sign(z) == np.sign(t)
    assert from_student(0.0, 10) == 0
    assert np.isfinite(from_student(1e6, 10**6))


@pytest.mark.parametrize(("seen", "expected"), [(100, 150), (100, 64), (49, 80)])
def test_skewness_is_taken_out_of_counts(seen, expected):
    """A count of k has the standard error sqrt(k) and the skewness 1 / sqrt(k)."""
    t = (seen - expected) / np.sqrt(seen)
    law = stats.poisson(expected)
    exact = (
        stats.norm.ppf(law.cdf(seen))
        if seen < expected
        else stats.norm.isf(law.sf(seen - 1))
    )
    found = float(without_skewness(t, 1 / np.sqrt(seen)))
    assert abs(found - exact) < 0.15
    # a normal law with the counted error would be far off
    assert abs(t - exact) > 0.4


def test_means_of_skewed_numbers_become_normal():
    """Means of 200 exponential numbers: Student's law alone raises false alarms."""
    rng = np.random.default_rng(4)
    count = 200
    samples = rng.exponential(size=(50_000, count))
    deviations = samples - samples.mean(axis=1, keepdims=True)
    m2, m3 = (deviations**2).sum(axis=1), (deviations**3).sum(axis=1)
    t = (samples.mean(axis=1) - 1) / np.sqrt(m2 / (count - 1) / count)
    plain = from_student(t, count - 1)
    corrected = without_skewness(plain, m3 / m2**1.5)
    spread = 4 * np.sqrt(1e-3 / 50_000)
    for tail in (corrected < stats.norm.ppf(1e-3), corrected > stats.norm.isf(1e-3)):
        assert abs(tail.mean() - 1e-3) < spread
    assert (plain < stats.norm.ppf(1e-3)).mean() - 1e-3 > 3 * spread
    assert 1e-3 - (plain > stats.norm.isf(1e-3)).mean() > spread


def test_missing_events_have_poisson_tails():
    for seen, missing in ((0, 7.0), (3, 12.0), (40, 30.0)):
        z = float(from_events(seen, missing))
        assert stats.norm.sf(z) == pytest.approx(
            stats.poisson(seen + missing).cdf(seen), rel=1e-9
        )
        # what is missed beyond that is caught for sure
        found = float(missable_events(np.array([seen]), 4.0)[0])
        reach = 4.0 + stats.norm.ppf(0.99)
        assert from_events(seen, found) == pytest.approx(reach, abs=1e-6)
    assert from_events(5, 0.0) == 0
    assert np.isfinite(from_events(0, 1e6))


def test_what_is_surely_caught_is_caught_in_99_of_100():
    rng = np.random.default_rng(1)
    size, critical = 40, 3.0
    shift = surely_caught(critical, size - 1) / np.sqrt(size)
    samples = rng.standard_normal((20_000, size)) + shift
    t = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / np.sqrt(size))
    caught = (from_student(t, size - 1) > critical).mean()
    # its own spread makes the statistic a little wider than normal
    assert 0.96 < caught < 0.995


# ------------------------------------------------------------------------- families


def test_holm_is_what_stepping_down_by_hand_gives():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm_adjusted(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted([0.5, float("nan")]) == pytest.approx([1.0, 1.0])


def test_the_level_separates_what_holm_rejects_from_the_rest():
    rng = np.random.default_rng(2)
    for _ in range(200):
        p = rng.random(rng.integers(1, 9)) ** rng.integers(1, 6)
        level = holm_level(p, 0.05)
        rejected = holm_adjusted(p) < 0.05
        if not rejected.all():
            assert np.array_equal(p < level, rejected)


def test_holm_keeps_the_level_and_one_level_for_each_does_not():
    rng = np.random.default_rng(3)
    p = rng.random((20_000, 6))
    alarms = np.mean([holm_adjusted(row).min() < 0.05 for row in p])
    assert alarms < 0.05 + 5 * np.sqrt(0.05 / 20_000)
    assert (p.min(axis=1) < 0.05).mean() > 0.2


def test_independence_bounds_any_correlation():
    rng = np.random.default_rng(5)
    factor = rng.standard_normal((300, 12)) + 2 * rng.standard_normal((300, 1))
    factor /= np.linalg.norm(factor, axis=0)
    for u in (2.0, 4.0, 6.0):
        assert IndependentLaw(12).tail(u) >= MaxLaw(factor).tail(u)
        exact = MaxLaw(np.eye(12)).tail(u)
        assert IndependentLaw(12).tail(u) == pytest.approx(exact, rel=0.05)
    law = IndependentLaw(12)
    assert law.tail(law.quantile(1e-4)) == pytest.approx(1e-4, rel=1e-6)


def test_verdicts_together_share_one_level():
    system = kubo_dephasing()
    ensemble = simulate(system.model, TIMES, n_traj=4000, seed=2)
    right = system.reference(TIMES)
    wrong = master_equation(system.model.with_rate("phase", 2), TIMES)
    pairs = [(ensemble, right), (ensemble, wrong), (ensemble, right)]
    found = verify_together(pairs, alpha=1e-2)
    assert [v.status for v in found] == ["pass", "fail", "pass"]
    assert {v.alpha for v in found} == {1e-2 / 2}
    assert verify_together([]) == []


# --------------------------------------------------------------------- independence


def test_independent_series_do_not_repeat():
    rng = np.random.default_rng(6)
    for series in (
        rng.standard_normal((512, 3)),
        rng.exponential(size=(256, 2)) ** 2,
        (rng.random((512, 3)) < 0.02).astype(float),
    ):
        assert lag_of_repetition(series) is None


def test_series_that_repeat_are_found_with_their_lag():
    rng = np.random.default_rng(7)
    half = rng.standard_normal((256, 2))
    assert lag_of_repetition(np.concatenate([half, half])) == 256
    assert lag_of_repetition(np.tile(half[:64], (8, 1))) % 64 == 0
    assert lag_of_repetition(half[:60]) is None  # too few to tell


def test_neighbors_that_repeat_scatter_too_much():
    rng = np.random.default_rng(8)
    samples = rng.standard_normal((512, 8, 1))
    scatter, limit = scatter_of_batches(samples.mean(axis=1), 8)
    assert scatter[0] < limit[0] < 2
    twice = np.repeat(samples[:, :4], 2, axis=1)
    scatter, limit = scatter_of_batches(twice.mean(axis=1), 8)
    assert scatter[0] > limit[0]


def doubled(ensemble, blocks):
    """Return an ensemble that counts its trajectories `blocks` times."""
    moments, statistics = ensemble.moments, ensemble.statistics
    more = moments
    for _ in range(blocks - 1):
        more = more.merge(moments)
    batches = np.concatenate([statistics.batches] * blocks)
    return replace(
        ensemble, statistics=replace(statistics, moments=more, batches=batches)
    )


@pytest.mark.parametrize("system", [kubo_dephasing(), decaying_qubit()])
def test_repeated_trajectories_fail_and_the_reason_is_named(system):
    ensemble = simulate(system.model, TIMES, n_traj=8000, seed=3)
    reference = system.reference(TIMES)
    assert verify(ensemble, reference).status == "pass"
    verdict = verify(doubled(ensemble, 2), reference)
    assert verdict.status == "fail"
    assert "repeat themselves after 8000" in verdict.explain()


# ------------------------------------------------------- references that were sampled


def test_a_sampled_reference_is_given_its_own_error():
    """Curves with noise of known size are judged with it."""
    model = Model(
        hamiltonian=0.4 * SX,
        noise=WhiteNoise(SZ, rate=0.3, name="phase"),
        initial=[1, 0],
        observables={"x": SX, "y": SY, "z": SZ},
    )
    other = simulate(model, TIMES, n_traj=500, seed=11)
    ensemble = simulate(model, TIMES, n_traj=20_000, seed=12)
    sampled = Reference(TIMES, other.names, other.mean, mcse=other.mcse)
    verdict = verify(ensemble, sampled, resolution=0.3)
    assert verdict.status == "pass", verdict.explain()
    assert verdict.error[2, 3] == pytest.approx(
        np.hypot(ensemble.mcse[2, 3], other.mcse[2, 3])
    )
    blind = Reference(TIMES, other.names, other.mean)
    assert verify(ensemble, blind, resolution=0.3).p_value < verdict.p_value
    mutant = simulate(model.with_rate("phase", 3), TIMES, n_traj=500, seed=11)
    wrong = Reference(TIMES, other.names, mutant.mean, mcse=mutant.mcse)
    assert verify(ensemble, wrong, resolution=0.3).status == "fail"
    # no number of trajectories mends the reference
    strict = verify(ensemble, sampled, resolution=0.01)
    assert strict.status == "inconclusive"
    assert strict.n_needed is None


@pytest.mark.parametrize(
    "mcse", [np.full((1, 9), -1.0), np.full((1, 9), np.nan), np.zeros(3)]
)
def test_errors_of_a_reference_must_be_errors(mcse):
    with pytest.raises(ModelError, match="`mcse` must"):
        Reference(TIMES, ["z"], np.zeros((1, 9)), mcse=mcse)


# -------------------------------------------------------------------------- remedies


def test_the_number_of_trajectories_that_is_named_decides():
    system = decaying_qubit()
    few = simulate(system.model, TIMES, n_traj=200, seed=4)
    verdict = verify(few, system.reference(TIMES), resolution=0.05)
    assert verdict.status == "inconclusive"
    needed = verdict.n_needed
    assert f"about {needed} trajectories" in verdict.reasons[-1]
    for seed in range(4, 10):
        for n_traj, status in ((needed // 2, "inconclusive"), (needed, "pass")):
            more = simulate(system.model, TIMES, n_traj=n_traj, seed=seed)
            found = verify(more, system.reference(TIMES), resolution=0.05)
            assert found.status == status, found.explain()


def test_rare_jumps_are_named_and_their_remedy_decides():
    model = Model(
        hamiltonian=0.5 * SZ,
        dissipators=Dissipator([[0, 0], [1, 0]], 0.004, name="leak"),
        initial=[1, 0],
        observables={"z": SZ},
    )
    reference = master_equation(model, TIMES)
    verdict = verify(simulate(model, TIMES, n_traj=300, seed=5), reference)
    assert verdict.status == "inconclusive"
    assert "'leak' came up" in verdict.reasons[-1]
    many = simulate(model, TIMES, n_traj=verdict.n_needed, seed=5)
    assert verify(many, reference).status == "pass"
    half = master_equation(model.with_rate("leak", 0.5), TIMES)
    assert verify(many, half).status == "fail"


def test_the_step_that_is_named_decides():
    model = Model(
        hamiltonian=0.7 * SX,
        noise=WhiteNoise(SZ, rate=0.4, name="phase"),
        initial=[1, 0],
        observables={"z": SZ, "y": SY},
    )
    reference = master_equation(model, TIMES)
    coarse = simulate(model, TIMES, n_traj=40_000, seed=6, scheme=EulerMaruyama(0.125))
    verdict = verify(coarse, reference, resolution=0.04)
    assert verdict.status == "inconclusive"
    assert verdict.n_needed is None
    assert f"use dt <= {verdict.dt_needed:.2g}" in verdict.reasons[-1]
    fine = EulerMaruyama(verdict.dt_needed)
    found = verify(
        simulate(model, TIMES, n_traj=40_000, seed=6, scheme=fine),
        reference,
        resolution=0.04,
    )
    assert found.status == "pass", found.explain()


# ------------------------------------------------------------------------ heavy tails


def test_a_tail_that_the_sample_does_not_show_does_not_fail():
    """A spin that is pumped up: late, few laggards carry what is left of its mean.

    Their distances from the end have a tail much longer than any sample shows, while
    hundreds of jumps have been seen.
    """
    model = collective_spin(20)
    late = np.linspace(0, 12, 13)
    reference = master_equation(model, late)
    for seed in range(25):
        verdict = verify(simulate(model, late, n_traj=1024, seed=seed), reference)
        assert verdict.status != "fail", verdict.explain()
    wrong = master_equation(model.with_rate("collective", 1.5), late)
    assert verify(simulate(model, late, n_traj=1024, seed=0), wrong).status == "fail"


@pytest.mark.parametrize("n_traj", [128, 512])
def test_a_fidelity_of_many_levels_does_not_fail(n_traj):
    """A narrow peak that noise reaches seldom: what was not seen is not known."""
    levels = np.arange(24)
    target = np.exp(-3j * levels) / np.sqrt(24)
    model = Model(
        noise=WhiteNoise(np.diag(levels.astype(float)), rate=0.7, name="phase"),
        initial=np.ones(24) / np.sqrt(24),
        observables={"fidelity": np.outer(target, target.conj())},
    )
    times = np.linspace(0, 2, 9)
    reference = master_equation(model, times)
    for seed in range(20):
        ensemble = simulate(model, times, n_traj=n_traj, seed=seed)
        verdict = verify(ensemble, reference, alpha=1e-3)
        assert verdict.status == "inconclusive", verdict.explain()
    many = simulate(model, times, n_traj=verdict.n_needed, seed=1)
    assert verify(many, reference).status == "pass"
    wrong = master_equation(model.with_rate("phase", 1.3), times)
    assert verify(many, wrong).status == "fail"


def test_rounding_is_no_fluctuation_of_a_function():
    """No trajectory has jumped: what a jump would do is not known."""
    ladder = np.zeros((3, 3))
    ladder[2, 0] = 1.0
    model = Model(
        hamiltonian=0.5 * np.diag([1.0, 0.3], 1) + 0.5 * np.diag([1.0, 0.3], -1),
        dissipators=Dissipator(ladder, 1e-4, name="leak"),
        initial=[1, 0, 0],
        observables={"n": np.diag([0, 1.0, 0])},
    )

    def weighed(states):
        return np.abs(states[:, 1]) ** 2 + 1e4 * np.abs(states[:, 2]) ** 2

    times = np.linspace(0, 2, 5)
    for seed in range(5):
        ensemble = simulate(
            model, times, n_traj=128, seed=seed, functions={"f": weighed}
        )
        row = ensemble.names.index("f")
        seen = Reference(times, ["f"], ensemble.mean[[row]])
        shifted = Reference(times, ["f"], ensemble.mean[[row]] + 5.0 * times / 2)
        assert verify(ensemble, seen).status == "inconclusive"
        assert verify(ensemble, shifted).status == "inconclusive"


@pytest.mark.parametrize("count", [375, 256, 313])
def test_a_second_worker_with_the_same_seed_is_found(count):
    rng = np.random.default_rng(9)
    own = rng.standard_normal((count // 2 + 1, 2))
    found = lag_of_repetition(np.concatenate([own, own])[:count])
    assert found == count // 2 + 1
