"""Checkpoints: a folder from which a run goes on where it was, or another is merged.

::

    DIR/run.json, arrays.npz     what is run: all that its numbers depend on
    DIR/goal.json                when it stops; may change from call to call
    DIR/trajectories-A-B-H.npz   statistics of trajectories A ... B - 1

Every file is written beside its place and moved there once it is on the disk. H is the
SHA-256 of the file's bytes: a damaged file is seen before it is read, and its
trajectories are run again. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from stochq.checkpoints.blockfile import Layout, Member, decode, encode, index_of
from stochq.descriptions import Description, differences, from_files, to_files
from stochq.errors import DescriptionError
from stochq.schemes.lanes import ATOM
from stochq.statistics.blocks import Block
from stochq.statistics.forest import Forest
from stochq.statistics.summary import Statistics
from stochq.storage.archive import ArchiveError, unpack
from stochq.storage.disk import read_file, size_of, write_file

try:
    import fcntl
except ImportError:  # not on Windows: there nobody checks who else writes
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointWarning",
    "Found",
    "block_files",
    "is_checkpoint",
    "read_blocks",
    "read_description",
    "read_goal",
    "refuse_another",
    "trajectories_in",
    "writable",
    "write_goal",
]

#: What is not yet on disk is at most what these seconds, or this part of all, took.
#: Looked up at every save: whoever must lose less may set them.
SAVE_SECONDS, SAVE_SHARE = 2.0, 0.01

#: Seconds until writing is tried again after it failed.
RETRY_SECONDS = 30.0

#: Digits of the hash in a file's name.
HASH = 32


class CheckpointError(ValueError):
    """A folder that cannot be used as the checkpoint of this run."""


class CheckpointWarning(UserWarning):
    """Something of a checkpoint was lost or could not be written; the run goes on."""


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


def _name(data: bytes, ranges: Sequence[tuple[int, int]]) -> str:
    """Return the name of a file: its trajectories and its hash."""
    digest = hashlib.sha256(data).hexdigest()[:HASH]
    return f"trajectories-{ranges[0][0]}-{ranges[-1][1]}-{digest}.npz"


def _ranges(members: Sequence[Member]) -> list[tuple[int, int]]:
    """Return the trajectories of every block: first and stop."""
    firsts = [member.block.first * ATOM for member in members]
    counts = [member.statistics.moments.count for member in members]
    return [(a, a + n) for a, n in zip(firsts, counts, strict=True)]


def _checked(path: Path) -> bytes:
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
    found, data = [], _checked(path)
    for level, place, count, _ in index_of(unpack(data), digest):
        first = Block(level, place).first * ATOM
        found.append((first, first + count))
    if not found or _name(data, found) != path.name:
        raise ArchiveError("its name is wrong")
    return found


def _members(path: Path, digest: str, layout: Layout) -> list[Member]:
    """Return what a file holds.

    Raises
    ------
    ArchiveError
        If it is damaged, or is not what its name says.
    """
    data = _checked(path)
    members = decode(data, digest, layout)
    if not members or _name(data, _ranges(members)) != path.name:
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
        if whole["check"] != _goal_check(goal):
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


def write_goal(folder: Path, goal: Mapping[str, Any]) -> None:
    """Write when a run should stop."""
    whole = {"check": _goal_check(goal), "goal": goal}
    text = json.dumps(whole, indent=2, allow_nan=False)
    write_file(folder / "goal.json", f"{text}\n".encode())


def _goal_check(goal: Mapping[str, Any]) -> str:
    """Return what a goal is checked by: one flipped bit is another number."""
    text = json.dumps(goal, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH]


@dataclass
class Checkpoint:
    """A folder that a run writes its statistics to.

    Attributes
    ----------
    folder : Path
        Where it is.
    description : Description
        What is run.
    found : Found
        What was there at first.
    """

    folder: Path
    description: Description
    found: Found
    _lock: IO[str] | None
    _unsaved: Forest = field(default_factory=Forest)
    _saved: int = 0
    _next: float = 0.0
    _failed: str = ""

    @classmethod
    def open(
        cls,
        folder: Path,
        description: Description,
        layout: Layout,
    ) -> Checkpoint:
        """Open a folder, or make it, and read what it holds.

        Raises
        ------
        CheckpointError
            If it belongs to another run, another process is writing to it, or it
            cannot be written.
        """
        with writable(folder), ExitStack() as held:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
            if lock is not None:
                held.enter_context(lock)
            for draft in folder.glob(".*.draft"):
                with suppress(OSError):
                    draft.unlink()
            _claim(folder, description)
            found = read_blocks(folder, description.digest, layout)
            _refuse_a_stranger(folder, description.digest, found)
            for path, reason in found.damaged.items():
                _put_aside(path, reason)
            held.pop_all()
        one = cls(folder, description, found, lock)
        one._saved = found.forest.n_traj
        one._next = time.monotonic() + SAVE_SECONDS
        return one

    def aim(self, goal: Mapping[str, Any]) -> None:
        """Write when the run should stop.

        Raises
        ------
        CheckpointError
            If it cannot be written.
        """
        with writable(self.folder):
            write_goal(self.folder, goal)

    def add(self, block: Block, statistics: Statistics) -> None:
        """Keep a block; now and then, write what has gathered."""
        self._unsaved.take(block, statistics)
        share = self._unsaved.n_traj >= SAVE_SHARE * self._saved
        if share and time.monotonic() >= self._next:
            self.save()

    def save(self) -> str:
        """Write what is not on disk yet; return why that failed, or nothing."""
        members = [Member(*member) for member in self._unsaved.members()]
        if not members:
            return self._failed
        data = encode(self.description.digest, members)
        try:
            write_file(self.folder / _name(data, _ranges(members)), data)
        except OSError as error:
            self._note(error)
            return self._failed
        self._saved += self._unsaved.n_traj
        self._unsaved, self._failed = Forest(), ""
        self._next = time.monotonic() + SAVE_SECONDS
        return ""

    def _note(self, error: OSError) -> None:
        """Say once that the disk refuses, and try again later."""
        if not self._failed:
            warnings.warn(
                f"cannot write to {self.folder}: {error.strerror or error}; going on, "
                f"and trying again every {RETRY_SECONDS:g} s",
                CheckpointWarning,
                stacklevel=2,
            )
        self._failed = error.strerror or str(error)
        self._next = time.monotonic() + RETRY_SECONDS

    def close(self) -> None:
        """Let others write."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Say in one line that a folder cannot be written."""
    try:
        if folder.exists() and not folder.is_dir():
            raise CheckpointError(f"{folder} must be a folder, but is none")
        yield
    except OSError as error:
        raise CheckpointError(
            f"{folder} must be a folder that can be written, but cannot: "
            f"{error.strerror or error}"
        ) from error


