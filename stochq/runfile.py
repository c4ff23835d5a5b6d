"""Run files: a run described in TOML, checked key by key.

A run file names a model builder of `stochq.documents` and its parameters::

    title = "Two excitations on a noisy chain"

    [model]
    builder = "noisy_chain"
    n_sites = 5
    gamma = 1.0

    [times]
    start = 0.0
    stop = 4.0
    n = 33

    [run]
    n_traj = 4096
    seed = 1

``[run]`` says when to stop: at `n_traj` trajectories, at a `tolerance`, or after
`max_time` seconds, whichever comes first. A tolerance is a standard error, a table such
as ``{relative = 0.01}``, or a table of these by the names of observables.

Two tables are optional: ``[unraveling]`` with the name of a dissipator and a choice,
such as ``bath = "Jump"`` or ``bath = {choice = "Homodyne", efficiency = 0.8}``, and
``[verify]`` with `alpha` and `resolution`.
"""

from __future__ import annotations

import difflib
import inspect
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from stochq.arrays import Floats
from stochq.documents import BUILDERS
from stochq.lowering import lower
from stochq.model import Model
from stochq.running.stopping import Goal, Tolerance, Tolerances, as_goal
from stochq.unravelings import Choice

__all__ = ["RunFile", "RunFileError", "load_run"]

CHOICES: Mapping[str, type[Choice]] = {kind.__name__: kind for kind in get_args(Choice)}

#: Larger whole numbers (trajectories, times) are mistakes of writing.
MOST = 10**10

#: Tables and their keys; None: the keys belong to the model.
KEYS: Mapping[str, Collection[str] | None] = {
    "model": None,
    "times": ("start", "stop", "n"),
    "run": ("n_traj", "tolerance", "max_time", "seed"),
    "unraveling": None,
    "verify": ("alpha", "resolution"),
}


#: Keys of a tolerance.
PARTS = ("absolute", "relative")


class RunFileError(ValueError):
    """A run file that cannot be read, or says something that cannot be run."""


@dataclass(frozen=True, eq=False)
class RunFile:
    """A run, checked.

    Attributes
    ----------
    title : str
        Stands above the figure.
    builder : str
        The name of the model's builder.
    parameters : dict
        What the builder was called with.
    model : Model
        What it returned.
    times : ndarray, shape (T,) [time]
        Output times.
    n_traj : int or None
    tolerance : float, Tolerance, dict of str to these, or None
    max_time : float or None
    seed : int
        As in `simulate`.
    unraveling : dict of str to Choice
        As in `simulate`.
    alpha, resolution : float
        As in `verify`.
    """

    title: str
    builder: str
    parameters: Mapping[str, Any]
    model: Model
    times: Floats
    n_traj: int | None
    seed: int
    unraveling: Mapping[str, Choice]
    alpha: float = 1e-3
    resolution: float = 0.1
    tolerance: Tolerances | None = None
    max_time: float | None = None

    @property
    def goal(self) -> Goal:
        """When to stop."""
        names = list(self.model.observables)
        return as_goal(self.n_traj, self.tolerance, self.max_time, names)


