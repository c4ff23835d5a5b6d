"""The averaged equations against truths that share no code with them."""

from functools import reduce

import numpy as np
import pytest
import qutip
import scipy.sparse as sp
from scipy.linalg import expm

from stochq.envelopes import Sampled, evaluate
from stochq.errors import ModelError
from stochq.model import ComplexWhiteNoise, Dissipator, Model, WhiteNoise
from stochq.references import (
    Reference,
    correlation_equation,
    correlation_matrix,
    liouvillian,
    macroscopic_equation,
    macroscopic_magnetization,
    master_equation,
    steady_state,
)
from stochq.references import _propagate as propagation
from stochq.references._pieces import pieces
from stochq.spaces import (
    bond_coupling,
    hopping_chain,
    site_number,
    spin_operators,
    tls_lowering,
    tls_number,
)
from stochq.states import Occupations, Orbitals
from stochq.superoperator import shares

LOWERING = np.array([[0, 1], [0, 0]])
EXCITED = np.diag([0.0, 1.0])
PAULI_X = np.array([[0, 1], [1, 0]])
TIMES = np.linspace(0, 3, 31)
QUTIP_ACCURACY = 1e-8


def random_matrix(rng, d):
    return (rng.normal(size=(d, d)) + 1j * rng.normal(size=(d, d))) / np.sqrt(2 * d)


def random_hermitian(rng, d):
    matrix = random_matrix(rng, d)
    return matrix + matrix.conj().T


def random_covariance(rng, k):
    root = rng.normal(size=(k, k))
    return 0.3 * root @ root.T


def random_parts(rng, d):
    """Return the parts of a model that uses everything a model may hold."""
    mixed = random_matrix(rng, d)
    rho = mixed @ mixed.conj().T
    return {
        "hamiltonian": random_hermitian(rng, d),
        "noise": [
            WhiteNoise(
                [random_hermitian(rng, d) for _ in range(3)],
                covariance=random_covariance(rng, 3),
                name="real",
            ),
            ComplexWhiteNoise(random_matrix(rng, d), rate=0.4, name="complex"),
        ],
        "dissipators": [
            Dissipator(random_matrix(rng, d), 0.5, name="loss"),
            Dissipator(random_matrix(rng, d), 0.2, name="loss"),
            Dissipator(random_matrix(rng, d), name="gain"),
        ],
        "initial": rho / np.trace(rho).real,
        "observables": {"A": random_hermitian(rng, d), "B": random_hermitian(rng, d)},
    }


def jumps_of(model):
    """Write every dissipation as Lindblad jumps, noise by the roots of C."""
    jumps = [np.sqrt(d.rate) * d.operator.toarray() for d in model.dissipators]
    for noise in model.noise:
        if isinstance(noise, ComplexWhiteNoise):
            a = np.sqrt(noise.rate) * noise.operator.toarray()
            jumps += [a, a.conj().T]
            continue
        strengths, modes = np.linalg.eigh(noise.covariance)
        matrices = np.array([operator.toarray() for operator in noise.operators])
        mixed = np.tensordot(modes.T, matrices, axes=1)
        jumps += [np.sqrt(max(s, 0)) * c for s, c in zip(strengths, mixed, strict=True)]
    return jumps


def qutip_means(model, times):
    result = qutip.mesolve(
        qutip.Qobj(model.hamiltonian.toarray()),
        qutip.Qobj(model.initial.density_matrix()),
        times,
        c_ops=[qutip.Qobj(c) for c in jumps_of(model)],
        e_ops=[qutip.Qobj(o.toarray()) for o in model.observables.values()],
        options={"atol": 1e-12, "rtol": 1e-10, "nsteps": 10**5, "progress_bar": ""},
    )
    return np.array(result.expect)


def decaying_qubit(rate=0.8, times=TIMES, **arguments):
    model = Model(
        dissipators=Dissipator(LOWERING, rate, name="decay"),
        initial=[0, 1],
        observables={"n": EXCITED},
    )
    return master_equation(model, times, **arguments)


def worst(values, truth):
    return np.abs(values - truth).max()


# ---------------------------------------------------------------- master equation


@pytest.mark.parametrize("seed", range(10))
def test_random_models_agree_with_qutip(seed):
    rng = np.random.default_rng(seed)
    parts = random_parts(rng, d=2 + seed % 5)
    model = Model(**parts)
    reference = master_equation(model, TIMES, sensitivity=False)
    truth = qutip_means(model, TIMES)
    assert worst(reference.values, truth) < QUTIP_ACCURACY
    for name in model.rate_names:
        mutant = master_equation(model.with_rate(name, 2), TIMES, sensitivity=False)
        assert worst(mutant.values, truth) > 1e-3, f"a doubled {name!r} must be seen"
    real, complex_ = parts["noise"]
    uncorrelated = WhiteNoise(
        real.operators, rate=np.diag(real.covariance), name="real"
    )
    mutant = master_equation(
        Model(**parts | {"noise": [uncorrelated, complex_]}), TIMES, sensitivity=False
    )
    assert worst(mutant.values, truth) > 1e-3, "lost correlations must be seen"


def test_decay_is_exponential_within_the_stated_error():
    reference = decaying_qubit(0.8)
    error = worst(reference.values, np.exp(-0.8 * TIMES))
    assert error <= reference.error < 1e-12
    assert worst(decaying_qubit(1.6).values, np.exp(-0.8 * TIMES)) > 0.1


def test_the_state_holds_at_the_first_time():
    shifted = decaying_qubit(times=TIMES + 7.5)
    assert worst(shifted.values, np.exp(-0.8 * TIMES)) <= shifted.error
    assert decaying_qubit(times=[4.0]).values == pytest.approx(1, abs=0)


def test_dephasing_rate_is_half_of_two_squared_for_pauli_z():
    model = Model(
        noise=WhiteNoise(np.diag([1.0, -1.0]), rate=0.3, name="dephasing"),
        initial=np.array([1, 1]) / np.sqrt(2),
        observables={"x": PAULI_X},
    )
    reference = master_equation(model, TIMES)
    truth = np.exp(-2 * 0.3 * TIMES)
    assert worst(reference.values, truth) <= reference.error
    slope = reference.sensitivity["dephasing"]
    assert worst(slope, -0.6 * TIMES * truth) < 1e-13


