"""Assertions for test suites: a model's trajectories agree with their average.

A test of random numbers has a false-alarm rate, and a size of fault below which it sees
nothing. Both are stated here: a right model fails with probability `alpha` over seeds
(and at one seed always or never), and a run that could not have seen a shift of
`resolution` fails as well, because a test that cannot fail is not one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stochq.ensemble import Ensemble
from stochq.model import Model
from stochq.references import Reference, master_equation
from stochq.schemes import Scheme
from stochq.simulation import simulate
from stochq.unravelings import Choice
from stochq.verdict import Verdict
from stochq.verification import verify

__all__ = ["assert_agree", "assert_matches_master"]

#: Probability that a right model fails: below one in a year of nightly runs of
#: thousands of such tests.
ALPHA = 1e-6

#: Shift of a curve, in units of its scale, that must be detectable.
RESOLUTION = 0.1

#: Trajectories with which shifts of that size are usually detectable.
N_TRAJ = 4096


def assert_matches_master(
    model: Model,
    times: Any,
    *,
    n_traj: int = N_TRAJ,
    seed: int = 1,
    unraveling: Mapping[Any, Choice] | None = None,
    scheme: Scheme | None = None,
    reference: Reference | None = None,
    alpha: float = ALPHA,
    resolution: float = RESOLUTION,
    bias: Any = None,
    n_jobs: int | None = None,
) -> Verdict:
    """Assert that trajectories of a model have the averages that they must have.

    A right model fails this with probability `alpha` over seeds; with one seed it does
    so always or never, on any machine and for any `n_jobs`. A model whose curves are
    off by `resolution` fails with 99 % probability; where that cannot be promised, the
    assertion fails with the number of trajectories, or the step, that would do.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,) [time]
        Output times.
    n_traj : int, default 4096
        Trajectories.
    seed : int, default 1
        Any integer >= 0.
    unraveling : dict of str, or tuple of str, to Choice, optional
        As in `simulate`.
    scheme : Scheme, optional
        As in `simulate`.
    reference : Reference, optional
        What the averages must be; by default ``master_equation(model, times)``. To test
        a model against an independent truth, give curves of your own.
    alpha : float, default 1e-6
        The false-alarm rate.
    resolution : float, default 0.1
        The shift of an observable's curve, in units of its scale, that must be
        detectable.
    bias : float or array_like, shape (O, T), optional
        Bound on the step bias, as in `verify`.
    n_jobs : int, optional
        As in `simulate`.

    Returns
    -------
    Verdict
        It has passed.

    Raises
    ------
    AssertionError
        If the verdict is "fail" or "inconclusive"; the message has its explanation and
        the line that repeats it.
    ModelError, SchemeMismatchError, ValueError
        If arguments do not fit, as from `simulate` and `verify`.
    """
    __tracebackhide__ = True
    given = {"scheme": scheme, "unraveling": unraveling}
    how = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    run = ", ".join([f"model, times, n_traj={n_traj}, seed={seed}", *how])
    curves = "reference"
    if reference is None:
        reference, curves = (
            master_equation(model, times),
            "master_equation(model, times)",
        )
    ensemble = simulate(
        model,
        times,
        n_traj=n_traj,
        seed=seed,
        unraveling=unraveling,
        scheme=scheme,
        n_jobs=n_jobs,
        progress=False,
    )
    verdict = verify(ensemble, reference, alpha=alpha, resolution=resolution, bias=bias)
    _require(verdict, f"simulate({run}), {curves}", bias)
    return verdict


def assert_agree(
    ensemble: Ensemble,
    reference: Reference,
    *,
    alpha: float = ALPHA,
    resolution: float = RESOLUTION,
    bias: Any = None,
) -> Verdict:
    """Assert that an ensemble and a reference agree.

    The reference may be curves of your own, such as those of another package:
    ``Reference(times, names, values)``. What is said of false alarms and of faults that
    are seen in `assert_matches_master` holds here.

    Parameters
    ----------
    ensemble : Ensemble
        From `simulate`.
    reference : Reference
        Some or all of its observables and times.
    alpha : float, default 1e-6
        Probability, over seeds, that a right ensemble fails.
    resolution : float, default 0.1
        The shift of an observable's curve, in units of its scale, that must be
        detectable.
    bias : float or array_like, shape (O, T), optional
        Bound on the step bias, as in `verify`.

    Returns
    -------
    Verdict
        It has passed.

    Raises
    ------
    AssertionError
        If the verdict is "fail" or "inconclusive".
    ModelError
        If arguments do not fit, as from `verify`.
    """
    __tracebackhide__ = True
    verdict = verify(ensemble, reference, alpha=alpha, resolution=resolution, bias=bias)
    _require(verdict, "ensemble, reference", bias)
    return verdict


def _require(verdict: Verdict, arguments: str, bias: Any) -> None:
    """Raise unless a verdict has passed."""
    __tracebackhide__ = True
    if verdict.status == "pass":
        return
    told = f"alpha={verdict.alpha:g}, resolution={verdict.resolution:g}"
    told += "" if bias is None else ", bias=bias"
    rate = (
        f"a right model fails this test at {verdict.alpha:.3g} of all seeds"
        if verdict.status == "fail"
        else "a test that could not have seen the fault asked for does not pass"
    )
    raise AssertionError(
        f"{verdict.explain()}\n{rate}\nrepeat: verify({arguments}, {told}).explain()"
    )
