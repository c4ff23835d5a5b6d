"""The command line: exit codes, one clear line for every bad input, nothing lost."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from stochq.cli import main
from stochq.documents import all_claims

ROOT = Path(__file__).parents[2]


def small_claim(**changes):
    """Return claim M1 made quick."""
    claim = next(claim for claim in all_claims() if claim.id == "M1")
    cases = [replace(case, n_traj={"quick": 2048}) for case in claim.cases()]
    return replace(claim, **{"cases": lambda: cases, **changes})


class Interrupting(dict):
    """Sizes of a run that somebody stops with Ctrl-C when it is to start."""

    def __getitem__(self, profile):
        signal.raise_signal(signal.SIGINT)


def interrupted_claim():
    (case,) = small_claim().cases()
    return small_claim(id="M8", cases=lambda: [replace(case, n_traj=Interrupting())])


def one_line(capsys):
    """Return the only line on stderr, with nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("stochq: error: ")
    return err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "nonsense"], "is 'nonsense'; known: 000, 002"),
        (["verify", "D33"], "did you mean D3"),
        (["verify", "17"], "is '17'"),
        (["verify", ""], "is ''"),
        (["verify", "--seed", "x"], "`--seed` must be an integer >= 0, but is x"),
        (["verify", "--seed", "-5"], "`--seed` must be an integer >= 0, but is -5"),
        (["verify", "--seed", "1.0"], "`--seed` must be an integer >= 0"),
        (["verify", "--seed", "9" * 5000], "`--seed` must be an integer >= 0"),
        (["verify", "--seed", "1_0"], "`--seed` must be an integer >= 0, but is 1_0"),
        (["verify", "--shard", "3/2"], "`--shard` must be i/n with 1 <= i <= n, the"),
        (["verify", "--shard", "1/2/3"], "`--shard` must be i/n with"),
        (["verify", "--shard", "1/2", "--report"], "`--report` must go with all traj"),
        (["verify", "--shard", "1/99999999"], "leave none for shard 1; use at most"),
        (["verify", "--backend", "mpi"], "must be one of threading, loky, multiproc"),
        (["verify", "--backend", "dask"], "go together, but the scheduler is missing"),
        (["verify", "--scheduler", "x:1"], "go together, but the backend is missing"),
        (["resume", "none"], "but none is not there"),
        (["resume", "."], "but . has no run.json or run.toml"),
        (["extend", "none"], "must have --n-traj, --tolerance or --max-time"),
        (["extend", ".", "--n-traj", "1"], "`--n-traj` must be an integer >= 2"),
        (["extend", ".", "--tolerance", "nan"], "`--tolerance` must be a finite numb"),
        (["extend", ".", "--max-time", "1_0"], "`--max-time` must be a finite number"),
        (["status", "none"], "a checkpoint must be a folder, but none is not there"),
        (["status", __file__], "is not a folder"),
        (["status", "."], "neither it nor trajectories has a run.json"),
        (["merge", ".", "--out", "x"], "must be given at least two folders"),
        (["merge", ".", ".", "--out", "x"], "neither it nor trajectories has a run"),
        (["merge", "a", "b"], "required: --out"),
        (["verify", "--seed"], "--seed: expected one argument"),
        (
            ["verify", "--n-jobs", "0"],
            "`--n-jobs` must be an integer >= 1, or -1",
        ),
        (["verify", "--n-jobs", "two"], "`--n-jobs` must be an integer >= 1"),
        (["verify", "--profile", "slow"], "`--profile` must be quick or full"),
        (["verify", "--out", "/proc/x"], "`--out` must be a folder that can be writ"),
        (["verify", "--out", __file__], "File exists"),
        (["verify", "--sed", "1"], "unrecognized arguments: --sed"),
        (["run", "none.toml", "--out", "x"], "cannot read none.toml: No such file"),
        (["run", __file__, "--out", "x"], "must be a TOML file"),
        (["run", "none.toml"], "required: --out"),
        (["show"], "required: ID"),
        (["show", "D33"], "a claim must be an id or a document, but is 'D33'; did you"),
        (["report", "none"], "none must be the --out folder of stochq verify, but has"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        ([], "required: COMMAND"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_list_names_every_document_and_claim(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    claims = all_claims()
    assert len(lines) == len(claims) + len({claim.document for claim in claims})
    for claim in claims:
        assert any(line.split()[0] == claim.id for line in lines)


def test_verify_writes_everything_and_exits_0(capsys, tmp_path):
    out = tmp_path / "new" / "out"
    assert main(["verify", "3", "--out", str(out)], [small_claim()]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"verdicts.csv", "verdicts.json", "M1.csv", "M1.png"}
    table = pd.read_csv(out / "verdicts.csv")
    assert list(table["found"]) == ["holds as corrected"]
    printed = capsys.readouterr().out
    assert "holds as corrected" in printed
    assert "1 of 1 claims as recorded" in printed


def test_verify_exits_1_when_a_claim_is_not_as_recorded(capsys, tmp_path):
    claims = [small_claim(), small_claim(id="M9", expected="holds")]
    assert main(["verify", "m9", "--out", str(tmp_path)], claims) == 1
    assert "! M9 is recorded as: holds" in capsys.readouterr().out
    assert main(["verify", "m1", "--out", str(tmp_path)], claims) == 0


def test_one_level_is_shared_by_the_readings_of_a_run(tmp_path):
    claims = [small_claim(), small_claim(id="M9")]
    main(["verify", "--out", str(tmp_path)], claims)
    records = json.loads((tmp_path / "verdicts.json").read_text())["claims"]
    levels = [v["alpha"] for r in records for c in r["cases"] for v in c["verdicts"]]
    # two of the four, as the document prints them, are refuted
    assert levels == [1e-3 / 2] * 4


def test_any_number_of_threads_gives_the_same_table(tmp_path):
    texts = []
    for jobs in ("1", "2"):
        out = tmp_path / f"out{jobs}"
        main(["verify", "--n-jobs", jobs, "--out", str(out)], [small_claim()])
        table = pd.read_csv(out / "verdicts.csv", dtype=str).drop(columns="seconds")
        texts.append((table.to_csv(), (out / "M1.csv").read_bytes()))
    assert texts[0] == texts[1]


def test_ctrl_c_keeps_what_is_finished(capsys, tmp_path):
    claims = [small_claim(), interrupted_claim(), small_claim(id="M9")]
    assert main(["verify", "--out", str(tmp_path)], claims) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"stochq: interrupted; judged in {tmp_path}: M1; go on by the same command\n"
    )
    assert list(pd.read_csv(tmp_path / "verdicts.csv")["id"]) == ["M1"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "verdicts.csv",
        "verdicts.json",
        "M1.csv",
        "M1.png",
        "trajectories",
    }
    assert [p.name[:5] for p in (tmp_path / "trajectories").iterdir()] == ["M1-0-"]


def test_full_disk_is_one_line_and_leaves_no_torn_file(capsys, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        code = main(["verify", "--out", str(tmp_path)], [small_claim()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert "File too large" in one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["trajectories"]
    assert not list(tmp_path.glob("trajectories/*/*.npz"))
    assert main(["verify", "--out", str(tmp_path)], [small_claim()]) == 0
    assert not (tmp_path / "trajectories").exists()


def test_run_executes_a_file(capsys, tmp_path):
    text = (ROOT / "runs" / "first_light.toml").read_text()
    path = tmp_path / "run.toml"
    path.write_text(text.replace("n_traj = 16384", "n_traj = 4096"))
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("PASS")
    script = ROOT / "analysis" / "error_vs_n.py"
    subprocess.run([sys.executable, script, tmp_path / "out"], check=True, cwd=ROOT,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert (tmp_path / "out" / "error_vs_n.png").read_bytes()[1:4] == b"PNG"


def test_a_run_that_cannot_be_resolved_exits_1(capsys, tmp_path):
    text = (ROOT / "runs" / "first_light.toml").read_text()
    path = tmp_path / "run.toml"
    path.write_text(text.replace("n_traj = 16384", "n_traj = 128"))
    assert main(["run", str(path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().out.startswith("INCONCLUSIVE")


def test_a_reader_that_leaves_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "stochq", "list"]
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, cwd=ROOT, check=False
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


def test_help_and_version_do_not_wait_for_the_numerics():
    code = (
        "import sys; from stochq.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numba', 'scipy', 'pandas', 'matplotlib', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    version, heavy = done.stdout.splitlines()
    assert version.startswith("stochq ")
    assert heavy == "[]"
