"""One model under every unraveling: one master equation, different trajectories."""

import numpy as np
import pytest
import unravelings as study

from stochq import Averaged, Model, lower, master_equation, simulate, verify

TIMES = study.TIMES[::3]
N_TRAJ = 4096

#: False alarms of this file: one in 1e4 for each unraveling.
ALPHA = 1e-4


def run(label, model=None):
    return simulate(
        model or study.pair(),
        TIMES,
        n_traj=N_TRAJ,
        seed=7,
        unraveling=study.UNRAVELINGS[label],
    )


@pytest.mark.parametrize("label", study.UNRAVELINGS)
def test_every_unraveling_passes_against_one_equation(label):
    verdict = verify(run(label), master_equation(study.pair(), TIMES), alpha=ALPHA)
    assert verdict.status == "pass", verdict.explain()


def without(name):
    """Return the pair without its dissipators of one name."""
    model = study.pair()
    return Model(
        hamiltonian=model.hamiltonian,
        dissipators=[d for d in model.dissipators if d.name != name],
        initial=model.initial,
        observables=dict(model.observables),
    )


@pytest.mark.parametrize("label", ["jumps", "homodyne", "heterodyne", "all together"])
@pytest.mark.parametrize("name", ["bath A", "bath B", "dephasing", "coupling"])
def test_a_missing_channel_fails(label, name):
    ensemble = run(label)
    reference = master_equation(without(name), TIMES)
    assert verify(ensemble, reference, alpha=ALPHA).status == "fail"


def test_spreads_differ_where_means_agree():
    jumps, homodyne = run("jumps"), run("homodyne")
    error = jumps.sd / np.sqrt(N_TRAJ)  # of a spread, or less, for bounded values
    assert (np.abs(jumps.sd - homodyne.sd)[0, -1] > 10 * error[0, -1]).all()


def test_a_shift_without_its_hamiltonian_fails():
    dynamics = lower(study.pair(), study.UNRAVELINGS["jumps, shifted"])
    shifted = Model(
        hamiltonian=study.pair().hamiltonian,  # should be dynamics.hamiltonian
        dissipators=[
            d.__class__(c, name=d.name)
            for c, d in zip(dynamics.jumps, study.pair().dissipators, strict=True)
        ],
        initial=[0.6, 0.0, 0.8, 0.0],
        observables=dict(study.pair().observables),
    )
    ensemble = simulate(shifted, TIMES, n_traj=N_TRAJ, seed=7)
    reference = master_equation(study.pair(), TIMES)
    assert verify(ensemble, reference, alpha=ALPHA).status == "fail"


RECORDED = [
    "jumps",
    "jumps, mixed",
    "unitary coupling noise",
    "dephasing by projections",
    "baths averaged, dephasing by jumps",
    "all together",
]


@pytest.mark.parametrize("label", RECORDED)
def test_recorded_times_agree_with_the_counts(label):
    # counts are taken at output times, records when the jump happens
    choices = study.UNRAVELINGS | {
        "baths averaged, dephasing by jumps": {study.BATHS: Averaged()}
    }
    ensemble = simulate(
        study.pair(),
        TIMES + 2.0,
        n_traj=512,
        seed=7,
        unraveling=choices[label],
        keep_jumps=200,
    )
    records = ensemble.jump_records
    assert records.complete
    assert records.time.size > 100
    for column, t in enumerate(ensemble.times):
        seen = np.bincount(records.channel[records.time <= t], minlength=99)
        assert np.array_equal(
            seen[ensemble.dynamics.jump_numbers], ensemble.jumps[:, column]
        )
