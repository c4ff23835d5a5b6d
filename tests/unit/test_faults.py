"""Every fault is planted: what is run differs from what is right as the fault says."""

from dataclasses import replace

import numpy as np
import pytest
from analytic import EXCITED, GROUND, LOWER, SX, SY, SZ, lindblad
from scipy.linalg import expm

from stochq.bias import exact_means
from stochq.channels import ComplexWhiteNoise, Dissipator, WhiteNoise
from stochq.documents.document_000 import dephased_fermions, ring_with_flux
from stochq.errors import SchemeMismatchError
from stochq.extras import as_extras
from stochq.faults import (
    DriftFault,
    StreamFault,
    drift_faults,
    missing_parts,
    same_generator,
    step_faults,
    stream_faults,
    wrong_correlations,
    wrong_hamiltonians,
    wrong_operators,
    wrong_rates,
)
from stochq.model import Model
from stochq.references import correlation_equation
from stochq.running.stopping import Goal
from stochq.schemes import EulerMaruyama, Exact, Heun, Richardson, Strang
from stochq.schemes.lanes import ATOM
from stochq.schemes.traits import grid_for
from stochq.setting import setting_of
from stochq.unravelings import Averaged, Homodyne, UnitaryNoise

TIMES = np.linspace(0, 1, 5)
H = 0.8 * SX + 0.3 * SY
C = np.array([[0.5, 0.2], [0.2, 0.3]])
A = LOWER + 0.4j * SZ
UP = LOWER.T

FULL = Model(
    hamiltonian=H,
    noise=[
        WhiteNoise([SZ, SY], covariance=C, name="field"),
        WhiteNoise([SX], rate=0.4, name="shake"),
        ComplexWhiteNoise(A, rate=0.2, name="swap"),
    ],
    dissipators=[
        Dissipator(LOWER, 0.6, name="bath"),
        Dissipator(UP, 0.3, name="bath"),
        Dissipator(A, 0.5, name="loss"),
    ],
    initial=[0.6, 0.8j],
    observables={"x": SX, "y": SY, "z": SZ},
)


def generator(
    *,
    h=H,
    field=(SZ, SY),
    c=C,
    shake=0.4,
    swap=(A, 0.2),
    down=0.6,
    up=0.3,
    loss=(A, 0.5),
):
    """Return the generator of FULL, or of what it becomes, from matrices alone."""
    weights, vectors = np.linalg.eigh(c)
    correlated = [
        np.sqrt(max(w, 0)) * sum(v * L for v, L in zip(vector, field, strict=True))
        for w, vector in zip(weights, vectors.T, strict=True)
    ]
    pair = [np.sqrt(swap[1]) * swap[0], np.sqrt(swap[1]) * swap[0].conj().T]
    jumps = [np.sqrt(down) * LOWER, np.sqrt(up) * UP, np.sqrt(loss[1]) * loss[0]]
    return lindblad(h, [*correlated, np.sqrt(shake) * SX, *pair, *jumps])


