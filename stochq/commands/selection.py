"""Which claims a command is about, and how much it spends on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stochq.commands.arguments import UsageError, unknown_name

if TYPE_CHECKING:
    from stochq.claims import Claim, Profile

__all__ = ["profile_argument", "select_claims"]

PROFILES = ("quick", "full")


def profile_argument(text: str) -> Profile:
    """Return the name of a profile."""
    for profile in PROFILES:
        if text == profile:
            return profile  # type: ignore[return-value]
    raise UsageError(f"`--profile` must be quick or full, but is {text:.40}")


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