def test_uneven_and_logarithmic_times():
    times = np.concatenate(([0], np.geomspace(1e-6, 1e3, 40)))
    reference = decaying_qubit(times=times)
    assert worst(reference.values, np.exp(-0.8 * times)) <= reference.error < 1e-10


def test_steps_that_nearly_agree_stay_apart():
    times = np.cumsum(np.tile([0.1, 0.1 + 1e-7, 0.101], 10))
    reference = decaying_qubit(times=times)
    truth = np.exp(-0.8 * (times - times[0]))
    assert worst(reference.values, truth) <= reference.error < 1e-13


def test_observables_of_very_different_scales():
    model = Model(
        dissipators=Dissipator(LOWERING, 0.8),
        hamiltonian=PAULI_X,
        initial=[0, 1],
        observables={"large": 1e20 * np.eye(2), "n": EXCITED},
    )
    alone = Model(
        dissipators=Dissipator(LOWERING, 0.8),
        hamiltonian=PAULI_X,
        initial=[0, 1],
        observables={"n": EXCITED},
    )
    both = master_equation(model, TIMES).values[1]
    assert worst(both, master_equation(alone, TIMES).values[0]) < 1e-14


def test_an_observable_that_reads_nothing():
    model = Model(
        dissipators=Dissipator(LOWERING),
        initial=[0, 1],
        observables={"zero": np.zeros((2, 2))},
    )
    assert not master_equation(model, TIMES).values.any()


def random_walk(n, gamma):
    """Diffusion of one excitation by noisy bonds, C = 2 gamma."""
    return Model(
        noise=WhiteNoise(
            [bond_coupling(n, j) for j in range(n - 1)], rate=2 * gamma, name="bonds"
        ),
        initial=np.eye(n)[0],
        observables={f"n{k}": site_number(n, k) for k in range(n)},
    )


def test_noisy_bonds_give_a_random_walk_of_populations():
    n, gamma = 12, 0.4
    walk = 2 * gamma * (np.eye(n, k=1) + np.eye(n, k=-1))
    walk -= np.diag(walk.sum(axis=0))
    truth = np.array([expm(walk * t)[:, 0] for t in TIMES]).T
    reference = master_equation(random_walk(n, gamma), TIMES)
    assert worst(reference.values, truth) < 1e-13
    assert worst(master_equation(random_walk(n, gamma / 2), TIMES).values, truth) > 0.1


def test_only_populations_are_propagated_when_nothing_else_is_read(monkeypatch):
    sizes = []
    original = propagation._propagate_block

    def spied(system, times):
        sizes.append(system.start.size)
        return original(system, times)

    monkeypatch.setattr(propagation, "_propagate_block", spied)
    master_equation(random_walk(12, 0.4), TIMES)
    assert sizes == [12]


@pytest.mark.parametrize("make", [propagation._dense_step, propagation._taylor_step])
def test_both_ways_to_step_give_the_same_exact_curves(make, monkeypatch):
    dense = make is propagation._dense_step
    monkeypatch.setattr(propagation, "_dense_is_cheaper", lambda *_: dense)
    model = Model(**random_parts(np.random.default_rng(3), 4))
    reference = master_equation(model, TIMES)
    generator = liouvillian(model).toarray()
    part = generator - liouvillian(model.with_rate("real", 0)).toarray()
    pair = np.block([[generator, np.zeros_like(part)], [part, generator]])
    start = model.initial.density_matrix().ravel()
    last = expm(pair * TIMES[-1]) @ np.concatenate((start, 0 * start))
    rho, slope = last.reshape(2, 4, 4)
    for row, matrix in enumerate(model.observables.values()):
        mean, change = np.trace(matrix @ rho), np.trace(matrix @ slope)
        assert reference.values[row, -1] == pytest.approx(mean.real, abs=1e-12)
        assert reference.sensitivity["real"][row, -1] == pytest.approx(
            change.real, abs=1e-12
        )


def central_difference(solve, model, name, times=TIMES, step=1e-4):
    up = solve(model.with_rate(name, 1 + step), times, sensitivity=False)
    down = solve(model.with_rate(name, 1 - step), times, sensitivity=False)
    return (up.values - down.values) / (2 * step)


def test_sensitivities_are_derivatives_with_respect_to_ln_rate():
    model = Model(**random_parts(np.random.default_rng(11), 3))
    reference = master_equation(model, TIMES)
    assert tuple(reference.sensitivity) == model.rate_names
    for name, slope in reference.sensitivity.items():
        truth = central_difference(master_equation, model, name)
        assert worst(slope, truth) < 1e-7
        assert worst(slope, 2 * truth) > 1e-3


def test_sensitivity_can_be_left_out():
    assert not decaying_qubit(sensitivity=False).sensitivity


def test_liouvillian_conserves_the_trace_and_hermiticity():
    d = 4
    generator = liouvillian(Model(**random_parts(np.random.default_rng(5), d)))
    trace = np.eye(d).ravel()
    assert worst(trace @ generator, 0) < 1e-14
    image = (generator @ random_hermitian(np.random.default_rng(6), d).ravel()).reshape(
        d, d
    )
    assert worst(image, image.conj().T) < 1e-13


def test_stiff_dissipative_chain_of_larger_size():
    n = 5
    lowering = [tls_lowering(n, k) for k in range(n)]
    hop = sum(lowering[k].T @ lowering[k + 1] for k in range(n - 1))
    model = Model(
        hamiltonian=hop + hop.T,
        dissipators=[Dissipator(a, 30.0, name="loss") for a in lowering],
        initial=np.eye(2**n)[-1],
        observables={"N": sum(tls_number(n, k) for k in range(n))},
    )
    reference = master_equation(model, TIMES)
    assert worst(reference.values, n * np.exp(-30 * TIMES)) <= reference.error < 1e-10


# ------------------------------------------------------------------ steady state


def driven_qubit(drive, detuning, rate, observables=None):
    return Model(
        hamiltonian=detuning * EXCITED + drive / 2 * PAULI_X,
        dissipators=Dissipator(LOWERING, rate, name="decay"),
        initial=[1, 0],
        observables=observables or {"n": EXCITED},
    )


