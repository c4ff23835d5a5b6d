"""Runs that are kept: gone on with, interrupted, extended, sharded, merged, damaged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from outputs import results

from stochq import Dissipator, Model, simulate
from stochq.cli import main
from stochq.documents import all_claims
from stochq.errors import TrajectoryError

ROOT = Path(__file__).parents[2]

#: A shell without job control has background processes ignore Ctrl-C.
COMMAND = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from stochq.cli import main; sys.exit(main())"
)

SMALL = """
[model]
builder = "thermal_pair"
coupling = "dissipators"
[times]
start = 0.0
stop = 2.0
n = 5
[run]
n_traj = 1000
seed = 4
[verify]
resolution = 0.9
"""

LARGE = """
[model]
builder = "noisy_chain"
n_sites = 6
[times]
start = 0.0
stop = 6.0
n = 61
[run]
n_traj = 150000
seed = 1
"""

UP, LOW = np.array([1.0, 0.0]), np.array([[0, 0], [1, 0]])
DECAY = Model(
    hamiltonian=np.zeros((2, 2)),
    dissipators=Dissipator(LOW, 1.0, name="decay"),
    initial=UP,
    observables={"excited": np.diag([1.0, 0.0])},
)


def written(tmp_path, text=SMALL, name="run.toml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def said(capsys, code, arguments, claims=None):
    """Run a command, check its exit code, and return both of its streams."""
    assert main([str(part) for part in arguments], claims) == code
    return capsys.readouterr()


def refused(capsys, *arguments):
    """Return the one line on stderr of bad input."""
    out, err = said(capsys, 2, arguments)
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("stochq: error: ")
    return err


def blocks(folder):
    """Return when each file of trajectories was written."""
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("trajectories-*.npz")}


def test_the_same_command_goes_on_and_runs_nothing_twice(capsys, tmp_path):
    file, out = written(tmp_path), tmp_path / "out"
    printed, _ = said(capsys, 0, ["run", file, "--out", out])
    first, when = results(out), blocks(out / "trajectories")
    assert when
    assert said(capsys, 0, ["run", file, "--out", out])[0] == printed
    assert said(capsys, 0, ["resume", out])[0] == printed
    assert results(out) == first
    assert blocks(out / "trajectories") == when
    assert (out / "run.toml").read_text() == SMALL


def test_a_larger_number_extends_to_what_one_run_gives(capsys, tmp_path):
    larger = SMALL.replace("1000", "1500")
    said(capsys, 0, ["run", written(tmp_path, larger), "--out", tmp_path / "whole"])
    whole = results(tmp_path / "whole")
    for out in (tmp_path / "a", tmp_path / "b"):
        said(capsys, 0, ["run", written(tmp_path), "--out", out])
    said(capsys, 0, ["run", written(tmp_path, larger), "--out", tmp_path / "a"])
    assert results(tmp_path / "a") == whole
    said(capsys, 0, ["extend", tmp_path / "b", "--n-traj", "1500"])
    assert results(tmp_path / "b") == whole | {"run.toml": SMALL.encode()}
    said(capsys, 0, ["resume", tmp_path / "b"])  # it knows of 1500
    assert results(tmp_path / "b") == whole | {"run.toml": SMALL.encode()}


def test_another_run_is_refused_with_what_differs(capsys, tmp_path):
    out = tmp_path / "out"
    said(capsys, 0, ["run", written(tmp_path), "--out", out])
    before = results(out)
    for old, new, message in (
        ("seed = 4", "seed = 5", "seed: 4 there, 5 here"),
        ("stop = 2.0", "stop = 3.0", "times"),
        ('"dissipators"', '"dissipators"\nepsilon = 0.3', "model"),
        ("[verify]", '[unraveling]\ncoupling = "UnitaryNoise"\n[verify]', "unravel"),
        ("n_traj = 1000", "n_traj = 500", "ask for at least n_traj = 1000"),
    ):
        other = written(tmp_path, SMALL.replace(old, new), "other.toml")
        err = refused(capsys, "run", other, "--out", out)
        assert message in err
        assert "use another folder" in err
        assert results(out) == before
    assert "at least n_traj = 1000" in refused(capsys, "extend", out, "--n-traj", "500")
    said(capsys, 0, ["resume", out])  # it has not forgotten that it wants 1000
    assert results(out) == before
    assert said(capsys, 0, ["run", written(tmp_path), "--out", out])


def test_a_run_may_stop_at_a_tolerance(capsys, tmp_path):
    text = SMALL.replace("n_traj = 1000", "tolerance = 0.02")
    out = tmp_path / "out"
    said(capsys, 0, ["run", written(tmp_path, text), "--out", out])
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["stopped_by"] == "tolerance"
    assert provenance["n_traj"] >= 256
    first = results(out)
    said(capsys, 0, ["resume", out])
    assert results(out) == first
    said(capsys, 0, ["extend", out, "--tolerance", "0.01"])
    assert json.loads((out / "provenance.json").read_text())["n_traj"] > 1000
    said(capsys, 0, ["extend", out, "--max-time", "0.001"])


def test_shards_of_a_run_are_merged_to_the_same_bytes(capsys, tmp_path):
    file = written(tmp_path)
    said(capsys, 0, ["run", file, "--out", tmp_path / "whole"])
    shards = [tmp_path / f"shard{i}" for i in (1, 2, 3)]
    for number, shard in enumerate(shards, 1):
        out, _ = said(capsys, 0, ["run", file, "--out", shard, f"--shard={number}/3"])
        assert "of 1000 trajectories kept" in out
        assert not (shard / "verdict.json").exists()
    out, _ = said(capsys, 0, ["resume", shards[1]])  # a shard stays one
    assert "no verdict from a shard" in out
    assert "merge them first" in refused(capsys, "extend", shards[1], "--n-traj=2000")
    assert "leave none" in refused(
        capsys, "run", file, "--out", tmp_path / "x", "--shard", "1/17"
    )
    said(capsys, 0, ["merge", *shards, "--out", tmp_path / "all"])
    when = blocks(tmp_path / "all" / "trajectories")
    said(capsys, 0, ["resume", tmp_path / "all"])
    assert results(tmp_path / "all") == results(tmp_path / "whole")
    assert blocks(tmp_path / "all" / "trajectories") == when


def test_merging_what_does_not_fit_is_refused_and_leaves_nothing(capsys, tmp_path):
    file, a, b, c = written(tmp_path), *(tmp_path / name for name in "abc")
    other = written(tmp_path, SMALL.replace("seed = 4", "seed = 5"), "other.toml")
    said(capsys, 0, ["run", file, "--out", a, "--shard", "1/2"])
    said(capsys, 0, ["run", file, "--out", b, "--shard", "1/2"])
    said(capsys, 0, ["run", other, "--out", c, "--shard", "2/2"])
    out = tmp_path / "out"
    assert "both have 0 ... 511" in refused(capsys, "merge", a, b, "--out", out)
    assert "must be the same file" in refused(capsys, "merge", a, c, "--out", out)
    inner = [folder / "trajectories" for folder in (a, c)]
    assert "it differs: seed" in refused(capsys, "merge", *inner, "--out", out)
    assert "must hold the same runs" in refused(
        capsys, "merge", a, inner[1], "--out", out
    )
    assert not out.exists()
    assert "must be a new folder" in refused(capsys, "merge", a, b, "--out", a)
    assert "must be a new folder" in refused(capsys, "merge", a, b, "--out", file)


def test_status_tells_of_every_kind_of_folder(capsys, tmp_path):
    said(capsys, 0, ["run", written(tmp_path), "--out", tmp_path / "run"])
    simulate(DECAY, [0, 1], n_traj=100, seed=1, checkpoint=tmp_path / "plain")
    part = ["verify", "M1", "--shard", "2/4", "--out", tmp_path / "shard"]
    said(capsys, 0, part, small_claims())
    folders = [tmp_path / name for name in ("run", "plain", "shard")]
    out, err = said(capsys, 0, ["status", *folders])
    assert err == ""
    parts = out.split("\n\n")
    assert len(parts) == 3
    counts = ["1000 trajectories (0 ... 999)", "100 trajectories (0 ... 99)"]
    for text, count in zip(parts, [*counts, "(512 ... 1023)"], strict=True):
        assert count in text
        assert "largest standard error: 0.0" in text


def small_claims(**changes):
    """Return two claims made quick."""
    claims = [claim for claim in all_claims() if claim.id in ("M1", "D5")]
    small = []
    for claim in claims:
        cases = [replace(c, n_traj={"quick": 2048}) for c in claim.cases()]
        small.append(replace(claim, cases=lambda cases=cases: cases, **changes))
    return small


@pytest.mark.slow
def test_shards_of_a_verification_are_merged_to_the_same_tables(capsys, tmp_path):
    command = ["verify", "--seed", "3", "--out"]
    code = main([*command, str(tmp_path / "whole")], small_claims())
    whole = {p.name: p.read_bytes() for p in (tmp_path / "whole").glob("[DM]*.*")}
    assert len(whole) == 4
    assert not (tmp_path / "whole" / "trajectories").exists()
    shards = [tmp_path / "a", tmp_path / "b"]
    capsys.readouterr()
    for number, shard in enumerate(shards, 1):
        part = [*command, shard, "--shard", f"{number}/2"]
        out, _ = said(capsys, 0, part, small_claims())
        assert "no verdict from a shard" in out
    merged = tmp_path / "merged"
    said(capsys, 0, ["merge", *shards, "--out", merged])
    kept = {path.name for path in (merged / "trajectories").iterdir()}
    assert {name[:5] for name in kept} >= {"M1-0-", "D5-0-"}
    said(capsys, code, [*command, merged], small_claims())
    assert {p.name: p.read_bytes() for p in merged.glob("[DM]*.*")} == whole
    assert not (merged / "trajectories").exists()
    shutil.rmtree(next((tmp_path / "b" / "trajectories").glob("M1-*")))
    err = refused(capsys, "merge", *shards, "--out", tmp_path / "new")
    assert "must hold the same runs" in err
    assert "finish all shards first" in err


def test_a_verification_goes_on_and_removes_only_what_is_its_own(capsys, tmp_path):
    said(capsys, 0, ["verify", "M1", "--shard", "1/2", "--out", tmp_path],
         small_claims())  # fmt: skip
    (kept,) = (tmp_path / "trajectories").iterdir()
    when = blocks(kept)
    main(["verify", "M1", "--seed", "2", "--out", str(tmp_path)], small_claims())
    assert list((tmp_path / "trajectories").iterdir()) == [kept]
    assert blocks(kept) == when
    capsys.readouterr()
    assert "go on by the same verify command" in refused(capsys, "resume", tmp_path)


def test_trajectories_of_another_verification_are_refused(capsys, tmp_path):
    claim = small_claims()[0]
    part = ["verify", "--out", tmp_path]
    said(capsys, 0, [*part, "--shard", "1/2"], [claim])
    cases = [replace(case, times=case.times[:4]) for case in claim.cases()]
    out, err = said(capsys, 2, part, [replace(claim, cases=lambda: cases)])
    assert out == ""
    assert err.count("\n") == 1
    assert "must hold the same run, but it differs: times" in err


def test_a_plain_checkpoint_is_gone_on_with(capsys, tmp_path):
    folder, times = tmp_path / "plain", [0.0, 0.5, 1.0]
    simulate(DECAY, times, n_traj=100, seed=1, checkpoint=folder)
    out, _ = said(capsys, 0, ["extend", folder, "--n-traj", "300"])
    whole = simulate(DECAY, times, n_traj=300, seed=1)
    assert "300 trajectories, stopped by n_traj" in out
    header, row = out.splitlines()[:2]
    assert header.split() == ["observable", "time", "mean", "mcse_mean"]
    assert row.split() == ["excited", "1", f"{whole.mean[0, -1]:.6g}",
                           f"{whole.mcse[0, -1]:.6g}"]  # fmt: skip
    expected = whole.to_frame().to_csv(index=False)
    assert (folder / "ensemble.csv").read_text() == expected


def test_a_run_with_functions_cannot_be_gone_on_with(capsys, tmp_path):
    folder, functions = tmp_path / "plain", {"f": lambda kets: np.abs(kets[:, 0])}
    simulate(DECAY, [0, 1], n_traj=64, seed=1, checkpoint=folder, functions=functions)
    assert "function" in refused(capsys, "resume", folder)
    out, _ = said(capsys, 0, ["status", folder])
    assert "64 trajectories" in out
    assert "standard error" not in out


@pytest.mark.parametrize("command", ["resume", "status", "merge"])
@pytest.mark.parametrize("name", ["run.json", "goal.json", "arrays.npz"])
@pytest.mark.parametrize("damage", ["", "{}", "[1, 2]", '{"n_traj": -1, "shard": 7}'])
def test_a_damaged_folder_is_one_line(capsys, tmp_path, command, name, damage):
    folders = [tmp_path / "a", tmp_path / "b"]
    for number, folder in enumerate(folders, 1):
        part = {"checkpoint": folder, "shard": (number, 2)}
        simulate(DECAY, [0, 1], n_traj=128, seed=1, **part)
    (folders[0] / name).write_text(damage)
    before = blocks(folders[0])
    asked = {"merge": [*folders, "--out", tmp_path / "c"]}.get(command, folders[:1])
    code = main([command, *map(str, asked)])
    out, err = capsys.readouterr()
    assert code in (0, 2)
    if code == 2:
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("stochq: error: ")
        assert not (tmp_path / "c").exists()
    else:  # a goal may be unknown to those who only look
        assert name == "goal.json"
        assert command != "resume"
    assert blocks(folders[0]) == before


@pytest.mark.filterwarnings("default::stochq.errors.CheckpointWarning")
def test_damaged_trajectories_are_run_again_with_one_line(capsys, tmp_path):
    file, out = written(tmp_path), tmp_path / "out"
    said(capsys, 0, ["run", file, "--out", out])
    before = results(out)
    path = max((out / "trajectories").glob("*-*.npz"), key=lambda p: p.stat().st_size)
    path.write_bytes(path.read_bytes()[:-5])
    assert "damaged: " in said(capsys, 0, ["status", out])[0]
    _, err = said(capsys, 0, ["run", file, "--out", out])
    assert err.startswith("stochq: warning: ")
    assert err.count("\n") == 1
    assert "its trajectories are run again" in err
    assert results(out) == before


def test_failing_trajectories_exit_1(capsys, tmp_path):
    class Failing(dict):
        def __getitem__(self, profile):
            raise TrajectoryError("trajectories 0 ... 63 failed: no", 0, 63)

    claim = small_claims()[0]
    cases = [replace(case, n_traj=Failing()) for case in claim.cases()]
    claims = [replace(claim, cases=lambda: cases)]
    out, err = said(capsys, 1, ["verify", "--out", tmp_path], claims)
    assert (out, err) == ("", "stochq: error: trajectories 0 ... 63 failed: no\n")


def test_every_backend_gives_the_same_bytes(capsys, tmp_path):
    found = []
    for backend in ("threading", "loky"):
        out = tmp_path / backend
        how = ["--backend", backend, "--n-jobs", "2", "--out", out]
        said(capsys, 0, ["run", written(tmp_path), *how])
        found.append(results(out))
    assert found[0] == found[1]


def started(*arguments):
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def wait_until(true, process):
    """Wait for something that a process does."""
    while not true():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)  # between looks: no result depends on it


def test_signals_keep_the_run_and_say_how_to_go_on(tmp_path):
    file, out, whole = written(tmp_path, LARGE), tmp_path / "out", tmp_path / "whole"
    kept = out / "trajectories"
    process = started("run", file, "--out", out, "--n-jobs", "1")
    wait_until(lambda: blocks(kept), process)
    process.send_signal(signal.SIGINT)
    printed, err = process.communicate()
    assert process.returncode == 130
    assert printed == ""
    head, _, rest = err.partition(" of 150000 trajectories, ")
    assert head.startswith("stochq: interrupted after ")
    assert int(head.rpartition(" ")[2]) % 64 == 0
    assert rest == f"kept in {kept}; go on by: stochq resume {out}\n"
    assert not (out / "verdict.json").exists()
    goal = (kept / "goal.json").stat().st_mtime_ns
    process = started("resume", out, "--n-jobs", "1")
    wait_until(lambda: (kept / "goal.json").stat().st_mtime_ns != goal, process)
    process.send_signal(signal.SIGTERM)
    printed, err = process.communicate()
    assert process.returncode == 143
    assert printed == ""
    assert err.startswith("stochq: interrupted")
    assert err.endswith(f"; go on by: stochq resume {out}\n")
    assert err.count("\n") == 1
    for arguments in (("resume", out), ("run", file, "--out", whole)):
        process = started(*arguments)
        process.communicate()
        assert process.returncode == 0
    assert results(out) == results(whole)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_for_workers_too_keeps_the_run(tmp_path, backend, number):
    file, out = written(tmp_path, LARGE), tmp_path / "out"
    how = ["--n-jobs", "2", "--backend", backend]
    process = started("run", file, "--out", out, *how)
    wait_until(lambda: blocks(out / "trajectories"), process)
    os.killpg(process.pid, number)
    printed, err = process.communicate()
    assert (process.returncode, printed) == (128 + number, "")
    assert err.startswith("stochq: interrupted after ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_worker_that_dies_is_one_line(tmp_path):
    file, out = written(tmp_path, LARGE), tmp_path / "out"
    process = started("run", file, "--out", out, "--n-jobs", "2", "--backend", "loky")
    wait_until(lambda: blocks(out / "trajectories"), process)
    done = subprocess.run(
        ["pgrep", "-g", str(process.pid), "-f", "popen_loky_posix"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    os.kill(int(done.stdout.split()[0]), signal.SIGKILL)
    printed, err = process.communicate()
    assert (process.returncode, printed) == (1, "")
    assert err.startswith("stochq: error: workers were lost")
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_loaded_is_one_line(tmp_path, number):
    code = COMMAND.replace(
        "from stochq.cli import main; ",
        "from stochq.cli import main; print('here', flush=True); ",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", written(tmp_path, LARGE), "--out",
         str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout.readline() == "here\n"
    maps = Path(f"/proc/{process.pid}/maps")
    wait_until(lambda: not maps.exists() or "numpy" in maps.read_text(), process)
    process.send_signal(number)
    printed, err = process.communicate()
    assert (process.returncode, printed) == (128 + number, "")
    assert err == "stochq: interrupted\n"
