"""Step bias: what a scheme's averages are wrong by because its step is not zero.

The exactly averaged step is applied step by step; the difference to smaller steps is
the bias. Sampling error never enters it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from stochq.arrays import Complexes, Floats
from stochq.averages import (
    AveragedStep,
    Averager,
    Map,
    compose,
    has_average,
    kraus_operators,
)
from stochq.lowering import Dynamics
from stochq.schemes import Alternating, Exact, Richardson, Scheme
from stochq.schemes.traits import StepGrid, grid_for
from stochq.structure import is_diagonal, spectrum_of

__all__ = [
    "doubted_step_bias",
    "exact_means",
    "exact_step_bias",
    "observable_limits",
    "observable_ranges",
]

#: Below this dimension the one-step map is stored as a d^2 x d^2 matrix.
DENSE_DIM = 16

#: Floating-point operations that an exact bias may cost; beyond it is left unknown.
WORK_LIMIT = 2e10

#: Floating-point operations that the call of a small matrix product is worth.
OVERHEAD = 2e4

#: Floating-point operations, in units of d^6, that the factors of a partly seen monitor
#: take to build.
BUILDING = 300

#: Cost of building a factor anew for every step, in products of d x d matrices.
REBUILDING = 30


def observable_ranges(dynamics: Dynamics) -> Floats:
    """Return the largest minus the smallest possible value of each observable (O,)."""
    return np.array([high - low for low, high in observable_limits(dynamics)])


def observable_limits(dynamics: Dynamics) -> list[tuple[float, float]]:
    """Return the smallest and the largest possible value of each observable."""
    particles = dynamics.initial.columns
    spectra = [spectrum_of(observable) for observable in dynamics.observables]
    return [(float(v[:particles].sum()), float(v[-particles:].sum())) for v in spectra]


def _power(step: AveragedStep, dim: int, count: int) -> Map:
    """Return the map of `count` equal steps."""
    repeated = [*step.link, *step.body]
    if dim <= DENSE_DIM and count > 2:
        size = dim * dim
        basis = np.eye(size, dtype=np.complex128).reshape(size, dim, dim)
        once = compose(repeated)(basis).reshape(size, size)
        many = np.linalg.matrix_power(once, count - 1)
        middle: list[Map] = [
            lambda rho: (rho.reshape(-1, size) @ many).reshape(rho.shape)
        ]
    else:
        middle = repeated * (count - 1)
    factors = [*step.start, *step.body, *middle, *step.start]
    return compose(factors)


def _stepwise(scheme: Scheme, dynamics: Dynamics) -> bool:
    """Tell whether steps of one length differ from each other."""
    return dynamics.time_dependent or isinstance(scheme, Alternating)


def exact_means(dynamics: Dynamics, grid: StepGrid, scheme: Scheme) -> Floats:
    """Return a scheme's exact means at all output times, shape (O, T)."""
    maps: dict[tuple[int, int], Map] = {}
    rho = dynamics.initial.density_matrix()[None]
    averager = Averager(scheme, dynamics, grid)
    number = 0

    def expectations(state: Complexes) -> list[float]:
        return [float(o.multiply(state[0].T).sum().real) for o in dynamics.observables]

    means = [expectations(rho)]
    for kind, count in zip(grid.kind, grid.counts, strict=True):
        h = grid.lengths[kind]
        if _stepwise(scheme, dynamics):
            for n in range(number, number + count):
                one = averager.step(h, n)
                rho = compose([*one.start, *one.body, *one.start])(rho)
        else:
            if (kind, count) not in maps:
                step = averager.step(h, number)
                maps[kind, count] = _power(step, dynamics.dim, count)
            rho = maps[kind, count](rho)
        number += count
        means.append(expectations(rho))
    return np.array(means).T


def _affordable(dynamics: Dynamics, grid: StepGrid, scheme: Scheme) -> bool:
    """Tell whether the exact bias costs less than the limit."""
    dim = dynamics.dim
    polynomial = kraus_operators(scheme, dynamics)
    if polynomial:
        products: float = 2 * polynomial
    else:
        local = sum(not is_diagonal(L) for L in dynamics.noise)
        products = 2 + 8 * local + 40 * len(dynamics.jumps + dynamics.averaged)
        products += 28 * len(dynamics.monitors)
    steps = 7 * sum(grid.counts)
    if _stepwise(scheme, dynamics):
        products += REBUILDING * (1 + len(dynamics.channels))
    elif dim <= DENSE_DIM:
        steps = min(steps, 3 * len(set(grid.counts)) * len(grid.lengths) * dim**2)
    work = steps * products * max(8.0 * dim**3, OVERHEAD)
    partly = sum(monitor.efficiency < 1 for monitor in dynamics.monitors)
    return bool(work + partly * BUILDING * dim**6 <= WORK_LIMIT)


def exact_step_bias(
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
        Scheme's mean minus exact mean, in each observable's unit; None where the
        average of a step is not known in closed form, or the matrix is too large.
    """
    found = _bias_and_doubt(dynamics, times, scheme, 1 if quick else 2)
    return None if found is None else found[0]


def doubted_step_bias(
    dynamics: Dynamics, times: Floats, scheme: Scheme
) -> tuple[Floats, Floats] | None:
    """Return the step bias and how far it may be off, each (O, T), or None.

    What is in doubt is the distance between two extrapolations, from h and h/2 and from
    h/2 and h/4. It is small where the bias falls with the declared order, and as large
    as the bias where it does not: steps too large, or functions of time that jump.
    """
    return _bias_and_doubt(dynamics, times, scheme, 2)


def _bias_and_doubt(
    dynamics: Dynamics, times: Floats, scheme: Scheme, halvings: int
) -> tuple[Floats, Floats] | None:
    """Return the bias at h and the change of its last extrapolation."""
    shape = (len(dynamics.observables), times.size)
    if isinstance(scheme, Exact):
        return np.zeros(shape), np.zeros(shape)
    grid = grid_for(scheme, times)
    base = scheme.base if isinstance(scheme, Richardson) else scheme
    if not has_average(base, dynamics) or not _affordable(dynamics, grid, base):
        return None
    extra = 1 if isinstance(scheme, Richardson) else 0
    means = [
        exact_means(dynamics, grid.refined(2**n), base)
        for n in range(halvings + 1 + extra)
    ]
    if isinstance(scheme, Richardson):
        fine, coarse = scheme.weights
        means = [fine * b + coarse * a for a, b in pairwise(means)]
    power = 2.0**scheme.traits.weak - 1.0
    limits = [b + (b - a) / power for a, b in pairwise(means)]
    return means[0] - limits[-1], np.abs(limits[-1] - limits[0])
