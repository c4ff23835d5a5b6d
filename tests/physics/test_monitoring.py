"""Monitored operators and density matrices against closed formulas and superoperators.

Averages say nothing about phases and efficiencies: those are tested on the signals, and
on what a state is given its own signal.
"""

import numpy as np
import pytest
from analytic import ALPHA, LOWER, SX, SY, SZ, judge, lindblad
from scipy.linalg import expm
from scipy.stats import norm

from stochq import (
    Averaged,
    Dissipator,
    Heterodyne,
    Homodyne,
    Jump,
    Model,
    Projections,
    Strang,
    UnitaryNoise,
    WhiteNoise,
    master_equation,
    simulate,
    trajectory,
    verify,
)

PAULIS = {"x": SX, "y": SY, "z": SZ}
H = 0.7 * SX + 0.2 * SZ
DECAY, DEPHASING = 1.0, 0.2
TIMES = np.linspace(0, 3, 4)


def atom(decay=DECAY, dephasing=DEPHASING, field=0.0):
    return Model(
        hamiltonian=H,
        noise=[WhiteNoise(SX, rate=field, name="field")] if field else [],
        dissipators=[
            Dissipator(LOWER, decay, name="decay"),
            Dissipator(SZ, dephasing, name="dephasing"),
        ],
        initial=[0.6, 0.8],
        observables=PAULIS,
    )


UNRAVELINGS = {
    "homodyne": {"decay": Homodyne()},
    "another phase": {"decay": Homodyne(phase=2.1), "dephasing": Homodyne(phase=0.4)},
    "heterodyne": {"decay": Heterodyne(), "dephasing": Heterodyne()},
    "seen in part": {"decay": Homodyne(efficiency=0.3)},
    "not seen": {"decay": Homodyne(efficiency=0.0), "dephasing": UnitaryNoise()},
    "averaged beside jumps": {"decay": Jump(), "dephasing": Averaged()},
    "averaged beside noise": {"decay": Averaged(), "dephasing": UnitaryNoise()},
    "jumps seen beside": {"decay": Jump(shift=0.5), "dephasing": Homodyne()},
    "seen in part beside jumps": {
        "decay": Jump(),
        "dephasing": Heterodyne(efficiency=0.5),
    },
    "jumps of several kinds": {
        "decay": Homodyne(efficiency=0.3),
        "dephasing": Projections(),
    },
    "mixed": {("decay", "dephasing"): Heterodyne(mixing=[[0.6, 0.8j], [0.8j, 0.6]])},
}


@pytest.mark.parametrize("label", UNRAVELINGS)
def test_every_unraveling_has_one_average(label):
    """Steps are so long that their bias must be known to pass."""
    model = atom(field=0.1)
    ensemble = simulate(
        model, TIMES, n_traj=8192, seed=5, scheme=Strang(0.3),
        unraveling=UNRAVELINGS[label],
    )  # fmt: skip
    verdict = verify(ensemble, master_equation(model, TIMES), alpha=ALPHA)
    assert verdict.status == "pass", verdict.explain()
    assert verdict.bias_from == "exact"
    for wrong in (atom(1.4, field=0.1), atom(1.0, 0.4, field=0.1), atom(field=0.5)):
        verdict = verify(ensemble, master_equation(wrong, TIMES), alpha=ALPHA)
        assert verdict.status == "fail", verdict.explain()


def test_without_its_bias_a_long_step_fails():
    truth = master_equation(atom(), TIMES)
    how = {"n_traj": 65536, "seed": 5, "unraveling": UNRAVELINGS["heterodyne"]}
    for bias, status in ((None, "pass"), (0.0, "fail")):
        verdict = judge(atom(), truth, scheme=Strang(1.0), bias=bias, **how)
        assert verdict.status == status, verdict.explain()


# A QND measurement, c = sqrt(k) sigma_z. With Y the integrated signal and
# a = 2 sqrt(eta k) Y, the linear equation has the solution
# rho_++ = p exp(a), rho_-- = q exp(-a), rho_+- = rho_+-(0) exp(-2 k (1 - eta) t),
# up to a common factor.
K = 0.8
P = 0.36


