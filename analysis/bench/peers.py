"""Who takes part in a benchmark, and QuTiP's quantum jumps as the peer of ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stochq import Model, simulate

__all__ = ["Participant", "qutip_jumps", "qutip_name", "stochq_jumps"]

#: QuTiP's options for every run: one process, no states kept, no bar.
PLAIN = {"progress_bar": "", "map": "serial", "store_states": False}


@dataclass
class Participant:
    """Somebody who runs the workload: run(seed) -> (means, their errors)."""

    name: str
    n_traj: int
    bias: float
    run: Callable[[int], Any]


def stochq_jumps(model: Model, times: Any, n_traj: int) -> Participant:
    """Return the public call, with everything that it does by default."""

    def run(seed: int) -> Any:
        ensemble = simulate(model, times, n_traj=n_traj, seed=seed)
        return ensemble.mean, ensemble.mcse

    return Participant("stochq", n_traj, 0.0, run)


def qutip_name() -> str | None:
    """Return QuTiP with its version, or None if it is not installed."""
    try:
        import qutip
    except ImportError:
        return None
    return f"QuTiP {qutip.__version__} mcsolve"


def qutip_jumps(
    model: Model,
    times: Any,
    n_traj: int,
    *,
    layer: str,
    note: str = "",
    options: Any = None,
) -> list[Participant]:
    """Return mcsolve on the model's operators in one of QuTiP's layers, if installed.

    Parameters
    ----------
    layer : "Dense", "CSR" or "Dia"
        How QuTiP keeps the operators.
    note : str
        What to call these settings.
    options : dict, optional
        Of mcsolve.
    """
    name = qutip_name()
    if name is None:
        print("QuTiP is not installed: left out")
        return []
    import qutip

    def cast(matrix: Any) -> Any:
        return qutip.Qobj(matrix.tocsr()).to(layer)

    start = qutip.Qobj(np.asarray(model.initial.members()[0])[:, None])
    hamiltonian = cast(model.hamiltonian)
    jumps = [cast(np.sqrt(d.rate) * d.operator) for d in model.dissipators]
    seen = [cast(o) for o in model.observables.values()]

    def run(seed: int) -> Any:
        result = qutip.mcsolve(
            hamiltonian,
            start,
            times,
            jumps,
            e_ops=seen,
            ntraj=n_traj,
            seeds=seed,
            options=PLAIN | (options or {}),
        )
        spread = np.array(result.std_expect) / np.sqrt(n_traj - 1)
        return np.array(result.average_expect).real, spread

    return [Participant(f"{name} {note or layer}", n_traj, 0.0, run)]
