"""SIGKILL at random moments: nothing is lost but time, and no bit differs."""

import pytest
import soak


def checked(found, kills):
    assert len(found.kills) == kills
    assert len(found.disturbed) == 64
    assert found.disturbed == found.undisturbed
    safe = [kill.trajectories for kill in found.kills]
    assert safe == sorted(safe), "what was safe once is safe for good"
    return safe


def test_a_few_kills_change_no_bit(tmp_path):
    found = soak.study(tmp_path / "run", 2, 100_000, seed=4, working=0.2)
    assert checked(found, 2)[-1] > 0


@pytest.mark.slow
def test_fifty_kills_change_no_bit(tmp_path):
    found = soak.study(tmp_path / "run", soak.KILLS, soak.N_TRAJ, seed=2)
    safe = checked(found, soak.KILLS)
    assert len(set(safe)) > 15, "most of them came while it worked"
