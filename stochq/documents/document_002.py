"""Document 002, L. Diosi: autonomy of coupled thermodynamic quantum systems.

Two two-level systems A and B, lowering operators a and b, n = a^dag a, each in a bath
of its own, exchange quanta through a coupling that fluctuates as complex white noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stochq.arrays import Floats, Operator, adjoint
from stochq.channels import ComplexWhiteNoise, Dissipator
from stochq.claims import Case, Claim, Reading
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references import Reference, master_equation
from stochq.spaces import tls_lowering
from stochq.unravelings import UnitaryNoise

__all__ = ["CLAIMS", "stationary_current", "thermal_pair"]

#: A superposition of all four levels with unequal weights and phases.
MIXED_PHASES = np.array([0.4, 0.5, 0.7 + 0.2j, 0.1 - 0.3j])


def _pair() -> tuple[Operator, Operator, Operator, Operator]:
    """Return a, b, n_A and n_B on the four levels |-->, |-+>, |+->, |++>."""
    a, b = tls_lowering(2, 0), tls_lowering(2, 1)
    return a, b, adjoint(a) @ a, adjoint(b) @ b


def _thermalizer(
    name: str, lowering: Operator, gamma: float, boltzmann: float
) -> list[Dissipator]:
    """Return L_X = Gamma_X (D[a] + e_X D[a^dag])."""
    return [
        Dissipator(lowering, gamma, name=name),
        Dissipator(adjoint(lowering), gamma * boltzmann, name=name),
    ]


def thermal_pair(
    *,
    omega: float = 1.0,
    beta_a: float = 0.5,
    beta_b: float = 2.0,
    gamma_a: float = 1.0,
    gamma_b: float = 1.0,
    epsilon: float = 0.1,
    coupling: str = "noise",
    initial: Any = None,
) -> Model:
    r"""Return two resonant two-level systems in two baths, coupled by noise.

    .. math::
        H(t) = \omega(n_A + n_B) + \sqrt\epsilon\,(\xi\, a^\dagger b
        + \bar\xi\, b^\dagger a), \qquad
        L_X = \Gamma_X\bigl(D[a] + e^{-\beta_X\omega} D[a^\dagger]\bigr)

    The noise averages to ``L^K = epsilon (D[a^dag b] + D[b^dag a])``.

    Parameters
    ----------
    omega : float
        Level splitting of both systems [energy].
    beta_a, beta_b : float
        Inverse temperatures of the baths [1/energy].
    gamma_a, gamma_b : float
        Gamma_A and Gamma_B, emission rates into the baths [1/time].
    epsilon : float
        Strength of the coupling noise [1/time].
    coupling : "noise" or "dissipators"
        Explicit complex noise, or the two dissipators that it averages to.
    initial : optional
        Any initial state; A excited and B not by default.

    Returns
    -------
    Model
        Observables n_A, n_B, n_A n_B, Re<a^dag b>, the heat currents J_A and J_B from
        the baths and their sum. Names: "bath A", "bath B", "coupling".

    Raises
    ------
    ModelError
        If `coupling` is neither of the two.

    Notes
    -----
    Source: document 002, slides 4 to 7.
    """
    a, b, n_a, n_b = _pair()
    e_a, e_b = np.exp(-beta_a * omega), np.exp(-beta_b * omega)
    one = np.eye(4)
    j_a = omega * gamma_a * (e_a * (one - n_a) - n_a)
    j_b = omega * gamma_b * (e_b * (one - n_b) - n_b)
    hop = adjoint(a) @ b
    dissipators = [
        *_thermalizer("bath A", a, gamma_a, e_a),
        *_thermalizer("bath B", b, gamma_b, e_b),
    ]
    noise = []
    if coupling == "noise":
        noise = [ComplexWhiteNoise(hop, rate=epsilon, name="coupling")]
    elif coupling != "dissipators":
        raise ModelError(
            f"`coupling` must be 'noise' or 'dissipators', but is {coupling!r}"
        )
    else:
        dissipators += [
            Dissipator(hop, epsilon, name="coupling"),
            Dissipator(adjoint(hop), epsilon, name="coupling"),
        ]
    return Model(
        name="two thermal TLS, noisy resonant coupling",
        hamiltonian=omega * (n_a + n_b),
        noise=noise,
        dissipators=dissipators,
        initial=np.array([0, 0, 1, 0]) if initial is None else initial,
        observables={
            "n_A": n_a,
            "n_B": n_b,
            "n_A n_B": n_a @ n_b,
            "Re<a+ b>": (hop + adjoint(hop)) / 2,
            "J_A": j_a,
            "J_B": j_b,
            "J_A + J_B": j_a + j_b,
        },
    )


def stationary_current(
    omega: Any, beta_a: Any, beta_b: Any, gamma_a: Any, gamma_b: Any, epsilon: Any
) -> Any:
    r"""Return the stationary heat current from bath A, for every coupling strength.

    .. math::
        J_A = \frac{\epsilon\omega(p_A - p_B)}
        {1 + \epsilon/\kappa_A + \epsilon/\kappa_B}, \qquad
        \kappa_X = \Gamma_X(1 + e_X), \quad p_X = \frac{e_X}{1 + e_X}

    Parameters
    ----------
    omega, beta_a, beta_b, gamma_a, gamma_b, epsilon
        As in `thermal_pair`; arrays and complex numbers are welcome.

    Notes
    -----
    It corrects ``J_A = epsilon omega (e_A - e_B)`` of document 002, slide 7, which
    lacks the factor ``1 / ((1 + e_A)(1 + e_B))`` already in first order in epsilon.
    """
    e_a, e_b = np.exp(-beta_a * omega), np.exp(-beta_b * omega)
    kappa_a, kappa_b = gamma_a * (1 + e_a), gamma_b * (1 + e_b)
    gap = e_a / (1 + e_a) - e_b / (1 + e_b)
    return epsilon * omega * gap / (1 + epsilon / kappa_a + epsilon / kappa_b)


def _select(reference: Reference, names: list[str]) -> Reference:
    """Return some of a reference's curves."""
    rows = [reference.names.index(name) for name in names]
    return Reference(
        times=reference.times,
        names=tuple(names),
        values=reference.values[rows],
        error=reference.error,
        method=reference.method,
        sensitivity={k: v[rows] for k, v in reference.sensitivity.items()},
    )


