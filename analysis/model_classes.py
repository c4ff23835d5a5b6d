"""One small model of every class that the engine unravels, with its exact means.

Rates differ from 1 and from each other, so that a factor, a square root or a mix-up
shows. All are cheap enough for hundreds of independent ensembles.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stochq import (
    ComplexWhiteNoise,
    Dissipator,
    Ensemble,
    Exact,
    Heterodyne,
    Homodyne,
    Kicks,
    Model,
    Occupations,
    Reference,
    SquaredModulus,
    Strang,
    WhiteNoise,
    master_equation,
    simulate,
)
from stochq.functions import Function
from stochq.schemes import Scheme
from stochq.spaces import hopping_chain, site_number, tensor, tls_lowering, tls_number
from stochq.unravelings import Choice

TIMES = np.linspace(0, 2.4, 13)

#: |-> = (1, 0) is the ground state, |+> = (0, 1) the excited one.
SX = np.array([[0, 1], [1, 0]])
SY = np.array([[0, -1j], [1j, 0]])
SZ = np.diag([1.0, -1.0])
LOWER = np.array([[0, 1], [0, 0]])
EXCITED = np.diag([0.0, 1.0])
START = np.array([0.6, 0.8])
BLOCH = {"x": SX, "y": SY, "z": SZ}


@dataclass(frozen=True)
class ModelClass:
    """A model, how it becomes trajectories, and the sizes of its ensembles.

    Attributes
    ----------
    label : str
        The class, for tables and figures.
    model : Model
        The physics.
    scheme : Scheme
        What integrates it; its dt leaves a step bias far below the errors.
    small, large : int
        Trajectories of an ensemble whose p-values, and whose power, are counted.
    unraveling : mapping of str to Choice, optional
        What the dissipators become.
    functions : mapping of str to Function
        Functions of single trajectories.
    means : callable
        The reference of a model at given times.
    two_sided : bool
        Whether p-values must be uniform. Where a verdict allows for unseen events they
        may be larger, never smaller.
    """

    label: str
    model: Model
    scheme: Scheme
    small: int = 512
    large: int = 16_384
    unraveling: Mapping[Any, Choice] | None = None
    functions: Mapping[str, Function] = field(default_factory=dict)
    means: Callable[[Model, Any], Reference] = master_equation
    two_sided: bool = True

    def ensemble(self, seed: int, n_traj: int) -> Ensemble:
        """Return one ensemble of the truth."""
        return simulate(
            self.model,
            TIMES,
            n_traj=n_traj,
            seed=seed,
            scheme=self.scheme,
            unraveling=self.unraveling,
            functions=self.functions or None,
            n_jobs=1,
            progress=False,
        )

    def reference(self, rate: str | None = None, error: float = 0.0) -> Reference:
        """Return the exact means, of a model with one rate off if one is named."""
        wrong = self.model.with_rate(rate, 1 + error) if rate else self.model
        return self.means(wrong, TIMES)


def with_squares(model: Model, times: Any) -> Reference:
    r"""Return exact means of observables, and of their squares on each trajectory.

    .. math:: E[\langle O\rangle^2] =
        \mathrm{Tr}\bigl(O \otimes O\; E[\rho \otimes \rho]\bigr)

    On unitary trajectories rho x rho is the state of two copies under the same noise,
    so its average obeys a master equation, too.
    """
    one = np.eye(model.dim)

    def twice(operator: Any) -> Any:
        return tensor(operator, one) + tensor(one, operator)

    noise = [
        WhiteNoise([twice(L) for L in n.operators], rate=n.rates, name=n.name)
        for n in model.noise
    ]
    ket = model.initial.vectors[0]
    copies = replace(
        model,
        hamiltonian=twice(model.hamiltonian),
        noise=noise,
        initial=np.kron(ket, ket),
        observables={f"{k}^2": tensor(o, o) for k, o in model.observables.items()},
    )
    return joined(master_equation(model, times), master_equation(copies, times))


def joined(one: Reference, other: Reference) -> Reference:
    """Return a reference with the curves of two."""
    return Reference(
        one.times,
        (*one.names, *other.names),
        np.concatenate([one.values, other.values]),
        error=max(one.error, other.error),
        method=one.method,
        sensitivity={
            rate: np.concatenate([curves, other.sensitivity[rate]])
            for rate, curves in one.sensitivity.items()
        },
    )


def qubit(**parts: Any) -> Model:
    """Return a two-level system that starts between its levels."""
    return Model(initial=START, observables=BLOCH, **parts)


KUBO = qubit(hamiltonian=0.65 * SZ, noise=WhiteNoise(SZ, rate=0.37, name="dephasing"))
TWO_NOISES = qubit(
    hamiltonian=0.4 * SX,
    noise=[
        WhiteNoise(SZ, rate=0.29, name="along z"),
        WhiteNoise(SX, rate=0.46, name="along x"),
    ],
)
COMPLEX = qubit(
    hamiltonian=0.35 * SZ, noise=ComplexWhiteNoise(LOWER, rate=0.43, name="exchange")
)
CORRELATED = qubit(
    hamiltonian=0.3 * SY,
    noise=WhiteNoise([SX, SZ], covariance=[[0.31, 0.14], [0.14, 0.19]], name="field"),
)
THERMAL = qubit(
    hamiltonian=0.5 * SZ,
    dissipators=[
        Dissipator(LOWER, 0.63, name="emission"),
        Dissipator(LOWER.T, 0.27, name="absorption"),
    ],
)
FLUORESCENCE = qubit(
    hamiltonian=0.55 * SX, dissipators=Dissipator(LOWER, 0.57, name="decay")
)
HYBRID = qubit(
    hamiltonian=0.5 * SX,
    noise=WhiteNoise(SZ, rate=0.21, name="dephasing"),
    dissipators=Dissipator(LOWER, 0.47, name="decay"),
)
MIXED = replace(
    FLUORESCENCE, initial=np.array([[0.7, 0.15j], [-0.15j, 0.3]])
).with_rate("decay", 0.9)
RARE = Model(
    dissipators=Dissipator(LOWER, -np.log1p(-0.005) / TIMES[-1], name="decay"),
    initial=[0, 1],
    observables={"n": EXCITED},
)


def exchange() -> Model:
    """Return two atoms that exchange a quantum by noise, whose number is conserved."""
    a, b = tls_lowering(2, 0), tls_lowering(2, 1)
    n_a, n_b = tls_number(2, 0), tls_number(2, 1)
    return Model(
        hamiltonian=0.8 * n_a,
        noise=ComplexWhiteNoise(a.T @ b, rate=0.33, name="coupling"),
        initial=np.kron([0, 1], [1, 0]),
        observables={"n_A": n_a, "n_B": n_b, "n": n_a + n_b},
    )


def fermions() -> Model:
    """Return two free fermions on four dephased sites."""
    rates = {"outer": 0.41, "inner": 0.73}
    sites = ("outer", "inner", "inner", "outer")
    return Model(
        hamiltonian=hopping_chain(4, 0.8),
        dissipators=[
            Dissipator(site_number(4, x), rates[name], name=name)
            for x, name in enumerate(sites)
        ],
        initial=Occupations([1, 1, 0, 0]),
        observables={f"n{x}": site_number(4, x) for x in range(3)},
    )


CLASSES = (
    ModelClass("commuting noise", KUBO, Exact()),
    ModelClass("non-commuting noise", TWO_NOISES, Strang(0.1)),
    ModelClass("complex noise", COMPLEX, Strang(0.1)),
    ModelClass("correlated noise", CORRELATED, Strang(0.1)),
    ModelClass("diagonal jumps", THERMAL, Exact()),
    ModelClass("fluorescence", FLUORESCENCE, Exact(), large=2048),
    ModelClass("jumps and noise", HYBRID, Strang(0.1)),
    ModelClass(
        "homodyne",
        FLUORESCENCE.with_rate("decay", 0.8),
        Strang(0.1),
        large=4096,
        unraveling={"decay": Homodyne(phase=0.3)},
    ),
    ModelClass(
        "heterodyne",
        FLUORESCENCE.with_rate("decay", 1.3),
        Strang(0.1),
        large=4096,
        unraveling={"decay": Heterodyne()},
    ),
    ModelClass("fermions, noise", fermions(), Strang(0.1), large=8192),
    ModelClass(
        "fermions, kicks",
        fermions(),
        Exact(),
        unraveling={"outer": Kicks(), "inner": Kicks()},
    ),
    ModelClass("mixed state", MIXED, Exact(), large=8192),
    ModelClass("rare jumps", RARE, Exact(), large=524_288, two_sided=False),
    ModelClass("conserved number", exchange(), Strang(0.1)),
    ModelClass(
        "squares",
        replace(KUBO, observables={"x": SX}).with_rate("dephasing", 0.6),
        Exact(),
        functions={"x^2": SquaredModulus(SX)},
        means=with_squares,
    ),
)


def class_named(label: str) -> ModelClass:
    """Return one of the classes."""
    return next(c for c in CLASSES if c.label == label)
