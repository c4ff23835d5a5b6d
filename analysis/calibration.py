"""Check that p-values are uniform where the reference is right, and compare statistics.

    OPENBLAS_NUM_THREADS=1 python analysis/calibration.py [--seeds 500] [--seed 1] [...]

judges many independent small ensembles of every class of models by the reference that
is right, and writes one row per class and statistic to analysis/results/calibration.csv
with a figure beside it: the distance of the p-values from a uniform law
(Kolmogorov-Smirnov), and the false alarms at three levels with their binomial limits.
The same ensembles against references that are off by as much as half of all ensembles
would show if nothing else were tested give the power of each statistic:

- verify: the largest deviation over points, curves and rates, and its law under the
  correlation of batches (`stochq.verify`),
- bootstrap: the largest deviation over points, and its law when the deviations of
  batches get random signs,
- Hotelling: the sum of squares along the leading eigenvectors of the correlation.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from model_classes import CLASSES, ModelClass
from provenance import header, save_table
from scipy import stats

from stochq import Ensemble, Reference, verify
from stochq.streams import child_seed

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "calibration.csv"

SEEDS, SEED, POWER_SEEDS = 500, 1, 100

#: Levels at which false alarms are counted; the last is that of the power, too.
LEVELS = (0.05, 0.01, 0.001)

#: Probability with which a statistic that is calibrated is blamed, for one row.
BLAME = 1e-4

#: Sets of signs in a bootstrap: p-values below 1 / SIGNS are not told apart.
SIGNS = 4000

#: Eigenvectors of the correlation below this part of the largest are left out.
CUT = 1e-2

#: A standard error below this part of the range means that nothing fluctuates.
STILL = 1e-12

Statistic = Callable[[Ensemble, Reference], float]


class Deviations(NamedTuple):
    """Means minus reference (P,) in standard errors, and standardized batches (B, P).

    Y^T Y is the correlation of the means for batches Y.
    """

    z: np.ndarray
    batches: np.ndarray


def deviations(ensemble: Ensemble, reference: Reference) -> Deviations:
    """Return the deviations of all points that fluctuate."""
    error = ensemble.mcse
    moving = ~ensemble.deterministic & (error > STILL * ensemble.ranges[:, None])
    centered = (ensemble.batches - ensemble.batches.mean(axis=0))[:, moving]
    shift = (ensemble.mean - ensemble.step_bias - reference.values)[moving]
    return Deviations(
        shift / error[moving], centered / np.linalg.norm(centered, axis=0)
    )


def verdict_p(ensemble: Ensemble, reference: Reference) -> float:
    """Return the p-value of the verdict."""
    return verify(ensemble, reference).p_value


@cache
def random_signs(batches: int) -> np.ndarray:
    """Return random signs, shape (SIGNS, B)."""
    return np.random.default_rng(0).choice([-1.0, 1.0], size=(SIGNS, batches))


def bootstrap_p(ensemble: Ensemble, reference: Reference) -> float:
    """Return how often random signs of the batches deviate more at their largest."""
    z, batches = deviations(ensemble, reference)
    if not z.size:
        return 1.0
    drawn = np.abs(random_signs(len(batches)) @ batches).max(axis=1)
    return float((1 + (drawn >= np.abs(z).max()).sum()) / (1 + SIGNS))


def hotelling_p(ensemble: Ensemble, reference: Reference) -> float:
    r"""Return the p-value of T^2, the sum of squares in an effective-rank basis.

    .. math:: T^2 = \sum_{a=1}^k (v_a \cdot z)^2 / \lambda_a, \qquad
        \frac{B - k}{k (B - 1)} T^2 \sim F_{k, B - k}
    """
    z, batches = deviations(ensemble, reference)
    if not z.size:
        return 1.0
    values, vectors = np.linalg.eigh(batches.T @ batches)
    kept = values > CUT * values[-1]
    k, b = int(kept.sum()), len(batches)
    squares = float((np.square(vectors.T @ z)[kept] / values[kept]).sum())
    return float(stats.f.sf((b - k) / (k * (b - 1)) * squares, k, b - k))


STATISTICS: Mapping[str, Statistic] = {
    "verify": verdict_p,
    "bootstrap": bootstrap_p,
    "Hotelling": hotelling_p,
}


def faults(case: ModelClass, seed: int) -> dict[str, Reference]:
    """Return references with a fault of `critical_z` standard errors each.

    A test of that fault alone catches one half: a rate that is too large, the curve of
    the observable that fluctuates most, shifted at all times, and its last point.
    """
    right = case.reference()
    ensemble = case.ensemble(seed, case.small)
    verdict = verify(ensemble, right, alpha=LEVELS[-1])
    size, row = verdict.critical_z, int(ensemble.mcse.sum(axis=1).argmax())
    found = {}
    rates = [name for name in right.sensitivity if name in verdict.rate_error]
    if rates:
        error = size * verdict.rate_error[rates[0]][1]
        found["rate"] = case.reference(rates[0], error)
    for kind, times in (("curve", slice(1, None)), ("point", slice(-1, None))):
        values = right.values.copy()
        values[row, times] += size * verdict.error[row, times]
        found[kind] = Reference(
            right.times, right.names, values, sensitivity=right.sensitivity
        )
    return found


def p_values(
    case: ModelClass,
    seed: int,
    references: Mapping[str, Reference],
    statistics: Mapping[str, Statistic],
) -> np.ndarray:
    """Return the p-values of one ensemble, shape (references, statistics)."""
    ensemble = case.ensemble(seed, case.small)
    return np.array(
        [[p(ensemble, r) for p in statistics.values()] for r in references.values()]
    )


def judged(found: np.ndarray, two_sided: bool) -> dict:
    """Return how far p-values are from a uniform law, and their false alarms.

    They are calibrated if neither their largest distance nor a number of false alarms
    has a probability below BLAME, on both sides or as far as they are too small.
    """
    side = "two-sided" if two_sided else "greater"
    distance = stats.kstest(found, "uniform", alternative=side)
    row = {"ks": float(distance.statistic), "ks_p": float(distance.pvalue)}
    good = row["ks_p"] >= BLAME
    for level in LEVELS:
        count = int((found < level).sum())
        row[f"alarms_{level:g}"] = count / found.size
        low, high = stats.binomtest(count, found.size).proportion_ci(0.95)
        row[f"low_{level:g}"], row[f"high_{level:g}"] = float(low), float(high)
        good &= stats.binom.sf(count - 1, found.size, level) >= BLAME
    return {**row, "calibrated": bool(good)}


def calibration(
    case: ModelClass,
    seeds: int = SEEDS,
    seed: int = SEED,
    n_jobs: int = 1,
    statistics: Mapping[str, Statistic] = STATISTICS,
    power_seeds: int = POWER_SEEDS,
) -> tuple[list[dict], np.ndarray]:
    """Return the rows of a class, and its p-values (seeds, statistics)."""
    right = {"right": case.reference()}
    wrong = faults(case, child_seed(seed, seeds)) if power_seeds else {}
    several = Parallel(n_jobs=n_jobs, batch_size="auto")(
        delayed(p_values)(
            case,
            child_seed(seed, k),
            {**right, **wrong} if k < power_seeds else right,
            statistics,
        )
        for k in range(seeds)
    )
    found = np.array([one[0] for one in several])
    caught = np.array([one[1:] < LEVELS[-1] for one in several[:power_seeds]])
    rows = []
    for s, name in enumerate(statistics):
        row = {"class": case.label, "statistic": name, "n_traj": case.small}
        row |= {"seeds": seeds, "two_sided": case.two_sided}
        row |= judged(found[:, s], case.two_sided)
        for w, kind in enumerate(wrong):
            row[f"power_{kind}"] = float(caught[:, w, s].mean())
        rows.append(row)
    return rows, found


def draw(found: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw the distribution of p-values minus p, class by class."""
    import matplotlib.pyplot as plt

    columns = 4
    lines = -(-len(found) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(12, 2.4 * lines), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axis in axes.flat[len(found) :]:
        axis.axis("off")
    for axis, (label, values) in zip(axes.flat, found.items(), strict=False):
        share = np.arange(1, len(values) + 1) / len(values)
        for name, column in zip(STATISTICS, values.T, strict=True):
            ordered = np.sort(column)
            axis.plot(ordered, share - ordered, lw=1.2, label=name)
        band = stats.kstwo.isf(0.05, len(values))
        axis.axhspan(-band, band, color="0.9", zorder=0)
        axis.axhline(0, color="black", lw=0.6)
        axis.set_title(label, fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("p")
    for axis in axes[:, 0]:
        axis.set_ylabel("share below p, minus p")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--power-seeds", type=int, default=POWER_SEEDS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="labels of classes; default: all")
    parser.add_argument("--save", type=Path, default=SAVE)
    args = parser.parse_args()
    command = f"python analysis/calibration.py --seeds {args.seeds} "
    command += f"--power-seeds {args.power_seeds} --seed {args.seed}"
    lines = header(command, f"seed: {args.seed}")  # of the code that runs
    rows, found = [], {}
    for case in CLASSES:
        if args.only and case.label not in args.only:
            continue
        more, found[case.label] = calibration(
            case, args.seeds, args.seed, args.n_jobs, power_seeds=args.power_seeds
        )
        print(pd.DataFrame(more).to_string(header=not rows, index=False), flush=True)
        rows += more
    save_table(args.save, lines, pd.DataFrame(rows))
    draw(found, args.save.with_suffix(".png"))
    print(args.save)
    return 0


if __name__ == "__main__":
    import calibration as module  # so that other processes find its functions

    sys.exit(module.main())
