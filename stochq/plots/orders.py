"""Figures of convergence: strong and weak errors against dt, sampling against n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stochq.arrays import Floats
from stochq.captions import typeset
from stochq.orders import Convergence, ErrorCurve
from stochq.plots.findings import COLORS
from stochq.plots.sampling import plot_error_convergence

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_convergence", "plot_errors", "plot_orders"]

#: Inches of the figure.
WIDTH, HEIGHT = 10.4, 4.2

#: Part of a logarithmic axis that one line of a legend takes.
LINE = 0.06

#: Points of a fitted curve.
POINTS = 60

#: What the vertical axes say.
LABELS = {
    "strong": "strong error  |ψ − ψ_ref|, rms",
    "weak": "weak error / range of observable",
}


def _orders(curve: ErrorCurve) -> str:
    """Return the measured and the declared order."""
    if curve.order is None:
        return "exact to rounding" if curve.exact else "too few levels"
    error = curve.slope_error
    digits = int(np.clip(1 - np.floor(np.log10(max(error, 1e-9))), 2, 3))
    bar = f"{max(error, 10.0**-digits):.{digits}f}"
    return f"{curve.slope:.{digits}f} ± {bar} ({curve.declared:g})"


def _draw_curve(axes: Axes, curve: ErrorCurve, color: str, *, sampled: bool) -> None:
    """Draw errors with bars, those left out hollow, and the fitted line."""
    groups = [(curve.used, "white" if sampled else color)]
    if not sampled:
        groups.append((curve.shown & ~curve.used, "white"))
    for chosen, face in groups:
        if chosen.any():
            axes.errorbar(
                curve.dts[chosen],
                curve.errors[chosen],
                yerr=2 * curve.mcse[chosen],
                fmt="s" if sampled else "o",
                ms=4.5 if sampled else 5.5,
                mfc=face,
                color=color,
                elinewidth=1.0,
                capsize=2.0,
            )
    if curve.fit is not None and not sampled:
        counted = curve.dts[curve.used]
        dts = np.geomspace(counted.min(), counted.max(), POINTS)
        axes.plot(dts, curve.fit(dts), "-", color=color, lw=1.2)
        anchor = curve.fit(dts[:1]) * (dts / dts[0]) ** curve.declared
        axes.plot(dts, anchor, "--", color=color, lw=1.0, alpha=0.6)


def _chosen(study: Convergence, kind: str) -> ErrorCurve | None:
    """Return the errors of a kind: exact ones where there are both."""
    return study.strong if kind == "strong" else study.weak or study.sampled


def _entry(color: str, style: str, label: str, **how: Any) -> Any:
    """Return one entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=color, ls=style, label=label, **how)


def _explain(axes: Axes, handles: Sequence[Any]) -> None:
    """Put the legend above the curves, which rise to the right."""
    low, high = axes.get_ylim()
    room = LINE * (len(handles) + 1.5)
    axes.set_ylim(low, high * (high / low) ** (room / (1 - room)))
    axes.legend(
        handles=handles,
        loc="upper left",
        title="measured order (declared: dashed)",
        title_fontsize=8.5,
        fontsize=8.5,
        frameon=False,
        alignment="left",
    )


def _scale(axes: Axes, dts: Floats) -> None:
    """Make both scales logarithmic and label every second step."""
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(dts[::2], [f"{dt:.3g}" for dt in dts[::2]])
    axes.set_xticks(dts, minor=True)
    axes.tick_params(axis="x", which="minor", labelbottom=False)


