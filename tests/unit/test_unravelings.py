"""Unravelings lowered: every choice stands for the same averaged equation."""

import numpy as np
import pytest

from stochq import (
    Averaged,
    Dissipator,
    Heterodyne,
    Homodyne,
    Jump,
    Kicks,
    Model,
    ModelError,
    Occupations,
    Projections,
    SchemeMismatchError,
    UnitaryNoise,
    WhiteNoise,
    lower,
    master_equation,
)

DIM = 4
EPS = np.finfo(float).eps
RNG = np.random.default_rng(11)


def random_matrix():
    return RNG.normal(size=(DIM, DIM)) + 1j * RNG.normal(size=(DIM, DIM))


def hermitian():
    matrix = random_matrix()
    return (matrix + matrix.conj().T) / 2


H, L, C, D = hermitian(), hermitian(), random_matrix(), random_matrix()
U = np.linalg.qr(random_matrix())[0]
FLIP = 3 * U[:, :2] @ U[:, :2].conj().T - np.eye(DIM)  # the eigenvalues -1 and 2


def model(**changes):
    parts = {
        "hamiltonian": H,
        "noise": WhiteNoise(L, rate=0.3, name="field"),
        "dissipators": [
            Dissipator(C, 0.7, name="one"),
            Dissipator(D, 0.4, name="two"),
            Dissipator(FLIP, 0.9, name="flip"),
            Dissipator(C.conj().T, 0.7, name="back"),
        ],
        "initial": np.ones(DIM) / np.sqrt(DIM),
        "observables": {"first": np.diag([1.0, 0, 0, 0])},
    }
    return Model(**(parts | changes))


def averaged_generator(dynamics):
    """Return the Lindbladian of a lowered model, whatever became of its dissipators."""
    one = np.eye(dynamics.dim)

    def commutator(A):
        return np.kron(A, one) - np.kron(one, A.T)

    def dissipator(c):
        square = c.conj().T @ c
        decay = np.kron(square, one) + np.kron(one, square.T)
        return np.kron(c, c.conj()) - decay / 2

    total = -1j * commutator(dynamics.hamiltonian.toarray())
    for operator in dynamics.noise:
        bracket = commutator(operator.toarray())
        total -= bracket @ bracket / 2
    for c in (*dynamics.jumps, *dynamics.averaged):
        total += dissipator(c.toarray())
    for monitor in dynamics.monitors:
        total += dissipator(monitor.operator.toarray())
    return total


CHOICES = {
    "default": None,
    "shift": {"one": Jump(shift=0.3 - 0.8j)},
    "shifts of a pair": {("one", "two"): Jump(shift=[1.0, 2.0j])},
    "mixing": {("one", "two", "flip", "back"): Jump(mixing=U, shift=0.5j)},
    "isometry": {("one", "two"): Jump(mixing=U[:, :2])},
    "homodyne": {"one": Homodyne(phase=0.7), "two": Homodyne(efficiency=0.2)},
    "heterodyne": {("two", "one"): Heterodyne(mixing=[[0, 1], [1j, 0]])},
    "pair": {("one", "back"): UnitaryNoise(), "flip": UnitaryNoise()},
    "kicks": {"flip": Kicks()},
    "projections": {"flip": Projections()},
    "averaged": {"one": Averaged(), ("two", "flip"): Averaged()},
}


def generator_error(dynamics):
    exact = model().lindbladian().toarray()
    return np.abs(averaged_generator(dynamics) - exact).max() / np.abs(exact).max()


@pytest.mark.parametrize("case", CHOICES)
def test_every_choice_averages_to_the_model(case):
    assert generator_error(lower(model(), CHOICES[case])) < 100 * EPS


def test_a_shift_needs_its_hamiltonian():
    dynamics = lower(model(), {"one": Jump(shift=0.3 - 0.8j)})
    correction = dynamics.hamiltonian - model().hamiltonian
    for wrong in (0.0, -1.0):
        object.__setattr__(
            dynamics, "hamiltonian", model().hamiltonian + wrong * correction
        )
        assert generator_error(dynamics) > 0.01


def test_a_mixing_must_be_isometric():
    with pytest.raises(ModelError, match=r"`mixing` of `Jump\(\)` must have U\^dag U"):
        Jump(mixing=[[1.0, 1.0], [1.0, -1.0]])


