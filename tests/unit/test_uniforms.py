"""Bands of sorted uniform numbers, against closed formulas and simulation."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from stochq.statistics.uniforms import MOST, probability_inside, uniform_bands

#: Probability of blaming a band that is exact.
BLAME = 1e-6


def test_probabilities_of_one_and_of_two_numbers():
    assert np.isclose(probability_inside(np.array([0.2]), np.array([0.9])), 0.7)
    # both numbers below 0.8, the larger one above 0.3: 0.8^2 - 0.3^2
    low, high = np.array([0.0, 0.3]), np.array([0.8, 0.8])
    assert np.isclose(probability_inside(low, high), 0.64 - 0.09)
    # the smaller one below a, the larger one above a: one on each side, 2 a (1 - a)
    low, high = np.array([0.0, 0.4]), np.array([0.4, 1.0])
    assert np.isclose(probability_inside(low, high), 2 * 0.4 * 0.6)


def test_the_largest_deviation_of_kolmogorov():
    """P(D_n <= d) of the empirical distribution is known to SciPy."""
    from scipy.stats import kstwo

    n, d = 40, 0.19
    i = np.arange(1, n + 1)
    low, high = (i / n - d).clip(0), ((i - 1) / n + d).clip(max=1)
    assert np.isclose(probability_inside(low, high), kstwo.cdf(d, n), rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 30, 300])
def test_bands_hold_as_often_as_they_say(n):
    runs = 4000
    bands = uniform_bands(n, 0.9)
    numbers = np.sort(np.random.default_rng(n).random((runs, n)), axis=1)
    inside = (numbers >= bands.simultaneous[0]) & (numbers <= bands.simultaneous[1])
    within = int(inside.all(axis=1).sum())
    low, high = binom.ppf([BLAME / 2, 1 - BLAME / 2], runs, 0.9)
    assert low <= within <= high
    assert np.isclose(probability_inside(*bands.simultaneous), 0.9, atol=1e-3)
    # the mutant: a pointwise band is no band for all of them
    inside = (numbers >= bands.pointwise[0]) & (numbers <= bands.pointwise[1])
    assert (inside.all(axis=1).sum() < low) == (n > 1)


def test_pointwise_limits_are_those_of_beta_laws():
    limits = uniform_bands(7, 0.8).pointwise
    assert np.allclose(beta.cdf(limits[0], np.arange(1, 8), 8 - np.arange(1, 8)), 0.1)
    assert np.allclose(limits[1], 1 - limits[0][::-1])


@pytest.mark.parametrize(
    ("n", "level", "message"),
    [
        (0, 0.95, "`n` must be"),
        (2.5, 0.95, "`n` must be"),
        (MOST + 1, 0.95, f"`n` must be at most {MOST}"),
        (5, 1.0, "`level` must be between 0 and 1, but is 1"),
    ],
)
def test_bad_input_is_refused(n, level, message):
    with pytest.raises(ValueError, match=message):
        uniform_bands(n, level)
