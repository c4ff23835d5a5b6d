"""Density matrices as vectors: the same physics, on the elements that are reached."""

import numpy as np
import pytest
from analytic import ALPHA, LOWER, SX, SY, SZ, lindblad
from scipy.linalg import expm

from stochq import (
    Averaged,
    Dissipator,
    Homodyne,
    Jump,
    Kicks,
    Model,
    Occupations,
    Projections,
    SchemeMismatchError,
    Strang,
    UnitaryNoise,
    WhiteNoise,
    correlation_equation,
    lower,
    simulate,
    step_bias,
    trajectory,
    verify,
)

RHO = np.array([[0.6, 0.2 - 0.1j], [0.2 + 0.1j, 0.4]])
MODEL = Model(
    hamiltonian=SX + 0.3 * SZ,
    noise=WhiteNoise(SY, rate=0.2, name="field"),
    dissipators=[Dissipator(LOWER, 0.7, name="decay"), Dissipator(SZ, name="z")],
    initial=RHO,
    observables={"x": SX, "y": SY, "z": SZ},
)


def test_only_averaged_dissipators_are_lindblads_semigroup():
    model = MODEL.with_rate("field", 0.0)
    dynamics = lower(model, {"decay": Averaged(), "z": Averaged()})
    run = simulate(
        model, [0, 0.5, 2], n_traj=2, seed=1,
        unraveling={"decay": Averaged(), "z": Averaged()},
    )  # fmt: skip
    assert np.isinf(run.scheme.dt)  # nothing is random: no step
    assert dynamics.mixed
    assert dynamics.carried.dim == 4
    generator = lindblad(SX + 0.3 * SZ, [np.sqrt(0.7) * LOWER, SZ])
    for t, found in zip((0, 0.5, 2), run.mean.T, strict=True):
        rho = (expm(t * generator) @ RHO.ravel()).reshape(2, 2)
        truth = [np.trace(s @ rho).real for s in (SX, SY, SZ)]
        assert np.abs(found - truth).max() < 1e-14
    assert run.sd.max() < 1e-15


def test_every_trajectory_starts_from_the_whole_mixture():
    one = trajectory(
        MODEL, [0, 1], seed=1, index=5, scheme=Strang(0.1),
        unraveling={"decay": Averaged()},
    )  # fmt: skip
    assert np.abs(one.states[0] - RHO).max() < 1e-15
    assert np.abs(one.states[1] - one.states[1].conj().T).max() < 1e-15
    assert np.linalg.eigvalsh(one.states[1] / one.norms[1]).min() > 0


def test_elements_that_cannot_be_reached_are_left_out():
    """A ladder of four levels that only decays, from a diagonal state."""
    a = np.diag(np.sqrt([1.0, 2.0, 3.0]), 1)
    model = Model(
        dissipators=[Dissipator(a, name="loss"), Dissipator(a.T @ a, name="n")],
        initial=np.diag([0.1, 0.2, 0.3, 0.4]),
        observables={"n": a.T @ a},
    )
    unraveling = {"loss": Averaged(), "n": UnitaryNoise()}
    assert lower(model, unraveling).carried.dim == 4
    run = simulate(model, [0, 1], n_traj=2, seed=1, unraveling=unraveling)
    assert abs(run.mean[0, 1] - 2.0 * np.exp(-1)) < 1e-14
    assert run.trajectory(0).states.shape == (2, 4, 4)


SITES = 5
HOP = np.eye(SITES, k=1) + np.eye(SITES, k=-1)


def chain(rate=0.6):
    def number(x):
        return np.diag(np.eye(SITES)[x])

    return Model(
        hamiltonian=HOP,
        noise=WhiteNoise(number(0), rate=0.5, name="field"),
        dissipators=[
            Dissipator(number(x), rate, name="even" if x % 2 == 0 else "odd")
            for x in range(SITES)
        ],
        initial=Occupations([1, 1, 0, 0, 0]),
        observables={
            "n": number(1), "flow": 1j * (np.eye(SITES, k=1) - np.eye(SITES, k=-1))
        },
    )  # fmt: skip


@pytest.mark.parametrize("other", [UnitaryNoise(), Kicks(), Averaged()])
def test_averaged_dissipators_of_fermions(other):
    times = np.linspace(0, 2, 5)
    run = simulate(
        chain(), times, n_traj=4096, seed=3, scheme=Strang(0.1),
        unraveling={"even": Averaged(), "odd": other},
    )  # fmt: skip
    verdict = verify(run, correlation_equation(chain(), times), alpha=ALPHA)
    assert verdict.status == "pass", verdict.explain()
    assert verdict.bias_from == "exact"
    wrong = correlation_equation(chain(0.3), times)
    assert verify(run, wrong, alpha=ALPHA).status == "fail"


def test_fermions_without_any_noise_follow_the_correlation_equation():
    model = chain().with_rate("field", 0.0)
    unraveling = {"even": Averaged(), "odd": Averaged()}
    times = np.linspace(0, 2, 3)
    run = simulate(model, times, n_traj=2, seed=3, unraveling=unraveling)
    truth = correlation_equation(model, times)
    assert np.abs(run.mean - truth.values).max() < 1e-8  # of the reference
    # tr G = 2 particles
    assert abs(np.trace(run.trajectory(0).states[-1]) - 1) < 1e-13


def test_step_bias_is_exact_without_monitors():
    found = step_bias(MODEL, [0, 1], Strang(0.4), unraveling={"decay": Averaged()})
    assert found.exact
    beside = step_bias(MODEL, [0, 1], Strang(0.4), unraveling={"decay": Jump()})
    assert np.abs(found.values - beside.values).max() < 1e-12
    assert np.abs(found.values).max() > 1e-4


REFUSED = {
    "measurements of averaged fermions": (
        chain(),
        {"even": Averaged(), "odd": Projections()},
        "noise and kicks only",
    ),
    "fermions seen in part": (
        chain(),
        {"even": Homodyne(efficiency=0.5)},
        "must have efficiency 1",
    ),
    "a rate that changes": (
        Model(
            dissipators=[
                Dissipator(LOWER, name="decay", strength=np.cos),
                Dissipator(SZ, name="z"),
            ],
            initial=[0.6, 0.8],
            observables={"z": SZ},
        ),
        {"z": Averaged()},
        "constant rates",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_lift_is_refused(case):
    model, unraveling, message = REFUSED[case]
    with pytest.raises(SchemeMismatchError, match=message):
        simulate(model, [0, 1], n_traj=64, seed=1, unraveling=unraveling)
