"""Statistics of jump records against renewal processes drawn independently of them."""

import warnings

import numpy as np
import pytest
from scipy import stats

from stochq import (
    JumpRecords,
    ModelError,
    correlation_g2,
    counting_histogram,
    counting_statistics,
    first_waiting_times,
    fluctuation_test,
    waiting_times,
)
from stochq.counting.ratios import binned, ratio_errors
from stochq.counting.signs import slope_p
from stochq.weights import as_selection, as_weights, lattice_unit

#: False-alarm probability of every statistical test.
ALPHA = 1e-6

EDGES = np.linspace(0.0, 3.0, 13)
GAMMA = stats.gamma(2, scale=0.5)  # waits of the renewal process, mean 1


def p_of(z):
    """Return the chi-squared p-value of nearly independent deviations."""
    return stats.chi2.sf(np.sum(np.square(z)), np.size(z))


def as_records(trajectory, time, channel, names, n_traj, stop, start=0.0):
    counts = np.zeros((len(names), n_traj), dtype=np.int64)
    np.add.at(counts, (channel, trajectory), 1)
    return JumpRecords(trajectory, time, channel, names, counts, start, stop)


def renewal(n_traj, stop, seed, rate=1.0, names=("one", "two"), early=5.0):
    """Waits are gamma distributed with shape 2; each jump has a random channel.

    It runs for `early` before the window, so that it is stationary to exp(-20).
    """
    rng = np.random.default_rng(seed)
    number = int(3 * rate * (stop + early) + 40)
    waits = rng.gamma(2, 0.5 / rate, (n_traj, number))
    times = np.cumsum(waits, axis=1) - early
    assert times[:, -1].min() > stop
    inside = (times >= 0) & (times <= stop)
    trajectory = np.nonzero(inside)[0]
    channel = rng.integers(0, len(names), trajectory.size)
    return as_records(trajectory, times[inside], channel, names, n_traj, stop)


def from_counts(counts, names, limit=0):
    """Records that kept no jump, as a limit of 0 does."""
    none = np.zeros(0, dtype=np.int64)
    return JumpRecords(none, none, none, names, counts, 0.0, 1.0, limit)


def poisson_pair(up, down, n_traj, seed):
    """Counts of two independent Poisson processes: P(k)/P(-k) = (up/down)^k exactly."""
    rng = np.random.default_rng(seed)
    counts = np.array([rng.poisson(up, n_traj), rng.poisson(down, n_traj)])
    return from_counts(counts, ("up", "down"))


NET = {"up": 1, "down": -1}


# --- weights ------------------------------------------------------------------------


def test_weights_go_by_name():
    names = ("a", "b", "b")
    assert as_weights(None, names).tolist() == [1, 1, 1]
    assert as_weights("b", names).tolist() == [0, 1, 1]
    assert as_weights(["a"], names).tolist() == [1, 0, 0]
    assert as_weights({"b": [-2, 2], "a": 0.5}, names).tolist() == [0.5, -2, 2]
    assert as_selection({"b": [0, 1]}, names, "then").tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("c", r"must name dissipators among \['a', 'b'\], but names 'c'"),
        ({"b": [1, 2, 3]}, r"`weights\['b'\]` must be a number or 2 numbers"),
        ({"a": float("nan")}, r"`weights\['a'\]` must be finite"),
        ({"a": "1"}, r"`weights\['a'\]` must be a number"),
        ({"b": [[1], [2, 3]]}, r"`weights\['b'\]` must be a number or 2"),
        ({"a": 0.0}, "one that is not zero"),
        (3.0, "must be a name, a sequence of names or a dictionary"),
        ([], "one that is not zero"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ModelError, match=message):
        as_weights(weights, ("a", "b", "b"))


def test_the_unit_of_a_lattice():
    assert lattice_unit(np.array([1.0, -1.0, 0.0])) == 1
    assert lattice_unit(np.array([0.3, -0.5])) == pytest.approx(0.1, rel=1e-12)
    assert lattice_unit(np.array([4.0, 6.0])) == 2
    with pytest.raises(ModelError, match="multiples of one unit"):
        lattice_unit(np.array([1.0, np.pi]))


# --- records ------------------------------------------------------------------------


