r"""Exact cumulants of counted jumps, from the tilted generator.

The moment generating function of Q, what the weights of the jumps add up to, is

.. math:: \langle e^{xQ(t)}\rangle = \mathrm{Tr}\, e^{\mathcal L(x) t} \rho_0, \qquad
    \mathcal L(x) = \mathcal L + \sum_c (e^{x w_c} - 1)\, \mathcal J_c, \quad
    \mathcal J_c \rho = \gamma_c\, c \rho c^\dagger.

Derivatives with respect to x are taken in the equations, never by differences.
"""

from __future__ import annotations

from math import comb, factorial
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigs, splu

from stochq.arrays import Complexes, Floats, Operator, as_times, whole_number
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references._propagate import LinearSystem, blocks, propagate
from stochq.references._tilted import Tilted, tilted
from stochq.references.base import Reference
from stochq.references.lindblad import steady_state

__all__ = ["counting_cumulants", "cumulants_of", "scaled_cumulants", "scgf"]

#: Blocks of L(x) up to this size are diagonalized as dense matrices.
DENSE = 800

#: Largest exponent x w.
LARGEST = 300.0

#: Highest order of a cumulant.
HIGHEST = 10


def _order(order: Any) -> int:
    """Return the highest order wanted, from 1 to HIGHEST."""
    number = whole_number(order, "order", at_least=1)
    if number > HIGHEST:
        raise ValueError(f"`order` must be at most {HIGHEST}, but is {number}")
    return number


def _bordered(field: Tilted, stationary: Complexes) -> Any:
    """Return the solver of L r = b with Tr r = 0, for b of trace zero.

    L has the one null vector rho, and the trace as its left one: with both as border
    the matrix is regular.
    """
    column = sp.csr_array(stationary[:, None])
    rows: list[list[Any]] = [
        [field.generator, column],
        [sp.csr_array(field.trace[None]), None],
    ]
    return splu(sp.csc_array(sp.block_array(rows))).solve


def scaled_cumulants(model: Model, weights: Any = None, *, order: int = 4) -> Floats:
    r"""Return the cumulants of Q(t) per time as t goes to infinity.

    .. math:: c_n = \lim_{t\to\infty} \frac{\kappa_n(t)}{t} = \lambda^{(n)}(0), \qquad
        c_n = \sum_{m=1}^n \binom nm \mathrm{Tr}\, \mathcal L^{(m)} r_{n-m}, \quad
        \mathcal L r_n = \sum_{m=1}^n \binom nm (c_m - \mathcal L^{(m)}) r_{n-m},

    with r_0 the steady state and Tr r_n = 0.

    Parameters
    ----------
    model : Model
        Constant in time, with one steady state.
    weights : None, str, sequence of str, or mapping of str to float or to floats
        What one jump of each dissipator adds to Q: a sequence has one weight for each
        dissipator of its name, in order; what is not named adds nothing. By default
        every jump counts 1.
    order : int, default 4
        Highest cumulant, up to 10.

    Returns
    -------
    ndarray, shape (order,) [weight^n / time]
        ``c[1] / c[0]`` is the Fano factor.

    Raises
    ------
    ModelError
        If the model is a one-body model, depends on time, has no dissipators or more
        than one steady state; or if the weights do not fit.

    Notes
    -----
    Source: perturbation theory of the leading eigenvalue; Flindt, Novotny, Braggio and
    Jauho, Phys. Rev. B 82, 155407 (2010). Jumps are those of the dissipators as they
    are written down: other operators with the same average count something else.
    """
    order, field = _order(order), tilted(model, weights)
    vectors = [steady_state(model).ravel()]
    solve = _bordered(field, vectors[0])
    slopes = [field.derivative(m) for m in range(1, order + 1)]
    found: list[float] = []
    for n in range(1, order + 1):
        pushed = sum(
            comb(n, m) * (slopes[m - 1] @ vectors[n - m]) for m in range(1, n + 1)
        )
        found.append(float((field.trace @ pushed).real))
        drift = sum(comb(n, m) * found[m - 1] * vectors[n - m] for m in range(1, n + 1))
        right = np.concatenate([drift - pushed, [0.0]])
        vectors.append(solve(right)[:-1])
    return np.array(found)


def _leading(block: Operator) -> float:
    """Return the largest real part of the eigenvalues of a block."""
    if block.shape[0] <= DENSE:
        return float(np.linalg.eigvals(block.toarray()).real.max())
    start = np.ones(block.shape[0], dtype=np.complex128)
    found = eigs(block, k=1, which="LR", v0=start, return_eigenvectors=False)
    return float(found.real.max())


