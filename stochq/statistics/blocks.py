"""Blocks of atoms: a power of two of them, starting at a multiple of its size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Block", "blocks"]


class Block(NamedTuple):
    """Atoms ``place * 2^level`` up to ``(place + 1) * 2^level``."""

    level: int
    place: int

    @property
    def first(self) -> int:
        """Its first atom."""
        return self.place << self.level

    @property
    def stop(self) -> int:
        """The atom after its last one."""
        return (self.place + 1) << self.level


def blocks(first: int, stop: int, largest: int) -> Iterator[Block]:
    """Yield the blocks, of at most `largest` atoms, that make up first ... stop - 1."""
    highest = largest.bit_length() - 1
    while first < stop:
        aligned = (first & -first).bit_length() - 1 if first else highest
        level = min(aligned, highest, (stop - first).bit_length() - 1)
        yield Block(level, first >> level)
        first += 1 << level
