"""Words under and in figures: plain-text formulas set as physics, and captions."""

from __future__ import annotations

import re
import textwrap

import numpy as np

from stochq.claims import Finding, Result
from stochq.formulas import symbols

__all__ = ["case_caption", "claim_caption", "compared", "probability", "typeset"]

_SCRIPT = re.compile(r"([A-Za-zΑ-Ωα-ω]+|⟩)([_^])(\{[^{}]*\}|\w+(?:,\w+)*)")


def typeset(text: str, width: int | None = None) -> str:
    """Return plain text as matplotlib shows physics: "gamma n_1" as γ with n₁.

    Parameters
    ----------
    text : str
        Plain text; a dollar sign stays one.
    width : int, optional
        Letters in a line.
    """
    text = symbols(text.replace("$", r"\$"))
    text = text if width is None else textwrap.fill(text, width)
    return _SCRIPT.sub(_script, text)


def _script(match: re.Match[str]) -> str:
    """Return a sub- or superscript as mathtext."""
    base, kind, script = match[1], match[2], match[3].strip("{}")
    return rf"$\mathregular{{{base}{kind}{{{script}}}}}$"


def probability(p: float) -> str:
    """Return "= 0.12", or "< 1e-300" where the number is too small to be held."""
    return f"= {p:.2g}" if p > 1e-300 else "< 1e-300"


def compared(finding: Finding) -> list[str]:
    """Return the observables that any reading of a case is about."""
    names = {name for r in finding.case.readings for name in r.reference.names}
    return [name for name in finding.ensemble.names if name in names]


def case_caption(finding: Finding, shown: int) -> str:
    """Return how a case was simulated and what was found, in one sentence."""
    ensemble = finding.ensemble
    dt = ensemble.scheme.dt
    step = f"dt = {dt:.3g}" if np.isfinite(dt) else "no time step"
    parts = [
        f"{finding.case.label}: {ensemble.n_traj} trajectories",
        f"{type(ensemble.scheme).__name__} ({step})",
    ]
    choices = ensemble.provenance["unraveling"]
    parts += [f"{name} as {kind}" for name, kind in choices.items()]
    for reading, verdict in zip(finding.case.readings, finding.verdicts, strict=True):
        largest = f"max |z| = {verdict.max_z:.3g} for {verdict.where}"
        chance = f"p {probability(verdict.p_value)}"
        parts.append(
            f"{verdict.status} against “{reading.label}” ({largest}, {chance})"
        )
    for limit in finding.case.limits:
        order = f"N^{{{-limit.found_order:.3g}}}"
        status = "holds" if limit.holds else "fails"
        parts.append(f"limit “{limit.label}” {status} (deviation falls as {order})")
    if shown < len(compared(finding)):
        parts.append(f"{shown} of {len(compared(finding))} observables shown")
    return ", ".join(parts) + "."


def claim_caption(result: Result) -> str:
    """Return the outcome of a claim and the recorded reason for it."""
    found = f"Found: {result.outcome}."
    if not result.as_recorded:
        found = f"Found: {result.outcome}, but recorded as: {result.claim.expected}."
    if result.claim.reason:
        found += f" Recorded reason: {result.claim.reason}."
    return found
