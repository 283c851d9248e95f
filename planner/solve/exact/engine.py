"""CP-SAT as all of the package uses it: repeatable, within an effort, and without its presolve.

With its presolve ortools 9.15 calls plans optimal where a cheaper one exists, and models infeasible that are
not, once the coefficients of a sum reach 2^31 (bytes of a GPU do). ``tests/unit/solve/test_engine.py`` has a
model of 13 variables, shrunk from a scenario with two shards on a node. It is the engine, not the model: in
smaller units of the same numbers presolve is right, and the solution that it loses can be checked by hand. On
fleets of 80 to 160 replicas presolve made no difference that could be measured.
"""

from __future__ import annotations

from ortools.sat.python import cp_model

from planner.solve.options import Effort


def make_solver(effort: Effort) -> cp_model.CpSolver:
    """Return an engine with an effort's limits, threads and seed."""
    solver = cp_model.CpSolver()
    solver.parameters.cp_model_presolve = False
    solver.parameters.num_workers = effort.workers
    solver.parameters.random_seed = effort.seed % 2**31
    solver.parameters.max_deterministic_time = effort.deterministic_time
    if effort.limit_s is not None:
        solver.parameters.max_time_in_seconds = effort.limit_s
    return solver
