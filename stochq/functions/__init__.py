"""Nonlinear functions of single trajectories, whose means no averaged equation has."""

from stochq.functions.base import (
    KETS,
    MATRICES,
    ORBITALS,
    Function,
    as_functions,
    checked_values,
    limits_of,
)
from stochq.functions.entanglement import EntanglementEntropy, OrbitalEntropy, Purity
from stochq.functions.moduli import SquaredCorrelation, SquaredModulus

__all__ = [
    "KETS",
    "MATRICES",
    "ORBITALS",
    "EntanglementEntropy",
    "Function",
    "OrbitalEntropy",
    "Purity",
    "SquaredCorrelation",
    "SquaredModulus",
    "as_functions",
    "checked_values",
    "limits_of",
]
