"""Functions of time: what is accepted, how samples are joined, what is refused."""

import numpy as np
import pytest

from stochq.envelopes import Sampled, as_envelope, as_envelopes, evaluate
from stochq.errors import ModelError

TIMES = np.array([0.0, 1.0, 3.0, 4.0])
VALUES = np.array([2.0, -1.0, 0.5, 0.0])
BETWEEN = np.linspace(0, 4, 41)


@pytest.mark.parametrize("order", range(4))
def test_samples_are_met(order):
    envelope = Sampled(TIMES, VALUES, order)
    assert np.abs(envelope(TIMES) - VALUES).max() < 1e-15
    assert np.abs(evaluate(envelope, TIMES) - VALUES).max() < 1e-15
    assert envelope(1.0) == pytest.approx(-1.0, abs=1e-15)
    assert np.ndim(envelope(1.0)) == 0


def test_order_0_holds_each_value_until_the_next_time():
    held = Sampled(TIMES, VALUES, 0)
    assert held([0.5, 0.999, 1.0, 2.9, 3.9, 4.0]).tolist() == [2, 2, -1, -1, 0.5, 0]


def test_order_1_draws_straight_lines():
    found = Sampled(TIMES, VALUES, 1)(BETWEEN)
    assert np.abs(found - np.interp(BETWEEN, TIMES, VALUES)).max() < 1e-15
    assert np.abs(Sampled(TIMES, VALUES, 0)(BETWEEN) - found).max() > 0.5


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_polynomial_of_the_order_is_followed_exactly(order):
    found = Sampled(TIMES, TIMES**order, order)(BETWEEN)
    assert np.abs(found - BETWEEN**order).max() < 1e-12
    if order > 1:
        lower = Sampled(TIMES, TIMES**order, order - 1)(BETWEEN)
        assert np.abs(lower - BETWEEN**order).max() > 0.1


def test_orders_converge_as_they_should():
    fine = np.linspace(0, 4, 1001)
    for order in range(4):
        errors = []
        for count in (21, 41):
            times = np.linspace(0, 4, count)
            found = Sampled(times, np.sin(times), order)(fine)
            errors.append(np.abs(found - np.sin(fine)).max())
        assert errors[0] / errors[1] > 0.8 * 2 ** (order + 1)


def test_samples_may_be_lists_and_are_not_followed():
    values = np.array([1.0, 2.0])
    envelope = Sampled([0, 1], values, 1)
    values[:] = 7
    assert envelope(1.0) == 2
    for array in (envelope.times, envelope.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7
    assert Sampled([0, 1], [1, 2], np.int64(1))(0.5) == 1.5


def test_one_sample_can_be_held():
    assert Sampled([2.0], [3.0], 0)(2.0) == 3


@pytest.mark.parametrize("order", range(4))
def test_times_must_be_covered(order):
    envelope = Sampled(TIMES, VALUES, order)
    for outside in (-0.01, 4.01, [1.0, 5.0], [-2.0, 1.0]):
        with pytest.raises(ModelError, match=r"must cover the times.*cover \[0, 4\]"):
            envelope(outside)
    # a time that was computed may be rounded
    assert envelope(-1e-12) == pytest.approx(2.0, abs=1e-9)
    assert envelope(4 + 1e-12) == pytest.approx(0.0, abs=1e-9)


REFUSED = {
    "lengths": (
        ([0, 1], [1, 2, 3]),
        r"`values` of Sampled must be real with shape \(2",
    ),
    "matrix": (([0, 1], [[1, 2]]), "`values` of Sampled must be real"),
    "complex": (([0, 1], [1, 1j]), "`values` of Sampled must be real"),
    "words": (([0, 1], ["a", "b"]), "`values` of Sampled must be real"),
    "NaN": (([0, 1], [1, np.nan]), "`values` of Sampled must be finite"),
    "infinity": (([0, 1], [np.inf, 1], 0), "`values` of Sampled must be finite"),
    "times decrease": (([1, 0], [1, 2]), "`times` must be strictly increasing"),
    "times repeat": (([1, 1], [1, 2]), "`times` must be strictly increasing"),
    "times NaN": (([0, np.nan], [1, 2]), "`times` must be finite"),
    "no times": (([], []), "`times` must have shape"),
    "order 4": (([0, 1], [1, 2], 4), "`order` of Sampled must be 0, 1, 2 or 3"),
    "order negative": (([0, 1], [1, 2], -1), "`order` of Sampled must be"),
    "order float": (([0, 1], [1, 2], 1.0), "`order` of Sampled must be"),
    "order boolean": (([0, 1], [1, 2], True), "`order` of Sampled must be"),
    "order word": (([0, 1], [1, 2], "linear"), "`order` of Sampled must be"),
    "too few": (([0, 1, 2], [1, 2, 3]), "must hold more than 3 samples.*holds 3"),
}


@pytest.mark.parametrize("case", REFUSED, ids=list(REFUSED))
def test_wrong_samples_are_refused(case):
    arguments, words = REFUSED[case]
    with pytest.raises(ModelError, match=words):
        Sampled(*arguments)


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (lambda t: 2 * t, [0, 2, 6, 8]),
        (lambda t: 3, [3, 3, 3, 3]),
        (lambda t: t < 2, [1, 1, 0, 0]),
        (lambda t: np.float32(t), [0, 1, 3, 4]),
        (lambda t: np.array(t), [0, 1, 3, 4]),
        (lambda t: t if t > 2 else False, [0, 0, 3, 4]),
    ],
    ids=["float", "integer", "boolean", "float32", "array", "mixed"],
)
def test_functions_may_return_any_real_number(function, values):
    found = evaluate(function, TIMES)
    assert found.dtype == np.float64
    assert found.tolist() == values


@pytest.mark.parametrize(
    "bad",
    [
        1j,
        np.complex128(1 + 0j),
        np.nan,
        np.inf,
        None,
        "1",
        [1.0],
        np.array([1.0]),
        10**400,
    ],
    ids=[
        "complex",
        "complex128",
        "NaN",
        "infinity",
        "None",
        "word",
        "list",
        "array",
        "huge",
    ],
)
def test_what_is_not_a_finite_real_number_is_refused(bad):
    with pytest.raises(ModelError, match=r"finite real number.*at t = 3$"):
        evaluate(lambda t: bad if t == 3 else 0.0, TIMES)
    with pytest.raises(ModelError, match=r"finite real number.*at t = 0$"):
        evaluate(lambda t: bad, TIMES)


def test_no_time_has_no_value():
    assert evaluate(np.cos, np.zeros(0)).shape == (0,)


def test_functions_see_python_floats():
    seen = []
    evaluate(lambda t: seen.append(type(t)) or 0.0, TIMES)
    assert set(seen) == {float}


def test_one_envelope_serves_all_channels():
    assert as_envelopes(np.cos, 3, "strength") == (np.cos,) * 3
    assert as_envelopes(None, 2, "strength") == (None, None)
    assert as_envelopes([None, np.cos], 2, "strength") == (None, np.cos)
    sampled = Sampled(TIMES, VALUES)
    assert as_envelope(sampled, "strength") is sampled


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.5, "`strength` must be a function of time.*but is 0.5"),
        ([np.cos], "sequence of 2 of them"),
        ([np.cos, 0.5], r"`strength\[1\]` must be a function of time"),
        (np.ones(2), "`strength` must be a function of time"),
        ("ab", r"`strength\[0\]` must be a function of time"),
    ],
)
def test_what_is_no_envelope_is_refused(value, words):
    with pytest.raises(ModelError, match=words):
        as_envelopes(value, 2, "strength")