def test_steady_state_of_the_driven_damped_qubit():
    drive, detuning, rate = 0.7, 0.4, 0.5
    rho = steady_state(driven_qubit(drive, detuning, rate))
    saturation = 2 * drive**2 / (rate**2 + 4 * detuning**2)
    assert rho[1, 1].real == pytest.approx(saturation / (1 + saturation) / 2, abs=1e-13)
    assert np.trace(rho) == pytest.approx(1, abs=1e-14)
    doubled = steady_state(driven_qubit(drive, detuning, 2 * rate))
    assert abs(doubled[1, 1] - rho[1, 1]) > 0.01


def test_steady_state_is_where_a_random_model_ends():
    model = Model(**random_parts(np.random.default_rng(8), 6))
    rho = steady_state(model)
    assert worst(liouvillian(model) @ rho.ravel(), 0) < 1e-13
    end = master_equation(model, [0, 200.0], sensitivity=False).values[:, 1]
    means = [np.trace(o @ rho).real for o in model.observables.values()]
    assert np.allclose(end, means, atol=1e-10, rtol=0)


def test_steady_state_of_a_thermal_chain_is_a_product():
    n, ratio = 5, 0.3
    lowering = [tls_lowering(n, k) for k in range(n)]
    hop = sum(lowering[k].T @ lowering[k + 1] for k in range(n - 1))
    model = Model(
        hamiltonian=hop + hop.T,
        dissipators=[Dissipator(a) for a in lowering]
        + [Dissipator(a.T, ratio) for a in lowering],
        initial=np.eye(2**n)[0],
        observables={"n": tls_number(n, 0)},
    )
    site = np.diag([1, ratio]) / (1 + ratio)
    assert worst(steady_state(model), reduce(np.kron, [site] * n)) < 1e-13


@pytest.mark.parametrize(
    "model",
    [
        random_walk(4, 0.3),  # a dark state beside the uniform one
        Model(
            noise=WhiteNoise(np.diag([1.0, -1.0]), rate=1),
            initial=[1, 0],
            observables={"n": EXCITED},
        ),
        Model(initial=[1, 0], observables={"n": EXCITED}),
    ],
    ids=["dark state", "dephasing", "nothing"],
)
def test_steady_state_must_be_unique(model):
    with pytest.raises(ModelError, match="must have one stationary state"):
        steady_state(model)


# ----------------------------------------------------------------- time dependence


PAULI_Z = np.diag([1.0, -1.0])
SAMPLES = np.linspace(0, 3, 13)
ROUGH = np.random.default_rng(9).normal(size=SAMPLES.size)


def samples(order, power):
    """Return the integral from 0 of a power of the rough samples, at TIMES."""
    if order == 0:
        sums = np.cumsum(ROUGH[:-1] ** power * np.diff(SAMPLES))
        return np.interp(TIMES, SAMPLES, np.concatenate(([0], sums)))
    # parabolas and cubics meet on this grid, and Gauss's rule is exact for them
    grid, (nodes, weights) = np.linspace(0, 3, 121), np.polynomial.legendre.leggauss(5)
    places = grid[:-1, None] + (1 + nodes) * (grid[1] / 2)
    curve = evaluate(Sampled(SAMPLES, ROUGH, order), places.ravel())
    parts = curve.reshape(places.shape) ** power @ weights * (grid[1] / 2)
    return np.concatenate(([0], np.cumsum(parts)))[::4]


#: f, and the integrals of f and of f^2 from 0 to TIMES.
ENVELOPES = {
    "cosine": (
        lambda t: np.cos(3 * t),
        np.sin(3 * TIMES) / 3,
        TIMES / 2 + np.sin(6 * TIMES) / 12,
    ),
    "one": (lambda t: 1, TIMES, TIMES),
    "square": (
        lambda t: 1 < t <= 2,
        np.clip(TIMES - 1, 0, 1),
        np.clip(TIMES - 1, 0, 1),
    ),
    "square wave": (
        lambda t: np.sign(np.sin(20 * t)),
        (np.pi - np.abs(20 * TIMES % (2 * np.pi) - np.pi)) / 20,
        TIMES,
    ),
    "kink": (
        lambda t: abs(t - 1.1),
        (np.abs(TIMES - 1.1) * (TIMES - 1.1) + 1.1**2) / 2,
        ((TIMES - 1.1) ** 3 + 1.1**3) / 3,
    ),
} | {
    f"samples of order {order}": (
        Sampled(SAMPLES, ROUGH, order),
        samples(order, 1),
        samples(order, 2),
    )
    for order in range(4)
}


def driven(envelope, times, **changes):
    """Rotate |-> about x: n = sin^2(area / 2)."""
    parts = {
        "drives": [(PAULI_X / 2, envelope)],
        "initial": [1, 0],
        "observables": {"n": EXCITED},
    }
    return master_equation(Model(**parts | changes), times)


@pytest.mark.parametrize("case", ENVELOPES, ids=list(ENVELOPES))
def test_a_driven_qubit_turns_by_the_area_of_the_drive(case):
    envelope, area, _ = ENVELOPES[case]
    reference = driven(envelope, TIMES)
    assert worst(reference.values, np.sin(area / 2) ** 2) <= reference.error < 1e-8
    assert worst(reference.values, np.sin(area) ** 2) > 1e-2


@pytest.mark.parametrize("case", ENVELOPES, ids=list(ENVELOPES))
def test_noise_dephases_by_the_integral_of_its_strength_squared(case):
    envelope, area, square = ENVELOPES[case]
    model = Model(
        noise=WhiteNoise(PAULI_Z, rate=0.3, strength=envelope, name="phase"),
        initial=np.array([1, 1]) / np.sqrt(2),
        observables={"x": PAULI_X},
    )
    reference = master_equation(model, TIMES)
    truth = np.exp(-0.6 * square)
    assert worst(reference.values, truth) <= reference.error < 1e-7
    assert worst(reference.sensitivity["phase"], -0.6 * square * truth) < 1e-7
    if case not in {"one", "square"}:  # where f = f^2
        assert worst(reference.values, np.exp(-0.6 * area)) > 1e-2


