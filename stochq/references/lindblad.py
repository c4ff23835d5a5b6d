"""The exact average of a model: its master equation, solved without trajectories.

Density matrices are vectors in row-major order; `stochq.superoperator` builds what acts
on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from stochq.arrays import Complexes, Operator, as_times
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references._integrate import System, solve
from stochq.references._propagate import blocks
from stochq.references.base import Reference
from stochq.references.correlation import correlation_equation
from stochq.superoperator import parts

__all__ = ["liouvillian", "master_equation", "steady_state"]

#: A mode that decays slower than this, relative to the norm of L, is stationary.
STATIONARY = 1e-11

#: Shift and steps of the inverse iteration; it resolves decay rates above STATIONARY.
SHIFT, ITERATIONS = 1e-13, 4

#: Stationary modes of one block are counted up to here.
COUNTED = 4


def liouvillian(model: Model, t: float | None = None) -> Operator:
    r"""Return the generator of the averaged equation.

    .. math::
        \mathcal L \rho = -i[H, \rho]
        - \tfrac12 \sum_{jk} f_j C_{jk} f_k [L_j, [L_k, \rho]]
        + \sum_c \gamma_c \bigl(c \rho c^\dagger - \tfrac12\{c^\dagger c, \rho\}\bigr)

    Complex noise of rate g adds :math:`g\,(A \rho A^\dagger + A^\dagger \rho A
    - \tfrac12\{A^\dagger A + A A^\dagger, \rho\})`. Noise read as "raw-ito" adds
    :math:`\sum_{jk} f_j C_{jk} f_k L_j \rho L_k` alone.

    Parameters
    ----------
    model : Model
        With kets or a density matrix of dimension d.
    t : float, optional
        The time [time], for a model that depends on it.

    Returns
    -------
    csr_array, shape (d^2, d^2) [1/time]
        Acting on ``rho.ravel()``.

    Raises
    ------
    ModelError
        If the model is a one-body model of fermions, or depends on time and `t` is
        not given.

    Notes
    -----
    Source: Gorini, Kossakowski, Sudarshan; Lindblad (1976). The noise part is the
    exact average of Stratonovich white noise.
    """
    return model.lindbladian(t)


def master_equation(model: Model, times: Any, *, sensitivity: bool = True) -> Reference:
    r"""Solve the averaged equation.

    .. math::
        \frac{d}{dt} \langle O \rangle = \mathrm{Tr}(O\, \mathcal L_t \rho), \qquad
        \frac{d}{dt} \frac{\partial \rho}{\partial \ln\gamma} =
        \mathcal L_t \frac{\partial \rho}{\partial \ln\gamma}
        + \mathcal L_{\gamma,t}\, \rho

    It is exact to rounding where nothing depends on time, and otherwise integrated to
    about ten digits; ``error`` is the distance to a coarser integration. Functions of
    time are looked at on 2^14 intervals of ``times``: give a shorter pulse as
    `Sampled`, whose spacing is always resolved. A one-body model is handed to
    `correlation_equation`.

    Parameters
    ----------
    model : Model
        The initial state holds at ``times[0]``, whatever its value.
    times : array_like, shape (T,)
        Strictly increasing [time].
    sensitivity : bool, default True
        Whether to solve for the derivatives with respect to the named rates too.

    Returns
    -------
    Reference
        Mean of every observable, shape (O, T).

    Raises
    ------
    ModelError
        If there is no observable or the times do not increase.
    """
    if model.one_body:
        return correlation_equation(model, times, sensitivity=sensitivity)
    times = as_times(times)
    constant, rated = parts(model)
    rows = [op.T.tocsr().reshape((1, -1)) for op in model.observables.values()]
    readout = sp.vstack(rows, format="csr")
    start = model.initial.density_matrix().ravel()
    grows = model.calculus == "raw-ito"
    system = System(constant, rated, start, readout, grows)
    solution = solve(system, times, model.rate_names if sensitivity else ())
    return Reference(
        times,
        tuple(model.observables),
        solution.values.real,
        solution.error,
        "master equation",
        {name: slope.real for name, slope in solution.sensitivity.items()},
    )


def _stationary(generator: Operator, scale: float) -> Complexes:
    """Return the null vectors of a block of L, at most COUNTED, as columns."""
    n = generator.shape[0]
    shifted = generator - SHIFT * scale * sp.eye_array(n)
    solve = splu(sp.csc_array(shifted)).solve
    # Fixed directions with no symmetry: their overlap with the null space is generic.
    basis = np.random.default_rng(0).normal(size=(n, min(n, COUNTED))) + 0j
    for _ in range(ITERATIONS):
        basis = np.linalg.qr(solve(basis))[0]
    _, rates, modes = np.linalg.svd(generator @ basis, full_matrices=False)
    null: Complexes = basis @ modes.conj().T[:, rates <= STATIONARY * scale]
    return null


def steady_state(model: Model) -> Complexes:
    r"""Return the unique density matrix with :math:`\mathcal L \rho = 0`.

    Parameters
    ----------
    model : Model
        With kets or a density matrix of dimension d; d^2 up to a few thousand.

    Returns
    -------
    ndarray, shape (d, d)

    Raises
    ------
    ModelError
        If there is more than one stationary state, the model depends on time, its
        norm grows, or it is a one-body model.
    """
    if model.time_dependent and not model.one_body:
        raise ModelError(
            "`model` must not depend on time to have a steady state, but has drives or "
            "strengths; take its long-time state from master_equation"
        )
    if model.calculus == "raw-ito":
        raise ModelError(
            '`model` must keep the norm to have a steady state, but is "raw-ito"'
        )
    generator = liouvillian(model, 0.0)
    scale = float(abs(generator).sum(axis=0).max())
    if scale == 0:
        raise ModelError("`model` must have one stationary state, but nothing moves")
    found = []
    for kept in blocks(abs(generator)):
        null = _stationary(generator[kept][:, kept], scale)
        found += [(kept, column) for column in null.T]
    if len(found) != 1:
        raise ModelError(
            "`model` must have one stationary state, but its Liouvillian has "
            f"{len(found)} or more stationary modes; the long-time state depends on "
            "the initial one, so take it from master_equation"
        )
    rho = np.zeros(model.dim**2, dtype=np.complex128)
    rho[found[0][0]] = found[0][1]
    rho = rho.reshape(model.dim, model.dim) / rho[:: model.dim + 1].sum()
    mean: Complexes = (rho + rho.conj().T) / 2
    return mean
