"""Runs that end with a tolerance or a time limit: when, and with what error."""

from functools import cache
from itertools import islice, pairwise

import numpy as np
import pytest
import stopping_coverage as study
from analytic import EXCITED, LOWER, SX, SZ, UP
from bits import bits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stochq import (
    Dissipator,
    EulerMaruyama,
    FailureWarning,
    Model,
    Strang,
    Tolerance,
    WhiteNoise,
    simulate,
)
from stochq.folders import resume
from stochq.running.stopping import Goal, as_goal, cautious_error, goal_of, looks
from stochq.schemes.lanes import ATOM
from stochq.statistics.moments import Moments

TIMES = np.linspace(0, 1, 3)

DRIVEN = Model(
    hamiltonian=SX,
    noise=WhiteNoise(SZ, rate=0.3, name="phase"),
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=[0, 1],
    observables={"x": SX, "z": SZ},
)
SCHEME = Strang(0.1)
TOLERANCE = 0.03


def run(model=DRIVEN, seed=1, **how):
    how = {"scheme": SCHEME, "progress": False} | how
    return simulate(model, TIMES, seed=seed, **how)


def atom(probability, **changes):
    """An atom that decays with a probability, and nothing else."""
    rate = -np.log1p(-probability) / TIMES[-1]
    parts = {
        "dissipators": Dissipator(LOWER, rate, name="decay"),
        "initial": UP,
        "observables": {"n": EXCITED, "lost": np.eye(2) - EXCITED},
    }
    return Model(**(parts | changes))


# ------------------------------------------------------------------------- coverage


CASES = {f"{case.label} {study.asked(case.tolerance)}": case for case in study.CASES}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_true_error_is_the_one_asked_for(name):
    found = study.coverage(CASES[name], seeds=200, seed=2)
    for level in study.LEVELS:
        assert found[f"covered_{level}"] >= found[f"limit_{level}"]
    assert found["rms"] <= found["rms_limit"]


@pytest.mark.parametrize(
    "label",
    [
        "hidden jumps",
        pytest.param("rare jumps, unknown limits", marks=pytest.mark.slow),
    ],
)
def test_few_events_are_covered_but_not_by_a_naive_rule(label):
    case = next(case for case in study.CASES if case.label == label)
    found = study.coverage(case, seeds=60, seed=3)
    for level in study.LEVELS:
        assert found[f"covered_{level}"] >= found[f"limit_{level}"]
    assert found["rms"] <= found["rms_limit"] < found["naive_rms"]
    assert found["naive_95"] < found["limit_95"]


def binomial(n, most):
    """Moments of samples of n, of which 0 ... most are 1 and the others 0."""
    k = np.arange(most + 1)[None]
    q = k / n
    m2 = n * q * (1 - q)
    m4 = m2 * (1 - 3 * q * (1 - q))
    return Moments(n, q, m2, m2 * (1 - 2 * q), m4, 1.0 * (k == n), 1.0 * (k > 0))


def error_of(moments):
    return cautious_error(moments, np.ones(1), False)[0]


def without_unseen(moments):
    """Mutant: what was not seen is taken not to be there."""
    doubt = np.where(moments.m2 > 0, moments.variance_doubt, 0.0)
    return (moments.mcse * np.sqrt(1 + 2 * doubt))[0]


def three_events(moments):
    """Mutant: 3 / n, the 95 percent limit of what was not seen, as a variance."""
    return np.sqrt(without_unseen(moments) ** 2 + 3 / moments.count**2)


