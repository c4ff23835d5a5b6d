"""Check that runs with a tolerance end with the error that was asked for.

    python analysis/stopping_coverage.py [--seeds 500] [--seed 1] [--save PATH]

runs each case with many independent seeds until `tolerance` ends it, compares every
mean with the master equation, and writes one row per case to
analysis/results/stopping_coverage.csv: how often the true error is within 1, 1.96 and
2.58 tolerances, and its root mean square, at the worst observable and time. The same
columns of `naive_...` belong to a rule that looks at the standard error of the sample
after every atom of 64 trajectories, and stops when it is small enough.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from provenance import header
from scipy.stats import binom, chi2, norm

from stochq import Dissipator, Model, Tolerance, WhiteNoise, master_equation
from stochq.driver import How, run_setting
from stochq.extras import as_extras
from stochq.functions import Function
from stochq.running.stopping import Tolerances, as_goal
from stochq.schemes.lanes import ATOM
from stochq.setting import Setting, setting_of
from stochq.streams import child_seed

ROOT = Path(__file__).parents[1]
SAVE = ROOT / "analysis" / "results" / "stopping_coverage.csv"

SEEDS, SEED = 500, 1

#: Probability with which a rule that covers exactly is blamed.
ALPHA = 1e-3

#: Nominal coverage, and the standard errors that it stands for.
LEVELS = {"68": 0.6827, "95": 0.95, "99": 0.99}
WIDTHS = {name: norm.isf((1 - level) / 2) for name, level in LEVELS.items()}

TIMES = np.linspace(0, 2, 5)

SX = np.array([[0, 1], [1, 0]])
SZ = np.diag([1.0, -1.0])
LOWER = np.array([[0, 1], [0, 0]])
EXCITED = np.diag([0.0, 1.0])


def excitation(kets):
    """Return |<1|psi>|^2, whose limits a run does not know."""
    return np.abs(kets[:, 1]) ** 2


def decay(probability: float) -> Dissipator:
    """Return a decay that happens with this probability until the last time."""
    return Dissipator(LOWER, -np.log1p(-probability) / TIMES[-1], name="decay")


JUMPS = Model(
    hamiltonian=0.8 * SX,
    dissipators=decay(0.75),
    initial=[0, 1],
    observables={"x": SX, "z": SZ},
)
NOISE = Model(
    hamiltonian=0.9 * SX + 0.3 * SZ,
    noise=WhiteNoise(SZ, rate=0.3, name="phase"),
    initial=[1, 0],
    observables={"x": SX, "z": SZ},
)
HYBRID = Model(
    hamiltonian=SX,
    noise=WhiteNoise([SX, SZ], covariance=[[0.3, 0.1], [0.1, 0.2]], name="field"),
    dissipators=decay(0.75),
    initial=np.array([[0.6, 0.1j], [-0.1j, 0.4]]),
    observables={"x": SX, "z": SZ},
)


def rare(probability: float) -> Model:
    """Return an atom that seldom decays."""
    return Model(
        dissipators=decay(probability),
        initial=[0, 1],
        observables={"n": EXCITED, "lost": np.eye(2) - EXCITED},
    )


def rare_in_noise(probability: float) -> Model:
    """Return an atom that seldom decays, while its level is a little unsteady."""
    return Model(
        noise=WhiteNoise(SX, rate=1e-4, name="drive"),
        dissipators=decay(probability),
        initial=[0, 1],
        observables={"n": EXCITED},
    )


@dataclass(frozen=True)
class Case:
    """A model, and the error asked for."""

    label: str
    model: Model
    tolerance: Tolerances
    probability: float | None = None
    functions: Mapping[str, Function] = field(default_factory=dict)

    def setting(self, seed: int) -> Setting:
        """Return the run of one seed, made ready."""
        extras = as_extras(self.model, self.functions, None, None, None, False, False)
        goal = as_goal(None, self.tolerance, None, self.names)
        return setting_of(self.model, TIMES, seed, None, extras, None, goal)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of observables and functions."""
        return (*self.model.observables, *self.functions)

    def truth(self) -> np.ndarray:
        """Return exact means; a function has those of the one observable there is."""
        means = master_equation(self.model, TIMES, sensitivity=False).values
        return np.concatenate([means, *[means[:1]] * len(self.functions)])


def rare_cases():
    """Yield tolerances from those that the floor decides to those that resolve it."""
    for probability, units in ((0.05, (5, 2, 1, 0.5, 0.2)), (0.005, (2, 1, 0.5, 0.1))):
        for unit in units:  # of the probability
            yield Case("rare jumps", rare(probability), unit * probability, probability)
    # 2.58 of them just hide the jumps, where 0 of them are enough to stop at a look
    for look in (512, 1024):
        hidden = 2.0 / look * (1 + 1e-9)
        yield Case("hidden jumps", rare(2.6 * hidden), hidden, 2.6 * hidden)


CASES = (
    Case("jumps", JUMPS, 0.02),
    Case("jumps", JUMPS, 0.05),
    Case("noise", NOISE, 0.02),
    Case("noise", NOISE, 0.04),
    Case("hybrid", HYBRID, 0.02),
    Case("hybrid", HYBRID, 0.05),
    Case("hybrid, one observable", HYBRID, {"z": 0.03}),
    Case("hybrid, relative", HYBRID, {"z": Tolerance(relative=0.1)}),
    Case("noise, relative", NOISE, Tolerance(0.01, relative=0.02)),
    *rare_cases(),
    Case("rare jumps, relative", rare(0.05), {"lost": Tolerance(relative=0.35)}, 0.05),
    Case("rare jumps in noise", rare_in_noise(0.05), 0.01, 0.05),
    Case("rare jumps in noise", rare_in_noise(0.005), 0.002, 0.005),
    Case(
        "rare jumps, unknown limits",
        rare(0.005),
        {"excitation": 0.002},
        0.005,
        {"excitation": excitation},
    ),
)


