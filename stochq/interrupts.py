"""Ctrl-C and SIGTERM: finish what is running, keep it, and say how to go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stochq.ensemble import Ensemble

__all__ = ["Asked", "Interrupted", "Terminated", "interruptible"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A simulation was interrupted by Ctrl-C, after its running batches were done.

    Attributes
    ----------
    ensemble : Ensemble or None
        The trajectories that were done.
    """

    def __init__(self, message: str, ensemble: Ensemble | None = None) -> None:
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

    def __init__(self, message: str, ensemble: Ensemble | None = None) -> None:
        """Keep what was done."""
        super().__init__(128 + signal.SIGTERM)
        self.message, self.ensemble = message, ensemble

    def __str__(self) -> str:
        """Return the message in place of the exit code."""
        return self.message


class Asked:
    """Whether a signal has asked to stop, and which."""

    signal: int | None = None

    def __call__(self) -> bool:
        """Tell whether to stop."""
        return self.signal is not None

    def error(self, message: str, ensemble: Ensemble | None) -> BaseException:
        """Return the exception that the signal stands for."""
        kind = Terminated if self.signal == signal.SIGTERM else Interrupted
        return kind(message, ensemble)


@contextmanager
def interruptible() -> Iterator[Asked]:
    """Take note of the first signal; the second one does what it always did.

    Handlers belong to the main thread: elsewhere nothing is changed. Forked processes
    inherit them, where they only do what was done before.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before: dict[int, Any] = {}
    owner = os.getpid()

    def note(number: int, frame: FrameType | None) -> None:
        restore()
        if os.getpid() != owner:  # a forked worker, which its pool wants to end
            signal.raise_signal(number)
            return
        asked.signal = number

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in SIGNALS:
        handler = signal.getsignal(number)
        ours = (signal.SIG_DFL, signal.default_int_handler)
        if handler in ours:  # somebody else's handler, or "ignore", stays
            before[number] = handler
            signal.signal(number, note)
    try:
        yield asked
    finally:
        restore()
