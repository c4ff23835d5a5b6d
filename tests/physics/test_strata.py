"""Stratified ensembles: the same means, with less to sample."""

import numpy as np
import pytest

from stochq import (
    Dissipator,
    Homodyne,
    Model,
    Occupations,
    Sampled,
    SchemeMismatchError,
    WhiteNoise,
    master_equation,
    simulate,
    verify,
)
from stochq.lowering import lower
from stochq.strata import no_jump_branch, strata_of

TIMES = np.linspace(0.0, 1.0, 6)
LOWERING = np.array([[0.0, 1.0], [0.0, 0.0]])
ALPHA = 1e-4


def rare(rate=0.005, **changes):
    """An atom that decays with a probability of half a percent."""
    parts = {
        "hamiltonian": 0.3 * np.array([[0, 1], [1, 0]]),
        "dissipators": Dissipator(LOWERING, rate, name="decay"),
        "initial": [0, 1],
        "observables": {"n": np.diag([0.0, 1.0]), "y": [[0, -1j], [1j, 0]]},
    }
    return Model(**(parts | changes))


MIXTURE = [(0.7, [0, 1]), (0.25, [1, 0]), (0.05, [0.6, 0.8])]


def test_the_branch_without_jumps_is_exact():
    # without a Hamiltonian: p = exp(-g T), and the state stays as it is
    model = rare(0.4, hamiltonian=None)
    stays, values = no_jump_branch(lower(model), TIMES)
    assert abs(stays[0] - np.exp(-0.4)) < 1e-13
    assert np.abs(values[0, 0] - 1).max() < 1e-13
    # a strength f(t) = t: p = exp(-g T^3 / 3)
    driven = rare(hamiltonian=None, dissipators=_growing(0.4))
    stays, _ = no_jump_branch(lower(driven), TIMES)
    assert abs(stays[0] - np.exp(-0.4 / 3)) < 1e-11


def _growing(rate):
    return Dissipator(LOWERING, rate, name="decay", strength=lambda t: t)


@pytest.mark.parametrize("initial", [[0, 1], MIXTURE], ids=["ket", "mixture"])
@pytest.mark.parametrize("rate", [0.005, 0.5])
def test_means_are_right_and_errors_smaller(initial, rate):
    model = rare(rate, initial=initial)
    reference = master_equation(model, TIMES)
    split = simulate(model, TIMES, n_traj=2048, seed=5, stratified=True)
    plain = simulate(model, TIMES, n_traj=2048, seed=5)
    assert verify(split, reference, alpha=ALPHA, resolution=0.2).status == "pass"
    assert split.mcse[0, -1] < 0.7 * plain.mcse[0, -1]


def test_short_pulses_count():
    # a triangle of half width w as strength f: the rate is g f^2, in all 2 g w / 3
    w, g = 0.01, 100.0
    pulse = Sampled([0, 7 - w, 7, 7 + w, 10], [0, 0, 1, 0, 0], order=1)
    model = Model(
        dissipators=[
            Dissipator(LOWERING, g, name="pulse", strength=pulse),
            Dissipator(LOWERING, 0.05, name="always"),
        ],
        initial=[0, 1],
        observables={"n": np.diag([0.0, 1.0])},
    )
    times = [0.0, 3.0, 10.0]
    stays, _ = no_jump_branch(lower(model), np.array(times))
    assert abs(stays[0] - np.exp(-2 * g * w / 3 - 0.05 * 10)) < 1e-10
    run = simulate(model, times, n_traj=1024, seed=5, stratified=True)
    reference = master_equation(model, times)
    assert verify(run, reference, alpha=ALPHA, resolution=0.2).status == "pass"


def test_branches_that_are_gone_leave_no_trace():
    # exp(-n T) underflows for every member but the lowest ones
    levels = np.arange(20)
    weights = 0.6**levels / np.sum(0.6**levels)
    model = Model(
        dissipators=Dissipator(np.diag(np.sqrt(levels[1:]), 1), name="loss"),
        initial=np.diag(weights),
        observables={"n": np.diag(levels)},
    )
    times = np.linspace(0, 100, 5)
    run = simulate(model, times, n_traj=1024, seed=5, stratified=True)
    assert np.isfinite(run.mean).all()
    # small members share a stratum, which samples them
    assert abs(run.mean[0, 0] - weights @ levels) < 5 * run.mcse[0, 0]
    assert np.abs(run.mean[0, 1:]).max() < 1e-6


