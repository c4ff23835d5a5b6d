"""Flow and jumps by Taylor series that are their own dense output.

Every lane has its own time. A round carries all lanes that are not yet at the end by
one series each: to the end of their step, or to the jump inside it, where S(t) = u is
solved by a bracketed Newton iteration on ln S(psi(s)). The number of terms and the
length of a step are those of the whole model: no lane knows of the others.
"""

from __future__ import annotations

import numpy as np

from stochq.jit import kernel
from stochq.schemes.lanes import count_jump
from stochq.streams import uniform_pair

__all__ = ["TOLERANCE", "taylor_lanes"]

#: Largest |ln(S / u)| that a jump time is left with, unless rounding is coarser.
TOLERANCE = 1e-13

#: Lanes that are evaluated side by side.
STRIP = 8


@kernel
def _next_term(even, odd, first_row, low, high, z, width, out):
    """Add A z to out for the lanes of a round."""
    for i in range(low, high):
        row = first_row + i
        for p in range(even.indptr[row], even.indptr[row + 1]):
            j, value = even.indices[p], even.data[p]
            for w in range(width):
                out[0, i, w] += value * z[0, j, w]
            for w in range(width):
                out[1, i, w] += value * z[1, j, w]
        for p in range(odd.indptr[row], odd.indptr[row + 1]):
            j, value = odd.indices[p], odd.data[p]
            for w in range(width):
                out[0, i, w] -= value * z[1, j, w]
            for w in range(width):
                out[1, i, w] += value * z[0, j, w]


@kernel
def _convolve(factor, m, k, scale, low, high, y, z, width):
    """Write z = scale sum_l factor[m, l] psi_{k-l}."""
    for part in range(2):
        for i in range(low, high):
            for w in range(width):
                z[part, i, w] = 0.0
            for power in range(min(k + 1, factor.shape[1])):
                for w in range(width):
                    z[part, i, w] += factor[m, power, w] * y[k - power, part, i, w]
            for w in range(width):
                z[part, i, w] *= scale


@kernel
def _expand(even, odd, terms, low, high, factor, y, z, width):
    """Write the terms 1 ... of the series, with its variable scaled to [0, 1].

    ``factor[m, l]`` is tau^(l + 1) a_{m,l} of every lane.
    """
    dim = y.shape[2]
    count = factor.shape[0]
    for k in range(terms):
        new = y[k + 1]
        for part in range(2):
            for i in range(low, high):
                for w in range(width):
                    new[part, i, w] = 0.0
        _next_term(even, odd, 0 * dim, low, high, y[k], width, new)
        scale = 1.0 / (k + 1.0)
        for part in range(2):
            for i in range(low, high):
                for w in range(width):
                    new[part, i, w] *= factor[0, 0, w] * scale
        for m in range(1, count):
            _convolve(factor, m, k, scale, low, high, y, z, width)
            _next_term(even, odd, m * dim, low, high, z, width, new)


@kernel
def _sum_series(y, terms, low, high, first, sigma, out, square, slope):
    """Write psi, S and dS/dsigma at sigma for a strip of lanes, by Horner's rule."""
    value, change = np.empty(STRIP), np.empty(STRIP)
    for w in range(STRIP):
        square[first + w], slope[first + w] = 0.0, 0.0
    for part in range(2):
        for i in range(low, high):
            for w in range(STRIP):
                value[w] = y[terms, part, i, first + w]
                change[w] = 0.0
            for k in range(terms - 1, -1, -1):
                for w in range(STRIP):
                    change[w] = change[w] * sigma[first + w] + value[w]
                    value[w] = value[w] * sigma[first + w] + y[k, part, i, first + w]
            for w in range(STRIP):
                out[part, i, first + w] = value[w]
                square[first + w] += value[w] * value[w]
                slope[first + w] += 2.0 * value[w] * change[w]


@kernel
def _lane_factors(flow, piece, t, tau, factor, w):
    """Write tau^(l + 1) a_{m,l} of a lane at time t in a piece."""
    factor[0, 0, w] = tau
    u = (t - flow.middle[piece]) / flow.half[piece]
    ratio = tau / flow.half[piece]
    degree = factor.shape[1]
    for m in range(1, factor.shape[0]):
        for power in range(degree):
            factor[m, power, w] = flow.powers[piece, m - 1, power]
        for done in range(degree):  # repeated division shifts the polynomial to u
            for power in range(degree - 2, done - 1, -1):
                factor[m, power, w] += u * factor[m, power + 1, w]
        scale = tau
        for power in range(degree):
            factor[m, power, w] *= scale
            scale *= ratio


@kernel
def _guess(start, rise, stop, fall, end):
    """Return where the cubic with these values and slopes at 0 and `end` vanishes.

    ``start`` > 0 >= ``stop``.
    """
    low, high = 0.0, 1.0
    a = (rise + fall) * end - 2.0 * (stop - start)
    b = 3.0 * (stop - start) - (2.0 * rise + fall) * end
    for _ in range(24):
        x = 0.5 * (low + high)
        if start + x * (rise * end + x * (b + x * a)) > 0.0:
            low = x
        else:
            high = x
    return 0.5 * (low + high) * end


