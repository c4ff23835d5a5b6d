"""Orders of convergence: what the schemes declare, and what paths and averages show."""

from stochq.orders.curves import ErrorCurve
from stochq.orders.sampling import sampling_frame
from stochq.orders.study import Convergence, convergence
from stochq.orders.table import order_markdown, order_table

__all__ = [
    "Convergence",
    "ErrorCurve",
    "convergence",
    "order_markdown",
    "order_table",
    "sampling_frame",
]
