"""Random numbers: the published answers, the normal law, and independence.

Every p-value is compared with `LEVEL`; with fixed seeds the outcome never changes.
"""

import math

import numpy as np
import pytest
from numba import njit
from scipy import stats

from stochq.streams import (
    Purpose,
    fill_normals,
    log_unit,
    normals,
    philox,
    sincos_turns,
    stream_key,
    uniform_pair,
)

LEVEL = 1e-6
EPS = np.finfo(float).eps


@njit(error_model="numpy")
def _philox(words):
    return philox(words[0], words[1], words[2], words[3], words[4], words[5])


@njit(error_model="numpy")
def _sincos(turns, out):
    for i in range(turns.size):
        out[0, i], out[1, i] = sincos_turns(turns[i])


@njit(error_model="numpy")
def _log(u, out):
    for i in range(u.size):
        out[i] = log_unit(u[i])


def table(seed, trajectories, blocks, purpose=Purpose.NOISE):
    """Return normals, shape (draws, trajectories)."""
    numbers = np.asarray(trajectories, dtype=np.int64)
    key = stream_key(seed, purpose)
    words = np.empty((4, numbers.size), dtype=np.uint64)
    out = np.empty((blocks, 4, numbers.size))
    for b in range(blocks):
        fill_normals(key, numbers, numbers.size, b, words, out[b])
    return out.reshape(4 * blocks, numbers.size)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        (
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "digits of pi"],
)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = [int(w, 16) for w in f"{key} {counter}".split()]
    found = _philox(np.array(words, dtype=np.uint64))
    assert [int(w) for w in found] == [int(w, 16) for w in answer.split()]


def philox_in_python(key, counter):
    """Return the four words, from the paper's definition."""
    mask = 2**32 - 1
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (p1 >> 32) ^ c1 ^ k0,
            p1 & mask,
            (p0 >> 32) ^ c3 ^ k1,
            p0 & mask,
        )
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return c0, c1, c2, c3


@pytest.mark.parametrize("trajectory", [0, 17, 2**32 + 5, 2**62])
@pytest.mark.parametrize("block", [0, 3, 2**33 + 1])
def test_normals_are_box_and_muller_of_the_addressed_words(trajectory, block):
    mask = 2**32 - 1
    key = stream_key(7, Purpose.NOISE)
    words = philox_in_python(
        (int(key[0]), int(key[1])),
        (trajectory & mask, trajectory >> 32, block & mask, block >> 32),
    )
    u, v, w, x = ((word + 0.5) / 2**32 for word in words)
    truth = [
        math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v),
        math.sqrt(-2 * math.log(u)) * math.sin(2 * math.pi * v),
        math.sqrt(-2 * math.log(w)) * math.cos(2 * math.pi * x),
        math.sqrt(-2 * math.log(w)) * math.sin(2 * math.pi * x),
    ]
    out = np.empty((4, 1))
    work = np.empty((4, 1), dtype=np.uint64)
    fill_normals(key, np.array([trajectory]), 1, block, work, out)
    # math.cos(2 pi v) itself loses pi eps; the radius is at most 6.8
    assert np.abs(out[:, 0] - truth).max() <= 50 * EPS


def test_uniforms_use_all_four_words():
    key = stream_key(7, Purpose.JUMPS)
    a, b, c, d = philox_in_python((int(key[0]), int(key[1])), (5, 0, 9, 0))
    u, v = uniform_pair(key, 5, 9)
    assert u == ((((a << 32) | b) >> 12) + 0.5) / 2**52
    assert v == ((((c << 32) | d) >> 12) + 0.5) / 2**52


def test_logarithm_is_accurate():
    rng = np.random.default_rng(1)
    u = np.concatenate(
        [
            rng.random(10**5),
            2.0 ** -rng.uniform(0, 60, 10**5),
            1 - rng.random(1000) * 1e-9,
            [1.0, 0.5, 2.0**-33, 1 - 2.0**-33, math.sqrt(0.5)],
        ]
    )
    out = np.empty_like(u)
    _log(u, out)
    truth = np.log(u.astype(np.longdouble))
    assert (np.abs(out - truth) <= 2 * EPS * (1 + np.abs(truth))).all()


