"""Noise and dissipators: the strength of a channel, stated twice.

Its strength is a covariance, and the dissipator that it averages to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stochq.arrays import (
    Floats,
    Operator,
    adjoint,
    as_array,
    as_operator,
    as_operators,
    hermitian_defect,
    is_hermitian,
    positive_rate,
    read_only,
    restore,
    scaled,
)
from stochq.envelopes import Envelope, as_envelope, as_envelopes, evaluate
from stochq.errors import ModelError

__all__ = ["ComplexWhiteNoise", "Dissipator", "Noise", "WhiteNoise"]

#: How negative, relative to the largest, an eigenvalue of a covariance may round to.
PSD_TOLERANCE = 1e-12


def _as_name(name: Any, owner: str) -> str:
    """Return a name; an empty one is filled in by the model."""
    if name is None:
        return ""
    if not isinstance(name, str) or not name:
        raise ModelError(
            f"`name` of a {owner} must be a non-empty string, but is {name!r}"
        )
    return name


def _rates(rate: Any, channels: int) -> Floats:
    """Return one rate per channel, shape (K,)."""
    if as_array(rate, "rate").ndim == 0:
        return np.full(channels, positive_rate(rate, "rate"))
    rates = np.array([positive_rate(r, f"rate[{k}]") for k, r in enumerate(rate)])
    if rates.shape != (channels,):
        raise ModelError(
            f"`rate` must be one number or have shape ({channels},) like `operators`, "
            f"but has shape {rates.shape}"
        )
    return rates


def _checked_covariance(covariance: Any, channels: int) -> Floats:
    """Return C, real symmetric positive semi-definite, shape (K, K)."""
    array = as_array(covariance, "covariance")
    if array.shape != (channels, channels) or array.dtype.kind not in "biuf":
        raise ModelError(
            f"`covariance` must be real with shape ({channels}, {channels}), but has "
            f"shape {array.shape} and type {array.dtype}"
        )
    matrix = array.astype(np.float64)
    if not np.isfinite(matrix).all():
        raise ModelError("`covariance` must be finite, but contains NaN or infinity")
    scale = float(np.abs(matrix).max())
    asymmetry = float(np.abs(matrix - matrix.T).max())
    if asymmetry > PSD_TOLERANCE * scale:
        raise ModelError(
            f"`covariance` must be symmetric, but max |C - C^T| is {asymmetry:.3g}"
        )
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    if lowest < -PSD_TOLERANCE * channels * scale:
        raise ModelError(
            "`covariance` must be positive semi-definite, "
            f"but has the eigenvalue {lowest:.3g}"
        )
    return matrix


@dataclass(frozen=True, eq=False, init=False)
class WhiteNoise:
    r"""Real Gaussian white noise: H(t) contains sum_j f_j(t) eta_j(t) L_j.

    .. math::
        \langle \eta_j(t)\, \eta_k(s) \rangle = C_{jk}\, \delta(t - s), \qquad
        \overline{\dot\rho} =
        -\tfrac12 \sum_{jk} f_j(t) C_{jk} f_k(t) [L_j, [L_k, \rho]]

    For one channel the average is the dissipator ``C (L rho L - {L^2, rho}/2)``, that
    is Lindblad's with jump operator ``sqrt(C) L``.

    Parameters
    ----------
    operators : matrix (d, d), or a sequence of K of them
        L_j, Hermitian [1].
    covariance : array_like, shape (K, K), optional
        C, real, symmetric, positive semi-definite [1/time]. May be singular.
    rate : float or array_like of shape (K,), optional
        The diagonal of C when the channels are independent [1/time]. Give either
        `covariance` or `rate`.
    strength : callable, Sampled, or a sequence of K of them, optional
        f_j(t) [1], real; 1 by default. One given alone multiplies every channel.
    name : str, optional
        What `unraveling`, `Verdict.detectable_rate` and messages call it.

    Raises
    ------
    ModelError
        If an operator is not Hermitian, C is not positive semi-definite, a rate is
        negative, or both or neither of `covariance` and `rate` are given.
    """

    operators: tuple[Operator, ...]
    rates: Floats | None
    correlations: Floats | None
    strengths: tuple[Envelope | None, ...]
    name: str

    __setstate__ = restore

    def __init__(
        self,
        operators: Any,
        *,
        covariance: Any = None,
        rate: Any = None,
        strength: Any = None,
        name: str | None = None,
    ) -> None:
        matrices = as_operators(operators, "operators")
        for k, matrix in enumerate(matrices):
            if not is_hermitian(matrix):
                raise ModelError(
                    "`operators` of a WhiteNoise must be Hermitian, but number "
                    f"{k} has max |L - L^dag| = {hermitian_defect(matrix):.3g}; "
                    "a complex noise xi A + conj(xi) A^dag is ComplexWhiteNoise"
                )
        if (covariance is None) == (rate is None):
            raise ModelError(
                "`covariance` or `rate` must be given, but "
                + ("both are" if rate is not None else "neither is")
            )
        rates = correlations = None
        if covariance is None:
            rates = read_only(_rates(rate, len(matrices)))
        else:
            correlations = read_only(_checked_covariance(covariance, len(matrices)))
        object.__setattr__(self, "operators", matrices)
        object.__setattr__(self, "rates", rates)
        object.__setattr__(self, "correlations", correlations)
        strengths = as_envelopes(strength, len(matrices), "strength")
        object.__setattr__(self, "strengths", strengths)
        object.__setattr__(self, "name", _as_name(name, "WhiteNoise"))

    @property
    def covariance(self) -> Floats:
        """C, shape (K, K) [1/time]."""
        return np.diag(self.rates) if self.rates is not None else self._correlated

    @property
    def _correlated(self) -> Floats:
        assert self.correlations is not None
        return self.correlations

    def real(self) -> WhiteNoise:
        """Return the noise itself: it is real."""
        return self

    def amplitudes(self, t: float) -> Floats:
        """Return f_j(t), shape (K,)."""
        time = np.array([t], dtype=np.float64)
        return np.array([1.0 if f is None else evaluate(f, time)[0]
                         for f in self.strengths])  # fmt: skip

    def square(self, t: float) -> Operator:
        """Return sum_jk f_j(t) C_jk f_k(t) L_j L_k, what the Ito drift is made of."""
        f = self.amplitudes(t)
        total = 0.0 * self.operators[0]
        if self.rates is not None:
            for rate, operator in zip(f**2 * self.rates, self.operators, strict=True):
                total = total + rate * (operator @ operator)
            return total
        for row, left in zip(
            np.outer(f, f) * self._correlated, self.operators, strict=True
        ):
            mixed = [row[k] * self.operators[k] for k in np.flatnonzero(row)]
            if mixed:
                total = total + left @ sum(mixed[1:], start=mixed[0])
        return total

    def scaled(self, factor: float) -> WhiteNoise:
        """Return the same noise with C multiplied by `factor`."""
        rates = None if self.rates is None else factor * self.rates
        return WhiteNoise(
            self.operators,
            rate=rates,
            covariance=factor * self._correlated if rates is None else None,
            strength=self.strengths,
            name=self.name or None,
        )


@dataclass(frozen=True, eq=False, init=False)
class ComplexWhiteNoise:
    r"""Complex white noise: H(t) contains f(t) sqrt(rate) (xi A + conj(xi) A^dag).

    Here xi = (w1 + i w2)/sqrt(2) with unit real white noises w1, w2. It averages to

    .. math::
        \overline{\dot\rho} = \gamma\,\bigl(A \rho A^\dagger + A^\dagger \rho A
        - \tfrac12 \{A^\dagger A + A A^\dagger, \rho\}\bigr),
        \qquad \gamma = f(t)^2\, \text{rate}.

    Parameters
    ----------
    operator : matrix (d, d)
        A, any square matrix [1].
    rate : float
        At least 0 [1/time].
    strength : callable or Sampled, optional
        f(t) [1], real; 1 by default.
    name : str, optional
        What `unraveling`, `Verdict.detectable_rate` and messages call it.

    Raises
    ------
    ModelError
        If the operator is not a finite square matrix or the rate is negative.
    """

    operator: Operator
    rate: float
    strength: Envelope | None
    name: str

    __setstate__ = restore

    def __init__(
        self,
        operator: Any,
        *,
        rate: Any,
        strength: Any = None,
        name: str | None = None,
    ) -> None:
        object.__setattr__(self, "operator", as_operator(operator, "operator"))
        object.__setattr__(self, "rate", positive_rate(rate, "rate"))
        object.__setattr__(self, "strength", as_envelope(strength, "strength"))
        object.__setattr__(self, "name", _as_name(name, "ComplexWhiteNoise"))

    def real(self) -> WhiteNoise:
        """Return the same noise as two real ones: A + A^dag and i(A - A^dag)."""
        dagger = adjoint(self.operator)
        return WhiteNoise(
            [self.operator + dagger, 1j * (self.operator - dagger)],
            rate=self.rate / 2,
            strength=self.strength,
            name=self.name or None,
        )

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The one operator A, as a tuple."""
        return (self.operator,)

    def scaled(self, factor: float) -> ComplexWhiteNoise:
        """Return the same noise with its rate multiplied by `factor`."""
        return ComplexWhiteNoise(
            self.operator,
            rate=factor * self.rate,
            strength=self.strength,
            name=self.name or None,
        )


