"""Schemes: one integrator per file, each declaring its calculus and orders.

References never import from here, so that a reference cannot share a bug with a scheme.
"""

from stochq.schemes.alternating import Alternating
from stochq.schemes.euler_maruyama import EulerMaruyama
from stochq.schemes.exact import Exact
from stochq.schemes.heun import Heun
from stochq.schemes.magnus import Magnus
from stochq.schemes.midpoint import Midpoint
from stochq.schemes.milstein import Milstein
from stochq.schemes.platen import Platen
from stochq.schemes.random_order import RandomOrder
from stochq.schemes.richardson import Richardson
from stochq.schemes.strang import Strang
from stochq.schemes.traits import Scheme, Traits
from stochq.schemes.two_point import TwoPoint

__all__ = [
    "SCHEMES",
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
    "Scheme",
    "Strang",
    "Traits",
    "TwoPoint",
]

#: Every scheme with a time step, from the plainest on.
SCHEMES = (
    EulerMaruyama,
    Milstein,
    Heun,
    Midpoint,
    Magnus,
    Platen,
    Strang,
    Alternating,
    RandomOrder,
    TwoPoint,
)
