"""Orders of convergence: what is measured, what is left out, and faults that show."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from analytic import LOWER, SX, SZ
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.linalg import expm

import stochq
from stochq.arrays import as_times
from stochq.atoms import Plan
from stochq.bias import exact_means
from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import lower
from stochq.model import Dissipator, Model, WhiteNoise
from stochq.orders import convergence, order_markdown, order_table, sampling_frame
from stochq.orders.curves import Sample, curve_of, norms_of, roots_of
from stochq.orders.fits import fit_line, fit_order
from stochq.orders.levels import levels_of
from stochq.orders.truths import paths_of
from stochq.plots import plot_errors, plot_orders
from stochq.problems import (
    Problem,
    all_problems,
    fluctuating_couplings,
    fluctuating_levels,
    kubo_oscillator,
)
from stochq.references import master_equation
from stochq.replay import trajectory
from stochq.schemes import (
    SCHEMES,
    EulerMaruyama,
    Exact,
    Heun,
    Magnus,
    Midpoint,
    Milstein,
    Platen,
    RandomOrder,
    Richardson,
    Strang,
    TwoPoint,
)
from stochq.schemes.explicit import Recipe, prepare_explicit
from stochq.schemes.traits import step_grid
from stochq.states import Occupations

STEPS = 0.5 ** np.arange(2, 8)


# ---------------------------------------------------------------------- problems


def test_problems_commute_where_they_say_so_and_nowhere_else():
    for problem in all_problems():
        between, outside = problem.commutators()
        if problem.noise_commutes:
            assert max(between, default=0.0) == 0
        else:
            assert min(between) > 0.1
        if problem.hamiltonian_commutes:
            assert max(outside) == 0
        else:
            assert min(outside) > 0.1
    assert not all_problems()[-1].noise_commutes


def test_a_problem_that_says_the_wrong_thing_is_refused():
    good = fluctuating_couplings()
    with pytest.raises(ModelError, match="the noise channels must commute"):
        replace(good, noise_commutes=True)
    kubo = kubo_oscillator()
    with pytest.raises(ModelError, match="the noise must not commute"):
        Problem(kubo.model, kubo.times, True, hamiltonian_commutes=False)


def kubo_on_its_path(model, noise, t):
    """Return exp(-i (0.65 t + sqrt(0.25) W) sigma_z) psi(0), from the increments."""
    angle = 0.65 * t + 0.5 * noise.increment.sum()
    return np.exp(-1j * angle * np.array([1, -1])) * model.initial.vectors[0]


def test_the_reference_of_the_oscillator_is_its_closed_solution():
    problem = kubo_oscillator()
    model, times = problem.model, problem.times
    levels = levels_of(times, Heun(0.25), 3)
    paths = paths_of(lower(model), times, levels, 5, 64)
    lanes = paths.states.load(np.arange(64))
    for interval in range(times.size - 1):
        paths.states.integrator.advance(lanes, interval)
    cell = 0.25 / levels.cells
    for i in (0, 41):
        run = trajectory(model, times, seed=5, index=i, scheme=Heun(0.25), path_dt=cell)
        truth = kubo_on_its_path(model, run.noise, 1.0)
        found = lanes.x[0, 0, :, i] + 1j * lanes.x[0, 1, :, i]
        assert np.abs(found - truth).max() <= 1e-13
        # the strong error of one trajectory is its distance from that solution
        wrong = paths.run(0, 1).values[0, 0, i]
        assert wrong == pytest.approx(np.linalg.norm(run.states[-1] - truth) ** 2)


def test_the_reference_of_the_couplings_is_a_product_of_exponentials():
    problem = fluctuating_couplings()
    model, dynamics = problem.model, lower(problem.model)
    times = np.array([0.0, 0.5])
    levels = levels_of(times, Strang(0.25), 3)
    paths = paths_of(dynamics, times, levels, 9, 64)
    lanes = paths.states.load(np.arange(64))
    paths.states.integrator.advance(lanes, 0)
    cell = 0.25 / levels.cells
    noise = trajectory(
        model, times, seed=9, index=3, scheme=Strang(0.25), path_dt=cell
    ).noise
    ket = model.initial.vectors[0]
    operators = [L.toarray() for L in dynamics.noise]
    steps = noise.increment.reshape(-1, 2)
    for pair, process in zip(steps, noise.process.reshape(-1, 2), strict=True):
        kick = sum(w * operators[p] for w, p in zip(pair, process, strict=True))
        ket = expm(-1j * (cell * dynamics.hamiltonian.toarray() + kick)) @ ket
    found = lanes.x[0, 0, :, 3] + 1j * lanes.x[0, 1, :, 3]
    assert np.abs(found - ket).max() <= 1e-12


# -------------------------------------------------------------------------- fits


def test_the_fit_finds_the_leading_order_under_the_next():
    for p, c in ((0.5, 0.0), (0.5, 8.0), (1.0, 2.0), (2.0, -0.5)):
        errors = np.sqrt(STEPS ** (2 * p) * (1 + c * STEPS))
        fit = fit_line(STEPS, errors, np.ones(6), curved=True)
        assert fit.slope == pytest.approx(p, abs=1e-4)
        assert fit(STEPS) == pytest.approx(errors, rel=1e-4)
        plain = fit_line(STEPS, errors, np.ones(6), curved=False)
        assert np.isclose(plain.slope, p, atol=1e-6) == (c == 0)


def test_three_levels_have_a_straight_line_and_a_wider_error_bar():
    for p, c in ((0.5, 2.0), (1.0, 1.0), (1.0, -0.5), (2.0, 1.0)):
        errors = np.sqrt(STEPS ** (2 * p) * (1 + c * STEPS))[:3]
        order, fit = fit_order(STEPS[:3], errors, np.ones(3))
        assert fit.curvature == 0
        assert abs(order.slope - p) < 1.5 * order.error
        assert order.error < 0.35


def test_weights_count():
    errors = STEPS.copy()
    errors[-1] *= 3
    fair = fit_line(STEPS, errors, np.ones(6), curved=False)
    wary = fit_line(STEPS, errors, np.array([1, 1, 1, 1, 1, 1e3]), curved=False)
    assert abs(wary.slope - 1) < 1e-5 < abs(fair.slope - 1)


def test_the_error_bar_covers_the_truth_as_often_as_it_must():
    rng = np.random.default_rng(7)
    z = []
    for _ in range(200):
        # levels share their noise, as they do on shared paths
        shared = rng.normal(size=(100, 1)) + 0.4 * rng.normal(size=(100, 6))
        squares = STEPS * (1 + STEPS) * np.exp(shared - 0.58)
        sample = roots_of(
            squares.mean(axis=0), squares.std(axis=0, ddof=1) / 10, squares
        )
        curve = curve_of(STEPS, sample, 0.5, np.zeros(6))
        z.append(curve.z)
    inside = np.mean(np.abs(z) < 1)
    assert 0.68 - 0.1 < inside < 0.97  # standard errors, or somewhat wider
    assert np.mean(np.abs(z) < 3) > 0.98
    assert curve.slope_error < 0.1


def test_an_unseen_error_of_the_reference_widens_the_error_bar():
    cell = STEPS[-1] / 8
    seen = np.sqrt(STEPS - cell)  # what a reference with steps hides
    order, _ = fit_order(STEPS, seen, np.ones(6), cell=cell)
    assert abs(order.slope - 0.5) < 2 * order.error
    assert order.reference > 0.5 * order.error
    assert fit_order(STEPS, seen, np.ones(6))[0].reference == 0


@pytest.mark.parametrize(
    ("errors", "mcse", "left_out", "exact"),
    [
        (STEPS, 0.5 * STEPS, ["sampling"] * 6, False),
        (1e-15 * STEPS, 0 * STEPS, ["rounding"] * 6, True),
        (1e-15 * STEPS, 1e-16 * STEPS, ["rounding"] * 6, True),
        (0 * STEPS, 1e-3 * STEPS, ["sampling"] * 6, False),
        (np.full(6, 1e60), 0 * STEPS, ["diverged"] * 6, False),
        (STEPS, [0] * 3 + [1] * 3, [""] * 3 + ["sampling"] * 3, False),
    ],
)
def test_levels_without_information_are_left_out(errors, mcse, left_out, exact):
    sample = Sample(errors, np.array(mcse), np.ones((8, 6)))
    curve = curve_of(STEPS, sample, 1.0, np.full(6, 1e-12))
    assert list(curve.left_out) == left_out
    assert curve.exact == exact
    assert (curve.order is None) == (left_out.count("") < 3)
    assert curve.agrees


def test_norms_have_no_bias_from_sampling():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        batches = 0.3 + rng.normal(size=(64, 1, 4))
        mcse = batches.std(axis=0, ddof=1) / 8
        found.append(norms_of(batches.mean(axis=0), mcse, batches).errors[0] ** 2)
    assert np.mean(found) == pytest.approx(4 * 0.09, abs=4 * np.std(found) / 17)


# ----------------------------------------------------------------------- studies


@pytest.fixture(scope="module")
def heun():
    problem = fluctuating_couplings()
    return convergence(problem.model, problem.times, Heun(0.25), n_traj=512, seed=1)


def test_heun_converges_as_it_declares(heun):
    assert heun.dts == pytest.approx(STEPS)
    assert not heun.noise_commutes
    assert (heun.strong.declared, heun.weak.declared) == (0.5, 1)
    assert heun.agrees
    assert abs(heun.weak.slope - 1) < 0.05
    # exact and sampled weak errors are two ways to the same numbers
    apart = np.abs(heun.weak.errors - heun.sampled.errors)
    assert (apart <= 4 * heun.sampled.mcse).all()


def test_exact_weak_errors_are_those_of_the_averaged_step(heun):
    problem = fluctuating_couplings()
    dynamics = lower(problem.model)
    means = exact_means(dynamics, step_grid(problem.times, 0.125), Heun(0.125))
    wrong = means - master_equation(problem.model, problem.times).values
    # populations range over 1, coherences over 2
    ranges = np.array([1, 1, 2, 2, 2])
    assert heun.weak.errors[1] == pytest.approx(np.linalg.norm(wrong[:, -1] / ranges))


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s.traits.paths])
def test_sampled_means_follow_the_averaged_step(scheme):
    """The kernels and the averages in closed form are two independent codes."""
    problem = fluctuating_levels()
    if scheme.traits.strong:
        problem = fluctuating_couplings()
    dynamics, times = lower(problem.model), problem.times
    levels = levels_of(times, scheme(0.25), 3)
    paths = paths_of(dynamics, times, levels, 4, 4096)
    values = paths.run(0, 64).values[3:, 0].reshape(3, -1, 4096)[0]
    if scheme is Magnus:  # no closed form: its error is small and of first order
        assert np.abs(values.mean(axis=-1)).max() < 0.005
        return
    bias = exact_means(dynamics, levels.grids[0], scheme(0.25))[:, -1]
    bias = bias - master_equation(problem.model, times).values[:, -1]
    bars = values.std(axis=-1) / 64
    assert np.abs((values.mean(axis=-1) - bias) / bars).max() < 5
    if scheme.traits.weak == 1:
        assert np.abs(bias / bars).max() > 5  # the test can fail


def test_strong_orders_for_commuting_noise():
    problem = fluctuating_levels()
    for scheme, order in ((EulerMaruyama, 0.5), (Milstein, 1), (Strang, 1)):
        study = convergence(
            problem.model, problem.times, scheme(0.25), levels=5, n_traj=512, seed=2
        )
        assert study.noise_commutes
        assert study.strong.declared == order
        assert study.agrees, str(study)
        assert study.strong.slope_error < 0.2


def test_what_is_exact_is_said_to_be():
    problem = kubo_oscillator()
    study = convergence(
        problem.model, problem.times, Strang(0.25), levels=3, n_traj=64, seed=1
    )
    assert study.reference == "the exact solution"
    for curve in study.curves.values():
        assert curve.exact
        assert curve.order is None
    assert "exact to rounding" in str(study)


def test_schemes_without_paths_have_weak_errors_only():
    problem = fluctuating_couplings()
    two = convergence(problem.model, problem.times, TwoPoint(0.25), n_traj=64, seed=1)
    assert two.strong is None
    assert two.sampled is None
    assert two.weak.slope == pytest.approx(2, abs=0.01)
    assert "TwoPoint has means, but no paths" in str(two)
    fourth = convergence(
        problem.model,
        problem.times,
        Richardson(Strang(0.25)),
        levels=5,
        n_traj=64,
        seed=1,
    )
    assert fourth.strong is None
    assert fourth.sampled is not None
    assert fourth.weak.declared == 4
    assert fourth.agrees
    assert fourth.weak.slope == pytest.approx(4, abs=0.1)


def test_jumps_are_compared_by_averages_only():
    model = replace(
        fluctuating_couplings().model,
        dissipators=Dissipator(np.eye(3, k=1), rate=0.3, name="decay"),
    )
    study = convergence(model, [0, 1], Strang(0.25), levels=4, n_traj=64, seed=1)
    assert study.strong is None
    assert "jumps are compared by averages only" in str(study)
    assert study.weak.slope == pytest.approx(2, abs=0.01)


def test_orbitals_and_raw_noise_and_functions_of_time():
    model = fluctuating_couplings().model
    bonds = [L.toarray() for L in lower(model).noise]
    cases = [
        replace(model, initial=Occupations([1, 1, 0])),
        replace(model, calculus="raw-ito"),
        replace(model, noise=[WhiteNoise(bonds, rate=1.0, strength=np.cos, name="f")]),
    ]
    for case in cases:
        study = convergence(case, [0, 1], Heun(0.125), levels=4, n_traj=256, seed=1)
        assert study.agrees, str(study)
        assert abs(study.weak.slope - 1) < 0.1


def test_the_result_does_not_depend_on_workers_nor_on_later_trajectories():
    problem = fluctuating_couplings()

    def run(**how):
        return convergence(
            problem.model, problem.times, Midpoint(0.25), levels=3, seed=3, **how
        )

    one, two = run(n_traj=320, n_jobs=1), run(n_traj=320, n_jobs=2)
    assert one.to_frame().equals(two.to_frame())
    other = run(n_traj=320, n_jobs=1)
    assert str(one) == str(other)
    assert (run(n_traj=64).strong.errors != one.strong.errors).all()


def test_a_scheme_that_diverges_is_not_called_convergent():
    model = Model(
        noise=WhiteNoise(100 * SX, rate=100.0), initial=[1, 0], observables={"z": SZ}
    )
    study = convergence(model, [0, 10], EulerMaruyama(0.5), levels=3, n_traj=64, seed=1)
    assert set(study.strong.left_out) == {"diverged"}
    assert study.strong.order is None
    assert "d: diverged" in str(study)


def test_averages_out_of_reach_leave_sampled_weak_errors(monkeypatch):
    monkeypatch.setattr("stochq.bias.WORK_LIMIT", 0)
    problem = fluctuating_couplings()
    study = convergence(
        problem.model, problem.times, Heun(0.25), levels=3, n_traj=64, seed=1
    )
    assert study.weak is None
    assert study.sampled is not None
    assert "out of reach" in str(study)
    with pytest.raises(SchemeMismatchError, match="paths or averages within reach"):
        convergence(problem.model, problem.times, TwoPoint(0.25), n_traj=64, seed=1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "m"}, ModelError, "`model` must be a Model, but is str"),
        ({"times": [1.0]}, ModelError, "`times` must hold at least two times"),
        ({"scheme": Exact()}, SchemeMismatchError, "`scheme` must have a step"),
        ({"scheme": Heun}, SchemeMismatchError, "`scheme` must be a scheme such as"),
        ({"levels": 2}, ValueError, "`levels` must be >= 3, but is 2"),
        ({"levels": 3.0}, ValueError, "`levels` must be an integer"),
        ({"levels": 40}, ValueError, "`levels` must leave at most 4194304 cells"),
        ({"n_traj": 63}, ValueError, "`n_traj` must be >= 64, but is 63"),
        ({"seed": -1}, ValueError, "`seed` must be >= 0"),
        ({"n_jobs": 0}, ValueError, "`n_jobs` must be >= 1"),
        ({"scheme": Milstein(0.25)}, SchemeMismatchError, "channels that commute"),
        ({"unraveling": {"x": None}}, ModelError, "`unraveling` must name"),
    ],
)
def test_nonsense_is_refused(changes, error, message):
    problem = fluctuating_couplings()
    given = {
        "model": problem.model,
        "times": problem.times,
        "scheme": Heun(0.25),
        "n_traj": 64,
        "seed": 1,
    } | changes
    with pytest.raises(error, match=message):
        convergence(**given)


def test_what_has_nothing_to_converge_is_refused():
    silent = Model(hamiltonian=SX, initial=[1, 0], observables={"z": SZ})
    with pytest.raises(ModelError, match="must have noise, jumps or monitors, but has"):
        convergence(silent, [0, 1], Heun(0.1), n_traj=64, seed=1)
    decay = Model(
        dissipators=Dissipator(LOWER, 1.0), initial=[0, 1], observables={"z": SZ}
    )
    with pytest.raises(SchemeMismatchError, match="without jumps"):
        convergence(decay, [0, 1], Platen(0.1), n_traj=64, seed=1)


# ----------------------------------------------------------------------- mutants


@dataclass(frozen=True)
class Mutant:
    """An explicit scheme with another recipe that declares what it does not keep."""

    dt: float
    recipe: ClassVar[Recipe]

    def prepare(self, dynamics, grid, seed):
        return prepare_explicit(self, self.recipe, dynamics, grid, seed)


class NaiveEuler(Mutant):
    """The Ito step of Stratonovich noise without its drift -1/2 sum L^2."""

    traits = EulerMaruyama.traits
    recipe = Recipe(1.0, 0.0, 0.0, 0.0, 0.0)


class HalfMilstein(Mutant):
    """Milstein without its correction: Euler and Maruyama's step."""

    traits = Milstein.traits
    recipe = Recipe(1.0, -1.0, 0.0, 0.0, 0.0)


