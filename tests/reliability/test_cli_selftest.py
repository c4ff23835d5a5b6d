"""`stochq selftest`: table, exit codes, one clear line for bad input."""

import numpy as np
import pandas as pd
import pytest
from analytic import LOWER, SX, SZ

from stochq.channels import Dissipator
from stochq.claims import Case, Claim, Reading
from stochq.cli import main
from stochq.model import Model
from stochq.references import master_equation

TIMES = np.linspace(0, 2, 5)
QUBIT = Model(
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=[0.6, 0.8],
    observables={"x": SX, "z": SZ},
)
QUICK = ["--n-jobs", "1"]


def claim(name="T1", factor=1.0, n_traj=4096, watched=("x", "z")):
    """Return a claim about a qubit whose rate is right but for a factor."""
    model = Model(
        dissipators=QUBIT.dissipators,
        initial=QUBIT.initial,
        observables={key: QUBIT.observables[key] for key in watched},
    )
    printed = master_equation(model.with_rate("decay", 2), TIMES)
    mended = master_equation(model.with_rate("decay", factor), TIMES)
    readings = [
        Reading("document", printed, "twice the rate"),
        Reading("correction", mended, "the rate"),
    ]
    return Claim(
        id=name,
        document="900",
        statement="a qubit decays",
        equation="",
        source="",
        expected="holds as corrected",
        cases=lambda: [Case("jumps", model, TIMES, {"quick": n_traj}, readings)],
    )


def run(out, *claims):
    """Run the command and return its exit code and table."""
    names = [one.id for one in claims]
    code = main(["selftest", *names, *QUICK, "--out", str(out)], claims)
    return code, pd.read_csv(out / "selftest.csv", keep_default_na=False)


def test_faults_are_planted_against_the_correction(capsys, tmp_path):
    code, table = run(tmp_path, claim())
    text = capsys.readouterr().out
    assert set(table.claim) == {"T1"}
    assert set(table.case) == {"jumps"}
    assert set(table.outcome) == {"caught", "equivalent"}
    assert "rate x 2" in set(table.fault)  # which is what the document printed
    assert code == 0
    assert "T1, jumps\n" in text
    assert f"results in {tmp_path / 'selftest.csv'}" in text
    for row in table.itertuples():
        assert row.fault in text


def test_what_one_case_misses_another_may_catch(capsys, tmp_path):
    small, large = claim("T1", n_traj=1024, watched=("z",)), claim("T2")
    (case,), (other,) = small.cases(), large.cases()
    both = Claim(
        id="T3",
        document="900",
        statement="",
        equation="",
        source="",
        expected="holds as corrected",
        cases=lambda: [case, other],
    )
    _, alone = run(tmp_path, small)
    missed = capsys.readouterr().out
    _, table = run(tmp_path, both)
    text = capsys.readouterr().out
    tiny = alone[alone.fault == "rate x 1.05"]
    assert set(tiny.outcome) == {"missed"}
    assert "missed in every case: rate x 1.05 in 'decay'" in missed
    assert sorted(table[table.fault == "rate x 1.05"].outcome) == ["caught", "missed"]
    assert "missed in every case: rate x 1.05" not in text


def test_a_missed_fault_is_exit_code_1(tmp_path):
    code, table = run(tmp_path, claim(n_traj=1024, watched=("z",)))
    assert (table[table.fault == "rate x 1.05"].outcome == "missed").all()
    assert code == 1


def test_a_right_run_that_does_not_pass_is_exit_code_1(capsys, tmp_path):
    code, table = run(tmp_path, claim(factor=1.5))
    assert code == 1
    assert table.empty
    text = capsys.readouterr().out
    assert "nothing can be said about faults" in text
    assert "1 cases say nothing" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments are required: ID"),
        (["T9"], "is 'T9'; did you mean T1"),
        (["T1", "--profile", "slow"], "`--profile` must be quick or full"),
        (["T1", "--seed", "-1"], "`--seed` must be an integer >= 0"),
        (["T1", "--n-jobs", "0"], "`--n-jobs` must be an integer >= 1"),
        (["T1", "--out", ""], "`--out` must be a folder, but is empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["selftest", *arguments], [claim()]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