def test_sine_and_cosine_are_accurate_and_on_the_circle():
    rng = np.random.default_rng(2)
    edges = np.arange(-16, 17) / 8
    near = [edges, np.nextafter(edges, 9), np.nextafter(edges, -9)]
    turns = np.concatenate([rng.uniform(-3, 3, 10**5), *near])
    out = np.empty((2, turns.size))
    _sincos(turns, out)
    # the nearest whole number of turns is removed exactly, then long doubles
    angle = 2 * np.longdouble(math.pi) * (turns - np.rint(turns))
    angle += (turns - np.rint(turns)) * np.longdouble(2.4492935982947064e-16)
    assert np.abs(out[0] - np.cos(angle)).max() <= 2 * EPS
    assert np.abs(out[1] - np.sin(angle)).max() <= 2 * EPS
    assert np.abs(out[0] ** 2 + out[1] ** 2 - 1).max() <= 4 * EPS
    large = turns + 2.0**40
    exact = large - 2.0**40
    _sincos(large, out)
    again = np.empty_like(out)
    _sincos(exact, again)
    assert np.abs(out - again).max() <= 2 * EPS


def test_normals_have_the_normal_law():
    values = table(3, np.arange(1000), 100).ravel()
    n = values.size
    assert stats.kstest(values, "norm").pvalue > LEVEL
    reach = stats.norm.isf(LEVEL / 2)
    # moments 1 ... 8 of a standard normal, and the variances of their estimates
    double = [1.0, 0, 1, 0, 3, 0, 15, 0, 105, 0, 945, 0, 10395, 0, 135135, 0, 2027025]
    for k in range(1, 9):
        error = math.sqrt((double[2 * k] - double[k] ** 2) / n)
        assert abs((values**k).mean() - double[k]) <= reach * error, f"moment {k}"
    for edge in (3.0, 4.0):
        expected = 2 * stats.norm.sf(edge)
        count = int((np.abs(values) > edge).sum())
        assert stats.binomtest(count, n, expected).pvalue > LEVEL
    # the law test can fail: a variance wrong by 2 percent is seen
    assert stats.kstest(1.02 * values, "norm").pvalue < LEVEL


def test_uniforms_are_uniform():
    key = stream_key(11, Purpose.JUMPS)
    pairs = np.array([uniform_pair(key, i, d) for i in range(1000) for d in range(50)])
    assert stats.kstest(pairs[:, 0], "uniform").pvalue > LEVEL
    assert stats.kstest(pairs[:, 1], "uniform").pvalue > LEVEL
    assert stats.pearsonr(pairs[:, 0], pairs[:, 1]).pvalue > LEVEL
    assert (pairs > 0).all()
    assert (pairs < 1).all()


def assert_independent(one, other):
    """Compare correlations of values, of squares and of signs with chance."""
    for f in (lambda x: x, np.square, np.sign):
        assert stats.pearsonr(f(one).ravel(), f(other).ravel()).pvalue > LEVEL


def test_neighboring_numbers_are_independent():
    values = table(5, np.arange(1000), 100)
    assert_independent(values[:, 1:], values[:, :-1])
    assert_independent(values[1:], values[:-1])
    assert_independent(values[0::2], values[1::2])
    assert_independent(values[4:], values[:-4])
    assert len(np.unique(values)) > 0.9999 * values.size


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (41, 42), (0, 2**32)])
def test_seeds_are_independent(one, other):
    assert_independent(table(one, np.arange(500), 50), table(other, np.arange(500), 50))


def test_purposes_are_independent():
    tables = [table(5, np.arange(500), 50, purpose) for purpose in Purpose]
    assert_independent(tables[0], tables[1])
    assert_independent(tables[1], tables[2])
    assert_independent(tables[0], tables[2])


def test_trajectory_means_scatter_like_independent_numbers():
    values = table(6, np.arange(4000), 25)
    chi = 100 * np.square(values.mean(axis=0)).sum()
    p = stats.chi2(4000).sf(chi)
    assert LEVEL < p < 1 - LEVEL


def test_keys_of_nearby_seeds_do_not_collide():
    seeds = [*range(5000), *(2**31 + k for k in range(100)), 2**64, 2**64 + 1, 10**39]
    keys = {tuple(stream_key(s, p).tolist()) for s in seeds for p in Purpose}
    assert len(keys) == len(Purpose) * len(seeds)


def test_a_trajectory_has_its_numbers_wherever_it_runs():
    alone = normals(9, 17, 40)
    atom = table(9, np.arange(64), 10)
    mixed = table(9, [300, 17, 5, 2**40], 10)
    assert np.array_equal(atom[:, 17], alone)
    assert np.array_equal(mixed[:, 1], alone)
    assert not np.array_equal(atom[:, 16], alone)
    assert np.array_equal(normals(9, 17, 7), alone[:7])
    assert normals(9, 17, 0).size == 0


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True, np.float64(2)])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(ValueError, match="`seed` must be"):
        stream_key(seed, Purpose.NOISE)
