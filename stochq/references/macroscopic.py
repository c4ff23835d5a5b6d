r"""The mean-field law of collective spins with dissipation of strength 1/N.

In the limit of many spins the mean :math:`\omega_\mu = \langle S_\mu \rangle / N` feels
only the antisymmetric part B of the Kossakowski matrix D = A + iB. With the vector
:math:`v = (B_{23}, -B_{13}, B_{12})` the three equations are one,

.. math:: \dot\omega = |\omega|^2\, v - (v \cdot \omega)\, \omega ,

and :math:`|\omega|` is constant.

Source: Benatti, Carollo, Floreanini and Narnhofer, Eqs. 37-41.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from stochq.arrays import Floats, as_times
from stochq.errors import ModelError

__all__ = ["macroscopic_equation", "macroscopic_magnetization"]


def _finite(value: Any, name: str, shape: tuple[int, ...]) -> Floats:
    """Return a finite real array of the given shape."""
    array = np.asarray(value)
    if array.shape != shape or array.dtype.kind not in "iuf":
        raise ModelError(
            f"`{name}` must be real with shape {shape}, "
            f"but has shape {array.shape} and type {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise ModelError(f"`{name}` must be finite, but contains NaN or infinity")
    return array.astype(np.float64)


def macroscopic_magnetization(omega0: Any, lam: float, times: Any) -> Floats:
    r"""Return the mean field for B with the one entry B_12 = lambda, in closed form.

    .. math::
        \omega_3(t) = \xi \tanh(\xi(\lambda t + c)), \qquad
        \omega_{1,2}(t) = \omega_{1,2}(0)\,
        \frac{\cosh(\xi c)}{\cosh(\xi(\lambda t + c))}

    with :math:`\xi = |\omega(0)|` (its sign does not matter) and
    :math:`\omega_3(0) = \xi \tanh(\xi c)`.

    Parameters
    ----------
    omega0 : array_like, shape (3,)
        omega at ``times[0]`` [1]; every component of a spin 1/2 is within +-1/2.
    lam : float
        lambda = B_12 [1/time].
    times : array_like, shape (T,)
        Strictly increasing [time].

    Returns
    -------
    ndarray, shape (3, T)

    Raises
    ------
    ModelError
        If an argument is not finite or has the wrong shape.

    Notes
    -----
    Source: Benatti, Carollo, Floreanini and Narnhofer, after Eq. 40.
    """
    start = _finite(omega0, "omega0", (3,))
    rate, times = float(_finite(lam, "lam", ())), as_times(times)
    xi, across = math.hypot(*start), math.hypot(start[0], start[1])
    if across == 0:
        return np.tile(start[:, None], times.size)
    # xi c = artanh(omega_3 / xi), without cancellation next to a pole
    offset = math.log(xi + abs(start[2])) - math.log(across)
    phase = xi * rate * (times - times[0]) + math.copysign(offset, start[2])
    sech = 2 * np.exp(-abs(phase)) / (1 + np.exp(-2 * abs(phase)))
    first, second = start[:2] / across
    return xi * np.stack([first * sech, second * sech, np.tanh(phase)])


def macroscopic_equation(omega0: Any, B: Any, times: Any) -> Floats:
    r"""Integrate the mean-field equations for any antisymmetric B.

    .. math::
        \dot\omega_1 &= -B_{12}\omega_1\omega_3 + B_{13}\omega_1\omega_2
        + B_{23}(\omega_2^2 + \omega_3^2) \\
        \dot\omega_2 &= -B_{12}\omega_2\omega_3 - B_{23}\omega_1\omega_2
        - B_{13}(\omega_1^2 + \omega_3^2) \\
        \dot\omega_3 &= B_{13}\omega_2\omega_3 - B_{23}\omega_1\omega_3
        + B_{12}(\omega_1^2 + \omega_2^2)

    Parameters
    ----------
    omega0 : array_like, shape (3,)
        omega at ``times[0]`` [1].
    B : array_like, shape (3, 3)
        Real and antisymmetric [1/time].
    times : array_like, shape (T,)
        Strictly increasing [time].

    Returns
    -------
    ndarray, shape (3, T)

    Raises
    ------
    ModelError
        If an argument is not finite, has the wrong shape, or B is not antisymmetric.

    Notes
    -----
    Source: Benatti, Carollo, Floreanini and Narnhofer, Eqs. 37-39.
    """
    start, matrix = _finite(omega0, "omega0", (3,)), _finite(B, "B", (3, 3))
    defect = float(np.abs(matrix + matrix.T).max())
    if defect > 1e-12 * np.abs(matrix).max():
        raise ModelError(
            f"`B` must be antisymmetric, but max |B + B^T| is {defect:.3g}"
        )
    times = as_times(times)
    b12, b13, b23 = matrix[0, 1], matrix[0, 2], matrix[1, 2]

    def slope(_: float, w: Floats) -> list[float]:
        return [
            -b12 * w[0] * w[2] + b13 * w[0] * w[1] + b23 * (w[1] ** 2 + w[2] ** 2),
            -b12 * w[1] * w[2] - b23 * w[0] * w[1] - b13 * (w[0] ** 2 + w[2] ** 2),
            b13 * w[1] * w[2] - b23 * w[0] * w[2] + b12 * (w[0] ** 2 + w[1] ** 2),
        ]

    solution = solve_ivp(
        slope,
        (times[0], times[-1]),
        start,
        method="DOP853",
        t_eval=times,
        rtol=1e-12,
        atol=1e-15,
    )
    values: Floats = solution.y
    return values