def pointer(efficiency):
    return Model(
        dissipators=Dissipator(SZ, K, name="z"),
        initial=[np.sqrt(P), np.sqrt(1 - P)],
        observables=PAULIS,
    ), {"z": Homodyne(efficiency=efficiency)}


def paths(model, times, unraveling, *, step, n_traj=64, seed=4):
    """Return signals (M, T - 1, n) and expectation values (O, T, n) of trajectories."""
    run = simulate(
        model, times, n_traj=n_traj, seed=seed, scheme=Strang(step),
        unraveling=unraveling, keep_signals=True,
    )  # fmt: skip
    assert run.batches.shape[0] == n_traj  # batches are the trajectories
    return run.signals, np.moveaxis(run.batches, 0, -1)


@pytest.mark.parametrize("eta", [1.0, 0.4])
def test_a_measured_spin_follows_its_own_signal(eta):
    model, unraveling = pointer(eta)
    times = np.linspace(0, 0.5, 6)
    signals, values = paths(model, times, unraveling, step=0.01)
    Y = np.concatenate([np.zeros((1, 64)), np.cumsum(signals[0], axis=0)])

    def defect(assumed):
        a = 2 * np.sqrt(assumed * K) * Y
        up, down = P * np.exp(a), (1 - P) * np.exp(-a)
        flip = 2 * np.sqrt(P * (1 - P)) * np.exp(-2 * K * (1 - assumed) * times)
        truth = [flip[:, None] / (up + down), 0 * a, (up - down) / (up + down)]
        return np.abs(values - truth).max()

    # the series of a step stops at x^6: |sqrt(k dt) x|^7 / 7! with |x| < 4.5, 50 steps
    assert defect(eta) < 50 * (np.sqrt(K * 0.01) * 4.5) ** 7 / 5040
    assert defect(0.9 * eta) > 1e-2


def test_a_long_measurement_obeys_borns_rule():
    model, unraveling = pointer(1.0)
    n = 4000
    run = simulate(
        model, [0, 8], n_traj=n, seed=2, scheme=Strang(0.05), unraveling=unraveling,
        keep_signals=True,
    )  # fmt: skip
    up = run.signals[0, 0] > 0
    width = norm.isf(ALPHA / 2) * np.sqrt(P * (1 - P) / n)
    assert abs(up.mean() - P) < width
    assert abs((1 - up.mean()) - P) > width
    # given the outcome, the signal is +-2 sqrt(k) t with the noise of vacuum
    part = run.signals[0, 0][up]
    assert abs(part.mean() - 16 * np.sqrt(K)) < 5 * np.sqrt(8 / part.size)


def moments_of_signal(operator, eta, times):
    """Return E[Y_i] and E[Y_i Y_(i+1)] of the signals of neighboring intervals.

    With B rho = sqrt(eta) (c rho + rho c^dag), E[dY] = Tr(B rho) dt, and
    E[dY(t) dY(s)] = Tr(B exp(L (t - s)) B rho(s)) dt ds for t > s.
    """
    generator = lindblad(H, [np.sqrt(DECAY) * LOWER, np.sqrt(DEPHASING) * SZ])
    one, trace = np.eye(2), np.eye(2).ravel()
    B = np.sqrt(eta) * (np.kron(operator, one) + np.kron(one, operator.conj()))
    step = times[1] - times[0]
    block = np.block([[generator, B], [np.zeros_like(B), generator]])
    whole = expm(step * block)
    over, through = whole[:4, 4:], whole[:4, :4]
    rho = np.outer([0.6, 0.8], [0.6, 0.8]).ravel()
    first, second = [], []
    for _ in times[:-1]:
        first.append((trace @ over @ rho).real)
        second.append((trace @ over @ over @ rho).real)
        rho = through @ rho
    return np.array(first), np.array(second[:-1])


