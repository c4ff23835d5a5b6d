"""Kill one run again and again; what it ends with must be what it would have had.

    python analysis/soak.py [--kills 50] [--n-traj N] [--seed 1] [--save PATH]

A run with a checkpoint is started, killed by SIGKILL at a random moment, gone on with
by a new process, killed again, ... and at last left alone. Its bits are compared with
those of a run that nobody disturbed. A process dies at any moment, or while it works,
or while it writes a file, in turn. One row per kill goes to analysis/results/soak.csv.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from bits import digest
from checkpoint_runs import HYBRID, SX
from provenance import header

import stochq.checkpoints.folder
from stochq import Bins, Ensemble, SquaredModulus, Strang, simulate
from stochq.checkpoints.reading import block_files
from stochq.errors import CheckpointError
from stochq.folders import checkpoint_status, resume

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "soak.csv"

KILLS, N_TRAJ, SEED = 50, 6_000_000, 1

#: When a process is killed: at any moment from its start on, some time after its first
#: file, or as soon as it writes one, some time after it has begun to work.
MOMENTS = ("any", "working", "writing")

#: Seconds that a process works at most; it has those to start in addition.
WORKING = 1.5

#: Seconds that a kill waits at most for the begin of work, and for a file after that.
STARTING, WRITING = 60.0, 2.0

#: Seconds between files; the package's own interval would need hours.
SAVE_SECONDS = 0.2

TIMES = np.linspace(0, 2, 21)


def work(n_traj: int, folder: Path | None = None, n_jobs: int = 1) -> Ensemble:
    """Run what is killed, or what nobody disturbs."""
    return simulate(
        HYBRID,
        TIMES,
        n_traj=n_traj,
        seed=3,
        scheme=Strang(0.02),
        functions={"x2": SquaredModulus(SX)},
        histograms=Bins("z", times=[1.0, 2.0]),
        states=[2.0],
        checkpoint=folder,
        n_jobs=n_jobs,
    )


def child(folder: Path, n_traj: int, n_jobs: int, how: str) -> None:
    """Go on with a run and print the digest of its bits."""
    stochq.checkpoints.folder.SAVE_SECONDS = SAVE_SECONDS
    if how == "resume":
        print(digest(resume(folder, n_jobs=n_jobs)))
    else:
        print(digest(work(n_traj, folder, n_jobs)))


@dataclass(frozen=True)
class Kill:
    """A process that was killed, and what it left."""

    kill: int
    by: str
    n_jobs: int
    moment: str
    seconds: float
    trajectories: int
    files: int
    drafts: int


@dataclass(frozen=True)
class Found:
    """All kills, and the digests of the disturbed run and of the other."""

    kills: list[Kill]
    disturbed: str
    undisturbed: str


def started(folder: Path, n_traj: int, n_jobs: int, how: str) -> subprocess.Popen[str]:
    """Start a process that goes on."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "analysis")])
    return subprocess.Popen(
        [
            sys.executable, "-W", "error", __file__, "--child", str(folder),
            "--n-traj", str(n_traj), "--n-jobs", str(n_jobs), "--how", how,
        ],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def drafts(folder: Path) -> int:
    """Return how many files are only half written."""
    return len(list(folder.glob(".*.draft")))


def begun(folder: Path) -> int:
    """Return when a process last said in a folder what it would do."""
    path = folder / "goal.json"
    return path.stat().st_mtime_ns if path.exists() else 0


def wait(
    process: subprocess.Popen[str], ready: Callable[[], bool], most: float
) -> None:
    """Wait until something is so, a process has ended, or it has been long enough."""
    end = time.monotonic() + most
    while process.poll() is None and not ready() and time.monotonic() < end:
        time.sleep(0.001)


def killed(
    process: subprocess.Popen[str], seconds: float, moment: str, folder: Path
) -> bool:
    """Kill a process at a moment of the kind that is named."""
    if moment != "any":
        before = begun(folder)
        wait(process, lambda: begun(folder) != before, STARTING)
    if moment == "working":
        files = len(block_files(folder))
        wait(process, lambda: len(block_files(folder)) > files, STARTING)
    wait(process, lambda: False, seconds)
    if moment == "writing":
        wait(process, lambda: drafts(folder) > 0, WRITING)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def trajectories(folder: Path) -> int:
    """Return how many are safe on disk."""
    try:
        return checkpoint_status(folder).n_traj
    except CheckpointError:  # killed before it had written what it runs
        return 0


def seconds_to_start() -> float:
    """Return how long a process takes that has next to nothing to do."""
    work(64)  # from here on, kernels are compiled
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        with started(Path(folder) / "run", 64, 1, "simulate") as process:
            process.communicate()
    return time.monotonic() - begin


def study(
    folder: Path, kills: int, n_traj: int, seed: int, working: float = WORKING
) -> Found:
    """Run, kill, and go on; compare at the end.

    Raises
    ------
    RuntimeError
        If the run was done before all kills, or a process failed.
    """
    random = np.random.default_rng(seed)
    longest = seconds_to_start() + working
    found = []
    for number in range(1, kills + 1):
        how = str(
            random.choice(["simulate", "resume"]) if begun(folder) else "simulate"
        )
        n_jobs = int(random.integers(1, 3))
        moment = MOMENTS[number % len(MOMENTS)]
        seconds = float(random.uniform(0, longest if moment == "any" else working))
        begin = time.monotonic()
        with started(folder, n_traj, n_jobs, how) as process:
            if not killed(process, seconds, moment, folder):
                raise RuntimeError(f"process {number} ended by itself")
        found.append(
            Kill(
                kill=number,
                by=how,
                n_jobs=n_jobs,
                moment=moment,
                seconds=round(time.monotonic() - begin, 3),
                trajectories=trajectories(folder),
                files=len(block_files(folder)),
                drafts=drafts(folder),
            )
        )
    with started(folder, n_traj, 2, "simulate") as process:
        disturbed = process.communicate()[0].strip()
    return Found(found, disturbed, digest(work(n_traj, n_jobs=2)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--n-traj", type=int, default=N_TRAJ)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--save", type=Path, default=SAVE)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--n-jobs", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--how", default="simulate", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.n_traj, args.n_jobs, args.how)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        found = study(run, args.kills, args.n_traj, args.seed)
    same = found.disturbed == found.undisturbed
    lines = header(
        f"python analysis/soak.py --kills {args.kills} --n-traj {args.n_traj} "
        f"--seed {args.seed}",
        f"seed: {args.seed}, trajectories: {args.n_traj}, kills: {len(found.kills)}",
        f"SHA-256 of all numbers, disturbed: {found.disturbed}",
        f"SHA-256 of all numbers, undisturbed: {found.undisturbed}",
        f"the same: {same}",
    )
    table = pd.DataFrame([asdict(kill) for kill in found.kills]).to_csv(index=False)
    args.save.parent.mkdir(parents=True, exist_ok=True)
    args.save.write_text("\n".join([*lines, table]))
    print(args.save, "the same" if same else "DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
