"""What became of planted faults: which were caught, and which cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from stochq.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Outcome", "SelfTest", "Trial"]

Outcome = Literal["caught", "missed", "allowed for", "equivalent", "unseen", "refused"]


@dataclass(frozen=True)
class Trial:
    """One planted fault, and what became of it.

    Attributes
    ----------
    fault, what : str
        The kind of mistake, and what it is made in.
    outcome : str
        "caught": the verdict fails, or says that the step bias is too large. "missed":
        it does not. "allowed for": the step bias is small, known and taken off.
        "equivalent": the averaged equation is the same, so that there is nothing to
        catch. "unseen": it is another equation, but the compared curves are the same:
        a gap in what is observed. "refused": the engine does not make this mistake.
    status : str
        Of the verdict on the faulty trajectories; empty where none were run.
    max_z, p_value : float
        Its largest deviation and its p-value.
    n_needed : float
        Trajectories that would catch it with 99 % probability, from the errors of the
        faulty run; NaN where its averages are not known exactly.
    reason : str
        What gave it away, or why it was not caught.
    """

    fault: str
    what: str
    outcome: Outcome
    status: str = ""
    max_z: float = np.nan
    p_value: float = np.nan
    n_needed: float = np.nan
    reason: str = ""

    @property
    def caught(self) -> bool:
        """Whether it was caught."""
        return self.outcome == "caught"


@dataclass(frozen=True, eq=False)
class SelfTest:
    """Planted faults, and which of them were caught.

    Attributes
    ----------
    name : str
        The model's.
    right : Verdict
        That of the right trajectories.
    trials : tuple of Trial
        One for each fault; none if the right trajectories do not pass.
    seed : int
        Of the right trajectories.
    """

    name: str
    right: Verdict
    trials: tuple[Trial, ...]
    seed: int

    def of(self, outcome: Outcome) -> list[Trial]:
        """Return the faults of one outcome."""
        return [trial for trial in self.trials if trial.outcome == outcome]

    @property
    def all_caught(self) -> bool:
        """Whether the right run passes, and no fault is missed.

        What is "unseen" is not missed, since no number of trajectories would show it.
        """
        return self.right.status == "pass" and not self.of("missed")

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table, one row for each fault."""
        import pandas as pd

        columns = ("fault", "what", "outcome", "caught", "status", "max_z", "p_value")
        table = {
            name: [getattr(trial, name) for trial in self.trials]
            for name in (*columns, "n_needed", "reason")
        }
        frame = pd.DataFrame(table)
        frame.insert(len(columns), "n_traj", self.right.n_traj)
        return frame

    def explain(self) -> str:
        """Return the faults in a table, and below it those that cannot be caught."""
        if self.right.status != "pass":
            return (
                f"nothing can be said about faults in {self.name!r}: the right "
                f"trajectories do not pass\n{self.right.explain()}"
            )
        lines = [repr(self), *_table(self.trials, self.right)]
        for outcome, meaning in LISTED.items():
            if found := self.of(outcome):
                lines += [f"{outcome} ({meaning}):", *_listed(found)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Count the faults, in one line."""
        if self.right.status != "pass":
            return f"SelfTest({self.name!r}: right run {self.right.status})"
        caught, missed = len(self.of("caught")), len(self.of("missed"))
        others = [
            f"{len(self.of(outcome))} {outcome}"
            for outcome in LISTED
            if self.of(outcome)
        ]
        counts = ", ".join([f"{caught} faults caught", f"{missed} missed", *others])
        return f"SelfTest({self.name!r}, n_traj={self.right.n_traj}: {counts})"


#: What is listed below the table, and what it means.
LISTED: dict[Outcome, str] = {
    "allowed for": "the step bias is known and taken off",
    "refused": "the engine does not make this mistake",
    "unseen": "another equation, but the same curves: what is observed has a gap",
    "equivalent": "the same averaged equation: nothing to catch",
}


def _table(trials: Sequence[Trial], right: Verdict) -> list[str]:
    """Return the lines of the table of what can be caught."""
    rows = [(" ", "fault", "in", "verdict", "max|z|", "p", "caught by n_traj")]
    for t in trials:
        if t.outcome in ("caught", "missed"):
            mark = " " if t.caught else "!"
            needed = "" if np.isnan(t.n_needed) else f"{t.n_needed:.2g}"
            numbers = (f"{t.max_z:.3g}", f"{t.p_value:.1e}", needed)
            rows.append((mark, t.fault, t.what, t.status, *numbers))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = list(zip(row, widths, strict=True))
        words = [text.ljust(width) for text, width in cells[:4]]
        lines.append(" ".join([*words, *(t.rjust(w) for t, w in cells[4:])]).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    lines += [f"! {t.fault} in {t.what}: {t.reason}" for t in trials if _missed(t)]
    return [*lines, f"(p < {right.alpha:g} is caught)"]


def _missed(trial: Trial) -> bool:
    """Tell whether a fault was missed."""
    return trial.outcome == "missed"


def _listed(trials: Sequence[Trial]) -> list[str]:
    """Return one line for all that differ only by what they are made in."""
    groups: dict[tuple[str, str], list[str]] = {}
    for t in trials:
        why = "" if t.outcome == "unseen" else f"; {t.reason}"  # the heading says it
        groups.setdefault((t.fault, why), []).append(t.what)
    return [f"  {fault}: {', '.join(w)}{why}" for (fault, why), w in groups.items()]