def test_an_envelope_of_one_changes_nothing():
    parts = random_parts(np.random.default_rng(12), 4)
    real, complex_ = parts["noise"]
    strengths = [lambda t: 1.0, None, lambda t: 1]
    written = Model(
        **parts
        | {
            "hamiltonian": None,
            "drives": [(parts["hamiltonian"], lambda t: 1.0)],
            "noise": [
                WhiteNoise(
                    real.operators,
                    covariance=real.covariance,
                    strength=strengths,
                    name="real",
                ),
                ComplexWhiteNoise(
                    complex_.operator, rate=0.4, strength=lambda t: 1.0, name="complex"
                ),
            ],
        }
    )
    reference, truth = (master_equation(m, TIMES) for m in (written, Model(**parts)))
    assert worst(reference.values, truth.values) <= reference.error < 1e-7
    for name, slope in truth.sensitivity.items():
        assert worst(reference.sensitivity[name], slope) < 1e-8


@pytest.mark.parametrize("width", [0.5, 0.02, 1e-3])
@pytest.mark.parametrize("shape", ["square", "bell", "samples"])
def test_a_pulse_between_two_outputs_is_not_stepped_over(shape, width):
    center, times = 1.234567, np.array([0, 3.0])
    pulses = {
        "square": lambda t: np.pi / width * (abs(t - center) < width / 2),
        "bell": lambda t: (
            np.sqrt(np.pi) / (width / 8) * np.exp(-(((t - center) * 8 / width) ** 2))
        ),
        "samples": Sampled(
            [0, center - width, center, center + width, 3],
            [0, 0, np.pi / width, 0, 0],
            1,
        ),
    }
    background = (PAULI_X / 2, lambda t: 0.1 * np.cos(t))
    for drives in ([], [background]):
        reference = driven(None, times, drives=[(PAULI_X / 2, pulses[shape]), *drives])
        area = np.pi + (0.1 * np.sin(3) if drives else 0)
        truth = np.sin(area / 2) ** 2
        assert abs(reference.values[0, 1] - truth) <= reference.error < 1e-7
    assert truth > 0.9, "a pulse that is missed leaves n below 0.1"


def test_uneven_samples_are_resolved_where_they_are_close():
    """A smooth pulse of 1e-4 in a span of 3, which no even scan would find."""
    short = 1e-4 * np.linspace(-0.5, 0.5, 41)
    bell = np.pi * 1e4 * 30 * np.clip(0.25 - (short * 1e4) ** 2, 0, 1) ** 2
    times = np.concatenate(([0, 1], 1.2345 + short, [2, 3]))
    values = np.concatenate(([0, 0], bell, [0, 0]))
    reference = driven(Sampled(times, values, 1), [0, 3.0])
    area = np.diff(times) @ (values[1:] + values[:-1]) / 2
    error = abs(reference.values[0, 1] - np.sin(area / 2) ** 2)
    assert error <= reference.error < 1e-8
    assert np.sin(area / 2) ** 2 > 0.9, "a pulse that is missed leaves n = 0"
    for order in (2, 3):
        cut = pieces([Sampled(times, values, order)], np.array([0, 3.0]))
        steps = [p.step for p in cut.pieces if abs(p.start - 1.2345) < 4e-5]
        assert len(steps) > 30
        assert max(steps) < 3e-6


def test_jumps_cost_no_refused_steps():
    """A jump lies between two pieces, and neither looks across it."""
    seen = []

    def square_wave(t):
        seen.append(t)
        return np.sign(np.sin(20 * t + 0.1))

    driven(square_wave, [0, 3.0])
    jumps = 19
    assert len(seen) - 2**14 < 600 * jumps, "looking across costs 1500 for each"


def test_a_weak_pulse_after_a_strong_one_is_seen():
    """What one interval holds is measured by its own size."""

    def pulses(t):
        return 1e3 * (0.2 <= t < 0.2 + 2e-3) + 2.0 * (2.2 < t < 2.3)

    reference = driven(pulses, [0, 1, 3.0])
    truth = np.sin(np.array([0, 2, 2.2]) / 2) ** 2
    assert worst(reference.values, truth) <= reference.error < 1e-9
    assert abs(truth[2] - truth[1]) > 0.05


@pytest.mark.parametrize("start", [0.0, -7.5, 1e6])
def test_steps_are_short_where_an_envelope_is(start):
    rng = np.random.default_rng(17)
    for width in (0.3, 0.01, 1e-3):
        first = start + rng.uniform(0, 3 - width)

        def square(t, a=first, b=first + width):
            return float(a < t < b)

        times = start + np.linspace(0, 3, 4)
        cut = pieces([square, lambda t: np.sin(t)], times)
        ends = np.array([piece[:2] for piece in cut.pieces])
        assert ends[0, 0] == times[0]
        assert ends[-1, 1] == times[-1]
        assert np.array_equal(ends[1:, 0], ends[:-1, 1])
        for edge in (first, first + width):
            assert np.abs(ends - edge).min() <= cut.margin
        inside = [
            p for p in cut.pieces if first < (p.start + p.end) / 2 < first + width
        ]
        assert all(piece.step <= width for piece in inside)


def random_drive(rng, d):
    """Return changes that make everything in `random_parts` depend on time."""
    strengths = [
        lambda t: np.cos(2 * t),
        None,
        Sampled([0, 1, 2, 3, 6], [0.5, -1.0, 1.2, 0.3, 0.3]),
    ]
    drives = [
        (random_hermitian(rng, d), lambda t: np.sin(3 * t)),
        (random_hermitian(rng, d), lambda t: np.exp(-t)),
    ]
    return drives, strengths, lambda t: 1 + 0.5 * np.sin(t)


def random_driven_model(seed, d, **changes):
    rng = np.random.default_rng(seed)
    parts = random_parts(rng, d)
    drives, strengths, strength = random_drive(rng, d)
    known = {"drives": drives, "strengths": strengths, "strength": strength} | changes
    real, complex_ = parts["noise"]
    covariance = changes.get("covariance", real.covariance)
    parts["noise"] = [
        WhiteNoise(
            real.operators,
            covariance=covariance,
            strength=known["strengths"],
            name="real",
        ),
        ComplexWhiteNoise(
            complex_.operator, rate=0.4, strength=known["strength"], name="complex"
        ),
    ]
    return Model(**parts, drives=known["drives"])


