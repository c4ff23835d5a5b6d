"""Runs in a process whose files cannot grow, as if the disk were full.

    python full_disk.py FOLDER

prints what happens as JSON, which `reliability/test_checkpoint_refusals.py` reads.
"""

import json
import resource
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
from bits import bits, different
from checkpoint_runs import HYBRID, TIMES

import stochq.checkpoints.folder
from stochq import Strang, simulate
from stochq.folders import checkpoint_status
from stochq.running.interrupts import Interrupted

stochq.checkpoints.folder.SAVE_SECONDS = stochq.checkpoints.folder.RETRY_SECONDS = 0.0
HOME, N_TRAJ = Path(sys.argv[1]), 3000


#: What is done in some calls of the function.
at_call = {}


class Calls:
    """Counts; kept in a module, which hides it from what tells functions apart."""

    total = 0

    def __call__(self):
        self.total += 1
        at_call.get(self.total, lambda: None)()


counter = sys.called = Calls()


def one(states):
    sys.called()
    return np.ones(len(states))


def work(folder=None, n_traj=N_TRAJ):
    counter.total = 0
    return simulate(
        HYBRID,
        TIMES,
        n_traj=n_traj,
        seed=1,
        scheme=Strang(0.2),
        batch=2,
        functions={"one": one},
        keep_jumps=3,
        checkpoint=folder,
    )


def room(size=resource.RLIM_INFINITY):
    """Say how large files may be."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


expected = bits(work())
calls = counter.total


def off(folder):
    """Return what differs from a run that nothing disturbed."""
    return different(bits(work(folder)), expected)


def interrupted(folder, call):
    """Press Ctrl-C in a call; return what is said, and the trajectories that came."""
    at_call[call] = press_ctrl_c
    try:
        work(folder)
    except Interrupted as interrupt:
        return str(interrupt), interrupt.ensemble.n_traj
    finally:
        at_call.clear()


def full(folder):
    """The disk is full from the start to the end of a run."""
    work(folder, 2)
    room(2000)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield off(folder)
    yield [f"{w.category.__name__}: {w.message}" for w in told]
    yield checkpoint_status(folder).n_traj
    yield [path.name for path in folder.glob(".*.draft")]
    room()
    yield off(folder)
    yield checkpoint_status(folder).n_traj


def freed(folder):
    """There is room again when half of the run is done."""
    work(folder, 2)
    room(2000)
    at_call[calls // 2] = room
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield off(folder)
    at_call.clear()
    yield len(told)
    yield checkpoint_status(folder).ranges


def stopped(folder):
    """Ctrl-C where nothing can be written, and where it can."""
    work(folder, 2)
    room(2000)
    warnings.simplefilter("ignore")
    yield interrupted(folder, calls // 2)
    room()
    yield interrupted(folder, calls // 2)
    yield off(folder)


def started(folder):
    """The disk is full before there is a folder."""
    room(100)
    try:
        work(folder)
    except ValueError as error:
        yield f"{type(error).__name__}: {error}"
    yield counter.total
    yield [path.name for path in folder.iterdir() if path.stat().st_size]
    room()
    yield off(folder)


def first(folder):
    """Ctrl-C in the first atom, again and again, and in one that was lost."""
    for _ in range(4):  # two calls are a trial
        yield interrupted(folder, 3)[1]
    next(folder.glob("trajectories-0-*")).unlink()
    yield checkpoint_status(folder).ranges
    yield interrupted(folder, 3)[1]
    yield off(folder)


if __name__ == "__main__":
    cases = (full, freed, stopped, started, first)
    print(
        json.dumps({case.__name__: list(case(HOME / case.__name__)) for case in cases})
    )
