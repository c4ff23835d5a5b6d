"""Figures of verdicts: deviations point by point, and p-values.

Both can be drawn from what is kept on disk as well as from a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stochq.arrays import Floats
from stochq.captions import probability, typeset
from stochq.plots.findings import COLORS, LIMIT
from stochq.statistics.uniforms import uniform_bands

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_p_values", "plot_z_map"]

#: Diverging colors that the color-blind can tell apart, white in the middle.
DIVERGING = "RdBu_r"

#: Color of points that no trajectory changes.
CERTAIN = "0.85"

#: Critical deviations beyond which colors do not change.
SATURATED = 3.0

#: Labels of rows and of columns, at most.
ROW_TICKS, COLUMN_TICKS = 16, 7

#: Height of a logarithmic axis in units of its band: room for the legend, too.
ROOM = 1.6


class HasDeviations(Protocol):
    """What a z-score map needs: a `Verdict`, or `deviations` from a file."""

    @property
    def names(self) -> tuple[str, ...]:
        """The O observables."""

    @property
    def times(self) -> Floats:
        """Compared times, shape (T,)."""

    @property
    def z(self) -> Floats:
        """Signed deviations in standard errors, shape (O, T)."""

    @property
    def critical_z(self) -> float:
        """Deviation at which p = alpha."""


def plot_z_map(verdict: HasDeviations, axes: Axes) -> None:
    """Draw the deviation of every observable at every time as a color.

    Colors are symmetric about 0 and end at three times the critical deviation, if not
    before. That one is marked in the color bar, and points beyond it are outlined. Gray
    points are those that no trajectory changes, that have no number, or at which too
    few events were seen to tell anything.

    Parameters
    ----------
    verdict : Verdict
        From `verify`; or `deviations` of what is kept on disk.
    axes : Axes
        Where to draw; the color bar takes a part of it.
    """
    from matplotlib import colormaps

    z = np.where(verdict.z == 0, np.nan, verdict.z)
    largest = float(np.abs(z[np.isfinite(z)]).max(initial=0.0))
    critical = verdict.critical_z if verdict.critical_z > 0 else largest or 1.0
    limit = np.clip(largest, 1.1 * critical, SATURATED * critical)
    image = axes.imshow(
        z,
        cmap=colormaps[DIVERGING].with_extremes(bad=CERTAIN),
        vmin=-limit,
        vmax=limit,
        aspect="auto",
        interpolation="nearest",
    )
    bar = axes.figure.colorbar(
        image, ax=axes, pad=0.02, extend="both" if largest > limit else "neither"
    )
    ticks = [-critical, 0, critical]
    bar.set_ticks(ticks, labels=[f"{tick:.3g}".replace("-", "−") for tick in ticks])
    bar.set_label("z")
    bar.ax.hlines([-critical, critical], 0, 1, color="black", lw=1.6)
    _outline(axes, np.abs(z) > critical)
    _label(axes, verdict.names, verdict.times)


def _outline(axes: Axes, beyond: Any) -> None:
    """Draw a line around every region of points beyond the critical deviation."""
    from matplotlib.collections import LineCollection

    framed = np.pad(beyond, 1)
    across = np.argwhere(framed[1:, 1:-1] != framed[:-1, 1:-1]) - 0.5
    down = np.argwhere(framed[1:-1, 1:] != framed[1:-1, :-1]) - 0.5
    edges = [[(t, o), (t + 1, o)] for o, t in across]
    edges += [[(t, o), (t, o + 1)] for o, t in down]
    axes.add_collection(
        LineCollection(edges, color="black", lw=1.3, capstyle="projecting")
    )


def _label(axes: Axes, names: Sequence[str], times: Floats) -> None:
    """Label rows by observables and columns by times, some where there are many."""
    rows, columns = _some(len(names), ROW_TICKS), _some(times.size, COLUMN_TICKS)
    axes.set_yticks(rows, [typeset(names[o]) for o in rows])
    axes.set_xticks(columns, [f"{times[t]:.3g}" for t in columns])
    axes.set_xlabel("time t  (ħ = 1)")


def _some(count: int, most: int) -> list[int]:
    """Return evenly spaced places among `count`, at most so many."""
    return list(range(0, count, -(-count // most)))


def plot_p_values(
    p_values: Any, axes: Axes, *, logarithmic: bool = False, level: float = 0.95
) -> None:
    """Draw sorted p-values against those of a truth that is right every time.

    Independent p-values of right references are uniform: they are in the light band all
    together, and in the dark one each by itself, with probability `level`. Points below
    it (on logarithmic axes: above it) are deviations too large for chance.

    Parameters
    ----------
    p_values : array_like, shape (n,)
        Of independent verdicts, each from 0 to 1.
    axes : Axes
        Where to draw.
    logarithmic : bool, default False
        Draw -log10 p, so that small ones are seen. What is too small for the axes is
        put at their edge as a triangle.
    level : float, default 0.95
        Of the bands.

    Raises
    ------
    ValueError
        If the p-values are not numbers from 0 to 1.
    """
    p = _p_values(p_values)
    shape = _minus_log if logarithmic else np.asarray
    x, y = shape((np.arange(p.size) + 0.5) / p.size), shape(p)
    bands = uniform_bands(p.size, level)
    side = 1.1 * float(x.max()) if logarithmic else 1.0
    top = ROOM * float(shape(bands.simultaneous).max()) if logarithmic else 1.0
    ends = np.array([side, 0.0]) if logarithmic else np.array([0.0, side])
    words = f"{100 * level:.4g} % band"
    for band, color, label in (
        (bands.simultaneous, "0.9", f"{words}, all points"),
        (bands.pointwise, "0.78", f"{words}, each point"),
    ):
        low, high = (np.pad(shape(edge), 1, mode="edge") for edge in band)
        across = np.concatenate([ends[:1], x, ends[1:]])
        axes.fill_between(across, low, high, color=color, lw=0, label=label)
    axes.plot(ends, ends, color="0.3", lw=1.0, label="uniform")
    off = y > top
    axes.plot(x[~off], y[~off], "o", ms=4, color=COLORS[0], mfc="white", label="found")
    if off.any():
        axes.plot(x[off], np.full(off.sum(), 0.98 * top), "^", ms=6, color=LIMIT)
        axes.lines[-1].set_label(f"beyond; smallest p {probability(p[0])}")
    unit = "−log10 " if logarithmic else ""
    axes.set(xlim=(0, side), ylim=(0, top))
    axes.set(xlabel=f"{unit}p expected", ylabel=f"{unit}p found")
    axes.legend(loc="upper left", fontsize=9, frameon=False)


def _p_values(p_values: Any) -> Floats:
    """Return sorted p-values, once they are known to be some."""
    p = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    if p.ndim != 1 or not p.size:
        raise ValueError(
            f"`p_values` must have shape (n,) with n >= 1, but have shape {p.shape}"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("`p_values` must be numbers from 0 to 1, but some are not")
    return np.sort(p)


def _minus_log(p: Floats) -> Floats:
    """Return -log10 p, finite where p = 0."""
    result: Floats = -np.log10(np.maximum(p, 1e-300))
    return result