def allowed(case: Case, means: np.ndarray) -> np.ndarray:
    """Return the tolerance of every row, (O,), by its means (O, T); NaN if none."""
    goal = as_goal(None, case.tolerance, None, case.names)
    scales = np.abs(means).max(axis=-1)
    return np.array(
        [
            np.nan if t is None else t.absolute + t.relative * scale
            for t, scale in zip(goal.tolerance, scales, strict=True)
        ]
    )


def asked(tolerance: Tolerances) -> str:
    """Return a tolerance in words."""
    if isinstance(tolerance, Mapping):
        return ", ".join(f"{name}: {asked(t)}" for name, t in tolerance.items())
    if isinstance(tolerance, Tolerance):
        return f"{tolerance.absolute:.6g} + {tolerance.relative:.6g} max"
    return f"{tolerance:.6g}"


def naive_stop(case: Case, values: np.ndarray) -> np.ndarray:
    """Return the means (O, T) at which a naive rule stops, of values (O, T, n).

    It looks at mcse <= tolerance after every atom, and never stops later than the other
    rule, which asks for more at fewer looks.
    """
    shape = (*values.shape[:-1], -1, ATOM)
    n = np.arange(1, values.shape[-1] // ATOM + 1) * ATOM
    first = values[..., :1]  # sums of what differs from it lose no digits
    shifted = values - first
    sums = shifted.reshape(shape).sum(axis=-1).cumsum(axis=-1)
    squares = np.square(shifted).reshape(shape).sum(axis=-1).cumsum(axis=-1)
    variance = np.maximum(squares - sums**2 / n, 0) / (n - 1)
    means, errors = first + sums / n, np.sqrt(variance / n)
    for k in range(n.size):
        limits = allowed(case, means[..., k])
        if np.all(np.nanmax(errors[..., k].max(axis=-1) / limits) <= 1):
            return means[..., k]
    return means[..., -1]


def one_run(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the means of both rules, and the trajectories of the cautious one."""
    setting = case.setting(seed)
    goal = as_goal(None, case.tolerance, None, case.names)
    ensemble = run_setting(setting, goal, How(progress=False))
    if ensemble.stopped_by != "tolerance":
        raise RuntimeError(f"the run was stopped by {ensemble.stopped_by}")
    n = ensemble.n_traj
    values = setting.source(n).run(0, n // ATOM).values
    return ensemble.mean, naive_stop(case, values), n


def coverage(case: Case, seeds: int = SEEDS, seed: int = SEED, n_jobs: int = 1) -> dict:
    """Return how often the true error is within the tolerance, in a row of the table.

    Coverage is that of the observable and time where it is lowest, at each level by
    itself; with nominal coverage at every one of them it falls below `limit_...`, and
    the root mean square error in units of the tolerance exceeds `rms_limit`, with
    probability ALPHA.
    """
    truth = case.truth()
    runs = Parallel(n_jobs=n_jobs, batch_size="auto")(
        delayed(one_run)(case, child_seed(seed, k)) for k in range(seeds)
    )
    means, naive, counts = (np.array(part) for part in zip(*runs, strict=True))
    limits = allowed(case, truth)[:, None]
    random = np.isfinite(limits) & ~case.setting(seed).fixed
    ours, theirs = (
        np.abs((found - truth) / limits)[:, random] for found in (means, naive)
    )
    points = int(random.sum())
    row = {
        "case": case.label,
        "tolerance": asked(case.tolerance),
        "probability": case.probability,
        "seeds": seeds,
    }
    for name, level in LEVELS.items():
        row[f"covered_{name}"] = float((ours <= WIDTHS[name]).mean(axis=0).min())
        row[f"binomial_error_{name}"] = float(np.sqrt(level * (1 - level) / seeds))
        row[f"limit_{name}"] = float(binom.ppf(ALPHA / points, seeds, level) / seeds)
        row[f"naive_{name}"] = float((theirs <= WIDTHS[name]).mean(axis=0).min())
    row["rms"] = float(np.sqrt(np.square(ours).mean(axis=0).max()))
    row["rms_limit"] = float(np.sqrt(chi2.isf(ALPHA / points, seeds) / seeds))
    row["naive_rms"] = float(np.sqrt(np.square(theirs).mean(axis=0).max()))
    row["n_traj_mean"], row["n_traj_min"] = float(counts.mean()), int(counts.min())
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--save", type=Path, default=SAVE)
    args = parser.parse_args()
    rows = []
    for case in CASES:
        rows.append(coverage(case, args.seeds, args.seed, args.n_jobs))
        print(pd.DataFrame(rows[-1:]).to_string(header=len(rows) == 1), flush=True)
    command = f"python analysis/stopping_coverage.py --seeds {args.seeds} "
    lines = header(f"{command}--seed {args.seed}", f"seed: {args.seed}")
    text = pd.DataFrame(rows).to_csv(
        index=False, float_format="%.6g", lineterminator="\n"
    )
    args.save.parent.mkdir(parents=True, exist_ok=True)
    args.save.write_text("\n".join([*lines, text]))
    print(args.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
