"""Signs of a counted quantity under the fluctuation theorem.

Of n trajectories with |Q| = k units, the number with Q > 0 is binomial with chance
1/(1 + exp(-a k)), a the affinity per unit.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binomtest

from stochq.arrays import Floats, Ints

__all__ = ["affinity_error", "curve_p", "estimated_affinity", "slope_p"]

#: Half the window, in standard deviations, on which a distribution is inverted.
SIGMAS = 20

#: Rounding of the inversion: smaller probabilities are not told apart.
LEAST_P = 1e-12


def slope_p(k: Ints, total: Ints, chance: Floats, seen: int) -> float:
    """Return the exact two-sided p of sum_k k B_k, with B_k binomial(total, chance).

    The distribution is the Fourier inverse of prod_k (1 - p + p e^{i k theta})^n on a
    window of SIGMAS standard deviations; what lies beyond it is below rounding.
    """
    mean = float(k @ (total * chance))
    deviation = np.sqrt(float(k**2 @ (total * chance * (1 - chance))))
    reach = SIGMAS * (deviation + float(k.max())) + 32
    length = 2 ** int(np.ceil(np.log2(2 * reach)))
    theta = 2 * np.pi * np.arange(length) / length
    transform = np.ones(length, dtype=np.complex128)
    for step, n, p in zip(k, total, chance, strict=True):
        transform *= (1 - p + p * np.exp(1j * step * theta)) ** n
    values = round(mean) - length // 2 + np.arange(length)
    mass = (np.fft.fft(transform).real / length)[values % length]
    low, high = mass[values <= seen].sum(), mass[values >= seen].sum()
    return float(np.clip(2 * min(low, high), LEAST_P, 1.0))


def curve_p(plus: Ints, total: Ints, chance: Floats) -> float:
    """Return the smallest exact binomial p, times the number of them."""
    each = [
        binomtest(int(seen), int(n), float(p)).pvalue
        for seen, n, p in zip(plus, total, chance, strict=True)
    ]
    return float(np.clip(len(each) * min(each), LEAST_P, 1.0))


def estimated_affinity(k: Ints, plus: Ints, minus: Ints) -> tuple[float, float]:
    """Return the affinity per unit of greatest likelihood, and its standard error."""
    if not (plus.any() and minus.any()):
        return (np.inf if plus.any() else -np.inf), np.inf
    total = plus + minus

    def score(a: float) -> float:
        return float(k @ (plus - total * expit(a * k)))

    reach = 1.0
    while score(reach) > 0 or score(-reach) < 0:
        reach *= 2
    found = float(brentq(score, -reach, reach))
    return found, affinity_error(found, k, total)


def affinity_error(a: float, k: Ints, total: Ints) -> float:
    """Return 1 / sqrt(Fisher information) of the affinity per unit."""
    information = float(k**2 @ (total * expit(a * k) * expit(-a * k)))
    return information**-0.5 if information > 0 else np.inf