def qutip_of(operator, envelope):
    matrix = qutip.Qobj(operator.toarray())
    return matrix if envelope is None else [matrix, lambda t: float(envelope(t))]


def qutip_driven_means(model, times):
    """Write every noise as jumps that depend on time, by the roots of C."""
    jumps = [np.sqrt(d.rate) * qutip.Qobj(d.operator.toarray())
             for d in model.dissipators]  # fmt: skip
    for noise in (n.real() for n in model.noise):
        weights, modes = np.linalg.eigh(noise.covariance)
        for strength, mode in zip(weights, modes.T, strict=True):
            parts = [
                qutip.QobjEvo([qutip_of(np.sqrt(strength) * v * L, f)])
                for v, L, f in zip(
                    mode.T, noise.operators, noise.strengths, strict=True
                )
            ]
            jumps.append(sum(parts[1:], start=parts[0]))
    hamiltonian = [qutip_of(model.hamiltonian, None)]
    hamiltonian += [qutip_of(h, f) for h, f in model.drives]
    result = qutip.mesolve(
        qutip.QobjEvo(hamiltonian),
        qutip.Qobj(model.initial.density_matrix()),
        times,
        c_ops=jumps,
        e_ops=[qutip.Qobj(o.toarray()) for o in model.observables.values()],
        options={"atol": 1e-11, "rtol": 1e-9, "nsteps": 10**5, "progress_bar": ""},
    )
    return np.array(result.expect)


@pytest.mark.parametrize("seed", [0, 2])
def test_random_driven_models_agree_with_qutip(seed):
    times, d = np.linspace(0, 3, 7), 2 + seed
    model = random_driven_model(seed, d)
    reference = master_equation(model, times, sensitivity=False)
    truth = qutip_driven_means(model, times)
    assert worst(reference.values, truth) < QUTIP_ACCURACY
    assert reference.error < QUTIP_ACCURACY
    covariance = model.noise[0].covariance
    strengths = model.noise[0].strengths
    for changes in (
        {"drives": []},
        {
            "drives": [
                (h, f)
                for (h, _), (_, f) in zip(model.drives, model.drives[::-1], strict=True)
            ]
        },
        {"strengths": None},
        {"strengths": strengths[::-1]},
        {"strength": None},
        {"covariance": np.diag(np.diag(covariance))},
    ):
        mutant = random_driven_model(seed, d, **changes)
        found = master_equation(mutant, times, sensitivity=False).values
        assert worst(found, truth) > 1e-3, f"{list(changes)} must be seen"


def test_driven_sensitivities_are_derivatives():
    model, times = random_driven_model(4, 2), TIMES[:11:5]
    reference = master_equation(model, times)
    assert tuple(reference.sensitivity) == model.rate_names
    for name in ("real", "complex", "loss"):
        slope = reference.sensitivity[name]
        truth = central_difference(master_equation, model, name, times)
        assert worst(slope, truth) < 1e-6
        assert worst(slope, 2 * truth) > 1e-3


def test_a_driven_liouvillian_is_that_of_the_frozen_model():
    model, time = random_driven_model(5, 3), 1.3
    real, complex_ = model.noise
    f = real.amplitudes(time)
    frozen = Model(
        hamiltonian=model.hamiltonian_at(time),
        noise=[
            WhiteNoise(real.operators, covariance=np.outer(f, f) * real.covariance),
            ComplexWhiteNoise(
                complex_.operator, rate=0.4 * float(complex_.strength(time)) ** 2
            ),
        ],
        dissipators=model.dissipators,
        initial=model.initial,
        observables=model.observables,
    )
    assert worst(liouvillian(model, time).toarray(), liouvillian(frozen).toarray()) < (
        1e-14
    )
    assert (
        worst(liouvillian(model, 1.4).toarray(), liouvillian(frozen).toarray()) > 0.01
    )
    with pytest.raises(ModelError, match="`t` must be given"):
        liouvillian(model)
    with pytest.raises(ModelError, match="must not depend on time"):
        steady_state(model)


def test_covariances_are_shared_out_by_pairs_of_equal_strengths():
    rng = np.random.default_rng(3)
    one, two = np.cos, np.exp
    strengths = [one, None, two, one, None]
    noise = WhiteNoise(
        [random_hermitian(rng, 2) for _ in strengths],
        covariance=random_covariance(rng, 5),
        strength=strengths,
    )
    found = shares(noise)
    assert len(found) == 6, "two functions and a constant make six pairs"
    total, time = np.zeros((5, 5)), 0.7
    for factors, channels, covariance in found:
        weight = np.prod([f(time) for f in factors])
        total[np.ix_(channels, channels)] += weight * covariance
    f = noise.amplitudes(time)
    assert worst(total, np.outer(f, f) * noise.covariance) < 1e-15
    independent = WhiteNoise(noise.operators, rate=1.0, strength=strengths)
    assert len(shares(independent)) == 3


def test_one_time_and_nothing_read():
    assert driven(np.cos, [2.0]).values == pytest.approx(0, abs=0)
    nothing = driven(np.cos, TIMES, observables={"zero": np.zeros((2, 2))})
    assert not nothing.values.any()


def test_what_cannot_be_integrated_is_refused():
    with pytest.raises(ModelError, match="must cover the times"):
        driven(Sampled([0, 1], [1, 1], 1), TIMES)
    with pytest.raises(ModelError, match="must return a finite real number"):
        driven(lambda t: np.nan if t > 2 else 0.0, TIMES)


# ------------------------------------------------------- Ito noise without its drift


def raw(calculus, rate, strength):
    return Model(
        noise=WhiteNoise(PAULI_Z, rate=rate, strength=strength, name="phase"),
        initial=[0.6, 0.8],
        observables={"1": np.eye(2), "x": PAULI_X},
        calculus=calculus,
    )


