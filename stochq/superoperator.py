r"""Generators of averaged equations: what acts on a density matrix, term by term.

Density matrices are vectors in row-major order, so that
vec(A rho B) = (A kron B^T) vec(rho). White noise enters by its covariance directly,
:math:`-\tfrac12 \sum_{jk} C_{jk} [L_j, [L_k, \rho]]`, never by a factor of it. What
depends on time is a sum of constant matrices, each times a product of envelopes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Floats, Ints, Operator, adjoint
from stochq.channels import ComplexWhiteNoise, Noise, WhiteNoise
from stochq.envelopes import Envelope, evaluate
from stochq.errors import ModelError

__all__ = [
    "Factors",
    "Share",
    "Term",
    "gathered",
    "generator",
    "instant",
    "parts",
    "pruned",
    "shares",
    "squared",
    "summed",
]

EPS = float(np.finfo(np.float64).eps)

#: Envelopes whose product multiplies a matrix; none of them means a constant.
Factors: TypeAlias = tuple[Envelope, ...]


class Term(NamedTuple):
    """One constant matrix and the envelopes f_1, f_2, ... that multiply it."""

    factors: Factors
    operator: Operator


class Share(NamedTuple):
    """The part of a covariance that one pair of envelopes multiplies.

    ``covariance`` has shape (S, S), over the ``channels`` of shape (S,).
    """

    factors: Factors
    channels: Ints
    covariance: Floats


def summed(constant: Operator, terms: Iterable[Operator]) -> Operator:
    """Return the sum of sparse matrices."""
    return sum(terms, start=constant)


def pruned(matrix: Operator) -> Operator:
    """Drop the entries of a sparse matrix that are zero but for rounding."""
    matrix = sp.csr_array(matrix)
    scale = float(np.abs(matrix.data).max(initial=0.0))
    matrix.data[np.abs(matrix.data) <= 8 * EPS * scale] = 0
    matrix.eliminate_zeros()
    return matrix


def shares(noise: WhiteNoise) -> list[Share]:
    """Split C_jk by f_j f_k: equal pairs of envelopes share one constant matrix."""
    distinct = list({id(f): f for f in noise.strengths}.values())
    order = {id(f): g for g, f in enumerate(distinct)}
    group = np.array([order[id(f)] for f in noise.strengths])
    covariance, split = noise.covariance, []
    for g, first in enumerate(distinct):
        for h, second in enumerate(distinct[g:], start=g):
            channels = np.flatnonzero((group == g) | (group == h))
            one, other = group[channels] == g, group[channels] == h
            pair = np.outer(one, other) | np.outer(other, one)
            part = np.where(pair, covariance[np.ix_(channels, channels)], 0.0)
            if part.any():
                factors = tuple(f for f in (first, second) if f is not None)
                split.append(Share(factors, channels, part))
    return split


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


def _contracted(
    left: Sequence[Operator], covariance: Floats, right: Sequence[Operator]
) -> Operator:
    """Return sum_jk A_j C_jk B_k of superoperators, shape (d^2, d^2)."""
    unit = sp.eye_array(left[0].shape[0])
    spread = sp.kron(sp.csr_array(covariance), unit, format="csr")
    return sp.hstack(left) @ spread @ sp.vstack(right)


def _real_noise(noise: WhiteNoise, raw: bool) -> list[Term]:
    """Return what real noise averages to, or its half that feeds the norm."""
    one = sp.eye_array(noise.operators[0].shape[0])
    if raw:
        left = [sp.kron(operator, one) for operator in noise.operators]
        right = [sp.kron(one, operator.T) for operator in noise.operators]
    else:
        left = right = [_commutator(operator) for operator in noise.operators]
    factor = 1.0 if raw else -0.5
    terms = []
    for factors, channels, covariance in shares(noise):
        lefts, rights = [left[k] for k in channels], [right[k] for k in channels]
        term = factor * _contracted(lefts, covariance, rights)
        terms.append(Term(factors, pruned(term)))
    return terms


def _complex_noise(noise: ComplexWhiteNoise, raw: bool) -> list[Term]:
    """Return what complex noise averages to, or its half that feeds the norm."""
    jump, dagger = noise.operator, adjoint(noise.operator)
    if raw:
        both = sp.kron(jump, jump.conj()) + sp.kron(dagger, dagger.conj())
    else:
        both = _lindblad(jump) + _lindblad(dagger)
    factors = () if noise.strength is None else (noise.strength, noise.strength)
    return [Term(factors, pruned(noise.rate * both))]


def _averaged(noise: Noise, raw: bool) -> list[Term]:
    """Return what a noise averages to: f_j C_jk f_k times double commutators."""
    if isinstance(noise, ComplexWhiteNoise):
        return _complex_noise(noise, raw)
    return _real_noise(noise, raw)


def _rated_parts(model: Any) -> dict[str, list[Term]]:
    """Return the part of the generator of each named rate."""
    raw = model.calculus == "raw-ito"
    rated = {n.name: _averaged(n, raw) for n in model.noise}
    for d in model.dissipators:
        part = d.rate * _lindblad(d.operator)
        rated.setdefault(d.name, []).append(Term(squared(d.strength), part))
    return {name: gathered(rated[name]) for name in model.rate_names}


def squared(strength: Envelope | None) -> Factors:
    """Return the factors f(t)^2 of a term, none for a constant one."""
    return () if strength is None else (strength, strength)


def gathered(terms: Sequence[Term]) -> list[Term]:
    """Return terms with those of equal factors added up."""
    totals: dict[tuple[int, ...], Term] = {}
    for factors, operator in terms:
        key = tuple(id(f) for f in factors)
        known = totals.get(key, Term(factors, 0 * operator))
        totals[key] = Term(factors, known.operator + operator)
    return [Term(factors, pruned(total)) for factors, total in totals.values()]


def parts(model: Any) -> tuple[list[Term], Mapping[str, list[Term]]]:
    """Return the Hamiltonian part of the generator and that of each named rate.

    Raises
    ------
    ModelError
        If the model is a one-body model of fermions.
    """
    if model.one_body:
        raise ModelError(
            "`model` must start from kets or a density matrix, but is a one-body model "
            "of fermions; its average is correlation_equation(model, times)"
        )
    constant = [Term((), pruned(-1j * _commutator(model.hamiltonian)))]
    constant += [Term((f,), pruned(-1j * _commutator(H))) for H, f in model.drives]
    return constant, _rated_parts(model)


def instant(terms: Sequence[Term], t: float) -> Operator:
    """Return sum_a c_a(t) A_a, where c_a is the product of the factors of A_a."""
    time = np.array([t], dtype=np.float64)
    total: Any = 0
    for factors, operator in terms:
        scaled = operator
        for envelope in factors:
            scaled = evaluate(envelope, time)[0] * scaled
        total = total + scaled
    return total


def generator(model: Any, t: float) -> Operator:
    r"""Return the generator of the averaged equation at time t.

    .. math::
        \mathcal L_t \rho = -i[H(t), \rho]
        - \tfrac12 \sum_{jk} f_j C_{jk} f_k [L_j, [L_k, \rho]]
        + \sum_c \gamma_c(t) \bigl(c \rho c^\dagger
        - \tfrac12\{c^\dagger c, \rho\}\bigr)

    With ``calculus="raw-ito"`` the noise adds
    :math:`\sum_{jk} f_j C_{jk} f_k L_j \rho L_k` alone, and the trace grows.

    Parameters
    ----------
    model : Model
        With kets or a density matrix of dimension d.
    t : float
        Where to look at it [time].

    Returns
    -------
    csr_array, shape (d^2, d^2) [1/time]
        Acting on ``rho.ravel()``.

    Raises
    ------
    ModelError
        If the model is a one-body model of fermions.
    """
    constant, rated = parts(model)
    return summed(instant(constant, t), (instant(part, t) for part in rated.values()))
