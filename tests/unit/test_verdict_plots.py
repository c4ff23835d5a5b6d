"""Figures of verdicts and of sampling: they draw the data, whatever its size."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from analytic import SX, SZ
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stochq.errors import ModelError
from stochq.frames import Deviations, error_frame, point_frame
from stochq.model import Model, WhiteNoise
from stochq.orders import convergence
from stochq.plots import (
    plot_budget,
    plot_convergence,
    plot_p_values,
    plot_running_mean,
    plot_sampling_error,
    plot_z_map,
)
from stochq.references import master_equation
from stochq.schemes import Heun
from stochq.simulation import simulate
from stochq.statistics.sequences import confidence_sequence
from stochq.statistics.uniforms import uniform_bands
from stochq.verification import verify

TIMES = np.linspace(0, 1, 5)
MODEL = Model(
    hamiltonian=SX,
    noise=WhiteNoise(SZ, rate=0.3, name="phase"),
    initial=[1, 0],
    observables={"z": SZ, "x": SX},
    name="shaken qubit",
)


@pytest.fixture(scope="module")
def run():
    ensemble = simulate(MODEL, TIMES, n_traj=1024, seed=1, scheme=Heun(0.1))
    reference = master_equation(MODEL, TIMES)
    verdict = verify(ensemble, reference)
    return SimpleNamespace(ensemble=ensemble, reference=reference, verdict=verdict)


def panel(width=4.0, height=3.0):
    """Return empty axes of a figure of that size in inches."""
    return Figure(figsize=(width, height), layout="constrained").subplots()


def draw(axes):
    """Draw the figure, so that what cannot be drawn is seen."""
    FigureCanvasAgg(axes.figure).draw()


def labeled(axes):
    """Return what has an entry in the legend, by its words."""
    handles, labels = axes.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def test_sampling_errors_are_drawn_in_one_call(run):
    axes = panel()
    plot_sampling_error(run.ensemble, run.reference, axes)
    frame = error_frame(run.ensemble, run.reference)
    assert set(labeled(axes)) == {"95 % of runs", "1/√n", "z", "x"}
    mine = frame[frame["observable"] == "z"]
    relative = mine["rms_error"] / (mine["rms_mcse_expected"] * np.sqrt(mine["n_traj"]))
    assert np.allclose(labeled(axes)["z"].get_ydata(), relative)
    draw(axes)


def test_a_running_mean_has_its_sequential_band(run):
    axes = panel()
    plot_running_mean(run.ensemble, run.reference, "z", 0.5, axes)
    mean, half_width = confidence_sequence(run.ensemble.batches[:, 0, 2])
    seen = np.isfinite(half_width)
    line = labeled(axes)["mean of first n"]
    assert np.allclose(line.get_ydata(), mean[seen])
    assert line.get_xdata()[-1] == run.ensemble.n_traj
    band = labeled(axes)["95 % band, all n at once"].get_paths()[0].get_extents()
    assert np.isclose(band.y1, (mean + half_width)[seen].max())
    value = run.reference.values[0, 2]
    assert np.allclose(labeled(axes)["reference"].get_ydata(), value)
    # Heun's bias at this step is far above the sampling error
    bias = run.ensemble.step_bias[0, 2]
    shifted = labeled(axes)["reference + step bias"].get_ydata()
    assert np.allclose(shifted, value + bias)
    draw(axes)


def test_a_conserved_mean_has_no_band():
    model = replace(MODEL, observables={"one": np.eye(2)})
    ensemble = simulate(model, [0, 1], n_traj=128, seed=1)
    axes = panel()
    plot_running_mean(ensemble, master_equation(model, [0, 1]), "one", 1.0, axes)
    assert set(labeled(axes)) == {"mean of first n", "reference"}
    assert "too few trajectories differ" in axes.texts[0].get_text()
    draw(axes)


@pytest.mark.parametrize(
    ("name", "time", "message"),
    [
        ("y", 0.5, "`name` must be one of 'z', 'x', but is 'y'"),
        ("z", 0.51, "`time` must be one of the reference's times, but is 0.51"),
        ("z", np.nan, "`time` must be one of the reference's times, but is nan"),
    ],
)
def test_a_running_mean_must_be_of_something(run, name, time, message):
    with pytest.raises(ModelError, match=message):
        plot_running_mean(run.ensemble, run.reference, name, time, panel())


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_z_maps_are_symmetric_and_outline_what_is_beyond(rows):
    rng = np.random.default_rng(rows)
    z = rng.normal(size=(rows, 20))
    z[:, 0] = 0.0  # an initial state that no trajectory changes
    z[0, 5:7] = -9.0
    names = tuple(f"n_{k}" for k in range(rows))
    axes = panel(4, 4)
    plot_z_map(Deviations(names, np.linspace(0, 2, 20), z, 4.0), axes)
    (image,) = axes.images
    low, high = image.get_clim()
    assert low == -high == -9.0
    shown = image.get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[:, 0].all()
    assert np.array_equal(shown[:, 1:], z[:, 1:])
    (frame,) = axes.collections
    assert len(frame.get_segments()) == 6  # around two cells side by side
    bar = axes.figure.axes[1]
    assert [text.get_text() for text in bar.get_yticklabels()] == ["−4", "0", "4"]
    assert len(axes.get_yticks()) <= 16
    draw(axes)
    labels = [tick.get_window_extent() for tick in axes.get_yticklabels()]
    heights = sorted(label.y0 for label in labels)
    assert np.min(np.diff(heights), initial=np.inf) >= 0.8 * labels[0].height


def test_z_maps_of_verdicts(run):
    wrong = master_equation(MODEL.with_rate("phase", 3), TIMES)
    for reference in (run.reference, wrong):
        verdict = verify(run.ensemble, reference)
        axes = panel()
        plot_z_map(verdict, axes)
        (frame,) = axes.collections
        beyond = bool((np.abs(verdict.z) > verdict.critical_z).any())
        assert bool(frame.get_segments()) == beyond == (reference is wrong)
        draw(axes)


def test_a_z_map_without_numbers_is_gray():
    axes = panel()
    z = np.full((2, 3), np.nan)
    plot_z_map(Deviations(("a", "b"), np.arange(3.0), z, np.nan), axes)
    assert np.ma.getmaskarray(np.ma.masked_invalid(axes.images[0].get_array())).all()
    draw(axes)


@pytest.mark.parametrize("logarithmic", [False, True])
def test_p_values_are_drawn_on_their_bands(logarithmic):
    p = np.random.default_rng(1).random(40)
    axes = panel()
    plot_p_values(p, axes, logarithmic=logarithmic)
    shape = (lambda x: -np.log10(x)) if logarithmic else np.asarray
    found = labeled(axes)["found"]
    assert np.allclose(found.get_ydata(), shape(np.sort(p)))
    assert np.allclose(found.get_xdata(), shape((np.arange(40) + 0.5) / 40))
    band = labeled(axes)["95 % band, all points"].get_paths()[0].vertices[:, 1]
    edges = shape(uniform_bands(40).simultaneous)
    assert np.isclose(band.max(), edges.max())
    assert np.isclose(band.min(), edges.min())
    draw(axes)


def test_the_smallest_p_values_stay_on_the_page():
    axes = panel()
    plot_p_values([0.0, 1e-40, 0.3, 1.0], axes, logarithmic=True)
    edge = labeled(axes)["beyond; smallest p < 1e-300"]
    assert len(edge.get_ydata()) == 2
    assert (edge.get_ydata() < axes.get_ylim()[1]).all()
    assert len(labeled(axes)["found"].get_ydata()) == 2
    draw(axes)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        ([], "`p_values` must have shape .* have shape [(]0,[)]"),
        ([[0.5]], "`p_values` must have shape .* have shape [(]1, 1[)]"),
        ([0.5, 1.1], "`p_values` must be numbers from 0 to 1"),
        ([0.5, np.nan], "`p_values` must be numbers from 0 to 1"),
    ],
)
def test_p_values_must_be_some(p, message):
    with pytest.raises(ValueError, match=message):
        plot_p_values(p, panel())


def test_a_budget_shows_every_part(run):
    points = point_frame(run.ensemble, run.reference, run.verdict)
    points = points.assign(bias_error=2e-3, reference_error=1e-4)
    axes = panel(6, 2.5)
    plot_budget(points, axes, resolution=0.1)
    assert set(labeled(axes)) == {
        "whole error of the mean",
        "sampling error",
        "step bias, taken off",
        "its uncertainty",
        "error of reference",
        "resolution asked for",
    }
    z = points[points["observable"] == "z"]
    size = np.sqrt(np.square(z["error"]).mean()) / z["scale"].iloc[0]
    assert np.isclose(labeled(axes)["sampling error"].get_xdata()[0], size)
    bars = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert bars[0] > labeled(axes)["step bias, taken off"].get_xdata()[0]
    assert labeled(axes)["resolution asked for"].get_xdata()[0] == 0.1
    draw(axes)


def test_a_budget_of_many_shows_the_largest():
    count = 40
    points = pd.DataFrame(
        {
            "case": np.repeat(["a", "b"], count // 2),
            "observable": [f"n_{k}" for k in range(count)],
            "scale": 1.0,
            "error": 10.0 ** -np.linspace(2, 1, count),
            "step_bias": np.nan,
            "bias_error": np.nan,
            "reference_error": 0.0,
        }
    )
    axes = panel(6, 6)
    plot_budget(points, axes, resolution=0.05)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert len(labels) == 24
    assert labels[-1].startswith("b: ")
    assert axes.get_title(loc="right") == "the 24 largest of 40"
    draw(axes)
    with pytest.raises(ValueError, match="`resolution` must be positive, but is 0"):
        plot_budget(points, panel(), resolution=0)


def test_a_study_of_ones_own_is_drawn_in_one_call():
    study = convergence(MODEL, [0, 0.5], Heun(0.1), levels=4, n_traj=128, seed=1)
    axes = panel()
    plot_convergence(study, axes)
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [text.split(":")[0] for text in words] == ["strong", "weak", "weak, sampled"]
    assert "(1)" in words[0]
    drawn = [line.get_ydata() for line in axes.lines]
    for curve in (study.strong, study.weak):
        assert any(np.array_equal(y, curve.errors) for y in drawn)
    draw(axes)
