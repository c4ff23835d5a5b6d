"""Formulas written as plain text, set as physics in HTML and in LaTeX.

"<x^2> -> 2 D t" is what claims, labels and names of observables look like. In a
sentence the formulas are found first: neighboring words that are all symbols, with at
least one among them that cannot be a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

__all__ = [
    "formula_html",
    "formula_latex",
    "sentence_html",
    "sentence_latex",
    "symbols",
]

GREEK = {
    "Delta": "Δ",
    "Gamma": "Γ",
    "Omega": "Ω",
    "alpha": "α",
    "beta": "β",
    "delta": "δ",
    "eps": "ε",
    "epsilon": "ε",
    "eta": "η",
    "gamma": "γ",
    "kappa": "κ",
    "lambda": "λ",
    "omega": "ω",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "xi": "ξ",
}

#: Words that stand upright in a formula.
FUNCTIONS = ("cos", "cosh", "exp", "ln", "sin", "sinh", "tan", "tanh", "Im", "Re", "Tr")

_GREEK_WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(GREEK)})(?![A-Za-z])")
_AVERAGE = re.compile(r"<(\S(?:[^<>]*\S)?)>")
_DAGGER = re.compile(r"(?<=\b[a-z])\+(?=[ )\]⟩]|$)|\^dag\b")
_MINUS = re.compile(r"(?<= )-(?= )")

_WORD = r"[^\W\d_]+"
_SCRIPT = r"[_^](?:\{[^{}]*\}|[^\W_]+(?:,[^\W_]+)*)"
_TOKEN = re.compile(
    rf"sqrt\((?P<root>[^()]*)\)|(?P<script>{_SCRIPT})|(?P<dagger>†)|"
    rf"(?P<star>(?<=\w)\*)|(?P<word>{_WORD})|(?P<other>.)",
    re.DOTALL,
)

#: What no word of a sentence contains.
_FORMULA_SIGN = re.compile(
    rf"[=×⟨⟩\[\]{{}}†→*/|Α-Ωα-ω]|{_SCRIPT}|\b({'|'.join(FUNCTIONS)})\b"
)

#: Two scripts of LaTeX on the same side, which needs something between them.
_TWICE = re.compile(r"(([_^])\{(?:[^{}]|\{[^{}]*\})*\})(?=\2)")

#: Punctuation around a formula that belongs to the sentence.
_AROUND = re.compile(r"([\s'\"“”,;:.]*)(.*?)([\s'\"“”,;:.]*)", re.DOTALL)

#: Signs that LaTeX knows by other names, in mathematics and in text.
LATEX_SIGNS = {
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "→": r"\to ",
    "∞": r"\infty ",
    "−": "-",
    "×": r"\times ",
    "ħ": r"\hbar ",
    "~": r"\sim ",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "^": r"\wedge ",
    "\\": r"\backslash ",
    **{sign: rf"\{sign}" for sign in "#%&$"},
    **{letter: rf"\{name} " for name, letter in GREEK.items() if name != "eps"},
    "ε": r"\varepsilon ",
}
LATEX_TEXT = {
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "–": "--",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "“": "``",
    "”": "''",
    **{sign: rf"\{sign}" for sign in "#%&$_{}"},
    **{
        sign: rf"\ensuremath{{{LATEX_SIGNS[sign].strip()}}}"
        for sign in ("⟨", "⟩", "→", "−", "∞", "×", "ħ", *GREEK.values())
    },
}


def symbols(text: str) -> str:
    """Return plain text with its Greek letters, averages, daggers, arrows, minuses."""
    text = _AVERAGE.sub(r"⟨\1⟩", text.replace("->", "→"))
    text = _MINUS.sub("−", _DAGGER.sub("†", text))
    return _GREEK_WORD.sub(lambda match: GREEK[match[1]], text)


def _is_symbol(word: str) -> bool:
    """Tell whether a word may stand in a formula: one letter, a function, dt."""
    return len(word) == 1 or word in (*FUNCTIONS, "sqrt", "sum", "dt")


def _is_formula(piece: str) -> bool:
    """Tell whether what stands between two spaces has no words but symbols."""
    words = re.findall(_WORD, re.sub(_SCRIPT, "", piece))
    differential = "/" in piece
    return bool(piece) and all(
        _is_symbol(w) or (differential and len(w) == 2 and w[0] == "d") for w in words
    )


def _runs(text: str) -> list[tuple[bool, str]]:
    """Return alternating runs of a sentence: whether it is a formula, and its text."""
    runs: list[tuple[bool, str]] = []
    for piece in re.split(r"(?<= )", text):
        article = piece == "a " and not (runs and runs[-1][0])
        formula = _is_formula(piece.strip()) and not article
        if runs and runs[-1][0] == formula:
            runs[-1] = (formula, runs[-1][1] + piece)
        else:
            runs.append((formula, piece))
    return [(is_one and bool(_FORMULA_SIGN.search(run)), run) for is_one, run in runs]


def _set_sentence(
    text: str, prose: Callable[[str], str], formula: Callable[[str], str]
) -> str:
    """Return a sentence with its prose and its formulas set each in its own way."""
    parts = []
    for is_formula, run in _runs(symbols(text)):
        match = _AROUND.fullmatch(run) if is_formula else None
        if match is None:
            parts.append(prose(run))
        else:
            parts += [prose(match[1]), formula(match[2]), prose(match[3])]
    return "".join(parts)


def sentence_html(text: str) -> str:
    """Return a sentence as HTML, everything in it escaped, its formulas set."""
    return _set_sentence(
        text, escape, lambda run: f'<span class="formula">{_html(run)}</span>'
    )


def formula_html(text: str) -> str:
    """Return a formula as HTML with scripts, italic symbols and Greek letters."""
    return f'<span class="formula">{_html(symbols(text))}</span>'


def _html(text: str) -> str:
    """Return the HTML of what `symbols` made."""
    return _TOKEN.sub(_html_token, text)


def _html_token(match: re.Match[str]) -> str:
    """Return the HTML of one token of a formula."""
    text = match[0]
    if match["root"] is not None:
        return f'√<span class="root">{_html(match["root"])}</span>'
    if match["script"]:
        tag = "sub" if text[0] == "_" else "sup"
        return f"<{tag}>{_html(text[1:].strip('{}'))}</{tag}>"
    if match["dagger"] or match["star"]:
        return f"<sup>{'†' if match['dagger'] else '∗'}</sup>"
    if match["word"]:
        upright = text in FUNCTIONS or len(text) > 2 or text in "ΓΔΩ"
        return "∑" if text == "sum" else text if upright else f"<i>{text}</i>"
    return {"~": "∼", "-": "−"}.get(text, escape(text))


def sentence_latex(text: str) -> str:
    """Return a sentence as LaTeX, everything in it escaped, its formulas set."""
    return _set_sentence(text, _prose_latex, lambda run: f"${_latex(run)}$")


def formula_latex(text: str) -> str:
    """Return a formula as LaTeX mathematics between dollar signs."""
    return f"${_latex(symbols(text))}$"


def _prose_latex(text: str) -> str:
    """Return text that means itself."""
    return "".join(LATEX_TEXT.get(letter, letter) for letter in text)


def _latex(text: str) -> str:
    """Return the LaTeX of what `symbols` made, without dollar signs."""
    result = _TWICE.sub(r"\1{}", _TOKEN.sub(_latex_token, text))
    return " ".join(result.split())


def _latex_token(match: re.Match[str]) -> str:
    """Return the LaTeX of one token of a formula."""
    text = match[0]
    if match["root"] is not None:
        return rf"\sqrt{{{_latex(match['root'])}}}"
    if match["script"]:
        return f"{text[0]}{{{_latex(text[1:].strip('{}'))}}}"
    if match["dagger"] or match["star"]:
        return r"^{\dagger}" if match["dagger"] else "^{*}"
    if match["word"]:
        return _latex_word(text)
    return LATEX_SIGNS.get(text, text)


def _latex_word(word: str) -> str:
    """Return a symbol, or an upright word."""
    if word == "sum":
        return r"\sum "
    if word in FUNCTIONS:
        return rf"\mathop{{\mathrm{{{word}}}}}"
    if len(word) > 2:
        return rf"\mathrm{{{word}}}"
    return "".join(LATEX_SIGNS.get(letter, letter) for letter in word)
