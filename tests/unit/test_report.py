"""The report: its data and their schema, the page, the table, and bad folders."""

import base64
import copy
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import jsonschema
import numpy as np
import pytest

from stochq.claims import check_claim
from stochq.cli import main
from stochq.documents import all_claims
from stochq.files import write_json, write_table
from stochq.report import (
    check_verdicts,
    read_verdicts,
    run_record,
    verdicts_record,
    verdicts_schema,
    write_report,
)
from stochq.report.figures import all_pictures
from stochq.report.latex import verdicts_latex
from stochq.report.numbers import chance, count, deviation, estimate, number, percent
from stochq.report.page import report_html
from stochq.tables import claim_frame

#: Words of JSON Schema that ask for something and that the check understands.
UNDERSTOOD = {
    *("type", "properties", "required", "additionalProperties", "items", "$ref"),
    *("const", "enum", "pattern", "minimum", "maximum", "minItems", "maxItems"),
}
SILENT = {"$schema", "$id", "$defs", "title", "description"}


def small_claim(name="M1", n_traj=1024, **changes):
    """Return a claim with few trajectories."""
    claim = next(claim for claim in all_claims() if claim.id == name)
    cases = [replace(case, n_traj={"quick": n_traj}) for case in claim.cases()]
    return replace(claim, **{"cases": lambda: cases, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a run of two claims, one not as recorded."""
    out = tmp_path_factory.mktemp("run") / "out"
    claims = [small_claim(), small_claim("B1", 90)]
    assert main(["verify", "--out", str(out), "--report"], claims) == 1
    return out


@pytest.fixture(scope="module")
def record(folder):
    return read_verdicts(folder)


@pytest.fixture(scope="module")
def pictures(folder, record):
    return all_pictures(folder, record)


@pytest.fixture
def copied(folder, tmp_path):
    """Return a copy of the run that may be spoiled."""
    return shutil.copytree(folder, tmp_path / "out")


# -- the schema


def parts(schema):
    """Yield a schema and all schemas in it."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [schema[key] for key in ("items",) if key in schema]
    if isinstance(schema.get("additionalProperties"), dict):
        inner.append(schema["additionalProperties"])
    for part in inner:
        yield from parts(part)


def test_schema_is_one_and_closed_and_every_field_is_described():
    schema = verdicts_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in parts(schema):
        assert set(part) <= UNDERSTOOD | SILENT
        assert "$ref" in part or "type" in part
        for field in part.get("properties", {}).values():
            assert "$ref" in field or field["description"].endswith(".")
        if "object" in part.get("type", ()):
            assert "additionalProperties" in part


def validator():
    return jsonschema.Draft202012Validator(verdicts_schema())


def test_real_output_is_valid_and_says_what_was_run(record):
    validator().validate(record)
    check_verdicts(record)
    run = record["run"]
    assert run["command"] == "stochq verify M1 B1 --profile quick --seed 1"
    assert (run["profile"], run["seed"]) == ("quick", 1)
    assert run["level"]["n_readings"] == 3
    assert set(run["versions"]) >= {"numpy", "scipy", "numba", "stochq", "code"}
    claim = record["claims"][0]
    assert claim["command"] == "stochq verify M1 --profile quick --seed 1"
    (case,) = claim["cases"]
    assert [v["says"] for v in case["verdicts"]] == ["document", "correction"]
    assert [v["status"] for v in case["verdicts"]] == ["fail", "pass"]
    assert case["n_traj"] == 1024
    assert case["scheme"].startswith("Strang(dt=")
    assert case["noise"] == ["coupling"]


def spoiled(value, path=()):
    """Yield copies' edits: where, and what to do there, to make a record invalid."""
    if isinstance(value, dict):
        yield path, "add"
        for name, member in value.items():
            yield (*path, name), "drop"
            yield from spoiled(member, (*path, name))
    elif isinstance(value, list):
        for number_, member in enumerate(value):
            yield from spoiled(member, (*path, number_))
    else:
        yield path, "replace"


def edited(record, path, action, value=()):
    """Return a copy of a record with one place spoiled."""
    result = copy.deepcopy(record)
    place = result
    for step in path[:-1] if action != "add" else path:
        place = place[step]
    if action == "add":
        place["surplus"] = dict(value)
    elif action == "drop":
        del place[path[-1]]
    else:
        place[path[-1]] = None if value is None else {}
    return result


def test_own_check_and_jsonschema_refuse_the_same(record):
    """Every field dropped, every value replaced, something added to every object."""
    judge, refused = validator(), 0
    for path, action in spoiled(record):
        wrong = edited(record, path, action)
        valid = judge.is_valid(wrong)
        assert (refusal(wrong) is None) == valid, (path, action)
        refused += not valid
    assert refused > 150


def refusal(record):
    """Return what the package's own check says."""
    try:
        check_verdicts(record)
    except ValueError as error:
        return str(error)
    return None


def test_whatever_is_valid_becomes_a_page(record, pictures):
    """Fields that may be missing, are missing; numbers that may be null, are null."""
    pages = 0
    for path, action in spoiled(record):
        changed = edited(record, path, action, {} if action == "add" else None)
        if refusal(changed) is None and "selected" not in path:
            assert report_html(changed, pictures)
            assert verdicts_latex(changed)
            pages += 1
    assert pages > 50


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), "urn:other", "schema must be urn:stochq:verdicts:1, but is"),
        (
            ("claims", 0, "id"),
            "../x",
            r"claims[0].id must match ^[A-Za-z0-9]+$, but is",
        ),
        (("claims", 0, "found"), "maybe", "claims[0].found must be one of ['holds', "),
        (("run", "seed"), -1, "run.seed must be at least 0, but is -1"),
        (("run", "seed"), True, "run.seed must be integer, but is true"),
        (("run", "level", "alpha"), 2.0, "run.level.alpha must be at most 1, but is 2"),
        (
            ("claims", 0, "cases"),
            [],
            "cases must have a length of at least 1, but is an",
        ),
        (("run", "date"), None, "run.date must be string, but is null"),
    ],
)
def test_a_bad_value_is_named(record, path, value, message):
    wrong = copy.deepcopy(record)
    place = wrong
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert not validator().is_valid(wrong)
    with pytest.raises(ValueError, match=re.escape(message)):
        check_verdicts(wrong)