def _nearest(name: str, known: Collection[str]) -> str:
    """Return what could have been meant, as the end of a message."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(sorted(known)) or 'none'}"


def _check_keys(table: Mapping[str, Any], known: Collection[str], path: str) -> None:
    """Refuse a key that nobody reads."""
    for key in table:
        if key not in known:
            raise RunFileError(f"`{path}{key}` is not a key{_nearest(key, known)}")


def _number(
    table: Mapping[str, Any], key: str, path: str, default: Any = None
) -> float:
    """Return a finite number."""
    value = table.get(key, default)
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not np.isfinite(value):
        raise RunFileError(
            f"`{path}.{key}` must be a finite number, but is {_say(value)}"
        )
    return float(value)


def _whole(table: Mapping[str, Any], key: str, path: str, at_least: int) -> int:
    """Return an integer >= `at_least`."""
    value = table.get(key)
    if isinstance(value, int) and value > MOST:
        raise RunFileError(f"`{path}.{key}` must be at most {MOST}, but is {value}")
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise RunFileError(
            f"`{path}.{key}` must be an integer >= {at_least}, but is {_say(value)}"
        )
    return value


def _say(value: Any) -> str:
    """Return a value for a message."""
    return "missing" if value is None else f"{value!r:.60}"


def _table(
    document: Mapping[str, Any], name: str, *, needed: bool
) -> Mapping[str, Any]:
    """Return a table of the file, checked for unknown keys."""
    table = document.get(name, None if needed else {})
    if not isinstance(table, dict):
        raise RunFileError(f"`{name}` must be a table [{name}], but is {_say(table)}")
    known = KEYS[name]
    if known is not None:
        _check_keys(table, known, f"{name}.")
    return table


def _build(table: Mapping[str, Any]) -> tuple[str, dict[str, Any], Model]:
    """Return the builder's name, its parameters and the model."""
    parameters = dict(table)
    name = parameters.pop("builder", None)
    if not isinstance(name, str) or name not in BUILDERS:
        raise RunFileError(
            f"`model.builder` must be one of {', '.join(sorted(BUILDERS))}, "
            f"but is {_say(name)}"
        )
    builder = BUILDERS[name]
    _check_keys(parameters, inspect.signature(builder).parameters, "model.")
    try:
        return name, parameters, builder(**parameters)
    except (TypeError, ValueError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise RunFileError(
            f"`model` must describe a {name} that can be built, but: {reason}"
        ) from error


def _times(table: Mapping[str, Any]) -> Floats:
    """Return equally spaced output times."""
    start, stop = (_number(table, key, "times") for key in ("start", "stop"))
    if stop <= start:
        raise RunFileError(
            f"`times.stop` must be > times.start = {start:g}, but is {stop:g}"
        )
    count = _whole(table, "n", "times", 2)
    if count > 10**6:
        raise RunFileError(f"`times.n` must be at most 1000000, but is {count}")
    return np.linspace(start, stop, count)


def _unraveling(table: Mapping[str, Any], model: Model) -> dict[str, Choice]:
    """Return the choice for each dissipator that the file names."""
    known = {dissipator.name for dissipator in model.dissipators}
    _check_keys(table, known, "unraveling.")
    return {name: _choice(f"unraveling.{name}", said) for name, said in table.items()}


def _choice(path: str, said: Any) -> Choice:
    """Return the choice that a name, or a table with its parameters, stands for."""
    table = dict(said) if isinstance(said, dict) else {"choice": said}
    name = table.pop("choice", None)
    if not isinstance(name, str) or name not in CHOICES:
        raise RunFileError(
            f"`{path}` must be one of {', '.join(CHOICES)}, but is {_say(name)}"
        )
    kind = CHOICES[name]
    _check_keys(table, inspect.signature(kind).parameters, f"{path}.")
    try:
        return kind(**table)
    except ValueError as error:
        raise RunFileError(f"{path}: {error}") from error


def _fraction(table: Mapping[str, Any], key: str, default: float) -> float:
    """Return a number between 0 and 1."""
    value = _number(table, key, "verify", default)
    if not 0 < value < 1:
        raise RunFileError(f"`verify.{key}` must be between 0 and 1, but is {value}")
    return value


def _above_zero(table: Mapping[str, Any], key: str, path: str) -> float:
    """Return a finite number > 0."""
    value = _number(table, key, path)
    if value <= 0:
        raise RunFileError(f"`{path}.{key}` must be > 0, but is {value:g}")
    return value


def _tolerance(said: Any, path: str) -> float | Tolerance:
    """Return the tolerance that a number or a table stands for."""
    if not isinstance(said, dict):
        table, _, key = path.rpartition(".")
        return _above_zero({key: said}, key, table)
    _check_keys(said, PARTS, f"{path}.")
    try:
        return Tolerance(**{key: _number(said, key, path) for key in said})
    except ValueError as error:
        raise RunFileError(f"`{path}` must be a tolerance, but: {error}") from error


def _tolerances(said: Any, names: Collection[str]) -> Tolerances:
    """Return a tolerance for all observables, or those of some of them."""
    if not isinstance(said, dict) or set(said) <= set(PARTS) - set(names):
        return _tolerance(said, "run.tolerance")
    named = any(name in names for name in said)
    _check_keys(said, names if named else {*names, *PARTS}, "run.tolerance.")
    return {name: _tolerance(said[name], f"run.tolerance.{name}") for name in said}


def _ends(run: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """Return when a run stops: at least one of three."""
    ends: dict[str, Any] = {"n_traj": None}
    if not run.keys() & {"n_traj", "tolerance", "max_time"}:
        raise RunFileError(
            "`run` must have n_traj, tolerance or max_time, but has none of them"
        )
    if "n_traj" in run:
        ends["n_traj"] = _whole(run, "n_traj", "run", 2)
    if "tolerance" in run:
        ends["tolerance"] = _tolerances(run["tolerance"], model.observables)
    if "max_time" in run:
        ends["max_time"] = _above_zero(run, "max_time", "run")
    return ends


def load_run(path: str | Path) -> RunFile:
    """Read a run file and check every key of it.

    Raises
    ------
    RunFileError
        If the file cannot be read, or a key is missing, unknown or out of range; the
        message names its path in the file.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFileError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunFileError(f"{path} must be a TOML file, but: {error}") from error
    _check_keys(document, {*KEYS, "title"}, "")
    builder, parameters, model = _build(_table(document, "model", needed=True))
    run = _table(document, "run", needed=True)
    limits = _table(document, "verify", needed=False)
    choices = _unraveling(_table(document, "unraveling", needed=False), model)
    title = document.get("title", f"{builder} ({path.name})")
    if not isinstance(title, str):
        raise RunFileError(f"`title` must be a string, but is {_say(title)}")
    try:
        lower(model, choices)
    except ValueError as error:
        raise RunFileError(str(error)) from error
    return RunFile(
        title=title,
        builder=builder,
        parameters=parameters,
        model=model,
        times=_times(_table(document, "times", needed=True)),
        **_ends(run, model),
        seed=_whole(run, "seed", "run", 0),
        unraveling=choices,
        alpha=_fraction(limits, "alpha", 1e-3),
        resolution=_fraction(limits, "resolution", 0.1),
    )
