"""Recorded jump times against exact laws of waiting times, by Kolmogorov and Smirnov.

A resonantly driven two-level atom starts anew after every photon, so that the waits are
independent draws from one law, known in closed form; a pumped cascade has one
exponential law per channel. The first JUMPS jumps of every trajectory are looked at, up
to a time at which all have as many: nothing is censored or biased by length. Each
comparison has the false-alarm probability ALPHA = 1e-6; with five of them in the
default run and five in the slow one, either raises a false alarm with 5e-6.
"""

import numpy as np
import pytest
from analytic import ALPHA, GROUND, LOWER, SX
from scipy.stats import kstest, norm

from stochq import Dissipator, Model, simulate

#: Jumps per trajectory.
JUMPS = 100

#: Rabi frequency and decay [1/time]: fast against a step of 0.01, so that it shows.
DRIVE, DECAY = 9.0, 3.0

#: Pump 0 -> 2 and decays 2 -> 1 -> 0 of the cascade [1/time].
CASCADE = (2.0, 5.0, 1.0)


def fluorescence():
    """Return an atom of decay DECAY, driven at DRIVE, from its ground state."""
    return Model(
        hamiltonian=DRIVE / 2 * SX,
        dissipators=Dissipator(LOWER, DECAY, name="photon"),
        initial=GROUND,
        observables={"x": SX},
    )


def pumped_cascade():
    """Return three levels that go round 0 -> 2 -> 1 -> 0 by jumps only."""
    level = np.eye(3)
    return Model(
        hamiltonian=np.diag([0.0, 1.0, 3.0]),
        dissipators=[
            Dissipator(np.outer(level[i], level[j]), rate, name=f"{j} to {i}")
            for (i, j), rate in zip([(2, 0), (1, 2), (0, 1)], CASCADE, strict=True)
        ],
        initial=level[0],
        observables={"p0": np.diag(level[0])},
    )


def survival(t, drive=DRIVE, decay=DECAY):
    r"""Return the probability of no photon for t after the last one.

    With mu^2 = drive^2/4 - decay^2/16, exp(-i H_eff t)|-> has the amplitudes
    e^{-decay t/4} (cos mu t + (decay/4 mu) sin mu t) in the ground state and
    -i (drive/2 mu) e^{-decay t/4} sin mu t in the excited one.
    """
    mu = np.sqrt(drive**2 / 4 - decay**2 / 16)
    ground = np.cos(mu * t) + decay / (4 * mu) * np.sin(mu * t)
    excited = drive / (2 * mu) * np.sin(mu * t)
    return np.exp(-decay * t / 2) * (ground**2 + excited**2)


def recorded(model, mean_wait, n_traj, seed):
    """Return times and channels of the first JUMPS jumps, each (n_traj, JUMPS).

    The horizon is twice the mean of their total, ten of its standard deviations away
    (the waits vary less than those of a Poisson process).
    """
    start = 3.0  # the clock of a record is that of `times`
    times = [start, start + 2 * JUMPS * mean_wait]
    ensemble = simulate(model, times, n_traj=n_traj, seed=seed, keep_jumps=JUMPS)
    records = ensemble.jump_records
    shape = (n_traj, JUMPS)
    assert records.time.size == n_traj * JUMPS
    assert (records.trajectory.reshape(shape) == np.arange(n_traj)[:, None]).all()
    moments = records.time.reshape(shape) - start
    assert (np.diff(moments, axis=1) > 0).all()
    return moments, records.channel.reshape(shape)


def waits(moments):
    """Return the time since the jump before, shape (n_traj, JUMPS)."""
    return np.diff(moments, axis=1, prepend=0.0)


def p_value(sample, law):
    """Return the probability of a distance like this from the law 1 - S(t)."""
    return kstest(1.0 - law(np.ravel(sample)), "uniform").pvalue


def mean_photon_wait():
    """Return 1 / (decay n), n = drive^2/(decay^2 + 2 drive^2)."""
    return (DECAY**2 + 2 * DRIVE**2) / (DECAY * DRIVE**2)


