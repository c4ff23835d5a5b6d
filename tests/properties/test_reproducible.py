"""The same seed gives the same bytes, whoever computes them and in what order."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinds import RUNS, run

from stochq.recording.runs import Run
from stochq.running import parallel
from stochq.schemes.lanes import ATOM
from stochq.statistics.blocks import Block, blocks
from stochq.statistics.forest import Forest
from stochq.statistics.moments import BATCHES, Moments, batch_size, pairwise_means
from stochq.statistics.summary import Statistics

SIZES = (2, 63, 64, 65, 200, 515, 1030)


@pytest.fixture(autouse=True)
def _workers_for_short_runs(monkeypatch):
    """Otherwise one worker would do all of it."""
    monkeypatch.setattr(parallel, "SHORT_SECONDS", 0.0)


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


# ---------------------------------------------------------------------- statistics

NUMBERS = st.floats(-1e3, 1e3, allow_nan=False)


def run_of(values):
    """Return a run of which only the values (O, T, n) matter."""
    times, n = values.shape[1:]
    return Run(values, np.zeros((0, times), int), np.ones((times, n)), 0.0, 0.0)


def forest_of(values, pieces):
    """Return the forest of atoms 0 ... handed in as blocks, in the order given."""
    n, forest = values.shape[-1], Forest()
    for block in pieces:
        part = values[..., block.first * ATOM : block.stop * ATOM]
        forest.take(block, Statistics.of(run_of(part), block, batch_size(n)))
    return forest


def all_blocks(n, largest):
    whole = list(blocks(0, n // ATOM, largest))
    return [*whole, Block(0, n // ATOM)] if n % ATOM else whole


@settings(max_examples=60, deadline=None, derandomize=True)
@given(n=st.integers(1, 700), seed=st.integers(0, 9), scale=st.floats(1e-3, 1e3))
def test_a_tree_of_statistics_is_the_statistics_of_all(n, seed, scale):
    values = scale * (3 + np.random.default_rng(seed).exponential(size=(2, 3, n)))
    tree, whole = forest_of(values, all_blocks(n, 4)).total(), Moments.of(values)
    rounding = 100 * n * np.finfo(float).eps * np.abs(values).max()
    assert tree.moments.count == n
    for power, k in (("mean", 1), ("m2", 2), ("m3", 3), ("m4", 4)):
        off = np.abs(getattr(tree.moments, power) - getattr(whole, power)).max()
        assert off <= rounding * np.abs(values).max() ** (k - 1) * n
    assert np.array_equal(tree.moments.low, values.min(axis=-1))
    assert np.array_equal(tree.moments.high, values.max(axis=-1))
    flat = (values - whole.mean[..., None]).reshape(6, n)
    off = np.abs(tree.comoments - flat @ flat.T).max()
    assert off <= rounding * np.abs(values).max() * n


@settings(max_examples=60, deadline=None, derandomize=True)
@given(n=st.integers(1, 1500), largest=st.integers(1, 9), order=st.randoms())
def test_the_tree_does_not_depend_on_who_hands_in_the_atoms(n, largest, order):
    values = np.random.default_rng(n).normal(size=(2, 3, n))
    pieces = all_blocks(n, largest)
    order.shuffle(pieces)
    one = forest_of(values, all_blocks(n, 1)).total()
    other = forest_of(values, pieces).total()
    for a, b in zip(one.moments.powers, other.moments.powers, strict=True):
        assert a.tobytes() == b.tobytes()
    assert one.comoments.tobytes() == other.comoments.tobytes()
    assert one.batches.tobytes() == other.batches.tobytes()
    assert one.norms.tobytes() == other.norms.tobytes()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    first=st.integers(0, 10**6),
    count=st.integers(0, 3000),
    largest=st.integers(1, 300),
)
def test_blocks_cover_atoms_once_and_are_aligned(first, count, largest):
    expected = first
    for block in blocks(first, first + count, largest):
        assert block.first == expected
        assert block.stop - block.first == 1 << block.level <= largest
        assert block.first % (1 << block.level) == 0
        expected = block.stop
    assert expected == first + count


@settings(max_examples=100, deadline=None, derandomize=True)
@given(places=st.sets(st.integers(0, 60)), stop=st.integers(0, 70))
def test_what_is_missing_is_what_is_not_there(places, stop):
    forest = forest_of(np.zeros((1, 1, 61 * ATOM)), [Block(0, p) for p in places])
    gaps = forest.missing(0, stop)
    assert {a for lo, hi in gaps for a in range(lo, hi)} == set(range(stop)) - places
    there = {a for lo, hi in forest.ranges() for a in range(lo, hi)}
    assert there == places
    leading = next(k for k in range(62) if k not in places)
    assert forest.leading(0).n_traj == leading * ATOM


def test_moments_of_numbers_far_from_zero_keep_their_digits():
    values = (1e9 + np.arange(640) % 5).reshape(1, 1, 640)
    tree = forest_of(values, all_blocks(640, 1)).total()
    assert abs(tree.moments.sd - np.sqrt(2 * 640 / 639)).max() < 1e-6


def test_moments_of_one_trajectory_have_no_spread():
    assert np.isnan(Moments.of(np.ones((2, 1))).sd).all()
    with pytest.raises(ValueError, match="must hold at least one atom"):
        Forest().total()


def test_the_variance_of_rare_events_is_as_doubtful_as_they_are_few():
    values = np.zeros(100_000)
    values[:400] = 1.0
    assert abs(Moments.of(values).variance_doubt - 1 / 20) < 1e-3
    values[:200] = -1.0  # of either sign: the skewness does not see them
    assert abs(Moments.of(values).variance_doubt - 1 / 20) < 1e-3
    assert np.isinf(Moments.of(np.ones(10)).variance_doubt)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(n_traj=st.integers(2, 10**7))
def test_batches_are_a_power_of_two_and_few(n_traj):
    size = batch_size(n_traj)
    assert size & (size - 1) == 0
    assert n_traj // size <= BATCHES
    assert size == 1 or n_traj // (size // 2) > BATCHES // 2


def test_batch_means_leave_out_the_rest():
    values = np.arange(14.0).reshape(7, 2)
    assert np.array_equal(pairwise_means(values, 1), [[1, 2], [5, 6], [9, 10]])
    assert np.array_equal(pairwise_means(values, 2), [[3, 4]])