def test_the_wrong_calculus_does_not_converge():
    problem = fluctuating_levels()
    study = convergence(
        problem.model, problem.times, NaiveEuler(0.25), levels=5, n_traj=512, seed=1
    )
    assert not study.strong.agrees
    assert not study.sampled.agrees
    assert abs(study.strong.slope) < 0.2
    assert study.strong.errors.min() > 0.1


def test_milstein_without_its_correction_has_strong_order_one_half():
    problem = fluctuating_levels()
    study = convergence(
        problem.model, problem.times, HalfMilstein(0.25), n_traj=512, seed=1
    )
    assert not study.strong.agrees
    assert abs(study.strong.slope - 0.5) < 3 * study.strong.slope_error
    right = convergence(
        problem.model, problem.times, Milstein(0.25), n_traj=512, seed=1
    )
    assert right.strong.agrees
    assert right.strong.slope_error < 0.1


def superoperator(operator, duration):
    """Return rho -> E[exp(-i W L) rho exp(i W L)] as a matrix on rho.ravel()."""
    one = np.eye(len(operator))
    squares = np.kron(operator @ operator, one) + np.kron(one, (operator @ operator).T)
    return expm(duration * (np.kron(operator, operator.T) - 0.5 * squares))


def shared_halves(outer, inner, h):
    """Return the average of A(w/2) B A(w/2) with one increment w for both halves."""
    d = len(outer)
    values, vectors = np.linalg.eigh(outer)
    turn = np.kron(vectors, vectors.conj())
    gaps = (values[:, None] - values[None, :]).ravel()
    middle = turn.conj().T @ superoperator(inner, h) @ turn
    # E exp(-i w (g + g') / 2) for the gaps of both halves, w of variance h
    mean = np.exp(-0.125 * h * (gaps[:, None] + gaps[None, :]) ** 2)
    assert middle.shape == (d * d, d * d)
    return turn @ (mean * middle) @ turn.conj().T


