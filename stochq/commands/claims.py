"""The commands ``stochq list`` and ``stochq show``: claims, before they are run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stochq.commands.arguments import select_claims

if TYPE_CHECKING:
    from stochq.claims import Claim

__all__ = ["add_list_options", "add_show_options", "list_them", "show"]


def add_list_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``list``."""
    parser.add_argument("--json", action="store_true", help="as JSON records")


def add_show_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``show``."""
    parser.add_argument("claims", nargs="+", metavar="ID", help="claim or document")
    add_list_options(parser)


def _print_json(records: Sequence[object]) -> None:
    """Print records as strict JSON."""
    print(json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False))


def list_them(args: argparse.Namespace, claims: Sequence[Claim]) -> int:
    """Print documents and claims, one line each."""
    from stochq.catalog import claim_fields, list_claims

    if args.json:
        _print_json([claim_fields(claim) for claim in claims])
    else:
        print(list_claims(claims))
    return 0


def show(args: argparse.Namespace, claims: Sequence[Claim]) -> int:
    """Print all that is recorded of some claims."""
    from stochq.catalog import claim_record, describe_claim

    chosen = select_claims(args.claims, claims)
    if args.json:
        _print_json([claim_record(claim) for claim in chosen])
    else:
        print("\n\n".join(map(describe_claim, chosen)))
    return 0
