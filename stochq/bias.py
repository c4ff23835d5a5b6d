"""Step bias: what a scheme's averages are wrong by because its step is not zero.

The average of one step over its noise is a linear map of the density matrix. That map
is built exactly, without sampling, and applied step by step; the difference to smaller
steps is the bias. Sampling error never enters it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from stochq.arrays import Complexes, Floats, Operator
from stochq.lowering import Dynamics
from stochq.schemes import EulerMaruyama, Exact, Heun, Scheme
from stochq.schemes.flow import propagators
from stochq.schemes.strang import has_flow, splitting_groups
from stochq.schemes.traits import StepGrid, step_grid
from stochq.structure import is_diagonal, spectral_range

__all__ = ["observable_ranges", "step_bias"]

#: A map of a stack of density matrices (B, d, d).
Map = Callable[[Complexes], Complexes]

#: Multiplications in a matrix product that OpenBLAS does on one thread.
BLAS_SERIAL = 40**3

#: Below this dimension the one-step map is stored as a d^2 x d^2 matrix.
DENSE_DIM = 16

#: Floating-point operations that an exact bias may cost; beyond it is left unknown.
WORK_LIMIT = 2e10


def observable_ranges(dynamics: Dynamics) -> Floats:
    """Return the largest minus the smallest possible value of each observable (O,)."""
    particles = dynamics.initial.columns
    ranges = []
    for observable in dynamics.observables:
        values, _ = spectral_range(observable)
        ranges.append(values[-particles:].sum() - values[:particles].sum())
    return np.array(ranges)


def _product(matrix: Complexes, rho: Complexes) -> Complexes:
    """Return M rho for a stack of rho, in blocks too small for BLAS to thread.

    Threads that wait for a busy core make such products a hundred times slower.
    """
    dim = rho.shape[-1]
    width = max(1, BLAS_SERIAL // dim**2)
    if width >= dim:
        return matrix @ rho
    parts = [matrix @ rho[..., i : i + width] for i in range(0, dim, width)]
    return np.concatenate(parts, axis=-1)


def _dagger(rho: Complexes) -> Complexes:
    """Return the adjoint of every matrix of a stack."""
    return np.conj(np.swapaxes(rho, -1, -2))


def _conjugate(matrix: Complexes, rho: Complexes) -> Complexes:
    """Return M rho M^dag for a stack of rho."""
    return _dagger(_product(matrix, _dagger(_product(matrix, rho))))


def _unitary(matrix: Operator) -> Map:
    """Return rho -> U rho U^dag."""
    dense = matrix.toarray()
    return lambda rho: _conjugate(dense, rho)


def _semigroup(dynamics: Dynamics, duration: float) -> Map:
    """Return rho -> exp(t L) rho for the Hamiltonian and the jumps, by Taylor steps."""
    effective = dynamics.effective_hamiltonian.toarray()
    jumps = [c.toarray() for c in dynamics.jumps]

    def generator(rho: Complexes) -> Complexes:
        half = -1j * _product(effective, rho)
        total = half + _dagger(half)
        for c in jumps:
            total = total + _conjugate(c, rho)
        return total

    def general(rho: Complexes) -> Complexes:
        # rho need not be Hermitian (basis matrices are not): split it into two parts
        dagger = _dagger(rho)
        one, two = 0.5 * (rho + dagger), -0.5j * (rho - dagger)
        return generator(one) + 1j * generator(two)

    rate = np.linalg.norm(effective, 2) + sum(np.linalg.norm(c, 2) ** 2 for c in jumps)
    parts = max(1, int(np.ceil(2 * rate * duration)))

    def advance(rho: Complexes) -> Complexes:
        for _ in range(parts):
            term = rho
            for n in range(1, 30):
                term = general(term) * (duration / parts / n)
                rho = rho + term
                if np.abs(term).max() < 1e-17:
                    break
        return rho

    return advance


def _dephasing(operators: Sequence[Operator], variance: float) -> list[Map]:
    """Return rho -> E[exp(-i x L) rho exp(i x L)], x ~ N(0, variance), per channel."""
    maps: list[Map] = []
    diagonals = [L.diagonal().real for L in operators if is_diagonal(L)]
    if diagonals:
        squares = sum((d[:, None] - d[None, :]) ** 2 for d in diagonals)
        decay = np.exp(-0.5 * variance * squares)
        maps.append(lambda rho: decay * rho)
    for L in operators:
        if not is_diagonal(L):
            values, vectors = np.linalg.eigh(L.toarray())
            factor = np.exp(-0.5 * variance * (values[:, None] - values[None, :]) ** 2)
            maps.append(_rotated(vectors, factor))
    return maps


def _rotated(vectors: Complexes, factor: Floats) -> Map:
    """Return rho -> V (factor * (V^dag rho V)) V^dag."""
    dagger = vectors.conj().T
    return lambda rho: _conjugate(vectors, factor * _conjugate(dagger, rho))


class _Step(NamedTuple):
    """Averaged factors: n steps are start, body, (link, body) n - 1 times, end."""

    start: Sequence[Map]
    body: Sequence[Map]
    link: Sequence[Map]


def _strang_step(dynamics: Dynamics, h: float) -> _Step:
    """Return the averaged Strang step; outer halves of neighboring steps are one."""
    groups: list[Callable[[float], list[Map]]] = []
    if has_flow(dynamics):
        groups.append(lambda t: [_flow_map(dynamics, t)])
    for group in splitting_groups(dynamics):
        members = [dynamics.noise[k] for k in group]
        groups.append(partial(_dephasing, members))
    if len(groups) < 2:
        return _Step([], [m for group in groups for m in group(h)], [])
    outer, *middle, innermost = groups
    out = [factor for group in middle for factor in group(0.5 * h)]
    body = [*out, *innermost(h), *reversed(out)]
    return _Step(outer(0.5 * h), body, outer(h))


def _flow_map(dynamics: Dynamics, t: float) -> Map:
    """Return the averaged flow for a duration t."""
    if dynamics.jumps:
        return _semigroup(dynamics, t)
    return _unitary(propagators(dynamics.hamiltonian, [t])[0])


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


def _polynomial_step(
    dynamics: Dynamics, drift: Operator, order: int, h: float
) -> _Step:
    """Return the averaged step of psi -> sum_n g^n / n! psi up to `order`."""
    noise = [-1j * L.toarray() for L in dynamics.noise]
    identity = np.eye(dynamics.dim, dtype=np.complex128)
    steps = []
    for weight, point in _gaussian_points(len(noise)):
        g = h * drift.toarray()
        for z, matrix in zip(point, noise, strict=True):
            g = g + np.sqrt(h) * z * matrix
        step, term = identity, identity
        for n in range(1, order + 1):
            term = g @ term / n
            step = step + term
        steps.append((weight, step))

    def advance(rho: Complexes) -> Complexes:
        total = np.zeros_like(rho)
        for weight, step in steps:
            total += weight * _conjugate(step, rho)
        return total

    return _Step([], [advance], [])


def _averaged_step(scheme: Scheme, dynamics: Dynamics, h: float) -> _Step:
    """Return a scheme's exactly averaged step."""
    if isinstance(scheme, EulerMaruyama):
        return _polynomial_step(dynamics, dynamics.ito_drift, 1, h)
    if isinstance(scheme, Heun):
        return _polynomial_step(dynamics, -1j * dynamics.hamiltonian, 2, h)
    return _strang_step(dynamics, h)


