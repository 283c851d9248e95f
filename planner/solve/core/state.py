"""Open shards and their residents as flat arrays, and the only ways to change them.

Whatever ``takes`` allows is legal under ``domain.verify``. Rows are shards, each with as many cells as the
largest type has devices; a row whose type is ``CLOSED`` may be used for a new shard. Residents of a row are a
linked list. What the compiled search does not move (groups, models on several devices, pins) is not in the
list: its part of every limit is taken off, and its room for loading is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.tables import (
    BACKEND,
    BACKENDS,
    BASES,
    CHARGED,
    CONFIG_ENTRY,
    DEVICES,
    DIMENSIONS,
    ENTRY,
    EXTRA,
    FROM,
    HOST,
    HOST_MEMORY,
    KIND,
    LOADS,
    LOADS_MOST,
    MOST,
    MOST_COST,
    MOST_PODS,
    MOST_SHARDS,
    OWNER,
    PODS,
    PRICE,
    ROOM,
    TO,
    TYPE_DOMAIN,
    TYPES,
    Tables,
)
from planner.solve.problem import Ints

CLOSED, NOWHERE, NO_TENANT, OWN_DOMAINS = -1, -1, -1, 1_000_000

TYPE, FIXED, TENANT, DOMAIN, HELD, FIRST, COUNT, HOST_LEFT = range(8)
"""Of a row: its type, whether it has to stay open, whose it is, its failure domain, residents that are not
moved, its list and its length; then what is left of the shard's dimensions; residents of each backend."""

LEFT, MILLI_LEFT, PEAK_SUM, PEAK_LEAST, CROWD, EXCLUSIVE, KEPT = range(7)
"""Of a cell, as in ``Packing``; then the largest surpluses of residents that are not moved, falling, then
residents of each backend that device memory is counted of."""

ROW, DEVICE, RANK, BEFORE, AFTER = range(5)
"""Of a unit: where it is (``NOWHERE`` is not placed), in which mode, and its neighbours in the list."""

OPEN_PODS, OPEN_SHARDS, OPEN_COST, COUNTS = range(4)
"""Of the totals; then open shards of each type."""


class State(NamedTuple):
    """What is open and who is where.

    Parameters
    ----------
    rows, cells, units, totals
        ``(rows, ...)``, ``(rows, devices, ...)``, ``(units, 5)`` and ``(COUNTS + types,)``.
    """

    rows: Ints
    cells: Ints
    units: Ints
    totals: Ints


def make_state(tables: Tables, rows: int) -> State:
    """Return a state with nothing open and room for so many shards."""
    rule = tables.rule
    devices = int(tables.types[:, DEVICES].max(initial=1))
    row_width = HOST_LEFT + rule[DIMENSIONS] - HOST + rule[BACKENDS]
    state = State(
        rows=np.zeros((rows, row_width), dtype=np.int64),
        cells=np.zeros((rows, devices, KEPT + rule[LOADS_MOST] + rule[BACKENDS]), dtype=np.int64),
        units=np.zeros((len(tables.units), 5), dtype=np.int64),
        totals=np.zeros(COUNTS + rule[TYPES], dtype=np.int64),
    )
    state.rows[:, TYPE] = CLOSED
    state.units[:, ROW] = NOWHERE
    return state


@compiled
def may_open(tables: Tables, state: State, shard_type: int) -> bool:
    """Return whether counts, addresses and budget allow one more shard of a type to be bought."""
    rule, types, totals = tables.rule, tables.types, state.totals
    return bool(
        totals[COUNTS + shard_type] < types[shard_type, MOST]
        and totals[OPEN_PODS] + types[shard_type, PODS] <= rule[MOST_PODS]
        and totals[OPEN_SHARDS] + 1 <= rule[MOST_SHARDS]
        and totals[OPEN_COST] + types[shard_type, PRICE] <= rule[MOST_COST]
    )


@compiled
def count_shard(tables: Tables, state: State, shard_type: int, sign: int) -> None:
    """Count shards in, or out where ``sign`` is negative."""
    types, totals = tables.types, state.totals
    totals[COUNTS + shard_type] += sign
    totals[OPEN_PODS] += sign * types[shard_type, PODS]
    totals[OPEN_SHARDS] += sign
    totals[OPEN_COST] += sign * types[shard_type, PRICE]


