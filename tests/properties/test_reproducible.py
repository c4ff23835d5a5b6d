"""The same seed gives the same bytes, whoever computes them and in what order."""

from functools import cache

import joblib
import numpy as np
import pytest
from analytic import LOWER, SX, SZ, dephased_pair
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stochq.ensemble import simulate
from stochq.model import Dissipator, Model, WhiteNoise
from stochq.moments import BATCHES, Moments, batch_size, pairwise_means
from stochq.schemes import Heun, Strang
from stochq.unravelings import Heterodyne, Homodyne, Jump, Kicks, Projections

TIMES = [0, 0.4, 1]
SIZES = (2, 63, 64, 65, 200, 515, 1030)

HYBRID = Model(
    hamiltonian=SX,
    noise=WhiteNoise([SX, SZ], covariance=[[0.3, 0.1], [0.1, 0.2]], name="field"),
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=np.array([[0.6, 0.1j], [-0.1j, 0.4]]),
    observables={"x": SX, "z": SZ},
)
NOISY = Model(
    hamiltonian=SZ,
    noise=WhiteNoise([SX, SZ], rate=0.4, name="field"),
    initial=[0.6, 0.8],
    observables={"x": SX, "z": SZ},
)
FERMIONS = dephased_pair().model

RUNS = {
    "hybrid": (HYBRID, {"scheme": Strang(0.2)}),
    "explicit": (NOISY, {"scheme": Heun(0.1)}),
    "fermions": (FERMIONS, {"scheme": Strang(0.2)}),
    "kicks": (FERMIONS, {"unraveling": {"first": Kicks(), "second": Kicks()}}),
    "projections": (
        FERMIONS,
        {"unraveling": {"first": Projections(), "second": Projections()}},
    ),
    "measured": (
        FERMIONS,
        {
            "unraveling": {"first": Jump(), "second": Homodyne(phase=0.3)},
            "scheme": Strang(0.2),
        },
    ),
    "default": (NOISY, {}),
    "monitored": (
        HYBRID,
        {"scheme": Strang(0.2), "unraveling": {"decay": Homodyne(phase=0.3)}},
    ),
    "conditioned": (
        HYBRID,
        {"scheme": Strang(0.2), "unraveling": {"decay": Heterodyne(efficiency=0.4)}},
    ),
}


def run(name, n_traj, seed, **how):
    model, choice = RUNS[name]
    return simulate(model, TIMES, n_traj=n_traj, seed=seed, **choice, **how)


def fingerprint(ensemble):
    """Return every number of an ensemble as bytes."""
    parts = (
        ensemble.mean,
        ensemble.sd,
        ensemble.mcse,
        ensemble.moments.low,
        ensemble.moments.high,
        ensemble.batches,
    )
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


@cache
def plain(name, n_traj, seed):
    return fingerprint(run(name, n_traj, seed))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(RUNS)),
    n_traj=st.sampled_from(SIZES),
    seed=st.integers(0, 3),
    n_jobs=st.sampled_from([1, 2]),
    batch=st.integers(1, 7),
)
def test_jobs_and_batches_change_no_bit(name, n_traj, seed, n_jobs, batch):
    if name == "default" and n_traj > 65:  # the step depends on n_traj: fewer to run
        n_traj = 65
    again = run(name, n_traj, seed, n_jobs=n_jobs, batch=batch)
    assert fingerprint(again) == plain(name, n_traj, seed)


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("name", ["hybrid", "kicks"])
def test_backends_change_no_bit(backend, name):
    with joblib.parallel_config(backend=backend, n_jobs=2):
        again = run(name, 515, 1, n_jobs=2, batch=2)
    assert fingerprint(again) == plain(name, 515, 1)


