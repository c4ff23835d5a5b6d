"""Jumps: an XX chain of eight sites, d = 256, dephased everywhere, emptied at the ends.

H = sum_x (s_x^+ s_{x+1}^- + h.c.), jumps n_x at 0.2 and s_x^- at 0.5 on the first and
the last site, from every second site excited; populations at 51 times up to 10, 500
trajectories. The Jordan-Wigner transformation makes it free fermions, whose 8 x 8
correlation matrix gives the exact answer.
"""

import numpy as np
import scipy.linalg
from peers import qutip_jumps, stochq_jumps

from stochq import Dissipator, Model
from stochq.spaces import tls_lowering, tls_number

SITES, DEPHASING, LOSS = 8, 0.2, 0.5
TIMES = np.linspace(0, 10, 51)
FILLED = np.arange(SITES) % 2 == 0


def chain():
    """Return the model in the full space."""
    lower = [tls_lowering(SITES, x) for x in range(SITES)]
    bonds = [lower[x].T @ lower[x + 1] for x in range(SITES - 1)]
    numbers = [tls_number(SITES, x) for x in range(SITES)]
    levels = np.eye(2)
    start = np.ones(1)
    for filled in FILLED:
        start = np.kron(start, levels[int(filled)])
    return Model(
        name="XX chain",
        hamiltonian=sum(b + b.T for b in bonds),
        dissipators=[
            *(Dissipator(n, DEPHASING, name="dephasing") for n in numbers),
            *(Dissipator(lower[x], LOSS, name="loss") for x in (0, SITES - 1)),
        ],
        initial=start,
        observables={f"n{x}": n for x, n in enumerate(numbers)},
    )


def exact(full):
    r"""Return the populations C_xx, C_xy = <c_y^dag c_x>.

    C' = -i[h, C] - {loss, C}/2 - DEPHASING (C - diag C); the loss of the last site
    carries a Jordan-Wigner string, which squares to one here.
    """
    h = np.eye(SITES, k=1) + np.eye(SITES, k=-1)
    loss = np.zeros((SITES, SITES))
    loss[0, 0] = loss[-1, -1] = LOSS
    one = np.eye(SITES)
    flow = -1j * h - loss / 2
    generator = np.kron(flow, one) + np.kron(one, flow.conj())
    diagonal = np.eye(SITES).ravel()
    generator = generator - DEPHASING * np.diag(1 - diagonal)
    start = np.diag(FILLED.astype(complex)).ravel()
    step = scipy.linalg.expm(generator * (TIMES[1] - TIMES[0]))
    curves = [start]
    for _ in TIMES[1:]:
        curves.append(step @ curves[-1])
    return np.array([c.reshape(SITES, SITES).diagonal().real for c in curves]).T


def participants(full):
    """Return stochq and QuTiP, with its default integrator and its fastest."""
    model, peers = chain(), 200 if full else 64
    return [
        stochq_jumps(model, TIMES, 500),
        *qutip_jumps(model, TIMES, peers, layer="CSR"),
        *qutip_jumps(
            model, TIMES, peers, layer="CSR", note="tsit5", options={"method": "tsit5"}
        ),
    ]