def independent_halves(outer, inner, h):
    half = superoperator(outer, 0.5 * h)
    return half @ superoperator(inner, h) @ half


def weak_curve(step, lindbladian, rho, read):
    errors = []
    for h in STEPS:
        found = np.linalg.matrix_power(step(h), round(1 / h)) @ rho
        errors.append(np.linalg.norm(read @ (found - expm(lindbladian) @ rho)))
    sample = Sample(np.array(errors), np.zeros(6), np.zeros((0, 6)))
    return curve_of(STEPS, sample, 2.0, np.full(6, 1e-13))


def test_strang_with_shared_half_increments_has_weak_order_one():
    problem = fluctuating_couplings()
    model = replace(problem.model, hamiltonian=None)
    outer, inner = (L.toarray() for L in lower(model).noise)
    rho = model.initial.density_matrix().ravel()
    names = model.observables.values()
    read = np.array([o.toarray().T.ravel() for o in names])
    lindbladian = model.lindbladian().toarray()
    right, wrong = (
        weak_curve(lambda h, f=f: f(outer, inner, h), lindbladian, rho, read)
        for f in (independent_halves, shared_halves)
    )
    assert right.agrees
    assert abs(right.slope - 2) < 0.02
    assert not wrong.agrees
    assert abs(wrong.slope - 1) < 3 * wrong.slope_error
    # the package's Strang is the one with independent halves, step by step
    study = convergence(model, [0, 1], Strang(0.25), levels=6, n_traj=64, seed=1)
    ranges = np.array([1, 1, 2, 2, 2])
    scaled = weak_curve(
        lambda h: independent_halves(outer, inner, h),
        lindbladian,
        rho,
        read / ranges[:, None],
    )
    assert study.weak.errors == pytest.approx(scaled.errors, rel=1e-6)


