"""Pictures of a report: those that a run left, each as bytes for the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stochq.report.reading import read_figure

__all__ = ["Picture", "claim_pictures", "run_pictures"]


#: Size of a figure on the page relative to its own pixels (its letters have 11 points
#: at 150 dots per inch).
LETTERS = 0.55


class Picture(NamedTuple):
    """A picture of the page.

    Attributes
    ----------
    title : str
        What it shows, in one sentence.
    text : str
        What who cannot see it is told.
    data : bytes
        A PNG image.
    """

    title: str
    text: str
    data: bytes

    @property
    def width(self) -> int:
        """Pixels of CSS at which its letters are as large as those of the page."""
        return round(LETTERS * int.from_bytes(self.data[16:20], "big"))

    @property
    def address(self) -> str:
        """The image itself as an address, so that the page needs no other file."""
        return f"data:image/png;base64,{base64.b64encode(self.data).decode()}"


def claim_pictures(
    folder: Path, claim: Mapping[str, Any], command: str
) -> list[Picture]:
    """Return the pictures of one claim; the command writes those that are missing."""
    labels = ", ".join(case["label"] for case in claim["cases"])
    curves = Picture(
        "Means of trajectories on the curves that they are compared with; below, what "
        "is left between the two, in standard errors.",
        f"{claim['id']}, found: {claim['found']}. Cases: {labels}.",
        read_figure(folder, claim["id"], command),
    )
    return [curves]


def run_pictures(folder: Path, record: Mapping[str, Any]) -> list[Picture]:
    """Return the pictures of all claims together."""
    return []
