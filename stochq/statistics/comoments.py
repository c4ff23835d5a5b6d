"""Sums of products of deviations, merged as the moments are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stochq.arrays import Floats
from stochq.jit import kernel
from stochq.statistics.moments import Moments

__all__ = ["COVARIANCE_POINTS", "merged_comoments", "tree_of_comoments"]

#: Observables times output times up to which the full covariance is kept.
COVARIANCE_POINTS = 128


@kernel
def _products(deviations, out):
    """Write sum_w d[a, w, i] d[a, w, j] into out[a, i, j], in the order of w."""
    atoms, count, points = deviations.shape
    for a in range(atoms):
        for i in range(points):
            for j in range(i + 1):
                out[a, i, j] = 0.0
        for w in range(count):
            for i in range(points):
                d = deviations[a, w, i]
                for j in range(i + 1):
                    out[a, i, j] += d * deviations[a, w, j]
        for i in range(points):
            for j in range(i):
                out[a, j, i] = out[a, i, j]


@kernel
def _merge_products(sums, means, scale):
    """Merge neighbors (2a, 2a + 1) of sums (A, P, P) into sums[a]."""
    points = sums.shape[1]
    delta = np.empty(points)
    for a in range(means.shape[0] // 2):
        for i in range(points):
            delta[i] = means[2 * a + 1, i] - means[2 * a, i]
        for i in range(points):
            for j in range(points):
                both = sums[2 * a, i, j] + sums[2 * a + 1, i, j]
                sums[a, i, j] = both + delta[i] * delta[j] * scale


def tree_of_comoments(values: Floats, levels: Sequence[Moments]) -> Floats:
    """Return sums of products of deviations (P, P), merged as the moments were."""
    points = values.shape[0] * values.shape[1]
    if points > COVARIANCE_POINTS:
        return np.zeros((0, 0))
    atoms = levels[0].mean.shape[-1]
    flat = values.reshape(points, atoms, -1)
    mean = levels[0].mean.reshape(points, atoms, 1)
    deviations = np.ascontiguousarray((flat - mean).transpose(1, 2, 0))
    sums = np.empty((atoms, points, points))
    _products(deviations, sums)
    for level in levels[:-1]:
        means = np.ascontiguousarray(level.mean.reshape(points, -1).T)
        _merge_products(sums, means, level.count / 2)
    total: Floats = sums[0].copy()
    return total


def merged_comoments(one: Floats, other: Floats, a: Moments, b: Moments) -> Floats:
    """Return sums of products of deviations from the mean of both samples."""
    if not one.size:
        return one
    delta = (b.mean - a.mean).ravel()
    outer = delta[:, None] * delta[None, :]
    scale = a.count * b.count / (a.count + b.count)
    merged: Floats = (one + other) + outer * scale
    return merged
