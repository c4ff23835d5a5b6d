"""Equations in words: what a model stands for, in plain text and in LaTeX.

Every term is written twice, as it is printed and as it is typeset, and an equation
holds those that the model has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stochq.arrays import Floats
from stochq.channels import ComplexWhiteNoise, Noise

__all__ = ["as_latex", "as_text"]

#: Covariances up to this size are printed in full, and so many rates or names are.
SMALL, LISTED = 3, 8

#: Terms of an equation, printed and typeset. @x is the state, @H the Hamiltonian, @f
#: and @C a strength and a covariance with its strengths, @o the sign of Stratonovich.
TERMS = {
    "hamiltonian": ("- i @H @x dt", r"- i @H @x\,dt"),
    "drift": ("- 1/2 Σ_jk @C L_j L_k @x dt", r"- \tfrac12 \sum_{jk} @C L_j L_k @x\,dt"),
    "noise": ("- i Σ_j @fL_j @x @odW_j", r"- i \sum_j @fL_j @x @odW_j"),
    "commutator": ("- i [@H, ρ]", r"- i [@H, \rho]"),
    "averaged": (
        "- 1/2 Σ_jk @C [L_j, [L_k, ρ]]",
        r"- \tfrac12 \sum_{jk} @C [L_j, [L_k, \rho]]",
    ),
    "growth": ("+ Σ_jk @C L_j ρ L_k", r"+ \sum_{jk} @C L_j \rho L_k"),
    "jumps": (
        "+ Σ_c γ_c (c ρ c† - 1/2 {c†c, ρ})",
        r"+ \sum_c \gamma_c \bigl(c \rho c^\dagger "
        r"- \tfrac12 \{c^\dagger c, \rho\}\bigr)",
    ),
    "turning": ("+ i [@Hᵀ, G]", r"+ i [@H^T, G]"),
    "damping": (
        "- 1/2 Σ_jk @C [L_jᵀ, [L_kᵀ, G]]",
        r"- \tfrac12 \sum_{jk} @C [L_j^T, [L_k^T, G]]",
    ),
}
TEXT, LATEX = 0, 1

CALCULI = {
    "stratonovich": "read as Stratonovich",
    "ito": "read as Ito, with the drift that makes it the Stratonovich process",
    "raw-ito": "read as Ito, without the drift that would keep the norm",
}


def _symbols(model: Any, style: int) -> dict[str, str]:
    """Return what the marks in TERMS stand for."""
    strong = any(f is not None for n in model.noise for f in n.real().strengths)
    state = ("U", "U") if model.one_body else ("ψ", r"\psi")
    circle = ("∘ ", r"\circ ") if model.calculus == "stratonovich" else ("", r"\,")
    covariance = ("f_j C_jk f_k", "f_j C_{jk} f_k") if strong else ("C_jk", "C_{jk}")
    return {
        "@x": state[style],
        "@H": "H(t)" if model.drives else "H",
        "@f": ("f_j(t) ", r"f_j(t)\,")[style] if strong else "",
        "@C": covariance[style],
        "@o": circle[style],
    }


def _joined(model: Any, keys: Iterable[str], style: int) -> str:
    """Return the right-hand side made of some terms."""
    text = " ".join(TERMS[key][style] for key in keys) or "0"
    for mark, symbol in _symbols(model, style).items():
        text = text.replace(mark, symbol)
    if text.startswith("+ "):
        return text[2:]
    return "-" + text[2:] if text.startswith("- ") else text


def _moves(model: Any) -> bool:
    """Tell whether there is a Hamiltonian."""
    return bool(model.drives) or model.hamiltonian.nnz > 0


def _stochastic(model: Any, style: int) -> str:
    """Return the right-hand side of the equation of one trajectory."""
    keys = ["hamiltonian"] * _moves(model)
    keys += ["drift"] * bool(model.noise and model.calculus == "ito")
    keys += ["noise"] * bool(model.noise)
    return _joined(model, keys, style)


def _mean(model: Any, style: int) -> str:
    """Return the right-hand side of the averaged equation of rho."""
    raw = model.calculus == "raw-ito"
    keys = ["commutator"] * _moves(model)
    keys += ["growth" if raw else "averaged"] * bool(model.noise)
    keys += ["jumps"] * bool(model.dissipators)
    return _joined(model, keys, style)


def _two_point(model: Any, style: int) -> str:
    """Return the right-hand side of the averaged equation of G."""
    keys = ["turning"] * _moves(model) + ["damping"] * bool(model.noise)
    return _joined(model, keys, style)


def _hamiltonian(model: Any, style: int) -> str:
    """Return what H(t) is made of."""
    drives = ("Σ_m f_m(t) H_m", r"\sum_m f_m(t)\, H_m")[style]
    return f"H + {drives}" if model.hamiltonian.nnz else drives


def _counted(number: int, noun: str) -> str:
    """Return a number of things."""
    return f"{number} {noun}" + "s" * (number != 1)


def _listed(words: Sequence[str]) -> str:
    """Return words in a row, the first few of many."""
    more = len(words) - LISTED
    return ", ".join(words[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _rates(rates: Floats) -> str:
    """Return rates in words."""
    if np.all(rates == rates[0]):
        return f"rate {rates[0]:g}" + " each" * (rates.size > 1)
    if rates.size > LISTED:
        return f"rates from {rates.min():g} to {rates.max():g}"
    return "rates " + ", ".join(f"{rate:g}" for rate in rates)


def _covariance(noise: Noise) -> str:
    """Return in words how strong the channels of a noise are."""
    if isinstance(noise, ComplexWhiteNoise):
        return f"rate {noise.rate:g}, as L = A + A† and i(A - A†) with half of it each"
    if noise.rates is not None:
        return _rates(noise.rates)
    size = len(noise.operators)
    if size > SMALL:
        rank = np.linalg.matrix_rank(noise.covariance, hermitian=True)
        return f"C: {size} x {size}, rank {rank}"
    rows = (", ".join(f"{c:.4g}" for c in row) for row in noise.covariance)
    return "C = [" + ", ".join(f"[{row}]" for row in rows) + "]"


def _strong(strengths: set[int]) -> str:
    """Return how many functions of time multiply the operators."""
    return f", {_counted(len(strengths), 'strength')} f(t)" if strengths else ""


def _noise_line(noise: Noise) -> str:
    """Return one line about a noise."""
    kind = "complex noise" if isinstance(noise, ComplexWhiteNoise) else "noise"
    strong = _strong({id(f) for f in noise.real().strengths if f is not None})
    size = _counted(len(noise.operators), "operator")
    return f"{kind} {noise.name!r}: {size}, {_covariance(noise)}{strong}"


def _dissipator_lines(model: Any) -> list[str]:
    """Return one line about every group of dissipators."""
    groups: dict[str, list[Any]] = {}
    for dissipator in model.dissipators:
        groups.setdefault(dissipator.name, []).append(dissipator)
    lines = []
    for name, members in groups.items():
        strengths = {id(d.strength) for d in members if d.strength is not None}
        size = _counted(len(members), "operator")
        rates = _rates(np.array([d.rate for d in members]))
        lines.append(f"dissipators {name!r}: {size}, {rates}{_strong(strengths)}")
    return lines


def _initial(model: Any) -> str:
    """Return in words where a model starts."""
    if model.one_body:
        return _counted(model.initial.particles, "fermion")
    members = model.initial.weights.size
    return "a ket" if members == 1 else f"a mixture of {members} kets"


def _trajectory_lines(model: Any) -> list[str]:
    """Return the equation of one trajectory and what belongs to it."""
    state, noisy = "U" if model.one_body else "ψ", bool(model.noise)
    lines = [f"d{state} = {_stochastic(model, TEXT)}"]
    if noisy:
        lines.append(f"<dW_j dW_k> = C_jk dt, {CALCULI[model.calculus]}")
    if model.drives:
        drives = _counted(len(model.drives), "drive")
        lines.append(f"with H(t) = {_hamiltonian(model, TEXT)}, {drives}")
    if model.one_body:
        lines.append("U: one column per fermion; a matrix A means Σ_xy A_xy c_x† c_y")
    if noisy and model.calculus == "raw-ito":
        grown = _symbols(model, TEXT)["@C"]
        lines.append(f"the mean norm grows as d<ψ|ψ>/dt = Σ_jk {grown} <ψ|L_j L_k|ψ>")
    if model.dissipators:
        lines.append("the dissipators add what the unraveling makes of them")
    return lines


def as_text(model: Any) -> str:
    """Return what a model stands for, in plain text.

    Parameters
    ----------
    model : Model
        Any model.

    Returns
    -------
    str
        Its equation, its parts, one per line, and its averaged equation.
    """
    size = f"{model.dim} sites" if model.one_body else f"dimension {model.dim}"
    lines = _trajectory_lines(model) + [_noise_line(n) for n in model.noise]
    lines += _dissipator_lines(model)
    lines.append(f"observables: {_listed(list(model.observables))}")
    lines.append(f"average: dρ/dt = {_mean(model, TEXT)}")
    if model.one_body and not model.dissipators:
        lines.append(f"closed:  dG/dt = {_two_point(model, TEXT)}")
    head = f"Model {model.name!r}: {size}, starts from {_initial(model)}"
    return "\n  ".join([head, *lines])


def as_latex(model: Any) -> str:
    r"""Return the equation of a trajectory and the averaged one, in LaTeX.

    Parameters
    ----------
    model : Model
        Any model.

    Returns
    -------
    str
        An ``aligned`` block between double dollars.
    """
    state = "U" if model.one_body else r"\psi"
    variance = r",\quad \langle dW_j\, dW_k \rangle = C_{jk}\,dt" if model.noise else ""
    rows = [f"d{state} &= {_stochastic(model, LATEX)}{variance}"]
    if model.drives:
        rows.append(f"H(t) &= {_hamiltonian(model, LATEX)}")
    rows.append(rf"\frac{{d\rho}}{{dt}} &= {_mean(model, LATEX)}")
    body = " \\\\\n".join(rows)
    return f"$$\\begin{{aligned}}\n{body}\n\\end{{aligned}}$$"
