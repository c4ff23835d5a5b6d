"""Folders damaged at random give the right bits or one line that refuses."""

import fuzz_checkpoints as study
import pytest


def bad(found):
    return [case for case in found if not study.good(case)]


def test_a_few_damaged_folders_give_no_wrong_number():
    found = list(study.cases(52, seed=2))
    assert bad(found) == []
    assert {case.damage for case in found} == {d.__name__ for d in study.DAMAGES}
    right = sum(case.outcome == study.RIGHT for case in found)
    assert right > 26, "most damage is mended"


@pytest.mark.slow
def test_many_damaged_folders_give_no_wrong_number():
    assert bad(study.cases(1000, seed=3)) == []


def test_a_wrong_number_would_be_seen():
    wrong = study.run(study.NAMES[0], study.N_TRAJ, seed=2)
    assert study.judged(wrong, study.NAMES[0]) == "WRONG BITS"
