"""Free fermions: every unraveling has the average of the equation for G.

The laws of single trajectories differ, and each is compared with the same measurement
on kets: all fermions together as one ket of dimension C(sites, particles).
"""

from dataclasses import replace
from itertools import combinations
from math import erf

import numpy as np
import pytest
from analytic import judge
from scipy.linalg import expm

from stochq.atoms import plan_of
from stochq.bias import exact_means
from stochq.channels import Dissipator, WhiteNoise
from stochq.errors import SchemeMismatchError
from stochq.lowering import lower
from stochq.model import Model
from stochq.references import correlation_equation
from stochq.replay import trajectory
from stochq.schemes import Exact, Heun, Strang, TwoPoint
from stochq.schemes.isometries import SUMS, amplitudes, orthonormalize, project, square
from stochq.schemes.lanes import ATOM
from stochq.schemes.monitored_orbitals import mixed_quantile
from stochq.schemes.orbital_events import OrbitalEvents, orbital_events
from stochq.schemes.traits import grid_for
from stochq.simulation import simulate
from stochq.spaces import hopping_chain
from stochq.states import Occupations, Orbitals
from stochq.unravelings import (
    Averaged,
    Heterodyne,
    Homodyne,
    Jump,
    Kicks,
    Projections,
    UnitaryNoise,
)

TIMES = np.linspace(0, 2, 5)
RATE = 1.3

#: Every form of S1 with a scheme whose step bias is far below the error bars.
FORMS = {
    "noise": (UnitaryNoise(), Strang(0.2)),
    "kicks": (Kicks(), Exact()),
    "projections": (Projections(), Exact()),
    "jumps": (Jump(), Exact()),
    "homodyne": (Homodyne(), Strang(0.2)),
    "phase": (Homodyne(phase=0.9), Strang(0.2)),
    "heterodyne": (Heterodyne(), Strang(0.2)),
}


def number(sites, x):
    return np.diag((np.arange(sites) == x).astype(float))


def chain(sites=5, particles=2, dephased=(0, 2, 3), rate=RATE):
    """Return a chain in a gauge field, closed by one more bond so that it has a flux.

    An equation for G that forgets a transposition of h is wrong on it.
    """
    h = hopping_chain(sites, 1.0) * np.exp(0.4j * np.sign(np.subtract.outer(
        np.arange(sites), np.arange(sites))))  # fmt: skip
    h[0, 2] += 0.6
    h[2, 0] += 0.6
    current = np.zeros((sites, sites), complex)
    current[0, 1], current[1, 0] = 1j, -1j
    observables = {f"n{x}": number(sites, x) for x in range(sites)}
    return Model(
        hamiltonian=h,
        dissipators=[
            Dissipator(number(sites, x), rate, name="dephasing") for x in dephased
        ],
        initial=Occupations(np.arange(sites) < particles),
        observables=observables | {"current": current},
    )


def how(form):
    choice, scheme = FORMS[form]
    return {"unraveling": {"dephasing": choice}, "scheme": scheme}


# ----------------------------------------------------------------------- averages


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_average_of_the_equation_for_g(form):
    model = chain()
    reference = correlation_equation(model, TIMES)
    assert judge(model, reference, n_traj=4096, seed=3, **how(form)).status == "pass"
    mutants = {
        "twice": model.with_rate("dephasing", 2),
        "half": model.with_rate("dephasing", 0.5),
        "one site missing": replace(model, dissipators=model.dissipators[:2]),
        "another site": chain(dephased=(0, 2, 4)),
        "h transposed": replace(model, hamiltonian=model.hamiltonian.toarray().T),
    }
    for label, mutant in mutants.items():
        verdict = judge(mutant, reference, n_traj=4096, seed=3, **how(form))
        assert verdict.status == "fail", label


@pytest.mark.parametrize("form", ["jumps", "projections", "homodyne"])
def test_modes_need_not_be_sites(form):
    v = np.array([1.0, 1j, 0, -1, 0]) / np.sqrt(3)
    modes = [v, number(5, 4)[4], np.array([1, -1j, 0, 0, 0]) / np.sqrt(2)]
    model = chain()
    signs = (0.8, -1.1, 0.9)  # A = g v v^dag, g of either sign
    parts = [
        Dissipator(g * np.outer(w, np.conj(w)), RATE, name="dephasing")
        for g, w in zip(signs, modes, strict=True)
    ]
    model = replace(model, dissipators=parts)
    reference = correlation_equation(model, TIMES)
    settings = how(form) | {"n_traj": 4096, "seed": 4}
    assert judge(model, reference, **settings).status == "pass"
    conjugate = [replace(d, operator=d.operator.toarray().conj()) for d in parts]
    for mutant in (
        model.with_rate("dephasing", 2),
        replace(model, dissipators=parts[1:]),
        replace(model, dissipators=conjugate),
    ):
        assert judge(mutant, reference, **settings).status == "fail"


