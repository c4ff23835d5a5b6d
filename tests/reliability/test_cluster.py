"""A real cluster of two processes: the same bits, also where one of them is killed."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from outputs import results

from stochq import Strang, simulate
from stochq.cli import main
from stochq.commands import backends
from stochq.documents import BUILDERS

distributed = pytest.importorskip("distributed")

ROOT = Path(__file__).parents[2]

#: Sockets of connections to a process that was killed are closed by the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

RUN = """
[model]
builder = "noisy_chain"
n_sites = 6
[times]
start = 0.0
stop = 3.0
n = 31
[run]
n_traj = 60000
seed = 1
"""


@pytest.fixture(scope="module")
def address():
    """Return the address of a cluster of two processes with one thread each."""
    how = {"threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=2, **how) as cluster:
        yield cluster.scheduler_address


def written(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return str(path)


def test_python_runs_on_a_cluster_with_the_same_bits(address):
    model, times = BUILDERS["noisy_chain"](n_sites=5), np.linspace(0, 3, 13)
    how = {"n_traj": 30_050, "seed": 3, "scheme": Strang(dt=0.02)}
    here = simulate(model, times, **how)
    with distributed.Client(address), joblib.parallel_config("dask"):
        assert joblib.effective_n_jobs(None) == 2
        there = simulate(model, times, **how)
    for power, other in zip(here.moments.powers, there.moments.powers, strict=True):
        assert np.array_equal(power, other)
    assert np.array_equal(here.batches, there.batches)


class Killer(threading.Thread):
    """Kills the process of a worker as soon as it has a task."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address, self.killed, self.stop = address, None, threading.Event()

    def run(self):
        with distributed.Client(self.address, set_as_default=False) as client:
            while self.killed is None and not self.stop.is_set():
                busy = [
                    worker for worker, tasks in client.processing().items() if tasks
                ]
                if busy:
                    pid = client.run(os.getpid, workers=busy[:1])[busy[0]]
                    os.kill(pid, signal.SIGKILL)
                    self.killed = pid
                time.sleep(0.01)  # between looks: no result depends on it


def test_a_run_survives_the_death_of_a_worker_with_the_same_bytes(address, tmp_path):
    file = written(tmp_path)
    assert main(["run", file, "--out", str(tmp_path / "here")]) == 0
    killer = Killer(address)
    killer.start()
    how = ["--backend", "dask", "--scheduler", address]
    assert main(["run", file, "--out", str(tmp_path / "there"), *how]) == 0
    killer.stop.set()
    killer.join()
    assert killer.killed is not None
    assert results(tmp_path / "there") == results(tmp_path / "here")


def run_apart(tmp_path, before, address):
    """Run in a process of its own: clients that never were connected linger in one."""
    code = f"import sys; {before}; from stochq.cli import main; sys.exit(main())"
    how = ["--backend", "dask", "--scheduler", address, "--out", str(tmp_path / "o")]
    done = subprocess.run(
        [sys.executable, "-c", code, "run", written(tmp_path), *how],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()
    return done.stderr


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://127.0.0.1:1", "Timed out trying to connect"),
        ("nonsense", "missing port number"),
    ],
)
def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path, address, message):
    before = "from stochq.commands import backends; backends.CONNECT_SECONDS = 0.5"
    err = run_apart(tmp_path, before, address)
    assert err.startswith("stochq: error: `--scheduler` must be the address of a dask")
    assert message in err


def test_workers_must_be_there_and_run_the_same_code(capsys, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "stochq", tmp_path / "stochq")
    with (tmp_path / "stochq" / "jit.py").open("a") as file:
        file.write("# another\n")
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        how = ["--out", str(tmp_path / "o"), "--backend", "dask"]
        command = ["run", written(tmp_path), *how, "--scheduler", address]
        monkeypatch.setattr(backends, "CONNECT_SECONDS", 0.5)
        assert main(command) == 2
        assert f"must have workers, but {address} has" in capsys.readouterr().err
        monkeypatch.setattr(backends, "CONNECT_SECONDS", 60.0)
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", address,
             "--no-nanny", "--no-dashboard", "--nthreads", "1"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert main(command) == 2
        finally:
            worker.terminate()
            worker.wait()
    assert "has another code" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_without_the_package_the_extra_is_named(tmp_path):
    before = "sys.modules['distributed'] = None"
    assert "install stochq[cluster]" in run_apart(tmp_path, before, "127.0.0.1:8786")
