"""Confidence sequences hold at all sample sizes at once; pointwise bands do not."""

import numpy as np
import pytest
from scipy.stats import binom

from stochq.statistics.sequences import confidence_sequence

#: Probability of blaming a sequence that misses exactly as often as it may.
BLAME = 1e-6

ALPHA, RUNS, LENGTH = 0.05, 400, 512


def missed(values, mean, alpha=ALPHA):
    """Tell whether a mean is ever outside its band."""
    found, half_width = confidence_sequence(values, alpha=alpha)
    return bool(np.any(np.abs(found - mean) > half_width))


def missed_pointwise(values, mean):
    """Tell the same of two standard errors, from 30 values on."""
    n = np.arange(1, values.size + 1)
    found = np.cumsum(values) / n
    variance = np.cumsum(values**2) / n - found**2
    return bool(np.any((np.abs(found - mean) > 1.96 * np.sqrt(variance / n))[30:]))


@pytest.mark.parametrize("law", ["normal", "batches of coins"])
def test_the_band_holds_at_all_sizes_at_once(law):
    rng = np.random.default_rng(5)
    shape = (RUNS, LENGTH)
    coins = rng.binomial(16, 0.3, shape) / 16
    values, mean = {
        "normal": (3 + 2 * rng.standard_normal(shape), 3.0),
        "batches of coins": (coins, 0.3),
    }[law]
    most = binom.isf(BLAME, RUNS, ALPHA)
    assert sum(missed(run, mean) for run in values) <= most
    # the mutant: a band for one size, looked at again and again
    assert sum(missed_pointwise(run, mean) for run in values) > 3 * most


def test_a_wrong_mean_is_left_behind():
    rng = np.random.default_rng(6)
    runs = rng.standard_normal((50, LENGTH))
    assert all(missed(run, 0.4) for run in runs)


def test_at_its_edge_the_likelihood_ratio_is_one_over_alpha():
    values = np.random.default_rng(7).normal(size=200)
    mean, half_width = confidence_sequence(values, alpha=0.01, narrowest=50)
    # 1 + x = exp(x) alpha^2 at the optimum x = 50 g, found here by bisection
    low, high = 1.0, 50.0
    for _ in range(100):
        x = (low + high) / 2
        low, high = (x, high) if np.log((1 + x) / 0.01**2) > x else (low, x)
    g = x / 50
    for n in (40, 100, 200):
        squares = np.square(values[:n] - values[:n].mean()).sum()
        shift = n * half_width[n - 1] ** 2
        assert np.isclose(mean[n - 1], values[:n].mean())
        ratio = ((squares + shift) / (squares + shift / (1 + n * g))) ** (n / 2)
        assert np.isclose(ratio / np.sqrt(1 + n * g), 100)


def test_far_out_it_is_the_normal_mixture():
    values = np.random.default_rng(8).normal(size=100_000)
    n, g = values.size, 8.4 / 128
    bound = values.var() / n * (1 + 1 / (n * g)) * np.log((1 + n * g) / ALPHA**2)
    half_width = confidence_sequence(values).half_width
    assert np.isclose(half_width[-1] ** 2, bound, rtol=0.01)


def test_it_is_narrowest_where_it_is_tuned():
    values = np.resize([1.0, -1.0], 4096)
    widths = {
        tuned: confidence_sequence(values, narrowest=tuned).half_width
        for tuned in (100, 1000, 4000)
    }
    for n in widths:
        assert min(widths, key=lambda tuned: widths[tuned][n - 1]) == n


def test_shifted_and_scaled_values_have_a_shifted_and_scaled_band():
    values = np.random.default_rng(9).normal(size=64)
    plain, other = confidence_sequence(values), confidence_sequence(1e6 + 1e-3 * values)
    assert np.allclose(other.mean, 1e6 + 1e-3 * plain.mean, rtol=1e-15)
    seen = np.isfinite(plain.half_width)
    assert np.array_equal(seen, np.isfinite(other.half_width))
    assert np.allclose(other.half_width[seen], 1e-3 * plain.half_width[seen], rtol=1e-5)


def test_no_band_before_rare_values_have_come():
    values = np.zeros(512)
    assert np.isinf(confidence_sequence(values).half_width).all()
    values[::30] = 1.0
    half_width = confidence_sequence(values).half_width
    assert np.isinf(half_width[:270]).all()
    assert np.isfinite(half_width[-1])


@pytest.mark.parametrize(
    ("values", "how", "message"),
    [
        ([[1.0]], {}, "`values` must have shape .* have shape [(]1, 1[)]"),
        ([], {}, "`values` must have shape .* have shape [(]0,[)]"),
        ([1.0, np.nan], {}, "`values` must be finite"),
        ([1.0], {"alpha": 0}, "`alpha` must be between 0 and 1, but is 0"),
        ([1.0], {"alpha": np.nan}, "`alpha` must be between 0 and 1"),
        ([1.0], {"narrowest": 0.5}, "`narrowest` must be at least 1"),
    ],
)
def test_bad_input_is_refused(values, how, message):
    with pytest.raises(ValueError, match=message):
        confidence_sequence(values, **how)