#: What each fault makes of the averaged equation.
EXPECTED = {
    ("dissipator dropped", "'bath' 1 of 2"): {"down": 0.0},
    ("dissipator dropped", "'bath' 2 of 2"): {"up": 0.0},
    ("dissipator dropped", "'loss'"): {"loss": (A, 0.0)},
    ("noise dropped", "'field' 1 of 2"): {"c": np.diag([0, 0.3])},
    ("noise dropped", "'field' 2 of 2"): {"c": np.diag([0.5, 0])},
    ("noise dropped", "'shake'"): {"shake": 0.0},
    ("noise dropped", "'swap'"): {"swap": (A, 0.0)},
    ("rate x 0.5", "'field'"): {"c": C / 2},
    ("rate x 2", "'shake'"): {"shake": 0.8},
    ("rate x 1.05", "'swap'"): {"swap": (A, 0.21)},
    ("rate x 2", "'bath'"): {"down": 1.2, "up": 0.6},
    ("rate x 1.05", "'loss'"): {"loss": (A, 0.525)},
    ("rate square-rooted", "'field'"): {
        "c": C / np.sqrt(np.sqrt(np.outer(np.diag(C), np.diag(C))))
    },
    ("rate square-rooted", "'shake'"): {"shake": np.sqrt(0.4)},
    ("rate square-rooted", "'swap'"): {"swap": (A, np.sqrt(0.2))},
    ("rate square-rooted", "'bath'"): {"down": np.sqrt(0.6), "up": np.sqrt(0.3)},
    ("Hamiltonian dropped", "H"): {"h": 0 * H},
    ("Hamiltonian with the wrong sign", "H"): {"h": -H},
    ("Hamiltonian transposed", "H"): {"h": H.T},
    ("correlations dropped", "'field'"): {"c": np.diag(np.diag(C))},
    ("operator conjugated", "'loss'"): {"loss": (A.conj(), 0.5)},
    ("operator conjugated", "'swap'"): {"swap": (A.conj(), 0.2)},
    ("operator conjugated", "'field' 2 of 2"): {"field": (SZ, SY.conj())},
    ("operator times -1", "'field' 1 of 2"): {"field": (-SZ, SY)},
}
EQUIVALENT = [
    ("operator times -1", "'shake'"),
    ("operator times i", "'bath' 1 of 2"),
    ("operator times i", "'bath' 2 of 2"),
    ("operator times i", "'loss'"),
    ("operator times i", "'swap'"),
    ("operator conjugated", "'bath' 1 of 2"),
    ("operator conjugated", "'shake'"),
    ("operator conjugated", "'field' 1 of 2"),
]


def model_faults(model):
    families = (
        missing_parts,
        wrong_rates,
        wrong_hamiltonians,
        wrong_correlations,
        wrong_operators,
    )
    found = [fault for family in families for fault in family(model)]
    return {(fault.name, fault.what): fault for fault in found}


def close(one, other):
    return np.abs(one - other).max() <= 1e-14 * np.abs(one).max()


@pytest.mark.parametrize("key", EXPECTED, ids=" ".join)
def test_the_faulty_model_is_what_the_fault_says(key):
    fault = model_faults(FULL)[key]
    planted = fault.model.lindbladian().toarray()
    assert close(planted, generator(**EXPECTED[key]))
    assert not close(planted, generator())
    assert not same_generator(FULL, fault.model, TIMES)


@pytest.mark.parametrize("key", EQUIVALENT, ids=" ".join)
def test_equivalent_faults_have_the_same_generator(key):
    fault = model_faults(FULL)[key]
    changed = [*fault.model.dissipators, *fault.model.noise]
    operators = [np.array(o.toarray()) for m in changed for o in _operators(m)]
    before = [
        np.array(o.toarray())
        for m in (*FULL.dissipators, *FULL.noise)
        for o in _operators(m)
    ]
    same = [np.array_equal(a, b) for a, b in zip(operators, before, strict=True)]
    assert all(same) == (key[0] == "operator conjugated")  # real ones, as they were
    assert close(fault.model.lindbladian().toarray(), generator())
    assert same_generator(FULL, fault.model, TIMES)
    assert fault.excuse


def _operators(member):
    return (member.operator,) if isinstance(member, Dissipator) else member.operators


def test_every_member_has_its_faults_and_nothing_else_does():
    faults = model_faults(FULL)
    names = [name for name, _ in faults]
    assert names.count("dissipator dropped") == 3
    assert names.count("noise dropped") == 4
    assert names.count("rate x 1.05") == len(FULL.rate_names) == 5
    assert names.count("operator conjugated") == 7
    bare = Model(
        dissipators=Dissipator(LOWER), initial=GROUND, observables={"n": EXCITED}
    )
    assert {what for _, what in model_faults(bare)} == {"'dissipators[0]'"}


def test_a_root_of_a_rate_of_one_is_equivalent():
    unit = FULL.with_rate("loss", 2)
    fault = model_faults(unit)["rate square-rooted", "'loss'"]
    assert same_generator(unit, fault.model, TIMES)
    assert not same_generator(FULL, fault.model, TIMES)


