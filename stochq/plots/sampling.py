"""Figures of sampling: errors against n, and running means with their bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.captions import typeset
from stochq.ensemble import Ensemble
from stochq.errors import ModelError
from stochq.frames import error_frame, matched
from stochq.plots.findings import COLORS, LIMIT, shown
from stochq.references import Reference
from stochq.statistics.sequences import confidence_sequence

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_error_convergence", "plot_running_mean", "plot_sampling_error"]

#: Distance of a time from the one that is meant, relative to it.
CLOSE = 1e-9

#: Room for a legend above what is drawn, in units of its height.
LEGEND = 0.4

#: Step bias that can be told from none in a figure, in standard errors.
SEEN = 0.1


def plot_sampling_error(ensemble: Ensemble, reference: Reference, axes: Axes) -> None:
    """Draw the error of an ensemble's running means against n, with 1/sqrt(n).

    Parameters
    ----------
    ensemble : Ensemble
        From `simulate`.
    reference : Reference
        What the means tend to; some or all of its observables and times.
    axes : Axes
        Where to draw.

    Raises
    ------
    ModelError
        If the reference has observables or times that the ensemble lacks.
    """
    plot_error_convergence(error_frame(ensemble, reference), axes)


def plot_error_convergence(frame: pd.DataFrame, axes: Axes) -> None:
    """Draw the error of running means against the number of trajectories.

    Errors are in units of each observable's standard deviation, so that one line,
    1/sqrt(n), and one band (the widest) serve them all.

    Parameters
    ----------
    frame : DataFrame
        Columns n_traj, observable, rms_error, rms_mcse_expected, expected_low and
        expected_high. Observables that no trajectory changes are left out.
    axes : Axes
        Where to draw.
    """
    random = frame[frame["rms_mcse_expected"] > 0]
    n = random["n_traj"].unique()
    relative = random.assign(root=random["n_traj"] ** -0.5)
    columns = ["rms_error", "expected_low", "expected_high"]
    unit = relative["rms_mcse_expected"] / relative["root"]
    relative[columns] = relative[columns].div(unit, axis=0)
    low = relative.groupby("n_traj")["expected_low"].min()
    high = relative.groupby("n_traj")["expected_high"].max()
    axes.fill_between(n, low, high, color="0.88", lw=0, label="95 % of runs")
    axes.plot(n, n**-0.5, color="0.3", lw=1.2, label="1/√n")
    names = shown(list(random["observable"].unique()))
    # curves that coincide show as rings within rings
    sizes = np.linspace(7.5, 3.5, len(names))
    for name, color, ms in zip(names, COLORS, sizes, strict=False):
        error = relative.loc[relative["observable"] == name, "rms_error"]
        axes.plot(n, error, "o-", color=color, ms=ms, mfc="white", lw=0.5)
        axes.lines[-1].set_label(typeset(name))
    axes.set(xscale="log", yscale="log", xlabel="number of trajectories n")
    axes.set_ylabel("rms error / sd of one trajectory")
    axes.legend(fontsize=9.5, frameon=False)


def plot_running_mean(
    ensemble: Ensemble,
    reference: Reference,
    name: str,
    time: float,
    axes: Axes,
    *,
    alpha: float = 0.05,
) -> None:
    """Draw the mean over the first n trajectories with a band that holds at all n.

    The band is a confidence sequence (`confidence_sequence`) of the means of batches of
    trajectories, drawn from where enough of them have fluctuated. A right reference
    leaves it at any n with probability `alpha`, however often one looks. Where the step
    bias is known and not far below the standard error, a dashed line has it added.

    Parameters
    ----------
    ensemble : Ensemble
        From `simulate`.
    reference : Reference
        What the mean tends to.
    name : str
        The observable.
    time : float
        One of the reference's times [time].
    axes : Axes
        Where to draw.
    alpha : float, default 0.05
        Probability that the band misses the mean at any n.

    Raises
    ------
    ModelError
        If the reference does not fit the ensemble, or lacks the observable or time.
    ValueError
        If `alpha` is out of range.
    """
    o, t = _place(reference, name, time)
    rows, columns = matched(ensemble, reference).index
    point = (rows[o, 0], columns[0, t])
    mean, half_width = confidence_sequence(ensemble.batches[:, *point], alpha=alpha)
    n = np.arange(1, mean.size + 1) * ensemble.statistics.size
    known = np.isfinite(half_width) & ~ensemble.deterministic[point]
    drawn = known if known.any() else np.ones_like(known)
    if known.any():
        low, high = (mean[known] + side * half_width[known] for side in (-1, 1))
        axes.fill_between(n[known], low, high, color=COLORS[0], alpha=0.2, lw=0)
        axes.collections[-1].set_label(f"{100 * (1 - alpha):.4g} % band, all n at once")
    else:
        text = "no band: too few trajectories differ"
        axes.text(0.5, 0.9, text, ha="center", transform=axes.transAxes, color="0.4")
    axes.plot(n[drawn], mean[drawn], color=COLORS[0], lw=1.4, label="mean of first n")
    _draw_truth(axes, ensemble, point, float(reference.values[o, t]))
    halves = n[-1] // 2 ** np.arange(int(np.log2(n[-1] / n[drawn][0])) + 1)
    axes.set(xscale="log", xlabel="number of trajectories n")
    axes.set_xticks(halves, [f"{k}" for k in halves])
    axes.set_xticks([], minor=True)
    axes.set_ylabel(f"{typeset(name)}  at t = {reference.times[t]:.4g}")
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + LEGEND * (top - bottom))
    axes.legend(fontsize=9, frameon=False, loc="upper right")


def _place(reference: Reference, name: str, time: float) -> tuple[int, int]:
    """Return the row and the column of an observable and a time."""
    if not isinstance(reference, Reference):
        raise ModelError(
            "`reference` must be a Reference, such as master_equation(...), "
            f"but is {type(reference).__name__}"
        )
    if name not in reference.names:
        known = ", ".join(map(repr, reference.names))
        raise ModelError(f"`name` must be one of {known}, but is {name!r}")
    gaps = np.abs(reference.times - time)
    t = int(gaps.argmin())
    if not gaps[t] <= CLOSE * max(1.0, abs(float(time))):
        raise ModelError(
            "`time` must be one of the reference's times, but is "
            f"{time:g}; the nearest is {reference.times[t]:.10g}"
        )
    return reference.names.index(name), t


def _draw_truth(axes: Axes, ensemble: Ensemble, point: Any, value: float) -> None:
    """Draw the reference, and beside it what the scheme makes of it."""
    axes.axhline(value, color="0.15", lw=1.2, label="reference")
    bias, error = ensemble.step_bias, ensemble.mcse[point]
    if bias is not None and abs(bias[point]) > SEEN * error > 0:
        shifted = value + bias[point]
        axes.axhline(shifted, color=LIMIT, lw=1.2, ls="--")
        axes.lines[-1].set_label("reference + step bias")
