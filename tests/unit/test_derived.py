"""What a model derives: its generator, its Ito drift, and what may depend on time."""

import numpy as np
import pytest
from analytic import LOWER, SX, SY, SZ
from scipy.linalg import expm

from stochq.envelopes import Sampled
from stochq.errors import ModelError
from stochq.model import ComplexWhiteNoise, Dissipator, Model, WhiteNoise
from stochq.references import liouvillian
from stochq.spaces import site_number
from stochq.states import Occupations

COVARIANCE = np.array([[0.7, 0.3], [0.3, 0.4]])


def build(**changes):
    """Return a valid model with some parts changed."""
    parts = {
        "hamiltonian": 0.4 * SZ,
        "noise": [
            WhiteNoise([SX, SZ], covariance=COVARIANCE, name="real"),
            ComplexWhiteNoise(LOWER, rate=0.2, name="complex"),
        ],
        "initial": [1, 0],
        "observables": {"z": SZ},
    }
    return Model(**(parts | changes))


def worst(values, truth):
    values = values.toarray() if hasattr(values, "toarray") else values
    return np.abs(values - truth).max()


# ------------------------------------------------------------------------ the drift


def real_channels(a=1.0, b=1.0, c=1.0):
    """Return (operator, operator, covariance) of `build`, with strengths."""
    x, y = LOWER + LOWER.T, 1j * (LOWER - LOWER.T)
    matrix = np.outer([a, b], [a, b]) * COVARIANCE
    pairs = [(SX, SX, matrix[0, 0]), (SX, SZ, matrix[0, 1])]
    pairs += [(SZ, SX, matrix[1, 0]), (SZ, SZ, matrix[1, 1])]
    return [*pairs, (x, x, 0.1 * c**2), (y, y, 0.1 * c**2)]


def test_the_ito_drift_is_half_the_square_of_the_noise():
    model = build()
    square = sum(c * left @ right for left, right, c in real_channels())
    truth = -0.4j * SZ - square / 2
    assert worst(model.ito_drift(), truth) < 1e-15
    assert worst(model.ito_drift(), -0.4j * SZ - square) > 0.1
    assert worst(build(calculus="ito").ito_drift(), truth) < 1e-15
    assert worst(build(calculus="raw-ito").ito_drift(), -0.4j * SZ) == 0


def test_the_ito_drift_keeps_the_mean_norm():
    """K + K^dag + sum C L L = 0, with the drift and not without it."""
    square = sum(c * left @ right for left, right, c in real_channels())
    for calculus, kept in (("ito", True), ("raw-ito", False)):
        drift = build(calculus=calculus).ito_drift().toarray()
        change = drift + drift.conj().T + square
        assert (np.abs(change).max() < 1e-15) == kept


def test_the_ito_drift_follows_time():
    noise = [
        WhiteNoise(
            [SX, SZ], covariance=COVARIANCE, strength=[np.cos, None], name="real"
        ),
        ComplexWhiteNoise(LOWER, rate=0.2, strength=np.exp, name="complex"),
    ]
    model, t = build(noise=noise, drives=[(SY, np.sin)]), 0.7
    channels = real_channels(a=np.cos(t), c=np.exp(t))
    square = sum(c * left @ right for left, right, c in channels)
    truth = -1j * (0.4 * SZ + np.sin(t) * SY) - square / 2
    assert worst(model.ito_drift(t), truth) < 1e-15
    assert worst(model.ito_drift(t + 0.1), truth) > 0.01
    assert worst(model.hamiltonian_at(t), 0.4 * SZ + np.sin(t) * SY) < 1e-15


# -------------------------------------------------------------------- the generator


@pytest.mark.parametrize("calculus", ["stratonovich", "ito", "raw-ito"])
def test_the_generator_is_the_mean_of_one_ito_step(calculus):
    """d rho = K rho + rho K^dag + sum C L rho L, from the Ito equation of psi."""
    model = build(calculus=calculus)
    rho = np.array([[0.7, 0.1 - 0.2j], [0.1 + 0.2j, 0.3]])
    drift = model.ito_drift().toarray()
    truth = drift @ rho + rho @ drift.conj().T
    truth = truth + sum(c * left @ rho @ right for left, right, c in real_channels())
    image = (model.lindbladian() @ rho.ravel()).reshape(2, 2)
    assert worst(image, truth) < 1e-15
    assert (abs(np.trace(image)) < 1e-15) == (calculus != "raw-ito")


