"""Blocks of atoms in parallel: tasks, workers, and statistics that merge in a tree."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple

import joblib
import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from tqdm.auto import tqdm

from stochq.arrays import whole_number
from stochq.atoms import Source
from stochq.errors import TrajectoryError
from stochq.schemes.lanes import ATOM
from stochq.statistics.blocks import Block, blocks
from stochq.statistics.forest import Forest
from stochq.statistics.moments import DIVERGENCE, batch_size
from stochq.statistics.summary import Statistics

__all__ = ["TASK_BYTES", "Workers", "checked_jobs", "collect", "run_blocks"]

#: Bytes of amplitudes and of results that one task may hold.
TASK_BYTES = 2**23

#: Seconds that a task should take at most, and below which a run is not worth workers.
TASK_SECONDS, SHORT_SECONDS = 0.5, 0.2

#: Seconds from which on processes are worth their start, where Python holds the lock.
PROCESS_SECONDS = 5.0


def _never() -> bool:
    """Tell that nobody asks to stop."""
    return False


@dataclass(frozen=True)
class Workers:
    """Who runs the blocks.

    Attributes
    ----------
    n_jobs : int or None
        In joblib's convention; None: 1, or what `joblib.parallel_config` says.
    batch : int or None
        Largest number of atoms in a task; None: as many as fit in cache.
    stopped : callable
        Whether no more tasks should be started.
    told : list of str
        Who it was, and why; the latest last.
    """

    n_jobs: int | None = 1
    batch: int | None = None
    stopped: Callable[[], bool] = _never
    told: list[str] = field(default_factory=list)


def checked_jobs(n_jobs: Any) -> int | None:
    """Return a number of workers in joblib's convention."""
    if n_jobs is None:
        return None
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, (int, np.integer)):
        raise ValueError(f"`n_jobs` must be an integer, but is {n_jobs!r}")
    if n_jobs == 0:
        raise ValueError(
            "`n_jobs` must be >= 1, or negative to count down from all cores, but is 0"
        )
    return int(n_jobs)


def _run_block(source: Source, block: Block, start: int) -> Statistics:
    """Run the atoms of a block, as far as there are trajectories.

    Whoever runs it has all atoms from `start` on, which bounds the size of batches.
    """
    with np.errstate(**DIVERGENCE):
        try:
            run = source.run(block.first, block.stop - block.first)
        except Exception as error:
            first = block.first * ATOM
            last = min(block.stop * ATOM, source.n_traj) - 1
            raise TrajectoryError.of(first, last, error) from error
        count = (block.first - start) * ATOM + run.values.shape[-1]
        return Statistics.of(run, block, batch_size(count))


