"""Matrices of the spaces that models live in, as complex CSR arrays.

Two-level systems: ``|-> = (1, 0)``, ``|+> = (0, 1)``; site 0 is the leftmost factor of
a tensor product. Spins: ``m`` descends from ``j`` to ``-j``, so ``|up> = (1, 0)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.special import gammaln, xlogy

from stochq.arrays import Complexes, Floats, Operator
from stochq.errors import ModelError

__all__ = [
    "bond_coupling",
    "boson_annihilation",
    "coherent_spin_state",
    "hopping_chain",
    "site_number",
    "spin_operators",
    "tensor",
    "tls_lowering",
    "tls_number",
]

#: How far from length 1 a direction may be.
UNIT_TOLERANCE = 1e-9


def _csr(matrix: Any) -> Operator:
    """Return `matrix` as a complex CSR array."""
    return sp.csr_array(matrix, dtype=np.complex128)


def _integer(value: Any, name: str, low: int, high: int | None = None) -> int:
    """Return an integer with low <= value (<= high)."""
    kind = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not kind or value < low or (high is not None and value > high):
        allowed = f">= {low}" if high is None else f"from {low} to {high}"
        raise ModelError(f"`{name}` must be an integer {allowed}, but is {value!r}")
    return int(value)


def _real(value: Any, name: str) -> float:
    """Return a finite real number."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iuf" or not np.isfinite(number):
        raise ModelError(f"`{name}` must be a finite real number, but is {value!r}")
    return float(number)


def tensor(*operators: Any) -> Operator:
    """Return the tensor product of matrices, the first factor leftmost.

    Parameters
    ----------
    *operators : matrix
        One or more factors.

    Raises
    ------
    ModelError
        If there is no factor.
    """
    if not operators:
        raise ModelError("`operators` must hold at least one matrix, but is empty")
    product = _csr(operators[0])
    for factor in operators[1:]:
        product = _csr(sp.kron(product, factor, format="csr"))
    return product


def _on_site(local: list[list[int]], n_sites: int, site: int) -> Operator:
    """Return a 2 x 2 matrix acting on one site of a chain of two-level systems."""
    n_sites = _integer(n_sites, "n_sites", 1)
    site = _integer(site, "site", 0, n_sites - 1)
    left, right = sp.eye_array(2**site), sp.eye_array(2 ** (n_sites - site - 1))
    return tensor(left, local, right)


def tls_lowering(n_sites: int, site: int) -> Operator:
    r"""Return :math:`s^-_k = |-\rangle\langle +|` on site k, shape (2^n, 2^n).

    Parameters
    ----------
    n_sites : int
        Number of two-level systems n.
    site : int
        k, from 0.

    Raises
    ------
    ModelError
        If the site is not on the chain.
    """
    return _on_site([[0, 1], [0, 0]], n_sites, site)


def tls_number(n_sites: int, site: int) -> Operator:
    r"""Return :math:`s^+_k s^-_k = |+\rangle\langle +|` on site k, shape (2^n, 2^n)."""
    return _on_site([[0, 0], [0, 1]], n_sites, site)


def bond_coupling(n_sites: int, bond: int) -> Operator:
    r"""Return the coupling of sites j and j + 1 in the one-excitation sector, (n, n).

    .. math:: L_j = (|j\rangle + |j+1\rangle)(\langle j| + \langle j+1|),
        \qquad L_j^2 = 2 L_j

    It is :math:`(s^+_j + s^+_{j+1})(s^-_j + s^-_{j+1})` acting on one excitation, for
    two-level systems and bosons alike (Mogilevtsev and Slepyan).

    Parameters
    ----------
    n_sites : int
        Number of sites n, at least 2.
    bond : int
        j, from 0 to n - 2.

    Raises
    ------
    ModelError
        If the bond is not on the chain.

    """
    n_sites = _integer(n_sites, "n_sites", 2)
    bond = _integer(bond, "bond", 0, n_sites - 2)
    pair = np.zeros((n_sites, 1))
    pair[bond : bond + 2] = 1
    column = _csr(pair)
    return column @ column.T


