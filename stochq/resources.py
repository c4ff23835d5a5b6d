"""Memory and disk: what a run takes, what there is, and what would fit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stochq.errors import ResourceError
from stochq.running.parallel import TASK_BYTES
from stochq.schemes.lanes import ATOM
from stochq.setting import Setting
from stochq.statistics.comoments import COVARIANCE_POINTS
from stochq.statistics.moments import BATCHES
from stochq.storage.disk import size_of

__all__ = ["Needs", "in_words", "memory_left", "needs_of", "refuse_what_does_not_fit"]

#: Copies of an array that exist at one time: old, new, and what is on its way.
COPIES = 3

#: Bytes of a jump that is kept: its trajectory, time and operator.
JUMP_BYTES = 20

#: Trees that a forest has at most, one for each power of two of its atoms.
TREES = 40


@dataclass(frozen=True)
class Needs:
    """Bytes that a run takes at least.

    Attributes
    ----------
    results, tasks, single : int
        Statistics of all trajectories; what workers hold; signals and counts of single
        trajectories that are kept.
    disk : int
        Its checkpoint.
    """

    results: int
    tasks: int
    single: int
    disk: int

    @property
    def memory(self) -> int:
        """All but the disk."""
        return self.results + self.tasks + self.single


def needs_of(setting: Setting, n_traj: int, jobs: int, recorded: float = 0.0) -> Needs:
    """Return what a run takes.

    Parameters
    ----------
    setting : Setting
        What is run.
    n_traj : int
        Trajectories, or a guess.
    jobs : int
        Workers that run at the same time.
    recorded : float, default 0
        Jumps that are kept of a trajectory, on average; nobody knows before a pilot.
    """
    dynamics, wanted = setting.dynamics, setting.wanted
    points = len(setting.names) * setting.times.size
    covariance = 8 * points**2 if points <= COVARIANCE_POINTS else 0
    states = 32 * len(wanted.states) * dynamics.dim**2
    bins = sum(8 * len(b.times) * (b.n + 2) for b in wanted.bins)
    tree = 48 * points + covariance + states + bins
    batches = 8 * points * min(n_traj, BATCHES)
    whole = 48 * len(wanted.states) * dynamics.model.dim**2
    initial = dynamics.carried.initial
    atom = ATOM * (16 * initial.dim * initial.columns + 8 * points + 12 * wanted.jumps)
    signals = 8 * len(dynamics.monitors) * setting.times.size if wanted.signals else 0
    counts = 8 * len(dynamics.jumps) if wanted.jumps else 0
    each = signals + counts + JUMP_BYTES * recorded
    halvings = np.log2(max(2.0, n_traj / BATCHES))
    return Needs(
        results=COPIES * batches + TREES * tree + whole,
        tasks=COPIES * jobs * max(atom, min(TASK_BYTES, atom * (n_traj // ATOM + 1))),
        single=int(COPIES * each * n_traj),
        disk=int(batches * (1 + halvings / 2) + TREES * tree) + int(each * n_traj),
    )


def memory_left() -> int | None:
    """Return the bytes of memory that can be had, or None where nobody tells."""
    found = []
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            found += [1024 * int(s.split()[1]) for s in lines if "MemAvailable" in s]
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            found.append(int(limit) - used)
    except (OSError, ValueError, IndexError):
        pass
    return min(found, default=None)


def refuse_what_does_not_fit(
    setting: Setting, n_traj: int | None, jobs: int, folder: Path | None
) -> None:
    """Refuse a run that cannot fit, and say what would.

    Raises
    ------
    ResourceError
        If it takes more memory, or its checkpoint more disk, than there is.
    """
    count = n_traj or ATOM
    needs, left = needs_of(setting, count, jobs), memory_left()
    if left is not None and needs.memory > left:
        raise ResourceError(
            f"`simulate` must fit in memory, but takes {in_words(needs.memory)} of the "
            f"{in_words(left)} that are left: {in_words(needs.results)} for results, "
            f"{in_words(needs.tasks)} for workers ({jobs}) and "
            f"{in_words(needs.single)} for single trajectories; "
            f"{_cure(setting, needs, count, jobs, left)}"
        )
    if folder is None:
        return
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    done = sum(map(size_of, folder.glob("trajectories-*.npz")))
    if needs.disk - done > free:
        raise ResourceError(
            "`checkpoint` must fit on the disk, but takes "
            f"{in_words(needs.disk)} of the {in_words(free)} that are free; use fewer "
            "output times or another folder"
        )


def _cure(setting: Setting, needs: Needs, n_traj: int, jobs: int, left: int) -> str:
    """Say what would fit."""
    rest = left - needs.results - needs.tasks
    if needs.single and rest > 0:
        fewer = int(n_traj * rest / needs.single)
        return f"n_traj = {fewer} would fit, or keep no signals and jumps"
    if jobs > 1 and needs.memory - needs.tasks * (jobs - 1) // jobs < left:
        return f"use fewer workers: one takes about {in_words(needs.tasks / jobs)}"
    times = max(1, int(setting.times.size * 0.9 * left / needs.memory))
    return f"about {times} output times in place of {setting.times.size} would fit"


def in_words(size: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"
