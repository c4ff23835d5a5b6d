"""Pictures of a report: those that a run left, and those drawn from its numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stochq.captions import typeset
from stochq.frames import deviations
from stochq.plots import plot_budget, plot_p_values, plot_z_map
from stochq.report.reading import read_figure, read_points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Picture", "Pictures", "all_pictures"]


#: Size of a figure on the page relative to its own pixels (its letters have 11 points
#: at 150 dots per inch).
LETTERS = 0.55

#: Inches across, rows of a budget at most, p-values at least.
WIDTH, BARS, FEWEST = 10.5, 24, 3


class Picture(NamedTuple):
    """A picture of the page.

    Attributes
    ----------
    title : str
        What it shows, in one sentence.
    text : str
        What who cannot see it is told.
    data : bytes
        A PNG image.
    """

    title: str
    text: str
    data: bytes

    @property
    def width(self) -> int:
        """Pixels of CSS at which its letters are as large as those of the page."""
        return round(LETTERS * int.from_bytes(self.data[16:20], "big"))

    @property
    def address(self) -> str:
        """The image itself as an address, so that the page needs no other file."""
        return f"data:image/png;base64,{base64.b64encode(self.data).decode()}"


class Pictures(NamedTuple):
    """All pictures of a page: those of each claim, in its order, and of the run."""

    claims: Sequence[Sequence[Picture]]
    run: Sequence[Picture]


def all_pictures(folder: Path, record: Mapping[str, Any]) -> Pictures:
    """Return the pictures of a page.

    Parameters
    ----------
    folder : Path
        What ``stochq verify --out`` wrote.
    record : dict
        From `read_verdicts`.

    Raises
    ------
    ValueError
        If a figure or a table of the folder is missing or bad.
    """
    command = record["run"]["command"]
    claims = [claim_pictures(folder, claim, command) for claim in record["claims"]]
    return Pictures(claims, run_pictures(record))


def claim_pictures(
    folder: Path, claim: Mapping[str, Any], command: str
) -> list[Picture]:
    """Return the pictures of one claim; the command writes those that are missing."""
    labels = ", ".join(case["label"] for case in claim["cases"])
    curves = Picture(
        "Means of trajectories on the curves that they are compared with; below, what "
        "is left between the two, in standard errors.",
        f"{claim['id']}, found: {claim['found']}. Cases: {labels}.",
        read_figure(folder, claim["id"], command),
    )
    points = read_points(folder, claim["id"], command, _size(claim))
    tables, pairs = _tables(points, claim), _decisive(claim)
    if any(verdict["critical_z"] is None for _, verdict in pairs):
        return [curves]  # means that are no numbers to draw
    maps = Picture(
        "Deviations of every observable at every time from what the outcome rests on, "
        "in standard errors, before anything is allowed for. Lines in the bar, and "
        "outlines: the critical one. Gray: what no trajectory changes, or where too "
        "few events were seen.",
        f"{claim['id']}: maps of z over observables and times.",
        _png(_z_maps(tables, pairs)),
    )
    budget = Picture(
        "What the error of each mean consists of, against the finest resolution that "
        "is asked for. A verdict sees shifts of a curve of about six errors of its "
        "mean over the times.",
        f"{claim['id']}: sampling error, step bias and error of the reference.",
        _png(_budget(tables, min(v["resolution"] for _, v in pairs))),
    )
    return [curves, maps, budget]


def run_pictures(record: Mapping[str, Any]) -> list[Picture]:
    """Return the pictures of all claims together."""
    verdicts = [v for claim in record["claims"] for _, v in _decisive(claim)]
    p_values = [v["p_value"] for v in verdicts if v["p_value"] is not None]
    if len(p_values) < FEWEST:
        return []
    picture = Picture(
        "The p-values of the readings that the outcomes rest on. Those of right "
        "formulas are uniform, or larger where something is allowed for; readings of "
        "one ensemble are not independent of each other.",
        f"{len(p_values)} sorted p-values against uniform ones.",
        _png(_p_values(p_values)),
    )
    return [picture]


def _decisive(claim: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the verdicts that a claim's outcome rests on, with their cases.

    Those of the correction where there is one, else those of the document.
    """
    pairs = []
    for case in claim["cases"]:
        corrected = [v for v in case["verdicts"] if v["says"] == "correction"]
        pairs += [(case["label"], v) for v in corrected or case["verdicts"]]
    return pairs


def _tables(points: pd.DataFrame, claim: Mapping[str, Any]) -> list[pd.DataFrame]:
    """Return the points of each decisive verdict; all verdicts follow each other."""
    tables, start = {}, 0
    for case in claim["cases"]:
        for verdict in case["verdicts"]:
            size = len(verdict["observables"]) * verdict["times"]["count"]
            tables[id(verdict)] = points.iloc[start : start + size]
            start += size
    return [tables[id(verdict)] for _, verdict in _decisive(claim)]


def _size(claim: Mapping[str, Any]) -> int:
    """Return the number of points of all verdicts of a claim."""
    verdicts = [v for case in claim["cases"] for v in case["verdicts"]]
    return sum(len(v["observables"]) * v["times"]["count"] for v in verdicts)


def _z_maps(
    tables: Sequence[pd.DataFrame], pairs: Sequence[tuple[str, Mapping[str, Any]]]
) -> Figure:
    """Return a map of deviations for each case, two side by side."""
    from matplotlib.figure import Figure

    columns = min(len(pairs), 2)
    rows = -(-len(pairs) // columns)
    height = [0.22 * table["observable"].nunique() + 1.2 for table in tables]
    each = min(max(*height, 2.0), 4.0)
    figure = Figure(figsize=(WIDTH, each * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    for axes, table, (case, verdict) in zip(panels, tables, pairs, strict=False):
        plot_z_map(deviations(table, verdict["critical_z"]), axes)
        axes.set_title(typeset(case, 44), fontsize=10, loc="left")
    return figure


def _budget(tables: Sequence[pd.DataFrame], resolution: float) -> Figure:
    """Return one bar for every observable of every case."""
    import pandas as pd
    from matplotlib.figure import Figure

    table = pd.concat(tables)
    bars = min(len(table.groupby(["case", "observable"])), BARS)
    figure = Figure(figsize=(WIDTH, 1.3 + 0.24 * bars), layout="constrained")
    plot_budget(table, figure.subplots(), resolution=resolution)
    return figure


def _p_values(p_values: Sequence[float]) -> Figure:
    """Return p-values on both kinds of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_p_values(p_values, left)
    plot_p_values(p_values, right, logarithmic=True)
    return figure


def _png(figure: Figure) -> bytes:
    """Return a figure as a PNG image."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
