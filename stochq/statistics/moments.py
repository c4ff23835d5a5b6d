"""Moments of samples that merge, and means of batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stochq.arrays import Floats
from stochq.jit import kernel

__all__ = ["BATCHES", "DIVERGENCE", "Moments", "batch_size", "pairwise_means"]

#: Batches whose means are kept: between half of this and this.
BATCHES = 512

#: An explicit scheme may diverge, which the verdict tells; numpy need not warn of it.
DIVERGENCE: dict[str, Any] = {"over": "ignore", "invalid": "ignore"}


@kernel
def _power_sums(rows, out):
    """Write mean, m2, m3, m4, low and high of every row (R, n) into out (6, R)."""
    count = rows.shape[1]
    for r in range(rows.shape[0]):
        total, low, high = 0.0, rows[r, 0], rows[r, 0]
        for w in range(count):
            total += rows[r, w]
            low, high = min(low, rows[r, w]), max(high, rows[r, w])
        mean = total / count
        m2, m3, m4 = 0.0, 0.0, 0.0
        for w in range(count):
            deviation = rows[r, w] - mean
            square = deviation * deviation
            m2 += square
            m3 += square * deviation
            m4 += square * square
        out[0, r], out[1, r], out[2, r], out[3, r] = mean, m2, m3, m4
        out[4, r], out[5, r] = low, high


@dataclass(frozen=True)
class Moments:
    """Count, mean, sums of powers of deviations and extremes of quantities.

    Attributes
    ----------
    count : int
        Number of trajectories n.
    mean : ndarray
        Mean of each quantity.
    m2, m3, m4 : ndarray
        Sums over trajectories of (value - mean)^2, ^3 and ^4.
    low, high : ndarray
        Smallest and largest value.
    """

    count: int
    mean: Floats
    m2: Floats
    m3: Floats
    m4: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Return the moments over the last axis."""
        *shape, count = values.shape
        rows = np.ascontiguousarray(values).reshape(-1, count)
        found = np.empty((6, rows.shape[0]))
        _power_sums(rows, found)
        return cls(count, *found.reshape(6, *shape))

    @property
    def powers(self) -> tuple[Floats, ...]:
        """Everything but the count, in the order of the attributes."""
        return (self.mean, self.m2, self.m3, self.m4, self.low, self.high)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both samples together (Chan, Golub, LeVeque; Pebay)."""
        a, b = self.count, other.count
        n = a + b
        delta = other.mean - self.mean
        square = np.square(delta)
        mean = self.mean + delta * (b / n)
        m2 = self.m2 + other.m2 + square * (a * b / n)
        m3 = self.m3 + other.m3 + square * delta * (a * b * (a - b) / n**2)
        m3 = m3 + delta * ((3 * a / n) * other.m2 - (3 * b / n) * self.m2)
        m4 = self.m4 + other.m4
        m4 = m4 + np.square(square) * (a * b * (a * a - a * b + b * b) / n**3)
        m4 = m4 + square * (6 * (a / n) ** 2 * other.m2 + 6 * (b / n) ** 2 * self.m2)
        m4 = m4 + delta * ((4 * a / n) * other.m3 - (4 * b / n) * self.m3)
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Moments(n, mean, m2, m3, m4, low, high)

    @property
    def sd(self) -> Floats:
        """Standard deviation of one trajectory, with the divisor n - 1."""
        if self.count < 2:
            return np.full_like(self.mean, np.nan)
        deviation: Floats = np.sqrt(self.m2 / (self.count - 1))
        return deviation

    @property
    def events(self) -> Floats:
        """Number of equal rare events that would have this skewness, m2^3 / m3^2.

        k members of a sample that differ from all others make it k; a symmetric law
        makes it very large. It is zero where nothing has fluctuated.
        """
        root = np.sqrt(self.m2)
        safe = np.where(root > 0, root, 1.0)
        skewness = np.abs(self.m3 / safe / safe / safe)  # in steps: cubes overflow
        found: Floats = 1.0 / np.square(skewness.clip(1e-12))
        return np.where(root > 0, found, 0.0)

    @property
    def variance_doubt(self) -> Floats:
        r"""Relative standard error of the variance, sqrt((kurtosis - 1) / n).

        It is about 1 / sqrt(k) where k rare events, of either sign, are all that was
        seen, and infinite where nothing has fluctuated.
        """
        safe = np.where(self.m2 > 0, self.m2, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            excess = (self.m4 / safe / safe * self.count - 1.0) / self.count
        # no kurtosis is below 1: fourth powers of what is very large or small are lost
        lost = ~(excess >= -1e-9) | np.isinf(excess)
        doubt: Floats = np.sqrt(np.where(lost, 1.0, excess).clip(0.0))
        return np.where(self.m2 > 0, doubt, np.inf)

    @property
    def mcse(self) -> Floats:
        """Monte Carlo standard error of the mean."""
        error: Floats = self.sd / np.sqrt(self.count)
        return error


def batch_size(n_traj: int) -> int:
    """Return the power of two that divides n_traj into at most `BATCHES` batches."""
    size = 1
    while n_traj > size * BATCHES:
        size *= 2
    return size


def pairwise_means(means: Floats, times: int) -> Floats:
    """Return means of neighboring pairs along the first axis, `times` times over.

    A mean of 2^k values is always the same sum of pairs, whether it is taken at once
    or in steps. A rest is left out.
    """
    for _ in range(times):
        whole = len(means) // 2 * 2
        means = 0.5 * (means[0:whole:2] + means[1:whole:2])
    return means
