"""Random numbers that are used more than once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

from stochq.atoms import Source
from stochq.faults.base import Planted
from stochq.recording.runs import Run, joined
from stochq.references import Reference
from stochq.schemes.lanes import ATOM
from stochq.setting import Setting

__all__ = ["StreamFault", "stream_faults"]

#: How often every stream is used.
COPIES = (2, 8)


@dataclass(frozen=True)
class Repeating:
    """A source whose atoms (64 trajectories) use the streams of fewer.

    ``in_a_row``: atom k uses those of atom k // copies, as where a counter is cut off.
    Else those of atom k mod (atoms / copies), as where workers have equal seeds.
    """

    source: Source
    copies: int
    in_a_row: bool

    @property
    def n_traj(self) -> int:
        """Number of trajectories, as it is believed to be."""
        return self.source.n_traj

    @property
    def size(self) -> int:
        """Complex amplitudes of one trajectory."""
        return self.source.size

    @property
    def results(self) -> int:
        """Values of one trajectory."""
        return self.source.results

    def run(self, first: int, count: int) -> Run:
        """Run atoms first ... first + count - 1."""
        runs = [self.source.run(self._stream(first + k), 1) for k in range(count)]
        return reduce(joined, runs)

    def _stream(self, atom: int) -> int:
        """Return the atom whose streams an atom uses."""
        if self.in_a_row:
            return atom // self.copies
        return atom % max(1, -(-self.n_traj // ATOM) // self.copies)


@dataclass(frozen=True)
class StreamFault:
    """Every stream of random numbers used several times.

    Attributes
    ----------
    copies : int
        How often.
    in_a_row : bool
        By the next trajectories, or by those of another worker.
    """

    copies: int
    in_a_row: bool

    name = "seeds repeated"
    excuse = ""

    @property
    def what(self) -> str:
        """What it is made in."""
        where = "in a row" if self.in_a_row else "by as many workers"
        return f"each used {self.copies} times {where}"

    def equivalent(self, right: Setting) -> bool:
        """Return False: fewer trajectories know less."""
        return False

    def curves(self, right: Setting) -> Reference | None:
        """Return nothing: they are not known beforehand."""
        return None

    def plant(self, right: Setting, seed: int, n_traj: int) -> Planted:
        """Return the run of whole atoms in which streams repeat."""
        setting = replace(right, seed=seed)
        whole = max(ATOM, n_traj // ATOM * ATOM)
        source = setting.source(whole)
        return Planted(setting, Repeating(source, self.copies, self.in_a_row))


def stream_faults() -> list[StreamFault]:
    """Return the ways to repeat seeds."""
    return [StreamFault(copies, row) for copies in COPIES for row in (False, True)]
