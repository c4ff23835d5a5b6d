"""A model is physics, written down once: validated when built, then immutable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from stochq import equations, superoperator
from stochq.arrays import (
    Floats,
    Operator,
    as_operator,
    hermitian_defect,
    is_hermitian,
    positive_rate,
    restore,
    state_of,
)
from stochq.channels import ComplexWhiteNoise, Dissipator, Noise, WhiteNoise
from stochq.envelopes import Envelope, evaluate
from stochq.errors import ModelError
from stochq.states import State, as_initial
from stochq.structure import commuting_groups

__all__ = ["Calculus", "Model"]

Calculus = Literal["stratonovich", "ito", "raw-ito"]
CALCULI = ("stratonovich", "ito", "raw-ito")


def _as_tuple(value: Any, kinds: tuple[type, ...], argument: str) -> tuple[Any, ...]:
    """Return one member or a sequence of members of `kinds` as a tuple."""
    if not isinstance(value, (*kinds, Sequence)):
        raise ModelError(
            f"`{argument}` must be a {kinds[0].__name__} or a sequence of them, "
            f"but is {type(value).__name__}"
        )
    members: tuple[Any, ...]
    members = (value,) if isinstance(value, kinds) else tuple(value)  # type: ignore[arg-type]
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


def _as_drives(value: Any, dim: int) -> tuple[tuple[Operator, Envelope], ...]:
    """Return pairs (H_m, f_m), each H_m checked to be Hermitian."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ModelError(
            "`drives` must be a sequence of pairs (matrix, function of time), "
            f"but is {type(value).__name__}"
        )
    drives = []
    for m, pair in enumerate(value):
        if not isinstance(pair, Sequence) or len(pair) != 2 or not callable(pair[1]):
            paired = isinstance(pair, Sequence) and len(pair) == 2
            what = type(pair[1] if paired else pair).__name__
            raise ModelError(
                f"`drives[{m}]` must be a pair (matrix, function of time), but "
                + (f"its second entry is a {what}" if paired else f"is a {what}")
            )
        operator = as_operator(pair[0], f"drives[{m}]", dim)
        if not is_hermitian(operator):
            raise ModelError(
                f"`drives[{m}]` must have a Hermitian matrix, but max |H - H^dag| is "
                f"{hermitian_defect(operator):.3g}"
            )
        drives.append((operator, pair[1]))
    return tuple(drives)


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
        \dot\rho = -i[H + \textstyle\sum_m f_m(t) H_m
        + \textstyle\sum_j f_j(t) \eta_j(t) L_j,\ \rho]
        + \sum_c \gamma_c(t) \bigl(c \rho c^\dagger
        - \tfrac12\{c^\dagger c, \rho\}\bigr)

    with hbar = 1. The initial state holds at ``times[0]``, whatever its value.
    ``print(model)`` writes this equation out.

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
    drives : sequence of (matrix (d, d), function of time), default none
        Pairs H_m, f_m of the time-dependent part of the Hamiltonian, H_m Hermitian
        [1/time] and f_m(t) a Python function or `Sampled(times, values)` [1].
    calculus : {"stratonovich", "ito", "raw-ito"}, default "stratonovich"
        How the noise is read. Stratonovich noise is the limit of physical noise of
        short memory. "ito" writes the same process as an Ito equation: it has the
        drift -1/2 sum C_jk L_j L_k that keeps the norm. "raw-ito" is the Ito equation
        *without* that drift: another process, whose norm grows.

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
    drives: Sequence[tuple[Any, Envelope]] = ()
    calculus: Calculus = "stratonovich"

    __getstate__ = state_of
    __setstate__ = restore

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
        if self.calculus not in CALCULI:
            raise ModelError(
                f"`calculus` must be one of {', '.join(CALCULI)}, "
                f"but is {self.calculus!r}"
            )
        if self.calculus == "raw-ito" and (dissipators or state.one_body):
            raise ModelError(
                '`calculus="raw-ito"` must have kets and noise only, but the model has '
                + ("dissipators" if dissipators else "orbitals")
                + "; its norm grows, so it is no probability"
            )
        if not isinstance(self.name, str) or not self.name:
            raise ModelError(f"`name` must be a non-empty string, but is {self.name!r}")
        object.__setattr__(self, "initial", state)
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "dissipators", dissipators)
        object.__setattr__(self, "hamiltonian", hamiltonian)
        object.__setattr__(self, "drives", _as_drives(self.drives, state.dim))
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

    @property
    def time_dependent(self) -> bool:
        """Whether the Hamiltonian, a noise or a dissipator depends on time."""
        strengths = [f for n in self.noise for f in n.real().strengths]
        strengths += [d.strength for d in self.dissipators]
        return bool(self.drives) or any(f is not None for f in strengths)

    def hamiltonian_at(self, t: float | None = None) -> Operator:
        """Return H + sum_m f_m(t) H_m, shape (d, d) [1/time]."""
        time = np.array([self._time(t)])
        return sum(
            (evaluate(f, time)[0] * H for H, f in self.drives), start=self.hamiltonian
        )

    def ito_drift(self, t: float | None = None) -> Operator:
        r"""Return the drift of the Ito equation of the noise Hamiltonian.

        .. math:: d\psi = \bigl(-iH - \tfrac12 \textstyle\sum_{jk} C_{jk} L_j L_k\bigr)
            \psi\, dt - i \textstyle\sum_j L_j \psi\, dW_j

        Without its second term (``calculus="raw-ito"``) the norm of psi would grow.

        Parameters
        ----------
        t : float, optional
            The time [time], for a model that depends on it.

        Returns
        -------
        csr_array, shape (d, d) [1/time]
        """
        time = self._time(t)
        drift = -1j * self.hamiltonian_at(time)
        if self.calculus != "raw-ito":
            for noise in self.noise:
                drift = drift - 0.5 * noise.real().square(time)
        return drift

    def lindbladian(self, t: float | None = None) -> Operator:
        """Return the generator of the averaged equation, acting on ``rho.ravel()``.

        Parameters
        ----------
        t : float, optional
            The time [time], for a model that depends on it.

        Returns
        -------
        csr_array, shape (d^2, d^2) [1/time]
        """
        return superoperator.generator(self, self._time(t))

    def noise_commutes(self) -> bool:
        """Tell whether all noise operators commute with each other."""
        operators = [L for n in self.noise for L in n.real().operators]
        return len(commuting_groups(operators)) < 2

    def _time(self, t: float | None) -> float:
        """Return the time to look at a model."""
        if t is None and self.time_dependent:
            raise ModelError("`t` must be given for a model that depends on time")
        if t is None:
            return 0.0
        number = isinstance(t, (int, float, np.integer, np.floating))
        if not number or not np.isfinite(t):
            raise ModelError(f"`t` must be a finite number, but is {t!r:.60}")
        return float(t)

    def __str__(self) -> str:
        """Write the equation that the model stands for."""
        return equations.as_text(self)

    def _repr_latex_(self) -> str:
        """Write the equation for a notebook."""
        return equations.as_latex(self)

    def __repr__(self) -> str:
        """Say what it is made of, in one line."""
        noise = ", ".join(n.name for n in self.noise) or "none"
        dissipators = ", ".join(dict.fromkeys(d.name for d in self.dissipators))
        return (
            f"Model({self.name!r}, dim={self.dim}, noise: {noise}, "
            f"dissipators: {dissipators or 'none'}, "
            f"observables: {', '.join(self.observables)})"
        )

    def with_rate(self, name: str, factor: float) -> Model:
        """Return this model with the rates called `name` multiplied by `factor`.

        Raises
        ------
        ModelError
            If nothing has that name.
        """
        positive_rate(factor, "factor")
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
