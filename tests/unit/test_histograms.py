"""Histograms: counts that add up, quantiles within a bin, requests that are checked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stochq import Bins, Histogram, ModelError
from stochq.recording.histograms import Binning, as_time_indices, resolved

TIMES = np.array([0.0, 0.5, 1.0])
LIMITS = {"n": (0.0, 1.0), "one": (2.0, 2.0)}
NAMES = ("n", "one", "own")

numbers = st.floats(-0.5, 1.5)
samples = st.lists(numbers, min_size=1, max_size=60).map(np.array)


def binning(n=7, low=0.0, high=1.0, times=(0,)) -> Binning:
    """Return what counts one observable."""
    return Binning("n", 0, times, low, high, n)


def histogram(values, **how) -> Histogram:
    """Return the histogram of values (m,) at one time."""
    bins = binning(**how)
    counts = bins.count(np.atleast_2d(values))
    return Histogram.of(bins, TIMES, counts, np.size(values))


@settings(deadline=None, max_examples=100)
@given(samples, st.integers(0, 60), st.integers(1, 12))
def test_counts_of_parts_add_up(values, cut, n):
    whole = binning(n).count(values[None])
    parts = [binning(n).count(part[None]) for part in (values[:cut], values[cut:])]
    assert np.array_equal(whole, parts[0] + parts[1])
    assert whole.sum() == values.size


@settings(deadline=None, max_examples=100)
@given(samples, st.integers(1, 12))
def test_counts_are_those_of_numpy(values, n):
    edges = binning(n).edges
    near = np.abs(values[:, None] - edges).min(axis=1) < 1e-8
    values = values[~near]  # rounding decides on which side of an edge they are
    counts = binning(n).count(values[None])[0]
    assert np.array_equal(counts[1:-1], np.histogram(values, edges)[0])
    assert counts[0] == (values < 0).sum()
    assert counts[-1] == (values > 1).sum()


@settings(deadline=None, max_examples=200)
@given(samples, st.floats(0, 1), st.integers(1, 40))
def test_quantiles_are_within_a_bin(values, q, n):
    """The ceil(q N)-th smallest value is in the same bin, or beyond the same limit."""
    found = histogram(values, n=n)
    rank = q * values.size
    near = {np.ceil(rank * (1 + s)) for s in (-1e-12, 0.0, 1e-12)}
    ordered = np.sort(values)
    truths = [ordered[int(max(1, min(k, values.size))) - 1] for k in near]
    quantile = found.quantile(q)[0]
    slack = found.resolution * (1 + 1e-6)
    assert any(
        quantile == -np.inf
        if truth < -1e-9
        else quantile == np.inf
        if truth > 1 + 1e-9
        else abs(quantile - truth) <= slack
        for truth in truths
    )


def test_quantiles_of_many_values_are_those_of_numpy():
    values = np.random.default_rng(1).beta(2, 5, size=20_000)
    found = histogram(values, n=256)
    for q in (0.01, 0.1, 0.5, 0.9, 0.99):
        error = abs(found.quantile(q)[0] - np.quantile(values, q))
        assert error < found.resolution
        # interpolation does better than the middle of a bin
        assert error < 0.25 * found.resolution


def test_both_limits_belong_to_the_bins():
    counts = binning(4).count(np.array([[0.0, 1.0, 1.0 + 1e-12, -1e-12]]))
    assert counts.tolist() == [[0, 2, 0, 0, 2, 0]]


def test_values_outside_and_no_values():
    values = np.array([-np.inf, -1, 0.3, 0.9, 2, np.inf, np.nan])
    found = histogram(values, n=2)
    assert found.counts.tolist() == [[2, 1, 1, 2]]
    assert found.missing.tolist() == [1]
    assert found.quantile(0.1)[0] == -np.inf
    assert found.quantile(0.9)[0] == np.inf
    assert 0 <= found.quantile(0.4)[0] <= 0.5
    assert np.isnan(histogram(np.array([np.nan])).quantile(0.5)).all()


def test_a_rank_that_ends_a_bin_stays_in_it():
    """Half of two values do not exceed the first one."""
    found = histogram(np.array([0.15, 0.95]), n=10)
    assert found.quantile(0.5)[0] == pytest.approx(0.2)
    assert found.quantile(0.0)[0] == pytest.approx(0.1)
    assert found.quantile(1.0)[0] == pytest.approx(1.0)


def test_density_integrates_to_what_is_inside():
    found = histogram(np.array([0.1, 0.2, 0.9, 3.0]), n=5)
    assert found.density.sum() * found.resolution == pytest.approx(0.75)
    assert found.probability.sum() == pytest.approx(0.75)
    frame = found.to_frame()
    assert frame["count"].sum() == 4
    assert frame["low"].iloc[0] == -np.inf
    assert list(frame) == ["observable", "time", "low", "high", "count", "density"]
    assert "5 bins" in repr(found)


def test_requests_find_rows_times_and_limits():
    asked = [Bins("own", times=[0.5, 1.0], n=3, limits=(-1, 1)), Bins("n"), Bins("one")]
    own, n, one = resolved(asked, NAMES, TIMES, LIMITS)
    assert (own.row, own.times, own.low, own.high, own.n) == (2, (1, 2), -1.0, 1.0, 3)
    assert (n.row, n.times, n.low, n.high, n.n) == (0, (0, 1, 2), 0.0, 1.0, 256)
    assert one.low < 2.0 < one.high  # the only possible value has room
    values = np.zeros((3, 3, 5))
    assert own.of_run(values).shape == (2, 5)
    assert resolved(Bins("n"), NAMES, TIMES, LIMITS) == (n,)
    assert resolved(None, NAMES, TIMES, LIMITS) == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bins("n", n=0), "`n` must be >= 1, but is 0"),
        (lambda: Bins("n", n=2.5), "`n` must be an integer, but is 2.5"),
        (lambda: Bins("n", n=10**9), "`n` must be at most 1000000"),
        (lambda: Bins("n", limits=(1, 0)), "low < high, but is"),
        (lambda: Bins("n", limits=(0, 0)), "low < high, but is"),
        (lambda: Bins("n", limits=(np.nan, 1)), "`limits` must be finite"),
        (lambda: Bins("n", limits=(0, np.inf)), "`limits` must be finite"),
        (lambda: Bins("n", limits=3), "`limits` must be two numbers"),
        (lambda: Bins("n", limits="ab"), "`limits` must be two numbers"),
        (lambda: Bins("x"), "`observable` of Bins must be one of"),
        (lambda: Bins(3), "`observable` of Bins must be one of"),
        (lambda: Bins("own"), "`limits` of Bins must be given"),
        (lambda: Bins("n", times=[0.4]), "among the output times, but 0.4 is not"),
        (lambda: Bins("n", times=[np.nan]), "among the output times, but nan is not"),
        (lambda: Bins("n", times=[1, 0]), "must be strictly increasing"),
        (lambda: Bins("n", times=[]), "must be some of the output times"),
        (lambda: Bins("n", times="no"), "must be some of the output times"),
        (lambda: "n", "`histograms` must hold Bins"),
    ],
)
def test_bad_requests_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        resolved([make()], NAMES, TIMES, LIMITS)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ModelError, match="`histograms` must be a list of Bins"):
        resolved("n", NAMES, TIMES, LIMITS)
    for q in (-0.1, 1.1, np.nan, "half", True):
        with pytest.raises(ValueError, match="`q` must be a number from 0 to 1"):
            histogram(np.array([0.5])).quantile(q)
    assert as_time_indices(None, TIMES) == (0, 1, 2)
    assert as_time_indices(0.5, TIMES) == (1,)
