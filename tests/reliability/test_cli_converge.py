"""`stochq converge`: tables, figures, exit codes, one clear line for bad input."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import stochq.problems
from stochq.cli import main
from stochq.documents import all_claims
from stochq.orders import Convergence

ROOT = Path(__file__).parents[2]
QUICK = ["--levels", "3", "--n-traj", "128", "--n-jobs", "1"]


def one_line(capsys):
    """Return the only line on stderr."""
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert err.startswith("stochq: error: ")
    return err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Strong"], "is 'Strong'; did you mean Strang"),
        (["eulermaruyana"], "did you mean EulerMaruyama"),
        (["M9"], "did you mean M2, M1"),
        ([""], "is ''; known: Alternating, B1, D3"),
        (["exact"], "Exact has no step: there is nothing to converge"),
        (["Heun", "--dt", "0"], "`--dt` must be a finite number > 0, but is 0"),
        (["Heun", "--dt", "nan"], "`--dt` must be a finite number > 0, but is nan"),
        (["Heun", "--dt", "1e-9"], "`levels` must leave at most"),
        (["Heun", "--levels", "2"], "`--levels` must be an integer >= 3, but is 2"),
        (["Heun", "--n-traj", "10"], "`--n-traj` must be an integer >= 64"),
        (["Heun", "--seed", "x"], "`--seed` must be an integer >= 0, but is x"),
        (["Heun", "--n-jobs", "0"], "`--n-jobs` must be an integer >= 1"),
        (["Heun", "--out", ""], "`--out` must be a folder, but is empty"),
        ([], "arguments are required: SCHEME|CLAIM"),
        (["Heun", "Strang"], "unrecognized arguments: Strang"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["converge", *arguments]) == 2
    assert message in one_line(capsys)


def test_a_scheme_is_studied_on_every_problem(capsys, tmp_path):
    assert main(["converge", "heun", *QUICK, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    for problem in stochq.problems.all_problems():
        assert f"Heun(dt=0.25) on {problem.model.name}" in text
    errors = pd.read_csv(tmp_path / "converge_Heun.csv", keep_default_na=False)
    assert len(errors) == 3 * 3 * 3
    sampling = pd.read_csv(tmp_path / "converge_Heun_n.csv")
    assert set(sampling["n_traj"]) >= {64, 128}
    assert (tmp_path / "converge_Heun.png").read_bytes()[1:4] == b"PNG"
    assert (tmp_path / "converge_Heun.pdf").read_bytes()[:4] == b"%PDF"
    assert len(list(tmp_path.iterdir())) == 4


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_jobs(tmp_path):
    for name, jobs in (("a", "1"), ("b", "2")):
        arguments = ["--levels", "3", "--n-traj", "192", "--n-jobs", jobs]
        assert main(["converge", "M1", *arguments, "--out", str(tmp_path / name)]) == 0
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 4
    for name in files:
        same = [(tmp_path / run / name).read_bytes() for run in "ab"]
        assert same[0] == same[1], name


def test_a_problem_that_a_scheme_refuses_is_named(capsys, tmp_path):
    assert main(["converge", "Milstein", *QUICK, "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (
        "fluctuating couplings: Milstein() must have noise channels that comm" in text
    )
    assert len(pd.read_csv(tmp_path / "converge_Milstein.csv")) == 2 * 3 * 3


def small_claims():
    """Return claims with short times."""
    claims = [claim for claim in all_claims() if claim.id in ("M1", "B1")]
    small = []
    for claim in claims:
        cases = [replace(c, times=c.times[:3]) for c in claim.cases()]
        small.append(replace(claim, cases=lambda cases=cases: cases))
    return small


def test_a_claim_is_studied_with_its_default_scheme(capsys, tmp_path):
    arguments = ["converge", "m1", *QUICK, "--out", str(tmp_path)]
    assert main(arguments, small_claims()) == 0
    text = capsys.readouterr().out
    assert text.startswith("Strang(dt=0.1) on noisy chain of 4 TLS")
    assert (tmp_path / "converge_M1.pdf").exists()


def test_a_claim_without_a_step_says_so(capsys, tmp_path):
    arguments = ["converge", "B1", *QUICK, "--out", str(tmp_path)]
    assert main(arguments, small_claims()) == 0
    text = capsys.readouterr().out
    assert text.startswith("B1: Exact() has no step, there is nothing to converge; Str")
    assert "exact to rounding" in text


def test_a_wrong_order_exits_1(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(Convergence, "agrees", property(lambda _: False))
    assert main(["converge", "Heun", *QUICK, "--out", str(tmp_path)]) == 1
    assert "an order differs from the declared" in capsys.readouterr().err


def test_all_refused_is_an_error(capsys, tmp_path, monkeypatch):
    only = stochq.problems.fluctuating_couplings()
    monkeypatch.setattr(stochq.problems, "all_problems", lambda: (only,))
    assert main(["converge", "Milstein", *QUICK, "--out", str(tmp_path)]) == 2
    assert "channels that commute" in one_line(capsys)


def test_the_command_runs_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "stochq", "converge", "TwoPoint", *QUICK]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "TwoPoint has means, but no paths" in done.stdout
