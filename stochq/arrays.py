"""Shape vocabulary and the checks that every array passes on its way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from stochq.errors import ModelError

__all__ = [
    "Complexes",
    "Floats",
    "Ints",
    "Operator",
    "adjoint",
    "as_array",
    "as_operator",
    "as_operators",
    "as_times",
    "hermitian_defect",
    "is_hermitian",
    "positive_rate",
    "read_only",
    "restore",
    "scaled",
    "state_of",
    "summed",
    "whole_number",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Complexes: TypeAlias = npt.NDArray[np.complex128]
Ints: TypeAlias = npt.NDArray[np.int64]

#: A d x d matrix, stored sparse: structure found later is the structure stored here.
Operator: TypeAlias = Any

#: Rounding allowed in what a user computed in double precision, relative to the norm.
HERMITIAN_TOLERANCE = 1e-12


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Mark `array` read-only and return it: models do not change after validation."""
    array.setflags(write=False)
    return array


def state_of(instance: Any) -> dict[str, Any]:
    """Return what pickle and copy may take along: mapping proxies as dictionaries."""
    return {
        name: dict(value) if isinstance(value, MappingProxyType) else value
        for name, value in vars(instance).items()
    }


def restore(instance: Any, state: Mapping[str, Any]) -> None:
    """Fill a frozen instance from its state, and make it read-only again."""
    for name, value in state.items():
        object.__setattr__(instance, name, _frozen(value))


def _frozen(value: Any) -> Any:
    """Return a value with its arrays read-only and its dictionaries behind proxies."""
    if isinstance(value, np.ndarray):
        return read_only(value)
    if sp.issparse(value):
        rows: Any = value
        for part in (rows.data, rows.indices, rows.indptr):
            read_only(part)
        return value
    if isinstance(value, tuple):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return MappingProxyType({k: _frozen(v) for k, v in value.items()})
    return value


def _raw_matrix(value: Any, name: str) -> Operator:
    """Convert numpy, scipy.sparse or QuTiP-like input to a fresh CSR array."""
    if callable(getattr(value, "full", None)):  # QuTiP's Qobj, without importing QuTiP
        value = value.full()
    if sp.issparse(value):
        sparse: Any = value
        return sp.csr_array(sparse).astype(np.complex128, copy=True)
    try:
        dense = np.array(value, dtype=np.complex128)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"`{name}` must be a square matrix (nested lists, numpy, scipy.sparse or "
            f"Qobj), but is {type(value).__name__}"
            + ("; what depends on time goes to `drives`" * (name == "hamiltonian"))
        ) from error
    if dense.ndim != 2:
        raise ModelError(
            f"`{name}` must be a square matrix (d, d), but has shape {dense.shape}"
        )
    return sp.csr_array(dense)


def as_operator(value: Any, name: str, dim: int | None = None) -> Operator:
    """Return `value` as a read-only complex CSR array of shape (d, d).

    Parameters
    ----------
    value : array_like, scipy.sparse array or QuTiP Qobj, shape (d, d)
        The matrix.
    name : str
        What to call it in an error message.
    dim : int, optional
        The dimension d that it must have.

    Raises
    ------
    ModelError
        If it is not a square matrix of finite numbers, or has another dimension.
    """
    matrix = _raw_matrix(value, name)
    rows, columns = matrix.shape
    if rows != columns or rows == 0:
        raise ModelError(
            f"`{name}` must be a square matrix (d, d), but has shape {matrix.shape}"
        )
    if not np.isfinite(matrix.data).all():
        raise ModelError(f"`{name}` must be finite, but contains NaN or infinity")
    if dim is not None and rows != dim:
        raise ModelError(
            f"`{name}` must have shape ({dim}, {dim}) like the initial state, "
            f"but has shape {matrix.shape}"
        )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    for part in (matrix.data, matrix.indices, matrix.indptr):
        read_only(part)
    return matrix


