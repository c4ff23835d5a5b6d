"""Figures: claims with their residuals, orders of convergence, errors, verdicts.

Figures are made without pyplot: nothing opens a window and nothing is kept open. What
fits into one panel is drawn on axes that the caller passes in.
"""

from stochq.plots.budgets import plot_budget
from stochq.plots.findings import plot_claim, plot_finding, plot_findings
from stochq.plots.orders import plot_convergence, plot_errors, plot_orders
from stochq.plots.sampling import (
    plot_error_convergence,
    plot_running_mean,
    plot_sampling_error,
)
from stochq.plots.verdicts import plot_p_values, plot_z_map

__all__ = [
    "plot_budget",
    "plot_claim",
    "plot_convergence",
    "plot_error_convergence",
    "plot_errors",
    "plot_finding",
    "plot_findings",
    "plot_orders",
    "plot_p_values",
    "plot_running_mean",
    "plot_sampling_error",
    "plot_z_map",
]
