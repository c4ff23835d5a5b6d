"""Figures: trajectories with their error against reference curves, and the residuals.

Figures are made without pyplot: nothing opens a window and nothing is kept open.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.claims import Finding, Reading, Result
from stochq.ensemble import Ensemble
from stochq.references import Reference
from stochq.verify import Verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_claim", "plot_error_convergence", "plot_finding", "plot_findings"]

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

#: Curves shown of an ensemble with more than `MANY` observables.
SHOWN, MANY = 6, 8

#: Cases side by side.
COLUMNS = 3

#: Width and height of one case, and width of the legend [inch].
CASE_WIDTH, CASE_HEIGHT, LEGEND_WIDTH = 4.6, 4.5, 2.4

Colors = Mapping[str, str]


def _shown(names: Sequence[str]) -> list[str]:
    """Return all names or, where there are too many to tell apart, some of them."""
    if len(names) <= MANY:
        return list(names)
    picked = np.linspace(0, len(names) - 1, SHOWN).round().astype(int)
    return [names[o] for o in picked]


def _colors(ensembles: Sequence[Ensemble]) -> Colors:
    """Return the color of every observable shown in any of some ensembles."""
    names = dict.fromkeys(name for e in ensembles for name in _shown(e.names))
    return {name: COLORS[k % len(COLORS)] for k, name in enumerate(names)}


def _style(reading: Reading, readings: Sequence[Reading]) -> str:
    """Return a dashed line for a document that is corrected, else a solid one."""
    corrected = any(r.says == "correction" for r in readings)
    return "--" if corrected and reading.says == "document" else "-"


def _draw_means(axes: Axes, ensemble: Ensemble, colors: Colors) -> None:
    """Draw trajectory means as points on bands of two standard errors."""
    times = ensemble.times
    sparse = max(1, times.size // 40)
    for name in _shown(ensemble.names):
        o = ensemble.names.index(name)
        mean, error, color = ensemble.mean[o], ensemble.mcse[o], colors[name]
        axes.fill_between(
            times, mean - 2 * error, mean + 2 * error, color=color, alpha=0.3, lw=0
        )
        axes.plot(
            times, mean, "o", color=color, ms=4, mfc="white", mew=1.2, markevery=sparse
        )


def _draw_reference(
    axes: Axes, reference: Reference, colors: Colors, style: str
) -> None:
    """Draw reference curves; a single time becomes a tick across it."""
    marker = "_" if reference.times.size == 1 else ""
    for name, values in zip(reference.names, reference.values, strict=True):
        if name in colors:
            axes.plot(
                reference.times, values, style, marker=marker, ms=14, lw=1.4,
                color=colors[name], zorder=1.5,
            )  # fmt: skip


def _draw_residuals(
    axes: Axes, verdict: Verdict, colors: Colors, style: str | None
) -> None:
    """Draw deviations in standard errors: points, or lines where a style is given."""
    for name, z in zip(verdict.names, verdict.z, strict=True):
        if name in colors and style is None:
            axes.plot(verdict.times, z, "o-", color=colors[name], ms=3, lw=0.6)
        elif name in colors:
            axes.plot(verdict.times, z, style, color=colors[name], lw=1, alpha=0.8)


def _frame_residuals(axes: Axes, critical: float, largest: float) -> None:
    """Shade one standard error, mark the critical deviation, and set the limits."""
    axes.axhspan(-1, 1, color="0.88", lw=0, zorder=0)
    axes.axhline(0, color="0.5", lw=0.8, zorder=0.5)
    for level in (-critical, critical):
        axes.axhline(level, color=LIMIT, lw=1, ls=":")
    reach = 1.15 * max(critical, largest, 1.0)
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("residual\n[std. errors]")


def plot_finding(
    finding: Finding, top: Axes, bottom: Axes, colors: Colors | None = None
) -> None:
    """Draw one case: means on reference curves above, residuals below.

    Parameters
    ----------
    finding : Finding
        The case as it came out.
    top, bottom : Axes
        Where the curves and the residuals go. The residuals are those of the reading
        that is held to be right; a document that is corrected adds dashed lines, which
        may leave the panel.
    colors : dict of str to str, optional
        Color of each observable that is shown.
    """
    ensemble, readings = finding.ensemble, finding.case.readings
    colors = _colors([ensemble]) if colors is None else colors
    _draw_means(top, ensemble, colors)
    critical, largest = 0.0, 0.0
    for reading, verdict in zip(readings, finding.verdicts, strict=True):
        style = _style(reading, readings)
        _draw_reference(top, reading.reference, colors, style)
        _draw_residuals(bottom, verdict, colors, None if style == "-" else style)
        if style == "-":
            critical = max(critical, verdict.critical_z)
            largest = max(largest, float(np.abs(verdict.z).max()))
    _frame_residuals(bottom, critical, largest)
    top.set_title(textwrap.fill(finding.case.label, 44), fontsize=11)
    top.set_ylabel("mean")
    top.tick_params(labelbottom=False)
    bottom.set_xlabel("time t  (ħ = 1)")


def _reading_labels(findings: Sequence[Finding]) -> dict[str, str]:
    """Return the style of line of each reading, by what the legend calls it."""
    labels = {}
    for finding in findings:
        readings = finding.case.readings
        corrected = any(r.says == "correction" for r in readings)
        for reading in readings:
            text = f"{reading.says}: {reading.label}" if corrected else reading.label
            labels[textwrap.fill(text, 26)] = _style(reading, readings)
    return labels


def _legend_handles(findings: Sequence[Finding], colors: Colors) -> list[Any]:
    """Return what the legend explains: observables, points, lines, limits."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], lw=4, color=c, label=n) for n, c in colors.items()]
    points = {"ls": "", "marker": "o", "mfc": "white", "color": "0.3"}
    handles.append(Line2D([], [], **points, label="trajectories,\n±2 std. errors"))
    for label, style in _reading_labels(findings).items():
        handles.append(Line2D([], [], color="0.3", ls=style, label=label))
    handles.append(Line2D([], [], color=LIMIT, ls=":", label="critical residual"))
    return handles


