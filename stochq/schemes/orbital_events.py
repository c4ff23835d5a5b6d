"""Events of orbitals, prepared: rates, modes, and what carries modes back in time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from stochq.arrays import Complexes, Floats, Ints, Operator, adjoint, summed
from stochq.lowering import Dynamics
from stochq.structure import Sparse, blocks, eigenvectors, pack

__all__ = ["JUMP", "KICK", "OrbitalEvents", "mode_of", "orbital_events"]

#: What an event does to the number of fermions in its mode.
KICK, PROJECTION, JUMP = 0, 1, 2
KINDS = {"kick": KICK, "projection": PROJECTION, "jump": JUMP}

#: Elements of a projector below this are rounding.
NOTHING = 1e-13


class OrbitalEvents(NamedTuple):
    """Everything a kernel needs to carry orbitals through their events.

    ``kind`` and ``rate`` are those of every channel; a jump's rate is g_v, of a full
    mode. The modes of channel c are ``mode_ptr[c]`` to ``mode_ptr[c + 1]``, many for a
    kick of many modes: ``modes`` has them on the sites, ``turned`` in the eigenbasis of
    h, whose ``energies`` and eigenvectors (``right``) carry them back. ``generator`` is
    -i H_eff, with its largest row sum ``norm``.
    """

    kind: Ints
    rate: Floats
    constant: float
    jumping: bool
    mode_ptr: Ints
    modes: Complexes
    turned: Complexes
    energies: Floats
    right: Sparse
    generator: Sparse
    norm: float


def mode_of(projector: Operator) -> Complexes:
    """Return v, normalized, from a multiple of v v^dag, shape (sites,)."""
    column = int(np.argmax(np.abs(projector.diagonal())))
    v: Complexes = projector[:, [column]].toarray()[:, 0]
    return v / np.linalg.norm(v)


def _kicked_modes(c: Operator, root: float) -> list[Complexes]:
    """Return the modes whose sign a kick turns, c = root (2 P - 1).

    Kicks 2 P - 1 and 1 - 2 P differ by a phase; the smaller of P and 1 - P will do.
    """
    dim = c.shape[0]
    one = sp.eye_array(dim, format="csr", dtype=np.complex128)
    sign = 1.0 if c.diagonal().sum().real < 0 else -1.0
    P = sp.csr_array(0.5 * (one + (sign / root) * c))
    P.data[np.abs(P.data) < NOTHING] = 0.0
    P.eliminate_zeros()
    modes = []
    for _, vectors in eigenvectors(P):
        for members, amplitude in vectors:
            v = np.zeros(dim, dtype=np.complex128)
            v[members] = amplitude
            modes.append(v)
    return modes


def _channel(c: Operator, kind: str) -> tuple[float, list[Complexes]]:
    """Return the rate of a jump operator, that of a full mode, and its modes."""
    if kind == "kick":
        rate = float((abs(c) ** 2).sum()) / c.shape[0]
        return rate, _kicked_modes(c, np.sqrt(rate))
    return float(c.diagonal().sum().real) ** 2, [mode_of(c)]


def _eigenbasis(h: Operator) -> tuple[Floats, Operator]:
    """Return the energies and eigenvectors of h, block by block."""
    energies = np.zeros(h.shape[0])
    right: Any = sp.eye_array(h.shape[0], format="lil", dtype=np.complex128)
    for members in blocks(h):
        dense = h[members][:, members].toarray()
        energies[members], right[np.ix_(members, members)] = np.linalg.eigh(dense)
    return energies, right.tocsr()


def effective_generator(dynamics: Dynamics) -> Operator:
    """Return -i h - (1/2) sum c^dag c over the jumps whose rates follow the state."""
    jumps = zip(dynamics.jumps, dynamics.jump_kinds, strict=True)
    losses = [-0.5 * (c @ c) for c, kind in jumps if kind == "jump"]
    return summed(-1j * dynamics.hamiltonian, losses)


def orbital_events(dynamics: Dynamics) -> OrbitalEvents | None:
    """Return the events of a model; there are none where it has kets."""
    if not dynamics.one_body or not dynamics.jumps:
        return None
    pairs = zip(dynamics.jumps, dynamics.jump_kinds, strict=True)
    channels = [_channel(c, kind) for c, kind in pairs]
    vectors = [v for _, found in channels for v in found]
    # none where every kick is a phase, as on the only site that can be reached
    modes = np.array(vectors, dtype=np.complex128).reshape(-1, dynamics.dim)
    rate = np.array([r for r, _ in channels])
    kind = np.array([KINDS[k] for k in dynamics.jump_kinds], dtype=np.int64)
    jumping = bool((kind == JUMP).any())
    # jumps carry the orbitals along; only events at constant rates need the eigenbasis
    energies, right = _eigenbasis((0.0 if jumping else 1.0) * dynamics.hamiltonian)
    generator = effective_generator(dynamics)
    return OrbitalEvents(
        kind=kind,
        rate=rate,
        constant=float(rate[kind != JUMP].sum()),
        jumping=jumping,
        mode_ptr=np.cumsum([0] + [len(found) for _, found in channels]),
        modes=modes,
        turned=np.ascontiguousarray((adjoint(right) @ modes.T).T),
        energies=energies,
        right=pack(right),
        generator=pack(generator),
        norm=float(abs(generator).sum(axis=1).max(initial=0.0)),
    )
