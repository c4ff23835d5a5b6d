"""Self-tests: what is caught, missed, equivalent and unseen, and what that means."""

from dataclasses import replace

import numpy as np
import pytest
from analytic import ALPHA, LOWER, SX, SY, SZ
from scipy.special import ndtri
from scipy.stats import binom

from stochq import Reference, master_equation, selftest, simulate, verify
from stochq.channels import Dissipator, WhiteNoise
from stochq.errors import ModelError
from stochq.model import Model
from stochq.schemes import EulerMaruyama, Strang
from stochq.unravelings import UnitaryNoise

TIMES = np.linspace(0, 3, 7)

QUBIT = Model(
    hamiltonian=0.8 * SX + 0.2 * SZ,
    noise=WhiteNoise([SZ, SX], covariance=[[0.4, 0.15], [0.15, 0.3]], name="field"),
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=[0.6, 0.8j],
    observables={"x": SX, "y": SY, "z": SZ},
    name="a noisy qubit",
)

#: Jumps only, which need no step and little time.
FADING = replace(QUBIT, hamiltonian=0.4 * SZ, noise=(), name="a fading qubit")

#: Of which only the excitation is watched: one event at most in a trajectory.
COUNTED = replace(FADING, observables={"z": SZ}, name="a counted qubit")

#: What small runs are asked to resolve.
COARSE = {"resolution": 0.5, "progress": False}


@pytest.fixture(scope="module")
def found():
    return selftest(QUBIT, TIMES, n_traj=16384, progress=False)


def outcomes(found):
    return {(t.fault, t.what): t.outcome for t in found.trials}


def test_every_fault_of_the_physics_is_caught(found):
    physics = {
        key: outcome
        for key, outcome in outcomes(found).items()
        if key[0] not in ("seeds repeated", "time step too large")
    }
    assert {key[0] for key, outcome in physics.items() if outcome == "caught"} == {
        "dissipator dropped",
        "noise dropped",
        "rate x 0.5",
        "rate x 2",
        "rate x 1.05",
        "rate square-rooted",
        "Hamiltonian dropped",
        "Hamiltonian with the wrong sign",
        "correlations dropped",
        "operator times -1",
        "no Ito drift",
        "Ito drift with the wrong sign",
    }
    assert {key[0] for key, outcome in physics.items() if outcome == "equivalent"} == {
        "Hamiltonian transposed",
        "operator conjugated",
        "operator times i",
        "no Ito drift",
    }
    assert set(physics.values()) == {"caught", "equivalent"}


def test_repeated_seeds_are_caught(found):
    repeated = [t for t in found.trials if t.fault == "seeds repeated"]
    assert len(repeated) == 4
    assert all(t.caught and "trajectories" in t.reason for t in repeated)
    assert found.all_caught


def test_the_table_says_what_was_found(found):
    frame = found.to_frame()
    assert len(frame) == len(found.trials)
    assert (frame.caught == (frame.outcome == "caught")).all()
    assert (frame[frame.caught & (frame.status == "fail")].p_value < 1e-3).all()
    assert (frame[frame.outcome == "equivalent"].status == "").all()
    assert frame[~frame.caught].reason.str.len().min() > 0
    text = found.explain()
    for trial in found.trials:
        assert trial.fault in text
        assert trial.what in text
    assert repr(found) in text
    assert "Strang rotates by exp(-i L dW): it has no drift to forget" in text
    assert "a phase of c drops out of c rho c^dag" in text


def test_workers_change_nothing_and_seeds_do():
    one = selftest(FADING, TIMES, n_traj=1024, n_jobs=1, **COARSE)
    two = selftest(FADING, TIMES, n_traj=1024, n_jobs=2, **COARSE)
    other = selftest(FADING, TIMES, n_traj=1024, seed=2, **COARSE)
    assert one.to_frame().equals(two.to_frame())
    assert not one.to_frame().equals(other.to_frame())
    ensemble = simulate(FADING, TIMES, n_traj=1024, seed=1)
    verdict = verify(ensemble, master_equation(FADING, TIMES), resolution=0.5)
    assert verdict.max_z == one.right.max_z


def test_a_small_run_misses_small_faults_and_says_how_many_would_not():
    small = selftest(COUNTED, TIMES, n_traj=1024, **COARSE)
    (missed,) = [t for t in small.of("missed") if t.fault == "rate x 1.05"]
    assert not small.all_caught
    assert f"about {missed.n_needed:.2g} trajectories would catch it" in small.explain()
    assert 2048 < missed.n_needed < 10_000
    enough = selftest(COUNTED, TIMES, n_traj=int(missed.n_needed), **COARSE)
    assert outcomes(enough)["rate x 1.05", "'decay'"] == "caught"


@pytest.mark.slow
def test_the_needed_number_is_that_of_the_power():
    """With the number for 99 % power, and with one for less than 1/2, over 40 seeds."""
    found = selftest(COUNTED, TIMES, n_traj=4096, **COARSE)
    (trial,) = [t for t in found.trials if t.fault == "rate x 1.05"]
    z = found.right.critical_z
    halved = trial.n_needed * (z / (z + ndtri(0.99))) ** 2
    wrong, truth = COUNTED.with_rate("decay", 1.05), master_equation(COUNTED, TIMES)

    def caught(n_traj):
        runs = [simulate(wrong, TIMES, n_traj=int(n_traj), seed=k) for k in range(40)]
        return sum(verify(run, truth).status == "fail" for run in runs)

    # the score that sees best has this power alone, and other points add a little
    assert binom.cdf(caught(trial.n_needed), 40, 0.99) > ALPHA
    assert binom.cdf(caught(halved), 40, 0.5) > ALPHA
    assert binom.sf(caught(halved / 2), 40, 0.5) > ALPHA


