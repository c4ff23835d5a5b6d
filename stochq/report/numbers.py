"""Numbers in words: plain text with powers of ten, for a formula setter to set."""

from __future__ import annotations

import math

__all__ = ["chance", "count", "deviation", "estimate", "number", "percent"]

#: Stands for a number that is not known, and between digits.
UNKNOWN, THIN = "–", "\N{NARROW NO-BREAK SPACE}"

#: Smaller probabilities cannot be told apart.
LEAST_CHANCE = 1e-300


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with some digits, as "0.0123" or "1.23 × 10^{-7}"."""
    if value is None:
        return UNKNOWN
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if value == 0 or -4 < power < 6:
        decimals = max(digits - 1 - power, 0)
        return _minus(f"{value:.{decimals}f}") if value else "0"
    front = f"{float(mantissa):g}"
    times = "" if front == "1" else "−" if front == "-1" else f"{_minus(front)} × "
    return f"{times}10^{{{_minus(str(power))}}}"


def _minus(text: str) -> str:
    """Return a number with a minus sign."""
    return text.replace("-", "−")


def count(value: int) -> str:
    """Return an integer with its digits in groups of three."""
    return f"{value:,}".replace(",", THIN) if value >= 10_000 else str(value)


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction of 1 as "2.4 %"."""
    text = number(None if fraction is None else 100 * fraction, digits)
    return text if text == UNKNOWN else f"{text}{THIN}%"


def estimate(fraction: float | None, error: float | None) -> str:
    """Return "+0.4 ± 1.7 %", with as many decimals as the error has."""
    if fraction is None or error is None:
        return UNKNOWN
    power = math.floor(math.log10(100 * error)) if error else -3
    decimals = min(max(1 - power, 0), 6)
    text = f"{100 * fraction:+.{decimals}f} ± {100 * error:.{decimals}f}"
    return f"{_minus(text)}{THIN}%"


def chance(p: float | None) -> str:
    """Return a probability; one too small to be held is below the least."""
    if p is None or p > LEAST_CHANCE:
        return number(p, 2)
    return "< 10^{−300}"


def deviation(max_z: float | None, p: float | None) -> str:
    """Return a deviation in standard errors; a missing one is infinite if p is 0."""
    return "∞" if max_z is None and p == 0 else number(max_z)
