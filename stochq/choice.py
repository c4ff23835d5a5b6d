"""The default scheme: what fits a model's structure, with a step its error can bear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from stochq.arrays import Floats, adjoint, as_times, whole_number
from stochq.atoms import plan_of
from stochq.bias import exact_step_bias, observable_ranges
from stochq.envelopes import Sampled, evaluate
from stochq.errors import SchemeMismatchError
from stochq.lowering import Dynamics, lower
from stochq.model import Model
from stochq.schemes import SCHEMES, EulerMaruyama, Exact, Midpoint, Scheme, Strang
from stochq.schemes.dense_output import TOLERANCE
from stochq.schemes.lanes import ATOM
from stochq.schemes.methods import Method, flow_method
from stochq.schemes.monitors import strongest_monitor
from stochq.schemes.splitting import has_flow
from stochq.schemes.traits import StepGrid, grid_for
from stochq.structure import commute, commuting_groups
from stochq.unravelings import Choice

__all__ = ["default_scheme", "explain_scheme", "rough_step"]

#: Part of the expected sampling error that the default step may add as bias.
BIAS_SHARE = 0.1

#: A spread below this part of the range does not call for a smaller step.
SPREAD_FLOOR = 1e-3

#: Times at which functions of time are looked at.
PROBES = 2048

#: Part of its range that a function of time may change by in one step.
CHANGE = 0.1

#: What a monitor may tell in one step: <c^dag c> dt.
TOLD = 0.1

#: Bias of a first, rough step, as part of the range.
ROUGH = 0.01

#: A scheme with its step left open.
Family = Callable[[float], Scheme]


def _probed(dynamics: Dynamics, times: Floats) -> Floats:
    """Return times at which to look at a model; one is enough if nothing changes."""
    return np.linspace(times[0], times[-1], PROBES if dynamics.time_dependent else 1)


def _rate(dynamics: Dynamics) -> float:
    """Return a bound on how fast anything moves [1/time]."""
    rate = float(abs(dynamics.effective_hamiltonian).sum(axis=1).max(initial=0.0))
    monitored = [m.operator for m in dynamics.monitors]
    squares = [abs(L) @ abs(L) for L in dynamics.noise]
    squares += [abs(adjoint(c)) @ abs(c) for c in monitored]
    if squares:
        rate += float(sum(squares[1:], start=squares[0]).sum(axis=1).max())
    return max(rate, 1e-300)


def _heuristic_dt(dynamics: Dynamics, times: Floats) -> float:
    """Return a twentieth of the fastest local time of the model."""
    probed = _probed(dynamics, times)[:: PROBES // 64]
    return 0.05 / max(_rate(dynamics.at(float(t))) for t in probed)


def _resolving_dt(dynamics: Dynamics, times: Floats) -> float:
    """Return a step in which no function of time changes by much."""
    probed = _probed(dynamics, times)
    steps = [np.inf]
    for f in dynamics.functions:
        if isinstance(f, Sampled):  # somebody chose these times for a reason
            steps.append(float(np.diff(f.times).min()))
            continue
        values = evaluate(f, probed)
        slope = np.abs(np.diff(values)).max() / (probed[1] - probed[0])
        reach = np.abs(values).max()
        if slope > 0:
            steps.append(max(CHANGE * reach / slope, probed[1] - probed[0]))
    return float(min(steps))


def _fitting(dynamics: Dynamics) -> Family:
    """Return the family that a model's structure calls for."""
    for family in (Strang, Midpoint, EulerMaruyama):
        if _refusal(family(1.0), dynamics) is None:
            return family
    raise SchemeMismatchError(
        "a model must fit one of the schemes, but this one fits none: "
        f"{_refusal(Strang(1.0), dynamics)}"
    )


def _refusal(scheme: Scheme, dynamics: Dynamics) -> str | None:
    """Return why a scheme refuses a model, or None."""
    nowhere = StepGrid(np.zeros(0), (), (), (), ())
    try:
        scheme.prepare(dynamics, nowhere, 0)
    except SchemeMismatchError as error:
        return str(error)
    return None


def _largest_step(
    dynamics: Dynamics, times: Floats, budget: Floats, family: Family, dt: float
) -> float | None:
    """Return a dt, at most the given one, whose bias keeps a budget (O,).

    None stands for a bias that is out of reach. The bias falls as dt^p, p the weak
    order, which gives the next dt to try.
    """
    for _ in range(40):
        bias = exact_step_bias(dynamics, times, family(dt), quick=True)
        if bias is None:
            return None
        excess = float((np.abs(bias) / budget[:, None]).max())
        if excess <= 1.0:
            break
        power = 1.0 / family(dt).traits.weak
        dt *= float(np.clip(0.95 * excess**-power, 0.1, 0.9))
    return dt