@kernel
def _solve(y, terms, low, high, width, level, due, sigma, out, square, slope):
    """Move sigma of the lanes that are due to S(sigma) = level; out is psi there.

    On entry they stand at the end of their step, with S below the level.
    """
    left, right = np.zeros(width), sigma[:width].copy()
    begin, descent = np.zeros(width), np.zeros(width)
    open_ = due[:width].copy()
    for i in range(low, high):
        for part in range(2):
            for w in range(width):
                begin[w] += y[0, part, i, w] * y[0, part, i, w]
                descent[w] += 2.0 * y[0, part, i, w] * y[1, part, i, w]
    for w in range(width):
        if not open_[w]:
            continue
        start = np.log(begin[w] / level[w])
        if start <= 0.0:  # the norm is at the clock already, to rounding
            sigma[w] = 0.0
        elif square[w] > 0.0:
            stop = np.log(square[w] / level[w])
            sigma[w] = _guess(
                start, descent[w] / begin[w], stop, slope[w] / square[w], sigma[w]
            )
        else:
            sigma[w] *= 0.5
    for _ in range(100):
        for first in range(0, width, STRIP):
            needed = False
            for w in range(first, first + STRIP):
                needed = needed or open_[w]
            if not needed:
                continue
            _sum_series(y, terms, low, high, first, sigma, out, square, slope)
            for w in range(first, first + STRIP):
                if open_[w]:
                    open_[w] = _refine(w, level, left, right, sigma, square, slope)
        going = False
        for w in range(width):
            going = going or open_[w]
        if not going:
            break


@kernel
def _refine(w, level, left, right, sigma, square, slope):
    """Take one bracketed Newton step on ln S; tell whether another is needed."""
    x = sigma[w]
    miss = np.log(square[w] / level[w]) if square[w] > 0.0 else -np.inf
    if abs(miss) <= TOLERANCE or x == 0.0:
        return False
    if miss > 0.0:
        left[w] = x
    else:
        right[w] = x
    new = -1.0
    if slope[w] < 0.0 and square[w] > 0.0:
        new = x - miss * square[w] / slope[w]
    if not (left[w] < new < right[w]):
        new = 0.5 * (left[w] + right[w])
    if new == left[w] or new == right[w] or abs(new - x) <= 4e-16 * x:
        return False
    sigma[w] = new
    return True


@kernel
def _product(matrix, first_row, low, high, v, i):
    """Return row i of M v for a v that vanishes outside low ... high."""
    total = 0j
    for p in range(matrix.indptr[first_row + i], matrix.indptr[first_row + i + 1]):
        j = matrix.indices[p]
        if low <= j < high:
            total += matrix.data[p] * v[j]
    return total


@kernel
def _rate_factor(flow, channel, piece, t):
    """Return what multiplies the rate of a jump at a time."""
    term = flow.rate_of[channel]
    if term == 0:
        return 1.0
    u = (t - flow.middle[piece]) / flow.half[piece]
    value = 0.0
    for power in range(flow.powers.shape[2] - 1, -1, -1):
        value = value * u + flow.powers[piece, term - 1, power]
    return max(value, 0.0)


@kernel
def _jump(flow, v, low, high, piece, t, uniform, x, w):
    """Write c v, normalized, into a lane of x; choose c at the rates |c v|^2."""
    dim = v.shape[0]
    passed = np.empty(flow.channels)
    total = 0.0
    for c in range(flow.channels):
        rate = 0.0
        for i in range(low, high):
            image = _product(flow.rates, c * dim, low, high, v, i)
            rate += (v[i].conjugate() * image).real
        total += _rate_factor(flow, c, piece, t) * rate
        passed[c] = total
    chosen = 0
    while chosen < flow.channels - 1 and passed[chosen] <= uniform * total:
        chosen += 1
    norm = 0.0
    for i in range(dim):
        image = _product(flow.jumps, chosen * dim, low, high, v, i)
        x[0, flow.order[i], w], x[1, flow.order[i], w] = image.real, image.imag
        norm += image.real * image.real + image.imag * image.imag
    scale = 1.0 / np.sqrt(norm)
    for i in range(dim):
        x[0, i, w] *= scale
        x[1, i, w] *= scale
    return chosen


@kernel
def _extent(flow, x, w):
    """Return the first and the last part of the basis that a lane occupies, as one."""
    parts = flow.parts.shape[0] - 1
    first, last = parts - 1, 0
    for part in range(parts):
        for i in range(flow.parts[part], flow.parts[part + 1]):
            j = flow.order[i]
            if x[0, j, w] != 0.0 or x[1, j, w] != 0.0:
                first, last = min(first, part), part
                break
    return first * (parts + 1) + max(first, last)


