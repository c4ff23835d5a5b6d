"""The average of an explicit or implicit step, by a quadrature over its normals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from stochq.arrays import Complexes, Floats, Operator
from stochq.averages.maps import AveragedStep, mixture
from stochq.lowering import Dynamics
from stochq.schemes.explicit import Recipe
from stochq.structure import commute

__all__ = ["POINTS", "midpoint_step", "polynomial_step"]

#: Points of Gauss and Hermite's rule per channel.
POINTS = 12


def _gaussian_points(channels: int) -> list[tuple[float, Floats]]:
    """Return weights and points that integrate degree 5 in K normals exactly."""
    k, r = channels, np.sqrt(3.0)
    points = [(1 + k * (k - 7) / 18, np.zeros(k))]
    for i in range(k):
        for sign in (1, -1):
            point = np.zeros(k)
            point[i] = sign * r
            points.append(((4 - k) / 18, point))
    for i, j in combinations(range(k), 2):
        for a, b in product((1, -1), repeat=2):
            point = np.zeros(k)
            point[[i, j]] = a * r, b * r
            points.append((1 / 36, point))
    return points


def _commutators(
    noise: Sequence[Complexes], operators: Sequence[Operator]
) -> list[Complexes]:
    """Return [M_j, M_k], j < k, of the channels that do not commute."""
    return [
        noise[j] @ noise[k] - noise[k] @ noise[j]
        for j, k in combinations(range(len(noise)), 2)
        if not commute(operators[j], operators[k])
    ]


def polynomial_step(dynamics: Dynamics, recipe: Recipe, h: float) -> AveragedStep:
    """Return the averaged step of psi -> (1 + g_1 + g_2^2 / 2) psi."""
    if dynamics.raw:
        recipe = recipe.read_as_raw_ito()
    noise = [-1j * L.toarray() for L in dynamics.noise]
    identity = np.eye(dynamics.dim, dtype=np.complex128)
    drift = -1j * dynamics.hamiltonian.toarray()
    square = sum((-0.5 * M @ M for M in noise), 0.0 * identity)
    first = h * (recipe.drift_1 * drift + recipe.square_1 * square)
    second = h * (recipe.drift_2 * drift + recipe.square_2 * square)
    steps = []
    for weight, point in _gaussian_points(len(noise)):
        kick = sum(
            (np.sqrt(h) * z * M for z, M in zip(point, noise, strict=True)),
            0.0 * identity,
        )
        g = second + recipe.noise_2 * kick
        steps.append((weight, identity + first + kick + 0.5 * g @ g))
    if recipe.areas:  # a random sign has mean 0 and square 1
        areas = _commutators(noise, dynamics.noise)
        steps += [(h * h / 4, commutator) for commutator in areas]
    return AveragedStep([], [mixture(steps)], [])


def midpoint_step(dynamics: Dynamics, h: float) -> AveragedStep:
    """Return the averaged Cayley step, by Gauss and Hermite's rule in every channel."""
    noise = [-1j * L.toarray() for L in dynamics.noise]
    identity = np.eye(dynamics.dim, dtype=np.complex128)
    points, weights = hermegauss(POINTS)
    weights = weights / weights.sum()
    steps = []
    for choice in product(range(POINTS), repeat=len(noise)):
        g = -1j * h * dynamics.hamiltonian.toarray()
        for i, M in zip(choice, noise, strict=True):
            g = g + np.sqrt(h) * points[i] * M
        cayley = np.linalg.solve(identity - 0.5 * g, identity + 0.5 * g)
        steps.append((float(np.prod(weights[list(choice)])), cayley))
    return AveragedStep([], [mixture(steps)], [])
