"""Figures: what they draw is the data, and nothing covers anything else."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stochq.captions import probability, typeset
from stochq.claims import check_claim
from stochq.documents import all_claims
from stochq.files import write_figure
from stochq.frames import error_frame
from stochq.plots import plot_claim, plot_error_convergence, plot_finding


def small_claim(claim_id="M1", n_traj=512, copies=1):
    claim = next(claim for claim in all_claims() if claim.id == claim_id)
    cases = [replace(case, n_traj={"quick": n_traj}) for case in claim.cases()]
    return replace(claim, cases=lambda: cases * copies)


@pytest.fixture(scope="module")
def result():
    return check_claim(small_claim(), seed=2)


def boxes(figure):
    """Return the boxes of everything that holds text or data, by name, in pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    found = {
        f"axes {k}": axes.get_tightbbox(renderer) for k, axes in enumerate(figure.axes)
    }
    found["title"] = figure._suptitle.get_window_extent(renderer)
    found["caption"] = figure._supxlabel.get_window_extent(renderer)
    found["legend"] = figure.legends[0].get_window_extent(renderer)
    return found


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_nothing_overlaps_and_nothing_is_cut_off(copies):
    result = check_claim(small_claim(copies=copies, n_traj=128), seed=2)
    figure = plot_claim(result)
    found = boxes(figure)
    page = figure.bbox
    for name, box in found.items():
        assert box.x0 >= page.x0 - 1, name
        assert box.y0 >= page.y0 - 1, name
        assert box.x1 <= page.x1 + 1, name
        assert box.y1 <= page.y1 + 1, name
    names = list(found)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = found[one], found[other]
            width = min(a.x1, b.x1) - max(a.x0, b.x0)
            height = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(width, height) < 1, f"{one} covers {other}"


def test_points_and_lines_are_the_data(result):
    (finding,) = result.findings
    figure = Figure()
    top, bottom = figure.subplots(2)
    plot_finding(finding, top, bottom)
    document, correction = (r.reference.values for r in finding.case.readings)
    drawn = {"o": [], "--": [], "-": []}
    for line in top.lines:
        kind = "o" if line.get_marker() == "o" else line.get_linestyle()
        drawn[kind].append(line.get_ydata())
    assert np.array_equal(drawn["o"], finding.ensemble.mean)
    assert np.array_equal(drawn["--"], document)
    assert np.array_equal(drawn["-"], correction)
    z = [line.get_ydata() for line in bottom.lines if line.get_marker() == "o"]
    assert np.array_equal(z, finding.verdicts[1].z)
    bands = [path.get_extents() for c in top.collections for path in c.get_paths()]
    widest = 4 * finding.ensemble.mcse.max(axis=1)
    assert all(band.height >= w for band, w in zip(bands, widest, strict=True))


def test_many_observables_are_thinned_and_the_caption_says_so():
    claim = small_claim()
    (case,) = claim.cases()
    model = case.model
    names = [f"copy {k}" for k in range(12)]
    wide = replace(model, observables=dict.fromkeys(names, model.observables["n_1"]))
    reference = case.readings[1].reference
    values = np.tile(reference.values[0], (12, 1))
    reference = replace(reference, names=names, values=values, sensitivity={})
    reading = replace(case.readings[1], reference=reference)
    cases = [replace(case, model=wide, readings=[reading])]
    figure = plot_claim(check_claim(replace(claim, cases=lambda: cases), seed=2))
    points = [line for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert len(points) == 6
    assert "6 of 12 observables shown" in " ".join(figure._supxlabel.get_text().split())


def test_the_same_figure_is_the_same_file(result, tmp_path):
    for name in ("a.png", "b.png"):
        write_figure(tmp_path / name, plot_claim(result))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        ("gamma n_1", r"γ $\mathregular{n_{1}}$"),
        ("<eta eta> -> 2 gamma", "⟨η η⟩ → 2 γ"),
        ("D[a+ b] - c^dag c", "D[a† b] − c† c"),
        ("n_{j+1}", r"$\mathregular{n_{j+1}}$"),
        ("max |z| < 3 and p > 2", "max |z| < 3 and p > 2"),
        ("copy 10", "copy 10"),
    ],
)
def test_plain_text_is_set_as_physics(plain, shown):
    assert typeset(plain) == shown


@pytest.mark.parametrize("text", ["$", r"$\bad$", "a_", "^", "n_{", "<x^2>_0", r"\x_1"])
def test_no_text_breaks_a_figure(text):
    figure = Figure()
    figure.suptitle(typeset(text, 20))
    FigureCanvasAgg(figure).draw()


def test_probability_that_underflowed_is_not_called_zero():
    assert probability(0.0) == "< 1e-300"
    assert probability(0.25) == "= 0.25"


def test_error_convergence_is_drawn_in_units_of_one_trajectory(result):
    (finding,) = result.findings
    frame = error_frame(finding.ensemble, finding.case.readings[1].reference)
    axes = Figure().subplots()
    plot_error_convergence(frame, axes)
    line, *curves = axes.lines
    n = np.asarray(line.get_xdata())
    assert np.array_equal(line.get_ydata(), n**-0.5)
    assert len(curves) == 4
    first = frame[frame["observable"] == "n_1"]
    sd = first["rms_mcse_expected"] * np.sqrt(first["n_traj"])
    assert np.allclose(curves[0].get_ydata(), first["rms_error"] / sd)