@pytest.mark.parametrize(
    ("rate", "strength", "square"),
    [
        (4.0, None, TIMES),
        (0.4, lambda t: np.exp(t / 3), (np.exp(2 * TIMES / 3) - 1) * 3 / 2),
        (0.4, lambda t: t < 1, np.minimum(TIMES, 1)),
    ],
    ids=["constant", "growing", "square"],
)
def test_the_norm_of_raw_ito_noise_grows(rate, strength, square):
    reference = master_equation(raw("raw-ito", rate, strength), TIMES)
    growth = np.exp(rate * square)
    truth = np.array([growth, 0.96 / growth])
    assert worst(reference.values, truth) <= reference.error < 1e-9 * growth[-1]
    slope = np.array([1, -1])[:, None] * rate * square * truth
    accuracy = 1e-9 * growth[-1] * rate * square[-1]
    assert worst(reference.sensitivity["phase"], slope) < accuracy
    kept = master_equation(raw("ito", rate, strength), TIMES)
    assert worst(kept.values, truth) > 0.1
    same = master_equation(raw("stratonovich", rate, strength), TIMES)
    assert np.array_equal(kept.values, same.values)


def test_raw_ito_noise_has_the_covariance_between_its_operators():
    parts = random_parts(np.random.default_rng(21), 3) | {"dissipators": []}
    model = Model(**parts, calculus="raw-ito")
    h, rho = model.hamiltonian.toarray(), random_hermitian(np.random.default_rng(22), 3)
    expected = -1j * (h @ rho - rho @ h)
    for noise in (n.real() for n in model.noise):
        matrices = [L.toarray() for L in noise.operators]
        for j, left in enumerate(matrices):
            for k, right in enumerate(matrices):
                expected = expected + noise.covariance[j, k] * left @ rho @ right
    image = (liouvillian(model) @ rho.ravel()).reshape(3, 3)
    assert worst(image, expected) < 1e-14
    complete = (liouvillian(Model(**parts)) @ rho.ravel()).reshape(3, 3)
    assert worst(complete, expected) > 0.1
    with pytest.raises(ModelError, match="must keep the norm"):
        steady_state(model)


# ------------------------------------------------------------ correlation equation


def jordan_wigner(n):
    """Return c_x on the Fock space: strings of -1 on the occupied sites before x."""
    string = np.diag([1.0, -1.0])
    return [
        reduce(np.kron, [string] * x + [LOWERING] + [np.eye(2)] * (n - x - 1))
        for x in range(n)
    ]


def second_quantized(matrix, modes):
    matrix = matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
    return sum(
        matrix[x, y] * modes[x].conj().T @ modes[y]
        for x in range(len(modes))
        for y in range(len(modes))
    )


def many_body(model):
    """Return the same model on the Fock space of Jordan and Wigner."""
    modes = jordan_wigner(model.dim)
    ket = np.eye(2**model.dim)[0]
    for orbital in model.initial.matrix.T:
        create = sum(u * c.T for u, c in zip(orbital, modes, strict=True))
        ket = create @ ket
    noise = []
    for member in model.noise:
        lifted = [second_quantized(a, modes) for a in member.operators]
        if isinstance(member, ComplexWhiteNoise):
            known = {"rate": member.rate, "strength": member.strength}
            noise.append(ComplexWhiteNoise(*lifted, **known, name=member.name))
        else:
            known = {"covariance": member.covariance, "strength": member.strengths}
            noise.append(WhiteNoise(lifted, **known, name=member.name))
    return Model(
        hamiltonian=second_quantized(model.hamiltonian, modes),
        drives=[(second_quantized(h, modes), f) for h, f in model.drives],
        noise=noise,
        dissipators=[
            Dissipator(second_quantized(d.operator, modes), d.rate, name=d.name)
            for d in model.dissipators
        ],
        initial=ket,
        observables={
            name: second_quantized(matrix, modes)
            for name, matrix in model.observables.items()
        },
    )


def one_body_parts(n, seed):
    rng = np.random.default_rng(seed)
    hop = random_matrix(rng, n)
    ladder = random_matrix(rng, n)
    return {
        "hamiltonian": random_hermitian(rng, n),
        "noise": [
            WhiteNoise([site_number(n, 0), site_number(n, 2)], rate=[0.7, 0.3]),
            WhiteNoise(
                [random_hermitian(rng, n) for _ in range(2)],
                covariance=random_covariance(rng, 2),
                name="correlated",
            ),
            ComplexWhiteNoise(hop, rate=0.3, name="hop"),
        ],
        "dissipators": [
            Dissipator(site_number(n, 1), 0.6, name="dephasing"),
            Dissipator(ladder, 0.25, name="pair"),
            Dissipator(ladder.conj().T, 0.25, name="pair"),
        ],
        "initial": Orbitals(np.linalg.qr(random_matrix(rng, n))[0][:, :2]),
        "observables": {"A": random_hermitian(rng, n), "n0": site_number(n, 0)},
    }


@pytest.mark.parametrize("n", [3, 4])
def test_correlation_equation_is_the_many_body_average(n):
    parts = one_body_parts(n, seed=n)
    model = Model(**parts)
    truth = master_equation(many_body(model), TIMES, sensitivity=False).values
    reference = correlation_equation(model, TIMES)
    assert worst(reference.values, truth) < 1e-11
    for name in model.rate_names:
        mutant = correlation_equation(model.with_rate(name, 2), TIMES)
        assert worst(mutant.values, truth) > 1e-3, f"a doubled {name!r} must be seen"
    transposed = Model(**parts | {"hamiltonian": parts["hamiltonian"].T})
    assert worst(correlation_equation(transposed, TIMES).values, truth) > 1e-2
    without = Model(**parts | {"noise": parts["noise"][:2]})
    assert worst(correlation_equation(without, TIMES).values, truth) > 1e-3


def test_correlation_matrix_is_read_by_the_observables():
    model = Model(**one_body_parts(4, seed=1))
    matrices = correlation_matrix(model, TIMES)
    reference = correlation_equation(model, TIMES, sensitivity=False)
    for row, matrix in enumerate(model.observables.values()):
        means = np.einsum("xy,txy->t", matrix.toarray(), matrices)
        assert worst(means, reference.values[row]) < 1e-13
    orbitals = model.initial.matrix
    assert worst(matrices[0], orbitals.conj() @ orbitals.T) < 1e-15
    assert worst(matrices, matrices.conj().transpose(0, 2, 1)) < 1e-13