@compiled
def open_row(tables: Tables, state: State, row: int, shard_type: int) -> None:
    """Buy a shard and put it into a closed row."""
    count_shard(tables, state, shard_type, 1)
    rule, types, rows, cells = tables.rule, tables.types, state.rows, state.cells
    rows[row, :] = 0
    rows[row, TYPE] = shard_type
    rows[row, TENANT], rows[row, FIRST] = NO_TENANT, NOWHERE
    domain = types[shard_type, TYPE_DOMAIN]
    rows[row, DOMAIN] = OWN_DOMAINS + row if domain < 0 else domain
    for dimension in range(HOST, rule[DIMENSIONS]):
        rows[row, HOST_LEFT + dimension - HOST] = types[shard_type, ROOM + dimension]
    cells[row, :, :] = 0
    for device in range(types[shard_type, DEVICES]):
        cells[row, device, LEFT] = types[shard_type, ROOM]
        cells[row, device, MILLI_LEFT] = types[shard_type, ROOM + 1]


@compiled
def close_row(tables: Tables, state: State, row: int) -> None:
    """Close an empty shard."""
    count_shard(tables, state, state.rows[row, TYPE], -1)
    state.rows[row, TYPE] = CLOSED


@compiled
def may_enter(tables: Tables, state: State, row: int, unit: int) -> bool:
    """Return whether a unit that is not placed may be in a shard at all, whatever room there is.

    Its tenant has to be the shard's, and no other replica of its model in the same failure domain.
    """
    known, rows, units = tables.units, state.rows, state.units
    tenant, domain = rows[row, TENANT], rows[row, DOMAIN]
    if tenant not in (NO_TENANT, known[unit, OWNER]):
        return False
    for other in range(known[unit, FROM], known[unit, TO]):
        where = units[other, ROW]
        if where >= 0 and rows[where, DOMAIN] == domain:
            return False
    return True


@compiled
def takes(tables: Tables, state: State, row: int, device: int, unit: int, rank: int) -> bool:
    """Return whether a unit that is not placed may join a device now, every rule counted."""
    rule, demand, rows, cells = tables.rule, tables.demand, state.rows, state.cells
    dimensions, backends = rule[DIMENSIONS], rule[BACKENDS]
    way, kind = rank * rule[TYPES] + rows[row, TYPE], tables.units[unit, KIND]
    charged, backend = demand[way, kind, dimensions + CHARGED], demand[way, kind, dimensions + BACKEND]
    if charged < 0 or cells[row, device, EXCLUSIVE]:
        return False
    if not may_enter(tables, state, row, unit):
        return False
    users = HOST_LEFT + dimensions - HOST
    for dimension in range(HOST, dimensions):
        wanted = demand[way, kind, dimension]
        if dimension == rule[HOST_MEMORY] and rows[row, users + backend] == 0:
            wanted += rule[BASES + backends + backend]
        if dimension == rule[CONFIG_ENTRY]:
            wanted += tables.units[unit, ENTRY]
        if wanted > rows[row, HOST_LEFT + dimension - HOST]:
            return False
    if charged == backends - 1:
        return True
    more = demand[way, kind, dimensions + EXTRA] - cells[row, device, PEAK_LEAST]
    memory = demand[way, kind, 0] + cells[row, device, PEAK_SUM] + max(0, more)
    if cells[row, device, KEPT + rule[LOADS_MOST] + charged] == 0:
        memory += rule[BASES + charged]
    return bool(memory <= cells[row, device, LEFT] and demand[way, kind, 1] <= cells[row, device, MILLI_LEFT])


