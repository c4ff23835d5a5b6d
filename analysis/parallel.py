"""Time runs with one worker and with two, turn by turn.

    python analysis/parallel.py [--seconds 12] [--repeats 3] [--out analysis/results]

Every model runs at two lengths: short (a few hundredths of a second) and long (about
`--seconds` with one worker). The table says by what factor two workers are faster, and
who they were. Means must be the same to the last bit. Writes OUT/parallel.csv.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import header

from stochq import Dissipator, Model, Strang, WhiteNoise, plan, simulate
from stochq.documents import dephased_fermions, noisy_chain

X, Z, LOWER = np.array([[0, 1], [1, 0]]), np.diag([1, -1]), [[0, 0], [1, 0]]
RING = np.roll(np.eye(20), 1, axis=0) + np.roll(np.eye(20), -1, axis=0)
TIMES = np.linspace(0, 4, 41)


def qubit(noise):
    """Return a driven qubit that decays, with noise or without."""
    return Model(
        hamiltonian=X,
        noise=[WhiteNoise([X, Z], rate=0.3, name="field")] if noise else [],
        dissipators=Dissipator(LOWER, 0.7, name="decay"),
        initial=[1, 0],
        observables={"x": X, "z": Z},
    )


def participation(kets):
    """Return the inverse participation ratio, in a Python loop."""
    return np.array([1 / sum(abs(a) ** 4 for a in ket) for ket in kets])


def workloads():
    """Return what is timed: a name, a model, and how it is run."""
    return {
        "jumps": (qubit(False), {}),
        "jumps and noise": (qubit(True), {"scheme": Strang(0.1)}),
        "noise on a chain of 8": (noisy_chain(n_sites=8), {"scheme": Strang(0.05)}),
        "free fermions": (
            dephased_fermions(RING, range(20), occupations=[1, 0] * 10),
            {"scheme": Strang(0.1)},
        ),
        "a function in Python": (qubit(False), {"functions": {"f": participation}}),
    }


def turn(model, how, n_traj, n_jobs):
    """Return the seconds of one run, its means, and who ran it."""
    start = time.perf_counter()
    run = simulate(model, TIMES, n_traj=n_traj, seed=1, n_jobs=n_jobs, **how)
    return time.perf_counter() - start, run.mean, run.provenance["workers"]


def measure(name, model, how, seconds, repeats):
    """Return one row of the table."""
    each = plan(model, TIMES, n_traj=1024, **how).seconds_per_trajectory
    n_traj = max(128, int(seconds / each) // 64 * 64)
    spent = {1: [], 2: []}
    for _ in range(repeats):
        found = {}
        for n_jobs in spent:
            took, found[n_jobs], workers = turn(model, how, n_traj, n_jobs)
            spent[n_jobs].append(took)
        assert found[1].tobytes() == found[2].tobytes()
    one, two = (np.median(spent[n_jobs]) for n_jobs in (1, 2))
    ratios = np.array(spent[1]) / np.array(spent[2])
    return {
        "model": name,
        "n_traj": n_traj,
        "seconds_1": one,
        "seconds_2": two,
        "ratio": np.median(ratios),
        "lowest": ratios.min(),
        "highest": ratios.max(),
        "workers": workers,
    }


def main():
    """Run the study and write its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("analysis/results"))
    args = parser.parse_args()
    rows = []
    for seconds, repeats in ((0.03, 15), (args.seconds, args.repeats)):
        for name, (model, how) in workloads().items():
            turn(model, how, 128, 2)  # compile
            rows.append(measure(name, model, how, seconds, repeats))
            row = pd.DataFrame(rows[-1:])
            print(
                row.to_string(index=False, header=len(rows) == 1, float_format="%.3g")
            )
    command = f"python analysis/parallel.py --seconds {args.seconds:g}"
    lines = header(f"{command} --repeats {args.repeats}", "seed: 1")
    table = pd.DataFrame(rows).to_csv(index=False, float_format="%.4g")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "parallel.csv").write_text("\n".join([*lines, table]))


if __name__ == "__main__":
    main()
