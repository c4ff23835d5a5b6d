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

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from stochq.checkpoints.blockfile import Layout, Member, encode
from stochq.checkpoints.reading import (
    Found,
    block_files,
    checked_bytes,
    file_name,
    goal_check,
    is_checkpoint,
    ranges_of,
    read_blocks,
    read_description,
)
from stochq.descriptions import Description, differences, to_files
from stochq.errors import CheckpointError, CheckpointWarning
from stochq.statistics.blocks import Block
from stochq.statistics.forest import Forest
from stochq.statistics.summary import Statistics
from stochq.storage.archive import ArchiveError
from stochq.storage.disk import write_file

try:
    import fcntl
except ImportError:  # not on Windows: there nobody checks who else writes
    fcntl = None  # type: ignore[assignment]

__all__ = ["Checkpoint", "refuse_another", "writable", "write_goal"]

#: What is not yet on disk is at most what these seconds, or this part of all, took.
#: Looked up at every save: whoever must lose less may set them.
SAVE_SECONDS, SAVE_SHARE = 2.0, 0.01

#: Seconds until writing is tried again after it failed.
RETRY_SECONDS = 30.0


def write_goal(folder: Path, goal: Mapping[str, Any]) -> None:
    """Write when a run should stop."""
    whole = {"check": goal_check(goal), "goal": goal}
    text = json.dumps(whole, indent=2, allow_nan=False)
    write_file(folder / "goal.json", f"{text}\n".encode())


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
            write_file(self.folder / file_name(data, ranges_of(members)), data)
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
            if mark not in checked_bytes(path):
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