@compiled
def _charge(tables: Tables, state: State, unit: int, sign: int) -> None:
    """Take a unit's demand off its device and its shard, or give it back."""
    rule, demand, rows, cells, units = tables.rule, tables.demand, state.rows, state.cells, state.units
    dimensions, backends = rule[DIMENSIONS], rule[BACKENDS]
    row, device, kind = units[unit, ROW], units[unit, DEVICE], tables.units[unit, KIND]
    way = units[unit, RANK] * rule[TYPES] + rows[row, TYPE]
    charged, backend = demand[way, kind, dimensions + CHARGED], demand[way, kind, dimensions + BACKEND]
    for dimension in range(HOST, dimensions):
        rows[row, HOST_LEFT + dimension - HOST] -= sign * demand[way, kind, dimension]
    users, edge = HOST_LEFT + dimensions - HOST + backend, 1 if sign > 0 else 0
    rows[row, users] += sign
    if rows[row, users] == edge:
        rows[row, HOST_LEFT + rule[HOST_MEMORY] - HOST] -= sign * rule[BASES + backends + backend]
    if rule[CONFIG_ENTRY] > 0:
        rows[row, HOST_LEFT + rule[CONFIG_ENTRY] - HOST] -= sign * tables.units[unit, ENTRY]
    rows[row, COUNT] += sign
    cells[row, device, CROWD] += sign
    if charged == backends - 1:
        return
    users = KEPT + rule[LOADS_MOST] + charged
    cells[row, device, users] += sign
    if cells[row, device, users] == edge:
        cells[row, device, LEFT] -= sign * rule[BASES + charged]
    cells[row, device, LEFT] -= sign * demand[way, kind, 0]
    cells[row, device, MILLI_LEFT] -= sign * demand[way, kind, 1]


@compiled
def surplus_of(tables: Tables, state: State, unit: int) -> int:
    """Return what loading a placed unit takes on top."""
    rule, units = tables.rule, state.units
    way = units[unit, RANK] * rule[TYPES] + state.rows[units[unit, ROW], TYPE]
    return int(tables.demand[way, tables.units[unit, KIND], rule[DIMENSIONS] + EXTRA])


@compiled
def insert_peak(top: Ints, loads: int, surplus: int) -> None:
    """Put a surplus among the largest, which fall."""
    place = loads
    while place > 0 and top[place - 1] < surplus:
        place -= 1
    for later in range(loads - 1, place, -1):
        top[later] = top[later - 1]
    if place < loads:
        top[place] = surplus


@compiled
def refresh_peaks(tables: Tables, state: State, row: int, device: int) -> None:
    """Compute the room for loading of a device from its residents."""
    loads = tables.types[state.rows[row, TYPE], LOADS]
    cells, units = state.cells, state.units
    top = cells[row, device, KEPT : KEPT + loads].copy()
    unit = state.rows[row, FIRST]
    while unit != NOWHERE:
        if units[unit, DEVICE] == device:
            insert_peak(top, loads, surplus_of(tables, state, unit))
        unit = units[unit, AFTER]
    cells[row, device, PEAK_SUM] = top.sum()
    cells[row, device, PEAK_LEAST] = top[loads - 1]


@compiled
def place(tables: Tables, state: State, row: int, device: int, unit: int, rank: int) -> None:
    """Put a unit where ``takes`` allows it."""
    rows, units = state.rows, state.units
    units[unit, ROW], units[unit, DEVICE], units[unit, RANK] = row, device, rank
    _charge(tables, state, unit, 1)
    rows[row, TENANT] = tables.units[unit, OWNER]
    following = rows[row, FIRST]
    units[unit, BEFORE], units[unit, AFTER] = NOWHERE, following
    if following != NOWHERE:
        units[following, BEFORE] = unit
    rows[row, FIRST] = unit
    surplus = surplus_of(tables, state, unit)
    if surplus <= state.cells[row, device, PEAK_LEAST]:
        return
    if tables.types[rows[row, TYPE], LOADS] == 1:
        state.cells[row, device, PEAK_SUM] = state.cells[row, device, PEAK_LEAST] = surplus
    else:
        refresh_peaks(tables, state, row, device)


@compiled
def remove(tables: Tables, state: State, unit: int) -> None:
    """Take a unit out of its shard."""
    rows, units = state.rows, state.units
    row, device = units[unit, ROW], units[unit, DEVICE]
    surplus = surplus_of(tables, state, unit)
    before, after = units[unit, BEFORE], units[unit, AFTER]
    if before == NOWHERE:
        rows[row, FIRST] = after
    else:
        units[before, AFTER] = after
    if after != NOWHERE:
        units[after, BEFORE] = before
    _charge(tables, state, unit, -1)
    units[unit, ROW] = NOWHERE
    if rows[row, COUNT] + rows[row, HELD] == 0:
        rows[row, TENANT] = NO_TENANT
    if surplus > 0 and surplus >= state.cells[row, device, PEAK_LEAST]:
        refresh_peaks(tables, state, row, device)
