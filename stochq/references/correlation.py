r"""The closed equation of the two-point function of noisy free fermions.

Every matrix A of a one-body model stands for sum_xy A_xy c_x^dag c_y, and
:math:`G_{xy} = \langle c_x^\dagger c_y \rangle` is a vector in row-major order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Complexes, Operator, adjoint, as_times
from stochq.channels import ComplexWhiteNoise, Dissipator, Noise
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references._integrate import System, solve
from stochq.references.base import Reference
from stochq.superoperator import Term, gathered, pruned, shares, squared

__all__ = ["correlation_equation", "correlation_matrix"]

#: How far from Hermitian, relative to its norm, a set of dissipators may be.
CLOSURE_TOLERANCE = 1e-12


def _bracket(matrix: Operator) -> Operator:
    """Return G -> [A^T, G], shape (L^2, L^2)."""
    one = sp.eye_array(matrix.shape[0])
    return sp.csr_array(sp.kron(matrix.T, one) - sp.kron(one, matrix))


def _complex_channel(matrix: Operator, rate: float) -> Operator:
    """Return the average of sqrt(rate)(xi A + conj(xi) A^dag): two real channels."""
    dagger = adjoint(matrix)
    first, second = _bracket(matrix + dagger), _bracket(1j * (matrix - dagger))
    return -rate / 4 * (first @ first + second @ second)


def _channels(noise: Noise) -> list[Term]:
    """Return -1/2 sum_jk f_j C_jk f_k [A_j^T, [A_k^T, G]] of one noise."""
    if isinstance(noise, ComplexWhiteNoise):
        twice = () if noise.strength is None else (noise.strength, noise.strength)
        return [Term(twice, pruned(_complex_channel(noise.operator, noise.rate)))]
    brackets, terms = [_bracket(matrix) for matrix in noise.operators], []
    for factors, channels, covariance in shares(noise):
        total = sp.csr_array(brackets[0].shape, dtype=np.complex128)
        for row, j in zip(covariance, channels, strict=True):
            mixed = [row[k] * brackets[channels[k]] for k in np.flatnonzero(row)]
            total = total - 0.5 * brackets[j] @ sum(mixed) if mixed else total
        terms.append(Term(factors, pruned(total)))
    return terms


def _closes(dissipators: list[Dissipator]) -> bool:
    """Tell whether sum_c g_c A (.) A^dag = sum_c g_c A^dag (.) A at all times."""
    by_strength: dict[int, list[Dissipator]] = {}
    for d in dissipators:
        by_strength.setdefault(id(d.strength), []).append(d)
    return all(_is_balanced(group) for group in by_strength.values())


def _is_balanced(dissipators: list[Dissipator]) -> bool:
    """Tell it for dissipators of one strength."""
    total: Any = 0
    swapped: Any = 0
    for dissipator in dissipators:
        matrix, dagger = dissipator.operator, adjoint(dissipator.operator)
        total = total + dissipator.rate * sp.kron(matrix, matrix.conj(), format="csr")
        swapped = swapped + dissipator.rate * sp.kron(dagger, matrix.T, format="csr")
    scale = float(np.abs(total.data).max(initial=0.0))
    defect = np.abs((total - swapped).data).max(initial=0.0)
    return bool(defect <= CLOSURE_TOLERANCE * scale)


def _check_closure(model: Model) -> None:
    """Refuse dissipators whose G equation needs four-point functions."""
    if model.dissipators and not _closes(list(model.dissipators)):
        worst = [d.name for d in model.dissipators if not _closes([d])]
        raise ModelError(
            "the equation for G closes only for white noise, Hermitian dissipators and "
            "pairs (A, A^dag) of equal rates, but "
            f"{sorted(set(worst))} are neither: one-way hopping makes "
            "<c_x^dag c_y> depend on four-point functions"
        )


def _rated_parts(model: Model) -> dict[str, list[Term]]:
    """Return the part of the generator of G of each named rate.

    Once the dissipators close, D = (D[A] + D[A^dag])/2 summed over them, and each one
    counts as complex noise of half its rate.
    """
    rated = {n.name: _channels(n) for n in model.noise}
    for d in model.dissipators:
        part = _complex_channel(d.operator, d.rate / 2)
        rated.setdefault(d.name, []).append(Term(squared(d.strength), part))
    return {name: gathered(rated[name]) for name in model.rate_names}


def _varied_alone(model: Model) -> tuple[str, ...]:
    """Return the names of the rates that may change without breaking the closure."""
    groups: dict[str, list[Dissipator]] = {}
    for dissipator in model.dissipators:
        groups.setdefault(dissipator.name, []).append(dissipator)
    return tuple(
        name for name in model.rate_names if name not in groups or _closes(groups[name])
    )


def _system(model: Model, readout: Operator) -> System:
    """Return the linear system of G, read by `readout` of shape (O, L^2)."""
    if not model.one_body:
        raise ModelError(
            "`model` must be a one-body model, starting from Orbitals or Occupations, "
            "but starts from kets; its average is master_equation(model, times)"
        )
    _check_closure(model)
    constant = [Term((), pruned(1j * _bracket(model.hamiltonian)))]
    constant += [Term((f,), pruned(1j * _bracket(h))) for h, f in model.drives]
    start = model.initial.density_matrix().T.ravel()
    return System(constant, _rated_parts(model), start, readout)


def correlation_equation(
    model: Model, times: Any, *, sensitivity: bool = True
) -> Reference:
    r"""Solve the closed equation of the two-point function of free fermions.

    .. math::
        \frac{dG}{dt} = i[h(t)^T, G]
        - \tfrac12 \sum_{jk} f_j C_{jk} f_k [A_j^T, [A_k^T, G]], \qquad
        \langle O \rangle = \sum_{xy} O_{xy} G_{xy}

    It is exact for every many-body state. Complex noise of rate g is two real
    channels, A + A^dag and i(A - A^dag), each with C = g/2. A Hermitian dissipator is
    a channel with C = g; a pair (A, A^dag) of equal rates is complex noise. For
    dephasing of rate g on site x, [A, [A, .]] leaves n_x alone and damps the
    coherences of x at the rate g/2. What depends on time is integrated as in
    `master_equation`.

    Parameters
    ----------
    model : Model
        A one-body model of L sites. The initial state holds at ``times[0]``.
    times : array_like, shape (T,)
        Strictly increasing [time].
    sensitivity : bool, default True
        Whether to solve for the derivatives with respect to the named rates too. The
        rate of one half of a pair (A, A^dag) is left out: it cannot vary alone.

    Returns
    -------
    Reference
        Mean of every observable, shape (O, T).

    Raises
    ------
    ModelError
        If the model is not a one-body model, or its equation for G does not close.

    Notes
    -----
    Source: the selective dephasing model of Shpielberg, with any quadratic noise.
    """
    rows = [matrix.reshape((1, -1)) for matrix in model.observables.values()]
    system = _system(model, sp.vstack(rows, format="csr"))
    times = as_times(times)
    names = _varied_alone(model) if sensitivity else ()
    solution = solve(system, times, names)
    return Reference(
        times,
        tuple(model.observables),
        solution.values.real,
        solution.error,
        "correlation equation",
        {name: slope.real for name, slope in solution.sensitivity.items()},
    )


def correlation_matrix(model: Model, times: Any) -> Complexes:
    r"""Return :math:`G_{xy}(t) = \langle c_x^\dagger c_y \rangle`, shape (T, L, L).

    Parameters
    ----------
    model : Model
        A one-body model of L sites. The initial state holds at ``times[0]``.
    times : array_like, shape (T,)
        Strictly increasing [time].

    Raises
    ------
    ModelError
        If the model is not a one-body model, or its equation for G does not close.
    """
    everything = sp.eye_array(model.dim**2, dtype=np.complex128, format="csr")
    times = as_times(times)
    solution = solve(_system(model, everything), times, ())
    return solution.values.T.reshape(times.size, model.dim, model.dim)