def test_records_by_trajectory_and_channel():
    records = as_records(
        np.array([0, 0, 2]),
        np.array([0.1, 0.9, 0.5]),
        np.array([1, 0, 1]),
        ("a", "b"),
        3,
        1.0,
    )
    times, channels = records.of(0)
    assert times.tolist() == [0.1, 0.9]
    assert channels.tolist() == [1, 0]
    assert records.of(1)[0].size == 0
    only = records.select("b")
    assert only.time.tolist() == [0.1, 0.5]
    assert only.counts.tolist() == [[1, 0, 1]]
    assert only.names == ("b",)
    late = records.window(0.1, 0.9)
    assert late.time.tolist() == [0.9, 0.5]  # a jump belongs to the window it ends
    assert late.counts.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert records.to_frame()["name"].tolist() == ["b", "a", "b"]
    assert records.complete
    assert records.n_traj == 3


def test_windows_share_out_all_jumps():
    records = renewal(50, 8.0, seed=3)
    first, second = records.window(0.0, 3.0), records.window(3.0, 8.0)
    assert (first.counts + second.counts == records.counts).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": [0.5, 0.4]}, "must ascend"),
        ({"time": [0.5, 1.5]}, "must be within 0 and 1"),
        ({"time": [0.5, np.nan]}, "must be within 0 and 1"),
        ({"time": [0.5]}, "must have one length"),
        ({"channel": [0, 1]}, "`channel` must be from 0 to 0"),
        ({"trajectory": [0, 2]}, "`trajectory` must be from 0 to 1"),
        ({"channel": [0.0, 0.0]}, "`channel` must have shape"),
        ({"counts": [[1, 0]]}, "must count every jump"),
        ({"counts": [[1.0, 0.0]]}, "must be integers of shape"),
        ({"counts": [[-1, 0]]}, "some are negative"),
        ({"stop": np.nan}, "`stop` must be a finite number"),
        ({"start": "0"}, "`start` must be a finite number"),
        ({"stop": -1.0}, "`stop` must be after `start`"),
        ({"limit": 2.5}, "`limit` must be an integer"),
    ],
)
def test_records_that_do_not_fit_are_refused(change, message):
    parts = {
        "trajectory": [0, 0],
        "time": [0.1, 0.2],
        "channel": [0, 0],
        "names": ("a",),
        "counts": [[2, 0]],
        "start": 0.0,
        "stop": 1.0,
    }
    JumpRecords(**parts)
    with pytest.raises(ValueError, match=message):
        JumpRecords(**(parts | change))


def test_dropped_jumps_are_known_and_refused_where_they_are_needed():
    full = renewal(40, 6.0, seed=4)
    kept = np.concatenate(
        [np.flatnonzero(full.trajectory == i)[:2] for i in range(full.n_traj)]
    )
    cut = JumpRecords(
        full.trajectory[kept],
        full.time[kept],
        full.channel[kept],
        full.names,
        full.counts,
        0.0,
        6.0,
        limit=2,
    )
    assert cut.dropped == full.time.size - kept.size > 0
    # what needs the numbers alone is the same
    ours, theirs = counting_statistics(cut), counting_statistics(full)
    assert (ours.cumulants == theirs.cumulants).all()
    for refused in (
        lambda: counting_statistics(cut, times=[3.0]),
        lambda: waiting_times(cut, EDGES),
        lambda: waiting_times(cut, EDGES, "one", after="two"),
        lambda: first_waiting_times(cut, EDGES),
        lambda: correlation_g2(cut, EDGES),
        lambda: cut.window(0.0, 5.5),
    ):
        with pytest.raises(ValueError, match=r"dropped \(limit 2 per trajectory\)"):
            refused()
    # an early window has every jump
    until = min(t[-1] for t in (cut.of(i)[0] for i in range(40)))
    assert cut.complete_until == until
    assert full.complete_until == 6.0
    early = cut.window(0.0, 0.9 * until)
    assert early.complete
    assert (early.counts == full.window(0.0, 0.9 * until).counts).all()
    assert from_counts(np.ones((1, 3), int), ("a",)).complete_until == 0.0


# --- cumulants ----------------------------------------------------------------------


