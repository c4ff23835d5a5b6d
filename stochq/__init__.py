"""Stochastic unravelings of open quantum systems, checked against their averages.

Write down the physics once (`Model`), average it (`master_equation`), unravel it into
trajectories (`simulate`), and judge one against the other (`verify`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stochq.bias import step_bias
    from stochq.channels import ComplexWhiteNoise, Dissipator, WhiteNoise
    from stochq.choice import default_scheme
    from stochq.ensemble import Ensemble, simulate
    from stochq.errors import ModelError, SchemeMismatchError
    from stochq.lowering import Dynamics, lower
    from stochq.model import Model
    from stochq.references import (
        Reference,
        correlation_equation,
        correlation_matrix,
        liouvillian,
        macroscopic_equation,
        macroscopic_magnetization,
        master_equation,
        steady_state,
    )
    from stochq.schemes import EulerMaruyama, Exact, Heun, Strang
    from stochq.states import Occupations, Orbitals
    from stochq.unravelings import Jump, Kicks, UnitaryNoise
    from stochq.verdict import Verdict, verify

__all__ = [
    "ComplexWhiteNoise",
    "Dissipator",
    "Dynamics",
    "Ensemble",
    "EulerMaruyama",
    "Exact",
    "Heun",
    "Jump",
    "Kicks",
    "Model",
    "ModelError",
    "Occupations",
    "Orbitals",
    "Reference",
    "SchemeMismatchError",
    "Strang",
    "UnitaryNoise",
    "Verdict",
    "WhiteNoise",
    "correlation_equation",
    "correlation_matrix",
    "default_scheme",
    "liouvillian",
    "lower",
    "macroscopic_equation",
    "macroscopic_magnetization",
    "master_equation",
    "simulate",
    "steady_state",
    "step_bias",
    "verify",
]

#: Where each public name lives; a module is imported when its name is first used, so
#: that `import stochq` and `stochq --help` do not wait for numba.
_HOMES = {
    "bias": ("step_bias",),
    "channels": ("ComplexWhiteNoise", "Dissipator", "WhiteNoise"),
    "choice": ("default_scheme",),
    "ensemble": ("Ensemble", "simulate"),
    "errors": ("ModelError", "SchemeMismatchError"),
    "lowering": ("Dynamics", "lower"),
    "model": ("Model",),
    "references": (
        "Reference",
        "correlation_equation",
        "correlation_matrix",
        "liouvillian",
        "macroscopic_equation",
        "macroscopic_magnetization",
        "master_equation",
        "steady_state",
    ),
    "schemes": ("EulerMaruyama", "Exact", "Heun", "Strang"),
    "states": ("Occupations", "Orbitals"),
    "unravelings": ("Jump", "Kicks", "UnitaryNoise"),
    "verdict": ("Verdict", "verify"),
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"stochq.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'stochq' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