def _typical_spread(dynamics: Dynamics, times: Floats, scheme: Scheme) -> Floats:
    """Return the median over times of each observable's spread, from one atom (O,).

    The pilot has a seed of its own, so that the step depends on the model, the times
    and the number of trajectories only.
    """
    values = plan_of(dynamics, times, scheme, seed=0, n_traj=ATOM).run(0, 1).values
    spread: Floats = np.median(values.std(axis=-1)[:, 1:], axis=1)
    return spread


def _watching_dt(dynamics: Dynamics, times: Floats, scheme: Scheme) -> float:
    """Return a step in which no monitor tells much, whatever is observed.

    Means bear larger steps, single trajectories and their signals do not. The mean of
    <c^dag c> over a pilot, at its largest, is the rate at which a monitor tells.
    """
    if not dynamics.monitors:
        return np.inf
    squares = tuple(adjoint(m.operator) @ m.operator for m in dynamics.monitors)
    watched = replace(dynamics, observables=squares)
    values = plan_of(watched, times, scheme, seed=0, n_traj=ATOM).run(0, 1).values
    rate = float(values.mean(axis=-1).max())
    return TOLD / rate if rate > 0 else np.inf


def _seen_in_full(dynamics: Dynamics) -> Dynamics:
    """Return the same with all monitors efficient: kets in place of matrices.

    The bias of its means is of the same size, and costs far less to know.
    """
    seen = tuple(m._replace(efficiency=1.0) for m in dynamics.monitors)
    return replace(dynamics, monitors=seen)


def default_scheme(dynamics: Dynamics, times: Floats, n_traj: int) -> Scheme:
    """Return the scheme that fits a model's structure, with its step.

    `Exact` where there is no noise or all parts commute. Otherwise `Strang` with the
    largest step whose exact bias stays below a tenth of the sampling error expected of
    `n_traj` trajectories at a typical time, for every observable, and in which no
    monitored operator has <c^dag c> dt above a tenth; where an exact bias is out of
    reach, a twentieth of the fastest local time of the model. What does not split
    (correlated channels that do not commute and have different functions of time) gets
    `Midpoint`.

    Parameters
    ----------
    dynamics : Dynamics
        A lowered model.
    times : ndarray, shape (T,) [time]
        Output times.
    n_traj : int
        Planned number of trajectories.
    """
    if Exact.handles(dynamics):
        return Exact()
    family = _fitting(dynamics)
    if times.size < 2:
        return family(1.0)
    longest = min(float(np.diff(times).max()), _resolving_dt(dynamics, times))
    if strength := strongest_monitor(dynamics):
        longest = min(longest, 2.0 / strength)
    dt = _unbiased_dt(dynamics, times, n_traj, family, longest)
    dt = min(dt, _watching_dt(dynamics, times, family(dt)))
    return family(dt if dt >= longest else _rounded_down(dt))


def _rounded_down(dt: float) -> float:
    """Return a step with three digits, the same where linear algebra rounds otherwise.

    Shards of one run, on machines of different kinds, must choose the same step.
    """
    return float(f"{0.995 * dt:.2e}")


def _unbiased_dt(
    dynamics: Dynamics, times: Floats, n_traj: int, family: Family, longest: float
) -> float:
    """Return the largest step, up to the longest, whose bias the means can bear."""
    ranges, seen = _ranges(dynamics), _seen_in_full(dynamics)
    rough = _largest_step(seen, times, ROUGH * ranges, family, longest)
    if rough is None:
        return min(longest, _heuristic_dt(dynamics, times))
    spread = _typical_spread(dynamics, times, family(rough))
    spread = np.maximum(spread, SPREAD_FLOOR * ranges)
    budget = BIAS_SHARE * spread / np.sqrt(n_traj)
    return _largest_step(seen, times, budget, family, rough) or rough


def _ranges(dynamics: Dynamics) -> Floats:
    """Return the range of each observable; infinite where it is one value (O,)."""
    ranges = observable_ranges(dynamics)
    sizes = np.array([np.abs(o.data).max(initial=0.0) for o in dynamics.observables])
    # what is the same in every state needs no step at all
    return np.where(ranges > 1e-9 * sizes, ranges, np.inf)


def rough_step(dynamics: Dynamics, times: Floats, family: Family) -> float:
    """Return a step of any scheme whose bias is below a hundredth of every range.

    Where an exact bias is out of reach: a twentieth of the fastest local time.
    """
    longest = float(np.diff(times).max(initial=0.0)) or 1.0
    longest = min(longest, _resolving_dt(dynamics, times))
    budget = ROUGH * _ranges(dynamics)
    found = _largest_step(dynamics, times, budget, family, longest)
    return found or min(longest, _heuristic_dt(dynamics, times))


