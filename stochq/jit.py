"""How every kernel is compiled.

Kernels release the GIL, are cached on disk, divide as numpy does (no test for zero,
which would keep loops out of vector registers), and never reorder sums (no fastmath):
bits do not depend on the machine's vector width.
"""

from numba import njit

__all__ = ["inline", "kernel"]

kernel = njit(cache=True, nogil=True, error_model="numpy")
inline = njit(cache=True, nogil=True, error_model="numpy", inline="always")
