"""The claims as they stand, before anything is run: records, a frame, and words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stochq.claims import Case, Claim, Profile, Reading
from stochq.documents import DOCUMENTS, all_claims
from stochq.lowering import lower

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "claim_fields",
    "claim_record",
    "claims_frame",
    "describe_claim",
    "list_claims",
    "verify_command",
]

#: What a claim says of itself, in the order of every table.
FIELDS = ("id", "document", "statement", "equation", "source", "expected", "reason")

#: Letters in a line, and in the column of headings.
WIDTH, INDENT = 88, 12

#: How headings say whose reading it is.
WHOSE = {"document": "the document's", "correction": "the correction's"}


def claim_fields(claim: Claim) -> dict[str, str]:
    """Return what a claim says of itself; its cases are not built."""
    return {name: getattr(claim, name) for name in FIELDS}


def claim_record(claim: Claim) -> dict[str, Any]:
    """Return a claim with its cases and what they are compared with."""
    return {
        **claim_fields(claim),
        "cases": [_case_record(case) for case in claim.cases()],
        "command": verify_command([claim.id]),
    }


def verify_command(
    ids: Sequence[str], profile: Profile = "quick", seed: int = 1
) -> str:
    """Return the command line that checks some claims; without ids, all of them."""
    return " ".join(["stochq verify", *ids, f"--profile {profile} --seed {seed}"])


def _case_record(case: Case) -> dict[str, Any]:
    """Return a case: how it is simulated, and what it is compared with."""
    return {
        "label": case.label,
        "model": case.model.name,
        "n_traj": dict(case.n_traj),
        "noise": [noise.name for noise in case.model.noise],
        "unraveling": dict(lower(case.model, case.unraveling).unraveling),
        "readings": [_reading_record(reading) for reading in case.readings],
        "limits": [limit.label for limit in case.limits],
    }


def _reading_record(reading: Reading) -> dict[str, Any]:
    """Return a reading: whose it is, and the curves that it predicts."""
    reference = reading.reference
    return {
        "says": reading.says,
        "label": reading.label,
        "reference": reference.method,
        "observables": list(reference.names),
        "resolution": reading.resolution,
    }


def claims_frame(claims: Iterable[Claim] | None = None) -> pd.DataFrame:
    """Return one row per claim, by default of all documents.

    Columns: id, document, statement, equation, source, expected, reason, references
    (the distinct ones of all cases), n_cases, n_traj_quick and n_traj_full.

    Parameters
    ----------
    claims : iterable of Claim, optional
        Which; their references are built, which takes seconds for all.
    """
    import pandas as pd

    rows = []
    for claim in all_claims() if claims is None else claims:
        cases = claim.cases()
        methods = dict.fromkeys(r.reference.method for c in cases for r in c.readings)
        sizes = {
            f"n_traj_{profile}": sum(case.n_traj.get(profile, 0) for case in cases)
            for profile in ("quick", "full")
        }
        row = {**claim_fields(claim), "references": "; ".join(methods)}
        rows.append({**row, "n_cases": len(cases), **sizes})
    return pd.DataFrame(rows)


def list_claims(claims: Sequence[Claim]) -> str:
    """Return documents and claims with what is recorded of them, one line each."""
    lines = []
    for document in dict.fromkeys(claim.document for claim in claims):
        lines.append(f"{document}  {DOCUMENTS.get(document, '')}".rstrip())
        lines += [
            f"  {claim.id:<4} {claim.expected:<19} {claim.statement}"
            for claim in claims
            if claim.document == document
        ]
    return "\n".join(lines)


def describe_claim(claim: Claim) -> str:
    """Return a claim in words: statement, equation, references, cases, command."""
    record = claim_record(claim)
    subject = DOCUMENTS.get(claim.document)
    about = f" ({subject})" if subject else ""
    lines = [f"{claim.id}  document {claim.document}{about}", ""]
    mended = claim.expected == "holds as corrected"
    headings = {"equation": "corrected"} if mended else {}
    for name in ("statement", "equation", "source", "expected", "reason"):
        heading = headings.get(name, name)
        lines += _entry(heading, [record[name]] if record[name] else [])
    lines += _entry("references", list(dict.fromkeys(_references(record))))
    lines += _entry("cases", [_case_words(case) for case in record["cases"]])
    return "\n".join([*lines, *_entry("run", [record["command"]])])


def _entry(heading: str, texts: Sequence[str]) -> list[str]:
    """Return texts as wrapped lines beside their heading."""
    lines: list[str] = []
    for text in texts:
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {'' if lines else heading:<{INDENT}}",
            subsequent_indent=" " * (INDENT + 4),
            break_on_hyphens=False,
        )
    return lines


def _references(record: dict[str, Any]) -> Iterable[str]:
    """Yield what the readings of a claim predict, and whence."""
    for reading in (r for case in record["cases"] for r in case["readings"]):
        yield f'{WHOSE[reading["says"]]} "{reading["label"]}": {reading["reference"]}'


def _case_words(case: dict[str, Any]) -> str:
    """Return a case in one sentence."""
    sizes = ", ".join(f"{n} ({profile})" for profile, n in case["n_traj"].items())
    parts = [f"{case['label']}: {sizes} trajectories"]
    parts += [f"{name} by {choice}" for name, choice in case["unraveling"].items()]
    parts += [f"{name} as explicit noise" for name in case["noise"]]
    labels = " and ".join(f'"{reading["label"]}"' for reading in case["readings"])
    parts.append(f"against {labels}")
    parts += [f"with the limit {limit}" for limit in case["limits"]]
    return ", ".join(parts)
