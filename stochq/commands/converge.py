"""The command ``stochq converge``: the order of a scheme, or of a claim's model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stochq.commands.arguments import (
    UsageError,
    add_jobs_option,
    number_above_zero,
    number_of_jobs,
    output_path,
    unknown_name,
    whole_argument,
)

if TYPE_CHECKING:
    import pandas as pd

    from stochq.claims import Claim
    from stochq.orders import Convergence

__all__ = ["add_converge_options", "converge"]

#: The largest step on the built-in problems [time].
PROBLEM_DT = 0.25

#: Steps of the largest size that a claim is followed for.
CLAIM_STEPS = 16

#: Default numbers of trajectories.
PROBLEM_TRAJECTORIES, CLAIM_TRAJECTORIES = 4096, 512


class _Subject(NamedTuple):
    """What is studied: a model up to a time, with a scheme."""

    model: Any
    times: Any
    scheme: Any
    unraveling: Any = None


class _Target(NamedTuple):
    """What the command line names: subjects, and trajectories by default."""

    name: str
    subjects: list[_Subject]
    n_traj: int


class _Options(NamedTuple):
    """How it is studied; None stands for what fits the target."""

    dt: float | None
    levels: int
    n_traj: int | None
    seed: int
    n_jobs: int


def add_converge_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; values stay strings and are checked later."""
    parser.add_argument(
        "target", metavar="SCHEME|CLAIM", help="such as Heun, or a claim such as M1"
    )
    parser.add_argument("--dt", metavar="X", help="the largest step")
    parser.add_argument(
        "--levels", default="6", metavar="N", help="steps, each half of the last; 6"
    )
    parser.add_argument(
        "--n-traj",
        metavar="N",
        help="4096 for a scheme, 512 for a claim, whose "
        "first case is followed for 16 of the largest steps",
    )
    parser.add_argument("--seed", default="1", help="integer >= 0, default 1")
    parser.add_argument("--out", default="out", metavar="DIR", help="default: out/")
    add_jobs_option(parser)


def _of_scheme(scheme: Any, dt: float | None) -> list[_Subject]:
    """Return the built-in problems."""
    from stochq.problems import all_problems

    chosen = scheme(dt=dt or PROBLEM_DT)
    return [_Subject(p.model, p.times, chosen) for p in all_problems()]


def _of_claim(claim: Claim, dt: float | None) -> list[_Subject]:
    """Return the model of a claim's first case, followed for some steps."""
    import numpy as np

    from stochq.choice import default_scheme
    from stochq.lowering import lower
    from stochq.schemes import Strang
    from stochq.schemes.traits import grid_for

    case = claim.cases()[0]
    times = np.asarray(case.times, dtype=np.float64)
    dynamics = lower(case.model, case.unraveling)
    scheme: Any = default_scheme(dynamics, times, case.n_traj["quick"])
    if not scheme.dt < np.inf:
        strang = Strang(dt or float(np.diff(times).max()))
        print(
            f"{claim.id}: {scheme} has no step, there is nothing to converge; {strang}:"
        )
        scheme = strang
    scheme = replace(scheme, dt=dt or float(f"{scheme.dt:.3g}"))
    steps = np.cumsum(grid_for(scheme, times).counts)
    kept = max(1, int((steps <= CLAIM_STEPS).sum()))
    return [_Subject(case.model, times[: kept + 1], scheme, case.unraveling)]


def _target(name: str, dt: float | None, claims: Sequence[Claim]) -> _Target:
    """Return what the command line names.

    Raises
    ------
    UsageError
        If there is no such scheme or claim, or it has no step.
    """
    from stochq.schemes import SCHEMES

    schemes = {scheme.__name__.lower(): scheme for scheme in SCHEMES}
    ids = {claim.id.lower(): claim for claim in claims}
    key = name.lower()
    if key == "exact":
        raise UsageError("Exact has no step: there is nothing to converge")
    if key in schemes:
        scheme = schemes[key]
        return _Target(scheme.__name__, _of_scheme(scheme, dt), PROBLEM_TRAJECTORIES)
    if key in ids:
        return _Target(ids[key].id, _of_claim(ids[key], dt), CLAIM_TRAJECTORIES)
    known = [scheme.__name__ for scheme in SCHEMES] + [claim.id for claim in claims]
    raise unknown_name("the name of a scheme or a claim must be given", name, known)


