"""The exact average of one step of a scheme: a linear map of the density matrix.

The mean over a step's noise is taken in closed form or by a quadrature that is exact
for its polynomial, never by sampling.
"""

from stochq.averages.averager import Averager, has_average, kraus_operators
from stochq.averages.maps import AveragedStep, Map, compose

__all__ = [
    "AveragedStep",
    "Averager",
    "Map",
    "compose",
    "has_average",
    "kraus_operators",
]
