"""Every level of a scheme and the reference, trajectory by trajectory on one path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stochq.arrays import Floats, Ints
from stochq.atoms import Plan, Run
from stochq.schemes.lanes import ATOM

__all__ = ["Paths"]

#: Stands for values that overflow; the fourth powers of it do not.
DIVERGED = 1e60


@dataclass(frozen=True)
class Paths:
    """A source of errors: the squared error of states, then differences of means.

    Attributes
    ----------
    plans : tuple of Plan
        The base at every level.
    weights : ndarray, shape (L, len(plans))
        What each level of the scheme is made of.
    states : Plan or None
        Reference for states; None where only means are compared.
    means : Plan
        Reference for expectation values.
    label : str
        What states refer to.
    cells : tuple of float
        Steps of the references for states and for means [time]; 0 where the error that
        they make is harmless.
    """

    plans: tuple[Plan, ...]
    weights: Floats
    states: Plan | None
    means: Plan
    label: str
    cells: tuple[float, float]

    @property
    def n_traj(self) -> int:
        """Number of trajectories."""
        return self.means.n_traj

    @property
    def size(self) -> int:
        """Complex amplitudes of one trajectory."""
        return self.means.size

    @property
    def results(self) -> int:
        """Values of one trajectory."""
        return len(self.weights) * self.means.forms.ptr.size

    def run(self, first: int, count: int) -> Run:
        """Run atoms first ... first + count - 1, as far as there are trajectories."""
        numbers = np.arange(first * ATOM, (first + count) * ATOM).reshape(count, ATOM)
        values = np.concatenate([self._atom(atom) for atom in numbers], axis=-1)
        values = values[:, None, : self.n_traj - first * ATOM]
        return Run(
            values=values,
            jumps=np.zeros((0, 1), dtype=np.int64),
            norms=np.ones(values.shape[1:]),
            norm_defect=0.0,
            residual=0.0,
        )

    def _atom(self, numbers: Ints) -> Floats:
        """Return the errors of one atom, shape (rows, 64)."""
        ends = [_end(plan, numbers) for plan in self.plans]
        with np.errstate(all="ignore"):  # what diverges is marked, not warned of
            rows = []
            if self.states is not None:
                truth, _ = _end(self.states, numbers)
                rows = [_squared_distance(state, truth) for state, _ in ends]
            _, means = _end(self.means, numbers)
            found = np.tensordot(self.weights, np.array([v for _, v in ends]), 1)
            rows += list((found - means).reshape(-1, numbers.size))
            rounded = np.nan_to_num(np.array(rows), nan=DIVERGED)
        return rounded.clip(-DIVERGED, DIVERGED)


def _end(plan: Plan, numbers: Ints) -> tuple[Floats, Floats]:
    """Return states (G, 2, d, W) and expectation values (O, n) at the last time."""
    lanes = plan.load(numbers)
    for interval in range(plan.intervals):
        plan.integrator.advance(lanes, interval)
    values, _ = plan.measure(lanes)
    return lanes.x, values


def _squared_distance(x: Floats, y: Floats) -> Floats:
    """Return sum |x - y|^2 of every trajectory, shape (n,).

    The lanes of one group are an atom of kets, or the orbitals of one trajectory.
    """
    squares = np.square(x - y)
    sums: Floats = (
        squares[0].sum(axis=(0, 1))
        if len(x) == 1
        else squares.reshape(len(x), -1).sum(axis=1)
    )
    return sums
