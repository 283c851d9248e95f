"""Candidate shards of a small scenario: all that a best plan could open, alike ones together.

A shard that is bought is one of its type; a shard on a node is one of its type and node, and chooses its
devices there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from planner.domain.fleet import ShardType
from planner.domain.references import in_group
from planner.solve.openings import Opening, Openings
from planner.solve.packing import Packing
from planner.solve.problem import Problem, selects


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A shard that may be opened.

    Parameters
    ----------
    shard_type
        Index of its type.
    node
        Index of its node; None for a shard that is bought.
    number
        Its place among those like it.
    domain
        Its failure domain, as ``Openings.domain`` numbers them.
    positions
        The node's devices that it may choose from; empty where there is nothing to choose.
    """

    shard_type: int
    node: int | None
    number: int
    domain: int
    positions: tuple[int, ...] = ()


def make_slots(packing: Packing, *, most_cost: int | None) -> tuple[tuple[Slot, ...], ...]:
    """Return the candidate shards, those that are alike in one tuple.

    A shard that is open holds something or is asked for by ``minCount``, so there are never more of a kind
    than units, unless ``minCount`` says so.

    Parameters
    ----------
    packing
        What is known to be possible: its shards are among the candidates.
    most_cost
        Nothing dearer is looked for, in micro-USD an hour; None is no such limit.
    """
    problem, openings = packing.problem, Openings(packing.problem)
    found, row = [], 0
    for index, item in enumerate(problem.scenario.shard_types):
        if not openings.sound[index]:
            continue
        most = _most(problem, index, most_cost)
        for node in _places(problem, index):
            positions = () if node is None else _positions(problem, index, node)
            count = most if node is None else min(most, _most_on_node(openings, index, node))
            where = Opening(shard_type=index, node=node, positions=(), rooms=())
            slots = tuple(
                Slot(
                    shard_type=index,
                    node=node,
                    number=number,
                    domain=openings.domain(where, row + number),
                    positions=positions if problem.is_gpu[index] else (),
                )
                for number in range(max(count, item.min_count if node is None else 0))
            )
            row += len(slots)
            found.append(slots)
    return tuple(slots for slots in found if slots)


def _places(problem: Problem, index: int) -> list[int | None]:
    item = problem.scenario.shard_types[index]
    if item.provision == "new":
        return [None]
    return [number for number, node in enumerate(problem.scenario.nodes) if selects(item, node)]


def _most(problem: Problem, index: int, most_cost: int | None) -> int:
    """Return how many shards of a type a plan may have and use; not counting empty ones."""
    scenario, item = problem.scenario, problem.scenario.shard_types[index]
    able = sum(_may_hold(problem, unit, index) for unit in range(len(problem.units)))
    limits = [max(able, item.min_count), item.max_count, scenario.policy.max_shards]
    if scenario.cluster.max_ips is not None:
        limits.append(scenario.cluster.max_ips // item.replicas)
    if item.price_microusd_per_h:
        budgets = (most_cost, scenario.policy.max_usd_per_h_microusd)
        limits += [budget // item.price_microusd_per_h for budget in budgets if budget is not None]
    return min(limit for limit in limits if limit is not None)


def _may_hold(problem: Problem, unit: int, index: int) -> bool:
    one = problem.units[unit]
    if one.pin is not None and not in_group(one.pin, problem.scenario.shard_types[index].group):
        return False
    kinds = [int(problem.kind[model]) for model in one.members]
    return all(any(mode.allowed[kind, index] for mode in problem.modes) for kind in kinds)


def _most_on_node(openings: Openings, index: int, node: int) -> int:
    problem = openings.problem
    item, where = problem.scenario.shard_types[index], problem.scenario.nodes[node]
    limits = [openings.pods_of(where)]
    limits += [where.cpu_milli // item.cpu_milli] if item.cpu_milli else []
    limits += [where.memory_bytes // item.memory_bytes] if item.memory_bytes else []
    if problem.is_gpu[index]:
        limits.append(len(_positions(problem, index, node)) // item.device_count)
    return min(limits)


def _positions(problem: Problem, index: int, node: int) -> tuple[int, ...]:
    wanted = problem.scenario.shard_types[index].device_class
    devices = problem.scenario.nodes[node].devices
    return tuple(place for place, device in enumerate(devices) if device.device_class == wanted)


def slots_of_rows(packing: Packing, slots: tuple[tuple[Slot, ...], ...]) -> dict[Slot, int]:
    """Return the row of a packing that each slot stands for, in the order that breaks the symmetry.

    Of shards that are alike the one with the first unit comes first, empty ones come last.
    """
    rows: dict[tuple[int, int | None], list[int]] = defaultdict(list)
    for row in packing.open_rows():
        opening = packing.opened[row]
        rows[opening.shard_type, opening.node].append(row)
    found: dict[Slot, int] = {}
    for alike in slots:
        mine = rows[alike[0].shard_type, alike[0].node]
        mine.sort(key=lambda row: (min(packing.units_in(row), default=len(packing.problem.units)), row))
        found.update(zip(alike, mine, strict=False))
    return found


def opening_of(openings: Openings, slot: Slot, positions: tuple[int, ...]) -> Opening:
    """Return a slot as a shard to open, with the devices that were chosen for it."""
    scenario = openings.problem.scenario
    item: ShardType = scenario.shard_types[slot.shard_type]
    node = None if slot.node is None else scenario.nodes[slot.node]
    if positions:
        rooms = tuple(openings.room(item, node, position) for position in positions)
    else:
        rooms = (openings.room(item, None, 0),) * item.device_count
    return Opening(shard_type=slot.shard_type, node=slot.node, positions=positions, rooms=rooms)
