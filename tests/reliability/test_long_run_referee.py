"""What a hostile reading of long runs has found, so that it stays mended."""

import warnings
from functools import partial

import numpy as np
import pytest
from analytic import LOWER, SX, SZ
from scipy.interpolate import CubicSpline

from stochq import (
    Bins,
    CheckpointError,
    CheckpointWarning,
    Dissipator,
    Histogram,
    Homodyne,
    Model,
    Reference,
    Richardson,
    SchemeMismatchError,
    SquaredModulus,
    Strang,
    TwoPoint,
    WhiteNoise,
    checkpoint_status,
    master_equation,
    plan,
    resume,
    simulate,
    verify,
)
from stochq.descriptions.fingerprints import of_code
from stochq.statistics.moments import Moments

TIMES = np.linspace(0, 3, 7)


def decaying(rate=0.7):
    return Model(
        hamiltonian=SX,
        dissipators=Dissipator(LOWER, rate, name="decay"),
        initial=[1, 0],
        observables={"x": SX, "z": SZ},
    )


def noisy():
    return Model(
        hamiltonian=SX,
        noise=WhiteNoise(SZ, rate=0.3, name="phase"),
        dissipators=Dissipator(LOWER, 0.7, name="decay"),
        initial=[1, 0],
        observables={"x": SX, "z": SZ},
    )


def lost(states):
    return np.abs(states[:, 1]) ** 2


@pytest.mark.parametrize("right", [True, False])
def test_a_function_that_never_moved_decides_nothing(right):
    rate, times = 1e-5, np.linspace(0, 5, 6)
    model = Model(
        dissipators=Dissipator(LOWER, rate), initial=[1, 0], observables={"z": SZ}
    )
    ensemble = simulate(model, times, n_traj=1024, seed=1, functions={"lost": lost})
    assert ensemble.sd[1].max() == 0  # nobody jumped
    curve = (1 - np.exp(-rate * times)) * right
    verdict = verify(ensemble, Reference(times, ("lost",), curve[None]))
    assert verdict.status == "inconclusive"
    assert "without `limits`" in verdict.reasons[0]


def test_a_function_that_moves_is_judged():
    exact = master_equation(decaying(), TIMES)
    curve = 0.5 * (1 - exact.values[1])
    ensemble = simulate(
        decaying(), TIMES, n_traj=4096, seed=1, functions={"lost": lost}
    )
    assert verify(ensemble, Reference(TIMES, ("lost",), curve[None])).status == "pass"
    wrong = Reference(TIMES, ("lost",), curve[None] + 0.1 * (TIMES > 1))
    assert verify(ensemble, wrong).status == "fail"


def test_a_function_without_values_is_no_failure_of_the_model():
    def hole(states):
        values = lost(states)
        return np.where(values > 0.999, np.nan, values)

    with pytest.warns(UserWarning, match="not finite"):
        ensemble = simulate(
            decaying(), TIMES, n_traj=512, seed=1, functions={"hole": hole}
        )
    curve = np.zeros((1, TIMES.size))
    verdict = verify(ensemble, Reference(TIMES, ("hole",), curve))
    assert verdict.status == "inconclusive"
    assert f"{ensemble.failed} of 512 trajectories" in verdict.explain()
    assert verify(ensemble, master_equation(decaying(), TIMES)).status == "pass"


class Slotted:
    __slots__ = ("k",)

    def __init__(self, k):
        self.k = k

    def __call__(self, states):
        return self.k * lost(states)


def scaled(states, k):
    return k * lost(states)


class Held:
    def __init__(self, held):
        self.held = held

    def __call__(self, states):
        return self.held(states)