def test_what_is_not_a_number_is_null_and_still_a_report(folder, tmp_path):
    """Verdicts on means that no state can have hold NaN and infinity."""
    claim = small_claim(n_traj=128)
    result = check_claim(claim)
    (finding,) = result.findings
    lost = {"max_z": np.inf, "p_value": 0.0, "critical_z": np.nan, "bias": np.nan}
    lost |= {"detectable_shift": np.inf, "detectable_rate": {"coupling": np.nan}}
    verdicts = [
        replace(verdict, step_bias=np.full_like(verdict.z, np.nan), **lost)
        for verdict in finding.verdicts
    ]
    finding = replace(finding, verdicts=tuple(verdicts))
    result = replace(result, findings=(finding,))
    write_json(
        tmp_path / "verdicts.json",
        verdicts_record(run_record([claim], "quick", 1), [result]),
    )
    shutil.copy(folder / "M1.png", tmp_path)
    write_table(tmp_path / "M1.csv", claim_frame(result))
    record = read_verdicts(tmp_path)
    validator().validate(record)
    assert record["claims"][0]["summary"]["max_z"] is None
    page = write_report(tmp_path).read_text()
    assert "∞" in page
    assert not re.search(r"\b(nan|inf|None)\b", page)


# -- the page


class Page(HTMLParser):
    """What a page refers to, and whether its tags are balanced."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, html):
        super().__init__()
        self.open, self.ids, self.sources, self.links, self.text = [], [], [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.sources += [values["src"]] if "src" in values else []
        self.links += [values["href"]] if "href" in values else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_page_is_one_file_and_needs_no_other(folder):
    html = (folder / "report.html").read_text()
    page = Page(html)
    assert page.open == []
    assert {"M1", "B1", "summary", "provenance"} == set(page.ids)
    assert set(page.links) == {"#M1", "#B1"}
    figures = [base64.b64decode(s.removeprefix("data:image/png;base64,"))
               for s in page.sources]  # fmt: skip
    curves = [(folder / f"{name}.png").read_bytes() for name in ("M1", "B1")]
    assert figures[::3] == curves  # then the map of deviations, and the budget
    assert len(set(figures)) == 6
    for outside in ("http:", "https:", "//", "@import", "url(", "<script", "<link"):
        assert outside not in re.sub(r"base64,[^\"]*", "", html)


def test_page_says_what_was_found(folder, record):
    text = " ".join(Page((folder / "report.html").read_text()).text.split())
    assert "1 of 2 claims came out as recorded" in text
    assert "✓ holds as corrected, as recorded." in text
    assert "✗ inconclusive, but recorded as: holds." in text
    for claim in record["claims"]:
        assert claim["command"] in text
        for case in claim["cases"]:
            assert str(case["seed"]) in text
            assert case["scheme"] in text
            for verdict in case["verdicts"]:
                asked = " ".join(percent(verdict["resolution"], 1).split())
                assert f"asked for: {asked}" in text
                for reason in verdict["reasons"]:
                    assert reason[:40] in text
    assert "fewer than 100 trajectories" in text
    assert "none beyond rounding" in text
    assert record["run"]["versions"]["code"] in text


def test_both_parts_of_an_error_are_told_apart(record, pictures):
    changed = copy.deepcopy(record)
    verdict = changed["claims"][0]["cases"][0]["verdicts"][1]
    largest = {"observable": "n_1", "time": 0.5, "value": 2e-3, "half_width": 3e-4}
    verdict |= {"bias": 0.21, "bias_from": "estimate", "largest_bias": largest}
    text = " ".join(Page(report_html(changed, pictures)).text.split())
    assert "0.0020 ± 3 × 10−4 for n1 at t = 0.5 0.21 std. errors at most;" in text
    assert "estimated from dt and dt/2 on common paths and taken off" in text
    verdict |= {"bias_from": "unknown", "largest_bias": None}
    assert "unknown" in Page(report_html(changed, pictures)).text
    assert "1024 trajectories" in text
    assert f"fails beyond {number(verdict['critical_z'])} std. errors" in text


def test_the_same_folder_gives_the_same_bytes(folder):
    before = [(folder / name).read_bytes() for name in ("report.html", "verdicts.tex")]
    assert main(["report", str(folder)]) == 0
    after = [(folder / name).read_bytes() for name in ("report.html", "verdicts.tex")]
    assert before == after


def test_a_run_that_was_stopped_says_so(record, pictures):
    part = {**record, "claims": record["claims"][:1]}
    text = report_html(part, pictures)
    assert "1 of its 2 claims have not been judged" in text
    assert "have not been judged" not in report_html(record, pictures)


def test_markup_in_the_data_is_text(record, pictures):
    """Every text that may hold anything holds markup, the unclosed one included."""
    wrong, attack, count_ = record, '<script>alert("x")</script> & <b>c</b> <img x', 0
    for path, action in spoiled(record):
        changed = edited(wrong, path, "replace") if action == "replace" else wrong
        place = changed
        for step in path[:-1]:
            place = place[step]
        if action == "replace" and isinstance(reach(record, path), str):
            place[path[-1]] = attack
            if refusal(changed) is None:
                wrong, count_ = changed, count_ + 1
    assert count_ > 30
    html = report_html(wrong, pictures)
    assert not re.search("<script|<b>c|<img x", html)
    assert Page(html).open == []


def reach(value, path):
    """Return what is at a place."""
    for step in path:
        value = value[step]
    return value


def test_page_grows_with_the_figures_only(folder):
    sources = Page((folder / "report.html").read_text()).sources
    assert (folder / "report.html").stat().st_size < sum(map(len, sources)) + 60_000


# -- numbers


def test_numbers_in_words():
    assert [number(x) for x in (0.0, 1.0, 0.01234, 12.345, 123456.0, None)] == [
        "0", "1.00", "0.0123", "12.3", "123456", "–"]  # fmt: skip
    assert number(-1.5e-7, 2) == "−1.5 × 10^{−7}"
    assert number(1e-5, 1) == "10^{−5}"
    assert number(2.5e8) == "2.5 × 10^{8}"
    assert (count(9999), count(24576)) == ("9999", "24\u202f576")
    assert percent(0.0237) == "2.4\u202f%"
    assert percent(None) == "–"
    assert estimate(0.00416, 0.0171) == "+0.4 ± 1.7\u202f%"
    assert estimate(-0.58, 0.0029) == "−58.00 ± 0.29\u202f%"
    assert estimate(0.5, 0.25) == "+50 ± 25\u202f%"
    assert (chance(0.0), chance(0.31), chance(None)) == ("< 10^{−300}", "0.31", "–")
    assert (deviation(None, 0.0), deviation(None, None)) == ("∞", "–")


# -- LaTeX


def test_table_has_a_row_of_eight_cells_for_every_claim(folder, record):
    text = (folder / "verdicts.tex").read_text()
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 1 + len(record["claims"])
    for row in rows:
        assert len(re.split(r"(?<!\\)&", row)) == 8
        assert len(re.findall(r"(?<!\\)\$", row)) % 2 == 0
    body = "".join(rows)
    assert body.isascii()
    assert len(re.findall(r"(?<!\\)\{", body)) == len(re.findall(r"(?<!\\)\}", body))
    assert r"M1 & noise $\langle \eta \eta \rangle = \gamma \delta$ gives" in body
    assert "%" not in body.replace(r"\%", "")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1


# -- bad folders


def broken(action):
    """Return a change of a folder."""
    return {
        "no verdicts": lambda out: (out / "verdicts.json").unlink(),
        "not JSON": lambda out: (out / "verdicts.json").write_text('{"schema": '),
        "not text": lambda out: (out / "verdicts.json").write_bytes(b"\xff\xfe\x00"),
        "a list": lambda out: (out / "verdicts.json").write_text("[]"),
        "NaN": lambda out: (out / "verdicts.json").write_text('{"schema": NaN}'),
        "deep": lambda out: (out / "verdicts.json").write_text("[" * 100_000),
        "no figure": lambda out: (out / "B1.png").unlink(),
        "bad figure": lambda out: (out / "B1.png").write_text("PNG"),
        "torn figure": lambda out: (out / "B1.png").write_bytes(
            (out / "M1.png").read_bytes()[:5000]
        ),
        "empty figure": lambda out: (out / "B1.png").write_bytes(b""),
        "no table": lambda out: (out / "B1.csv").unlink(),
        "torn table": lambda out: (out / "B1.csv").write_bytes(
            (out / "B1.csv").read_bytes()[:3000]
        ),
        "other table": lambda out: (out / "B1.csv").write_text("a,b\n1,2\n"),
        "empty table": lambda out: (out / "B1.csv").write_text(""),
    }[action]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("no verdicts", "must be the --out folder of stochq verify, but has no verd"),
        ("not JSON", "must be what stochq verify writes, but is not: not JSON (Expec"),
        ("not text", "but is not: not JSON ("),
        ("a list", "but is not: it must be object, but is an array; write it anew by"),
        ("NaN", "but is not: NaN is no number of strict JSON"),
        ("deep", "but is not: not JSON ("),
        ("no figure", "B1.png must be the figure of B1, a PNG image, but is missing"),
        ("bad figure", "B1.png must be the figure of B1, a PNG image, but is not one"),
        ("torn figure", "B1.png must be the figure of B1, a PNG image, but is not one"),
        (
            "empty figure",
            "but is not one; write it anew by `stochq verify M1 B1 --prof",
        ),
        ("no table", "B1.csv must be the table of B1, but"),
        ("torn table", "B1.csv must be the table of B1, but it has"),
        ("other table", "B1.csv must be the table of B1, but it"),
        ("empty table", "B1.csv must be the table of B1, but"),
    ],
)
def test_a_bad_folder_is_one_line_and_exit_2(copied, capsys, action, message):
    (copied / "report.html").unlink()
    (copied / "verdicts.tex").unlink()
    broken(action)(copied)
    assert main(["report", str(copied)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert not (copied / "report.html").exists()
    assert not (copied / "verdicts.tex").exists()


def test_a_folder_can_be_copied_and_read_elsewhere(copied, record):
    """Nothing in it depends on where it was made."""
    assert json.loads((copied / "verdicts.json").read_text()) == record
    (copied / "report.html").unlink()
    assert main(["report", str(copied)]) == 0
    assert (copied / "report.html").exists()
