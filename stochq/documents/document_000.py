"""Document 000, O. Shpielberg: the selective dephasing model (SDM).

Free fermions hop on a lattice, and some of the sites are dephased. The document is an
abstract and fixes no lattice; every geometry here is an instance of our own choice.

    H = sum_xy h_xy c_x^dag c_y,  L_x = sqrt(gamma) n_x (x in S),  G_xy = <c_x^dag c_y>
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stochq.arrays import Floats
from stochq.channels import Dissipator
from stochq.claims import Case, Claim, Reading
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references import Reference, correlation_equation, master_equation
from stochq.spaces import hopping_chain, site_number
from stochq.states import Occupations
from stochq.unravelings import (
    Choice,
    Homodyne,
    Jump,
    Kicks,
    Projections,
    UnitaryNoise,
)

__all__ = ["CLAIMS", "dephased_fermions", "dephased_particle", "ring_with_flux"]


def ring_with_flux(n_sites: int, hopping: float, flux: float) -> Any:
    """Return h of a ring: -J exp(i phi / L) on every bond, shape (L, L) [energy].

    With a flux phi through the ring h is complex, and an equation for G that forgets a
    transposition of h is wrong.
    """
    h = np.zeros((n_sites, n_sites), dtype=np.complex128)
    for x in range(n_sites):
        y = (x + 1) % n_sites
        h[x, y] += -hopping * np.exp(1j * flux / n_sites)
        h[y, x] += -hopping * np.exp(-1j * flux / n_sites)
    return h


def _dephasing(n_sites: int, sites: Sequence[int], gamma: float) -> list[Dissipator]:
    """Return L_x = sqrt(gamma) n_x on the dephased sites, as one group."""
    return [Dissipator(site_number(n_sites, x), gamma, name="dephasing") for x in sites]


def dephased_fermions(
    hopping_matrix: Any,
    dephased: Sequence[int],
    gamma: float = 1.0,
    *,
    occupations: Sequence[int],
) -> Model:
    r"""Return free fermions on any lattice, with dephasing on some of the sites.

    .. math::
        \dot G = i[h^T, G] - \gamma \sum_{x\in S}
        \bigl(\tfrac12\{P_x, G\} - P_x G P_x\bigr)

    Parameters
    ----------
    hopping_matrix : array_like, shape (L, L)
        h, Hermitian [energy].
    dephased : sequence of int
        S, the dephased sites.
    gamma : float
        Dephasing rate [1/time].
    occupations : sequence of L numbers 0 or 1
        The Fock state at the start.

    Returns
    -------
    Model
        A one-body model; observables "n_0" ... "n_{L-1}" and the real and imaginary
        parts of G between sites 0 and L/2. The dissipators are called "dephasing".

    Notes
    -----
    Source: document 000 (the model); the closed equation is exact for any state.
    """
    n_sites = len(occupations)
    far = n_sites // 2
    pair = np.zeros((n_sites, n_sites), dtype=np.complex128)
    pair[0, far] = 1.0
    observables: dict[str, Any] = {
        f"n_{x}": site_number(n_sites, x) for x in range(n_sites)
    }
    observables[f"Re G_0,{far}"] = (pair + pair.T) / 2
    observables[f"Im G_0,{far}"] = (pair - pair.T) / 2j
    return Model(
        name="selectively dephased fermions",
        hamiltonian=hopping_matrix,
        dissipators=_dephasing(n_sites, dephased, gamma),
        initial=Occupations(np.asarray(occupations)),
        observables=observables,
    )


def dephased_particle(
    n_sites: int = 39,
    hopping: float = 1.0,
    gamma: float = 4.0,
    *,
    start: int | None = None,
    observe: str = "sites",
) -> Model:
    r"""Return one particle on a chain with every site dephased.

    On an infinite chain

    .. math:: \langle x^2 \rangle = 2D\Bigl(t - \frac{1 - e^{-\gamma t}}{\gamma}\Bigr),
        \qquad D = \frac{2J^2}{\gamma}.

    Parameters
    ----------
    n_sites : int
        Sites; the kets have shape (n_sites,).
    hopping : float
        J [energy].
    gamma : float
        Dephasing rate [1/time].
    start : int, optional
        Where the particle starts; the middle by default.
    observe : "sites" or "spread"
        Observables "n_x", x counted from the start, for 5 sites from there on; or
        "<x^2>".

    Returns
    -------
    Model
        The dissipators are called "dephasing".

    Raises
    ------
    ModelError
        If `observe` is neither "sites" nor "spread".
    """
    start = n_sites // 2 if start is None else start
    position = np.arange(n_sites) - start
    if observe == "spread":
        observables: dict[str, Any] = {"<x^2>": np.diag(position.astype(float) ** 2)}
    elif observe == "sites":
        shown = range(start, min(start + 5, n_sites))
        observables = {f"n_{x - start}": site_number(n_sites, x) for x in shown}
    else:
        raise ModelError(f"`observe` must be 'sites' or 'spread', but is {observe!r}")
    return Model(
        name="a dephased particle",
        hamiltonian=hopping_chain(n_sites, hopping),
        dissipators=_dephasing(n_sites, range(n_sites), gamma),
        initial=np.eye(n_sites)[start],
        observables=observables,
    )


def spreading(times: Floats, hopping: float, gamma: float) -> Reference:
    """Return <x^2> of a dephased particle on an infinite chain."""
    j, g = hopping, gamma
    scaled = g * times
    values = 4 * j**2 / g**2 * (scaled + np.expm1(-scaled))
    # d/d ln(gamma) at fixed t
    slope = 4 * j**2 / g**2 * (scaled * -np.expm1(-scaled)) - 2 * values
    return Reference(
        times,
        ("<x^2>",),
        values[None],
        error=1e-6,
        method="<x^2> = 2 D (t - (1 - exp(-gamma t)) / gamma), D = 2 J^2 / gamma",
        sensitivity={"dephasing": slope[None]},
    )


#: The trajectories of an isometry U that average to the same G. Their entropies, and
#: whatever else is not linear in G, differ: only means agree.
FORMS: Mapping[str, Choice] = {
    "white-noise potential": UnitaryNoise(),
    "quantum state diffusion": Homodyne(),
    "quantum jumps": Jump(),
    "projective measurements": Projections(),
    "random pi-kicks": Kicks(),
}


def _s1_cases() -> list[Case]:
    """Return a ring with flux, half of it dephased, in all five forms."""
    times = np.linspace(0, 5, 26)
    model = dephased_fermions(
        ring_with_flux(6, hopping=1.0, flux=1.0),
        dephased=(0, 2, 3),
        gamma=1.5,
        occupations=(1, 1, 0, 1, 0, 0),
    )
    reading = Reading("document", correlation_equation(model, times), "equation for G")
    n_traj = {"quick": 4096, "full": 131072}
    return [
        Case(name, model, times, n_traj, [reading], unraveling={"dephasing": choice})
        for name, choice in FORMS.items()
    ]


def _s2_cases() -> list[Case]:
    """Return the spreading of one particle, and the structureless end."""
    times = np.linspace(0, 10, 41)
    noise = {"dephasing": UnitaryNoise()}
    n_traj = {"quick": 4096, "full": 65536}
    spread = dephased_particle(39, hopping=1.0, gamma=4.0, observe="spread")
    law = Reading("document", spreading(times, 1.0, 4.0), "D = 2 J^2 / gamma")
    sites = dephased_particle(39, hopping=1.0, gamma=4.0)
    exact = Reading("document", master_equation(sites, times), "master equation")
    short = dephased_particle(5, hopping=1.0, gamma=2.0, start=0)
    late = np.linspace(40, 60, 11)
    names = tuple(f"n_{x}" for x in range(5))
    flat = Reference(late, names, np.full((5, 11), 0.2), error=1e-6)
    return [
        Case("spreading, noise", spread, times, n_traj, [law], unraveling=noise),
        Case("profile, noise", sites, times, n_traj, [exact], unraveling=noise),
        Case(
            "late times, jumps",
            short,
            np.linspace(0, 60, 31),
            n_traj,
            [Reading("document", flat, "1 / L on every site")],
            unraveling={"dephasing": Jump()},
        ),
    ]


CLAIMS = (
    Claim(
        id="S1",
        document="000",
        statement="the SDM is a Lindblad equation: every unraveling averages to it "
        "(five here; only means agree, entropies of single trajectories differ)",
        equation="dG/dt = i [h^T, G] - gamma sum_S ({P_x, G}/2 - P_x G P_x)",
        source="abstract, second paragraph",
        expected="holds",
        cases=_s1_cases,
    ),
    Claim(
        id="S2",
        document="000",
        statement="with every site dephased the density diffuses, and ends without "
        "structure",
        equation="<x^2> -> 2 D t, D = 2 J^2 / gamma",
        source="abstract, third paragraph",
        expected="holds",
        cases=_s2_cases,
    ),
)