Noise = WhiteNoise | ComplexWhiteNoise


@dataclass(frozen=True, eq=False, init=False)
class Dissipator:
    r"""Lindblad's dissipator of one jump operator.

    .. math:: \gamma\,\bigl(c \rho c^\dagger - \tfrac12 \{c^\dagger c, \rho\}\bigr),
        \qquad \gamma = \text{rate} \cdot f(t)^2

    Dissipators of one name form a group: they are unraveled alike, and
    `Verdict.detectable_rate` varies their rates together.

    Parameters
    ----------
    operator : matrix (d, d)
        c [1].
    rate : float, default 1
        gamma >= 0 [1/time].
    name : str, optional
        What `unraveling`, `Verdict.detectable_rate` and messages call it.
    strength : function of time, optional
        f(t), a Python function or `Sampled(times, values)` [1]; it multiplies c, as the
        strength of a noise multiplies its operators, so that gamma = rate f(t)^2.

    Raises
    ------
    ModelError
        If the operator is not a finite square matrix or the rate is negative.
    """

    operator: Operator
    rate: float
    name: str
    strength: Envelope | None

    __setstate__ = restore

    def __init__(
        self,
        operator: Any,
        rate: Any = 1.0,
        *,
        name: str | None = None,
        strength: Any = None,
    ) -> None:
        object.__setattr__(self, "operator", as_operator(operator, "operator"))
        object.__setattr__(self, "rate", positive_rate(rate, "rate"))
        object.__setattr__(self, "name", _as_name(name, "Dissipator"))
        object.__setattr__(self, "strength", as_envelope(strength, "strength"))

    @property
    def jump_operator(self) -> Operator:
        """sqrt(rate) c, without the strength [1/sqrt(time)]."""
        return scaled(self.operator, np.sqrt(self.rate))

    def scaled(self, factor: float) -> Dissipator:
        """Return the same dissipator with its rate multiplied by `factor`."""
        return Dissipator(
            self.operator,
            factor * self.rate,
            name=self.name or None,
            strength=self.strength,
        )
