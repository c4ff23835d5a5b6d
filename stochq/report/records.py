"""What ``verdicts.json`` holds: everything that a report needs, arrays excepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stochq.catalog import claim_fields, verify_command
from stochq.claims import (
    FAMILY_ALPHA,
    Claim,
    Finding,
    Limit,
    Profile,
    Reading,
    Result,
    count_readings,
)
from stochq.descriptions import environment
from stochq.documents import DOCUMENTS
from stochq.report.schema import SCHEMA_ID
from stochq.tables import summary_record, verdict_record
from stochq.verdict import Verdict

__all__ = ["run_record", "verdicts_record"]

#: How the readings of a run share its false-alarm probability.
LEVEL_METHOD = "Holm"


def run_record(
    selected: Sequence[Claim], profile: Profile, seed: int
) -> dict[str, Any]:
    """Return what a run was asked for, and what it depends on.

    Parameters
    ----------
    selected : sequence of Claim
        The claims that it is about; not all need have been judged.
    profile : "quick" or "full"
        How many trajectories are spent.
    seed : int
        Of the run; each case has its own.
    """
    ids = [claim.id for claim in selected]
    documents = dict.fromkeys(claim.document for claim in selected)
    return {
        "command": verify_command(ids, profile, seed),
        "selected": ids,
        "profile": profile,
        "seed": seed,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "level": {
            "alpha": FAMILY_ALPHA,
            "n_readings": count_readings(selected),
            "method": LEVEL_METHOD,
        },
        "documents": {number: DOCUMENTS.get(number, "") for number in documents},
        "versions": environment(),
    }


def verdicts_record(
    run: Mapping[str, Any], results: Sequence[Result]
) -> dict[str, Any]:
    """Return the run and one nested record per claim, as the schema describes it.

    Parameters
    ----------
    run : dict
        From `run_record`.
    results : sequence of Result
        What has been judged so far.
    """
    claims = [_claim_record(result, run) for result in results]
    return {"schema": SCHEMA_ID, "run": run, "claims": claims}


def _claim_record(result: Result, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a claim: what it says, what was found, and every verdict of every case."""
    claim = result.claim
    return {
        **claim_fields(claim),
        "found": result.outcome,
        "as_recorded": result.as_recorded,
        "command": verify_command([claim.id], run["profile"], run["seed"]),
        "summary": summary_record(result),
        "cases": [_finding_record(finding) for finding in result.findings],
        "seconds": round(result.seconds, 3),
    }


def _finding_record(finding: Finding) -> dict[str, Any]:
    """Return one case: how it was simulated, and all its verdicts."""
    provenance = finding.ensemble.provenance
    kept = ("scheme", "dt", "unraveling", "norm_defect")
    pairs = zip(finding.case.readings, finding.verdicts, strict=True)
    return {
        "label": finding.case.label,
        "model": finding.case.model.name,
        "n_traj": finding.ensemble.n_traj,
        "seed": finding.ensemble.seed,
        "noise": [noise.name for noise in finding.case.model.noise],
        **{key: provenance[key] for key in kept},
        "verdicts": [_reading_record(reading, verdict) for reading, verdict in pairs],
        "limits": [_limit_record(limit) for limit in finding.case.limits],
    }


def _reading_record(reading: Reading, verdict: Verdict) -> dict[str, Any]:
    """Return a reading with its verdict, and what the two compared."""
    times = verdict.times
    return {
        "says": reading.says,
        "label": reading.label,
        "reference": reading.reference.method,
        "reference_error": reading.reference.error,
        "observables": list(verdict.names),
        "times": {"count": times.size, "first": times[0], "last": times[-1]},
        **verdict_record(verdict),
        "largest_bias": _largest_bias(verdict),
    }


def _largest_bias(verdict: Verdict) -> dict[str, Any] | None:
    """Return where the step bias is largest in standard errors, and how large it is."""
    if not np.isfinite(verdict.step_bias).all() or not verdict.step_bias.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.nan_to_num(np.abs(verdict.step_bias) / verdict.error, posinf=0.0)
    o, t = np.unravel_index(int(size.argmax()), size.shape)
    return {
        "observable": verdict.names[o],
        "time": verdict.times[t],
        "value": verdict.step_bias[o, t],
        "half_width": verdict.bias_error[o, t],
    }


def _limit_record(limit: Limit) -> dict[str, Any]:
    """Return a limit with the order that was found."""
    found = {"found_order": limit.found_order, "holds": limit.holds}
    kept = ("label", "sizes", "deviations", "order", "tolerance")
    return {**{name: getattr(limit, name) for name in kept}, **found}
