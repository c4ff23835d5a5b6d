"""The commands ``stochq run``, ``resume`` and ``extend``: a run begun, and gone on."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from stochq.commands.arguments import (
    UsageError,
    add_worker_options,
    input_errors,
    jobs_for,
    number_above_zero,
    output_path,
    shard_argument,
    whole_argument,
)

if TYPE_CHECKING:
    from stochq.ensemble import Ensemble
    from stochq.runfile import RunFile
    from stochq.running.stopping import Goal

__all__ = [
    "add_extend_options",
    "add_resume_options",
    "add_run_options",
    "go_on",
    "run",
]

#: Ends of a run that the command line may name.
ENDS = ("n_traj", "tolerance", "max_time")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``; values stay strings and are checked later."""
    parser.add_argument(
        "file", metavar="FILE", help="a TOML file, such as those in runs/"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="where results go")
    parser.add_argument(
        "--shard", metavar="I/N", help="only the I-th of N parts; join them by merge"
    )
    add_worker_options(parser)


def add_resume_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``resume``."""
    parser.add_argument(
        "folder", metavar="DIR", help="a checkpoint, or the --out folder of a run"
    )
    add_worker_options(parser)


def add_extend_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``extend``."""
    add_resume_options(parser)
    parser.add_argument("--n-traj", metavar="N", help="trajectories in all")
    parser.add_argument(
        "--tolerance", metavar="X", help="standard error of every observable"
    )
    parser.add_argument("--max-time", metavar="S", help="seconds from now on")


class _Asked(TypedDict, total=False):
    """When to stop, as far as the command line says."""

    n_traj: int
    tolerance: float
    max_time: float


def _asked(args: argparse.Namespace) -> _Asked:
    """Return when to stop; ``resume`` does not say."""
    asked: _Asked = {}
    if args.command != "extend":
        return asked
    if args.n_traj is not None:
        asked["n_traj"] = whole_argument(args.n_traj, "--n-traj", at_least=2)
    if args.tolerance is not None:
        asked["tolerance"] = number_above_zero(args.tolerance, "--tolerance")
    if args.max_time is not None:
        asked["max_time"] = number_above_zero(args.max_time, "--max-time")
    if not asked:
        raise UsageError(
            "`extend` must have --n-traj, --tolerance or --max-time, but has none"
        )
    return asked


def run(args: argparse.Namespace) -> int:
    """Execute a run file, or go on with it; 0 if the verdict is "pass"."""
    from stochq.commands.backends import backend
    from stochq.execute import RUN_FILE, TRAJECTORIES
    from stochq.folders import is_checkpoint
    from stochq.runfile import load_run
    from stochq.running.shards import span_of
    from stochq.storage.disk import write_file

    n_jobs, shard = jobs_for(args), shard_argument(args.shard)
    with input_errors():
        described = load_run(args.file)
        text = Path(args.file).read_bytes()
        span_of(described.goal, shard)
        with backend(args.backend, args.scheduler):
            out = output_path(args.out)
            kept = out / RUN_FILE
            if not is_checkpoint(out / TRAJECTORIES):
                write_file(kept, text)
            try:
                code = _execute(described, out, described.goal, shard, n_jobs)
            except BaseException as error:
                if getattr(error, "ensemble", None) is not None:  # it is the same run
                    write_file(kept, text)
                raise
            write_file(kept, text)
            return code


def _execute(
    described: RunFile,
    out: Path,
    goal: Goal,
    shard: tuple[int, int] | None,
    n_jobs: int | None,
) -> int:
    """Run trajectories, and judge them unless they are a shard."""
    from stochq.driver import How
    from stochq.execute import TRAJECTORIES, execute_run, sample_run

    with _gone_on_by(f"stochq resume {shlex.quote(str(out))}"):
        if shard is None:
            verdict = execute_run(described, out, n_jobs, goal=goal)
            print(verdict.explain())
            print(f"results in {out}")
            return 0 if verdict.status == "pass" else 1
        how = How(n_jobs, folder=out / TRAJECTORIES, shard=shard)
        count = sample_run(described, goal, how).n_traj
    print(f"{count} of {goal.n_traj} trajectories kept in {out / TRAJECTORIES}")
    print("no verdict from a shard: join all by `stochq merge DIR DIR ... --out OUT`,")
    print("then `stochq resume OUT`")
    return 0


@contextmanager
def _gone_on_by(command: str) -> Iterator[None]:
    """Let an interruption say which command goes on."""
    from stochq.running.interrupts import GO_ON, Terminated, without_cure

    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        error.args = (f"{without_cure(error)}{GO_ON}{command}",)
        if isinstance(error, Terminated):
            error.message = error.args[0]
        raise


def go_on(args: argparse.Namespace) -> int:
    """Go on with a run, to its goal or to another one."""
    from stochq.commands.backends import backend
    from stochq.execute import RUN_FILE, TRAJECTORIES
    from stochq.folders import is_checkpoint

    folder, asked, n_jobs = Path(args.folder), _asked(args), jobs_for(args)
    with input_errors(), backend(args.backend, args.scheduler):
        if is_checkpoint(folder):
            return _go_on_plain(folder, asked, n_jobs)
        if (folder / RUN_FILE).is_file():
            return _go_on_run(folder, asked, n_jobs)
        if any(map(is_checkpoint, (folder / TRAJECTORIES).glob("*/"))):
            raise UsageError(
                f"`{args.command}` must be given one run, but {folder} is of verify; "
                "go on by the same verify command"
            )
        raise UsageError(
            f"`{args.command}` must be given a checkpoint or the --out folder of a "
            f"run, but {folder} "
            f"{'has no run.json or run.toml' if folder.exists() else 'is not there'}"
        )


def _go_on_run(folder: Path, asked: _Asked, n_jobs: int | None) -> int:
    """Go on with what ``stochq run`` began, up to the verdict."""
    from stochq.execute import RUN_FILE, TRAJECTORIES
    from stochq.folders import is_checkpoint, read_goal
    from stochq.runfile import load_run
    from stochq.running.stopping import as_goal, goal_of

    described = load_run(folder / RUN_FILE)
    names, kept = list(described.model.observables), folder / TRAJECTORIES
    goal, shard = described.goal, None
    if is_checkpoint(kept):
        record = read_goal(kept)
        goal, shard = goal_of(record, names), record.get("shard")
    if asked:
        ends = (asked.get("n_traj"), asked.get("tolerance"), asked.get("max_time"))
        goal = as_goal(*ends, names)
        if shard is not None:
            raise UsageError(
                f"{folder} must hold all shards before it can have another goal, but "
                "is one of them; merge them first"
            )
    return _execute(described, folder, goal, shard, n_jobs)


def _go_on_plain(folder: Path, asked: _Asked, n_jobs: int | None) -> int:
    """Go on with a checkpoint, and write its table."""
    from stochq.files import output_folder, write_table
    from stochq.folders import resume

    output_folder(folder)
    ensemble = resume(folder, n_jobs=n_jobs, **asked)
    write_table(folder / "ensemble.csv", ensemble.to_frame())
    print(_table(ensemble))
    print(f"{ensemble.n_traj} trajectories, stopped by {ensemble.stopped_by}")
    print(f"all times in {folder / 'ensemble.csv'}")
    return 0


def _table(ensemble: Ensemble) -> str:
    """Return means at the last time."""
    frame = ensemble.to_frame()
    last = frame[frame["time"] == ensemble.times[-1]]
    columns = last.drop(columns="sd")
    return str(columns.to_string(index=False, float_format="{:.6g}".format))
