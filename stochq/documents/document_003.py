"""Document 003, D. Mogilevtsev and G. Ya. Slepyan: transfer by noisy coupling.

A chain of two-level systems whose neighbors exchange excitations through fluctuating
couplings L_j = (s_j^+ + s_{j+1}^+)(s_j^- + s_{j+1}^-), with L_j^2 = 2 L_j.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from stochq.arrays import Floats, Operator, adjoint, whole_number
from stochq.channels import Dissipator, WhiteNoise
from stochq.claims import Case, Claim, Reading
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references import Reference, master_equation
from stochq.spaces import tls_lowering, tls_number

__all__ = ["CLAIMS", "noisy_chain", "population_walk"]


def _couplings(n_sites: int) -> list[Operator]:
    """Return L_1 ... L_N on the full space of N + 1 sites."""
    lowering = [tls_lowering(n_sites, j) for j in range(n_sites)]
    both = [lowering[j] + lowering[j + 1] for j in range(n_sites - 1)]
    return [adjoint(s) @ s for s in both]


def _fock_state(n_sites: int, excited: Sequence[int]) -> Floats:
    """Return the product state with some sites excited, shape (2^n,)."""
    index = 0
    for site in excited:
        if not 0 <= site < n_sites:
            raise ModelError(
                f"`excited` must hold sites 0 ... {n_sites - 1}, but holds {site}"
            )
        index |= 1 << (n_sites - 1 - site)
    ket = np.zeros(2**n_sites)
    ket[index] = 1.0
    return ket


def noisy_chain(
    n_sites: int = 6,
    gamma: float | Sequence[float] | Floats = 1.0,
    *,
    excited: Sequence[int] = (0,),
    convention: float = 2.0,
) -> Model:
    r"""Return a chain of two-level systems with noisy coupling, in the full space.

    .. math::
        H(t) = \sum_{j=1}^{N} \eta_j(t)\, L_j, \qquad
        \langle \eta_j \eta_k \rangle = C\,\gamma_j\,\delta_{jk}\,\delta(t - s)

    averages to ``C gamma_j (L_j rho L_j - {L_j^2, rho}/2)``. The document writes C = 1
    for the noise but its master equation is that of C = 2 (the default here).

    Parameters
    ----------
    n_sites : int
        N + 1, at least 2; the dimension is 2^(N+1).
    gamma : float or sequence of N floats
        Hopping diffusion rates gamma_j [1/time].
    excited : sequence of int
        Sites that start in the upper level, counted from 0.
    convention : float
        C, the covariance of the noise in units of gamma.

    Returns
    -------
    Model
        Observables "n_1" ... "n_{N+1}"; the noise is called "coupling".

    Notes
    -----
    Source: document 003, Eqs. 1 and 2.
    """
    whole_number(n_sites, "n_sites", at_least=2)
    given = np.asarray(gamma, dtype=float)
    if given.shape not in ((), (n_sites - 1,)):
        raise ModelError(
            f"`gamma` must be a number or have shape ({n_sites - 1},), one per bond, "
            f"but has shape {given.shape}"
        )
    rates = convention * np.broadcast_to(given, (n_sites - 1,))
    return Model(
        name=f"noisy chain of {n_sites} TLS",
        noise=(WhiteNoise(_couplings(n_sites), rate=rates, name="coupling"),),
        initial=_fock_state(n_sites, excited),
        observables={f"n_{j + 1}": tls_number(n_sites, j) for j in range(n_sites)},
    )


def population_walk(gamma: Any, start: Any, times: Any) -> Reference:
    r"""Return the populations that document 003, Eq. 3 predicts.

    .. math:: \dot n_j = -2(\gamma_j + \gamma_{j-1}) n_j + 2\gamma_j n_{j+1}
        + 2\gamma_{j-1} n_{j-1}

    Parameters
    ----------
    gamma : array_like, shape (N,)
        Rates gamma_j of the bonds [1/time].
    start : array_like, shape (N + 1,)
        n_j at ``times[0]``.
    times : array_like, shape (T,) [time]
        Output times.
    """
    gamma, start = np.asarray(gamma, dtype=float), np.asarray(start, dtype=float)
    times = np.asarray(times, dtype=float)
    walk = np.zeros((start.size, start.size))
    for j, rate in enumerate(gamma):
        walk[j : j + 2, j : j + 2] += 2 * rate * np.array([[-1, 1], [1, -1]])
    elapsed = times - times[0]
    values = np.array([scipy.linalg.expm(t * walk) @ start for t in elapsed]).T
    return Reference(
        times=times,
        names=tuple(f"n_{j + 1}" for j in range(start.size)),
        values=values,
        error=1e-12,
        method="document 003, Eq. 3",
        # all rates scale together: n depends on gamma t only
        sensitivity={"coupling": elapsed * (walk @ values)},
    )


def _printed_average(n_sites: int, gamma: float, excited: Sequence[int]) -> Model:
    """Return Eq. 2 as printed: 2 gamma (L rho L - L rho - rho L)."""
    chain = noisy_chain(n_sites, gamma, excited=excited)
    return Model(
        name="document 003, Eq. 2",
        dissipators=[
            Dissipator(L, 2 * gamma, name="coupling") for L in _couplings(n_sites)
        ],
        initial=chain.initial,
        observables=chain.observables,
    )


def _m1_cases() -> list[Case]:
    """Return noise of covariance gamma against 2 gamma (...) and gamma (...)."""
    times, gamma, excited = np.linspace(0, 2.5, 26), 0.8, (0, 3)
    chain = noisy_chain(4, gamma, excited=excited, convention=1.0)
    printed = master_equation(_printed_average(4, gamma, excited), times)
    mended = master_equation(_printed_average(4, gamma / 2, excited), times)
    readings = [
        Reading("document", printed, "2 gamma (L rho L - L rho - rho L)"),
        Reading("correction", mended, "gamma (L rho L - L rho - rho L)"),
    ]
    n_traj = {"quick": 32768, "full": 524288}
    return [Case("noise of covariance gamma", chain, times, n_traj, readings)]


def _m2_cases() -> list[Case]:
    """Return the walk of the populations, and their equal distribution at the end."""
    gamma = np.array([1.0, 0.4, 1.3, 0.7, 1.0])
    start = np.array([1.0, 1.0, 0, 0, 0, 0])
    times = np.linspace(0, 4, 33)
    walk = population_walk(gamma, start, times)
    long, late = np.linspace(0, 24, 25), np.linspace(16, 24, 9)
    sites = tuple(f"n_{j}" for j in range(1, 5))
    equal = Reference(late, sites, np.full((4, 9), 0.5), error=1e-8)
    return [
        Case(
            "walk, unequal rates",
            noisy_chain(6, gamma, excited=(0, 1)),
            times,
            {"quick": 8192, "full": 131072},
            [Reading("document", walk, "Eq. 3")],
        ),
        Case(
            "equal at late times",
            noisy_chain(4, 1.0, excited=(0, 1)),
            long,
            {"quick": 8192, "full": 131072},
            [Reading("document", equal, "E_0 / (N + 1)", resolution=0.05)],
        ),
    ]


CLAIMS = (
    Claim(
        id="M1",
        document="003",
        statement="noise <eta eta> = gamma delta gives "
        "2 gamma (L rho L - L rho - rho L)",
        equation="d rho/dt = gamma sum_j (L_j rho L_j - L_j rho - rho L_j)",
        source="Eqs. 1 and 2",
        expected="holds as corrected",
        cases=_m1_cases,
        reason="a factor 2: that noise averages to gamma (...); the printed equation "
        "needs <eta eta> = 2 gamma delta, which all other claims use",
    ),
    Claim(
        id="M2",
        document="003",
        statement="populations diffuse, dn_j/dt = 2 gamma (n_{j+1} - 2 n_j + n_{j-1}), "
        "and equalize",
        equation="dn_j/dt = -2 (g_j + g_{j-1}) n_j + 2 g_j n_{j+1} + 2 g_{j-1} n_{j-1}",
        source="Eq. 3",
        expected="holds",
        cases=_m2_cases,
    ),
)
