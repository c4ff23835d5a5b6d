"""Exact waiting times and correlations of jumps, by the regression formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Complexes, Floats, Operator, as_times
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references._propagate import LinearSystem, propagate
from stochq.references._tilted import dissipator_names, jump_part
from stochq.references.base import Reference
from stochq.references.lindblad import steady_state
from stochq.weights import as_selection

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "WaitingTimeDistribution",
    "first_time_distribution",
    "g2",
    "waiting_time_distribution",
]


@dataclass(frozen=True, eq=False)
class WaitingTimeDistribution:
    """The exact density of a waiting time.

    Attributes
    ----------
    times : ndarray, shape (T,)
        The waits [time].
    density : ndarray, shape (T,)
        w(tau) [1/time].
    survival : ndarray, shape (T,)
        Probability of a longer wait; minus its differences over the widths of bins is
        the density averaged over the bins.
    error : float
        Estimate of the largest numerical error of both.
    """

    times: Floats
    density: Floats
    survival: Floats
    error: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row per time: time, density, survival."""
        import pandas as pd

        return pd.DataFrame(
            {"time": self.times, "density": self.density, "survival": self.survival}
        )


def _delays(times: Any) -> Floats:
    """Return delays >= 0, shape (T,)."""
    delays = as_times(times)
    if delays[0] < 0:
        raise ModelError(f"`times` must be delays >= 0, but one is {delays[0]:g}")
    return delays


def _evolved(
    generator: Operator, start: Complexes, rows: list[Any], delays: Floats
) -> tuple[Floats, float]:
    """Return rows . exp(L tau) start, shape (O, T), and the error."""
    # propagation starts where it is told the state holds: at delay 0
    grid = delays if delays[0] == 0 else np.concatenate([[0.0], delays])
    readout = sp.csr_array(np.array(rows, dtype=np.complex128))
    solution = propagate(LinearSystem(generator, {}, start, readout), grid, ())
    return solution.values.real[:, grid.size - delays.size :], solution.error


def _jumped(jump: Operator, rho: Complexes, argument: str) -> tuple[Complexes, float]:
    """Return the state after a jump, normalized, and the rate of such jumps."""
    dim = round(rho.size**0.5)
    after: Complexes = jump @ rho
    rate = float(after[:: dim + 1].sum().real)
    if rate <= 1e-14 * float(abs(jump).sum()):
        raise ModelError(
            f"`{argument}` must jump in the steady state, but the rate is zero there"
        )
    return after / rate, rate


def _waiting(
    model: Model, times: Any, jump: Operator, start: Complexes
) -> WaitingTimeDistribution:
    """Return the distribution of the time to the next jump."""
    delays = _delays(times)
    trace = np.eye(model.dim).ravel()
    generator = model.lindbladian() - jump
    values, error = _evolved(generator, start, [jump.T @ trace, trace], delays)
    return WaitingTimeDistribution(delays, values[0], values[1], error)


def waiting_time_distribution(
    model: Model, times: Any, channels: Any = None, *, after: Any = None
) -> WaitingTimeDistribution:
    r"""Return the distribution of times between successive jumps in the steady state.

    .. math:: w(\tau) = \frac{\mathrm{Tr}\, \mathcal J_B\,
        e^{(\mathcal L - \mathcal J_B)\tau} \mathcal J_A \rho_{ss}}
        {\mathrm{Tr}\, \mathcal J_A \rho_{ss}}

    Parameters
    ----------
    model : Model
        Constant in time, with one steady state; its initial state does not matter.
    times : array_like, shape (T,)
        tau >= 0 [time].
    channels : None, str, sequence of str, or mapping of str to 0 and 1
        B, what ends a wait; any jump by default.
    after : optional
        A, what starts it; the same channels by default.

    Returns
    -------
    WaitingTimeDistribution

    Raises
    ------
    ModelError
        If the model does not permit counting, has more than one steady state, or A does
        not jump in it.

    Notes
    -----
    Source: Carmichael, Singh, Vyas and Rice, Phys. Rev. A 39, 1200 (1989).
    """
    names = dissipator_names(model)
    ending = as_selection(channels, names, "channels")
    starting = ending if after is None else as_selection(after, names, "after")
    rho = steady_state(model).ravel()
    start, _ = _jumped(jump_part(model, starting), rho, "after")
    return _waiting(model, times, jump_part(model, ending), start)


def first_time_distribution(
    model: Model, times: Any, channels: Any = None
) -> WaitingTimeDistribution:
    r"""Return the distribution of the time from the initial state to the first jump.

    .. math:: w(t) = \mathrm{Tr}\, \mathcal J_B\, e^{(\mathcal L - \mathcal J_B) t}
        \rho_0

    Parameters
    ----------
    model : Model
        Constant in time.
    times : array_like, shape (T,)
        Time since the initial state, >= 0 [time].
    channels : None, str, sequence of str, or mapping of str to 0 and 1
        B; any jump by default.

    Returns
    -------
    WaitingTimeDistribution

    Raises
    ------
    ModelError
        If the model does not permit counting.
    """
    names = dissipator_names(model)
    ending = as_selection(channels, names, "channels")
    start = model.initial.density_matrix().ravel()
    return _waiting(model, times, jump_part(model, ending), start)


def g2(
    model: Model, times: Any, channels: Any = None, *, then: Any = None
) -> Reference:
    r"""Return the correlation of jumps with later jumps in the steady state.

    .. math:: g_2(\tau) = \frac{\mathrm{Tr}\, \mathcal J_B\, e^{\mathcal L\tau}
        \mathcal J_A \rho_{ss}}
        {\mathrm{Tr}\, \mathcal J_A \rho_{ss}\ \mathrm{Tr}\, \mathcal J_B \rho_{ss}}

    Parameters
    ----------
    model : Model
        Constant in time, with one steady state; its initial state does not matter.
    times : array_like, shape (T,)
        tau >= 0 [time].
    channels : None, str, sequence of str, or mapping of str to 0 and 1
        A; all jumps by default.
    then : optional
        B; the same channels by default.

    Returns
    -------
    Reference
        Of the one name "g2", shape (1, T).

    Raises
    ------
    ModelError
        If the model does not permit counting, has more than one steady state, or A or B
        does not jump in it.

    Notes
    -----
    Source: Glauber, Phys. Rev. 130, 2529 (1963); the regression formula.
    """
    names = dissipator_names(model)
    one = jump_part(model, as_selection(channels, names, "channels"))
    other = one
    if then is not None:
        other = jump_part(model, as_selection(then, names, "then"))
    rho = steady_state(model).ravel()
    start, _ = _jumped(one, rho, "channels")
    _, rate = _jumped(other, rho, "then")
    delays, trace = _delays(times), np.eye(model.dim).ravel()
    values, error = _evolved(model.lindbladian(), start, [other.T @ trace], delays)
    return Reference(delays, ("g2",), values / rate, error / rate, "regression formula")
