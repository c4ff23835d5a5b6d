"""Entropies and purities of the state of a trajectory and of its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import entr

from stochq.arrays import Complexes, Floats, whole_number
from stochq.errors import ModelError
from stochq.functions.base import KETS, MATRICES, ORBITALS

__all__ = ["EntanglementEntropy", "OrbitalEntropy", "Purity"]


@dataclass(frozen=True)
class EntanglementEntropy:
    r"""Entropy of entanglement of a ket between some subsystems and the others.

    .. math:: S = -\mathrm{Tr}\, \rho_A \ln \rho_A = -\sum_k s_k^2 \ln s_k^2,
        \qquad \psi_{ab} = \sum_k s_k\, u_{ka} v_{kb}

    with the Schmidt values s of the ket, in nats; 0 for a product state, at most
    ``ln min(d_A, d_B)``. Its mean over trajectories depends on the unraveling.

    Parameters
    ----------
    dims : tuple of int
        Dimensions of all tensor factors, the first leftmost as in `tensor`.
    keep : int or tuple of int
        The factors that make up A.

    Raises
    ------
    ModelError
        If `keep` does not name some of the factors, but not all.
    """

    dims: tuple[int, ...]
    keep: tuple[int, ...]
    kinds: ClassVar[tuple[str, ...]] = (KETS,)

    def __post_init__(self) -> None:
        """Check the factors."""
        dims, keep = _checked_factors(self.dims, self.keep, type(self).__name__)
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "keep", keep)

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return 0.0, math.log(_smaller_side(self.dims, self.keep))

    def __call__(self, states: Complexes, /) -> Floats:
        """Return S of every ket (n, d), shape (n,)."""
        schmidt = np.linalg.svd(_split(states, self.dims, self.keep), compute_uv=False)
        entropy: Floats = entr(np.square(schmidt)).sum(axis=1)
        return entropy


@dataclass(frozen=True)
class Purity:
    r"""Purity of the state of a trajectory, or of some of its subsystems.

    .. math:: \mathrm{Tr}\, \rho_A^2, \qquad \rho_A = \mathrm{Tr}_B\, \rho

    It is 1 for every ket as a whole.

    Parameters
    ----------
    dims : tuple of int, optional
        Dimensions of all tensor factors, the first leftmost as in `tensor`.
    keep : int or tuple of int, optional
        The factors that make up A; without both, A is all.

    Raises
    ------
    ModelError
        If only one is given, or `keep` does not name some of the factors, but not all.
    """

    dims: tuple[int, ...] | None = None
    keep: tuple[int, ...] | None = None
    kinds: ClassVar[tuple[str, ...]] = (KETS, MATRICES)

    def __post_init__(self) -> None:
        """Check the factors."""
        if self.dims is None and self.keep is None:
            return
        if self.dims is None or self.keep is None:
            raise ModelError(
                "`dims` and `keep` of Purity must be given together, but "
                f"are {self.dims!r:.60} and {self.keep!r:.60}"
            )
        dims, keep = _checked_factors(self.dims, self.keep, type(self).__name__)
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "keep", keep)

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds of its values."""
        return 0.0, 1.0

    def __call__(self, states: Complexes, /) -> Floats:
        """Return the purity of every ket (n, d) or density matrix (n, d, d), (n,)."""
        if self.dims is None or self.keep is None:
            squares: Floats = np.square(np.abs(states)).reshape(states.shape[0], -1)
            total: Floats = squares.sum(axis=1)
            return total if states.ndim == 3 else np.square(total)
        if states.ndim == 3:
            reduced = _partial_trace(states, self.dims, self.keep)
        else:
            amplitudes = _split(states, self.dims, self.keep)
            if amplitudes.shape[1] > amplitudes.shape[2]:  # the same, and smaller
                amplitudes = amplitudes.transpose(0, 2, 1)
            reduced = amplitudes @ amplitudes.conj().transpose(0, 2, 1)
        found: Floats = np.square(np.abs(reduced)).sum(axis=(1, 2))
        return found


