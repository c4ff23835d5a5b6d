"""Tables of results: what they say, and that they say it the same way every time."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stochq.claims import check_claim
from stochq.documents import all_claims
from stochq.files import VERDICT_DIGITS, write_json, write_table
from stochq.tables import claim_frame, format_table, verdict_table


def small_claim(n_traj=1024, **changes):
    """Return claim M1, whose document fails and whose correction holds, made quick."""
    claim = next(claim for claim in all_claims() if claim.id == "M1")
    cases = [replace(case, n_traj={"quick": n_traj}) for case in claim.cases()]
    return replace(claim, cases=lambda: cases, **changes)


@pytest.fixture(scope="module")
def result():
    return check_claim(small_claim(), seed=3)


@pytest.fixture(scope="module")
def surprise():
    """Return the same findings where the document was recorded to hold."""
    return check_claim(small_claim(expected="holds"), seed=3)


def test_a_row_rests_on_the_correction_not_on_the_refuted_document(result):
    row = verdict_table([result]).iloc[0]
    document, correction = result.findings[0].verdicts
    assert document.max_z > 10
    assert row["max_z"] == correction.max_z
    assert row["p_value"] == correction.p_value
    assert row["found"] == "holds as corrected"
    assert row["as_recorded"]
    assert row["detectable_rate"] == correction.detectable_rate["coupling"]
    assert row["detectable"].startswith("rate ")


def test_verdicts_are_the_same_bytes_but_for_the_last_column(result, tmp_path):
    again = check_claim(small_claim(), seed=3, n_jobs=2)
    texts = []
    for r in (result, again):
        frame = verdict_table([r])
        assert frame.columns[-1] == "seconds"
        write_table(tmp_path / "v.csv", frame.drop(columns="seconds"), VERDICT_DIGITS)
        texts.append((tmp_path / "v.csv").read_bytes())
    assert texts[0] == texts[1]


def test_json_writes_what_is_not_a_number_as_null(tmp_path):
    write_json(tmp_path / "x.json", {"a": [np.nan, np.inf, np.float64(-np.inf), 1.5]})
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"a": [None, None, None, 1.5]}


def test_claim_frame_holds_every_compared_point(result, tmp_path):
    frame = claim_frame(result)
    (finding,) = result.findings
    assert len(frame) == 2 * finding.ensemble.mean.size
    half = frame[frame["says"] == "correction"]
    assert np.array_equal(half["mean"], finding.ensemble.mean.ravel())
    assert np.array_equal(half["mcse_mean"], finding.ensemble.mcse.ravel())
    reference = finding.case.readings[1].reference
    assert np.array_equal(half["reference"], reference.values.ravel())
    # deviates are without the skewness of the means, and less where events are few
    moving = half[half["time"] > 0]
    plain = (moving["mean"] - moving["reference"]) / moving["mcse_mean"]
    assert (moving["z"].abs() <= 1.05 * plain.abs() + 0.05).all()
    assert np.isclose(moving["z"], plain, rtol=0.05, atol=0.05).mean() > 0.5
    write_table(tmp_path / "c.csv", frame)
    back = pd.read_csv(tmp_path / "c.csv", dtype=str)
    for column in ("time", "mean", "sd", "mcse_mean", "reference", "z"):
        assert np.array_equal(back[column].map(float), frame[column])


def test_claim_frame_picks_the_times_and_observables_of_a_partial_reference():
    claim = small_claim(256)
    (case,) = claim.cases()
    part = case.readings[1].reference
    part = replace(
        part,
        times=part.times[5::7],
        names=part.names[2:],
        values=part.values[2:, 5::7],
        sensitivity={},
    )
    reading = replace(case.readings[1], reference=part)
    cases = [replace(case, readings=[reading])]
    result = check_claim(replace(claim, cases=lambda: cases), seed=3)
    frame = claim_frame(result)
    ensemble = result.findings[0].ensemble
    assert np.array_equal(frame["mean"], ensemble.mean[2:, 5::7].ravel())
    assert np.array_equal(frame["reference"], part.values.ravel())


def test_printed_table_marks_what_is_not_as_recorded(result, surprise):
    text = format_table([result, surprise])
    *lines, note = text.splitlines()
    assert [line[0] for line in lines if line[2:4] == "M1"] == [" ", "!"]
    assert note == "! M1 is recorded as: holds"


def test_printed_table_is_narrow_and_loses_no_word(result):
    lines = format_table([result]).splitlines()
    assert max(map(len, lines)) <= 112
    words = " ".join(line[8:49].strip() for line in lines[2:])
    assert words == result.claim.statement
