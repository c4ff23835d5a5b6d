"""Paths that refine, trajectories that can be replayed, differences on common paths."""

from dataclasses import replace

import numpy as np
import pytest
from analytic import ALPHA, LOWER, SX, SY, SZ, random_hermitian, random_ket
from scipy.linalg import expm
from scipy.stats import norm

from stochq.coupled import coupled_step_bias, simulate_difference, step_bias
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import lower
from stochq.model import ComplexWhiteNoise, Dissipator, Model, WhiteNoise
from stochq.references import master_equation
from stochq.replay import trajectory
from stochq.schemes import (
    SCHEMES,
    EulerMaruyama,
    Exact,
    Heun,
    Magnus,
    Midpoint,
    Milstein,
    Richardson,
    Strang,
    TwoPoint,
)
from stochq.simulation import simulate
from stochq.states import Orbitals
from stochq.verification import verify

EPS = np.finfo(float).eps
TIMES = np.array([0.0, 0.5, 1.0])
FOLLOWING = [s for s in SCHEMES if s.traits.paths and s is not Milstein]


def noisy(seed=7, **changes):
    """Return a three-level model with noise of two kinds that do not commute."""
    rng = np.random.default_rng(seed)
    return Model(
        hamiltonian=random_hermitian(rng, 3),
        noise=[
            WhiteNoise(
                [random_hermitian(rng, 3) / 2, np.diag([1.0, 0, -1])],
                rate=[0.3, 0.4],
                name="pair",
            ),
            ComplexWhiteNoise(np.eye(3, k=1), rate=0.2, name="exchange"),
        ],
        initial=random_ket(rng, 3),
        observables={"A": random_hermitian(rng, 3), "n": np.diag([0.0, 1, 2])},
        **changes,
    )


def solved_on(record, model, times):
    """Return the states that the recorded increments lead to, cell by cell."""
    dynamics, ket = lower(model), model.initial.vectors[0]
    states, cells = [ket], {}
    for start, stop, k, dw in zip(
        record.start, record.stop, record.process, record.increment, strict=True
    ):
        cells.setdefault((round(start, 9), round(stop, 9)), {})[int(k)] = dw
    for start, stop in sorted(cells):
        g = -1j * (stop - start) * dynamics.hamiltonian.toarray()
        for k, L in enumerate(dynamics.noise):
            g = g - 1j * cells[start, stop][k] * L.toarray()
        ket = expm(g) @ ket
        if np.isclose(times, stop).any():
            states.append(ket)
    return np.array(states)


# ------------------------------------------------------------------------ refinement


@pytest.mark.parametrize("scheme", FOLLOWING)
def test_every_scheme_follows_the_path_it_records(scheme):
    model = noisy()
    errors = []
    for dt in (1 / 32, 1 / 512):
        found = trajectory(
            model, TIMES, seed=3, index=70, scheme=scheme(dt), path_dt=1 / 1024
        )
        truth = solved_on(found.noise, model, TIMES)
        errors.append(np.abs(found.states - truth).max())
    assert errors[1] < 0.06
    assert errors[1] < 0.6 * errors[0]
    other = trajectory(
        model, TIMES, seed=3, index=71, scheme=scheme(1 / 512), path_dt=1 / 1024
    )
    assert np.abs(other.states - truth).max() > 0.2


def test_steps_of_every_size_share_one_path():
    runs = [
        trajectory(noisy(), TIMES, seed=3, index=5, scheme=s, path_dt=1 / 64)
        for s in (Strang(1 / 4), Strang(1 / 8), Heun(1 / 32), Magnus(1 / 16))
    ]
    for run in runs[1:]:
        assert np.array_equal(run.noise.increment, runs[0].noise.increment)
        assert np.array_equal(run.noise.process, runs[0].noise.process)
    walk = runs[0].noise.path(2, TIMES)
    assert walk[0] == 0
    assert walk[2] != 0
    mine = runs[0].noise.process == 2
    assert abs(walk[2] - runs[0].noise.increment[mine].sum()) < 100 * EPS