def test_all_kinds_together_on_one_trajectory():
    kinds = {
        "kick": Kicks(),
        "projection": Projections(),
        "jump": Jump(),
        "homodyne": Homodyne(),
    }
    parts = [
        Dissipator(number(5, x), RATE, name=name)
        for x, name in zip((0, 1, 3, 4), kinds, strict=True)
    ]
    model = replace(
        chain(),
        dissipators=parts,
        noise=WhiteNoise(number(5, 2), rate=0.8, name="noise"),
    )
    reference = correlation_equation(model, TIMES)
    settings = {"unraveling": kinds, "scheme": Strang(0.2)}
    settings |= {"n_traj": 4096, "seed": 5}
    assert judge(model, reference, **settings).status == "pass"
    for name in (*kinds, "noise"):
        mutant = model.with_rate(name, 4)
        assert judge(mutant, reference, **settings).status == "fail", name


def test_default_schemes_of_all_forms_are_unbiased():
    model = chain()
    reference = correlation_equation(model, TIMES)
    for choice, scheme in FORMS.values():
        ensemble = simulate(
            model, TIMES, n_traj=640, seed=1, unraveling={"dephasing": choice}
        )
        assert isinstance(ensemble.scheme, type(scheme))
        z = (ensemble.mean - reference.values)[:, 1:] / ensemble.mcse[:, 1:]
        assert np.abs(z).max() < 5


@pytest.mark.parametrize("form", FORMS)
def test_averaged_steps_of_all_forms(form):
    """The exact average of a step of dt has an error of order dt^2, and no other."""
    noise = WhiteNoise(number(5, 1), rate=0.8, name="noise")
    model = replace(chain(), noise=noise)
    dynamics = lower(model, {"dephasing": FORMS[form][0]})
    exact = correlation_equation(model, TIMES).values
    error = []
    for dt in (0.1, 0.05):
        scheme = Strang(dt)
        means = exact_means(dynamics, grid_for(scheme, TIMES), scheme)
        error.append(np.abs(means - exact).max())
    assert 1e-5 < error[1] < error[0] / 3.5 < 1e-3


# -------------------------------------------------- laws of single trajectories


def many_body(model):
    """Return the same fermions as one ket: every A becomes sum A_xy c_x^dag c_y."""
    filled = np.flatnonzero(model.initial.matrix.any(axis=1))
    states = list(combinations(range(model.dim), filled.size))
    place = {s: k for k, s in enumerate(states)}

    def lifted(matrix):
        dense = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
        big = np.zeros((len(states), len(states)), complex)
        for s in states:
            for y in s:
                rest = [z for z in s if z != y]
                for x in set(range(model.dim)) - set(rest):
                    t = tuple(sorted([*rest, x]))
                    sign = (-1) ** (s.index(y) + t.index(x))
                    big[place[t], place[s]] += sign * dense[x, y]
        return big

    start = np.zeros(len(states))
    start[place[tuple(filled)]] = 1
    return Model(
        hamiltonian=lifted(model.hamiltonian),
        dissipators=[
            Dissipator(lifted(d.operator), d.rate, name=d.name)
            for d in model.dissipators
        ],
        initial=start,
        observables={k: lifted(o) for k, o in model.observables.items()},
    )


