"""Averaged equations: what an ensemble of trajectories must converge to.

One equation per file. None of them knows of trajectories, so that a reference cannot
share a mistake with the scheme that is judged against it.
"""

from stochq.references.base import Reference
from stochq.references.correlation import correlation_equation, correlation_matrix
from stochq.references.lindblad import liouvillian, master_equation, steady_state
from stochq.references.macroscopic import (
    macroscopic_equation,
    macroscopic_magnetization,
)

__all__ = [
    "Reference",
    "correlation_equation",
    "correlation_matrix",
    "liouvillian",
    "macroscopic_equation",
    "macroscopic_magnetization",
    "master_equation",
    "steady_state",
]