def test_increments_are_those_of_wiener_processes():
    values = np.concatenate(
        [
            trajectory(
                noisy(), [0, 1], seed=1, index=i, scheme=Heun(1 / 8), path_dt=1 / 64
            ).noise.increment
            for i in range(64)
        ]
    )
    n = values.size
    assert n == 64 * 64 * 4
    reach = norm.isf(ALPHA / 4)
    assert abs(values.mean()) < reach * np.sqrt(1 / 64 / n)
    assert abs(values.var() * 64 - 1) < reach * np.sqrt(2 / n)
    # sqrt(dt), not dt
    assert values.std() > 4 / 64


def test_a_path_does_not_depend_on_what_else_a_model_has():
    model = noisy()
    more = replace(
        model, noise=[*model.noise, WhiteNoise(np.eye(3), rate=1.0, name="more")]
    )
    less = model.with_rate("pair", 0.0)
    runs = {
        name: trajectory(m, [0, 1], seed=2, index=9, scheme=Heun(1 / 8), path_dt=1 / 16)
        for name, m in (("model", model), ("more", more), ("less", less))
    }
    exchange = runs["model"].noise.path(3, [0, 1])[1]
    assert runs["more"].noise.path(3, [0, 1])[1] == exchange
    assert runs["less"].noise.path(3, [0, 1])[1] == exchange
    with pytest.raises(ValueError, match="process"):
        runs["less"].noise.path(0, [0, 1])


def test_exact_follows_a_path_too():
    model = Model(
        hamiltonian=0.4 * SZ,
        noise=WhiteNoise(SZ, rate=0.5, name="phase"),
        initial=np.array([1, 1]) / np.sqrt(2),
        observables={"x": SX},
    )
    truth = trajectory(model, TIMES, seed=1, index=3, scheme=Exact(), path_dt=1 / 64)
    errors = [
        np.abs(
            trajectory(
                model, TIMES, seed=1, index=3, scheme=Milstein(dt), path_dt=1 / 64
            ).states
            - truth.states
        ).max()
        for dt in (1 / 4, 1 / 32)
    ]
    assert errors[1] < 0.3 * errors[0]
    angle = 0.4 * TIMES + np.sqrt(0.5) * truth.noise.path(0, TIMES)
    assert np.abs(truth.expectations[0] - np.cos(2 * angle)).max() < 1e-12


@pytest.mark.parametrize(
    ("dt", "path_dt", "message"),
    [
        (0.1, 0.1, "`path_dt` must be at most half of dt"),
        (0.1, -1, "`path_dt` of a path must be finite and > 0"),
        (0.1, "a", "`path_dt` of a path must be a number"),
    ],
)
def test_cells_must_fit(dt, path_dt, message):
    with pytest.raises(SchemeMismatchError, match=message):
        trajectory(noisy(), TIMES, seed=1, index=0, scheme=Heun(dt), path_dt=path_dt)


# ---------------------------------------------------------------------------- replay


@pytest.mark.parametrize("scheme", FOLLOWING)
def test_trajectories_of_an_ensemble_are_replayed_to_the_bit(scheme):
    ensemble = simulate(noisy(), TIMES, n_traj=130, seed=6, scheme=scheme(0.1))
    assert ensemble.batches.shape[0] == 130  # a batch is a trajectory
    for i in (0, 63, 64, 129):
        one = ensemble.trajectory(i)
        assert np.array_equal(one.expectations, ensemble.batches[i])
        for o, observable in enumerate(noisy().observables.values()):
            for t, ket in enumerate(one.states):
                seen = np.vdot(ket, observable @ ket).real
                assert abs(seen - one.expectations[o, t]) < 1e-13 * one.norms[t] * 3
    assert not np.array_equal(one.expectations, ensemble.batches[0])


@pytest.mark.parametrize("scheme", FOLLOWING)
def test_the_noise_record_covers_every_process_once(scheme):
    one = trajectory(noisy(), [0, 0.5, 1.25], seed=6, index=2, scheme=scheme(0.25))
    for k in range(4):
        mine = one.noise.process == k
        pieces = np.stack([one.noise.start[mine], one.noise.stop[mine]], axis=1)
        pieces = pieces[np.argsort(pieces[:, 0])]
        assert abs(pieces[0, 0]) < EPS
        assert np.abs(pieces[1:, 0] - pieces[:-1, 1]).max() < 1e-12
        assert abs(pieces[-1, 1] - 1.25) < 1e-12


