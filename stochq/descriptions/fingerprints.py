"""Python functions cannot be written down, but recognized: by values, or by code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
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

    The code itself, its constants, defaults, what it encloses, and the plain values and
    functions of its own module that it names.
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
    """Return a text for a global: code of other modules goes by its name."""
    foreign = getattr(value, "__module__", None) != owner.__module__
    if isinstance(value, ModuleType | type) or (callable(value) and foreign):
        module = getattr(value, "__module__", "")
        return f"{module}.{qualified_name(value)}"
    return _text(value, seen)


def _object_text(value: Any, seen: Seen) -> str:
    """Return a text for an object: its class, its state, and the code that is called.

    Addresses in memory never enter, nor does what only a class knows.
    """
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, MethodType):
        return f"method({_text((value.__func__, value.__self__), seen)})"
    if isinstance(value, partial):
        parts = (value.func, value.args, value.keywords)
        return f"partial({_text(parts, seen)})"
    wrapped = getattr(value, "py_func", None)  # numba's compiled functions
    if wrapped is not None:
        return f"{name}({_text(wrapped, seen)})"
    called = getattr(type(value), "__call__", None)  # noqa: B004
    code: Any = called if isinstance(called, FunctionType) else qualified_name(value)
    return f"{name}({_text((code, getattr(value, '__dict__', {})), seen)})"
