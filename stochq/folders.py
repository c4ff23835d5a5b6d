"""Checkpoint folders as a whole: look at one, go on with it, merge several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from stochq.checkpoints.blockfile import Layout
from stochq.checkpoints.folder import writable, write_goal
from stochq.checkpoints.reading import (
    block_files,
    is_checkpoint,
    read_blocks,
    read_description,
    read_goal,
    trajectories_in,
)
from stochq.descriptions import Description, differences, rebuilt_scheme
from stochq.driver import How, run_setting
from stochq.ensemble import Ensemble
from stochq.errors import CheckpointError, DescriptionError
from stochq.running.parallel import checked_jobs
from stochq.running.stopping import Goal, Tolerances, as_goal, goal_of
from stochq.setting import setting_of_folder
from stochq.storage.archive import ArchiveError
from stochq.storage.disk import size_of, write_file

__all__ = [
    "CheckpointStatus",
    "checkpoint_status",
    "is_checkpoint",
    "largest_error",
    "merge_checkpoints",
    "read_goal",
    "resume",
]


@dataclass(frozen=True)
class CheckpointStatus:
    """What a checkpoint folder holds.

    Attributes
    ----------
    folder : Path
        Where it is.
    name : str
        The model's name.
    seed : int
        Addresses all random numbers.
    scheme : str
        What integrates it.
    n_traj : int
        Trajectories that are done.
    ranges : tuple of (int, int)
        Which they are: runs of consecutive ones, first and stop.
    goal : dict
        When it stops: n_traj, tolerance, max_time and shard.
    size : int
        Bytes on disk.
    damaged : dict of str to str
        Files that cannot be used, and why.
    """

    folder: Path
    name: str
    seed: int
    scheme: str
    n_traj: int
    ranges: tuple[tuple[int, int], ...]
    goal: Mapping[str, Any]
    size: int
    damaged: Mapping[str, str]

    def explain(self) -> str:
        """Return the same in words, one statement per line."""
        asked = {key: value for key, value in self.goal.items() if value is not None}
        goal = ", ".join(f"{key} = {value}" for key, value in asked.items())
        ranges = ", ".join(f"{first} ... {stop - 1}" for first, stop in self.ranges)
        lines = [
            f"{self.folder}: {self.name!r}, seed {self.seed}, {self.scheme}",
            f"done: {self.n_traj} trajectories ({ranges or 'none'})",
            f"goal: {goal or 'none'}",
            f"size: {self.size / 2**20:.3g} MiB",
        ]
        lines += [f"damaged: {name}: {why}" for name, why in self.damaged.items()]
        return "\n".join(lines)


def _united(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return runs of consecutive trajectories."""
    found: list[tuple[int, int]] = []
    for first, stop in sorted(ranges):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((first, stop))
    return tuple(found)


def checkpoint_status(folder: str | Path) -> CheckpointStatus:
    """Return what a checkpoint folder holds; every file's checksum is checked.

    Raises
    ------
    CheckpointError
        If it is no checkpoint, or a damaged one.
    """
    folder = Path(folder)
    description = read_description(folder)
    found, damaged = _found(folder, description)
    ranges = _united(r for ranges in found.values() for r in ranges)
    tree = description.tree
    model = tree.get("model")
    return CheckpointStatus(
        folder=folder,
        name=str(model.get("name", "?") if isinstance(model, dict) else "?"),
        seed=tree.get("seed", "?"),
        scheme=repr(rebuilt_scheme(description)),
        n_traj=sum(stop - first for first, stop in ranges),
        ranges=ranges,
        goal=read_goal(folder),
        size=sum(map(size_of, folder.iterdir())),
        damaged={path.name: reason for path, reason in damaged.items()},
    )


def largest_error(folder: str | Path) -> str:
    """Return the largest standard error of what a folder holds, in words.

    Nothing if its trajectories are not consecutive, or the folder alone does not say
    what they are, because the run contains Python functions.
    """
    folder = Path(folder)
    try:
        setting = setting_of_folder(folder)
    except DescriptionError:
        return ""
    source, digest = setting.source(), read_description(folder).digest
    forest = read_blocks(folder, digest, Layout.of(source)).forest
    if len(forest.ranges()) != 1:
        return ""
    moments = forest.total().moments
    row, column = divmod(int(moments.mcse.argmax()), setting.times.size)
    return (
        f"largest standard error: {moments.mcse[row, column]:.3g} of "
        f"{setting.names[row]!r} at t = {setting.times[column]:.6g}"
    )


def _found(
    folder: Path, description: Description
) -> tuple[dict[Path, list[tuple[int, int]]], dict[Path, str]]:
    """Return the trajectories of every good file of a folder, and what is damaged."""
    found, damaged = {}, {}
    for path in block_files(folder):
        try:
            found[path] = trajectories_in(path, description.digest)
        except ArchiveError as error:
            damaged[path] = str(error)
    return found, damaged