def _compose(factors: Sequence[Map], rho: Complexes) -> Complexes:
    """Apply factors one after another."""
    for factor in factors:
        rho = factor(rho)
    return rho


def _power(step: _Step, dim: int, count: int) -> Map:
    """Return the map of `count` equal steps."""
    repeated = [*step.link, *step.body]
    if dim <= DENSE_DIM and count > 2:
        size = dim * dim
        basis = np.eye(size, dtype=np.complex128).reshape(size, dim, dim)
        once = _compose(repeated, basis).reshape(size, size)
        many = np.linalg.matrix_power(once, count - 1)
        middle: list[Map] = [
            lambda rho: (rho.reshape(-1, size) @ many).reshape(rho.shape)
        ]
    else:
        middle = repeated * (count - 1)
    factors = [*step.start, *step.body, *middle, *step.start]
    return lambda rho: _compose(factors, rho)


def _averages(dynamics: Dynamics, grid: StepGrid, scheme: Scheme, parts: int) -> Floats:
    """Return the scheme's exact means (O, T) with every step cut into `parts`."""
    maps: dict[tuple[int, int], Map] = {}
    rho = dynamics.initial.density_matrix()[None]
    observables = dynamics.observables

    def expectations(state: Complexes) -> list[float]:
        return [float(o.multiply(state[0].T).sum().real) for o in observables]

    means = [expectations(rho)]
    for kind, count in zip(grid.kind, grid.counts, strict=True):
        if (kind, count) not in maps:
            step = _averaged_step(scheme, dynamics, grid.lengths[kind] / parts)
            maps[kind, count] = _power(step, dynamics.dim, count * parts)
        rho = maps[kind, count](rho)
        means.append(expectations(rho))
    return np.array(means).T


def _affordable(dynamics: Dynamics, grid: StepGrid, scheme: Scheme) -> bool:
    """Tell whether the exact bias costs less than the limit."""
    dim, channels = dynamics.dim, len(dynamics.noise)
    if isinstance(scheme, (EulerMaruyama, Heun)):
        products = 2 * (2 * channels**2 + 1)
    else:
        local = sum(not is_diagonal(L) for L in dynamics.noise)
        products = 2 + 8 * local + 40 * len(dynamics.jumps)
    steps = 7 * sum(grid.counts)
    if dim <= DENSE_DIM:
        steps = min(steps, 3 * len(set(grid.counts)) * len(grid.lengths) * dim**2)
    return steps * products * 8.0 * dim**3 <= WORK_LIMIT


def step_bias(
    dynamics: Dynamics, times: Floats, scheme: Scheme, *, quick: bool = False
) -> Floats | None:
    """Return the step bias of a scheme's means, to leading order and one beyond.

    The exactly averaged step map is applied with steps h, h/2 and h/4; the last two are
    extrapolated to h = 0 with the scheme's declared weak order.

    Parameters
    ----------
    dynamics : Dynamics
        A lowered model.
    times : ndarray, shape (T,) [time]
        Output times.
    scheme : Scheme
        The scheme with its dt.
    quick : bool, default False
        Use h and h/2 only: less than half the work, and leading order only.

    Returns
    -------
    ndarray, shape (O, T), or None
        Scheme's mean minus exact mean, in each observable's unit; None where the matrix
        is too large for an exact answer.
    """
    shape = (len(dynamics.observables), times.size)
    if isinstance(scheme, Exact):
        return np.zeros(shape)
    grid = step_grid(times, scheme.dt)
    if not _affordable(dynamics, grid, scheme):
        return None
    sizes = (1, 2) if quick else (1, 2, 4)
    means = [_averages(dynamics, grid, scheme, n) for n in sizes]
    whole, coarse, fine = means[0], means[-2], means[-1]
    limit = fine + (fine - coarse) / (2.0**scheme.traits.weak - 1.0)
    bias: Floats = whole - limit
    return bias