def test_cumulants_are_k_statistics():
    records = renewal(300, 6.0, seed=5)
    weights = {"one": -0.7, "two": 1.3}
    found = counting_statistics(records, weights)
    sums = np.array([-0.7, 1.3]) @ records.counts
    truth = [stats.kstat(sums, order) for order in (1, 2, 3, 4)]
    np.testing.assert_allclose(found.cumulants[:, 0], truth, rtol=1e-9)
    assert found.errors[0, 0] == pytest.approx(stats.sem(sums), rel=1e-10)
    assert found.fano[0] == pytest.approx(truth[1] / truth[0], rel=1e-10)
    assert found.mandel_q[0] == found.fano[0] - 1
    # the jackknife is that of samples with one trajectory left out
    rest = np.array([stats.kstat(np.delete(sums, i), 3) for i in range(sums.size)])
    jackknife = np.sqrt((sums.size - 1) * rest.var())
    assert found.errors[2, 0] == pytest.approx(jackknife, rel=1e-7)
    assert len(found.to_frame()) == 5


def test_counts_at_times_are_those_of_shorter_windows():
    records = renewal(100, 6.0, seed=6)
    found = counting_statistics(records, times=[0.0, 2.0, 6.0])
    short = counting_statistics(records.window(0.0, 2.0))
    assert found.cumulants[:, 1].tolist() == short.cumulants[:, 0].tolist()
    assert found.cumulants[:, 2].tolist() == (
        counting_statistics(records).cumulants[:, 0].tolist()
    )
    assert found.cumulants[:, 0].tolist() == [0, 0, 0, 0]
    assert np.isnan(found.fano[0])


def test_error_bars_cover_as_they_should():
    """400 ensembles: the truth is within 1.96 errors in 95 % of them."""
    covered = np.zeros(5)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        counts = rng.poisson(4.0, (1, 400))
        found = counting_statistics(from_counts(counts, ("a",)))
        z = (found.cumulants[:, 0] - 4.0) / found.errors[:, 0]
        fano = (found.fano - 1.0) / found.fano_error
        covered += np.abs([*z, *fano]) < 1.96
    # the fourth cumulant is skewed at 400 trajectories: a few percent less are covered
    assert covered[[0, 1, 2, 4]].min() > stats.binom.ppf(ALPHA, 400, 0.94)
    assert covered[3] > stats.binom.ppf(ALPHA, 400, 0.88)
    assert covered.max() < 400


def test_a_factor_two_in_the_rate_is_seen_in_every_cumulant():
    counts = np.random.default_rng(7).poisson(8.0, (1, 100_000))
    found = counting_statistics(from_counts(counts, ("a",)))
    right = (found.cumulants[:, 0] - 8.0) / found.errors[:, 0]
    wrong = (found.cumulants[:, 0] - 4.0) / found.errors[:, 0]
    assert np.abs(right).max() < stats.norm.isf(ALPHA / 8)
    assert np.abs(wrong[:3]).min() > stats.norm.isf(ALPHA / 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: counting_statistics(3), "must be JumpRecords, but is int"),
        (lambda r: counting_statistics(r, "c"), "must name dissipators among"),
        (lambda r: counting_statistics(r, times=[7.0]), "must be from 0 to 6"),
        (lambda r: counting_statistics(r, times=[np.nan]), "must be finite"),
        (lambda r: counting_histogram(r, time=[1.0]), "`time` must be one time"),
        (lambda r: waiting_times(r, [0, 7]), "from 0 to 6"),
        (lambda r: waiting_times(r, [-1, 2]), "from 0 to 6"),
        (lambda r: waiting_times(r, [1.0]), "two edges or more"),
        (lambda r: waiting_times(r, [0, 2], "c"), "`channels` must name"),
        (lambda r: waiting_times(r, [0, 2], after={"one": 2}), "`after` must choose"),
        (lambda r: waiting_times(r, [0, 6]), "early enough"),
        (lambda r: correlation_g2(r, [0, 6]), "early enough"),
        (lambda r: correlation_g2(r, "ab"), "`edges` must be an array"),
        (lambda r: fluctuation_test(r, "one", np.nan), "`affinity` must be a number"),
        (lambda r: fluctuation_test(r, "one", 1, alpha=2), "`alpha` must be a number"),
        (lambda r: r.window(3, 9), "must be within 0 and 6"),
        (lambda r: r.window(3, "9"), "`stop` must be a finite number"),
        (lambda r: r.of(60), "must be below 50"),
        (lambda r: r.of(-1), "must be >= 0"),
        (lambda r: r.of(1.5), "must be an integer"),
        (lambda r: r.select({"one": 0}), "one that is not zero"),
    ],
)
def test_bad_requests_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(renewal(50, 6.0, seed=8))


