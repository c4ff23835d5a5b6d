"""The command line: ``stochq list``, ``verify``, ``run`` and ``converge``.

Exit codes: 0 when everything comes out as recorded, 1 when something does not, 2 for a
usage or input error (one line on stderr), 130 when interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from stochq.arguments import (
    UsageError,
    number_of_jobs,
    output_path,
    unknown_name,
    whole_argument,
)
from stochq.cli_converge import add_converge_options, converge

if TYPE_CHECKING:
    from stochq.claims import Claim, Profile, Result

__all__ = ["main"]

PROFILES = ("quick", "full")

#: Exit codes of the shell for a process that was interrupted, or whose reader left.
INTERRUPTED, BROKEN_PIPE = 130, 141


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def _version() -> str:
    """Return the installed version."""
    try:
        return version("stochq")
    except PackageNotFoundError:
        return "(not installed)"


def _parser() -> argparse.ArgumentParser:
    """Return the parser; values stay strings and are checked by the commands."""
    parser = _Parser(
        prog="stochq",
        description="Stochastic unravelings of open quantum systems, checked against "
        "their averaged equations.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stochq {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("list", help="list documents and claims", allow_abbrev=False)
    verify = commands.add_parser(
        "verify", help="check claims by trajectories", allow_abbrev=False
    )
    verify.add_argument(
        "claims", nargs="*", metavar="ID", help="claim or document; default: all"
    )
    verify.add_argument(
        "--profile", default="quick", help="quick (default) or full: how many samples"
    )
    verify.add_argument("--seed", default="1", help="integer >= 0, default 1")
    verify.add_argument("--out", default="out", metavar="DIR", help="default: out/")
    run = commands.add_parser("run", help="execute a run file", allow_abbrev=False)
    run.add_argument("file", metavar="FILE", help="a TOML file, such as those in runs/")
    run.add_argument("--out", required=True, metavar="DIR", help="where results go")
    orders = commands.add_parser(
        "converge", help="measure the order of a scheme", allow_abbrev=False
    )
    add_converge_options(orders)
    for command in (verify, run, orders):
        command.add_argument(
            "--n-jobs", metavar="K", help="threads; -1: all cores; default: at most 2"
        )
    return parser


def _profile(text: str) -> Profile:
    """Return the name of a profile."""
    for profile in PROFILES:
        if text == profile:
            return profile  # type: ignore[return-value]
    raise UsageError(f"`--profile` must be quick or full, but is {text:.40}")


def _select(names: Sequence[str], claims: Sequence[Claim]) -> list[Claim]:
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


def _list(claims: Sequence[Claim]) -> int:
    """Print documents and claims, one line each."""
    from stochq.documents import DOCUMENTS

    for document in dict.fromkeys(claim.document for claim in claims):
        print(f"{document}  {DOCUMENTS.get(document, '')}".rstrip())
        for claim in claims:
            if claim.document == document:
                print(f"  {claim.id:<4} {claim.expected:<19} {claim.statement}")
    return 0


def _save(results: Sequence[Result], out: Path) -> None:
    """Write the verdicts so far, and the table and figure of the latest claim."""
    from stochq.files import VERDICT_DIGITS, write_figure, write_json, write_table
    from stochq.plots import plot_claim
    from stochq.tables import claim_frame, verdict_records, verdict_table

    latest = results[-1]
    write_table(out / f"{latest.claim.id}.csv", claim_frame(latest))
    write_figure(out / f"{latest.claim.id}.png", plot_claim(latest))
    write_table(out / "verdicts.csv", verdict_table(results), VERDICT_DIGITS)
    write_json(out / "verdicts.json", verdict_records(results))


def _verify(args: argparse.Namespace, claims: Sequence[Claim]) -> int:
    """Check claims one by one, and write each as it is finished."""
    from tqdm.auto import tqdm

    from stochq.claims import FAMILY_ALPHA, check_claim, count_readings
    from stochq.tables import format_table

    seed = whole_argument(args.seed, "--seed", at_least=0)
    profile, n_jobs = _profile(args.profile), number_of_jobs(args.n_jobs)
    selected = _select(args.claims, claims)
    out = output_path(args.out)
    alpha = FAMILY_ALPHA / count_readings(selected)
    results: list[Result] = []
    try:
        bar = tqdm(selected, unit="claim", disable=None, leave=False)
        for claim in bar:
            bar.set_description(claim.id)
            result = check_claim(
                claim, profile=profile, seed=seed, n_jobs=n_jobs, alpha=alpha
            )
            _save([*results, result], out)
            results.append(result)
    except KeyboardInterrupt:
        kept = ", ".join(result.claim.id for result in results) or "nothing"
        print(f"stochq: interrupted; kept in {out}: {kept}", file=sys.stderr)
        return INTERRUPTED
    recorded = sum(result.as_recorded for result in results)
    print(format_table(results))
    print(f"\n{recorded} of {len(results)} claims as recorded; results in {out}")
    return 0 if recorded == len(results) else 1


def _run(args: argparse.Namespace) -> int:
    """Execute a run file."""
    from stochq.errors import ModelError, SchemeMismatchError
    from stochq.execute import execute_run
    from stochq.runfile import RunFileError, load_run

    n_jobs = number_of_jobs(args.n_jobs)
    try:
        run = load_run(args.file)
        out = output_path(args.out)
        verdict = execute_run(run, out, n_jobs)
    except (RunFileError, ModelError, SchemeMismatchError) as error:
        raise UsageError(str(error)) from error
    print(verdict.explain())
    print(f"results in {out}")
    return 0 if verdict.status == "pass" else 1


def _dispatch(argv: Sequence[str] | None, claims: Sequence[Claim] | None) -> int:
    """Parse the command line and run its command."""
    args = _parser().parse_args(argv)
    if args.command == "run":
        return _run(args)
    if claims is None:
        from stochq.documents import all_claims

        claims = all_claims()
    if args.command == "list":
        return _list(claims)
    if args.command == "converge":
        return converge(args, claims)
    return _verify(args, claims)


def main(
    argv: Sequence[str] | None = None, claims: Sequence[Claim] | None = None
) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.
    claims : sequence of Claim, optional
        What all commands but `run` know; by default the claims of all documents.
    """
    if sys.stdout is None:  # closed by the shell
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (for good)
    try:
        code = _dispatch(argv, claims)
        sys.stdout.flush()
    except UsageError as error:
        message = " ".join(str(error).split())
    except BrokenPipeError:
        # nobody reads any more: keep the interpreter from flushing at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        name = f": {error.filename}" if error.filename else ""
        message = f"{error.strerror or error}{name}"
    except KeyboardInterrupt:
        print("stochq: interrupted", file=sys.stderr)
        return INTERRUPTED
    else:
        return code
    print(f"stochq: error: {message}", file=sys.stderr)
    return 2