def _largest(source: Source, atoms: int, jobs: int, seconds: float) -> int:
    """Return a task that fits in cache, is soon done, and leaves every worker some."""
    bytes_per_atom = ATOM * max(16 * source.size, 8 * source.results)
    fitting = TASK_BYTES // bytes_per_atom
    soon = TASK_SECONDS / max(seconds, 1e-9)
    return int(max(1, min(fitting, soon, -(-atoms // (4 * jobs)))))


def _pieces(source: Source, first: int, stop: int, largest: int) -> Iterator[Block]:
    """Yield the blocks of atoms first ... stop - 1; one that is not full comes last."""
    whole = min(stop, source.n_traj // ATOM)
    yield from blocks(first, whole, largest)
    if whole < stop:
        yield Block(0, whole)


class _Hint(NamedTuple):
    """The kind of workers that a run calls for, None for none, and why."""

    kind: Literal["threads", "processes"] | None
    reason: str


def _calls_python(source: Source) -> bool:
    """Tell whether Python's lock would keep threads waiting for each other."""
    return bool(getattr(source, "calls_python", False))


def _hint(source: Source, jobs: int, atoms: int, seconds: float) -> _Hint:
    """Return who should run some atoms that one worker needs some seconds for."""
    if jobs == 1:
        return _Hint(None, "1 worker, as asked for")
    if atoms < 2 or seconds < SHORT_SECONDS:
        return _Hint(None, "1 worker: the run is too short for more")
    backend, _ = get_active_backend(prefer="threads")
    if type(backend).__name__ != "ThreadingBackend":
        return _Hint("threads", f"{jobs} workers of {type(backend).__name__}")
    if seconds > PROCESS_SECONDS * jobs and _calls_python(source):
        return _Hint(
            "processes",
            f"{jobs} processes: functions in Python would keep threads waiting",
        )
    return _Hint("threads", f"{jobs} threads: compiled kernels run side by side")


def _leave_signals() -> None:
    """Leave Ctrl-C to the parent, which lets its workers finish; SIGTERM ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


@contextmanager
def _termination_held() -> Iterator[None]:
    """Keep SIGTERM for later, in this thread and in the processes that it starts.

    Pools end their workers by it. A forked worker that is slow to start still has its
    parent's handler, or loses the signal, and its pool would wait for it forever.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _parallel(
    tasks: Iterable[Any], n_jobs: int | None, hint: Literal["threads", "processes"]
) -> Iterator[Statistics]:
    """Yield results of joblib tasks in order, on whatever backend is configured."""
    backend, _ = get_active_backend(prefer=hint)
    how: dict[str, Any] = {"n_jobs": n_jobs, "prefer": hint}
    if "Loky" in type(backend).__name__ or "Multiprocessing" in type(backend).__name__:
        # arrays that are mapped from files are read-only, for which kernels would be
        # compiled again
        how |= {"initializer": _leave_signals, "max_nbytes": None}
    if backend.supports_return_generator:
        yield from Parallel(return_as="generator", **how)(tasks)
        return
    several = 4 * joblib.effective_n_jobs(n_jobs)
    tasks = iter(tasks)
    with ExitStack() as stack:
        with _termination_held():
            pool = stack.enter_context(Parallel(**how))
        while some := list(islice(tasks, several)):
            yield from pool(some)


def run_blocks(
    source: Source,
    first: int,
    stop: int,
    workers: Workers,
    *,
    start: int | None = None,
) -> Iterator[tuple[Block, Statistics]]:
    """Run atoms first ... stop - 1 in blocks; yield them in order.

    The first block is one atom, whose time decides how large the others are and whether
    workers are worth their start (processes take long to: there a second one tells what
    the first one took when it was compiled). Bits depend on none of that.

    Parameters
    ----------
    source : Source
        What gives the values.
    first, stop : int
        Which atoms.
    workers : Workers
        Who runs them; what has been started when they are told to stop is finished.
    start : int, optional
        The caller has all atoms from here on; by default from `first` on.
    """
    start = first if start is None else start
    jobs = joblib.effective_n_jobs(workers.n_jobs)
    seconds = 0.0
    for _ in range(2 if jobs > 1 and _calls_python(source) else 1):
        if first < stop and not workers.stopped():
            pilot = next(_pieces(source, first, first + 1, 1))
            began = time.perf_counter()
            part = _run_block(source, pilot, start)
            seconds = time.perf_counter() - began
            yield pilot, part
            first += 1
    left = stop - first
    hint = _hint(source, jobs, left, seconds * left)
    workers.told.append(hint.reason)
    shared = jobs if hint.kind else 1
    largest = workers.batch or _largest(source, left, shared, seconds)
    pieces = _pieces(source, first, stop, largest)
    if hint.kind is None:
        for block in pieces:
            if workers.stopped():
                return
            yield block, _run_block(source, block, start)
        return
    started: deque[Block] = deque()

    def tasks() -> Iterator[Any]:
        for block in pieces:  # there may be no end of them
            if workers.stopped():
                return
            started.append(block)
            yield delayed(_run_block)(source, block, start)

    for part in _parallel(tasks(), workers.n_jobs, hint.kind):
        yield started.popleft(), part


def collect(
    source: Source,
    *,
    n_jobs: int | None = 1,
    batch: int | None = None,
    progress: bool | None = None,
    first_atom: int = 0,
) -> Statistics:
    """Run the atoms of a source from `first_atom` on and merge their statistics.

    The result does not depend on `n_jobs`, `batch` or joblib's backend. Trajectories
    before the first atom are left to whoever ran them.
    """
    if batch is not None:
        whole_number(batch, "batch", at_least=1)
    forest, stop = Forest(), -(-source.n_traj // ATOM)
    disable = None if progress is None else not progress
    total = source.n_traj - first_atom * ATOM
    with tqdm(total=total, unit="traj", disable=disable, leave=False) as bar:
        workers = Workers(n_jobs, batch)
        for block, part in run_blocks(source, first_atom, stop, workers):
            forest.take(block, part)
            bar.update(part.moments.count)
    return forest.total()
