"""Every number that an ensemble holds, as bytes, shared by the tests of equality."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import numpy as np


def leaves(value) -> Iterator[bytes]:
    """Yield what a tree of dataclasses, tuples and arrays is made of."""
    if is_dataclass(value):
        for part in fields(value):
            yield from leaves(getattr(value, part.name))
    elif isinstance(value, tuple):
        for part in value:
            yield from leaves(part)
    elif isinstance(value, np.ndarray):
        yield repr((value.dtype, value.shape)).encode()
        yield np.ascontiguousarray(value).tobytes()
    else:
        yield repr(value).encode()


def bits(ensemble) -> bytes:
    """Return all statistics of an ensemble, to the last bit."""
    return b"\n".join(leaves(ensemble.statistics))
