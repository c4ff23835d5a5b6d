"""A model is validated when built: what is refused, accepted and frozen."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import qutip
import scipy.sparse as sp
from analytic import LOWER, SX, SY, SZ

import stochq
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import lower
from stochq.model import ComplexWhiteNoise, Dissipator, Model, WhiteNoise
from stochq.schemes import EulerMaruyama, Exact, Heun, Strang
from stochq.simulation import simulate
from stochq.states import Occupations, Orbitals
from stochq.unravelings import Jump, Kicks, UnitaryNoise

EPS = np.finfo(float).eps
NAN = np.array([[0, np.nan], [np.nan, 0]])


def build(**changes):
    """Return a valid model with some parts changed."""
    parts = {
        "hamiltonian": SX,
        "noise": WhiteNoise(SZ, rate=0.5, name="phase"),
        "dissipators": Dissipator(LOWER, 0.3, name="decay"),
        "initial": [1, 0],
        "observables": {"z": SZ},
    }
    return Model(**(parts | changes))


def test_the_unchanged_model_is_valid():
    model = build()
    assert (model.dim, model.one_body) == (2, False)
    assert model.rate_names == ("phase", "decay")


REFUSED = {
    "H not Hermitian": ({"hamiltonian": LOWER}, "`hamiltonian` must be Hermitian"),
    "H has NaN": ({"hamiltonian": NAN}, "`hamiltonian` must be finite"),
    "H infinite": (
        {"hamiltonian": np.diag([np.inf, 0])},
        "`hamiltonian` must be finite",
    ),
    "H too large": (
        {"hamiltonian": np.eye(3)},
        r"`hamiltonian` must have shape \(2, 2\)",
    ),
    "H not square": (
        {"hamiltonian": np.ones((2, 3))},
        "`hamiltonian` must be a square matrix",
    ),
    "H a vector": ({"hamiltonian": [1, 0]}, "`hamiltonian` must be a square matrix"),
    "H words": ({"hamiltonian": "X"}, "`hamiltonian` must be a square matrix"),
    "H ragged": (
        {"hamiltonian": [[1, 0], [0]]},
        "`hamiltonian` must be a square matrix",
    ),
    "noise wrong size": (
        {"noise": WhiteNoise(np.eye(3), rate=1.0, name="phase")},
        "operator of 'phase' must have shape",
    ),
    "dissipator wrong size": (
        {"dissipators": Dissipator(np.eye(3), name="decay")},
        "operator of 'decay' must have shape",
    ),
    "noise of another kind": (
        {"noise": [Dissipator(LOWER)]},
        "`noise` must hold WhiteNoise or ComplexWhiteNoise",
    ),
    "dissipator of another kind": (
        {"dissipators": [WhiteNoise(SZ, rate=1)]},
        "`dissipators` must hold Dissipator",
    ),
    "two noises of one name": (
        {"noise": [WhiteNoise(SZ, rate=1, name="a"), WhiteNoise(SX, rate=1, name="a")]},
        "`name` of a noise must be its own",
    ),
    "noise named like a dissipator": (
        {"noise": WhiteNoise(SZ, rate=1, name="decay")},
        "`name` of a noise must be its own",
    ),
    "no start": ({"initial": None}, "`initial` must be given"),
    "ket not normalized": ({"initial": [1, 1]}, "`initial` must have norm 1"),
    "ket with NaN": ({"initial": [np.nan, 1]}, "`initial` must be finite"),
    "ket empty": ({"initial": []}, "`initial` must hold at least one"),
    "start of three axes": (
        {"initial": np.ones((1, 1, 2))},
        r"`initial` must be a ket \(d,\)",
    ),
    "start words": ({"initial": "up"}, "`initial` must be"),
    "rho trace": ({"initial": np.eye(2)}, "`initial` must have trace 1"),
    "rho not Hermitian": (
        {"initial": [[0.5, 0.2], [0, 0.5]]},
        "`initial` must be Hermitian",
    ),
    "rho negative": (
        {"initial": np.diag([1.5, -0.5])},
        "`initial` must be positive semi-definite",
    ),
    "rho not square": ({"initial": np.ones((2, 3))}, r"`initial` must be a ket \(d,\)"),
    "rho NaN": ({"initial": NAN}, "`initial` must be finite"),
    "weights sum": (
        {"initial": [(0.5, [1, 0]), (0.6, [0, 1])]},
        "`initial` must have weights summing to 1",
    ),
    "weight negative": (
        {"initial": [(1.5, [1, 0]), (-0.5, [0, 1])]},
        "`initial` must have finite weights >= 0",
    ),
    "mixture of sizes": (
        {"initial": [(0.5, [1, 0]), (0.5, [0, 0, 1])]},
        "`initial` must hold kets of one dimension",
    ),
    "mixture not normalized": (
        {"initial": [(0.5, [1, 0]), (0.5, [1, 1])]},
        r"`initial\[1\]` must have norm 1",
    ),
    "no observables": ({"observables": {}}, "`observables` must be a non-empty"),
    "observables list": ({"observables": [SZ]}, "`observables` must be a non-empty"),
    "observable name": ({"observables": {1: SZ}}, "`observables` must have string"),
    "observable not Hermitian": (
        {"observables": {"c": LOWER}},
        r"`observables\['c'\]` must be Hermitian",
    ),
    "observable size": (
        {"observables": {"c": np.eye(3)}},
        r"`observables\['c'\]` must have shape",
    ),
    "name empty": ({"name": ""}, "`name` must be a non-empty string"),
}


@pytest.mark.parametrize("case", REFUSED, ids=list(REFUSED))
def test_wrong_models_are_refused(case):
    changes, message = REFUSED[case]
    with pytest.raises(ModelError, match=message):
        build(**changes)


WRONG_PARTS = {
    "noise not Hermitian": (
        lambda: WhiteNoise(LOWER, rate=1),
        "`operators` of a WhiteNoise must be Hermitian",
    ),
    "neither rate nor covariance": (lambda: WhiteNoise(SZ), "must be given.*neither"),
    "both": (
        lambda: WhiteNoise(SZ, rate=1, covariance=[[1]]),
        "must be given, but both",
    ),
    "rate negative": (
        lambda: WhiteNoise(SZ, rate=-1),
        "`rate` must be finite and >= 0",
    ),
    "rate NaN": (lambda: WhiteNoise(SZ, rate=np.nan), "`rate` must be finite"),
    "rate infinite": (lambda: Dissipator(SZ, np.inf), "`rate` must be finite"),
    "rate words": (lambda: Dissipator(SZ, "1"), "`rate` must be a real number"),
    "rate complex": (lambda: Dissipator(SZ, 1j), "`rate` must be a real number"),
    "rate boolean": (lambda: Dissipator(SZ, True), "`rate` must be a real number"),
    "complex noise rate": (
        lambda: ComplexWhiteNoise(LOWER, rate=-0.1),
        "`rate` must be finite and >= 0",
    ),
    "one rate of several": (
        lambda: WhiteNoise([SX, SZ], rate=[1, -2]),
        r"`rate\[1\]` must be finite and >= 0",
    ),
    "number of rates": (
        lambda: WhiteNoise([SX, SZ], rate=[1, 2, 3]),
        r"`rate` must be one number or have shape \(2,\)",
    ),
    "covariance shape": (
        lambda: WhiteNoise([SX, SZ], covariance=[[1]]),
        r"`covariance` must be real with shape \(2, 2\)",
    ),
    "covariance complex": (
        lambda: WhiteNoise([SX, SZ], covariance=[[1, 1j], [-1j, 1]]),
        "`covariance` must be real",
    ),
    "covariance asymmetric": (
        lambda: WhiteNoise([SX, SZ], covariance=[[1, 0.5], [0.4, 1]]),
        "`covariance` must be symmetric",
    ),
    "covariance indefinite": (
        lambda: WhiteNoise([SX, SZ], covariance=[[1, 2], [2, 1]]),
        "`covariance` must be positive semi-definite",
    ),
    "covariance NaN": (
        lambda: WhiteNoise(SX, covariance=[[np.nan]]),
        "`covariance` must be finite",
    ),
    "operators empty": (
        lambda: WhiteNoise(np.zeros((0, 2, 2)), rate=1),
        "`operators` must hold at least one",
    ),
    "operators of two sizes": (
        lambda: WhiteNoise([SX, np.eye(3)], rate=1),
        "`operators` must all have one shape",
    ),
    "empty name": (lambda: Dissipator(SZ, name=""), "`name` of a Dissipator must be"),
    "orbitals not orthonormal": (
        lambda: Orbitals([[1, 1], [0, 1]]),
        "`Orbitals` must have orthonormal columns",
    ),
    "more orbitals than sites": (
        lambda: Orbitals(np.eye(3)[:2]),
        "`Orbitals` must have shape",
    ),
    "orbitals NaN": (lambda: Orbitals(NAN), "`Orbitals` must be finite"),
    "occupation 2": (lambda: Occupations([0, 2]), "`Occupations` must be 0 or 1"),
    "occupation 1/2": (lambda: Occupations([0, 0.5]), "`Occupations` must be 0 or 1"),
    "occupations empty": (
        lambda: Occupations([0, 0]),
        "`Occupations` must fill at least one site",
    ),
    "occupations matrix": (lambda: Occupations(np.eye(2)), "`Occupations` must be num"),
}


@pytest.mark.parametrize("case", WRONG_PARTS, ids=list(WRONG_PARTS))
def test_wrong_parts_are_refused(case):
    make, message = WRONG_PARTS[case]
    with pytest.raises(ModelError, match=message):
        make()


def test_an_unknown_rate_is_refused():
    with pytest.raises(ModelError, match="`name` must be one of"):
        build().with_rate("nonsense", 2.0)


ARGUMENTS = {
    "times decrease": ({"times": [0, 2, 1]}, "`times` must be strictly increasing"),
    "times repeat": ({"times": [0, 1, 1]}, "`times` must be strictly increasing"),
    "times NaN": ({"times": [0, np.nan]}, "`times` must be finite"),
    "times empty": ({"times": []}, "`times` must have shape"),
    "times matrix": ({"times": [[0, 1]]}, "`times` must have shape"),
    "times words": ({"times": "now"}, "`times` must be an array of numbers"),
    "one trajectory": ({"n_traj": 1}, "`n_traj` must be >= 2"),
    "half a trajectory": ({"n_traj": 2.5}, "`n_traj` must be an integer"),
    "seed negative": ({"seed": -1}, "`seed` must be >= 0"),
    "seed float": ({"seed": 1.0}, "`seed` must be an integer"),
    "seed boolean": ({"seed": True}, "`seed` must be an integer"),
    "no jobs": ({"n_jobs": 0}, "`n_jobs` must be >= 1"),
    "jobs words": ({"n_jobs": "all"}, "`n_jobs` must be an integer"),
    "batch": ({"batch": 0}, "`batch` must be >= 1"),
    "not a model": ({"model": "qubit"}, "`model` must be a Model"),
    "unknown dissipator": (
        {"unraveling": {"phase": Jump()}},
        "`unraveling` must name dissipators",
    ),
    "unraveling a word": (
        {"unraveling": {"decay": "jump"}},
        r"`unraveling\['decay'\]` must be one of Jump\(\)",
    ),
    "unraveling a list": (
        {"unraveling": ["decay"]},
        "`unraveling` must be a dictionary",
    ),
}


@pytest.mark.parametrize("case", ARGUMENTS, ids=list(ARGUMENTS))
def test_wrong_arguments_are_refused(case):
    changes, message = ARGUMENTS[case]
    arguments = {"model": build(), "times": [0, 1], "n_traj": 100, "seed": 1} | changes
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)


MISMATCHES = {
    "dt zero": (lambda: Strang(0.0), "`dt` of Strang must be finite and > 0"),
    "dt NaN": (lambda: Heun(np.nan), "`dt` of Heun must be finite"),
    "dt words": (
        lambda: EulerMaruyama("0.1"),
        "`dt` of EulerMaruyama must be a number",
    ),
    "one-way noise": (
        lambda: lower(build(), {"decay": UnitaryNoise()}),
        "must have Hermitian operators or pairs",
    ),
    "kicks of one-way": (
        lambda: lower(build(), {"decay": Kicks()}),
        "must have a Hermitian operator",
    ),
    "kicks of three values": (
        lambda: lower(
            Model(
                dissipators=Dissipator(np.diag([0, 1, 2]), name="d"),
                initial=[1, 0, 0],
                observables={"n": np.diag([0, 1, 2])},
            ),
            {"d": Kicks()},
        ),
        "exactly two different eigenvalues",
    ),
    "jumps of orbitals": (
        lambda: lower(
            Model(
                dissipators=Dissipator(np.diag([1, 1, 0]), name="d"),
                initial=Occupations([1, 0, 0]),
                observables={"n": np.diag([1, 0, 0])},
            ),
            {"d": Jump()},
        ),
        r"operators that are g v v\^dag, the number of fermions in one mode",
    ),
    "exact for what does not commute": (
        lambda: simulate(build(), [0, 1], n_traj=100, seed=1, scheme=Exact()),
        r"Exact\(\) must have a model without noise",
    ),
}


@pytest.mark.parametrize("case", MISMATCHES, ids=list(MISMATCHES))
def test_mismatched_choices_are_refused(case):
    make, message = MISMATCHES[case]
    with pytest.raises(SchemeMismatchError, match=message):
        make()


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        lambda m: np.asarray(m).tolist(),
        lambda m: tuple(map(tuple, np.asarray(m).tolist())),
        sp.csr_array,
        sp.coo_array,
        sp.csc_matrix,
        qutip.Qobj,
    ],
    ids=["numpy", "lists", "tuples", "csr_array", "coo_array", "csc_matrix", "qobj"],
)
def test_operators_are_accepted_in_every_form(convert):
    model = build(
        hamiltonian=convert(SX + 0.3 * SY),
        noise=[
            WhiteNoise([convert(SZ), convert(SY)], rate=[0.5, 0.1], name="real"),
            ComplexWhiteNoise(convert(LOWER), rate=0.2, name="complex"),
        ],
        dissipators=[Dissipator(convert(LOWER), 0.3, name="decay")],
        observables={"y": convert(SY)},
    )
    assert np.array_equal(model.hamiltonian.toarray(), SX + 0.3 * SY)
    assert np.array_equal(model.noise[0].operators[1].toarray(), SY)
    assert np.array_equal(model.noise[1].operator.toarray(), LOWER)
    assert np.array_equal(model.dissipators[0].operator.toarray(), LOWER)
    assert np.array_equal(model.observables["y"].toarray(), SY)


KET = np.array([0.6, 0.8j])
STATES = {
    "array": KET,
    "list": KET.tolist(),
    "column": KET[:, None],
    "qobj ket": qutip.Qobj(KET),
    "qobj rho": qutip.ket2dm(qutip.Qobj(KET)),
    "rho": np.outer(KET, KET.conj()),
    "sparse rho": sp.csr_array(np.outer(KET, KET.conj())),
    "weighted": [(1.0, KET)],
    "weighted qobj": [(0.25, qutip.Qobj(KET)), (0.75, KET)],
}


@pytest.mark.parametrize("case", STATES, ids=list(STATES))
def test_states_are_accepted_in_every_form(case):
    rho = build(initial=STATES[case]).initial.density_matrix()
    assert np.abs(rho - np.outer(KET, KET.conj())).max() <= 8 * EPS


def test_a_mixture_is_kept():
    rho = np.array([[0.7, 0.1j], [-0.1j, 0.3]])
    kets = build(initial=rho).initial
    assert np.abs(kets.density_matrix() - rho).max() <= 8 * EPS
    assert len(kets.weights) == 2


def test_no_hamiltonian_means_zero():
    model = build(hamiltonian=None)
    assert model.hamiltonian.nnz == 0


def test_what_is_computed_is_hermitian_enough():
    unitary = np.linalg.qr(np.array([[1, 2j], [3, 4]]))[0]
    build(hamiltonian=unitary @ SZ @ unitary.conj().T)
    with pytest.raises(ModelError, match="Hermitian"):
        build(hamiltonian=SX + 1e-9j * SX)


def test_models_are_immutable():
    model = build()
    for owner, name in [
        (model, "hamiltonian"),
        (model.noise[0], "name"),
        (model.dissipators[0], "rate"),
        (model.initial, "vectors"),
    ]:
        with pytest.raises(FrozenInstanceError):
            setattr(owner, name, None)
    with pytest.raises(TypeError):
        model.observables["x"] = SX
    arrays = [
        model.hamiltonian.data,
        model.noise[0].operators[0].data,
        model.noise[0].rates,
        model.observables["z"].data,
        model.initial.vectors,
        WhiteNoise(SX, covariance=[[1.0]]).covariance,
        Orbitals(np.eye(2)).matrix,
    ]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_a_model_does_not_follow_its_input():
    hamiltonian, ket, rates = SX.copy(), np.array([1.0, 0.0]), np.array([0.5])
    noise = WhiteNoise([SZ], rate=rates)
    model = build(hamiltonian=hamiltonian, initial=ket, noise=noise)
    hamiltonian[:] = 7
    ket[:] = 7
    rates[:] = 7
    assert np.array_equal(model.hamiltonian.toarray(), SX)
    assert np.array_equal(model.initial.vectors, [[1, 0]])
    assert np.array_equal(noise.rates, [0.5])


def test_rates_are_scaled_by_name():
    model = build(
        noise=[
            WhiteNoise([SZ, SX], covariance=[[1, 0.5], [0.5, 1]], name="real"),
            ComplexWhiteNoise(LOWER, rate=0.2, name="complex"),
        ],
        dissipators=[
            Dissipator(LOWER, 0.3, name="bath"),
            Dissipator(SZ, 0.1, name="bath"),
        ],
    )
    assert np.array_equal(
        model.with_rate("real", 3).noise[0].covariance, [[3, 1.5], [1.5, 3]]
    )
    assert model.with_rate("complex", 3).noise[1].rate == 3 * 0.2
    scaled = model.with_rate("bath", 3)
    assert [d.rate for d in scaled.dissipators] == [3 * 0.3, 3 * 0.1]
    assert [n.name for n in scaled.noise] == ["real", "complex"]


def test_names_are_given_to_what_has_none():
    model = build(
        noise=[WhiteNoise(SZ, rate=1), WhiteNoise(SX, rate=1, name="x")],
        dissipators=[Dissipator(LOWER)],
    )
    assert model.rate_names == ("noise[0]", "x", "dissipators[0]")


def test_zero_rates_have_no_name_to_vary():
    model = build(noise=WhiteNoise(SZ, rate=0, name="phase"))
    assert model.rate_names == ("decay",)
    assert lower(model).noise == ()


def test_qutip_is_never_imported_by_the_package():
    code = (
        "import sys, pkgutil, importlib, stochq\n"
        "for m in pkgutil.walk_packages(stochq.__path__, 'stochq.'):\n"
        "    m.name.endswith('__main__') or importlib.import_module(m.name)\n"
        "print('qutip' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(stochq.__file__).parents[1],
        timeout=120,
    )
    assert done.stdout.strip() == "False"
