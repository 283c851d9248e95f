"""The model that everyone would try first with CP-SAT: one literal an item and bin, a time limit."""

from __future__ import annotations

import threading
import time

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
        Seconds of CPU of this process, so that what else runs on the machine takes nothing away.
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
    solver.parameters.num_workers = 1
    done = threading.Event()
    threading.Thread(target=_stop_after, args=(solver, done, time.process_time() + limit_s)).start()
    try:
        status = solver.solve(model)
    finally:
        done.set()
    return round(solver.objective_value) if status in (cp_model.OPTIMAL, cp_model.FEASIBLE) else None


def _stop_after(solver: cp_model.CpSolver, done: threading.Event, end_s: float) -> None:
    while not done.wait(0.02):
        if time.process_time() >= end_s:
            solver.stop_search()
