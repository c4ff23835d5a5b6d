"""The report of a verification: one page of HTML, one table of LaTeX, from its files.

What a run leaves is data, ``verdicts.json``, with a published schema; a report is made
from that folder alone, at once or years later.
"""

from __future__ import annotations

from pathlib import Path

from stochq.files import write_text
from stochq.report.figures import all_pictures
from stochq.report.latex import verdicts_latex
from stochq.report.page import report_html
from stochq.report.reading import read_verdicts
from stochq.report.records import run_record, verdicts_record
from stochq.report.schema import check_verdicts, verdicts_schema

__all__ = [
    "PAGE",
    "check_verdicts",
    "read_verdicts",
    "run_record",
    "verdicts_record",
    "verdicts_schema",
    "write_report",
]

#: What a report is called in its folder, and its table.
PAGE, TABLE = "report.html", "verdicts.tex"


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and ``verdicts.tex`` into a folder; return the page's path.

    Parameters
    ----------
    folder : Path
        What ``stochq verify --out`` wrote.

    Raises
    ------
    ValueError
        If a file of the folder is missing or bad; nothing is written then.
    """
    record = read_verdicts(folder)
    page = report_html(record, all_pictures(folder, record))
    table = verdicts_latex(record)
    write_text(folder / PAGE, page)
    write_text(folder / TABLE, table)
    return folder / PAGE
