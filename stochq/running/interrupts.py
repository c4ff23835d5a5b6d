"""Ctrl-C and SIGTERM: finish what is running, keep it, and say how to go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

__all__ = [
    "GO_ON",
    "Asked",
    "Interrupted",
    "Terminated",
    "interruptible",
    "leaving_at_once",
    "terminable",
    "without_cure",
]

SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: Number of the standard error stream.
STDERR = 2


class Interrupted(KeyboardInterrupt):
    """A simulation was interrupted by Ctrl-C, after its running batches were done.

    Attributes
    ----------
    ensemble : Ensemble or None
        The trajectories that were done.
    """

    def __init__(self, message: str, ensemble: Any = None) -> None:
        """Keep what was done."""
        super().__init__(message)
        self.ensemble = ensemble


class Terminated(SystemExit):
    """A simulation got SIGTERM, and stopped after its running batches were done.

    Where nobody catches it the process exits with code 143.

    Attributes
    ----------
    ensemble : Ensemble or None
        The trajectories that were done.
    """

    def __init__(self, message: str, ensemble: Any = None) -> None:
        """Keep what was done."""
        super().__init__(128 + signal.SIGTERM)
        self.message, self.ensemble = message, ensemble

    def __str__(self) -> str:
        """Return the message in place of the exit code."""
        return self.message


#: Between what an interrupted run has kept and how to go on with it.
GO_ON = "; go on by: "


def without_cure(error: BaseException) -> str:
    """Return what an interruption says, except for how to go on."""
    return str(error).partition(GO_ON)[0] or "interrupted"


class Asked:
    """Whether a signal has asked to stop, and which."""

    signal: int | None = None

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return self.signal is not None

    def error(self, message: str, ensemble: Any) -> BaseException:
        """Return the exception that the signal stands for."""
        kind = Terminated if self.signal == signal.SIGTERM else Interrupted
        return kind(message, ensemble)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by an exception."""
    raise Terminated("interrupted")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End the process, with a line and the exit code that shells know."""
    os.write(STDERR, b"stochq: interrupted\n")
    os._exit(128 + number)


def _replaceable() -> dict[int, Any]:
    """Return the handlers that may be replaced: somebody else's, or "ignore", stay.

    Handlers belong to the main thread: elsewhere there are none.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    ours = (signal.SIG_DFL, signal.default_int_handler, _terminate)
    found = {number: signal.getsignal(number) for number in SIGNALS}
    return {number: handler for number, handler in found.items() if handler in ours}


def _set(handlers: Mapping[int, Any]) -> None:
    """Set handlers."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, as Ctrl-C raises `KeyboardInterrupt`."""
    before = _replaceable()
    try:
        _set({number: _terminate for number in before if number == signal.SIGTERM})
        yield
    finally:
        _set(before)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """End the process on a signal while modules are loaded.

    An exception may be swallowed there, or become another one; and nothing is lost yet.
    """
    before = _replaceable()
    try:
        _set(dict.fromkeys(before, _leave))
        yield
    finally:
        _set(before)


@contextmanager
def interruptible() -> Iterator[Asked]:
    """Take note of the first signal; the second one does what it always did."""
    asked, before = Asked(), _replaceable()

    def note(number: int, frame: FrameType | None) -> None:
        asked.signal = number
        _set(before)

    try:
        _set(dict.fromkeys(before, note))
        yield asked
    finally:
        _set(before)
