"""What a trajectory starts from: one file per kind of state.

A ket is an orbital matrix with one column; both live in the same array of lanes.
"""

from stochq.states.density import DensityMatrix
from stochq.states.ket import Kets, as_initial
from stochq.states.orbitals import Occupations, Orbitals

__all__ = ["DensityMatrix", "Kets", "Occupations", "Orbitals", "State", "as_initial"]

State = Kets | Orbitals | DensityMatrix
