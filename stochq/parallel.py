"""Atoms in parallel: tasks, workers, and statistics merged in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from stochq.arrays import Floats, Ints, whole_number
from stochq.atoms import Kept, Run, Source
from stochq.moments import Moments, batch_means, batch_size, merge_tree
from stochq.schemes.lanes import ATOM

__all__ = ["Collected", "checked_jobs", "collect"]

#: An explicit scheme may diverge, which the verdict tells; numpy need not warn of it.
DIVERGENCE: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}

#: Bytes of amplitudes and of results that one task may hold.
TASK_BYTES = 2**23


@dataclass(frozen=True)
class Collected:
    """The statistics of all trajectories of a source.

    Attributes
    ----------
    moments : Moments
        Of every value, shape (O, T).
    batches : ndarray, shape (B, O, T)
        Means of equal batches of trajectories.
    jumps : ndarray of int, shape (channels, T)
        Jumps up to each time, by operator.
    mean_norm : ndarray, shape (T,)
        Mean of <psi|psi>.
    norm_defect, residual : float
        The largest of all.
    weight : float
        What a trajectory counts, at most, in the mean of all.
    kept : Kept or None
        The jumps of single trajectories, if asked for.
    signals : ndarray, shape (monitors, T - 1, n)
        Those that were kept.
    """

    moments: Moments
    batches: Floats
    jumps: Ints
    mean_norm: Floats
    norm_defect: float
    residual: float
    signals: Floats
    weight: float = 1.0
    kept: Kept | None = None


@dataclass(frozen=True)
class _Part:
    """The statistics of consecutive atoms."""

    atoms: list[Moments]
    batches: Floats
    jumps: Ints
    norms: list[Floats]
    norm_defect: float
    residual: float
    kept: Kept | None
    signals: Floats


def _run_part(source: Source, first: int, count: int) -> _Part:
    """Run atoms first ... first + count - 1 and keep their statistics."""
    with np.errstate(**DIVERGENCE):
        return _statistics(source.run(first, count), source.n_traj)


def _statistics(run: Run, n_traj: int) -> _Part:
    """Return the statistics of a run, atom by atom."""
    atoms = [
        Moments.of(run.values[..., start : start + ATOM])
        for start in range(0, run.values.shape[-1], ATOM)
    ]
    means = batch_means(run.values, min(batch_size(n_traj), ATOM))
    norms = [
        run.norms[:, start : start + ATOM].sum(axis=1)
        for start in range(0, run.norms.shape[1], ATOM)
    ]
    return _Part(
        atoms,
        means,
        run.jumps,
        norms,
        run.norm_defect,
        run.residual,
        run.kept,
        run.signals,
    )


def _atoms_per_task(size: int, results: int, n_traj: int, jobs: int) -> int:
    """Return a batch that fits in cache and gives every worker several tasks."""
    bytes_per_atom = ATOM * max(16 * size, 8 * results)
    fitting = max(1, TASK_BYTES // bytes_per_atom)
    return int(max(1, min(fitting, -(-n_traj // (4 * jobs * ATOM)))))


def checked_jobs(n_jobs: Any) -> int:
    """Return a number of workers in joblib's convention."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)):
        raise ValueError(f"`n_jobs` must be an integer, but is {n_jobs!r}")
    if n_jobs == 0:
        raise ValueError(
            "`n_jobs` must be >= 1, or negative to count down from all cores, but is 0"
        )
    return int(n_jobs)


def _dispatch(
    source: Source, skipped: int, task: int, n_jobs: int, progress: bool | None
) -> Iterator[_Part]:
    """Run the atoms after the skipped, `task` at a time; yield their parts in order."""
    atoms = -(-source.n_traj // ATOM)
    total = source.n_traj - skipped * ATOM
    tasks = (
        delayed(_run_part)(source, first, min(task, atoms - first))
        for first in range(skipped, atoms, task)
    )
    disable = None if progress is None else not progress
    with tqdm(total=total, unit="traj", disable=disable, leave=False) as bar:
        parts = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")(tasks)
        for part in parts:
            bar.update(sum(atom.count for atom in part.atoms))
            yield part


def collect(
    source: Source,
    *,
    n_jobs: int = 1,
    batch: int | None = None,
    progress: bool | None = None,
    first_atom: int = 0,
) -> Collected:
    """Run the atoms of a source from `first_atom` on and merge their statistics.

    The result does not depend on `n_jobs`, `batch` or joblib's backend. Trajectories
    before the first atom are left to whoever ran them.
    """
    if batch is None:
        jobs = n_jobs if n_jobs > 0 else 8
        n_traj = source.n_traj - first_atom * ATOM
        batch = _atoms_per_task(source.size, source.results, n_traj, jobs)
    else:
        whole_number(batch, "batch", at_least=1)
    parts = list(_dispatch(source, first_atom, batch, n_jobs, progress))
    means = np.concatenate([part.batches for part in parts])
    size = batch_size(source.n_traj)
    if size > ATOM:
        means = batch_means(np.moveaxis(means, 0, -1), size // ATOM)
    with np.errstate(**DIVERGENCE):
        moments = merge_tree(atom for part in parts for atom in part.atoms)
    norms = np.array([n for part in parts for n in part.norms])
    kept = [part.kept for part in parts if part.kept is not None]
    return Collected(
        moments=moments,
        batches=means,
        jumps=np.sum([part.jumps for part in parts], axis=0),
        mean_norm=norms.sum(axis=0) / moments.count,
        norm_defect=max(part.norm_defect for part in parts),
        residual=max(part.residual for part in parts),
        signals=np.concatenate([part.signals for part in parts], axis=-1),
        kept=Kept.joined(kept) if kept else None,
    )
