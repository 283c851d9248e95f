"""Put units into shards one after the other, opening what is cheapest for what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from planner.domain.fleet import ShardType
from planner.domain.references import in_group
from planner.domain.rules import Rule
from planner.errors import Fault, InputError
from planner.solve.openings import Opening, Openings
from planner.solve.options import Effort
from planner.solve.packing import Floats, Packing
from planner.solve.problem import Problem
from planner.solve.watch import Watch
from planner.units import format_usd

_TRIED_ROWS = 64
"""The latest open shards that a group is tried on before a new one is opened, one by one."""


_REQUIRED_EFFORT = Effort(deterministic_time=5.0, workers=1, seed=0)
"""What CP-SAT may spend on the nodes of required shards. 120 on 50 nodes that they fill to the last core took
up to 0.4, 480 on 200 nodes up to 0.8 with a twentieth left, and more than this with nothing left."""


def open_required(packing: Packing) -> None:
    """Open the shards that ``minCount`` asks for and that are not open yet.

    Those with most devices come first on nodes, each where it leaves least unused, so that large shards still
    find a node. If some find none, CP-SAT says where all of them can stand.

    Raises
    ------
    InputError
        The scenario asks for more than it allows, or than its nodes are found to hold within that effort.
    """
    openings, types = packing.openings, packing.problem.scenario.shard_types
    missing = [index for index, item in enumerate(types) if openings.counts[index] < item.min_count]
    before = packing.rows
    for index in sorted(missing, key=lambda index: _hardest_first(types[index])):
        _open_missing(packing, index)
    short = next((index for index in missing if openings.counts[index] < types[index].min_count), None)
    if short is None:
        return
    fault = _too_many(packing, short)
    if types[short].provision == "new" or openings.limit(short) is not None:
        raise InputError([fault])
    from planner.solve.exact.required import stands_of_required  # ortools takes seconds to import

    for row in reversed(range(before, packing.rows)):
        packing.close(row)
        packing.forget(row)
    stands = stands_of_required(openings, _REQUIRED_EFFORT)
    if stands is None:
        raise InputError([fault])
    for index in missing:
        _open_missing(packing, index, [stand[1:] for stand in stands if stand[0] == index])
        if openings.counts[index] < types[index].min_count:
            raise InputError([_too_many(packing, index)])


def _hardest_first(item: ShardType) -> tuple[int, ...]:
    """Return what orders shards: those that are bought as they are, then the largest on nodes."""
    if item.provision == "new":
        return (0,)
    return 1, -item.device_count, -item.cpu_milli, -item.memory_bytes


def _open_missing(packing: Packing, index: int, stands: list[tuple[int, int]] | None = None) -> None:
    """Open the missing shards of a type as far as there is room; ``stands`` are nodes, and so many each."""
    openings, item = packing.openings, packing.problem.scenario.shard_types[index]
    if item.provision == "new":
        while openings.counts[index] < item.min_count:
            opening = next(iter(openings.candidates(index)), None)
            if opening is None:
                return
            packing.open(opening)
        return
    if stands is None:
        nodes = sorted(openings.eligible(index), key=lambda node: _unused(openings, node))
        stands = [(node, item.min_count) for node in nodes]
    for node, most in stands:
        for _ in range(most):
            if openings.counts[index] >= item.min_count or openings.limit(index) is not None:
                return
            opening = openings.on_node(index, node)
            if opening is None:
                break
            packing.open(opening)


def _unused(openings: Openings, node: int) -> tuple[int, int, int]:
    room = openings.unused(node)
    return len(room.devices), room.cpu_milli, room.memory_bytes


_NO_ROOM = "the nodes have no room for more"
_WHY = {
    Rule.MAX_COUNT: "its maxCount is {have}",
    Rule.IPS: "the cluster has {have} pod addresses (cluster.maxIPs)",
    Rule.MAX_SHARDS: "the plan may open {have} (policy.limits.maxShards)",
    Rule.MAX_COST: "the plan may cost {usd} USD/h (policy.limits.maxCostPerHour)",
}


def _too_many(packing: Packing, index: int) -> Fault:
    item = packing.problem.scenario.shard_types[index]
    count, limit = packing.openings.counts[index], packing.openings.limit(index)
    why = _WHY[limit.rule].format(have=limit.have, usd=format_usd(limit.have)) if limit else _NO_ROOM
    return Fault(
        path=f"spec.shardTypes[{index}].minCount",
        message=f"{item.name!r} asks for {item.min_count} shards, but only {count} can be opened: {why}",
    )


# ---------------------------------------------------------------------------------------------------- sizes


def price_shares(problem: Problem) -> Floats:
    """Return what a unit's largest share of a shard costs; ``(units, types)``, inf where it is not allowed.

    The share is taken in the dimension that the unit fills most, so it is never more than the unit "costs".
    """
    seats = _kind_shares(problem)[problem.kind[problem.seat_model]]
    shares = seats
    if len(problem.units) < len(seats):
        shares = np.zeros((len(problem.units), len(problem.prices)))
        np.add.at(shares, problem.seat_unit, seats)
    return shares * np.maximum(problem.prices, 1)


def _kind_shares(problem: Problem) -> Floats:
    """Return the largest share of a shard that each kind takes of each type; inf where it is not allowed."""
    mode = problem.modes[0]
    room = np.maximum(problem.device_memory - problem.device_fixed, 1) * problem.device_counts
    milli = np.maximum(problem.device_milli, 1) * problem.device_counts
    share = np.maximum((mode.steady + mode.surplus) / room, mode.milli / milli)
    for column in range(len(problem.columns)):
        capacity = np.maximum(problem.host_room[:, column], 1)
        share = np.maximum(share, mode.host[:, :, column] / capacity)
    whole = (problem.devices[:, None] / np.maximum(problem.device_counts, 1)) * problem.is_gpu
    share = np.where(problem.devices[:, None] > 1, np.maximum(share, whole), share)
    return np.where(mode.allowed, share, np.inf)


def largest_first(shares: Floats) -> list[int]:
    """Return the units by falling price of their share, those of equal size in the order of names."""
    size = np.min(shares, axis=1, initial=np.inf)
    order: list[int] = np.argsort(-np.where(np.isinf(size), 0, size), kind="stable").tolist()
    return order


# ------------------------------------------------------------------------------------------------- insertion


def insert_all(
    packing: Packing, order: Iterable[int], shares: Floats, watch: Watch | None = None
) -> list[int]:
    """Place units one after the other; returns those that found no room, or no time."""
    return [
        unit
        for unit in order
        if (watch is not None and watch.is_over()) or not insert(packing, unit, shares[unit])
    ]


def insert(packing: Packing, unit: int, shares: Floats) -> bool:
    """Place one unit where it fits best, in an open shard or a new one; returns whether it found room."""
    if packing.problem.units[unit].pin is not None:
        return _insert_pinned(packing, unit)
    if insert_open(packing, unit):
        return True
    return open_for(packing, unit, shares) is not None


def insert_open(packing: Packing, unit: int, weights: Floats | None = None) -> bool:
    """Place one unit into an open shard where it fits best; returns whether it found room."""
    if not packing.problem.units[unit].simple:
        latest = packing.open_rows()[: -_TRIED_ROWS - 1 : -1]
        return any(packing.place_whole(unit, row) for row in latest)
    found = packing.fit(unit, weights)
    if found is None:
        return False
    packing.place(unit, int(found.cells[int(np.argmin(found.slack))]), found.rank)
    return True


def open_for(packing: Packing, unit: int, shares: Floats, *, name: str | None = None) -> int | None:
    """Open the cheapest shard for a unit and place it there; returns its row, None if no shard takes it."""
    avoid = set(packing.domains(unit))
    for shard_type in np.argsort(shares, kind="stable"):
        if np.isinf(shares[shard_type]):
            break
        for opening in packing.openings.candidates(int(shard_type), avoid):
            row = open_with(packing, [unit], opening, name=name)
            if row is not None:
                return row
    return None


def open_with(
    packing: Packing, units: Sequence[int], opening: Opening, *, name: str | None = None
) -> int | None:
    """Open a shard and place all the units in it; returns its row, None and no change if they do not fit."""
    row = packing.open(opening, name=name)
    placed: list[int] = []
    for unit in units:
        if not packing.place_whole(unit, row):
            for other in placed:
                packing.remove(other)
            packing.close(row)
            packing.forget(row)
            return None
        placed.append(unit)
    return row


# ------------------------------------------------------------------------------------------------------ pins


def _insert_pinned(packing: Packing, unit: int) -> bool:
    """Place a pinned unit into the shard of that name, opening it if needed."""
    name = packing.problem.units[unit].pin
    assert name is not None
    row = next((row for row in packing.open_rows() if packing.names[row] == name), None)
    if row is not None:
        return packing.place_whole(unit, row)
    return open_pinned(packing, unit, name)


def open_pinned(packing: Packing, unit: int, name: str) -> bool:
    """Open the named shard for a unit: the cheapest type that takes most of what is pinned to it."""
    companions = [
        other
        for other, one in enumerate(packing.problem.units)
        if one.pin == name and packing.row_of_unit[other] is None and other != unit
    ]
    best: tuple[int, int, int] | None = None
    choices = list(_pinned_openings(packing, unit, name))
    for index, opening in enumerate(choices):
        row = open_with(packing, [unit], opening, name=name)
        if row is None:
            continue
        together = [other for other in companions if packing.place_whole(other, row)]
        rank = (-len(together), int(packing.problem.prices[opening.shard_type]), index)
        best = rank if best is None else min(best, rank)
        for other in (unit, *together):
            packing.remove(other)
        packing.close(row)
    if best is None:
        return False
    return open_with(packing, [unit], choices[best[2]], name=name) is not None


def _pinned_openings(packing: Packing, unit: int, name: str) -> Iterable[Opening]:
    avoid = set(packing.domains(unit))
    for index, item in enumerate(packing.problem.scenario.shard_types):
        if in_group(name, item.group):
            yield from packing.openings.candidates(index, avoid)


# ---------------------------------------------------------------------------------------------------- totals


def placed_by_priority(packing: Packing) -> tuple[int, ...]:
    """Return how many replicas are placed, highest priority first; larger is better."""
    problem = packing.problem
    placed = np.array([row is not None for row in packing.row_of_unit], dtype=np.bool_)
    level = problem.level[problem.seat_model[placed[problem.seat_unit]]]
    return tuple(np.bincount(level, minlength=int(problem.level.max(initial=-1)) + 1).tolist())


def placed_and_cost(packing: Packing) -> tuple[tuple[int, ...], int]:
    """Return what is smaller for the better packing: it places more, then it costs less."""
    return tuple(-count for count in placed_by_priority(packing)), packing.cost


def count_unplaced(packing: Packing) -> int:
    """Return how many replicas are not placed."""
    units = packing.problem.units
    return sum(len(units[unit].members) for unit, row in enumerate(packing.row_of_unit) if row is None)
