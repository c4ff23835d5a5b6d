"""Statistics of blocks as bytes and back: what a checkpoint keeps of trajectories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stochq.atoms import Plan, Source, Stack
from stochq.recording.runs import Kept
from stochq.recording.state_sums import StateSum
from stochq.recording.wanted import Failure
from stochq.schemes.lanes import ATOM
from stochq.statistics.blocks import Block
from stochq.statistics.comoments import COVARIANCE_POINTS
from stochq.statistics.moments import Moments
from stochq.statistics.summary import Statistics
from stochq.storage.archive import ArchiveError, pack, unpack

__all__ = ["Layout", "Member", "decode", "encode", "index_of"]

Arrays = dict[str, npt.NDArray[Any]]

PARITIES = ("even", "odd")
POWERS = ("mean", "m2", "m3", "m4", "low", "high")


class Member(NamedTuple):
    """A block and its statistics; one that is not full comes last."""

    block: Block
    statistics: Statistics


@dataclass(frozen=True)
class Layout:
    """The shapes of a run's statistics.

    Attributes
    ----------
    rows, times : int
        Observables and functions, and output times.
    channels, signals : int
        Jump operators, and signals that are kept.
    kept : bool
        Whether jumps are kept.
    states : (int, int)
        Times at which states are summed up, and their dimension.
    bins : tuple of (int, int)
        Shape of the counts of each histogram.
    """

    rows: int
    times: int
    channels: int
    signals: int
    kept: bool
    states: tuple[int, int]
    bins: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, source: Source) -> Layout:
        """Return the layout of what a source gives."""
        plan = source.plans[0] if isinstance(source, Stack) else source
        if not isinstance(plan, Plan):
            raise TypeError(f"a source must be a plan or a stack, but is {plan!r:.60}")
        wanted = plan.wanted
        return cls(
            rows=len(plan.names),
            times=plan.intervals + 1,
            channels=plan.channels,
            signals=plan.monitors if wanted.signals else 0,
            kept=wanted.jumps > 0,
            states=(len(wanted.states), plan.frame.side),
            bins=tuple((len(b.times), b.n + 2) for b in wanted.bins),
        )


def encode(digest: str, members: Sequence[Member]) -> bytes:
    """Return blocks of a run as bytes; the digest says of which run."""
    arrays: Arrays = {"run": np.frombuffer(bytes.fromhex(digest), np.uint8)}
    index = [
        (m.block.level, m.block.place, m.statistics.moments.count, m.statistics.size)
        for m in members
    ]
    arrays["blocks"] = np.array(index, dtype=np.int64).reshape(-1, 4)
    for number, member in enumerate(members):
        for name, array in _arrays(member.statistics).items():
            arrays[f"{number}/{name}"] = array
    return pack(arrays)


def _arrays(statistics: Statistics) -> Arrays:
    """Return statistics as named arrays."""
    arrays: Arrays = dict(zip(POWERS, statistics.moments.powers, strict=True))
    arrays |= {
        "batches": statistics.batches,
        "comoments": statistics.comoments,
        "jumps": statistics.jumps,
        "norms": statistics.norms,
        "largest": np.array([statistics.norm_defect, statistics.residual]),
        "signals": statistics.signals,
    }
    if statistics.kept is not None:
        for name, array in statistics.kept._asdict().items():
            arrays[f"kept.{name}"] = array
    for parity, half in zip(PARITIES, statistics.states or (), strict=False):
        arrays[f"{parity}.total"] = half.total
        arrays[f"{parity}.squares"] = half.squares
        arrays[f"{parity}.count"] = np.array(half.n_traj)
    for number, counts in enumerate(statistics.counts):
        arrays[f"counts.{number}"] = counts
    told = json.dumps([statistics.failed, statistics.failures])
    arrays["failures"] = np.frombuffer(told.encode(), np.uint8)
    return arrays


def decode(data: bytes, digest: str, layout: Layout) -> list[Member]:
    """Return the blocks of a run from bytes.

    Raises
    ------
    ArchiveError
        If the bytes are damaged, belong to another run, or do not fit together.
    """
    arrays = unpack(data)
    members = []
    for number, (level, place, count, size) in enumerate(index_of(arrays, digest)):
        statistics = _statistics(arrays, f"{number}/", count, size, layout)
        members.append(Member(Block(level, place), statistics))
    return members


def index_of(arrays: Arrays, digest: str) -> list[list[int]]:
    """Return level, place, number of trajectories and batch size of every block.

    Raises
    ------
    ArchiveError
        If they do not fit together, or belong to another run.
    """
    if arrays.get("run", np.zeros(0)).tobytes() != bytes.fromhex(digest):
        raise ArchiveError("it belongs to another run")
    index = arrays.get("blocks", np.zeros(0))
    if index.dtype != np.int64 or index.ndim != 2 or index.shape[1] != 4:
        raise ArchiveError("its index is damaged")
    found: list[list[int]] = index.tolist()
    for level, place, count, size in found:
        placed = 0 <= level < 48 and 0 <= place < 2**54 >> level
        full = placed and count == ATOM << level
        if not placed or not (full or (level == 0 and 1 <= count < ATOM)):
            raise ArchiveError("its index is damaged")
        if not 1 <= size <= count or size & (size - 1):
            raise ArchiveError("its index is damaged")
    return found


def _statistics(
    arrays: Arrays, prefix: str, count: int, size: int, layout: Layout
) -> Statistics:
    """Return the statistics of one block, checked for shapes and types."""
    curve = (layout.rows, layout.times)
    points = layout.rows * layout.times
    points = points if points <= COVARIANCE_POINTS else 0

    def take(name: str, dtype: Any, *shape: int) -> npt.NDArray[Any]:
        array = arrays.get(prefix + name)
        if array is None or array.dtype != dtype or array.shape != shape:
            raise ArchiveError(f"its {name} does not fit")
        return array

    float_, int_ = np.float64, np.int64
    failures, failed = _failures(arrays.get(f"{prefix}failures"))
    largest = take("largest", float_, 2)
    return Statistics(
        moments=Moments(count, *(take(name, float_, *curve) for name in POWERS)),
        batches=take("batches", float_, count // size, *curve),
        size=size,
        comoments=take("comoments", float_, points, points),
        jumps=take("jumps", int_, layout.channels, layout.times),
        norms=take("norms", float_, layout.times),
        norm_defect=float(largest[0]),
        residual=float(largest[1]),
        signals=take("signals", float_, *_signals(layout, count)),
        kept=_kept(arrays, prefix, take, layout, count) if layout.kept else None,
        states=_states(take, layout) if layout.states[0] else None,
        counts=tuple(
            take(f"counts.{number}", int_, *shape)
            for number, shape in enumerate(layout.bins)
        ),
        failures=failures,
        failed=failed,
    )


def _signals(layout: Layout, count: int) -> tuple[int, int, int]:
    """Return the shape of the signals of a block."""
    return layout.signals, layout.times - 1, count


def _kept(arrays: Arrays, prefix: str, take: Any, layout: Layout, count: int) -> Kept:
    """Return the jumps that were kept."""
    n = arrays.get(f"{prefix}kept.time", np.zeros(0)).size
    return Kept(
        trajectory=take("kept.trajectory", np.int64, n),
        time=take("kept.time", np.float64, n),
        channel=take("kept.channel", np.int32, n),
        counts=take("kept.counts", np.int64, layout.channels, count),
    )


def _states(take: Any, layout: Layout) -> tuple[StateSum, StateSum]:
    """Return the sums of states over atoms of even and of odd number."""
    times, side = layout.states
    even, odd = (
        StateSum(
            take(f"{parity}.total", np.complex128, times, side, side),
            take(f"{parity}.squares", np.float64, times),
            int(take(f"{parity}.count", np.int64)),
        )
        for parity in PARITIES
    )
    return even, odd


def _failures(told: Any) -> tuple[tuple[Failure, ...], int]:
    """Return what is told of trajectories that failed, and their number."""
    try:
        failed, failures = json.loads(bytes(told).decode())
        found = tuple(
            Failure(int(number), str(what), int(time), str(message))
            for number, what, time, message in failures
        )
        return found, int(failed)
    except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
        raise ArchiveError("its failures do not fit") from error