def _structure(dynamics: Dynamics) -> list[str]:
    """Return what was found in a model, a line each."""
    found = [f"dimension: {dynamics.dim}"]
    if dynamics.dim < dynamics.model.dim:
        found[0] += f" of {dynamics.model.dim}, the others cannot be reached"
    flow = "none" if not has_flow(dynamics) else "constant"
    found.append(f"Hamiltonian: {flow}, {len(dynamics.drives)} drives")
    groups = dynamics.groups
    found.append(
        f"noise: {len(dynamics.noise)} channels of {dynamics.processes} independent "
        f"Wiener processes; {len(groups)} commuting groups"
        + (" with the drives" if dynamics.drives else "")
    )
    found.append(f"jumps: {len(dynamics.jumps)} operators")
    if dynamics.monitors:
        found.append(f"monitored: {len(dynamics.monitors)} operators")
    if dynamics.mixed:
        found.append(
            f"states: density matrices of {dynamics.carried.dim} elements; "
            f"{len(dynamics.averaged)} dissipators stay averaged"
        )
    if dynamics.noise and has_flow(dynamics):
        flow_matrix = dynamics.effective_hamiltonian
        commutes = all(commute(flow_matrix, L) for L in dynamics.noise)
        found.append(f"noise commutes with H_eff: {'yes' if commutes else 'no'}")
    return found


def _flow(scheme: Scheme, dynamics: Dynamics, times: Floats) -> list[str]:
    """Return how the flow between increments is integrated, and why."""
    if not isinstance(scheme, (Exact, Strang)) or not dynamics.jumps:
        return []
    frozen = isinstance(scheme, Strang)
    found = flow_method(dynamics, grid_for(scheme, times), frozen=frozen)
    line = f"  flow and jumps: {found.kind.value} ({found.reason})"
    if found.kind is Method.TAYLOR:
        line += f", jump times to |ln(S/u)| <= {TOLERANCE:g}"
    return [line]


def _reason(scheme: Scheme, dynamics: Dynamics) -> str:
    """Return why a scheme was chosen."""
    if isinstance(scheme, Exact) and dynamics.noise:
        return "all parts commute, so no step is needed"
    if isinstance(scheme, Exact):
        return "there is no noise, so no step is needed"
    if isinstance(scheme, Strang) and dynamics.raw:
        return (
            "every factor has a closed form and averages have weak order 2; the norm "
            "grows, as raw Ito noise makes it"
        )
    if dynamics.monitors:
        return "monitors and everything else split, and averages have weak order 2"
    if isinstance(scheme, Strang):
        return (
            "every factor has a closed form, so each path stays on the unit sphere and "
            "averages have weak order 2"
        )
    if isinstance(scheme, Midpoint):
        return "the noise does not split, and the norm of every path must be kept"
    return "only an explicit scheme fits"


def explain_scheme(
    model: Model,
    times: Any = (0.0, 1.0),
    *,
    n_traj: int = 1000,
    unraveling: Mapping[str, Choice] | None = None,
) -> str:
    """Say which scheme a model gets, why, and what the others would do.

    Parameters
    ----------
    model : Model
        The physics.
    times : array_like, shape (T,), default (0, 1)
        Output times [time].
    n_traj : int, default 1000
        Planned number of trajectories, which sets the step.
    unraveling : dict of str to choice, optional
        As in `simulate`.

    Returns
    -------
    str
        Structure found, scheme and step, and each other scheme with its orders or its
        reason to refuse.
    """
    grid = as_times(times)
    whole_number(n_traj, "n_traj", at_least=1)
    dynamics = lower(model, unraveling)
    scheme = default_scheme(dynamics, grid, n_traj)
    lines = [*_structure(dynamics), "", f"chosen: {scheme}"]
    lines.append(f"  {_reason(scheme, dynamics)}")
    lines += _flow(scheme, dynamics, grid)
    if np.isfinite(scheme.dt):
        steps = sum(grid_for(scheme, grid).counts)
        bias = exact_step_bias(dynamics, grid, scheme)
        known = "out of reach of an exact calculation"
        if bias is not None:
            known = f"at most {np.abs(bias).max():.2g} for any observable and time"
        lines.append(f"  {steps} steps; step bias {known}")
    commuting = len(commuting_groups(dynamics.noise)) < 2
    lines.append("others:")
    for family in SCHEMES:
        if isinstance(scheme, family):
            continue
        refusal = _refusal(family(1.0), dynamics)
        traits = family.traits
        orders = f"weak order {traits.weak:g}"
        if traits.paths:
            strong = traits.strong_commuting if commuting else traits.strong
            orders += f", strong order {strong:g}"
        lines.append(f"  {family.__name__}: {refusal or orders}")
    return "\n".join(lines)
