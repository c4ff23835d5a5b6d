"""The multilevel estimate, its errors, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Floats
from stochq.mlmc.allocation import Plain, worst_kurtosis
from stochq.mlmc.levels import Level
from stochq.schemes import Exact, Scheme

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MultilevelEstimate"]


@dataclass(frozen=True, eq=False)
class MultilevelEstimate:
    """Means of observables from a sum over levels, with their errors and their cost.

    Attributes
    ----------
    names : tuple of str
        The O observables.
    times : ndarray, shape (T,) [time]
        Output times.
    mean : ndarray, shape (O, T)
        The estimate, in each observable's unit.
    mcse : ndarray, shape (O, T)
        Its Monte Carlo standard error: the root of the summed variances of the levels.
    bias : ndarray, shape (O, T)
        Size of the step bias that is left, extrapolated from the last corrections. It
        is an upper estimate: their sampling error enters it too.
    tolerance : ndarray, shape (O,)
        Root mean square error that was asked for.
    levels : tuple of Level
        Every level with its statistics; costs are counted in steps.
    telescoping : ndarray, shape (L,)
        Largest deviation between what a level's coarse steps and the fine steps of the
        level below have as a mean, in standard errors (NaN on level 0).
    plain : Plain
        Plain Monte Carlo of the same scheme to the same tolerance, with whichever of
        the levels' steps makes it cheapest; sized from the measured variance.
    warnings : tuple of str
        What makes it less certain than it looks.
    seed : int
        Of all levels.
    scheme : Scheme
        With the coarsest step.
    provenance : dict
        Scheme, unraveling, calculus, size of the first sample of a level, wall time.
    """

    names: tuple[str, ...]
    times: Floats
    mean: Floats
    mcse: Floats
    bias: Floats
    tolerance: Floats
    levels: tuple[Level, ...]
    telescoping: Floats
    plain: Plain
    warnings: tuple[str, ...]
    seed: int
    scheme: Scheme
    provenance: Mapping[str, Any]

    @property
    def rmse(self) -> Floats:
        """Estimated root mean square error, at most the tolerance, shape (O, T)."""
        error: Floats = np.hypot(self.mcse, self.bias)
        return error

    @property
    def cost(self) -> int:
        """Steps of all trajectories of all levels."""
        return sum(level.cost for level in self.levels)

    @property
    def seconds(self) -> float:
        """Wall time of all levels."""
        return sum(level.seconds for level in self.levels)

    @property
    def saving(self) -> float:
        """Steps of plain Monte Carlo over those of this estimate."""
        return self.plain.cost / self.cost

    @property
    def saving_seconds(self) -> float:
        """Estimated time of plain Monte Carlo over that of this estimate."""
        return self.plain.seconds / self.seconds

    @property
    def plain_is_cheaper(self) -> bool:
        """Whether plain Monte Carlo to the same tolerance would take fewer steps."""
        return self.saving < 1.0

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: observable, time, mean, mcse_mean, step_bias, rmse."""
        import pandas as pd

        return pd.DataFrame(
            {
                "observable": np.repeat(self.names, self.times.size),
                "time": np.tile(self.times, len(self.names)),
                "mean": self.mean.ravel(),
                "mcse_mean": self.mcse.ravel(),
                "step_bias": self.bias.ravel(),
                "rmse": self.rmse.ravel(),
            }
        )

    def levels_frame(self) -> pd.DataFrame:
        """Return one row per level and observable.

        The mean of the correction (that of P_0 on level 0) and its variance are the
        largest over times; cost, seconds, kurtosis and telescoping are the level's.
        """
        import pandas as pd

        count = len(self.names)
        columns: dict[str, Any] = {
            "level": [x.number for x in self.levels],
            "h": [x.h for x in self.levels],
            "n_traj": [x.n_traj for x in self.levels],
            "cost": [x.cost for x in self.levels],
            "seconds": [x.seconds for x in self.levels],
            "kurtosis": [worst_kurtosis(x, self._limits) for x in self.levels],
            "telescoping": self.telescoping,
        }
        frame = pd.DataFrame({k: np.repeat(v, count) for k, v in columns.items()})
        frame.insert(1, "observable", np.tile(self.names, len(self.levels)))
        means = [np.abs(x.mean).max(axis=1) for x in self.levels]
        frame.insert(4, "mean_difference", np.concatenate(means))
        spread = [x.variance.max(axis=1) for x in self.levels]
        frame.insert(5, "variance", np.concatenate(spread))
        return frame

    @property
    def _limits(self) -> Floats:
        """The tolerance as a column, shape (O, 1)."""
        return self.tolerance[:, None]

    def _accuracy(self) -> str:
        """Say how large the error is where it is largest."""
        ratio = self.rmse / self._limits
        o, t = np.unravel_index(ratio.argmax(), ratio.shape)
        return (
            f"largest root mean square error: {ratio[o, t]:.0%} of the tolerance, "
            f"{self.rmse[o, t]:.3g} for {self.names[o]!r} at t = {self.times[t]:g}, "
            f"from a sampling error of {self.mcse[o, t]:.3g} and a step bias of about "
            f"{self.bias[o, t]:.3g}"
        )

    def _comparison(self) -> str:
        """Say what plain Monte Carlo would take."""
        plain = self.plain
        if isinstance(self.scheme, Exact):
            return "no levels: Exact() has no step, so this is plain Monte Carlo"
        answer = "is cheaper" if self.plain_is_cheaper else "costs more"
        return (
            f"plain Monte Carlo {answer}: {plain.n_traj} trajectories with step "
            f"{plain.h:.3g} would take {plain.cost:.3g} steps, {self.saving:.3g} times "
            f"the {self.cost:.3g} here, and about {plain.seconds:.2g} s, "
            f"{self.saving_seconds:.3g} times the {self.seconds:.2g} s here"
        )

    def explain(self) -> str:
        """Return the estimate in words, one statement per line."""
        first, last = self.levels[0], self.levels[-1]
        sizes = ", ".join(str(level.n_traj) for level in self.levels)
        lines = [
            self._accuracy(),
            f"levels: {len(self.levels)}, steps {first.h:.3g} to {last.h:.3g}, with "
            f"{sizes} trajectories",
            self._comparison(),
        ]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    def __repr__(self) -> str:
        """Say what was estimated, in one line."""
        worst = float((self.rmse / self._limits).max())
        return (
            f"MultilevelEstimate({len(self.names)} observables, {self.times.size} "
            f"times, rmse {worst:.0%} of tolerance, {len(self.levels)} levels, "
            f"saving={self.saving:.3g}, warnings={len(self.warnings)}, "
            f"seed={self.seed}, scheme={self.scheme})"
        )
