"""One step of every scheme against exponentials, and what each scheme declares."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from analytic import (
    ALPHA,
    LOWER,
    SX,
    SY,
    SZ,
    density,
    exact_means,
    lindblad,
    random_hermitian,
    random_ket,
)
from scipy.linalg import expm
from scipy.stats import norm

from stochq.averages import has_average
from stochq.bias import exact_step_bias
from stochq.choice import default_scheme
from stochq.errors import SchemeMismatchError
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
    Richardson,
    Strang,
    TwoPoint,
)
from stochq.schemes.explicit import Recipe, prepare_explicit
from stochq.schemes.traits import Traits, step_grid
from stochq.simulation import simulate
from stochq.streams import normals
from stochq.verification import verify

EPS = np.finfo(float).eps
SEED = 23


def noisy_model(seed=0, hamiltonian=True):
    """Return a model with two groups of noise and no symmetry."""
    rng, d = np.random.default_rng(seed), 4
    return Model(
        hamiltonian=random_hermitian(rng, d) if hamiltonian else None,
        noise=[
            WhiteNoise(np.diag([2.0, -1.5, 0.5, -0.3]), rate=0.2, name="diagonal"),
            WhiteNoise(random_hermitian(rng, d), rate=0.4, name="dense"),
        ],
        initial=random_ket(rng, d),
        observables={
            "A": random_hermitian(rng, d),
            "B": random_hermitian(rng, d),
            "P": np.eye(1, d).T @ np.eye(1, d),
        },
    )


def qubit_model(rate=0.6):
    """Return a driven, noisy qubit with observables of every symmetry."""
    return Model(
        hamiltonian=0.9 * SX + 0.3 * SZ,
        noise=WhiteNoise(SZ, rate=rate, name="phase"),
        initial=[1, 0],
        observables={"x": SX, "y": SY, "z": SZ, "xy": (2 * SX + SY) / np.sqrt(5)},
    )


def walk(model, scheme, times, seed=SEED, trajectories=64):
    """Return |psi><psi| of every trajectory at the last time, shape (n, d, d).

    Up to 512 trajectories the batches of an ensemble are its trajectories, and all
    pairs of basis states as observables tell the whole matrix.
    """
    unit, d = np.eye(model.dim), model.dim
    real = {
        f"re{i},{j}": (np.outer(unit[i], unit[j]) + np.outer(unit[j], unit[i])) / 2
        for i in range(d)
        for j in range(d)
    }
    imaginary = {
        f"im{i},{j}": (np.outer(unit[i], unit[j]) - np.outer(unit[j], unit[i])) / 2j
        for i in range(d)
        for j in range(d)
    }
    seen = replace(model, observables=real | imaginary)
    ensemble = simulate(seen, times, n_traj=trajectories, seed=seed, scheme=scheme)
    values = ensemble.batches[:, :, -1].reshape(trajectories, 2, d, d)
    # <(|i><j| + h.c.)/2> = Re rho_ji and <(|i><j| - h.c.)/2i> = Im rho_ji
    return (values[:, 0] + 1j * values[:, 1]).transpose(0, 2, 1)


def channels(model):
    return [np.asarray(L.toarray()) for L in lower(model).noise]


# ------------------------------------------------------------------- one step


@pytest.mark.parametrize("h", [0.01, 0.3])
def test_one_strang_step_is_its_product_of_exponentials(h):
    model = noisy_model()
    found = walk(model, Strang(h), [0, h])
    flow = expm(-0.5j * h * model.hamiltonian.toarray())
    diagonal, dense = channels(model)
    for i in range(64):
        first, whole, last = normals(SEED, i, 3) * np.sqrt([h / 2, h, h / 2])
        ket = flow @ model.initial.vectors[0]
        ket = expm(-1j * first * diagonal) @ ket
        ket = expm(-1j * whole * dense) @ ket
        shared = flow @ expm(-1j * first * diagonal) @ ket
        ket = flow @ expm(-1j * last * diagonal) @ ket
        assert np.abs(found[i] - density(ket)).max() <= 100 * EPS
        # the halves are independent: the same increment twice is another scheme
        assert np.abs(found[i] - density(shared)).max() > 1e-6


def test_strang_without_a_flow_splits_the_first_group():
    h, model = 0.2, noisy_model(hamiltonian=False)
    found = walk(model, Strang(h), [0, h])
    diagonal, dense = channels(model)
    for i in range(64):
        first, whole, last = normals(SEED, i, 3) * np.sqrt([h / 2, h, h / 2])
        ket = expm(-1j * first * diagonal) @ model.initial.vectors[0]
        ket = expm(-1j * last * diagonal) @ expm(-1j * whole * dense) @ ket
        assert np.abs(found[i] - density(ket)).max() <= 100 * EPS


def test_inner_halves_of_neighboring_steps_merge():
    h, model = 0.2, noisy_model(hamiltonian=False)
    found = walk(model, Strang(h), [0, 2 * h])
    diagonal, dense = channels(model)
    for i in range(64):
        z = normals(SEED, i, 5) * np.sqrt([h / 2, h, h, h, h / 2])
        ket = model.initial.vectors[0]
        for w, L in zip(z, [diagonal, dense, diagonal, dense, diagonal], strict=True):
            ket = expm(-1j * w * L) @ ket
        assert np.abs(found[i] - density(ket)).max() <= 200 * EPS


@pytest.mark.parametrize(("scheme", "order"), [(EulerMaruyama, 1), (Heun, 2)])
def test_one_explicit_step_is_its_polynomial(scheme, order):
    h, model = 0.1, noisy_model()
    found = walk(model, scheme(h), [0, h])
    noise = channels(model)
    drift = -1j * model.hamiltonian.toarray()
    if scheme is EulerMaruyama:
        drift = drift - 0.5 * sum(L @ L for L in noise)
    for i in range(64):
        dw = np.sqrt(h) * normals(SEED, i, 2)
        g = h * drift - 1j * (dw[0] * noise[0] + dw[1] * noise[1])
        ket = model.initial.vectors[0]
        truth = ket + g @ ket + (g @ g @ ket / 2 if order == 2 else 0)
        assert np.abs(found[i] - density(truth)).max() <= 50 * EPS


@pytest.mark.parametrize("scheme", [Strang, Heun, EulerMaruyama])
def test_trajectories_do_not_depend_on_their_atom_or_on_output_times(scheme):
    model = noisy_model()
    two = walk(model, scheme(0.1), [0, 0.3, 0.5], trajectories=128)
    one = walk(model, scheme(0.1), [0, 0.3, 0.5], trajectories=64)
    assert np.array_equal(two[:64], one)
    if scheme is not Strang:  # Strang draws two halves at an output time
        whole = walk(model, scheme(0.1), [0, 0.5], trajectories=64)
        assert np.abs(whole - one).max() <= 100 * EPS


# ------------------------------------------------------------- norm, zero noise


def test_noise_keeps_the_norm_over_many_steps():
    steps = 20_000
    rho = walk(noisy_model(), Strang(1e-2), [0, 1e-2 * steps])
    assert np.abs(np.trace(rho, axis1=1, axis2=2) - 1).max() < 1e-12


def test_explicit_schemes_report_the_norm_that_they_lose():
    lost = []
    for dt in (0.05, 0.025):
        ensemble = simulate(
            qubit_model(), [0, 1], n_traj=64, seed=1, scheme=EulerMaruyama(dt)
        )
        lost.append(ensemble.provenance["norm_defect"])
    assert lost[0] > lost[1] > 1e-3


@pytest.mark.parametrize(
    ("scheme", "order"), [(EulerMaruyama, 1), (Heun, 2), (Strang, None)]
)
def test_without_noise_each_scheme_solves_schroedinger(scheme, order):
    silent = noisy_model().with_rate("diagonal", 0).with_rate("dense", 0)
    ket = expm(-1j * silent.hamiltonian.toarray()) @ silent.initial.vectors[0]
    truth = density(ket)
    errors = [
        np.abs(walk(silent, scheme(h), [0, 1]) - truth).max() for h in (0.02, 0.01)
    ]
    if order is None:
        assert max(errors) <= 1e3 * EPS
    else:
        assert errors[1] > 1e-7
        assert abs(np.log2(errors[0] / errors[1]) - order) < 0.05


# ---------------------------------------------------------------------- the bias


def averaged_step(model, scheme, h):
    """Return the averaged one-step map on rho.ravel(), built from exponentials."""
    hamiltonian, noise = model.hamiltonian.toarray(), channels(model)
    one = np.eye(len(hamiltonian))

    def pair(a, b):  # rho -> a rho b^dag
        return np.kron(a, b.conj())

    if scheme is Strang:
        flow = expm(-0.5j * h * hamiltonian)
        half = pair(flow, flow)
        group = expm(h * lindblad(0 * hamiltonian, noise))
        assert len(noise) == 1
        return half @ group @ half
    if scheme is EulerMaruyama:
        m0 = one - h * (1j * hamiltonian + 0.5 * sum(L @ L for L in noise))
        return pair(m0, m0) + h * sum(pair(L, L) for L in noise)
    # Heun, one channel: 1 + g + g^2/2 with g = a + z b is even + odd in z
    a, b = -1j * h * hamiltonian, -1j * np.sqrt(h) * noise[0]
    k0, k1, k2 = one + a + a @ a / 2, b + (a @ b + b @ a) / 2, b @ b / 2
    # E z^2 = 1, E z^4 = 3
    return pair(k0, k0) + pair(k0, k2) + pair(k2, k0) + pair(k1, k1) + 3 * pair(k2, k2)


def exact_bias(model, scheme, h, steps):
    power = np.linalg.matrix_power(averaged_step(model, scheme, h), steps)
    rho = density(model.initial.vectors[0]).ravel()
    jumps = channels(model)
    limit = expm(h * steps * lindblad(model.hamiltonian.toarray(), jumps))
    read = np.array([o.toarray().T.ravel() for o in model.observables.values()])
    return (read @ (power - limit) @ rho).real


@pytest.mark.parametrize("scheme", [EulerMaruyama, Heun, Strang])
def test_step_bias_is_that_of_the_averaged_step(scheme):
    model, h, steps = qubit_model(), 0.05, 20
    found = exact_step_bias(lower(model), np.array([0, h * steps]), scheme(h))[:, 1]
    truth = exact_bias(model, scheme, h, steps)
    # the extrapolation leaves terms one or two orders of h higher
    assert np.abs(found - truth).max() <= h * np.abs(truth).max()
    assert np.abs(found + truth).max() > np.abs(truth).max()


AVERAGED = [s for s in SCHEMES if s not in (Magnus, Milstein)]
EXTRAPOLATED = [lambda h, s=s: Richardson(s(h)) for s in (EulerMaruyama, Heun, Strang)]
MODELS = {
    "qubit": qubit_model(),
    "d=4": noisy_model(),
    "driven": replace(qubit_model(), drives=[(SY, np.sin)]),
}


def test_all_schemes_but_one_have_an_exact_average():
    for scheme in SCHEMES:
        assert has_average(scheme(0.1), lower(qubit_model())) == (scheme is not Magnus)


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
@pytest.mark.parametrize("scheme", [*AVERAGED, *EXTRAPOLATED])
def test_step_bias_falls_with_the_declared_weak_order(scheme, model):
    # an even number of steps: Alternating pairs them
    sizes = [
        np.abs(exact_step_bias(lower(model), np.array([0.0, 1]), scheme(h))).max()
        for h in (0.05, 0.025)
    ]
    assert sizes[1] > 1e-11
    slope = np.log2(sizes[0] / sizes[1])
    assert abs(slope - scheme(0.1).traits.weak) < 0.2


@pytest.mark.parametrize(
    ("scheme", "dt"),
    [
        (EulerMaruyama(0.1), 0.1),
        (Milstein(0.1), 0.1),
        (Heun(0.1), 0.1),
        (Midpoint(0.2), 0.2),
        (Platen(0.3), 0.3),
        (Strang(0.5), 0.5),
        (Alternating(0.5), 0.5),
        (TwoPoint(0.5), 0.5),
        (Richardson(EulerMaruyama(0.25)), 0.25),
    ],
    ids=str,
)
def test_step_bias_is_what_ensembles_show(scheme, dt):
    model, times = qubit_model(), np.array([0.0, 1.0, 2.0])
    ensemble = simulate(model, times, n_traj=100_000, seed=5, scheme=scheme)
    truth = exact_means(
        model.hamiltonian.toarray(),
        channels(model),
        model.initial.density_matrix(),
        {k: o.toarray() for k, o in model.observables.items()},
        times,
    )
    shown = ensemble.mean - np.array(list(truth.values()))
    bias = exact_step_bias(ensemble.dynamics, times, scheme)
    reach = norm.isf(ALPHA / 2 / bias.size) * ensemble.mcse[:, 1:]
    assert (np.abs(bias[:, 1:]) > 3 * ensemble.mcse[:, 1:]).any(), "bias must matter"
    rest = np.abs(shown - bias)[:, 1:]
    assert (rest <= reach + dt * np.abs(bias).max()).all()


def test_exact_has_no_bias_and_no_step():
    model = Model(
        hamiltonian=SZ,
        noise=WhiteNoise(SZ, rate=0.5),
        initial=[1, 0],
        observables={"x": SX},
    )
    assert Exact.handles(lower(model))
    assert Exact().dt == np.inf
    assert not exact_step_bias(lower(model), np.array([0.0, 1]), Exact()).any()
    assert isinstance(default_scheme(lower(model), np.array([0.0, 1]), 100), Exact)
    assert not Exact.handles(lower(qubit_model()))


@pytest.mark.parametrize("n_traj", [100, 10_000])
def test_the_default_step_keeps_its_bias_below_the_sampling_error(n_traj):
    model, times = qubit_model(), np.linspace(0, 2, 5)
    scheme = default_scheme(lower(model), times, n_traj)
    bias = exact_step_bias(lower(model), times, scheme)
    # a tenth of sd / sqrt(n_traj), and a Pauli matrix has sd <= 1
    assert np.abs(bias).max() <= 0.1 / np.sqrt(n_traj)
    assert scheme.dt > 1e-3


def test_the_default_step_survives_an_observable_without_a_range():
    observables = {"one": np.eye(2), "z": SZ}
    model = Model(
        hamiltonian=SX,
        noise=WhiteNoise(SZ, rate=1.0),
        initial=[1, 0],
        observables=observables,
    )
    assert default_scheme(lower(model), np.array([0.0, 1]), 1000).dt > 1e-3


# ------------------------------------------------------------------- the calculus


def path_errors(scheme, h, seed=3):
    """Return the root mean square error of paths of exp(-i W(1) L), L = sigma_x."""
    model = Model(
        noise=WhiteNoise(SX, rate=0.5, name="x"), initial=[1, 0], observables={"z": SZ}
    )
    steps = round(1 / h)
    found = walk(model, scheme(h), [0, 1], seed=seed, trajectories=128)
    errors = []
    for i in range(128):
        w = np.sqrt(0.5 * h) * normals(seed, i, steps).sum()
        truth = np.array([np.cos(w), -1j * np.sin(w)])
        errors.append(np.linalg.norm(found[i] - density(truth)))
    return np.sqrt(np.mean(np.square(errors)))


def test_ito_and_stratonovich_schemes_follow_the_same_paths():
    # rms errors fall as h^strong, with strong orders 1/2 and 1 for one channel
    for scheme, order in ((EulerMaruyama, 0.5), (Heun, 1.0)):
        coarse, fine = path_errors(scheme, 1 / 64), path_errors(scheme, 1 / 1024)
        assert abs(np.log(coarse / fine) / np.log(16) - order) < 0.2
        assert fine < 0.1


@dataclass(frozen=True)
class NaiveEuler:
    """The Ito step of the noise Hamiltonian without its drift -1/2 sum L^2."""

    dt: float
    traits: ClassVar[Traits] = EulerMaruyama.traits

    def prepare(self, dynamics, grid, seed):
        recipe = Recipe(1.0, 0.0, 0.0, 0.0, 0.0)  # g_1 = D h + noise
        return prepare_explicit(self, recipe, dynamics, grid, seed)


def test_the_missing_ito_drift_is_caught():
    assert path_errors(NaiveEuler, 1 / 1024) > 0.1
    model, times = qubit_model(), np.linspace(0, 2, 5)
    reference = master_equation(model, times)
    for scheme, status in ((EulerMaruyama(0.005), "pass"), (NaiveEuler(0.005), "fail")):
        ensemble = simulate(model, times, n_traj=4000, seed=1, scheme=scheme)
        bias = exact_step_bias(lower(model), times, EulerMaruyama(0.005))
        verdict = verify(ensemble, reference, alpha=ALPHA, bias=bias, resolution=0.2)
        assert verdict.status == status, verdict.explain()


@pytest.mark.parametrize("scheme", [EulerMaruyama(0.02), Heun(0.02), Strang(0.1)])
def test_every_scheme_has_the_average_of_the_master_equation(scheme):
    model, times = noisy_model(), np.linspace(0, 2, 5)
    ensemble = simulate(model, times, n_traj=20_000, seed=2, scheme=scheme)
    truth = master_equation(model, times)
    assert verify(ensemble, truth, alpha=ALPHA, resolution=0.2).status == "pass"
    for name in model.rate_names:
        mutant = master_equation(model.with_rate(name, 2), times)
        verdict = verify(ensemble, mutant, alpha=ALPHA, resolution=0.2)
        assert verdict.status == "fail", name
    # the square root forgotten, at a rate that is not 1
    mutant = master_equation(model.with_rate("diagonal", 0.2), times)
    assert verify(ensemble, mutant, alpha=ALPHA).status == "fail"


@pytest.mark.parametrize(
    "scheme",
    [s(0.1) for s in (EulerMaruyama, Milstein, Heun, Platen, Midpoint, Magnus)],
    ids=str,
)
def test_explicit_schemes_refuse_jumps(scheme):
    model = Model(
        dissipators=Dissipator(LOWER, 1.0, name="decay"),
        initial=[0, 1],
        observables={"z": SZ},
    )
    with pytest.raises(SchemeMismatchError, match="must have a model without jumps"):
        simulate(model, [0, 1], n_traj=64, seed=1, scheme=scheme)


def test_complex_noise_is_two_real_channels():
    model = Model(
        noise=ComplexWhiteNoise(LOWER, rate=0.8), initial=[1, 0], observables={"z": SZ}
    )
    first, second = channels(model)
    assert np.abs(first - np.sqrt(0.4) * SX).max() <= EPS
    assert np.abs(np.abs(second) - np.sqrt(0.4) * np.abs(SY)).max() <= EPS
    assert np.abs(first @ second + second @ first).max() <= EPS


# -------------------------------------------------------------------------- steps


def test_intervals_get_equal_steps():
    times = np.array([0, 0.1, 0.2, 0.3, 0.65, 0.7])
    grid = step_grid(times, 0.1)
    assert grid.counts == (1, 1, 1, 4, 1)
    assert len(grid.lengths) == 3
    steps = [n * grid.lengths[k] for n, k in zip(grid.counts, grid.kind, strict=True)]
    assert np.abs(np.cumsum(steps) - (times[1:] - times[0])).max() <= 8 * EPS
    assert step_grid(times, np.inf).counts == (1, 1, 1, 1, 1)
    assert max(step_grid(times, 0.03).lengths) <= 0.03 * (1 + 1e-8)


def test_one_output_time_is_enough():
    ensemble = simulate(qubit_model(), [3.0], n_traj=64, seed=1)
    assert ensemble.mean.shape == (4, 1)
    assert ensemble.mean[2, 0] == 1
