"""Jumps: two thermal two-level systems of document 002, d = 4, t = 20, 101 times.

The coupling sqrt(epsilon) a^dag b and its adjoint are jumps like those of the baths:
omega = Gamma = 1, epsilon = 0.1, beta = 0.5 and 2; n_A and n_B, 10,000 trajectories.
H_eff is diagonal and each jump operator moves levels to levels; turned into another
basis of the same model, neither is true and only the general method is left.
"""

from dataclasses import replace

import numpy as np
from peers import qutip_jumps, stochq_jumps
from scipy.stats import unitary_group

from stochq import Dissipator, Model, master_equation
from stochq.documents.document_002 import thermal_pair

TIMES = np.linspace(0, 20, 101)
N_TRAJ, PEERS = 10_000, 500

PAIR = thermal_pair(coupling="dissipators")
MODEL = replace(PAIR, observables={n: PAIR.observables[n] for n in ("n_A", "n_B")})


def turned(model, basis):
    """Return the same model in another basis, in which no element is zero."""

    def turn(matrix):
        return basis @ matrix.toarray() @ basis.conj().T

    return Model(
        name=f"{model.name}, turned",
        hamiltonian=turn(model.hamiltonian),
        dissipators=[
            Dissipator(turn(d.operator), d.rate, name=d.name) for d in model.dissipators
        ],
        initial=basis @ model.initial.members()[0],
        observables={k: turn(o) for k, o in model.observables.items()},
    )


def exact(full):
    return master_equation(MODEL, TIMES, sensitivity=False).values


def participants(full):
    """Return stochq on the model and on it in a generic basis, then QuTiP."""
    general = turned(MODEL, unitary_group.rvs(4, random_state=1))
    generic = stochq_jumps(general, TIMES, N_TRAJ)
    generic.name += " generic basis"
    peers = 5 * PEERS if full else PEERS
    return [
        stochq_jumps(MODEL, TIMES, N_TRAJ),
        generic,
        *qutip_jumps(MODEL, TIMES, peers, layer="CSR"),
        *qutip_jumps(
            MODEL, TIMES, peers, layer="Dense", note="diag", options={"method": "diag"}
        ),
    ]
