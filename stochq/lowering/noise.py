"""Noise lowered: correlated, complex and time-dependent noise on Wiener processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from stochq.arrays import Floats, Ints, Operator, scaled, summed
from stochq.channels import ComplexWhiteNoise, WhiteNoise
from stochq.envelopes import Envelope

__all__ = [
    "Channel",
    "complex_channels",
    "distinct_functions",
    "mixing_of",
    "noise_channels",
    "process_count",
]


@dataclass(frozen=True, eq=False)
class Channel:
    """A noise operator, its function of time, and the Wiener processes it sums."""

    operator: Operator
    envelope: Envelope | None
    row: Mapping[int, float]


def noise_channels(noise: WhiteNoise, first: int) -> list[Channel]:
    """Return the channels of a noise, their processes numbered from `first` on.

    C = F F^T is factorized block by block, so that uncorrelated channels stay as they
    are and what is local stays local. Where a block has one function of time, its
    channels L'_k = sum_j F_jk L_j are independent; where it has several, they stay L_j.
    """
    if noise.rates is not None:
        return [
            Channel(scaled(operator, np.sqrt(rate)), envelope, {first + k: 1.0})
            for k, (rate, operator, envelope) in enumerate(
                zip(noise.rates, noise.operators, noise.strengths, strict=True)
            )
        ]
    channels: list[Channel] = []
    count, block_of = connected_components(sp.csr_array(noise.covariance))
    for block in range(count):
        members = np.flatnonzero(block_of == block)
        factor = _factor(noise.covariance[np.ix_(members, members)])
        operators = [noise.operators[j] for j in members]
        envelopes = [noise.strengths[j] for j in members]
        numbers = range(first, first + factor.shape[1])
        if all(f is envelopes[0] for f in envelopes):
            channels += [
                Channel(_mixed(column, operators), envelopes[0], {k: 1.0})
                for k, column in zip(numbers, factor.T, strict=True)
            ]
        else:
            channels += [
                Channel(L, f, dict(zip(numbers, row.tolist(), strict=True)))
                for L, f, row in zip(operators, envelopes, factor, strict=True)
            ]
        first += factor.shape[1]
    return channels


def _factor(covariance: Floats) -> Floats:
    """Return F with C = F F^T and as many columns as C has rank."""
    weights, vectors = np.linalg.eigh(covariance)
    floor = 8 * np.finfo(float).eps * weights.size * max(float(weights[-1]), 0.0)
    kept = weights > floor
    factor: Floats = np.sqrt(weights[kept]) * vectors[:, kept]
    return factor


def _mixed(column: Floats, operators: Sequence[Operator]) -> Operator:
    """Return sum_j F_j L_j."""
    terms = [f * L for f, L in zip(column, operators, strict=True)]
    return summed(terms[0], terms[1:])


def complex_channels(operator: Operator, rate: float) -> list[Operator]:
    """Return A + A^dag and i (A - A^dag), each with variance rate/2 per time."""
    noise = ComplexWhiteNoise(operator, rate=rate).real()
    return [channel.operator for channel in noise_channels(noise, 0)]


def process_count(channels: Sequence[Channel]) -> int:
    """Return the number of Wiener processes so far."""
    return 1 + max((k for channel in channels for k in channel.row), default=-1)


def distinct_functions(
    envelopes: Sequence[Envelope | None],
) -> tuple[tuple[Envelope, ...], Ints]:
    """Return the different functions, and which one each channel has (-1: none)."""
    different = {id(f): f for f in envelopes if f is not None}
    place = {key: k for k, key in enumerate(different)}
    of = [-1 if f is None else place[id(f)] for f in envelopes]
    return tuple(different.values()), np.array(of, dtype=np.int64)


def mixing_of(channels: Sequence[Channel], numbers: Sequence[int]) -> Operator | None:
    """Return F, a column for each of the processes, or None where F = 1."""
    alone = all(list(channel.row.values()) == [1.0] for channel in channels)
    if alone and len(numbers) == len(channels):
        return None
    place = {k: column for column, k in enumerate(numbers)}
    mixing = sp.lil_array((len(channels), len(numbers)))
    for j, channel in enumerate(channels):
        for k, weight in channel.row.items():
            mixing[j, place[k]] = weight
    return mixing.tocsr()
