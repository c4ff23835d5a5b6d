"""Functions of single trajectories: formulas, conventions, failures, the same bits."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import qutip
from analytic import LOWER, SX, SZ, UP, random_hermitian
from joblib import Parallel, delayed

from stochq import (
    Alternating,
    Averaged,
    Dissipator,
    EntanglementEntropy,
    EulerMaruyama,
    Exact,
    Heun,
    Homodyne,
    Model,
    ModelError,
    OrbitalEntropy,
    Orbitals,
    Purity,
    Richardson,
    SchemeMismatchError,
    SquaredCorrelation,
    SquaredModulus,
    Strang,
    TwoPoint,
    WhiteNoise,
    lower,
    trajectory,
)
from stochq.atoms import plan_of
from stochq.functions import as_functions, limits_of
from stochq.recording.wanted import MOST_TOLD, Wanted, refuse_weights
from stochq.spaces import hopping_chain, site_number

EPS = np.finfo(float).eps
TIMES = np.array([0.0, 0.3, 1.0])


def random_kets(rng, n, d) -> np.ndarray:
    """Return n random kets, shape (n, d)."""
    kets = rng.normal(size=(n, d)) + 1j * rng.normal(size=(n, d))
    return kets / np.linalg.norm(kets, axis=1, keepdims=True)


def random_matrices(rng, n, d) -> np.ndarray:
    """Return n random density matrices, shape (n, d, d)."""
    a = rng.normal(size=(n, d, d)) + 1j * rng.normal(size=(n, d, d))
    rho = a @ a.conj().transpose(0, 2, 1)
    return rho / np.trace(rho, axis1=1, axis2=2)[:, None, None]


def random_orbitals(rng, n, sites, particles) -> np.ndarray:
    """Return n random isometries, shape (n, sites, particles)."""
    a = rng.normal(size=(n, sites, particles)) + 1j * rng.normal(
        size=(n, sites, particles)
    )
    return np.linalg.qr(a)[0]


def annihilators(sites) -> list[np.ndarray]:
    """Return c_x by Jordan and Wigner: strings of sigma_z on the sites before x."""
    found = []
    for x in range(sites):
        c = np.eye(1)
        for y in range(sites):
            c = np.kron(c, SZ if y < x else LOWER if y == x else np.eye(2))
        found.append(c)
    return found


def many_body_kets(orbitals) -> np.ndarray:
    """Return prod_a (sum_x U_xa c_x^dag) |0> for every U, shape (n, 2^sites)."""
    sites = orbitals.shape[1]
    creators = [c.conj().T for c in annihilators(sites)]
    kets = []
    for u in orbitals:
        ket = np.eye(2**sites, dtype=complex)[0]
        for column in u.T:
            ket = sum(a * (c @ ket) for a, c in zip(column, creators, strict=True))
        kets.append(ket)
    return np.array(kets)


# --- formulas --------------------------------------------------------------------


def test_entropy_and_purity_of_bell_states():
    """For cos|00> + sin|11>: S = -c2 ln c2 - s2 ln s2, Tr rho_A^2 = c2^2 + s2^2."""
    angle = np.linspace(0, np.pi / 2, 9)
    kets = np.zeros((9, 4), complex)
    kets[:, 0], kets[:, 3] = np.cos(angle), 1j * np.sin(angle)
    p = np.stack([np.cos(angle) ** 2, np.sin(angle) ** 2])
    with np.errstate(all="ignore"):
        entropy = -np.nansum(np.where(p > 1e-30, p * np.log(p), 0.0), axis=0)
    for keep in (0, 1):
        measured = EntanglementEntropy((2, 2), keep)(kets)
        assert np.abs(measured - entropy).max() < 20 * EPS
        purity = Purity((2, 2), keep)(kets)
        assert np.abs(purity - (p**2).sum(axis=0)).max() < 20 * EPS
    assert EntanglementEntropy((2, 2), 0).limits == (0.0, np.log(2))
    assert abs(entropy.max() - np.log(2)) < 1e-12  # in nats, not bits


@pytest.mark.parametrize("keep", [(0,), (1,), (0, 2), (2, 1)])
def test_subsystems_agree_with_qutip(keep):
    """Three factors of different dimension: an order of axes gone wrong shows."""
    rng = np.random.default_rng(3)
    dims = (2, 3, 4)
    kets, matrices = random_kets(rng, 5, 24), random_matrices(rng, 5, 24)
    shape = [list(dims), [1] * 3]
    reduced = [qutip.Qobj(k, dims=shape).ptrace(sorted(keep)) for k in kets]
    entropy = EntanglementEntropy(dims, keep)(kets)
    assert np.abs(entropy - [qutip.entropy_vn(r) for r in reduced]).max() < 1e-12
    purity = Purity(dims, keep)(kets)
    assert np.abs(purity - [r.purity() for r in reduced]).max() < 1e-13
    square = [list(dims), list(dims)]
    mixed = [qutip.Qobj(m, dims=square).ptrace(sorted(keep)).purity() for m in matrices]
    assert np.abs(Purity(dims, keep)(matrices) - mixed).max() < 1e-13
    wrong = EntanglementEntropy(dims[::-1], keep)(kets)
    assert np.abs(entropy - wrong).max() > 0.01


def test_purity_of_whole_states():
    rng = np.random.default_rng(4)
    matrices = random_matrices(rng, 6, 5)
    truth = np.trace(matrices @ matrices, axis1=1, axis2=2).real
    assert np.abs(Purity()(matrices) - truth).max() < 10 * EPS
    assert np.abs(Purity()(random_kets(rng, 6, 5)) - 1).max() < 10 * EPS


def test_squared_modulus_of_kets_and_matrices():
    rng = np.random.default_rng(5)
    operator = random_hermitian(rng, 6) + 0.5j * random_hermitian(rng, 6)
    kets, matrices = random_kets(rng, 7, 6), random_matrices(rng, 7, 6)
    squared = SquaredModulus(operator)
    of_kets = [abs(np.vdot(k, operator @ k)) ** 2 for k in kets]
    of_matrices = [abs(np.trace(operator @ m)) ** 2 for m in matrices]
    assert np.abs(squared(kets) - of_kets).max() < 1e-12
    assert np.abs(squared(matrices) - of_matrices).max() < 1e-12
    # the transpose, a slip of indices, is something else
    other = SquaredModulus(operator.T)
    assert np.abs(other(matrices) - of_matrices).max() > 1e-2
    assert squared.limits[0] == 0
    assert squared.limits[1] >= np.linalg.norm(operator, 2) ** 2 * (1 - 1e-12)


def test_orbital_functions_are_those_of_the_many_body_ket():
    """Jordan-Wigner kets of five sites; A is complex and not Hermitian."""
    rng = np.random.default_rng(6)
    orbitals = random_orbitals(rng, 4, 5, 2)
    kets = many_body_kets(orbitals)
    for sites in [(0,), (0, 1), (0, 1, 2), (3, 4), (0, 1, 2, 3)]:
        truth = EntanglementEntropy((2,) * 5, sites)(kets)
        assert np.abs(OrbitalEntropy(sites)(orbitals) - truth).max() < 1e-12
        assert (truth < OrbitalEntropy(sites).limits[1] + 1e-12).all()
    missing = EntanglementEntropy((2,) * 5, (0, 1))(kets)
    assert np.abs(OrbitalEntropy((0, 2))(orbitals) - missing).max() > 0.01
    a = random_hermitian(rng, 5) + 1j * random_hermitian(rng, 5)
    c = annihilators(5)
    whole = sum(a[x, y] * c[x].conj().T @ c[y] for x in range(5) for y in range(5))
    squared = SquaredCorrelation(a)
    truth = SquaredModulus(whole)(kets)
    assert np.abs(squared(orbitals) - truth).max() < 1e-11
    assert np.abs(SquaredCorrelation(a.T)(orbitals) - truth).max() > 0.1
    assert squared.limits[1] >= np.linalg.svd(a, compute_uv=False).sum() ** 2


def test_phases_and_the_choice_of_orbitals_do_not_matter():
    rng = np.random.default_rng(7)
    kets, orbitals = random_kets(rng, 8, 6), random_orbitals(rng, 8, 6, 3)
    turned = kets * np.exp(1j * rng.uniform(0, 6, size=(8, 1)))
    mixed = orbitals @ random_orbitals(rng, 8, 3, 3)
    a = random_hermitian(rng, 6)
    for function, one, other in [
        (EntanglementEntropy((2, 3), 0), kets, turned),
        (SquaredModulus(a), kets, turned),
        (OrbitalEntropy((0, 3)), orbitals, mixed),
        (SquaredCorrelation(a), orbitals, mixed),
    ]:
        assert np.abs(function(one) - function(other)).max() < 1e-12


# --- in a run --------------------------------------------------------------------

PAIR = np.kron(SX, np.eye(2)) + 0.7 * np.kron(SX, SX) + 0.3 * np.kron(np.eye(2), SZ)
ATOM_LOSS = np.kron(LOWER, np.eye(2))
BELL = np.array([1, 0, 0, 1]) / np.sqrt(2)


def pair(initial=BELL, **how) -> Model:
    """Return two coupled qubits, one of which decays."""
    parts = {"dissipators": [Dissipator(ATOM_LOSS, 1.0, name="loss")], **how}
    observables = {"z": np.kron(SZ, np.eye(2)), "x": np.kron(np.eye(2), SX)}
    return Model(hamiltonian=PAIR, initial=initial, observables=observables, **parts)


def chain(**how) -> Model:
    """Return four sites with two fermions and dephasing."""
    noise = [WhiteNoise([site_number(4, x) for x in range(4)], rate=[0.8] * 4)]
    parts = {"noise": noise, **how}
    return Model(
        hamiltonian=hopping_chain(4, 1.0),
        initial=Orbitals(np.eye(4)[:, :2]),
        observables={"n0": site_number(4, 0), "n3": site_number(4, 3)},
        **parts,
    )


def occupied(states):
    """Return the population of the upper level of the first qubit."""
    return np.square(np.abs(states[:, 2:])).sum(axis=1)


#: Model, unraveling, scheme and functions, for each kind of state.
KINDS = {
    "jumping kets": (
        pair(),
        None,
        Exact(),
        {"S": EntanglementEntropy((2, 2), 0), "p": occupied},
    ),
    "reduced basis": (  # one excitation on two sites: the middle states of four
        Model(
            hamiltonian=np.kron(LOWER, LOWER.T) + np.kron(LOWER.T, LOWER),
            noise=[WhiteNoise(np.kron(SZ, np.eye(2)), rate=0.4)],
            initial=np.kron(UP, [1.0, 0.0]),
            observables={"z": np.kron(SZ, np.eye(2))},
        ),
        None,
        Strang(0.1),
        {"S": EntanglementEntropy((2, 2), 0), "P": Purity((2, 2), 1)},
    ),
    "matrices": (
        pair(),
        {"loss": Homodyne(efficiency=0.4)},
        Strang(0.1),
        {"P": Purity(), "c": SquaredModulus(ATOM_LOSS)},
    ),
    "unnormalized kets": (
        pair(dissipators=[], noise=[WhiteNoise(np.kron(SZ, SX), rate=0.5)]),
        None,
        EulerMaruyama(0.1),
        {"S": EntanglementEntropy((2, 2), 0), "P": Purity()},
    ),
    "orbitals": (
        chain(),
        None,
        Strang(0.1),
        {"S": OrbitalEntropy((0, 1)), "G": SquaredCorrelation(site_number(4, 0))},
    ),
    "loose orbitals": (
        chain(),
        None,
        Heun(0.1),
        {"S": OrbitalEntropy((0, 1))},
    ),
}


def plan(model, unraveling, scheme, functions, n_traj=200, states=(), seed=3):
    """Return the plan of a model with functions."""
    named = as_functions(functions, model.observables)
    wanted = Wanted(functions=named, states=states)
    return plan_of(lower(model, unraveling), TIMES, scheme, seed, n_traj, wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_single_trajectories(kind):
    """Replayed states, normalized by hand, give every value of the run."""
    model, unraveling, scheme, functions = KINDS[kind]
    run = plan(model, unraveling, scheme, functions).run(0, 4)
    assert run.values.shape == (len(model.observables) + len(functions), 3, 200)
    assert (run.failures, run.failed) == ((), 0)
    for index in (0, 70, 199):
        one = trajectory(
            model, TIMES, seed=3, index=index, scheme=scheme, unraveling=unraveling
        )
        states = one.states
        if kind.endswith("orbitals"):
            states = np.linalg.qr(states)[0]
        elif kind == "matrices":
            states = states / np.trace(states, axis1=1, axis2=2)[:, None, None]
        else:
            states = states / np.linalg.norm(states, axis=1, keepdims=True)
        for k, function in enumerate(functions.values(), len(model.observables)):
            error = np.abs(run.values[k, :, index] - function(states))
            assert error.max() < 1e-12
    spread = run.values[len(model.observables), -1].std()
    assert spread > 1e-3  # a frozen state has none


@pytest.mark.parametrize("kind", KINDS)
def test_bits_do_not_depend_on_how_atoms_are_run(kind):
    model, unraveling, scheme, functions = KINDS[kind]
    whole = plan(model, unraveling, scheme, functions, states=(1, 2))
    bare = plan_of(lower(model, unraveling), TIMES, scheme, 3, 200)
    run = whole.run(0, 4)
    observables = len(model.observables)
    assert np.array_equal(run.values[:observables], bare.run(0, 4).values)
    for cuts in [(0, 1, 2, 3, 4), (0, 3, 4), (0, 1, 4)]:
        parts = [whole.run(a, b - a) for a, b in pairwise(cuts)]
        values = np.concatenate([part.values for part in parts], axis=-1)
        assert np.array_equal(run.values, values)
        sums = [s for part in parts for s in part.states]
        assert [s.n_traj for s in sums] == [64, 64, 64, 8]
        for one, other in zip(sums, run.states, strict=True):
            assert np.array_equal(one.total, other.total)
            assert np.array_equal(one.squares, other.squares)
    # a longer run begins with the same values
    longer = plan(model, unraveling, scheme, functions, n_traj=256).run(3, 1)
    assert np.array_equal(longer.values[..., :8], run.values[..., 192:])


def test_limits_hold_for_what_states_them():
    functions = (("S", EntanglementEntropy((2, 2), 0)), ("p", occupied))
    assert limits_of(functions) == {"S": (0.0, np.log(2))}
    for model, unraveling, scheme, named in KINDS.values():
        values = plan(model, unraveling, scheme, named).run(0, 4).values
        for name, (low, high) in limits_of(tuple(named.items())).items():
            row = values[len(model.observables) + list(named).index(name)]
            assert low - 1e-12 < row.min()
            assert row.max() < high + 1e-12


def test_functions_travel_to_processes():
    builtin = [f for _, _, _, fs in KINDS.values() for f in fs.values()]
    for function in builtin:
        assert repr(pickle.loads(pickle.dumps(function))) == repr(function)
    model, unraveling, scheme, _ = KINDS["jumping kets"]
    functions = {"own": lambda states: np.abs(states[:, 0]), "P": Purity((2, 2), 0)}
    source = plan(model, unraveling, scheme, functions)
    (run,) = Parallel(n_jobs=2, backend="loky")([delayed(source.run)(0, 4)])
    assert np.array_equal(run.values, source.run(0, 4).values)


# --- failures --------------------------------------------------------------------


def refusing(states):
    """Return populations, but refuse any array in which one is small."""
    if (occupied(states) < 0.3).any():
        raise ArithmeticError("population   below\n0.3")
    return occupied(states)


@pytest.mark.parametrize("n_traj", [200, 7])
def test_only_the_trajectories_that_fail_have_no_value(n_traj):
    model, unraveling, scheme, _ = KINDS["jumping kets"]
    functions = {"p": occupied, "q": refusing, "P": Purity((2, 2), 0)}
    run = plan(model, unraveling, scheme, functions, n_traj=n_traj).run(0, 4)
    p, q = run.values[2], run.values[3]
    assert np.array_equal(np.isnan(q), p < 0.3)
    assert np.abs((q - p)[p >= 0.3]).max() < 4 * EPS
    assert np.isfinite(np.delete(run.values, 3, axis=0)).all()
    failing = np.flatnonzero((p < 0.3).any(axis=0))
    assert 0 < failing.size < n_traj
    assert run.failed == failing.size
    assert [f.trajectory for f in run.failures] == failing[:MOST_TOLD].tolist()
    for failure in run.failures:
        assert failure.what == "q"
        assert failure.time_index == np.argmax(p[:, failure.trajectory] < 0.3)
        assert failure.message == "ArithmeticError: population below 0.3"


def test_failures_do_not_depend_on_how_atoms_are_run():
    model, unraveling, scheme, _ = KINDS["jumping kets"]
    source = plan(model, unraveling, scheme, {"q": refusing})
    whole = source.run(0, 4)
    parts = [source.run(k, 1) for k in range(4)]
    assert whole.failed > MOST_TOLD
    assert whole.failed == sum(part.failed for part in parts)
    told = [f for part in parts for f in part.failures]
    assert whole.failures == tuple(told[:MOST_TOLD])
    values = np.concatenate([part.values for part in parts], axis=-1)
    assert np.array_equal(values, whole.values, equal_nan=True)


def test_what_diverges_is_a_failure():
    """Euler's norm grows by |1 - i h H - h/2|^2 in each of 400 steps of size 40."""
    model = pair(dissipators=[], noise=[WhiteNoise(np.kron(SZ, SX), rate=0.5)])
    times = np.array([0.0, 16_000.0])
    wanted = Wanted(functions=(("P", Purity()),), states=(1,))
    for scheme in (EulerMaruyama(40.0), Richardson(EulerMaruyama(40.0))):
        extra = wanted if isinstance(scheme, EulerMaruyama) else Wanted()
        with np.errstate(all="ignore"):
            run = plan_of(lower(model), times, scheme, 0, 100, extra).run(0, 2)
        assert run.failed == 100
        assert len(run.failures) == MOST_TOLD
        first = run.failures[0]
        assert (first.trajectory, first.what, first.time_index) == (0, "z", 1)
        assert "must be finite, but is" in first.message


