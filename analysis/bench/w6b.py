"""Jumps: driven two-level systems that are excited together, H = S_x/2, t = 2.

c = S_+/sqrt(N) from the coherent state along y; N = 1000 (`--full`) or 200, for which
the exact average, an equation for N^2 elements, takes seconds and not minutes.
"""

from functools import cache

import numpy as np
from dicke import collective
from peers import qutip_jumps, stochq_jumps

from stochq import master_equation

TIMES = np.linspace(0, 2, 11)
FINER = {"norm_steps": 200, "norm_t_tol": 1e-9}


@cache
def model(full):
    """Return the model at its size."""
    return collective(1000 if full else 200, [0, 1, 0], drive=0.5)


def exact(full):
    return master_equation(model(full), TIMES, sensitivity=False).values


def participants(full):
    """Return stochq and QuTiP."""
    return [
        stochq_jumps(model(full), TIMES, 256),
        *qutip_jumps(model(full), TIMES, 32, layer="Dia", options=FINER),
    ]