def test_a_flux_turns_the_way_of_h_transposed():
    """One particle obeys i psi' = h psi, and G = conj(psi) psi^T."""
    h = np.array([[0, 1j, 1], [-1j, 0, 1j], [1, -1j, 0]])
    model = Model(
        hamiltonian=h, initial=Orbitals([[1], [0], [0]]), observables={"h": h}
    )
    time = 0.9
    psi = expm(-1j * h * time)[:, 0]
    found = correlation_matrix(model, [0, time])[1]
    assert worst(found, np.outer(psi.conj(), psi)) < 1e-14
    assert worst(found, np.outer(psi, psi.conj())) > 0.1


def test_master_equation_hands_over_one_body_models():
    model = Model(**one_body_parts(3, seed=2))
    reference = master_equation(model, TIMES)
    assert reference.method == "correlation equation"
    assert np.array_equal(reference.values, correlation_equation(model, TIMES).values)


def test_one_body_sensitivities_are_derivatives():
    model = Model(**one_body_parts(4, seed=6))
    reference = correlation_equation(model, TIMES)
    assert tuple(reference.sensitivity) == model.rate_names
    for name, slope in reference.sensitivity.items():
        truth = central_difference(correlation_equation, model, name)
        assert worst(slope, truth) < 1e-7
        assert worst(slope, 2 * truth) > 1e-3


def driven_one_body_parts(n, seed):
    """Make the noise and the Hamiltonian of `one_body_parts` depend on time."""
    rng = np.random.default_rng(100 + seed)
    parts = one_body_parts(n, seed)
    sites, correlated, hop = parts["noise"]
    parts["noise"] = [
        sites,
        WhiteNoise(
            correlated.operators,
            covariance=correlated.covariance,
            strength=[lambda t: np.cos(2 * t), lambda t: np.exp(-t)],
            name="correlated",
        ),
        ComplexWhiteNoise(
            hop.operator, rate=0.3, strength=lambda t: 1.3 * (t < 1.05), name="hop"
        ),
    ]
    return parts | {"drives": [(random_hermitian(rng, n), lambda t: np.sin(3 * t))]}


def test_the_driven_correlation_equation_is_the_many_body_average():
    parts, times = driven_one_body_parts(3, seed=3), TIMES[:16:5]
    model = Model(**parts)
    truth = master_equation(many_body(model), times, sensitivity=False).values
    reference = correlation_equation(model, times)
    assert worst(reference.values, truth) < 1e-8
    assert reference.error < 1e-7
    (drive, envelope), frozen = parts["drives"][0], one_body_parts(3, seed=3)
    mutants = [parts | {"noise": frozen["noise"]}, frozen]
    mutants += [parts | {"drives": [(drive.T, envelope)]}]
    for mutant in mutants:
        assert worst(correlation_equation(Model(**mutant), times).values, truth) > 1e-3
    for name in ("correlated", "hop"):
        change = central_difference(correlation_equation, model, name, times)
        assert worst(reference.sensitivity[name], change) < 1e-6
        assert worst(reference.sensitivity[name], 2 * change) > 1e-3
    matrices = correlation_matrix(model, times)
    means = np.einsum("xy,txy->t", model.observables["A"].toarray(), matrices)
    assert worst(means, reference.values[0]) < 1e-9


def one_way(rates):
    """Hopping from site 1 to 0 and back, with a rate for each direction."""
    hop = np.eye(3, k=1)
    return Model(
        dissipators=[
            Dissipator(a, rate, name=name)
            for a, rate, name in zip(
                (hop, hop.T), rates, ("left", "right"), strict=True
            )
        ],
        initial=Occupations([1, 0, 0]),
        observables={"n0": site_number(3, 0)},
    )


@pytest.mark.parametrize("rates", [(1.0, 0.0), (1.0, 0.9), (0.0, 1.0)])
def test_one_way_hopping_does_not_close(rates):
    with pytest.raises(ModelError, match="the equation for G closes only for"):
        correlation_equation(one_way(rates), TIMES)


def test_half_a_pair_has_no_sensitivity_of_its_own():
    model = one_way((0.8, 0.8))
    reference = correlation_equation(model, TIMES)
    assert not reference.sensitivity
    truth = master_equation(many_body(model), TIMES, sensitivity=False)
    assert worst(reference.values, truth.values) < 1e-12


def test_dephased_chain_of_many_sites_keeps_its_dark_mode():
    n = 41
    dark = np.zeros(n)
    dark[::2] = (-1.0) ** np.arange(21) / np.sqrt(21)
    model = Model(
        hamiltonian=hopping_chain(n, 1.0),
        noise=WhiteNoise([site_number(n, x) for x in range(1, n, 2)], rate=4.0),
        initial=Occupations(np.arange(n) < 20),
        observables={"dark": np.outer(dark, dark), "N": np.eye(n)},
    )
    times = np.linspace(0, 20, 5)
    reference = correlation_equation(model, times, sensitivity=False)
    kept = dark[:20] @ dark[:20]
    assert worst(reference.values, np.array([[kept], [20]])) <= reference.error < 1e-8


# ---------------------------------------------------------------- the wrong model


def test_models_are_sent_to_the_equation_that_fits():
    fermions = Model(**one_body_parts(3, seed=0))
    qubit = driven_qubit(1, 0, 1)
    for call in (liouvillian, steady_state):
        with pytest.raises(ModelError, match="correlation_equation"):
            call(fermions)
    for solve in (correlation_equation, correlation_matrix):
        with pytest.raises(ModelError, match="master_equation"):
            solve(qubit, TIMES)


# ---------------------------------------------------------------------- your own


