"""One small run of every kind there is, shared by the tests of equality."""

import numpy as np
from analytic import LOWER, SX, SZ, dephased_pair

from stochq.model import Dissipator, Model, WhiteNoise
from stochq.schemes import Heun, Strang
from stochq.simulation import simulate
from stochq.unravelings import Heterodyne, Homodyne, Jump, Kicks, Projections

TIMES = [0, 0.4, 1]

HYBRID = Model(
    hamiltonian=SX,
    noise=WhiteNoise([SX, SZ], covariance=[[0.3, 0.1], [0.1, 0.2]], name="field"),
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=np.array([[0.6, 0.1j], [-0.1j, 0.4]]),
    observables={"x": SX, "z": SZ},
)
NOISY = Model(
    hamiltonian=SZ,
    noise=WhiteNoise([SX, SZ], rate=0.4, name="field"),
    initial=[0.6, 0.8],
    observables={"x": SX, "z": SZ},
)
FERMIONS = dephased_pair().model

RUNS = {
    "hybrid": (HYBRID, {"scheme": Strang(0.2)}),
    "explicit": (NOISY, {"scheme": Heun(0.1)}),
    "fermions": (FERMIONS, {"scheme": Strang(0.2)}),
    "kicks": (FERMIONS, {"unraveling": {"first": Kicks(), "second": Kicks()}}),
    "projections": (
        FERMIONS,
        {"unraveling": {"first": Projections(), "second": Projections()}},
    ),
    "measured": (
        FERMIONS,
        {
            "unraveling": {"first": Jump(), "second": Homodyne(phase=0.3)},
            "scheme": Strang(0.2),
        },
    ),
    "default": (NOISY, {}),
    "monitored": (
        HYBRID,
        {"scheme": Strang(0.2), "unraveling": {"decay": Homodyne(phase=0.3)}},
    ),
    "conditioned": (
        HYBRID,
        {"scheme": Strang(0.2), "unraveling": {"decay": Heterodyne(efficiency=0.4)}},
    ),
}


def run(name, n_traj, seed, **how):
    model, choice = RUNS[name]
    return simulate(model, TIMES, n_traj=n_traj, seed=seed, **choice, **how)
