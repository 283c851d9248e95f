"""A scenario and a placement as flat arrays, whether the placement is legal or not.

An *item* is one resident of the placement that the scenario still knows. Items whose seat cannot be theirs
any more, whatever else leaves, are *unsettled*: they start without a seat and count for the bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.domain.model import options_for
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.rules import Rule
from planner.solve.keeping import has_devices, opening_like
from planner.solve.openings import Opening, Openings
from planner.solve.problem import AMPLE, CONFIG, MEMORY, Ints, Problem
from planner.solve.repair.tables import FIRST_CELL, MOST_DEVICES, NOWHERE, TYPE, Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """A placement under a scenario.

    Parameters
    ----------
    shards
        The shards that can stand as they did; their positions are the rows.
    placed
        Of each item, what the placement says.
    unit
        Of each item, the unit it belongs to.
    unsettled
        Items whose seat cannot be theirs any more, in order.
    certain
        Of each of them, whether no legal plan leaves it there; otherwise only the solver's rules say so.
    seats
        ``(row, mask, rank)`` of each item; NOWHERE for those that are unsettled.
    gone
        How many items were on each shard that cannot stand, with None; and on each that is one too many of
        its type, with the type's name. What only other limits forbid is left out: they leave a choice.
    """

    problem: Problem
    base: Placement
    demand: Demand
    shards: tuple[Shard, ...]
    openings: tuple[Opening, ...]
    placed: tuple[Placed, ...]
    unit: Ints
    unsettled: tuple[int, ...]
    certain: tuple[bool, ...]
    seats: Ints
    gone: tuple[tuple[str | None, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """A resident: what the placement says, its model, its unit, and whether it may be moved by itself."""

    placed: Placed
    model: int
    unit: int
    movable: bool


def sites_of(problem: Problem, base: Placement) -> Sites:
    """Return the arrays of a placement under a scenario."""
    standing, gone = _standing(problem, base)
    rows = {shard.name: row for row, (shard, _) in enumerate(standing)}
    items = list(_items(problem, base))
    left = defaultdict[str, int](int)
    for item in items:
        left[item.placed.shard] += 1
    seats = np.full((len(items), 3), NOWHERE, dtype=np.int64)
    unsettled, certain = [], []
    for index, item in enumerate(items):
        row = rows.get(item.placed.shard)
        seat = None if row is None else _seat(problem, item, standing[row][1], row)
        if seat is None:
            unsettled.append(index)
            certain.append(row is not None and _is_forbidden(problem, item, standing[row][1]))
        else:
            seats[index] = seat
    return Sites(
        problem=problem,
        base=base,
        demand=_demand(problem, items, [opening for _, opening in standing]),
        shards=tuple(shard for shard, _ in standing),
        openings=tuple(opening for _, opening in standing),
        placed=tuple(item.placed for item in items),
        unit=np.array([item.unit for item in items], dtype=np.int64),
        unsettled=tuple(unsettled),
        certain=tuple(certain),
        seats=seats,
        gone=tuple((name, left[shard]) for shard, name in gone),
    )


# --------------------------------------------------------------------------------------------------- shards


def _standing(
    problem: Problem, base: Placement
) -> tuple[list[tuple[Shard, Opening]], list[tuple[str, str | None]]]:
    """Return the shards that can stand, the fullest first in line, and those that count as gone."""
    openings = Openings(problem)
    load = defaultdict[str, int](int)
    for placed in base.placed:
        load[placed.shard] += 1
    standing: list[tuple[Shard, Opening]] = []
    gone: list[tuple[str, str | None]] = []
    for shard in sorted(base.shards, key=lambda item: (-load[item.name], item.name)):
        opening = opening_like(openings, shard)
        if opening is not None:
            openings.take(opening)
            standing.append((shard, opening))
        elif opening_like(Openings(problem), shard) is None:
            gone.append((shard.name, None))
        elif _is_one_too_many(openings, shard):
            gone.append((shard.name, shard.shard_type))
    return standing, gone


def _is_one_too_many(openings: Openings, shard: Shard) -> bool:
    types = openings.problem.scenario.shard_types
    index = next(index for index, item in enumerate(types) if item.name == shard.shard_type)
    limit = openings.limit(index)
    return limit is not None and limit.rule == Rule.MAX_COUNT


# ---------------------------------------------------------------------------------------------------- items


def _items(problem: Problem, base: Placement) -> Iterator[_Item]:
    """Yield the residents of every unit that is whole on one shard, in the order of the units."""
    where = {(item.model, item.replica): item for item in base.placed}
    models = problem.scenario.models
    for index, unit in enumerate(problem.units):
        found = [where.get((models[model].name, unit.replica)) for model in unit.members]
        known = [item for item in found if item is not None]
        if len(known) < len(found) or len({item.shard for item in known}) > 1:
            continue
        for model, placed in zip(unit.members, known, strict=True):
            yield _Item(placed=placed, model=model, unit=index, movable=unit.simple)


def _seat(problem: Problem, item: _Item, opening: Opening, row: int) -> tuple[int, int, int] | None:
    """Return the seat of an item if it could be its own with nobody else there."""
    devices, unit = item.placed.devices, problem.units[item.unit]
    if not has_devices(problem.scenario.models[item.model], devices, opening):
        return None
    if max(devices) >= MOST_DEVICES:
        return None
    if unit.pin is not None and (unit.pin != item.placed.shard or not _keeps_device(problem, item)):
        return None
    rank = _rank(problem, item, opening.shard_type)
    if rank is None or not _fits_alone(problem, item, opening, rank):
        return None
    return row, sum(1 << device for device in devices), rank


def _keeps_device(problem: Problem, item: _Item) -> bool:
    pin = problem.scenario.models[item.model].pin
    if pin is None or pin.device is None or item.placed.replica != 0:
        return True
    return pin.device in item.placed.devices


def _rank(problem: Problem, item: _Item, shard_type: int) -> int | None:
    kind = int(problem.kind[item.model])
    for rank, mode in enumerate(problem.modes):
        if mode.allowed[kind, shard_type] and mode.option[kind, shard_type] == item.placed.option:
            return rank
    return None


def _fits_alone(problem: Problem, item: _Item, opening: Opening, rank: int) -> bool:
    mode, backend = problem.modes[rank], int(problem.backend[item.model])
    kind, shard_type = int(problem.kind[item.model]), opening.shard_type
    left = problem.host_room[shard_type] - mode.host[kind, shard_type]
    left[MEMORY] -= problem.host_base[backend]
    left[CONFIG] -= problem.entry_bytes[item.model]
    if (left < 0).any():
        return False
    if not mode.on_device[kind, shard_type]:
        return True
    wanted = int(
        mode.steady[kind, shard_type] + mode.surplus[kind, shard_type] + problem.device_base[backend]
    )
    rooms = [opening.rooms[device] for device in item.placed.devices]
    return all(
        wanted <= room.capacity_bytes - room.fixed_bytes
        and int(mode.milli[kind, shard_type]) <= room.capacity_milli
        for room in rooms
    )


def _is_forbidden(problem: Problem, item: _Item, opening: Opening) -> bool:
    """Return whether the rules forbid the seat of an unsettled item with nobody else there.

    The solver's rules are a little stricter: it leaves options out that another one beats, and counts an
    entry of ``models.json`` for every copy of a model.
    """
    model = problem.scenario.models[item.model]
    shard_type = problem.scenario.shard_types[opening.shard_type]
    device_class = problem.parts.device_classes[shard_type.device_class]
    if item.placed.option not in options_for(model, device_class):
        return True
    rank = _rank(problem, item, opening.shard_type)
    if rank is None or max(item.placed.devices, default=0) >= MOST_DEVICES:
        return False
    return int(problem.entry_bytes[item.model]) <= int(problem.host_room[opening.shard_type][CONFIG])


# --------------------------------------------------------------------------------------------------- arrays


def _demand(problem: Problem, items: list[_Item], openings: list[Opening]) -> Demand:
    model = np.array([item.model for item in items], dtype=np.int64)
    order = np.argsort(model, kind="stable")
    rows = _rows(problem, openings)
    of_row = np.repeat(np.arange(len(openings), dtype=np.int64), np.diff(rows[:, FIRST_CELL]))
    rooms = [room for opening in openings for room in opening.rooms]
    columns = (
        problem.kind[model],
        problem.backend[model],
        problem.tenant[model],
        problem.entry_bytes[model],
        model,
        np.array([item.movable for item in items], dtype=np.int64),
    )
    return Demand(
        need=_needs(problem),
        bases=np.column_stack([problem.device_base, problem.host_base]),
        parallel_loads=problem.parallel_loads,
        items=np.column_stack(columns),
        first_of_model=np.searchsorted(model[order], np.arange(len(problem.scenario.models) + 1)),
        of_model=order,
        rows=rows,
        row_of=of_row,
        host_room=problem.host_room[rows[:-1, TYPE]],
        cell_room=np.array(
            [
                (min(room.capacity_bytes - room.fixed_bytes, AMPLE), min(room.capacity_milli, AMPLE))
                for room in rooms
            ],
            dtype=np.int64,
        ).reshape(-1, 2),
        isolate=problem.scenario.policy.isolate_tenants,
    )


def _rows(problem: Problem, openings: list[Opening]) -> Ints:
    """Return type, failure domain and first cell of each row; one more row ends the last one's cells."""
    book = Openings(problem)
    found, cells = [], 0
    for row, opening in enumerate(openings):
        found.append((opening.shard_type, book.domain(opening, row), cells))
        cells += len(opening.rooms)
    return np.array([*found, (0, 0, cells)], dtype=np.int64)


def _needs(problem: Problem) -> Ints:
    tables = [
        np.concatenate(
            [
                np.stack([mode.allowed, mode.on_device, mode.steady, mode.surplus, mode.milli], axis=-1),
                mode.host,
            ],
            axis=-1,
        )
        for mode in problem.modes
    ]
    return np.ascontiguousarray(tables[0][None] if len(tables) == 1 else np.stack(tables))
