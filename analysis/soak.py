"""Kill one run again and again; what it ends with must be what it would have had.

    python analysis/soak.py [--kills 50] [--n-traj N] [--seed 1] [--save PATH]

A run with a checkpoint is started, killed by SIGKILL at a random moment, gone on with
by a new process, killed again, ... and at last left alone. Its bits are compared with
those of a run that nobody disturbed. Every fifth kill waits for a file that is being
written. One row per kill goes to analysis/results/soak.csv.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from bits import digest
from checkpoint_runs import HYBRID, SX
from provenance import header

import stochq.checkpoints.folder
from stochq import Bins, Ensemble, SquaredModulus, Strang, simulate
from stochq.checkpoints.folder import CheckpointError, block_files
from stochq.folders import checkpoint_status, resume

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "soak.csv"

KILLS, N_TRAJ, SEED = 50, 800_000, 1

#: Seconds from the start of a process to its death, at most: half of them go by before
#: it has read what is there, the other half must do more than what is lost.
LONGEST = 5.0

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
    stochq.checkpoint.SAVE_SECONDS = SAVE_SECONDS
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


def killed(process: subprocess.Popen[str], seconds: float, folder: Path | None) -> bool:
    """Kill a process after some time, or as soon as it writes into a folder then."""
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    while folder and not drafts(folder) and time.monotonic() < begin + 2 * LONGEST:
        if process.poll() is not None:
            return False
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def trajectories(folder: Path) -> int:
    """Return how many are safe on disk."""
    try:
        return checkpoint_status(folder).n_traj
    except CheckpointError:  # killed before it had written what it runs
        return 0


def study(folder: Path, kills: int, n_traj: int, seed: int, longest: float) -> Found:
    """Run, kill, and go on; compare at the end.

    Raises
    ------
    RuntimeError
        If the run was done before all kills, or a process failed.
    """
    random = np.random.default_rng(seed)
    found = []
    for number in range(1, kills + 1):
        begun = (folder / "goal.json").exists()
        how = str(random.choice(["simulate", "resume"])) if begun else "simulate"
        n_jobs = int(random.integers(1, 3))
        seconds = float(random.uniform(0, longest))
        writing = number % 5 == 0
        begin = time.monotonic()
        with started(folder, n_traj, n_jobs, how) as process:
            if not killed(process, seconds, folder if writing else None):
                raise RuntimeError(f"process {number} ended by itself")
        found.append(
            Kill(
                kill=number,
                by=how,
                n_jobs=n_jobs,
                moment="writing" if writing else "any",
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
        found = study(run, args.kills, args.n_traj, args.seed, LONGEST)
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
