"""Whether so many shards suffice, each filled by one of some patterns: CP-SAT says so in exact integers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from planner.solve.exact.engine import make_solver
from planner.solve.options import Effort
from planner.solve.problem import Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What CP-SAT says of covering a demand.

    Parameters
    ----------
    chosen
        Numbers of patterns that cover it, one entry a shard; None if none are known.
    impossible
        Whether it is proved that there are none.
    spent
        Deterministic time, roughly seconds.
    """

    chosen: tuple[int, ...] | None
    impossible: bool
    spent: float


def cover(
    demand: Ints, patterns: Sequence[Sequence[tuple[int, int]]], shards: int, effort: Effort
) -> Covered:
    """Cover every class by at most so many of the patterns.

    Parameters
    ----------
    demand
        ``(classes,)``.
    patterns
        Classes and how many units of each.
    shards
        How many may be used, each as often as it is needed.
    effort
        What may be spent.
    """
    model = cp_model.CpModel()
    containing: dict[int, list[tuple[int, int]]] = defaultdict(list)
    used = []
    for number, pattern in enumerate(patterns):
        most = max(-(-int(demand[of_class]) // count) for of_class, count in pattern)
        used.append(model.new_int_var(0, min(most, shards), ""))
        for of_class, count in pattern:
            containing[of_class].append((number, count))
    for of_class, count in enumerate(demand):
        model.add(sum(amount * used[number] for number, amount in containing[of_class]) >= int(count))
    model.add(sum(used) <= shards)
    solver = make_solver(effort)
    solver.parameters.cp_model_presolve = True  # no coefficient here is anywhere near what it fails on
    solver.parameters.linearization_level = 2
    status = solver.solve(model)
    chosen = None
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        chosen = tuple(number for number, item in enumerate(used) for _ in range(solver.value(item)))
    return Covered(
        chosen=chosen,
        impossible=status == cp_model.INFEASIBLE,
        spent=solver.response_proto.deterministic_time,
    )
