"""What simulate() gives beside means: covariances, functions, plans, refusals."""

import numpy as np
import pytest
from analytic import LOWER, SX, SZ

from stochq import (
    Bins,
    Dissipator,
    Exact,
    Model,
    Purity,
    Reference,
    ResourceError,
    SquaredModulus,
    Strang,
    Tolerance,
    WhiteNoise,
    master_equation,
    plan,
    simulate,
    verify,
)

TIMES = np.linspace(0, 2, 11)
GAMMA = 0.3
DEPHASED = Model(
    hamiltonian=0.5 * SZ,
    noise=WhiteNoise(SZ, rate=GAMMA, name="phase"),
    initial=np.array([1, 1]) / np.sqrt(2),
    observables={"x": SX, "z": SZ},
)
DECAYING = Model(
    hamiltonian=SX,
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=[1, 0],
    observables={"x": SX, "z": SZ},
)


def squared_x(gamma):
    """E <x>^2 = E cos^2(t + 2 W) with Var W = gamma t."""
    return 0.5 * (1 + np.cos(2 * TIMES) * np.exp(-8 * gamma * TIMES))


def as_curve(name, values):
    return Reference(TIMES, (name,), values[None])


def test_a_function_of_trajectories_is_averaged_and_judged_as_observables_are():
    functions = {"x2": SquaredModulus(SX), "purity": Purity()}
    ensemble = simulate(DEPHASED, TIMES, n_traj=4096, seed=1, functions=functions)
    assert ensemble.names == ("x", "z", "x2", "purity")
    assert verify(ensemble, master_equation(DEPHASED, TIMES)).status == "pass"
    assert verify(ensemble, as_curve("x2", squared_x(GAMMA))).status == "pass"
    for wrong in (0.5 * GAMMA, 2 * GAMMA, np.sqrt(GAMMA)):
        assert verify(ensemble, as_curve("x2", squared_x(wrong))).status == "fail"
    # the square of the mean is not the mean of the square
    square = ensemble.mean[0] ** 2
    assert verify(ensemble, as_curve("x2", square)).status == "fail"
    assert np.abs(ensemble.mean[3] - 1).max() < 1e-13


def test_the_step_bias_of_a_function_is_not_made_up():
    how = {"n_traj": 1024, "seed": 1, "scheme": Strang(0.1)}
    ensemble = simulate(DEPHASED, TIMES, functions={"x2": SquaredModulus(SX)}, **how)
    verdict = verify(ensemble, as_curve("x2", squared_x(GAMMA)))
    assert verdict.status == "inconclusive"
    assert "step bias" in verdict.reasons[0]
    curve = as_curve("x2", squared_x(GAMMA))
    assert verify(ensemble, curve, bias=1e-9).status == "pass"


@pytest.mark.parametrize("times", [TIMES, np.linspace(0, 2, 101)])
def test_covariances_are_those_of_the_trajectories(times):
    ensemble = simulate(DEPHASED, times, n_traj=500, seed=2)
    values = ensemble.batches.reshape(500, -1)  # of one trajectory each
    expected = np.cov(values.T).reshape(2, times.size, 2, times.size)
    assert ensemble.statistics.size == 1
    assert np.abs(ensemble.covariance() - expected).max() < 1e-14
    variance = np.einsum("otot->ot", ensemble.covariance())
    assert np.abs(variance - ensemble.sd**2).max() < 1e-14


def test_covariances_from_batches_agree_with_exact_ones():
    n, few = 16384, simulate(DEPHASED, TIMES, n_traj=16384, seed=3)
    exact = few.covariance()
    deviations = few.batches - few.batches.mean(axis=0)
    count = len(few.batches)
    flat = deviations.reshape(count, -1)
    estimate = (n / count) * flat.T @ flat / (count - 1)
    sd = few.sd.ravel()
    error = np.outer(sd, sd) * np.sqrt(2 / count)
    off = np.abs(estimate - exact.reshape(estimate.shape))
    assert (off <= 5 * error + 1e-14).all()
    assert not (off <= 0.01 * error + 1e-14).all()


def test_mean_states_give_the_means():
    ensemble = simulate(
        DECAYING, TIMES, n_traj=300, seed=4, states=True, histograms=Bins("z", n=16)
    )
    for row, observable in enumerate((SX, SZ)):
        found = np.einsum("tij,ji->t", ensemble.mean_state.matrix, observable).real
        assert np.abs(found - ensemble.mean[row]).max() < 1e-13
    (histogram,) = ensemble.histograms
    assert (histogram.counts.sum(axis=1) == 300).all()
    assert abs(histogram.quantile(0.5)[0] - 1) <= histogram.resolution


def test_a_plan_foretells_the_run():
    cost = plan(DECAYING, TIMES, tolerance=0.01, seed=5)
    ensemble = simulate(DECAYING, TIMES, tolerance=0.01, seed=5)
    assert cost.stopped_by == ensemble.stopped_by == "tolerance"
    assert 0.5 <= cost.n_traj / ensemble.n_traj <= 2
    assert 0.9 <= cost.mcse / ensemble.mcse.max() <= 1.1 * np.sqrt(2)
    assert cost.scheme == Exact()
    assert cost.fits
    both = plan(DECAYING, TIMES, tolerance=1e-4, n_traj=10**5, n_jobs=2)
    assert (both.n_traj, both.stopped_by, both.jobs) == (10**5, "n_traj", 2)
    timed = plan(DECAYING, TIMES, max_time=3600)
    assert timed.stopped_by == "max_time"
    assert 1800 <= timed.seconds <= 3600.1
    assert "trajectories" in repr(timed)


def test_what_does_not_fit_is_refused_before_work_starts():
    with pytest.raises(ResourceError, match=r"must fit in memory.*output times"):
        simulate(DECAYING, np.linspace(0, 1, 2 * 10**7), n_traj=10**4, seed=1)
    records = {"keep_jumps": 1, "n_traj": 10**14}
    with pytest.raises(ResourceError, match=r"n_traj = .* would fit"):
        simulate(DECAYING, TIMES, seed=1, **records)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "`n_traj`, `tolerance` or `max_time` must say when to stop"),
        ({"n_traj": 10, "shard": (3, 2)}, "`shard` must be"),
        ({"n_traj": 10, "shard": (1, 2)}, "must have trajectories"),
        ({"tolerance": 0.1, "shard": (1, 2)}, "`shard` must go with n_traj"),
        ({"n_traj": 100, "functions": {"x": Purity()}}, "must have names"),
        ({"n_traj": 100, "histograms": Bins("q")}, "must be one of"),
        ({"n_traj": 100, "histograms": "z"}, "`histograms` must be a list"),
        ({"n_traj": 100, "states": "all"}, "`states` must be True or some"),
        ({"n_traj": 100, "states": [0.123]}, "must be among the output times"),
        ({"tolerance": 0.1, "stratified": True}, "`stratified` must go with n_traj"),
        (
            {"n_traj": 100, "stratified": True, "functions": {"p": Purity()}},
            "equal weights",
        ),
        ({"tolerance": {"q": 1}}, "`tolerance` must name observables"),
        ({"tolerance": Tolerance}, "`tolerance` must be a finite number"),
    ],
)
def test_wrong_requests_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        simulate(DECAYING, TIMES, seed=1, **how)
