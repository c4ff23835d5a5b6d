"""Lowering: a model and a choice of unraveling become independent Wieners and jumps.

The one place where complex and correlated noise, Ito and Stratonovich, rates and
covariances are handled. What comes out has unit rates: the strength of a channel is in
its operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from stochq.arrays import Ints, Operator, adjoint, is_hermitian
from stochq.channels import ComplexWhiteNoise, Dissipator, WhiteNoise
from stochq.errors import ModelError, SchemeMismatchError
from stochq.model import Model
from stochq.states import State
from stochq.unravelings import Choice, Jump, Kicks, UnitaryNoise

__all__ = ["Dynamics", "lower"]

#: Eigenvalues closer than this, relative to the largest, are one eigenvalue.
DEGENERACY_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Dynamics:
    """What a scheme integrates.

    Between two jumps ``d psi = -i H psi dt - i sum_k L_k psi o dW_k`` with
    ``<dW_j dW_k> = delta_jk dt``; jumps ``psi -> c psi`` come at the rates
    ``|c psi|^2 / |psi|^2``.

    Attributes
    ----------
    model : Model
        Where it comes from.
    hamiltonian : operator (d, d)
        H [1/time].
    noise : tuple of operators (d, d)
        L_k, Hermitian [1/sqrt(time)].
    jumps : tuple of operators (d, d)
        c, with the square root of the rate [1/sqrt(time)].
    jump_names : tuple of str
        The dissipator that each jump operator unravels.
    unraveling : dict of str to str
        What each dissipator became, for provenance.
    initial : Kets or Orbitals
        The state at ``times[0]``.
    observables : tuple of operators (d, d)
        What is averaged.
    basis : ndarray of int, shape (d,)
        The basis states of the model that can be reached; all matrices above are
        restricted to them.
    """

    model: Model
    hamiltonian: Operator
    noise: tuple[Operator, ...]
    jumps: tuple[Operator, ...]
    jump_names: tuple[str, ...]
    unraveling: Mapping[str, str]
    initial: State
    observables: tuple[Operator, ...]
    basis: Ints

    @property
    def dim(self) -> int:
        """Dimension d of the matrices."""
        return self.basis.size

    @property
    def one_body(self) -> bool:
        """Whether the states are orbitals of free fermions."""
        return self.initial.one_body

    @property
    def effective_hamiltonian(self) -> Operator:
        """H - (i/2) sum c^dag c, which carries psi from jump to jump."""
        return _sum(self.hamiltonian, [-0.5j * (adjoint(c) @ c) for c in self.jumps])

    @property
    def ito_drift(self) -> Operator:
        """-i H - (1/2) sum L_k^2: the drift when the same noise is read as Ito."""
        return _sum(-1j * self.hamiltonian, [-0.5 * (L @ L) for L in self.noise])


def _sum(start: Operator, terms: Sequence[Operator]) -> Operator:
    """Return start + sum(terms) as CSR without stored zeros."""
    total = start.copy()
    for term in terms:
        total = total + term
    total = sp.csr_array(total)
    total.eliminate_zeros()
    total.sort_indices()
    return total


def _independent_channels(noise: WhiteNoise) -> list[Operator]:
    """Return L'_k = sum_j F_jk L_j, driven by independent unit noises, for C = F F^T.

    C is factorized block by block, so that uncorrelated channels stay as they are and
    what is local stays local.
    """
    if noise.rates is not None:
        return [
            np.sqrt(rate) * operator
            for rate, operator in zip(noise.rates, noise.operators, strict=True)
        ]
    channels = []
    count, block_of = connected_components(sp.csr_array(noise.covariance))
    for block in range(count):
        members = np.flatnonzero(block_of == block)
        weights, vectors = np.linalg.eigh(noise.covariance[np.ix_(members, members)])
        floor = 8 * np.finfo(float).eps * members.size * max(float(weights[-1]), 0.0)
        for weight, vector in zip(weights, vectors.T, strict=True):
            if weight > floor:
                factors = np.sqrt(weight) * vector
                mixed = [
                    f * noise.operators[j]
                    for f, j in zip(factors, members, strict=True)
                ]
                channels.append(_sum(mixed[0], mixed[1:]))
    return channels


def _complex_channels(operator: Operator, rate: float) -> list[Operator]:
    """Return A + A^dag and i (A - A^dag), each with variance rate/2 per time."""
    scale = np.sqrt(rate / 2)
    dagger = adjoint(operator)
    return [
        scale * sp.csr_array(operator + dagger),
        scale * sp.csr_array(1j * (operator - dagger)),
    ]


def _noise_of_dissipators(name: str, group: Sequence[Dissipator]) -> list[Operator]:
    """Return the unitary noise that averages to a group of dissipators."""
    channels: list[Operator] = []
    waiting = []
    for member in group:
        if is_hermitian(member.operator):
            channels.append(np.sqrt(member.rate) * member.operator)
        else:
            waiting.append(member)
    while waiting:
        first = waiting.pop()
        partner = next((m for m in waiting if _is_adjoint_pair(first, m)), None)
        if partner is None:
            raise SchemeMismatchError(
                f"UnitaryNoise() for {name!r} must have Hermitian operators or pairs "
                "c, c^dag of equal rates, but one operator is neither; use Jump()"
            )
        waiting.remove(partner)
        channels += _complex_channels(first.operator, first.rate)
    return channels


def _is_adjoint_pair(one: Dissipator, other: Dissipator) -> bool:
    """Tell whether the two jump operators are adjoint with equal rates."""
    difference = one.operator - adjoint(other.operator)
    scale = float(np.abs(one.operator.data).max(initial=0.0))
    close = np.abs(difference.data).max(initial=0.0) <= 1e-12 * scale
    return bool(close and np.isclose(one.rate, other.rate, rtol=1e-12, atol=0.0))


def _kick(name: str, member: Dissipator) -> Operator:
    """Return sqrt(rate) (l2 - l1)/2 K, the kick of a two-valued Hermitian operator."""
    operator = member.operator
    if not is_hermitian(operator):
        raise SchemeMismatchError(
            f"Kicks() for {name!r} must have a Hermitian operator, but it is not; "
            "use Jump()"
        )
    low, high = _two_eigenvalues(operator, name)
    identity = sp.eye_array(operator.shape[0], format="csr", dtype=np.complex128)
    return np.sqrt(member.rate) * sp.csr_array(operator - 0.5 * (low + high) * identity)


def _two_eigenvalues(operator: Operator, name: str) -> tuple[float, float]:
    """Return l1 < l2 if (A - l1)(A - l2) = 0, without diagonalizing A."""
    size = operator.shape[0]
    trace = float(operator.diagonal().real.sum())
    square = operator @ operator
    # A^2 = s A - p: fit s and p on the matrix elements, then test all of them
    gram = np.array(
        [[np.vdot(operator.data, operator.data).real, -trace], [trace, -float(size)]]
    )
    right = np.array(
        [
            (operator.conj().multiply(square)).sum().real,
            square.diagonal().real.sum(),
        ]
    )
    if abs(np.linalg.det(gram)) > 1e-12 * np.abs(gram).max() ** 2:
        total, product = np.linalg.solve(gram, right)
        identity = sp.eye_array(size, format="csr", dtype=np.complex128)
        rest = square - total * operator + product * identity
        scale = float(np.abs(square.data).max(initial=0.0))
        if np.abs(rest.data).max(initial=0.0) <= DEGENERACY_TOLERANCE * scale:
            root = np.sqrt(max(total**2 / 4 - product, 0.0))
            return total / 2 - root, total / 2 + root
    raise SchemeMismatchError(
        f"Kicks() for {name!r} must have an operator with exactly two different "
        "eigenvalues, but it has another number; use Jump() or UnitaryNoise()"
    )


def _checked_unraveling(
    model: Model, unraveling: Mapping[str, Choice] | None
) -> dict[str, Choice]:
    """Return a choice for the name of every dissipator."""
    names = list(dict.fromkeys(d.name for d in model.dissipators))
    default: Choice = UnitaryNoise() if model.one_body else Jump()
    choices: dict[str, Choice] = dict.fromkeys(names, default)
    if unraveling is None:
        return choices
    if not isinstance(unraveling, Mapping):
        raise ModelError(
            "`unraveling` must be a dictionary {name of a dissipator: choice}, "
            f"but is {unraveling!r}"
        )
    for name, choice in unraveling.items():
        if name not in choices:
            raise ModelError(
                f"`unraveling` must name dissipators among {names}, but names {name!r}"
            )
        if not isinstance(choice, Jump | UnitaryNoise | Kicks):
            raise ModelError(
                f"`unraveling[{name!r}]` must be Jump(), UnitaryNoise() or Kicks(), "
                f"but is {choice!r}"
            )
        choices[name] = choice
    return choices


def lower(model: Model, unraveling: Mapping[str, Choice] | None = None) -> Dynamics:
    """Lower a model to independent real Wiener processes and unit-rate jumps.

    Parameters
    ----------
    model : Model
        The physics.
    unraveling : dict of str to Jump, UnitaryNoise or Kicks, optional
        A choice for the dissipators of each name. By default dissipators jump; those of
        a one-body model become unitary noise, which keeps its states Gaussian.

    Returns
    -------
    Dynamics

    Raises
    ------
    ModelError
        If `unraveling` names something that the model does not have.
    SchemeMismatchError
        If a choice does not fit an operator.
    """
    choices = _checked_unraveling(model, unraveling)
    noise: list[Operator] = []
    for member in model.noise:
        if isinstance(member, ComplexWhiteNoise):
            noise += _complex_channels(member.operator, member.rate)
        else:
            noise += _independent_channels(member)
    jumps: list[tuple[str, Operator]] = []
    for name, choice in choices.items():
        group = [d for d in model.dissipators if d.name == name]
        if isinstance(choice, UnitaryNoise):
            noise += _noise_of_dissipators(name, group)
        elif isinstance(choice, Kicks):
            jumps += [(name, _kick(name, d)) for d in group]
        elif model.one_body:
            raise SchemeMismatchError(
                f"`unraveling[{name!r}]` of a one-body model must be UnitaryNoise() or "
                "Kicks(), but is Jump(), whose rates need the many-body state"
            )
        else:
            jumps += [(name, np.sqrt(d.rate) * d.operator) for d in group]
    jumps = [(name, c) for name, c in jumps if _is_nonzero(c)]
    noise = [L for L in noise if _is_nonzero(L)]
    movers = [model.hamiltonian, *noise, *(c for _, c in jumps)]
    basis = _reachable(model.initial, movers)

    def cut(operator: Operator) -> Operator:
        return operator if basis.size == model.dim else operator[basis][:, basis]

    noise = [L for L in map(cut, noise) if _is_nonzero(L)]
    jumps = [(name, cut(c)) for name, c in jumps]
    jumps = [(name, c) for name, c in jumps if _is_nonzero(c)]

    return Dynamics(
        model=model,
        hamiltonian=cut(model.hamiltonian),
        noise=tuple(noise),
        jumps=tuple(c for _, c in jumps),
        jump_names=tuple(name for name, _ in jumps),
        unraveling={name: type(choice).__name__ for name, choice in choices.items()},
        initial=model.initial.restricted(basis),
        observables=tuple(cut(o) for o in model.observables.values()),
        basis=basis,
    )


def _reachable(initial: State, movers: Sequence[Operator]) -> Ints:
    """Return the basis states that a trajectory can ever occupy, ascending.

    A chain that starts with two excitations never leaves their sector, whatever space
    its matrices were written in.
    """
    graph = _sum(abs(movers[0]), [abs(m) for m in movers[1:]])
    graph = sp.csr_array(graph + graph.conj().T)
    _, label = connected_components(graph, directed=False)
    return np.flatnonzero(np.isin(label, label[initial.support]))


def _is_nonzero(operator: Any) -> bool:
    """Tell whether any stored element differs from zero."""
    return bool(np.any(operator.data != 0))