def test_the_noise_record_of_strang_reproduces_its_states():
    # one step: F(h/2) D(h/2) N(h) D(h/2) F(h/2), drawn in this order
    model = Model(
        hamiltonian=0.7 * SX,
        noise=[
            WhiteNoise(SZ, rate=0.5, name="diagonal"),
            WhiteNoise(SY, rate=0.3, name="dense"),
        ],
        initial=[1, 0],
        observables={"z": SZ},
    )
    one = trajectory(model, [0, 0.2], seed=4, index=11, scheme=Strang(0.2))
    assert one.noise.process.tolist() == [0, 1, 0]
    assert np.allclose(one.noise.stop, [0.1, 0.2, 0.2])
    flow = expm(-0.1j * 0.7 * SX)
    ket = flow @ [1, 0]
    for k, dw in zip(one.noise.process, one.noise.increment, strict=True):
        ket = expm(-1j * dw * [np.sqrt(0.5) * SZ, np.sqrt(0.3) * SY][k]) @ ket
    assert np.abs(one.states[-1] - flow @ ket).max() < 100 * EPS
    table = one.noise.to_frame()
    assert list(table.columns) == ["start", "stop", "process", "increment"]


def test_replay_restores_the_whole_basis_and_orbitals():
    chain = np.diag(np.ones(3), 1)
    sector = Model(
        hamiltonian=np.kron(chain + chain.T, np.diag([1, 0])),
        noise=WhiteNoise(np.kron(np.diag([1.0, 0, 0, 0]), np.eye(2)), rate=0.5),
        initial=np.eye(8)[0],
        observables={"n": np.diag(np.eye(8)[2])},
    )
    assert lower(sector).dim == 4
    one = trajectory(sector, TIMES, seed=1, index=0, scheme=Strang(0.1))
    assert one.states.shape == (3, 8)
    assert np.all(one.states[:, 1::2] == 0)
    rng = np.random.default_rng(1)
    fermions = Model(
        hamiltonian=random_hermitian(rng, 4),
        noise=WhiteNoise(np.diag([1.0, 0, 0, 0]), rate=0.5, name="n"),
        initial=Orbitals(np.eye(4)[:, :2]),
        observables={"n0": np.diag([1.0, 0, 0, 0])},
    )
    ensemble = simulate(fermions, TIMES, n_traj=70, seed=2, scheme=Strang(0.1))
    one = ensemble.trajectory(66)
    assert one.states.shape == (3, 4, 2)
    assert np.array_equal(one.expectations, ensemble.batches[66])
    density = np.einsum("tk,tk->t", one.states[:, 0].conj(), one.states[:, 0]).real
    assert np.abs(density - one.expectations[0]).max() < 1e-13


def test_replay_with_jumps():
    model = Model(
        hamiltonian=0.8 * SX,
        noise=WhiteNoise(SZ, rate=0.2, name="phase"),
        dissipators=Dissipator(LOWER, 0.7, name="decay"),
        initial=[0, 1],
        observables={"z": SZ},
    )
    ensemble = simulate(model, TIMES, n_traj=100, seed=8, scheme=Strang(0.1))
    for i in range(100):
        assert np.array_equal(ensemble.trajectory(i).expectations, ensemble.batches[i])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": -1}, "`index` must be >= 0"),
        ({"index": 1.5}, "`index` must be an integer"),
        ({"index": 2**62}, "`index` must be below"),
        ({"seed": -1}, "`seed` must be >= 0"),
    ],
)
def test_bad_addresses_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        trajectory(
            noisy(), TIMES, **{"seed": 1, "index": 0, "scheme": Heun(0.1)} | arguments
        )


