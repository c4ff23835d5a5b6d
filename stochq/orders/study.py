"""Strong and weak orders of a scheme on a model, on shared Brownian paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Floats, as_times, whole_number
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import Dynamics, lower
from stochq.model import Model
from stochq.orders.curves import ErrorCurve
from stochq.orders.errors import exact_weak, sampled_errors
from stochq.orders.levels import CELLS, levels_of
from stochq.orders.text import study_text
from stochq.orders.truths import paths_of
from stochq.replay import checked_scheme
from stochq.running.parallel import checked_jobs
from stochq.schemes import Scheme
from stochq.schemes.lanes import ATOM
from stochq.streams import Purpose, stream_key
from stochq.structure import commuting_groups
from stochq.unravelings import Choice

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Convergence", "convergence"]

#: Most cells of a path.
MOST_CELLS = 2**22


@dataclass(frozen=True, eq=False)
class Convergence:
    """Errors of a scheme at halved steps on one Brownian path, and their orders.

    Attributes
    ----------
    scheme : Scheme
        With its largest step.
    model : str
        Name of the model.
    time : float
        When the errors are taken [time].
    n_traj, seed : int
        Trajectories 0 ... n_traj - 1 of that seed, at every level.
    noise_commutes : bool
        Whether all noise channels commute, so that `strong_commuting` is declared.
    reference : str
        What strong errors are distances from.
    dts : ndarray, shape (L,) [time]
        Steps.
    strong : ErrorCurve or None
        Root mean square of |psi - psi_ref|. None where the model has jumps or the
        scheme has no paths.
    weak : ErrorCurve or None
        Norm over observables of the exact mean of the scheme minus the exact average;
        nothing is sampled. None where averages are out of reach.
    sampled : ErrorCurve or None
        The same norm of the sampled mean of (O - O_ref) on shared paths. None where
        the scheme has no paths.
    notes : tuple of str
        Why something is None.
    """

    scheme: Scheme
    model: str
    time: float
    n_traj: int
    seed: int
    noise_commutes: bool
    reference: str
    dts: Floats
    strong: ErrorCurve | None
    weak: ErrorCurve | None
    sampled: ErrorCurve | None
    notes: tuple[str, ...]

    @property
    def curves(self) -> dict[str, ErrorCurve]:
        """Those that exist, by kind: "strong", "weak", "weak, sampled"."""
        kinds = {
            "strong": self.strong,
            "weak": self.weak,
            "weak, sampled": self.sampled,
        }
        return {kind: curve for kind, curve in kinds.items() if curve is not None}

    @property
    def agrees(self) -> bool:
        """Whether no curve contradicts the order that the scheme declares."""
        return all(curve.agrees for curve in self.curves.values())

    def to_frame(self) -> pd.DataFrame:
        """Return a tidy table, one row for every kind of error and level."""
        import pandas as pd

        parts = [
            pd.DataFrame(
                {
                    "model": self.model,
                    "scheme": repr(self.scheme),
                    "kind": kind,
                    "dt": curve.dts,
                    "error": curve.errors,
                    "mcse": curve.mcse,
                    "left_out": curve.left_out,
                    "slope": curve.slope,
                    "slope_error": curve.slope_error,
                    "declared": curve.declared,
                }
            )
            for kind, curve in self.curves.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def __str__(self) -> str:
        """Return the errors and orders as a plain-text table."""
        return study_text(self)


def _checked(model: Any, times: Any, scheme: Any, levels: Any, n_traj: Any) -> Floats:
    """Check what a study is about and return the times."""
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    grid = as_times(times)
    if grid.size < 2:
        raise ModelError("`times` must hold at least two times, but holds 1")
    if not checked_scheme(scheme).dt < np.inf:
        raise SchemeMismatchError(
            f"`scheme` must have a step, but {scheme} has none: there is nothing to "
            "converge"
        )
    whole_number(levels, "levels", at_least=3)
    whole_number(n_traj, "n_traj", at_least=ATOM)
    steps = float(np.ceil(np.diff(grid) / scheme.dt).sum())
    if np.log2(CELLS * steps) + levels - 1 > np.log2(MOST_CELLS):
        raise ValueError(
            f"`levels` must leave at most {MOST_CELLS} cells on the path, but "
            f"{levels} levels from dt = {scheme.dt:g} on make more"
        )
    return grid


def _declared_strong(dynamics: Dynamics, scheme: Scheme) -> tuple[bool, float]:
    """Return whether the noise commutes, and the strong order declared for it."""
    commutes = len(commuting_groups(dynamics.noise)) <= 1
    traits = scheme.traits
    return commutes, traits.strong_commuting if commutes else traits.strong


def _notes(dynamics: Dynamics, scheme: Scheme, weak: ErrorCurve | None) -> list[str]:
    """Return why errors of some kind are missing."""
    notes = []
    if dynamics.jumps:
        notes.append("no strong errors: jumps are compared by averages only")
    elif dynamics.monitors or dynamics.mixed:
        notes.append("no strong errors: monitors are compared by averages only")
    elif not scheme.traits.paths:
        name = type(scheme).__name__
        notes.append(f"no strong errors: {name} has means, but no paths")
    if weak is None:
        notes.append("no exact weak errors: the average of a step is out of reach")
    return notes


def convergence(
    model: Model,
    times: Any,
    scheme: Scheme,
    *,
    levels: int = 6,
    n_traj: int = 1024,
    seed: int,
    unraveling: Mapping[str, Choice] | None = None,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> Convergence:
    r"""Measure the strong and the weak order of a scheme on a model.

    .. math:: e_\text{strong}(h) = \sqrt{\overline{|\psi_h - \psi|^2}}, \qquad
        e_\text{weak}(h) = \Bigl[\textstyle\sum_O
        \bigl(\overline{O_h} - \overline{O}\bigr)^2 / R_O^2\Bigr]^{1/2}

    at the last time, for steps h, h/2, h/4 ... on one Brownian path; R is the range of
    an observable. The reference on the path is the exact solution where all parts of
    the model commute, else the product of exponentials over the path's cells, of which
    the smallest step has 32. Orders are slopes of weighted fits of log e on log h at
    vanishing h; levels that rounding or sampling error drowns are left out.

    Parameters
    ----------
    model : Model
        The physics, with noise or jumps. With jumps there are weak errors only.
    times : array_like, shape (T,) [time]
        Output times, at least two; errors are taken at the last.
    scheme : Scheme
        Its dt is the largest step.
    levels : int, default 6
        Number of steps, at least 3.
    n_traj : int, default 1024
        Trajectories at every level, at least 64.
    seed : int
        Any integer >= 0.
    unraveling : dict of str to Choice, optional
        As in `simulate`.
    n_jobs : int, default 1
        Parallel threads; the result does not depend on them.
    progress : bool, optional
        Show a bar; by default on a terminal only.

    Returns
    -------
    Convergence

    Raises
    ------
    ValueError
        If a number is out of range.
    ModelError
        If the model or the times do not fit.
    SchemeMismatchError
        If the scheme has no step, cannot integrate this model, or has neither paths
        nor averages that could be compared.
    """
    times = _checked(model, times, scheme, levels, n_traj)
    stream_key(seed, Purpose.NOISE)  # checks the seed
    n_jobs = checked_jobs(n_jobs)
    dynamics = lower(model, unraveling)
    if not (dynamics.noise or dynamics.jumps or dynamics.monitors):
        raise ModelError("`model` must have noise, jumps or monitors, but has none")
    steps = levels_of(times, scheme, levels)
    steps.base.prepare(dynamics, steps.grids[0], seed)  # refuses what it cannot do
    commutes, strong_order = _declared_strong(dynamics, scheme)
    declared = (strong_order, scheme.traits.weak)
    weak = exact_weak(dynamics, times, steps, declared[1])
    strong, sampled, reference = None, None, "the averaged equation"
    if steps.base.traits.paths:
        paths = paths_of(dynamics, times, steps, seed, n_traj)
        if not scheme.traits.paths:
            paths = replace(paths, states=None)
        strong, sampled = sampled_errors(
            dynamics, steps, paths, declared, n_jobs=n_jobs, progress=progress
        )
        reference = paths.label
    elif weak is None:
        raise SchemeMismatchError(
            f"`scheme` must have paths or averages within reach, but {scheme} has "
            "neither for this model; use Strang(dt=...)"
        )
    return Convergence(
        scheme=scheme,
        model=model.name,
        time=float(times[-1]),
        n_traj=n_traj,
        seed=seed,
        noise_commutes=commutes,
        reference=reference,
        dts=steps.dts,
        strong=strong,
        weak=weak,
        sampled=sampled,
        notes=tuple(_notes(dynamics, scheme, weak)),
    )