def test_rare_jumps_are_not_wasted():
    model = rare()
    split = simulate(model, TIMES, n_traj=1024, seed=5, stratified=True)
    plain = simulate(model, TIMES, n_traj=1024, seed=5)
    assert split.jumps[0, -1] >= 1024
    assert plain.jumps[0, -1] < 20
    assert split.mcse[0, -1] < 0.15 * plain.mcse[0, -1]


def test_a_wrong_rate_fails():
    model = rare(0.05)
    split = simulate(model, TIMES, n_traj=4096, seed=5, stratified=True)
    wrong = master_equation(model.with_rate("decay", 1.1), TIMES)
    assert verify(split, wrong, alpha=ALPHA).status == "fail"
    plain = simulate(model, TIMES, n_traj=4096, seed=5)
    assert verify(plain, wrong, alpha=ALPHA).status != "fail"  # it would need more


def test_errors_are_right_on_average():
    # rms of z over 64 seeds is 1 within 4 / sqrt(2 x 64)
    model = rare(0.5, initial=MIXTURE)
    exact = master_equation(model, TIMES).values[:, -1]
    z = []
    for seed in range(64):
        run = simulate(model, TIMES, n_traj=256, seed=seed, stratified=True)
        z.append((run.mean[:, -1] - exact) / run.mcse[:, -1])
    rms = np.sqrt(np.mean(np.square(z), axis=0))
    assert np.abs(rms - 1).max() < 4 / np.sqrt(128)


def test_members_get_their_share():
    dynamics = lower(rare(0.5, initial=MIXTURE))
    strata = strata_of(dynamics, TIMES, 8192)
    assert [s.initial.weights.size for s in strata] == [1, 1, 1]
    assert abs(sum(s.weight for s in strata) - 1) < 1e-14
    jumping = np.array([s.weight * s.factor for s in strata])
    share = np.array([s.n_traj for s in strata]) / 8192
    assert np.abs(share - jumping / jumping.sum()).max() < 1e-3
    few = strata_of(dynamics, TIMES, 200)  # the small ones share a stratum
    assert sorted(s.initial.weights.size for s in few) == [1, 2]


def test_noise_leaves_only_the_mixture_to_split():
    noisy = rare(0.5, initial=MIXTURE, noise=WhiteNoise(np.diag([0, 1.0]), rate=0.5))
    run = simulate(noisy, TIMES, n_traj=8192, seed=5, stratified=True)
    assert verify(run, master_equation(noisy, TIMES), alpha=ALPHA).status == "pass"
    plain = simulate(noisy, TIMES, n_traj=8192, seed=5)
    assert run.mcse[0, 1] < 0.6 * plain.mcse[0, 1]  # the mixture adds nothing
    assert all(s.factor == 1.0 for s in strata_of(lower(noisy), TIMES, 2048))


NOTHING = {
    "noise from one ket": (rare(noise=WhiteNoise(np.diag([0, 1.0]), rate=1.0)), {}),
    "monitored": (rare(), {"unraveling": {"decay": Homodyne()}}),
    "orbitals": (
        Model(
            noise=WhiteNoise(np.diag([1.0, 0]), rate=1.0),
            initial=Occupations([1, 0]),
            observables={"n": np.diag([1.0, 0])},
        ),
        {},
    ),
}


@pytest.mark.parametrize("case", NOTHING)
def test_nothing_to_split_is_refused(case):
    model, arguments = NOTHING[case]
    with pytest.raises(SchemeMismatchError, match="`stratified` must have a mixed"):
        simulate(model, TIMES, n_traj=64, seed=1, stratified=True, **arguments)


def test_nothing_to_sample_is_refused():
    still = rare(initial=[1, 0], hamiltonian=None)
    with pytest.raises(SchemeMismatchError, match="nothing ever jumps"):
        simulate(still, TIMES, n_traj=64, seed=1, stratified=True)


def test_results_do_not_depend_on_workers_and_batches():
    model = rare(0.5, initial=MIXTURE)
    one = simulate(model, TIMES, n_traj=1000, seed=5, stratified=True)
    two = simulate(
        model, TIMES, n_traj=1000, seed=5, stratified=True, n_jobs=2, batch=1
    )
    assert np.array_equal(one.mean, two.mean)
    assert np.array_equal(one.mcse, two.mcse)
    with pytest.raises(SchemeMismatchError, match="stratified"):
        one.trajectory(0)
