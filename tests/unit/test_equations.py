"""What `print(model)` and a notebook say: the terms a model has, and no others."""

import numpy as np
import pytest
from analytic import LOWER, SX, SZ

from stochq.envelopes import Sampled
from stochq.model import ComplexWhiteNoise, Dissipator, Model, WhiteNoise
from stochq.spaces import hopping_chain, site_number
from stochq.states import Occupations

NOISE = WhiteNoise(SZ, rate=0.5, name="phase")
PULSED = WhiteNoise(SZ, rate=0.5, strength=np.cos, name="phase")
LOSS = Dissipator(LOWER, 0.3, name="loss")


def lines(**parts):
    parts = {"initial": [1, 0], "observables": {"z": SZ}, "name": "qubit"} | parts
    return str(Model(**parts)).splitlines()


def test_stratonovich_noise():
    assert lines(hamiltonian=SX, noise=NOISE) == [
        "Model 'qubit': dimension 2, starts from a ket",
        "  dψ = -i H ψ dt - i Σ_j L_j ψ ∘ dW_j",
        "  <dW_j dW_k> = C_jk dt, read as Stratonovich",
        "  noise 'phase': 1 operator, rate 0.5",
        "  observables: z",
        "  average: dρ/dt = -i [H, ρ] - 1/2 Σ_jk C_jk [L_j, [L_k, ρ]]",
    ]


def test_ito_noise_shows_the_drift():
    text = lines(hamiltonian=SX, noise=NOISE, calculus="ito")
    drift = "- 1/2 Σ_jk C_jk L_j L_k ψ dt"
    assert text[1] == f"  dψ = -i H ψ dt {drift} - i Σ_j L_j ψ dW_j"
    assert text[2].startswith("  <dW_j dW_k> = C_jk dt, read as Ito, with the drift")
    assert text[-1] == lines(hamiltonian=SX, noise=NOISE)[-1], "it is the same process"


def test_raw_ito_noise_says_that_the_norm_grows():
    text = lines(hamiltonian=SX, noise=NOISE, calculus="raw-ito")
    assert text[1] == "  dψ = -i H ψ dt - i Σ_j L_j ψ dW_j"
    assert "without the drift" in text[2]
    growth = "  the mean norm grows as d<ψ|ψ>/dt = Σ_jk C_jk <ψ|L_j L_k|ψ>"
    assert text[3] == growth
    assert text[-1] == "  average: dρ/dt = -i [H, ρ] + Σ_jk C_jk L_j ρ L_k"
    assert not [line for line in lines(noise=NOISE) if "norm grows" in line]


def test_functions_of_time_are_shown_where_they_are():
    text = lines(drives=[(SX, np.sin)], noise=PULSED)
    assert text[1] == "  dψ = -i H(t) ψ dt - i Σ_j f_j(t) L_j ψ ∘ dW_j"
    assert text[3] == "  with H(t) = Σ_m f_m(t) H_m, 1 drive"
    assert text[4].endswith("rate 0.5, 1 strength f(t)")
    commutators = "Σ_jk f_j C_jk f_k [L_j, [L_k, ρ]]"
    assert text[-1] == f"  average: dρ/dt = -i [H(t), ρ] - 1/2 {commutators}"
    both = lines(hamiltonian=SZ, drives=[(SX, np.sin), (SZ, np.cos)])
    assert both[2] == "  with H(t) = H + Σ_m f_m(t) H_m, 2 drives"
    constant = "\n".join(lines(hamiltonian=SX, noise=NOISE))
    assert "f_" not in constant
    assert "(t)" not in constant


def test_only_terms_that_exist_are_shown():
    assert lines(hamiltonian=SX)[1] == "  dψ = -i H ψ dt"
    assert lines(hamiltonian=SX)[-1] == "  average: dρ/dt = -i [H, ρ]"
    assert lines(noise=NOISE)[1] == "  dψ = -i Σ_j L_j ψ ∘ dW_j"
    assert lines()[1] == "  dψ = 0"
    assert lines()[-1] == "  average: dρ/dt = 0"
    assert "dW" not in "\n".join(lines(dissipators=LOSS))
    assert "γ" not in "\n".join(lines(noise=NOISE))


