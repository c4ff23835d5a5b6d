"""Measure the strong and weak order of every scheme and write them as a table.

    python analysis/orders.py [--n-traj N] [--seed S] [--n-jobs K] [--save PATH]

writes analysis/results/orders.csv: for every scheme, built-in problem and kind of error
the measured order with its standard error, the declared one, and what was found: they
agree, differ, or are unresolved because too few levels count; or the scheme is exact.
Lines that start with # say what made it.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from provenance import header

from stochq.errors import SchemeMismatchError
from stochq.orders import Convergence, ErrorCurve, convergence
from stochq.problems import Problem, all_problems
from stochq.schemes import SCHEMES, Heun, Richardson, Scheme, Strang

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "analysis" / "results" / "orders.csv"

#: The largest of six steps, so that the path has cells of 2^-12.
DT = 0.25

#: Largest standard error of an order that tells 1/2 from 1.
WIDEST = 0.1


def schemes() -> list[Scheme]:
    return [
        *(scheme(dt=DT) for scheme in SCHEMES),
        Richardson(Heun(dt=DT)),
        Richardson(Strang(dt=DT)),
    ]


def outcome(curve: ErrorCurve) -> str:
    """Return what a curve says about the declared order."""
    if curve.exact:
        return "exact"
    if not curve.agrees:
        return "DIFFERS"
    return "agrees" if curve.slope_error <= WIDEST else "unresolved"


def rows_of(study: Convergence) -> list[dict[str, object]]:
    """Return one row per kind of error; sampled means only where no exact are known."""
    curves = dict(study.curves)
    if study.weak is not None:
        curves.pop("weak, sampled", None)
    rows = []
    for kind, curve in curves.items():
        row = {
            "scheme": repr(study.scheme),
            "problem": study.model,
            "kind": kind,
            "order": curve.slope,
            "error": curve.slope_error,
            "declared": curve.declared,
            "z": curve.z,
            "levels": int(curve.used.sum()),
            "smallest_error": curve.errors.min(),
            "found": outcome(curve),
        }
        rows.append(row)
    return rows


def study(problem: Problem, scheme: Scheme, n_traj: int, seed: int, n_jobs: int = 1):
    """Return the rows of one scheme on one problem; none where it refuses."""
    try:
        found = convergence(
            problem.model,
            problem.times,
            scheme,
            n_traj=n_traj,
            seed=seed,
            n_jobs=n_jobs,
            progress=False,
        )
    except SchemeMismatchError:
        return []
    return rows_of(found)


def study_all(n_traj: int, seed: int, n_jobs: int = 1) -> pd.DataFrame:
    """Return the measured orders of every scheme on every problem."""
    rows = []
    for problem in all_problems():
        for scheme in schemes():
            rows += study(problem, scheme, n_traj, seed, n_jobs)
    return pd.DataFrame(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-traj", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--save", type=Path, default=TABLE)
    args = parser.parse_args()
    frame = study_all(args.n_traj, args.seed, args.n_jobs)
    lines = header(
        f"python analysis/orders.py --n-traj {args.n_traj} --seed {args.seed}",
        f"seed: {args.seed}, trajectories: {args.n_traj}, dt: {DT} halved 5 times",
    )
    text = frame.to_csv(index=False, float_format="%.4g", lineterminator="\n")
    args.save.parent.mkdir(parents=True, exist_ok=True)
    args.save.write_text("\n".join([*lines, text]))
    print(frame.to_string(index=False, float_format="%.3g"))
    return 0 if frame["found"].isin(["agrees", "exact"]).all() else 1


if __name__ == "__main__":
    sys.exit(main())
