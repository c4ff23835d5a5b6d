"""Structure found once: groups that commute, factors that are exact exponentials."""

import numpy as np
import pytest
import scipy.sparse as sp
from analytic import SX, SZ, random_hermitian, random_ket
from scipy.linalg import block_diag, expm

from stochq.arrays import as_operator
from stochq.schemes.noise import apply_noise
from stochq.spaces import bond_coupling, site_number
from stochq.structure import (
    blocks,
    commute,
    commuting_groups,
    eigenvectors,
    is_diagonal,
    noise_factors,
    pack,
    pack_quadratic,
    spectrum_of,
)

EPS = np.finfo(float).eps


def operators(*matrices):
    return [as_operator(m, "L") for m in matrices]


def commutator_norm(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return np.abs(a @ b - b @ a).max()


def test_a_chain_of_bonds_makes_two_groups():
    bonds = [bond_coupling(7, j) for j in range(6)]
    assert commuting_groups(bonds) == [[0, 2, 4], [1, 3, 5]]
    dense = [b.toarray() for b in bonds]
    for group in commuting_groups(bonds):
        for j in group:
            assert all(commutator_norm(dense[j], dense[k]) == 0 for k in group)
    assert commutator_norm(dense[0], dense[1]) > 0


def test_diagonal_channels_make_one_group():
    sites = [site_number(5, x) for x in range(5)]
    assert commuting_groups(sites) == [[0, 1, 2, 3, 4]]
    mixed = [bond_coupling(5, 0), *sites]
    assert commuting_groups(mixed) == [[1, 2, 3, 4, 5], [0]]
    assert commuting_groups([]) == []


def test_commuting_channels_without_a_common_site_share_a_group():
    assert commuting_groups(operators(SX, SZ)) == [[1], [0]]
    assert commuting_groups(operators(np.kron(SX, SX), np.kron(SZ, SZ))) == [[1, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_every_group_commutes_and_every_channel_is_in_one(seed):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    channels = operators(
        *(basis @ np.diag(rng.normal(size=6)) @ basis.T for _ in range(3)),
        *(random_hermitian(rng, 6) for _ in range(3)),
        *(np.diag(rng.normal(size=6)) for _ in range(2)),
    )
    groups = commuting_groups(channels)
    assert sorted(k for group in groups for k in group) == list(range(8))
    assert sorted(map(sorted, groups)) == [[0, 1, 2], [3], [4], [5], [6, 7]]
    for group in groups:
        for j in group:
            for k in group:
                one, other = channels[j].toarray(), channels[k].toarray()
                assert commutator_norm(one, other) <= 100 * EPS


def test_commuting_is_decided_relative_to_size():
    big, small = operators(1e8 * SZ, 1e-8 * SX)
    assert not commute(big, small)
    assert commute(big, big)


def test_commuting_with_nothing():
    zero, x = operators(np.zeros((2, 2)), SX)
    assert commute(zero, x)
    assert commute(x, zero)


def kinds():
    """Return Hermitian matrices of every structure that the kernels meet."""
    rng = np.random.default_rng(5)
    random = random_hermitian(rng, 6)
    sparse = sp.random_array((8, 8), density=0.2, rng=rng).toarray()
    blocked = block_diag(random_hermitian(rng, 3), [[0.0]], random_hermitian(rng, 2))
    shuffle = rng.permutation(6)
    projector = np.outer(*(2 * [random_ket(rng, 5)])[:2])
    vector = random_ket(rng, 5)
    projector = np.outer(vector, vector.conj())
    equal = random_hermitian(rng, 2)
    return {
        "dense": random,
        "sparse": sparse + sparse.T,
        "blocks": blocked[np.ix_(shuffle, shuffle)],
        "diagonal": np.diag(rng.normal(size=5)),
        "projector": projector,
        "reflection": np.eye(5) - 2 * projector,
        "bond": bond_coupling(4, 1).toarray(),
        "equal blocks": block_diag(equal, equal, equal),
        "degenerate": np.kron(SX, np.eye(3)),
        "large": 1e6 * random,
        "tiny": 1e-6 * random,
        "imaginary": np.array([[0, -1j], [1j, 0]]),
        "identity": np.eye(3),
    }


KINDS = kinds()


@pytest.mark.parametrize("kind", KINDS, ids=list(KINDS))
def test_eigenvectors_rebuild_the_exponential(kind):
    dense = KINDS[kind]
    operator = as_operator(dense, "L")
    x = 0.7 / max(1.0, np.abs(dense).max())
    product = np.eye(len(dense), dtype=complex)
    for value, terms in eigenvectors(operator):
        for members, vector in terms:
            full = np.zeros(len(dense), dtype=complex)
            full[members] = vector
            turn = np.exp(-1j * x * value) - 1
            product = product + turn * np.outer(full, full.conj()) @ product
    assert np.abs(product - expm(-1j * x * dense)).max() <= 1e3 * EPS
    assert np.abs(product - expm(1j * x * dense)).max() > 1e-6 * x


@pytest.mark.parametrize("kind", KINDS, ids=list(KINDS))
def test_the_noise_kernel_applies_the_exponential(kind):
    dense = KINDS[kind]
    dim, lanes = len(dense), 64
    rng = np.random.default_rng(8)
    factors = noise_factors([as_operator(dense, "L")], [[0]])
    kets = np.array([random_ket(rng, dim) for _ in range(lanes)])
    increments = rng.normal(size=(1, lanes)) / max(1.0, np.abs(dense).max())
    x = np.ascontiguousarray(np.stack([kets.T.real, kets.T.imag]))
    apply_noise(factors, np.int64(0), increments, x, np.empty((5, lanes)))
    found = (x[0] + 1j * x[1]).T
    truth = [
        expm(-1j * w * dense) @ k for w, k in zip(increments[0], kets, strict=True)
    ]
    assert np.abs(found - truth).max() <= 1e3 * EPS
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() <= 50 * EPS


def test_a_group_applies_the_sum_of_its_channels():
    rng = np.random.default_rng(3)
    channels = [site_number(4, 0), bond_coupling(4, 0), bond_coupling(4, 2)]
    channels[0] = as_operator(np.diag([1.0, 1, 0.3, 0.3]), "L")
    groups = commuting_groups(channels)
    assert groups == [[0, 1, 2]]
    kets = np.array([random_ket(rng, 4) for _ in range(64)])
    w = rng.normal(size=(3, 64))
    x = np.ascontiguousarray(np.stack([kets.T.real, kets.T.imag]))
    apply_noise(noise_factors(channels, groups), np.int64(0), w, x, np.empty((5, 64)))
    dense = np.array([c.toarray() for c in channels])
    truth = [
        expm(-1j * np.tensordot(w[:, i], dense, axes=1)) @ kets[i] for i in range(64)
    ]
    assert np.abs((x[0] + 1j * x[1]).T - truth).max() <= 1e3 * EPS


def test_blocks_leave_out_what_is_not_touched():
    matrix = as_operator(block_diag(SX, [[0.0]], SX, [[2.0]]), "L")
    assert [b.tolist() for b in blocks(matrix)] == [[0, 1], [3, 4], [5]]


@pytest.mark.parametrize("kind", KINDS, ids=list(KINDS))
def test_spectrum_of(kind):
    values = spectrum_of(as_operator(KINDS[kind], "L"))
    truth = np.linalg.eigvalsh(KINDS[kind])
    scale = max(1.0, np.abs(truth).max())
    assert np.abs(values - truth).max() <= 100 * EPS * scale


def test_packed_forms_are_expectation_values():
    rng = np.random.default_rng(4)
    observables = [random_hermitian(rng, 5), np.diag(rng.normal(size=5)), np.eye(5)]
    forms = pack_quadratic(operators(*observables))
    ket = random_ket(rng, 5)
    for o, dense in enumerate(observables):
        total = 0.0
        for p in range(forms.ptr[o], forms.ptr[o + 1]):
            overlap = ket[forms.row[p]].conj() * ket[forms.column[p]]
            total += (overlap * (forms.re[p] + 1j * forms.im[p])).real
        assert abs(total - np.vdot(ket, dense @ ket).real) <= 20 * EPS
        wrong = np.vdot(ket, dense.T @ ket).real
        assert is_diagonal(as_operator(dense, "O")) or abs(total - wrong) > 1e-3


def test_packed_stacks_hold_every_row():
    rng = np.random.default_rng(6)
    dense = [random_hermitian(rng, 3) for _ in range(2)]
    packed = pack(operators(*dense))
    rows = np.zeros((6, 3), dtype=complex)
    for i in range(6):
        inside = slice(packed.indptr[i], packed.indptr[i + 1])
        rows[i, packed.indices[inside]] = packed.data[inside]
    assert np.array_equal(rows, np.vstack(dense))
    assert pack([]).indptr.tolist() == [0]
