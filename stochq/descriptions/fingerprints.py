"""Python functions cannot be written down, but recognized: by values, or by code."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Floats
from stochq.envelopes import evaluate
from stochq.errors import ModelError

__all__ = ["PROBES", "of_code", "of_values", "qualified_name"]

#: Times at which a function of time is asked for its value, ends included.
PROBES = 513

#: What is written out already, by its address: its number and itself.
Seen: TypeAlias = dict[int, tuple[int, Any]]

#: What of a class is written out.
MEMBERS = (FunctionType, np.ndarray, property, staticmethod, classmethod, tuple, list,
           dict, set, frozenset)  # fmt: skip

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


def qualified_name(function: Any) -> str:
    """Return what a function is called where it was written."""
    if isinstance(function, partial):
        return f"partial({qualified_name(function.func)})"
    name = getattr(function, "__qualname__", getattr(function, "__name__", None))
    return name if isinstance(name, str) else type(function).__qualname__


def of_values(function: Callable[[float], float], times: Floats) -> str:
    """Return the SHA-256 of f at equally spaced times; NaN is where it has no value."""
    probes = np.linspace(times[0], times[-1], PROBES)
    values = np.array([_value(function, t) for t in probes])
    return hashlib.sha256(values.astype("<f8").tobytes()).hexdigest()


def _value(function: Callable[[float], float], time: float) -> float:
    """Return f(t), or NaN."""
    try:
        return float(evaluate(function, np.array([time]))[0])
    except (ArithmeticError, ValueError):
        return np.nan


def of_code(function: Any) -> str:
    """Return the SHA-256 of what a function does, as far as its code tells.

    The code itself, its constants, defaults, what it encloses, and what it names: plain
    values, objects with their state, and functions and classes that are not installed.
    """
    try:
        text = _text(function, {})
    except RecursionError as error:
        raise ModelError(
            f"`{qualified_name(function)}` must not reach a collection that contains "
            "itself, but does"
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()


def _text(value: Any, seen: Seen) -> str:
    """Return a text that is the same in every process.

    Functions and objects are written out once, and then go by their number.
    """
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, CodeType):
        parts = [value.co_code.hex(), repr(value.co_names)]
        return f"code({', '.join(parts + [_text(c, seen) for c in value.co_consts])})"
    collection = _collection_text(value, seen)
    if collection:
        return collection
    if id(value) in seen:
        return f"number {seen[id(value)][0]}"
    seen[id(value)] = (len(seen), value)  # kept, so that no other gets its place
    if isinstance(value, FunctionType):
        return _function_text(value, seen)
    return _object_text(value, seen)


def _collection_text(value: Any, seen: Seen) -> str:
    """Return a text for arrays and collections, those without order sorted."""
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        content = hashlib.sha256(np.asarray(value).tobytes()).hexdigest()
        return f"array({value.dtype.str}, {value.shape}, {content})"
    if sp.issparse(value):
        matrix: Any = value
        rows = matrix.tocsr()
        parts = (rows.shape, rows.data, rows.indices, rows.indptr)
        return f"matrix({_text(parts, seen)})"
    if isinstance(value, set | frozenset):
        return f"set({', '.join(sorted(_text(v, dict(seen)) for v in value))})"
    if isinstance(value, Mapping):
        pairs = (f"{_text(k, seen)}: {_text(v, seen)}" for k, v in value.items())
        return f"mapping({', '.join(pairs)})"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(_text(v, seen) for v in value)})"
    return ""


def _function_text(function: FunctionType, seen: Seen) -> str:
    """Return a text for a function: its code, and what the code reaches."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(_text(cell.cell_contents, seen))
        except ValueError:  # not assigned yet
            cells.append("empty")
    defaults = _text((function.__defaults__, function.__kwdefaults__), seen)
    reached = [
        f"{name}={_global_text(function, function.__globals__[name], seen)}"
        for name in sorted(_names(function.__code__) & function.__globals__.keys())
    ]
    parts = [_text(function.__code__, seen), defaults, *cells, *reached]
    return f"function({', '.join(parts)})"


def _names(code: CodeType) -> set[str]:
    """Return the names that a code and those inside it mention."""
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _global_text(owner: FunctionType, value: Any, seen: Seen) -> str:
    """Return a text for a global: what is installed goes by its name."""
    if isinstance(value, ModuleType):
        return f"module {value.__name__}"
    same = getattr(value, "__module__", None) == owner.__module__
    if isinstance(value, type):
        return _class_text(value, seen)
    if isinstance(value, FunctionType) and not (same or _is_own(value)):
        return f"{value.__module__}.{qualified_name(value)}"
    return _text(value, seen)


def _is_own(value: Any) -> bool:
    """Tell whether a function or class is of the user's own making, not installed."""
    name = getattr(value, "__module__", None) or ""
    file = getattr(sys.modules.get(name), "__file__", None)
    if name.partition(".")[0] == "stochq":  # its sources are part of a digest anyway
        return False
    if name == "__main__" or file is None:
        return name == "__main__"
    return not any(Path(file).is_relative_to(folder) for folder in _installed())


@cache
def _installed() -> frozenset[str]:
    """Return the folders of Python and of what is installed."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return frozenset(sysconfig.get_paths()[kind] for kind in kinds)


def _class_text(kind: type, seen: Seen) -> str:
    """Return a text for a class: its code and what it holds, if it is not installed."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if not _is_own(kind):
        return name
    if id(kind) in seen:
        return f"number {seen[id(kind)][0]}"
    seen[id(kind)] = (len(seen), kind)
    members = [
        f"{key}={_member_text(member, seen)}"
        for key, member in sorted(vars(kind).items())
        if isinstance(member, (*PLAIN, *MEMBERS))
        and (not key.startswith("__") or isinstance(member, FunctionType))
    ]  # Python keeps notes of its own under __names__
    bases = [_class_text(base, seen) for base in kind.__bases__]
    return f"class({', '.join([name, *bases, *members])})"


def _member_text(member: Any, seen: Seen) -> str:
    """Return a text for what a class holds."""
    if isinstance(member, property):
        return _text((member.fget, member.fset), seen)
    if isinstance(member, staticmethod | classmethod):
        return _text(member.__func__, seen)
    return _text(member, seen)


def _object_text(value: Any, seen: Seen) -> str:
    """Return a text for an object: its class, and its state as a copy would take it.

    Addresses in memory never enter.
    """
    if isinstance(value, MethodType):
        return f"method({_text((value.__func__, value.__self__), seen)})"
    if isinstance(value, partial):
        parts = (value.func, value.args, value.keywords)
        return f"partial({_text(parts, seen)})"
    wrapped = getattr(value, "py_func", None)  # numba's compiled functions
    kind = _class_text(type(value), seen)
    if wrapped is not None:
        return f"{kind}({_text(wrapped, seen)})"
    if isinstance(value, type):
        return _class_text(value, seen)
    return f"{kind}({_state_text(value, seen)})"


def _state_text(value: Any, seen: Seen) -> str:
    """Return a text for the state of an object, __slots__ and all."""
    try:
        reduced = value.__reduce_ex__(4)
    except (TypeError, AttributeError):  # it cannot be copied: what can be seen
        return _text(getattr(value, "__dict__", qualified_name(value)), seen)
    if isinstance(reduced, str):
        return reduced
    maker, *state = reduced
    rest = [list(s) if isinstance(s, Iterator) else s for s in state]
    called = [part if part is not type(value) else None for part in rest[:1]]
    return f"{qualified_name(maker)}({_text((called, rest[1:]), seen)})"