def single_values(model, form, *, n_traj=4096, seed):
    """Return <O> of single trajectories, rounded, shape (O, T - 1, n).

    Trajectories without an event have one value, which rounding must not tear apart.
    """
    choice, scheme = FORMS[form]
    dynamics = lower(model, {"dephasing": choice})
    plan = plan_of(dynamics, TIMES, scheme, seed, n_traj)
    return np.round(plan.run(0, n_traj // ATOM).values[:, 1:], 9)


def distance(one, other):
    """Return the largest Kolmogorov-Smirnov statistic sqrt(n/2) max |F - G|.

    Above 3.3 it has the probability 2 exp(-2 3.3^2) = 7e-10 for one law.
    """
    n = one.shape[-1]
    largest = 0.0
    for a, b in zip(one.reshape(-1, n), other.reshape(-1, n), strict=True):
        at = np.unique(np.concatenate([a, b]))
        gap = np.searchsorted(np.sort(a), at, "right")
        gap = gap - np.searchsorted(np.sort(b), at, "right")
        largest = max(largest, np.abs(gap).max() / n * np.sqrt(n / 2))
    return largest


@pytest.mark.parametrize("form", ["kicks", "projections", "jumps", "homodyne"])
def test_single_trajectories_have_the_law_of_kets(form):
    model = chain(sites=4, dephased=(0, 2))
    ours = single_values(model, form, seed=6)
    kets = single_values(many_body(model), form, seed=7)
    assert distance(ours, kets) < 3.3
    for mutant in (
        model.with_rate("dephasing", 1.3),
        chain(sites=4, dephased=(0, 1)),
        chain(sites=4, dephased=(0,)),
    ):
        assert distance(single_values(mutant, form, seed=6), kets) > 3.3


def test_the_law_of_another_unraveling_is_another_one():
    """Means agree; what single trajectories do, and hence their entropies, do not."""
    model = chain(sites=4, dephased=(0, 2))
    forms = ("noise", "kicks", "projections", "jumps", "homodyne")
    values = {form: single_values(model, form, seed=8) for form in forms}
    for one, other in combinations(forms, 2):
        assert distance(values[one], values[other]) > 5, (one, other)


def test_one_particle_is_a_ket_on_the_sites():
    model = chain(sites=4, particles=1, dephased=(0, 2))
    ket = replace(model, initial=np.eye(4)[0])
    for form in ("jumps", "projections"):
        ours = single_values(model, form, seed=6)
        assert distance(ours, single_values(ket, form, seed=7)) < 3.3, form


# -------------------------------------------------------------- what is conserved


@pytest.mark.parametrize("form", FORMS)
def test_orbitals_stay_orthonormal_on_every_trajectory(form):
    model = replace(chain(), observables={"N": np.eye(5), "n0": number(5, 0)})
    ensemble = simulate(model, TIMES, n_traj=128, seed=1, **how(form))
    assert ensemble.provenance["norm_defect"] < 1e-13
    assert ensemble.deterministic[0].all()
    assert ensemble.sd[0].max() < 1e-13
    assert ensemble.sd[1, 1:].min() > 1e-3
    u = ensemble.trajectory(17).states[-1]
    assert np.abs(u.conj().T @ u - np.eye(2)).max() < 1e-13


def test_what_is_measured_is_random_even_where_it_is_conserved():
    """n_0 commutes with everything; a measurement finds 0 or 1, a kick nothing."""
    model = Model(
        dissipators=Dissipator(number(2, 0), 1.0, name="dephasing"),
        initial=Orbitals(np.array([[0.6], [0.8]])),
        observables={"n0": number(2, 0)},
    )
    times = [0.0, 40.0]
    for choice, random in ((Kicks(), False), (Projections(), True), (Jump(), True)):
        ensemble = simulate(
            model, times, n_traj=1024, seed=2, unraveling={"dephasing": choice}
        )
        assert ensemble.deterministic[0, 1] != random
        expected = 0.48 if random else 0.0  # sqrt(p (1 - p)), p = 0.36
        assert abs(ensemble.sd[0, 1] - expected) < 0.02
        assert abs(ensemble.mean[0, 1] - 0.36) < 0.06


def test_a_hundred_thousand_projections_keep_orbitals_orthonormal():
    model = chain(sites=6, particles=3, dephased=(0, 2, 3), rate=1000.0)
    times = [0.0, 70.0]  # 3 sites at rate 500: 1e5 events
    ensemble = simulate(
        model, times, n_traj=2, seed=1, unraveling={"dephasing": Projections()}
    )
    assert ensemble.jumps[:, -1].sum() > 2e5
    u = ensemble.trajectory(0).states[-1]
    assert np.abs(u.conj().T @ u - np.eye(3)).max() < 1e-12


def test_rates_of_events():
    """Kicks at gamma/4, projections at gamma/2, jumps at gamma <n>, from each mode."""
    model = chain(dephased=(0, 2, 3))
    times = np.linspace(0, 2, 41)
    n = correlation_equation(model, times).values[[0, 2, 3]]
    width = np.diff(times)
    filled = (0.5 * (n[:, 1:] + n[:, :-1]) * width).sum(axis=1)
    expected = {
        "kicks": np.full(3, RATE / 4 * 2),
        "projections": np.full(3, RATE / 2 * 2),
        "jumps": RATE * filled,
    }
    for form, mean in expected.items():
        ensemble = simulate(model, [0, 2], n_traj=6400, seed=2, **how(form))
        counts = ensemble.jumps[:, -1] / 6400
        assert np.abs(counts - mean).max() < 6 * np.sqrt(2.0 / 6400), form


@pytest.mark.parametrize("form", ["kicks", "projections", "jumps"])
@pytest.mark.parametrize("scheme", [Exact(), Strang(0.3)], ids=["exact", "steps"])
def test_records_of_events(form, scheme):
    """Every event is kept with its time, and the averages give their number."""
    model, n = chain(), 2048
    choice, _ = FORMS[form]
    ensemble = simulate(
        model,
        TIMES,
        n_traj=n,
        seed=4,
        scheme=scheme,
        unraveling={"dephasing": choice},
        keep_jumps=40,
    )
    records = ensemble.jump_records
    assert np.array_equal(records.counts.sum(axis=1), ensemble.jumps[:, -1])
    for k in (0, 100, n - 1):
        assert (np.diff(records.of(k)[0]) > 0).all()
    for first, last in ((0.0, 0.5), (1.5, 2.0)):
        times = np.linspace(first, last, 11)
        fine = np.concatenate([[0.0], times]) if first else times
        values = correlation_equation(model, fine).values[[0, 2, 3]][:, -11:]
        filled = 0.05 * 0.5 * (values[:, 1:] + values[:, :-1]).sum(axis=1)
        mean = {"jumps": RATE * filled, "kicks": RATE / 8, "projections": RATE / 4}
        counts = records.window(first, last).counts.sum(axis=1) / n
        error = 6 * np.sqrt(np.maximum(mean[form], 0.05) / n)
        assert (np.abs(counts - mean[form]) < error).all(), (first, counts, mean[form])


def test_signals_of_monitored_modes():
    """E[Y] = 2 Re(kappa) int <n> dt and, of a filled mode, variance t."""
    model, n = chain(), 4096
    times = np.linspace(0, 1, 21)
    filled = correlation_equation(model, times).values[[0, 2, 3]]
    integral = 0.05 * (0.5 * (filled[:, 1:] + filled[:, :-1])).sum(axis=1)
    for form, factor in (("homodyne", 1.0), ("phase", np.cos(0.9))):
        ensemble = simulate(
            model, [0, 1], n_traj=n, seed=5, keep_signals=True, **how(form)
        )
        signals = ensemble.signals[:, 0]
        mean = 2 * factor * np.sqrt(RATE) * integral
        assert signals.shape == (3, n)
        assert np.abs(signals.mean(axis=1) - mean).max() < 6 * 2 / np.sqrt(n)
    still = Model(
        dissipators=Dissipator(number(2, 0), 1.0, name="dephasing"),
        initial=Occupations([1, 0]),
        observables={"n": number(2, 0)},
    )
    ensemble = simulate(
        still, [0, 4], n_traj=n, seed=5, keep_signals=True, **how("homodyne")
    )
    signals = ensemble.signals[0, 0]
    assert abs(signals.mean() - 8) < 6 * 2 / np.sqrt(n)
    assert abs(signals.var() / 4 - 1) < 6 * np.sqrt(2 / n)


def test_monitored_paths_refine():
    """On one Brownian path, smaller steps come closer to each other."""
    model = chain()
    settings = {"seed": 3, "index": 5, "path_dt": 1 / 512}
    settings["unraveling"] = {"dephasing": Homodyne()}
    runs = [
        trajectory(model, [0, 1], scheme=Strang(dt), **settings).expectations[:, -1]
        for dt in (1 / 8, 1 / 32, 1 / 128, 1 / 256)
    ]
    errors = [np.abs(run - runs[-1]).max() for run in runs[:-1]]
    assert errors[2] < errors[0] / 4
    assert errors[2] < 0.02


# ------------------------------------------------------------------------ kernels


def isometry(rng, sites, particles):
    u = np.linalg.qr(rng.normal(size=(sites, particles, 2)) @ [1, 1j])[0]
    return np.ascontiguousarray(np.stack([u.real, u.imag]))


@pytest.mark.parametrize("particles", [1, 3, 40])
@pytest.mark.parametrize("occupied", [False, True])
def test_projections_against_correlations(occupied, particles):
    """G' from Wick's theorem: G_yz -+ G_yv G_vz / p or (1 - p), and n_v = 1 or 0."""
    rng = np.random.default_rng(particles)
    sites = 60
    x = isometry(rng, sites, particles)
    u = x[0] + 1j * x[1]
    v = rng.normal(size=(2, sites))
    v /= np.sqrt((v**2).sum())
    w = v[0] + 1j * v[1]
    rho = u @ u.conj().T
    row = np.empty((2, particles))
    amplitudes(v, x, row)
    p = square(row)
    assert abs(p - (w.conj() @ rho @ w).real) < 1e-14
    project(v, occupied, row, x, np.empty((2, SUMS)))
    u = x[0] + 1j * x[1]
    assert np.abs(u.conj().T @ u - np.eye(particles)).max() < 1e-14
    rest, one = np.eye(sites) - np.outer(w, w.conj()), np.outer(w, w.conj())
    c = rest @ rho @ w
    sign = 1 / (1 - p) if not occupied else -1 / p
    expected = rest @ rho @ rest + sign * np.outer(c, c.conj()) + occupied * one
    assert np.abs(u @ u.conj().T - expected).max() < 1e-13


@pytest.mark.parametrize("angle", [1e-3, 1e-6])
def test_rare_outcomes_are_as_orthonormal_as_others(angle):
    rng = np.random.default_rng(0)
    x = isometry(rng, 30, 10)
    u = x[0] + 1j * x[1]
    outside = rng.normal(size=30)
    outside = outside - u @ (u.conj().T @ outside)
    outside /= np.linalg.norm(outside)
    w = np.cos(angle) * u @ np.full(10, 10**-0.5) + np.sin(angle) * outside
    v = np.ascontiguousarray(np.stack([w.real, w.imag]))
    row = np.empty((2, 10))
    amplitudes(v, x, row)
    project(v, False, row, x, np.empty((2, SUMS)))
    u = x[0] + 1j * x[1]
    assert np.abs(u.conj().T @ u - np.eye(10)).max() < 1e-13
    assert np.abs(w.conj() @ u).max() < 1e-15 / angle


@pytest.mark.parametrize(("sites", "particles"), [(4, 1), (50, 33), (90, 90)])
def test_cholesky_makes_columns_orthonormal(sites, particles):
    rng = np.random.default_rng(sites)
    x = isometry(rng, sites, particles)
    x *= np.exp(0.5 * rng.normal(size=(1, sites, 1)))
    u = x[0] + 1j * x[1]
    gram = u.conj().T @ u
    found = orthonormalize(x, np.empty((2, particles, particles)))
    assert abs(found - np.linalg.slogdet(gram)[1]) < 1e-12
    after = x[0] + 1j * x[1]
    assert np.abs(after.conj().T @ after - np.eye(particles)).max() < 1e-13
    projector = u @ np.linalg.solve(gram, u.conj().T)
    assert np.abs(after @ after.conj().T - projector).max() < 1e-12


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.3, 1.0])
@pytest.mark.parametrize("shift", [-0.7, 0.0, 1e-3, 5.0])
def test_the_law_of_a_signal_is_a_mixture(p, shift):
    def below(z):
        return 0.5 * (1 + erf(z / np.sqrt(2)))

    for xi in (-3.0, -0.2, 0.0, 1.0, 4.0):
        z = mixed_quantile(p, shift, xi)
        mixture = p * below(z - shift) + (1 - p) * below(z)
        assert abs(mixture - below(xi)) < 4e-16 * 10


