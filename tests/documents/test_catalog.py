"""The claims as data: complete, written once, listed and shown."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import stochq
from stochq.catalog import FIELDS, claim_record, claims_frame, describe_claim
from stochq.cli import main
from stochq.documents import DOCUMENTS, all_claims

PACKAGE = Path(stochq.__file__).parent
ROOT = Path(__file__).parents[2]
CLAIMS = all_claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_claim_has_all_fields_and_a_reason_where_it_needs_one(claim):
    for name in set(FIELDS) - {"reason"}:
        assert getattr(claim, name).strip(), name
    assert bool(claim.reason) == (claim.expected != "holds")
    assert claim.document in DOCUMENTS
    assert claim.cases()
    for case in claim.cases():
        assert set(case.n_traj) == {"quick", "full"}
        assert case.readings
        says = [reading.says for reading in case.readings]
        assert ("correction" in says) == (claim.expected == "holds as corrected")


def test_ids_are_distinct():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)


def constants(path):
    """Return all strings of a source, those in pieces joined."""
    tree = ast.walk(ast.parse(path.read_text()))
    return [n.value for n in tree if isinstance(n, ast.Constant) and n.value is not None
            and isinstance(n.value, str)]  # fmt: skip


def texts():
    """Return every string of the sources and every page, without line breaks."""
    found = [s for path in PACKAGE.rglob("*.py") for s in constants(path)]
    kinds = ("*.md", "*.toml", "*.cfg")
    pages = [
        p for kind in kinds for p in (*ROOT.glob(kind), *ROOT.glob(f"docs/{kind}"))
    ]
    assert len(pages) > 5
    found += [path.read_text() for path in pages]
    found += [p.read_text() for p in PACKAGE.rglob("report/*.*") if p.suffix != ".pyc"]
    return [" ".join(text.split()) for text in found]


def written(claims, found):
    """Return how often each text of a claim is written."""
    return {
        (claim.id, name): sum(
            " ".join(getattr(claim, name).split()) in text for text in found
        )
        for claim in claims
        for name in ("statement", "equation", "reason")
        if getattr(claim, name)
    }


def repeated_outcomes(claims, found):
    """Return places that say of a claim by its id how it comes out."""
    words = "holds|holds as corrected|refuted|inconclusive"
    ids = "|".join(claim.id for claim in claims)
    form = re.compile(rf"\b({ids})\b[^.;]{{0,20}}\b({words})\b")
    return [match[0] for text in found for match in form.finditer(text)]


def test_nothing_about_a_claim_is_written_twice():
    found = texts()
    assert set(written(CLAIMS, found).values()) == {1}
    assert repeated_outcomes(CLAIMS, found) == []
    # a second place would be seen
    again = [*found, f"We say: {CLAIMS[4].statement}.", "D6 is refuted"]
    assert written(CLAIMS, again)[CLAIMS[4].id, "statement"] == 2
    assert repeated_outcomes(CLAIMS, again) == ["D6 is refuted"]


def shown(capsys, *arguments):
    """Return what a command prints."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_show_prints_all_that_is_recorded(capsys):
    text = shown(capsys, "show", "d6", "M2")
    words = " ".join(text.split())
    for claim in (c for c in CLAIMS if c.id in ("D6", "M2")):
        for name in FIELDS:
            assert getattr(claim, name) in words, name
        assert f"stochq verify {claim.id} --profile quick --seed 1" in words
        for case in claim.cases():
            assert case.label in words
            assert f"{case.n_traj['full']} (full)" in words
            for reading in case.readings:
                assert f'"{reading.label}": {reading.reference.method}' in words
    assert "bath A by Jump" in words
    assert "coupling as explicit noise" in words
    assert max(map(len, text.splitlines())) <= 88


def test_list_prints_outcomes_and_both_speak_json(capsys):
    lines = shown(capsys, "list").splitlines()
    for claim in CLAIMS:
        (line,) = (line for line in lines if line.split()[0] == claim.id)
        assert line.split(maxsplit=1)[1].startswith(claim.expected)
        assert line.endswith(claim.statement)
    listed = json.loads(shown(capsys, "list", "--json"))
    assert [tuple(entry) for entry in listed] == [FIELDS] * len(CLAIMS)
    records = json.loads(shown(capsys, "show", "002", "--json"))
    assert [record["id"] for record in records] == ["D3", "D5", "D6"]
    assert records[2] == claim_record(next(c for c in CLAIMS if c.id == "D6"))


def test_a_claim_without_reason_or_document_can_be_shown():
    claim = replace(CLAIMS[2], document="900")
    lines = describe_claim(claim).splitlines()
    assert lines[0] == f"{claim.id}  document 900"
    assert not any(line.startswith("  reason") for line in lines)


def test_frame_has_a_row_for_every_claim():
    frame = claims_frame()
    assert list(frame["id"]) == [claim.id for claim in CLAIMS]
    row = frame.set_index("id").loc["D6"]
    assert row["references"] == "slide 7; closed formula, all epsilon"
    assert (row["n_cases"], row["n_traj_quick"]) == (1, 24576)
    assert list(claims_frame(CLAIMS[:1])["id"]) == [CLAIMS[0].id]