# --- what is refused -------------------------------------------------------------


def complex_values(states):
    """Return what is not real."""
    return states[:, 0]


def changing(states):
    """Change the states of all functions to come."""
    states *= 2
    return np.zeros(len(states))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            complex_values,
            r"functions\['f'\]` must return real numbers of shape \(64,\)",
        ),
        (lambda states: 1.0, r"must return real numbers of shape \(64,\)"),
        (lambda states: np.zeros((len(states), 1)), "must return real numbers"),
        (lambda states: np.zeros(64), r"must return real numbers of shape \(1,\)"),
        (lambda states: ["a"] * len(states), "must return real numbers"),
        (lambda states: None, "must return real numbers"),
        (lambda states: states.nonsense, r"raises AttributeError: .*shape \(64, 4\)"),
        (lambda: 1, "raises TypeError"),
        (changing, "raises ValueError: .*read-only"),
        (EntanglementEntropy((2, 3), 0), "multiply to the dimension 4"),
        (SquaredModulus(np.eye(3)), r"must have shape \(4, 4\)"),
        (OrbitalEntropy(0), "must be a function of kets"),
    ],
)
def test_functions_are_tried_before_work_starts(function, message):
    with pytest.raises(ValueError, match=message):
        plan(pair(), None, Exact(), {"f": function})