# ---------------------------------------------------- the document's diffusion


def documented(model, dt, times, n_traj, seed, *, drift=(2.0, -1.0), late=True):
    """Return means and spreads of n_x under the document's diffusion.

    U <- QR[diag(exp(sqrt(gamma) dW + gamma (2 <n> - 1) dt)) exp(-i h dt) U], with <n>
    taken after exp(-i h dt); in numpy, for all trajectories at once.
    """
    rng = np.random.default_rng(seed)
    h, n_sites = model.hamiltonian.toarray(), model.dim
    sites = [int(np.argmax(d.operator.diagonal())) for d in model.dissipators]
    rate = model.dissipators[0].rate
    step = expm(-1j * dt * h)
    u = np.broadcast_to(model.initial.matrix, (n_traj, *model.initial.matrix.shape))
    means = [(np.abs(u) ** 2).sum(axis=2)]
    for width in np.diff(times):
        for _ in range(round(width / dt)):
            before = (np.abs(u) ** 2).sum(axis=2)
            u = step @ u
            n = (np.abs(u) ** 2).sum(axis=2) if late else before
            growth = np.zeros((n_traj, n_sites))
            noise = np.sqrt(rate * dt) * rng.normal(size=(n_traj, len(sites)))
            force = rate * dt * (drift[0] * n[:, sites] + drift[1])
            growth[:, sites] = noise + force
            u = np.linalg.qr(np.exp(growth)[:, :, None] * u)[0]
        means.append((np.abs(u) ** 2).sum(axis=2))
    values = np.array(means)
    return values.mean(axis=1).T, values.std(axis=1).T


