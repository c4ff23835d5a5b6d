"""Lowering: a model and a choice of unraveling become independent Wieners and jumps.

The one place where complex and correlated noise, Ito and Stratonovich, rates and
covariances are handled. What comes out has unit rates: the strength of a channel is in
its operator.
"""

from stochq.lowering.dynamics import Dynamics
from stochq.lowering.model_to_dynamics import lower

__all__ = ["Dynamics", "lower"]
