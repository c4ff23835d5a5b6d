"""The structure of a model's matrices, found once, when a model is lowered.

Everything is stored by what is not zero: a diagonal, block or local operator costs what
its elements cost, and the kernels need no second code path for it. An exponential
``exp(-i x L)`` is a product over the eigenvectors of the connected blocks of L,

    exp(-i x L) = prod_m [ 1 + (exp(-i x l_m) - 1) v_m v_m^dag ],

over the eigenvalues l_m that are not zero. For L^2 = c L one phase serves all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from stochq.arrays import Complexes, Floats, Ints, Operator

__all__ = [
    "Linear",
    "NoiseFactors",
    "Quadratic",
    "Sparse",
    "blocks",
    "commute",
    "commuting_groups",
    "is_diagonal",
    "noise_factors",
    "pack",
    "pack_linear",
    "pack_quadratic",
    "spectrum_of",
]

#: What is smaller than this, relative to the largest element, is rounding.
ROUNDING = 1e-13


#: Eigenvalues, each with its eigenvectors as (indices, amplitudes).
Spectrum = list[tuple[float, list[tuple[Ints, Complexes]]]]


class Sparse(NamedTuple):
    """One CSR matrix, or several stacked row over row."""

    indptr: Ints
    indices: Ints
    data: Complexes


class Quadratic(NamedTuple):
    """Hermitian forms <x|O|x> by their upper triangles, off-diagonals doubled."""

    ptr: Ints
    row: Ints
    column: Ints
    re: Floats
    im: Floats


class Linear(NamedTuple):
    """Rows that give Tr(O rho) from the elements of rho; the last gives the trace."""

    ptr: Ints
    element: Ints
    re: Floats
    im: Floats


class NoiseFactors(NamedTuple):
    """Groups of commuting noise channels, ready for the kernel.

    Diagonal channels are gathered by row: ``entry_*`` list the channels and elements
    (in turns, l / 2 pi) that turn the phase of ``rows``. The others are gathered by
    eigenvalue (``values``, in turns) and eigenvector (``component``, ``re``, ``im``).
    ``gap`` is the distance of a channel's eigenvalues where it has two, else NaN.
    """

    group_ptr: Ints
    row_ptr: Ints
    rows: Ints
    entry_ptr: Ints
    entry_channel: Ints
    entry_value: Floats
    value_ptr: Ints
    values: Floats
    term_ptr: Ints
    vector_ptr: Ints
    component: Ints
    re: Floats
    im: Floats
    gap: Floats


def pack(matrices: Sequence[Operator] | Operator) -> Sparse:
    """Return one matrix, or several stacked, as contiguous arrays for a kernel."""
    if sp.issparse(matrices) or isinstance(matrices, np.ndarray):
        matrices = [matrices]
    if not len(matrices):
        empty = np.zeros(0, dtype=np.int64)
        return Sparse(np.zeros(1, dtype=np.int64), empty, np.zeros(0, complex))
    stacked = sp.vstack([sp.csr_array(m) for m in matrices], format="csr")
    stacked.eliminate_zeros()
    stacked.sort_indices()
    return Sparse(
        stacked.indptr.astype(np.int64),
        stacked.indices.astype(np.int64),
        stacked.data.astype(np.complex128),
    )


def pack_quadratic(observables: Sequence[Operator]) -> Quadratic:
    """Return Hermitian observables as upper triangles."""
    triangles = [sp.triu(o, format="coo") for o in observables]
    ptr = np.cumsum([0] + [t.nnz for t in triangles]).astype(np.int64)
    row = np.concatenate([t.coords[0] for t in triangles]).astype(np.int64)
    column = np.concatenate([t.coords[1] for t in triangles]).astype(np.int64)
    data = np.concatenate([t.data for t in triangles]) * np.where(row == column, 1, 2)
    return Quadratic(
        ptr,
        row,
        column,
        np.ascontiguousarray(data.real, dtype=np.float64),
        np.ascontiguousarray(data.imag, dtype=np.float64),
    )


def pack_linear(rows: Sequence[Operator], diagonal: Ints) -> Linear:
    """Return rows of shape (1, n), and that of the trace, for a kernel."""
    trace = np.zeros((1, rows[0].shape[1]))
    trace[0, diagonal] = 1.0
    packed = pack([*rows, sp.csr_array(trace)])
    return Linear(
        packed.indptr,
        packed.indices,
        np.ascontiguousarray(packed.data.real),
        np.ascontiguousarray(packed.data.imag),
    )


def is_diagonal(operator: Operator) -> bool:
    """Tell whether all stored elements are on the diagonal."""
    coo = operator.tocoo()
    return bool(np.array_equal(coo.coords[0], coo.coords[1]))


def blocks(operator: Operator) -> list[Ints]:
    """Return the index sets of the connected blocks that hold an element."""
    count, label = connected_components(abs(operator), directed=False)
    order = np.argsort(label, kind="stable")
    sets = np.split(order, np.cumsum(np.bincount(label, minlength=count))[:-1])
    touched = np.diff(operator.indptr) > 0
    return [s for s in sets if touched[s].any()]


def commute(one: Operator, other: Operator) -> bool:
    """Tell whether two operators commute, to the rounding of each matrix element.

    The rounding of an element is that of its terms: a weak coupling is not
    hidden by large energies elsewhere.
    """
    commutator = abs(one @ other - other @ one)
    rounding = ROUNDING * (abs(one) @ abs(other) + abs(other) @ abs(one))
    excess = commutator - rounding
    return bool(excess.data.max(initial=0.0) <= 0.0)


def spectrum_of(operator: Operator) -> Floats:
    """Return all eigenvalues of a Hermitian matrix, ascending."""
    values = np.zeros(operator.shape[0])
    if is_diagonal(operator):
        values[:] = operator.diagonal().real
    else:
        for members in blocks(operator):
            dense = operator[members][:, members].toarray()
            values[members] = np.linalg.eigvalsh(dense)
    values.sort()
    return values


def commuting_groups(operators: Sequence[Operator]) -> list[list[int]]:
    """Partition channels into sets whose members commute pairwise.

    All diagonal channels share one set. Each other channel joins the first set in which
    it commutes with every member; only members that touch the same rows are tested, so
    that local channels cost what their neighborhood costs.
    """
    diagonal = [k for k, L in enumerate(operators) if is_diagonal(L)]
    groups: list[list[int]] = [diagonal] if diagonal else []
    touching: list[dict[int, list[int]]] = []
    for group in groups:
        touching.append({})
        for k in group:
            _register(touching[-1], operators[k], k)
    for k in sorted(set(range(len(operators))) - set(diagonal)):
        for group, rows in zip(groups, touching, strict=True):
            near = {j for i in _support(operators[k]) for j in rows.get(i, ())}
            if all(commute(operators[k], operators[j]) for j in near):
                group.append(k)
                _register(rows, operators[k], k)
                break
        else:
            groups.append([k])
            touching.append({})
            _register(touching[-1], operators[k], k)
    return groups


def _support(operator: Operator) -> list[int]:
    """Return the rows that hold an element."""
    rows: list[int] = np.flatnonzero(np.diff(operator.indptr)).tolist()
    return rows


def _register(rows: dict[int, list[int]], operator: Operator, k: int) -> None:
    """Note which rows a channel touches."""
    for i in _support(operator):
        rows.setdefault(i, []).append(k)


def eigenvectors(operator: Operator) -> Spectrum:
    """Return [(eigenvalue, [(indices, amplitudes), ...]), ...] of a Hermitian matrix.

    Blocks are diagonalized one by one (equal blocks once); the eigenvalue zero is left
    out, since it does nothing in an exponential.
    """
    scale = float(np.abs(operator.data).max(initial=0.0))
    found: list[tuple[float, Ints, Complexes]] = []
    known: dict[bytes, tuple[Floats, Complexes]] = {}
    for members in blocks(operator):
        dense = operator[members][:, members].toarray()
        key = dense.tobytes()
        if key not in known:
            known[key] = np.linalg.eigh(dense)
        values, vectors = known[key]
        for value, vector in zip(values, vectors.T, strict=True):
            if abs(value) > ROUNDING * len(members) * scale:
                kept = np.abs(vector) > ROUNDING
                found.append((float(value), members[kept], vector[kept]))
    found.sort(key=lambda item: item[0])
    gathered: list[tuple[float, list[tuple[Ints, Complexes]]]] = []
    for value, members, vector in found:
        tolerance = ROUNDING * max(abs(value), scale) * operator.shape[0]
        if not gathered or value - gathered[-1][0] > tolerance:
            gathered.append((value, []))
        gathered[-1][1].append((members, vector))
    return gathered


def _gap(operator: Operator, spectrum: Spectrum) -> float:
    """Return the distance of the eigenvalues of a matrix that has two, else NaN."""
    values = [value for value, _ in spectrum]
    if sum(len(terms) for _, terms in spectrum) < operator.shape[0]:
        values.append(0.0)
    return abs(values[1] - values[0]) if len(values) == 2 else np.nan


def noise_factors(
    operators: Sequence[Operator],
    groups: Sequence[Sequence[int]],
    *,
    by_eigenvalue: bool = False,
) -> NoiseFactors:
    """Return the channels of all groups, in group order, ready for the kernel.

    With `by_eigenvalue`, diagonal channels are stored like all others.
    """
    gaps: list[float] = []
    rows: list[int] = []
    row_ptr, entries = [0], [0]
    entry_channel: list[int] = []
    entry_value: list[float] = []
    value_ptr, values, term_ptr, vector_ptr = [0], [], [0], [0]
    index: list[Ints] = []
    amplitude: list[Complexes] = []
    channel = 0
    for group in groups:
        by_row: dict[int, list[tuple[int, float]]] = {}
        for k in group:
            gaps.append(np.nan)
            if is_diagonal(operators[k]) and not by_eigenvalue:
                diagonal = operators[k].diagonal().real / (2 * np.pi)
                for i in np.flatnonzero(diagonal):
                    by_row.setdefault(int(i), []).append((channel, diagonal[i]))
            else:
                spectrum = eigenvectors(operators[k])
                gaps[-1] = _gap(operators[k], spectrum)
                for value, terms in spectrum:
                    values.append(value / (2 * np.pi))
                    for members, vector in terms:
                        index.append(members)
                        amplitude.append(vector)
                        vector_ptr.append(vector_ptr[-1] + members.size)
                    term_ptr.append(len(vector_ptr) - 1)
            value_ptr.append(len(values))
            channel += 1
        for row in sorted(by_row):
            rows.append(row)
            entry_channel += [k for k, _ in by_row[row]]
            entry_value += [value for _, value in by_row[row]]
            entries.append(len(entry_channel))
        row_ptr.append(len(rows))
    vector = np.concatenate([*amplitude, np.zeros(0, complex)])
    return NoiseFactors(
        group_ptr=_ints(np.cumsum([0] + [len(group) for group in groups])),
        row_ptr=_ints(row_ptr),
        rows=_ints(rows),
        entry_ptr=_ints(entries),
        entry_channel=_ints(entry_channel),
        entry_value=np.array(entry_value, dtype=np.float64),
        value_ptr=_ints(value_ptr),
        values=np.array(values, dtype=np.float64),
        term_ptr=_ints(term_ptr),
        vector_ptr=_ints(vector_ptr),
        component=_ints(np.concatenate([*index, np.zeros(0, np.int64)])),
        re=np.ascontiguousarray(vector.real),
        im=np.ascontiguousarray(vector.imag),
        gap=np.array(gaps, dtype=np.float64),
    )


def _ints(values: object) -> Ints:
    """Return a contiguous int64 array."""
    return np.ascontiguousarray(values, dtype=np.int64)
