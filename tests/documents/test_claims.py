"""Every claim comes out as recorded, and does not when the physics is made wrong.

The verdicts of all claims share the false-alarm probability of a whole run; the seed is
the command line's default.
"""

import numpy as np
import pytest

from stochq import master_equation, verify
from stochq.claims import FAMILY_ALPHA, check_claim, count_readings
from stochq.documents import all_claims
from stochq.documents.document_000 import dephased_particle, spreading
from stochq.documents.document_002 import CURRENTS, stationary_current, thermal_pair
from stochq.documents.document_003 import noisy_chain, population_walk
from stochq.documents.document_004 import collective_spin, minimal_kossakowski
from stochq.errors import ModelError
from stochq.references import steady_state

CLAIMS = {claim.id: claim for claim in all_claims()}
ALPHA = FAMILY_ALPHA / count_readings(CLAIMS.values())


@pytest.fixture(scope="module")
def result():
    """Return a function that checks a claim once and remembers the result."""
    known = {}

    def check(name):
        if name not in known:
            known[name] = check_claim(CLAIMS[name], alpha=ALPHA, seed=1, n_jobs=2)
        return known[name]

    return check


@pytest.mark.parametrize("name", CLAIMS)
def test_outcome_is_the_recorded_one(result, name):
    found = result(name)
    explained = [v.explain() for f in found.findings for v in f.verdicts]
    assert found.outcome == CLAIMS[name].expected, "\n".join(explained)


# What a claim's model must not be mistaken for: rates of a name times a factor. 0 is a
# missing channel, 2 a lost factor; the rates are not 1, so that a forgotten square root
# (rate -> sqrt(rate)) is a mutant too.
MUTANTS = [
    ("S1", "dephasing", 0.0),
    ("S1", "dephasing", 2.0),
    ("S1", "dephasing", 1.5**-0.5),  # sqrt(1.5) in place of 1.5
    ("S2", "dephasing", 2.0),
    ("S2", "dephasing", 4.0**-0.5),
    ("D3", "coupling", 0.0),
    ("D3", "coupling", 0.6**-0.5),
    ("D3", "bath B", 0.0),
    ("M1", "coupling", 0.8**-0.5),
    ("M1", "coupling", 0.95),
    ("B1", "collective", 2.0),
    ("B1", "collective", 1.02),
    ("B1", "collective", 0.98),
]


@pytest.mark.parametrize(("name", "rate", "factor"), MUTANTS)
def test_mutant_is_rejected(result, name, rate, factor):
    finding = result(name).findings[0]
    wrong = finding.case.model.with_rate(rate, factor)
    reference = master_equation(wrong, finding.case.times)
    verdict = verify(finding.ensemble, reference, alpha=ALPHA)
    assert verdict.status == "fail", verdict.explain()


def test_wrong_walk_is_rejected(result):
    """M2 with the rates of two bonds exchanged."""
    finding = result("M2").findings[0]
    start = finding.ensemble.mean[:, 0]
    walk = population_walk([0.4, 1.0, 1.3, 0.7, 1.0], start, finding.case.times)
    assert verify(finding.ensemble, walk, alpha=ALPHA).status == "fail"


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_wrong_current_is_rejected(result, factor):
    """D6 with the coupling ten percent off."""
    finding = result("D6").findings[0]
    corrected = finding.case.readings[1].reference
    p = dict(CURRENTS, epsilon=factor * CURRENTS["epsilon"])
    wrong = np.sign(corrected.values) * stationary_current(**p)
    reference = type(corrected)(corrected.times, corrected.names, wrong)
    assert verify(finding.ensemble, reference, alpha=ALPHA).status == "fail"


def test_unbalanced_currents_are_rejected(result):
    """D5 with five percent of the current lost on the way."""
    finding = result("D5").findings[0]
    balance = finding.case.readings[0].reference
    lost = np.full_like(balance.values, 0.15 * stationary_current(**CURRENTS))
    reference = type(balance)(balance.times, balance.names, lost)
    assert verify(finding.ensemble, reference, alpha=ALPHA).status == "fail"


