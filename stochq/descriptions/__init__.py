"""What a run is, written down: plain values and arrays, no code.

A description has a digest, can be compared with another in words, and gives back the
run that it was made of, to the bit.
"""

from stochq.descriptions.comparison import differences
from stochq.descriptions.decoding import rebuild, rebuilt_scheme
from stochq.descriptions.encoding import describe
from stochq.descriptions.recipe import Recipe
from stochq.descriptions.storage import from_files, to_files
from stochq.descriptions.surroundings import environment
from stochq.descriptions.tree import Description

__all__ = [
    "Description",
    "Recipe",
    "describe",
    "differences",
    "environment",
    "from_files",
    "rebuild",
    "rebuilt_scheme",
    "to_files",
]
