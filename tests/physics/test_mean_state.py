"""The mean state, and distances that sampling noise does not bias.

A run of 2 x 400 atoms is 400 independent samples of 128 trajectories, each with two
halves of 64.
"""

import numpy as np
import pytest
import qutip
from analytic import EXCITED, LOWER, SX, SZ, density, exact_means, lindblad
from scipy.linalg import expm

from stochq import (
    Averaged,
    Dissipator,
    EulerMaruyama,
    Exact,
    Homodyne,
    Model,
    ModelError,
    Orbitals,
    Strang,
    WhiteNoise,
    correlation_matrix,
    lower,
    trajectory,
)
from stochq.atoms import plan_of
from stochq.recording.frames import Frame
from stochq.recording.mean_state import MeanState, check_room
from stochq.recording.wanted import Wanted
from stochq.schemes.lanes import ATOM
from stochq.spaces import hopping_chain, site_number
from stochq.statistics.summary import halves_of

SAMPLES = 400
TIMES = np.array([0.0, 1.0, 2.5])
DRIVE, RATE = 0.8 * SX + 0.3 * SZ, 0.7
START = np.array([0.6, 0.8j])
QUBIT = Model(
    hamiltonian=DRIVE,
    dissipators=[Dissipator(LOWER, RATE, name="decay")],
    initial=START,
    observables={"n": EXCITED, "x": SX},
)
#: Beyond this many standard errors nothing falls by chance.
ERRORS = 4.0


