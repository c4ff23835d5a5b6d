"""Faults that once passed, and right models that once failed."""

import numpy as np
import pytest
from analytic import EXCITED, LOWER, SX, SZ

from stochq import (
    Dissipator,
    EulerMaruyama,
    Heun,
    Model,
    ModelError,
    Strang,
    WhiteNoise,
    master_equation,
    simulate,
    verify,
)

SY = np.array([[0, -1j], [1j, 0]])
GROUND = np.array([1.0, 0.0])


def judge(model, reference, times, n_traj, seed=1, **options):
    """Return the verdict on trajectories of one model against another's average."""
    ensemble = simulate(model, times, n_traj=n_traj, seed=seed, **options)
    return verify(ensemble, master_equation(reference, times))


def decaying(observables):
    return Model(
        hamiltonian=SX,
        noise=[WhiteNoise(SZ, rate=0.15, name="phase")],
        dissipators=[Dissipator(LOWER, 0.4, name="decay")],
        initial=GROUND,
        observables=observables,
    )


@pytest.mark.parametrize("unit", [1e-100, 1e-60, 1.0, 1e60, 1e100])
def test_the_unit_of_an_observable_does_not_matter(unit):
    model, times = decaying({"e": unit * EXCITED}), np.linspace(0, 6, 13)
    assert judge(model, model, times, 4000).status == "pass"
    verdict = judge(model, model.with_rate("decay", 3), times, 4000)
    assert verdict.status == "fail"
    assert set(verdict.detectable_rate) == {"phase", "decay"}


def test_an_offset_buys_no_resolution():
    times = np.linspace(0, 4, 9)
    shifts = []
    for offset in (0, 10):
        model = decaying({"e": EXCITED + offset * np.eye(2)})
        wrong = model.with_rate("decay", 1.3)
        verdict = judge(model, wrong, times, 110)
        assert verdict.status != "pass"
        shifts.append(verdict.detectable_shift)
    assert shifts[1] == pytest.approx(shifts[0], rel=1e-6)


@pytest.mark.parametrize("scheme", [EulerMaruyama(0.3), EulerMaruyama(1.0), Heun(0.6)])
def test_an_unstable_step_passes_nothing(scheme):
    noise = [WhiteNoise(SZ, rate=0.5, name="phase")]
    model = Model(2 * SX, noise, initial=GROUND, observables={"e": EXCITED})
    for factor in (1.0, 1.3, 3.0):
        wrong = model.with_rate("phase", factor)
        verdict = judge(model, wrong, np.linspace(0, 6, 7), 2000, scheme=scheme)
        assert verdict.status != "pass", verdict.explain()


def test_a_level_far_away_hides_nothing():
    h = np.zeros((3, 3))
    h[0, 1] = h[1, 0] = 1
    h[1, 2] = h[2, 1] = 1e-9
    noise = [WhiteNoise(np.diag([1.0, -1, 0]), rate=0.3, name="phase")]
    energy = {"E": np.diag([0, 1.0, 1e10])}
    model = Model(h, noise, initial=np.eye(3)[0], observables=energy)
    times = np.linspace(0, 6, 13)
    assert judge(model, model.with_rate("phase", 3), times, 2000).status == "fail"


def test_the_initial_state_alone_proves_nothing():
    model = decaying({"e": EXCITED})
    verdict = judge(model, model, [0.0], 1000)
    assert verdict.status == "inconclusive"
    assert "only the initial state" in verdict.reasons[0]


LADDER = np.diag(np.sqrt(np.arange(1.0, 10)), 1)


@pytest.mark.parametrize("level", [3, 4, 5])
def test_levels_hardly_reached_do_not_fail(level):
    """A thermal oscillator: each jump is frequent, their pile-up is rare."""
    model = Model(
        dissipators=[
            Dissipator(LADDER, 1.1, name="down"),
            Dissipator(LADDER.T, 0.1, name="up"),
        ],
        initial=np.eye(10)[0],
        observables={"P": np.diag((np.arange(10) == level).astype(float))},
    )
    times = np.linspace(0, 5, 6)
    reference = master_equation(model, times)
    for seed in range(12):
        ensemble = simulate(model, times, n_traj=2000, seed=seed)
        verdict = verify(ensemble, reference)
        assert verdict.status != "fail", verdict.explain()


@pytest.mark.parametrize("level", [4, 8])
def test_heavy_tails_of_noise_do_not_fail(level):
    model = Model(
        noise=[WhiteNoise(LADDER + LADDER.T, rate=0.02, name="kick")],
        initial=np.eye(10)[0],
        observables={"P": np.diag((np.arange(10) == level).astype(float))},
    )
    times = np.linspace(0, 2, 5)
    reference = master_equation(model, times)
    for seed in range(30):
        verdict = verify(simulate(model, times, n_traj=1000, seed=seed), reference)
        assert verdict.status != "fail", verdict.explain()


def test_three_groups_and_a_flow_are_split_symmetrically():
    """The bias of the kernel is that of the exactly averaged symmetric step."""
    # tilted axes: the averages of noise along x, y and z would commute
    noise = [
        WhiteNoise(matrix, rate=rate, name=name)
        for name, matrix, rate in (
            ("x", SX, 1.0),
            ("xz", (SX + SZ) / np.sqrt(2), 0.8),
            ("yz", (SY + SZ) / np.sqrt(2), 0.9),
        )
    ]
    model = Model(
        0.9 * SX + 0.7 * SZ,
        noise,
        initial=np.array([0.8, 0.6j]),
        observables={"x": SX, "y": SY, "z": SZ},
    )
    times = np.linspace(0, 1.2, 3)
    ensemble = simulate(model, times, n_traj=200_000, seed=3, scheme=Strang(0.6))
    reference = master_equation(model, times)
    assert verify(ensemble, reference, resolution=0.3).p_value > 1e-3
    assert verify(ensemble, reference, resolution=0.3, bias=0).status == "fail"


BAD = {
    "noise": lambda m: Model(noise=5, initial=GROUND, observables={"e": EXCITED}),
    "dissipators": lambda m: Model(
        dissipators=WhiteNoise(SZ, rate=1), initial=GROUND, observables={"e": EXCITED}
    ),
    "factor": lambda m: m.with_rate("decay", "x"),
    "scheme": lambda m: simulate(m, [0, 1], n_traj=10, seed=1, scheme="strang"),
    "scheme class": lambda m: simulate(m, [0, 1], n_traj=10, seed=1, scheme=Strang),
    "verify": lambda m: verify(master_equation(m, [0, 1]), None),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_kinds_get_one_clear_message(name):
    with pytest.raises((ModelError, ValueError), match="must"):
        BAD[name](decaying({"e": EXCITED}))
