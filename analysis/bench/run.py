"""Time stochq and its peers on the same workload, in one process, turn by turn.

    python analysis/bench/run.py [W1 ...] [--full] [--repeats 3] [--out DIR]

Every participant's means are compared with the exact average; the table says by how
many of their standard errors they are off, and how large the step bias is. The spread
of one trajectory is at least what the first participant saw: the few trajectories of a
slow one may all have missed the same rare event. Sizes are such that everything ends in
a few minutes; `--full` takes the published ones.
Participants that are not installed are left out with a word. Writes
DIR/bench_<workload>.csv.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import w1
import w2
import w3
import w6a
import w6b

WORKLOADS = {"W1": w1, "W2": w2, "W3": w3, "W6a": w6a, "W6b": w6b}


def timed(participant, repeats_left):
    """Return seconds and the result of one turn."""
    start = time.perf_counter()
    result = participant.run(seed=repeats_left)
    return time.perf_counter() - start, result


def errors_of(participant, error, first, first_error):
    """Return standard errors, no smaller than the first participant's would be."""
    known = first_error * np.sqrt(first.n_traj / participant.n_traj)
    return np.maximum(error, known)


def measure(workload, repeats, full):
    """Return a table, one row per participant; turns alternate, medians count."""
    participants = workload.participants(full)
    for participant in participants:
        participant.run(seed=0)  # compile, import, fill caches
    seconds = {p.name: [] for p in participants}
    results = {}
    for turn in range(repeats):
        for p in participants:
            spent, results[p.name] = timed(p, turn + 1)
            seconds[p.name].append(spent)
    exact = workload.exact(full)
    first = participants[0]
    rows = []
    for p in participants:
        mean, error = results[p.name]
        error = errors_of(p, error, first, results[first.name][1])
        off = np.abs(mean - exact)[:, 1:] / np.maximum(error[:, 1:], 1e-300)
        median = float(np.median(seconds[p.name]))
        rows.append(
            {
                "participant": p.name,
                "n_traj": p.n_traj,
                "median_s": median,
                "traj_per_s": p.n_traj / median,
                "slowest_over_fastest": max(seconds[p.name]) / min(seconds[p.name]),
                "off_in_errors": float(off.max()),
                "largest_error": float(error.max()),
                "step_bias": p.bias,
            }
        )
    table = pd.DataFrame(rows)
    table["times_slower"] = table["traj_per_s"].iloc[0] / table["traj_per_s"]
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", help=f"default: {' '.join(WORKLOADS)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="published sizes")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    for name in args.workloads or WORKLOADS:
        if name not in WORKLOADS:
            known = ", ".join(WORKLOADS)
            print(f"bench: error: unknown workload {name!r}; known: {known}",
                  file=sys.stderr)  # fmt: skip
            return 2
        table = measure(WORKLOADS[name], max(1, args.repeats), args.full)
        args.out.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out / f"bench_{name}.csv", index=False)
        print(f"{name}: {WORKLOADS[name].__doc__.splitlines()[0]}")
        print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
