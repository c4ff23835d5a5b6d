"""Ten random Lindblad models, averaged by QuTiP, by this package, and by trajectories.

The dissipator is written twice. Here the Kossakowski matrix K of

    sum_ab K_ab (G_a rho G_b^dag - 1/2 {G_b^dag G_a, rho})

is diagonalized, K = sum_k rate_k u_k u_k^dag, and the jumps are sum_a u_ak G_a at
those rates. QuTiP gets the columns of the Cholesky factor of K: other jump operators
of the same average, and its derivative with respect to the strongest rate comes from
a central difference. Integrations agree to 1e-6. Every verdict has the false-alarm
probability ALPHA = 1e-6, and twenty must pass (ten ensembles, two references each):
2e-5 for the whole file.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import qutip
from analytic import ALPHA, random_hermitian

from stochq import Dissipator, Model, Reference, master_equation, simulate, verify

DIMENSIONS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12)
TIMES = np.linspace(0, 4, 7)
OPERATORS, N_TRAJ = 3, 8192

#: The strongest rate 30 % off must be found in every model.
MISTAKE = 1.3

#: Step of the central difference, relative.
STEP = 0.02


@dataclass(frozen=True)
class Case:
    """A model, and QuTiP's curves for it."""

    model: Model
    curves: Reference


def random_matrix(rng, *shape):
    """Return complex normal numbers of mean square 1."""
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)


def random_density(rng, dim):
    """Return a mixed state of rank 2 (dimension 2 and 3) or 3."""
    root = random_matrix(rng, dim, min(3, (dim + 1) // 2 + 1, dim))
    rho = root @ root.conj().T
    return rho / np.trace(rho).real


def unraveled(operators, kossakowski):
    """Return one dissipator per eigenvector of K, the strongest called "c0"."""
    rates, vectors = np.linalg.eigh(kossakowski)
    return [
        Dissipator(np.tensordot(vectors[:, k], operators, 1), rates[k], name=f"c{n}")
        for n, k in enumerate(np.argsort(-rates))
    ]


def strongest(kossakowski):
    """Return rate_0 u_0 u_0^dag, the part of K that c0 makes."""
    rates, vectors = np.linalg.eigh(kossakowski)
    return rates[-1] * np.outer(vectors[:, -1], vectors[:, -1].conj())


def mesolve(hamiltonian, operators, kossakowski, rho, observables):
    """Return QuTiP's means (O, T), from the Cholesky factor of K."""
    factor = np.linalg.cholesky(kossakowski)
    jumps = [np.tensordot(column, operators, 1) for column in factor.T]
    result = qutip.mesolve(
        qutip.Qobj(hamiltonian),
        qutip.Qobj(rho),
        TIMES,
        [qutip.Qobj(c) for c in jumps],
        e_ops=[qutip.Qobj(o) for o in observables.values()],
        options={"atol": 1e-11, "rtol": 1e-9, "nsteps": 100_000, "progress_bar": ""},
    )
    return np.array(result.expect)


def qutip_curves(hamiltonian, operators, kossakowski, rho, observables):
    """Return QuTiP's reference, with the derivative for the rate of c0."""
    shift = STEP * strongest(kossakowski)
    less, values, more = (
        mesolve(hamiltonian, operators, K, rho, observables)
        for K in (kossakowski - shift, kossakowski, kossakowski + shift)
    )
    slope = {"c0": (more - less) / (2 * STEP)}
    return Reference(TIMES, tuple(observables), values, 1e-7, "mesolve", slope)


@cache
def case(dim):
    """Return the random model of a dimension; the seed is the dimension."""
    rng = np.random.default_rng(dim)
    hamiltonian = random_hermitian(rng, dim)
    operators = random_matrix(rng, OPERATORS, dim, dim) / np.sqrt(2 * dim)
    root = random_matrix(rng, OPERATORS, OPERATORS)
    kossakowski = 0.3 * root @ root.conj().T + 0.02 * np.eye(OPERATORS)
    rho = random_density(rng, dim)
    observables = {name: random_hermitian(rng, dim) for name in ("A", "B", "C")}
    model = Model(
        hamiltonian=hamiltonian,
        dissipators=unraveled(operators, kossakowski),
        initial=rho,
        observables=observables,
        name=f"random {dim}",
    )
    curves = qutip_curves(hamiltonian, operators, kossakowski, rho, observables)
    return Case(model, curves)


def without(model, name):
    """Return the model without the dissipators of that name."""
    kept = [d for d in model.dissipators if d.name != name]
    return replace(model, dissipators=kept)


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_the_averaged_equations_agree(dim):
    model, curves = case(dim).model, case(dim).curves
    ours = master_equation(model, TIMES)
    assert np.abs(ours.values - curves.values).max() < 1e-6
    slope = curves.sensitivity["c0"]
    assert np.abs(ours.sensitivity["c0"] - slope).max() < STEP**2
    assert np.abs(slope).max() > 100 * STEP**2
    for mutant in (
        model.with_rate("c2", MISTAKE),
        without(model, "c2"),
        replace(model, hamiltonian=model.hamiltonian.conj()),
    ):
        wrong = master_equation(mutant, TIMES, sensitivity=False).values
        assert np.abs(wrong - curves.values).max() > 1e-4


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_trajectories_pass_against_both(dim):
    model, curves = case(dim).model, case(dim).curves
    ensemble = simulate(model, TIMES, n_traj=N_TRAJ, seed=100 + dim)
    for reference in (curves, master_equation(model, TIMES)):
        verdict = verify(ensemble, reference, alpha=ALPHA)
        assert verdict.status == "pass", verdict.explain()
    assert (ensemble.jumps[:, -1] > 0.05 * N_TRAJ).all()  # every channel had its say


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_wrong_trajectories_fail_against_both(dim):
    model, curves = case(dim).model, case(dim).curves
    right = master_equation(model, TIMES)
    for mutant in (model.with_rate("c0", MISTAKE), without(model, "c1")):
        ensemble = simulate(mutant, TIMES, n_traj=N_TRAJ, seed=100 + dim)
        for reference in (curves, right):
            verdict = verify(ensemble, reference, alpha=ALPHA)
            assert verdict.status == "fail", verdict.explain()