@pytest.mark.parametrize("eta", [1.0, 0.5])
@pytest.mark.parametrize("phase", [0.0, 0.7, np.pi / 2])
def test_signals_have_the_right_mean_and_correlation(phase, eta):
    times = np.linspace(0, 2, 5)
    n = 20000
    run = simulate(
        atom(), times, n_traj=n, seed=8, scheme=Strang(0.05), keep_signals=True,
        unraveling={"decay": Homodyne(phase=phase, efficiency=eta)},
    )  # fmt: skip
    assert run.signal_names == ("decay",)
    assert run.signals.shape == (1, 4, n)
    Y = run.signals[0]
    products = Y[:-1] * Y[1:]

    def distance(phase, eta):
        c = np.exp(-1j * phase) * np.sqrt(DECAY) * LOWER
        first, second = moments_of_signal(c, eta, times)
        z = (Y.mean(axis=1) - first) / (Y.std(axis=1) / np.sqrt(n))
        zz = (products.mean(axis=1) - second) / (products.std(axis=1) / np.sqrt(n))
        return np.abs(z).max(), np.abs(zz).max()

    critical = norm.isf(ALPHA / 16)
    assert max(distance(phase, eta)) < critical
    assert distance(phase, eta**2 if eta < 1 else 0.7)[0] > critical  # eta for sqrt
    if np.sin(phase):  # the sign of the phase
        assert max(distance(-phase, eta)) > critical
    # correlations are more than products of means
    errors = products.std(axis=1) / np.sqrt(n)
    first, second = moments_of_signal(np.exp(-1j * phase) * LOWER, eta, times)
    if phase == 0.0 and eta == 1.0:
        assert np.abs(second - first[:-1] * first[1:]).max() > 5 * errors.max()


def test_heterodyne_signals_are_complex_amplitudes():
    times = np.linspace(0, 2, 5)
    n = 20000
    run = simulate(
        atom(), times, n_traj=n, seed=8, scheme=Strang(0.05), keep_signals=True,
        unraveling={"decay": Heterodyne(efficiency=0.8)},
    )  # fmt: skip
    assert run.signal_names == ("decay", "decay")
    (Z,) = run.complex_signal("decay")
    real, _ = moments_of_signal(LOWER, 0.8, times)  # <c + c^dag>
    imaginary, _ = moments_of_signal(-1j * LOWER, 0.8, times)
    mean = 0.5 * (real + 1j * imaginary)
    error = np.sqrt(0.5 * 0.5 / n)  # <|d zeta|^2> = dt, half in each part
    assert np.abs(Z.mean(axis=1) - mean).max() < 6 * error
    assert np.abs(Z.mean(axis=1) - mean.conj()).max() > 6 * error


def textbook_filter(record, step, eta):
    """Integrate the stochastic master equation given records (T - 1, n), by Milstein.

    d rho = (...) dt + sqrt(eta) (c rho + rho c^dag - <c + c^dag> rho) dW, where
    dW = dY - sqrt(eta) <c + c^dag> dt.
    """
    c = np.sqrt(DECAY) * LOWER
    dag = c.conj().T
    loss = dag @ c
    rho = np.tile(np.outer([0.6, 0.8], [0.6, 0.8]).astype(complex), (64, 1, 1))
    for dY in record[..., None, None]:
        free = -1j * (H @ rho - rho @ H) - 0.5 * (loss @ rho + rho @ loss)
        free = free + c @ rho @ dag + DEPHASING * (SZ @ rho @ SZ - rho)
        seen = c @ rho + rho @ dag
        twice = c @ seen + seen @ dag
        mean = np.trace(seen, axis1=1, axis2=2).real[:, None, None]
        dW = dY - np.sqrt(eta) * mean * step
        gain = np.sqrt(eta) * (seen - mean * rho)
        second = np.trace(twice, axis1=1, axis2=2).real[:, None, None]
        # G'G of the innovation term G(rho) = seen - mean rho
        curve = twice - mean * seen - mean * (seen - mean * rho)
        curve = curve - (second - mean * mean) * rho
        rho = rho + free * step + gain * dW + 0.5 * eta * curve * (dW**2 - step)
    return np.array([np.einsum("nij,ji->n", rho, s).real for s in PAULIS.values()])


