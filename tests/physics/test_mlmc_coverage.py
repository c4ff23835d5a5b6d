"""Multilevel estimates keep the error that was asked for, over many seeds."""

import mlmc_coverage as study
import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", study.CASES, ids=lambda c: f"{c.scheme}-{c.tolerance:g}"
)
def test_the_true_error_is_what_was_asked_for(case):
    found = study.coverage(case, runs=200, seed=2)
    assert found["rms_error"] <= found["limit"], "the tolerance is kept"
    assert found["rms_error"] >= 0.6, "and the trajectories are not wasted"
    assert abs(found["mean_error"]) <= 0.75, "most of it is not bias"
    assert found["telescoping_failed"] == 0


def test_a_few_runs_give_a_whole_row():
    found = study.coverage(study.CASES[-1], runs=2)
    assert found["runs"] == 2
    assert 0 < found["rms_error"] < 5
    assert found["cost"] > 0
