"""The factor of a monitored operator: complete, of the right law, of second order."""

import numpy as np
import pytest
import scipy.sparse as sp
from analytic import LOWER, SX, SZ, lindblad
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.special import ndtr

from stochq import (
    Alternating,
    Averaged,
    Dissipator,
    EulerMaruyama,
    Exact,
    Heterodyne,
    Homodyne,
    Magnus,
    Midpoint,
    Model,
    Richardson,
    SchemeMismatchError,
    Strang,
    TwoPoint,
    WhiteNoise,
    lower,
    simulate,
    simulate_difference,
    step_bias,
    trajectory,
)
from stochq.lowering.dissipators import Monitor
from stochq.schemes.monitors import (
    POWERS,
    _outcome,
    ket_terms,
    matrix_terms,
    moment,
    monitor_factor,
    monitor_factors,
    monitor_room,
)

RNG = np.random.default_rng(5)
C = RNG.normal(size=(3, 3)) + 1j * RNG.normal(size=(3, 3))
C /= np.linalg.norm(C, 2)


def mean_map(eta, tau, c=C):
    """Return what the factor does on average, as a matrix (d^2, d^2)."""
    if eta < 1:
        terms = matrix_terms(Monitor("c", sp.csr_array(c), eta), tau)
        return sum(moment(n) * term.toarray() for n, term in enumerate(terms))
    terms = [term.toarray() for term in ket_terms(sp.csr_array(c), tau)]
    return sum(
        moment(j + k) * np.kron(a, b.conj())
        for j, a in enumerate(terms)
        for k, b in enumerate(terms)
    )


def test_moments_are_those_of_a_normal_number():
    assert [moment(n) for n in range(9)] == [1, 0, 1, 0, 3, 0, 15, 0, 105]


@pytest.mark.parametrize("eta", [1.0, 0.4, 0.0])
def test_a_factor_averages_to_lindblads_semigroup(eta):
    trace = np.eye(3).ravel()

    def error(tau, c=C):
        truth = expm(tau * lindblad(np.zeros((3, 3)), [c]))
        return np.abs(mean_map(eta, tau) - truth).max()

    for tau in (0.01, 0.1, 1.0):  # outcomes are complete at any step
        assert np.abs(trace @ mean_map(eta, tau) - trace).max() < 1e-13
    rate = np.log2(error(0.04) / error(0.02)) if eta else 3.0
    assert 2.8 < rate < 3.3  # of second order after many steps
    assert error(0.02) < 0.02**3
    assert error(0.02, 1.1 * C) > 100 * 0.02**3  # another rate


def test_a_factor_that_sees_nothing_is_exact():
    truth = expm(0.7 * lindblad(np.zeros((3, 3)), [C]))
    assert np.abs(mean_map(0.0, 0.7) - truth).max() < 1e-13


@pytest.mark.parametrize("size", [0.1, 0.5, 1.5])
def test_outcomes_have_their_law(size):
    vectors = [size**k * RNG.normal(size=4) for k in range(POWERS + 1)]
    law = np.zeros((2 * POWERS + 1, 1))
    for j, a in enumerate(vectors):
        for k, b in enumerate(vectors):
            law[j + k, 0] += a @ b

    def density(x):
        return np.polynomial.polynomial.polyval(x, law[:, 0]) * np.exp(-x * x / 2)

    total = quad(density, -15, 15, epsabs=0, epsrel=1e-12, limit=500)[0]
    for normal in (-5.0, -1.3, 0.0, 0.4, 2.0, 6.0):
        x = _outcome(law, 0, np.zeros(2 * POWERS + 2), normal)
        tail = (-15, x) if normal < 0 else (x, 15)
        part = quad(density, *tail, epsabs=0, epsrel=1e-11, limit=500)[0] / total
        assert abs(part / ndtr(-abs(normal)) - 1) < 1e-8
    assert abs(x - normal) > 1e-3  # the law is not the normal one


