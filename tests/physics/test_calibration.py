"""The studies of calibration and power: what they blame, and what they must not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from calibration import BLAME, STATISTICS, calibration, deviations, judged
from model_classes import CLASSES, TIMES, class_named
from power import ALPHA, agrees, detectable_found, outcomes, score_of, seen_as
from scipy import stats
from scipy.special import ndtr, ndtri
from seeds import acceptable, append, done, row_of, summary

from stochq import verify


def sum_of_squares(ensemble, reference) -> float:
    """Return a p-value that takes all points for independent."""
    z = deviations(ensemble, reference).z
    return float(stats.chi2.sf(np.square(z).sum(), z.size))


def half_variance(ensemble, reference) -> float:
    """Return a p-value of Hotelling's kind, with half of every variance."""
    z, batches = deviations(ensemble, reference)
    values, vectors = np.linalg.eigh(batches.T @ batches)
    kept = values > 0.05 * values[-1]
    squares = np.square(vectors.T @ z)[kept] / (0.5 * values[kept])
    return float(stats.chi2.sf(squares.sum(), kept.sum()))


MUTANTS = {"sum of squares": sum_of_squares, "half variance": half_variance}


# --------------------------------------------------------------------- calibration


QUICK = {name: STATISTICS[name] for name in ("bootstrap", "Hotelling")}


def blamed(label, seeds, n_traj, statistics):
    case = replace(class_named(label), small=n_traj)
    rows, found = calibration(
        case, seeds, statistics={**statistics, **MUTANTS}, power_seeds=0
    )
    assert found.shape == (seeds, len(statistics) + len(MUTANTS))
    return {row["statistic"] for row in rows if not row["calibrated"]}


def test_a_statistic_without_correlations_or_with_a_wrong_variance_is_blamed():
    assert blamed("commuting noise", 100, 256, QUICK) == set(MUTANTS)


@pytest.mark.slow
@pytest.mark.parametrize("label", ["non-commuting noise", "complex noise", "squares"])
def test_every_statistic_but_the_mutants_is_calibrated(label):
    assert blamed(label, 500, 512, STATISTICS) == set(MUTANTS)


def test_p_values_are_blamed_where_they_are_not_uniform():
    p = (np.arange(400) + 0.5) / 400
    assert judged(p, two_sided=True)["calibrated"]
    assert not judged(p**1.5, two_sided=True)["calibrated"]
    assert not judged(p**1.5, two_sided=False)["calibrated"]
    # too large: harmless only where something is allowed for
    assert not judged(p**0.6, two_sided=True)["calibrated"]
    assert judged(p**0.6, two_sided=False)["calibrated"]
    # a few false alarms far out are nothing to Kolmogorov and Smirnov
    tail = p.copy()
    tail[200:206] = 1e-4
    row = judged(tail, two_sided=True)
    assert row["ks_p"] > BLAME
    assert row["alarms_0.001"] == 6 / 400
    assert not row["calibrated"]


def test_an_interval_holds_its_share_of_alarms():
    row = judged(np.linspace(0, 1, 1000), two_sided=True)
    for level in (0.05, 0.01, 0.001):
        assert row[f"low_{level:g}"] <= row[f"alarms_{level:g}"]
        assert row[f"alarms_{level:g}"] <= row[f"high_{level:g}"]
        assert row[f"low_{level:g}"] < level < row[f"high_{level:g}"]


# --------------------------------------------------------------------------- power


def test_the_printed_rate_is_caught_and_half_of_it_is_not():
    """A verdict that printed half of what it can detect would be blamed."""
    case = replace(class_named("commuting noise"), large=2048)
    verdict = verify(case.ensemble(999, case.large), case.reference(), alpha=ALPHA)
    printed = verdict.detectable_rate["dephasing"]
    faults = [("dephasing", seen_as(printed / k)) for k in (1, 2)]
    wrong = {fault: case.reference(*fault) for fault in faults}
    found = [outcomes(case, seed, wrong) for seed in range(16)]
    caught = [sum(one[fault].caught for one in found) for fault in faults]
    predicted = [np.mean([one[f].predicted for one in found]) for f in faults]
    assert predicted[0] > 0.9 > 0.6 > predicted[1]
    assert agrees(caught[0], 16, predicted[0])
    assert agrees(caught[1], 16, predicted[1])
    assert not agrees(caught[1], 16, predicted[0])


