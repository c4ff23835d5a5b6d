"""White noise of every kind, noise with jumps, and orbitals; each with its mutants.

Every verdict has the false-alarm probability `analytic.ALPHA`, 1e-6.
"""

from dataclasses import replace

import numpy as np
import pytest
from analytic import (
    EXCITED,
    GROUND,
    LOWER,
    SX,
    SY,
    SZ,
    UP,
    decaying_qubit,
    dephased_pair,
    exact_means,
    flux_ring,
    judge,
    kubo_dephasing,
    noisy_exchange,
    random_hermitian,
    random_ket,
)

from stochq.lowering import lower
from stochq.model import ComplexWhiteNoise, Dissipator, Model, WhiteNoise
from stochq.references import Reference, correlation_equation, master_equation
from stochq.schemes import Exact, Heun, Strang
from stochq.simulation import simulate
from stochq.states import Occupations, Orbitals
from stochq.unravelings import Jump, Kicks, UnitaryNoise

TIMES = np.linspace(0, 2, 6)


def jumps_of(model):
    """Return Lindblad operators with the average of a model (roots of C)."""
    jumps = [np.sqrt(d.rate) * d.operator.toarray() for d in model.dissipators]
    for noise in model.noise:
        matrices = [o.toarray() for o in noise.operators]
        if isinstance(noise, ComplexWhiteNoise):
            jumps += [
                np.sqrt(noise.rate) * m for m in (matrices[0], matrices[0].conj().T)
            ]
            continue
        strengths, modes = np.linalg.eigh(noise.covariance)
        for strength, mode in zip(strengths, modes.T, strict=True):
            jumps.append(
                np.sqrt(max(strength, 0))
                * sum(f * m for f, m in zip(mode, matrices, strict=True))
            )
    return jumps


def truth(model, times=TIMES):
    observables = {k: o.toarray() for k, o in model.observables.items()}
    hamiltonian, rho = model.hamiltonian.toarray(), model.initial.density_matrix()
    curves = exact_means(hamiltonian, jumps_of(model), rho, observables, times)
    return Reference(times, list(curves), list(curves.values()))


def assert_pass_and_fail(model, mutants, *, reference=None, n_traj=4000, seed=3, **how):
    """Check a model against its exact average, and that every mutant is rejected."""
    reference = reference or truth(model)
    verdict = judge(model, reference, n_traj=n_traj, seed=seed, **how)
    assert verdict.status == "pass", verdict.explain()
    for label, mutant in mutants.items():
        wrong = judge(mutant, reference, n_traj=n_traj, seed=seed, **how)
        assert wrong.status == "fail", f"{label}: {wrong.explain()}"
    return verdict


# -------------------------------------------------------------------------- noise


def test_kubo_dephasing_by_its_formula():
    system = kubo_dephasing(rate=0.6, frequency=1.3)
    model = system.model
    assert isinstance(simulate(model, TIMES, n_traj=64, seed=1).scheme, Exact)
    assert_pass_and_fail(
        model,
        {
            "factor 2": model.with_rate("phase", 2),
            "half": model.with_rate("phase", 0.5),
            "no root": model.with_rate("phase", 0.6),
            "no noise": model.with_rate("phase", 0),
            "sign of H": replace(model, hamiltonian=-model.hamiltonian),
        },
        reference=system.reference(TIMES),
    )


def test_noisy_exchange_by_its_formula():
    system = noisy_exchange(rate=0.8)
    model = system.model
    a, b = np.kron(LOWER, np.eye(2)), np.kron(np.eye(2), LOWER)
    coupling = a.conj().T @ b
    real = WhiteNoise(coupling + coupling.conj().T, rate=0.4, name="exchange")
    verdict = assert_pass_and_fail(
        model,
        {
            "factor 2": model.with_rate("exchange", 2),
            "half": model.with_rate("exchange", 0.5),
            "no root": model.with_rate("exchange", 0.8),
            "one quadrature": replace(model, noise=real),
        },
        reference=system.reference(TIMES),
        n_traj=10_000,
    )
    assert verdict.names == ("n_A", "n_B", "n")
    ensemble = simulate(model, TIMES, n_traj=640, seed=1)
    assert ensemble.deterministic[2].all()
    assert np.ptp(ensemble.mean[2]) < 1e-12