def averaged_square(steps, operator):
    """Return E[<sigma_z>^2] of a driven, monitored spin, without sampling."""
    time, H = 0.05, sp.csr_array(0.9 * SX + 0.2 * SZ)
    h = time / steps
    model = Model(
        dissipators=Dissipator(operator, name="c"),
        initial=[0.6, 0.8],
        observables={"z": SZ},
    )
    factors = monitor_factors(lower(model, {"c": Homodyne()}), [h])
    nodes, weights = np.polynomial.hermite_e.hermegauss(10)
    grid = np.array(np.meshgrid(*[nodes] * steps)).reshape(steps, -1)
    weight = np.array(np.meshgrid(*[weights] * steps)).reshape(steps, -1).prod(axis=0)
    lanes = grid.shape[1]
    half = expm(-0.5j * h * H.toarray())
    psi = np.tile(np.array([0.6, 0.8], dtype=complex)[:, None], lanes)
    for noise in grid:
        psi = half @ psi
        x = np.stack([psi.real, psi.imag])
        room = monitor_room(factors, 2, lanes)
        monitor_factor(
            factors, 0, h, np.sqrt(h) * noise, x, np.zeros(lanes), room,
            np.empty((5, lanes)),
        )  # fmt: skip
        psi = half @ (x[0] + 1j * x[1])
    z = np.abs(psi[0]) ** 2 - np.abs(psi[1]) ** 2
    return np.array([weight @ z, weight @ z**2]) / weight.sum()


@pytest.mark.parametrize("operator", [LOWER, SZ, LOWER + 0.3 * SZ], ids=str)
def test_averages_of_any_function_are_of_second_order(operator):
    one, two, four = (averaged_square(n, operator) for n in (1, 2, 4))
    truth = expm(0.05 * lindblad(0.9 * SX + 0.2 * SZ, [operator]))
    z = (SZ.ravel() @ truth @ np.outer([0.6, 0.8], [0.6, 0.8]).ravel()).real
    # of first order the ratios would be 2, of third 8
    assert 3.2 < (one[0] - z) / (two[0] - z) < 4.8
    assert 3.2 < (two[0] - z) / (four[0] - z) < 4.8
    assert 3.2 < (one[1] - two[1]) / (two[1] - four[1]) < 4.8


MODEL = Model(
    hamiltonian=SX,
    noise=WhiteNoise(SZ, rate=0.1, name="field"),
    dissipators=[Dissipator(LOWER, name="decay"), Dissipator(SZ, 0.3, name="z")],
    initial=[0.6, 0.8],
    observables={"x": SX, "z": SZ},
)
SEEN = {"decay": Heterodyne(), "z": Homodyne(efficiency=0.5)}


def test_monitors_have_processes_of_their_own_after_the_noise():
    one = trajectory(
        MODEL, [0, 1], seed=1, index=0, scheme=Strang(0.25), unraveling=SEEN
    )
    assert sorted(set(one.noise.process.tolist())) == [0, 1, 2, 3]
    assert one.signal_names == ("decay", "decay", "z")
    silent = MODEL.with_rate("field", 0.0)
    numbers = [monitor.number for monitor in lower(silent, SEEN).monitors]
    assert numbers == [1, 2, 3]


def test_a_signal_of_nothing_is_its_noise():
    one = trajectory(
        MODEL, [0, 0.5, 1], seed=1, index=3, scheme=Strang(0.25), path_dt=0.125,
        unraveling={"z": Homodyne(efficiency=0.0), "decay": Averaged()},
    )  # fmt: skip
    path = one.noise.path(1, np.array([0, 0.5, 1]))
    assert np.abs(np.cumsum(one.signals[0]) - path[1:]).max() < 1e-14


