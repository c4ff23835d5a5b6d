"""Ratios of numbers of events, with errors from the spread over trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Floats, Ints

__all__ = ["binned", "per_trajectory", "ratio_errors"]


def per_trajectory(trajectory: Ints, n_traj: int) -> Ints:
    """Return the number of events of every trajectory, shape (n_traj,)."""
    return np.bincount(trajectory, minlength=n_traj)


def binned(trajectory: Ints, delay: Floats, edges: Floats, n_traj: int) -> Any:
    """Return the number of delays in every bin, sparse (n_traj, B).

    Bins hold their lower edge; the last holds its upper one too.
    """
    place = np.searchsorted(edges, delay, side="right") - 1
    place[delay == edges[-1]] = edges.size - 2
    inside = (place >= 0) & (place < edges.size - 1)
    ones, where = np.ones(int(inside.sum())), (trajectory[inside], place[inside])
    return sp.coo_array((ones, where), shape=(n_traj, edges.size - 1)).tocsr()


def ratio_errors(numerator: Any, denominators: Floats) -> Floats:
    r"""Return relative standard errors (B,) of A_b / (D_1 D_2 ...).

    To first order in the fluctuations the logarithm of the ratio moves by

    .. math:: \frac{1}{n} \sum_i u_{ib}, \qquad
        u_{ib} = \frac{a_{ib}}{\bar a_b} - \sum_k \frac{d_{ki}}{\bar d_k} + \text{const}

    Parameters
    ----------
    numerator : sparse array, shape (n_traj, B)
        a, events of every trajectory in every bin.
    denominators : ndarray, shape (K, n_traj)
        d, other numbers of every trajectory, with means that are not zero.
    """
    n = numerator.shape[0]
    below = (denominators / denominators.mean(axis=1, keepdims=True)).sum(axis=0)
    below -= below.mean()
    total = np.asarray(numerator.sum(axis=0), dtype=np.float64).ravel()
    # an empty bin has the error of a bin with one event
    mean = np.maximum(total, 1.0) / n
    squares = np.asarray(numerator.power(2).sum(axis=0)).ravel()
    above = squares / mean**2 - n * (total / n / mean) ** 2
    mixed = (numerator.T @ below) / mean
    spread = np.where(total > 0, above - 2 * mixed + below @ below, n**2)
    relative: Floats = np.sqrt(spread.clip(0.0) / (n * (n - 1)))
    return relative
