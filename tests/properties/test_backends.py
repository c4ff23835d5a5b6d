"""The same bits on every backend of joblib, from wherever it is called."""

import os
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import pytest
from bits import bits, different, digest
from cloudpickle import register_pickle_by_value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kinds import HYBRID, RUNS, TIMES, run

from stochq import Bins
from stochq.running import parallel
from stochq.schemes import Strang
from stochq.simulation import simulate

#: Workers cannot import the tests: their functions are sent as they are.
for module in ("kinds", __name__):
    register_pickle_by_value(sys.modules[module])

BACKENDS = (None, "threading", "loky", "multiprocessing", "sequential")
N = 515


@pytest.fixture(autouse=True, scope="module")
def _workers_for_short_runs():
    """Otherwise one worker would do all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "SHORT_SECONDS", 0.0)
        yield


def full(n_traj=N, functions=None, **how):
    """A run of which everything is kept that can be."""
    functions = {"e": excitation} if functions is None else functions
    return simulate(
        HYBRID,
        TIMES,
        **{"n_traj": n_traj, "seed": 4, "scheme": Strang(0.2), "progress": False} | how,
        functions=functions,
        histograms=[Bins("z", n=7), Bins("e", n=5, limits=(0, 1))],
        states=True,
        keep_jumps=3,
    )


def excitation(kets):
    return np.abs(kets[:, 1]) ** 2


@cache
def plain(name):
    """Everything of a run by one worker."""
    return bits(full()) if name == "full" else bits(kind(name))


def kind(name, n_traj=N, **how):
    if name == "default":  # the step depends on n_traj: fewer to run
        n_traj = min(n_traj, 65)
    monitored = {"keep_signals": True} if name in ("monitored", "measured") else {}
    return run(name, n_traj, 4, **monitored, **how)


def on(backend, n_jobs=2):
    """Return a context in which joblib uses a backend."""
    if backend is None:
        return joblib.parallel_config(n_jobs=n_jobs)
    return joblib.parallel_config(backend=backend, n_jobs=n_jobs)


NAMES = st.sampled_from([*sorted(RUNS), "full"])
WAYS = st.tuples(
    st.sampled_from(BACKENDS), st.integers(1, 3), st.none() | st.integers(1, 5)
)
#: What ends a call before the whole is done: trajectories, or seconds.
PAUSES = st.sampled_from([64, 100, 256, 300, 1e-9, 0.01, 0.03])


def in_legs(name, legs, folder):
    """Run up to each of some pauses, then to the end, every leg in a way of its own."""
    one = full if name == "full" else lambda n_traj, **how: kind(name, n_traj, **how)
    size = 65 if name == "default" else N
    if name == "default":
        legs = [(pause, way) for pause, way in legs if isinstance(pause, float)]
    done = 0
    for pause, (backend, n_jobs, batch) in [*legs, (size, (None, 1, None))]:
        with on(backend, n_jobs):
            how = {"batch": batch, "checkpoint": folder}
            if isinstance(pause, float):
                found = one(size, max_time=pause, **how)
            else:
                found = one(max(pause, done), **how)
        done = found.n_traj
    return found


def compare(name, legs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "kept"
    assert different(bits(in_legs(name, legs, folder)), plain(name)) == []


LEGS = st.lists(st.tuples(PAUSES, WAYS), max_size=3)


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=NAMES, legs=LEGS)
def test_interruptions_on_any_backend_change_no_bit(name, legs, tmp_path_factory):
    compare(name, legs, tmp_path_factory)


@pytest.mark.slow
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=NAMES, legs=LEGS)
def test_many_interruptions_on_any_backend_change_no_bit(name, legs, tmp_path_factory):
    compare(name, legs, tmp_path_factory)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["full", "fermions"])
def test_every_backend_gives_the_same_bits(backend, name):
    with on(backend):
        again = full(batch=2) if name == "full" else kind(name, batch=2)
    assert different(bits(again), plain(name)) == []


SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:3]
if __name__ == "__main__":
    import joblib
    from bits import digest
    from kinds import run
    from stochq.running import parallel
    parallel.SHORT_SECONDS = 0.0
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        print(digest(run("hybrid", 515, 4, batch=2)))
"""