PAIRS = {
    "slots": (Slotted(1.0), Slotted(4.0)),
    "partial": (Held(partial(scaled, k=1)), Held(partial(scaled, k=3))),
    "polynomial": (Held(np.poly1d([1, 0])), Held(np.poly1d([5, 0]))),
    "spline": (
        Held(CubicSpline([0, 1, 2], [0, 1, 4])),
        Held(CubicSpline([0, 1, 2], [0, 1, 5])),
    ),
    "our own": (Held(SquaredModulus(SX)), Held(SquaredModulus(SZ))),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_functions_that_hold_other_things_are_told_apart(kind):
    one, other = PAIRS[kind]
    assert of_code(one) == of_code(one) != of_code(other)


def test_drives_that_differ_between_probes_are_told_apart(tmp_path):
    def driven(k):
        drive = (SX, lambda t: np.cos(k * np.pi * t))
        return Model(drives=[drive], initial=[1, 0], observables={"z": SZ})

    times = np.linspace(0, 256, 9)
    how = {"n_traj": 64, "seed": 1, "checkpoint": tmp_path / "run"}
    simulate(driven(4), times, **how)
    with pytest.raises(CheckpointError, match=r"drives\[0\]"):
        simulate(driven(8), times, **how)


@pytest.mark.parametrize("goal", [{"tolerance": 0.5}, {"max_time": 1e-4}])
def test_another_goal_drops_no_trajectory(tmp_path, goal):
    folder = tmp_path / "run"
    simulate(decaying(), TIMES, n_traj=319, seed=1, checkpoint=folder)
    ensemble = resume(folder, **goal)
    plain = simulate(decaying(), TIMES, n_traj=320, seed=1)
    assert ensemble.n_traj == 320
    assert ensemble.mean.tobytes() == plain.mean.tobytes()
    with pytest.raises(CheckpointError, match="no more than what is asked for"):
        resume(folder, n_traj=257)


def test_a_shard_stays_a_shard(tmp_path):
    folder = tmp_path / "part"
    how = {"n_traj": 512, "seed": 1, "checkpoint": folder}
    simulate(decaying(), TIMES, shard=(np.int64(1), 2), **how)
    for wrong in (None, (2, 2), (1, 3)):
        with pytest.raises(CheckpointError, match="as shard 1 of 2"):
            simulate(decaying(), TIMES, shard=wrong, **how)
    assert simulate(decaying(), TIMES, shard=(1, 2), **how).n_traj == 256
    assert checkpoint_status(folder).n_traj == 256


def test_a_step_that_the_goal_outgrows_is_told(tmp_path):
    folder = tmp_path / "run"
    how = {"seed": 1, "checkpoint": folder}
    first = simulate(noisy(), TIMES, n_traj=256, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert simulate(noisy(), TIMES, n_traj=320, **how).scheme == first.scheme
    with pytest.warns(CheckpointWarning, match="chosen for a smaller goal"):
        more = simulate(noisy(), TIMES, n_traj=10**9, max_time=1e-3, **how)
    assert more.scheme == first.scheme
    own = tmp_path / "own"
    given = {"seed": 1, "checkpoint": own, "scheme": Strang(0.5)}
    simulate(noisy(), TIMES, n_traj=64, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resume(own, n_traj=128)  # a step that was chosen on purpose


@pytest.mark.parametrize(
    "how",
    [
        {"stratified": True, "histograms": Bins("z")},
        {"stratified": True, "keep_jumps": 3},
        {"scheme": TwoPoint(0.1), "histograms": Bins("z")},
        {"scheme": Richardson(Strang(0.1)), "histograms": Bins("z")},
    ],
)
def test_what_cannot_go_together_is_refused(how):
    model = noisy() if "scheme" in how else decaying()
    with pytest.raises(SchemeMismatchError):
        simulate(model, TIMES, n_traj=256, seed=1, **how)


def test_shards_of_a_large_run_are_judged_by_their_own_size(tmp_path):
    ensemble = simulate(
        decaying(),
        TIMES,
        n_traj=6 * 10**10,
        seed=1,
        scheme=Strang(0.5),
        unraveling={"decay": Homodyne()},
        keep_signals=True,
        shard=(1, 9 * 10**8),
        checkpoint=tmp_path / "part",
    )
    assert ensemble.n_traj == 64
    assert ensemble.signals.shape == (1, TIMES.size - 1, 64)


def test_a_plan_counts_the_jumps_that_are_kept():
    fast = Model(
        dissipators=[Dissipator(LOWER, 50.0), Dissipator(LOWER.T, 50.0)],
        initial=[1, 0],
        observables={"z": SZ},
    )
    how = {"keep_jumps": 1000}
    cost = plan(fast, [0, 1], n_traj=10**6, **how)
    ensemble = simulate(fast, [0, 1], n_traj=640, seed=1, **how)
    records = 20 * ensemble.jump_records.time.size / 640 * 10**6
    assert 1.0 * records <= cost.disk <= 2.5 * records
    assert not plan(fast, [0, 1], n_traj=10**12, **how).fits


def test_quantiles_do_not_round_into_another_bin():
    counts = np.zeros((1, 102), dtype=np.int64)
    counts[0, 1], counts[0, 100] = 7, 18
    edges = np.linspace(0, 100, 101)
    histogram = Histogram("q", np.zeros(1), edges, counts, 25)
    assert histogram.quantile(0.28)[0] == 1.0  # 0.28 x 25 = 7.000000000000001
    assert histogram.quantile(np.float32(0.5))[0] > 98


@pytest.mark.parametrize("unit", [1e-100, 1.0, 1e100])
def test_the_doubt_of_a_variance_is_cautious_in_any_unit(unit):
    values = np.zeros(1000)
    values[:10] = 1.0
    doubt = Moments.of(unit * values).variance_doubt
    assert doubt >= Moments.of(values).variance_doubt > 0.3
