"""Descriptions: what they keep, what they tell apart, what they refuse."""

import copy
import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import stochq as sq
from stochq.descriptions import (
    Description,
    Recipe,
    describe,
    differences,
    environment,
    from_files,
    rebuild,
    to_files,
)
from stochq.descriptions.fingerprints import of_code
from stochq.errors import DescriptionError, ModelError

X = np.array([[0, 1], [1, 0]], dtype=complex)
Y = np.array([[0, -1j], [1j, 0]])
Z = np.diag([1.0, -1.0])
DOWN = np.array([[0, 1], [0, 0]], dtype=complex)
UP = [0.6, 0.8j]
TIMES = [0.1, 0.3, 0.7]
N_TRAJ = 65  # one more than an atom


def sampled(scale=1.0, order=3):
    times = np.linspace(0, 1, 7)
    return sq.Sampled(times, scale * np.cos(times), order=order)


def model(**parts):
    given = {
        "hamiltonian": 0.7 * X,
        "initial": UP,
        "observables": {"z": Z, "y": Y},
        **parts,
    }
    return sq.Model(**given)


def chain(**parts):
    hop = np.eye(4, k=1) + np.eye(4, k=-1)
    sites = [np.diag(np.eye(4)[x]) for x in range(4)]
    given = {
        "hamiltonian": hop,
        "initial": sq.Occupations([1, 0, 1, 0]),
        "observables": {"n0": sites[0]},
        "noise": sq.WhiteNoise(sites, rate=0.5),
        **parts,
    }
    return sq.Model(**given)


def fortran_orbitals():
    columns = np.linalg.qr(np.arange(16.0).reshape(4, 4) ** 2 + np.eye(4))[0][:, :2]
    return sq.Orbitals(np.asfortranarray(columns))


WHITE = sq.WhiteNoise([Z, X], rate=[0.3, 1 / 3], name="white")
DECAY = sq.Dissipator(DOWN, 0.7, name="decay")
FLIP = sq.Dissipator(X, 0.4, name="flip")
COVARIANCE = np.array([[0.5, 0.2], [0.2, 0.3]])
SHARED = sampled()
STRANG = sq.Strang(dt=0.05)
SQUARE = np.array([[1, 1], [1, -1]]) / np.sqrt(2)


def recipe(physics, scheme=STRANG, unraveling=None, **parts):
    return Recipe(physics, TIMES, scheme, unraveling or {}, **{"seed": 5, **parts})


