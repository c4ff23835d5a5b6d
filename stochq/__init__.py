"""Stochastic unravelings of open quantum systems, checked against their averages.

Write down the physics once (`Model`), average it (`master_equation`), unravel it into
trajectories (`simulate`), and judge one against the other (`verify`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stochq.advisor import UnravelingComparison, compare_unravelings
    from stochq.channels import ComplexWhiteNoise, Dissipator, WhiteNoise
    from stochq.choice import default_scheme, explain_scheme
    from stochq.costs import Cost, plan
    from stochq.counting import (
        Correlation,
        CountingHistogram,
        CountingStatistics,
        FluctuationTest,
        WaitingTimes,
        correlation_g2,
        counting_histogram,
        counting_statistics,
        first_waiting_times,
        fluctuation_test,
        waiting_times,
    )
    from stochq.coupled import (
        Difference,
        StepBias,
        simulate_difference,
        step_bias,
    )
    from stochq.ensemble import Ensemble
    from stochq.envelopes import Sampled
    from stochq.errors import (
        CheckpointError,
        CheckpointWarning,
        DescriptionError,
        FailureWarning,
        ModelError,
        ResourceError,
        SchemeMismatchError,
        TrajectoryError,
    )
    from stochq.folders import (
        CheckpointStatus,
        checkpoint_status,
        merge_checkpoints,
        resume,
    )
    from stochq.functions import (
        EntanglementEntropy,
        OrbitalEntropy,
        Purity,
        SquaredCorrelation,
        SquaredModulus,
    )
    from stochq.lowering import Dynamics, lower
    from stochq.mlmc import MultilevelEstimate, simulate_mlmc
    from stochq.model import Model
    from stochq.orders import Convergence, convergence, order_table
    from stochq.recording.histograms import Bins, Histogram
    from stochq.recording.mean_state import MeanState
    from stochq.records import JumpRecords
    from stochq.references import (
        CountingDistribution,
        Reference,
        WaitingTimeDistribution,
        correlation_equation,
        correlation_matrix,
        counting_cumulants,
        counting_distribution,
        first_time_distribution,
        g2,
        liouvillian,
        macroscopic_equation,
        macroscopic_magnetization,
        master_equation,
        scaled_cumulants,
        scgf,
        steady_state,
        waiting_time_distribution,
    )
    from stochq.replay import NoiseRecord, Trajectory, trajectory
    from stochq.running.interrupts import Interrupted, Terminated
    from stochq.running.stopping import Tolerance
    from stochq.schemes import (
        Alternating,
        EulerMaruyama,
        Exact,
        Heun,
        Magnus,
        Midpoint,
        Milstein,
        Platen,
        RandomOrder,
        Richardson,
        Strang,
        TwoPoint,
    )
    from stochq.selftests import selftest
    from stochq.simulation import simulate
    from stochq.states import Occupations, Orbitals
    from stochq.trials import SelfTest, Trial
    from stochq.unravelings import (
        Averaged,
        Heterodyne,
        Homodyne,
        Jump,
        Kicks,
        Projections,
        UnitaryNoise,
    )
    from stochq.verdict import Verdict
    from stochq.verification import verify, verify_together

__all__ = [
    "Alternating",
    "Averaged",
    "Bins",
    "CheckpointError",
    "CheckpointStatus",
    "CheckpointWarning",
    "ComplexWhiteNoise",
    "Convergence",
    "Correlation",
    "Cost",
    "CountingDistribution",
    "CountingHistogram",
    "CountingStatistics",
    "DescriptionError",
    "Difference",
    "Dissipator",
    "Dynamics",
    "Ensemble",
    "EntanglementEntropy",
    "EulerMaruyama",
    "Exact",
    "FailureWarning",
    "FluctuationTest",
    "Heterodyne",
    "Heun",
    "Histogram",
    "Homodyne",
    "Interrupted",
    "Jump",
    "JumpRecords",
    "Kicks",
    "Magnus",
    "MeanState",
    "Midpoint",
    "Milstein",
    "Model",
    "ModelError",
    "MultilevelEstimate",
    "NoiseRecord",
    "Occupations",
    "OrbitalEntropy",
    "Orbitals",
    "Platen",
    "Projections",
    "Purity",
    "RandomOrder",
    "Reference",
    "ResourceError",
    "Richardson",
    "Sampled",
    "SchemeMismatchError",
    "SelfTest",
    "SquaredCorrelation",
    "SquaredModulus",
    "StepBias",
    "Strang",
    "Terminated",
    "Tolerance",
    "Trajectory",
    "TrajectoryError",
    "Trial",
    "TwoPoint",
    "UnitaryNoise",
    "UnravelingComparison",
    "Verdict",
    "WaitingTimeDistribution",
    "WaitingTimes",
    "WhiteNoise",
    "checkpoint_status",
    "compare_unravelings",
    "convergence",
    "correlation_equation",
    "correlation_g2",
    "correlation_matrix",
    "counting_cumulants",
    "counting_distribution",
    "counting_histogram",
    "counting_statistics",
    "default_scheme",
    "explain_scheme",
    "first_time_distribution",
    "first_waiting_times",
    "fluctuation_test",
    "g2",
    "liouvillian",
    "lower",
    "macroscopic_equation",
    "macroscopic_magnetization",
    "master_equation",
    "merge_checkpoints",
    "order_table",
    "plan",
    "resume",
    "scaled_cumulants",
    "scgf",
    "selftest",
    "simulate",
    "simulate_difference",
    "simulate_mlmc",
    "steady_state",
    "step_bias",
    "trajectory",
    "verify",
    "verify_together",
    "waiting_time_distribution",
    "waiting_times",
]

#: Where each public name lives; a module is imported when its name is first used, so
#: that `import stochq` and `stochq --help` do not wait for numba.
_HOMES = {
    "advisor": ("UnravelingComparison", "compare_unravelings"),
    "channels": ("ComplexWhiteNoise", "Dissipator", "WhiteNoise"),
    "choice": ("default_scheme", "explain_scheme"),
    "counting": (
        "Correlation",
        "CountingHistogram",
        "CountingStatistics",
        "FluctuationTest",
        "WaitingTimes",
        "correlation_g2",
        "counting_histogram",
        "counting_statistics",
        "first_waiting_times",
        "fluctuation_test",
        "waiting_times",
    ),
    "costs": ("Cost", "plan"),
    "coupled": ("Difference", "StepBias", "simulate_difference", "step_bias"),
    "ensemble": ("Ensemble",),
    "errors": (
        "CheckpointError",
        "CheckpointWarning",
        "DescriptionError",
        "FailureWarning",
        "ModelError",
        "ResourceError",
        "SchemeMismatchError",
        "TrajectoryError",
    ),
    "folders": (
        "CheckpointStatus",
        "checkpoint_status",
        "merge_checkpoints",
        "resume",
    ),
    "functions": (
        "EntanglementEntropy",
        "OrbitalEntropy",
        "Purity",
        "SquaredCorrelation",
        "SquaredModulus",
    ),
    "recording.histograms": ("Bins", "Histogram"),
    "lowering": ("Dynamics", "lower"),
    "recording.mean_state": ("MeanState",),
    "mlmc": ("MultilevelEstimate", "simulate_mlmc"),
    "model": ("Model",),
    "orders": ("Convergence", "convergence", "order_table"),
    "records": ("JumpRecords",),
    "references": (
        "CountingDistribution",
        "Reference",
        "WaitingTimeDistribution",
        "correlation_equation",
        "correlation_matrix",
        "counting_cumulants",
        "counting_distribution",
        "first_time_distribution",
        "g2",
        "liouvillian",
        "macroscopic_equation",
        "macroscopic_magnetization",
        "master_equation",
        "scaled_cumulants",
        "scgf",
        "steady_state",
        "waiting_time_distribution",
    ),
    "replay": ("NoiseRecord", "Trajectory", "trajectory"),
    "schemes": (
        "Alternating",
        "EulerMaruyama",
        "Exact",
        "Heun",
        "Magnus",
        "Midpoint",
        "Milstein",
        "Platen",
        "RandomOrder",
        "Richardson",
        "Strang",
        "TwoPoint",
    ),
    "envelopes": ("Sampled",),
    "running.interrupts": ("Interrupted", "Terminated"),
    "selftests": ("selftest",),
    "simulation": ("simulate",),
    "states": ("Occupations", "Orbitals"),
    "running.stopping": ("Tolerance",),
    "trials": ("SelfTest", "Trial"),
    "unravelings": (
        "Averaged",
        "Heterodyne",
        "Homodyne",
        "Jump",
        "Kicks",
        "Projections",
        "UnitaryNoise",
    ),
    "verdict": ("Verdict",),
    "verification": ("verify", "verify_together"),
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
