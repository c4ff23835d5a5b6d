"""White noise: a chain of four two-level systems in the full 2^4 space, gamma t = 5.

Neighbors exchange excitations by noise, L_j = (s_j^+ + s_{j+1}^+)(s_j^- + s_{j+1}^-),
covariance 2 gamma, gamma = 1; 10,000 trajectories from a state that reaches all
sectors; populations at 11 times. All participants take dt = 0.05 and the even/odd
symmetric order, whose exact bias is in the table; a tenth of the sampling error is the
target.
"""

from dataclasses import replace

import numpy as np
from peers import Participant

from stochq import Strang, TwoPoint, default_scheme, lower, master_equation, simulate
from stochq.bias import exact_step_bias
from stochq.documents.document_003 import noisy_chain

SITES, N_TRAJ, DT = 4, 10_000, 0.05
TIMES = np.linspace(0, 5, 11)
SMALL = 40

#: Every site in its own superposition: all sectors, and currents in all of them.
START = np.array([1.0])
for angle in (0.3, 1.1, 0.7, 1.4):
    START = np.kron(START, [np.cos(angle), np.sin(angle)])

MODEL = replace(noisy_chain(SITES), initial=START / np.linalg.norm(START))


def exact(full):
    return master_equation(MODEL, TIMES, sensitivity=False).values


def bias_of(scheme):
    return float(np.abs(exact_step_bias(lower(MODEL), TIMES, scheme)).max())


def stochq_run(scheme):
    def run(seed):
        ensemble = simulate(MODEL, TIMES, n_traj=N_TRAJ, seed=seed, scheme=scheme)
        return ensemble.mean, ensemble.mcse

    return run


def numpy_run(seed, batch=256):
    """Closed-form factors on arrays of 256 trajectories: a good plain numpy loop."""
    rng = np.random.default_rng(seed)
    sums, squares = np.zeros((2, SITES, TIMES.size))
    steps = round((TIMES[1] - TIMES[0]) / DT)
    for first in range(0, N_TRAJ, batch):
        width = min(batch, N_TRAJ - first)
        psi = np.repeat(MODEL.initial.vectors[0][:, None], width, axis=1)
        for t in range(TIMES.size):
            if t:
                for n in range(steps + 1):
                    outer = DT if 0 < n < steps else DT / 2
                    if n:
                        bond(psi, 1, rng, DT)
                    bond(psi, 0, rng, outer)
                    bond(psi, 2, rng, outer)
            populations = site_populations(psi)
            sums[:, t] += populations.sum(axis=1)
            squares[:, t] += np.square(populations).sum(axis=1)
    mean = sums / N_TRAJ
    return mean, np.sqrt(np.maximum(squares / N_TRAJ - mean**2, 0) / N_TRAJ)


def bond(psi, j, rng, duration):
    """Apply exp(-i x L_j) = 1 + (exp(-2ix) - 1)/2 L_j, x ~ N(0, 2 duration)."""
    width = psi.shape[1]
    x = rng.normal(scale=np.sqrt(2.0 * duration), size=width)
    factor = (np.exp(-2j * x) - 1) / 2
    view = psi.reshape(2**j, 2, 2, -1, width)  # bit 0 of a site: lower level
    change = factor * (view[:, 0, 1] + view[:, 1, 0])
    view[:, 0, 1] += change
    view[:, 1, 0] += change
    view[:, 1, 1] *= 1 + 2 * factor


def site_populations(psi):
    weight = np.abs(psi) ** 2
    return np.array(
        [
            weight.reshape(2**j, 2, -1, psi.shape[1])[:, 1].sum(axis=(0, 1))
            for j in range(SITES)
        ]
    )


def qutip_run(seed):
    """Run sesolve with a piecewise constant random coefficient per channel."""
    import qutip

    rng = np.random.default_rng(seed)
    grid = np.arange(0, TIMES[-1] + DT / 2, DT)
    operators = [qutip.Qobj(L.toarray()) for L in MODEL.noise[0].operators]
    seen = [qutip.Qobj(o.toarray()) for o in MODEL.observables.values()]
    start = qutip.Qobj(MODEL.initial.vectors[0])
    values = []
    for _ in range(SMALL):
        noise = rng.normal(scale=np.sqrt(2.0 / DT), size=(len(operators), grid.size))
        terms = [[L, row] for L, row in zip(operators, noise, strict=True)]
        h = qutip.QobjEvo(terms, tlist=grid, order=0)
        options = {"max_step": DT, "nsteps": 100_000, "progress_bar": ""}
        values.append(
            qutip.sesolve(h, start, TIMES, e_ops=seen, options=options).expect
        )
    values = np.array(values)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(SMALL)


def participants(full):
    """Return stochq first, then every peer that is installed; one size only."""
    chosen = default_scheme(lower(MODEL), TIMES, N_TRAJ)
    found = [
        Participant(f"stochq {scheme}", N_TRAJ, bias_of(scheme), stochq_run(scheme))
        for scheme in (Strang(DT), TwoPoint(DT), chosen)
    ]
    found.append(Participant("batched numpy", N_TRAJ, bias_of(Strang(DT)), numpy_run))
    try:
        import qutip

        found.append(
            Participant(f"QuTiP {qutip.__version__} sesolve", SMALL, np.nan, qutip_run)
        )
    except ImportError:
        print("QuTiP is not installed: left out")
    return found
