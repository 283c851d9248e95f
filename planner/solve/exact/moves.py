"""Which of its choices each server makes: CP-SAT picks one each, so that what is given is what is taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ortools.sat.python import cp_model

from planner.solve.exact.engine import make_solver
from planner.solve.options import Effort

Choice = tuple[int, Sequence[int], Sequence[int]]
"""A server, what it gives, and what it takes."""


def pick_choices(
    choices: Sequence[Choice], servers: int, *, most_moves: int, effort: Effort
) -> list[int] | None:
    """Return the choices that were picked, one a server, as positions.

    Parameters
    ----------
    choices
        Those that are open to the servers.
    servers
        How many there are.
    most_moves
        Objects that are taken in all.

    Returns
    -------
    None if the search was cut short; empty if there is no way.
    """
    model = cp_model.CpModel()
    made = [model.new_bool_var("") for _ in choices]
    of_server: list[list[cp_model.IntVar]] = [[] for _ in range(servers)]
    given: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    taken: dict[int, list[cp_model.IntVar]] = defaultdict(list)
    for one, (server, gives, takes) in zip(made, choices, strict=True):
        of_server[server].append(one)
        for item in gives:
            given[item].append(one)
        for item in takes:
            taken[item].append(one)
    for open_to in of_server:
        model.add_exactly_one(open_to)
    for item in sorted(given.keys() | taken.keys()):
        stays = ~model.new_bool_var("")
        model.add_exactly_one([*given[item], stays])
        model.add_exactly_one([*taken[item], stays])
    model.add(sum(len(takes) * one for one, (_, _, takes) in zip(made, choices, strict=True)) <= most_moves)
    solver = make_solver(effort)
    solver.parameters.cp_model_presolve = True  # it errs with large numbers only
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return []
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return None
    return [at for at, one in enumerate(made) if solver.value(one)]
