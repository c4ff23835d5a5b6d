"""Check that no seed is special: the whole quick suite of claims at many seeds.

    python analysis/seeds.py [--seeds 50] [--first 1] [--n-jobs 1] [--save PATH]

checks all claims at the seeds first, first + 1, ... and adds a row for each to
analysis/results/seeds.csv as it goes; the same command goes on after an interruption.
A reading is true where the recorded outcomes say so: a correction, or the document's
own where a claim holds. Each row has the smallest p-value of a true reading, the same
adjusted for the whole run by Holm's method, and how many true readings it rejects.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import header
from scipy import stats

from stochq.claims import (
    FAMILY_ALPHA,
    Claim,
    Result,
    check_claim,
    count_readings,
    judge_together,
)
from stochq.documents import all_claims
from stochq.evidence.family import holm_adjusted

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "seeds.csv"

SEEDS, FIRST = 50, 1

#: Probability with which a suite that keeps its level is blamed.
BLAME = 1e-3


def readings(results: Sequence[Result]) -> tuple[np.ndarray, np.ndarray]:
    """Return the p-value of every reading of a run, and whether it is true."""
    found = [
        (verdict.p_value, reading.says == "correction" or r.claim.expected == "holds")
        for r in results
        for finding in r.findings
        for reading, verdict in zip(
            finding.case.readings, finding.verdicts, strict=True
        )
    ]
    p, true = zip(*found, strict=True)
    return np.array(p), np.array(true)


def row_of(seed: int, results: Sequence[Result], seconds: float) -> dict:
    """Return the row of one seed."""
    p, true = readings(results)
    adjusted = holm_adjusted(p)[true]
    return {
        "seed": seed,
        "claims": len(results),
        "as_recorded": sum(result.as_recorded for result in results),
        "readings": p.size,
        "true_readings": int(true.sum()),
        "smallest_p": float(p[true].min()),
        "adjusted_p": float(adjusted.min()),
        "false_alarms": int((adjusted < FAMILY_ALPHA).sum()),
        "false_passed": int((holm_adjusted(p)[~true] >= FAMILY_ALPHA).sum()),
        "not_as_recorded": " ".join(r.claim.id for r in results if not r.as_recorded),
        "seconds": round(seconds, 1),
    }


def run(seed: int, claims: Sequence[Claim], n_jobs: int) -> dict:
    """Check all claims at one seed."""
    start = time.perf_counter()
    alpha = FAMILY_ALPHA / count_readings(claims)
    results = [
        check_claim(claim, seed=seed, n_jobs=n_jobs, alpha=alpha, progress=False)
        for claim in claims
    ]
    return row_of(seed, judge_together(results), time.perf_counter() - start)


def done(path: Path) -> set[int]:
    """Return the seeds that a table has."""
    return set(pd.read_csv(path, comment="#")["seed"]) if path.exists() else set()


def append(path: Path, row: dict, command: str) -> None:
    """Add a row to a table, and what makes rows from here on where that is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.exists() else ""
    made = header(command)
    if made[1] not in text.splitlines():
        text += "\n".join([*made, ""])
    first = not any(line.startswith("seed,") for line in text.splitlines())
    line = pd.DataFrame([row]).to_csv(
        index=False, header=first, float_format="%.6g", lineterminator="\n"
    )
    path.write_text(text + line)


def summary(table: pd.DataFrame) -> str:
    """Say how often a whole run has a false alarm, and how its p-values fall."""
    n, alarms = len(table), int((table["false_alarms"] > 0).sum())
    chance = stats.binom.sf(alarms - 1, n, FAMILY_ALPHA)
    small = stats.kstest(table["adjusted_p"], "uniform", alternative="greater")
    recorded = int((table["as_recorded"] == table["claims"]).sum())
    return (
        f"{n} seeds: {alarms} with a false alarm, {n * FAMILY_ALPHA:.2g} expected at "
        f"most (probability of so many {chance:.2g}); adjusted p-values too small with "
        f"KS {small.statistic:.3f}, p {small.pvalue:.2g}; "
        f"{recorded} with all claims as recorded"
    )


def acceptable(table: pd.DataFrame) -> bool:
    """Tell whether false alarms are within chance, and p-values not too small."""
    alarms = int((table["false_alarms"] > 0).sum())
    chance = stats.binom.sf(alarms - 1, len(table), FAMILY_ALPHA)
    small = stats.kstest(table["adjusted_p"], "uniform", alternative="greater").pvalue
    return bool(min(chance, small) >= BLAME)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--save", type=Path, default=SAVE)
    args = parser.parse_args()
    claims = all_claims()
    command = f"python analysis/seeds.py --seeds {args.seeds} --first {args.first}"
    wanted = range(args.first, args.first + args.seeds)
    there = done(args.save)
    for seed in wanted:
        if seed not in there:
            row = run(seed, claims, args.n_jobs)
            append(args.save, row, command)
            print(row, flush=True)
    table = pd.read_csv(args.save, comment="#")
    table = table[table["seed"].isin(wanted)]
    print(summary(table))
    return 0 if acceptable(table) else 1


if __name__ == "__main__":
    sys.exit(main())