def of_script(text, method, folder):
    """Return what a script prints where processes start in one of their ways.

    joblib takes the way from its environment.
    """
    script = folder / "script.py"
    script.write_text(text)
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, script, root / "tests", root / "analysis"],
        env={**os.environ, "JOBLIB_START_METHOD": method},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert "Warning" not in found.stderr
    return found.stdout.strip()


@pytest.mark.parametrize(
    "method",
    [
        "spawn",
        pytest.param("forkserver", marks=pytest.mark.slow),
        pytest.param("fork", marks=pytest.mark.slow),
    ],
)
def test_processes_may_start_in_any_way(method, tmp_path):
    assert of_script(SCRIPT, method, tmp_path) == digest(kind("hybrid"))


SLOW_START = """
import os
import time
forks = []
os.register_at_fork(before=lambda: forks.append(1))
os.register_at_fork(after_in_child=lambda: time.sleep(1.0 * (len(forks) == 2)))
"""


def test_a_pool_does_not_wait_for_a_worker_that_starts_late(tmp_path):
    """The first of two workers does all of it; then the pool ends the second one."""
    assert of_script(SLOW_START + SCRIPT, "fork", tmp_path) == digest(kind("hybrid"))


# ------------------------------------------------------------------------- functions


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_lambdas_and_closures_go_to_workers(backend):
    power = 2
    for function in (lambda kets: np.abs(kets[:, 1]) ** power, excitation):
        with on(backend):
            found = full(functions={"e": function}, batch=2)
        assert different(bits(found), plain("full")) == []


def test_long_runs_of_functions_use_processes(monkeypatch):
    monkeypatch.setattr(parallel, "PROCESS_SECONDS", 0.0)
    found = full(functions={"e": lambda kets: np.abs(kets[:, 1]) ** 2}, n_jobs=2)
    assert different(bits(found), plain("full")) == []


# ------------------------------------------------------------ where it is called


def in_worker(n_jobs):
    return bits(kind("hybrid", n_jobs=n_jobs, batch=2))


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_workers_may_simulate_with_workers(backend):
    with on(backend):
        found = joblib.Parallel()(joblib.delayed(in_worker)(2) for _ in range(2))
    for one in found:
        assert different(one, plain("hybrid")) == []


def test_threads_other_than_the_main_one_may_simulate():
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    found = {}

    def work(backend):
        with on(backend):
            found[backend] = bits(kind("hybrid", batch=2))

    for backend in (None, "loky"):
        thread = threading.Thread(target=work, args=(backend,))
        thread.start()
        thread.join()
        assert different(found[backend], plain("hybrid")) == []
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_several_threads_may_simulate_at_once():
    found = [None] * 4

    def work(k):
        found[k] = bits(kind("hybrid", n_jobs=1 + k % 2, batch=1 + k))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        assert different(one, plain("hybrid")) == []


def workers_of(**how):
    """Return what a run says of its workers."""
    return full(batch=1, **how).provenance["workers"]


def test_configured_workers_are_used_unless_told_otherwise():
    with joblib.parallel_config(n_jobs=2):
        assert workers_of().startswith("2 threads")
        assert workers_of(n_jobs=1).startswith("1 worker")
    assert workers_of().startswith("1 worker")


@pytest.mark.parametrize("n_jobs", [-1, -2, 7, 64])
@pytest.mark.parametrize("n_traj", [2, 64, 65, 130, N])
def test_more_workers_than_tasks_do_no_harm(n_jobs, n_traj):
    found = kind("hybrid", n_traj, n_jobs=n_jobs)
    assert different(bits(found), bits(kind("hybrid", n_traj))) == []
