"""Claims: what a document says, put to trajectories, and what was found.

A claim is data: cases to simulate, and for each case the readings to compare with. The
verdicts of the document's own reading and of the corrected one decide the outcome;
nobody writes an outcome by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np

from stochq.ensemble import Ensemble
from stochq.evidence.family import holm_level
from stochq.model import Model
from stochq.references import Reference
from stochq.simulation import simulate
from stochq.unravelings import Choice
from stochq.verdict import Verdict
from stochq.verification import verify

__all__ = [
    "FAMILY_ALPHA",
    "Case",
    "Claim",
    "Finding",
    "Limit",
    "Outcome",
    "Profile",
    "Reading",
    "Result",
    "case_folder",
    "check_claim",
    "count_readings",
    "judge_together",
    "sample_case",
]

#: Probability that a whole run of correct claims contains a false alarm.
FAMILY_ALPHA = 1e-3

Profile = Literal["quick", "full"]
Outcome = Literal["holds", "holds as corrected", "refuted", "inconclusive"]


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read a claim: the curves that it predicts.

    Attributes
    ----------
    says : "document" or "correction"
        Whose prediction it is.
    reference : Reference
        The prediction.
    label : str
        What a figure calls it.
    resolution : float
        The detectable shift asked for, in units of each observable's scale.
    """

    says: Literal["document", "correction"]
    reference: Reference
    label: str
    resolution: float = 0.1


@dataclass(frozen=True, eq=False)
class Limit:
    """A limit that exact finite-size equations must approach, without sampling.

    Attributes
    ----------
    label : str
        What tends to what.
    sizes : tuple of int
        System sizes N.
    deviations : tuple of float
        Largest deviation from the limit at each size.
    order : float
        The deviation must fall as N^-order: the order read from the two largest sizes
        must agree to `tolerance`.
    tolerance : float
        Accepted error of the order.
    law : Reference, optional
        The limit itself, for figures.
    """

    label: str
    sizes: tuple[int, ...]
    deviations: tuple[float, ...]
    order: float = 1.0
    tolerance: float = 0.1
    law: Reference | None = None

    @property
    def found_order(self) -> float:
        """The order read from the two largest sizes."""
        (small, large), (big, less) = self.sizes[-2:], self.deviations[-2:]
        return float(np.log(big / less) / np.log(large / small))

    @property
    def holds(self) -> bool:
        """Whether the deviation falls as it must."""
        return abs(self.found_order - self.order) <= self.tolerance


@dataclass(frozen=True, eq=False)
class Case:
    """One ensemble and what it is compared with.

    Attributes
    ----------
    label : str
        The unraveling or situation, for tables and figures.
    model : Model
        The physics.
    times : ndarray, shape (T,) [time]
        Output times.
    n_traj : dict of profile to int
        Trajectories in each profile.
    readings : tuple of Reading
        What to compare with.
    unraveling : dict of str to Choice, optional
        How dissipators are unraveled.
    limits : tuple of Limit
        Limits checked beside it.
    """

    label: str
    model: Model
    times: Any
    n_traj: Mapping[str, int]
    readings: Sequence[Reading]
    unraveling: Mapping[str, Choice] | None = None
    limits: Sequence[Limit] = ()


@dataclass(frozen=True, eq=False)
class Claim:
    """A statement of a document.

    Attributes
    ----------
    id : str
        Its name in tables and on the command line, such as "D6".
    document : str
        Number of the document, such as "002".
    statement : str
        What the document says, in one line.
    equation : str
        The formula, in plain text.
    source : str
        Where it stands in the document.
    expected : Outcome
        The recorded outcome.
    reason : str
        Why, where the outcome is not "holds".
    cases : callable
        Returns the cases; nothing is built before it is needed.
    """

    id: str
    document: str
    statement: str
    equation: str
    source: str
    expected: Outcome
    cases: Callable[[], Sequence[Case]]
    reason: str = ""

    def __post_init__(self) -> None:
        """Build the cases once only: their references cost time."""
        object.__setattr__(self, "cases", cache(self.cases))


@dataclass(frozen=True, eq=False)
class Finding:
    """One case as it came out.

    Attributes
    ----------
    case : Case
        What was asked.
    ensemble : Ensemble
        The trajectories.
    verdicts : tuple of Verdict
        One for each reading of the case.
    """

    case: Case
    ensemble: Ensemble
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, eq=False)
class Result:
    """A claim as it came out.

    Attributes
    ----------
    claim : Claim
        What was asked.
    outcome : Outcome
        What was found.
    findings : tuple of Finding
        One for each case.
    seconds : float
        Wall time.
    """

    claim: Claim
    outcome: Outcome
    findings: tuple[Finding, ...]
    seconds: float = field(compare=False)

    @property
    def as_recorded(self) -> bool:
        """Whether the outcome is the recorded one."""
        return self.outcome == self.claim.expected

    @property
    def verdicts(self) -> list[Verdict]:
        """All verdicts of all cases."""
        return [verdict for finding in self.findings for verdict in finding.verdicts]

    @property
    def supporting(self) -> list[Verdict]:
        """Verdicts of the reading that the outcome rests on, one for each case.

        The correction where there is one, else the document's own reading.
        """
        chosen = []
        for finding in self.findings:
            pairs = list(zip(finding.case.readings, finding.verdicts, strict=True))
            corrected = [v for r, v in pairs if r.says == "correction"]
            chosen += corrected or [v for _, v in pairs]
        return chosen


