r"""Lifted dynamics: matrices that act on the elements of a density matrix.

Where a dissipator stays averaged, or is seen in part only, the state of a trajectory is
a density matrix. Its elements, row after row, are a vector; ``A rho B`` is
``(A kron B^T)`` times it. Hamiltonian and noise act by commutators, jumps by
``c rho c^dag``; monitored operators stay what they were.

In a one-body model the matrix is ``U U^dag / N``, which averaged Hermitian dissipators,
noise and kicks move by the same formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from stochq.arrays import Ints, Operator, adjoint, summed
from stochq.errors import SchemeMismatchError
from stochq.states import DensityMatrix

if TYPE_CHECKING:
    from stochq.lowering.dynamics import Dynamics

__all__ = ["both_sides", "lifted", "loss", "reachable", "sandwich"]


def lifted(dynamics: Dynamics) -> Dynamics:
    """Return what a density matrix follows, on the elements that can be reached.

    Every trajectory starts from the whole initial mixture: nobody saw which of its
    states it was.

    Raises
    ------
    SchemeMismatchError
        If a part has no such form.
    """
    _check(dynamics)
    # not a commutator: raw Ito noise makes it lose its Hermiticity
    effective = dynamics.hamiltonian + 1j * dynamics.gain
    hamiltonian = summed(
        1j * both_sides(-1j * effective),
        [
            *(1j * lindblad(c) for c in dynamics.averaged),
            *(-1j * loss(c) for c in dynamics.jumps),
        ],
    )
    drives = [commutator(H) for H in dynamics.drives]
    noise = [commutator(L) for L in dynamics.noise]
    jumps = [sandwich(c) for c in dynamics.jumps]
    start = _start(dynamics)
    movers = [hamiltonian, *drives, *noise, *jumps]
    for monitor in dynamics.monitors:
        c = monitor.operator
        movers += [sandwich(c), loss(c), both_sides(c), both_sides(c @ c)]
    kept = reachable(start.support, movers)

    def cut(operator: Operator) -> Operator:
        return sp.csr_array(operator)[kept][:, kept]

    scale = float(dynamics.initial.columns)
    return replace(
        dynamics,
        hamiltonian=cut(hamiltonian),
        drives=tuple(map(cut, drives)),
        noise=tuple(map(cut, noise)),
        jumps=tuple(map(cut, jumps)),
        averaged=(),
        initial=start.restricted(kept),
        observables=tuple(
            scale * _functional(o)[:, kept] for o in dynamics.observables
        ),
        basis=kept,
        raw=False,  # its gain is in H
        lifted=True,
    )


def _check(dynamics: Dynamics) -> None:
    """Refuse what does not lift."""
    if (dynamics.jump_function_of >= 0).any():
        raise SchemeMismatchError(
            "jumps beside averaged or partly seen dissipators must have constant "
            "rates, but a strength depends on time"
        )
    if not dynamics.one_body:
        return
    if dynamics.monitors or set(dynamics.jump_kinds) - {"kick"}:
        raise SchemeMismatchError(
            "a one-body model with averaged dissipators, or efficiencies below 1, must "
            "have noise and kicks only beside them, but it has monitors or "
            "measurements, whose states would not be Gaussian"
        )


def commutator(operator: Operator) -> Operator:
    """Return rho -> [A, rho]."""
    one = _one(operator)
    return sp.csr_array(sp.kron(operator, one) - sp.kron(one, operator.T))


def sandwich(c: Operator) -> Operator:
    """Return rho -> c rho c^dag."""
    return sp.csr_array(sp.kron(c, c.conj()))


def both_sides(operator: Operator) -> Operator:
    """Return rho -> A rho + rho A^dag."""
    one = _one(operator)
    return sp.csr_array(sp.kron(operator, one) + sp.kron(one, operator.conj()))


def loss(c: Operator) -> Operator:
    """Return rho -> {c^dag c, rho} / 2."""
    return 0.5 * both_sides(adjoint(c) @ c)


def lindblad(c: Operator) -> Operator:
    """Return rho -> c rho c^dag - {c^dag c, rho} / 2."""
    return sandwich(c) - loss(c)


def _functional(observable: Operator) -> Operator:
    """Return the row that multiplies rho to give Tr(O rho), shape (1, d^2)."""
    return sp.csr_array(sp.coo_array(observable.T).reshape((1, -1)))


def _start(dynamics: Dynamics) -> DensityMatrix:
    """Return the initial density matrix, all of its elements."""
    rho = dynamics.initial.density_matrix() / dynamics.initial.columns
    vector = np.ascontiguousarray(rho, dtype=np.complex128).ravel()
    return DensityMatrix(vector, np.arange(vector.size), rho.shape[0])


def _one(operator: Operator) -> Operator:
    """Return the identity of a matrix's size."""
    return sp.eye_array(operator.shape[0], format="csr", dtype=np.complex128)


def reachable(support: Ints, movers: Sequence[Any]) -> Ints:
    """Return what can ever be occupied from a support, ascending.

    A chain that starts with two excitations never leaves their sector, whatever space
    its matrices were written in.
    """
    graph = summed(abs(movers[0]), [abs(m) for m in movers[1:]])
    graph = sp.csr_array(graph + graph.conj().T)
    _, label = connected_components(graph, directed=False)
    return np.flatnonzero(np.isin(label, label[support]))
