"""Baths averaged, coupling noise kept: fluctuations that the mean equation hides.

Claim D10 of document 002: on trajectories of the coupling noise alone, the excitations
A, B and the coherence g = <a^dag b> of the pair have second moments that close.
"""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.stats import norm

from stochq import Averaged, simulate
from stochq.documents import thermal_pair

TIMES = np.linspace(0.0, 4.0, 9)
N_TRAJ = 20_000

#: Standard errors allowed at each of 24 points: one false alarm in 1e5.
Z = norm.isf(1e-5 / 48)

GAMMA_A, GAMMA_B, EPSILON = 1.0, 0.6, 0.8
BETA_A, BETA_B = 0.5, 2.0


def second_moments(epsilon=EPSILON, coherence=1.0):
    """Return E[A^2], E[B^2] and E[AB] at TIMES, shape (3, T), from A = 1, B = 0."""
    e_a, e_b = np.exp(-BETA_A), np.exp(-BETA_B)
    k_a, k_b = GAMMA_A * (1 + e_a), GAMMA_B * (1 + e_b)
    p_a, p_b = e_a / (1 + e_a), e_b / (1 + e_b)

    def slope(t, y):
        a, b, aa, bb, ab, gg = y
        return [
            k_a * (p_a - a) + epsilon * (b - a),
            k_b * (p_b - b) + epsilon * (a - b),
            2 * k_a * p_a * a - 2 * (k_a + epsilon) * aa + 2 * epsilon * (ab + gg),
            2 * k_b * p_b * b - 2 * (k_b + epsilon) * bb + 2 * epsilon * (ab + gg),
            k_b * p_b * a
            + k_a * p_a * b
            - (k_a + k_b + 2 * epsilon) * ab
            + epsilon * (aa + bb)
            - 2 * epsilon * gg,
            -(k_a + k_b + 2 * epsilon) * gg + coherence * epsilon * (aa + bb - 2 * ab),
        ]

    start = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    solved = solve_ivp(slope, (0, TIMES[-1]), start, t_eval=TIMES, rtol=1e-10)
    return solved.y[2:5]


def test_fluctuations_conditioned_on_the_coupling_noise():
    pair = thermal_pair(
        beta_a=BETA_A,
        beta_b=BETA_B,
        gamma_a=GAMMA_A,
        gamma_b=GAMMA_B,
        epsilon=EPSILON,
    )
    run = simulate(
        pair,
        TIMES,
        n_traj=N_TRAJ,
        seed=4,
        unraveling={("bath A", "bath B"): Averaged()},
    )
    rows = [run.names.index(name) for name in ("n_A", "n_B")]
    squares = (run.sd**2 * (N_TRAJ - 1) / N_TRAJ + run.mean**2)[rows]
    # values lie in [0, 1], so that their squares have a variance below E[x^2]
    error = np.sqrt(squares / N_TRAJ)[:, 1:]
    exact = second_moments()

    def worst(truth):
        return np.abs((squares - truth[:2])[:, 1:] / error).max()

    assert worst(exact) < Z
    assert worst(second_moments(epsilon=1.2 * EPSILON)) > Z
    assert worst(second_moments(coherence=0.0)) > Z
