"""What a checkpoint folder holds, read with distrust: nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stochq.checkpoints.blockfile import Layout, Member, decode, index_of
from stochq.descriptions import Description, from_files
from stochq.errors import CheckpointError, DescriptionError
from stochq.schemes.lanes import ATOM
from stochq.statistics.blocks import Block
from stochq.statistics.forest import Forest
from stochq.statistics.summary import Statistics
from stochq.storage.archive import ArchiveError, unpack
from stochq.storage.disk import read_file, size_of

__all__ = [
    "Found",
    "block_files",
    "checked_bytes",
    "file_name",
    "goal_check",
    "is_checkpoint",
    "ranges_of",
    "read_blocks",
    "read_description",
    "read_goal",
    "trajectories_in",
]

#: Digits of the hash in a file's name.
HASH = 32


@dataclass
class Found:
    """What a folder holds.

    Attributes
    ----------
    forest : Forest
        Statistics of full atoms.
    rests : dict of (int, int) to Statistics
        Those of atoms that are not full, by atom and number of trajectories.
    damaged : dict of Path to str
        Files that cannot be used, and why.
    """

    forest: Forest = field(default_factory=Forest)
    rests: dict[tuple[int, int], Statistics] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)

    def upto(self, n_traj: int | None) -> Forest:
        """Return the forest, with the last atom of n_traj trajectories if there.

        With None, it has full atoms only.
        """
        if n_traj is not None:
            block = Block(0, n_traj // ATOM)
            rest = self.rests.get((block.place, n_traj % ATOM))
            self.forest.rest = None if rest is None else (block, rest)
        return self.forest


def is_checkpoint(folder: Path) -> bool:
    """Tell whether a folder is one."""
    return (folder / "run.json").is_file()


def block_files(folder: Path) -> list[Path]:
    """Return the files of a folder that should hold statistics, the largest first."""
    files = folder.glob("trajectories-*.npz")
    return sorted(files, key=lambda path: (-size_of(path), path.name))


def file_name(data: bytes, ranges: Sequence[tuple[int, int]]) -> str:
    """Return the name of a file: its trajectories and its hash."""
    digest = hashlib.sha256(data).hexdigest()[:HASH]
    return f"trajectories-{ranges[0][0]}-{ranges[-1][1]}-{digest}.npz"


def ranges_of(members: Sequence[Member]) -> list[tuple[int, int]]:
    """Return the trajectories of every block: first and stop."""
    firsts = [member.block.first * ATOM for member in members]
    counts = [member.statistics.moments.count for member in members]
    return [(a, a + n) for a, n in zip(firsts, counts, strict=True)]


def checked_bytes(path: Path) -> bytes:
    """Return the bytes of a file whose checksum is right.

    Raises
    ------
    ArchiveError
        If it is not, or the file cannot be read.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise ArchiveError(f"it cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest()[:HASH] != path.stem.rpartition("-")[2]:
        raise ArchiveError("its checksum is wrong")
    return data


def trajectories_in(path: Path, digest: str) -> list[tuple[int, int]]:
    """Return the trajectories that a file of a run holds: first and stop of each block.

    Raises
    ------
    ArchiveError
        If it is damaged, belongs to another run, or is not what its name says.
    """
    found, data = [], checked_bytes(path)
    for level, place, count, _ in index_of(unpack(data), digest):
        first = Block(level, place).first * ATOM
        found.append((first, first + count))
    if not found or file_name(data, found) != path.name:
        raise ArchiveError("its name is wrong")
    return found


def _members(path: Path, digest: str, layout: Layout) -> list[Member]:
    """Return what a file holds.

    Raises
    ------
    ArchiveError
        If it is damaged, or is not what its name says.
    """
    data = checked_bytes(path)
    members = decode(data, digest, layout)
    if not members or file_name(data, ranges_of(members)) != path.name:
        raise ArchiveError("its name is wrong")
    return members


def read_blocks(folder: Path, digest: str, layout: Layout) -> Found:
    """Return all statistics that a folder holds of a run."""
    found = Found()
    for path in block_files(folder):
        try:
            members = _members(path, digest, layout)
        except ArchiveError as error:
            found.damaged[path] = str(error)
            continue
        for block, statistics in members:
            if statistics.moments.count < ATOM << block.level:
                found.rests[block.place, statistics.moments.count] = statistics
            elif not _overlaps(block, found.forest):  # two writers may have been at it
                found.forest.take(block, statistics)
    return found


def _overlaps(block: Block, forest: Forest) -> bool:
    """Tell whether some atoms of a block are in a forest."""
    return any(block.first < b and a < block.stop for a, b in forest.ranges())


def read_description(folder: Path) -> Description:
    """Return what a checkpoint is a run of.

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged.
    """
    if not is_checkpoint(folder):
        raise CheckpointError(f"{folder} must be a checkpoint, but has no run.json")

    def read(name: str) -> bytes:
        return read_file(folder / name)

    try:
        return from_files(read)
    except (DescriptionError, OSError) as error:
        raise CheckpointError(
            f"{folder} must be a checkpoint, but its run.json or arrays.npz cannot be "
            f"used: {error}; the simulate(...) call that made it can mend it"
        ) from error


def read_goal(folder: Path) -> dict[str, Any]:
    """Return when the run of a folder should stop, as it was last asked for.

    Raises
    ------
    CheckpointError
        If that is missing or damaged.
    """
    try:
        whole = json.loads(read_file(folder / "goal.json").decode())
        goal = whole["goal"]
        if whole["check"] != goal_check(goal):
            raise ValueError("it is damaged or was edited")
        shard = goal["shard"]
        if shard is not None and [type(k) for k in shard] != [int, int]:
            raise ValueError("its shard is not two numbers")
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise CheckpointError(
            f"{folder} must say in goal.json when to stop, but: {error}; the "
            "simulate(...) call that made it can mend it"
        ) from error
    return dict(goal)


def goal_check(goal: Mapping[str, Any]) -> str:
    """Return what a goal is checked by: one flipped bit is another number."""
    text = json.dumps(goal, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH]