@kernel
def _next_lanes(extent, active, limit, chosen):
    """Choose up to `limit` active lanes of one extent; return how many."""
    count, wanted = 0, -1
    for w in range(active.shape[0]):
        if active[w] and (wanted < 0 or extent[w] == wanted):
            wanted = extent[w]
            chosen[count] = w
            count += 1
            if count == limit:
                break
    return count


@kernel
def _round(
    flow, x, chosen, count, low, high, start, done, left, piece, extent, clock, draws,
    key, trajectory, y, z, factor, tally,
):  # fmt: skip
    """Carry the chosen lanes by one series each, or to a jump inside it."""
    dim = x.shape[1]
    width = (count + STRIP - 1) // STRIP * STRIP
    sigma, level = np.zeros(width), np.ones(width)
    square, slope = np.empty(width), np.empty(width)
    due = np.zeros(width, dtype=np.bool_)
    step = np.zeros(width)
    last = flow.middle.shape[0] - 1
    for c in range(width):  # lanes beyond the chosen fill up the last strip
        w = chosen[min(c, count - 1)]
        n = piece[w]
        tau = flow.longest[n]
        t = start + done[w]
        step[c] = min(left[w], tau)
        if n < last:
            step[c] = max(0.0, min(step[c], flow.edges[n + 1] - t))
        sigma[c] = step[c] / tau
        level[c] = clock[w]
        _lane_factors(flow, n, t, tau, factor, c)
        for i in range(low, high):
            y[0, 0, i, c] = x[0, flow.order[i], w]
            y[0, 1, i, c] = x[1, flow.order[i], w]
    _expand(flow.even, flow.odd, flow.terms, low, high, factor, y, z, width)
    for first in range(0, width, STRIP):
        _sum_series(y, flow.terms, low, high, first, sigma, z, square, slope)
    crossed = False
    for c in range(count):
        due[c] = flow.channels > 0 and square[c] <= level[c]
        crossed = crossed or due[c]
        if not due[c]:
            w = chosen[c]
            for i in range(low, high):
                x[0, flow.order[i], w] = z[0, i, c]
                x[1, flow.order[i], w] = z[1, i, c]
            n = piece[w]
            if n < last and step[c] >= flow.edges[n + 1] - (start + done[w]):
                piece[w] = n + 1
            left[w] = left[w] - step[c] if step[c] < left[w] else 0.0
            done[w] += step[c]
    if not crossed:
        return
    _solve(y, flow.terms, low, high, width, level, due, sigma, z, square, slope)
    v = np.zeros(dim, dtype=np.complex128)
    for c in range(count):
        if not due[c]:
            continue
        w = chosen[c]
        tally.residual[0] = max(tally.residual[0], abs(np.log(square[c] / level[c])))
        for i in range(low, high):
            v[i] = complex(z[0, i, c], z[1, i, c])
        spent = min(sigma[c] * flow.longest[piece[w]], step[c])
        uniform, clock[w] = uniform_pair(key, trajectory[w], draws[w])
        now = start + (done[w] + spent)
        taken = _jump(flow, v, low, high, piece[w], now, uniform, x, w)
        draws[w] += 1
        left[w] -= spent
        done[w] += spent
        extent[w] = _extent(flow, x, w)
        count_jump(tally, trajectory[w], taken, now)


@kernel
def taylor_lanes(flow, x, start, duration, clock, draws, key, trajectory, tally):
    """Carry a group of lanes through the flow from `start` on, jumps included."""
    dim, lanes = x.shape[1], x.shape[2]
    limit = min(flow.lanes, (lanes + STRIP - 1) // STRIP * STRIP)
    y = np.empty((flow.terms + 1, 2, dim, limit))
    z = np.empty((2, dim, limit))
    factor = np.zeros((1 + flow.powers.shape[1], flow.powers.shape[2], limit))
    done, left = np.zeros(lanes), np.full(lanes, duration)
    extent = np.empty(lanes, dtype=np.int64)
    piece = np.empty(lanes, dtype=np.int64)
    active = np.ones(lanes, dtype=np.bool_)
    chosen = np.empty(limit, dtype=np.int64)
    parts = flow.parts.shape[0]
    last = flow.middle.shape[0] - 1
    slack = 4e-16 * max(abs(start), abs(start + duration))
    first = min(last, max(0, np.searchsorted(flow.edges, start + slack, "right") - 1))
    for w in range(lanes):
        extent[w], piece[w] = _extent(flow, x, w), first
    count = _next_lanes(extent, active, limit, chosen)
    while count > 0:
        a, b = extent[chosen[0]] // parts, extent[chosen[0]] % parts
        low, high = flow.parts[a], flow.parts[b + 1]
        _round(
            flow, x, chosen, count, low, high, start, done, left, piece, extent, clock,
            draws, key, trajectory, y, z, factor, tally,
        )  # fmt: skip
        for c in range(count):
            w = chosen[c]
            active[w] = left[w] > 0.0
        count = _next_lanes(extent, active, limit, chosen)