def count_readings(claims: Iterable[Claim]) -> int:
    """Return the number of verdicts that a run of claims needs."""
    return sum(len(case.readings) for claim in claims for case in claim.cases())


def case_seed(seed: int, claim: str, number: int) -> int:
    """Return the seed of a case, so that no two cases share random numbers."""
    key = (crc32(claim.encode()), number)
    words = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return int(words[0])


def _decide(findings: Sequence[Finding]) -> Outcome:
    """Return the outcome that the verdicts add up to.

    The document's reading must pass in every case for "holds"; where it fails, the
    correction must pass instead, for "holds as corrected".
    """
    status: dict[str, list[str]] = {"document": [], "correction": []}
    for finding in findings:
        for reading, verdict in zip(
            finding.case.readings, finding.verdicts, strict=True
        ):
            status[reading.says].append(verdict.status)
    limits = all(limit.holds for f in findings for limit in f.case.limits)
    document, correction = status["document"], status["correction"]
    if "fail" in correction or not limits:
        return "refuted"
    if "fail" in document:
        if not correction:
            return "refuted"
        return "holds as corrected" if set(correction) == {"pass"} else "inconclusive"
    return "holds" if set(document) | set(correction) == {"pass"} else "inconclusive"


def case_folder(
    folder: Path, claim: str, number: int, profile: Profile, seed: int
) -> Path:
    """Return where the trajectories of a case are kept, below a folder."""
    key = sha256(f"{profile} {seed}".encode()).hexdigest()[:8]
    return folder / f"{claim}-{number}-{key}"


def sample_case(
    claim: Claim,
    number: int,
    *,
    profile: Profile = "quick",
    seed: int = 1,
    folder: Path | None = None,
    shard: tuple[int, int] | None = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> Ensemble:
    """Simulate one case of a claim, or a shard of it.

    Parameters
    ----------
    claim, profile, seed, folder, n_jobs, progress
        As in `check_claim`.
    number : int
        Which case.
    shard : (int, int), optional
        As in `simulate`.
    """
    case = claim.cases()[number]
    kept = folder and case_folder(folder, claim.id, number, profile, seed)
    return simulate(
        case.model,
        case.times,
        n_traj=case.n_traj[profile],
        seed=case_seed(seed, claim.id, number),
        unraveling=case.unraveling,
        n_jobs=n_jobs,
        progress=progress,
        checkpoint=kept,
        shard=shard,
    )


def check_claim(
    claim: Claim,
    *,
    profile: Profile = "quick",
    seed: int = 1,
    n_jobs: int | None = None,
    alpha: float = FAMILY_ALPHA,
    progress: bool | None = None,
    folder: Path | None = None,
) -> Result:
    """Simulate the cases of a claim, judge every reading, and state the outcome.

    Parameters
    ----------
    claim : Claim
        What to check.
    profile : "quick" or "full"
        How many trajectories to spend.
    seed : int
        Addresses all random numbers; each case has its own.
    n_jobs : int
        Parallel threads.
    alpha : float
        False-alarm probability of each single verdict.
    progress : bool, optional
        Show bars; by default on a terminal only.
    folder : Path, optional
        Keep the trajectories of each case below it; the same call goes on with them.
    """
    start = time.perf_counter()
    ensembles = [
        sample_case(
            claim,
            number,
            profile=profile,
            seed=seed,
            folder=folder,
            n_jobs=n_jobs,
            progress=progress,
        )
        for number in range(len(claim.cases()))
    ]
    findings = _judge(claim.cases(), ensembles, alpha)
    return Result(
        claim=claim,
        outcome=_decide(findings),
        findings=findings,
        seconds=time.perf_counter() - start,
    )


def _judge(
    cases: Sequence[Case], ensembles: Sequence[Ensemble], alpha: float
) -> tuple[Finding, ...]:
    """Judge every reading of every case at one level."""
    return tuple(
        Finding(
            case,
            ensemble,
            tuple(
                verify(ensemble, r.reference, alpha=alpha, resolution=r.resolution)
                for r in case.readings
            ),
        )
        for case, ensemble in zip(cases, ensembles, strict=True)
    )


def judge_together(
    results: Sequence[Result], alpha: float = FAMILY_ALPHA
) -> list[Result]:
    """Judge the results of a set of claims anew, at their common level by Holm's rule.

    Parameters
    ----------
    results : sequence of Result
        From `check_claim`, at whatever level.
    alpha : float
        Probability of any false alarm among all their verdicts.

    Returns
    -------
    list of Result
        The same trajectories, with outcomes at that level.
    """
    level = holm_level([v.p_value for r in results for v in r.verdicts], alpha)
    judged = []
    for result in results:
        if all(verdict.alpha == level for verdict in result.verdicts):
            judged.append(result)
            continue
        ensembles = [finding.ensemble for finding in result.findings]
        findings = _judge(result.claim.cases(), ensembles, level)
        outcome = _decide(findings)
        judged.append(replace(result, outcome=outcome, findings=findings))
    return judged
