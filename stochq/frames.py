"""Tidy frames of one ensemble beside its reference: what figures and files are made of.

They hold numbers only, so that a figure can be drawn again from a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stochq.arrays import Floats
from stochq.ensemble import Ensemble
from stochq.errors import ModelError
from stochq.evidence.biases import KnownBias
from stochq.evidence.points import compare
from stochq.orders.sampling import error_band
from stochq.references import Reference
from stochq.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "POINT_COLUMNS",
    "Deviations",
    "budget_frame",
    "deviations",
    "error_frame",
    "matched",
    "point_frame",
]

#: Columns that tell the groups of a frame of several cases apart.
GROUPS = ("case", "reading", "observable")

#: Parts of the error of a mean, by the columns of a frame of points.
PARTS = {
    "sampling": "error",
    "step_bias": "step_bias",
    "bias_error": "bias_error",
    "reference_error": "reference_error",
}


#: Columns of `point_frame`.
POINT_COLUMNS = (
    "observable",
    "time",
    "mean",
    "sd",
    "mcse_mean",
    "reference",
    "reference_error",
    "scale",
    "step_bias",
    "bias_error",
    "error",
    "z",
)


class Matched(NamedTuple):
    """What a reference covers of an ensemble.

    Attributes
    ----------
    index : tuple of ndarray
        Picks the (O, T) compared values out of the ensemble's.
    scale : ndarray, shape (O,)
        The size of each observable, by which shifts are measured: the excursion of the
        reference, or the spread of single trajectories if that is more.
    """

    index: Any
    scale: Floats


def matched(ensemble: Ensemble, reference: Reference) -> Matched:
    """Return which observables and times of an ensemble a reference covers.

    Raises
    ------
    ModelError
        If it has some that the ensemble lacks, or an argument is something else.
    """
    if not isinstance(ensemble, Ensemble):
        raise ModelError(
            "`ensemble` must be what simulate() returns, "
            f"but is {type(ensemble).__name__}"
        )
    if not isinstance(reference, Reference):
        raise ModelError(
            "`reference` must be a Reference, such as master_equation(...), "
            f"but is {type(reference).__name__}"
        )
    nothing = np.zeros_like(ensemble.mean)
    with np.errstate(invalid="ignore", over="ignore"):
        points = compare(
            ensemble, reference, KnownBias(nothing, nothing, nothing, "unknown")
        )
    rows = [ensemble.names.index(name) for name in reference.names]
    columns = np.abs(ensemble.times[:, None] - reference.times).argmin(axis=0)
    return Matched(np.ix_(rows, columns), points.scale[:: reference.times.size])


def error_frame(ensemble: Ensemble, reference: Reference) -> pd.DataFrame:
    r"""Return the error of running means over 1, 2, 4, ... batches of trajectories.

    .. math:: \sqrt{\langle (\bar O_n(t) - O(t))^2 \rangle_t} \quad\text{against}\quad
        \sqrt{\langle \mathrm{sd}(t)^2 \rangle_t / n}

    The means at different times are correlated: the square of the error has the law of
    :math:`\chi^2_\nu / \nu` with :math:`\nu = (\sum\lambda)^2 / \sum\lambda^2` degrees
    of freedom, for the eigenvalues of the covariance of the times (Satterthwaite).

    Parameters
    ----------
    ensemble : Ensemble
        From `simulate`.
    reference : Reference
        Some or all of its observables and times.

    Returns
    -------
    DataFrame
        n_traj, observable, rms_error, rms_mcse_expected, and the 95 % band
        expected_low, expected_high of the error.
    """
    import pandas as pd

    index = matched(ensemble, reference).index
    batches = ensemble.batches[:, *index]
    counts = 2 ** np.arange(int(np.log2(len(batches))) + 1)
    n_traj = counts * ensemble.statistics.size
    running = np.cumsum(batches, axis=0)[counts - 1] / counts[:, None, None]
    errors = np.sqrt(np.square(running - reference.values).mean(axis=2))
    parts = []
    for o, name in enumerate(reference.names):
        variance = np.square(ensemble.moments.sd[index][o]).mean()
        expected = np.sqrt(variance / n_traj)
        low, high = error_band(batches[:, o])
        columns = {
            "n_traj": n_traj,
            "observable": name,
            "rms_error": errors[:, o],
            "rms_mcse_expected": expected,
            "expected_low": low * expected,
            "expected_high": high * expected,
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def point_frame(
    ensemble: Ensemble, reference: Reference, verdict: Verdict
) -> pd.DataFrame:
    """Return every compared point of a verdict, one row each.

    Returns
    -------
    DataFrame
        observable, time, mean, sd, mcse_mean, reference, reference_error, scale,
        step_bias, bias_error, error, z, where z is about (mean - step_bias - reference)
        / error (see `Verdict.z`), `scale` is the size of the observable, and
        `bias_error` what is not known of the step bias (NaN if nothing is).
    """
    import pandas as pd

    index, scale = matched(ensemble, reference)
    shape = reference.values.shape
    columns = {
        "mean": ensemble.mean[index],
        "sd": ensemble.spread()[index],
        "mcse_mean": ensemble.mcse[index],
        "reference": reference.values,
        "reference_error": np.full(shape, reference.error),
        "scale": np.broadcast_to(scale[:, None], shape),
        "step_bias": verdict.step_bias,
        "bias_error": verdict.bias_error,
        "error": verdict.error,
        "z": verdict.z,
    }
    return pd.DataFrame(
        {
            "observable": np.repeat(reference.names, reference.times.size),
            "time": np.tile(reference.times, len(reference.names)),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )


def budget_frame(points: pd.DataFrame) -> pd.DataFrame:
    r"""Return what the error of each observable's means is made of.

    .. math:: \text{total}^2 = \langle \sigma^2 \rangle_t + \langle b^2 \rangle_t
        + \langle (\delta b)^2 \rangle_t + \epsilon^2

    for standard errors sigma, step bias b and what is not known of it, and the error of
    the reference, each as a root mean square over the compared times, in units of the
    observable's scale.

    Parameters
    ----------
    points : DataFrame
        From `point_frame`, or what ``stochq verify`` writes as ID.csv.

    Returns
    -------
    DataFrame
        case and reading, if `points` has them; observable, sampling, step_bias,
        bias_error, reference_error, total. NaN is unknown, and not part of the total.

    Raises
    ------
    ValueError
        If columns are missing.
    """
    needed = {"observable", "scale", *PARTS.values()}
    if missing := needed - set(points):
        raise ValueError(
            f"`points` must have the columns of `point_frame`, but lacks "
            f"{sorted(missing)}"
        )
    keys = [name for name in GROUPS if name in points]
    frame = points[keys].copy()
    for part, column in PARTS.items():
        frame[part] = np.square(points[column] / points["scale"])
    groups = frame.groupby(keys, sort=False)[list(PARTS)]
    roots = groups.mean() ** 0.5
    roots["total"] = (roots**2).sum(axis=1) ** 0.5
    return roots.reset_index()


class Deviations(NamedTuple):
    """Deviations in standard errors, as a verdict has them.

    Attributes
    ----------
    names : tuple of str
        The O observables.
    times : ndarray, shape (T,) [time]
        Compared times.
    z : ndarray, shape (O, T)
        Signed deviations.
    critical_z : float
        The one at which p = alpha.
    """

    names: tuple[str, ...]
    times: Floats
    z: Floats
    critical_z: float


def deviations(points: pd.DataFrame, critical_z: float) -> Deviations:
    """Return the deviations of one reading's points, for `plot_z_map`.

    Parameters
    ----------
    points : DataFrame
        From `point_frame`, or one case and reading of a claim's ID.csv.
    critical_z : float
        Of its verdict.

    Raises
    ------
    ValueError
        If an observable and time occurs twice: there is more than one reading.
    """
    if points.duplicated(["observable", "time"]).any():
        raise ValueError(
            "`points` must be those of one case and reading, but has several values "
            "of an observable at one time; select some rows"
        )
    names = tuple(points["observable"].unique())
    table = points.pivot(index="observable", columns="time", values="z")
    ordered = table.loc[list(names)]
    times = ordered.columns.to_numpy(dtype=float)
    return Deviations(names, times, ordered.to_numpy(dtype=float), critical_z)