def _is_one_matrix(value: Any) -> bool:
    """Tell a single matrix from a sequence of matrices."""
    if sp.issparse(value) or callable(getattr(value, "full", None)):
        return True
    if isinstance(value, np.ndarray):
        return value.ndim <= 2
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        first = value[0]
        if sp.issparse(first) or callable(getattr(first, "full", None)):
            return False
        return np.ndim(first) < 2
    return True


def as_operators(value: Any, name: str) -> tuple[Operator, ...]:
    """Return one matrix, or a sequence of them, as a tuple of operators (d, d)."""
    if _is_one_matrix(value):
        return (as_operator(value, name),)
    operators = tuple(as_operator(v, f"{name}[{k}]") for k, v in enumerate(value))
    if not operators:
        raise ModelError(f"`{name}` must hold at least one matrix, but is empty")
    shapes = {operator.shape for operator in operators}
    if len(shapes) > 1:
        raise ModelError(f"`{name}` must all have one shape, but have {sorted(shapes)}")
    return operators


def adjoint(operator: Operator) -> Operator:
    """Return the Hermitian conjugate as CSR."""
    return operator.conj().T.tocsr()


def scaled(operator: Operator, factor: float) -> Operator:
    """Return a multiple of a CSR matrix that shares its pattern."""
    parts = (factor * operator.data, operator.indices, operator.indptr)
    return sp.csr_array(parts, shape=operator.shape, copy=False)


def summed(start: Operator, terms: Sequence[Operator]) -> Operator:
    """Return start + sum(terms) as CSR without stored zeros."""
    total = start.copy()
    for term in terms:
        total = total + term
    total = sp.csr_array(total)
    total.eliminate_zeros()
    total.sort_indices()
    return total


def hermitian_defect(operator: Operator) -> float:
    """Return max |A - A^dag|."""
    difference = operator - adjoint(operator)
    return float(np.abs(difference.data).max(initial=0.0))


def is_hermitian(operator: Operator) -> bool:
    """Tell whether A = A^dag to rounding."""
    scale = float(np.abs(operator.data).max(initial=0.0))
    return hermitian_defect(operator) <= HERMITIAN_TOLERANCE * max(scale, 1e-300)


def as_times(times: Any) -> Floats:
    """Return `times` as a strictly increasing array of shape (T,) [time].

    Raises
    ------
    ModelError
        If the times are not finite, increasing, or fewer than one.
    """
    try:
        array = np.array(times, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"`times` must be an array of numbers, but is {type(times).__name__}"
        ) from error
    if array.ndim != 1 or array.size == 0:
        raise ModelError(
            f"`times` must have shape (T,) with T >= 1, but has shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ModelError("`times` must be finite, but contains NaN or infinity")
    steps = np.diff(array)
    if (steps <= 0).any():
        worst = int(np.argmin(steps))
        raise ModelError(
            "`times` must be strictly increasing, but "
            f"times[{worst}] = {array[worst]:g} is followed by {array[worst + 1]:g}"
        )
    read_only(array)
    return array


def as_array(value: Any, name: str) -> npt.NDArray[Any]:
    """Return `value` as an array.

    Raises
    ------
    ModelError
        If its rows differ in length.
    """
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ModelError(
            f"`{name}` must have rows of equal length, but is {value!r:.60}"
        ) from error


def positive_rate(value: Any, name: str) -> float:
    """Return a finite rate >= 0 [1/time]."""
    number = as_array(value, name)
    if number.ndim or number.dtype.kind not in "iuf" or isinstance(value, bool):
        raise ModelError(f"`{name}` must be a real number >= 0, but is {value!r}")
    rate = float(number)
    if not np.isfinite(rate) or rate < 0:
        raise ModelError(f"`{name}` must be finite and >= 0, but is {rate}")
    return rate


def whole_number(value: Any, name: str, *, at_least: int) -> int:
    """Return an integer >= `at_least`; floats, booleans and strings are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"`{name}` must be an integer, but is {value!r}")
    if value < at_least:
        raise ValueError(f"`{name}` must be >= {at_least}, but is {value}")
    return int(value)
