"""Figures: trajectories with their error against reference curves, and the residuals.

Figures are made without pyplot: nothing opens a window and nothing is kept open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.captions import case_caption, claim_caption, compared, typeset
from stochq.claims import Finding, Reading, Result
from stochq.references import Reference
from stochq.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "LIMIT", "plot_claim", "plot_finding", "plot_findings", "shown"]

#: Colors that the color-blind can tell apart (Okabe and Ito, without yellow).
COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
    "#7A7A7A",
)

#: Color of the critical residual.
LIMIT = "#B00020"

#: Line style of a law that finite systems approach.
LIMIT_LAW = "-."

#: Curves shown of an ensemble with more than `MANY` observables.
SHOWN, MANY = 6, 8

#: Points of one curve, so that the line below stays visible.
POINTS = 24

#: Cases side by side; inches of one case and of the legend.
COLUMNS, CASE_WIDTH, CASE_HEIGHT, LEGEND_WIDTH = 3, 4.4, 4.6, 2.5

Colors = Mapping[str, str]


def shown(names: Sequence[str]) -> list[str]:
    """Return all names or, where there are too many to tell apart, some of them."""
    if len(names) <= MANY:
        return list(names)
    picked = np.linspace(0, len(names) - 1, SHOWN).round().astype(int)
    return [names[o] for o in picked]


def _colors(findings: Sequence[Finding]) -> dict[str, str]:
    """Return the color of every observable shown in any of some cases."""
    names = dict.fromkeys(name for f in findings for name in shown(compared(f)))
    return {name: COLORS[k % len(COLORS)] for k, name in enumerate(names)}


def _corrected(readings: Sequence[Reading]) -> bool:
    """Tell whether one of the readings corrects the document."""
    return any(reading.says == "correction" for reading in readings)


def _style(reading: Reading, readings: Sequence[Reading]) -> str:
    """Return a dashed line for a document that is corrected, else a solid one."""
    return "--" if _corrected(readings) and reading.says == "document" else "-"


def _draw_means(axes: Axes, finding: Finding, colors: Colors) -> None:
    """Draw trajectory means as points on bands of two standard errors.

    Every curve has its points at other times, so that curves that coincide both show.
    """
    ensemble = finding.ensemble
    every = -(-ensemble.times.size // POINTS)
    for k, name in enumerate(name for name in compared(finding) if name in colors):
        o, color = ensemble.names.index(name), colors[name]
        low, high = (ensemble.mean[o] + side * ensemble.mcse[o] for side in (-2, 2))
        axes.fill_between(ensemble.times, low, high, color=color, alpha=0.35, lw=0)
        axes.plot(
            ensemble.times,
            ensemble.mean[o],
            "o",
            color=color,
            ms=4.5,
            mfc="white",
            markevery=(k % every, every),
        )


def _draw_curves(axes: Axes, reference: Reference, colors: Colors, style: str) -> None:
    """Draw reference curves; a single time becomes a tick across it."""
    marker = "_" if reference.times.size == 1 else ""
    for name, values in zip(reference.names, reference.values, strict=True):
        if name in colors:
            line = axes.plot(reference.times, values, style, marker=marker, ms=14)
            line[0].set(color=colors[name], lw=1.5, zorder=1.5)


def _draw_residuals(axes: Axes, verdict: Verdict, colors: Colors, style: str) -> None:
    """Draw deviations in standard errors, with points on solid lines."""
    for name, z in zip(verdict.names, verdict.z, strict=True):
        if name in colors:
            marker, width = ("o", 0.6) if style == "-" else ("", 1.2)
            line = axes.plot(verdict.times, z, style, color=colors[name], lw=width)
            line[0].set(marker=marker, markersize=3)


def _frame_residuals(axes: Axes, critical: float, largest: float) -> None:
    """Shade one standard error and mark the critical deviation.

    Beyond twice the critical deviation the scale is logarithmic.
    """
    axes.axhspan(-1, 1, color="0.88", lw=0, zorder=0)
    axes.axhline(0, color="0.5", lw=0.8, zorder=0.5)
    for level in (-critical, critical):
        axes.axhline(level, color=LIMIT, lw=1.2, ls=":")
    unit, linear = "std. errors", 2 * max(critical, 1.0)
    reach = 1.4 * largest if largest > linear else 1.15 * max(critical, largest, 1.0)
    if largest > linear:
        axes.set_yscale("symlog", linthresh=linear, linscale=1.5)
        end = float(f"{largest:.1g}")
        ticks = [-end, -critical, 0, critical, end]
        axes.set_yticks(ticks, [f"{tick:.3g}" for tick in ticks], minor=False)
        axes.set_yticks([], minor=True)
        unit += f",\nlog. beyond {linear:.2g}"
    axes.set_ylim(-reach, reach)
    axes.set_ylabel(f"residual\n[{unit}]")


def plot_finding(
    finding: Finding, top: Axes, bottom: Axes, colors: Colors | None = None
) -> None:
    """Draw one case: means on reference curves above, residuals below.

    Parameters
    ----------
    finding : Finding
        The case as it came out.
    top, bottom : Axes
        Where the curves and the residuals go. What a document says where it is
        corrected is dashed.
    colors : dict of str to str, optional
        Color of each observable that is shown.
    """
    readings, verdicts = finding.case.readings, finding.verdicts
    colors = _colors([finding]) if colors is None else colors
    _draw_means(top, finding, colors)
    for reading, verdict in zip(readings, verdicts, strict=True):
        style = _style(reading, readings)
        _draw_curves(top, reading.reference, colors, style)
        _draw_residuals(bottom, verdict, colors, style)
    for limit in finding.case.limits:
        if limit.law is not None:
            _draw_curves(top, limit.law, colors, LIMIT_LAW)
    critical = max(verdict.critical_z for verdict in verdicts)
    _frame_residuals(bottom, critical, max(abs(v.z).max() for v in verdicts))
    top.set_title(typeset(finding.case.label, 40), fontsize=11)
    top.set_ylabel("mean")
    top.tick_params(labelbottom=False)
    bottom.set_xlabel("time t  (ħ = 1)")


def _legend_handles(findings: Sequence[Finding], colors: Colors) -> list[Any]:
    """Return what the legend explains: observables, points, lines, limits."""
    from matplotlib.lines import Line2D

    styles = {}
    for readings in (finding.case.readings for finding in findings):
        for r in readings:
            text = f"{r.says}: {r.label}" if _corrected(readings) else r.label
            styles[typeset(text, 26)] = _style(r, readings)
    for limit in (limit for finding in findings for limit in finding.case.limits):
        if limit.law is not None:
            styles[typeset(f"limit: {limit.law.method}", 26)] = LIMIT_LAW
    handles = [
        Line2D([], [], lw=4, color=c, label=typeset(n)) for n, c in colors.items()
    ]
    points = Line2D([], [], ls="", marker="o", mfc="white", color="0.3")
    points.set_label("trajectories,\n±2 std. errors")
    return [
        *handles,
        points,
        *(Line2D([], [], color="0.3", ls=s, label=text) for text, s in styles.items()),
        Line2D([], [], color=LIMIT, ls=":", label="critical residual"),
    ]


def _panels(figure: Figure, count: int) -> list[tuple[Axes, Axes]]:
    """Return pairs of axes, curves above residuals, in rows of `COLUMNS` cases."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1.2] * rows)
    pairs = []
    for k in range(count):
        row, column = divmod(k, columns)
        bottom = figure.add_subplot(grid[2 * row + 1, column])
        top = figure.add_subplot(grid[2 * row, column], sharex=bottom)
        pairs.append((top, bottom))
    return pairs


