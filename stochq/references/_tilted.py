"""The generator tilted by a counting field, L(x) = L + sum_c (exp(x w_c) - 1) J_c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import expm

from stochq.arrays import Complexes, Floats, Operator
from stochq.errors import ModelError
from stochq.model import Model
from stochq.references._propagate import LinearSystem, propagate, relevant
from stochq.superoperator import summed
from stochq.weights import as_weights

__all__ = ["Tilted", "dissipator_names", "jump_part", "tilted"]


EPS = float(np.finfo(np.float64).eps)

#: Up to this size a dense exponential is the fastest.
SMALL = 100

#: Largest exponent that a moment may gain before it is normalized.
LARGEST = 300.0


@dataclass(frozen=True, eq=False)
class Tilted:
    """L and the jumps of every weight, acting on rho.ravel().

    Attributes
    ----------
    generator : csr_array, shape (n, n)
        L [1/time].
    weights : ndarray, shape (W,)
        The different weights that are not zero.
    jumps : tuple of csr_array, shape (W,) of (n, n)
        J_w, the sum of rate c rho c^dag over the dissipators of weight w [1/time].
    trace : ndarray, shape (n,)
        What takes the trace of rho.ravel().
    """

    generator: Operator
    weights: Floats
    jumps: tuple[Operator, ...]
    trace: Floats

    def at(self, x: complex) -> Operator:
        """Return L(x)."""
        factors = np.expm1(x * self.weights)
        pairs = zip(factors, self.jumps, strict=True)
        return summed(self.generator, (f * J for f, J in pairs))

    def derivative(self, order: int) -> Operator:
        """Return d^k L(x) / dx^k at x = 0, for k >= 1."""
        pairs = zip(self.weights**order, self.jumps, strict=True)
        return summed(0 * self.generator, (f * J for f, J in pairs))

    def restricted(self, start: Complexes) -> tuple[Tilted, Complexes]:
        """Return it on the elements of rho that the start reaches and the trace reads.

        The start is returned on the same elements.
        """
        readout = sp.csr_array(self.trace[None])
        pattern = summed(abs(self.generator), (abs(J) for J in self.jumps))
        kept = np.concatenate(relevant(pattern, start, readout))
        field = Tilted(
            self.generator[kept][:, kept],
            self.weights,
            tuple(J[kept][:, kept] for J in self.jumps),
            self.trace[kept],
        )
        return field, start[kept]

    def advanced(self, x: complex, start: Complexes, t: float) -> Complexes:
        """Return exp(L(x) t) rho, shape (n,)."""
        if start.size <= SMALL:
            return np.asarray(expm(t * self.at(x).toarray()) @ start)
        everything = sp.eye_array(start.size, dtype=np.complex128, format="csr")
        system = LinearSystem(self.at(x), {}, start, everything, True)
        return propagate(system, np.array([0.0, t]), ()).values[:, -1]

    def rounding(self, t: float) -> float:
        """Return the error of a moment with imaginary x after a time t."""
        norm = float(np.asarray(abs(self.generator).sum(axis=0)).max())
        return EPS * (norm * t + self.trace.size)

    def exponent(self, x: float) -> float:
        """Return a bound of |d/dt ln <exp(x Q)>| [1/time]."""
        sizes = [float(np.asarray(abs(J).sum(axis=0)).max()) for J in self.jumps]
        with np.errstate(over="ignore"):
            return float(np.abs(np.expm1(x * self.weights)) @ sizes)

    def log_moment(self, x: float, start: Complexes, t: float) -> float:
        """Return ln <exp(x Q(t))>, normalized on the way so that nothing overflows."""
        pieces = int(np.ceil(t * self.exponent(x) / LARGEST))
        state, total = start, 0.0
        for _ in range(pieces):
            state = self.advanced(x, state, t / pieces)
            size = float((self.trace @ state).real)
            state, total = state / size, total + float(np.log(size))
        return total


def dissipator_names(model: Any) -> tuple[str, ...]:
    """Return the names of the dissipators of a model whose jumps can be counted.

    Raises
    ------
    ModelError
        If the model has no rates that are constant in time.
    """
    if not isinstance(model, Model):
        raise ModelError(f"`model` must be a Model, but is {type(model).__name__}")
    if model.one_body:
        raise ModelError(
            "`model` must start from kets or a density matrix to count jumps, but is a "
            "one-body model of fermions; write it in the many-body space"
        )
    if model.time_dependent:
        raise ModelError(
            "`model` must not depend on time for exact counting, but has drives or "
            "strengths; count the jumps of trajectories"
        )
    if not model.dissipators:
        raise ModelError("`model` must have dissipators to count, but has none")
    return tuple(d.name for d in model.dissipators)


def jump_part(model: Model, weights: Floats) -> Operator:
    """Return sum_c w_c rate_c (c kron conj(c)), shape (d^2, d^2) [weight/time]."""
    zero = sp.csr_array((model.dim**2, model.dim**2), dtype=np.complex128)
    terms = [
        sp.kron(w * d.rate * d.operator, d.operator.conj(), format="csr")
        for w, d in zip(weights, model.dissipators, strict=True)
    ]
    return summed(zero, terms)


def tilted(model: Any, weights: Any) -> Tilted:
    """Return the tilted generator of a model.

    Raises
    ------
    ModelError
        If the model or the weights do not permit counting.
    """
    given = as_weights(weights, dissipator_names(model))
    different = np.unique(given[given != 0])
    return Tilted(
        generator=model.lindbladian(),
        weights=different,
        jumps=tuple(jump_part(model, 1.0 * (given == w)) for w in different),
        trace=np.eye(model.dim).ravel(),
    )