PARTS = {
    "rates": model(noise=WHITE),
    "covariance": model(noise=sq.WhiteNoise([Z, X], covariance=COVARIANCE)),
    "singular covariance": model(
        noise=sq.WhiteNoise([Z, X], covariance=np.full((2, 2), 0.3))
    ),
    "one strength": model(
        noise=sq.WhiteNoise([Z, X], covariance=COVARIANCE, strength=SHARED)
    ),
    "equal strengths": model(
        noise=sq.WhiteNoise(
            [Z, X], covariance=COVARIANCE, strength=[sampled(), sampled()]
        )
    ),
    "some strengths": model(
        noise=sq.WhiteNoise([Z, X], rate=0.4, strength=[None, sampled(order=0)])
    ),
    "complex": model(noise=sq.ComplexWhiteNoise(DOWN, rate=0.7, strength=sampled())),
    "two noises": model(noise=[WHITE, sq.WhiteNoise(Y, rate=0.1)]),
    "drives": model(noise=WHITE, drives=[(Z, SHARED), (Y, SHARED), (X, sampled(2.0))]),
    "ito": model(noise=WHITE, calculus="ito"),
    "no hamiltonian": model(noise=WHITE, hamiltonian=None),
    "mixture": model(noise=WHITE, initial=[(0.25, [1, 0]), (0.75, [0, 1])]),
    "density matrix": model(noise=WHITE, initial=np.array([[0.3, 0.1j], [-0.1j, 0.7]])),
    "jumps": model(dissipators=[DECAY, FLIP, sq.Dissipator(Z, 0.1, name="decay")]),
    "jumps in time": model(dissipators=sq.Dissipator(DOWN, 0.7, strength=sampled())),
    "occupations": chain(),
    "orbitals": chain(initial=fortran_orbitals()),
}
SCHEMES = [
    sq.Exact(),
    sq.EulerMaruyama(dt=0.05),
    sq.Milstein(dt=0.05),
    sq.Heun(dt=0.05),
    sq.Midpoint(dt=0.05),
    sq.Magnus(dt=0.05),
    sq.Magnus(dt=0.1, cells=4),
    sq.Platen(dt=0.05),
    STRANG,
    sq.Alternating(dt=0.05),
    sq.RandomOrder(dt=0.05),
    sq.TwoPoint(dt=0.05),
    sq.Richardson(sq.Heun(dt=0.1)),
]
CHOICES = [
    {"flip": sq.Jump(shift=0.3 - 0.0j)},
    {("flip", "decay"): sq.Jump(shift=[0.1j, 1 / 3], mixing=SQUARE)},
    {"decay": sq.Homodyne(phase=0.3)},
    {"decay": sq.Homodyne(efficiency=0.6), "flip": sq.Heterodyne()},
    {("decay", "flip"): sq.Heterodyne(mixing=SQUARE * np.exp(0.1j))},
    {"flip": sq.UnitaryNoise()},
    {"flip": sq.Kicks()},
    {"flip": sq.Projections(), "decay": sq.Averaged()},
]
RECIPES = {name: recipe(physics) for name, physics in PARTS.items()}
RECIPES |= {  # correlated channels with two strengths, that do not commute
    name: recipe(PARTS[name], sq.Heun(dt=0.05))
    for name in ("one strength", "equal strengths")
}
RECIPES["raw ito"] = recipe(
    model(noise=WHITE, calculus="raw-ito"), sq.EulerMaruyama(dt=0.05)
)
COMMUTING = model(noise=sq.WhiteNoise(Z, rate=0.3), hamiltonian=0.2 * Z)
RECIPES |= {repr(scheme): recipe(COMMUTING, scheme) for scheme in SCHEMES}
OPEN = model(dissipators=[DECAY, FLIP])
RECIPES |= {f"choice {k}": recipe(OPEN, STRANG, c) for k, c in enumerate(CHOICES)}


def run(made):
    return sq.simulate(
        made.model,
        made.times,
        n_traj=N_TRAJ,
        seed=made.seed,
        scheme=made.scheme,
        unraveling=made.unraveling,
        stratified=made.stratified,
    )


def again(description, classes=()):
    return rebuild(from_files(to_files(description)), classes)


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_rebuilt_gives_the_same_bits(name):
    first = RECIPES[name]
    description = describe(first)
    assert description.rebuildable
    second = again(description)
    twin = describe(second)
    assert twin.digest == description.digest
    assert differences(twin, description) == []
    one, two = run(first), run(second)
    assert one.names == two.names
    assert one.moments.mean.tobytes() == two.moments.mean.tobytes()
    assert one.batches.tobytes() == two.batches.tobytes()
    assert one.jumps.tobytes() == two.jumps.tobytes()
    assert one.mean_norm.tobytes() == two.mean_norm.tobytes()
    assert one.deterministic.tobytes() == two.deterministic.tobytes()


def test_no_two_of_these_runs_share_a_digest():
    assert len({describe(made).digest for made in RECIPES.values()}) == len(RECIPES)


def test_sharing_counts():
    """Noise with one strength is mixed by its covariance, with two equal ones not."""
    apart, one = (describe(RECIPES[k]) for k in ("equal strengths", "one strength"))
    assert one.digest != apart.digest
    assert differences(one, apart) == [
        "functions: shared by other parts there than here"
    ]


def test_functions_that_are_shared_stay_shared():
    rebuilt = again(describe(RECIPES["drives"])).model.drives
    assert rebuilt[0][1] is rebuilt[1][1]
    assert rebuilt[0][1] is not rebuilt[2][1]
    apart = again(describe(RECIPES["equal strengths"])).model.noise[0].strengths
    assert apart[0] is not apart[1]


def test_what_is_rebuilt_is_read_only():
    rebuilt = again(describe(RECIPES["mixture"])).model
    assert not rebuilt.initial.vectors.flags.writeable
    assert not rebuilt.noise[0].operators[0].data.flags.writeable


# --- what is told apart -----------------------------------------------------------