WRONG = {
    "a key that is no name": ({3: Jump()}, ModelError, "names or tuples of names"),
    "an empty tuple": ({(): Jump()}, ModelError, "names or tuples of names"),
    "an unknown name": ({("one", "three"): Jump()}, ModelError, "names 'three'"),
    "a name twice": ({"one": Jump(), ("one", "two"): Jump()}, ModelError, "twice"),
    "a name twice in a tuple": ({("one", "one"): Jump()}, ModelError, "twice"),
    "a class": ({"one": Jump}, ModelError, "must be one of Jump"),
    "too many columns": (
        {"one": Jump(mixing=np.eye(2))},
        ModelError,
        "a column for each of its 1 operators",
    ),
    "too many shifts": (
        {"one": Jump(shift=[1, 2])},
        ModelError,
        "one for each of its 1 operators",
    ),
    "noise of one half": ({"one": UnitaryNoise()}, SchemeMismatchError, "pairs"),
    "kicks of any matrix": ({"one": Kicks()}, SchemeMismatchError, "Hermitian"),
    "projections of any": ({"two": Projections()}, SchemeMismatchError, "Hermitian"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_choices_are_refused(case):
    unraveling, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        lower(model(), unraveling)


PARAMETERS = {
    "a phase": (lambda: Homodyne(phase=np.nan), "`phase` of `Homodyne"),
    "an infinite phase": (lambda: Homodyne(phase=np.inf), "must be finite"),
    "a phase in words": (lambda: Homodyne(phase="x"), "must be a number"),
    "an efficiency above 1": (lambda: Homodyne(efficiency=1.1), r"in \[0, 1\]"),
    "no efficiency": (lambda: Heterodyne(efficiency=None), r"in \[0, 1\]"),
    "a shift": (lambda: Jump(shift=np.nan), "must be finite"),
    "a matrix of shifts": (lambda: Jump(shift=np.eye(2)), "one for each operator"),
    "no shift": (lambda: Jump(shift=None), "must be numbers, but is None"),
    "a vector as mixing": (lambda: Jump(mixing=[1.0]), r"shape \(m, n\)"),
    "words as mixing": (lambda: Jump(mixing="U"), "must be numbers"),
}


@pytest.mark.parametrize("case", PARAMETERS)
def test_wrong_parameters_are_refused(case):
    make, message = PARAMETERS[case]
    with pytest.raises(ModelError, match=message):
        make()


def chain(operator, **changes):
    return Model(
        dissipators=Dissipator(operator, 0.5, name="bath", **changes),
        initial=Occupations([1, 0, 1]),
        observables={"n": np.diag([1.0, 0, 0])},
    )


HOP = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
MODES = {
    "jumps of two modes": (HOP, Jump()),
    "monitored one-way hopping": (np.triu(HOP), Homodyne()),
    "averaged one-way hopping": (np.triu(HOP), Averaged()),
    "a shift": (np.diag([1, 0, 0]), Jump(shift=1.0)),
}


@pytest.mark.parametrize("case", MODES)
def test_orbitals_refuse_what_does_not_keep_them_orbitals(case):
    operator, choice = MODES[case]
    with pytest.raises(SchemeMismatchError, match="one-body model"):
        lower(chain(operator), {"bath": choice})


def test_strengths_of_dissipators_enter_squared():
    # <n> falls as exp(-int gamma(t) dt) with gamma(t) = 2 t^2
    times = np.linspace(0.0, 1.5, 7)
    decay = Model(
        dissipators=Dissipator([[0, 1], [0, 0]], 2.0, strength=lambda t: t),
        initial=[0, 1],
        observables={"n": np.diag([0, 1])},
    )
    found = master_equation(decay, times).values[0]
    assert np.abs(found - np.exp(-2 * times**3 / 3)).max() < 1e-9
    assert np.abs(found - np.exp(-(times**2))).max() > 0.01  # strength not squared
    assert decay.time_dependent
    assert "1 strength f(t)" in str(decay)


@pytest.mark.parametrize("choice", [Homodyne(), Heterodyne(), Averaged()])
def test_monitors_refuse_rates_that_depend_on_time(choice):
    dissipator = Dissipator(C, 0.7, name="one", strength=lambda t: t)
    with pytest.raises(SchemeMismatchError, match="constant rates"):
        lower(model(dissipators=dissipator), {"one": choice})


def test_provenance_names_the_choices():
    dynamics = lower(model(), {("one", "two"): Homodyne(phase=0.5), "flip": Kicks()})
    assert dynamics.unraveling == {
        "one": "Homodyne(phase=0.5)",
        "two": "Homodyne(phase=0.5)",
        "flip": "Kicks",
        "back": "Jump",
    }


def test_choices_can_be_compared():
    assert Jump(shift=1, mixing=np.eye(2)) == Jump(shift=1.0, mixing=[[1, 0], [0, 1]])
    assert Jump(shift=[1, 2]) != Jump(shift=[2, 1])
    assert len({Homodyne(), Homodyne(phase=0.0), Heterodyne()}) == 2