def _studied(
    target: _Target, options: _Options
) -> Iterator[tuple[Convergence, pd.DataFrame]]:
    """Study subjects one by one; those that the scheme refuses are said to be."""
    from stochq.errors import SchemeMismatchError
    from stochq.orders import convergence

    refused: list[str] = []
    for model, times, scheme, unraveling in target.subjects:
        how = {
            "n_traj": options.n_traj or target.n_traj,
            "seed": options.seed,
            "n_jobs": options.n_jobs,
            "unraveling": unraveling,
        }
        try:
            study = convergence(model, times, scheme, levels=options.levels, **how)
        except SchemeMismatchError as error:
            refused.append(str(error))
            print(f"{model.name}: {error}\n")
            continue
        yield study, _sampling(study, times, model, how)
    if len(refused) == len(target.subjects):
        raise UsageError(refused[-1])


def _sampling(study: Convergence, times: Any, model: Any, how: Any) -> pd.DataFrame:
    """Return the error of means against n_traj, at the smallest step of a study."""
    from stochq.orders import sampling_frame
    from stochq.references import master_equation
    from stochq.simulation import simulate

    given: Any = study.scheme
    scheme = replace(given, dt=float(study.dts[-1]))
    ensemble = simulate(model, times, scheme=scheme, **how)
    truth = master_equation(model, times, sensitivity=False).values
    bias = ensemble.step_bias
    return sampling_frame(
        ensemble, truth if bias is None else truth + bias, study.model
    )


def _save(
    name: str,
    studies: Sequence[Convergence],
    samples: Sequence[pd.DataFrame],
    out: Path,
) -> None:
    """Write the table of errors, that of sampling errors, and the figure."""
    import pandas as pd

    from stochq.files import write_figure, write_table
    from stochq.plots import plot_orders

    sampling = pd.concat(samples, ignore_index=True)
    errors = pd.concat([study.to_frame() for study in studies], ignore_index=True)
    write_table(out / f"converge_{name}.csv", errors)
    write_table(out / f"converge_{name}_n.csv", sampling)
    first = studies[0]
    title = f"{name}: errors at t = {first.time:.3g}, {first.n_traj} trajectories"
    figure = plot_orders(studies, sampling, f"{title}, seed {first.seed}")
    for ending in ("png", "pdf"):
        write_figure(out / f"converge_{name}.{ending}", figure)


def _options(args: argparse.Namespace) -> _Options:
    """Return the checked options."""
    dt, n_traj = args.dt, args.n_traj
    return _Options(
        dt=None if dt is None else number_above_zero(dt, "--dt"),
        levels=whole_argument(args.levels, "--levels", at_least=3),
        n_traj=None
        if n_traj is None
        else whole_argument(n_traj, "--n-traj", at_least=64),
        seed=whole_argument(args.seed, "--seed", at_least=0),
        n_jobs=number_of_jobs(args.n_jobs),
    )


def converge(args: argparse.Namespace, claims: Sequence[Claim]) -> int:
    """Study a scheme or a claim; return 0 if no order differs from the declared one."""
    from stochq.errors import ModelError

    options = _options(args)
    studies: list[Convergence] = []
    samples: list[pd.DataFrame] = []
    try:
        target = _target(args.target, options.dt, claims)
        out = output_path(args.out)
        for study, sample in _studied(target, options):
            print(f"{study}\n")
            studies.append(study)
            samples.append(sample)
            _save(target.name, studies, samples, out)
    except (ModelError, ValueError) as error:
        raise UsageError(str(error)) from error
    differing = [s.model for s in studies if not s.agrees]
    for model in differing:
        print(f"stochq: on {model} an order differs from the declared", file=sys.stderr)
    print(f"results in {out}")
    return 1 if differing else 0
