"""What everyone would try first: first-fit and best-fit decreasing, over the same state and types."""

from __future__ import annotations

import numpy as np

from planner.domain.scenario import Scenario
from planner.solve.heuristics import insert_all, largest_first, open_for, open_required, price_shares
from planner.solve.packing import Packing
from planner.solve.problem import make_problem


def best_fit_decreasing(scenario: Scenario) -> int:
    """Return the cost of placing the largest first, each where least stays free."""
    problem = make_problem(scenario)
    shares = price_shares(problem)
    packing = Packing(problem)
    open_required(packing)
    insert_all(packing, largest_first(shares), shares)
    return packing.cost


def first_fit_decreasing(scenario: Scenario) -> int:
    """Return the cost of placing the largest first, each in the first shard that takes it."""
    problem = make_problem(scenario)
    shares = price_shares(problem)
    packing = Packing(problem)
    open_required(packing)
    for unit in largest_first(shares):
        found = packing.fit(unit) if problem.units[unit].simple else None
        if found is None:
            open_for(packing, unit, shares[unit])
        else:
            packing.place(unit, int(np.min(found.cells)), found.rank)
    return packing.cost