def test_generators_that_depend_on_time_are_compared_at_several_times():
    def driven(f):
        return replace(FULL, drives=[(SZ, f)])

    assert same_generator(driven(np.cos), driven(lambda t: np.cos(t)), TIMES)
    assert not same_generator(driven(np.cos), driven(np.cosh), TIMES)  # equal at t = 0


def test_the_equation_of_one_body_models_is_compared():
    ring = dephased_fermions(
        ring_with_flux(3, 1.0, 0.7), (0, 1), 1.5, occupations=(1, 0, 0)
    )
    for key, fault in model_faults(ring).items():
        same = same_generator(ring, fault.model, TIMES)
        gap = (
            correlation_equation(ring, TIMES).values
            - correlation_equation(fault.model, TIMES).values
        )
        assert same == (np.abs(gap).max() < 1e-10), key


# Faults of the engine: the drift, the step, the streams.

NOISY = Model(
    hamiltonian=H,
    noise=WhiteNoise([SZ, SY], covariance=C, name="field"),
    initial=[0.6, 0.8j],
    observables={"x": SX, "y": SY, "z": SZ, "norm": np.eye(2)},
)
DAMPED = replace(NOISY, dissipators=Dissipator(A, 0.5, name="loss"))


def made_ready(model, scheme=None, unraveling=None, n_traj=512):
    extras = as_extras(model, None, None, None, None, False, False)
    return setting_of(model, TIMES, 3, unraveling, extras, scheme, Goal(n_traj))


def drifting(model, drift):
    """Return the generator with drift/2 sum C L L in place of -1/2 sum C L L."""
    anti = sum(C[j, k] * a @ b for j, a in enumerate((SZ, SY))
               for k, b in enumerate((SZ, SY)))  # fmt: skip
    one, extra = np.eye(2), 0.5 * (1 + drift) * anti
    return model.lindbladian().toarray() + np.kron(extra, one) + np.kron(one, extra.T)


@pytest.mark.parametrize("drift", [0.0, 1.0])
@pytest.mark.parametrize("model", [NOISY, DAMPED], ids=["noise", "noise and jumps"])
def test_a_wrong_drift_averages_to_what_it_must(model, drift):
    planted = DriftFault(drift).plant(made_ready(model), 5, 64).setting
    scheme = replace(planted.scheme, dt=0.002)
    grid = grid_for(scheme, TIMES)
    found = exact_means(planted.dynamics, grid, scheme)
    rho = model.initial.density_matrix().ravel()
    states = [expm(t * drifting(model, drift)) @ rho for t in TIMES]
    rows = [o.toarray().T.ravel() for o in model.observables.values()]
    exact = np.array([[(row @ s).real for s in states] for row in rows])
    order = scheme.traits.weak
    assert np.abs(found - exact).max() < 60 * scheme.dt**order
    right = [expm(t * drifting(model, -1.0)) @ rho for t in TIMES]
    assert abs((rows[-1] @ right[-1]).real - 1) < 1e-12
    assert found[-1, -1] > 1.5  # the norm, which should be 1


@pytest.mark.parametrize("model", [NOISY, DAMPED], ids=["noise", "noise and jumps"])
def test_trajectories_have_the_planted_drift(model):
    n_traj = 4096
    means = {}
    for drift in (-1.0, 0.0):
        fault = DriftFault(drift)
        planted = fault.plant(made_ready(model), 5, n_traj)
        ensemble = planted.sample()
        rho = model.initial.density_matrix().ravel()
        exact = [expm(t * drifting(model, drift)) @ rho for t in TIMES]
        norm = np.array([s[0] + s[3] for s in exact]).real
        bias = 0 if ensemble.step_bias is None else ensemble.step_bias[-1]
        means[drift] = ensemble.mean[-1]
        slack = 6 * ensemble.mcse[-1] + 1e-9
        assert (np.abs(means[drift] - bias - norm) <= slack + 0.01 * norm).all()
    assert means[0.0][-1] > 1.5 * means[-1.0][-1]


