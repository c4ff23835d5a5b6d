"""Figures: claims with their residuals, orders of convergence, sampling errors.

Figures are made without pyplot: nothing opens a window and nothing is kept open. What
fits into one panel is drawn on axes that the caller passes in.
"""

from stochq.plots.findings import (
    plot_claim,
    plot_error_convergence,
    plot_finding,
    plot_findings,
)
from stochq.plots.orders import plot_errors, plot_orders

__all__ = [
    "plot_claim",
    "plot_error_convergence",
    "plot_errors",
    "plot_finding",
    "plot_findings",
    "plot_orders",
]
