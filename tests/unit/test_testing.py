"""The assertions that other projects put into their own test suites."""

import numpy as np
import pytest
from analytic import decaying_qubit, driven_qubit
from scipy.stats import binom

from stochq.errors import ModelError
from stochq.references import Reference, master_equation
from stochq.simulation import simulate
from stochq.testing import assert_agree, assert_matches_master
from stochq.unravelings import Homodyne

pytest_plugins = ["pytester"]

TIMES = np.linspace(0, 3, 7)
SYSTEM = decaying_qubit()
MODEL, TRUTH = SYSTEM.model, SYSTEM.reference(TIMES)

#: A test file of a user: right models, wrong rates, a missing channel, a small run.
USER_FILE = """
import numpy as np
import pytest
from stochq import Dissipator, Model, Reference, simulate
from stochq.testing import assert_agree, assert_matches_master

lower, excited = np.array([[0, 1], [0, 0]]), np.diag([0.0, 1.0])
times = np.linspace(0, 3, 7)
truth = Reference(times, ["n"], [np.exp(-0.7 * times)])

def decay(rate):
    dissipators = [Dissipator(lower, rate, name="decay")] if rate else []
    return Model(dissipators=dissipators, initial=[0, 1], observables={"n": excited})

def test_right():
    assert_matches_master(decay(0.7), times)

def test_right_by_own_curves():
    assert_matches_master(decay(0.7), times, reference=truth)

def test_right_ensemble():
    assert_agree(simulate(decay(0.7), times, n_traj=4096, seed=3), truth)

@pytest.mark.parametrize("rate", [0.7 * 1.2, 0.7 / 1.2, 0])
def test_wrong(rate):
    assert_matches_master(decay(rate), times, reference=truth)

def test_small():
    assert_matches_master(decay(0.7), times, n_traj=256)
"""


def test_in_pytest_right_models_pass_and_mutants_fail_with_a_message(pytester):
    pytester.makepyfile(USER_FILE)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, failed=4)
    wrong = [
        "E * AssertionError: FAIL: largest deviation * standard errors (*'n'*",
        "E * a right model fails this test at 1e-06 of all seeds",
        "E * repeat: verify(simulate(model, times, n_traj=4096, seed=1), "
        "reference, alpha=1e-06, resolution=0.1).explain()",
    ]
    small = [
        "E * AssertionError: INCONCLUSIVE: *",
        "E * about * trajectories would resolve 10 %",
        "E * a test that could not have seen the fault asked for does not pass",
    ]
    result.stdout.fnmatch_lines(wrong * 3 + small)
    # tracebacks end in the user's own line
    result.stdout.no_fnmatch_line("*_require(*")


def test_the_number_asked_for_is_enough():
    few = {"n_traj": 256, "resolution": 0.1}
    with pytest.raises(AssertionError) as caught:
        assert_matches_master(MODEL, TIMES, **few)
    words = str(caught.value).split("about ")[1].split()
    enough = int(1.2 * float(words[0]))
    assert 256 < enough < 20_000
    verdict = assert_matches_master(MODEL, TIMES, **few | {"n_traj": enough})
    assert verdict.status == "pass"
    assert verdict.detectable_shift <= 0.1


def test_the_line_repeats_the_failure():
    model, times = driven_qubit(1.0, 0.5).model, TIMES
    wrong = master_equation(model.with_rate("decay", 2), times)
    choice = {"decay": Homodyne(phase=0.5)}
    with pytest.raises(AssertionError) as caught:
        assert_matches_master(model, times, unraveling=choice, reference=wrong, seed=7)
    line = str(caught.value).splitlines()[-1].removeprefix("repeat: ")
    names = {"model": model, "times": times, "reference": wrong}
    exec("from stochq import *", names)
    assert str(caught.value).startswith(eval(line, names))


def test_the_verdict_comes_back():
    verdict = assert_matches_master(MODEL, TIMES, alpha=1e-4, seed=5)
    assert verdict.status == "pass"
    assert verdict.alpha == 1e-4
    ensemble = simulate(MODEL, TIMES, n_traj=4096, seed=5)
    assert assert_agree(ensemble, TRUTH).n_traj == 4096


def test_false_alarms_are_as_rare_as_stated():
    """At alpha = 0.2 a right model fails at one of five seeds; a mutant at most."""
    mutant = decaying_qubit(1.4 * 0.7).reference(TIMES)
    failed = {"right": 0, "mutant": 0}
    for seed in range(15):
        ensemble = simulate(MODEL, TIMES, n_traj=512, seed=seed)
        for name, truth in (("right", TRUTH), ("mutant", mutant)):
            try:
                assert_agree(ensemble, truth, alpha=0.2, resolution=0.9)
            except AssertionError as error:
                failed[name] += str(error).startswith("FAIL")
    # so many of 15 at a rate of 0.2 have a probability below 1e-6
    assert failed["right"] <= binom.isf(1e-6, 15, 0.2) < failed["mutant"]


def test_bad_input_is_refused_as_elsewhere():
    with pytest.raises(ModelError, match="`alpha` must be between 0 and 1"):
        assert_matches_master(MODEL, TIMES, alpha=2)
    with pytest.raises(ModelError, match="`reference` must be a Reference"):
        assert_matches_master(MODEL, TIMES, n_traj=256, reference=TRUTH.values)
    with pytest.raises(ModelError, match="`ensemble` must be what simulate"):
        assert_agree(TRUTH, TRUTH)
    wrong = Reference(TIMES, ["other"], [0 * TIMES])
    with pytest.raises(ModelError, match="`reference` must be about observables"):
        assert_matches_master(MODEL, TIMES, n_traj=256, reference=wrong)
