"""Put one model under every unraveling and compare means, spreads and verdicts.

    python analysis/unravelings.py [--n-traj N] [--seed S] [--n-jobs K] [--save FOLDER]

takes two two-level systems in two baths (document 002), with dissipative coupling and
dephasing, and writes unravelings.csv (verdict, largest deviation, spread and step bias
of each unraveling against one master equation) and unravelings.png into FOLDER.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from provenance import header
from scipy.linalg import hadamard

from stochq import (
    Averaged,
    Dissipator,
    Ensemble,
    Heterodyne,
    Homodyne,
    Jump,
    Kicks,
    Model,
    Projections,
    Reference,
    UnitaryNoise,
    master_equation,
    simulate,
    verify,
)
from stochq.documents import thermal_pair
from stochq.files import write_figure

ROOT = Path(__file__).parents[1]
TIMES = np.linspace(0.0, 3.0, 13)

BATHS = ("bath A", "bath B")

UNRAVELINGS = {
    "jumps": {},
    "jumps, shifted": {BATHS: Jump(shift=0.7)},
    "jumps, mixed": {BATHS: Jump(mixing=hadamard(4) / 2)},
    "homodyne": {BATHS: Homodyne()},
    "homodyne, other quadrature": {BATHS: Homodyne(phase=np.pi / 2)},
    "homodyne, efficiency 0.3": {BATHS: Homodyne(efficiency=0.3)},
    "heterodyne": {BATHS: Heterodyne()},
    "unitary coupling noise": {"coupling": UnitaryNoise()},
    "dephasing by noise": {"dephasing": UnitaryNoise()},
    "dephasing by kicks": {"dephasing": Kicks()},
    "dephasing by projections": {"dephasing": Projections()},
    "baths averaged, coupling noise": {
        BATHS: Averaged(),
        "coupling": UnitaryNoise(),
        "dephasing": Averaged(),
    },
    "all together": {
        "bath A": Heterodyne(),
        "coupling": UnitaryNoise(),
        "dephasing": Kicks(),
    },
}


def pair() -> Model:
    """Return the pair of document 002 with dephasing of A, from a superposition."""
    base = thermal_pair(coupling="dissipators", epsilon=0.5)
    lower = np.kron([[0, 1], [0, 0]], np.eye(2))  # a; |-> comes first
    number = lower.T @ lower
    return Model(
        hamiltonian=base.hamiltonian,
        dissipators=[*base.dissipators, Dissipator(number, 0.8, name="dephasing")],
        initial=[0.6, 0.0, 0.8, 0.0],
        observables={
            "n_A": base.observables["n_A"],
            "n_B": base.observables["n_B"],
            "a + a+": lower + lower.T,
        },
        name="thermal pair with dephasing",
    )


def compared(n_traj: int, seed: int, n_jobs: int) -> tuple[dict, Reference]:
    """Return an ensemble for every unraveling, and the master equation."""
    model = pair()
    ensembles = {
        label: simulate(
            model, TIMES, n_traj=n_traj, seed=seed + k, n_jobs=n_jobs, unraveling=choice
        )
        for k, (label, choice) in enumerate(UNRAVELINGS.items())
    }
    return ensembles, master_equation(model, TIMES)


def table(ensembles: dict[str, Ensemble], reference: Reference) -> pd.DataFrame:
    """Return one row for every unraveling."""
    rows = []
    for label, ensemble in ensembles.items():
        verdict = verify(ensemble, reference)
        spread = dict(zip(ensemble.names, ensemble.sd.max(axis=1), strict=True))
        rows.append(
            {
                "unraveling": label,
                "verdict": verdict.status,
                "p": verdict.p_value,
                **{f"sd {name}": sd for name, sd in spread.items()},
                "scheme": repr(ensemble.scheme),
                "seconds": ensemble.provenance["wall_seconds"],
            }
        )
    return pd.DataFrame(rows)


def draw(ensembles: dict[str, Ensemble], reference: Reference, save: Path) -> None:
    """Draw means with error bars above, spreads of one trajectory below."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, len(reference.names), sharex=True)
    for o, name in enumerate(reference.names):
        means, spreads = axes[0, o], axes[1, o]
        for k, (label, ensemble) in enumerate(ensembles.items()):
            shift = (k / len(ensembles) - 0.5) * 0.15  # so that error bars stay apart
            means.errorbar(
                TIMES + shift,
                ensemble.mean[o],
                2 * ensemble.mcse[o],
                fmt=".",
                ms=3,
                color=f"C{k % 10}",
            )
            spreads.plot(
                TIMES,
                ensemble.sd[o],
                "-" if k < 10 else "--",
                color=f"C{k % 10}",
                label=label if o == 0 else None,
            )
        means.plot(TIMES, reference.values[o], "k-", lw=1, zorder=0)
        means.set_title(name)
        spreads.set_xlabel("time [1/Γ]")
    axes[0, 0].set_ylabel("mean, 2 standard errors")
    axes[1, 0].set_ylabel("sd of one trajectory")
    figure.legend(loc="outside right center")
    figure.suptitle("One master equation (black), many unravelings")
    write_figure(save, figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-traj", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--save", type=Path, default=ROOT / "out" / "unravelings")
    args = parser.parse_args()
    ensembles, reference = compared(args.n_traj, args.seed, args.n_jobs)
    frame = table(ensembles, reference)
    lines = header(
        f"python analysis/unravelings.py --n-traj {args.n_traj} --seed {args.seed}",
        f"seed: {args.seed} and following, trajectories: {args.n_traj} each",
    )
    text = frame.to_csv(index=False, float_format="%.4g", lineterminator="\n")
    args.save.mkdir(parents=True, exist_ok=True)
    (args.save / "unravelings.csv").write_text("\n".join([*lines, text]))
    draw(ensembles, reference, args.save / "unravelings.png")
    print(frame.to_string(index=False, float_format="%.3g"))
    return 0 if (frame["verdict"] == "pass").all() else 1


if __name__ == "__main__":
    sys.exit(main())
