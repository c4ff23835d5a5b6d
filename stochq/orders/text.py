"""A study of convergence as a plain-text table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stochq.orders.curves import ErrorCurve

if TYPE_CHECKING:
    from stochq.orders.study import Convergence

__all__ = ["order_text", "study_text"]

#: Width of the first column and of one kind of errors.
FIRST, WIDTH = 9, 24

#: An order known no better than this is not determined: take more or smaller steps.
UNDETERMINED = 0.5

#: Marks of levels that do not count.
MARKS = {"": " ", "rounding": "r", "sampling": "s", "diverged": "d"}


def order_text(curve: ErrorCurve) -> str:
    """Return "0.51 +- 0.02", or why there is no order."""
    if curve.order is None:
        return "exact to rounding" if curve.exact else "too few levels"
    if curve.slope_error > UNDETERMINED:
        return "not determined"
    return f"{curve.slope:.3f} +- {curve.slope_error:.3f}"


def _cell(curve: ErrorCurve, level: int) -> str:
    """Return one error with its standard error."""
    if curve.left_out[level] == "sampling":
        text = f"below {curve.mcse[level]:.0e}"
    else:
        text = f"{curve.errors[level]:.3e}"
    if curve.mcse[level] and curve.left_out[level] != "sampling":
        text += f" +- {curve.mcse[level]:.0e}"
    return f"{text} {MARKS[curve.left_out[level]]}"


def _line(first: str, cells: list[str]) -> str:
    """Return one line of the table."""
    return (first.rjust(FIRST) + "".join(cell.rjust(WIDTH) for cell in cells)).rstrip()


def study_text(study: Convergence) -> str:
    """Return the errors and orders of a study, one line per step.

    A letter behind an error says why it does not count for the order.
    """
    curves = study.curves
    paths = ""
    if study.strong or study.sampled:
        paths = f", {study.n_traj} trajectories, seed {study.seed}"
    lines = [
        f"{study.scheme} on {study.model}: errors at t = {study.time:g}{paths}",
        f"reference on the path: {study.reference}",
        _line("dt", [f"{kind}  " for kind in curves]),
    ]
    for level, dt in enumerate(study.dts):
        cells = [_cell(curve, level) for curve in curves.values()]
        lines.append(_line(f"{dt:.3g}", cells))
    declared = [f"{curve.declared:g}" for curve in curves.values()]
    lines.append(_line("order", [f"{order_text(c)}  " for c in curves.values()]))
    lines.append(_line("declared", [f"{text}  " for text in declared]))
    seen = {reason for curve in curves.values() for reason in curve.left_out} - {""}
    marks = [f"{MARKS[reason]}: {reason}" for reason in sorted(seen)]
    if marks:
        lines.append(f"left out of the order: {', '.join(marks)}")
    lines.append("+- is one standard error")
    return "\n".join([*lines, *study.notes])
