"""Multilevel Monte Carlo: means to a requested error from steps of many sizes."""

from stochq.mlmc.estimate import MultilevelEstimate
from stochq.mlmc.run import simulate_mlmc

__all__ = ["MultilevelEstimate", "simulate_mlmc"]
