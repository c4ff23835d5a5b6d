"""Memory does not grow with the number of trajectories."""

import subprocess
import sys

#: Prints by how much the peak of a process grows, in MiB: its own memory only.
GROWTH = """
import resource
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
ensemble = simulate(model, times, n_traj=10**6, **how)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert ensemble.n_traj == 10**6
print((after - before) / 2**10)
"""


def test_a_million_trajectories_take_less_than_100_mib():
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True
    )
    # values of all of them would take 2.4 GB, moments of all atoms 227 MB
    assert float(done.stdout) < 100