def test_the_generator_of_a_known_qubit():
    """A decaying, dephased, driven qubit by Bloch's equations."""
    model = Model(
        hamiltonian=0.3 * SX,
        noise=WhiteNoise(SZ, rate=0.2),
        dissipators=Dissipator(LOWER, 0.5),
        initial=[1, 0],
        observables={"z": SZ},
    )
    rho = expm(model.lindbladian().toarray() * 0.8) @ np.array([0, 0, 0, 1.0])
    width = 0.25 + 0.4
    bloch = np.array([[-width, 0, 0], [0, -width, -0.6], [0, 0.6, -0.5]])
    start = np.array([0, 0, -1.0])
    steady = np.linalg.solve(bloch, [0, 0, -0.5])  # decay leads to z = 1
    vector = steady + expm(bloch * 0.8) @ (start - steady)
    found = [np.trace(s @ rho.reshape(2, 2)).real for s in (SX, SY, SZ)]
    assert np.abs(found - vector).max() < 1e-14


def test_the_generator_is_that_of_the_reference():
    model = build(dissipators=Dissipator(LOWER, 0.3))
    assert (model.lindbladian() != liouvillian(model)).nnz == 0


def test_the_generator_follows_time():
    model = build(drives=[(SX, np.sin)])
    frozen = build(hamiltonian=0.4 * SZ + np.sin(0.3) * SX)
    assert worst(model.lindbladian(0.3), frozen.lindbladian().toarray()) < 1e-15
    assert worst(model.lindbladian(0.4), frozen.lindbladian().toarray()) > 0.01


def test_a_model_that_depends_on_time_needs_one():
    for model in (
        build(drives=[(SX, np.sin)]),
        build(noise=WhiteNoise(SX, rate=1, strength=np.sin)),
        build(noise=ComplexWhiteNoise(LOWER, rate=1, strength=np.sin)),
    ):
        assert model.time_dependent
        for derived in (model.lindbladian, model.ito_drift, model.hamiltonian_at):
            with pytest.raises(ModelError, match="`t` must be given"):
                derived()
            derived(0.5)
    assert not build().time_dependent
    assert worst(build().lindbladian(3.0), build().lindbladian().toarray()) == 0


def test_fermions_are_sent_to_the_correlation_equation():
    model = Model(
        noise=WhiteNoise(site_number(2, 0), rate=1),
        initial=Occupations([1, 0]),
        observables={"n": site_number(2, 0)},
    )
    with pytest.raises(ModelError, match="correlation_equation"):
        model.lindbladian()


# --------------------------------------------------------------------- commutation


@pytest.mark.parametrize(
    ("noise", "answer"),
    [
        ([], True),
        ([WhiteNoise(SX, rate=1)], True),
        ([WhiteNoise([SX, SZ], rate=1)], False),
        ([WhiteNoise(SX, rate=1), WhiteNoise(SZ, rate=1)], False),
        ([WhiteNoise(SZ, rate=1), WhiteNoise(np.eye(2) + SZ, rate=1)], True),
        ([WhiteNoise([SX, 2 * SX + np.eye(2)], covariance=np.ones((2, 2)))], True),
        ([ComplexWhiteNoise(LOWER, rate=1)], False),
        ([ComplexWhiteNoise(SZ + 1j * SZ, rate=1)], True),
    ],
)
def test_noise_commutes(noise, answer):
    assert build(noise=noise).noise_commutes() is answer


# ---------------------------------------------------------------------- complex noise


def test_complex_noise_is_two_real_ones():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    parts = {"initial": [1, 0, 0], "observables": {"n": np.diag([1, 0, 0])}}
    noise = ComplexWhiteNoise(matrix, rate=0.6, strength=np.cos, name="field")
    written, real = (Model(noise=n, **parts) for n in (noise, noise.real()))
    assert worst(written.lindbladian(0.5), real.lindbladian(0.5).toarray()) < 1e-14
    assert noise.real().name == "field"
    assert noise.real().strengths == (np.cos, np.cos)
    doubled = Model(noise=noise.scaled(2), **parts).lindbladian(0.5)
    assert worst(doubled, 2 * real.lindbladian(0.5).toarray()) < 1e-14
    assert worst(doubled, real.lindbladian(0.5).toarray()) > 0.1
    ladder = WhiteNoise(SX, rate=1)
    assert ladder.real() is ladder