def plot_findings(findings: Sequence[Finding], title: str, found: str) -> Figure:
    """Return a figure of several cases side by side, with one legend and a caption.

    Parameters
    ----------
    findings : sequence of Finding
        The cases as they came out.
    title : str
        Stands above all.
    found : str
        The first sentence of the caption; how each case was simulated follows.
    """
    from matplotlib.figure import Figure

    columns = min(len(findings), COLUMNS)
    rows = -(-len(findings) // columns)
    width = max(CASE_WIDTH * columns, 6.0) + LEGEND_WIDTH
    colors = _colors(findings)
    texts = [found]
    for finding in findings:
        shown = sum(name in colors for name in compared(finding))
        texts.append(case_caption(finding, shown))
    caption = "\n".join(typeset(text, int(14 * width)) for text in texts)
    height = CASE_HEIGHT * rows + 0.7 + 0.16 * (caption.count("\n") + 1)
    figure = Figure(figsize=(width, height), layout="constrained")
    for finding, (top, bottom) in zip(
        findings, _panels(figure, len(findings)), strict=True
    ):
        plot_finding(finding, top, bottom, colors)
    handles = _legend_handles(findings, colors)
    figure.legend(
        handles=handles, loc="outside right upper", fontsize=9.5, frameon=False
    )
    letters = int(10.5 * (width - LEGEND_WIDTH))
    figure.suptitle(typeset(title, letters), fontsize=13, x=0.01, ha="left")
    figure.supxlabel(caption, fontsize=8.5, color="0.25", x=0.01, ha="left")
    return figure


def plot_claim(result: Result) -> Figure:
    """Return the figure of a claim: one column per case."""
    claim = result.claim
    title = f"{claim.id}: {claim.statement} (document {claim.document})"
    return plot_findings(result.findings, title, claim_caption(result))
