"""The commands ``stochq merge`` and ``status``: checkpoints, alone or as a tree."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from stochq.commands.arguments import UsageError

__all__ = ["add_merge_options", "add_status_options", "merge", "status"]


def add_merge_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``merge``."""
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="checkpoints, or --out folders"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder")


def add_status_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``status``."""
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="checkpoints, or --out folders"
    )


def _checkpoints(folder: Path) -> dict[str, Path]:
    """Return the checkpoints of a folder by their place in it.

    It is one itself, or what ``run`` or ``verify`` left, which keep them in a folder of
    their own.

    Raises
    ------
    UsageError
        If there are none.
    """
    from stochq.execute import RUN_FILE, TRAJECTORIES
    from stochq.folders import is_checkpoint

    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "is not there"
        raise UsageError(f"a checkpoint must be a folder, but {folder} {what}")
    kept = folder / TRAJECTORIES
    if is_checkpoint(folder):
        return {".": folder}
    if is_checkpoint(kept) and (folder / RUN_FILE).is_file():
        return {TRAJECTORIES: kept}
    found = [path for path in sorted(kept.glob("*/")) if is_checkpoint(path)]
    if not found:
        raise UsageError(
            f"{folder} must be a checkpoint or the --out folder of run or verify, but "
            f"neither it nor {kept} has a run.json"
        )
    return {f"{TRAJECTORIES}/{path.name}": path for path in found}


def status(args: argparse.Namespace) -> int:
    """Say what folders hold, damaged files included."""
    from stochq.folders import checkpoint_status, largest_error

    wrong: list[str] = []
    for number, folder in enumerate(map(Path, args.folders)):
        try:
            for path in _checkpoints(folder).values():
                error = largest_error(path)
                lines = checkpoint_status(path).explain()
                print("\n" * (number > 0) + lines + (f"\n{error}" if error else ""))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise UsageError("; ".join(wrong))
    return 0


def merge(args: argparse.Namespace) -> int:
    """Join folders that hold different trajectories of the same runs."""
    from stochq.execute import RUN_FILE
    from stochq.storage.disk import write_file

    sources, out = [Path(folder) for folder in args.folders], Path(args.out)
    if len(sources) < 2:
        raise UsageError("`merge` must be given at least two folders, but has one")
    found = [_checkpoints(folder) for folder in sources]
    _check_alike(sources, found)
    texts = _run_files(sources, found)
    if not args.out or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise UsageError(f"`--out` must be a new folder, but {out} holds something")
    _merge_all(found, out)
    if texts:
        write_file(out / RUN_FILE, texts[0])
    if "." in found[0] or texts:
        print(f"what is missing is run by: stochq resume {out}")
    else:
        print(f"judged by `stochq verify --out {out}` with the same claims, profile "
              "and seed")  # fmt: skip
    return 0


def _check_alike(sources: Sequence[Path], found: Sequence[Mapping[str, Path]]) -> None:
    """Refuse folders that do not hold the same checkpoints."""
    for folder, places in zip(sources[1:], found[1:], strict=True):
        for one, other, there in (
            (sources[0], folder, found[0].keys() - places.keys()),
            (folder, sources[0], places.keys() - found[0].keys()),
        ):
            if there:
                raise UsageError(
                    f"{one} and {other} must hold the same runs, but only {one} holds "
                    f"{min(there)}; finish all shards first"
                )


def _run_files(
    sources: Sequence[Path], found: Sequence[Mapping[str, Path]]
) -> list[bytes]:
    """Return the run files, which must be the same, or nothing if there are none."""
    from stochq.execute import RUN_FILE, TRAJECTORIES

    if TRAJECTORIES not in found[0]:
        return []
    files = [folder / RUN_FILE for folder in sources]
    texts = [file.read_bytes() for file in files]
    for file, text in zip(files, texts, strict=True):
        if text != texts[0]:
            raise UsageError(
                f"{file} must be the same file as {files[0]}, but differs; merge the "
                "folders of the trajectories themselves"
            )
    return texts


def _merge_all(found: Sequence[Mapping[str, Path]], out: Path) -> None:
    """Merge checkpoints with their namesakes; all or none."""
    from stochq.folders import merge_checkpoints

    done: list[Path] = []
    try:
        for place in found[0]:
            goal = out / place
            print(merge_checkpoints([p[place] for p in found], goal).explain())
            done.append(goal)
    except ValueError as error:
        for path in done:
            shutil.rmtree(path)
        raise UsageError(str(error)) from error
