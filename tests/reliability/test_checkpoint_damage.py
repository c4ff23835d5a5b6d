"""Damaged files are seen, told and run again; strangers' files are never executed."""

import ast
import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bits import bits, different
from checkpoint_runs import block_paths, plain, run

import stochq
from stochq.checkpoints.reading import file_name, goal_check, read_description
from stochq.descriptions import Description, to_files
from stochq.errors import CheckpointError, CheckpointWarning, DescriptionError
from stochq.folders import checkpoint_status, merge_checkpoints, resume
from stochq.storage.archive import ArchiveError, pack, unpack

NAME, N_TRAJ = "all extras", 700
PARTS = ((0, 320), (320, 512), (512, 700))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a finished run in three files."""
    folder = tmp_path_factory.mktemp("made") / "run"
    run(NAME, 64)  # compiles; a run that takes long is written more often
    for _, stop in PARTS[:-1]:
        run(NAME, stop, checkpoint=folder)
    run(NAME, N_TRAJ, checkpoint=folder)
    assert sorted(map(trajectories, block_paths(folder))) == sorted(PARTS)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "run"))


def trajectories(path):
    return tuple(int(n) for n in path.name.split("-")[1:3])


def whole(folder):
    return run(NAME, N_TRAJ, checkpoint=folder)


def part(folder, number):
    return next(p for p in block_paths(folder) if trajectories(p) == PARTS[number])


def other_run(folder):
    """Return the folder of the same run with another seed."""
    other = folder.parent / "other"
    for _, stop in PARTS:
        run(NAME, stop, seed=2, checkpoint=other)
    return other


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def emptied(path):
    path.write_bytes(b"")


def swapped(path):
    theirs = next(
        p for p in block_paths(other_run(path.parent)) if trajectories(p)[0] == 320
    )
    path.unlink()
    (path.parent / theirs.name).write_bytes(theirs.read_bytes())


def misnamed_content(path):
    theirs = next(p for p in block_paths(path.parent) if p != path)
    path.write_bytes(theirs.read_bytes())


def of_another_range(path):
    path.rename(path.with_name(path.name.replace("320-512", "384-576")))


def of_another_hash(path):
    path.rename(path.with_name(f"trajectories-320-512-{32 * 'a'}.npz"))


def made_a_folder(path):
    path.unlink()
    path.mkdir()


def made_a_link_to_a_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def made_a_broken_link(path):
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def made_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def made_random(path):
    path.write_bytes(np.random.default_rng(1).bytes(3000))


DAMAGES = (
    truncated, flipped, emptied, swapped, misnamed_content, of_another_range,
    of_another_hash, made_a_folder, made_a_link_to_a_device, made_a_broken_link,
    made_a_pipe, made_random,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("again", [whole, resume], ids=["simulate", "resume"])
def test_a_damaged_file_is_named_and_its_trajectories_run_again(folder, damage, again):
    damage(part(folder, 1))
    sound = {part(folder, 0), part(folder, 2)}
    (bad,) = set(block_paths(folder)) - sound
    status = checkpoint_status(folder)
    assert list(status.damaged) == [bad.name]
    assert status.ranges == (PARTS[0], PARTS[2])
    with pytest.raises(CheckpointError, match=f"{bad.name} must be whole"):
        merge_checkpoints([folder, folder], folder.parent / "merged")
    with pytest.warns(CheckpointWarning, match=bad.name) as told:
        found = again(folder)
    assert len(told) == 1
    assert different(bits(found), plain(NAME, N_TRAJ)) == []
    (new,) = set(block_paths(folder)) - sound
    assert trajectories(new) == PARTS[1], "nothing else was run"
    assert different(bits(resume(folder)), plain(NAME, N_TRAJ)) == []


def test_duplicates_and_leftovers_are_no_trouble(folder):
    copy = part(folder, 1).with_name("trajectories-copy.npz")
    copy.write_bytes(part(folder, 1).read_bytes())
    (folder / ".goal.json.77.draft").write_bytes(b"{")
    (folder / ".run.json.78.draft").mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.warns(CheckpointWarning, match="copy"):
        found = resume(folder)
    assert different(bits(found), plain(NAME, N_TRAJ)) == []
    assert not (folder / ".goal.json.77.draft").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_two_writers_of_the_same_trajectories_count_once(folder):
    twice = folder.parent / "twice"
    run(NAME, 448, checkpoint=twice)
    for path in block_paths(twice):
        shutil.copy(path, folder)
    assert len(block_paths(folder)) == 4
    assert checkpoint_status(folder).n_traj == N_TRAJ
    assert different(bits(resume(folder)), plain(NAME, N_TRAJ)) == []


def test_what_lost_its_middle_and_its_time_names_its_batches_rightly(tmp_path):
    folder = tmp_path / "run"
    run("explicit", 20_000, checkpoint=folder)  # batches of 64
    run("explicit", 40_000, checkpoint=folder)
    first = min(block_paths(folder), key=trajectories)
    run("explicit", 64, checkpoint=tmp_path / "few")
    first.unlink()
    shutil.copy(block_paths(tmp_path / "few")[0], folder)
    found = run("explicit", max_time=1e-9, checkpoint=folder)
    values = plain("explicit", 64)["statistics.moments.mean"]
    assert found.n_traj == 64
    assert bits(found)["statistics.moments.mean"] == values
    s = found.statistics
    assert len(s.batches) * s.size == 64
    assert abs(s.batches.mean(axis=0) - found.mean).max() < 1e-14


@pytest.mark.parametrize("name", ["run.json", "arrays.npz", "goal.json"])
@pytest.mark.parametrize("how", ["missing", "empty", "flipped", "truncated", "pipe"])
def test_other_files_are_mended_by_the_call_that_made_them(folder, name, how):
    path = folder / name
    content = bytearray(path.read_bytes())
    path.unlink()
    content[content.index(b"\n") + 1] ^= 1  # in an array: some bytes are no content
    if how == "pipe":
        os.mkfifo(path)
    elif how != "missing":
        new = {"empty": b"", "flipped": bytes(content), "truncated": content[:-9]}
        path.write_bytes(new[how])
    for use in (resume, checkpoint_status):
        with pytest.raises(CheckpointError, match=name) as told:
            use(folder)
        assert "\n" not in str(told.value)
    if name == "goal.json":
        found = run(NAME, N_TRAJ, checkpoint=folder)
    else:
        with pytest.warns(CheckpointWarning, match="written anew"):
            found = run(NAME, N_TRAJ, checkpoint=folder)
    assert different(bits(found), plain(NAME, N_TRAJ)) == []
    assert different(bits(resume(folder)), plain(NAME, N_TRAJ)) == []


def test_one_digit_of_a_goal_is_missed(folder):
    path = folder / "goal.json"
    path.write_text(path.read_text().replace("700", "710"))
    with pytest.raises(CheckpointError, match="damaged or was edited"):
        resume(folder)
    with pytest.raises(CheckpointError, match="damaged or was edited"):
        checkpoint_status(folder)


def test_without_its_description_a_folder_is_not_given_to_another_run(folder):
    files = block_paths(folder)
    (folder / "run.json").unlink()
    with pytest.raises(CheckpointError, match="is of another one"):
        run(NAME, N_TRAJ, seed=2, checkpoint=folder)
    assert block_paths(folder) == files


def test_the_description_of_another_run_does_not_take_over(folder):
    shutil.copy(other_run(folder) / "run.json", folder)
    files = block_paths(folder)
    for use in (resume, whole):
        with pytest.raises(CheckpointError, match=r"another run|seed: 2 there, 1 here"):
            use(folder)
    assert block_paths(folder) == files
    (folder / "run.json").unlink()
    with pytest.warns(CheckpointWarning, match="written anew"):
        found = whole(folder)
    assert different(bits(found), plain(NAME, N_TRAJ)) == []


def test_a_damaged_description_and_a_damaged_file_are_mended_together(folder):
    (folder / "run.json").write_text("{")
    emptied(part(folder, 1))
    with pytest.warns(CheckpointWarning) as told:
        found = run(NAME, N_TRAJ, checkpoint=folder)
    assert len(told) == 2
    assert different(bits(found), plain(NAME, N_TRAJ)) == []


@pytest.mark.parametrize(
    "goal",
    [
        {"n_traj": "many"},
        {"n_traj": 10**400},
        {"tolerance": 5},
        {"tolerance": {"x": [1, 2, 3]}},
        {"max_time": -1},
        {"shard": 5},
        {"shard": [1]},
        {"shard": [0, 3]},
        {"shard": ["a", "b"]},
        {},
        [],
        None,
    ],
)
def test_a_goal_that_makes_no_sense_gives_one_line(folder, goal):
    if isinstance(goal, dict) and goal:
        goal = {
            "n_traj": 700,
            "tolerance": None,
            "max_time": None,
            "shard": None,
        } | goal
    told = {"check": goal_check(goal), "goal": goal}
    (folder / "goal.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="must") as told:
        resume(folder)
    assert "\n" not in str(told.value)


# ----------------------------------------------------------------------- strangers


class Payload:
    """What pickle would run."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array, pickled=False):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def hostile(mark):
    """Yield archives that nobody should open."""
    objects = npy(np.array([Payload(mark)], dtype=object), pickled=True)
    yield pickle.dumps(Payload(mark))
    yield zipped([("run.npy", objects)])
    yield zipped([("run.npy", pickle.dumps(Payload(mark)))])
    yield zipped([("run.npy", npy(np.zeros(10**6)))], zipfile.ZIP_DEFLATED)
    yield zipped([("run.npy", npy(np.zeros(10**6)))], zipfile.ZIP_LZMA)
    yield zipped([("run.npy", npy(np.zeros(3, "U5")))])
    yield zipped([("run.npy", npy(np.zeros(3, [("a", "f8")])))])
    yield zipped([("../../run.npy", npy(np.zeros(3)))])
    yield zipped([("/tmp/run.npy", npy(np.zeros(3)))])
    yield zipped([("run.npy", npy(np.zeros(3))[:-8])])
    header = npy(np.zeros(1)).replace(b"(1,)", b"(9999999999999,)")
    yield zipped([("run.npy", header)])
    text = b"{'descr': __import__('os').system('true'), 'shape': ()}\n"
    yield zipped([("run.npy", b"\x93NUMPY\x01\x00" + bytes([len(text), 0]) + text)])


