"""Unravelings compared by variance times cost."""

import numpy as np
import pytest

from stochq import (
    Averaged,
    Dissipator,
    Jump,
    Kicks,
    Model,
    ModelError,
    Projections,
    SchemeMismatchError,
    UnitaryNoise,
    compare_unravelings,
)

TIMES = np.linspace(0.0, 1.0, 5)
DEPHASING = np.diag([1.0, -1.0])
RATE = 0.8


def dephased(**changes):
    """A spin along x under dephasing at rate g: <x> = exp(-2 g t)."""
    parts = {
        "dissipators": Dissipator(DEPHASING, RATE, name="dephasing"),
        "initial": np.array([1, 1]) / np.sqrt(2),
        "observables": {"x": [[0, 1], [1, 0]], "z": DEPHASING},
    }
    return Model(**(parts | changes))


def test_variances_are_those_of_the_unravelings():
    # kicks: x = +-1; projections: x = 1 until the first, then 0; noise: x = cos(2W)
    found = compare_unravelings(
        dephased(),
        TIMES,
        [{"dephasing": choice} for choice in (Kicks(), Projections(), UnitaryNoise())],
        seed=3,
        pilot=8192,
    )
    mean = np.exp(-2 * RATE * TIMES[1:])
    square = {
        "kicks": 1.0,
        "projections": mean,
        "noise": (1 + np.exp(-8 * RATE * TIMES[1:])) / 2,
    }
    exact = [np.mean(second - mean**2) for second in square.values()]
    # a variance of bounded x from n trajectories is known to about 2 / sqrt(n)
    assert np.abs(found.variance[:, 0] - exact).max() < 4 / np.sqrt(8192)
    assert np.abs(np.diff(exact)).min() > 8 / np.sqrt(8192)  # so they differ
    # a projection finds z = +-1; kicks and noise leave z alone
    assert np.array_equal(found.variance[[0, 2], 1], [0.0, 0.0])
    assert abs(found.variance[1, 1] - np.mean(1 - mean)) < 4 / np.sqrt(8192)
    assert np.array_equal(found.work, found.variance * found.seconds[:, None])
    best = int(np.argmin(found.work[:, 0]))
    assert found.recommended == found.unravelings[best]


def test_what_does_not_fluctuate_costs_nothing():
    both = [{"dephasing": Averaged()}, {"dephasing": Kicks()}]
    found = compare_unravelings(dephased(), TIMES, both, seed=3, pilot=64)
    assert found.relative_work.tolist() == [0.0, 1.0]
    assert found.recommended == both[0]
    assert str(found).endswith("(nothing to sample)")


def test_all_that_fit_are_compared():
    lowering = np.array([[0, 1], [0, 0]])
    decay = dephased(dissipators=Dissipator(lowering, RATE, name="decay"))
    found = compare_unravelings(decay, TIMES, seed=3, pilot=64)
    kinds = [type(choice) for u in found.unravelings for choice in u.values()]
    assert Jump in kinds
    assert Kicks not in kinds
    assert UnitaryNoise not in kinds


def test_the_table_is_readable():
    found = compare_unravelings(
        dephased(), TIMES, [None, {"dephasing": Kicks()}], seed=3, pilot=64
    )
    lines = str(found).splitlines()
    assert len(lines) == 4
    assert lines[0].split() == ["unraveling", "us/traj", "sd", "x", "sd", "z", "work"]
    assert {line.split()[0] for line in lines[1:3]} == {"default", "dephasing:"}
    assert lines[3].startswith("recommended: ")
    frame = found.to_frame()
    assert list(frame.observable) == ["x", "z", "x", "z"]
    assert np.allclose(frame["work"], frame["sd"] ** 2 * frame["seconds"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"unravelings": []}, ModelError, "at least one"),
        ({"unravelings": {"dephasing": Kicks()}}, ModelError, "a list of dict"),
        ({"unravelings": [{"noise": Kicks()}]}, ModelError, "names 'noise'"),
        ({"times": [0.0]}, ModelError, "at least two"),
        ({"pilot": 2}, ValueError, "`pilot` must be >= 64"),
        ({"seed": -1}, ValueError, "`seed`"),
        ({"model": None}, ModelError, "`model` must be a Model"),
        ({"model": dephased(dissipators=())}, ModelError, "without dissipators"),
        (
            {
                "model": dephased(dissipators=Dissipator([[0, 1], [0, 0]], name="d")),
                "unravelings": [{"d": Kicks()}],
            },
            SchemeMismatchError,
            "Hermitian",
        ),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    given = {"model": dephased(), "times": TIMES, "seed": 1} | arguments
    with pytest.raises(error, match=message):
        compare_unravelings(given.pop("model"), given.pop("times"), **given)
