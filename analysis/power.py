"""Check that the power of a verdict is what it says: how small a wrong rate it catches.

    OPENBLAS_NUM_THREADS=1 python analysis/power.py [--seeds 200] [--seed 1] [...]

judges ensembles of every class of models by references in which one named rate is off
by 0.5, 1, 2, 5 and 10 %, and by what should be caught in one half and in 99 % of all
cases. It counts how many fail at alpha = 1e-3, and writes one row per class, rate and
size to analysis/results/power.csv, with a figure beside it. The power that the verdict
itself predicts is that of the rate's own score,

    P = Phi((|x| - allowed) / error - critical_z),

and its `detectable_rate` is the x with P = 0.99. Other scores and points of the same
verdict may catch the fault, too: the power found must not be less than the power
predicted. `detectable_found` is the error at which the power found is 99 %.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from model_classes import CLASSES, ModelClass
from provenance import header, save_table
from scipy import stats
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr, ndtri

from stochq import Ensemble, Reference, Verdict, verify
from stochq.streams import child_seed

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "power.csv"

SEEDS, SEED = 200, 1
ALPHA, POWER = 1e-3, 0.99

#: Relative errors of a rate.
SIZES = (0.005, 0.01, 0.02, 0.05, 0.1)

#: Probability with which a power as predicted is blamed, for one row.
BLAME = 1e-4

#: A power may be less by this much: the law of a score has a little more tail than a
#: normal one, since its error is measured, too.
SLACK = 0.02


#: Catches and misses that keep a fit finite where all or none are caught.
PRIOR = 0.01

#: Faults with a predicted power closer to 0 or 1 than this get a quarter of the seeds.
SURE = 1e-4


#: A rate's name, and its relative error in the reference.
Fault = tuple[str, float]


class Outcome(NamedTuple):
    """One ensemble against one wrong reference."""

    caught: bool
    predicted: float
    detectable: float


def true_error(size: float) -> float:
    """Return the rate's relative error as the reference sees it: true / wrong - 1."""
    return 1 / (1 + size) - 1


def seen_as(error: float) -> float:
    """Return the size of a fault that the reference sees as this error: its inverse."""
    return 1 / (1 - error) - 1


def score_of(verdict: Verdict, rate: str) -> tuple[float, float]:
    """Return the standard error of a rate's score and what it allows for."""
    spread = verdict.rate_error[rate][1]
    reach = verdict.critical_z + ndtri(POWER)
    return spread, verdict.detectable_rate[rate] - reach * spread


def predicted_power(verdict: Verdict, rate: str, error: float) -> float:
    """Return the power of the rate's own score, from the numbers of the verdict."""
    if rate not in verdict.rate_error:
        return 0.0
    spread, allowed = score_of(verdict, rate)
    return float(ndtr((abs(error) - allowed) / spread - verdict.critical_z))


