"""The published schema of ``verdicts.json``, and a check that says what is wrong.

The file beside this one is the only description of the format. The check knows the
words of JSON Schema that this file uses, and no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["SCHEMA_ID", "check_verdicts", "verdicts_schema"]

#: Changes when a reader of the older format could misunderstand the newer one.
SCHEMA_ID = "urn:stochq:verdicts:1"

KINDS: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}

Schema = Mapping[str, Any]


@cache
def verdicts_schema() -> dict[str, Any]:
    """Return the schema, JSON Schema draft 2020-12."""
    text = files("stochq.report").joinpath("verdicts.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check_verdicts(value: Any) -> None:
    """Check what was read from ``verdicts.json``.

    Raises
    ------
    ValueError
        If it is not what the schema describes; the message names the first place.
    """
    for fault in _faults(value, verdicts_schema(), "it"):
        raise ValueError(fault)


def _is_kind(value: Any, kind: str) -> bool:
    """Tell whether a value is of a kind; True and False are no numbers."""
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, KINDS[kind])


def _faults(value: Any, schema: Schema, place: str) -> Iterator[str]:
    """Yield what is wrong with a value, as "PLACE must ..., but is ..."."""
    if "$ref" in schema:
        schema = verdicts_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is_kind(value, kind) for kind in kinds):
        yield f"{place} must be {' or '.join(kinds)}, but is {_shown(value)}"
        return
    for word, (says, holds) in SIMPLE.items():
        if word in schema and value is not None and not holds(value, schema[word]):
            yield f"{place} must {says} {schema[word]}, but is {_shown(value)}"
    if isinstance(value, dict):
        yield from _member_faults(value, schema, place)
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _faults(item, schema["items"], f"{place}[{number}]")


def _member_faults(
    value: Mapping[str, Any], schema: Schema, place: str
) -> Iterator[str]:
    """Yield what is wrong with the members of an object."""
    known, others = schema.get("properties", {}), schema["additionalProperties"]
    where = "" if place == "it" else f"{place}."
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where}{name} must be there, but is missing"
    for name, member in value.items():
        if name in known or others:
            member_schema = known.get(name, others)
            yield from _faults(member, member_schema, f"{where}{name}")
        else:
            yield f"{where}{name:.40} must not be there: no such field is known"


def _shown(value: Any) -> str:
    """Return a value in few letters."""
    if isinstance(value, dict | list):
        return f"an {'object' if isinstance(value, dict) else 'array'}"
    return f"{json.dumps(value):.60}"


#: What else a value can be asked for: words for the message, and the check.
SIMPLE: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "const": ("be", lambda value, other: bool(value == other)),
    "enum": ("be one of", lambda value, known: value in known),
    "pattern": ("match", lambda value, form: re.search(form, value) is not None),
    "minimum": ("be at least", lambda value, least: bool(value >= least)),
    "maximum": ("be at most", lambda value, most: bool(value <= most)),
    "minItems": ("have a length of at least", lambda value, n: len(value) >= n),
    "maxItems": ("have a length of at most", lambda value, n: len(value) <= n),
}