def test_replay_refuses_what_is_not_there():
    ensemble = simulate(noisy(), TIMES, n_traj=64, seed=1, scheme=Heun(0.1))
    with pytest.raises(ValueError, match="`index` must be below 64"):
        ensemble.trajectory(64)
    with pytest.raises(ModelError, match="`model` must be a Model"):
        trajectory("model", TIMES, seed=1, index=0)
    for scheme in (TwoPoint(0.1), Richardson(Heun(0.1))):
        with pytest.raises(SchemeMismatchError, match="single trajectories"):
            trajectory(noisy(), TIMES, seed=1, index=0, scheme=scheme)


# ----------------------------------------------------------------------- differences


def test_a_model_and_itself_do_not_differ():
    same = simulate_difference(
        noisy(), noisy(), TIMES, n_traj=64, seed=1, scheme=Strang(0.1)
    )
    assert not same.mean.any()
    assert not same.mcse.any()
    assert same.independent_mcse[:, 1:].all()


def test_a_small_change_of_a_rate_is_seen_on_common_paths():
    model = noisy()
    changed = model.with_rate("pair", 1.02)
    found = simulate_difference(
        model, changed, TIMES, n_traj=4000, seed=2, scheme=Strang(0.05)
    )
    truth = (
        master_equation(model, TIMES).values - master_equation(changed, TIMES).values
    )
    later = np.s_[:, 1:]
    assert (found.mcse[later] < 0.1 * found.independent_mcse[later]).all()
    assert (np.abs(found.mean - truth)[later] < 5 * found.mcse[later] + 1e-4).all()
    assert (np.abs(truth[later]) > 3 * found.mcse[later]).any()
    # the other sign would be seen
    assert (np.abs(found.mean + truth)[later] > 5 * found.mcse[later]).any()
    assert np.abs(found.first - found.second - found.mean).max() < 1e-12
    assert {"mean", "mcse", "independent_mcse"} <= set(found.to_frame().columns)


def test_two_schemes_agree_on_common_paths():
    found = simulate_difference(
        noisy(),
        noisy(),
        TIMES,
        n_traj=1000,
        seed=2,
        scheme=(EulerMaruyama(1 / 128), Midpoint(1 / 32)),
        path_dt=1 / 256,
    )
    assert (found.mcse[:, 1:] < 0.6 * found.independent_mcse[:, 1:]).all()


def test_differences_refuse_what_does_not_fit():
    model = noisy()
    with pytest.raises(ModelError, match="observables of the same names"):
        simulate_difference(
            model,
            replace(model, observables={"B": np.eye(3)}),
            TIMES,
            n_traj=64,
            seed=1,
            scheme=Strang(0.1),
        )
    with pytest.raises(ValueError, match="`scheme` must be one value or a pair"):
        simulate_difference(
            model, model, TIMES, n_traj=64, seed=1, scheme=[Heun(0.1)] * 3
        )
    with pytest.raises(SchemeMismatchError, match="Brownian path"):
        simulate_difference(
            Model(
                hamiltonian=SX,
                noise=WhiteNoise(SZ, rate=1.0),
                initial=[1, 0],
                observables={"z": SZ},
            ),
            Model(
                hamiltonian=SX,
                noise=WhiteNoise(SZ, rate=1.0),
                initial=[1, 0],
                observables={"z": SZ},
            ),
            TIMES,
            n_traj=64,
            seed=1,
            scheme=TwoPoint(0.1),
        )


# ------------------------------------------------------------------------- step bias


@pytest.mark.parametrize(
    "scheme", [EulerMaruyama(0.05), Heun(0.1), Midpoint(0.25), Strang(0.5)], ids=str
)
def test_the_coupled_bias_agrees_with_the_exact_one(scheme):
    model = Model(
        hamiltonian=0.9 * SX + 0.3 * SZ,
        noise=WhiteNoise([SZ, SY], rate=[0.6, 0.2], name="noise"),
        initial=[1, 0],
        observables={"x": SX, "z": SZ},
    )
    exact = step_bias(model, TIMES, scheme)
    assert exact.exact
    assert not exact.error.any()
    values, error = coupled_step_bias(
        lower(model), TIMES, scheme, n_traj=20_000, seed=3
    )
    later = np.s_[:, 1:]
    slack = 0.35 * np.abs(exact.values).max()  # the next order of the expansion
    assert (np.abs(values - exact.values)[later] < 5 * error[later] + slack).all()
    assert np.abs(exact.values).max() > 3 * error.max()
    assert (np.abs(values + exact.values)[later] > 5 * error[later] + slack).any()