def test_the_prediction_is_that_of_a_normal_score():
    verdict = SimpleNamespace(
        critical_z=4.0,
        rate_error={"g": (0.0, 0.01)},
        detectable_rate={"g": 0.01 * (4.0 + ndtri(0.99)) + 0.003},
    )
    spread, allowed = score_of(verdict, "g")
    assert spread == 0.01
    assert allowed == pytest.approx(0.003)


def test_the_size_of_a_given_power_is_read_from_the_curve():
    x = np.array([0.02, 0.04, 0.05, 0.06, 0.08])
    power = ndtr((x - 0.05) / 0.01)
    sizes = np.array([seen_as(error) for error in x])
    exact = 0.05 + 0.01 * ndtri(0.99)
    found = detectable_found(sizes, 10_000 * power, 10_000)
    assert found == pytest.approx(exact, rel=0.01)


# --------------------------------------------------------------------- model classes


def test_the_mean_square_is_that_of_a_random_phase():
    """<x> = .96 cos(1.3 t + 2 W) with <W^2> = g t, from (.6, .8)."""
    case = class_named("squares")
    rate = case.model.noise[0].rates[0]
    reference = case.reference()
    row = reference.names.index("x^2")

    def known(g):
        return 0.48 * 0.96 * (1 + np.cos(2.6 * TIMES) * np.exp(-8 * g * TIMES))

    assert reference.values[row] == pytest.approx(known(rate), abs=1e-9)
    slope = -8 * rate * TIMES * (known(rate) - 0.48 * 0.96)
    assert reference.sensitivity["dephasing"][row] == pytest.approx(slope, abs=1e-8)
    assert np.abs(reference.values[row] - reference.values[0] ** 2).max() > 0.1


def test_no_rate_could_pass_for_another():
    for case in CLASSES:
        model = case.model
        strengths = [np.trace(n.real().covariance) for n in model.noise]
        strengths += [rate for rate in {d.rate for d in model.dissipators}]
        assert len(strengths) >= 1
        assert all(abs(s - 1) > 0.01 for s in strengths)
        assert len({round(s, 6) for s in strengths}) == len(strengths)
        assert set(case.reference().sensitivity) == set(model.rate_names)


# --------------------------------------------------------------------------- seeds


def results(p_document, p_correction):
    """Return what a run of two claims looks like to the study."""

    def one(expected, pairs, recorded):
        says, p = zip(*pairs, strict=True)
        case = SimpleNamespace(readings=[SimpleNamespace(says=s) for s in says])
        verdicts = [SimpleNamespace(p_value=x) for x in p]
        finding = SimpleNamespace(case=case, verdicts=verdicts)
        claim = SimpleNamespace(expected=expected, id=expected)
        return SimpleNamespace(claim=claim, findings=[finding], as_recorded=recorded)

    pairs = [("document", p_document), ("correction", p_correction)]
    return [
        one("holds as corrected", pairs, p_document < 1e-3 < p_correction),
        one("holds", [("document", 0.5)], True),
    ]


def test_a_rejected_correction_is_a_false_alarm_and_a_rejected_mistake_is_not():
    fine = row_of(1, results(1e-9, 0.3), 1.0)
    assert (fine["false_alarms"], fine["false_passed"]) == (0, 0)
    assert (fine["true_readings"], fine["readings"]) == (2, 3)
    assert fine["smallest_p"] == 0.3
    assert fine["adjusted_p"] == pytest.approx(0.6)  # of the two that are left
    wrong = row_of(2, results(0.2, 1e-6), 1.0)
    assert (wrong["false_alarms"], wrong["false_passed"]) == (1, 1)
    assert wrong["not_as_recorded"] == "holds as corrected"


def test_a_table_of_seeds_goes_on(tmp_path):
    path = tmp_path / "seeds.csv"
    assert done(path) == set()
    for seed in (1, 2):
        append(path, row_of(seed, results(1e-9, 0.1 + 0.4 * seed), 1.0), "study")
    assert done(path) == {1, 2}
    text = path.read_text()
    assert text.count("# commit") == 1
    assert text.count("seed,") == 1
    table = pd.read_csv(path, comment="#")
    assert acceptable(table)
    assert summary(table).startswith("2 seeds: 0 with a false alarm")
    for seed in (3, 4):
        append(path, row_of(seed, results(1e-9, 1e-7), 1.0), "study")
    assert not acceptable(pd.read_csv(path, comment="#"))
