"""The error of an ensemble's means against the number of trajectories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from stochq.arrays import Floats
from stochq.ensemble import Ensemble

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["error_band", "sampling_frame"]

#: Both tails that the band of the expected error leaves out.
TAILS = 0.05


def sampling_frame(ensemble: Ensemble, truth: Floats, label: str) -> pd.DataFrame:
    r"""Return the error of running means over 1, 2, 4, ... batches of trajectories.

    .. math:: \sqrt{\bigl\langle (\bar O_n(t) - O(t))^2 / s_O^2 \bigr\rangle_{O,t}}
        \quad\text{against}\quad \frac{1}{\sqrt n}, \qquad
        s_O^2 = \langle \mathrm{sd}_O(t)^2 \rangle_t

    Means of different observables and times are correlated: the square of the error has
    the law of :math:`\chi^2_\nu / \nu` with :math:`\nu = (\sum\lambda)^2 /
    \sum\lambda^2` degrees of freedom, for the eigenvalues of their covariance
    (Satterthwaite).

    Parameters
    ----------
    ensemble : Ensemble
        From `simulate`.
    truth : ndarray, shape (O, T)
        What the means tend to, in each observable's unit.
    label : str
        What a figure calls it.

    Returns
    -------
    DataFrame
        n_traj, observable (the label), rms_error, rms_mcse_expected, and the 95 % band
        expected_low, expected_high of the error; observables that no trajectory changes
        are left out.
    """
    import pandas as pd

    spread = np.sqrt(np.square(ensemble.moments.sd).mean(axis=1))
    seen = spread > 0
    unit = spread[seen, None]
    batches = ensemble.batches[:, seen] / unit
    counts = 2 ** np.arange(int(np.log2(len(batches))) + 1)
    running = np.cumsum(batches, axis=0)[counts - 1] / counts[:, None, None]
    n_traj = counts * (ensemble.n_traj // len(batches))
    low, high = error_band(batches.reshape(len(batches), -1))
    return pd.DataFrame(
        {
            "n_traj": n_traj,
            "observable": label,
            "rms_error": np.sqrt(
                np.square(running - truth[seen] / unit).mean(axis=(1, 2))
            ),
            "rms_mcse_expected": n_traj**-0.5,
            "expected_low": low * n_traj**-0.5,
            "expected_high": high * n_traj**-0.5,
        }
    )


def error_band(batches: Floats) -> Floats:
    """Return quantiles of error / expected error, from batch means (B, n)."""
    centered = batches - batches.mean(axis=0)
    eigenvalues = np.square(np.linalg.svd(centered, compute_uv=False))
    if not eigenvalues.sum():
        return np.ones(2)
    freedom = eigenvalues.sum() ** 2 / np.square(eigenvalues).sum()
    quantiles: Floats = chi2.ppf([TAILS / 2, 1 - TAILS / 2], freedom) / freedom
    return np.sqrt(quantiles)