@pytest.mark.parametrize("eta", [1.0, 0.6])
def test_the_textbook_filter_of_our_signals_gives_our_states(eta):
    unraveling = {"decay": Homodyne(efficiency=eta), "dephasing": Averaged()}

    def distances(step, *assumed):
        times = np.arange(0, 1 + 0.5 * step, step)
        signals, values = paths(atom(), times, unraveling, step=step)
        return [
            np.abs(textbook_filter(signals[0], step, one) - values[:, -1]).mean()
            for one in assumed
        ]

    (coarse,), (fine, wrong) = distances(0.04, eta), distances(0.01, eta, 0.5 * eta)
    assert fine < 0.01  # first order in the filter's step
    assert fine < 0.45 * coarse
    assert wrong > 5 * fine


def test_a_seen_gaussian_cavity_obeys_riccatis_equation():
    """X = (a + a^dag)/sqrt 2, u = V - 1/2: u' = -k u - 2 eta k u^2 on every path."""
    kappa, eta, dim, occupation = 1.0, 0.7, 12, 0.3
    a = np.diag(np.sqrt(np.arange(1, dim)), 1)
    X = (a + a.T) / np.sqrt(2)
    weights = (occupation / (1 + occupation)) ** np.arange(dim)
    model = Model(
        hamiltonian=0.0 * a,
        dissipators=Dissipator(a, kappa, name="loss"),
        initial=np.diag(weights / weights.sum()),
        observables={"X": X},
    )
    times = np.linspace(0, 1.5, 4)

    def curve(eta):
        grown = (1 / occupation + 2 * eta) * np.exp(kappa * times)
        return 0.5 + 1 / (grown - 2 * eta)

    means = []
    for index in range(4):
        one = trajectory(
            model, times, seed=1, index=index, scheme=Strang(0.02),
            unraveling={"loss": Homodyne(efficiency=eta)},
        )  # fmt: skip
        mean = one.expectations[0]
        square = np.einsum("tij,ji->t", one.states, X @ X).real
        means.append(mean[-1])
        # cut-off of the thermal state and of its displaced copies
        assert np.abs(square - mean**2 - curve(eta)).max() < 2e-3
        assert np.abs(square - mean**2 - curve(0.0)).max() > 2e-2
    assert np.std(means) > 0.05  # the paths themselves differ


def test_a_matrix_that_sees_all_is_the_projector_on_its_ket():
    """The same path as a ket and, with an efficiency of almost 1, as a matrix."""
    how = {"seed": 6, "scheme": Strang(0.05)}
    for index in range(3):
        ket, matrix = (
            trajectory(
                atom(field=0.2), [0, 1, 2], index=index, **how,
                unraveling={
                    "decay": Homodyne(phase=0.3, efficiency=eta),
                    "dephasing": Heterodyne(),
                },
            )
            for eta in (1.0, 1.0 - 1e-15)
        )  # fmt: skip
        psi = ket.states / np.sqrt(ket.norms)[:, None]
        projector = np.einsum("ti,tj->tij", psi, psi.conj())
        assert matrix.states.shape == (3, 2, 2)
        # the series of kets and matrices stop at the same power: only rounding differs
        assert np.abs(matrix.states - projector).max() < 1e-12
        assert np.abs(matrix.signals - ket.signals).max() < 1e-12


def test_purity_is_between_that_of_the_average_and_one():
    unraveling = {"decay": Homodyne(efficiency=0.5), "dephasing": Averaged()}
    _, bloch = paths(atom(), [0, 1.5], unraveling, step=0.05, n_traj=256)
    purity = 0.5 * (1 + np.square(bloch[:, -1]).sum(axis=0))
    generator = lindblad(H, [LOWER, np.sqrt(DEPHASING) * SZ])
    rho = expm(1.5 * generator) @ np.outer([0.6, 0.8], [0.6, 0.8]).ravel()
    error = 5 * purity.std() / np.sqrt(256)
    assert np.vdot(rho, rho).real + error < purity.mean() < 1 - error
    assert purity.max() < 1
