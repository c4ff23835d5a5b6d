"""Runs of every kind that a checkpoint may hold, small enough to be run many times."""

from functools import cache
from pathlib import Path

import numpy as np
from bits import bits

from stochq import (
    Bins,
    Dissipator,
    Ensemble,
    Exact,
    Heterodyne,
    Heun,
    Homodyne,
    Jump,
    Kicks,
    Model,
    Occupations,
    SquaredModulus,
    Strang,
    WhiteNoise,
    simulate,
)
from stochq.extras import as_extras
from stochq.running.stopping import Goal
from stochq.setting import Setting, setting_of

TIMES = [0, 0.4, 1]

LOWER = np.array([[0, 1], [0, 0]])
SX, SZ = np.array([[0, 1], [1, 0]]), np.diag([1.0, -1.0])
FIRST, SECOND = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])

HYBRID = Model(
    hamiltonian=SX,
    noise=WhiteNoise([SX, SZ], covariance=[[0.3, 0.1], [0.1, 0.2]], name="field"),
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=[0.6, 0.8j],
    observables={"x": SX, "z": SZ},
)
MIXED = Model(
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
#: Explicit steps that are far too long: some trajectories overflow.
WILD = Model(
    hamiltonian=3 * SX,
    noise=WhiteNoise(SZ, rate=2e4, name="field"),
    initial=[0.6, 0.8],
    observables={"x": SX, "z": SZ},
)
FERMIONS = Model(
    hamiltonian=-SX,
    dissipators=[
        Dissipator(FIRST, 0.9, name="first"),
        Dissipator(SECOND, 0.5, name="second"),
    ],
    initial=Occupations([1, 0]),
    observables={"n1": FIRST, "n2": SECOND},
)

RUNS = {
    "all extras": (
        HYBRID,
        {
            "scheme": Strang(0.2),
            "functions": {"x2": SquaredModulus(SX)},
            "histograms": [Bins("z", times=[0.4, 1.0]), Bins("x2")],
            "states": [0.4, 1.0],
            "keep_jumps": 3,
        },
    ),
    "mixed": (MIXED, {"scheme": Strang(0.2), "states": True, "keep_jumps": 2}),
    "explicit": (NOISY, {"scheme": Heun(0.1), "histograms": Bins("x")}),
    "fermions": (FERMIONS, {"scheme": Strang(0.2), "states": [1.0]}),
    "kicks": (
        FERMIONS,
        {"unraveling": {"first": Kicks(), "second": Kicks()}, "scheme": Exact()},
    ),
    "measured": (
        FERMIONS,
        {
            "unraveling": {"first": Jump(), "second": Homodyne(phase=0.3)},
            "scheme": Strang(0.2),
            "keep_signals": True,
            "keep_jumps": 1,
        },
    ),
    "conditioned": (
        HYBRID,
        {
            "scheme": Strang(0.2),
            "unraveling": {"decay": Heterodyne(efficiency=0.4)},
            "keep_signals": True,
            "states": [1.0],
        },
    ),
    "failing": (WILD, {"scheme": Heun(0.01)}),
}


def run(name: str, n_traj: int | None = None, seed: int = 1, **how) -> Ensemble:
    model, choice = RUNS[name]
    return simulate(model, TIMES, n_traj=n_traj, seed=seed, **choice, **how)


@cache
def plain(name: str, n_traj: int, seed: int = 1) -> dict[str, bytes]:
    """Return every number of a run that nothing interrupted and nobody kept."""
    return bits(run(name, n_traj, seed))


def block_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("trajectories-*.npz"))


def setting(name: str, seed: int = 1) -> Setting:
    """Return a run made ready, for what works below `simulate`."""
    model, choice = RUNS[name]
    keys = ("functions", "histograms", "states", "keep_jumps")
    asked = [choice.get(key) for key in keys]
    signals = choice.get("keep_signals", False)
    extras = as_extras(model, *asked, signals, False)
    unraveling, scheme = choice.get("unraveling"), choice["scheme"]
    return setting_of(model, TIMES, seed, unraveling, extras, scheme, Goal())
