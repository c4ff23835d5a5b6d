r"""Monitored operators: one factor each, a measurement whose outcome is the signal.

The unnormalized state follows a linear equation (Stratonovich)

.. math:: d\psi = -\tfrac12 (c^\dagger c + c^2)\, \psi\, dt + c\, \psi \circ dY, \qquad
    dY = \langle c + c^\dagger \rangle\, dt + dW.

The factor for a duration tau is one measurement with a Gaussian pointer of outcome
s = sqrt(tau) x, the signal over that time, and the operators

.. math:: K(x) = D \sum_{k=0}^{6} \frac{(\sqrt\tau\, c\, x)^k}{k!}\, D\, N^{-1/2},
    \qquad D = e^{-(c^\dagger c + c^2) \tau / 4},
    \qquad \int g(x)\, K^\dagger K\, dx = 1,

where g is the normal density and N, which is 1 up to order tau^3, makes the outcomes
complete. Outcomes are drawn from their law g(x) |K(x) psi|^2 without approximation: x
is the point that has as much of the law below it as the normal number of the Wiener
process has of g. So states stay positive at any step, and the average of a factor is a
linear map that is known exactly. Its error is of third order in tau, and so is that of
any function of the state, averaged over outcomes.

Density matrices have, with the efficiency eta,

.. math:: s: \rho \to \sqrt\eta\,(c\rho + \rho c^\dagger)\, s, \qquad
    D = \exp\bigl[\tfrac{\tau}{2} \bigl((1 - \eta)\, c \rho c^\dagger
    - \tfrac12 \{c^\dagger c, \rho\}
    - \tfrac\eta2 (c^2 \rho + \rho c^{\dagger 2})\bigr)\bigr].

The norm is put back to what it was, so that the clock of jumps does not see monitors.

References
----------
.. [1] H. M. Wiseman and G. J. Milburn, "Quantum Measurement and Control", Cambridge
   University Press (2010), chapter 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.linalg import expm

from stochq.arrays import Complexes, Ints, Operator, adjoint
from stochq.errors import SchemeMismatchError
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.lowering.dissipators import Monitor
from stochq.lowering.lifted import both_sides, loss, sandwich
from stochq.schemes.flow import propagators
from stochq.schemes.lanes import apply_matrix, clear, squared_norms
from stochq.states import DensityMatrix
from stochq.structure import Sparse, blocks, pack

__all__ = [
    "MonitorFactors",
    "check_monitors",
    "ket_terms",
    "matrix_terms",
    "moment",
    "monitor_factor",
    "monitor_factors",
    "monitor_room",
    "sizes",
    "strongest_monitor",
]

#: Powers of the operator that a factor has.
POWERS = 6

#: Largest <c^dag c> dt of a monitored operator.
STRONGEST = 10.0

#: Most iterations for an outcome; bisection alone would end with them.
ITERATIONS = 100


class MonitorFactors(NamedTuple):
    """Everything a kernel needs to apply the factors of monitored operators.

    ``matrices`` stacks the coefficients K_n of x^n, ``terms`` of them for each monitor
    and each duration. ``diagonal`` lists the elements that make up the trace, none for
    kets.
    """

    matrices: Sparse
    terms: int
    lifted: bool
    diagonal: Ints


def strongest_monitor(dynamics: Dynamics) -> float:
    """Return a bound on <c^dag c> for every monitored c and any state [1/time]."""
    squares = [abs(adjoint(m.operator) @ m.operator) for m in dynamics.monitors]
    return max((float(S.sum(axis=1).max(initial=0.0)) for S in squares), default=0.0)


def check_monitors(dynamics: Dynamics, longest: float) -> None:
    """Refuse steps in which a measurement is over before it is half done.

    Raises
    ------
    SchemeMismatchError
        If <c^dag c> times the longest step may be above `STRONGEST`.
    """
    strength = strongest_monitor(dynamics) * longest
    if strength > STRONGEST and not dynamics.one_body:
        raise SchemeMismatchError(
            "`dt` must resolve what is monitored, <c^dag c> dt at most "
            f"{STRONGEST:g}, but it may be {strength:.3g}; use a smaller dt"
        )


def monitor_factors(
    dynamics: Dynamics, durations: Sequence[float]
) -> MonitorFactors | None:
    """Return the factors of a model's monitors for some durations.

    None without monitors; those of orbitals are elsewhere.
    """
    if not dynamics.monitors or dynamics.one_body:
        return None
    initial = dynamics.initial
    matrices: list[Operator] = []
    diagonal = np.zeros(0, dtype=np.int64)
    if isinstance(initial, DensityMatrix):
        kept, diagonal = initial.elements, initial.diagonal
        for monitor in dynamics.monitors:
            for tau in durations:
                terms = matrix_terms(monitor, tau)
                matrices += [term[kept][:, kept] for term in terms]
    else:
        for monitor in dynamics.monitors:
            for tau in durations:
                matrices += ket_terms(monitor.operator, tau)
    return MonitorFactors(
        matrices=pack(matrices),
        terms=1 + (2 if dynamics.lifted else 1) * POWERS,
        lifted=dynamics.lifted,
        diagonal=diagonal,
    )


def ket_terms(c: Operator, tau: float) -> list[Operator]:
    """Return the coefficients of x^n in K(x), n = 0 ... 6, equal blocks done once."""
    known: dict[bytes, list[Complexes]] = {}
    untouched = np.ones(c.shape[0], dtype=np.bool_)
    places: list[tuple[Ints, Ints, list[Complexes]]] = []
    for members in blocks(c):
        dense = c[members][:, members].toarray()
        key = dense.tobytes()
        if key not in known:
            known[key] = _dense_terms(dense, tau)
        untouched[members] = False
        rows, columns = np.meshgrid(members, members, indexing="ij")
        places.append((rows.ravel(), columns.ravel(), known[key]))
    rest = np.flatnonzero(untouched)
    one = [np.full(rest.size, float(n == 0)) for n in range(POWERS + 1)]
    places.append((rest, rest, one))
    row, column = (np.concatenate([place[k] for place in places]) for k in (0, 1))
    terms = []
    for n in range(POWERS + 1):
        data = np.concatenate([block[n].ravel() for _, _, block in places])
        terms.append(_pruned(sp.csr_array((data, (row, column)), shape=c.shape)))
    return terms


def _dense_terms(c: Complexes, tau: float) -> list[Complexes]:
    """Return the coefficients of x^n in K(x) for one block."""
    half = expm(-0.25 * tau * (c.conj().T @ c + c @ c))
    terms = [half @ power @ half for power in _powers(c, tau)]
    complete = sum(
        moment(j + k) * (a.conj().T @ b)
        for j, a in enumerate(terms)
        for k, b in enumerate(terms)
        if (j + k) % 2 == 0
    )
    root = _inverse_root(complete)
    return [term @ root for term in terms]


def matrix_terms(monitor: Monitor, tau: float) -> list[Operator]:
    """Return the coefficients of x^n of what acts on rho, n = 0 ... 12."""
    c, eta = monitor.operator, monitor.efficiency
    drift = (1 - eta) * sandwich(c) - loss(c) - 0.5 * eta * both_sides(c @ c)
    half = propagators(1j * drift, [0.5 * tau])[0]
    powers = _powers(np.sqrt(eta) * c, tau)
    terms: list[Operator] = []
    for n in range(2 * POWERS + 1):
        pairs = range(max(0, n - POWERS), min(n, POWERS) + 1)
        inner = sum(sp.kron(powers[j], powers[n - j].conj()) for j in pairs)
        terms.append(sp.csr_array(half @ sp.csr_array(inner) @ half))
    trace = sp.eye_array(c.shape[0]).reshape((1, -1))
    mean: Operator = sum(moment(n) * term for n, term in enumerate(terms))
    complete = (trace @ mean).reshape(c.shape).T.toarray()
    root = sandwich(_pruned(_inverse_root(complete)))
    return [_pruned(term @ root) for term in terms]


def moment(n: int) -> float:
    """Return the mean of x^n of a normal number: 1 3 5 ... (n - 1), or 0."""
    return float(np.prod(np.arange(n - 1, 0, -2))) if n % 2 == 0 else 0.0


def _powers(c: Any, tau: float) -> list[Any]:
    """Return (sqrt(tau) c)^k / k! for k = 0 ... 6."""
    power = sp.eye_array(c.shape[0], format="csr", dtype=np.complex128)
    found = [power if sp.issparse(c) else power.toarray()]
    for k in range(1, POWERS + 1):
        found.append(found[-1] @ c * (np.sqrt(tau) / k))
    return found


def _inverse_root(positive: Any) -> Complexes:
    """Return N^{-1/2} of a Hermitian matrix that is close to 1."""
    values, vectors = np.linalg.eigh(0.5 * (positive + positive.conj().T))
    root: Complexes = (vectors / np.sqrt(values)) @ vectors.conj().T
    return root


def _pruned(matrix: Operator) -> Operator:
    """Return a matrix without elements that are rounding beside 1."""
    matrix = sp.csr_array(matrix)
    matrix.data[np.abs(matrix.data) < 0.01 * np.finfo(float).eps] = 0.0
    matrix.eliminate_zeros()
    return matrix


@kernel
def sizes(lifted, diagonal, x, out):
    """Write what is put back: <psi|psi>, or Tr(rho), of every lane."""
    if not lifted:
        squared_norms(x, out)
        return
    clear(out)
    for i in diagonal:
        for w in range(out.shape[0]):
            out[w] += x[0, i, w]


@kernel
def _overlaps(terms, law):
    """Write the coefficients of x^n in |sum_k x^k y_k|^2, lane by lane."""
    powers, _, dim, lanes = terms.shape
    for n in range(law.shape[0]):
        for w in range(lanes):
            law[n, w] = 0.0
    for j in range(powers):
        for k in range(j, powers):
            share = 1.0 if j == k else 2.0
            for part in range(2):
                for i in range(dim):
                    for w in range(lanes):
                        law[j + k, w] += (
                            share * terms[j, part, i, w] * terms[k, part, i, w]
                        )


@kernel
def _outcome(a, w, r, normal):
    r"""Return the x with :math:`\int_{-\infty}^x g q = Z \int_{-\infty}^{normal} g`.

    The law is q(x) = sum_n a_n x^n times the normal density g. With x r - r' = q - Z it
    integrates to Z G(x) - g(x) r(x), so that x solves

        (G(x) - G(normal)) / g(x) = r(x) / Z,

    by Newton's iteration inside a bracket.
    """
    top = a.shape[0] - 1
    r[top] = r[top + 1] = 0.0
    for n in range(top, 0, -1):
        r[n - 1] = a[n, w] + (n + 1) * r[n + 1]
    total = a[0, w] + r[1]
    low, high, x = -np.inf, np.inf, normal
    side = 1.0 if normal > 0.0 else -1.0
    beyond = 0.5 * erfc(side * normal * 0.7071067811865476)
    for _ in range(ITERATIONS):
        rest = law = 0.0
        for n in range(top, -1, -1):
            rest = rest * x + r[n]
            law = law * x + a[n, w]
        inverse = 2.5066282746310002 * np.exp(0.5 * x * x)
        here = 0.5 * erfc(side * x * 0.7071067811865476)
        miss = side * (beyond - here) * inverse - rest / total
        if miss > 0.0:
            high = x
        else:
            low = x
        new = x - miss * total / law if law > 0.0 else x - np.sign(miss)
        new = min(max(new, x - 1.0), x + 1.0)
        if not (low < new < high):
            if new == low or new == high:  # noqa: SIM109 (kernels compare numbers)
                break
            new = 0.5 * (low + high)
        moved = abs(new - x)
        x = new
        if moved <= 1e-15 * (1.0 + abs(x)):
            break
    return x


@kernel
def monitor_room(monitors, dim, lanes):
    """Return work space for the terms K_n x and for the law of the outcomes."""
    terms = np.empty((monitors.terms, 2, dim, lanes))
    return terms, np.empty((2 * POWERS + 1, lanes))


@kernel
def monitor_factor(monitors, number, duration, noise, x, signal, room, work):
    """Apply the factor of one monitored operator to all lanes.

    Parameters
    ----------
    monitors : MonitorFactors
        The operators.
    number : int
        Which monitor and duration: the duration's number, plus the monitor's times the
        number of durations.
    duration : float
        How long [time].
    noise : float array, shape (W,)
        The increment of W [sqrt(time)].
    x : float array, shape (2, d, W)
        The state, changed in place.
    signal : float array, shape (W,)
        The integral of dY is added to it.
    room : tuple
        Work space, from `monitor_room`.
    work : float array, shape (5, W)
        Work space.
    """
    dim, lanes = x.shape[1], x.shape[2]
    terms, law = room
    first = number * monitors.terms
    before, size, outcome = work[0], work[1], work[2]
    sizes(monitors.lifted, monitors.diagonal, x, before)
    for n in range(monitors.terms):
        apply_matrix(monitors.matrices, (first + n) * dim, x, terms[n])
        if monitors.lifted:
            sizes(monitors.lifted, monitors.diagonal, terms[n], law[n])
    if not monitors.lifted:
        _overlaps(terms, law)
    r = np.empty(law.shape[0] + 1)
    root = np.sqrt(duration)
    for w in range(lanes):
        outcome[w] = _outcome(law, w, r, noise[w] / root)
        signal[w] += root * outcome[w]
    _polynomial(terms, outcome, x)
    sizes(monitors.lifted, monitors.diagonal, x, size)
    for w in range(lanes):
        ratio = before[w] / size[w]
        size[w] = ratio if monitors.lifted else np.sqrt(ratio)
    for part in range(2):
        for i in range(dim):
            for w in range(lanes):
                x[part, i, w] *= size[w]


@kernel
def _polynomial(terms, outcome, x):
    """Write sum_n outcome^n y_n, lane by lane."""
    top = terms.shape[0] - 1
    for part in range(2):
        for i in range(x.shape[1]):
            for w in range(x.shape[2]):
                x[part, i, w] = terms[top, part, i, w]
            for n in range(top - 1, -1, -1):
                for w in range(x.shape[2]):
                    x[part, i, w] = x[part, i, w] * outcome[w] + terms[n, part, i, w]
