"""The command line: ``stochq list``, ``show``, ``verify``, ``run`` and others.

Exit codes: 0 when everything comes out as recorded, 1 when something does not or
trajectories fail, 2 for a usage or input error, 130 when interrupted and 143 when
terminated; all but 0 say why in one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from stochq.commands.arguments import UsageError
from stochq.commands.claims import (
    add_list_options,
    add_show_options,
    list_them,
    show,
)
from stochq.commands.converge import add_converge_options, converge
from stochq.commands.folders import add_merge_options, add_status_options, merge, status
from stochq.commands.report import add_report_options, report
from stochq.commands.runs import (
    add_extend_options,
    add_resume_options,
    add_run_options,
    go_on,
    run,
)
from stochq.commands.verify import add_verify_options, verify_claims
from stochq.errors import TrajectoryError, WorkerError
from stochq.running.interrupts import Terminated, leaving_at_once, terminable

if TYPE_CHECKING:
    from stochq.claims import Claim

__all__ = ["main"]

#: Exit code of the shell for a process whose reader left.
BROKEN_PIPE = 141

#: What commands need; loading it takes seconds.
HEAVY = ("execute", "folders", "problems", "documents", "commands.backends")


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
    options = {
        "list": ("list documents and claims", add_list_options),
        "show": ("say all that is recorded of claims", add_show_options),
        "verify": ("check claims by trajectories", add_verify_options),
        "report": ("write a page about checked claims", add_report_options),
        "run": ("execute a run file", add_run_options),
        "resume": ("go on with a run to its goal", add_resume_options),
        "extend": ("go on with a run to another goal", add_extend_options),
        "merge": ("join different trajectories of one run", add_merge_options),
        "status": ("say what a run has done", add_status_options),
        "converge": ("measure the order of a scheme", add_converge_options),
    }
    for name, (purpose, add_options) in options.items():
        add_options(commands.add_parser(name, help=purpose, allow_abbrev=False))
    return parser


def _loaded() -> None:
    """Load what takes long, while a signal still ends the process at once."""
    with leaving_at_once():
        for name in HEAVY:
            import_module(f"stochq.{name}")


def _dispatch(argv: Sequence[str] | None, claims: Sequence[Claim] | None) -> int:
    """Parse the command line and run its command."""
    args = _parser().parse_args(argv)
    _loaded()
    alone = {"run": run, "resume": go_on, "extend": go_on, "merge": merge}
    alone |= {"status": status, "report": report}
    if args.command in alone:
        return alone[args.command](args)
    if claims is None:
        from stochq.documents import all_claims

        claims = all_claims()
    about = {"list": list_them, "show": show, "converge": converge}
    about["verify"] = verify_claims
    return about[args.command](args, claims)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the line of code that it came from."""
    print(f"stochq: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _reported(argv: Sequence[str] | None, claims: Sequence[Claim] | None) -> int:
    """Run the command line; return the exit code, and say in one line what is wrong."""
    try:
        code = _dispatch(argv, claims)
        sys.stdout.flush()
        return code
    except UsageError as error:
        code, message = 2, f"error: {error}"
    except (TrajectoryError, WorkerError) as error:
        code, message = 1, f"error: {error}"
    except BrokenPipeError:
        # nobody reads any more: keep the interpreter from flushing at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        name = f": {error.filename}" if error.filename else ""
        code, message = 2, f"error: {error.strerror or error}{name}"
    except KeyboardInterrupt as error:
        code, message = 128 + signal.SIGINT, str(error) or "interrupted"
    except Terminated as error:
        code, message = 128 + signal.SIGTERM, str(error)
    print(f"stochq: {' '.join(message.split())}", file=sys.stderr)
    return code


def main(
    argv: Sequence[str] | None = None, claims: Sequence[Claim] | None = None
) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; by default those of the process.
    claims : sequence of Claim, optional
        What `list`, `show`, `verify` and `converge` know; by default the claims of all
        documents.
    """
    if sys.stdout is None:  # closed by the shell
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (for good)
    with terminable(), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _reported(argv, claims)