def correlated(covariance):
    """Return a driven qubit under three correlated noises."""
    return Model(
        hamiltonian=0.5 * SX,
        noise=WhiteNoise([SX, SY, SZ], covariance=covariance, name="field"),
        initial=[0.6, 0.8j],
        observables={"x": SX, "y": SY, "z": SZ},
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_correlated_noise_of_any_rank(rank):
    root = np.array([[0.6, 0.0, 0.1], [0.4, 0.3, 0.0], [-0.5, 0.2, 0.3]])[:, :rank]
    covariance = root @ root.T
    assert np.linalg.matrix_rank(covariance) == rank
    model = correlated(covariance)
    assert len(lower(model).noise) == rank
    mirror = np.diag([1.0, -1.0, 1.0])
    flipped = mirror @ covariance @ mirror
    assert_pass_and_fail(
        model,
        {
            "correlations lost": correlated(np.diag(np.diag(covariance))),
            "factor 2": correlated(2 * covariance),
            "sign": correlated(flipped),
        },
        n_traj=20_000,
    )


def test_uncorrelated_channels_stay_local_and_correlated_ones_add_up():
    blocks = np.array([[0.5, 0, 0], [0, 0.3, 0.3], [0, 0.3, 0.3]])
    noise = [c.toarray() for c in lower(correlated(blocks)).noise]
    assert len(noise) == 2
    total = sum(np.kron(L, L.conj()) for L in noise)
    pauli = [SX, SY, SZ]
    expected = sum(
        blocks[j, k] * np.kron(pauli[j], pauli[k].conj())
        for j in range(3)
        for k in range(3)
    )
    assert np.abs(total - expected).max() < 1e-14


def test_noise_without_a_hamiltonian_in_many_dimensions():
    rng = np.random.default_rng(9)
    model = Model(
        noise=[
            WhiteNoise(random_hermitian(rng, 5), rate=0.5, name="real"),
            ComplexWhiteNoise(
                rng.normal(size=(5, 5)) + 1j * rng.normal(size=(5, 5)),
                rate=0.04,
                name="complex",
            ),
        ],
        initial=random_ket(rng, 5),
        observables={f"p{k}": np.diag(np.eye(5)[k]) for k in range(5)},
    )
    assert_pass_and_fail(
        model,
        {
            "real": model.with_rate("real", 2),
            "complex": model.with_rate("complex", 2),
            "missing": model.with_rate("complex", 0),
        },
        n_traj=20_000,
    )


def test_noise_on_a_mixed_start():
    rho = np.array([[0.7, 0.3j], [-0.3j, 0.3]])
    model = replace(
        kubo_dephasing().model, hamiltonian=0.8 * SX + 0.2 * SY, initial=rho
    )
    assert_pass_and_fail(
        model, {"transposed": replace(model, initial=rho.T)}, n_traj=10_000
    )


@pytest.mark.parametrize("frequency", [1.7, 0.0], ids=["hamiltonian only", "nothing"])
def test_without_noise_all_trajectories_are_one(frequency):
    model = Model(
        hamiltonian=frequency / 2 * SY,
        initial=GROUND,
        observables={"x": SX, "z": SZ},
    )
    reference = Reference(
        TIMES, ["x", "z"], [np.sin(frequency * TIMES), np.cos(frequency * TIMES)]
    )
    ensemble = simulate(model, TIMES, n_traj=128, seed=1)
    assert ensemble.deterministic.all()
    assert np.abs(ensemble.mean - reference.values).max() < 1e-13
    assert judge(model, reference, n_traj=128, seed=1).status == "pass"
    off = Reference(TIMES, ["x", "z"], reference.values + 1e-7)
    assert judge(model, off, n_traj=128, seed=1).status == "fail"


def test_a_start_that_nothing_moves():
    model = replace(noisy_exchange().model, initial=np.kron(GROUND, GROUND))
    ensemble = simulate(model, TIMES, n_traj=128, seed=1)
    assert not ensemble.mean.any()
    reference = master_equation(model, TIMES)
    assert judge(model, reference, n_traj=128, seed=1).status == "pass"


# ------------------------------------------------------------------------- hybrid


def hybrid(rate=0.5, bath=0.8, coherent=0.3):
    """Two thermalized two-level systems coupled by complex noise and coherently."""
    a, b = np.kron(LOWER, np.eye(2)), np.kron(np.eye(2), LOWER)
    coupling = a.conj().T @ b
    n_a, n_b = a.conj().T @ a, b.conj().T @ b
    return Model(
        hamiltonian=n_a + 0.4 * n_b + coherent * (coupling + coupling.conj().T),
        noise=ComplexWhiteNoise(coupling, rate=rate, name="exchange"),
        dissipators=[
            Dissipator(a, bath, name="bath A"),
            Dissipator(a.T, 0.5 * bath, name="bath A"),
            Dissipator(b, 0.6, name="bath B"),
            Dissipator(b.T, 0.1, name="bath B"),
        ],
        initial=np.kron(UP, GROUND),
        observables={
            "n_a": n_a,
            "n_b": n_b,
            "flow": 1j * (coupling - coupling.conj().T),
        },
    )


@pytest.mark.parametrize("scheme", [None, Strang(0.1)])
def test_jumps_and_noise_in_one_trajectory(scheme):
    model = hybrid()
    noise_only = replace(model, dissipators=())
    assert_pass_and_fail(
        model,
        {
            "exchange": model.with_rate("exchange", 2),
            "no exchange": model.with_rate("exchange", 0),
            "bath A": model.with_rate("bath A", 2),
            "bath B": model.with_rate("bath B", 0.5),
            "no jumps": noise_only,
        },
        n_traj=20_000,
        scheme=scheme,
    )


def test_noise_next_to_an_exceptional_point():
    """The ladder of propagators serves halves and wholes of every step."""
    model = Model(
        hamiltonian=0.45 / 2 * SX,
        noise=WhiteNoise(SZ, rate=0.3, name="phase"),
        dissipators=Dissipator(LOWER, 0.9, name="decay"),
        initial=UP,
        observables={"n": EXCITED, "y": SY},
    )
    mutants = {n: model.with_rate(n, 2) for n in model.rate_names}
    assert_pass_and_fail(model, mutants, n_traj=20_000, scheme=Strang(0.2))


UNRAVELINGS = {"jump": Jump(), "noise": UnitaryNoise(), "kicks": Kicks()}


@pytest.mark.parametrize("choice", UNRAVELINGS, ids=list(UNRAVELINGS))
def test_all_unravelings_of_dephasing_have_one_average(choice):
    rng = np.random.default_rng(2)
    vector = random_ket(rng, 3)
    # eigenvalues 2 and -0.5: neither a projector nor a reflection
    two_valued = 2.5 * np.outer(vector, vector.conj()) - 0.5 * np.eye(3)
    model = Model(
        hamiltonian=random_hermitian(rng, 3),
        dissipators=Dissipator(two_valued, 0.3, name="dephasing"),
        initial=random_ket(rng, 3),
        observables={"A": random_hermitian(rng, 3), "B": random_hermitian(rng, 3)},
    )
    assert_pass_and_fail(
        model,
        {
            "factor 2": model.with_rate("dephasing", 2),
            "no root": model.with_rate("dephasing", 0.3),
            "missing": model.with_rate("dephasing", 0),
        },
        n_traj=10_000,
        unraveling={"dephasing": UNRAVELINGS[choice]},
    )


def test_a_pair_of_dissipators_becomes_complex_noise():
    model = Model(
        hamiltonian=0.4 * SX,
        dissipators=[
            Dissipator(LOWER, 0.6, name="hot"),
            Dissipator(LOWER.T, 0.6, name="hot"),
        ],
        initial=[0.6, 0.8j],
        observables={"n": EXCITED, "y": SY},
    )
    how = {"unraveling": {"hot": UnitaryNoise()}}
    assert len(lower(model, **how).noise) == 2
    assert_pass_and_fail(
        model,
        {"factor 2": model.with_rate("hot", 2), "half": model.with_rate("hot", 0.5)},
        **how,
    )


# ----------------------------------------------------------------------- orbitals


def ring(flux=0.7, rate=0.6, hamiltonian=None, name="dephasing", sites=4):
    """Return dephased fermions on a ring with flux, one name for all sites."""
    h, jumps, filled, observables = flux_ring(sites=sites, flux=flux, rate=1.0)
    return Model(
        hamiltonian=h if hamiltonian is None else hamiltonian,
        dissipators=[Dissipator(c, rate, name=name) for c in jumps[: sites // 2]],
        initial=Occupations(filled),
        observables=observables,
    )


@pytest.mark.parametrize("choice", [UnitaryNoise(), Kicks()], ids=["noise", "kicks"])
@pytest.mark.parametrize("flux", [0.0, 0.7])
def test_orbitals_on_a_ring_with_flux(choice, flux):
    # an odd ring: on an even one a sign of every second site undoes the reversal
    model = ring(flux, sites=5)
    h = model.hamiltonian.toarray()
    how = {"unraveling": {"dephasing": choice}}
    # the independent truth: filled sites as a one-particle density matrix
    reference = truth(model)
    closed = correlation_equation(model, TIMES)
    assert np.abs(reference.values - closed.values).max() < 1e-12
    mutants = {
        "factor 2": model.with_rate("dephasing", 2),
        "no root": model.with_rate("dephasing", 0.6),
        "missing": model.with_rate("dephasing", 0),
        "one site": replace(model, dissipators=model.dissipators[:1]),
    }
    if flux:
        mutants["flux reversed"] = replace(model, hamiltonian=h.conj())
    how["scheme"] = Strang(0.1) if choice == UnitaryNoise() else None
    assert_pass_and_fail(model, mutants, reference=closed, n_traj=10_000, **how)


@pytest.mark.parametrize("choice", [UnitaryNoise(), Kicks()], ids=["noise", "kicks"])
def test_a_dephased_pair_by_its_formula(choice):
    system = dephased_pair()
    how = {"unraveling": {"first": choice, "second": choice}}
    assert_pass_and_fail(
        system.model,
        {
            "first": system.model.with_rate("first", 2),
            "second missing": system.model.with_rate("second", 0),
        },
        reference=system.reference(TIMES),
        n_traj=20_000,
        **how,
    )


def test_kicks_have_no_step():
    system = dephased_pair()
    how = {"first": Kicks(), "second": Kicks()}
    ensemble = simulate(system.model, TIMES, n_traj=64, seed=1, unraveling=how)
    assert isinstance(ensemble.scheme, Exact)
    assert ensemble.provenance["norm_defect"] < 1e-12
    few = simulate(system.model, [0, 2], n_traj=64, seed=1, unraveling=how)
    assert np.abs(few.mean[:, -1] - ensemble.mean[:, -1]).max() < 1e-12


def test_kicks_and_noise_together_on_orbitals():
    model = replace(
        ring(), noise=WhiteNoise(np.diag([0.0, 0, 0, 1]), rate=0.5, name="site")
    )
    how = {"unraveling": {"dephasing": Kicks()}}
    mutants = {name: model.with_rate(name, 2) for name in model.rate_names}
    assert_pass_and_fail(model, mutants, n_traj=20_000, scheme=Strang(0.1), **how)


def test_noisy_hopping_and_correlations_of_orbitals():
    rng = np.random.default_rng(4)
    root = rng.normal(size=(3, 2)) * 0.6
    hops = np.zeros((3, 4, 4), dtype=complex)
    for x in range(3):
        hops[x, x, x + 1], hops[x, x + 1, x] = 1j, -1j
    one_way = np.zeros((4, 4))
    one_way[0, 3] = 1
    model = Model(
        hamiltonian=random_hermitian(rng, 4),
        noise=[
            WhiteNoise(hops, covariance=root @ root.T, name="hopping"),
            ComplexWhiteNoise(one_way, rate=0.2, name="link"),
        ],
        initial=Orbitals(np.linalg.qr(rng.normal(size=(4, 2)) + 1j)[0]),
        observables={
            "n0": np.diag([1.0, 0, 0, 0]),
            "n3": np.diag([0.0, 0, 0, 1]),
            "current": hops[1],
        },
    )
    diagonal = np.diag(np.diag(root @ root.T))
    uncorrelated = WhiteNoise(hops, covariance=diagonal, name="hopping")
    closed = correlation_equation(model, TIMES)
    assert np.abs(truth(model).values - closed.values).max() < 1e-12
    assert_pass_and_fail(
        model,
        {
            "hopping": model.with_rate("hopping", 2),
            "link": model.with_rate("link", 3),
            "correlations": replace(model, noise=[uncorrelated, model.noise[1]]),
            "H": replace(model, hamiltonian=model.hamiltonian.conj()),
        },
        reference=closed,
        n_traj=8000,
        scheme=Strang(0.2),
    )


def test_heun_on_orbitals_has_the_same_average():
    model = ring()
    mutant = model.with_rate("dephasing", 2)
    assert_pass_and_fail(model, {"2": mutant}, n_traj=10_000, scheme=Heun(0.02))


def test_particles_are_conserved_on_every_trajectory():
    model = replace(ring(), observables={"N": np.eye(4), "n0": np.diag([1.0, 0, 0, 0])})
    for choice in (UnitaryNoise(), Kicks()):
        ensemble = simulate(
            model,
            TIMES,
            n_traj=128,
            seed=1,
            scheme=Strang(0.05),
            unraveling={"dephasing": choice},
        )
        assert ensemble.deterministic[0].all()
        assert np.abs(ensemble.mean[0] - 2).max() < 1e-12
        assert ensemble.sd[0].max() < 1e-12
        assert ensemble.sd[1, 1:].min() > 1e-3


def test_degenerate_hamiltonians_of_orbitals_survive_rounding():
    """H = U diag(0, 0, 0, 1, 1, 1) U^dag is Hermitian to rounding only."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 6)) + 1j * rng.normal(size=(6, 6)))[0]
    h = basis @ np.diag([0, 0, 0, 1, 1, 1.0]) @ basis.conj().T
    model = ring(hamiltonian=h, sites=6)
    ensemble = simulate(
        model, TIMES, n_traj=256, seed=1, unraveling={"dephasing": Kicks()}
    )
    assert ensemble.provenance["norm_defect"] < 1e-12
    mutants = {"2": model.with_rate("dephasing", 3)}
    how = {"unraveling": {"dephasing": Kicks()}, "n_traj": 20_000}
    assert_pass_and_fail(model, mutants, **how)


def test_decay_and_dephasing_of_one_qubit():
    """T1 and T2: <sigma_x> falls at rate/2 + 2 dephasing, n at rate."""
    model = replace(
        decaying_qubit(0.7).model, noise=WhiteNoise(SZ, rate=0.2, name="phase")
    )
    reference = Reference(
        TIMES,
        ["n", "x"],
        [0.64 * np.exp(-0.7 * TIMES), 0.96 * np.exp(-(0.35 + 0.4) * TIMES)],
    )
    assert_pass_and_fail(
        model,
        {"decay": model.with_rate("decay", 2), "phase": model.with_rate("phase", 2)},
        reference=reference,
    )