def test_functions_are_tried_on_every_kind_of_state():
    with pytest.raises(SchemeMismatchError, match="function of density matrices"):
        plan(
            pair(),
            {"loss": Averaged()},
            Strang(0.1),
            {"S": EntanglementEntropy((2, 2), 0)},
        )
    with pytest.raises(ModelError, match="must be below 4"):
        plan(chain(), None, Strang(0.1), {"S": OrbitalEntropy(4)})
    dephased = [Dissipator(site_number(4, 1), 1.0, name="d")]
    model = chain(noise=[], dissipators=dephased)
    with pytest.raises(SchemeMismatchError, match="averaged dissipators of a one-body"):
        plan(model, {"d": Averaged()}, Strang(0.1), {"p": Purity()})


@pytest.mark.parametrize(
    ("scheme", "wanted", "message"),
    [
        (Richardson(Strang(0.1)), Wanted(functions=(("P", Purity()),)), "extrapolates"),
        (Richardson(Strang(0.1)), Wanted(states=(0,)), "`states` must go with"),
        (Richardson(Strang(0.1)), Wanted(jumps=2), "`keep_jumps` must go with"),
        (Richardson(Strang(0.1)), Wanted(signals=True), "`keep_signals` must go with"),
        (TwoPoint(0.1), Wanted(functions=(("P", Purity()),)), "only has means"),
    ],
)
def test_schemes_without_single_trajectories_are_refused(scheme, wanted, message):
    model = pair(dissipators=[], noise=[WhiteNoise(np.kron(SZ, SX), rate=0.5)])
    with pytest.raises(SchemeMismatchError, match=message):
        plan_of(lower(model), TIMES, scheme, 1, 100, wanted)


