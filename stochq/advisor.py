"""Which unraveling to take: variance times cost, measured by pilots."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from stochq.arrays import Floats, as_times, whole_number
from stochq.atoms import Source, plan_of
from stochq.bias import observable_ranges
from stochq.choice import default_scheme
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import Dynamics, lower
from stochq.model import Model
from stochq.running.parallel import collect
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM
from stochq.unravelings import Choice, described

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UnravelingComparison", "compare_unravelings"]

#: An unraveling, as `simulate` takes it.
Unraveling = Mapping[Any, Choice]

#: Timed runs of a pilot, of which the fastest counts.
REPEATS = 2

#: Variances below this part of the squared range count as no variance at all.
NO_VARIANCE = 1e-20


@dataclass(frozen=True, eq=False)
class UnravelingComparison:
    """What one trajectory of each unraveling costs, and what it is worth.

    Attributes
    ----------
    names : tuple of str
        The O observables.
    unravelings : tuple of dict
        What was compared, N of them.
    schemes : tuple of Scheme
        What integrated each.
    seconds : ndarray, shape (N,) [s]
        Wall time of one trajectory on one core.
    variance : ndarray, shape (N, O)
        Variance of one trajectory, averaged over the times after the first, in each
        observable's unit squared.
    """

    names: tuple[str, ...]
    unravelings: tuple[Unraveling, ...]
    schemes: tuple[Scheme, ...]
    seconds: Floats
    variance: Floats

    @property
    def work(self) -> Floats:
        """Variance times seconds, shape (N, O): a standard error e costs work / e^2."""
        work: Floats = self.variance * self.seconds[:, None]
        return work

    @property
    def relative_work(self) -> Floats:
        """Geometric mean over observables of the work, relative to the best (N,).

        What does not fluctuate at all needs no sampling, and costs nothing; among the
        others, observables count that fluctuate in all of them.
        """
        work = self.work
        sampled = work.max(axis=1) > 0
        relative = np.zeros(len(work))
        if sampled.any():
            shared = work[sampled][:, (work[sampled] > 0).all(axis=0)]
            mean = self.seconds[sampled]
            if shared.size:
                mean = np.exp(np.log(shared).mean(axis=1))
            relative[sampled] = mean / mean.min()
        return relative

    @property
    def recommended(self) -> Unraveling:
        """The unraveling that reaches a standard error with the least work."""
        return self.unravelings[int(np.argmin(self.relative_work))]

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table: unraveling, scheme, observable, sd, seconds, work."""
        import pandas as pd

        count = len(self.names)
        labels = [_label(unraveling) for unraveling in self.unravelings]
        return pd.DataFrame(
            {
                "unraveling": np.repeat(labels, count),
                "scheme": np.repeat([repr(s) for s in self.schemes], count),
                "observable": np.tile(self.names, len(labels)),
                "sd": np.sqrt(self.variance).ravel(),
                "seconds": np.repeat(self.seconds, count),
                "work": self.work.ravel(),
            }
        )

    def __str__(self) -> str:
        """Write the table and the recommendation."""
        labels = [_label(unraveling) for unraveling in self.unravelings]
        wide = max(len(label) for label in labels)
        head = " ".join(f"{f'sd {name}':>12.12}" for name in self.names)
        lines = [f"{'unraveling':{wide}} {'us/traj':>9} {head} {'work':>7}"]
        relative = self.relative_work
        for k in np.argsort(relative, kind="stable").tolist():
            spread = " ".join(f"{s:12.4g}" for s in np.sqrt(self.variance[k]))
            micro = 1e6 * self.seconds[k]
            lines.append(f"{labels[k]:{wide}} {micro:9.3g} {spread} {relative[k]:7.3g}")
        exact = " (nothing to sample)" if relative.min() == 0 else ""
        lines.append(f"recommended: {_label(self.recommended)}{exact}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """Say what it holds, in one line."""
        return (
            f"UnravelingComparison({len(self.unravelings)} unravelings, "
            f"recommended: {_label(self.recommended)})"
        )


def _label(unraveling: Unraveling) -> str:
    """Return an unraveling in short."""
    if not unraveling:
        return "default"
    parts = []
    for key, choice in unraveling.items():
        names = key if isinstance(key, str) else ", ".join(key)
        parts.append(f"{names}: {described(choice)}")
    return "; ".join(parts)


def _candidates(model: Model) -> list[Unraveling]:
    """Return every choice for all dissipators together that fits the model."""
    names = tuple(dict.fromkeys(d.name for d in model.dissipators))
    if not names:
        raise ModelError(
            "`unravelings` must be given for a model without dissipators, which has "
            "nothing to choose, but is None"
        )
    fitting: list[Unraveling] = []
    for kind in get_args(Choice):
        unraveling = {names: kind()}
        try:
            default_scheme(lower(model, unraveling), np.zeros(1), 2)
        except SchemeMismatchError:
            continue
        fitting.append(unraveling)
    return fitting


def _checked(model: Model, unravelings: Any) -> list[Unraveling]:
    """Return the unravelings to compare, each known to fit."""
    if unravelings is None:
        return _candidates(model)
    if isinstance(unravelings, (str, Mapping)) or not isinstance(unravelings, Sequence):
        raise ModelError(
            "`unravelings` must be a list of dictionaries {name: choice}, "
            f"but is {unravelings!r:.60}"
        )
    if not unravelings:
        raise ModelError("`unravelings` must hold at least one, but is empty")
    for unraveling in unravelings:
        lower(model, unraveling)
    return [{} if unraveling is None else unraveling for unraveling in unravelings]


def _seconds(source: Source) -> float:
    """Return the wall time of one trajectory on one core, compiling left out."""
    source.run(0, 1)
    atoms = source.n_traj // ATOM
    best = np.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        source.run(0, atoms)
        best = min(best, time.perf_counter() - start)
    return best / (atoms * ATOM)


def _variance(source: Source, dynamics: Dynamics) -> Floats:
    """Return the variance of each observable, averaged over times (O,)."""
    spread = collect(source).moments.sd[:, 1:] ** 2
    variance: Floats = spread.mean(axis=1)
    nothing = NO_VARIANCE * observable_ranges(dynamics) ** 2
    return np.where(variance <= nothing, 0.0, variance)


def compare_unravelings(
    model: Model,
    times: Any,
    unravelings: Sequence[Unraveling | None] | None = None,
    *,
    seed: int,
    pilot: int = 512,
    n_traj: int = 1000,
) -> UnravelingComparison:
    """Run a pilot of each unraveling and compare variance times cost.

    All unravelings of a model have the same averages. A standard error e takes
    variance / e^2 trajectories, hence variance times seconds / e^2 of work. Seconds
    are those of this machine now; variances depend on the model alone.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,)
        Output times, at least two, strictly increasing [time].
    unravelings : list of dict, optional
        What to compare, each as `simulate` takes it; None in the list is the default.
        Without a list, every choice that fits all dissipators together.
    seed : int
        Of the pilots.
    pilot : int, default 512
        Trajectories of each pilot, at least 64, rounded up to a multiple of 64.
    n_traj : int, default 1000
        Planned number of trajectories, which sets the step of each scheme.

    Returns
    -------
    UnravelingComparison
        Print it for the table.

    Raises
    ------
    ModelError
        If the times or the unravelings are not what they must be.
    SchemeMismatchError
        If a given unraveling does not fit the model.
    """
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    grid = as_times(times)
    if grid.size < 2:
        raise ModelError(f"`times` must hold at least two, but holds {grid.size}")
    whole_number(seed, "seed", at_least=0)
    whole_number(n_traj, "n_traj", at_least=2)
    count = -(-whole_number(pilot, "pilot", at_least=ATOM) // ATOM) * ATOM
    compared = _checked(model, unravelings)
    schemes, seconds, variances = [], [], []
    for unraveling in compared:
        dynamics = lower(model, unraveling)
        scheme = default_scheme(dynamics, grid, n_traj)
        source = plan_of(dynamics, grid, scheme, seed, count)
        schemes.append(scheme)
        seconds.append(_seconds(source))
        variances.append(_variance(source, dynamics))
    return UnravelingComparison(
        names=tuple(model.observables),
        unravelings=tuple(compared),
        schemes=tuple(schemes),
        seconds=np.array(seconds),
        variance=np.array(variances),
    )