# -- closed formulas against exact equations, without sampling


@pytest.mark.parametrize("epsilon", [1e-3, 0.1, 1.0, 10.0])
def test_current_formula_is_the_steady_state(epsilon):
    p = dict(CURRENTS, epsilon=epsilon)
    model = thermal_pair(**p)
    rho = steady_state(model)
    current = {
        name: float(np.trace(model.observables[name] @ rho).real)
        for name in ("J_A", "J_B", "J_A + J_B")
    }
    exact = stationary_current(**p)
    # rounding of the stationary state, relative to the rates in the current operator
    assert current["J_A"] == pytest.approx(exact, rel=1e-7, abs=1e-11)
    assert current["J_A + J_B"] == pytest.approx(0.0, abs=1e-11)
    # the document's first order is too large by 1 + e at each end
    printed = epsilon * (np.exp(-p["beta_a"]) - np.exp(-p["beta_b"]))
    factor = (1 + np.exp(-p["beta_a"])) * (1 + np.exp(-p["beta_b"]))
    assert stationary_current(**dict(p, epsilon=1e-9)) * factor == pytest.approx(
        1e-9 * printed / epsilon, rel=1e-8
    )


def test_walk_is_the_master_equation():
    gamma = np.array([1.0, 0.4, 1.3])
    times = np.linspace(0, 3, 7)
    exact = master_equation(noisy_chain(4, gamma, excited=(0, 3)), times)
    walk = population_walk(gamma, [1, 0, 0, 1], times)
    tolerance = exact.error + walk.error
    np.testing.assert_allclose(walk.values, exact.values, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        walk.sensitivity["coupling"],
        exact.sensitivity["coupling"],
        rtol=0,
        atol=10 * tolerance,
    )
    wrong = population_walk(2 * gamma, [1, 0, 0, 1], times)
    assert np.abs(wrong.values - exact.values).max() > 1e3 * tolerance


def test_spreading_is_the_master_equation():
    times = np.linspace(0, 10, 6)
    exact = master_equation(dephased_particle(41, 1.0, 4.0, observe="spread"), times)
    law = spreading(times, 1.0, 4.0)
    # the ends of the chain are felt below 1e-6
    np.testing.assert_allclose(law.values, exact.values, rtol=0, atol=1e-6)
    slopes = (law.sensitivity["dephasing"], exact.sensitivity["dephasing"])
    np.testing.assert_allclose(*slopes, rtol=0, atol=1e-5)


def test_collective_jump_is_the_raising_operator():
    """For the least A and lambda > 0 the spins are carried up."""
    model = collective_spin(6, 1.0)
    (jump,) = (d.operator.toarray() for d in model.dissipators)
    m = np.arange(3, -4, -1)  # magnetic numbers of j = 3, descending
    raising = np.diag(np.sqrt(12 - m[1:] * (m[1:] + 1.0)), k=1)
    phase = jump[0, 1] / abs(jump[0, 1])
    np.testing.assert_allclose(jump, phase * raising / np.sqrt(6), atol=1e-14)
    down = collective_spin(6, -1.0).dissipators[0].operator.toarray()
    np.testing.assert_allclose(abs(down), abs(jump).T, atol=1e-14)


def test_bad_names_and_matrices_are_refused():
    with pytest.raises(ModelError, match=r"`kossakowski` must be positive"):
        collective_spin(4, kossakowski=minimal_kossakowski(1.0) - np.eye(3))
    with pytest.raises(ModelError, match=r"`excited` must hold sites"):
        noisy_chain(3, 1.0, excited=(5,))
    with pytest.raises(ModelError, match=r"`coupling` must be 'noise'"):
        thermal_pair(coupling="noisy")
    with pytest.raises(ModelError, match=r"`observe` must be"):
        dephased_particle(5, observe="site")
