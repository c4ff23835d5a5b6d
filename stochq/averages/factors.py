"""The average of a splitting step: the averages of its factors, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stochq.arrays import Floats, Operator
from stochq.averages.maps import (
    AveragedStep,
    Map,
    Spectrum,
    compose,
    measured,
    semigroup,
    unitary,
)
from stochq.lowering import Dynamics
from stochq.schemes import RandomOrder, Scheme
from stochq.schemes.flow import flow_generator, propagators
from stochq.schemes.monitored_orbitals import monitored_groups
from stochq.schemes.splitting import has_flow

__all__ = ["Factors", "strang_step", "swept_step"]


class Factors:
    """The averaged factors of a splitting: the flow, and groups of channels."""

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        self.groups = dynamics.groups
        self._watched = monitored_groups(dynamics)
        self.count = len(self.groups) + len(self._watched)
        self._monitored: dict[tuple[int, float], list[Map]] = {}
        self._spectra = [Spectrum.of(operator) for operator in dynamics.channels]
        self._flows: dict[float, list[Map]] = {}

    def flow(self, duration: float, row: Floats) -> list[Map]:
        """Return the averaged flow for a duration and a row of the table."""
        if (self.dynamics.jump_function_of >= 0).any():
            frozen = self.dynamics.frozen(row)
            own = replace(frozen, hamiltonian=self.dynamics.hamiltonian)
            return [semigroup(own, duration)]
        if duration not in self._flows:
            self._flows[duration] = self._flow(duration)
        return self._flows[duration]

    def _flow(self, duration: float) -> list[Map]:
        if not has_flow(self.dynamics):
            return []
        if self.dynamics.jumps or self.dynamics.averaged:
            return [semigroup(self.dynamics, duration)]
        return [unitary(propagators(flow_generator(self.dynamics), [duration])[0])]

    def group(self, number: int, duration: float, row: Floats) -> list[Map]:
        """Return the averaged factor of one group for a row of the table."""
        if number >= len(self.groups):
            return self.monitor(number - len(self.groups), duration)
        drives = len(self.dynamics.drives)
        members, strength = self.groups[number], self.dynamics.strengths(row)
        maps = [
            self._spectra[j].turn(strength[j] * duration) for j in members if j < drives
        ]
        noise = [j for j in members if j >= drives]
        if self.dynamics.mixing is not None:
            rows = self.dynamics.mixing[[j - drives for j in noise]].tocsr()
            independent = self.dynamics.frozen(row).noise
            spectra = [Spectrum.of(independent[k]) for k in np.unique(rows.indices)]
            return maps + [spectrum.dephasing(duration) for spectrum in spectra]
        return maps + self._dephasing(noise, strength, duration)

    def monitor(self, number: int, duration: float) -> list[Map]:
        """Return the averaged factor of what is monitored at a time."""
        if (number, duration) not in self._monitored:
            made = self._modes if self.dynamics.one_body else self._operator
            self._monitored[number, duration] = made(number, duration)
        return self._monitored[number, duration]

    def _operator(self, number: int, duration: float) -> list[Map]:
        """Return the averaged factor of one monitored operator."""
        return [measured(self.dynamics.monitors[number], duration)]

    def _modes(self, number: int, duration: float) -> list[Map]:
        """Return that of modes of orbitals, which is that of white noise |kappa| n."""
        sizes = {m.number: _size(m.operator) for m in self.dynamics.monitors}
        modes = [Spectrum.of(sizes[k]) for k in self._watched[number]]
        return self._decays([(mode, duration) for mode in modes])

    def _dephasing(
        self, noise: Sequence[int], strength: Sequence[float], duration: float
    ) -> list[Map]:
        """Return the averaged factors of independent channels."""
        pairs = [(self._spectra[j], strength[j] ** 2 * duration) for j in noise]
        return self._decays(pairs)

    def _decays(self, pairs: Sequence[tuple[Spectrum, float]]) -> list[Map]:
        """Return the dephasing of channels by their variances, diagonal ones as one."""
        maps: list[Map] = []
        diagonal = []
        for spectrum, variance in pairs:
            if spectrum.vectors is not None:
                maps.append(spectrum.dephasing(variance))
            else:
                gaps = spectrum.values[:, None] - spectrum.values
                diagonal.append(variance * gaps**2)
        if diagonal:
            decay = np.exp(-0.5 * np.sum(diagonal, axis=0))
            maps.append(lambda rho: decay * rho)
        return maps

    def sweep(self, order: Sequence[int], duration: float, row: Floats) -> list[Map]:
        """Return the factors of groups in an order."""
        return [m for g in order for m in self.group(g, duration, row)]


def _size(c: Operator) -> Operator:
    """Return |kappa| v v^dag for c = kappa v v^dag."""
    trace = c.diagonal().sum()
    return (abs(trace) / trace) * c


def strang_step(parts: Factors, h: float, row: Floats) -> AveragedStep:
    """Return the averaged Strang step."""
    order = list(range(parts.count))
    start, link = parts.flow(0.5 * h, row), parts.flow(h, row)
    if not order:
        return AveragedStep([], link, [])
    if not start and not parts.dynamics.time_dependent and len(order) > 1:
        outer = order.pop(0)
        start, link = parts.group(outer, 0.5 * h, row), parts.group(outer, h, row)
    *middle, innermost = order
    out = parts.sweep(middle, 0.5 * h, row)
    inner = parts.group(innermost, h, row)
    return AveragedStep(
        start, [*out, *inner, *parts.sweep(middle[::-1], 0.5 * h, row)], link
    )


def swept_step(
    parts: Factors, scheme: Scheme, h: float, row: Floats, number: int
) -> AveragedStep:
    """Return the averaged step of alternating or random sweeps, halves not merged."""
    order = list(range(len(parts.groups)))
    forward = compose(parts.sweep(order, h, row))
    backward = compose(parts.sweep(order[::-1], h, row))
    half = parts.flow(0.5 * h, row)
    if isinstance(scheme, RandomOrder):
        body: Map = lambda rho: 0.5 * (forward(rho) + backward(rho))  # noqa: E731
    else:
        body = backward if number % 2 else forward
    return AveragedStep([], [*half, body, *half], [])