# --------------------------------------------------------------- tables, figures


def test_the_table_is_what_the_traits_say():
    frame = order_table().set_index("scheme")
    assert len(frame) == len(SCHEMES) + 3
    for scheme in SCHEMES:
        row, traits = frame.loc[scheme.__name__], scheme.traits
        assert row["calculus"] == traits.calculus
        assert row["weak"] == traits.weak
        assert np.isnan(row["strong"]) == (traits.strong == 0)
        assert row["strong_commuting"] in (traits.strong_commuting, np.nan) or np.isnan(
            row["strong_commuting"]
        )
        assert (row["jumps"], row["norm"]) == (traits.jumps, traits.unitary)
    assert frame.loc["Richardson(Strang)", "weak"] == 4
    text = order_markdown()
    assert "| Milstein | ito | - | 1 | 1 | no | no |" in text
    assert "| Exact | none | - | no step | no step | yes | yes |" in text
    assert stochq.order_table().equals(order_table())


def test_the_measured_table_is_about_the_schemes_as_they_are():
    path = Path(__file__).parents[2] / "analysis" / "results" / "orders.csv"
    header = [line for line in path.read_text().splitlines() if line[0] == "#"]
    assert [line.split(":")[0] for line in header] == [
        "# command",
        "# commit",
        "# date",
        "# seed",
    ]
    frame = pd.read_csv(path, comment="#")
    assert set(frame["found"]) == {"agrees", "exact"}
    measured = frame.assign(name=frame["scheme"].str.split("(").str[0])
    commuting = {p.model.name: p.noise_commutes for p in all_problems()}
    for scheme in SCHEMES:
        rows, traits = measured[measured["name"] == scheme.__name__], scheme.traits
        weak = rows[rows["kind"].str.startswith("weak")]
        assert len(weak) == (3 if traits.strong or not traits.paths else 2), scheme
        assert (weak["declared"] == traits.weak).all()
        strong = rows[rows["kind"] == "strong"]
        assert len(strong) == (len(weak) if traits.paths else 0)
        for problem, declared in strong[["problem", "declared"]].to_numpy():
            commutes = commuting[problem]
            assert declared == (traits.strong_commuting if commutes else traits.strong)


