"""Every number of an ensemble as bytes, to compare runs that must be the same."""

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from stochq import Ensemble


def leaves(value: Any, path: str) -> Iterator[tuple[str, bytes]]:
    """Yield the arrays and numbers in a value, each with its type and shape."""
    if isinstance(value, np.ndarray):
        kind = f"{value.dtype.str} {value.shape} "
        yield path, kind.encode() + np.ascontiguousarray(value).tobytes()
    elif is_dataclass(value):
        for f in fields(value):
            yield from leaves(getattr(value, f.name), f"{path}.{f.name}")
    elif isinstance(value, tuple | list):
        yield f"{path}.length", str(len(value)).encode()
        for k, member in enumerate(value):
            yield from leaves(member, f"{path}[{k}]")
    elif isinstance(value, float | np.floating):
        yield path, float(value).hex().encode()
    else:
        yield path, repr(value).encode()


def bits(ensemble: Ensemble) -> dict[str, bytes]:
    """Return every number of an ensemble, by its name."""
    found: dict[str, bytes] = {}
    for name in ("statistics", "jump_records", "signals", "histograms", "first"):
        found |= leaves(getattr(ensemble, name), name)
    state = ensemble.mean_state
    found |= leaves(state, "mean_state")
    return found


def different(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Return the names of what differs."""
    return [k for k in {**one, **other} if one.get(k) != other.get(k)]


def digest(ensemble: Ensemble) -> str:
    """Return the SHA-256 of every number of an ensemble."""
    total = hashlib.sha256()
    for name, content in sorted(bits(ensemble).items()):
        total.update(name.encode() + b"\0" + content + b"\n")
    return total.hexdigest()