def test_homodyne_is_the_diffusion_of_the_document():
    """Same means and spreads, but for its bias of order dt; no -1, no agreement."""
    model, n_traj = chain(sites=4, dephased=(0, 2)), 4000
    ensemble = simulate(model, TIMES, n_traj=n_traj, seed=3, **how("homodyne"))
    mean, sd = ensemble.mean[:4], ensemble.sd[:4]
    theirs, spread = documented(model, 0.02, TIMES, n_traj, seed=1)
    error = np.sqrt(2 / n_traj) * np.maximum(sd, 1e-6)
    assert (np.abs(mean - theirs) / error)[:, 1:].max() < 6
    assert (np.abs(sd - spread) / error)[:, 1:].max() < 6
    exact = correlation_equation(model, TIMES).values[:4]
    for drift in ((2.0, 0.0), (0.0, -1.0)):
        wrong, _ = documented(model, 0.02, TIMES, n_traj, seed=1, drift=drift)
        assert (np.abs(wrong - exact) / error)[:, 1:].max() > 8, drift


# ----------------------------------------------------------------------- refusals


def test_refusals():
    model = chain()
    pair = replace(
        model, dissipators=Dissipator(np.diag([1.0, 1, 0, 0, 0]), 1.0, name="d")
    )
    for choice in (Jump(), Projections(), Homodyne(), Heterodyne()):
        with pytest.raises(SchemeMismatchError, match="number of fermions in one mode"):
            lower(pair, {"d": choice})
    for choice in (Homodyne(efficiency=0.5), Heterodyne(efficiency=0.0)):
        with pytest.raises(SchemeMismatchError, match="must have efficiency 1"):
            lower(model, {"dephasing": choice})
    lower(pair, {"d": Averaged()})
    pulsed = replace(
        model,
        dissipators=Dissipator(number(5, 0), 1.0, name="d", strength=np.cos),
    )
    with pytest.raises(SchemeMismatchError, match=r"use UnitaryNoise\(\) for them"):
        simulate(
            pulsed,
            TIMES,
            n_traj=64,
            seed=1,
            scheme=Strang(0.1),
            unraveling={"d": Projections()},
        )
    for scheme in (Heun(0.1), TwoPoint(0.1), Exact()):
        with pytest.raises(SchemeMismatchError):
            simulate(
                model,
                TIMES,
                n_traj=64,
                seed=1,
                scheme=scheme,
                unraveling={"dephasing": Homodyne()},
            )


def test_kicks_of_many_modes_turn_the_rarer_sign():
    operator = np.kron(np.array([[0, 1], [1, 0]]), np.eye(3))[:5, :5]
    operator = operator + np.diag([0, 0, 1.0, 0, 0])
    model = replace(chain(), dissipators=Dissipator(operator, 0.7, name="d"))
    events: OrbitalEvents = orbital_events(lower(model, {"d": Kicks()}))
    assert events.mode_ptr[-1] == 2
    reference = correlation_equation(model, TIMES)
    settings = {"unraveling": {"d": Kicks()}, "n_traj": 4096, "seed": 2}
    assert judge(model, reference, **settings).status == "pass"
    assert judge(model.with_rate("d", 2), reference, **settings).status == "fail"
