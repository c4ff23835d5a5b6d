"""Check that multilevel estimates keep the root mean square error that was asked for.

    python analysis/mlmc_coverage.py [--runs 200] [--seed 1] [--save PATH]

runs each case many times with independent seeds, compares every mean with the master
equation, and writes one row per case to analysis/results/mlmc_coverage.csv: the root
mean square of the true errors at the worst observable and time in units of the
tolerance (1 or less, within the noise of that many runs), and what was saved.
"""

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import commit
from scipy.stats import chi2

from stochq import Dissipator, Heun, Model, Strang, WhiteNoise, master_equation
from stochq.files import write_table
from stochq.mlmc import simulate_mlmc
from stochq.schemes import Scheme
from stochq.streams import child_seed

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "mlmc_coverage.csv"

RUNS, SEED = 200, 1

#: Probability with which an estimate that keeps its tolerance exactly is blamed.
ALPHA = 1e-3

TIMES = np.linspace(0, 2, 5)

SX = np.array([[0, 1], [1, 0]])
SY = np.array([[0, -1j], [1j, 0]])
SZ = np.diag([1.0, -1.0])
LOWER = np.array([[0, 1], [0, 0]])

DRIVEN = Model(
    hamiltonian=0.9 * SX + 0.3 * SZ,
    noise=WhiteNoise(SZ, rate=0.6, name="phase"),
    initial=[1, 0],
    observables={"x": SX, "y": SY, "z": SZ},
)
HYBRID = Model(
    hamiltonian=SX,
    noise=WhiteNoise([SX, SZ], covariance=[[0.3, 0.1], [0.1, 0.2]], name="field"),
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=np.array([[0.6, 0.1j], [-0.1j, 0.4]]),
    observables={"x": SX, "z": SZ},
)


@dataclass(frozen=True)
class Case:
    """A model, what integrates it, and the error asked for."""

    label: str
    model: Model
    scheme: Scheme
    tolerance: float


CASES = (
    Case("driven qubit", DRIVEN, Heun(0.1), 4e-3),
    Case("driven qubit, small error", DRIVEN, Heun(0.1), 2e-3),
    Case("driven qubit", DRIVEN, Strang(0.5), 4e-3),
    Case("two noises and decay by jumps", HYBRID, Strang(0.25), 8e-3),
)


def coverage(case: Case, runs: int = RUNS, seed: int = SEED) -> dict[str, object]:
    """Return the true errors of many estimates of one case, and their costs.

    All errors are in units of the tolerance, at the observable and time where their
    root mean square is largest; `limit` is what it exceeds with probability ALPHA if
    it is 1 at every point.
    """
    truth = master_equation(case.model, TIMES).values
    estimates = [
        simulate_mlmc(
            case.model,
            TIMES,
            tolerance=case.tolerance,
            seed=child_seed(seed, run),
            scheme=case.scheme,
            progress=False,
        )
        for run in range(runs)
    ]
    errors = np.array([e.mean - truth for e in estimates]) / case.tolerance
    claimed = np.array([e.rmse.max() for e in estimates]) / case.tolerance
    rms = np.sqrt(np.square(errors).mean(axis=0))
    worst = np.unravel_index(rms.argmax(), rms.shape)
    o, t = (int(k) for k in worst)
    points = int((rms > 0).sum())
    return {
        "case": case.label,
        "scheme": repr(case.scheme),
        "tolerance": case.tolerance,
        "runs": runs,
        "rms_error": float(rms[worst]),
        "limit": float(np.sqrt(chi2.isf(ALPHA / points, runs) / runs)),
        "observable": estimates[0].names[o],
        "time": float(TIMES[t]),
        "mean_error": float(errors[(slice(None), *worst)].mean()),
        "claimed": float(claimed.mean()),
        "levels": float(np.mean([len(e.levels) for e in estimates])),
        "cost": float(np.mean([e.cost for e in estimates])),
        "plain_cost": float(np.mean([e.plain.cost for e in estimates])),
        "saving": float(np.median([e.saving for e in estimates])),
        "saving_seconds": float(np.median([e.saving_seconds for e in estimates])),
        "warned": float(np.mean([bool(e.warnings) for e in estimates])),
        "telescoping_failed": float(
            np.mean([any("telescoping" in w for w in e.warnings) for e in estimates])
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--save", type=Path, default=SAVE)
    args = parser.parse_args()
    frame = pd.DataFrame([coverage(case, args.runs, args.seed) for case in CASES])
    frame["seed"] = args.seed
    frame["command"] = (
        f"python analysis/mlmc_coverage.py --runs {args.runs} --seed {args.seed}"
    )
    frame["commit"] = commit()
    frame["date"] = datetime.now(UTC).date().isoformat()
    args.save.parent.mkdir(parents=True, exist_ok=True)
    write_table(args.save, frame, "%.6g")
    print(args.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