def resume(
    folder: str | Path,
    *,
    n_traj: int | None = None,
    tolerance: Tolerances | None = None,
    max_time: float | None = None,
    n_jobs: int | None = None,
    batch: int | None = None,
    progress: bool | None = None,
) -> Ensemble:
    """Go on with the run of a checkpoint folder, and return its ensemble.

    Parameters
    ----------
    folder : path
        What `simulate` made with ``checkpoint=``.
    n_traj, tolerance, max_time : optional
        A new goal, as in `simulate`; by default the goal that it had.
    n_jobs, batch, progress : optional
        As in `simulate`.

    Returns
    -------
    Ensemble
        The same, to the last bit, as that of a run that was never interrupted.

    Raises
    ------
    CheckpointError
        If it is no checkpoint, a damaged one, or of a shard that should grow.
    DescriptionError
        If the run contains Python functions, which no folder can hold.
    """
    folder = Path(folder)
    setting = setting_of_folder(folder)
    record = read_goal(folder)
    shard = record.get("shard")
    if n_traj is tolerance is max_time is None:
        goal = _stored_goal(folder, record, setting.names)
    else:
        goal = as_goal(n_traj, tolerance, max_time, setting.names)
        if shard is not None:
            raise CheckpointError(
                f"{folder} must hold all shards before it can have another goal, but "
                f"is shard {shard[0]} of {shard[1]}; merge them first"
            )
    how = How(checked_jobs(n_jobs), batch, progress, folder, shard)
    return run_setting(setting, goal, how)


def _stored_goal(folder: Path, record: Mapping[str, Any], names: Sequence[str]) -> Goal:
    """Return the goal that a folder had."""
    try:
        return goal_of(record, names)
    except ValueError as error:
        raise CheckpointError(
            f"{folder} must say in goal.json when to stop, but: {error}"
        ) from error


def merge_checkpoints(
    folders: Sequence[str | Path], out: str | Path
) -> CheckpointStatus:
    """Join checkpoints of different trajectories of one run in a new folder.

    Parameters
    ----------
    folders : sequence of paths
        At least two, such as those of shards.
    out : path
        The new folder, which must be empty or not there.

    Returns
    -------
    CheckpointStatus
        Of the new folder; `resume` runs what is still missing.

    Raises
    ------
    CheckpointError
        If they are of different runs or share trajectories, a file is damaged, or the
        new folder holds something or cannot be written.
    """
    sources, out = [Path(folder) for folder in folders], Path(out)
    if len(sources) < 2:
        raise CheckpointError("`folders` must be at least two, but are fewer")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"`out` must be a new folder, but {out} holds something")
    descriptions = [read_description(folder) for folder in sources]
    for folder, description in zip(sources[1:], descriptions[1:], strict=True):
        if description.digest != descriptions[0].digest:
            found = differences(descriptions[0], description)
            raise CheckpointError(
                f"{folder} must hold the same run as {sources[0]}, but it differs: "
                + "; ".join(found[:8])
            )
    owners: list[tuple[int, int, Path]] = []
    files = []
    for folder, description in zip(sources, descriptions, strict=True):
        good, damaged = _found(folder, description)
        for path, reason in damaged.items():
            raise CheckpointError(
                f"{path} must be whole to be merged, but {reason}; go on with its run "
                f"first: stochq resume {folder}"
            )
        ranges = _united(r for ranges in good.values() for r in ranges)
        owners += [(first, stop, folder) for first, stop in ranges]
        files += list(good)
    _refuse_overlap(sorted(owners))
    goal = _merged_goal([read_goal(folder) for folder in sources])
    with writable(out):
        out.mkdir(parents=True, exist_ok=True)
        for path in files:
            write_file(out / path.name, path.read_bytes())
        for name in ("arrays.npz", "run.json"):
            write_file(out / name, (sources[0] / name).read_bytes())
        write_goal(out, goal)
    return checkpoint_status(out)


def _refuse_overlap(owners: Sequence[tuple[int, int, Path]]) -> None:
    """Refuse trajectories that two folders have."""
    for (_, stop, one), (first, end, other) in pairwise(owners):
        if first < stop:
            raise CheckpointError(
                f"{one} and {other} must have different trajectories, but both have "
                f"{first} ... {min(stop, end) - 1}"
            )


def _merged_goal(goals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the goal of the whole: the largest number of trajectories."""
    counts = [goal.get("n_traj") for goal in goals]
    known = [count for count in counts if isinstance(count, int)]
    merged = dict(goals[0]) | {"shard": None, "max_time": None}
    return merged | {"n_traj": max(known)} if known else merged