def test_paths_refine():
    """Runs with dt and dt/2 share their paths; one monitor has strong order one."""
    model = MODEL.with_rate("z", 0.0).with_rate("field", 0.0)
    sd = []
    for dt in (0.2, 0.1, 0.05):
        pair = simulate_difference(
            model, model, [0, 1], n_traj=512, seed=2, path_dt=0.0125,
            scheme=(Strang(dt), Strang(dt / 2)), unraveling={"decay": Homodyne()},
        )  # fmt: skip
        sd.append(pair.sd[:, -1].max())
        assert (pair.mcse[:, -1] < 0.5 * pair.independent_mcse[:, -1]).all()
    assert sd[0] > 1.6 * sd[1] > 1.6**2 * sd[2]


def test_step_bias_of_monitors_is_exact():
    found = step_bias(MODEL, [0, 1], Strang(0.5), unraveling=SEEN)
    assert found.exact
    assert np.abs(found.values[:, -1]).max() > 1e-3
    finer = step_bias(MODEL, [0, 1], Strang(0.25), unraveling=SEEN)
    ratio = np.abs(found.values[:, -1]).max() / np.abs(finer.values[:, -1]).max()
    assert 3 < ratio < 5.5


@pytest.mark.parametrize(
    "scheme",
    [
        EulerMaruyama(0.1),
        Midpoint(0.1),
        Magnus(0.1),
        Alternating(0.1),
        TwoPoint(0.1),
        Richardson(Strang(0.1)),
    ],
    ids=lambda scheme: type(scheme).__name__,
)
@pytest.mark.parametrize("choice", [Homodyne(), Averaged()])
def test_other_schemes_refuse(scheme, choice):
    unraveling = {"decay": choice, "z": choice}
    with pytest.raises(SchemeMismatchError, match="without monitors and density"):
        simulate(MODEL, [0, 1], n_traj=64, seed=1, scheme=scheme, unraveling=unraveling)


def test_steps_that_do_not_resolve_a_measurement_are_refused():
    fast = Model(
        hamiltonian=SX,
        dissipators=Dissipator(SZ, 1000.0, name="z"),
        initial=[1, 0],
        observables={"z": SZ},
    )
    with pytest.raises(
        SchemeMismatchError, match="`dt` must resolve what is monitored"
    ):
        simulate(
            fast, [0, 1], n_traj=64, seed=1, scheme=Strang(0.5),
            unraveling={"z": Homodyne()},
        )  # fmt: skip
    for efficiency in (1.0, 0.5):  # and the default resolves it
        choice = {"z": Homodyne(efficiency=efficiency)}
        run = simulate(fast, [0, 0.5, 1], n_traj=64, seed=1, unraveling=choice)
        assert run.scheme.dt <= 1.1e-4
        assert np.isfinite(run.mean).all()


def test_a_monitored_model_always_has_steps():
    with pytest.raises(SchemeMismatchError, match="without noise and monitors"):
        simulate(MODEL, [0, 1], n_traj=64, seed=1, scheme=Exact(), unraveling=SEEN)


def test_signals_are_the_same_for_any_jobs_and_batches():
    def run(**how):
        return simulate(
            MODEL, [0, 0.4, 1], n_traj=451, seed=3, scheme=Strang(0.2), unraveling=SEEN,
            keep_signals=True, **how,
        )  # fmt: skip

    plain = run()
    assert plain.signals.shape == (3, 2, 451)
    for how in ({"n_jobs": 2}, {"batch": 1}, {"batch": 5, "n_jobs": 2}):
        assert np.array_equal(run(**how).signals, plain.signals)
    one = plain.trajectory(70)
    assert np.array_equal(one.signals, plain.signals[:, :, 70])
    assert one.signal_names == plain.signal_names


def test_complex_signals_need_heterodyne_monitors():
    how = {"n_traj": 64, "seed": 3, "scheme": Strang(0.5), "unraveling": SEEN}
    kept = simulate(MODEL, [0, 1], keep_signals=True, **how)
    with pytest.raises(ValueError, match="unraveled by Heterodyne"):
        kept.complex_signal("z")
    with pytest.raises(ValueError, match="but is 'nobody'"):
        kept.complex_signal("nobody")
    with pytest.raises(ValueError, match="keep_signals=True"):
        simulate(MODEL, [0, 1], **how).complex_signal("decay")