def test_too_few_trajectories_are_refused():
    with pytest.raises(ValueError, match="at least 5 trajectories, but is of 4"):
        counting_statistics(renewal(4, 6.0, seed=8))


# --- histogram ----------------------------------------------------------------------


def test_histogram_of_heat_is_a_skellam_distribution():
    records = poisson_pair(2.0, 1.0, 50_000, seed=9)
    found = counting_histogram(records, {"up": 0.3, "down": -0.3})
    k = np.rint(found.values / 0.3).astype(int)
    truth = stats.skellam.pmf(k, 2.0, 1.0)
    seen = truth * 50_000 > 10
    assert found.unit == pytest.approx(0.3)
    assert found.counts.sum() == 50_000
    z = (found.probability - truth)[seen] / found.error[seen]
    assert p_of(z) > ALPHA
    wrong = (found.probability - truth[::-1])[seen] / found.error[seen]
    assert p_of(wrong) < ALPHA  # the sign of the weight
    assert (found.error > 0).all()
    assert len(found.to_frame()) == k.size


# --- waiting times ------------------------------------------------------------------


def in_bins(distribution, edges=EDGES):
    return np.diff(distribution.cdf(edges)) / np.diff(edges)


def test_waits_are_not_biased_by_the_end_of_the_window():
    records = renewal(20_000, 4.0, seed=10)
    found = waiting_times(records, EDGES)
    z = (found.density - in_bins(GAMMA)) / found.error
    assert p_of(z) > ALPHA
    longer = GAMMA.sf(3.0)
    error = np.sqrt(longer * (1 - longer) / found.starts)
    assert abs(found.longer - longer) < stats.norm.isf(ALPHA) * error
    # all waits that ended in the window, whenever they began, favor the short ones
    same = np.diff(records.trajectory) == 0
    naive = np.histogram(np.diff(records.time)[same], EDGES, density=True)[0]
    assert p_of((naive - in_bins(GAMMA)) / found.error) < ALPHA
    doubled = in_bins(stats.gamma(2, scale=0.25))
    assert p_of((found.density - doubled) / found.error) < ALPHA


def test_waits_between_chosen_channels():
    """After a jump of one channel, each later one is of the other with chance 1/2."""
    records = renewal(20_000, 8.0, seed=11)
    found = waiting_times(records, EDGES, "two", after="one")
    more = [stats.gamma(2 * k, scale=0.5) for k in range(1, 25)]
    truth = sum(0.5**k * in_bins(d) for k, d in enumerate(more, start=1))
    assert p_of((found.density - truth) / found.error) > ALPHA
    assert p_of((found.density - in_bins(GAMMA)) / found.error) < ALPHA
    # a channel that is missing from the record changes the waits
    missing = waiting_times(records.select("two"), EDGES)
    assert p_of((missing.density - in_bins(GAMMA)) / missing.error) < ALPHA


def test_the_first_wait_is_that_of_a_stationary_start():
    """From a stationary start, the first wait has the density sf(t) / mean."""
    records = renewal(20_000, 4.0, seed=12)
    found = first_waiting_times(records, EDGES)
    fine = np.linspace(0, 3, 12 * 64 + 1)
    truth = stats.gamma.sf(fine, 2, scale=0.5)
    mean = ((truth[1:] + truth[:-1]) / 2).reshape(12, 64).mean(axis=1)
    assert found.starts == 20_000
    assert p_of((found.density - mean) / found.error) > ALPHA
    assert p_of((found.density - in_bins(GAMMA)) / found.error) < ALPHA