def plot_errors(
    studies: Sequence[Convergence],
    axes: Axes,
    kind: Literal["strong", "weak"],
    *,
    named: bool = True,
) -> None:
    """Draw strong or weak errors against dt on logarithmic scales.

    Exact weak errors are drawn as disks; sampled ones, where they are larger than their
    sampling error, as squares. Bars are two standard errors. A dashed line has the
    declared order. What has no error but rounding is named in the legend only.

    Parameters
    ----------
    studies : sequence of Convergence
        One color each.
    axes : Axes
        Where to draw.
    kind : "strong" or "weak"
        Which errors.
    named : bool, default True
        Whether the legend names the models.
    """
    handles, drawn = [], []
    for study, color in zip(studies, COLORS, strict=False):
        curve = _chosen(study, kind)
        if curve is None:
            continue
        label = f"{typeset(study.model)}: " * named + _orders(curve)
        handles.append(_entry(color, "-", label, marker="o", ms=5.5))
        if curve.shown.any():
            drawn.append(curve)
            _draw_curve(axes, curve, color, sampled=False)
        if kind == "weak" and study.weak and study.sampled:
            _draw_curve(axes, study.sampled, color, sampled=True)
    axes.set_xlabel("time step dt  (ħ = 1)")
    axes.set_ylabel(typeset(LABELS[kind]))
    if drawn:
        _scale(axes, max((curve.dts for curve in drawn), key=len))
        _explain(axes, handles + (_weak_handles(studies) if kind == "weak" else []))
    else:
        text = "no error but rounding" if handles else _missing(studies, kind)
        axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes, color="0.4")
        axes.set(xticks=[], yticks=[])


def _missing(studies: Sequence[Convergence], kind: str) -> str:
    """Return why there are no errors of a kind."""
    notes = dict.fromkeys(note for study in studies for note in study.notes)
    mine = [typeset(note, 34) for note in notes if f"{kind} errors" in note]
    return "\n".join(mine) or f"no {kind} errors"


def _weak_handles(studies: Sequence[Convergence]) -> list[Any]:
    """Return what explains squares, where there are any."""
    both = [study.sampled for study in studies if study.weak and study.sampled]
    if not any(curve.used.any() for curve in both):
        return []
    squares = {"marker": "s", "mfc": "white", "ms": 4.5}
    return [_entry("0.4", "", "sampled, ±2 std. errors", **squares)]


def plot_convergence(study: Convergence, axes: Axes) -> None:
    """Draw all errors of one study against dt, with the orders that were fitted.

    Strong and weak errors have a color each; exact weak errors are disks, sampled ones
    squares. Bars are two standard errors, hollow points do not count, and a dashed line
    has the declared order.

    Parameters
    ----------
    study : Convergence
        From `convergence`.
    axes : Axes
        Where to draw.
    """
    handles = []
    for (kind, curve), color in zip(study.curves.items(), COLORS, strict=False):
        sampled = kind == "weak, sampled" and study.weak is not None
        look = {"marker": "s", "mfc": "white"} if sampled else {"marker": "o"}
        label = f"{kind}: {_orders(curve)}"
        handles.append(_entry(color, "" if sampled else "-", label, ms=5, **look))
        if curve.shown.any():
            _draw_curve(axes, curve, color, sampled=sampled)
    axes.set_xlabel("time step dt  (ħ = 1)")
    axes.set_ylabel("error  (weak: / range of observable)")
    _scale(axes, study.dts)
    _explain(axes, handles)
    axes.set_title(typeset(f"{type(study.scheme).__name__}: {study.model}"), loc="left")


def plot_orders(
    studies: Sequence[Convergence], sampling: pd.DataFrame, title: str
) -> Figure:
    """Return a figure of three panels: strong, weak, and sampling errors.

    Parameters
    ----------
    studies : sequence of Convergence
        One color each.
    sampling : DataFrame
        Errors against n_traj, from `sampling_frame`, in the order of the studies.
    title : str
        Stands above all.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    strong, weak, means = figure.subplots(1, 3)
    plot_errors(studies, strong, "strong", named=False)
    plot_errors(studies, weak, "weak", named=False)
    plot_error_convergence(sampling, means)
    law = means.get_legend_handles_labels()[0][:2]
    means.legend(handles=law, loc="upper right", fontsize=8.5, frameon=False)
    models = [
        _entry(color, "-", typeset(study.model), marker="o", ms=5.5)
        for study, color in zip(studies, COLORS, strict=False)
    ]
    figure.legend(
        handles=models, loc="outside lower center", ncols=len(models), frameon=False
    )
    for letter, axes in zip("abc", figure.axes, strict=True):
        axes.set_title(f"({letter})", loc="left", fontsize=11)
    figure.suptitle(typeset(title), fontsize=12, x=0.01, ha="left")
    return figure
