"""Multilevel estimates against averaged equations, and mutants that must be noticed."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from analytic import ALPHA, LOWER, SX, SY, SZ, kubo_dephasing
from scipy.stats import kurtosis, norm

from stochq.errors import ModelError, SchemeMismatchError
from stochq.lowering import lower
from stochq.mlmc import simulate_mlmc
from stochq.mlmc.allocation import (
    allocate,
    remaining_bias,
    telescoping_limit,
    telescoping_z,
)
from stochq.mlmc.levels import Ladder
from stochq.model import Dissipator, Model, WhiteNoise
from stochq.references import master_equation
from stochq.running.parallel import collect
from stochq.schemes import Exact, Heun, Milstein, Richardson, Strang, TwoPoint
from stochq.schemes.traits import Traits
from stochq.simulation import simulate
from stochq.states import Occupations
from stochq.statistics.moments import Moments
from stochq.streams import child_seed

TIMES = np.linspace(0, 2, 5)


def qubit(rate=0.6):
    """Return a driven, noisy qubit; nothing in it commutes."""
    return Model(
        hamiltonian=0.9 * SX + 0.3 * SZ,
        noise=WhiteNoise(SZ, rate=rate, name="phase"),
        initial=[1, 0],
        observables={"x": SX, "y": SY, "z": SZ},
    )


HYBRID = Model(
    hamiltonian=SX,
    noise=WhiteNoise([SX, SZ], covariance=[[0.3, 0.1], [0.1, 0.2]], name="field"),
    dissipators=Dissipator(LOWER, 0.7, name="decay"),
    initial=np.array([[0.6, 0.1j], [-0.1j, 0.4]]),
    observables={"x": SX, "z": SZ},
)
FERMIONS = Model(
    hamiltonian=-np.array([[0, 1], [1, 0]]),
    dissipators=Dissipator(np.diag([1.0, 0.0]), 0.9, name="first"),
    initial=Occupations([1, 0]),
    observables={"n1": np.diag([1.0, 0.0])},
)


def deviation(estimate, model):
    """Return |estimate - averaged equation| in units of the tolerance."""
    truth = master_equation(model, TIMES).values
    return np.abs(estimate.mean - truth) / estimate.tolerance[:, None]


# ------------------------------------------------------------------------ accuracy


@pytest.mark.parametrize(
    ("model", "scheme", "tolerance"),
    [
        (qubit(), Heun(0.1), 5e-3),
        (qubit(), Milstein(0.1), 5e-3),
        (qubit(), Strang(0.5), 8e-3),
        (qubit(), None, {"x": 6e-3, "y": 0.012, "z": 8e-3}),
        (HYBRID, Strang(0.25), [1e-2, 2e-2]),
    ],
    ids=["heun", "milstein", "strang", "default", "hybrid"],
)
def test_the_estimate_agrees_with_the_averaged_equation(model, scheme, tolerance):
    estimate = simulate_mlmc(model, TIMES, tolerance=tolerance, seed=3, scheme=scheme)
    assert (estimate.rmse <= estimate.tolerance[:, None]).all()
    assert (estimate.rmse / estimate.tolerance[:, None]).max() > 0.8
    # a normal error with this root mean square, at every point
    reach = norm.isf(ALPHA / 2 / estimate.mean.size)
    assert deviation(estimate, model).max() < reach
    assert estimate.telescoping[1:].max() < telescoping_limit(estimate.levels)
    assert not any("telescoping" in text for text in estimate.warnings)


def test_the_step_bias_of_the_coarsest_level_is_corrected():
    model, scheme = qubit(), Heun(0.25)
    estimate = simulate_mlmc(model, TIMES, tolerance=0.01, seed=1, scheme=scheme)
    only = replace(estimate, mean=estimate.levels[0].mean)
    assert deviation(only, model).max() > 4.5
    assert deviation(estimate, model).max() < 4.0


def test_corrections_fall_with_the_orders_of_the_scheme():
    ladder = Ladder(lower(qubit()), TIMES, Heun(0.05), seed=4)
    means, spreads = [], []
    for number in (1, 2, 3):
        level = ladder.started(number, 8192)
        means.append(np.abs(level.mean).max())
        spreads.append(level.variance.max())
    # weak order 1, and strong order 1 for one channel: h and h^2
    assert abs(np.log2(means[0] / means[2]) / 2 - 1) < 0.2
    assert abs(np.log2(spreads[0] / spreads[2]) / 2 - 2) < 0.2


def test_multilevel_saves_where_small_steps_are_needed():
    estimate = simulate_mlmc(qubit(), TIMES, tolerance=2e-3, seed=2, scheme=Heun(0.1))
    assert estimate.saving > 5
    assert not estimate.plain_is_cheaper
    assert "plain Monte Carlo costs more" in estimate.explain()
    # what plain Monte Carlo takes is what its own variance says
    plain = estimate.plain
    sd = simulate(qubit(), TIMES, n_traj=4096, seed=9, scheme=Heun(plain.h)).sd.max()
    level = next(x for x in estimate.levels if x.h == plain.h)
    assert plain.cost == plain.n_traj * round(2 / plain.h)
    share = plain.n_traj / (sd / 2e-3) ** 2
    assert 0.9 < share < 2.5, "the bias takes a part of the tolerance"
    assert level.number >= len(estimate.levels) - 3


def test_it_says_when_plain_monte_carlo_is_cheaper():
    estimate = simulate_mlmc(qubit(), TIMES, tolerance=0.02, seed=2, scheme=Strang(0.1))
    assert estimate.plain_is_cheaper
    assert estimate.saving < 1
    text = estimate.explain()
    assert "plain Monte Carlo is cheaper" in text
    assert f"{estimate.plain.cost:.3g} steps" in text
    assert f"{estimate.cost:.3g} here" in text


def test_without_a_step_there_are_no_levels():
    model = kubo_dephasing().model
    for scheme in (None, Exact()):
        estimate = simulate_mlmc(model, TIMES, tolerance=0.02, seed=1, scheme=scheme)
        assert estimate.scheme == Exact()
        assert len(estimate.levels) == 1
        assert not estimate.bias.any()
        assert estimate.saving == 1
        assert "this is plain Monte Carlo" in estimate.explain()
        assert deviation(estimate, model).max() < 6


def test_one_time_and_models_without_noise_need_no_sampling():
    still = qubit().with_rate("phase", 0)
    for times in ([3.0], [0.0, 1.0]):
        estimate = simulate_mlmc(still, times, tolerance=1e-6, seed=1, scheme=Strang(1))
        assert estimate.mcse.max() < 1e-12
        assert estimate.cost <= 3 * 512 * 12
        assert not estimate.warnings
    assert simulate_mlmc(qubit(), [3.0], tolerance=0.1, seed=1).mean[2, 0] == 1


def test_orbitals_have_levels_too():
    estimate = simulate_mlmc(
        FERMIONS, TIMES, tolerance=0.01, seed=5, scheme=Strang(0.5)
    )
    assert deviation(estimate, FERMIONS).max() < 6
    assert len(estimate.levels) >= 3


# -------------------------------------------------------------------- reproducible


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_jobs():
    how = {"tolerance": 0.02, "seed": 11, "scheme": Strang(0.25)}
    one = simulate_mlmc(HYBRID, TIMES, n_jobs=1, **how)
    two = simulate_mlmc(HYBRID, TIMES, n_jobs=2, **how)
    for name in ("mean", "mcse", "bias", "telescoping"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert [x.n_traj for x in one.levels] == [x.n_traj for x in two.levels]
    assert (one.plain.n_traj, one.plain.h) == (two.plain.n_traj, two.plain.h)
    other = simulate_mlmc(HYBRID, TIMES, **{**how, "seed": 12})
    assert np.abs(other.mean - one.mean).min(axis=0)[1:].min() > 0


def test_an_extended_level_is_the_level_run_at_once():
    ladder = Ladder(lower(HYBRID), TIMES, Strang(0.25), seed=3)
    for number in (0, 2):
        whole = ladder.started(number, 640)
        grown = ladder.extended(ladder.started(number, 128), 600)
        assert grown.n_traj == 640, "whole atoms"
        for name in ("mean", "m2", "m3"):
            a, b = getattr(whole.moments, name), getattr(grown.moments, name)
            assert np.abs(a - b).max() <= 1e-12 * max(1, np.abs(a).max())
        assert ladder.extended(grown, 600) is grown


def test_a_run_may_begin_after_some_atoms():
    source = Ladder(lower(HYBRID), TIMES, Strang(0.25), seed=3).source(1)
    source = replace(source, plans=tuple(replace(p, n_traj=300) for p in source.plans))
    whole = collect(source).moments
    parts = [source.run(0, 2).values, source.run(2, 3).values]
    rest = collect(source, first_atom=2, batch=1, n_jobs=2).moments
    assert rest.count == 300 - 128
    assert np.array_equal(np.concatenate(parts, axis=-1), source.run(0, 5).values)
    both = Moments.of(parts[0]).merge(rest)
    assert np.abs(both.mean - whole.mean).max() < 1e-14
    assert np.abs(both.m2 - whole.m2).max() < 1e-10


def test_levels_are_independent():
    ladder = Ladder(lower(qubit()), TIMES, Strang(0.5), seed=3)
    seeds = {ladder.source(number).plans[0].seed for number in range(4)}
    assert len(seeds) == 4
    # those of a level share one path
    assert len({plan.seed for plan in ladder.source(2).plans}) == 1


def test_kurtosis_is_that_of_the_differences():
    ladder = Ladder(lower(HYBRID), TIMES, Strang(0.25), seed=3)
    for number in (0, 1):
        source = ladder.source(number)
        plans = tuple(replace(plan, n_traj=512) for plan in source.plans)
        values = replace(source, plans=plans).run(0, 8).values
        truth = kurtosis(
            np.split(values, 3 if number else 1)[-1], axis=-1, fisher=False
        )
        found = ladder.started(number, 512).kurtosis
        assert np.abs(found[:, 1:] / truth[:, 1:] - 1).max() < 1e-9
        assert np.isnan(ladder.started(1, 64).kurtosis[:, 0]).all(), "no step yet"


# ----------------------------------------------------------------------- decisions


def test_sizes_keep_every_variance_and_one_exactly():
    rng = np.random.default_rng(2)
    variance = rng.exponential(size=(4, 3, 5)) * 4.0 ** -np.arange(4)[:, None, None]
    steps, budget = 2.0 ** np.arange(4), np.full((3, 5), 1e-3)
    sizes = allocate(variance, steps, budget)
    used = (variance / sizes[:, None, None]).sum(axis=0) / budget
    assert used.max() == pytest.approx(1)
    alone = allocate(variance[:, :1, :1], steps, budget[:1, :1])
    expected = np.sqrt(variance[:, 0, 0] / steps) / budget[0, 0]
    expected *= np.sqrt(variance[:, 0, 0] * steps).sum()
    assert alone == pytest.approx(expected), "Lagrange's answer for one quantity"
    assert not allocate(0 * variance, steps, budget).any()


def test_the_bias_is_the_largest_extrapolation_of_the_last_corrections():
    levels = [
        Ladder(lower(qubit()), TIMES, Heun(0.1), seed=1).started(n, 256)
        for n in range(5)
    ]
    bias, sure = remaining_bias(levels, 1.0)
    sizes = [np.abs(levels[n].mean) / 2 ** (4 - n) for n in (2, 3, 4)]
    assert np.array_equal(bias, np.max(sizes, axis=0))
    assert (sure <= bias).all()
    half, _ = remaining_bias(levels, 2.0)
    sizes = [np.abs(levels[n].mean) / 4 ** (4 - n) / 3 for n in (2, 3, 4)]
    assert np.abs(half - np.max(sizes, axis=0)).max() < 1e-15


def test_a_tolerance_out_of_reach_says_what_is_needed():
    how = {"seed": 1, "scheme": Heun(0.25)}
    with pytest.raises(ValueError, match="must be within reach of 3 levels") as caught:
        simulate_mlmc(qubit(), TIMES, tolerance=0.01, max_levels=3, **how)
    needed = int(str(caught.value).split("max_levels=")[1].split()[0])
    found = simulate_mlmc(qubit(), TIMES, tolerance=0.01, max_levels=needed, **how)
    assert len(found.levels) <= needed
    weakest = float(str(caught.value).rsplit(" ", 1)[1])
    simulate_mlmc(qubit(), TIMES, tolerance=1.1 * weakest, max_levels=3, **how)


def test_chance_alone_does_not_put_a_tolerance_out_of_reach():
    for seed in range(4):
        estimate = simulate_mlmc(
            qubit(), TIMES, tolerance=0.02, seed=seed, scheme=Strang(0.25), max_levels=3
        )
        assert len(estimate.levels) == 3


# -------------------------------------------------------------------------- tables


def test_the_estimate_is_the_sum_of_its_levels():
    estimate = simulate_mlmc(HYBRID, TIMES, tolerance=0.03, seed=2, scheme=Strang(0.5))
    total, error = np.zeros((2, 5)), np.zeros((2, 5))
    for level in estimate.levels:
        total += level.mean
        error += level.variance / level.n_traj
        if level.number:
            gap = level.mean - (level.fine_mean - level.coarse_mean)
            assert np.abs(gap).max() < 1e-14
    assert np.abs(estimate.mean - total).max() < 1e-14
    assert np.abs(estimate.mcse - np.sqrt(error)).max() < 1e-14
    assert np.abs(estimate.rmse - np.sqrt(error + estimate.bias**2)).max() < 1e-14


def test_tables_hold_every_mean_and_every_level():
    estimate = simulate_mlmc(qubit(), TIMES, tolerance=0.02, seed=2, scheme=Strang(0.5))
    frame = estimate.to_frame()
    assert list(frame.columns[:3]) == ["observable", "time", "mean"]
    assert np.array_equal(frame["mean"], estimate.mean.ravel())
    assert np.array_equal(frame["rmse"], estimate.rmse.ravel())
    levels = estimate.levels_frame()
    assert len(levels) == 3 * len(estimate.levels)
    assert levels.groupby("level")["cost"].first().sum() == estimate.cost
    assert levels["telescoping"].isna().sum() == 3, "level 0 has nothing below it"
    assert levels["kurtosis"].between(1, 100).all()
    assert list(levels["h"].unique()[:3]) == [0.5, 0.25, 0.125]
    # coarse and fine steps: 4, then 8 + 4, then 16 + 8 of a trajectory
    assert [x.steps for x in estimate.levels[:3]] == [4, 12, 24]
    assert repr(estimate).startswith("MultilevelEstimate(3 observables, 5 times, rmse")
    assert "warnings=0" in repr(estimate)


# ------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("tolerance", [0, -1.0, np.nan, np.inf, "small", True, None])
def test_bad_tolerances_are_refused(tolerance):
    with pytest.raises(ValueError, match="`tolerance` must be"):
        simulate_mlmc(qubit(), TIMES, tolerance=tolerance, seed=1)


@pytest.mark.parametrize(
    ("tolerance", "message"),
    [
        ({"x": 0.1, "y": 0.1}, "must name the observables"),
        ({"x": 0.1, "y": 0.1, "w": 0.1}, "must name the observables"),
        ({"x": 0.1, "y": 0.1, "z": 0}, r"`tolerance\['z'\]` must be finite and > 0"),
        ([0.1, 0.1], r"have shape \(3,\)"),
        ([0.1, 0.1, np.nan], r"`tolerance\[2\]` must be finite"),
    ],
)
def test_bad_tolerances_of_observables_are_refused(tolerance, message):
    with pytest.raises(ValueError, match=message):
        simulate_mlmc(qubit(), TIMES, tolerance=tolerance, seed=1)


@pytest.mark.parametrize("scheme", [TwoPoint(0.1), Richardson(Strang(0.1))])
def test_schemes_without_paths_are_refused(scheme):
    with pytest.raises(SchemeMismatchError, match="must follow a Brownian path"):
        simulate_mlmc(qubit(), TIMES, tolerance=0.1, seed=1, scheme=scheme)


@pytest.mark.parametrize("dt", [0.01, 0.5, 2.0])
def test_an_unstable_coarsest_step_is_refused(dt):
    fast = replace(qubit(), hamiltonian=10 / dt * SX)  # at 0.01 it overflows
    with pytest.raises(SchemeMismatchError, match="must be stable with its coarsest"):
        simulate_mlmc(fast, [0, 2, 4], tolerance=0.1, seed=1, scheme=Heun(dt))


def test_other_arguments_are_checked():
    how = {"tolerance": 0.1, "seed": 1}
    with pytest.raises(ModelError, match="must be a Model"):
        simulate_mlmc("model", TIMES, **how)
    with pytest.raises(ValueError, match="`max_levels` must be >= 3"):
        simulate_mlmc(qubit(), TIMES, max_levels=2, **how)
    with pytest.raises(ValueError, match="`pilot` must be >= 64"):
        simulate_mlmc(qubit(), TIMES, pilot=10, **how)
    with pytest.raises(ValueError, match="`n_jobs` must be"):
        simulate_mlmc(qubit(), TIMES, n_jobs=0, **how)
    with pytest.raises(ValueError, match="`seed` must be"):
        simulate_mlmc(qubit(), TIMES, tolerance=0.1, seed=-1)
    with pytest.raises(SchemeMismatchError, match="Exact"):
        simulate_mlmc(qubit(), TIMES, scheme=Exact(), **how)
    with pytest.raises(SchemeMismatchError, match="must be a scheme"):
        simulate_mlmc(qubit(), TIMES, scheme=Strang, **how)
    with pytest.raises(SchemeMismatchError, match="must have a model without jumps"):
        simulate_mlmc(HYBRID, TIMES, scheme=Heun(0.1), **how)


# ------------------------------------------------------------------------- mutants


@dataclass(frozen=True)
class Strangers:
    """Strang, but coarse and fine steps of a level have paths of their own."""

    dt: float
    traits: ClassVar[Traits] = Strang.traits

    def prepare(self, dynamics, grid, seed):
        own = child_seed(seed, sum(grid.counts))
        return Strang(self.dt).prepare(dynamics, grid, own)


@dataclass(frozen=True)
class WrongCoarse:
    """Strang, but the coarse steps of a level have a rate that is larger.

    Those of at most `up_to` steps in all, so that it can be the lowest level only.
    """

    dt: float
    up_to: float = np.inf
    traits: ClassVar[Traits] = Strang.traits

    def prepare(self, dynamics, grid, seed):
        # cells per step: 4 if coarse, 2 if fine, none on level 0
        if 4 in grid.cells and sum(grid.counts) <= self.up_to:
            dynamics = lower(dynamics.model.with_rate("phase", 1.2))
        return Strang(self.dt).prepare(dynamics, grid, seed)


def test_independent_paths_are_noticed_and_stay_right():
    how = {"tolerance": 0.03, "seed": 7}
    estimate = simulate_mlmc(qubit(), TIMES, scheme=Strangers(0.25), **how)
    spreads = [level.variance.max() for level in estimate.levels]
    assert min(spreads[1:]) > 1.5 * spreads[0], "the sum of two independent variances"
    assert estimate.plain_is_cheaper
    assert any("variance of corrections hardly falls" in t for t in estimate.warnings)
    # each level has the right law, so the estimate is right, but dear
    assert deviation(estimate, qubit()).max() < 6
    assert estimate.telescoping[1:].max() < telescoping_limit(estimate.levels)
    right = simulate_mlmc(qubit(), TIMES, scheme=Strang(0.25), **how)
    assert right.cost < estimate.cost / 3
    assert not right.warnings


def test_a_wrong_coarse_level_is_caught_by_the_telescoping_sum():
    how = {"tolerance": 0.02, "seed": 7, "pilot": 4096}
    wrong = WrongCoarse(0.25, up_to=8)
    estimate = simulate_mlmc(qubit(), TIMES, scheme=wrong, **how)
    checks, limit = estimate.telescoping, telescoping_limit(estimate.levels)
    assert checks[1] > limit
    assert checks[2:].max() < limit, "the others are right"
    assert any("telescoping sum does not hold" in t for t in estimate.warnings)
    assert "warning: the telescoping sum" in estimate.explain()
    # the claimed error is less than the tolerance
    assert deviation(estimate, qubit()).max() > 2.5


def test_corrections_that_do_not_fall_are_explained():
    with pytest.raises(ValueError, match="telescoping sum does not hold"):
        simulate_mlmc(
            qubit(), TIMES, tolerance=8e-3, seed=7, scheme=WrongCoarse(0.25),
            max_levels=5, pilot=4096,
        )  # fmt: skip


def test_the_telescoping_check_survives_what_a_small_sample_missed():
    levels = [
        Ladder(lower(HYBRID), TIMES, Strang(0.25), seed=s).started(n, size)
        for s, n, size in ((1, 0, 8192), (1, 1, 64))
    ]
    assert np.abs(telescoping_z(*levels, np.full((2, 1), 0.01))).max() < 6


def test_jumps_make_corrections_rare_and_it_says_so():
    noisy = replace(HYBRID, noise=[WhiteNoise(SZ, rate=0.3, name="field")])
    estimate = simulate_mlmc(noisy, TIMES, tolerance=5e-3, seed=3, scheme=Strang(0.1))
    assert deviation(estimate, noisy).max() < 6
    assert estimate.telescoping[1:].max() < telescoping_limit(estimate.levels)
    assert any("kurtosis" in text for text in estimate.warnings)
    spreads = [level.variance.max() for level in estimate.levels]
    assert spreads[2] < 0.75 * spreads[1]
