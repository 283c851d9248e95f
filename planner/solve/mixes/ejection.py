"""Put everything into the shards that are open: those that wait push others out, again and again.

One that waits goes where it fits, else where what has to leave for it is worth least: at most two residents.
Whoever finds no such place becomes dearer to leave out each time, so those that are hard to place are placed
first and those that are easy travel (ejection pool with penalties: Nagata and Braysy, A powerful route
minimization heuristic for the vehicle routing problem with time windows, 2009). In between residents change
places at random.
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.items import (
    RESIDENTS,
    UNIT_OF,
    Items,
    fits_one,
    gather_residents,
    leave,
    look,
    peaks_without,
    put_on_desk,
)
from planner.solve.core.pool import SIZE, SPENT, Pool, chance, draw, put, take
from planner.solve.core.state import (
    AFTER,
    DEVICE,
    EXCLUSIVE,
    FIRST,
    NOWHERE,
    RANK,
    ROW,
    TYPE,
    State,
    may_enter,
    place,
    remove,
    takes,
)
from planner.solve.core.tables import CHARGED, DEVICES, DIMENSIONS, KIND, LOADS, Floats, Tables
from planner.solve.problem import Ints

COST, WHERE, ON, ONE, TWO = range(5)
"""Of a seat: what leaves is worth, the row, its device, and who leaves (-1 is nobody)."""

BLUR, STUBBORN = 0.05, 1.0
"""How randomly worths are compared; how much dearer one becomes that finds no place, in times its worth."""

GATHER = 3
"""What putting a resident on the desk counts for, in sets that are looked at."""

SHAKES = 10
"""Random changes of place that are tried after every step."""


@compiled
def _find_seat(
    tables: Tables, state: State, pool: Pool, items: Items, rows: Ints, unit: int, dear: Floats, seat: Floats
) -> None:
    """Note the seat for which least has to leave, if that is less than ``seat[COST]``."""
    width, kind = tables.rule[DIMENSIONS], tables.units[unit, KIND]
    start = draw(pool, len(rows))
    for step in range(len(rows)):
        row = rows[(start + step) % len(rows)]
        shard_type = state.rows[row, TYPE]
        pool.book[SPENT] += 1
        if tables.demand[shard_type, kind, width + CHARGED] < 0 or not may_enter(tables, state, row, unit):
            continue
        for device in range(tables.types[shard_type, DEVICES]):
            if not state.cells[row, device, EXCLUSIVE]:
                _find_on_device(tables, state, pool, items, (row, device), unit, dear, seat)
                if seat[COST] <= 0.0:
                    return


@compiled
def _find_on_device(
    tables: Tables,
    state: State,
    pool: Pool,
    items: Items,
    where: tuple[int, int],
    unit: int,
    dear: Floats,
    seat: Floats,
) -> None:
    """Note the best seat on a device if it is better than the one that is known."""
    row, device = where
    rule, width, shard_type = tables.rule, tables.rule[DIMENSIONS], state.rows[row, TYPE]
    count, loads = gather_residents(tables, state, items, row, device), tables.types[shard_type, LOADS]
    data, now = items.data, items.now
    pool.book[SPENT] += GATHER * count
    if count >= RESIDENTS:
        return
    put_on_desk(tables, items, count, unit, shard_type)
    look(tables, state, items, row, device)
    peaks_without(rule, items, loads, count, -1, -1)
    if fits_one(rule, data, now, count):
        _take_note(items, width, where, 0.0, -1, -1, seat)
        return
    for one in range(count):
        items.ranked[one] = dear[data[one, width + UNIT_OF]] * items.value[one] * (1.0 + BLUR * chance(pool))
    order = np.argsort(items.ranked[:count])
    for later in range(count):
        one = order[later]
        if items.ranked[one] >= seat[COST]:
            return
        leave(rule, data, now, one, 1)
        peaks_without(rule, items, loads, count, one, -1)
        pool.book[SPENT] += 1
        if fits_one(rule, data, now, count):
            _take_note(items, width, where, items.ranked[one], one, -1, seat)
        for earlier in range(later):
            two = order[earlier]
            cost = items.ranked[one] + items.ranked[two]
            if cost >= seat[COST]:
                break
            leave(rule, data, now, two, 1)
            peaks_without(rule, items, loads, count, one, two)
            pool.book[SPENT] += 1
            if fits_one(rule, data, now, count):
                _take_note(items, width, where, cost, one, two, seat)
            leave(rule, data, now, two, -1)
        leave(rule, data, now, one, -1)


@compiled
def _take_note(
    items: Items, width: int, where: tuple[int, int], cost: float, one: int, two: int, seat: Floats
) -> None:
    seat[COST], seat[WHERE], seat[ON] = cost, where[0], where[1]
    seat[ONE] = items.data[one, width + UNIT_OF] if one >= 0 else -1
    seat[TWO] = items.data[two, width + UNIT_OF] if two >= 0 else -1


@compiled
def _any_resident(state: State, pool: Pool, row: int) -> int:
    """Return a resident of a shard that may move, -1 if there is none."""
    count, unit, found = 0, state.rows[row, FIRST], -1
    while unit != NOWHERE:
        count += 1
        if draw(pool, count) == 0:
            found = unit
        unit = state.units[unit, AFTER]
    return found


@compiled
def _shake(tables: Tables, state: State, pool: Pool, rows: Ints) -> None:
    """Let one resident go to another shard, or two change places, where that is possible."""
    one = _any_resident(state, pool, rows[draw(pool, len(rows))])
    row = rows[draw(pool, len(rows))]
    pool.book[SPENT] += 2
    if one < 0 or state.units[one, ROW] == row:
        return
    before, place_before, rank = state.units[one, ROW], state.units[one, DEVICE], state.units[one, RANK]
    remove(tables, state, one)
    device = draw(pool, tables.types[state.rows[row, TYPE], DEVICES])
    if takes(tables, state, row, device, one, 0):
        place(tables, state, row, device, one, 0)
        return
    two = _any_resident(state, pool, row)
    if two >= 0:
        device, other_rank = state.units[two, DEVICE], state.units[two, RANK]
        remove(tables, state, two)
        if takes(tables, state, row, device, one, 0):
            place(tables, state, row, device, one, 0)
            if takes(tables, state, before, place_before, two, 0):
                place(tables, state, before, place_before, two, 0)
                return
            remove(tables, state, one)
        place(tables, state, row, device, two, other_rank)
    place(tables, state, before, place_before, one, rank)


@compiled
def squeeze(
    tables: Tables, state: State, pool: Pool, items: Items, rows: Ints, dear: Floats, until: int
) -> bool:
    """Place those that wait; returns whether none is left when the work is spent.

    Parameters
    ----------
    tables, state, pool, items
        What is placed; all is changed.
    rows
        The shards that may be changed.
    dear
        ``(units,)``: how dear each is to leave out, in times its worth; it rises.
    until
        Work at which it ends, as the pool counts it.
    """
    seat = np.zeros(5)
    while pool.book[SIZE] > 0 and pool.book[SPENT] < until:
        unit = pool.units[draw(pool, pool.book[SIZE])]
        seat[COST], seat[WHERE] = dear[unit] * max(1.0, tables.value[tables.units[unit, KIND]]), -1.0
        _find_seat(tables, state, pool, items, rows, unit, dear, seat)
        if seat[WHERE] < 0.0:
            dear[unit] += STUBBORN
        else:
            for which in (ONE, TWO):
                if seat[which] >= 0.0:
                    remove(tables, state, int(seat[which]))
                    put(pool, int(seat[which]))
            take(pool, unit)
            place(tables, state, int(seat[WHERE]), int(seat[ON]), unit, 0)
        for _ in range(SHAKES if seat[COST] > 0.0 else 0):
            _shake(tables, state, pool, rows)
    return bool(pool.book[SIZE] == 0)