def hopping_chain(n_sites: int, hopping: float) -> Operator:
    r"""Return the one-body matrix of hopping between neighbors, shape (n, n).

    .. math:: h_{xy} = -J\,(\delta_{x,y+1} + \delta_{x,y-1}), \quad \text{open ends}

    Parameters
    ----------
    n_sites : int
        Number of sites n.
    hopping : float
        J [1/time].

    Raises
    ------
    ModelError
        If there is no site or J is not a finite real number.
    """
    n_sites = _integer(n_sites, "n_sites", 1)
    bonds = np.full(n_sites - 1, -_real(hopping, "hopping"))
    return _csr(sp.diags_array([bonds, bonds], offsets=[-1, 1]))


def site_number(n_sites: int, site: int) -> Operator:
    """Return the one-body matrix of n_x, the projector on site x, shape (n, n)."""
    n_sites = _integer(n_sites, "n_sites", 1)
    site = _integer(site, "site", 0, n_sites - 1)
    return _csr(sp.coo_array(([1.0], ([site], [site])), shape=(n_sites, n_sites)))


def boson_annihilation(cutoff: int) -> Operator:
    r"""Return :math:`a\,|n\rangle = \sqrt n\,|n-1\rangle` for n = 0 .. cutoff.

    Parameters
    ----------
    cutoff : int
        The largest occupation number that is kept, at least 1; the shape is
        (cutoff + 1, cutoff + 1).

    Raises
    ------
    ModelError
        If the cutoff is not an integer >= 1.
    """
    cutoff = _integer(cutoff, "cutoff", 1)
    return _csr(sp.diags_array(np.sqrt(np.arange(1.0, cutoff + 1)), offsets=1))


def _magnetic_numbers(j: float) -> Floats:
    """Return m = j .. -j, shape (2j + 1,)."""
    spin = _real(j, "j")
    if spin < 0 or not (2 * spin).is_integer():
        raise ModelError(f"`j` must be 0, 1/2, 1, 3/2, ..., but is {j!r}")
    return spin - np.arange(round(2 * spin) + 1, dtype=np.float64)


def spin_operators(j: float) -> tuple[Operator, Operator, Operator]:
    r"""Return :math:`S_1, S_2, S_3` of spin j, each of shape (2j + 1, 2j + 1).

    Parameters
    ----------
    j : float
        Total spin, an integer or half-integer.

    Raises
    ------
    ModelError
        If 2j is not an integer >= 0.
    """
    m = _magnetic_numbers(j)
    ladder = np.sqrt((m[0] - m) * (m[0] + m + 1))
    raising = sp.dia_array((ladder[None, :], [1]), shape=(m.size, m.size))
    lowering = raising.T
    return (
        _csr((raising + lowering) / 2),
        _csr((raising - lowering) / 2j),
        _csr(sp.diags_array(m)),
    )


def coherent_spin_state(j: float, direction: npt.ArrayLike) -> Complexes:
    r"""Return the ket of spin j along a unit vector n, shape (2j + 1,).

    .. math:: (n \cdot S)\,|n\rangle = j\,|n\rangle, \qquad
        \langle m|n\rangle = \sqrt{\tbinom{2j}{j+m}}\,
        \cos^{j+m}(\theta/2)\,\bigl(e^{i\varphi}\sin(\theta/2)\bigr)^{j-m}

    It is the product of 2j spins 1/2 that all point along n.

    Parameters
    ----------
    j : float
        Total spin, an integer or half-integer.
    direction : array_like, shape (3,)
        n, a unit vector.

    Raises
    ------
    ModelError
        If 2j is not an integer >= 0, or the direction is not a unit vector.
    """
    m = _magnetic_numbers(j)
    n = np.asarray(direction, dtype=np.float64)
    if n.shape != (3,) or not abs(np.linalg.norm(n) - 1) <= UNIT_TOLERANCE:
        raise ModelError(
            f"`direction` must be a unit vector of shape (3,), but is {direction!r}"
        )
    theta, phi = np.arctan2(np.hypot(n[0], n[1]), n[2]), np.arctan2(n[1], n[0])
    up, down = j + m, j - m
    logarithm = (gammaln(2 * j + 1) - gammaln(up + 1) - gammaln(down + 1)) / 2
    logarithm += xlogy(up, np.cos(theta / 2)) + xlogy(down, np.sin(theta / 2))
    return np.asarray(np.exp(logarithm + 1j * phi * down))
