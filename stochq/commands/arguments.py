"""Values on the command line: each is either good or one clear line."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stochq.claims import Claim

__all__ = [
    "UsageError",
    "add_jobs_option",
    "add_worker_options",
    "input_errors",
    "jobs_for",
    "number_above_zero",
    "number_of_jobs",
    "output_path",
    "select_claims",
    "shard_argument",
    "unknown_name",
    "whole_argument",
]

#: More workers than any workstation has cores.
MOST_JOBS = 1024

#: More digits than any number needs, and fewer than Python refuses to read.
MOST_DIGITS = 100


class UsageError(ValueError):
    """Something on the command line, or in a file that it names, is wrong."""


def whole_argument(text: str, option: str, *, at_least: int) -> int:
    """Return an integer >= `at_least` from the command line."""
    digits = text.isascii() and text.isdigit() and len(text) < MOST_DIGITS
    value = int(text) if digits else at_least - 1
    if value < at_least:
        raise UsageError(
            f"`{option}` must be an integer >= {at_least}, but is {text:.40}"
        )
    return value


def number_above_zero(text: str, option: str) -> float:
    """Return a finite number > 0 from the command line."""
    try:
        value = 0.0 if "_" in text else float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise UsageError(f"`{option}` must be a finite number > 0, but is {text:.40}")
    return value


def number_of_jobs(text: str | None) -> int:
    """Return the number of workers, in joblib's convention."""
    cores = os.cpu_count() or 1
    if text is None:
        return min(2, cores)
    if text.strip() == "-1":
        return cores
    if not text.strip().isdigit() or int(text) < 1:
        raise UsageError(
            "`--n-jobs` must be an integer >= 1, or -1 for all cores, "
            f"but is {text:.40}"
        )
    jobs = whole_argument(text, "--n-jobs", at_least=1)
    if jobs > MOST_JOBS:
        raise UsageError(f"`--n-jobs` must be at most {MOST_JOBS}, but is {jobs}")
    return jobs


@contextmanager
def input_errors() -> Iterator[None]:
    """Let what does not fit be one line."""
    try:
        yield
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who runs trajectories; none changes a bit of them."""
    add_jobs_option(parser)
    parser.add_argument(
        "--backend", metavar="NAME", help="threading, loky, multiprocessing or dask"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a dask cluster, with --backend dask"
    )


def add_jobs_option(parser: argparse.ArgumentParser) -> None:
    """Add the number of workers."""
    parser.add_argument(
        "--n-jobs", metavar="K", help="workers; -1: all cores; default: at most 2"
    )


def jobs_for(args: argparse.Namespace) -> int | None:
    """Return the number of workers; None: all that a cluster has."""
    if args.backend == "dask" and args.n_jobs is None:
        return None
    return number_of_jobs(args.n_jobs)


def shard_argument(text: str | None) -> tuple[int, int] | None:
    """Return which of how many parts "2/5" stands for."""
    if text is None:
        return None
    parts = [p for p in text.split("/") if p.isascii() and p.isdigit() and len(p) < 10]
    if len(parts) == 2 == text.count("/") + 1 and 1 <= int(parts[0]) <= int(parts[1]):
        return int(parts[0]), int(parts[1])
    raise UsageError(
        "`--shard` must be i/n with 1 <= i <= n, the i-th of n parts, "
        f"but is {text:.40}"
    )


def output_path(text: str) -> Path:
    """Return the output folder, made and tried before anything is computed."""
    from stochq.files import output_folder

    if not text:
        raise UsageError("`--out` must be a folder, but is empty")
    try:
        return output_folder(text)
    except OSError as error:
        raise UsageError(
            f"`--out` must be a folder that can be written, but {text} is not: "
            f"{error.strerror or error}"
        ) from error


def unknown_name(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is unknown, with the nearest ones.

    Parameters
    ----------
    what : str
        What is wrong: "a claim must be an id or a document".
    name : str
        As it was given; upper and lower case are not told apart.
    known : iterable of str
        What there is.
    """
    by_key = {entry.lower(): entry for entry in sorted(known)}
    near = difflib.get_close_matches(name.lower(), by_key, n=3, cutoff=0.5)
    close = [by_key[key] for key in near]
    known = by_key.values()
    lead = "did you mean" if close else "known:"
    return UsageError(
        f"{what}, but is {name!r:.40}; {lead} {', '.join(close or known)}"
        f"{'?' if close else ''}"
    )


def select_claims(names: Sequence[str], claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims that ids and document numbers stand for, in their own order."""
    by_id = {claim.id.upper(): {claim.id} for claim in claims}
    groups = dict(by_id)
    for claim in claims:
        groups.setdefault(claim.document, set()).add(claim.id)
    chosen: set[str] = set()
    for name in names or groups:
        key = name.zfill(3) if name.isdigit() else name.upper()
        if key not in groups:
            what = "a claim must be an id or a document"
            raise unknown_name(what, name, groups)
        chosen |= groups[key]
    return [claim for claim in claims if claim.id in chosen]
