"""Self-test: which mistakes a verdict of this size would catch.

Each faulty run is judged against the right reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from scipy.special import ndtri
from tqdm.auto import tqdm

from stochq.arrays import Floats
from stochq.driver import How, run_setting
from stochq.errors import ModelError, SchemeMismatchError
from stochq.evidence.deviates import POWER
from stochq.evidence.remedies import FEWEST
from stochq.extras import as_extras
from stochq.faults import (
    Fault,
    ModelFault,
    drift_faults,
    missing_parts,
    step_faults,
    stream_faults,
    wrong_correlations,
    wrong_hamiltonians,
    wrong_operators,
    wrong_rates,
)
from stochq.model import Model
from stochq.references import Reference, master_equation
from stochq.running.parallel import checked_jobs
from stochq.running.stopping import as_goal
from stochq.schemes import Scheme
from stochq.setting import Setting, setting_of
from stochq.streams import child_seed
from stochq.trials import Outcome, SelfTest, Trial
from stochq.unravelings import Choice
from stochq.verdict import Verdict
from stochq.verification import verify

__all__ = ["planted_faults", "selftest"]

#: Curves that differ by less than this part of a range differ by rounding.
ROUNDING = 1e-9


def planted_faults(right: Setting) -> list[Fault]:
    """Return all faults of a run, from what is missing to repeated seeds."""
    model = right.model
    return [
        *missing_parts(model),
        *wrong_rates(model),
        *wrong_hamiltonians(model),
        *wrong_correlations(model),
        *wrong_operators(model),
        *drift_faults(right),
        *step_faults(right),
        *stream_faults(),
    ]


@dataclass(frozen=True, eq=False)
class _Bench:
    """What a fault is tried against.

    ``averages`` (O, T) are those of the right model where the reference has points, or
    None if they are not known; ``smallest`` (O, 1) what is rounding in them.
    """

    right: Setting
    reference: Reference
    verdict: Verdict
    averages: Floats | None
    smallest: Floats
    n_jobs: int | None

    def try_out(self, fault: Fault) -> Trial:
        """Plant a fault and judge its trajectories."""
        if fault.equivalent(self.right):
            return Trial(fault.name, fault.what, "equivalent", reason=fault.excuse)
        difference = self._difference(fault)
        if difference is not None and (np.abs(difference) <= self.smallest).all():
            reason = "not seen by these observables, times and this initial state"
            return Trial(fault.name, fault.what, "unseen", reason=reason)
        seed = child_seed(self.right.seed, crc32(f"{fault.name} {fault.what}".encode()))
        n_traj = self.verdict.n_traj
        try:
            ensemble = fault.plant(self.right, seed, n_traj).sample(self.n_jobs)
        except (ModelError, SchemeMismatchError) as error:
            return Trial(fault.name, fault.what, "refused", reason=str(error))
        found = verify(
            ensemble,
            self.reference,
            alpha=self.verdict.alpha,
            resolution=self.verdict.resolution,
        )
        judged = found if np.isfinite(found.critical_z) else self.verdict
        needed = _needed(judged, fault, difference)
        outcome, reason = _outcome(fault, found, needed)
        return Trial(
            fault.name,
            fault.what,
            outcome,
            found.status,
            found.max_z,
            found.p_value,
            needed,
            reason,
        )

    def _difference(self, fault: Fault) -> Floats | None:
        """Return what a fault changes in the compared curves, (O, T), if known."""
        curves = fault.curves(self.right)
        if curves is None or self.averages is None:
            return None
        return _at(curves, self.reference) - self.averages


def _at(curves: Reference, reference: Reference) -> Floats:
    """Return curves at the points of a reference, shape (O, T)."""
    rows = [curves.names.index(name) for name in reference.names]
    gaps = np.abs(curves.times[:, None] - reference.times)
    return curves.values[np.ix_(rows, gaps.argmin(axis=0))]


def _needed(found: Verdict, fault: Fault, difference: Floats | None) -> float:
    r"""Return how many trajectories would catch a fault with 99 % probability.

    .. math:: n \min_i \left(\frac{(z_{crit} + z_{0.99})\, \sigma_i}
        {|\Delta_i|}\right)^2

    over all points i, with the errors of the faulty run (of the right one, if the
    faulty one has none), and for the score of a rate that is wrong by a factor: n
    (detectable rate / \|factor - 1\|)^2. Errors of fewer than 100 trajectories are not
    known, so that it is at least that.
    """
    if difference is None:
        return np.nan
    changed = (difference != 0) & np.isfinite(found.error)
    reach = found.critical_z + float(ndtri(POWER))
    ratios = reach * found.error[changed] / np.abs(difference[changed])
    smallest = float(ratios.min(initial=np.inf))
    if isinstance(fault, ModelFault) and fault.rate in found.detectable_rate:
        detectable = found.detectable_rate[fault.rate]
        smallest = min(smallest, detectable / abs(fault.factor - 1.0))
    return max(float(FEWEST), found.n_traj * smallest**2)


def _outcome(fault: Fault, found: Verdict, needed: float) -> tuple[Outcome, str]:
    """Return whether a verdict on faulty trajectories caught them, and why (not)."""
    told = "; ".join(found.reasons)
    if found.status == "fail":
        return "caught", found.where
    if fault.name == "time step too large":
        if "step bias" in told:
            return "caught", told
        if found.status == "pass":
            size = f"at most {found.bias:.2g} standard errors"
            return "allowed for", f"its bias, {size}, is known and taken off"
    if np.isnan(needed):
        return "missed", told or "the verdict passes"
    return "missed", f"about {needed:.2g} trajectories would catch it"


def selftest(
    model: Model,
    times: Any,
    *,
    n_traj: int,
    seed: int = 1,
    unraveling: Mapping[Any, Choice] | None = None,
    scheme: Scheme | None = None,
    reference: Reference | None = None,
    alpha: float = 1e-3,
    resolution: float = 0.1,
    n_jobs: int | None = None,
    progress: bool | None = None,
) -> SelfTest:
    """Plant faults one at a time, and see which of them a verdict catches.

    Missing parts, wrong rates, operators and correlations, a forgotten Ito drift, a
    step too large and repeated seeds: each faulty run has as many trajectories as the
    right one, and is verified against the right reference. Which faults change no
    average is found by comparing averaged equations.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,) [time]
        Output times.
    n_traj : int
        Trajectories of the right run, and of each faulty one.
    seed : int, default 1
        Of the right run; every fault has a seed derived from it.
    unraveling, scheme
        As in `simulate`.
    reference : Reference, optional
        What to verify against; by default the model's averaged equation.
    alpha, resolution
        As in `verify`.
    n_jobs : int, optional
        As in `simulate`.
    progress : bool, optional
        Show a bar over the faults; by default on a terminal only.

    Returns
    -------
    SelfTest
        ``print(found.explain())`` shows the table.

    Raises
    ------
    ModelError, SchemeMismatchError, ValueError
        If an argument does not fit.
    """
    goal = as_goal(n_traj, None, None, list(getattr(model, "observables", ())))
    extras = as_extras(model, None, None, None, None, False, False)
    jobs = checked_jobs(n_jobs)
    right = setting_of(model, times, seed, unraveling, extras, scheme, goal)
    reference = reference or master_equation(model, right.times)
    ensemble = run_setting(right, goal, How(n_jobs=jobs, progress=False))
    verdict = verify(ensemble, reference, alpha=alpha, resolution=resolution)
    trials: list[Trial] = []
    if verdict.status == "pass":
        averages, smallest = _averages(right, reference)
        bench = _Bench(right, reference, verdict, averages, smallest, jobs)
        shown = None if progress is None else not progress
        faults = tqdm(planted_faults(right), unit="fault", disable=shown, leave=False)
        trials = [bench.try_out(fault) for fault in faults]
    return SelfTest(model.name, verdict, tuple(trials), seed)


def _averages(right: Setting, reference: Reference) -> tuple[Floats | None, Floats]:
    """Return the averages of the right model, if known, and what is rounding in them.

    The reference may be a closed formula; what a fault changes is the change of the
    averaged equation's solution. A formula's own error hides as much of it.
    """
    rows = [right.names.index(name) for name in reference.names]
    smallest = ROUNDING * right.ranges[rows, None] + reference.error
    try:
        curves = master_equation(right.model, right.times, sensitivity=False)
    except ModelError:
        return None, smallest
    return _at(curves, reference), smallest + 2 * curves.error