def test_errors_know_that_jumps_of_a_trajectory_belong_together():
    """Trajectories with rates of their own: the scatter of seeds is the error bar."""
    values, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rates = rng.gamma(1.0, 3.0, 200)
        number = rng.poisson(rates * 5.0)
        trajectory = np.repeat(np.arange(200), number)
        time = rng.uniform(0, 5, trajectory.size)
        time = time[np.lexsort((time, trajectory))]
        channel = np.zeros(time.size, dtype=int)
        records = as_records(trajectory, time, channel, ("a",), 200, 5.0)
        w, g = waiting_times(records, [0, 0.2, 1]), correlation_g2(records, [0, 1, 2])
        values.append([*w.density, *g.g2])
        errors.append([*w.error, *g.error])
    ratio = np.std(values, axis=0) / np.mean(errors, axis=0)
    assert (ratio < 1.4).all()  # 60 seeds know it to 9 %
    assert (ratio > 0.65).all()
    # a gamma distribution of rates has <r^2>/<r>^2 = 2; the ratio has a bias O(1/n)
    assert np.abs(np.mean(values, axis=0)[2:] - 2).max() < 0.1


def test_errors_of_ratios_are_those_of_their_influence():
    rng = np.random.default_rng(18)
    starts = rng.poisson(rng.gamma(2, 3, 300))
    events = np.array([rng.binomial(starts, p) for p in (0.3, 0.1)]).T
    other = rng.poisson(5.0, 300)
    trajectory, place = np.nonzero(events)
    repeats = events[trajectory, place]
    delay = np.repeat(place + 0.5, repeats)
    sparse = binned(np.repeat(trajectory, repeats), delay, np.arange(3.0), 300)
    assert (sparse.toarray() == events).all()
    for below in ([starts], [starts, other]):
        influence = events / events.mean(axis=0)
        influence = influence - sum(d / d.mean() for d in below)[:, None]
        truth = influence.std(axis=0, ddof=1) / np.sqrt(300)
        found = ratio_errors(sparse, np.array(below, dtype=float))
        np.testing.assert_allclose(found, truth, rtol=1e-10)


def test_an_empty_bin_has_the_error_of_one_event():
    none = np.zeros(0, dtype=np.int64)
    events = binned(none, np.zeros(0), np.array([0.0, 1.0, 2.0]), 100)
    relative = ratio_errors(events, np.ones((1, 100)))
    assert relative == pytest.approx(1.0, rel=0.01)


def test_bins_hold_their_edges():
    trajectory, delay = np.zeros(4, dtype=int), np.array([0.0, 1.0, 2.0, 2.5])
    events = binned(trajectory, delay, np.array([0.0, 1.0, 2.0]), 1)
    assert events.toarray().tolist() == [[1, 2]]


# --- g2 -----------------------------------------------------------------------------


def test_g2_of_a_renewal_process():
    """Gamma waits of shape 2 and rate l per stage: g2 = 1 - exp(-2 l tau)."""
    records = renewal(20_000, 9.0, seed=13)
    found = correlation_g2(records, EDGES)

    def mean(stage):
        drop = -np.diff(np.exp(-2 * stage * EDGES)) / (2 * stage * np.diff(EDGES))
        return 1 - drop

    assert p_of((found.g2 - mean(2.0)) / found.error) > ALPHA
    assert p_of((found.g2 - mean(4.0)) / found.error) < ALPHA
    assert p_of((found.g2 - 1.0) / found.error) < ALPHA
    # channels at random: every pair has the same g2
    crossed = correlation_g2(records, EDGES, "one", then="two")
    assert p_of((crossed.g2 - mean(2.0)) / crossed.error) > ALPHA
    assert crossed.pairs.sum() < found.pairs.sum() / 3


def test_g2_counts_pairs_as_a_double_loop_does():
    records = renewal(6, 9.0, seed=14)
    found = correlation_g2(records, EDGES, "one", then="two")
    pairs = np.zeros(EDGES.size - 1, dtype=int)
    for i in range(6):
        times, channels = records.of(i)
        for t in times[(channels == 0) & (times <= 6.0)]:
            late = times[(channels == 1) & (times > t)]
            pairs += np.histogram(late - t, EDGES)[0]
    assert found.pairs.tolist() == pairs.tolist()


# --- fluctuation theorem ------------------------------------------------------------


