"""The command ``stochq report``: a page from what ``stochq verify`` wrote."""

from __future__ import annotations

import argparse
from pathlib import Path

from stochq.commands.arguments import input_errors

__all__ = ["add_report_options", "report"]


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "folder", nargs="?", default="out", metavar="OUT",
        help="--out folder of verify; default: out/",
    )  # fmt: skip


def report(args: argparse.Namespace) -> int:
    """Write the page and the table, and say where they are."""
    from stochq.report import write_report

    with input_errors():
        print(f"report in {write_report(Path(args.folder))}")
    return 0
