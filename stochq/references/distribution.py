"""The exact distribution of a counted quantity, by Fourier inversion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.arrays import Complexes, Floats, Ints, positive_rate
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references._tilted import Tilted, tilted
from stochq.weights import lattice_unit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CountingDistribution", "counting_distribution"]

#: Probability that may lie beyond either end of the values.
TAIL = 1e-13

#: Counting fields, in units of 1/unit, at which Chernoff's bound is tried.
FIELDS = 2.0 ** np.arange(-9, 5)

#: Largest exponent of a moment that is worth its while.
LARGEST = 3e3

#: Most values.
VALUES = 2**14


@dataclass(frozen=True, eq=False)
class CountingDistribution:
    """P(q, t) on all values that matter.

    Attributes
    ----------
    values : ndarray, shape (V,)
        Multiples of the unit [weight].
    probability : ndarray, shape (V,)
        P(q, t).
    error : float
        Bound on the error of one probability: what lies beyond the values and is folded
        onto them, which Chernoff's inequality limits, and rounding.
    unit : float
        Largest unit of which all weights are multiples.
    """

    values: Floats
    probability: Floats
    error: float
    unit: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row per value: value, probability."""
        import pandas as pd

        return pd.DataFrame({"value": self.values, "probability": self.probability})


def _end(field: Tilted, start: Complexes, t: float, sign: int) -> int:
    """Return the last value that matters, of the largest (sign 1) or smallest (-1).

    P(Q >= q) <= exp(-x q) <exp(x Q)> for every x > 0, and alike at the other end with
    x < 0; the value is the first at which this is at most TAIL for some x.
    """
    fields = [x for x in FIELDS if t * field.exponent(sign * x) <= LARGEST]
    if not fields:
        raise ModelError(
            "`duration` must be shorter, but so many jumps are expected that their "
            "distribution is normal; see counting_cumulants"
        )
    least = np.inf
    for x in fields:
        bound = (field.log_moment(sign * x, start, t) - np.log(TAIL)) / x
        if bound > least:  # it has one minimum, for ln <exp(x Q)> is convex
            break
        least = bound
    return sign * int(np.ceil(least))


def _ends(field: Tilted, start: Complexes, t: float) -> tuple[int, int]:
    """Return the smallest and largest value that matter."""
    low, high = (_end(field, start, t, sign) for sign in (-1, 1))
    if field.weights.min() > 0:  # nothing is taken away again
        low = max(low, 0)
    if field.weights.max() < 0:
        high = min(high, 0)
    return low, high


def _inverse(field: Tilted, start: Complexes, t: float, q: Ints) -> Floats:
    """Return P(q) on a full period of values.

    P(q) = (1/M) sum_j exp(-2 pi i j q / M) Tr exp(L(2 pi i j / M) t) rho
    """
    size = q.size
    moments = [
        field.trace @ field.advanced(2j * np.pi * j / size, start, t)
        for j in range(size // 2 + 1)
    ]
    # at -chi it is the conjugate; irfft has the other sign in its exponent
    mass = np.fft.irfft(np.conj(moments), n=size)
    return mass[q % size]


def counting_distribution(
    model: Model, duration: float, weights: Any = None
) -> CountingDistribution:
    r"""Return the exact distribution of the sum over the jumps in some time.

    .. math:: P(q, t) = \frac1{2\pi} \int_{-\pi}^{\pi} d\chi\, e^{-i\chi q}\,
        \mathrm{Tr}\, e^{\mathcal L(i\chi) t} \rho_0

    Parameters
    ----------
    model : Model
        Constant in time; its initial state holds when counting starts.
    duration : float
        t > 0 [time].
    weights : None, str, sequence of str, or mapping of str to float or to floats
        As in `scaled_cumulants`. They must be multiples of one unit, which is found:
        their ratios must be fractions with denominators up to 1000.

    Returns
    -------
    CountingDistribution

    Raises
    ------
    ModelError
        If the model or the weights do not permit counting, or there are too many
        values.

    Notes
    -----
    The integral is a sum over as many points as there are values. It is exact but for
    probabilities beyond the ends, which fall back onto the values; ends are put where
    Chernoff's inequality shows that less than 1e-13 is beyond.
    """
    field = tilted(model, weights)
    t = positive_rate(duration, "duration")
    if not t:
        raise ModelError("`duration` must be longer than 0, but is 0")
    unit = lattice_unit(field.weights)
    field = replace(field, weights=np.rint(field.weights / unit))
    field, start = field.restricted(model.initial.density_matrix().ravel())
    low, high = _ends(field, start, t)
    q = np.arange(low, high + 1)
    if q.size > VALUES:
        raise ModelError(
            f"`weights` must give at most {VALUES} values, but give {q.size} multiples "
            f"of {unit:g}; see counting_cumulants for the moments"
        )
    return CountingDistribution(
        values=unit * q.astype(np.float64),
        probability=_inverse(field, start, t, q),
        error=2 * TAIL + field.rounding(t),
        unit=unit,
    )
