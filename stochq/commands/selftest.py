"""The command ``stochq selftest``: faults planted in the models of claims."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stochq.commands.arguments import (
    add_jobs_option,
    input_errors,
    number_of_jobs,
    output_path,
    profile_argument,
    select_claims,
    whole_argument,
)

if TYPE_CHECKING:
    import pandas as pd

    from stochq.claims import Case, Claim, Profile, Reading
    from stochq.trials import SelfTest

__all__ = ["add_selftest_options", "selftest_claims"]


class _Options(NamedTuple):
    """How claims are tested."""

    profile: Profile
    seed: int
    n_jobs: int


class _Tested(NamedTuple):
    """One case of a claim, with faults planted in it."""

    claim: Claim
    case: Case
    found: SelfTest


def add_selftest_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command; values stay strings and are checked later."""
    parser.add_argument("claims", nargs="+", metavar="ID", help="claim or document")
    parser.add_argument(
        "--profile", default="quick", help="quick (default) or full: how many samples"
    )
    parser.add_argument("--seed", default="1", help="integer >= 0, default 1")
    parser.add_argument("--out", default="out", metavar="DIR", help="default: out/")
    add_jobs_option(parser)


def selftest_claims(args: argparse.Namespace, claims: Sequence[Claim]) -> int:
    """Plant faults in claims; 0 if each that changes a curve is caught in some case."""
    options = _Options(
        profile_argument(args.profile),
        whole_argument(args.seed, "--seed", at_least=0),
        number_of_jobs(args.n_jobs),
    )
    selected = select_claims(args.claims, claims)
    with input_errors():
        out = output_path(args.out)
        tested: list[_Tested] = []
        for one in _tests(selected, options):
            tested.append(one)
            _save(tested, out)
            print(f"{one.claim.id}, {one.case.label}\n{one.found.explain()}\n")
    good = [_judged(claim, tested) for claim in selected]
    print(f"results in {out / 'selftest.csv'}")
    return 0 if all(good) else 1


def _tests(claims: Sequence[Claim], options: _Options) -> Iterator[_Tested]:
    """Plant faults in every case of every claim."""
    from stochq.claims import FAMILY_ALPHA, case_seed
    from stochq.selftests import selftest

    for claim in claims:
        readings = [
            (number, case, reading)
            for number, case in enumerate(claim.cases())
            for reading in _supporting(case)
        ]
        for number, case, reading in readings:
            found = selftest(
                case.model,
                case.times,
                n_traj=case.n_traj[options.profile],
                seed=case_seed(options.seed, claim.id, number),
                unraveling=case.unraveling,
                reference=reading.reference,
                alpha=FAMILY_ALPHA / len(readings),
                resolution=reading.resolution,
                n_jobs=options.n_jobs,
            )
            yield _Tested(claim, case, found)


def _supporting(case: Case) -> list[Reading]:
    """Return what the outcome rests on: corrections where there are any."""
    corrected = [r for r in case.readings if r.says == "correction"]
    return corrected or list(case.readings)


def _judged(claim: Claim, tested: Sequence[_Tested]) -> bool:
    """Say what no case of a claim catches; tell whether nothing is missed."""
    mine = [one.found for one in tested if one.claim is claim]
    outcomes: dict[str, set[str]] = {}
    for trial in (trial for found in mine for trial in found.trials):
        outcomes.setdefault(f"{trial.fault} in {trial.what}", set()).add(trial.outcome)
    never = {label: seen for label, seen in outcomes.items() if "caught" not in seen}
    missed = [label for label, seen in never.items() if "missed" in seen]
    unseen = [label for label, seen in never.items() if "unseen" in seen - {"missed"}]
    unfit = [found for found in mine if found.right.status != "pass"]
    print(f"{claim.id}: {len(outcomes) - len(never)} faults caught in some case")
    for what, labels in (("missed", missed), ("unseen", unseen)):
        if labels:
            print(f"  {what} in every case: {'; '.join(labels)}")
    if unfit:
        print(f"  {len(unfit)} cases say nothing: their right runs do not pass")
    return not missed and not unfit


def _save(tested: Sequence[_Tested], out: Path) -> None:
    """Write the table of all faults so far."""
    import pandas as pd

    from stochq.files import VERDICT_DIGITS, write_table

    table = pd.concat([_frame(one) for one in tested], ignore_index=True)
    write_table(out / "selftest.csv", table, VERDICT_DIGITS)


def _frame(one: _Tested) -> pd.DataFrame:
    """Return the faults of one case, one row each."""
    frame = one.found.to_frame()
    frame.insert(0, "claim", one.claim.id)
    frame.insert(1, "case", one.case.label)
    return frame
