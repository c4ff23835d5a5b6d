"""A run that was stopped, damaged, spread or extended has the bits of one that was not.

Every number of an ensemble is compared. The runs are small; `analysis/soak.py` and
`analysis/fuzz_checkpoints.py` do the same at length.
"""

import tempfile
import warnings
from itertools import pairwise
from pathlib import Path

import pytest
from bits import bits, different
from checkpoint_runs import RUNS, block_paths, plain, run, setting
from hypothesis import given, settings
from hypothesis import strategies as st

from stochq.checkpoints.blockfile import Layout
from stochq.checkpoints.folder import Checkpoint
from stochq.errors import FailureWarning
from stochq.folders import checkpoint_status, merge_checkpoints, resume
from stochq.running.parallel import Workers, run_blocks
from stochq.schemes.lanes import ATOM

SIZES = (63, 64, 130, 515, 1030)

#: Atoms that somebody ran before a crash: from, to, in tasks of, and saves of.
PIECES = st.lists(
    st.tuples(
        st.integers(0, 16), st.integers(1, 17), st.integers(1, 5), st.integers(1, 4)
    ),
    max_size=3,
)


@pytest.fixture(autouse=True)
def _failures_are_told_elsewhere():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FailureWarning)
        yield


def crash(name, folder, n_traj, pieces):
    """Leave what a run leaves that dies: some blocks on disk, the last ones lost."""
    ready = setting(name)
    source = ready.source(n_traj)
    atoms = -(-n_traj // ATOM)
    for first, stop, batch, every in pieces:
        keeper = Checkpoint.open(folder, ready.describe(), Layout.of(source))
        done = run_blocks(
            source, min(first, atoms), min(stop, atoms), Workers(1, batch)
        )
        for number, (block, part) in enumerate(done, 1):
            keeper.add(block, part)
            if number % every == 0:
                assert keeper.save() == ""
        keeper.close()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(RUNS)),
    n_traj=st.sampled_from(SIZES),
    before=st.sampled_from((None, 2, 64, 200)),
    pieces=PIECES,
    n_jobs=st.sampled_from([1, 2]),
    batch=st.integers(1, 7),
)
def test_wherever_a_run_stops_it_goes_on_to_the_same_bits(
    name, n_traj, before, pieces, n_jobs, batch
):
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder) / "run"
        if before is not None and before <= n_traj:
            run(name, before, checkpoint=folder)
        crash(name, folder, n_traj, pieces)
        how = {"checkpoint": folder, "n_jobs": n_jobs, "batch": batch}
        expected = plain(name, n_traj)
        assert different(bits(run(name, n_traj, **how)), expected) == []
        assert checkpoint_status(folder).ranges == ((0, n_traj),)
        files = block_paths(folder)
        assert different(bits(resume(folder)), expected) == []
        assert different(bits(run(name, n_traj, **how)), expected) == []
        assert block_paths(folder) == files, "nothing was run or written again"


def test_every_trajectory_is_written_once(tmp_path):
    crash("explicit", tmp_path, 1030, [(0, 9, 2, 2), (9, 17, 1, 3)])
    names = [path.name.split("-") for path in block_paths(tmp_path)]
    ranges = sorted((int(first), int(stop)) for _, first, stop, _ in names)
    assert len(ranges) > 4
    assert all(stop <= first for (_, stop), (first, _) in pairwise(ranges))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(RUNS)),
    n_traj=st.sampled_from((257, 515, 1030)),
    count=st.integers(2, 4),
    left_out=st.booleans(),
)
def test_shards_merge_to_the_same_bits(name, n_traj, count, left_out):
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        parts = [folder / f"{k}" for k in range(1, count + 1)]
        for k, part in enumerate(parts, 1):
            run(name, n_traj, checkpoint=part, shard=(k, count))
        if left_out and count > 2:
            del parts[1]  # it is run where the others are
        status = merge_checkpoints(parts[::-1], folder / "whole")
        assert (len(status.ranges) > 1) == (left_out and count > 2)
        expected = plain(name, n_traj)
        assert different(bits(resume(folder / "whole")), expected) == []
        more = resume(folder / "whole", n_traj=1100)
        assert different(bits(more), plain(name, 1100)) == []


@settings(max_examples=10, deadline=None, derandomize=True)
@given(pieces=PIECES)
def test_a_tolerance_stops_at_the_same_trajectory(pieces):
    goal = {"tolerance": {"x": 0.03, "x2": 0.05}}
    expected = run("all extras", **goal)
    assert 256 < expected.n_traj < 17 * ATOM
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder) / "run"
        crash("all extras", folder, expected.n_traj, pieces)
        found = run("all extras", checkpoint=folder, **goal)
        assert different(bits(found), bits(expected)) == []
        assert found.stopped_by == "tolerance"


def test_the_comparison_sees_one_bit():
    one, other = plain("all extras", 130), plain("all extras", 130, 2)
    assert len(one) > 40
    assert {"statistics.moments.mean", "mean_state.halves"} <= set(
        different(one, other)
    )
