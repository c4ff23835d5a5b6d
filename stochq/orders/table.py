"""The table of declared orders, generated from the traits of the schemes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stochq.schemes import SCHEMES, Exact, Heun, Richardson, Scheme, Strang

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["order_markdown", "order_table"]


def _listed() -> list[tuple[str, Scheme]]:
    """Return every scheme by name; the step plays no part."""
    listed: list[tuple[str, Scheme]] = [(s.__name__, s(dt=1.0)) for s in SCHEMES]
    for base in (Heun, Strang):
        listed.append((f"Richardson({base.__name__})", Richardson(base(dt=1.0))))
    return [*listed, ("Exact", Exact())]


def order_table() -> pd.DataFrame:
    """Return what every scheme declares, one row each.

    Columns: scheme, calculus, strong (any noise), strong_commuting, weak, jumps
    (whether it integrates them), norm (whether noise keeps it on every path). An order
    of NaN stands for paths that do not converge or models that are refused; an
    infinite one for a scheme without a step.
    """
    import pandas as pd

    rows = []
    for name, scheme in _listed():
        traits = scheme.traits
        row = {
            "scheme": name,
            "calculus": traits.calculus,
            "strong": traits.strong or np.nan,
            "strong_commuting": traits.strong_commuting or np.nan,
            "weak": traits.weak,
            "jumps": traits.jumps,
            "norm": traits.unitary,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _plain(value: Any) -> str:
    """Return a cell as text."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, float):
        if np.isnan(value):
            return "-"
        return "no step" if np.isinf(value) else f"{value:g}"
    return str(value)


def order_markdown(frame: pd.DataFrame | None = None) -> str:
    """Return a table of orders, by default `order_table()`, as Markdown."""
    frame = order_table() if frame is None else frame
    heads = [str(column).replace("_", " ") for column in frame.columns]
    lines = [heads, ["---"] * len(heads)]
    lines += [[_plain(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
