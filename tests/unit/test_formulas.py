"""Formulas written as plain text, in HTML and in LaTeX."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stochq.documents import all_claims
from stochq.formulas import (
    LATEX_SIGNS,
    formula_html,
    formula_latex,
    sentence_html,
    sentence_latex,
)


def inner(html):
    """Return what stands in the span of a formula."""
    head, tail = '<span class="formula">', "</span>"
    assert html.startswith(head)
    assert html.endswith(tail)
    return html.removeprefix(head).removesuffix(tail)


@pytest.mark.parametrize(
    ("plain", "html", "latex"),
    [
        ("n_1", "<i>n</i><sub>1</sub>", "n_{1}"),
        ("x^2", "<i>x</i><sup>2</sup>", "x^{2}"),
        ("G_0,3", "<i>G</i><sub>0,3</sub>", "G_{0,3}"),
        ("n_{j+1}", "<i>n</i><sub><i>j</i>+1</sub>", "n_{j+1}"),
        ("e_beta", "<i>e</i><sub><i>β</i></sub>", r"e_{\beta}"),
        ("n_bath", "<i>n</i><sub>bath</sub>", r"n_{\mathrm{bath}}"),
        ("2 gamma", "2 <i>γ</i>", r"2 \gamma"),
        ("Gamma", "Γ", r"\Gamma"),
        ("<eta>", "⟨<i>η</i>⟩", r"\langle \eta \rangle"),
        ("a+ b", "<i>a</i><sup>†</sup> <i>b</i>", r"a^{\dagger} b"),
        ("L_X* n", "<i>L</i><sub><i>X</i></sub><sup>∗</sup> <i>n</i>", "L_{X}^{*} n"),
        ("a -> b", "<i>a</i> → <i>b</i>", r"a \to b"),
        ("a - 1", "<i>a</i> − 1", "a - 1"),
        ("tanh(c)", "tanh(<i>c</i>)", r"\mathop{\mathrm{tanh}}(c)"),
        ("sqrt(eps)", '√<span class="root"><i>ε</i></span>', r"\sqrt{\varepsilon}"),
        ("sum_j", "∑<sub><i>j</i></sub>", r"\sum _{j}"),
        ("{A, B}", "{<i>A</i>, <i>B</i>}", r"\{A, B\}"),
        ("a ~ b", "<i>a</i> ∼ <i>b</i>", r"a \sim b"),
        ("1 × 10^{−7}", "1 × 10<sup>−7</sup>", r"1 \times 10^{-7}"),
        ("x^2^3", "<i>x</i><sup>2</sup><sup>3</sup>", "x^{2}{}^{3}"),
    ],
)
def test_formula(plain, html, latex):
    assert inner(formula_html(plain)) == html
    assert formula_latex(plain) == f"${latex}$"


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("a factor 2: that is it", "a factor 2: that is it"),
        ("for every eps and all Gamma_A, Gamma_B", None),
        ("noise <eta eta> = gamma delta gives 2 gamma (L rho L)", None),
        ("random pi-kicks", r"random \ensuremath{\pi}-kicks"),
        ("50 % of A & B", r"50 \% of A \& B"),
        ("file_name #1", r"file\_name \#1"),
        ("five here; (only means) agree", "five here; (only means) agree"),
    ],
)
def test_prose_stays_prose(plain, latex):
    """Words are never set as symbols; formulas among them are."""
    found = sentence_latex(plain)
    assert latex is None or found == latex
    assert found.count("$") == (0 if latex else 4)
    prose = re.sub(r"\$[^$]*\$", "", found)
    assert not {"gamma", "eta", "rho", "L"} & set(re.findall(r"\w+", prose))


def test_punctuation_around_a_formula_belongs_to_the_sentence():
    assert sentence_latex("'n_A' at t = 29.") == "'$n_{A}$' at $t = 29$."


class Tags(HTMLParser):
    """What tags there are, whether they are balanced, and the text between them."""

    def __init__(self, html):
        super().__init__()
        self.seen, self.open, self.text = set(), [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


HARMLESS = {"span", "i", "sub", "sup"}


@given(st.text(max_size=40))
def test_any_text_is_harmless_html(text):
    for html in (sentence_html(text), formula_html(text)):
        tags = Tags(html)
        assert tags.seen <= HARMLESS
        assert tags.open == []


@pytest.mark.parametrize("text", ["<script src=x> a & b", "see <script src=x", "<b >"])
def test_markup_in_a_sentence_is_text(text):
    """Averages take brackets away in pairs; what is left is escaped."""
    for html in (sentence_html(text), formula_html(text)):
        assert Tags(html).seen <= HARMLESS
        assert "<script" not in html
        assert "<b" not in html
    assert Tags(sentence_html("a < b & c")).text == "a < b & c"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_any_text_is_balanced_latex(text):
    for latex in (sentence_latex(text), formula_latex(text)):
        bare = re.sub(r"\\[^A-Za-z]", "", latex)  # without escaped signs
        assert bare.count("$") % 2 == 0
        assert bare.count("{") == bare.count("}")
        assert not set("#%&~") & set(bare)
        for prose in re.sub(r"\$[^$]*\$", "", bare).split():
            assert not set("_^<>|") & set(prose)


def test_formulas_of_all_claims_are_ascii_latex_without_plain_greek():
    """No word of a Greek letter is left, and every letter has a command."""
    for claim in all_claims():
        for text in (claim.statement, claim.reason):
            assert sentence_latex(text).isascii()
        latex = formula_latex(claim.equation)
        assert latex.isascii()
        words = set(re.findall(r"(?<!\\)\b[a-z]{3,}", latex))
        assert words <= {"tanh", "cosh"}, words
    assert all(command.isascii() for command in LATEX_SIGNS.values())
