"""Memory does not grow with the number of trajectories."""

import subprocess
import sys

import pytest

#: Prints by how much the peak of a process grows, in MiB: its own memory only.
GROWTH = """
import resource
import sys
import numpy as np
from stochq import Dissipator, Model, simulate

x, z = np.array([[0, 1], [1, 0]]), np.diag([1, -1])
model = Model(
    hamiltonian=x,
    dissipators=Dissipator([[0, 0], [1, 0]], 0.7),
    initial=[1, 0],
    observables={"x": x, "y": np.array([[0, -1j], [1j, 0]]), "z": z},
)
times = np.linspace(0, 5, 101)
how = {"seed": 1, "n_jobs": 2}
simulate(model, times, n_traj=2000, **how)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ensemble = simulate(model, times, n_traj=int(sys.argv[1]), **how)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) / 2**10)
"""


@pytest.mark.parametrize(
    "n_traj", [200_000, pytest.param(10**6, marks=pytest.mark.slow)]
)
def test_many_trajectories_take_less_than_100_mib(n_traj):
    command = [sys.executable, "-c", GROWTH, str(n_traj)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # the values of 200,000 would take 485 MB
    assert float(done.stdout) < 100
