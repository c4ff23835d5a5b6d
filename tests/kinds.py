"""One small run of every kind there is, shared by the tests of equality."""

from analytic import dephased_pair
from checkpoint_runs import MIXED as HYBRID
from checkpoint_runs import NOISY

from stochq.schemes import Heun, Strang
from stochq.simulation import simulate
from stochq.unravelings import Heterodyne, Homodyne, Jump, Kicks, Projections

TIMES = [0, 0.4, 1]

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