@pytest.mark.parametrize("name", sorted(set(RUNS) - {"default"}))
def test_more_trajectories_keep_the_first_ones(name):
    few, many = run(name, 200, 5), run(name, 451, 5)
    # up to 512 trajectories the batches are the trajectories
    assert few.batches.shape[0] == 200
    assert many.batches.shape[0] == 451
    assert np.array_equal(many.batches[:200], few.batches)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["hybrid", "explicit", "fermions", "kicks"]),
    seeds=st.lists(st.integers(0, 2**70), min_size=2, max_size=2, unique=True),
)
def test_seeds_decide(name, seeds):
    one, other = (plain(name, 65, seed) for seed in seeds)
    assert one != other
    assert fingerprint(run(name, 65, seeds[0])) == one


def test_means_are_means_of_the_trajectories():
    ensemble = run("hybrid", 451, 2)
    values = ensemble.batches
    assert np.abs(values.mean(axis=0) - ensemble.mean).max() < 1e-14
    assert np.abs(values.std(axis=0, ddof=1) - ensemble.sd).max() < 1e-13
    assert np.array_equal(values.min(axis=0), ensemble.moments.low)
    assert np.array_equal(values.max(axis=0), ensemble.moments.high)
    assert np.abs(ensemble.mcse * np.sqrt(451) - ensemble.sd).max() < 1e-14


def test_batches_are_means_of_equal_runs():
    ensemble = run("hybrid", 1030, 2)
    assert ensemble.batches.shape[0] == 1030 // batch_size(1030) == 257
    first = run("hybrid", 512, 2).batches
    joined = first[:512].reshape(128, 4, *first.shape[1:]).mean(axis=1)
    assert np.abs(ensemble.batches[:128] - joined).max() < 1e-14


# ------------------------------------------------------------------------- moments

NUMBERS = st.floats(-1e3, 1e3, allow_nan=False)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    values=arrays(np.float64, st.integers(1, 300), elements=NUMBERS),
    size=st.integers(1, 70),
)
def test_a_tree_of_moments_is_the_moments_of_all(values, size):
    parts = [Moments.of(values[i : i + size]) for i in range(0, values.size, size)]
    tree, whole = merge_tree(parts), Moments.of(values)
    scale = np.abs(values).max() + 1e-300
    rounding = 50 * values.size * np.finfo(float).eps
    assert tree.count == values.size
    assert abs(tree.mean - whole.mean) <= rounding * scale
    assert abs(tree.m2 - whole.m2) <= rounding * scale**2 * values.size
    assert tree.low == values.min()
    assert tree.high == values.max()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(parts=st.integers(1, 40), cut=st.integers(1, 7))
def test_the_tree_does_not_depend_on_who_hands_in_the_atoms(parts, cut):
    rng = np.random.default_rng(parts)
    atoms = [Moments.of(rng.normal(size=(2, 64))) for _ in range(parts)]
    one = merge_tree(atoms)
    chunks = [atoms[i : i + cut] for i in range(0, parts, cut)]
    other = merge_tree(atom for chunk in chunks for atom in chunk)
    assert one.mean.tobytes() == other.mean.tobytes()
    assert one.m2.tobytes() == other.m2.tobytes()


def test_moments_of_numbers_far_from_zero_keep_their_digits():
    values = 1e9 + np.arange(640) % 5
    tree = merge_tree(Moments.of(values[i : i + 64]) for i in range(0, 640, 64))
    assert abs(tree.sd - np.sqrt(2 * 640 / 639)) < 1e-6


def test_moments_of_one_trajectory_have_no_spread():
    assert np.isnan(Moments.of(np.ones((2, 1))).sd).all()
    with pytest.raises(ValueError, match="`atoms` must hold at least one"):
        merge_tree([])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(n_traj=st.integers(2, 10**7))
def test_batches_are_a_power_of_two_and_few(n_traj):
    size = batch_size(n_traj)
    assert size & (size - 1) == 0
    assert n_traj // size <= BATCHES
    assert size == 1 or n_traj // (size // 2) > BATCHES // 2


def test_batch_means_leave_out_the_rest():
    values = np.arange(14.0).reshape(2, 7)
    means = batch_means(values, 3)
    assert means.shape == (2, 2)
    assert np.array_equal(means, [[1, 8], [4, 11]])
