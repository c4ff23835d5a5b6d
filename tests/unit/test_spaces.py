"""The matrices against their defining algebra."""

import numpy as np
import pytest

from stochq.errors import ModelError
from stochq.spaces import (
    bond_coupling,
    boson_annihilation,
    coherent_spin_state,
    hopping_chain,
    site_number,
    spin_operators,
    tensor,
    tls_lowering,
    tls_number,
)

EPS = np.finfo(float).eps


def commutator(a, b):
    return (a @ b - b @ a).toarray()


@pytest.mark.parametrize("site", [0, 1, 2])
def test_lowering_empties_its_own_site(site):
    kets = np.eye(8)
    bits = [0, 0, 0]
    bits[site] = 1
    excited = kets[int("".join(map(str, bits)), 2)]
    assert np.array_equal(tls_lowering(3, site) @ excited, kets[0])
    assert np.array_equal(tls_number(3, site) @ excited, excited)
    assert not (tls_lowering(3, site) @ kets[0]).any()


def test_lowering_operators_of_different_sites_commute():
    a, b = tls_lowering(3, 0), tls_lowering(3, 2)
    assert not commutator(a, b.T).any()
    assert not commutator(a, b).any()
    assert np.array_equal((a @ a.T + a.T @ a).toarray(), np.eye(8)), (
        "one site must anticommute to one"
    )


def test_number_is_raising_times_lowering():
    s = tls_lowering(4, 2)
    assert np.array_equal((s.T @ s).toarray(), tls_number(4, 2).toarray())


def test_bond_coupling_is_the_one_excitation_block_of_the_chain():
    n = 4
    one = [2 ** (n - 1 - k) for k in range(n)]
    for j in range(n - 1):
        lowering = tls_lowering(n, j) + tls_lowering(n, j + 1)
        full = (lowering.T @ lowering).toarray()
        block = bond_coupling(n, j).toarray()
        assert np.array_equal(full[np.ix_(one, one)], block)
        assert np.array_equal(block @ block, 2 * block)


def test_hopping_chain_has_the_band_of_open_ends():
    n, hopping = 7, 1.3
    band = -2 * hopping * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))
    levels = np.linalg.eigvalsh(hopping_chain(n, hopping).toarray())
    assert np.allclose(levels, np.sort(band), atol=20 * EPS, rtol=0)


def test_single_site_lattice():
    assert hopping_chain(1, 2.0).toarray() == 0
    assert site_number(1, 0).toarray() == 1


def test_site_number():
    assert np.array_equal(site_number(3, 1).toarray(), np.diag([0, 1, 0]))


def test_boson_commutator_is_one_below_the_cutoff():
    a = boson_annihilation(5)
    assert np.allclose(
        np.diag(commutator(a, a.T)), [1, 1, 1, 1, 1, -5], atol=20 * EPS, rtol=0
    )
    assert np.allclose((a.T @ a).diagonal(), range(6), atol=10 * EPS, rtol=0)


@pytest.mark.parametrize("j", [0, 0.5, 1, 3.5, 20])
def test_spin_algebra(j):
    s1, s2, s3 = spin_operators(j)
    tolerance = 50 * EPS * max(j, 1) ** 2
    assert np.array_equal(s3.diagonal(), np.arange(j, -j - 1, -1))
    for a, b, c in ((s1, s2, s3), (s2, s3, s1), (s3, s1, s2)):
        assert np.allclose(commutator(a, b), 1j * c.toarray(), atol=tolerance, rtol=0)
    square = (s1 @ s1 + s2 @ s2 + s3 @ s3).toarray()
    assert np.allclose(square, j * (j + 1) * np.eye(s1.shape[0]), atol=tolerance)


def test_spin_half_is_half_pauli():
    s1, s2, s3 = (s.toarray() for s in spin_operators(0.5))
    assert np.array_equal(2 * s1, [[0, 1], [1, 0]])
    assert np.array_equal(2 * s2, [[0, -1j], [1j, 0]])
    assert np.array_equal(2 * s3, [[1, 0], [0, -1]])


@pytest.mark.parametrize(
    "direction", [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0, -1, 0), (0.48, -0.6, 0.64)]
)
@pytest.mark.parametrize("j", [0.5, 1, 15.5])
def test_coherent_state_is_the_extreme_eigenvector(j, direction):
    ket = coherent_spin_state(j, direction)
    along = sum(n * s for n, s in zip(direction, spin_operators(j), strict=True))
    assert np.allclose(along @ ket, j * ket, atol=200 * EPS * j, rtol=0)
    assert np.linalg.norm(ket) == pytest.approx(1, abs=200 * EPS * j)


def test_coherent_state_of_thousands_of_spins_is_normalized():
    ket = coherent_spin_state(1000, (0.6, 0.0, 0.8))
    assert np.linalg.norm(ket) == pytest.approx(1, abs=1e-10)


def test_tensor_puts_the_first_factor_leftmost():
    a, b, c = np.diag([1, 2]), np.array([[0, 1j], [3, 0]]), np.eye(3)
    assert np.array_equal(tensor(a, b, c).toarray(), np.kron(np.kron(a, b), c))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tls_lowering(0, 0), "`n_sites` must be an integer >= 1, but is 0"),
        (lambda: tls_lowering(2, 2), "`site` must be an integer from 0 to 1, but is 2"),
        (lambda: tls_number(2, True), "`site` must be .* but is True"),
        (lambda: bond_coupling(3, 2), "`bond` must be an integer from 0 to 1"),
        (lambda: bond_coupling(1, 0), "`n_sites` must be an integer >= 2"),
        (lambda: hopping_chain(3, np.nan), "`hopping` must be a finite real number"),
        (lambda: site_number(3, -1), "`site` must be an integer from 0 to 2"),
        (lambda: boson_annihilation(2.0), "`cutoff` must be an integer >= 1"),
        (lambda: spin_operators(0.3), "`j` must be 0, 1/2, 1, 3/2"),
        (lambda: spin_operators(-1), "`j` must be 0, 1/2, 1, 3/2"),
        (lambda: coherent_spin_state(1, (1, 1, 0)), "`direction` must be a unit"),
        (lambda: coherent_spin_state(1, (np.nan, 0, 1)), "`direction` must be a unit"),
        (tensor, "`operators` must hold at least one matrix"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ModelError, match=words):
        call()
