"""Figures of budgets: what the errors of means consist of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stochq.captions import typeset
from stochq.frames import budget_frame
from stochq.plots.findings import COLORS, LIMIT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_budget"]

#: Letters of a row's label.
LETTERS = 40

#: Decades below the largest error, or the resolution, that a budget shows at most.
DECADES = 5

#: Rows of a budget; with more of them the largest totals are shown.
ROWS = 24

#: Markers of the parts of an error: shape, filled or not, color, words.
MARKERS = {
    "sampling": ("o", True, COLORS[0], "sampling error"),
    "step_bias": ("s", True, COLORS[1], "step bias, taken off"),
    "bias_error": ("s", False, COLORS[1], "its uncertainty"),
    "reference_error": ("D", True, COLORS[2], "error of reference"),
}


def plot_budget(points: pd.DataFrame, axes: Axes, *, resolution: float) -> None:
    """Draw what the error of each observable's means is made of.

    A bar is the whole error of the means as they stand, sampling and steps together;
    markers are its parts, each a root mean square over the compared times, in units of
    the observable's scale. Parts more than five decades below the largest, such as
    those of observables that are conserved, are not drawn.

    Parameters
    ----------
    points : DataFrame
        From `point_frame`, or what ``stochq verify`` writes as ID.csv.
    axes : Axes
        Where to draw.
    resolution : float
        The shift of a curve that had to be detectable, in the same unit.

    Raises
    ------
    ValueError
        If columns are missing, or the resolution is not positive.
    """
    if not 0 < resolution < np.inf:
        raise ValueError(f"`resolution` must be positive, but is {resolution}")
    frame = budget_frame(points)
    if len(frame) > ROWS:
        axes.set_title(f"the {ROWS} largest of {len(frame)}", fontsize=9.5, loc="right")
        frame = frame.loc[frame["total"].nlargest(ROWS).index].sort_index()
    largest = max(resolution, float(frame["total"].max()))
    parts = frame[list(MARKERS)].to_numpy()
    seen = parts[parts > largest * 10.0**-DECADES]
    floor = 0.5 * float(seen.min(initial=resolution))
    places = np.arange(len(frame))
    axes.barh(places, frame["total"].clip(floor) - floor, left=floor, height=0.72)
    for bar in axes.patches:
        bar.set_facecolor("0.88")
    axes.patches[0].set_label("whole error of the mean")
    for part, (marker, filled, color, label) in MARKERS.items():
        drawn = (frame[part] >= floor).to_numpy()
        if drawn.any():
            axes.plot(frame[part][drawn], places[drawn], marker, color=color, ms=6.5)
            axes.lines[-1].set(mfc=color if filled else "white", label=label)
    axes.axvline(resolution, color=LIMIT, ls=":", lw=1.4, label="resolution asked for")
    axes.set(xscale="log", xlim=(floor, 2 * largest))
    axes.set_ylim(len(frame) - 0.4, -0.6)
    axes.set_yticks(places, _rows(frame))
    axes.set_xlabel("error / scale of observable  (rms over times)")
    axes.legend(
        fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2
    )


def _rows(frame: pd.DataFrame) -> list[str]:
    """Return the labels of rows: all that tells them apart."""
    keys = [
        name
        for name in ("case", "reading")
        if name in frame and frame[name].nunique() > 1
    ]
    return [
        typeset(": ".join(words), LETTERS)
        for words in frame[[*keys, "observable"]].astype(str).itertuples(index=False)
    ]
