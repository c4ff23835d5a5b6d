"""Frames of an ensemble beside its reference: errors, points, budgets."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from analytic import SX, SZ

from stochq.claims import check_claim
from stochq.documents import all_claims
from stochq.errors import ModelError
from stochq.frames import budget_frame, deviations, error_frame, matched, point_frame
from stochq.model import Model, WhiteNoise
from stochq.references import Reference, master_equation
from stochq.schemes import Heun
from stochq.simulation import simulate
from stochq.tables import claim_frame
from stochq.verification import verify

TIMES = np.array([0.0, 0.3, 0.6, 1.0])
MODEL = Model(
    hamiltonian=SX,
    noise=WhiteNoise(SZ, rate=0.3, name="phase"),
    initial=[1, 0],
    observables={"z": SZ, "x": SX},
)


@pytest.fixture(scope="module")
def ensemble():
    return simulate(MODEL, TIMES, n_traj=1024, seed=1, scheme=Heun(0.1))


@pytest.fixture(scope="module")
def part():
    """Some observables, in another order, at some times, with errors."""
    full = master_equation(MODEL, TIMES)
    values = full.values[[1, 0]][:, [1, 3]]
    return Reference(TIMES[[1, 3]], ["x", "z"], values, error=1e-4)


def test_a_partial_reference_picks_what_it_covers(ensemble, part):
    index, scale = matched(ensemble, part)
    assert np.array_equal(ensemble.mean[index], ensemble.mean[[1, 0]][:, [1, 3]])
    spread = ensemble.sd[[1, 0]][:, [1, 3]].max(axis=1)
    assert np.allclose(scale, np.maximum(np.ptp(part.values, axis=1), spread))


def test_errors_of_a_partial_reference(ensemble, part):
    frame = error_frame(ensemble, part)
    assert list(frame["observable"].unique()) == ["x", "z"]
    last = frame[frame["observable"] == "z"].iloc[-1]
    assert last["n_traj"] == ensemble.n_traj
    delta = ensemble.mean[0, [1, 3]] - part.values[1]
    assert np.isclose(last["rms_error"], np.sqrt(np.square(delta).mean()))


def test_points_are_those_of_the_verdict(ensemble, part):
    verdict = verify(ensemble, part)
    points = point_frame(ensemble, part, verdict)
    delta = points["mean"] - points["step_bias"] - points["reference"]
    # but for the skewness of the means, of order 1 / sqrt(n)
    assert np.allclose(delta / points["error"], points["z"], atol=0.1)
    assert (points["reference_error"] == 1e-4).all()
    assert list(points["observable"]) == ["x", "x", "z", "z"]


def test_a_budget_is_the_mean_square_of_its_parts(ensemble, part):
    points = point_frame(ensemble, part, verify(ensemble, part))
    points["bias_error"] = [0.01, 0.03, 0.0, 0.0]
    budget = budget_frame(points).set_index("observable")
    scale = points["scale"].to_numpy().reshape(2, 2)[:, 0]
    z = points[points["observable"] == "z"]
    mean_square = np.square(z["step_bias"]).mean()
    assert np.isclose(budget.loc["z", "step_bias"], np.sqrt(mean_square) / scale[1])
    assert np.isclose(budget.loc["x", "bias_error"], np.sqrt(5e-4) / scale[0])
    assert np.isclose(budget.loc["x", "reference_error"], 1e-4 / scale[0])
    parts = budget[["sampling", "step_bias", "bias_error", "reference_error"]]
    assert np.allclose(budget["total"] ** 2, np.square(parts).sum(axis=1))
    # Heun's bias at this step is far above the sampling error of z, and none for x
    assert budget.loc["z", "step_bias"] > 2 * budget.loc["x", "step_bias"]


def test_what_is_unknown_of_a_bias_is_not_zero(ensemble, part):
    points = point_frame(ensemble, part, verify(ensemble, part))
    budget = budget_frame(points.assign(step_bias=np.nan, bias_error=np.nan))
    assert budget[["step_bias", "bias_error"]].isna().all(axis=None)
    assert np.isfinite(budget["total"]).all()


def test_deviations_come_back_from_a_file(tmp_path):
    claim = next(claim for claim in all_claims() if claim.id == "M1")
    cases = [replace(case, n_traj={"quick": 256}) for case in claim.cases()]
    result = check_claim(replace(claim, cases=lambda: cases), seed=2)
    claim_frame(result).to_csv(tmp_path / "M1.csv", index=False)
    points = pd.read_csv(tmp_path / "M1.csv")
    verdict = result.findings[0].verdicts[1]
    corrected = points[points["says"] == "correction"]
    found = deviations(corrected, verdict.critical_z)
    assert found.names == verdict.names
    assert np.array_equal(found.times, verdict.times)
    assert np.array_equal(found.z, verdict.z)
    assert set(budget_frame(points)) >= {"case", "reading", "observable", "total"}
    assert len(budget_frame(points)) == 2 * len(verdict.names)
    with pytest.raises(ValueError, match="`points` must be those of one case"):
        deviations(points, verdict.critical_z)


def test_bad_input_is_refused(ensemble, part):
    with pytest.raises(ModelError, match="`ensemble` must be what simulate"):
        error_frame(part, part)
    with pytest.raises(ModelError, match="`reference` must be a Reference"):
        error_frame(ensemble, part.values)
    other = Reference([0.5], ["z"], [[0.0]])
    with pytest.raises(ModelError, match=r"`reference` must have times .* 0.5 is not"):
        error_frame(ensemble, other)
    with pytest.raises(ValueError, match=r"`points` must have the columns .* 'scale'"):
        budget_frame(pd.DataFrame({"observable": ["z"]}))
