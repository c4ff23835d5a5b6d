"""Every kind of noise through every scheme: time dependence, correlations, calculus."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from analytic import ALPHA, LOWER, SX, SY, SZ, random_hermitian, random_ket

from stochq.envelopes import Sampled
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import lower
from stochq.model import ComplexWhiteNoise, Dissipator, Model, WhiteNoise
from stochq.references import master_equation
from stochq.schemes import (
    SCHEMES,
    Alternating,
    EulerMaruyama,
    Exact,
    Heun,
    Magnus,
    Midpoint,
    Milstein,
    Platen,
    RandomOrder,
    Strang,
    TwoPoint,
)
from stochq.simulation import simulate
from stochq.states import Orbitals
from stochq.unravelings import UnitaryNoise
from stochq.verification import verify

EPS = np.finfo(float).eps
TIMES = np.linspace(0, 2, 5)
UNITARY = [s for s in SCHEMES if s.traits.unitary]
GENERAL = [s for s in SCHEMES if s is not Milstein]


def ramp(t):
    return 0.4 + 0.5 * t


def wave(t):
    return np.cos(3 * t)


def driven(strength=None, drives=(), covariance=None, **changes):
    """Return a three-level model with two noises that do not commute."""
    rng = np.random.default_rng(5)
    noise = WhiteNoise(
        [random_hermitian(rng, 3) / 2, random_hermitian(rng, 3) / 2],
        rate=0.3 if covariance is None else None,
        covariance=covariance,
        strength=strength,
        name="noise",
    )
    return Model(
        hamiltonian=random_hermitian(rng, 3),
        noise=noise,
        initial=random_ket(rng, 3),
        observables={"A": random_hermitian(rng, 3), "B": random_hermitian(rng, 3)},
        drives=drives,
        **changes,
    )


def diagonal(**noise):
    """Return a qubit turned by H under correlated dephasing of two commuting kinds."""
    return Model(
        hamiltonian=0.7 * SX,
        noise=WhiteNoise(
            [SZ, np.diag([1.0, 0.0])],
            covariance=[[0.3, 0.2], [0.2, 0.4]],
            name="noise",
            **noise,
        ),
        initial=[1, 0],
        observables={"y": SY, "z": SZ},
    )


def stepped(scheme, unitary, explicit):
    """Return a scheme with the step that its kind can take."""
    if scheme is Magnus:
        return Magnus(unitary, cells=2)
    return scheme(unitary if scheme.traits.unitary else explicit)


def verdict(model, scheme, reference=None, n_traj=5000, **arguments):
    ensemble = simulate(model, TIMES, n_traj=n_traj, seed=4, scheme=scheme)
    return verify(
        ensemble,
        master_equation(reference or model, TIMES),
        alpha=ALPHA,
        resolution=0.3,
        **arguments,
    )


# ------------------------------------------------------------------ time dependence


@pytest.mark.parametrize("scheme", [s for s in GENERAL if s is not TwoPoint])
def test_strengths_and_drives_that_depend_on_time(scheme):
    drive = (np.diag([1.0, 0.0, -1.0]), wave)
    model = driven(strength=ramp, drives=[drive])
    small = stepped(scheme, 0.1, 0.02)
    assert verdict(model, small).status == "pass"
    frozen = driven(strength=lambda t: ramp(0.0), drives=[drive])
    assert verdict(model, small, frozen).status == "fail"
    undriven = driven(strength=ramp)
    assert verdict(model, small, undriven).status == "fail"


def test_a_strength_enters_by_its_square():
    model = driven(strength=lambda t: 0.5)
    assert verdict(model, Strang(0.05), driven().with_rate("noise", 0.25)).status == (
        "pass"
    )
    half = driven().with_rate("noise", 0.5)
    assert verdict(model, Strang(0.05), half).status == "fail"


def test_samples_and_functions_agree():
    t = np.linspace(0, 2, 401)
    by_function = driven(strength=ramp, drives=[(np.diag([1.0, 0, -1]), wave)])
    by_samples = driven(
        strength=Sampled(t, ramp(t)),
        drives=[(np.diag([1.0, 0, -1]), Sampled(t, wave(t)))],
    )
    one, other = (
        simulate(m, TIMES, n_traj=64, seed=1, scheme=Strang(0.1)).mean
        for m in (by_function, by_samples)
    )
    # a cubic spline on steps of 0.005 is off by 81/384 h^4
    assert np.abs(one - other).max() < 1e-8
    assert np.abs(one - simulate(driven(), TIMES, n_traj=64, seed=1).mean).max() > 0.01


def test_a_drive_alone_has_no_noise():
    model = Model(drives=[(SX, wave)], initial=[1, 0], observables={"z": SZ, "y": SY})
    area = np.sin(3 * TIMES) / 3
    truth = np.array([np.cos(2 * area), -np.sin(2 * area)])
    ensemble = simulate(model, TIMES, n_traj=64, seed=1, scheme=Strang(0.25))
    assert ensemble.deterministic.all()
    # drives turn by their integral over a step, whatever the step
    assert np.abs(ensemble.mean - truth).max() < 100 * EPS
    # their value in the middle of steps of .25 would be off by
    middle = 2 * 0.25 * np.cumsum(np.cos(3 * (np.arange(8) + 0.5) * 0.25))[-1]
    assert abs(np.cos(middle) - truth[0, -1]) > 1e-4


def test_a_drive_that_does_not_commute_is_taken_to_second_order():
    model = Model(
        hamiltonian=0.8 * SZ,
        drives=[(SX, wave)],
        initial=[1, 0],
        observables={"z": SZ, "y": SY},
    )
    truth = master_equation(model, TIMES).values
    errors = [
        np.abs(
            simulate(model, TIMES, n_traj=64, seed=1, scheme=Strang(dt)).mean - truth
        ).max()
        for dt in (0.05, 0.025)
    ]
    assert abs(np.log2(errors[0] / errors[1]) - 2) < 0.1


def test_a_drive_with_jumps_and_orbitals():
    decay = Model(
        hamiltonian=0.2 * SZ,
        drives=[(SX, wave)],
        dissipators=Dissipator(LOWER, 0.5, name="decay"),
        initial=[0, 1],
        observables={"z": SZ, "y": SY},
    )
    assert verdict(decay, Strang(0.05)).status == "pass"
    assert verdict(decay, Strang(0.05), replace(decay, drives=())).status == "fail"
    rng = np.random.default_rng(2)
    fermions = Model(
        hamiltonian=random_hermitian(rng, 4),
        drives=[(np.diag([1.0, -1.0, 2.0, 0.0]), wave)],
        noise=WhiteNoise(np.diag([1.0, 0, 0, 0]), rate=0.5, strength=ramp, name="n"),
        initial=Orbitals(np.eye(4)[:, :2]),
        observables={"n0": np.diag([1.0, 0, 0, 0]), "n2": np.diag([0, 0, 1.0, 0])},
    )
    assert verdict(fermions, Strang(0.05)).status == "pass"
    assert verdict(fermions, Strang(0.05), replace(fermions, drives=())).status == (
        "fail"
    )


def test_a_bad_function_is_named_before_work_starts():
    for bad in (lambda t: "one", lambda t: np.nan, lambda t: 1j):
        model = driven(strength=bad)
        with pytest.raises(ModelError, match="must return a"):
            simulate(model, TIMES, n_traj=64, seed=1, scheme=Strang(0.1))
    short = driven(drives=[(np.eye(3), Sampled([0, 1], [1, 1], order=1))])
    with pytest.raises(ModelError, match=r"must cover the times"):
        simulate(short, TIMES, n_traj=64, seed=1, scheme=Strang(0.1))


# --------------------------------------------------------------------- correlations


@pytest.mark.parametrize("scheme", [Strang, Alternating, RandomOrder, Midpoint, Heun])
def test_correlated_channels_with_different_strengths(scheme):
    model = diagonal(strength=[ramp, wave])
    assert lower(model).mixing is not None
    step = stepped(scheme, 0.1, 0.02)
    assert verdict(model, step).status == "pass"
    # without the covariance between the two, coherences decay at another rate
    alone = Model(
        hamiltonian=0.7 * SX,
        noise=WhiteNoise(
            [SZ, np.diag([1.0, 0.0])], rate=[0.3, 0.4], strength=[ramp, wave], name="n"
        ),
        initial=[1, 0],
        observables={"y": SY, "z": SZ},
    )
    assert verdict(model, step, alone).status == "fail"


@pytest.mark.parametrize("scheme", [Magnus, Midpoint, Heun, EulerMaruyama])
def test_what_does_not_split_is_left_to_other_schemes(scheme):
    model = driven(strength=[ramp, wave], covariance=[[0.3, -0.2], [-0.2, 0.3]])
    step = stepped(scheme, 0.1, 0.02)
    assert verdict(model, step).status == "pass"
    same = driven(strength=ramp, covariance=[[0.3, -0.2], [-0.2, 0.3]])
    assert verdict(model, step, same).status == "fail"


@pytest.mark.parametrize("scheme", [Strang, Alternating, RandomOrder, TwoPoint, Platen])
def test_schemes_refuse_what_they_cannot_hold(scheme):
    model = driven(strength=[ramp, wave], covariance=[[0.3, -0.2], [-0.2, 0.3]])
    with pytest.raises(SchemeMismatchError, match="correlated"):
        simulate(model, TIMES, n_traj=64, seed=1, scheme=scheme(0.1))


def test_the_default_falls_back_where_nothing_splits():
    model = driven(strength=[ramp, wave], covariance=[[0.3, -0.2], [-0.2, 0.3]])
    ensemble = simulate(model, TIMES, n_traj=500, seed=1)
    assert isinstance(ensemble.scheme, Midpoint)


def test_a_rank_one_covariance_is_one_process():
    both = WhiteNoise([SX, SZ], covariance=[[0.4, 0.2], [0.2, 0.1]], name="n")
    model = Model(noise=both, initial=[1, 0], observables={"z": SZ})
    assert lower(model).processes == 1
    assert model.noise_commutes() is False
    assert Exact.handles(lower(model)), "one process always commutes with itself"
    split = WhiteNoise([SX, SZ], covariance=both.covariance, strength=[ramp, wave])
    mixed = lower(replace(model, noise=split))
    assert (mixed.processes, len(mixed.noise)) == (1, 2)


# ------------------------------------------------------------------------- calculus


def raw(model):
    return replace(model, calculus="raw-ito")


@pytest.mark.parametrize(
    "scheme", [Strang(0.05), EulerMaruyama(0.005), Heun(0.01), Platen(0.02)], ids=str
)
def test_raw_ito_is_another_process_and_says_so(scheme):
    model = driven().with_rate("noise", 5.0)
    assert verdict(raw(model), scheme).status == "pass"
    assert verdict(raw(model), scheme, model).status == "fail"
    assert verdict(model, scheme, raw(model)).status == "fail"
    ensemble = simulate(raw(model), TIMES, n_traj=2000, seed=1, scheme=scheme)
    growth = master_equation(
        replace(raw(model), observables={"norm": np.eye(3)}), TIMES
    ).values[0]
    assert growth[-1] > 1.5
    assert np.abs(ensemble.mean_norm - growth).max() < 0.1 * growth[-1]
    kept = simulate(model, TIMES, n_traj=64, seed=1, scheme=Strang(0.05))
    assert np.abs(kept.mean_norm - 1).max() < 1e-12


def test_milstein_and_raw_ito():
    model = diagonal()
    for read in (model, raw(model)):
        assert verdict(read, Milstein(0.01)).status == "pass"
    assert verdict(raw(model), Milstein(0.01), model).status == "fail"


def test_ito_with_its_drift_is_the_stratonovich_process():
    one = simulate(driven(), TIMES, n_traj=128, seed=3, scheme=Strang(0.1))
    ito = driven(calculus="ito")
    other = simulate(ito, TIMES, n_traj=128, seed=3, scheme=Strang(0.1))
    assert np.array_equal(one.mean, other.mean)
    drift = ito.ito_drift().toarray()
    assert np.abs(drift - lower(ito).ito_drift.toarray()).max() < 100 * EPS
    naive = -1j * ito.hamiltonian.toarray()
    assert np.abs(drift - naive).max() > 0.01
    assert np.abs(raw(driven()).ito_drift().toarray() - naive).max() == 0


@pytest.mark.parametrize("scheme", [Midpoint, Magnus])
def test_unitary_schemes_refuse_a_growing_norm(scheme):
    with pytest.raises(SchemeMismatchError, match="raw-ito"):
        simulate(raw(driven()), TIMES, n_traj=64, seed=1, scheme=scheme(0.1))


def test_raw_ito_has_no_jumps():
    with pytest.raises(ModelError, match="raw-ito"):
        Model(
            dissipators=Dissipator(LOWER, 1.0),
            initial=[1, 0],
            observables={"z": SZ},
            calculus="raw-ito",
        )


# -------------------------------------------------------------------------- schemes


@pytest.mark.parametrize("scheme", UNITARY)
def test_unitary_schemes_keep_the_norm_over_many_steps(scheme):
    model = Model(
        hamiltonian=0.7 * SX + 0.2 * SY,
        noise=WhiteNoise([SZ, SX], rate=[0.3, 0.2], name="noise"),
        initial=[0.6, 0.8],
        observables={"z": SZ},
    )
    times = np.array([0.0, 1000.0])
    step = Magnus(0.01, cells=1) if scheme is Magnus else scheme(0.01)
    ensemble = simulate(model, times, n_traj=64, seed=1, scheme=step)
    assert ensemble.provenance["norm_defect"] < 1e-12
    explicit = simulate(model, [0, 10], n_traj=64, seed=1, scheme=Heun(0.01))
    assert explicit.provenance["norm_defect"] > 1e-6


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_noise_every_scheme_solves_schroedinger_s_equation(scheme):
    from scipy.linalg import expm

    rng = np.random.default_rng(8)
    h, ket = random_hermitian(rng, 3), random_ket(rng, 3)
    observable = random_hermitian(rng, 3)
    model = Model(
        hamiltonian=h,
        noise=WhiteNoise(np.diag([1.0, 0, 0]), rate=0.0, name="none"),
        initial=ket,
        observables={"A": observable},
    )
    end = expm(-1j * h) @ ket
    truth = float(np.vdot(end, observable @ end).real)
    errors = [
        abs(
            simulate(model, [0, 1], n_traj=64, seed=1, scheme=scheme(dt)).mean[0, 1]
            - truth
        )
        for dt in (0.02, 0.01)
    ]
    orders = {EulerMaruyama: 1, Milstein: 1, Heun: 2, Midpoint: 2, Platen: 2}
    if scheme in orders:
        assert abs(np.log2(errors[0] / errors[1]) - orders[scheme]) < 0.15
        assert errors[1] > 1e-7
    else:
        assert max(errors) < 1e-13


def test_milstein_refuses_noise_that_does_not_commute():
    with pytest.raises(SchemeMismatchError, match="noise channels that commute"):
        simulate(driven(), TIMES, n_traj=64, seed=1, scheme=Milstein(0.1))


# ------------------------------------------------------------------------ two points


def pauli_model(**changes):
    return Model(
        hamiltonian=0.4 * SY,
        noise=[
            WhiteNoise([SZ, SX], rate=[0.3, 0.2], name="pauli"),
            WhiteNoise(np.diag([0.0, 1.7]), rate=0.4, name="site"),
        ],
        initial=[1, 0],
        observables={"x": SX, "z": SZ},
        **changes,
    )


def test_two_point_noise_has_the_averages_of_strang():
    model = pauli_model()
    one, other = (
        simulate(model, TIMES, n_traj=40_000, seed=9, scheme=s(0.4))
        for s in (TwoPoint, Strang)
    )
    assert np.array_equal(one.step_bias, other.step_bias)
    error = np.hypot(one.mcse, other.mcse)[:, 1:]
    assert (np.abs(one.mean - other.mean)[:, 1:] < 5 * error).all()
    assert not np.array_equal(one.mean, other.mean)
    reference = master_equation(model, TIMES)
    assert verify(one, reference, alpha=ALPHA, resolution=0.1).status == "pass"
    # an angle of sqrt(h) in place of the matched one is off by order h^2 per step
    mutant = master_equation(model.with_rate("pauli", 1.15), TIMES)
    assert verify(one, mutant, alpha=ALPHA, resolution=0.1).status == "fail"
    driven_model = pauli_model(drives=[(SZ, wave)])
    assert verdict(driven_model, TwoPoint(0.1)).status == "pass"


def test_two_point_noise_has_no_single_trajectories():
    ensemble = simulate(pauli_model(), TIMES, n_traj=64, seed=1, scheme=TwoPoint(0.1))
    with pytest.raises(SchemeMismatchError, match="single trajectories"):
        _ = ensemble.sd
    with pytest.raises(SchemeMismatchError, match="single trajectories"):
        ensemble.trajectory(3)
    assert ensemble.to_frame()["sd"].isna().all()
    assert ensemble.to_frame()["mcse_mean"].notna().all()
    three = replace(
        pauli_model(), noise=WhiteNoise(SZ + 2 * np.eye(2), rate=1.0, name="n")
    )
    simulate(three, TIMES, n_traj=64, seed=1, scheme=TwoPoint(0.1))  # two values
    spins = Model(
        noise=WhiteNoise(np.diag([1.0, 0.0, -1.0]), rate=1.0),
        initial=[1, 0, 0],
        observables={"z": np.diag([1.0, 0.0, -1.0])},
    )
    with pytest.raises(SchemeMismatchError, match="two different eigenvalues"):
        simulate(spins, TIMES, n_traj=64, seed=1, scheme=TwoPoint(0.1))


# --------------------------------------------------------------------------- memory

CHAIN = """
import resource
import numpy as np, scipy.sparse as sp
from stochq import Model, Strang, UnitaryNoise, WhiteNoise, simulate
def chain(n):
    hop = sp.diags_array([np.ones(n - 1), np.ones(n - 1)], offsets=[1, -1])
    sites = [sp.csr_array(([1.0], ([i], [i])), shape=(n, n)) for i in range(n)]
    start = np.zeros(n)
    start[n // 2] = 1
    return Model(
        hamiltonian=hop,
        noise=WhiteNoise(sites, rate=0.5, name="site"),
        initial=start,
        observables={"left": sites[n // 2 - 1]},
    )
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
simulate(chain(8), [0, 0.1], n_traj=64, seed=1, scheme=Strang(0.05))
before = peak()
simulate(chain(1000), [0, 0.1], n_traj=64, seed=1, scheme=Strang(0.05))
print(peak() - before)
"""


def test_a_long_chain_with_noise_on_every_site_stays_small():
    done = subprocess.run(
        [sys.executable, "-c", CHAIN], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 50  # MB; (K, d, d) dense would be 16,000


def test_complex_noise_with_a_strength():
    model = Model(
        hamiltonian=0.3 * SX,
        noise=ComplexWhiteNoise(LOWER, rate=0.8, strength=ramp, name="exchange"),
        initial=[1, 0],
        observables={"z": SZ, "y": SY},
    )
    assert verdict(model, Strang(0.05)).status == "pass"
    constant = replace(model, noise=ComplexWhiteNoise(LOWER, rate=0.8, name="exchange"))
    assert verdict(model, Strang(0.05), constant).status == "fail"


def test_dissipators_and_noise_of_different_strengths_live_together():
    model = replace(
        diagonal(strength=[ramp, wave]),
        dissipators=Dissipator(SX, 0.3, name="flip"),
    )
    for unraveling in (None, {"flip": UnitaryNoise()}):
        ensemble = simulate(
            model,
            TIMES,
            n_traj=10_000,
            seed=4,
            scheme=Strang(0.05),
            unraveling=unraveling,
        )
        reference = master_equation(model, TIMES)
        assert verify(ensemble, reference, alpha=ALPHA, resolution=0.3).status == "pass"
