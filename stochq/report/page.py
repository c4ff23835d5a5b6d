"""The report as a page of HTML: the template beside this file, filled with numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from stochq.formulas import formula_html, sentence_html
from stochq.report import numbers
from stochq.report.figures import Pictures
from stochq.verdict import BIAS_WORDS

__all__ = ["report_html"]


def _resource(name: str) -> str:
    """Return a file of this folder."""
    return files("stochq.report").joinpath(name).read_text("utf-8")


def _sentence(text: str) -> Markup:
    """Return a sentence with its formulas set; all else in it is escaped."""
    return Markup(sentence_html(text))


def _formula(text: str) -> Markup:
    """Return a formula, set; all else in it is escaped."""
    return Markup(formula_html(text))


def _with_powers(words: Callable[..., str]) -> Callable[..., Markup]:
    """Return a function that sets the powers in what another one returns."""

    def in_html(*arguments: Any) -> Markup:
        text = str(escape(words(*arguments)))
        return Markup(re.sub(r"\^\{(.*?)\}", r"<sup>\1</sup>", text))

    return in_html


def _capital(text: str) -> str:
    """Return a text that begins as a sentence does."""
    return text[:1].upper() + text[1:]


def _environment() -> Environment:
    """Return the environment of the template: it escapes all, and forgives nothing."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        sentence=_sentence,
        formula=_formula,
        capital=_capital,
        count=numbers.count,
        number=_with_powers(numbers.number),
        percent=_with_powers(numbers.percent),
        chance=_with_powers(numbers.chance),
    )
    environment.globals.update(
        deviation=_with_powers(numbers.deviation), estimate=numbers.estimate
    )
    return environment


def report_html(record: Mapping[str, Any], pictures: Pictures) -> str:
    """Return the page.

    Parameters
    ----------
    record : dict
        From `read_verdicts`.
    pictures : Pictures
        From `all_pictures`.
    """
    claims = record["claims"]
    template = _environment().from_string(_resource("template.html.j2"))
    return template.render(
        run=record["run"],
        claims=claims,
        bias_words=BIAS_WORDS,
        style=Markup(_resource("style.css")),
        pictures=pictures.claims,
        run_pictures=pictures.run,
        n_traj=sum(claim["summary"]["n_traj"] for claim in claims),
        n_recorded=sum(claim["as_recorded"] for claim in claims),
    )