def _d3_cases() -> list[Case]:
    """Return the same average from explicit noise, from kicks of it, and from jumps."""
    times = np.linspace(0, 4, 21)
    initial = MIXED_PHASES / np.linalg.norm(MIXED_PHASES)
    shown = ["n_A", "n_B", "n_A n_B", "Re<a+ b>"]

    def build(coupling: str) -> Model:
        return thermal_pair(
            gamma_b=0.7, epsilon=0.6, coupling=coupling, initial=initial
        )

    written = build("dissipators")
    reference = _select(master_equation(written, times), shown)
    reading = Reading("document", reference, "master equation with L^K")
    n_traj = {"quick": 98304, "full": 262144}
    return [
        Case("bath jumps + noisy coupling", build("noise"), times, n_traj, [reading]),
        Case("all by jumps", written, times, n_traj, [reading]),
        Case(
            "L^K by unitary noise",
            written,
            times,
            n_traj,
            [reading],
            unraveling={"coupling": UnitaryNoise()},
        ),
    ]


#: Parameters of the stationary heat currents: unequal baths, strong coupling.
CURRENTS: dict[str, Any] = {
    "omega": 1.0,
    "beta_a": 0.2,
    "beta_b": 3.0,
    "gamma_a": 1.2,
    "gamma_b": 0.8,
    "epsilon": 0.5,
}

#: The slowest relaxation rate of `CURRENTS` is above 0.8: e^(-0.8 * 16) < 3e-6.
SETTLED = 16.0