def neighbors(sample):
    """Return the correlation of successive waits, in standard errors."""
    u = survival(sample)
    pairs = u[:, 1:].size
    return np.corrcoef(u[:, 1:].ravel(), u[:, :-1].ravel())[0, 1] * np.sqrt(pairs)


def test_ten_thousand_waits_between_photons():
    moments, _ = recorded(fluorescence(), mean_photon_wait(), 100, seed=1)
    found = waits(moments)
    assert p_value(found, survival) > ALPHA
    assert abs(neighbors(found)) < norm.isf(ALPHA / 2)

    step = 0.05
    for wrong in (np.ceil(found / step) * step, 1.1 * found, found[:, ::2] / 2):
        assert p_value(wrong, survival) < ALPHA
    assert p_value(found, lambda t: survival(t, decay=1.2 * DECAY)) < ALPHA
    assert p_value(found, lambda t: np.exp(-t / mean_photon_wait())) < ALPHA
    assert abs(neighbors(np.sort(found, axis=1))) > norm.isf(ALPHA / 2)


def test_each_channel_of_a_cascade_keeps_its_own_time():
    """Channels come in turn 0, 1, 2, 0, ...; each wait has the rate of its level."""
    mean = sum(1 / rate for rate in CASCADE) / 3
    moments, channels = recorded(pumped_cascade(), mean, 300, seed=2)
    assert (channels == np.arange(JUMPS) % 3).all()
    found = waits(moments)
    for channel, rate in enumerate(CASCADE):
        sample = found[channels == channel]
        assert p_value(sample, lambda t, rate=rate: np.exp(-rate * t)) > ALPHA
        assert p_value(sample, lambda t, rate=rate: np.exp(-1.1 * rate * t)) < ALPHA
        other = CASCADE[channel - 1]
        assert p_value(sample, lambda t, rate=other: np.exp(-rate * t)) < ALPHA


def test_records_agree_with_the_counts_of_the_ensemble():
    """A window that all records fit into: jumps up to each time, by channel."""
    times = np.array([0.0, 1.0, 2.5, 4.0])
    ensemble = simulate(pumped_cascade(), times, n_traj=500, seed=3, keep_jumps=JUMPS)
    records = ensemble.jump_records
    for channel in range(3):
        moments = records.time[records.channel == channel]
        counted = (moments[:, None] <= times).sum(axis=0)
        assert (counted == ensemble.jumps[channel]).all()
    plain = simulate(pumped_cascade(), times, n_traj=500, seed=3)
    assert np.array_equal(plain.mean, ensemble.mean)


@pytest.mark.slow
def test_a_million_waits_between_photons():
    moments, _ = recorded(fluorescence(), mean_photon_wait(), 10_000, seed=4)
    found = waits(moments)
    assert p_value(found, survival) > ALPHA
    assert abs(neighbors(found)) < norm.isf(ALPHA / 2)

    step = 0.01  # times on a grid: rounded, or the end of the step
    for rounded in (np.rint(moments / step), np.ceil(moments / step)):
        assert p_value(waits(rounded * step), survival) < ALPHA
    for factor in (0.99, 1.01):
        assert p_value(found, lambda t, f=factor: survival(f * t)) < ALPHA
        assert p_value(found, lambda t, f=factor: survival(t, f * DRIVE)) < ALPHA
        assert p_value(found, lambda t, f=factor: survival(t, DRIVE, f * DECAY)) < ALPHA


@pytest.mark.slow
def test_a_million_jumps_of_a_cascade():
    mean = sum(1 / rate for rate in CASCADE) / 3
    moments, channels = recorded(pumped_cascade(), mean, 10_000, seed=5)
    assert (channels == np.arange(JUMPS) % 3).all()
    found = waits(moments)
    for channel, rate in enumerate(CASCADE):
        sample = found[channels == channel]
        assert p_value(sample, lambda t, rate=rate: np.exp(-rate * t)) > ALPHA
        for factor in (0.98, 1.02):  # a third of the jumps: twice the error
            wrong = factor * rate
            assert p_value(sample, lambda t, rate=wrong: np.exp(-rate * t)) < ALPHA
