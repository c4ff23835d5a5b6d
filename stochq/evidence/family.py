"""Many verdicts at once: the level at which each is to be judged.

With K verdicts at level alpha each, one of K alpha fails by chance. Holm's rule keeps
the probability of any false alarm below alpha, however the verdicts depend on each
other, and asks less of the others once some have failed.

References
----------
.. [1] S. Holm, "A simple sequentially rejective multiple test procedure",
   Scand. J. Statist. 6, 65 (1979).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stochq.arrays import Floats

__all__ = ["holm_adjusted", "holm_level"]


def holm_adjusted(p_values: Sequence[float]) -> Floats:
    r"""Return the smallest family-wise level at which each of K tests is rejected.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\bigl(1, (K - j + 1)\, p_{(j)}\bigr)

    Parameters
    ----------
    p_values : sequence of K float
        NaN counts as 1: what cannot be judged is not rejected.

    Returns
    -------
    ndarray, shape (K,)
        In the order of the p-values.
    """
    p = np.nan_to_num(np.asarray(p_values, dtype=np.float64), nan=1.0)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (p.size - np.arange(p.size)))
    adjusted = np.empty_like(p)
    adjusted[order] = steps.clip(max=1.0)
    return adjusted


def holm_level(p_values: Sequence[float], alpha: float) -> float:
    """Return the level for each single test that Holm's rule comes to.

    With R of K tests rejected it is ``alpha / (K - R)``: exactly the rejected ones have
    p-values below it.

    Parameters
    ----------
    p_values : sequence of K float
        Of all tests.
    alpha : float
        Probability of any false alarm.
    """
    adjusted = holm_adjusted(p_values)
    rejected = int((adjusted < alpha).sum())
    return alpha / max(adjusted.size - rejected, 1)