def planned(case: ModelClass, seed: int, seeds: int) -> dict[Fault, int]:
    """Return how many seeds each fault gets: every rate, by every size.

    Two more sizes are what half and what POWER of all ensembles should catch, read from
    the verdict on one more ensemble.
    """
    verdict = verify(case.ensemble(seed, case.large), case.reference(), alpha=ALPHA)
    plan = {}
    for rate in case.model.rate_names:
        spread, allowed = score_of(verdict, rate)
        printed = verdict.detectable_rate[rate]
        half = allowed + verdict.critical_z * spread
        marks = [seen_as(error) for error in (half, printed) if error < 1]
        for size in sorted([*SIZES, *marks]):
            predicted = predicted_power(verdict, rate, true_error(size))
            sure = not SURE < predicted < 1 - SURE
            plan[rate, size] = -(-seeds // 4) if sure else seeds
    return plan


def outcome(ensemble: Ensemble, wrong: Reference, rate: str, size: float) -> Outcome:
    """Judge an ensemble by a reference with one wrong rate."""
    verdict = verify(ensemble, wrong, alpha=ALPHA)
    return Outcome(
        verdict.p_value < ALPHA,
        predicted_power(verdict, rate, true_error(size)),
        verdict.detectable_rate.get(rate, np.inf),
    )


def outcomes(
    case: ModelClass, seed: int, wrong: Mapping[Fault, Reference]
) -> dict[Fault, Outcome]:
    """Judge one ensemble of the truth by all wrong references."""
    ensemble = case.ensemble(seed, case.large)
    return {fault: outcome(ensemble, r, *fault) for fault, r in wrong.items()}


def agrees(caught: int, seeds: int, predicted: float) -> bool:
    """Tell whether so many catches are not too few for the power predicted."""
    return bool(stats.binom.cdf(caught, seeds, max(predicted - SLACK, 0.0)) >= BLAME)


def detectable_found(sizes: np.ndarray, caught: np.ndarray, seeds: np.ndarray) -> float:
    r"""Return the error of a rate at which the power found is POWER.

    .. math:: P(x) = \Phi(a + b |x|)

    by maximum likelihood, with PRIOR catches and misses added to each size.
    """
    x = np.abs([true_error(size) for size in sizes])
    hits, misses = caught + PRIOR, seeds - caught + PRIOR

    def loss(line: np.ndarray) -> float:
        y = line[0] + line[1] * x / x.max()
        return -float(hits @ log_ndtr(y) + misses @ log_ndtr(-y))

    a, b = minimize(loss, [-1.0, 3.0], method="Nelder-Mead").x
    return float((ndtri(POWER) - a) / b * x.max())


def row_of(case: ModelClass, fault: Fault, mine: list[Outcome]) -> dict:
    """Return the row of one fault, with the outcomes of all seeds."""
    rate, size = fault
    seeds, caught = len(mine), sum(o.caught for o in mine)
    predicted = float(np.mean([o.predicted for o in mine]))
    low, high = stats.binomtest(caught, seeds).proportion_ci(0.95)
    return {
        "class": case.label,
        "rate": rate,
        "n_traj": case.large,
        "seeds": seeds,
        "size": size,
        "predicted": predicted,
        "found": caught / seeds,
        "low": float(low),
        "high": float(high),
        "not_less": agrees(caught, seeds, predicted),
        "detectable_rate": float(np.median([o.detectable for o in mine])),
    }


def power_rows(
    case: ModelClass, seeds: int = SEEDS, seed: int = SEED, n_jobs: int = 1
) -> list[dict]:
    """Return one row for each rate of a class and each size."""
    plan = planned(case, child_seed(seed, seeds), seeds)
    wrong = {fault: case.reference(*fault) for fault in plan}
    found = Parallel(n_jobs=n_jobs, batch_size="auto")(
        delayed(outcomes)(
            case,
            child_seed(seed, k),
            {fault: r for fault, r in wrong.items() if k < plan[fault]},
        )
        for k in range(seeds)
    )
    rows = [
        row_of(case, fault, [one[fault] for one in found if fault in one])
        for fault in plan
    ]
    for rate in case.model.rate_names:
        curve = [row for row in rows if row["rate"] == rate]
        sizes, shares, counts = (
            np.array([row[key] for row in curve]) for key in ("size", "found", "seeds")
        )
        reached = detectable_found(sizes, counts * shares, counts)
        for row in curve:
            row["detectable_found"] = reached
    return rows


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw the power found and predicted against the size, class by class."""
    import matplotlib.pyplot as plt

    labels = list(dict.fromkeys(table["class"]))
    columns = 4
    lines = -(-len(labels) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(12, 2.6 * lines), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis in axes.flat[len(labels) :]:
        axis.axis("off")
    for axis, label in zip(axes.flat, labels, strict=False):
        axis.set_title(label, fontsize=10)
        for k, (rate, curve) in enumerate(
            table[table["class"] == label].groupby("rate", sort=False)
        ):
            x, color = 100 * curve["size"], f"C{k}"
            below, above = curve["found"] - curve["low"], curve["high"] - curve["found"]
            axis.errorbar(
                x, curve["found"], [below, above], fmt="o", ms=4, color=color,
                label=rate,
            )  # fmt: skip
            axis.plot(x, curve["predicted"], color=color, lw=1)
            axis.axvline(100 * curve["detectable_rate"].iloc[-1], color=color, ls=":")
        axis.set_xscale("log")
        axis.legend(fontsize=7, loc="upper left")
    for axis in axes[-1]:
        axis.set_xlabel("error of the rate [%]")
    for axis in axes[:, 0]:
        axis.set_ylabel("share that fails")
    figure.suptitle(
        "found (points), predicted from the rate's own score (lines), "
        "printed for 99 % (dots)"
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="labels of classes; default: all")
    parser.add_argument("--save", type=Path, default=SAVE)
    args = parser.parse_args()
    command = f"python analysis/power.py --seeds {args.seeds} --seed {args.seed}"
    lines = header(
        command, f"seed: {args.seed}", f"alpha: {ALPHA:g}"
    )  # of the code that runs
    rows: list[dict] = []
    for case in CLASSES:
        if args.only and case.label not in args.only:
            continue
        more = power_rows(case, args.seeds, args.seed, args.n_jobs)
        print(pd.DataFrame(more).to_string(header=not rows, index=False), flush=True)
        rows += more
    table = pd.DataFrame(rows)
    save_table(args.save, lines, table)
    draw(table, args.save.with_suffix(".png"))
    print(args.save)
    return 0


if __name__ == "__main__":
    import power as module  # so that other processes find its functions

    sys.exit(module.main())
