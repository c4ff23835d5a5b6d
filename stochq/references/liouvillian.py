r"""The exact average of a model: its master equation, solved without trajectories.

Density matrices are vectors in row-major order, so that
vec(A rho B) = (A kron B^T) vec(rho). White noise enters by its covariance directly,
:math:`-\tfrac12 \sum_{jk} C_{jk} [L_j, [L_k, \rho]]`, never by a factor of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from stochq.arrays import Complexes, Operator, adjoint, as_times
from stochq.channels import ComplexWhiteNoise, Noise
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references._propagate import LinearSystem, blocks, propagate, pruned, summed
from stochq.references.base import Reference
from stochq.references.correlation import correlation_equation

__all__ = ["liouvillian", "master_equation", "steady_state"]

#: A mode that decays slower than this, relative to the norm of L, is stationary.
STATIONARY = 1e-11

#: Shift and steps of the inverse iteration; it resolves decay rates above STATIONARY.
SHIFT, ITERATIONS = 1e-13, 4

#: Stationary modes of one block are counted up to here.
COUNTED = 4


def _commutator(operator: Operator) -> Operator:
    """Return rho -> [A, rho], shape (d^2, d^2)."""
    one = sp.eye_array(operator.shape[0])
    return sp.csr_array(sp.kron(operator, one) - sp.kron(one, operator.T))


def _lindblad(jump: Operator) -> Operator:
    """Return rho -> c rho c^dag - {c^dag c, rho}/2, shape (d^2, d^2)."""
    one, loss = sp.eye_array(jump.shape[0]), adjoint(jump) @ jump
    return sp.csr_array(
        sp.kron(jump, jump.conj()) - (sp.kron(loss, one) + sp.kron(one, loss.T)) / 2
    )


def _averaged(noise: Noise) -> Operator:
    """Return the dissipator that a noise averages to, shape (d^2, d^2)."""
    if isinstance(noise, ComplexWhiteNoise):
        both = _lindblad(noise.operator) + _lindblad(adjoint(noise.operator))
        return noise.rate * both
    commutators = [_commutator(operator) for operator in noise.operators]
    unit = sp.eye_array(commutators[0].shape[0])
    covariance = sp.kron(sp.csr_array(noise.covariance), unit, format="csr")
    return -0.5 * sp.hstack(commutators) @ covariance @ sp.vstack(commutators)


def _rated_parts(model: Model) -> dict[str, Operator]:
    """Return the part of the Liouvillian of each named rate."""
    parts: dict[str, Any] = {n.name: _averaged(n) for n in model.noise}
    for dissipator in model.dissipators:
        part = dissipator.rate * _lindblad(dissipator.operator)
        parts[dissipator.name] = parts.get(dissipator.name, 0) + part
    return {name: pruned(parts[name]) for name in model.rate_names}


def _parts(model: Model) -> tuple[Operator, Mapping[str, Operator]]:
    """Return the Hamiltonian part of the Liouvillian and that of each rate."""
    if model.one_body:
        raise ModelError(
            "`model` must start from kets or a density matrix, but is a one-body model "
            "of fermions; its average is correlation_equation(model, times)"
        )
    return pruned(-1j * _commutator(model.hamiltonian)), _rated_parts(model)


def liouvillian(model: Model) -> Operator:
    r"""Return the generator of the averaged equation.

    .. math::
        \mathcal L \rho = -i[H, \rho] - \tfrac12 \sum_{jk} C_{jk} [L_j, [L_k, \rho]]
        + \sum_c \gamma_c \bigl(c \rho c^\dagger - \tfrac12\{c^\dagger c, \rho\}\bigr)

    Complex noise of rate g adds :math:`g\,(A \rho A^\dagger + A^\dagger \rho A
    - \tfrac12\{A^\dagger A + A A^\dagger, \rho\})`.

    Parameters
    ----------
    model : Model
        With kets or a density matrix of dimension d.

    Returns
    -------
    csr_array, shape (d^2, d^2) [1/time]
        Acting on ``rho.ravel()``.

    Raises
    ------
    ModelError
        If the model is a one-body model of fermions.

    Notes
    -----
    Source: Gorini, Kossakowski, Sudarshan; Lindblad (1976). The noise part is the
    exact average of Stratonovich white noise.
    """
    constant, rated = _parts(model)
    return summed(constant, rated.values())


def master_equation(model: Model, times: Any, *, sensitivity: bool = True) -> Reference:
    r"""Solve the averaged equation exactly.

    .. math::
        \frac{d}{dt} \langle O \rangle = \mathrm{Tr}(O\, \mathcal L \rho), \qquad
        \frac{d}{dt} \frac{\partial \rho}{\partial \ln\gamma} =
        \mathcal L \frac{\partial \rho}{\partial \ln\gamma} + \mathcal L_\gamma \rho

    A one-body model is handed to `correlation_equation`.

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
    constant, rated = _parts(model)
    readout = [op.T.tocsr().reshape((1, -1)) for op in model.observables.values()]
    start = model.initial.density_matrix().ravel()
    system = LinearSystem(constant, rated, start, sp.vstack(readout, format="csr"))
    solution = propagate(system, times, model.rate_names if sensitivity else ())
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
        If there is more than one stationary state, or the model is a one-body model.
    """
    generator = liouvillian(model)
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
