"""Who runs the trajectories: a backend of joblib, on this machine or on a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import ExitStack, contextmanager
from typing import Any

import joblib

from stochq.commands.arguments import UsageError
from stochq.descriptions import environment
from stochq.errors import WorkerError

__all__ = ["BACKENDS", "backend"]

BACKENDS = ("threading", "loky", "multiprocessing", "dask")

#: Seconds to wait for a scheduler, and for the first of its workers.
CONNECT_SECONDS = 10.0


@contextmanager
def backend(name: str | None, scheduler: str | None) -> Iterator[None]:
    """Run what is inside on a backend; None: as stochq chooses.

    Parameters
    ----------
    name : str or None
        One of `BACKENDS`.
    scheduler : str or None
        Address of a dask scheduler, such as "tcp://10.0.0.1:8786".

    Raises
    ------
    UsageError
        If there is no such backend, or the scheduler cannot be used.
    """
    if name is not None and name not in BACKENDS:
        raise UsageError(
            f"`--backend` must be one of {', '.join(BACKENDS)}, but is {name:.40}"
        )
    if (name == "dask") != (scheduler is not None):
        raise UsageError(
            "`--backend dask` and `--scheduler ADDRESS` must go together, but "
            f"{'the scheduler' if scheduler is None else 'the backend'} is missing"
        )
    try:
        with ExitStack() as stack:
            if scheduler is not None:
                stack.enter_context(_client(scheduler))
            if name is not None:
                stack.enter_context(joblib.parallel_config(name))
            yield
    except (BrokenExecutor, CancelledError) as error:
        raise _lost(str(error).partition(".")[0] or type(error).__name__) from error


def _lost(reason: str) -> WorkerError:
    """Return the error for workers that are no more."""
    return WorkerError(
        f"workers were lost ({reason}); what was done is kept, the same command goes on"
    )


@contextmanager
def _client(scheduler: str) -> Iterator[None]:
    """Hold a connection to a cluster whose workers run the same code."""
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise UsageError(
            "`--backend dask` must find the package distributed, but it is missing; "
            "install stochq[cluster]"
        ) from error
    connect: Callable[..., Any] = Client
    with _quiet():
        try:
            client = connect(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise UsageError(
                "`--scheduler` must be the address of a dask scheduler that answers, "
                f"but is {scheduler!r:.80}: {error}"
            ) from error
        with client:
            _check_workers(client, scheduler)
            try:
                yield
            except KilledWorker as error:
                raise _lost("a task ended several of them") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep other packages from logging what is told in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _check_workers(client: Any, scheduler: str) -> None:
    """Refuse a cluster without workers, or with others than this process."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        theirs = client.run(environment)
    except TimeoutError as error:
        raise UsageError(
            f"`--scheduler` must have workers, but {scheduler} has none"
        ) from error
    except Exception as error:  # whatever a worker without stochq raises
        raise UsageError(
            "`--scheduler` must have workers with the same stochq, but they say: "
            f"{type(error).__name__}: {error}"
        ) from error
    ours = environment()
    for worker, found in theirs.items():
        differing = [key for key, value in ours.items() if found.get(key) != value]
        if differing:
            raise UsageError(
                "`--scheduler` must have workers with the same versions, but "
                f"{worker} has another {', '.join(differing)}"
            )