@dataclass(frozen=True)
class OrbitalEntropy:
    r"""Entropy of entanglement of free fermions between some sites and the others.

    .. math:: S = -\sum_k \bigl[ p_k \ln p_k + (1 - p_k) \ln(1 - p_k) \bigr]

    over the eigenvalues p of the correlation matrix :math:`\langle c_x^\dagger c_y
    \rangle` restricted to the sites, in nats; at most ln 2 per site.

    Parameters
    ----------
    sites : int or tuple of int
        The sites x, from 0.

    Raises
    ------
    ModelError
        If they are not different numbers >= 0.
    """

    sites: tuple[int, ...]
    kinds: ClassVar[tuple[str, ...]] = (ORBITALS,)

    def __post_init__(self) -> None:
        """Check the sites."""
        sites = _numbers(self.sites, "sites", type(self).__name__)
        object.__setattr__(self, "sites", sites)

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return 0.0, len(self.sites) * math.log(2)

    def __call__(self, states: Complexes, /) -> Floats:
        """Return S of all orbitals (n, sites, particles), shape (n,)."""
        if max(self.sites) >= states.shape[1]:
            raise ModelError(
                f"`sites` of OrbitalEntropy must be below {states.shape[1]}, "
                f"but are {self.sites}"
            )
        # the eigenvalues of U_A U_A^dag that are not zero
        filled = np.square(np.linalg.svd(states[:, self.sites], compute_uv=False))
        filled = np.minimum(filled, 1.0)
        entropy: Floats = (entr(filled) + entr(1.0 - filled)).sum(axis=1)
        return entropy


def _numbers(value: Any, name: str, owner: str, at_least: int = 0) -> tuple[int, ...]:
    """Return one number or several different ones as a tuple."""
    single = isinstance(value, (int, np.integer))
    try:
        listed = (value,) if single else tuple(value)
        found = tuple(whole_number(v, name, at_least=at_least) for v in listed)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"`{name}` of {owner} must be integers >= {at_least}, but is {value!r:.60}"
        ) from error
    if not found or (name != "dims" and len(set(found)) < len(found)):
        raise ModelError(
            f"`{name}` of {owner} must hold at least one number, and none twice, "
            f"but is {value!r:.60}"
        )
    return found


def _checked_factors(
    dims: Any, keep: Any, owner: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the dimensions of all factors, and which of them are kept."""
    dims = _numbers(dims, "dims", owner, at_least=1)
    keep = _numbers(keep, "keep", owner)
    if max(keep) >= len(dims) or len(keep) == len(dims):
        raise ModelError(
            f"`keep` of {owner} must name some of the {len(dims)} factors 0 to "
            f"{len(dims) - 1}, but not all, and is {keep}"
        )
    return dims, tuple(sorted(keep))


def _smaller_side(dims: tuple[int, ...], keep: tuple[int, ...]) -> int:
    """Return the smaller dimension of the two parts."""
    kept = math.prod(dims[k] for k in keep)
    return min(kept, math.prod(dims) // kept)


def _kept_first(
    states: Complexes, dims: tuple[int, ...], keep: tuple[int, ...]
) -> tuple[list[int], int, int]:
    """Return the factors with those of A first, and the dimensions of A and B."""
    if math.prod(dims) != states.shape[1]:
        raise ModelError(
            f"`dims` must multiply to the dimension {states.shape[1]} of the model, "
            f"but are {dims}"
        )
    order = [*keep, *(k for k in range(len(dims)) if k not in keep)]
    kept = math.prod(dims[k] for k in keep)
    return order, kept, math.prod(dims) // kept


def _split(
    states: Complexes, dims: tuple[int, ...], keep: tuple[int, ...]
) -> Complexes:
    """Return kets as matrices psi_ab, shape (n, d_A, d_B)."""
    order, kept, rest = _kept_first(states, dims, keep)
    n = states.shape[0]
    axes = [0, *(1 + k for k in order)]
    return states.reshape(n, *dims).transpose(axes).reshape(n, kept, rest)


def _partial_trace(
    states: Complexes, dims: tuple[int, ...], keep: tuple[int, ...]
) -> Complexes:
    """Return rho_A of density matrices, shape (n, d_A, d_A)."""
    order, kept, rest = _kept_first(states, dims, keep)
    n, factors = states.shape[0], len(dims)
    axes = [0, *(1 + k for k in order), *(1 + factors + k for k in order)]
    blocks = states.reshape(n, *dims, *dims).transpose(axes)
    blocks = blocks.reshape(n, kept, rest, kept, rest)
    reduced: Complexes = np.trace(blocks, axis1=2, axis2=4)
    return reduced
