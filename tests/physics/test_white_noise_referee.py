"""What a hostile reader broke in the noise schemes, and must not break again."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
import scipy.sparse as sp
from analytic import ALPHA, SX, SY, SZ

from stochq.bias import exact_means, exact_step_bias
from stochq.choice import default_scheme, explain_scheme
from stochq.coupled import coupled_step_bias, simulate_difference, step_bias
from stochq.envelopes import Sampled, evaluate
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import lower
from stochq.mlmc import simulate_mlmc
from stochq.model import Dissipator, Model, WhiteNoise
from stochq.references import Reference, master_equation
from stochq.replay import trajectory
from stochq.schemes import (
    Alternating,
    EulerMaruyama,
    Exact,
    Heun,
    Magnus,
    Midpoint,
    RandomOrder,
    Richardson,
    Strang,
)
from stochq.schemes.traits import grid_for, path_grid
from stochq.simulation import simulate
from stochq.unravelings import UnitaryNoise
from stochq.verification import verify

PAULIS = Model(
    noise=WhiteNoise([SX, SY, SZ], rate=[0.5, 0.5, 0.5], name="n"),
    initial=[1, 0],
    observables={"z": SZ},
)
THREE = Model(
    hamiltonian=0.7 * SX,
    noise=WhiteNoise([SX, SZ + SX, SY + 0.5 * SZ], rate=[0.5, 0.7, 0.6], name="n"),
    initial=np.array([1, 0.4j]) / np.sqrt(1.16),
    observables={"x": SX, "y": SY, "z": SZ},
)


# ------------------------------------------------------------- runs on coupled paths


def test_magnus_has_one_law_at_one_step_however_fine_the_path():
    times = np.array([0, 0.5, 1.0, 1.5])
    exact = master_equation(PAULIS, times).values
    coarse = simulate(PAULIS, times, n_traj=40_000, seed=3, scheme=Magnus(0.5, cells=1))
    true_bias = coarse.mean - exact
    found, error = coupled_step_bias(
        lower(PAULIS), times, Magnus(0.5, cells=1), n_traj=40_000, seed=1
    )
    noise = np.hypot(error, coarse.mcse)[:, 1:]
    assert (np.abs(true_bias[:, 1:]) > 3 * coarse.mcse[:, 1:]).any()
    slack = 0.5 * np.abs(true_bias).max()  # the next order in h
    assert (np.abs(found - true_bias)[:, 1:] < 5 * noise + slack).all()
    assert verify(coarse, master_equation(PAULIS, times)).status != "fail"


def test_multilevel_magnus_telescopes():
    times = np.array([0, 0.5, 1.0])
    exact = master_equation(PAULIS, times).values
    runs = [
        simulate_mlmc(PAULIS, times, tolerance=0.02, seed=s, scheme=Magnus(0.5))
        for s in range(4)
    ]
    worst = np.mean([run.mean - exact for run in runs], axis=0)
    assert np.abs(worst).max() < 0.03  # it was twice the tolerance and more


def test_cells_of_magnus_must_divide_those_of_a_path():
    with pytest.raises(SchemeMismatchError, match="`cells` of Magnus must divide"):
        trajectory(
            THREE, [0, 1], seed=1, index=0, scheme=Magnus(0.5, cells=3), path_dt=0.125
        )


@pytest.mark.parametrize(
    ("base", "order"), [(RandomOrder, 3), (Alternating, 4), (Strang, 4)]
)
def test_extrapolation_gains_what_the_symmetry_of_a_step_gives(base, order):
    dynamics, times = lower(THREE), np.array([0, 2.0])
    exact = master_equation(THREE, times).values
    errors = []
    for dt in (0.125, 0.0625):
        grid = grid_for(base(dt), times)
        fine, coarse = (
            exact_means(dynamics, grid.refined(n), base(dt)) for n in (2, 1)
        )
        errors.append(np.abs((4 * fine - coarse) / 3 - exact).max())
    assert Richardson(base(0.1)).traits.weak == order
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.3


def test_alternating_always_pairs_its_steps():
    times = np.array([0.0, 0.25, 1.0])
    assert all(n % 2 == 0 for n in grid_for(Alternating(0.25), times).counts)
    grid = path_grid(Alternating(0.25), times, 0.1)
    assert all(n % 2 == 0 for n in grid.counts)
    model = replace(THREE, drives=[(SY, lambda t: 2.0)])
    exact = exact_step_bias(lower(model), times, Alternating(0.25))
    found, error = coupled_step_bias(
        lower(model), times, Alternating(0.25), n_traj=10_000, seed=2
    )
    slack = 0.2 * np.abs(exact).max()
    assert (np.abs(found - exact) < 5 * error + slack).all()


def test_many_spins_with_an_odd_number_of_steps_do_not_fail():
    n = 6

    def at(operator, site):
        factors = [
            sp.csr_array(operator) if k == site else sp.eye_array(2, format="csr")
            for k in range(n)
        ]
        return reduce(lambda a, b: sp.kron(a, b, format="csr"), factors)

    start = np.array([1, 0.5j]) / np.sqrt(1.25)
    one = Model(
        hamiltonian=0.5 * SY,
        noise=WhiteNoise([SX, SX + SZ], rate=[0.5, 0.8], name="n"),
        initial=start,
        observables={"z": SZ},
    )
    many = Model(
        hamiltonian=0.5 * sum(at(SY, i) for i in range(n)),
        noise=WhiteNoise(
            [at(o, i) for o in (SX, SX + SZ) for i in range(n)],
            rate=[0.5] * n + [0.8] * n,
            name="n",
        ),
        initial=reduce(np.kron, [start] * n),
        observables={"z": sum(at(SZ, i) for i in range(n)) / n},
    )
    times = [0.0, 0.25]
    exact = master_equation(one, times)
    reference = Reference(exact.times, ("z",), exact.values)
    ensemble = simulate(many, times, n_traj=2000, seed=1, scheme=Alternating(0.25))
    assert verify(ensemble, reference, alpha=ALPHA).status != "fail"


# ------------------------------------------------ functions of time that jump


def step_up(t):
    return 2.0 if t > 1.0307 else 0.0


@pytest.mark.parametrize("scheme", [Strang(0.1), Strang(0.25), Heun(0.01)], ids=str)
@pytest.mark.parametrize("where", ["noise", "drive"])
def test_a_jump_in_time_never_fails_a_right_model(scheme, where):
    strong = {"strength": step_up} if where == "noise" else {}
    model = Model(
        hamiltonian=0.8 * SX if where == "noise" else 0.3 * SZ,
        drives=[] if where == "noise" else [(SX, step_up)],
        noise=[WhiteNoise(SZ, rate=0.5, name="n", **strong)],
        initial=[1, 0],
        observables={"x": SX, "z": SZ},
    )
    times = np.linspace(0, 3, 7)
    ensemble = simulate(model, times, n_traj=10_000, seed=1, scheme=scheme)
    reference = master_equation(model, times)
    assert verify(ensemble, reference, alpha=ALPHA).status != "fail"


def test_the_default_step_resolves_what_was_sampled():
    center, width = 5.0013, 0.02
    inner = np.linspace(center - width, center + width, 9)
    values = np.zeros(11)
    values[2:9] = np.pi / 4 / (7 * width / 4)
    pulse = Sampled(np.r_[0, inner, 10.0], values, order=1)
    model = Model(
        hamiltonian=0.1 * SZ,
        drives=[(SX, pulse)],
        noise=[WhiteNoise(SZ, rate=0.05, name="n")],
        initial=[1, 0],
        observables={"x": SX, "z": SZ},
    )
    times = np.linspace(0, 10, 6)
    scheme = default_scheme(lower(model), times, 1000)
    assert scheme.dt <= width / 4 * (1 + 1e-9)
    ensemble = simulate(model, times, n_traj=500, seed=1)
    assert verify(ensemble, master_equation(model, times)).status != "fail"
    assert ensemble.mean[1, -1] < 0.5, "the pulse was seen"


@pytest.mark.parametrize("scheme", [Midpoint(0.05), Magnus(0.05)], ids=str)
def test_a_bias_that_passes_through_zero_is_still_allowed_for(scheme):
    model = Model(
        hamiltonian=SZ,
        drives=[(SX, lambda t: np.cos(3 * t))],
        initial=[1, 0],
        observables={"x": SX, "z": SZ},
    )
    times = np.linspace(0, 6, 61)
    ensemble = simulate(model, times, n_traj=128, seed=1, scheme=scheme)
    assert verify(ensemble, master_equation(model, times)).status != "fail"
    wrong = master_equation(replace(model, hamiltonian=1.3 * SZ), times)
    assert verify(ensemble, wrong).status == "fail"


# ---------------------------------------------------------------------- what is said


def test_steps_without_number_are_refused():
    with pytest.raises(SchemeMismatchError, match="must leave fewer than"):
        simulate(THREE, [0, 1], n_traj=64, seed=1, scheme=Heun(1e-300))
    with pytest.raises(SchemeMismatchError, match="must leave fewer than"):
        trajectory(THREE, [0, 1], seed=1, index=0, scheme=Heun(0.1), path_dt=1e-300)
    with pytest.raises(SchemeMismatchError, match="must be a number"):
        Heun(np.complex128(0.1))


def test_explanations_are_about_what_is_integrated():
    raw = Model(
        noise=WhiteNoise([SX, SZ], rate=[0.3, 0.2]),
        initial=[1, 0],
        observables={"z": SZ},
        calculus="raw-ito",
    )
    assert "the norm grows" in explain_scheme(raw)
    assert "unit sphere" not in explain_scheme(raw)
    pair = Model(
        dissipators=[Dissipator(SX, 0.3, name="a"), Dissipator(SZ, 0.2, name="b")],
        initial=[1, 0],
        observables={"z": SZ},
    )
    both = {"a": UnitaryNoise(), "b": UnitaryNoise()}
    assert "Heun: weak order 1, strong order 0.5" in explain_scheme(
        pair, unraveling=both
    )
    one = Model(
        noise=WhiteNoise([SX, SZ], covariance=np.ones((2, 2))),
        hamiltonian=SY,
        initial=[1, 0],
        observables={"z": SZ},
    )
    assert "Milstein: weak order 1, strong order 1" in explain_scheme(one)


def test_exact_runs_share_their_paths():
    first = Model(
        noise=WhiteNoise(SZ, rate=0.3, name="a"),
        initial=np.array([1, 1]) / np.sqrt(2),
        observables={"x": SX},
    )
    second = replace(first, noise=[*first.noise, WhiteNoise(SZ, rate=0.001, name="b")])
    found = simulate_difference(
        first, second, np.linspace(0, 2, 5), n_traj=1000, seed=1, scheme=Exact()
    )
    assert (found.mcse[:, 1:] < 0.2 * found.independent_mcse[:, 1:]).all()


@pytest.mark.parametrize("times", [[0, 1.0], [2, 2.3, 3.1, 4]])
def test_every_step_fits_a_path(times):
    simulate_difference(THREE, THREE, times, n_traj=64, seed=1, scheme=Strang(0.3))
    fine = trajectory(
        THREE, times, seed=1, index=0, scheme=Strang(1 / 16), path_dt=1 / 64
    )
    coarse = trajectory(
        THREE, times, seed=1, index=0, scheme=Heun(0.25), path_dt=1 / 64
    )
    assert np.array_equal(fine.noise.increment, coarse.noise.increment)
    trajectory(THREE, times, seed=1, index=0, path_dt=0.001)


def test_the_norm_of_an_extrapolated_run_is_extrapolated():
    model = replace(THREE, calculus="raw-ito", observables={"one": np.eye(2)})
    ensemble = simulate(
        model, [0, 1.0], n_traj=2000, seed=1, scheme=Richardson(EulerMaruyama(0.25))
    )
    assert np.abs(ensemble.mean_norm - ensemble.mean[0]).max() < 1e-12


def test_raw_ito_may_be_driven():
    model = replace(THREE, calculus="raw-ito", drives=[(SZ, np.cos)])
    simulate(model, [0, 1], n_traj=64, seed=1, scheme=Strang(0.1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WhiteNoise([SX, SZ], covariance=[[1], [2, 1]]), "`covariance` must"),
        (lambda: WhiteNoise([SX, SZ], rate=[1, [2]]), "`rate"),
        (lambda: Sampled([0, 1], [1, [2]], order=1), "`values` must"),
        (lambda: explain_scheme("x"), "`model` must be a Model"),
        (lambda: step_bias("x", [0, 1]), "`model` must be a Model"),
        (lambda: THREE.ito_drift("a"), "`t` must be a finite number"),
        (lambda: THREE.ito_drift(np.nan), "`t` must be a finite number"),
        (lambda: THREE.lindbladian(1j), "`t` must be a finite number"),
        (lambda: evaluate(lambda t, u: t, np.array([0.0])), "must take one number"),
    ],
)
def test_bad_input_has_one_clear_message(call, message):
    with pytest.raises(ModelError, match=message):
        call()


def test_a_bad_seed_is_refused_even_where_it_is_not_needed():
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        step_bias(THREE, [0, 1], Strang(0.1), seed="a")
