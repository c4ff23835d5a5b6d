"""What every fault is: a name, what it changes, and the faulty run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stochq.assembly import ensemble_of
from stochq.atoms import Source
from stochq.ensemble import Ensemble
from stochq.references import Reference
from stochq.running.parallel import collect
from stochq.running.shards import span_of
from stochq.running.stopping import Goal
from stochq.setting import Setting

__all__ = ["Fault", "Planted"]


@dataclass(frozen=True, eq=False)
class Planted:
    """A faulty run, made ready.

    Attributes
    ----------
    setting : Setting
        What the run takes itself to be.
    source : Source
        What gives its values.
    """

    setting: Setting
    source: Source

    def sample(self, n_jobs: int | None = None) -> Ensemble:
        """Return the ensemble that an engine with this fault would return."""
        statistics = collect(self.source, n_jobs=n_jobs, progress=False)
        span = span_of(Goal(self.source.n_traj), None)
        return ensemble_of(self.setting, statistics, span, "n_traj", {})


class Fault(Protocol):
    """A mistake that can be planted in a run."""

    @property
    def name(self) -> str:
        """What kind of mistake it is."""

    @property
    def what(self) -> str:
        """What it is made in."""

    @property
    def excuse(self) -> str:
        """Why it would change nothing, if it changes nothing."""

    def equivalent(self, right: Setting) -> bool:
        """Tell whether it changes no average, whatever is observed."""

    def curves(self, right: Setting) -> Reference | None:
        """Return the exact averages of faulty trajectories, where they are known."""

    def plant(self, right: Setting, seed: int, n_traj: int) -> Planted:
        """Return the faulty run of a right one, with a seed of its own.

        Raises
        ------
        ModelError, SchemeMismatchError
            If the engine refuses to make this mistake.
        """
