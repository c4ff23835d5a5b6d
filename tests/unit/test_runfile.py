"""Run files: every key is checked, and a run leaves what it promises."""

import json

import numpy as np
import pandas as pd
import pytest

from stochq.execute import execute_run
from stochq.frames import error_frame
from stochq.references import master_equation
from stochq.runfile import RunFileError, load_run
from stochq.running.stopping import Tolerance
from stochq.simulation import simulate
from stochq.unravelings import Homodyne, UnitaryNoise

GOOD = """
title = "a test"
[model]
builder = "thermal_pair"
coupling = "dissipators"
[times]
start = 0.5
stop = 2.5
n = 5
[run]
n_traj = 2048
seed = 4
[unraveling]
coupling = "UnitaryNoise"
[verify]
resolution = 0.3
"""


def written(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_a_good_file_says_everything(tmp_path):
    run = load_run(written(tmp_path, GOOD))
    assert run.title == "a test"
    assert run.builder == "thermal_pair"
    assert np.array_equal(run.times, np.linspace(0.5, 2.5, 5))
    assert (run.n_traj, run.seed) == (2048, 4)
    assert run.unraveling == {"coupling": UnitaryNoise()}
    assert (run.alpha, run.resolution) == (1e-3, 0.3)


def test_a_choice_may_have_parameters(tmp_path):
    text = GOOD.replace(
        '"UnitaryNoise"', '{choice = "Homodyne", phase = 0.5, efficiency = 0.8}'
    )
    run = load_run(written(tmp_path, text))
    assert run.unraveling == {"coupling": Homodyne(phase=0.5, efficiency=0.8)}


@pytest.mark.parametrize(
    ("said", "tolerance", "max_time"),
    [
        ("tolerance = 0.01", 0.01, None),
        ("max_time = 5\ntolerance = {relative = 0.1}", Tolerance(relative=0.1), 5.0),
        ("tolerance = {NAME = 0.1}", {"NAME": 0.1}, None),
        (
            "tolerance = {NAME = {absolute = 1, relative = 0.1}}",
            {"NAME": Tolerance(1.0, 0.1)},
            None,
        ),
        ("max_time = 2.5", None, 2.5),
    ],
)
def test_a_run_may_stop_at_a_tolerance_or_a_time(tmp_path, said, tolerance, max_time):
    name = next(iter(load_run(written(tmp_path, GOOD)).model.observables))
    if isinstance(tolerance, dict):
        tolerance = {name: tolerance["NAME"]}
    run = load_run(
        written(tmp_path, GOOD.replace("n_traj = 2048", said.replace("NAME", name)))
    )
    assert (run.n_traj, run.tolerance, run.max_time) == (None, tolerance, max_time)
    assert run.goal.max_time == max_time
    asked = run.goal.tolerance or ()
    assert [t is None for t in asked][1:] == [isinstance(tolerance, dict)] * (
        len(asked) - 1
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_traj = 2048", "n_traj = 1", r"`run.n_traj` must be an integer >= 2"),
        ("n_traj = 2048", "n_traj = 5.0", r"`run.n_traj` must be an integer .* is 5.0"),
        ("n_traj = 2048", "n_traj = true", r"`run.n_traj` .* but is True"),
        ("n_traj = 2048", "", r"`run` must have n_traj, tolerance or max_time, but"),
        ("n_traj = 2048", "max_time = 0", r"`run.max_time` must be > 0, but is 0"),
        ("n_traj = 2048", "max_time = inf", r"`run.max_time` must be a finite number"),
        ("n_traj = 2048", "tolerance = -1", r"`run.tolerance` must be > 0, but is -1"),
        ("n_traj = 2048", "tolerance = nan", r"`run.tolerance` must be a finite"),
        ("n_traj = 2048", "tolerance = true", r"`run.tolerance` must be a finite"),
        ("n_traj = 2048", "tolerance = [1]", r"`run.tolerance` must be a finite"),
        ("n_traj = 2048", "tolerance = {}", r"`run.tolerance` must be a tolerance, "),
        (
            "n_traj = 2048",
            "tolerance = {relative = -1}",
            r"`run.tolerance` must be a tolerance, but: `relative` .* is -1",
        ),
        (
            "n_traj = 2048",
            "tolerance = {absolut = 1}",
            r"`run.tolerance.absolut` is not a key; did you mean 'absolute'\?",
        ),
        (
            "n_traj = 2048",
            "tolerance = {n_A = 'x'}",
            r"`run.tolerance.n_A` must be a finite number, but is 'x'",
        ),
        (
            "n_traj = 2048",
            "tolerance = {n_A = {relativ = 1}}",
            r"`run.tolerance.n_A.relativ` is not a key.* 'relative'\?",
        ),
        (
            "n_traj = 2048",
            "tolerance = {n_A = 1, n_C = 1}",
            r"`run.tolerance.n_C` is not a key; did you mean",
        ),
        ("n_traj = 2048", "ntraj = 2048", r"`run.ntraj` is not a key.* 'n_traj'\?"),
        ("seed = 4", "seed = -5", r"`run.seed` must be an integer >= 0, but is -5"),
        ("stop = 2.5", "stop = 0.5", r"`times.stop` must be > times.start = 0.5"),
        ("stop = 2.5", "stop = nan", r"`times.stop` must be a finite number"),
        ("stop = 2.5", "stop = 'x'", r"`times.stop` must be a finite number, .* 'x'"),
        ("n = 5", "n = 1", r"`times.n` must be an integer >= 2"),
        ("[run]", "[runs]", r"`runs` is not a key; did you mean 'run'\?"),
        ("[times]\nstart = 0.5\nstop = 2.5\nn = 5", "", r"`times` must be a table"),
        ("thermal_pair", "thermal", r"`model.builder` must be one of .*thermal_pair"),
        ("builder = ", "bulider = ", r"`model.builder` must be one of .* is missing"),
        ("coupling = \"diss", "cuopling = \"diss", r"`model.cuopling` .* 'coupling'\?"),
        ("\"dissipators\"", "'noise'\nepsilon = -1", r"must describe a thermal_pair"),
        ("coupling = \"Unit", "cupling = \"Unit", r"`unraveling.cupling` .*'coupling'"),
        ("UnitaryNoise", "Unitary", r"`unraveling.coupling` must be one of Jump, "),
        ("\"UnitaryNoise\"", "3", r"`unraveling.coupling` must be one of Jump, "),
        (
            '"UnitaryNoise"',
            '{choice = "Homodyne", efficency = 1}',
            r"`unraveling.coupling.efficency` is not a key; did you mean 'efficiency'",
        ),
        (
            '"UnitaryNoise"',
            '{choice = "Homodyne", efficiency = 2}',
            r"unraveling.coupling: `efficiency` of `Homodyne\(\)` .* but is 2",
        ),
        ('"UnitaryNoise"', "{phase = 2}", r"`unraveling.coupling` must be one of Jump"),
        ("coupling = \"Unit", "\"bath A\" = \"Unit", r"UnitaryNoise\(\) for 'bath A'"),
        ("resolution = 0.3", "resolution = 2", r"`verify.resolution` must be between"),
        ("resolution", "alhpa", r"`verify.alhpa` is not a key; did you mean 'alpha'\?"),
        ("\"a test\"", "3", r"`title` must be a string, but is 3"),
        ("title = ", "title ", r"must be a TOML file"),
    ],
)  # fmt: skip
def test_a_bad_key_is_named_with_its_path(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(RunFileError, match=message) as caught:
        load_run(written(tmp_path, GOOD.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(RunFileError, match=r"cannot read .*No such file"):
        load_run(tmp_path / "none.toml")
    with pytest.raises(RunFileError, match="cannot read"):
        load_run(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFileError, match="must be a TOML file"):
        load_run(tmp_path / "b.toml")


def test_a_run_leaves_its_files(tmp_path):
    run = load_run(written(tmp_path, GOOD))
    out = tmp_path / "out"
    out.mkdir()
    verdict = execute_run(run, out, n_jobs=2)
    assert verdict.status == "pass", verdict.explain()
    assert {path.name for path in out.iterdir()} == {
        "ensemble.csv",
        "reference.csv",
        "verdict.json",
        "figure.png",
        "error_vs_n.csv",
        "provenance.json",
        "trajectories",
    }
    again = simulate(
        run.model, run.times, n_traj=2048, seed=4, unraveling=run.unraveling
    )
    means = pd.read_csv(out / "ensemble.csv", dtype=str)
    assert np.array_equal(means["mean"].map(float), again.mean.ravel())
    values = pd.read_csv(out / "reference.csv", dtype=str)["value"].map(float)
    assert np.array_equal(values, master_equation(run.model, run.times).values.ravel())
    assert json.loads((out / "verdict.json").read_text())["status"] == "pass"
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["seed"] == 4
    assert provenance["goal"] == {"n_traj": 2048, "tolerance": None, "max_time": None}
    assert provenance["unraveling"]["coupling"] == "UnitaryNoise"


def test_running_means_converge_as_the_band_says(tmp_path):
    run = load_run(written(tmp_path, GOOD))
    reference = master_equation(run.model, run.times)
    inside = []
    for seed in range(40):
        ensemble = simulate(
            run.model, run.times, n_traj=600, seed=seed, unraveling=run.unraveling
        )
        frame = error_frame(ensemble, reference)
        last = frame[frame["n_traj"] == frame["n_traj"].max()]
        assert (last["n_traj"] == 256 * 2).all()  # batches of two
        first = frame["n_traj"] == 2
        assert np.allclose(
            np.repeat(frame.loc[first, "rms_mcse_expected"], 9) * 2**0.5,
            frame["rms_mcse_expected"] * np.sqrt(frame["n_traj"]),
        )
        good = last["rms_error"].between(last["expected_low"], last["expected_high"])
        inside.append(good.mean())
    # 95 % are expected; 280 correlated trials do not stray below 85 % or to all
    assert 0.85 < np.mean(inside) < 0.999
