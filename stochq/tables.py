"""Tables: results of claims as tidy frames and as plain text.

Numbers that do not depend on the clock come first and are written in one fixed way, so
that two runs with the same seed give the same bytes but for the column `seconds`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.captions import probability
from stochq.claims import Finding, Reading, Result
from stochq.frames import point_frame
from stochq.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "claim_frame",
    "format_table",
    "summary_record",
    "verdict_record",
    "verdict_table",
]

#: Headings of the printed table and the widths of its columns; minus: to the right.
COLUMNS = {
    "": 1,
    "claim": 5,
    "the document says": 41,
    "found": 18,
    "max|z|": -6,
    "p": -7,
    "would catch": -12,
    "n_traj": -8,
    "s": -6,
}


def _worst(result: Result) -> tuple[float, float]:
    """Return the largest deviation and the p of the verdict with the smallest p."""
    worst = min(result.supporting, key=lambda v: np.nan_to_num(v.p_value, nan=-1.0))
    return worst.max_z, worst.p_value


def _detectable_rate(result: Result) -> float | None:
    """Return the error of a rate that is caught, whichever of the rates it is."""
    rates: dict[str, float] = {}
    for verdict in result.supporting:
        for name, size in verdict.detectable_rate.items():
            rates[name] = min(size, rates.get(name, np.inf))
    return max(rates.values(), default=None)


def _detectable_shift(result: Result) -> float:
    """Return the shift of a curve that every supporting verdict would have caught."""
    return max(v.detectable_shift for v in result.supporting)


def _detectable(result: Result) -> str:
    """Return the smallest fault that would have been caught, in words."""
    rate, shift = _detectable_rate(result), _detectable_shift(result)
    kind, size = ("shift", shift) if rate is None else ("rate", rate)
    return f"{kind} {100 * size:.2g} %" if np.isfinite(size) else "nothing"


def _total(result: Result) -> int:
    """Return the number of trajectories of all cases."""
    return sum(finding.ensemble.n_traj for finding in result.findings)


def summary_record(result: Result) -> dict[str, Any]:
    """Return the numbers of a claim's verdicts in short.

    They are those of the verdicts that the outcome rests on: the largest deviation, the
    smallest p-value, and the detectable faults relative to 1 (a rate's: the least well
    known rate in the case that knows it best).
    """
    max_z, p_value = _worst(result)
    return {
        "max_z": max_z,
        "p_value": p_value,
        "detectable": _detectable(result),
        "detectable_shift": _detectable_shift(result),
        "detectable_rate": _detectable_rate(result),
        "n_traj": _total(result),
    }


def verdict_table(results: Sequence[Result]) -> pd.DataFrame:
    """Return one row per claim; the last column, `seconds`, is the only timing."""
    import pandas as pd

    rows = [
        {
            "id": result.claim.id,
            "document": result.claim.document,
            "statement": result.claim.statement,
            "expected": result.claim.expected,
            "found": result.outcome,
            "as_recorded": result.as_recorded,
            **summary_record(result),
            "seconds": round(result.seconds, 3),
        }
        for result in results
    ]
    return pd.DataFrame(rows).astype({"detectable_rate": float})


def claim_frame(result: Result) -> pd.DataFrame:
    """Return every compared point of a claim, one row each.

    Columns: case, reading, says, and those of `point_frame`.
    """
    import pandas as pd

    return pd.concat(
        [
            _reading_frame(finding, reading, verdict)
            for finding in result.findings
            for reading, verdict in zip(
                finding.case.readings, finding.verdicts, strict=True
            )
        ],
        ignore_index=True,
    )


def _reading_frame(
    finding: Finding, reading: Reading, verdict: Verdict
) -> pd.DataFrame:
    """Return the compared points of one reading."""
    words = {
        "case": finding.case.label,
        "reading": reading.label,
        "says": reading.says,
    }
    frame = point_frame(finding.ensemble, reading.reference, verdict)
    for place, name in enumerate(("case", "reading", "says")):
        frame.insert(place, name, words[name])
    return frame


def _line(cells: Sequence[str]) -> str:
    """Return one line of the printed table."""
    padded = [
        cell.ljust(width) if width > 0 else cell.rjust(-width)
        for cell, width in zip(cells, COLUMNS.values(), strict=True)
    ]
    return " ".join(padded).rstrip()


def _lines(result: Result) -> list[str]:
    """Return the lines of one claim: its numbers, and the rest of its statement."""
    max_z, p_value = _worst(result)
    first, *rest = textwrap.wrap(result.claim.statement, COLUMNS["the document says"])
    cells = [
        "" if result.as_recorded else "!",
        result.claim.id,
        first,
        result.outcome,
        f"{max_z:.2f}",
        probability(p_value).removeprefix("= "),
        _detectable(result),
        str(_total(result)),
        f"{result.seconds:.1f}",
    ]
    blanks = [""] * (len(COLUMNS) - 3)
    return [_line(cells), *(_line(["", "", text, *blanks]) for text in rest)]


def format_table(results: Sequence[Result]) -> str:
    """Return the table that the command line prints, at most 112 columns wide.

    A mark "!" opens the row of a claim that did not come out as recorded; a note below
    the table says what was recorded.
    """
    lines = [_line(list(COLUMNS))]
    lines.append("-" * (sum(map(abs, COLUMNS.values())) + len(COLUMNS) - 1))
    for result in results:
        lines += _lines(result)
    lines += [
        f"! {result.claim.id} is recorded as: {result.claim.expected}"
        for result in results
        if not result.as_recorded
    ]
    return "\n".join(lines)


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """Return the numbers of one verdict, without its arrays."""
    values = {field.name: getattr(verdict, field.name) for field in fields(verdict)}
    return {
        name: value
        for name, value in values.items()
        if name != "names" and not isinstance(value, np.ndarray)
    }
