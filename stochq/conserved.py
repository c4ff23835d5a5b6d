"""What no trajectory can change: points at which all of them have one value."""

from __future__ import annotations

from typing import Any

import numpy as np

from stochq.lowering import Dynamics
from stochq.structure import commute

__all__ = ["deterministic"]


def deterministic(dynamics: Dynamics, n_times: int, unitary: bool) -> Any:
    """Return where all trajectories must have one value, shape (O, T).

    Parameters
    ----------
    dynamics : Dynamics
        A lowered model.
    n_times : int
        Number T of output times.
    unitary : bool
        Whether the scheme keeps norms, so that conserved quantities are conserved.
    """
    mask = np.zeros((len(dynamics.observables), n_times), dtype=bool)
    kets = dynamics.initial.members()
    pure = dynamics.initial.pure
    generic = _generic_combination(dynamics)
    for o, observable in enumerate(dynamics.observables):
        values = [float(np.vdot(ket, observable @ ket).real) for ket in kets]
        spread = max(values) - min(values)
        same = spread <= 1e-12 * max(1.0, *(abs(value) for value in values))
        mask[o, 0] = same or dynamics.mixed
        if not unitary or dynamics.raw:
            continue
        if not _is_random(dynamics):  # whatever drives it
            mask[o] = pure or dynamics.mixed
            continue
        if same and commute(observable, generic):
            kicks = dynamics.one_body and set(dynamics.jump_kinds) <= {"kick"}
            unseen = not dynamics.monitors and (kicks or not dynamics.jumps)
            mask[o] = unseen or all(_is_eigenstate(observable, ket) for ket in kets)
    return mask


def _is_random(dynamics: Dynamics) -> bool:
    """Tell whether trajectories differ by more than their start."""
    return bool(dynamics.noise or dynamics.jumps or dynamics.monitors)


def _is_eigenstate(observable: Any, state: Any) -> bool:
    """Tell whether a ket, or orbitals taken together, are an eigenstate.

    What is conserved and measured has the same value in every trajectory only then.
    """
    u = state.reshape(state.shape[0], -1)
    moved = observable @ u
    return bool(np.linalg.norm(moved - u @ (u.conj().T @ moved)) <= 1e-12)


def _generic_combination(dynamics: Dynamics) -> Any:
    """Return a combination of all operators that move the state, each of size 1.

    Its coefficients are generic (multiples of the golden ratio, mod 1): a matrix
    commutes with the combination only if it commutes with every one of them.
    """
    total = 0.0 * dynamics.hamiltonian
    movers = [dynamics.hamiltonian, *dynamics.channels, *dynamics.jumps]
    movers += [*dynamics.averaged, *(m.operator for m in dynamics.monitors)]
    for k, operator in enumerate(m for m in movers if m.nnz):
        size = float(np.abs(operator.data).max())
        total = total + (0.5 + (k + 1) * 0.6180339887498949 % 1.0) / size * operator
    return total.tocsr()
