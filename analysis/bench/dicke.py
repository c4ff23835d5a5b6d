"""N two-level systems that jump together, c = S_+/sqrt(N), in their largest spin."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import expm_multiply

from stochq import Dissipator, Model
from stochq.spaces import coherent_spin_state, spin_operators

__all__ = ["collective", "ladder"]


def collective(spins: int, direction: list[float], drive: float) -> Model:
    """Return H = drive S_x with collective jumps, from a coherent spin state."""
    s1, s2, s3 = spin_operators(spins / 2)
    return Model(
        name=f"Dicke, N = {spins}",
        hamiltonian=drive * s1 if drive else None,
        dissipators=Dissipator((s1 + 1j * s2) / np.sqrt(spins), name="collective"),
        initial=coherent_spin_state(spins / 2, direction),
        observables={"m": s3 / spins, "m2": s3 @ s3 / spins**2},
    )


def ladder(model: Model, times: np.ndarray) -> np.ndarray:
    """Return the exact means without a drive, where populations make a closed cascade.

    p_m' = -w_m p_m + w_{m-1} p_{m-1}, w_m = (j - m)(j + m + 1)/N, m descending.
    """
    spins = model.dim - 1
    m = spins / 2 - np.arange(spins + 1)
    rates = (spins / 2 - m) * (spins / 2 + m + 1) / spins
    generator = sp.diags_array([-rates, rates[1:]], offsets=[0, 1], format="csc")
    start = np.abs(model.initial.members()[0]) ** 2
    p = expm_multiply(generator, start, times[0], times[-1], times.size)
    return np.array([p @ m / spins, p @ m**2 / spins**2])
