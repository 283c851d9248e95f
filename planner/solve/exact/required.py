"""On which nodes the shards that ``minCount`` asks for can all stand together: a small model of counts.

Which devices of a node a shard gets does not matter for that, only how many of its class.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from ortools.sat.python import cp_model

from planner.solve.exact.engine import make_solver
from planner.solve.openings import Openings
from planner.solve.options import Effort

Stand = tuple[int, int, int]
"""A shard type, a node, and how many shards of the type go there."""


def stands_of_required(openings: Openings, effort: Effort) -> list[Stand] | None:
    """Return where the shards on nodes can stand that are asked for and not open yet; None if none is known.

    Limits of counts, addresses and money are left to the caller: they are the same wherever shards stand.
    """
    model, counts = cp_model.CpModel(), dict[tuple[int, int], cp_model.IntVar]()
    for index, item in enumerate(openings.problem.scenario.shard_types):
        missing = item.min_count - openings.counts[index]
        if item.provision == "new" or missing <= 0:
            continue
        nodes = [node for node in openings.eligible(index) if openings.on_node(index, node) is not None]
        for node in nodes:
            counts[index, node] = model.new_int_var(0, missing, "")
        model.add(sum(counts[index, node] for node in nodes) == missing)
    on_node = defaultdict[int, dict[int, cp_model.IntVar]](dict)
    for (index, node), count in counts.items():
        on_node[node][index] = count
    for node, of_type in on_node.items():
        _add_room(model, openings, node, of_type)
    solver = make_solver(effort)
    if solver.solve(model) not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return None
    return [(index, node, solver.value(count)) for (index, node), count in counts.items()]


def _add_room(
    model: cp_model.CpModel, openings: Openings, node: int, of_type: dict[int, cp_model.IntVar]
) -> None:
    """Let the shards of each type on a node be no more than it has room for."""
    types, room = openings.problem.scenario.shard_types, openings.unused(node)
    free = Counter(room.devices)
    model.add(sum(of_type.values()) <= room.pods)
    model.add(sum(types[index].cpu_milli * count for index, count in of_type.items()) <= room.cpu_milli)
    model.add(sum(types[index].memory_bytes * count for index, count in of_type.items()) <= room.memory_bytes)
    for name in sorted({types[index].device_class for index in of_type}):
        wanted = [
            types[index].device_count * count
            for index, count in of_type.items()
            if types[index].device_class == name and openings.problem.is_gpu[index]
        ]
        if wanted:
            model.add(sum(wanted) <= free[name])
