r"""Monitored orbitals: the exact factor of commuting monitors.

It leaves the orbitals orthonormal.

Monitors c_j = kappa_j n_v of modes v that are orthogonal, alone for a time tau, leave

.. math:: |\psi\rangle \propto \exp\Bigl(\sum_j
    \bigl[\kappa_j s_j - \tfrac12(|\kappa_j|^2 + \kappa_j^2)\tau\bigr] n_{v}\Bigr)
    |\psi_0\rangle,

one-body because n^2 = n. The integrated signals s_j have a known law: the numbers n_v
do not change, so that s_j is Gaussian with variance tau and mean 2 Re(kappa_j) n_v tau,
mixed over n_v = 0, 1 with the probability of what is found in mode v after all signals
before it. That conditional probability p is the diagonal element of the modes'
correlation matrix, from which every signal takes a matrix of rank one. Hence

.. math:: p\,\Phi(z - \delta) + (1 - p)\,\Phi(z) = \Phi(\Delta W / \sqrt\tau),
    \qquad s = \sqrt\tau z, \quad \delta = 2\,\mathrm{Re}(\kappa)\sqrt\tau

gives every signal its exact law, as a smooth function of the Wiener increment that to
leading order is ds = 2 Re(kappa) <n> dt + dW. The factor has no step error, and its
average is the exact semigroup of the dissipators.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stochq.arrays import Complexes, Floats, Ints
from stochq.jit import kernel
from stochq.lowering import Dynamics
from stochq.schemes.isometries import CHUNK, eliminate, gram_matrix, orthonormalize
from stochq.schemes.orbital_events import mode_of
from stochq.structure import commuting_groups

__all__ = [
    "MonitoredModes",
    "measure_modes",
    "modes_room",
    "monitored_groups",
    "monitored_modes",
]


class MonitoredModes(NamedTuple):
    """Groups of commuting monitors of orbitals, gathered by mode.

    Group g has the modes ``group_ptr[g]`` to ``group_ptr[g + 1]``. Mode m is
    ``amplitude`` on the sites ``site`` from ``mode_ptr[m]`` on; its monitors are those
    numbered ``monitor`` from ``monitor_ptr[m]`` on, with ``kappa`` [1/sqrt(time)].
    """

    group_ptr: Ints
    mode_ptr: Ints
    site: Ints
    amplitude: Complexes
    monitor_ptr: Ints
    monitor: Ints
    kappa: Complexes


class Room(NamedTuple):
    """Work space for measuring modes."""

    rows: Floats
    turned: Floats
    correlations: Floats
    exponent: Floats
    gram: Floats


def _by_mode(dynamics: Dynamics) -> list[list[tuple[Complexes, list[int]]]]:
    """Return groups of modes v, each with the places of its monitors.

    Projectors of one group commute: their modes are orthogonal or the same.
    """
    if not dynamics.one_body:
        return []
    operators = [monitor.operator for monitor in dynamics.monitors]
    groups = []
    for members in commuting_groups([c / c.diagonal().sum() for c in operators]):
        vectors = np.array([mode_of(operators[j]) for j in members])
        same = np.abs(vectors.conj() @ vectors.T) > 0.5
        found: dict[int, list[int]] = {}
        for k, j in enumerate(members):
            found.setdefault(int(np.argmax(same[k])), []).append(j)
        groups.append([(vectors[k], numbers) for k, numbers in found.items()])
    return groups


def monitored_groups(dynamics: Dynamics) -> list[list[int]]:
    """Return the processes of the monitors that make one factor each.

    Monitors of kets are on their own; those of orbitals go together if they commute.
    """
    numbers = [monitor.number for monitor in dynamics.monitors]
    if not dynamics.one_body:
        return [[number] for number in numbers]
    return [
        [numbers[j] for _, found in group for j in found]
        for group in _by_mode(dynamics)
    ]


def monitored_modes(dynamics: Dynamics) -> MonitoredModes | None:
    """Return the monitors of orbitals; None where there are none."""
    groups = _by_mode(dynamics)
    if not groups:
        return None
    modes = [mode for group in groups for mode in group]
    vectors = [v for v, _ in modes]
    sites = [np.flatnonzero(v) for v in vectors]
    numbers = [j for _, found in modes for j in found]
    traces = [dynamics.monitors[j].operator.diagonal().sum() for j in numbers]
    nothing = np.zeros(0, dtype=np.complex128)
    return MonitoredModes(
        group_ptr=_edges([len(group) for group in groups]),
        mode_ptr=_edges([s.size for s in sites]),
        site=np.concatenate([*sites, np.zeros(0, np.int64)]).astype(np.int64),
        amplitude=np.concatenate(
            [nothing, *(v[s] for v, s in zip(vectors, sites, strict=True))]
        ),
        monitor_ptr=_edges([len(found) for _, found in modes]),
        monitor=np.array(numbers, dtype=np.int64),
        kappa=np.array(traces, dtype=np.complex128),
    )


def _edges(sizes: list[int]) -> Ints:
    """Return where each of consecutive parts starts, and where the last one ends."""
    return np.cumsum([0, *sizes]).astype(np.int64)


@kernel
def modes_room(modes, lanes):
    """Return work space for orbitals with `lanes` columns."""
    most = 0
    for g in range(modes.group_ptr.shape[0] - 1):
        most = max(most, modes.group_ptr[g + 1] - modes.group_ptr[g])
    columns = lanes if most > 0 else 0
    return Room(
        np.empty((2, most, columns)),
        np.empty((2, columns, most)),
        np.empty((2, most, most)),
        np.empty((2, most)),
        np.empty((2, columns, columns)),
    )


@kernel
def _normal_tail(z):
    """Return the probability that a standard normal number is above z."""
    return 0.5 * math.erfc(z * 0.7071067811865476)


@kernel
def mixed_quantile(p, shift, xi):
    """Return the z with p Phi(z - shift) + (1 - p) Phi(z) = Phi(xi).

    Newton inside a bracket, on the smaller of the two tails.
    """
    low, high = min(xi, xi + shift), max(xi, xi + shift)
    sign = 1.0 if xi > 0.0 else -1.0
    goal = _normal_tail(sign * xi)
    z = xi + p * shift
    for _ in range(100):
        tail = p * _normal_tail(sign * (z - shift)) + (1.0 - p) * _normal_tail(sign * z)
        miss = sign * (tail - goal)  # falls as z grows
        if miss > 0.0:
            low = z
        else:
            high = z
        density = p * np.exp(-0.5 * (z - shift) ** 2) + (1.0 - p) * np.exp(-0.5 * z * z)
        new = z + miss * 2.5066282746310002 / density if density > 0.0 else np.inf
        if not low < new < high:
            new = 0.5 * (low + high)
        moved = abs(new - z)
        z = new
        if moved <= 1e-15 * (1.0 + abs(z)):
            break
    return z


@kernel
def _amplitude_rows(modes, start, stop, x, room):
    """Write v^dag U for the modes of a group, row by row and turned."""
    for m in range(start, stop):
        for w in range(x.shape[2]):
            room.rows[0, m - start, w] = 0.0
            room.rows[1, m - start, w] = 0.0
        for e in range(modes.mode_ptr[m], modes.mode_ptr[m + 1]):
            i, p, q = modes.site[e], modes.amplitude[e].real, modes.amplitude[e].imag
            for w in range(x.shape[2]):
                room.rows[0, m - start, w] += p * x[0, i, w] + q * x[1, i, w]
                room.rows[1, m - start, w] += p * x[1, i, w] - q * x[0, i, w]
        for w in range(x.shape[2]):
            room.turned[0, w, m - start] = room.rows[0, m - start, w]
            room.turned[1, w, m - start] = room.rows[1, m - start, w]


@kernel
def _signal(modes, mode, p, tau, draws, first, signals, exponent):
    """Draw the signals of a mode filled with probability p; write its exponent.

    ``draws`` begins with the monitor number `first`. Return |exp(exponent)|^2 - 1.
    """
    re = im = 0.0
    for j in range(modes.monitor_ptr[mode], modes.monitor_ptr[mode + 1]):
        a, b = modes.kappa[j].real, modes.kappa[j].imag
        odds = p * np.exp(2.0 * re)
        xi = draws[j - first, 0] / np.sqrt(tau)
        s = np.sqrt(tau) * mixed_quantile(
            odds / (odds + 1.0 - p), 2.0 * a * np.sqrt(tau), xi
        )
        signals[modes.monitor[j], 0] += s
        re += a * s - a * a * tau
        im += b * s - a * b * tau
    exponent[0], exponent[1] = re, im
    return np.expm1(2.0 * re)


@kernel
def _find_signals(modes, start, count, tau, draws, signals, room):
    """Draw the signals of all modes of a group, each given those before it.

    A signal of the weight w = |exp(exponent)|^2 - 1 changes the correlations C of the
    other modes by -w c c^dag / (1 + w p), with c their correlations with its own.
    """
    gram_matrix(room.turned, count, room.correlations)
    for above in range(count, 0, -CHUNK):
        begin = max(above - CHUNK, 0)
        for k in range(count - 1, begin - 1, -1):
            p = min(max(room.correlations[0, k, k], 0.0), 1.0)
            if k < above:
                weight = _signal(
                    modes, start + k, p, tau, draws, modes.monitor_ptr[start], signals,
                    room.exponent[:, k],
                )  # fmt: skip
            else:
                weight = np.expm1(2.0 * room.exponent[0, k])
            factor = weight / (1.0 + weight * p)
            eliminate(room.correlations, k, factor, begin, above)


@kernel
def measure_modes(modes, group, tau, draws, x, signals, room):
    """Monitor one group of modes for a time tau; the orbitals stay orthonormal.

    ``draws`` begins with the Wiener increments of this group; the integrals of dY are
    added to ``signals``, shape (monitors, particles), in their first column.
    """
    start, stop = modes.group_ptr[group], modes.group_ptr[group + 1]
    _amplitude_rows(modes, start, stop, x, room)
    _find_signals(modes, start, stop - start, tau, draws, signals, room)
    for m in range(start, stop):
        k = m - start
        size, angle = np.exp(room.exponent[0, k]), room.exponent[1, k]
        a, b = size * np.cos(angle) - 1.0, size * np.sin(angle)
        for e in range(modes.mode_ptr[m], modes.mode_ptr[m + 1]):
            i, u, v = modes.site[e], modes.amplitude[e].real, modes.amplitude[e].imag
            p, q = a * u - b * v, a * v + b * u
            for w in range(x.shape[2]):
                x[0, i, w] += p * room.rows[0, k, w] - q * room.rows[1, k, w]
                x[1, i, w] += p * room.rows[1, k, w] + q * room.rows[0, k, w]
    orthonormalize(x, room.gram)
