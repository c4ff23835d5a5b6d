"""Schemes: one integrator per file, each declaring its calculus and orders.

References never import from here, so that a reference cannot share a bug with a scheme.
"""

from stochq.schemes.euler_maruyama import EulerMaruyama
from stochq.schemes.heun import Heun
from stochq.schemes.strang import Exact, Strang
from stochq.schemes.traits import Scheme, Traits

__all__ = ["EulerMaruyama", "Exact", "Heun", "Scheme", "Strang", "Traits"]
