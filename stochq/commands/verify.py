"""The command ``stochq verify``: claims, checked one by one."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stochq.commands.arguments import (
    UsageError,
    add_worker_options,
    input_errors,
    jobs_for,
    output_path,
    select_claims,
    shard_argument,
    whole_argument,
)

if TYPE_CHECKING:
    from stochq.claims import Claim, Profile, Result

__all__ = ["add_verify_options", "verify_claims"]

PROFILES = ("quick", "full")


class _Options(NamedTuple):
    """How claims are checked."""

    profile: Profile
    seed: int
    n_jobs: int | None
    shard: tuple[int, int] | None
    report: bool


def add_verify_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; values stay strings and are checked later."""
    parser.add_argument(
        "claims", nargs="*", metavar="ID", help="claim or document; default: all"
    )
    parser.add_argument(
        "--profile", default="quick", help="quick (default) or full: how many samples"
    )
    parser.add_argument("--seed", default="1", help="integer >= 0, default 1")
    parser.add_argument("--out", default="out", metavar="DIR", help="default: out/")
    parser.add_argument(
        "--shard", metavar="I/N", help="only the I-th of N parts; join them by merge"
    )
    parser.add_argument(
        "--report", action="store_true", help="write a page, too: OUT/report.html"
    )
    add_worker_options(parser)


def _profile(text: str) -> Profile:
    """Return the name of a profile."""
    for profile in PROFILES:
        if text == profile:
            return profile  # type: ignore[return-value]
    raise UsageError(f"`--profile` must be quick or full, but is {text:.40}")


def _save(
    results: Sequence[Result],
    new: Sequence[Result],
    run: Mapping[str, Any],
    out: Path,
) -> None:
    """Write the verdicts so far, and the tables and figures of new results."""
    from stochq.files import VERDICT_DIGITS, write_figure, write_json, write_table
    from stochq.plots import plot_claim
    from stochq.report import verdicts_record
    from stochq.tables import claim_frame, verdict_table

    for result in new:
        write_table(out / f"{result.claim.id}.csv", claim_frame(result))
        write_figure(out / f"{result.claim.id}.png", plot_claim(result))
    write_table(out / "verdicts.csv", verdict_table(results), VERDICT_DIGITS)
    write_json(out / "verdicts.json", verdicts_record(run, results))


def verify_claims(args: argparse.Namespace, claims: Sequence[Claim]) -> int:
    """Check claims, or sample a shard of them; 0 if all come out as recorded."""
    from stochq.commands.backends import backend

    options = _Options(
        _profile(args.profile),
        whole_argument(args.seed, "--seed", at_least=0),
        jobs_for(args),
        shard_argument(args.shard),
        args.report,
    )
    selected = select_claims(args.claims, claims)
    if options.shard is not None and options.report:
        raise UsageError(
            "`--report` must go with all trajectories, but `--shard` asks for a part; "
            "merge the shards first"
        )
    if options.shard is not None:
        _check_shards(selected, options)
    with input_errors(), backend(args.backend, args.scheduler):
        out = output_path(args.out)
        if options.shard is None:
            return _check(selected, options, out)
        return _sample(selected, options, out)


def _check_shards(claims: Sequence[Claim], options: _Options) -> None:
    """Refuse more shards than a case has atoms, before anything is run."""
    from stochq.running.shards import span_of
    from stochq.running.stopping import Goal

    for claim in claims:
        for case in claim.cases():
            try:
                span_of(Goal(case.n_traj[options.profile]), options.shard)
            except ValueError as error:
                raise UsageError(f"{claim.id}: {error}") from error


def _bar(claims: Sequence[Claim]) -> Iterator[Claim]:
    """Yield claims, with a progress bar on a terminal."""
    from tqdm.auto import tqdm

    bar = tqdm(claims, unit="claim", disable=None, leave=False)
    for claim in bar:
        bar.set_description(claim.id)
        yield claim


def _check(claims: Sequence[Claim], options: _Options, out: Path) -> int:
    """Check claims one by one, and write each as it is finished."""
    from stochq.claims import (
        FAMILY_ALPHA,
        check_claim,
        count_readings,
        judge_together,
    )
    from stochq.execute import TRAJECTORIES
    from stochq.report import run_record, write_report
    from stochq.running.interrupts import Terminated
    from stochq.tables import format_table

    alpha = FAMILY_ALPHA / count_readings(claims)
    run = run_record(claims, options.profile, options.seed)
    results: list[Result] = []
    try:
        for claim in _bar(claims):
            result = check_claim(
                claim,
                profile=options.profile,
                seed=options.seed,
                n_jobs=options.n_jobs,
                alpha=alpha,
                folder=out / TRAJECTORIES,
            )
            _save([*results, result], [result], run, out)
            results.append(result)
    except (KeyboardInterrupt, Terminated) as error:
        judged = ", ".join(result.claim.id for result in results) or "nothing"
        raise _stopped(error, f"judged in {out}: {judged}") from None
    # the level of each single verdict is only known when all of them are
    together = judge_together(results)
    changed = [
        new for new, old in zip(together, results, strict=True) if new is not old
    ]
    _save(together, changed, run, out)
    results = together
    _remove(claims, options, out / TRAJECTORIES)
    recorded = sum(result.as_recorded for result in results)
    print(format_table(results))
    print(f"\n{recorded} of {len(results)} claims as recorded; results in {out}")
    if options.report:
        print(f"report in {write_report(out)}")
    return 0 if recorded == len(results) else 1


def _stopped(error: BaseException, done: str) -> BaseException:
    """Return an interruption that says what there is, and how to go on."""
    from stochq.running.interrupts import Terminated, without_cure

    message = f"{without_cure(error)}; {done}; go on by the same command"
    kind = Terminated if isinstance(error, Terminated) else KeyboardInterrupt
    return kind(message)


def _remove(claims: Sequence[Claim], options: _Options, folder: Path) -> None:
    """Remove the trajectories of these claims: the next time they are run anew."""
    from stochq.claims import case_folder

    for claim in claims:
        for number in range(len(claim.cases())):
            which = (claim.id, number, options.profile, options.seed)
            shutil.rmtree(case_folder(folder, *which), ignore_errors=True)
    with suppress(OSError):  # others may have something there
        folder.rmdir()


def _sample(claims: Sequence[Claim], options: _Options, out: Path) -> int:
    """Run a shard of claims; nothing can be judged before all are merged."""
    from stochq.claims import sample_case
    from stochq.execute import TRAJECTORIES
    from stochq.running.interrupts import Terminated

    profile, seed, n_jobs, shard, _ = options
    count = 0
    try:
        for claim in _bar(claims):
            for number in range(len(claim.cases())):
                ensemble = sample_case(
                    claim,
                    number,
                    profile=profile,
                    seed=seed,
                    n_jobs=n_jobs,
                    shard=shard,
                    folder=out / TRAJECTORIES,
                )
                count += ensemble.n_traj
    except (KeyboardInterrupt, Terminated) as error:
        raise _stopped(error, f"kept in {out}: {count} trajectories") from None
    print(f"{count} trajectories of {len(claims)} claims kept in {out / TRAJECTORIES}")
    print("no verdict from a shard: join all by `stochq merge DIR DIR ... --out OUT`,")
    print("then `stochq verify --out OUT` with the same claims, profile and seed")
    return 0