def test_mean_states_need_no_single_trajectories():
    model = pair(dissipators=[], noise=[WhiteNoise(np.kron(SZ, SX), rate=0.5)])
    for scheme in (TwoPoint(0.1), Alternating(0.1)):
        run = plan_of(lower(model), TIMES, scheme, 1, 100, Wanted(states=(2,))).run(
            0, 2
        )
        assert [s.total.shape for s in run.states] == [(1, 4, 4)] * 2


def test_weighted_trajectories_are_refused():
    refuse_weights(Wanted())
    purity = (("P", Purity()),)
    for wanted in (Wanted(functions=purity), Wanted(states=(0,)), Wanted(jumps=3)):
        with pytest.raises(SchemeMismatchError, match="equal weights"):
            refuse_weights(wanted)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EntanglementEntropy((2, 2), (0, 1)), "but not all"),
        (lambda: EntanglementEntropy((2, 2), 2), "factors 0 to 1"),
        (lambda: EntanglementEntropy((2, 2), ()), "at least one number"),
        (lambda: EntanglementEntropy((2, 2, 2), (0, 0)), "none twice"),
        (
            lambda: EntanglementEntropy((2, 0), 0),
            "`dims` of EntanglementEntropy must be",
        ),
        (lambda: EntanglementEntropy(2.5, 0), "`dims` of EntanglementEntropy must be"),
        (lambda: EntanglementEntropy((2, 2), True), "must be integers >= 0"),
        (lambda: EntanglementEntropy((2, 2), "0"), "must be integers >= 0"),
        (lambda: Purity((2, 2)), "must be given together"),
        (lambda: Purity(keep=0), "must be given together"),
        (lambda: OrbitalEntropy((1, 1)), "none twice"),
        (lambda: OrbitalEntropy(-1), "must be integers >= 0"),
        (lambda: SquaredModulus(np.ones((2, 3))), "must be a square matrix"),
        (lambda: SquaredModulus([[np.nan]]), "must be finite"),
        (lambda: SquaredCorrelation("no"), "must be a square matrix"),
        (lambda: as_functions([Purity()], {}), "`functions` must be a dictionary"),
        (lambda: as_functions({"z": Purity()}, {"z": SZ}), "names that no observable"),
        (lambda: as_functions({3: Purity()}, {}), "names that no observable"),
        (lambda: as_functions({"P": Purity}, {}), "must be a function of states"),
        (lambda: as_functions({"P": 3}, {}), "must be a function of states"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ModelError, match=message):
        make()