BASE = model(
    noise=[WHITE, sq.ComplexWhiteNoise(DOWN, rate=0.2, name="xi", strength=SHARED)],
    dissipators=[DECAY, FLIP],
    drives=[(Z, sampled(2.0))],
)
SHIFT = {"decay": sq.Jump(shift=0.5), ("flip",): sq.Homodyne(phase=0.25)}
ORIGINAL = recipe(BASE, sq.Richardson(sq.Strang(dt=0.5)), SHIFT)


def changed(**parts):
    return replace(ORIGINAL, model=replace(BASE, **parts))


def decay(operator=DOWN, rate=0.7, **parts):
    return [sq.Dissipator(operator, rate, **{"name": "decay", **parts}), FLIP]


def xi(rate=0.2, strength=SHARED):
    noise = sq.ComplexWhiteNoise(DOWN, rate=rate, name="xi", strength=strength)
    return [WHITE, noise]


def white(rate=(0.3, 1 / 3), **parts):
    first = sq.WhiteNoise([Z, X], **{"rate": rate, "name": "white", **parts})
    return [first, XI]


EMPTY = np.zeros((0, 4))
XI = BASE.noise[1]
MUTATIONS = {
    "times": (
        replace(ORIGINAL, times=[0.1, 0.3, 0.8]),
        "times: differs at most by 0.1",
    ),
    "fewer times": (
        replace(ORIGINAL, times=[0.1, 0.3]),
        "times: shape (3,) there, (2,) here",
    ),
    "seed": (replace(ORIGINAL, seed=6), "seed: 5 there, 6 here"),
    "stratified": (
        replace(ORIGINAL, stratified=True),
        "stratified: False there, True here",
    ),
    "keep_jumps": (replace(ORIGINAL, keep_jumps=3), "keep_jumps: 0 there, 3 here"),
    "keep_signals": (
        replace(ORIGINAL, keep_signals=True),
        "keep_signals: False there, True here",
    ),
    "extras": (replace(ORIGINAL, extras=(1.5,)), "extras[0]: missing there, 1.5 here"),
    "scheme": (
        replace(ORIGINAL, scheme=sq.Heun(dt=0.5)),
        "scheme: Richardson(base=Strang(dt=0.5)) there, Heun(dt=0.5) here",
    ),
    "dt": (
        replace(ORIGINAL, scheme=sq.Richardson(sq.Strang(dt=0.25))),
        "scheme.base.dt: 0.5 there, 0.25 here",
    ),
    "choice": (
        replace(ORIGINAL, unraveling={**SHIFT, "decay": sq.Kicks()}),
        "unraveling['decay']: Jump(shift=(0.5 + 0.0i), mixing=None) there, "
        "Kicks() here",
    ),
    "shift": (
        replace(ORIGINAL, unraveling={**SHIFT, "decay": sq.Jump(shift=0.5j)}),
        "unraveling['decay'].shift: (0.5 + 0.0i) there, (0.0 + 0.5i) here",
    ),
    "phase": (
        replace(ORIGINAL, unraveling={**SHIFT, ("flip",): sq.Homodyne(phase=0.5)}),
        "unraveling['flip'].phase: 0.25 there, 0.5 here",
    ),
    "a choice less": (
        replace(ORIGINAL, unraveling={"decay": SHIFT["decay"]}),
        "unraveling['flip']: Homodyne(phase=0.25, efficiency=1.0, mixing=None) there, "
        "missing here",
    ),
    "name": (changed(name="other"), "model.name: 'model' there, 'other' here"),
    "calculus": (
        changed(calculus="ito"),
        "model.calculus: 'stratonovich' there, 'ito' here",
    ),
    "hamiltonian": (
        changed(hamiltonian=0.75 * X),
        "model.hamiltonian: differs at most by 0.05",
    ),
    "another place": (
        changed(hamiltonian=Z),
        "model.hamiltonian: 2 elements that are not zero there, 2 here, at other pl",
    ),
    "ket": (changed(initial=[0.8, 0.6j]), "model.initial.vectors: differs at most by"),
    "mixture": (
        changed(initial=[(0.5, [1, 0]), (0.5, [0, 1])]),
        "model.initial.weights: shape (1,) there, (2,) here",
    ),
    "observable": (
        changed(observables={"z": 2 * Z, "y": Y}),
        "model.observables['z']: differs at most by 1",
    ),
    "order of observables": (
        changed(observables={"y": Y, "z": Z}),
        "model.observables: in the order ['z'], ['y'] there, ['y'], ['z'] here",
    ),
    "a new observable": (
        changed(observables={**BASE.observables, "x": X}),
        "model.observables['x']: missing there, a matrix (2, 2) here",
    ),
    "drive": (
        changed(drives=[(X, BASE.drives[0][1])]),
        "model.drives[0][0]: 2 elements",
    ),
    "samples": (
        changed(drives=[(Z, sampled(2.5))]),
        "model.drives[0][1].values: differs at most by 0.5",
    ),
    "order of spline": (
        changed(drives=[(Z, sampled(2.0, order=1))]),
        "model.drives[0][1].order: 3 there, 1 here",
    ),
    "rates": (
        changed(noise=white((0.3, 0.25))),
        "model.noise['white'].rates: differs at most by 0.0833",
    ),
    "correlations": (
        changed(noise=white(None, covariance=np.diag([0.3, 1 / 3]))),
        "model.noise['white'].correlations: None there, an array here",
    ),
    "operators": (
        changed(noise=[sq.WhiteNoise([Z, 2 * X], rate=[0.3, 1 / 3], name="white"), XI]),
        "model.noise['white'].operators[1]: differs at most by 1",
    ),
    "strengths": (
        changed(noise=white(strength=[None, SHARED])),
        "model.noise['white'].strengths[1]: None there, a function here",
    ),
    "strength is another": (
        changed(noise=xi(strength=BASE.drives[0][1])),
        "model.noise['xi'].strength.values: differs at most by 1",
    ),
    "complex rate": (changed(noise=xi(0.3)), "model.noise['xi'].rate: 0.2 there, 0.3"),
    "order of noises": (
        changed(noise=BASE.noise[::-1]),
        "model.noise: in the order ['white'], ['xi'] there, ['xi'], ['white'] here",
    ),
    "rate": (
        changed(dissipators=decay(rate=0.8)),
        "model.dissipators['decay'].rate: 0.7 there, 0.8 here",
    ),
    "last bit of a rate": (
        changed(dissipators=decay(rate=np.nextafter(0.7, 1))),
        "model.dissipators['decay'].rate: 0.7 there, 0.7000000000000001 here",
    ),
    "jump operator": (
        changed(dissipators=decay(1j * DOWN)),
        "model.dissipators['decay'].operator: differs at most by 1.41",
    ),
    "jump strength": (
        changed(dissipators=decay(strength=SHARED)),
        "model.dissipators['decay'].strength: None there, a function here",
    ),
    "jump name": (
        changed(dissipators=decay(name="loss")),
        "model.dissipators['loss']: missing there, Dissipator(operator=a matrix (2, 2)",
    ),
    "a second decay": (
        changed(dissipators=[DECAY, DECAY, FLIP]),
        "model.dissipators['decay'][1]: missing there, Dissipator(",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_change_changes_the_digest_and_is_named(name):
    mutant, line = MUTATIONS[name]
    there, here = describe(ORIGINAL), describe(mutant)
    assert here.digest != there.digest
    lines = differences(here, there)
    assert any(found.startswith(line) for found in lines), lines
    assert all("\n" not in found for found in lines)
    assert differences(there, here)


def test_what_makes_no_difference_is_none():
    """Neither dense or sparse, nor how a dictionary came about, nor what is equal."""
    other = replace(
        ORIGINAL,
        model=replace(BASE, hamiltonian=0.7 * np.asfortranarray(X), noise=xi()),
        times=np.array(TIMES),
        unraveling={"flip": sq.Homodyne(phase=0.25), "decay": sq.Jump(shift=[0.5][0])},
    )
    assert differences(describe(other), describe(ORIGINAL)) == []
    assert describe(other).digest == describe(ORIGINAL).digest


def test_arrays_count_by_content_and_not_by_name():
    first = describe(ORIGINAL)
    text = json.dumps(first.tree).replace('"array": "a', '"array": "b')
    arrays = {name.replace("a", "b"): array for name, array in first.arrays.items()}
    second = Description(json.loads(text), arrays)
    assert second.digest == first.digest
    assert differences(second, first) == []


def test_equal_bytes_of_other_type_or_shape_are_told_apart():
    arrays = [np.zeros(4), np.zeros(4, int), np.zeros((2, 2)), np.zeros((4, 0)), EMPTY]
    described = [describe(replace(ORIGINAL, extras=(array,))) for array in arrays]
    assert len({d.digest for d in described}) == len(arrays)
    assert differences(described[1], described[0]) == [
        "extras[0]: type float64 there, int64 here"
    ]
    for array, description in zip(arrays, described, strict=True):
        (back,) = again(description).extras
        assert (back.shape, back.dtype) == (array.shape, array.dtype)


def test_zeros_with_other_signs_are_told_apart():
    one, two = (
        describe(recipe(model(initial=np.array([1, z]))))
        for z in (0.0, complex(0, -0.0))
    )
    assert one.digest != two.digest
    (line,) = differences(one, two)
    assert line.startswith("model.initial.vectors: differs in bits only")


def test_the_digest_is_empty_of_differences_for_random_pairs():
    """Over all pairs of runs: lines if and only if digests differ."""
    described = [describe(made) for made, _ in MUTATIONS.values()]
    for one in described[::3]:
        for two in described:
            assert bool(differences(one, two)) == (one.digest != two.digest)


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import test_descriptions as t
print(t.describe(t.ORIGINAL).digest, t.of_code(t.member_of))
"""


@pytest.mark.parametrize("hash_seed", ["1", "77"])
def test_a_digest_is_the_same_in_every_process(hash_seed):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(sq.__file__).parents[1],
        env={"PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    digest, code = done.stdout.split()
    assert digest == describe(ORIGINAL).digest
    assert code == of_code(member_of)


def test_the_environment_counts_but_for_python_and_the_machine():
    first = describe(ORIGINAL)
    assert environment() == first.tree["environment"]
    for key in ("stochq", "numpy", "scipy", "numba", "code"):
        other = copy.deepcopy(first.tree)
        other["environment"][key] = "another"
        (line,) = differences(Description(other, first.arrays), first)
        assert line.startswith(f"environment.{key}: ")
        assert Description(other, first.arrays).digest != first.digest
    other = copy.deepcopy(first.tree)
    other["environment"]["python"] = "2.7"
    other["machine"] = {}
    assert Description(other, first.arrays).digest == first.digest
    assert differences(Description(other, first.arrays), first) == []


# --- Python functions --------------------------------------------------------------


def ramp(t):
    return 0.5 * t


def member_of(value, names=frozenset({"a", "b", "c", "d"}), *, scale=N_TRAJ):
    return scale * (value in {"spin", "site", "mode", "bond"}) + len(names)


def test_a_function_of_time_is_known_by_its_values():
    def described(function):
        return describe(recipe(model(noise=WHITE, drives=[(Z, function)])))

    def named_alike(factor):
        def ramp(t):
            return factor * t

        return ramp

    first = described(named_alike(0.5))
    assert not first.rebuildable
    assert described(named_alike(0.5)).digest == first.digest
    assert described(named_alike(0.5 + 1e-15)).digest != first.digest
    lines = differences(described(named_alike(0.6)), first)
    places = [line.partition(": ")[0] for line in lines]
    assert places == ["model.drives[0][1].values", "model.drives[0][1].code"]
    bump = described(lambda t: 1 + (t - 0.1) * (t - 0.7))
    assert bump.digest != described(lambda t: 1 - (t - 0.1) * (t - 0.7)).digest
    nan = described(lambda t: 1 / (t - 0.1))  # it has no value at the start
    assert nan.digest == described(lambda t: 1 / (t - 0.1)).digest


def test_a_run_with_a_python_function_must_be_rebuilt_by_its_script():
    made = recipe(model(noise=sq.WhiteNoise(Z, rate=1.0, strength=ramp, name="n")))
    message = r"contains the Python function `ramp` \(noise\['n'\].strengths\[0\]\)"
    with pytest.raises(DescriptionError, match=message):
        again(describe(made))
    drive = recipe(model(noise=WHITE, drives=[(Z, SHARED), (X, ramp)]))
    with pytest.raises(DescriptionError, match=r"`ramp` \(drives\[1\]"):
        rebuild(describe(drive))


def made_function(source, **around):
    exec(source, around)
    return around["f"]


def test_other_functions_are_known_by_their_code():
    source = "def f(psi, k=2):\n    return abs(psi[k]) ** 2 + g\n"
    first = of_code(made_function(source, g=0.5))
    assert of_code(made_function("\n\n" + source, g=0.5)) == first
    mutants = [
        made_function(source, g=0.6),
        made_function(source.replace("** 2", "** 3"), g=0.5),
        made_function(source.replace("k=2", "k=1"), g=0.5),
        made_function(source.replace("abs", "len"), g=0.5),
        made_function(source.replace("+", "-"), g=0.5),
    ]
    assert len({first, *map(of_code, mutants)}) == 6


def test_what_a_function_encloses_counts():
    def outer(scale):
        def inner(psi):
            return (lambda x: scale * x)(psi)

        return inner

    assert of_code(outer(2.0)) == of_code(outer(2.0))
    assert of_code(outer(2.0)) != of_code(outer(3.0))
    assert of_code(outer(np.arange(3))) != of_code(outer(np.arange(3) + 1))
    assert of_code(outer(outer(1.0))) != of_code(outer(outer(2.0)))
    assert of_code(partial(member_of, scale=2)) != of_code(partial(member_of, scale=3))
    assert of_code(outer(object())) == of_code(outer(object()))  # no address enters


def test_functions_that_call_themselves_have_an_end():
    source = "def f(n):\n    return n * f(n - 1) if n else 1\n"
    assert of_code(made_function(source)) == of_code(made_function(source))
    names = [f"f{k}" for k in range(30)]  # whichever way, all of them reach all
    calls = " + ".join(f"{name}(x)" for name in names)
    web = "\n".join(
        f"def {name}(x): return {k} + {calls}" for k, name in enumerate(names)
    )
    assert of_code(made_function(f"{web}\nf = f0")) == of_code(
        made_function(f"{web}\nf = f0")
    )
    with pytest.raises(ModelError, match="contains itself"):
        of_code(made_function("a = []\na.append(a)\ndef f(): return a"))


@dataclass(frozen=True)
class Histogram:
    """An extra, as the ensemble may have them."""

    name: str
    edges: object
    factor: complex = 1.0
    function: object = None


EDGES = np.array([0.0, np.inf])


def test_extras_of_known_classes_come_back():
    made = replace(ORIGINAL, extras=(Histogram("z", EDGES, -0.0j), (1, None, np.nan)))
    description = describe(made, (Histogram,))
    histogram, others = again(description, (Histogram,)).extras
    assert type(histogram) is Histogram
    assert histogram.edges.tobytes() == EDGES.tobytes()
    assert str(histogram.factor) == str(-0.0j)
    assert others[:2] == (1, None)
    assert np.isnan(others[2])
    with pytest.raises(ModelError, match=r"`extras\[0\]` must be numbers"):
        describe(made)
    with pytest.raises(DescriptionError, match="known classes, but holds 'Histogram'"):
        rebuild(description)


def test_functions_in_extras_are_opaque():
    made = replace(ORIGINAL, extras=(Histogram("z", EDGES, 1.0, member_of),))
    description = describe(made, (Histogram,))
    message = r"`member_of` \(extras\['z'\].function\); call simulate"
    with pytest.raises(DescriptionError, match=message):
        again(description, (Histogram,))
    other = replace(made, extras=(Histogram("z", EDGES, 1.0, ramp),))
    assert describe(other, (Histogram,)).digest != description.digest


# --- files ------------------------------------------------------------------------

FILES = to_files(describe(ORIGINAL))


def test_files_are_the_same_every_time_and_open_without_pickle():
    assert to_files(describe(ORIGINAL)) == FILES
    assert to_files(from_files(FILES)) == FILES
    content = json.loads(FILES["run.json"], parse_constant=pytest.fail)
    assert content["digest"] == describe(ORIGINAL).digest
    with np.load(io.BytesIO(FILES["arrays.npz"]), allow_pickle=False) as arrays:
        assert set(arrays) == set(describe(ORIGINAL).arrays)


def test_a_name_of_any_characters_is_kept():
    made = changed(name="γ \ud800 \n")
    assert again(describe(made)).model.name == "γ \ud800 \n"
    assert "γ" in to_files(describe(made))["run.json"].decode()


def damaged(content, rng):
    """Return bytes with some bits flipped, cut, or doubled."""
    data = bytearray(content)
    how = rng.integers(4)
    if how == 0:
        return bytes(data[: rng.integers(len(data))])
    if how == 1:
        start, stop = np.sort(rng.integers(len(data), size=2))
        return bytes(data[:stop] + data[start:])
    for place in rng.integers(len(data), size=1 if how == 2 else 8):
        data[place] ^= 1 << rng.integers(8)
    return bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_and_never_hurts(name):
    rng = np.random.default_rng(3)
    digest = describe(ORIGINAL).digest
    messages = []
    for _ in range(400):
        files = {**FILES, name: damaged(FILES[name], rng)}
        try:
            description = from_files(files)
        except DescriptionError as error:
            messages.append(str(error))
        else:
            assert description.digest == digest
            assert differences(description, describe(ORIGINAL)) == []
    assert len(messages) > 300
    assert not any("\n" in message for message in messages)


def values_of(node, path=()):
    """Yield the path to every value of a tree."""
    yield path
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield from values_of(node[key], (*path, key))


def with_value(tree, path, value):
    if not path:
        return value
    other = copy.deepcopy(tree)
    node = other
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return other


STRANGE = [None, True, -1, 10**30, 0.5, "x", [], {}, [[1]], {"array": "a0"},
           {"function": 0}, {"function": 9}, {"mapping": [["a", 1], ["a", 2]]},
           {"kind": "Recipe"}, {"kind": "Jump", "shift": 0.0, "mixing": None},
           {"float": "nan"}, {"complex": [1.0, {"float": "inf"}]},
           {"matrix": {"side": 2}}]  # fmt: skip


def test_a_forged_tree_is_refused_or_valid():
    """With a digest that fits: every value replaced by something strange."""
    first = describe(ORIGINAL)
    messages = []
    for k, path in enumerate(values_of(first.tree)):
        value = STRANGE[k % len(STRANGE)]
        tree = with_value(first.tree, path, value)
        try:
            text = json.dumps({"digest": Description(tree, first.arrays).digest})
            files = {**FILES, "run.json": with_tree(text, tree)}
        except (KeyError, AttributeError, TypeError):
            files = {**FILES, "run.json": with_tree('{"digest": ""}', tree)}
        try:
            description = from_files(files)
            differences(description, first)
            differences(first, description)
            rebuild(description)
        except DescriptionError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert not any("\n" in message for message in messages)


def with_tree(head, tree):
    return json.dumps({**json.loads(head), "run": tree}).encode()


class Bomb:
    """What must not go off."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def archive(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(text):
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode()


HEADER_TEXT = "{{'descr': '<f8', 'fortran_order': False, 'shape': {}, }}"


def described_as(shape, descr="'<f8'", by_column=False):
    text = HEADER_TEXT.format(shape).replace("'<f8'", descr)
    return header(text.replace("False", str(by_column)))


LIES = {
    "object": npy(np.array([Bomb()], dtype=object)),
    "huge": described_as((10**12,)) + bytes(8),
    "negative": described_as((-1,)),
    "two negatives": described_as((-1, -1)) + bytes(8),
    "empty and absurd": described_as((0, 10**40)),
    "short": described_as((3,)) + bytes(16),
    "by column": described_as((1, 1), by_column=True) + bytes(8),
    "big-endian": described_as((1,), "'>f8'") + bytes(8),
    "records": described_as((1,), "[('a', '<f8')]") + bytes(8),
    "text": described_as((1,), "'<U2'") + bytes(8),
    "code": header("__import__('os').abort()"),
    "parentheses": header("(" * 100),
    "no header": b"",
    "more than needed": header(HEADER_TEXT.format((1,)).replace(", ", ",  "))
    + bytes(8),
    "longer padding": header(HEADER_TEXT.format((1,)).ljust(181)) + bytes(8),
    "pickle": pickle.dumps(Bomb()),
}


@pytest.mark.parametrize("name", LIES)
def test_arrays_that_lie_are_refused(name):
    files = {**FILES, "arrays.npz": archive({"a0.npy": LIES[name]})}
    with pytest.raises(DescriptionError, match=r"`arrays.npz` must hold arrays"):
        from_files(files)


def test_archives_that_would_grow_are_refused():
    zeros = described_as((10**6,)) + bytes(8 * 10**6)
    packed = archive({"a0.npy": zeros}, zipfile.ZIP_DEFLATED)
    with pytest.raises(DescriptionError, match="must not be compressed"):
        from_files({**FILES, "arrays.npz": packed})


def test_files_of_other_runs_and_edited_ones_are_refused():
    other = to_files(describe(changed(hamiltonian=Z)))
    with pytest.raises(DescriptionError, match="digest of its content"):
        from_files({**FILES, "arrays.npz": other["arrays.npz"]})
    edited = FILES["run.json"].replace(b'"seed": 5', b'"seed": 6')
    with pytest.raises(DescriptionError, match="damaged or was edited"):
        from_files({**FILES, "run.json": edited})
    infinite = FILES["run.json"].replace(b'"seed": 5', b'"seed": Infinity')
    with pytest.raises(DescriptionError, match="strict JSON"):
        from_files({**FILES, "run.json": infinite})
    deep = b"[" * 10**5 + b"]" * 10**5
    with pytest.raises(DescriptionError, match="strict JSON"):
        from_files({**FILES, "run.json": deep})


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DescriptionError, match=r"`arrays.npz` must be there"):
        from_files({"run.json": FILES["run.json"]})
    with pytest.raises(DescriptionError, match=r"`run.json` must be there"):
        from_files(lambda name: (tmp_path / name).read_bytes())


def test_a_matrix_that_points_outside_itself_is_refused():
    """Scipy does not look: it would read what is not its own."""
    first = describe(recipe(COMMUTING))
    name = first.tree["model"]["hamiltonian"]["matrix"]["indices"]["array"]
    arrays = {**first.arrays, name: np.array([0, 10**9])}
    with pytest.raises(DescriptionError, match="elements in rows"):
        rebuild(Description(first.tree, arrays))


def test_a_mixture_of_no_probability_is_refused():
    first = describe(RECIPES["mixture"])
    name = first.tree["model"]["initial"]["weights"]["array"]
    for weights in ([0.5, 0.6], [1.5, -0.5], [np.nan, 1.0]):
        arrays = {**first.arrays, name: np.array(weights)}
        with pytest.raises(DescriptionError, match="weights >= 0 that sum to 1"):
            rebuild(Description(first.tree, arrays))


def test_trees_deeper_than_any_run_are_refused():
    nested = ()
    for _ in range(60):
        nested = (nested,)
    deep = to_files(describe(replace(ORIGINAL, extras=nested)))
    with pytest.raises(DescriptionError, match="nested at most 50 levels"):
        from_files(deep)


def test_headers_as_numpy_writes_them_are_read():
    """So that the lies are refused for what they are."""
    assert described_as((1,)) + bytes(8) == npy(np.zeros(1))


def test_another_format_is_refused():
    first = describe(ORIGINAL)
    with pytest.raises(DescriptionError, match="format 1, but has 2"):
        rebuild(Description({**first.tree, "format": 2}, first.arrays))


def test_only_schemes_of_the_package_can_be_described():
    with pytest.raises(ModelError, match="`scheme` must be one of EulerMaruyama"):
        recipe(BASE, scheme=object())


# --- copies -----------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(
    pickle.dumps(m))], ids=["deepcopy", "pickle"])  # fmt: skip
def test_models_and_references_can_be_copied_and_stay_as_they_are(duplicate):
    twin = duplicate(BASE)
    assert describe(replace(ORIGINAL, model=twin)).digest == describe(ORIGINAL).digest
    with pytest.raises(TypeError, match="does not support item assignment"):
        twin.observables["z"] = Z
    arrays = [twin.hamiltonian.data, twin.initial.vectors, twin.drives[0][0].data]
    arrays += [twin.noise[0].operators[1].data, twin.noise[0].rates]
    arrays += [twin.dissipators[0].operator.indices, twin.drives[0][1].values]
    arrays += [twin.observables["z"].data]
    assert not any(array.flags.writeable for array in arrays)
    curves = sq.Reference([0, 1], ["z"], [[1.0, 2.0]], sensitivity={"a": [[0.0, 1.0]]})
    other = duplicate(curves)
    assert other.names == curves.names
    assert not other.values.flags.writeable
    with pytest.raises(TypeError, match="does not support item assignment"):
        other.sensitivity["a"] = 0
