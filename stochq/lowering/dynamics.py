"""What a scheme integrates: independent Wiener processes, drives and jumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stochq.arrays import Floats, Ints, Operator, adjoint, summed
from stochq.envelopes import Envelope, evaluate, step_averages
from stochq.errors import ModelError
from stochq.lowering.dissipators import JumpKind, Monitor
from stochq.lowering.lifted import lifted
from stochq.model import Model
from stochq.states import State
from stochq.structure import commuting_groups

__all__ = ["Dynamics"]


@dataclass(frozen=True, eq=False)
class Dynamics:
    r"""What a scheme integrates.

    Between two jumps ``d psi = -i H(t) psi dt - i sum_j L_j psi o d theta_j`` with

    .. math:: H(t) = H + \textstyle\sum_m f_m(t) H_m, \qquad
        d\theta_j = f_j(t) \textstyle\sum_k F_{jk}\, dW_k, \qquad
        \langle dW_j\, dW_k \rangle = \delta_{jk}\, dt;

    jumps ``psi -> f c psi`` come at the rates ``|f c psi|^2 / |psi|^2``; monitors add
    diffusion conditioned on their signals. Where a dissipator stays averaged or is seen
    in part only, the state of a trajectory is a density matrix.

    Attributes
    ----------
    model : Model
        Where it comes from.
    hamiltonian : operator (d, d)
        H, the constant part [1/time].
    drives : tuple of operators (d, d)
        H_m [1/time].
    noise : tuple of operators (d, d)
        L_j, Hermitian [1/sqrt(time)].
    mixing : csr_array, shape (J, K), or None
        F; None where the channels are independent, F = 1. It is not diagonal only where
        correlated channels have different f_j(t).
    numbers : ndarray of int, shape (K,)
        Place of each Wiener process on a Brownian path: that of the model's channels,
        whatever is left out because it is zero.
    functions : tuple of callables
        The different functions of time.
    function_of : ndarray of int, shape (M + J,)
        Which function multiplies each drive, then each noise; -1 for none.
    raw : bool
        Whether the noise is read as Ito without the drift that keeps the norm.
    jumps : tuple of operators (d, d)
        c, with the square root of the rate [1/sqrt(time)].
    jump_names : tuple of str
        The dissipator that each jump operator unravels.
    jump_channels : tuple of str
        The dissipators of all jump operators, those included that can never act.
    jump_numbers : ndarray of int
        Place of each jump operator among all of them.
    jump_kinds : tuple of "jump", "kick" or "projection"
        What each jump is; for kets all are jumps.
    jump_function_of : ndarray of int
        Which function f multiplies each jump operator; -1 for none.
    monitors : tuple of Monitor
        Operators that are monitored continuously.
    averaged : tuple of operators (d, d)
        Jump operators of the dissipators that stay averaged [1/sqrt(time)].
    unraveling : dict of str to str
        What each dissipator became, for provenance.
    initial : Kets or Orbitals
        The state at ``times[0]``.
    observables : tuple of operators (d, d)
        What is averaged.
    basis : ndarray of int, shape (d,)
        The basis states of the model that can be reached; all matrices above are
        restricted to them.
    lifted : bool
        Whether the matrices act on density matrices as vectors; H then has the losses
        of jumps and all of the averaged dissipators in it.
    """

    model: Model
    hamiltonian: Operator
    drives: tuple[Operator, ...]
    noise: tuple[Operator, ...]
    mixing: Operator | None
    numbers: Ints
    functions: tuple[Envelope, ...]
    function_of: Ints
    raw: bool
    jumps: tuple[Operator, ...]
    jump_names: tuple[str, ...]
    jump_channels: tuple[str, ...]
    jump_numbers: Ints
    jump_kinds: tuple[JumpKind, ...]
    jump_function_of: Ints
    monitors: tuple[Monitor, ...]
    averaged: tuple[Operator, ...]
    unraveling: Mapping[str, str]
    initial: State
    observables: tuple[Operator, ...]
    basis: Ints
    lifted: bool = False

    @property
    def dim(self) -> int:
        """Dimension d of the matrices."""
        return self.basis.size

    @property
    def one_body(self) -> bool:
        """Whether the states are orbitals of free fermions."""
        return self.initial.one_body

    @property
    def mixed(self) -> bool:
        """Whether the state of a trajectory is a density matrix."""
        return bool(self.averaged) or any(m.efficiency < 1 for m in self.monitors)

    @cached_property
    def carried(self) -> Dynamics:
        """What is integrated: itself or, for density matrices, lifted."""
        return lifted(self) if self.mixed and not self.lifted else self

    @property
    def time_dependent(self) -> bool:
        """Whether a function of time enters."""
        return bool(self.functions)

    @property
    def channels(self) -> tuple[Operator, ...]:
        """All that moves in increments: the drives, then the noise."""
        return (*self.drives, *self.noise)

    @cached_property
    def groups(self) -> list[list[int]]:
        """Commuting groups of the channels, in the order in which they act."""
        return commuting_groups(self.channels)

    @property
    def processes(self) -> int:
        """Number K of independent Wiener processes."""
        return self.numbers.size

    @property
    def gain(self) -> Operator:
        """(1/2) sum L_j^2 for raw Ito noise, which makes the norm grow; else zero."""
        squares = [0.5 * (L @ L) for L in self.noise] if self.raw else []
        return summed(0.0 * self.hamiltonian, squares)

    @property
    def effective_hamiltonian(self) -> Operator:
        """H - (i/2) sum c^dag c + i gain, which carries psi between the noise.

        The sum is over jumps and averaged dissipators.
        """
        if self.lifted:
            return self.hamiltonian
        dissipative = (*self.jumps, *self.averaged)
        losses = [-0.5j * (adjoint(c) @ c) for c in dissipative]
        return summed(self.hamiltonian, [*losses, 1j * self.gain])

    @property
    def ito_drift(self) -> Operator:
        """-i H - (1/2) sum L_j^2 + gain: the drift of the same noise read as Ito."""
        squares = [] if self.raw else [-0.5 * (L @ L) for L in self.noise]
        return summed(-1j * self.hamiltonian, squares)

    @cached_property
    def column_of(self) -> Ints:
        """Column of `table` of each drive, then of each noise; -1 for none."""
        shift = np.zeros(self.function_of.size, dtype=np.int64)
        shift[len(self.drives) :] = len(self.functions)
        return np.where(self.function_of < 0, -1, self.function_of + shift)

    def table(self, starts: Floats, stops: Floats) -> Floats:
        r"""Return the functions of time over steps, shape (steps, 2 F).

        Drives turn by :math:`\int f\,dt` in a step and noise has the variance
        :math:`\int f^2 dt`, so the first F columns are mean values and the others root
        mean squares, with the sign of the mean. Pulses and jumps inside a step count.
        """
        if not self.functions:
            return np.zeros((starts.size, 0))
        pairs = [self._averages(k, starts, stops) for k in range(len(self.functions))]
        columns = [mean for mean, _ in pairs]
        columns += [np.where(mean < 0, -rms, rms) for mean, rms in pairs]
        return np.ascontiguousarray(np.stack(columns, axis=1))

    def _averages(
        self, number: int, starts: Floats, stops: Floats
    ) -> tuple[Floats, Floats]:
        """Return the averages of one function; errors say whose it is."""
        try:
            return step_averages(self.functions[number], starts, stops)
        except ModelError as error:
            users = np.flatnonzero(self.function_of == number)
            drive = users.size and users[0] < len(self.drives)
            owner = f"drive {users[0]}" if drive else "a strength"
            raise ModelError(f"{owner}: {error}") from error

    def strengths(self, row: Floats) -> list[float]:
        """Return what multiplies each drive, then each noise, in a row of `table`."""
        return [1.0 if c < 0 else float(row[c]) for c in self.column_of]

    def at(self, t: float) -> Dynamics:
        """Return the same dynamics frozen at a time."""
        time = np.array([t], dtype=np.float64)
        values = [evaluate(f, time)[0] for f in self.functions]
        return self.frozen(np.array([*values, *values]))

    def frozen(self, row: Floats) -> Dynamics:
        """Return the dynamics of one step: constant, with independent channels."""
        if not self.time_dependent and self.mixing is None:
            return self
        factor = self.strengths(row)
        drives, noise = factor[: len(self.drives)], factor[len(self.drives) :]
        frozen = [f * L for f, L in zip(noise, self.noise, strict=True)]
        if self.mixing is not None:
            columns = self.mixing.T.tocsr()
            frozen = [_combined(columns[[k]], frozen) for k in range(columns.shape[0])]
        return replace(
            self,
            hamiltonian=summed(
                self.hamiltonian,
                [f * H for f, H in zip(drives, self.drives, strict=True)],
            ),
            drives=(),
            noise=tuple(frozen),
            mixing=None,
            functions=(),
            function_of=np.full(len(frozen), -1, dtype=np.int64),
            jumps=tuple(
                self._rms(row, k) * c
                for k, c in zip(self.jump_function_of, self.jumps, strict=True)
            ),
            jump_function_of=np.full(len(self.jumps), -1, dtype=np.int64),
        )

    def _rms(self, row: Floats, function: int) -> float:
        """Return the root mean square of a function in a row of `table`; 1 for none."""
        return 1.0 if function < 0 else float(row[len(self.functions) + function])


def _combined(row: Operator, operators: Sequence[Operator]) -> Operator:
    """Return sum_j row_j L_j for one row of a CSR matrix."""
    terms = [w * operators[j] for w, j in zip(row.data, row.indices, strict=True)]
    return summed(0.0 * operators[0], terms)