def test_reference_of_your_own_curves():
    reference = Reference([0, 1], ["n", "x"], [[1, 2], [3, 4]])
    frame = reference.to_frame()
    assert list(frame.columns) == ["observable", "time", "value"]
    assert frame.to_numpy().tolist() == [
        ["n", 0.0, 1.0],
        ["n", 1.0, 2.0],
        ["x", 0.0, 3.0],
        ["x", 1.0, 4.0],
    ]
    assert not reference.values.flags.writeable


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0, 1], ["n"], [1, 2]), r"`values` must be real with shape \(1, 2\)"),
        (([0, 1], ["n"], [[1, 2, 3]]), r"has shape \(1, 3\)"),
        (([0, 1], ["n"], [[1, np.nan]]), "`values` must be finite"),
        (([0, 1], ["n"], [[1, 1j]]), "`values` must be real"),
        (([1, 0], ["n"], [[1, 2]]), "`times` must be strictly increasing"),
        (([0, 1], "n", [[1, 2]]), "`names` must be a non-empty sequence"),
        (([0, 1], ["n", "n"], [[1, 2], [1, 2]]), "`names` must be distinct"),
        (([0, 1], [""], [[1, 2]]), "`names` must be non-empty strings"),
        (([0, 1], ["n"], [[1, 2]], -1.0), "`error` must be finite and >= 0"),
        (([0, 1], ["n"], [[1, 2]], 0.0, "", {"g": [1]}), r"`sensitivity\['g'\]`"),
    ],
)
def test_reference_names_what_does_not_fit(arguments, words):
    with pytest.raises(ModelError, match=words):
        Reference(*arguments)


# ---------------------------------------------------------------------- mean field


def plane(lam):
    return np.array([[0, lam, 0], [-lam, 0, 0], [0, 0, 0.0]])


@pytest.mark.parametrize("lam", [0.8, -1.7])
@pytest.mark.parametrize(
    "omega0", [(0.3, -0.1, 0.2), (0.1, 0.2, -0.4), (0.3, 0.0, 0.0), (1e-6, 0, -0.5)]
)
def test_tanh_law_solves_the_equations(omega0, lam):
    times = np.linspace(2, 40, 20)
    law = macroscopic_magnetization(omega0, lam, times)
    assert worst(law, macroscopic_equation(omega0, plane(lam), times)) < 1e-10
    assert worst(law[:, 0], omega0) < 1e-15
    assert worst(np.linalg.norm(law, axis=0), np.linalg.norm(omega0)) < 1e-15
    for mutant in (2 * lam, -lam):
        wrong = macroscopic_equation(omega0, plane(mutant), times)
        across = np.hypot(law[0, 1], law[1, 1])
        assert worst(law[:, 1], wrong[:, 1]) > 0.1 * across


def test_tanh_law_as_printed():
    omega0, lam = np.array([0.3, -0.1, 0.2]), 0.9
    for xi in (np.linalg.norm(omega0), -np.linalg.norm(omega0)):
        c = np.arctanh(omega0[2] / xi) / xi
        shrink = np.cosh(xi * c) / np.cosh(xi * (lam * TIMES + c))
        third = xi * np.tanh(xi * (lam * TIMES + c))
        truth = np.stack([omega0[0] * shrink, omega0[1] * shrink, third])
        assert worst(macroscopic_magnetization(omega0, lam, TIMES), truth) < 1e-15


@pytest.mark.parametrize("omega0", [(0, 0, 0), (0, 0, 0.5), (0, 0, -0.5)])
def test_invariant_triples_do_not_move(omega0):
    law = macroscopic_magnetization(omega0, 1.0, [0, 1, 1e9])
    assert np.array_equal(law, np.tile(np.array(omega0)[:, None], 3))


def test_tanh_law_at_huge_arguments_reaches_the_stable_pole():
    law = macroscopic_magnetization((0.3, 0, -0.4), -1.0, [0, 1e12])
    assert np.array_equal(law[:, 1], [0, 0, -0.5])
    law = macroscopic_magnetization((1e-200, 0, -0.5), 1.0, [0, 1e12])
    assert np.array_equal(law[:, 1], [0, 0, 0.5])


def test_general_b_rotates_to_the_plane():
    """With v = (B23, -B13, B12), rotating omega and v together changes nothing."""
    rng = np.random.default_rng(4)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    omega0, lam = np.array([0.2, 0.3, -0.1]), 1.1
    rotated_b = rotation @ plane(lam) @ rotation.T
    found = macroscopic_equation(rotation @ omega0, rotated_b, TIMES)
    law = rotation @ macroscopic_magnetization(omega0, lam, TIMES)
    assert worst(found, law) < 1e-11
    assert worst(macroscopic_equation(rotation @ omega0, -rotated_b, TIMES), law) > 0.1


def test_mean_field_is_the_limit_of_many_collective_spins():
    """The exact finite-N equation approaches the law as 1/N, with this sign of B."""
    lam, tilt, deviations = 1.0, 2.0, []
    times = np.linspace(0, 3, 7)
    for n_spins in (20, 40):
        s1, s2, s3 = spin_operators(n_spins / 2)
        # D = [[1, i], [-i, 1]] lam has one mode, u = (1, -i)/sqrt(2), of weight 2
        jump = np.sqrt(lam / n_spins) * (s1 + 1j * s2)
        ket = expm(-1j * tilt * s2.toarray())[:, 0]
        model = Model(
            dissipators=Dissipator(jump),
            initial=ket,
            observables={"w1": s1 / n_spins, "w3": s3 / n_spins},
        )
        start = (np.sin(tilt) / 2, 0, np.cos(tilt) / 2)
        law = macroscopic_magnetization(start, lam, times)[[0, 2]]
        deviations.append(worst(master_equation(model, times).values, law))
    assert deviations[1] < 0.05
    assert deviations[0] / deviations[1] == pytest.approx(2, abs=0.4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: macroscopic_magnetization((0, 1), 1.0, [0]), "`omega0` must be real"),
        (lambda: macroscopic_magnetization((0, 0, 1), np.inf, [0]), "`lam` must be"),
        (lambda: macroscopic_equation((0, 0, 1), np.eye(3), [0]), "`B` must be anti"),
        (lambda: macroscopic_equation((0, 0, 1), plane(1.0), [1, 0]), "`times` must"),
    ],
)
def test_mean_field_names_what_is_wrong(call, words):
    with pytest.raises(ModelError, match=words):
        call()