def covered(probability, tolerance, error, allowed):
    """Exact coverage of 1, 1.96 and 2.58 tolerances, and the mean square error.

    Events are 0 or 1. What is followed from look to look are the probabilities of all
    numbers of events in runs that go on; what stops is counted.
    """
    going, last, found = np.ones(1), 0, np.zeros(4)
    widths = np.array(list(study.WIDTHS.values()))[:, None]
    while going.sum() > 1e-7:
        n = ATOM * next(looks(last // ATOM + 1))
        law = stats.binom.pmf(np.arange(n - last + 1), n - last, probability)
        going, last = np.convolve(going, law), n
        going = going[: np.flatnonzero(going > 1e-12)[-1] + 1]
        moments = binomial(n, going.size - 1)
        stop = error(moments) <= allowed(moments)
        off = np.abs(moments.mean[0] - probability) / tolerance
        found[:3] += (going * stop * (off <= widths)).sum(axis=-1)
        found[3] += (going * stop * off**2).sum()
        going = np.where(stop, 0.0, going)
    return found


NOMINAL = np.array([*study.LEVELS.values()])


def worst(error):
    """Return how far coverage exceeds what is nominal, at least, and the largest rms.

    Tolerances are those that a sample with 0, 1 or 3 events just meets at one of the
    first looks; events are so rare that few decide.
    """
    lowest, largest = np.ones(3), 0.0
    for n in ATOM * np.array(list(islice(looks(1), 6))):
        for events in (0, 1, 3):
            met = max(error(binomial(n, events))[-1], error_of(binomial(n, 0))[0])
            for units in (0.3, 1.01, 1.97, 2.58, 3.2, 5.0, 8.0):
                one = met * (1 + 1e-9)
                found = covered(units * met, one, error, lambda _, one=one: one)
                lowest = np.minimum(lowest, found[:3] - NOMINAL)
                largest = max(largest, np.sqrt(found[3]))
    return lowest, largest


def test_few_events_are_covered_exactly():
    lowest, largest = worst(error_of)
    assert (lowest > 0).all()
    assert largest < 1
    lowest, largest = worst(without_unseen)
    assert (lowest < -0.1).all()
    assert largest > 1.1


def test_the_allowance_for_the_unseen_is_no_larger_than_needed():
    """At the look where 0 events are just enough, 2.58 tolerances hide them best."""
    for n in (256, 512, 640):
        for error, enough in ((error_of, True), (three_events, False)):
            met = error(binomial(n, 0))[0] * (1 + 1e-9)
            found = covered(2.5764 * met, met, error, lambda _, met=met: met)
            assert (found[2] > NOMINAL[2]) == enough


@pytest.mark.parametrize("relative", [0.2, 0.35, 0.5, 1.0])
def test_a_relative_tolerance_does_not_wait_for_a_mean_that_is_large_by_chance(
    relative,
):
    asked, p = Tolerance(relative=relative), 0.004

    def with_reserve(moments):
        return relative * np.maximum(moments.mean[0] - error_of(moments), 0)

    def mutant(moments):
        return relative * moments.mean[0]

    found = covered(p, relative * p, error_of, with_reserve)
    assert (found[:3] > NOMINAL).all()
    assert found[3] < 1
    for k in (0, 3, 10, 40):  # that is what a goal does
        moments = binomial(256, k)
        last = Moments(256, *(power[:, [-1]] for power in moments.powers))
        ratio = Goal(tolerance=(asked,)).ratio(last, np.ones(1), np.zeros((1, 1)))
        enough = error_of(moments)[-1] <= with_reserve(moments)[-1]
        assert (ratio <= 1) == enough
    if relative == 1.0:
        assert covered(p, p, error_of, mutant)[2] < NOMINAL[2] - 0.005


# ---------------------------------------------------------------------------- looks


def test_looks_grow_by_a_quarter_and_are_round():
    found = list(islice(looks(1), 40))
    assert found[:9] == [4, 5, 6, 7, 8, 10, 12, 14, 16]
    for one, other in pairwise(found):
        assert one < other <= 1.25 * one
        assert (other & -other) * 8 > other, "few blocks make it up"
    assert list(islice(looks(9), 3)) == [10, 12, 14]
    assert next(looks(8)) == 8, "a run that ended at a look ends there again"


@cache
def whole(tolerance=TOLERANCE, seed=1):
    return run(tolerance=tolerance, seed=seed)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    n_jobs=st.sampled_from([1, 2, 3]), batch=st.integers(1, 9), seed=st.integers(0, 3)
)
def test_it_stops_at_the_same_point_whoever_runs_it(n_jobs, batch, seed):
    again = run(tolerance=TOLERANCE, seed=seed, n_jobs=n_jobs, batch=batch)
    assert again.stopped_by == "tolerance"
    assert again.n_traj // ATOM in list(islice(looks(1), 40))
    assert bits(again) == bits(whole(seed=seed))


def test_what_it_ends_with_is_what_that_many_trajectories_give():
    ended = whole()
    assert ended.n_traj > 4 * ATOM
    assert bits(run(n_traj=ended.n_traj)) == bits(ended)
    assert (ended.mcse <= TOLERANCE).all()
    before = max(k for k in islice(looks(1), 40) if k < ended.n_traj // ATOM)
    goal = as_goal(None, TOLERANCE, None, ended.names)
    few = run(n_traj=before * ATOM)
    assert goal.ratio(few.moments, few.ranges, few.deterministic) > 1
    assert goal.ratio(ended.moments, ended.ranges, ended.deterministic) <= 1


# ------------------------------------------------------------------- what ends a run


def test_the_first_goal_that_is_reached_ends_it():
    enough = whole().n_traj
    assert run(n_traj=enough + 1000, tolerance=TOLERANCE).stopped_by == "tolerance"
    few = run(n_traj=enough - 70, tolerance=TOLERANCE)
    assert (few.n_traj, few.stopped_by) == (enough - 70, "n_traj")
    assert bits(few) == bits(run(n_traj=enough - 70))
    both = run(n_traj=enough, tolerance=TOLERANCE)
    assert (both.n_traj, both.stopped_by) == (enough, "n_traj")
    late = run(n_traj=100, tolerance=TOLERANCE, max_time=1e6)
    assert (late.n_traj, late.stopped_by) == (100, "n_traj")


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_time_limit_ends_it_after_whole_atoms(n_jobs):
    timed = run(max_time=0.1, n_jobs=n_jobs, batch=2)
    assert timed.stopped_by == "max_time"
    assert timed.n_traj % ATOM == 0
    assert bits(timed) == bits(run(n_traj=timed.n_traj))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_no_time_at_all_is_enough_for_one_atom(n_jobs):
    for goal in ({}, {"n_traj": 1000}, {"tolerance": TOLERANCE}):
        short = run(max_time=1e-9, n_jobs=n_jobs, **goal)
        assert (short.n_traj, short.stopped_by) == (ATOM, "max_time")
    assert bits(short) == bits(run(n_traj=ATOM))


def test_fewer_trajectories_than_an_atom_need_no_look():
    short = run(n_traj=5, tolerance=10.0, max_time=1e-9)
    assert (short.n_traj, short.stopped_by) == (5, "n_traj")


def test_a_run_that_goes_on_ends_where_it_would_have_ended(tmp_path):
    first = run(tolerance=TOLERANCE, max_time=1e-9, checkpoint=tmp_path / "a")
    assert first.stopped_by == "max_time"
    again = run(tolerance=TOLERANCE, checkpoint=tmp_path / "a")
    assert again.stopped_by == "tolerance"
    assert bits(again) == bits(whole())
    # from a number of trajectories that is no look and has an atom that is not full
    run(n_traj=whole().n_traj - 7, checkpoint=tmp_path / "b")
    later = resume(tmp_path / "b", tolerance=TOLERANCE, n_jobs=2, progress=False)
    assert bits(later) == bits(whole())
    # once reached, it is reached
    assert bits(resume(tmp_path / "b", progress=False)) == bits(whole())
    closer = run(tolerance=0.8 * TOLERANCE, checkpoint=tmp_path / "b")
    assert bits(closer) == bits(whole(0.8 * TOLERANCE))


# ------------------------------------------------------------- what is known already


def test_what_never_fluctuates_is_known_at_the_first_look():
    still = Model(hamiltonian=SX, initial=[1, 0], observables={"z": SZ})
    for tolerance in (1e-12, Tolerance(relative=1e-12)):
        found = simulate(still, TIMES, tolerance=tolerance, seed=1, progress=False)
        assert (found.n_traj, found.stopped_by) == (4 * ATOM, "tolerance")


def test_conserved_quantities_do_not_keep_others_waiting():
    spin = Model(
        noise=WhiteNoise(SZ, rate=0.4, name="phase"),
        initial=[0.6, 0.8],
        observables={"z": SZ, "x": SX},
    )
    both = run(spin, tolerance={"z": 1e-12, "x": 0.05})
    one = run(spin, tolerance={"x": 0.05})
    assert bits(both) == bits(one)
    assert run(spin, tolerance={"z": 1e-12}).n_traj == 4 * ATOM


def test_only_named_observables_count():
    close, loose = run(tolerance=0.02), run(tolerance={"z": 0.02, "x": 0.2})
    assert bits(loose) == bits(run(tolerance={"z": 0.02}))
    assert loose.n_traj <= close.n_traj
    assert run(tolerance={"x": 0.02, "z": 9.0}).n_traj != loose.n_traj
    assert run(tolerance=100.0).n_traj == 4 * ATOM


def test_relative_tolerances_are_those_of_the_largest_mean():
    found = run(tolerance={"z": Tolerance(relative=0.02)})
    assert bits(found) == bits(run(tolerance={"z": Tolerance(0.0, 0.02)}))
    scale = np.abs(found.mean[1]).max()
    assert found.mcse[1].max() <= 0.02 * scale
    near = run(tolerance={"z": 0.02 * scale})
    assert near.n_traj <= found.n_traj <= 1.5 * near.n_traj
    more = run(tolerance={"z": Tolerance(absolute=0.02, relative=0.02)})
    assert more.n_traj < found.n_traj


def test_the_unit_of_an_observable_does_not_matter():
    small = Model(
        hamiltonian=SX,
        noise=WhiteNoise(SZ, rate=0.3, name="phase"),
        dissipators=Dissipator(LOWER, 0.7, name="decay"),
        initial=[0, 1],
        observables={"x": 2.0**-10 * SX, "z": 2.0**-10 * SZ},
    )
    assert run(small, tolerance=2.0**-10 * TOLERANCE).n_traj == whole().n_traj


def test_events_without_a_mean_yet_are_waited_for():
    """Half of all first looks see no event: no mean, but no reason to stop either."""
    wanted = {"lost": Tolerance(relative=0.5)}
    for seed in range(4):
        found = run(atom(0.003), tolerance=wanted, seed=seed, scheme=None)
        assert found.stopped_by == "tolerance"
        assert found.mean[1, -1] * found.n_traj > 9
    nothing = run(atom(1e-9), tolerance=wanted, n_traj=1000, scheme=None)
    assert (nothing.n_traj, nothing.stopped_by) == (1000, "n_traj")


# ----------------------------------------------------------------- functions, failures


def excitation(kets):
    return np.abs(kets[:, 1]) ** 2


class Bounded:
    """The same, with limits that it states."""

    limits = (0.0, 1.0)

    def __call__(self, kets):
        return np.abs(kets[:, 1]) ** 2


def test_functions_of_trajectories_have_tolerances_too():
    functions = {"e": excitation, "bounded": Bounded()}
    found = run(tolerance={"bounded": 0.02}, functions=functions)
    same = run(tolerance={"e": 0.02}, functions=functions)
    assert bits(found) == bits(same), "it comes as close to its limits as it can"
    assert found.mcse[2].max() <= 0.02
    with pytest.raises(ValueError, match=r"among \['x', 'z', 'e', 'bounded'\]"):
        run(tolerance={"purity": 0.02}, functions=functions)


def diverging(kets):
    return np.where(np.abs(kets[:, 0]) ** 2 > 0.9, np.nan, 1.0)


@pytest.mark.parametrize("tolerance", [0.5, Tolerance(relative=0.5), {"f": 0.5}])
def test_values_that_are_not_finite_end_it(tolerance):
    with pytest.warns(FailureWarning, match="not finite"):
        found = run(tolerance=tolerance, functions={"f": diverging})
    assert (found.n_traj, found.stopped_by) == (4 * ATOM, "not finite")
    assert found.failed > 0
    with pytest.warns(FailureWarning, match="not finite"):
        others = run(tolerance={"x": TOLERANCE}, functions={"f": diverging})
    assert others.stopped_by == "tolerance", "x itself is known"


def test_a_value_that_is_not_finite_where_nothing_fluctuates_ends_it_too():
    def late(kets):
        return np.where(np.abs(kets[:, 1]) ** 2 == 1, np.nan, 1.0)

    with pytest.warns(FailureWarning, match="256 of 256"):
        found = run(tolerance={"f": 0.5}, functions={"f": late})
    assert found.stopped_by == "not finite"


def test_a_scheme_that_diverges_ends_it():
    model = Model(
        hamiltonian=1e3 * SX,
        noise=WhiteNoise(SZ, rate=1.0, name="phase"),
        initial=[1, 0],
        observables={"z": SZ},
    )
    with pytest.warns(FailureWarning, match="256 of 256"):
        found = simulate(
            model, [0, 100], tolerance=0.1, seed=1, scheme=EulerMaruyama(0.5)
        )
    assert (found.n_traj, found.stopped_by) == (4 * ATOM, "not finite")


# ------------------------------------------------------------------------ arguments

WRONG = {
    "nothing": ({}, "`n_traj`, `tolerance` or `max_time` must say when to stop"),
    "zero": ({"tolerance": 0}, "`tolerance` must be a finite number > 0"),
    "negative": ({"tolerance": -0.1}, "`tolerance` must be a finite number > 0"),
    "NaN": ({"tolerance": np.nan}, "`tolerance` must be a finite number > 0"),
    "infinite": ({"tolerance": np.inf}, "`tolerance` must be a finite number > 0"),
    "bool": ({"tolerance": True}, "`tolerance` must be a finite number > 0"),
    "words": ({"tolerance": "small"}, "`tolerance` must be .* but is 'small'"),
    "list": ({"tolerance": [0.1, 0.1]}, "`tolerance` must be a finite number > 0"),
    "complex": ({"tolerance": 0.1j}, "`tolerance` must be a finite number > 0"),
    "no names": ({"tolerance": {}}, r"must name observables among \['x', 'z'\]"),
    "unknown": ({"tolerance": {"y": 0.1}}, r"but names \['y'\]"),
    "numbers": ({"tolerance": {1: 0.1}}, r"but names \[1\]"),
    "named zero": ({"tolerance": {"x": 0}}, r"`tolerance\['x'\]` must be a finite"),
    "named none": ({"tolerance": {"x": None}}, r"`tolerance\['x'\]` must be a finite"),
    "named bool": ({"tolerance": {"z": True}}, r"`tolerance\['z'\]` must be a finite"),
    "time zero": ({"max_time": 0}, "`max_time` must be a finite number of seconds > 0"),
    "time NaN": ({"max_time": np.nan}, "`max_time` must be a finite number of seconds"),
    "time endless": ({"max_time": np.inf}, "`max_time` must be a finite number"),
    "time bool": ({"max_time": True}, "`max_time` must be a finite number of seconds"),
    "time words": ({"max_time": "1 h"}, "`max_time` must be .* but is '1 h'"),
    "one": ({"n_traj": 1}, "`n_traj` must be >= 2, but is 1"),
    "n bool": ({"n_traj": True}, "`n_traj` must be an integer, but is True"),
    "n beside": ({"n_traj": 1.5, "tolerance": 0.1}, "`n_traj` must be an integer"),
}


@pytest.mark.parametrize(("goal", "message"), WRONG.values(), ids=WRONG)
def test_goals_that_make_no_sense_are_refused(goal, message):
    with pytest.raises(ValueError, match=message):
        run(**goal)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, True, "1", None, 1j])
