"""What made a table: the command, the commit and the date, as lines that start with #.

`pandas.read_csv(path, comment="#")` skips them.
"""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]


def commit() -> str:
    """Return the commit of the working tree, marked where it has changes."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(
        describe, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def header(command: str, *more: str) -> list[str]:
    """Return the first lines of a table."""
    return [
        f"# command: {command}",
        f"# commit: {commit()}",
        f"# date: {datetime.now(UTC):%Y-%m-%d}",
        *(f"# {line}" for line in more),
    ]


def save_table(path: Path, lines: list[str], table: pd.DataFrame) -> None:
    """Write a table below the lines that say what made it."""
    text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, text]))
