"""Folders of another run or of somebody else, or not writable; disks that are full."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bits import bits, different
from checkpoint_runs import HYBRID, LOWER, SX, SZ, TIMES, plain, run

from stochq import (
    Bins,
    Dissipator,
    Homodyne,
    Model,
    Purity,
    SquaredModulus,
    Strang,
    WhiteNoise,
    simulate,
)
from stochq.checkpoints.blockfile import Layout
from stochq.checkpoints.folder import Checkpoint
from stochq.checkpoints.reading import read_description
from stochq.descriptions import Description, to_files
from stochq.errors import CheckpointError
from stochq.folders import checkpoint_status, merge_checkpoints, resume
from stochq.running.interrupts import Interrupted

PARTS = {
    "hamiltonian": SX,
    "noise": WhiteNoise([SX, SZ], covariance=[[0.3, 0.1], [0.1, 0.2]], name="field"),
    "dissipators": Dissipator(LOWER, 0.7, name="decay"),
    "initial": [0.6, 0.8j],
    "observables": {"x": SX, "z": SZ},
}
ASKED = {"times": TIMES, "seed": 1, "scheme": Strang(0.2)}


def asked(folder, n_traj=130, **changes):
    parts = {key: changes.pop(key, value) for key, value in PARTS.items()}
    how = ASKED | changes
    return simulate(Model(**parts), n_traj=n_traj, checkpoint=folder, **how)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "run"
    asked(folder)
    return folder


def content(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


CHANGES = {
    "hamiltonian": ({"hamiltonian": SX + 1e-12 * SZ}, "model.hamiltonian: 2 elements"),
    "rate": (
        {"dissipators": Dissipator(LOWER, 0.8, name="decay")},
        r"model.dissipators\['decay'\].rate: 0.7 there, 0.8 here",
    ),
    "noise": (
        {"noise": WhiteNoise([SX, SZ], rate=0.3, name="field")},
        r"model.noise\['field'\]",
    ),
    "initial": ({"initial": [0.8, 0.6j]}, "model.initial"),
    "observables": ({"observables": {"x": SX, "z": SX}}, r"model.observables\['z'\]"),
    "order": ({"observables": {"z": SZ, "x": SX}}, "in the order"),
    "times": ({"times": [0, 0.4, 1.1]}, "times: differs at most by 0.1"),
    "more times": ({"times": [0, 0.4, 0.7, 1]}, "times: shape"),
    "dt": ({"scheme": Strang(0.1)}, "scheme.dt: 0.2 there, 0.1 here"),
    "seed": ({"seed": 2}, "seed: 1 there, 2 here"),
    "unraveling": ({"unraveling": {"decay": Homodyne()}}, "unraveling"),
    "functions": ({"functions": {"x2": SquaredModulus(SX)}}, "functions"),
    "histograms": ({"histograms": Bins("x")}, r"bins|histograms"),
    "states": ({"states": True}, "states"),
    "jumps": ({"keep_jumps": 2}, r"jumps: (0|None) there, 2"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_run_is_refused_and_the_difference_is_named(made, name):
    changes, words = CHANGES[name]
    before = content(made)
    with pytest.raises(CheckpointError, match=words) as told:
        asked(made, **changes)
    assert "must hold the same run, but it differs" in str(told.value)
    assert "\n" not in str(told.value)
    assert content(made) == before, "a refused call changes nothing"


def test_the_same_run_is_not_refused(made):
    assert asked(made).n_traj == 130


@pytest.mark.parametrize("package", ["stochq", "code", "numpy", "scipy", "numba"])
def test_another_version_is_refused_and_named(made, package, tmp_path):
    theirs = read_description(made)
    tree = json.loads(json.dumps(theirs.tree))
    tree["environment"][package] = "0.0.1"
    folder = tmp_path / "run"
    folder.mkdir()
    for name, data in to_files(Description(tree, theirs.arrays)).items():
        (folder / name).write_bytes(data)
    (folder / "goal.json").write_bytes((made / "goal.json").read_bytes())
    for use in (asked, resume):
        with pytest.raises(CheckpointError, match=f"environment.{package}: '?0.0.1"):
            use(folder)


def test_another_python_and_another_machine_are_not_refused(made, tmp_path):
    theirs = read_description(made)
    tree = json.loads(json.dumps(theirs.tree))
    tree["environment"]["python"], tree["machine"]["processor"] = "3.99", "abacus"
    folder = tmp_path / "run"
    folder.mkdir()
    for name, data in to_files(Description(tree, theirs.arrays)).items():
        (folder / name).write_bytes(data)
    assert asked(folder).n_traj == 130


def test_fewer_than_there_are_is_refused_and_the_goal_stays(tmp_path):
    folder = tmp_path / "run"
    run("explicit", 1030, checkpoint=folder)
    with pytest.raises(CheckpointError, match="at least n_traj = 1030"):
        run("explicit", 500, checkpoint=folder)
    with pytest.raises(CheckpointError, match="at least n_traj = 1030"):
        resume(folder, n_traj=500)
    assert different(bits(resume(folder)), plain("explicit", 1030)) == []


def test_a_tolerance_drops_nothing_that_was_there(tmp_path):
    run("explicit", 400, checkpoint=tmp_path / "run")
    found = run("explicit", 400, tolerance=1.0, checkpoint=tmp_path / "run")
    assert (found.n_traj, found.stopped_by) == (400, "n_traj")
    assert different(bits(found), plain("explicit", 400)) == []
    found = run("explicit", None, tolerance=1.0, checkpoint=tmp_path / "run")
    assert (found.n_traj, found.stopped_by) == (448, "tolerance")
    assert different(bits(found), plain("explicit", 448)) == []


@pytest.mark.parametrize("n_traj", [100, 1000])
def test_shards_do_not_share_a_folder(tmp_path, n_traj):
    parts = [tmp_path / f"{k}" for k in (1, 2)]
    for k, folder in enumerate(parts, 1):
        run("explicit", n_traj, checkpoint=folder, shard=(k, 2))
    for k, folder in enumerate(parts, 1):
        with pytest.raises(CheckpointError, match=f"as shard {k} of 2"):
            run("explicit", n_traj, checkpoint=folder, shard=(3 - k, 2))
        with pytest.raises(CheckpointError, match=f"is shard {k} of 2; merge"):
            resume(folder, n_traj=2 * n_traj)
        assert resume(folder).n_traj < n_traj
    whole = tmp_path / "whole"
    merge_checkpoints(parts, whole)
    with pytest.raises(CheckpointError, match="a folder of its own"):
        run("explicit", n_traj, checkpoint=whole, shard=(1, 2))
    assert different(bits(resume(whole)), plain("explicit", n_traj)) == []


def test_merging_what_overlaps_or_differs_is_refused(tmp_path):
    one, other, third = (tmp_path / name for name in ("one", "other", "third"))
    run("explicit", 300, checkpoint=one)
    run("explicit", 200, checkpoint=other)
    run("explicit", 200, seed=2, checkpoint=third)
    with pytest.raises(CheckpointError, match=r"both have 0 \.\.\. 199"):
        merge_checkpoints([one, other], tmp_path / "out")
    with pytest.raises(CheckpointError, match="seed: 2 there, 1 here"):
        merge_checkpoints([one, third], tmp_path / "out")
    with pytest.raises(CheckpointError, match="must be a new folder"):
        merge_checkpoints([one, other], one)
    with pytest.raises(CheckpointError, match="at least two"):
        merge_checkpoints([one], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_at_a_time_are_refused(tmp_path):
    ready = plain_setting()
    layout = Layout.of(ready.source(130))
    folder = tmp_path / "run"
    keeper = Checkpoint.open(folder, ready.describe(), layout)
    with pytest.raises(CheckpointError, match="another one is running it now"):
        asked(folder)
    keeper.close()
    assert asked(folder).n_traj == 130


def plain_setting():
    from stochq.extras import as_extras
    from stochq.running.stopping import Goal
    from stochq.setting import setting_of

    extras = as_extras(HYBRID, None, None, None, None, False, False)
    return setting_of(HYBRID, TIMES, 1, None, extras, Strang(0.2), Goal())


def test_a_refusal_gives_the_folder_back(made):
    with pytest.raises(CheckpointError) as kept:
        asked(made, seed=2)
    assert asked(made).n_traj == 130, "though the exception still holds its frames"
    assert "seed" in str(kept.value)


@pytest.mark.parametrize("where", ["a file", "below a file", "/dev/null/x"])
def test_what_cannot_be_a_folder_is_refused_in_one_line(tmp_path, where):
    file = tmp_path / "file"
    file.write_text("mine")
    paths = {"a file": file, "below a file": file / "run"}
    with pytest.raises(CheckpointError, match="must be a folder") as told:
        asked(paths.get(where, Path(where)))
    assert "\n" not in str(told.value)
    parts = [tmp_path / f"{k}" for k in (1, 2)]
    for k, part in enumerate(parts, 1):
        asked(part, shard=(k, 2))
    with pytest.raises(CheckpointError, match="must be a"):
        merge_checkpoints(parts, paths.get(where, Path(where)))
    assert file.read_text() == "mine"


@pytest.mark.parametrize("use", [resume, checkpoint_status])
def test_what_is_no_checkpoint_is_refused(tmp_path, use):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(CheckpointError, match=r"has no run\.json"):
            use(folder)


def test_a_python_function_must_come_from_its_script(tmp_path):
    functions = {"one": lambda states: np.ones(len(states))}
    found = asked(tmp_path / "run", functions=functions)
    with pytest.raises(ValueError, match="must be rebuilt by the script"):
        resume(tmp_path / "run")
    assert asked(tmp_path / "run", functions=functions).n_traj == found.n_traj
    with pytest.raises(CheckpointError, match="functions"):
        asked(tmp_path / "run", functions={"one": Purity()})


def test_no_time_and_no_patience_leave_one_atom_or_none(tmp_path):
    found = asked(tmp_path / "run", n_traj=None, max_time=1e-9)
    assert (found.n_traj, found.stopped_by) == (64, "max_time")
    assert checkpoint_status(tmp_path / "run").ranges == ((0, 64),)


# ------------------------------------------------------------------- a disk that fills


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory):
    """Return what happens in a process whose files cannot grow."""
    root = Path(__file__).parents[2]
    paths = os.pathsep.join(map(str, (root, root / "analysis")))
    done = subprocess.run(
        [sys.executable, root / "tests" / "full_disk.py", tmp_path_factory.mktemp("f")],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_full_disk_stops_nothing_and_is_told_once(full_disk):
    off, told, safe, drafts, later, at_last = full_disk["full"]
    assert off == later == drafts == []
    assert told[0].startswith("CheckpointWarning: cannot write to")
    assert "File too large" in told[0]
    (end,) = told[1:]
    assert "does not hold all of the ensemble" in end
    assert (safe, at_last) == (2, 3000)


def test_what_could_not_be_written_is_written_once_there_is_room(full_disk):
    assert full_disk["freed"] == [[], 1, [[0, 3000]]]


def test_an_interrupted_run_says_that_it_could_not_be_written(full_disk):
    (lost, some), (kept, _), off = full_disk["stopped"]
    assert "could not be written: File too large" in lost
    assert "kept in" in kept
    assert 0 < some < 3000
    assert off == []


def test_a_disk_that_is_full_at_the_start_is_told_before_any_work(full_disk):
    told, calls, files, off = full_disk["started"]
    assert told.startswith("CheckpointError: ")
    assert told.endswith("a folder that can be written, but cannot: File too large")
    assert calls <= 2, "the function was tried, and no more"
    assert files == off == []


def test_ctrl_c_in_the_first_atom_keeps_it(full_disk):
    *counts, ranges, filled, off = full_disk["first"]
    assert counts == [64, 128, 192, 256]
    assert (ranges, filled) == ([[64, 256]], 256)
    assert off == []


class Interrupting:
    """A terminal at which somebody presses Ctrl-C when the bar appears."""

    pressed = False

    def write(self, text):
        if not self.pressed:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)

    def flush(self):
        pass


def test_ctrl_c_before_the_first_atom_is_told_as_such(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    for path in (None, folder):
        monkeypatch.setattr(sys, "stderr", Interrupting())
        with pytest.raises(Interrupted, match="interrupted after 0 of 130") as told:
            asked(path, progress=True)
        assert told.value.ensemble is None
    assert different(bits(asked(folder)), bits(asked(None))) == []
