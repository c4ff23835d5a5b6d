"""The table of verdicts in LaTeX, for a paper: a tabular of the package booktabs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stochq.formulas import sentence_latex
from stochq.report.numbers import chance, count, deviation

__all__ = ["verdicts_latex"]

HEADING = (
    "Claim",
    "The document says",
    "Expected",
    "Found",
    r"$\max|z|$",
    "$p$",
    "Would catch",
    r"$n_\mathrm{traj}$",
)

#: Widths are those of a page in one column; statements are wrapped.
STATEMENT = r">{\raggedright\arraybackslash}p{0.28\linewidth}"
OUTCOME = r">{\raggedright\arraybackslash}p{0.1\linewidth}"
COLUMNS = f"l{STATEMENT}{OUTCOME}{OUTCOME}rrlr"


def verdicts_latex(record: Mapping[str, Any]) -> str:
    """Return the table, one row per claim.

    Parameters
    ----------
    record : dict
        From `read_verdicts`.
    """
    run = record["run"]
    lines = [
        r"% \usepackage{array,booktabs} in the preamble",
        f"% {_line(run['command'])}",
        f"% {_line(run['date'])}, sources {_line(run['versions']['code'])}",
        r"{\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{@{{}}{COLUMNS}@{{}}}}",
        r"\toprule",
        _row(HEADING),
        r"\midrule",
        *(_row(_cells(claim)) for claim in record["claims"]),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    return "\n".join([*lines, ""])


def _line(text: str) -> str:
    """Return a text without its line breaks: a comment ends with its line."""
    return " ".join(text.split())


def _row(cells: tuple[str, ...]) -> str:
    """Return one row of the table."""
    return " & ".join(cells) + r" \\"


def _cells(claim: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of one claim."""
    short = claim["summary"]
    texts = (
        claim["id"],
        claim["statement"],
        claim["expected"],
        claim["found"],
        deviation(short["max_z"], short["p_value"]),
        chance(short["p_value"]),
        short["detectable"],
        count(short["n_traj"]),
    )
    return tuple(sentence_latex(_line(text)) for text in texts)
