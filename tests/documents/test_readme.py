"""The README's example and the pages of docs/ run as printed."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from stochq.orders import order_markdown

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
VERDICTS = ("True", "False", "pass", "fail")


def test_example_runs_as_printed():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 1
    assert len(blocks[0].strip().splitlines()) <= 25
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks[0], "README.md", "exec"), {})
    lines = printed.getvalue().splitlines()
    assert lines[0].startswith("PASS")
    assert lines[-1] == "fail"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_runs_as_printed(page, capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        exec(compile(block, page.name, "exec"), names)
        printed = capsys.readouterr().out.splitlines()
        claimed = re.findall(r"^ *print\(.*\)  # (True|False|pass|fail)\b", block, re.M)
        assert [line for line in printed if line in VERDICTS] == claimed


def test_the_table_of_orders_is_the_declared_one():
    text = (ROOT / "docs" / "white_noise.md").read_text()
    assert f"<!-- orders -->\n\n{order_markdown()}\n\n<!-- /orders -->" in text


def test_setup_lines_stand_as_they_must():
    text = (ROOT / "README.md").read_text()
    venv = "python3 -m venv .venv && . .venv/bin/activate && "
    assert text.count(venv) == 2
    assert venv + "pip install . && stochq verify" in text
    assert venv + "pip install '.[test]' && pytest" in text
