"""Random numbers addressed by counter: (seed, purpose, trajectory, draw) -> number.

Philox4x32-10 turns a 64-bit key and a 128-bit counter into four 32-bit words. The key
is made from the seed and the purpose, the counter from the trajectory (64 bits) and the
number of the draw (64 bits). Trajectory 17 therefore has the same noise in whatever
batch, process or order it runs, and any draw can be had without the ones before it.

References
----------
.. [1] J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers:
   as easy as 1, 2, 3", SC'11 (2011).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt
from numba import uint32, uint64

from stochq.arrays import Floats, Ints, whole_number
from stochq.jit import inline, kernel

__all__ = [
    "Purpose",
    "child_seed",
    "fill_normals",
    "fill_words",
    "normals_at",
    "philox",
    "stream_key",
    "uniform_pair",
]

#: Words of a block, hence normals per block.
BLOCK = 4

#: Adding and subtracting it rounds |x| < 2^51 to an integer, in vector registers too.
ROUND = 1.5 * 2.0**52


class Purpose(IntEnum):
    """What a stream is for; streams of different purpose are independent."""

    INITIAL = 0
    NOISE = 1
    JUMPS = 2
    ORDER = 3


def stream_key(seed: int, purpose: Purpose) -> npt.NDArray[np.uint32]:
    """Return the key of a stream, shape (2,): a hash of (seed, purpose).

    Raises
    ------
    ValueError
        If the seed is not an integer >= 0.
    """
    whole_number(seed, "seed", at_least=0)
    sequence = np.random.SeedSequence(seed, spawn_key=(int(purpose),))
    return sequence.generate_state(2).astype(np.uint32)


def child_seed(seed: int, *path: int) -> int:
    """Return the seed of an independent run that belongs to a run, a 128-bit hash."""
    whole_number(seed, "seed", at_least=0)
    sequence = np.random.SeedSequence(seed, spawn_key=(len(Purpose), *path))
    words = sequence.generate_state(4, np.uint32).tolist()
    return sum(word << (32 * k) for k, word in enumerate(words))


@inline
def philox(k0, k1, c0, c1, c2, c3):
    """Return the four words of Philox4x32-10 for a key and a counter (all uint64)."""
    low = uint64(0xFFFFFFFF)
    for _ in range(10):
        p0 = uint64(0xD2511F53) * c0
        p1 = uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (p1 >> uint64(32)) ^ c1 ^ k0,
            p1 & low,
            (p0 >> uint64(32)) ^ c3 ^ k1,
            p0 & low,
        )
        k0 = (k0 + uint64(0x9E3779B9)) & low
        k1 = (k1 + uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


@kernel
def uniform_pair(key, trajectory, draw):
    """Return two uniform numbers in the open interval (0, 1), 52 bits each."""
    low = uint64(0xFFFFFFFF)
    number, block = uint64(trajectory), uint64(draw)
    a, b, c, d = philox(
        uint64(key[0]),
        uint64(key[1]),
        number & low,
        number >> uint64(32),
        block & low,
        block >> uint64(32),
    )
    scale = 2.0**-52
    u = (np.float64(((a << uint64(32)) | b) >> uint64(12)) + 0.5) * scale
    v = (np.float64(((c << uint64(32)) | d) >> uint64(12)) + 0.5) * scale
    return u, v


@inline
def sincos_turns(turns):
    """Return cos and sin of 2 pi x for |x| < 2^51, to 4e-16, without branches.

    The quadrant is removed exactly; on |angle| <= pi/4 two Taylor polynomials remain.
    """
    quadrant = (4.0 * turns + ROUND) - ROUND
    x = (turns - 0.25 * quadrant) * 6.283185307179586
    y = x * x
    s = x * (
        1.0
        + y
        * (
            -1.0 / 6
            + y
            * (
                1.0 / 120
                + y
                * (
                    -1.0 / 5040
                    + y
                    * (
                        1.0 / 362880
                        + y
                        * (-1.0 / 39916800 + y * (1.0 / 6227020800 - y / 1307674368000))
                    )
                )
            )
        )
    )
    c = 1.0 + y * (
        -0.5
        + y
        * (
            1.0 / 24
            + y
            * (
                -1.0 / 720
                + y
                * (
                    1.0 / 40320
                    + y
                    * (
                        -1.0 / 3628800
                        + y
                        * (
                            1.0 / 479001600
                            - y * (1.0 / 87178291200 - y / 20922789888000)
                        )
                    )
                )
            )
        )
    )
    q = np.int64(quadrant) & 3
    odd = (q & 1) == 1
    cos = s if odd else c
    sin = c if odd else s
    return (-cos if (q == 1 or q == 2) else cos), (-sin if q >= 2 else sin)


@inline
def log_unit(u):
    """Return ln u for a normal positive double u <= 1, to 3e-16 absolute plus relative.

    u = m 2^e with m in [sqrt(1/2), sqrt(2)), ln m = 2 artanh((m-1)/(m+1)).
    """
    bits = np.float64(u).view(np.int64)
    exponent = (bits >> 52) - 1023
    fraction = np.int64((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    mantissa = fraction.view(np.float64)
    large = mantissa > 1.4142135623730951
    mantissa = 0.5 * mantissa if large else mantissa
    exponent = exponent + 1 if large else exponent
    f = (mantissa - 1.0) / (mantissa + 1.0)
    y = f * f
    series = 1.0 / 17 + y * (1.0 / 19 + y * (1.0 / 21))
    series = 1.0 / 11 + y * (1.0 / 13 + y * (1.0 / 15 + y * series))
    series = 1.0 / 5 + y * (1.0 / 7 + y * (1.0 / 9 + y * series))
    series = y * (1.0 / 3 + y * series)
    return exponent * 0.6931471805599453 + 2.0 * f * (1.0 + series)


@kernel
def fill_words(key, trajectories, lanes, block, words):
    """Write the four 32-bit words of a block for every lane."""
    low = uint64(0xFFFFFFFF)
    k0, k1 = uint64(key[0]), uint64(key[1])
    c2, c3 = uint64(block) & low, uint64(block) >> uint64(32)
    for w in range(lanes):
        number = uint64(trajectories[w])
        a, b, c, d = philox(k0, k1, number & low, number >> uint64(32), c2, c3)
        words[0, w] = a
        words[1, w] = b
        words[2, w] = c
        words[3, w] = d


@kernel
def fill_normals(key, trajectories, lanes, block, words, out):
    """Write the four standard normals of a block for every lane.

    Parameters
    ----------
    key : uint32 array, shape (2,)
        From `stream_key`.
    trajectories : int64 array, shape (W,)
        The trajectory that each lane belongs to.
    lanes : int
        How many of the lanes to write.
    block : int
        Normals 4 block ... 4 block + 3 of each trajectory.
    words : uint64 array, shape (4, W)
        Work space.
    out : float array, shape (4, W)
        The normals, by Box and Muller.
    """
    fill_words(key, trajectories, lanes, block, words)
    scale = 2.0**-32
    for pair in range(2):
        for w in range(lanes):
            u = (np.float64(uint32(words[2 * pair, w])) + 0.5) * scale
            v = (np.float64(uint32(words[2 * pair + 1, w])) + 0.5) * scale
            radius = np.sqrt(-2.0 * log_unit(u))
            cos, sin = sincos_turns(v)
            out[2 * pair, w] = radius * cos
            out[2 * pair + 1, w] = radius * sin


def normals_at(seed: int, trajectory: int, addresses: Ints) -> Floats:
    """Return the noise normals of a trajectory at some addresses, shape (n,)."""
    key = stream_key(seed, Purpose.NOISE)
    lane = np.array([trajectory], dtype=np.int64)
    words = np.empty((BLOCK, 1), dtype=np.uint64)
    out = np.empty((BLOCK, 1))
    blocks, place = np.unique(addresses // BLOCK, return_inverse=True)
    values = np.empty((blocks.size, BLOCK))
    for row, block in enumerate(blocks.tolist()):
        fill_normals(key, lane, 1, block, words, out)
        values[row] = out[:, 0]
    drawn: Floats = values[place, addresses % BLOCK]
    return drawn


def normals(seed: int, trajectory: int, count: int) -> Floats:
    """Return the first `count` noise normals of a trajectory, shape (count,)."""
    return normals_at(seed, trajectory, np.arange(count))
