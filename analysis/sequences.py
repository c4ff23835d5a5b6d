"""Check that confidence sequences hold at all sample sizes at once.

    python analysis/sequences.py [--runs 2000] [--seed 1] [--save PATH]

draws sequences of normal numbers, of means of batches of coins, from fair to very rare
ones, and of heavy-tailed numbers, and writes one row per law and level to
analysis/results/sequences.csv: how often the mean is ever outside its band; how often
it would be with the same normal mixture around the measured spread, without allowing
for what that spread may be; and how often with a band of one sample size that is looked
at again and again. `begins` is the median number of batches from which on there is a
band, `never` the part of sequences that have none.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import header, save_table
from scipy.stats import binom, norm

from stochq.statistics.sequences import NARROWEST, confidence_sequence

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "sequences.csv"

RUNS, SEED = 2000, 1

#: Batches in a sequence: as many as an ensemble keeps, at most.
LENGTH = 512

#: Levels 1 - alpha of the bands.
ALPHAS = (0.05, 0.01)

#: Probability with which a band that holds exactly is blamed.
BLAME = 1e-3

#: Chance of heads, and coins in a batch.
COINS = (
    (0.5, 1),
    (0.5, 64),
    (0.1, 64),
    (0.02, 64),
    (0.002, 64),
    (0.0005, 64),
    (0.02, 1),
)


def laws(rng, runs):
    """Yield names, means and sequences (runs, LENGTH)."""
    shape = (runs, LENGTH)
    yield "normal", 0.0, rng.standard_normal(shape)
    for chance, batch in COINS:
        heads = rng.binomial(batch, chance, shape) / batch
        yield f"coins of {chance:g}, batches of {batch}", chance, heads
    # kurtosis 111 of one number: a few of them make most of the spread
    heavy = rng.lognormal(size=(*shape, 4)).mean(axis=-1)
    yield "lognormal, batches of 4", float(np.exp(0.5)), heavy


def misses(values: np.ndarray, truth: float, alpha: float) -> dict:
    """Return which bands a mean is ever outside of, and where they begin."""
    mean, half_width = confidence_sequence(values, alpha=alpha)
    seen = np.isfinite(half_width)
    n = np.arange(1, values.size + 1)
    error = np.abs(mean - truth)[seen]
    center = values - truth
    squares = np.cumsum(center**2) - n * (mean - truth) ** 2
    sd = np.sqrt(squares.clip(0) / (n - 1).clip(1))[seen]
    n = n[seen]
    mixture = boundary(n, alpha) * sd
    return {
        "missed": bool((error > half_width[seen]).any()),
        "mixture": bool((error > mixture).any()),
        "pointwise": bool((error > norm.isf(alpha / 2) * sd / np.sqrt(n)).any()),
        "begins": int(n[0]) if n.size else None,
    }


def boundary(n: np.ndarray, alpha: float) -> np.ndarray:
    """Return the normal mixture's half-width of means of n numbers of spread 1."""
    x = 1.0  # x = n g at the optimum: x = log((1 + x) / alpha^2)
    for _ in range(100):
        x = np.log((1 + x) / alpha**2)
    g = x / NARROWEST
    return np.sqrt((1 + 1 / (n * g)) * np.log((1 + n * g) / alpha**2) / n)


def coverage(name, truth, values, alpha) -> dict:
    """Return a row of the table."""
    found = pd.DataFrame([misses(run, truth, alpha) for run in values])
    runs = len(values)
    return {
        "law": name,
        "alpha": alpha,
        "runs": runs,
        "missed": found["missed"].mean(),
        "limit": binom.isf(BLAME, runs, alpha) / runs,
        "missed_mixture": found["mixture"].mean(),
        "missed_pointwise": found["pointwise"].mean(),
        "begins": found["begins"].median(),
        "never": found["begins"].isna().mean(),
    }


def table(runs: int = RUNS, seed: int = SEED) -> pd.DataFrame:
    """Return one row per law and level."""
    rng = np.random.default_rng(seed)
    rows = [
        coverage(name, truth, values, alpha)
        for name, truth, values in laws(rng, runs)
        for alpha in ALPHAS
    ]
    return pd.DataFrame(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--save", type=Path, default=SAVE)
    args = parser.parse_args()
    frame = table(args.runs, args.seed)
    print(frame.to_string())
    command = f"python analysis/sequences.py --runs {args.runs} --seed {args.seed}"
    lines = header(command, f"seed: {args.seed}")
    save_table(args.save, lines, frame)
    print(args.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