@pytest.mark.parametrize("number", range(12))
def test_what_a_stranger_packs_is_neither_executed_nor_believed(folder, number):
    mark = folder.parent / "executed"
    content = list(hostile(mark))[number]
    path = folder / file_name(content, [(700, 764)])
    path.write_bytes(content)
    with pytest.warns(CheckpointWarning, match=path.name):
        found = run(NAME, N_TRAJ, checkpoint=folder)
    assert different(bits(found), plain(NAME, N_TRAJ)) == []
    (folder / "arrays.npz").write_bytes(content)
    with pytest.raises(CheckpointError):
        resume(folder)
    (folder / "run.json").write_bytes(content)
    with pytest.raises(CheckpointError):
        resume(folder)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists(), "it would have been executed"


def test_the_bomb_is_one():
    bomb = list(hostile(Path("nowhere")))[3]
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        assert sum(e.file_size for e in archive.infolist()) > 100 * len(bomb)


def test_names_in_archives_are_names_only(tmp_path):
    content = pack({"../../evil": np.arange(3)})
    assert list(unpack(content)) == ["../../evil"]
    with pytest.raises(ArchiveError, match="repeats one"):
        unpack(pack({"one": np.ones(3), "two": np.ones(3)}).replace(b"two", b"one"))


def test_links_are_not_written_through(folder):
    secret = folder.parent / "secret"
    secret.write_text("mine")
    for name in ("goal.json", "run.json"):
        (folder / f".{name}.{os.getpid()}.draft").symlink_to(secret)
    (folder / "goal.json").unlink()
    (folder / "goal.json").symlink_to(secret)
    run(NAME, N_TRAJ, checkpoint=folder)
    assert secret.read_text() == "mine"
    assert not (folder / "goal.json").is_symlink()


def test_a_description_of_other_classes_is_refused(folder):
    ours = read_description(folder)
    text = json.dumps(ours.tree).replace('"kind": "Strang"', '"kind": "system"')
    assert "system" in text
    theirs = Description(json.loads(text), ours.arrays)
    for name, content in to_files(theirs).items():
        (folder / name).write_bytes(content)
    for use in (resume, checkpoint_status):
        with pytest.raises(DescriptionError, match=r"known classes|a scheme"):
            use(folder)


SOURCES = sorted(Path(stochq.__file__).parent.rglob("*.py"))
FORBIDDEN = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_nothing_is_unpickled_or_evaluated(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not FORBIDDEN & {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.module not in FORBIDDEN
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "compile", "np.load", "joblib.load"}
            allowed = [k.value for k in node.keywords if k.arg == "allow_pickle"]
            assert all(ast.unparse(value) == "False" for value in allowed)
