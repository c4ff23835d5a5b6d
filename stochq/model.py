"""A model is physics, written down once: validated when built, then immutable.

White noise is Stratonovich, as every physical noise is. Its strength is stated twice:
as a covariance and as the dissipator that it averages to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy.sparse as sp

from stochq.arrays import (
    Floats,
    Operator,
    as_operator,
    as_operators,
    hermitian_defect,
    is_hermitian,
    positive_rate,
    read_only,
)
from stochq.errors import ModelError
from stochq.states import State, as_initial

__all__ = ["ComplexWhiteNoise", "Dissipator", "Model", "Noise", "WhiteNoise"]

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
    if np.ndim(rate) == 0:
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
    array = np.asarray(covariance)
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
    r"""Real Gaussian white noise: H(t) contains sum_j eta_j(t) L_j.

    .. math::
        \langle \eta_j(t)\, \eta_k(s) \rangle = C_{jk}\, \delta(t - s), \qquad
        \overline{\dot\rho} = -\tfrac12 \sum_{jk} C_{jk} [L_j, [L_k, \rho]]

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
    name: str

    def __init__(
        self,
        operators: Any,
        *,
        covariance: Any = None,
        rate: Any = None,
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
        object.__setattr__(self, "name", _as_name(name, "WhiteNoise"))

    @property
    def covariance(self) -> Floats:
        """C, shape (K, K) [1/time]."""
        return np.diag(self.rates) if self.rates is not None else self._correlated

    @property
    def _correlated(self) -> Floats:
        assert self.correlations is not None
        return self.correlations

    def scaled(self, factor: float) -> WhiteNoise:
        """Return the same noise with C multiplied by `factor`."""
        if self.rates is not None:
            return WhiteNoise(
                self.operators, rate=factor * self.rates, name=self.name or None
            )
        return WhiteNoise(
            self.operators, covariance=factor * self._correlated, name=self.name or None
        )


@dataclass(frozen=True, eq=False, init=False)
class ComplexWhiteNoise:
    r"""Complex white noise: H(t) contains sqrt(rate) (xi A + conj(xi) A^dag).

    Here xi = (w1 + i w2)/sqrt(2) with unit real white noises w1, w2. It averages to

    .. math::
        \overline{\dot\rho} = \gamma\,\bigl(A \rho A^\dagger + A^\dagger \rho A
        - \tfrac12 \{A^\dagger A + A A^\dagger, \rho\}\bigr),
        \qquad \gamma = \text{rate}.

    Parameters
    ----------
    operator : matrix (d, d)
        A, any square matrix [1].
    rate : float
        gamma >= 0 [1/time].
    name : str, optional
        What `unraveling`, `Verdict.detectable_rate` and messages call it.

    Raises
    ------
    ModelError
        If the operator is not a finite square matrix or the rate is negative.
    """

    operator: Operator
    rate: float
    name: str

    def __init__(self, operator: Any, *, rate: Any, name: str | None = None) -> None:
        object.__setattr__(self, "operator", as_operator(operator, "operator"))
        object.__setattr__(self, "rate", positive_rate(rate, "rate"))
        object.__setattr__(self, "name", _as_name(name, "ComplexWhiteNoise"))

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The one operator A, as a tuple."""
        return (self.operator,)

    def scaled(self, factor: float) -> ComplexWhiteNoise:
        """Return the same noise with its rate multiplied by `factor`."""
        return ComplexWhiteNoise(
            self.operator, rate=factor * self.rate, name=self.name or None
        )


Noise = WhiteNoise | ComplexWhiteNoise


@dataclass(frozen=True, eq=False, init=False)
class Dissipator:
    r"""Lindblad's dissipator of one jump operator.

    .. math:: \gamma\,\bigl(c \rho c^\dagger - \tfrac12 \{c^\dagger c, \rho\}\bigr),
        \qquad \gamma = \text{rate}

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

    Raises
    ------
    ModelError
        If the operator is not a finite square matrix or the rate is negative.
    """

    operator: Operator
    rate: float
    name: str

    def __init__(
        self, operator: Any, rate: Any = 1.0, *, name: str | None = None
    ) -> None:
        object.__setattr__(self, "operator", as_operator(operator, "operator"))
        object.__setattr__(self, "rate", positive_rate(rate, "rate"))
        object.__setattr__(self, "name", _as_name(name, "Dissipator"))

    def scaled(self, factor: float) -> Dissipator:
        """Return the same dissipator with its rate multiplied by `factor`."""
        return Dissipator(self.operator, factor * self.rate, name=self.name or None)


def _as_tuple(value: Any, kinds: tuple[type, ...], argument: str) -> tuple[Any, ...]:
    """Return one member or a sequence of members of `kinds` as a tuple."""
    members = (value,) if isinstance(value, kinds) else tuple(value)
    for member in members:
        if not isinstance(member, kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ModelError(
                f"`{argument}` must hold {expected}, but holds a "
                f"{type(member).__name__}"
            )
    return members


def _named(members: tuple[Any, ...], family: str) -> tuple[Any, ...]:
    """Give every nameless member the name family[k]."""
    named = []
    for k, member in enumerate(members):
        if not member.name:
            member = _copy(member)
            object.__setattr__(member, "name", f"{family}[{k}]")
        named.append(member)
    return tuple(named)


def _copy(member: Any) -> Any:
    """Return a shallow copy of a frozen member."""
    twin = object.__new__(type(member))
    for attribute, value in vars(member).items():
        object.__setattr__(twin, attribute, value)
    return twin


def _as_observables(value: Any, dim: int) -> Mapping[str, Operator]:
    """Return the observables, each checked to be Hermitian."""
    if not isinstance(value, Mapping) or not value:
        raise ModelError(
            "`observables` must be a non-empty dictionary {name: matrix}, "
            f"but is {value!r:.60}"
        )
    observables: dict[str, Operator] = {}
    for name, matrix in value.items():
        if not isinstance(name, str) or not name:
            raise ModelError(f"`observables` must have string names, but has {name!r}")
        operator = as_operator(matrix, f"observables[{name!r}]", dim)
        if not is_hermitian(operator):
            raise ModelError(
                f"`observables[{name!r}]` must be Hermitian, but max |O - O^dag| is "
                f"{hermitian_defect(operator):.3g}"
            )
        observables[name] = operator
    return MappingProxyType(observables)


@dataclass(frozen=True, eq=False)
class Model:
    r"""An open quantum system: Hamiltonian, noise, dissipators, start, observables.

    .. math::
        \dot\rho = -i[H + \textstyle\sum_j \eta_j(t) L_j,\ \rho]
        + \sum_c \gamma_c \bigl(c \rho c^\dagger - \tfrac12\{c^\dagger c, \rho\}\bigr)

    with hbar = 1. The initial state holds at ``times[0]``, whatever its value.

    Parameters
    ----------
    hamiltonian : matrix (d, d), optional
        H, Hermitian [1/time]; None means zero.
    noise : WhiteNoise, ComplexWhiteNoise, or a sequence of them
        Explicit noise; it stays noise in every unraveling.
    dissipators : Dissipator or a sequence of them
        Dissipation that each unraveling turns into trajectories in its own way.
    initial : ket (d,), density matrix (d, d), list of (weight, ket), Orbitals, \
Occupations
        The state at ``times[0]``. Trajectories sample the eigenvectors of a density
        matrix. With Orbitals or Occupations the model is a one-body model of free
        fermions: each matrix A means ``sum_xy A_xy c_x^dag c_y``.
    observables : dict of str to matrix (d, d)
        What is averaged, Hermitian.
    name : str, default "model"
        What tables and figures call it.

    Raises
    ------
    ModelError
        If a part is not what it must be; the message names it.
    """

    hamiltonian: Operator = None
    noise: Sequence[Noise] = ()
    dissipators: Sequence[Dissipator] = ()
    initial: State | Any = None
    observables: Mapping[str, Any] = field(default_factory=dict)
    name: str = "model"

    def __post_init__(self) -> None:
        """Validate every part against the dimension of the initial state."""
        if self.initial is None:
            raise ModelError("`initial` must be given, but is None")
        state = as_initial(self.initial)
        noise = _named(
            _as_tuple(self.noise, (WhiteNoise, ComplexWhiteNoise), "noise"), "noise"
        )
        dissipators = _named(
            _as_tuple(self.dissipators, (Dissipator,), "dissipators"), "dissipators"
        )
        if self.hamiltonian is None:
            hamiltonian = as_operator(sp.csr_array((state.dim, state.dim)), "zero")
        else:
            hamiltonian = as_operator(self.hamiltonian, "hamiltonian", state.dim)
        if not is_hermitian(hamiltonian):
            raise ModelError(
                "`hamiltonian` must be Hermitian, but max |H - H^dag| is "
                f"{hermitian_defect(hamiltonian):.3g}"
            )
        _check_members(noise, dissipators, state.dim)
        if not isinstance(self.name, str) or not self.name:
            raise ModelError(f"`name` must be a non-empty string, but is {self.name!r}")
        object.__setattr__(self, "initial", state)
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "dissipators", dissipators)
        object.__setattr__(self, "hamiltonian", hamiltonian)
        object.__setattr__(
            self, "observables", _as_observables(self.observables, state.dim)
        )

    @property
    def dim(self) -> int:
        """Dimension d of the matrices (sites, for a one-body model)."""
        return int(self.initial.dim)

    @property
    def one_body(self) -> bool:
        """Whether the matrices stand for quadratic operators of free fermions."""
        return bool(self.initial.one_body)

    @property
    def rate_names(self) -> tuple[str, ...]:
        """Names of the noises and dissipators whose rate is not zero."""
        names = [n.name for n in self.noise if np.any(_strength(n))]
        names += [d.name for d in self.dissipators if d.rate]
        return tuple(dict.fromkeys(names))

    def with_rate(self, name: str, factor: float) -> Model:
        """Return this model with the rates called `name` multiplied by `factor`.

        Raises
        ------
        ModelError
            If nothing has that name.
        """
        known = {member.name for member in (*self.noise, *self.dissipators)}
        if name not in known:
            raise ModelError(f"`name` must be one of {sorted(known)}, but is {name!r}")
        noise = [n.scaled(factor) if n.name == name else n for n in self.noise]
        dissipators = [
            d.scaled(factor) if d.name == name else d for d in self.dissipators
        ]
        return replace(self, noise=noise, dissipators=dissipators)


def _strength(noise: Noise) -> Floats:
    """Return the variances per time of a noise's channels."""
    if isinstance(noise, ComplexWhiteNoise):
        return np.array([noise.rate])
    return noise.rates if noise.rates is not None else np.diag(noise.covariance)


def _check_members(
    noise: tuple[Noise, ...], dissipators: tuple[Dissipator, ...], dim: int
) -> None:
    """Check that dimensions agree and that a noise's name is its own."""
    for member in (*noise, *dissipators):
        operators = (
            (member.operator,) if isinstance(member, Dissipator) else member.operators
        )
        for operator in operators:
            if operator.shape[0] != dim:
                raise ModelError(
                    f"the operator of {member.name!r} must have shape ({dim}, {dim}) "
                    f"like the initial state, but has shape {operator.shape}"
                )
    names = [n.name for n in noise]
    clashes = {n for n in names if names.count(n) > 1}
    clashes |= set(names) & {d.name for d in dissipators}
    if clashes:
        raise ModelError(
            f"the `name` of a noise must be its own, but {sorted(clashes)} is shared"
        )
