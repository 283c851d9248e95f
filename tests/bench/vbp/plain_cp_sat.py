"""The model that everyone would try first with CP-SAT: one literal an item and bin, a time limit."""

from __future__ import annotations

from ortools.sat.python import cp_model


def plain_cp_sat(sizes: list[list[int]], capacities: list[int], *, bins: int, limit_s: float) -> int | None:
    """Return the fewest bins found within a limit, of ``bins`` at most; None if none are found.

    Parameters
    ----------
    sizes, capacities
        Of the items in each dimension, and of a bin.
    bins
        Bins that are known to suffice: those of best fit decreasing.
    limit_s
        Seconds on one core.
    """
    model = cp_model.CpModel()
    used = [model.new_bool_var("") for _ in range(bins)]
    inside = [[model.new_bool_var("") for _ in range(bins)] for _ in sizes]
    for row in inside:
        model.add_exactly_one(row)
    for number, opened in enumerate(used):
        for dimension, capacity in enumerate(capacities):
            load = sum(size[dimension] * row[number] for size, row in zip(sizes, inside, strict=True))
            model.add(load <= capacity * opened)
        if number:
            model.add_implication(opened, used[number - 1])
    model.minimize(sum(used))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_s
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    return round(solver.objective_value) if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else None