def test_the_exact_p_of_the_slope_is_a_convolution_of_binomials():
    k, total = np.array([1, 2, 3]), np.array([300, 40, 9])
    chance = np.array([0.3, 0.15, 0.05])
    mass = np.ones(1)
    for step, n, p in zip(k, total, chance, strict=True):
        spread = np.zeros(step * n + 1)
        spread[::step] = stats.binom.pmf(np.arange(n + 1), n, p)
        mass = np.convolve(mass, spread)
    for seen in (60, 80, 103, 120, 150):
        truth = 2 * min(mass[: seen + 1].sum(), mass[seen:].sum())
        found = slope_p(k, total, chance, seen)
        assert found == pytest.approx(np.clip(truth, 1e-12, 1), abs=2e-12)


def test_the_theorem_holds_for_two_poisson_processes():
    records = poisson_pair(2.0, 0.8, 100_000, seed=15)
    truth = np.log(2.0 / 0.8)
    found = fluctuation_test(records, NET, truth)
    assert found.status == "pass", str(found)
    assert abs(found.estimate - truth) < stats.norm.isf(ALPHA) * found.error
    assert abs(found.integral - 1) < stats.norm.isf(ALPHA) * found.integral_error
    assert len(found.to_frame()) == found.size.size


@pytest.mark.parametrize(
    ("weights", "affinity"),
    [
        ({"up": -1, "down": 1}, np.log(2.5)),  # wrong sign of the weight
        (NET, np.log(1.25)),  # a factor 2 in a rate
        (NET, np.log(5.0)),
        (NET, 0.0),
        ({"up": 1, "down": -0.5}, np.log(2.5)),
        ({"up": 1, "down": -2}, np.log(2.5)),
    ],
)
def test_mutants_of_the_theorem_are_rejected(weights, affinity):
    records = poisson_pair(2.0, 0.8, 20_000, seed=16)
    assert fluctuation_test(records, weights, affinity).status == "fail"


def test_a_curve_with_the_right_slope_is_rejected():
    """P(q)/P(-q) too large at |q| = 1 and too small at 2: the slope alone is right."""
    up, down = {1: 5600, 2: 1100}, {1: 4400, 2: 400}
    values = np.concatenate([np.repeat([1, 2], [*up.values()]),
                             np.repeat([-1, -2], [*down.values()])])  # fmt: skip
    counts = np.array([values.clip(0), (-values).clip(0)])
    records = from_counts(counts, ("up", "down"))
    slope = fluctuation_test(records, NET, 0.5).estimate
    found = fluctuation_test(records, NET, slope)
    assert found.p_slope > 0.5
    assert found.status == "fail"


def test_few_counts_are_inconclusive_and_seldom_false_alarms():
    few = fluctuation_test(poisson_pair(2.0, 0.8, 30, seed=17), NET, np.log(2.5))
    assert few.status == "inconclusive"
    alarms = 0
    for seed in range(400):
        records = poisson_pair(1.0, 0.05, 60, seed)
        found = fluctuation_test(records, NET, np.log(20.0), alpha=0.05)
        alarms += found.p_value < 0.05
    assert alarms <= stats.binom.isf(ALPHA, 400, 0.05)
    # many |q|, each tested: still at most 5 % of all ensembles
    curves = 0
    for seed in range(60):
        records = poisson_pair(20.0, 18.0, 3000, seed)
        curves += fluctuation_test(records, NET, np.log(20 / 18)).p_curve < 0.05
    assert curves <= stats.binom.isf(ALPHA, 60, 0.05)


def test_a_quantity_that_goes_one_way_has_no_theorem():
    records = poisson_pair(2.0, 0.8, 20, seed=16)
    with pytest.raises(ModelError, match="`weights` must have both signs"):
        fluctuation_test(records, "up", 1.0)


def test_nothing_counted_says_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = from_counts(np.zeros((2, 20), int), ("up", "down"))
        found = fluctuation_test(nothing, NET, 1.0)
    assert found.status == "inconclusive"
    assert np.isnan(found.estimate)
    upwards = from_counts(np.array([[1] * 9, [0] * 9]), ("up", "down"))
    one_sided = fluctuation_test(upwards, NET, 9.0)
    assert one_sided.estimate == np.inf
    assert one_sided.status == "inconclusive"