def run_of(model, n_traj, *, scheme, unraveling=None, times=TIMES, seed=11):
    """Return a run with all states summed up, and the frame of its matrices."""
    dynamics = lower(model, unraveling)
    wanted = Wanted(states=tuple(range(times.size)))
    plan = plan_of(dynamics, times, scheme, seed, n_traj, wanted)
    return plan.run(0, -(-n_traj // ATOM)), Frame.of(dynamics)


def mean_of(model, n_traj, *, times=TIMES, **how) -> tuple[MeanState, np.ndarray]:
    """Return the mean state, and the means of observables (O, T)."""
    run, frame = run_of(model, n_traj, times=times, **how)
    state = MeanState.of(frame, times, *halves_of(run.states, 0))
    return state, run.values.mean(axis=-1)


def truth_of_qubit() -> np.ndarray:
    """Return exp(L t) rho by a superoperator built in the tests."""
    generator = lindblad(DRIVE, [np.sqrt(RATE) * LOWER])
    start = density(START).ravel()
    return np.array([(expm(generator * t) @ start).reshape(2, 2) for t in TIMES])


@pytest.fixture(scope="module")
def samples() -> list[MeanState]:
    """Return 400 independent mean states of 128 jump trajectories each."""
    run, frame = run_of(QUBIT, 2 * SAMPLES * ATOM, scheme=Exact())
    pairs = zip(run.states[::2], run.states[1::2], strict=True)
    return [MeanState.of(frame, TIMES, even, odd) for even, odd in pairs]


def deviation(values, expected) -> np.ndarray:
    """Return how many standard errors the mean of values (SAMPLES, T') is off."""
    values = np.asarray(values)[:, 1:]  # at first there is nothing to sample
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return (values.mean(axis=0) - np.asarray(expected)[1:]) / error


def squared(matrices) -> np.ndarray:
    """Return squared Hilbert-Schmidt norms."""
    return np.square(np.abs(matrices)).sum(axis=(-2, -1))


def norms(matrices) -> np.ndarray:
    """Return half the trace norms."""
    return np.abs(np.linalg.eigvalsh(matrices)).sum(axis=-1) / 2


def wrong_state() -> np.ndarray:
    """Return a state that differs from the true one."""
    return 0.8 * truth_of_qubit() + 0.1 * np.eye(2)


@pytest.mark.parametrize("sigma", [truth_of_qubit, wrong_state])
def test_the_squared_distance_is_unbiased(samples, sigma):
    truth, reference = truth_of_qubit(), sigma()
    found = [state.hilbert_schmidt(reference) for state in samples]
    assert np.abs(deviation(found, squared(truth - reference))).max() < ERRORS
    # the plug-in distance is not: it is larger by the sampling error
    naive = [squared(state.matrix - reference) for state in samples]
    assert deviation(naive, squared(truth - reference)).min() > ERRORS


def test_the_sampling_scale_is_what_the_means_scatter_by(samples):
    truth = truth_of_qubit()
    excess = [squared(state.matrix - truth) for state in samples]
    scale = [state.sampling_scale for state in samples]
    paired = np.array(excess) - np.array(scale)
    assert np.abs(deviation(paired, np.zeros(3))).max() < ERRORS
    known = (1 - squared(truth)) / 128  # all trajectories are kets
    assert np.abs(deviation(scale, known)).max() < ERRORS
    half = np.array(excess) - np.array(scale) / 2
    assert np.abs(deviation(half, np.zeros(3))).max() > ERRORS


def test_the_trace_distance_of_equal_states_is_zero(samples):
    truth = truth_of_qubit()
    found = [state.trace_distance(truth) for state in samples]
    assert np.abs(deviation(found, np.zeros(3))).max() < ERRORS
    naive = [norms(state.matrix - truth) for state in samples]
    assert deviation(naive, np.zeros(3)).min() > ERRORS


def test_the_trace_distance_does_not_exceed_the_true_one(samples):
    for reference in (wrong_state(), 0.98 * truth_of_qubit() + 0.01 * np.eye(2)):
        true = norms(truth_of_qubit() - reference)
        found = [state.trace_distance(reference) for state in samples]
        assert deviation(found, true).max() < ERRORS
        # it is most of the distance where 64 trajectories can tell
        if true.min() > 0.05:
            assert (np.mean(found, axis=0) > 0.8 * true).all()
    # the larger of both ways would exceed a distance that is not resolved
    one = [norms(s.halves[0] - reference) for s in samples]
    assert deviation(one, true).min() > ERRORS


def test_large_samples_agree_with_qutip():
    """QuTiP's own states and trace distance; a missing channel is seen."""
    state, _ = mean_of(QUBIT, 40_000, scheme=Exact())
    solved = qutip.mesolve(
        qutip.Qobj(DRIVE), qutip.basis(2, 0) * 0.6 + qutip.basis(2, 1) * 0.8j,
        TIMES, [np.sqrt(RATE) * qutip.Qobj(LOWER)],
        options={"atol": 1e-12, "rtol": 1e-10},
    ).states  # fmt: skip
    reference = np.array([s.full() for s in solved])
    scale = np.sqrt(state.sampling_scale[1:].max())
    assert np.abs(state.trace_distance(reference)).max() < 5 * scale
    assert np.abs(state.hilbert_schmidt(reference)).max() < 25 * scale**2
    undamped = qutip.mesolve(qutip.Qobj(DRIVE), solved[0], TIMES).states
    other = np.array([s.full() for s in undamped])
    true = [qutip.tracedist(a, b) for a, b in zip(solved, undamped, strict=True)]
    found = state.trace_distance(other)
    assert true[-1] > 0.3
    assert np.abs(found - true).max() < 5 * scale
    assert state.trace_distance(solved[2]).shape == (3,)  # one Qobj for all times


def dephased_chain(**how) -> Model:
    """Return four sites with two fermions and complex hopping."""
    h = hopping_chain(4, 1.0).toarray() * np.exp(
        0.4j * np.subtract.outer(range(4), range(4))
    )
    number = {f"n{x}": site_number(4, x) for x in range(4)}
    current = np.zeros((4, 4), complex)
    current[0, 1], current[1, 0] = 1j, -1j
    return Model(
        hamiltonian=h,
        initial=Orbitals(np.eye(4)[:, [0, 2]]),
        observables={**number, "I": current},
        **how,
    )


SITES = [site_number(4, x) for x in range(4)]

#: Model, unraveling and scheme, for each kind of state.
KINDS = {
    "jumping kets": (QUBIT, None, Exact()),
    "explicit kets": (
        Model(
            hamiltonian=DRIVE,
            noise=[WhiteNoise(SZ, rate=0.5)],
            initial=START,
            observables={"n": EXCITED, "x": SX},
        ),
        None,
        EulerMaruyama(0.05),
    ),
    "matrices": (QUBIT, {"decay": Homodyne(efficiency=0.3)}, Strang(0.05)),
    "orbitals": (
        dephased_chain(noise=[WhiteNoise(SITES, rate=[0.8] * 4)]),
        None,
        Strang(0.1),
    ),
    "averaged orbitals": (
        dephased_chain(dissipators=[Dissipator(s, 0.8, name="d") for s in SITES]),
        {"d": Averaged()},
        Strang(0.1),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_state_gives_the_means_of_observables(kind):
    """Tr(O rho), or sum A_xy G_xy, is the mean of every observable, to rounding."""
    model, unraveling, scheme = KINDS[kind]
    state, means = mean_of(model, 300, scheme=scheme, unraveling=unraveling)
    operators = np.array([o.toarray() for o in model.observables.values()])
    matrix = state.matrix
    if not kind.endswith("orbitals"):
        matrix = matrix.transpose(0, 2, 1)
    found = np.einsum("oxy,txy->ot", operators, matrix)
    assert np.abs(found - means).max() < 1e-13 * 300
    assert np.abs(means.std(axis=1)).max() > 0.01
    assert np.abs(state.matrix - state.matrix.conj().transpose(0, 2, 1)).max() < 1e-12
    assert state.counts == (64 + 64 + 44, 64 + 64)
    share = np.array(state.counts)[:, None, None, None] / 300
    assert np.abs((share * state.halves).sum(axis=0) - state.matrix).max() < 1e-13
    # transposed, the coherences have the wrong sign
    wrong = np.einsum("oyx,txy->ot", operators, matrix)
    if kind.endswith("orbitals"):
        assert np.abs(wrong - means).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_squares_are_those_of_single_trajectories(kind):
    """Of every replayed state: <psi|psi>^2, Tr rho^2, or Tr G^2."""
    model, unraveling, scheme = KINDS[kind]
    state, _ = mean_of(model, 5, scheme=scheme, unraveling=unraveling)
    squares = []
    for index in range(5):
        one = trajectory(
            model, TIMES, seed=11, index=index, scheme=scheme, unraveling=unraveling
        )
        found = one.states
        if kind == "jumping kets":  # whose norms are divided out
            found = found / np.linalg.norm(found, axis=1, keepdims=True)
        if kind.endswith("kets"):
            found = found[:, :, None]
        if found.shape[1] != found.shape[2]:
            found = found @ found.conj().transpose(0, 2, 1)
        scale = 2 if kind == "averaged orbitals" else 1  # fermions
        squares.append(squared(scale * found))
    assert np.abs(state.squares - np.mean(squares, axis=0)).max() < 1e-12
    if kind == "orbitals":
        assert np.abs(state.squares - 2).max() < 1e-12


@pytest.mark.parametrize("kind", ["orbitals", "averaged orbitals"])
def test_orbitals_have_the_mean_correlation_matrix(kind):
    """It follows the closed equation of G; without the noise it would not."""
    model, unraveling, scheme = KINDS[kind]
    n = 6400
    state, _ = mean_of(model, n, scheme=scheme, unraveling=unraveling)
    truth = correlation_matrix(model, TIMES)
    found = state.hilbert_schmidt(truth)
    bias = 2e-4  # of steps 0.1
    assert np.abs(found).max() < 20 * state.sampling_scale.max() + bias
    quiet = dephased_chain()
    assert state.hilbert_schmidt(correlation_matrix(quiet, TIMES))[-1] > 0.1
    scatters = state.sampling_scale[1:] > 1e-16
    assert (scatters == (kind == "orbitals")).all()


def test_small_samples_have_no_second_half():
    state, _ = mean_of(QUBIT, 64, scheme=Exact())
    for distance in (state.hilbert_schmidt, state.trace_distance):
        with pytest.raises(ValueError, match="`n_traj` must be above 64"):
            distance(truth_of_qubit())
    assert "dimension 2, n_traj=64" in repr(state)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (np.eye(3), r"must be a matrix of shape \(3, 2, 2\) or \(2, 2\)"),
        (np.zeros((2, 2, 2)), r"must be a matrix of shape"),
        ("rho", "must be a matrix of shape"),
        ([[1, 0], [0]], "rows of equal length"),
        ([[0, 1], [0, 0]], "must be Hermitian"),
        ([[np.nan, 0], [0, 1]], "must be finite"),
    ],
)
def test_bad_references_are_refused(samples, reference, message):
    for distance in (samples[0].hilbert_schmidt, samples[0].trace_distance):
        with pytest.raises(ModelError, match=message):
            distance(reference)


def test_states_that_do_not_fit_are_refused():
    check_room(1000, 10)
    with pytest.raises(ModelError, match="`states` must take at most 2 GiB"):
        check_room(10_000, 10)


def test_means_in_the_whole_basis_are_those_of_the_test_generator():
    """One excitation of two sites: the doubly excited state is never reached."""
    lower_0, lower_1 = np.kron(LOWER, np.eye(2)), np.kron(np.eye(2), LOWER)
    h = lower_0.conj().T @ lower_1 + lower_1.conj().T @ lower_0
    number = {"n": lower_1.conj().T @ lower_1}
    start = np.eye(4)[2]
    model = Model(
        hamiltonian=h,
        dissipators=[Dissipator(lower_0, 0.9, name="loss")],
        initial=start,
        observables=number,
    )
    state, means = mean_of(model, 6400, scheme=Exact())
    assert state.matrix.shape == (3, 4, 4)
    assert np.abs(state.matrix[:, 3]).max() == 0
    rates = [np.sqrt(0.9) * lower_0]
    generator = lindblad(h, rates)
    truth = [
        (expm(generator * t) @ density(start).ravel()).reshape(4, 4) for t in TIMES
    ]
    scale = state.sampling_scale
    assert (np.abs(state.hilbert_schmidt(truth)) <= 20 * scale + 1e-20).all()
    exact = exact_means(h, rates, density(start), number, TIMES)["n"]
    assert np.abs(means[0] - exact).max() < 5 / np.sqrt(6400)
