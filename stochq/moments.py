"""Mergeable statistics: mean and variance in a fixed tree, and means of batches.

Sums of floating-point numbers depend on their order. Atoms are merged like the digits
of a binary counter: two neighbors of one size become one of twice the size. The tree
depends on the number of atoms only, never on who computed them or when.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stochq.arrays import Floats

__all__ = ["BATCHES", "Moments", "batch_means", "batch_size", "merge_tree"]

#: Batches whose means are kept: between half of this and this.
BATCHES = 512


@dataclass(frozen=True)
class Moments:
    """Count, mean, sums of powers of deviations and extremes of quantities.

    Attributes
    ----------
    count : int
        Number of trajectories n.
    mean : ndarray
        Mean of each quantity.
    m2 : ndarray
        Sum over trajectories of (value - mean)^2.
    m3 : ndarray
        Sum over trajectories of (value - mean)^3.
    low, high : ndarray
        Smallest and largest value.
    """

    count: int
    mean: Floats
    m2: Floats
    m3: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Return the moments over the last axis."""
        mean = values.mean(axis=-1)
        deviations = values - mean[..., None]
        return cls(
            count=values.shape[-1],
            mean=mean,
            m2=np.square(deviations).sum(axis=-1),
            m3=(np.square(deviations) * deviations).sum(axis=-1),
            low=values.min(axis=-1),
            high=values.max(axis=-1),
        )

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both samples together (Chan, Golub and LeVeque)."""
        a, b = self.count, other.count
        n = a + b
        delta = other.mean - self.mean
        mean = self.mean + delta * (b / n)
        m2 = self.m2 + other.m2 + np.square(delta) * (a * b / n)
        m3 = self.m3 + other.m3 + delta**3 * (a * b * (a - b) / n**2)
        m3 = m3 + 3 * delta * (a * other.m2 - b * self.m2) / n
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Moments(n, mean, m2, m3, low, high)

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
    def mcse(self) -> Floats:
        """Monte Carlo standard error of the mean."""
        error: Floats = self.sd / np.sqrt(self.count)
        return error


def merge_tree(atoms: Iterable[Moments]) -> Moments:
    """Merge moments, given in the order of their atoms, in the fixed tree."""
    stack: list[tuple[int, Moments]] = []
    for atom in atoms:
        level, node = 0, atom
        while stack and stack[-1][0] == level:
            node = stack.pop()[1].merge(node)
            level += 1
        stack.append((level, node))
    if not stack:
        raise ValueError("`atoms` must hold at least one atom, but is empty")
    _, total = stack.pop()
    while stack:
        total = stack.pop()[1].merge(total)
    return total


def batch_size(n_traj: int) -> int:
    """Return the power of two that divides n_traj into at most `BATCHES` batches."""
    size = 1
    while n_traj > size * BATCHES:
        size *= 2
    return size


def batch_means(values: Floats, size: int) -> Floats:
    """Return means over runs of `size` along the last axis; a rest is left out.

    Parameters
    ----------
    values : ndarray, shape (..., n)
        One value per trajectory (or per smaller batch).
    size : int
        Batch size.

    Returns
    -------
    ndarray, shape (n // size, ...)
    """
    whole = values.shape[-1] // size * size
    runs = values[..., :whole].reshape(*values.shape[:-1], whole // size, size)
    return np.moveaxis(runs.mean(axis=-1), -1, 0)