def test_an_absurd_alpha_is_seen_to_miss_what_it_misses():
    found = selftest(COUNTED, TIMES, n_traj=1024, alpha=1e-120, **COARSE)
    assert {"rate x 1.05", "rate x 0.5"} <= {t.fault for t in found.of("missed")}
    assert not found.all_caught
    sane = selftest(COUNTED, TIMES, n_traj=1024, **COARSE)
    assert outcomes(sane)["rate x 0.5", "'decay'"] == "caught"


def test_what_observables_do_not_see_is_a_gap_and_not_equivalent():
    """<sigma_z> of a decaying qubit knows neither its phase nor its Hamiltonian."""
    shaken = replace(FADING, noise=WhiteNoise(SZ, rate=0.4, name="field"))
    blind = replace(shaken, observables={"z": SZ})
    found = selftest(blind, TIMES, n_traj=2048, **COARSE)
    gaps = {
        ("Hamiltonian dropped", "H"),
        ("Hamiltonian with the wrong sign", "H"),
        ("noise dropped", "'field'"),
        ("rate x 2", "'field'"),
    }
    assert {outcomes(found)[gap] for gap in gaps} == {"unseen"}
    assert outcomes(found)["operator times -1", "'field'"] == "equivalent"
    assert "what is observed has a gap" in found.explain()
    assert not {(t.fault, t.what) for t in found.of("missed")} & gaps
    seen = selftest(shaken, TIMES, n_traj=2048, **COARSE)
    assert {outcomes(seen)[gap] for gap in gaps} == {"caught"}
    assert not seen.of("unseen")


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"resolution": 1e-4}, "inconclusive"),
        ({"reference": master_equation(FADING.with_rate("decay", 1.5), TIMES)}, "fail"),
    ],
    ids=["too fine a resolution", "a wrong reference"],
)
def test_nothing_is_said_where_the_right_run_does_not_pass(how, status):
    found = selftest(FADING, TIMES, n_traj=2048, progress=False, **how)
    assert found.right.status == status
    assert found.trials == ()
    assert not found.all_caught
    assert found.to_frame().empty
    text = found.explain()
    assert text.startswith("nothing can be said about faults in 'a fading qubit'")
    assert found.right.explain() in text


def test_a_closed_formula_is_compared_where_it_has_points():
    """Only late times of one observable: what matters early is not seen."""
    late = Reference([48.0, 50.0], ("z",), [[1.0, 1.0]], error=1e-8)
    settled = np.linspace(0, 50, 26)
    found = selftest(FADING, settled, n_traj=4096, reference=late, progress=False)
    by_fault = {key[0]: outcome for key, outcome in outcomes(found).items()}
    assert by_fault["rate x 2"] == "unseen"
    assert by_fault["dissipator dropped"] == "caught"


def test_what_the_engine_refuses_is_listed():
    """One half of a pair has no unitary noise."""
    pair = replace(
        FADING,
        dissipators=[
            Dissipator(LOWER, 0.5, name="pair"),
            Dissipator(LOWER.T, 0.5, name="pair"),
        ],
    )
    found = selftest(
        pair, TIMES, n_traj=2048, unraveling={"pair": UnitaryNoise()}, **COARSE
    )
    refused = {t.what for t in found.of("refused")}
    assert refused == {"'pair' 1 of 2", "'pair' 2 of 2"}
    assert "the engine does not make this mistake" in found.explain()


def test_a_step_that_is_too_large_is_caught_by_its_bias():
    fast = replace(QUBIT, hamiltonian=6 * SX, dissipators=())
    how = {"n_traj": 4096, "resolution": 0.15, "progress": False}
    found = selftest(fast, [0.0, 1.0], scheme=Strang(1 / 16), **how)
    (step,) = [t for t in found.trials if t.fault == "time step too large"]
    assert (step.what, step.outcome) == ("dt x 16", "caught")
    assert step.status == "fail" or "the step bias is" in step.reason
    explicit = selftest(fast, [0.0, 1.0], scheme=EulerMaruyama(0.005), **how)
    (step,) = [t for t in explicit.trials if t.fault == "time step too large"]
    assert (step.outcome, step.status) == ("caught", "fail")
    slow = selftest(QUBIT, [0.0, 1.0], scheme=Strang(1 / 64), **how)
    (step,) = [t for t in slow.trials if t.fault == "time step too large"]
    assert (step.outcome, step.status) == ("allowed for", "pass")
    assert "is known and taken off" in step.reason
    # nothing is left out but the drift: there is no fault that such a scheme lacks
    assert not [t for t in explicit.of("equivalent") if "drift" in t.fault]


def test_bad_input_is_refused_before_anything_is_run():
    with pytest.raises(ModelError, match="`model` must be a Model"):
        selftest("model", TIMES, n_traj=512)
    with pytest.raises(ValueError, match="`n_traj` must be"):
        selftest(FADING, TIMES, n_traj=1)
    with pytest.raises(ModelError, match="`alpha` must be between 0 and 1"):
        selftest(FADING, TIMES, n_traj=128, alpha=2)
    with pytest.raises(ModelError, match="must be a Reference"):
        selftest(FADING, TIMES, n_traj=128, reference="curves")
    wrong = Reference(TIMES, ("w",), [np.zeros(7)])
    with pytest.raises(ModelError, match="observables among"):
        selftest(FADING, TIMES, n_traj=128, reference=wrong)
