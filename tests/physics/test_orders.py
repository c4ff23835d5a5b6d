"""Every declared order, measured on every built-in problem."""

import numpy as np
import orders
import pytest

from stochq.problems import all_problems

PROBLEMS = {problem.model.name: problem for problem in all_problems()}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", orders.schemes(), ids=repr)
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_declared_order_is_within_its_error_bar(name, scheme):
    problem = PROBLEMS[name]
    between, outside = problem.commutators()
    if not problem.noise_commutes:
        assert min(between) > 0.1
        assert min(outside) > 0.1
    rows = orders.study(problem, scheme, n_traj=4096, seed=1)
    traits = scheme.traits
    refused = not (problem.noise_commutes or traits.strong or not traits.paths)
    assert bool(rows) != refused
    for row in rows:
        if row["found"] == "exact":
            assert problem.hamiltonian_commutes, row
        else:
            assert row["found"] == "agrees", row
            assert abs(row["order"] - row["declared"]) <= 3 * row["error"], row
            # and another order would not be
            for wrong in (row["declared"] - 0.5, row["declared"] + 0.5):
                assert abs(row["order"] - wrong) > 3 * row["error"], row
            assert np.isfinite(row["order"])