def test_docstrings_of_schemes_say_the_weak_order_of_their_traits():
    for scheme in SCHEMES:
        words = " ".join(scheme.__doc__.split())
        found = re.search(r"weak (\d)", words)
        assert found, scheme
        assert float(found[1]) == scheme.traits.weak, scheme


def test_a_frame_has_every_level_of_every_kind(heun):
    frame = heun.to_frame()
    assert len(frame) == 18
    assert set(frame["kind"]) == {"strong", "weak", "weak, sampled"}
    strong = frame[frame["kind"] == "strong"]
    assert np.array_equal(strong["error"], heun.strong.errors)
    assert (strong["slope"] == heun.strong.slope).all()


def test_the_text_names_steps_orders_and_what_is_left_out(heun):
    text = str(heun)
    assert text.splitlines()[0].startswith("Heun(dt=0.25) on fluctuating couplings")
    assert "512 trajectories, seed 1" in text
    assert f"{heun.strong.slope:.3f} +- {heun.strong.slope_error:.3f}" in text
    assert len([line for line in text.splitlines() if "e-" in line]) == 6
    assert all(len(line) <= 88 for line in text.splitlines())


def ensemble_and_truth(n_traj=1024):
    problem = fluctuating_couplings()
    ensemble = stochq.simulate(
        problem.model, problem.times, n_traj=n_traj, seed=2, scheme=Strang(0.05)
    )
    return ensemble, master_equation(problem.model, problem.times).values


