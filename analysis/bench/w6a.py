"""Jumps: 1000 two-level systems that are excited together, d = 1001, t = 10.

c = S_+/sqrt(N) from the coherent state on the equator: about 500 jumps each, and
populations that the exact classical cascade gives. QuTiP's defaults give up on this
workload; the settings here are the cheapest found that finish.
"""

import numpy as np
from dicke import collective, ladder
from peers import qutip_jumps, stochq_jumps

TIMES = np.linspace(0, 10, 11)
MODEL = collective(1000, [1, 0, 0], drive=0.0)
FINER = {"norm_steps": 200, "norm_t_tol": 1e-9}


def exact(full):
    return ladder(MODEL, TIMES)


def participants(full):
    """Return stochq and QuTiP."""
    return [
        stochq_jumps(MODEL, TIMES, 500 if full else 128),
        *qutip_jumps(MODEL, TIMES, 100 if full else 24, layer="Dia", options=FINER),
    ]
