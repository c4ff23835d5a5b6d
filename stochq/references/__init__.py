"""Averaged equations: what an ensemble of trajectories must converge to.

One equation per file. None of them knows of trajectories, so that a reference cannot
share a mistake with the scheme that is judged against it.
"""

from stochq.references.base import Reference
from stochq.references.correlation import correlation_equation, correlation_matrix
from stochq.references.counting import counting_cumulants, scaled_cumulants, scgf
from stochq.references.distribution import CountingDistribution, counting_distribution
from stochq.references.lindblad import liouvillian, master_equation, steady_state
from stochq.references.macroscopic import (
    macroscopic_equation,
    macroscopic_magnetization,
)
from stochq.references.waiting import (
    WaitingTimeDistribution,
    first_time_distribution,
    g2,
    waiting_time_distribution,
)

__all__ = [
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
]