def _locked(folder: Path) -> IO[str] | None:
    """Return an open file that no other process has, or None where none can tell."""
    if fcntl is None:
        return None
    file = (folder / ".lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise CheckpointError(
            f"{folder} must be written by one process at a time, but another one is "
            "running it now"
        ) from None
    except OSError:  # a file system without locks
        pass
    return file


def _claim(folder: Path, description: Description) -> None:
    """Write what is run, or compare it with what is there."""
    try:
        theirs = read_description(folder)
    except CheckpointError as error:
        if other := _foreign(folder, description.digest):
            raise CheckpointError(
                f"{folder} must hold the same run, but {other} is of another one, and "
                f"nothing says of which: {error}"
            ) from error
        if is_checkpoint(folder) or block_files(folder):
            warnings.warn(f"{error}; written anew", CheckpointWarning, stacklevel=4)
    else:
        _compare(folder, description, theirs)
        return
    files = to_files(description)
    for name in sorted(files, key=lambda name: name == "run.json"):  # which comes last
        write_file(folder / name, files[name])


def _compare(folder: Path, ours: Description, theirs: Description) -> None:
    """Refuse a folder of another run, and say what differs."""
    if theirs.digest == ours.digest:
        return
    found = differences(ours, theirs)
    raise CheckpointError(
        f"{folder} must hold the same run, but it differs: "
        + "; ".join(found[:8])
        + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
        + "; use another folder, or remove that one"
    )


def refuse_another(folder: Path | None, description: Description) -> None:
    """Refuse a folder that is there and holds another run.

    Raises
    ------
    CheckpointError
        If it does, or is damaged.
    """
    if folder is not None and is_checkpoint(folder):
        _compare(folder, description, read_description(folder))


def _foreign(folder: Path, digest: str) -> str:
    """Return the name of a file that is whole but of another run, or nothing."""
    mark = bytes.fromhex(digest)
    for path in block_files(folder):
        with suppress(ArchiveError):
            if mark not in _checked(path):
                return path.name
    return ""


def _refuse_a_stranger(folder: Path, digest: str, found: Found) -> None:
    """Refuse a description that lies where only another run's trajectories are."""
    theirs = _foreign(folder, digest)
    if theirs and not found.forest.trees and not found.rests:
        raise CheckpointError(
            f"{folder} must hold trajectories of the run in its run.json, but {theirs} "
            "and all others that are whole are of another run"
        )


def _put_aside(path: Path, reason: str) -> None:
    """Rename a damaged file and say so."""
    aside = path.with_name(f"{path.name}.damaged")
    with suppress(OSError):
        path.replace(aside)
    warnings.warn(
        f"{path} cannot be used ({reason}); its trajectories are run again",
        CheckpointWarning,
        stacklevel=4,
    )