def _describe(finding: Finding) -> str:
    """Return how a case was simulated and what was found, in one sentence."""
    ensemble = finding.ensemble
    dt = ensemble.scheme.dt
    step = f"(dt = {dt:.3g})" if np.isfinite(dt) else "(no step)"
    parts = [
        f"{finding.case.label}: {ensemble.n_traj} trajectories",
        f"{type(ensemble.scheme).__name__} {step}",
    ]
    choices = ensemble.provenance["unraveling"]
    parts += [f"{name} as {kind}" for name, kind in choices.items()]
    for reading, verdict in zip(finding.case.readings, finding.verdicts, strict=True):
        numbers = f"max |z| = {verdict.max_z:.3g}, p = {verdict.p_value:.2g}"
        parts.append(f"{verdict.status} against {reading.label!r} ({numbers})")
    names, shown = ensemble.names, len(_shown(ensemble.names))
    if shown < len(names):
        parts.append(f"{shown} of {len(names)} observables shown")
    return ", ".join(parts) + "."


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
    width = max(CASE_WIDTH * columns + LEGEND_WIDTH, 8.0)
    letters = int(13 * width)  # of the caption, in a line
    caption = [textwrap.fill(found, letters)]
    caption += [textwrap.fill(_describe(f), letters) for f in findings]
    text = "\n".join(caption)
    height = CASE_HEIGHT * rows + 0.6 + 0.16 * (text.count("\n") + 1)
    figure = Figure(figsize=(width, height), layout="constrained")
    colors = _colors([finding.ensemble for finding in findings])
    pairs = _panels(figure, len(findings))
    for finding, (top, bottom) in zip(findings, pairs, strict=True):
        plot_finding(finding, top, bottom, colors)
    handles = _legend_handles(findings, colors)
    figure.legend(handles=handles, loc="outside right upper", fontsize=9.5)
    figure.suptitle(textwrap.fill(title, int(8 * width)), fontsize=13)
    figure.supxlabel(text, fontsize=8.5, color="0.25", x=0.01, ha="left")
    return figure


def plot_claim(result: Result) -> Figure:
    """Return the figure of a claim: one column per case."""
    claim = result.claim
    found = f"Found: {result.outcome}."
    if not result.as_recorded:
        found = f"Found: {result.outcome}, but recorded as: {claim.expected}."
    if claim.reason:
        found += f" Recorded reason: {claim.reason}."
    source = f"(document {claim.document}, {claim.source})"
    title = f"{claim.id}: {claim.statement} {source}"
    return plot_findings(result.findings, title, found)


def plot_error_convergence(frame: pd.DataFrame, axes: Axes) -> None:
    """Draw the error of running means against the number of trajectories.

    Parameters
    ----------
    frame : DataFrame
        Columns n_traj, observable, rms_error, rms_mcse_expected, expected_low and
        expected_high. Observables that no trajectory changes are left out.
    axes : Axes
        Where to draw.
    """
    random = frame[frame["rms_mcse_expected"] > 0]
    names = _shown(list(dict.fromkeys(random["observable"])))
    for name, color in zip(names, COLORS, strict=False):
        part = random[random["observable"] == name]
        n = part["n_traj"]
        axes.fill_between(
            n,
            part["expected_low"],
            part["expected_high"],
            color=color,
            alpha=0.12,
            lw=0,
        )
        axes.plot(n, part["rms_mcse_expected"], "-", color=color, lw=1)
        axes.plot(n, part["rms_error"], "o", color=color, ms=5, mfc="white", label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("trajectories n")
    axes.set_ylabel("rms error over times")
    axes.set_title("points: |mean − reference|; lines: sd/√n, with 95 % bands")
    axes.legend(fontsize=9.5)
