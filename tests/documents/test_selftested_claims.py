"""Faults planted in one claim of each document: the quick profile catches them."""

import pandas as pd
import pytest

from stochq.cli import main
from stochq.documents import all_claims

#: What no observable of a claim can see, in any of its cases.
UNSEEN = {
    # the Hamiltonian commutes with all that the claim is about
    "D3": {"Hamiltonian dropped", "Hamiltonian with the wrong sign"},
}


@pytest.mark.slow
@pytest.mark.parametrize("claim", ["S1", "D3", "M2", "B1"])
def test_every_fault_of_the_physics_is_caught_in_the_quick_profile(claim, tmp_path):
    known = [one for one in all_claims() if one.id == claim]
    code = main(["selftest", claim, "--n-jobs", "2", "--out", str(tmp_path)], known)
    assert code == 0
    table = pd.read_csv(tmp_path / "selftest.csv", keep_default_na=False)
    best = {}
    for row in table.itertuples():
        best.setdefault((row.fault, row.what), set()).add(row.outcome)
    never = {key: seen for key, seen in best.items() if "caught" not in seen}
    assert not [key for key, seen in never.items() if "missed" in seen]
    unseen = {fault for (fault, _), seen in never.items() if "unseen" in seen}
    assert unseen == UNSEEN.get(claim, set())
    by_five_percent = {key for key in best if key[0] == "rate x 1.05"}
    assert by_five_percent
    assert all("caught" in best[key] for key in by_five_percent)