def test_large_models_get_an_estimate_and_can_pass():
    n = 60
    rng = np.random.default_rng(3)
    hop = np.diag(np.ones(n - 1), 1)
    model = Model(
        hamiltonian=hop + hop.T,
        noise=WhiteNoise([np.diag(row) for row in np.eye(n)], rate=0.5, name="site"),
        initial=random_ket(rng, n),
        observables={"left": np.diag(np.arange(n) < n // 2).astype(float)},
    )
    times = np.linspace(0, 2, 3)
    ensemble = simulate(model, times, n_traj=2000, seed=1, scheme=Midpoint(0.02))
    assert ensemble.step_bias is None
    verdict = verify(ensemble, master_equation(model, times), resolution=0.3)
    assert verdict.status == "pass", verdict.explain()
    assert verdict.bias_from == "estimate"
    assert "estimated from dt and dt/2" in verdict.explain()
    coarse = simulate(model, times, n_traj=2000, seed=1, scheme=Midpoint(1.0))
    verdict = verify(coarse, master_equation(model, times), resolution=0.05)
    assert verdict.status != "pass"


def test_an_extrapolated_run_passes_where_its_base_is_biased():
    model, times = noisy(), np.linspace(0, 2, 3)
    reference = master_equation(model, times)
    base = simulate(model, times, n_traj=20_000, seed=1, scheme=Heun(0.05))
    better = simulate(
        model, times, n_traj=20_000, seed=1, scheme=Richardson(Heun(0.05))
    )
    assert np.abs(base.step_bias).max() > 5 * np.abs(better.step_bias).max()
    off = [
        (np.abs(e.mean - reference.values) / np.maximum(e.mcse, EPS))[:, 1:].max()
        for e in (base, better)
    ]
    assert off[0] > 6 > off[1]
    verdict = verify(better, reference, alpha=ALPHA, resolution=0.2)
    assert verdict.status == "pass", verdict.explain()
    # independent runs at h and h/2 would have sqrt(5) times the error
    assert (better.mcse[:, 1:] < 1.5 * base.mcse[:, 1:]).all()
    for base_scheme in (TwoPoint(0.1), Exact(), Richardson(Heun(0.1)), Heun, "Heun"):
        with pytest.raises(SchemeMismatchError, match="`base` must"):
            Richardson(base_scheme)


@pytest.mark.parametrize(
    "scheme", [Strang(0.1), Magnus(0.1), Midpoint(0.1), Richardson(Heun(0.1))], ids=str
)
def test_new_schemes_do_not_depend_on_workers_and_batches(scheme):
    runs = [
        simulate(noisy(), TIMES, n_traj=300, seed=3, scheme=scheme, **how)
        for how in ({}, {"n_jobs": 2, "batch": 1}, {"batch": 5})
    ]
    for run in runs[1:]:
        assert np.array_equal(run.mean, runs[0].mean)
        assert np.array_equal(run.mcse, runs[0].mcse)
        assert np.array_equal(run.mean_norm, runs[0].mean_norm)


def test_the_areas_of_magnus_have_the_right_sign_and_size():
    # without areas, or with their sign turned, the strong order would be 1/2
    def rms(scheme):
        errors = []
        for i in range(8):
            found = trajectory(
                noisy(), TIMES, seed=3, index=i, scheme=scheme, path_dt=1 / 1024
            )
            truth = solved_on(found.noise, noisy(), TIMES)
            errors.append(np.linalg.norm(found.states[-1] - truth[-1]))
        return np.sqrt(np.mean(np.square(errors)))

    assert rms(Magnus(1 / 32)) < 0.5 * rms(Magnus(1 / 32, cells=1))