def _late(values: dict[str, float], times: Floats, **more: Any) -> Reference:
    """Return constant curves at the times when the state is stationary."""
    late = times[times >= SETTLED]
    curves = np.array([np.full(late.size, value) for value in values.values()])
    return Reference(late, tuple(values), curves, error=1e-5, **more)


def _current_case(label: str, readings: Callable[[Floats], list[Reading]]) -> Case:
    """Return the currents after two equilibrated systems are coupled."""
    times = np.linspace(0, 2 * SETTLED, 65)
    p_a, p_b = (
        1 / (1 + np.exp(CURRENTS[beta] * CURRENTS["omega"]))
        for beta in ("beta_a", "beta_b")
    )
    apart = np.kron([1 - p_a, p_a], [1 - p_b, p_b])
    return Case(
        label,
        thermal_pair(**CURRENTS, initial=np.diag(apart)),
        times,
        {"quick": 24576, "full": 524288},
        readings(times),
    )


def _d5_cases() -> list[Case]:
    """Return J_A + J_B = 0 at late times."""

    def readings(times: Floats) -> list[Reading]:
        balance = _late({"J_A + J_B": 0.0}, times, method="J_A + J_B = 0")
        return [Reading("document", balance, "J_A + J_B = 0", resolution=0.02)]

    return [_current_case("bath jumps + noisy coupling", readings)]


def _d6_cases() -> list[Case]:
    """Return the stationary current of the document and the exact one."""

    def readings(times: Floats) -> list[Reading]:
        p = CURRENTS
        e_a, e_b = (np.exp(-p[b] * p["omega"]) for b in ("beta_a", "beta_b"))
        printed = p["epsilon"] * p["omega"] * (e_a - e_b)
        exact = float(stationary_current(**p))
        document = _late({"J_A": printed, "J_B": -printed}, times, method="slide 7")
        slopes = {}
        for name, key in (
            ("coupling", "epsilon"),
            ("bath A", "gamma_a"),
            ("bath B", "gamma_b"),
        ):
            # the derivative with respect to ln(rate), by a complex step
            step = dict(p, **{key: p[key] * (1 + 1e-20j)})
            slope = stationary_current(**step).imag / 1e-20
            slopes[name] = np.outer([slope, -slope], np.ones((times >= SETTLED).sum()))
        corrected = _late(
            {"J_A": exact, "J_B": -exact},
            times,
            method="closed formula, all epsilon",
            sensitivity=slopes,
        )
        return [
            Reading("document", document, "eps w (e_A - e_B)", resolution=0.02),
            Reading("correction", corrected, "exact in eps", resolution=0.02),
        ]

    return [_current_case("bath jumps + noisy coupling", readings)]


CLAIMS = (
    Claim(
        id="D3",
        document="002",
        statement="the noisy coupling averages to L^K = eps (D[a+ b] + D[b+ a])",
        equation="sqrt(eps) (xi a+ b + xi* b+ a)  ->  eps (D[a+ b] + D[b+ a])",
        source="slide 5",
        expected="holds",
        cases=_d3_cases,
    ),
    Claim(
        id="D5",
        document="002",
        statement="the stationary heat currents balance, J_A + J_B = 0, at resonance",
        equation="J_X = Tr(L_X* [w n_X] rho)",
        source="slide 7",
        expected="holds",
        cases=_d5_cases,
    ),
    Claim(
        id="D6",
        document="002",
        statement="the stationary heat current is J_A = eps w (e_A - e_B)",
        equation="J_A = eps w (p_A - p_B) / (1 + eps/kappa_A + eps/kappa_B)",
        source="slide 7",
        expected="holds as corrected",
        cases=_d6_cases,
        reason="the first order lacks the factor 1 / ((1 + e_A)(1 + e_B)); the exact "
        "current, with p = e/(1+e) and kappa = Gamma (1+e), flows from hot to cold for "
        "every eps and all Gamma_A, Gamma_B",
    ),
)