def test_sampling_errors_are_in_units_of_one_trajectory():
    ensemble, truth = ensemble_and_truth()
    frame = sampling_frame(ensemble, truth, "couplings")
    assert set(frame["observable"]) == {"couplings"}
    last = frame.iloc[-1]
    assert last["n_traj"] == 1024
    spread = np.sqrt((ensemble.sd**2).mean(axis=1))
    wrong = ((ensemble.batches.mean(axis=0) - truth) / spread[:, None]) ** 2
    assert last["rms_error"] == pytest.approx(np.sqrt(wrong.mean()))
    assert last["rms_mcse_expected"] == pytest.approx(1 / 32)
    inside = frame["rms_error"].between(frame["expected_low"], frame["expected_high"])
    assert inside.mean() >= 0.5
    # a wrong truth leaves the band
    shifted = sampling_frame(ensemble, truth + 0.2 * spread[:, None], "couplings")
    assert shifted["rms_error"].iloc[-1] > shifted["expected_high"].iloc[-1]


def test_the_figure_draws_the_data_and_nothing_overlaps(heun):
    exact = kubo_oscillator()
    kubo = convergence(
        exact.model, exact.times, Strang(0.25), levels=3, n_traj=64, seed=1
    )
    ensemble, truth = ensemble_and_truth()
    frames = stochq_frames(
        ensemble, truth, ("Kubo oscillator", "fluctuating couplings")
    )
    figure = plot_orders([kubo, heun], frames, "Heun: errors")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    strong, weak, _ = figure.axes
    drawn = [line.get_ydata() for line in strong.lines]
    assert any(np.array_equal(y, heun.strong.errors) for y in drawn)
    assert "exact to rounding" in strong.get_legend().get_texts()[0].get_text()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    boxes += [figure.legends[0].get_window_extent(renderer)]
    boxes += [figure._suptitle.get_window_extent(renderer)]
    for i, a in enumerate(boxes):
        assert a.x0 >= -1
        assert a.y0 >= -1
        assert a.x1 <= figure.bbox.x1 + 1
        assert a.y1 <= figure.bbox.y1 + 1
        for b in boxes[i + 1 :]:
            width = min(a.x1, b.x1) - max(a.x0, b.x0)
            height = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(width, height) < 1
    for axes in (strong, weak):
        legend = axes.get_legend().get_window_extent(renderer)
        inside = axes.get_window_extent(renderer)
        assert legend.x1 <= inside.x1 + 1
        for line in axes.lines:
            points = axes.transData.transform(np.array(line.get_data()).T)
            assert not any(legend.contains(*point) for point in points)


