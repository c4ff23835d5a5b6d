"""The methods of the flow against each other, and jump records."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from analytic import ALPHA, EXCITED, LOWER, SX, SZ, UP, decaying_qubit, driven_qubit
from scipy import stats
from scipy.linalg import expm

from stochq import (
    Alternating,
    Exact,
    Kicks,
    Occupations,
    Projections,
    Richardson,
    Sampled,
    Strang,
    WhiteNoise,
    explain_scheme,
    master_equation,
    simulate,
    verify,
)
from stochq.atoms import Plan
from stochq.envelopes import evaluate
from stochq.errors import SchemeMismatchError
from stochq.lowering import lower
from stochq.model import Dissipator, Model
from stochq.recording.wanted import Wanted
from stochq.schemes import large
from stochq.schemes.dense_output import TOLERANCE
from stochq.schemes.flow import RUNGS, flow_generator, propagators
from stochq.schemes.large import SeriesSplitting
from stochq.schemes.methods import Chosen, Method, flow_method
from stochq.schemes.pieces import polynomial_pieces
from stochq.schemes.series import norm_bound, taylor_series
from stochq.schemes.traits import grid_for
from stochq.spaces import tls_lowering
from stochq.structure import pack

EPS = np.finfo(float).eps
TIMES = np.linspace(0, 4, 9)


def thermal_pair():
    """Two levels each, thermal jumps and hopping as jumps: H_eff is diagonal."""
    a, b = np.kron(LOWER, np.eye(2)), np.kron(np.eye(2), LOWER)
    jumps = [(a, 1.0), (a.T, 0.6), (b, 0.9), (b.T, 0.1), (a.T @ b, 0.3)]
    return Model(
        hamiltonian=0.7 * a.T @ a + 1.3 * b.T @ b,
        dissipators=[Dissipator(c, g, name=f"{k}") for k, (c, g) in enumerate(jumps)],
        initial=np.array([0.5, 0.5j, -0.5, 0.5]),
        observables={"n": a.T @ a, "x": np.kron(SX, np.eye(2))},
    )


def noisy_pair():
    """Return the same with the coupling as noise, which does not commute with it."""
    model = thermal_pair()
    hop = np.kron(LOWER.T, LOWER)
    return replace(model, noise=WhiteNoise(hop + hop.T, rate=0.4))


def generic():
    """No structure at all, but a complex superposition of everything."""
    rng = np.random.default_rng(5)
    draw = rng.normal(size=(4, 5, 5)) + 1j * rng.normal(size=(4, 5, 5))
    H = draw[0] + draw[0].conj().T
    return Model(
        hamiltonian=H,
        dissipators=[
            Dissipator(0.2 * draw[1], 0.5, name="one"),
            Dissipator(0.2 * draw[2], 0.3, name="two"),
        ],
        initial=np.eye(5)[0],
        observables={"A": draw[3] + draw[3].conj().T},
    )


def chain(starts):
    """Return four sites whose number of excitations only jumps change."""
    lower = [tls_lowering(4, x) for x in range(4)]
    hops = [a.T @ b + b.T @ a for a, b in pairwise(lower)]
    return Model(
        hamiltonian=hops[0] + hops[1] + 0.7 * hops[2],
        dissipators=[
            *(Dissipator(a.T @ a, 0.4, name="dephasing") for a in lower),
            Dissipator(lower[0], 0.5, name="loss"),
            Dissipator(lower[3].T, 0.3, name="gain"),
        ],
        initial=np.isin(np.arange(16), starts) / np.sqrt(len(starts)),
        observables={"n": lower[2].T @ lower[2], "x": lower[1] + lower[1].T},
    )


def plan_by(method, model, times=TIMES, n_traj=128):
    """Return the plan that carries a model by one method, whatever it would get."""
    dynamics = lower(model)
    grid = grid_for(Exact(), times)
    plan = Plan.of(dynamics, grid, Exact(), 3, n_traj, Wanted(jumps=500))
    parts = getattr(plan.integrator, "parts", plan.integrator)
    if method is Method.TAYLOR:
        series = taylor_series(dynamics, grid, False)
        return replace(plan, integrator=SeriesSplitting(parts, series))
    flow = parts.flow._replace(diagonal=method is Method.DIAGONAL)
    if method is Method.LADDER:
        rungs = [flow.duration / 2**m for m in range(RUNGS + 1)]
        ladder = pack(propagators(flow_generator(dynamics), rungs))
        flow = flow._replace(spectral=False, ladder=ladder)
    return replace(plan, integrator=replace(parts, flow=flow))


# ------------------------------------------------------------------ jump for jump


@pytest.mark.parametrize(
    ("model", "methods"),
    [
        (thermal_pair(), [Method.DIAGONAL, Method.LADDER, Method.TAYLOR]),
        (generic(), [Method.LADDER, Method.TAYLOR]),
        (driven_qubit(1.0, 0.9).model, [Method.LADDER, Method.TAYLOR]),
        (chain([0b1010]), [Method.TAYLOR]),
        (chain([0b1010, 0b0111, 0b0001]), [Method.TAYLOR]),
    ],
    ids=["diagonal", "generic", "qubit", "sector", "sectors"],
)
def test_all_methods_jump_alike(model, methods):
    expected = plan_by(Method.EIGENBASIS, model).run(0, 2)
    assert expected.jumps[:, -1].sum() > 64
    for method in methods:
        found = plan_by(method, model).run(0, 2)
        assert np.array_equal(found.kept.channel, expected.kept.channel)
        assert np.array_equal(found.kept.counts, expected.kept.counts)
        # one jump's time error moves the next; |d ln S / dt| is not small at a jump
        assert np.abs(found.kept.time - expected.kept.time).max() < 1e-10
        assert np.abs(found.values - expected.values).max() < 1e-10
        assert found.residual <= 1e-12


@pytest.mark.parametrize("offset", [1e-3, 1e-9, 0], ids=["far", "near", "at"])
def test_the_series_does_not_see_exceptional_points(offset):
    model = driven_qubit(0.45 * (1 + offset), decay=0.9).model
    ladder = plan_by(Method.LADDER, model).run(0, 2)
    series = plan_by(Method.TAYLOR, model).run(0, 2)
    assert np.array_equal(series.kept.channel, ladder.kept.channel)
    assert np.abs(series.kept.time - ladder.kept.time).max() < 1e-10
    assert series.residual <= TOLERANCE


def test_no_lane_of_a_series_knows_of_the_others():
    few = plan_by(Method.TAYLOR, thermal_pair()).run(0, 1)
    many = plan_by(Method.TAYLOR, thermal_pair(), n_traj=256).run(0, 4)
    assert np.array_equal(many.values[..., :64], few.values)
    mine = many.kept.trajectory < 64
    assert np.array_equal(many.kept.time[mine], few.kept.time)


def test_a_series_without_jumps_is_the_exponential():
    rng = np.random.default_rng(2)
    H = rng.normal(size=(6, 6))
    model = Model(
        hamiltonian=H + H.T,
        initial=np.eye(6)[0],
        observables={"p": np.diag(np.eye(6)[3])},
    )
    run = plan_by(Method.TAYLOR, model).run(0, 1)
    exact = [abs(expm(-1j * (H + H.T) * t)[3, 0]) ** 2 for t in TIMES]
    assert np.abs(run.values[0, :, 0] - exact).max() < 1e-13
    assert run.norm_defect < 1e-13


def test_norms_are_bounded():
    rng = np.random.default_rng(1)
    for size in (1, 2, 7):
        for _ in range(5):
            matrix = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
            matrix[rng.random((size, size)) < 0.5] = 0
            assert norm_bound(sp.csr_array(matrix)) >= np.linalg.norm(matrix, 2) * (
                1 - EPS
            )


# -------------------------------------------------------- rates that know no state


@pytest.mark.parametrize(
    ("unraveling", "operator"),
    [({"z": Kicks()}, SZ), ({"z": Projections()}, SZ), ({}, SX), ({}, 1j * np.eye(2))],
    ids=["kicks", "projections", "unitary", "identity"],
)
def test_events_come_at_one_rate(unraveling, operator):
    model = Model(
        hamiltonian=0.8 * SX + 0.3 * SZ,
        dissipators=Dissipator(operator, 0.7, name="z"),
        initial=[0.6, 0.8],
        observables={"z": SZ},
    )
    grid = grid_for(Exact(), TIMES)
    found = flow_method(lower(model, unraveling), grid, frozen=False)
    assert found.kind is Method.EVENTS or not lower(model, unraveling).hamiltonian.nnz
    run = simulate(
        model, TIMES, n_traj=2000, seed=2, unraveling=unraveling, keep_jumps=40
    )
    first = np.full(2000, np.inf)
    records = run.jump_records
    np.minimum.at(first, records.trajectory, records.time)
    rate = sum(float(abs(c).power(2).sum()) / 2 for c in lower(model, unraveling).jumps)
    seen = first[np.isfinite(first)]
    law = stats.truncexpon(4.0 * rate, scale=1 / rate).cdf
    assert stats.kstest(seen, law).pvalue > ALPHA
    wrong = stats.truncexpon(4.0 * 1.5 * rate, scale=1 / (1.5 * rate)).cdf
    assert stats.kstest(seen, wrong).pvalue < ALPHA


# --------------------------------------------------------------- functions of time


def pulsed(t):
    """Return a strength with a kink and a jump."""
    return 0.3 + abs(t - 1.3) if t < 2.1 else 1.2 * np.cos(t) ** 2


def test_the_first_jump_follows_its_rate():
    model = replace(decaying_qubit().model, initial=UP)
    model = replace(model, dissipators=Dissipator(LOWER, 0.7, strength=pulsed))
    run = simulate(model, TIMES, n_traj=4000, seed=4, keep_jumps=1)
    assert run.provenance["jump_time_residual"] <= TOLERANCE
    grid = np.linspace(0, 4, 40_001)
    middle = 0.5 * (grid[1:] + grid[:-1])

    def p_value(power):
        rate = 0.7 * np.array([pulsed(t) for t in middle]) ** power
        passed = np.concatenate(([0], np.cumsum(rate * np.diff(grid))))
        times = run.jump_records.time
        law = -np.expm1(-np.interp(times, grid, passed)) / -np.expm1(-passed[-1])
        return stats.kstest(law, "uniform").pvalue

    assert p_value(2) > ALPHA
    assert p_value(1) < ALPHA
    assert p_value(4) < ALPHA


def moving(drive=lambda t: np.cos(2 * t), strength=pulsed, noise=0.0):
    """Return a driven qubit that decays at a rate that depends on time."""
    return Model(
        hamiltonian=0.3 * EXCITED,
        drives=[(SX, drive)],
        noise=WhiteNoise(SX, rate=noise) if noise else (),
        dissipators=Dissipator(LOWER, 0.7, name="decay", strength=strength),
        initial=[0.6, 0.8],
        observables={"n": EXCITED, "x": SX},
    )


@pytest.mark.parametrize("noise", [0.0, 0.3], ids=["exact", "strang"])
def test_drives_and_rates_follow_the_master_equation(noise):
    scheme = Strang(0.1) if noise else Exact()
    reference = master_equation(moving(noise=noise), TIMES)
    for model, status in [
        (moving(noise=noise), "pass"),
        (moving(lambda t: np.cos(2 * t) ** 2, noise=noise), "fail"),
        (moving(strength=lambda t: pulsed(t) ** 2, noise=noise), "fail"),
        (moving(strength=None, noise=noise), "fail"),
    ]:
        ensemble = simulate(model, TIMES, n_traj=6000, seed=5, scheme=scheme)
        verdict = verify(ensemble, reference, alpha=ALPHA)
        assert verdict.status == status, verdict.explain()


def test_every_jump_has_its_own_function():
    """One level empties into two others at rates that depend on time in their ways."""

    def forked(one, two):
        return Model(
            dissipators=[
                Dissipator(np.outer([1, 0, 0], [0, 0, 1]), 0.6, strength=one),
                Dissipator(np.outer([0, 1, 0], [0, 0, 1]), 0.6, strength=two),
            ],
            initial=[0, 0, 1],
            observables={"0": np.diag([1.0, 0, 0]), "1": np.diag([0, 1.0, 0])},
        )

    falling = lambda t: np.exp(-t / 2)  # noqa: E731
    reference = master_equation(forked(pulsed, falling), TIMES)
    for one, two, status in [
        (pulsed, falling, "pass"),
        (falling, pulsed, "fail"),
        (falling, falling, "fail"),
    ]:
        ensemble = simulate(forked(one, two), TIMES, n_traj=10_000, seed=8)
        verdict = verify(ensemble, reference, alpha=ALPHA, resolution=0.3)
        assert verdict.status == status, verdict.explain()


def test_strang_has_weak_order_two_with_rates_in_time():
    model = moving(strength=lambda t: 1 + 0.5 * np.sin(t), noise=0.3)
    bias = [
        simulate(model, TIMES, n_traj=64, seed=1, scheme=Strang(dt)).step_bias
        for dt in (0.125, 0.0625)
    ]
    ratio = np.abs(bias[0]).max() / np.abs(bias[1]).max()
    assert abs(np.log2(ratio) - 2) < 0.1


def test_functions_become_polynomials():
    samples = Sampled(np.linspace(0, 4, 9), np.sin(np.arange(9.0)))
    functions = [(pulsed, False), (samples, True), (lambda t: np.cos(9 * t), False)]
    found = polynomial_pieces(functions, 0.0, 4.0)
    t = np.random.default_rng(0).uniform(0, 4, 5000)
    n = np.searchsorted(found.edges, t, side="right") - 1
    u = (t - found.middle[n]) / found.half[n]
    for k, (f, squared) in enumerate(functions):
        exact = evaluate(f, t) ** (2 if squared else 1)
        value = sum(found.powers[n, k, m] * u**m for m in range(found.powers.shape[2]))
        # the one piece that holds the jump is 4 * 2^-44 long
        assert np.abs(value - exact).max() < 1e-11


# ---------------------------------------------------------------------- jump records


def test_records_do_not_depend_on_how_a_run_is_divided():
    model = thermal_pair()
    one = simulate(model, TIMES, n_traj=300, seed=6, keep_jumps=20).jump_records
    for how in ({"n_jobs": 2, "batch": 1}, {"batch": 3}):
        other = simulate(model, TIMES, n_traj=300, seed=6, keep_jumps=20, **how)
        for name in ("trajectory", "time", "channel", "counts"):
            assert np.array_equal(getattr(one, name), getattr(other.jump_records, name))
    ensemble = simulate(model, TIMES, n_traj=300, seed=6, keep_jumps=2)
    few = ensemble.jump_records
    assert np.array_equal(few.counts, one.counts)
    assert np.array_equal(few.counts.sum(axis=1), ensemble.jumps[:, -1])
    assert np.bincount(few.trajectory, minlength=300).max() == 2
    assert np.isin(few.time, one.time).all()
    assert few.names == lower(model).jump_names
    assert ensemble.trajectory(17).jumps["time"].tolist() == (
        one.time[one.trajectory == 17].tolist()
    )


def test_times_of_jumps_are_absolute_and_lose_nothing():
    model = thermal_pair()
    early = simulate(model, TIMES, n_traj=64, seed=6, keep_jumps=50).jump_records
    late = simulate(model, TIMES + 256, n_traj=64, seed=6, keep_jumps=50).jump_records
    assert np.abs(late.time - early.time - 256).max() <= 1e-12
    steps = simulate(
        model, TIMES, n_traj=64, seed=6, keep_jumps=50, scheme=Strang(1e-3)
    ).jump_records
    assert np.array_equal(steps.channel, early.channel)
    assert np.abs(steps.time - early.time).max() <= 1e-11


def test_a_trajectory_keeps_all_its_jumps():
    model = driven_qubit(3.0, 2.0).model
    ensemble = simulate(model, [0, 2000], n_traj=2, seed=1)
    jumps = ensemble.trajectory(0).jumps["time"]
    assert jumps.size > 1024
    assert (np.diff(jumps) > 0).all()
    assert jumps.size + ensemble.trajectory(1).jumps.size == ensemble.jumps[0, -1]


@pytest.mark.parametrize(
    ("change", "how", "match"),
    [
        ({}, {"keep_jumps": 0}, "`keep_jumps` must be >= 1"),
        ({}, {"keep_jumps": 1.5}, "`keep_jumps` must be an integer"),
        ({"dissipators": ()}, {"keep_jumps": 2}, "must go with a model that jumps"),
        ({}, {"keep_jumps": 2, "scheme": Richardson(Strang(0.1))}, "single traj"),
    ],
)
def test_what_keeps_no_jumps_is_refused(change, how, match):
    model = replace(decaying_qubit().model, **change)
    with pytest.raises((ValueError, SchemeMismatchError), match=match):
        simulate(model, TIMES, n_traj=10, seed=1, **how)


@pytest.mark.parametrize("model", [moving(strength=None, noise=0.3), noisy_pair()])
def test_strang_carries_a_series_as_it_carries_a_small_flow(model, monkeypatch):
    small = simulate(
        model, TIMES, n_traj=128, seed=3, scheme=Strang(0.1), keep_jumps=60
    )
    monkeypatch.setattr(
        large, "flow_method", lambda *_, **__: Chosen(Method.TAYLOR, "to compare")
    )
    series = simulate(
        model, TIMES, n_traj=128, seed=3, scheme=Strang(0.1), keep_jumps=60
    )
    assert np.array_equal(small.jump_records.channel, series.jump_records.channel)
    off = small.jump_records.time - series.jump_records.time
    assert np.abs(off).max() < 1e-10
    assert np.abs(small.mean - series.mean).max() < 1e-10
    one = small.trajectory(5)
    assert np.abs(one.expectations - series.trajectory(5).expectations).max() < 1e-10


def test_orbitals_refuse_kicks_at_rates_in_time():
    model = Model(
        dissipators=Dissipator(EXCITED, name="d", strength=pulsed),
        initial=Occupations([1, 0]),
        observables={"n": EXCITED},
    )
    with pytest.raises(SchemeMismatchError, match="use UnitaryNoise"):
        simulate(model, TIMES, n_traj=8, seed=1, unraveling={"d": Kicks()})


def test_other_splittings_refuse_rates_in_time():
    with pytest.raises(SchemeMismatchError, match="jumps of constant rates"):
        simulate(moving(noise=0.3), TIMES, n_traj=8, seed=1, scheme=Alternating(0.1))


# ---------------------------------------------------------------- what is chosen


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (thermal_pair(), "populations of a diagonal H_eff"),
        (generic(), "eigenbasis of H_eff (condition number of its eigenvectors"),
        (driven_qubit(0.45, 0.9).model, "ladder of propagators (condition number"),
        (moving(), "Taylor series (it depends on time), jump times to |ln(S/u)| <="),
    ],
    ids=["diagonal", "generic", "exceptional", "moving"],
)
def test_the_method_is_explained(model, expected):
    assert f"flow and jumps: {expected}" in explain_scheme(model, TIMES)


BIG = """
import resource, numpy as np, scipy.sparse as sp
from stochq import Model, Dissipator, simulate
n = 14
site = lambda o, k: sp.kron(sp.kron(sp.eye(2**k), o), sp.eye(2**(n-1-k)), format="csr")
lower = [site(np.array([[0, 1.0], [0, 0]]), k) for k in range(n)]
number = [a.T @ a for a in lower]
hop = sum(a.T @ b + b.T @ a for a, b in zip(lower, lower[1:]))
model = Model(
    hamiltonian=hop,
    dissipators=[Dissipator(m, 0.5, name="dephasing") for m in number]
    + [Dissipator(lower[0], 0.3, name="left")],
    initial=np.full(2**n, 2.0 ** (-n / 2)),
    observables={"n": number[0]},
)
run = simulate(model, [0, 0.5, 1], n_traj=8, seed=1, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
print(run.jumps[:, -1].sum(), run.provenance["jump_time_residual"])
"""


def test_fourteen_sites_fit_into_a_gigabyte():
    done = subprocess.run(
        [sys.executable, "-c", BIG],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        timeout=300,
    )
    memory, jumps, residual = done.stdout.split()
    assert float(memory) < 1.0
    assert int(jumps) > 0
    assert float(residual) <= 1e-12


def test_kicks_that_are_a_phase_do_nothing():
    # the only site that can be reached is always full: 1 - 2n is -1 there
    model = Model(
        dissipators=Dissipator(EXCITED, name="d"),
        initial=Occupations([1, 0]),
        observables={"n": EXCITED},
    )
    run = simulate(model, TIMES, n_traj=8, seed=1, unraveling={"d": Kicks()})
    assert np.array_equal(run.mean, np.zeros_like(run.mean))
    assert run.jumps[0, -1] > 0