def scgf(model: Model, weights: Any = None, *, x: Any) -> Floats:
    r"""Return the scaled cumulant generating function.

    .. math:: \lambda(x) = \lim_{t\to\infty} \frac1t \ln \langle e^{x Q(t)}\rangle,

    the eigenvalue of :math:`\mathcal L(x)` with the largest real part.

    Parameters
    ----------
    model : Model
        Constant in time.
    weights : None, str, sequence of str, or mapping of str to float or to floats
        As in `scaled_cumulants`.
    x : array_like of float, any shape
        The counting field [1/weight].

    Returns
    -------
    ndarray of the shape of x [1/time]

    Raises
    ------
    ModelError
        If the model or the weights do not permit counting, or x is not real and finite.

    Notes
    -----
    The limit is that of an initial state that overlaps with every mode, one of full
    rank for instance. The leading mode is a positive matrix, so only the blocks of
    L(x) that hold populations are looked at.
    """
    field, points = tilted(model, weights), np.asarray(x)
    if points.dtype.kind not in "iuf" or not np.isfinite(points).all():
        raise ModelError(f"`x` must be real and finite, but is {x!r:.60}")
    largest = float(np.abs(points).max(initial=0.0) * np.abs(field.weights).max())
    if largest > LARGEST:
        raise ModelError(
            f"`x` times the largest weight must be within {LARGEST:g}, but is "
            f"{largest:g}"
        )
    pattern = abs(field.generator) + sum(abs(J) for J in field.jumps)
    populated = [b for b in blocks(pattern) if field.trace[b].any()]
    found = np.empty(points.size)
    for k, value in enumerate(points.ravel().astype(np.float64)):
        generator = sp.csr_array(field.at(value))
        found[k] = max(_leading(generator[b][:, b]) for b in populated)
    return found.reshape(points.shape)


def _hierarchy(field: Tilted, order: int, drift: float) -> Operator:
    """Return the generator of (r_0, ..., r_K), r_n = d^n rho(x) / dx^n / n! at x = 0.

    d r_n/dt = sum_m (L^(m) / m!) r_{n-m}. Q is counted from its drift: L^(1) loses
    `drift`, so that late moments do not cancel.
    """
    below = [field.derivative(m) / factorial(m) for m in range(1, order + 1)]
    below[0] = below[0] - drift * sp.eye_array(field.trace.size)
    rows: list[list[Any]] = [
        [*below[:n][::-1], field.generator, *[None] * (order - n)]
        for n in range(order + 1)
    ]
    return sp.csr_array(sp.block_array(rows))


def _moments(
    field: Tilted, start: Complexes, times: Floats, order: int, drift: float
) -> tuple[Floats, float]:
    """Return <(Q - drift t)^n>, n = 0 to K, shape (K + 1, T), and their error."""
    n = field.trace.size
    lifted = np.concatenate([start, np.zeros(order * n, dtype=np.complex128)])
    readout = sp.kron(sp.eye_array(order + 1), field.trace[None], format="csr")
    generator = _hierarchy(field, order, drift)
    system = LinearSystem(generator, {}, lifted, readout.astype(np.complex128), True)
    solution = propagate(system, times, ())
    scale = np.array([factorial(k) for k in range(order + 1)])[:, None]
    return solution.values.real * scale, solution.error * float(scale.max())


def cumulants_of(moments: Floats) -> Floats:
    """Return cumulants 1 to K (K, T) from raw moments 0 to K, shape (K + 1, T)."""
    found: list[Floats] = []
    for n in range(1, len(moments)):
        rest = [comb(n - 1, m - 1) * found[m - 1] * moments[n - m] for m in range(1, n)]
        found.append(moments[n] - sum(rest))
    return np.array(found)


def counting_cumulants(
    model: Model, times: Any, weights: Any = None, *, order: int = 4
) -> Reference:
    r"""Return the exact cumulants of Q(t), the sum over the jumps since ``times[0]``.

    .. math:: \kappa_n(t) = \frac{d^n}{dx^n}
        \ln \mathrm{Tr}\, e^{\mathcal L(x)(t - t_0)} \rho_0 \Big|_{x=0}

    Parameters
    ----------
    model : Model
        Constant in time. The initial state holds at ``times[0]``, where counting
        starts: the first cumulants are zeros.
    times : array_like, shape (T,)
        Strictly increasing [time].
    weights : None, str, sequence of str, or mapping of str to float or to floats
        As in `scaled_cumulants`.
    order : int, default 4
        Highest cumulant, up to 10.

    Returns
    -------
    Reference
        Named mean, variance, cumulant 3, cumulant 4, ..., shape (order, T).

    Raises
    ------
    ModelError
        If the model or the weights do not permit counting, or the times do not
        increase.

    Notes
    -----
    The derivatives of exp(L(x) t) at x = 0 solve a linear hierarchy, which is
    propagated exactly; Q is counted from its mean drift, so that the moments do not
    cancel at late times.
    """
    order, field, times = _order(order), tilted(model, weights), as_times(times)
    start = model.initial.density_matrix().ravel()
    elapsed = times - times[0]
    drift = 0.0
    if times.size > 1:
        mean, _ = _moments(field, start, elapsed[[0, -1]], 1, 0.0)
        drift = float(mean[1, -1] / elapsed[-1])
    moments, error = _moments(field, start, elapsed, order, drift)
    cumulants = cumulants_of(moments)
    cumulants[0] += drift * elapsed
    names = ["mean", "variance", *(f"cumulant {n}" for n in range(3, order + 1))]
    return Reference(times, tuple(names[:order]), cumulants, error, "tilted generator")