def test_dissipators_of_one_name_share_a_line():
    more = [LOSS, Dissipator(SZ, 0.1, name="bath"), Dissipator(SX, 0.2, name="bath")]
    text = lines(dissipators=more)
    assert "  dissipators 'loss': 1 operator, rate 0.3" in text
    assert "  dissipators 'bath': 2 operators, rates 0.1, 0.2" in text
    jumps = "Σ_c γ_c (c ρ c† - 1/2 {c†c, ρ})"
    assert text[-1] == f"  average: dρ/dt = {jumps}"


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ({"rate": 0.25}, "2 operators, rate 0.25 each"),
        ({"rate": [0.25, 1]}, "2 operators, rates 0.25, 1"),
        (
            {"covariance": [[1, 0.5], [0.5, 1]]},
            "2 operators, C = [[1, 0.5], [0.5, 1]]",
        ),
        (
            {"rate": 1.0, "strength": [np.cos, Sampled([0, 1], [1, 2], 1)]},
            "2 operators, rate 1 each, 2 strengths f(t)",
        ),
    ],
)
def test_covariances_in_words(noise, words):
    member = WhiteNoise([SX, SZ], **noise, name="bath")
    assert f"  noise 'bath': {words}" in lines(noise=member)


def test_many_channels_stay_on_one_line():
    many = [np.diag(row) for row in np.eye(10)]
    root = np.random.default_rng(0).normal(size=(10, 3))
    parts = {
        "initial": np.eye(10)[0],
        "observables": {f"n{k}": many[k] for k in range(10)},
    }
    text = lines(**parts, noise=WhiteNoise(many, covariance=root @ root.T, name="x"))
    assert "  noise 'x': 10 operators, C: 10 x 10, rank 3" in text
    assert "  observables: n0, n1, n2, n3, n4, n5, n6, n7 and 2 more" in text
    rates = WhiteNoise(many, rate=np.arange(10) / 10, name="x")
    found = lines(**parts, noise=rates)
    assert "  noise 'x': 10 operators, rates from 0 to 0.9" in found
    assert max(map(len, text)) < 90


def test_complex_noise_tells_its_real_channels():
    (line,) = [
        line
        for line in lines(noise=ComplexWhiteNoise(LOWER, rate=0.2, name="field"))
        if "field" in line
    ]
    assert line.startswith(
        "  complex noise 'field': 1 operator, rate 0.2, as L = A + A†"
    )


def test_mixtures_are_counted():
    assert lines(initial=np.diag([0.5, 0.5]))[0].endswith("a mixture of 2 kets")


def test_one_body_models_speak_of_sites_and_g():
    sites = {
        "hamiltonian": hopping_chain(3, 1.0),
        "initial": Occupations([1, 0, 1]),
        "observables": {"n": site_number(3, 0)},
        "noise": WhiteNoise(site_number(3, 1), rate=0.4, name="phase"),
    }
    text = lines(**sites)
    assert text[0] == "Model 'qubit': 3 sites, starts from 2 fermions"
    assert text[1] == "  dU = -i H U dt - i Σ_j L_j U ∘ dW_j"
    closed = "i [Hᵀ, G] - 1/2 Σ_jk C_jk [L_jᵀ, [L_kᵀ, G]]"
    assert text[-1] == f"  closed:  dG/dt = {closed}"
    lossy = lines(**sites, dissipators=Dissipator(site_number(3, 0), name="d"))
    assert not [line for line in lossy if "dG/dt" in line]


@pytest.mark.parametrize("calculus", ["stratonovich", "ito", "raw-ito"])
def test_latex_has_the_same_terms_and_balanced_braces(calculus):
    model = Model(
        hamiltonian=SX,
        drives=[(SZ, np.cos)],
        noise=PULSED,
        initial=[1, 0],
        observables={"z": SZ},
        calculus=calculus,
    )
    latex = model._repr_latex_()
    assert latex.startswith("$$\\begin{aligned}\n")
    assert latex.endswith("\n\\end{aligned}$$")
    assert latex.count("{") == latex.count("}")
    assert "@" not in latex + str(model)
    assert (r"\circ dW_j" in latex) == (calculus == "stratonovich")
    assert (r"f_j C_{jk} f_k L_j L_k \psi\,dt" in latex) == (calculus == "ito")
    assert (r"L_j \rho L_k" in latex) == (calculus == "raw-ito")
    assert ("[L_j, [L_k" in latex) == (calculus != "raw-ito")
    assert r"H(t) &= H + \sum_m f_m(t)\, H_m" in latex


def test_latex_of_dissipators_and_orbitals():
    model = Model(dissipators=LOSS, initial=[1, 0], observables={"z": SZ})
    assert r"\sum_c \gamma_c \bigl(c \rho c^\dagger" in model._repr_latex_()
    orbitals = Model(initial=Occupations([1, 0]), observables={"n": site_number(2, 0)})
    assert "dU &= 0" in orbitals._repr_latex_()