def test_tolerances_of_no_sense_are_refused(value):
    for name in ("absolute", "relative"):
        with pytest.raises(ValueError, match=f"`{name}` of a Tolerance must be a fin"):
            Tolerance(**{name: value})


def test_a_tolerance_of_zero_is_never_reached():
    with pytest.raises(ValueError, match="no number of trajectories reaches"):
        Tolerance()


def test_stratified_ensembles_and_shards_have_no_tolerance():
    for goal in ({"tolerance": 0.1}, {"tolerance": 0.1, "n_traj": 1000}):
        with pytest.raises(ValueError, match="`shard` must go with n_traj"):
            run(shard=(1, 2), **goal)
    with pytest.raises(ValueError, match="`stratified` must go with n_traj alone"):
        run(atom(0.5), stratified=True, tolerance=0.1, scheme=None)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    n_traj=st.none() | st.integers(2, 10**9),
    absolute=st.floats(1e-9, 1.0),
    relative=st.floats(0, 1.0),
    names=st.sets(st.sampled_from("abc"), min_size=1) | st.none(),
    max_time=st.none() | st.floats(1e-3, 1e9),
)
def test_goals_survive_as_plain_values(n_traj, absolute, relative, names, max_time):
    one = Tolerance(absolute, relative)
    tolerance = one if names is None else dict.fromkeys(names, one)
    goal = as_goal(n_traj, tolerance, max_time, "abc")
    assert goal_of(goal.record("abc"), "abc") == goal
