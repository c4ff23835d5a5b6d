"""Faults: mistakes that a code could contain, planted one at a time.

One kind of mistake per file. Each is a value that says what it changes and makes the
faulty run out of the right one; none of them knows of verdicts.
"""

from stochq.faults.base import Fault, Planted
from stochq.faults.drifts import DriftFault, drift_faults
from stochq.faults.members import (
    missing_parts,
    wrong_correlations,
    wrong_hamiltonians,
    wrong_operators,
)
from stochq.faults.models import ModelFault, same_generator
from stochq.faults.rates import wrong_rates
from stochq.faults.steps import StepFault, step_faults
from stochq.faults.streams import StreamFault, stream_faults

__all__ = [
    "DriftFault",
    "Fault",
    "ModelFault",
    "Planted",
    "StepFault",
    "StreamFault",
    "drift_faults",
    "missing_parts",
    "same_generator",
    "step_faults",
    "stream_faults",
    "wrong_correlations",
    "wrong_hamiltonians",
    "wrong_operators",
    "wrong_rates",
]