def stochq_frames(ensemble, truth, labels):
    return pd.concat([sampling_frame(ensemble, truth, label) for label in labels])


def test_a_panel_can_be_drawn_alone_and_empty(heun):
    axes = Figure().subplots()
    plot_errors([heun], axes, "weak")
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts[0].startswith("fluctuating couplings: 0.9")
    two = replace(heun, strong=None)
    axes = Figure().subplots()
    plot_errors([two], axes, "strong")
    assert axes.texts[0].get_text() == "no strong errors"


def test_plans_are_prepared_once_for_a_level():
    times = as_times([0, 1])
    levels = levels_of(times, Richardson(Heun(0.5)), 3)
    assert len(levels.grids) == 4
    assert levels.weights.shape == (3, 4)
    assert np.allclose(levels.weights.sum(axis=1), 1)
    widths = {round(levels.on_path(k).cell(0), 12) for k in range(4)}
    assert len(widths) == 1
    finest = levels.finest(1)
    assert finest.cells == (1,)
    assert finest.lengths[0] == pytest.approx(widths.pop())
    dynamics = lower(fluctuating_levels().model)
    paths = paths_of(dynamics, times, levels, 1, 64)
    assert all(isinstance(plan, Plan) for plan in paths.plans)
    assert paths.states is not None
    assert RandomOrder.traits.paths