def test_scaling_keeps_the_strengths_and_everything_else():
    noise = WhiteNoise([SX, SZ], rate=[1, 2], strength=[np.cos, None], name="real")
    drives = [(SX, np.sin)]
    model = build(noise=noise, drives=drives, calculus="ito").with_rate("real", 3)
    assert model.noise[0].strengths == (np.cos, None)
    assert model.noise[0].rates.tolist() == [3, 6]
    assert model.drives[0][1] is np.sin
    assert model.calculus == "ito"
    assert noise.amplitudes(0.5).tolist() == [np.cos(0.5), 1]


# ----------------------------------------------------------------------- validation

REFUSED = {
    "drives a matrix": (
        {"drives": SX},
        "`drives` must be a sequence of pairs.*but is ndarray",
    ),
    "drives words": ({"drives": "SX"}, "`drives` must be a sequence of pairs"),
    "drive alone": ({"drives": (SX, np.sin)}, r"`drives\[0\]` must be a pair"),
    "drive of three": (
        {"drives": [(SX, np.sin, 1)]},
        r"`drives\[0\]` must be a pair",
    ),
    "drive by a number": ({"drives": [(SX, 0.5)]}, r"`drives\[0\]` must be a pair"),
    "drive not Hermitian": (
        {"drives": [(SX, np.sin), (LOWER, np.sin)]},
        r"`drives\[1\]` must have a Hermitian matrix",
    ),
    "drive of another size": (
        {"drives": [(np.eye(3), np.sin)]},
        r"`drives\[0\]` must have shape \(2, 2\)",
    ),
    "drive with NaN": (
        {"drives": [(np.nan * SX, np.sin)]},
        r"`drives\[0\]` must be finite",
    ),
    "unknown calculus": (
        {"calculus": "Ito"},
        "`calculus` must be one of stratonovich, ito, raw-ito, but is 'Ito'",
    ),
    "no calculus": ({"calculus": None}, "`calculus` must be one of"),
    "raw with dissipators": (
        {"calculus": "raw-ito", "dissipators": Dissipator(LOWER)},
        "must have kets and noise only, but the model has dissipators",
    ),
    "raw orbitals": (
        {"calculus": "raw-ito", "initial": Occupations([1, 0])},
        "must have kets and noise only, but the model has orbitals",
    ),
}


@pytest.mark.parametrize("case", REFUSED, ids=list(REFUSED))
def test_wrong_models_are_refused(case):
    changes, message = REFUSED[case]
    with pytest.raises(ModelError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WhiteNoise(SX, rate=1, strength=2.0), "`strength` must be a function"),
        (
            lambda: WhiteNoise([SX, SZ], rate=1, strength=[np.cos]),
            "`strength` must be.*sequence of 2",
        ),
        (
            lambda: WhiteNoise([SX, SZ], rate=1, strength=[np.cos, 1.0]),
            r"`strength\[1\]` must be a function",
        ),
        (
            lambda: ComplexWhiteNoise(LOWER, rate=1, strength=[np.cos]),
            "`strength` must be a function",
        ),
    ],
)
def test_wrong_strengths_are_refused(make, message):
    with pytest.raises(ModelError, match=message):
        make()


def test_samples_are_accepted_everywhere():
    pulse = Sampled([0, 1, 2, 3], [0, 1, 1, 0])
    model = build(
        drives=[(SX, pulse)], noise=WhiteNoise([SX, SZ], rate=1, strength=pulse)
    )
    assert model.time_dependent
    assert worst(model.hamiltonian_at(1.0), 0.4 * SZ + SX) < 1e-15
    with pytest.raises(ModelError, match="must cover"):
        model.lindbladian(3.5)


def test_bad_functions_are_found_when_they_are_looked_at():
    model = build(drives=[(SX, lambda t: np.nan)])
    with pytest.raises(ModelError, match="must return a finite real number"):
        model.hamiltonian_at(1.0)