def test_a_drift_that_a_scheme_lacks_is_equivalent():
    kinds = {
        scheme: [fault.equivalent(made_ready(NOISY, scheme)) for fault in
                 drift_faults(made_ready(NOISY, scheme))]
        for scheme in (Strang(0.1), Heun(0.1), EulerMaruyama(0.1))
    }  # fmt: skip
    assert kinds[Strang(0.1)] == kinds[Heun(0.1)] == [False, False, True]
    assert kinds[EulerMaruyama(0.1)] == [False, False]
    jumps = replace(DAMPED, noise=())
    assert drift_faults(made_ready(jumps)) == []


def test_a_drift_is_planted_for_constant_noise_only():
    pulsed = replace(NOISY, noise=WhiteNoise(SZ, rate=1, strength=np.cos))
    with pytest.raises(SchemeMismatchError, match="constant strength"):
        DriftFault(0.0).plant(made_ready(pulsed), 5, 64)


def test_dissipators_that_are_noise_stay_noise_beside_a_wrong_drift():
    mixed = replace(
        NOISY, dissipators=[Dissipator(SX, name="a"), Dissipator(A, name="b")]
    )
    right = made_ready(mixed, unraveling={"a": UnitaryNoise(), "b": Homodyne()})
    planted = DriftFault(0.0).plant(right, 5, 64).setting
    assert planted.unraveling == {"a": UnitaryNoise(), "b": Averaged()}


def test_steps_grow_sixteenfold_or_fill_the_interval():
    (long,) = step_faults(made_ready(NOISY, Strang(0.25 / 64)))
    assert long.factor == pytest.approx(16)
    planted = long.plant(made_ready(NOISY, Strang(0.25 / 64)), 5, 64).setting
    assert grid_for(planted.scheme, TIMES).counts == (4, 4, 4, 4)
    (capped,) = step_faults(made_ready(NOISY, Richardson(Heun(0.1))))
    right = made_ready(NOISY, Richardson(Heun(0.1)))
    assert grid_for(capped.plant(right, 5, 64).setting.scheme, TIMES).counts == (1,) * 4
    assert not capped.equivalent(right)
    full = made_ready(NOISY, Strang(1.0))
    assert step_faults(full)[0].equivalent(full)
    assert step_faults(made_ready(replace(DAMPED, noise=()), Exact())) == []


@pytest.mark.parametrize("fault", stream_faults(), ids=lambda f: f.what)
def test_repeated_streams_give_equal_atoms(fault):
    right, atoms = made_ready(DAMPED, Strang(0.25)), 16
    planted = fault.plant(right, 7, atoms * ATOM)
    values = planted.source.run(0, atoms).values
    by_atom = values.reshape(*values.shape[:2], atoms, ATOM)
    distinct = {by_atom[:, :, k].tobytes() for k in range(atoms)}
    assert len(distinct) == atoms // fault.copies
    equal = np.array_equal(by_atom[:, :, 0], by_atom[:, :, 1])
    assert equal == fault.in_a_row
    # what such an engine believes: all of them, with the mean of the distinct ones
    ensemble = planted.sample()
    alone = replace(right, seed=7).source(atoms * ATOM // fault.copies)
    truth = alone.run(0, atoms // fault.copies).values
    assert ensemble.n_traj == atoms * ATOM
    assert np.abs(ensemble.mean - truth.mean(axis=-1)).max() < 1e-13
    spread = truth.std(axis=-1) / np.sqrt(ensemble.n_traj)
    assert np.abs(ensemble.mcse - spread).max() < 0.01 * spread.max()


def test_streams_used_once_are_the_right_run():
    right = made_ready(DAMPED, Strang(0.25))
    planted = StreamFault(1, in_a_row=True).plant(right, 3, 512).sample()
    once = StreamFault(1, in_a_row=False).plant(right, 3, 512).sample()
    twice = StreamFault(2, in_a_row=False).plant(right, 3, 512).sample()
    assert np.array_equal(planted.mean, once.mean)
    assert not np.array_equal(planted.mean, twice.mean)
