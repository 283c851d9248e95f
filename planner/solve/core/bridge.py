"""From a ``Packing`` to the compiled state, and back to a new ``Packing``.

Rows keep their numbers on the way in. What the compiled search does not move, it finds as room that is taken.
"""

from __future__ import annotations

import numpy as np

from planner.solve.core.state import (
    AFTER,
    BEFORE,
    CLOSED,
    COUNT,
    COUNTS,
    CROWD,
    DEVICE,
    DOMAIN,
    EXCLUSIVE,
    FIRST,
    FIXED,
    HELD,
    HOST_LEFT,
    KEPT,
    LEFT,
    MILLI_LEFT,
    NOWHERE,
    OPEN_COST,
    OPEN_PODS,
    OPEN_SHARDS,
    PEAK_LEAST,
    PEAK_SUM,
    RANK,
    ROW,
    TENANT,
    TYPE,
    State,
    insert_peak,
    make_state,
)
from planner.solve.core.tables import (
    BACKENDS,
    DIMENSIONS,
    HOST,
    KIND,
    LOADS,
    LOADS_MOST,
    MODEL,
    Tables,
    host_columns,
)
from planner.solve.openings import Opening
from planner.solve.packing import Packing, Resident
from planner.solve.problem import Ints
from planner.solve.settle import settle


def state_of(packing: Packing, tables: Tables, rows: int) -> State:
    """Return the compiled state of a packing, with at least so many further rows."""
    state = make_state(tables, packing.rows + rows)
    opened = np.array(packing.open_rows(), dtype=np.int64)
    _read_rows(packing, tables, state, opened)
    _read_cells(packing, tables, state)
    _link_residents(packing, tables, state, opened)
    placed = [NOWHERE if where is None else where for where in packing.row_of_unit]
    state.units[:, ROW] = np.array(placed, dtype=np.int64)
    openings = packing.openings
    state.totals[[OPEN_PODS, OPEN_SHARDS, OPEN_COST]] = openings.pods, openings.shards, openings.cost
    state.totals[COUNTS:] = openings.counts
    return state


def _read_rows(packing: Packing, tables: Tables, state: State, opened: Ints) -> None:
    """Copy what is known of open shards."""
    problem, rule, rows = packing.problem, tables.rule, state.rows
    bought = np.array([item.provision == "new" for item in problem.scenario.shard_types], dtype=np.bool_)
    named = np.array([name is not None for name in packing.names], dtype=np.bool_)
    shard_type, users = packing.type_of[opened], HOST_LEFT + rule[DIMENSIONS] - HOST
    rows[opened, TYPE], rows[opened, FIXED] = shard_type, named[opened] | ~bought[shard_type]
    rows[opened, TENANT], rows[opened, DOMAIN] = packing.tenant[opened], packing.domain[opened]
    rows[opened, FIRST] = NOWHERE
    rows[opened, HOST_LEFT:users] = packing.host_left[opened][:, host_columns(problem)]
    rows[opened, users : users + rule[BACKENDS] - 1] = packing.host_users[opened]


def _read_cells(packing: Packing, tables: Tables, state: State) -> None:
    """Copy what is known of the devices of open shards."""
    rule, cells = tables.rule, state.cells
    there = np.flatnonzero(packing.alive[packing.row_of[: packing.cells]])
    row = packing.row_of[there]
    device = there - packing.first_cell[row]
    cells[row, device, LEFT], cells[row, device, MILLI_LEFT] = (
        packing.memory_left[there],
        packing.milli_left[there],
    )
    cells[row, device, PEAK_SUM], cells[row, device, PEAK_LEAST] = (
        packing.peak_sum[there],
        packing.peak_least[there],
    )
    cells[row, device, CROWD], cells[row, device, EXCLUSIVE] = packing.crowd[there], packing.exclusive[there]
    kept = KEPT + rule[LOADS_MOST]
    cells[row, device, kept : kept + rule[BACKENDS] - 1] = packing.device_users[there]


def _link_residents(packing: Packing, tables: Tables, state: State, opened: Ints) -> None:
    """Put those that may be moved into the lists of their rows, and hold the others there."""
    units, found = packing.problem.units, list[tuple[int, int, int, int]]()
    for row in opened.tolist():
        for one in packing.residents[row]:
            if units[one.unit].simple:
                found.append((one.unit, row, one.devices[0], one.rank))
            else:
                _hold(packing, tables, state, row, one)
    unit, row, device, rank = np.array(found, dtype=np.int64).reshape(-1, 4).T
    state.units[unit, DEVICE], state.units[unit, RANK] = device, rank
    same = row[1:] == row[:-1]
    state.units[unit[1:], AFTER] = np.where(same, unit[:-1], NOWHERE)
    state.units[unit[:-1], BEFORE] = np.where(same, unit[1:], NOWHERE)
    state.units[unit[:1], AFTER] = state.units[unit[-1:], BEFORE] = NOWHERE
    last = np.flatnonzero(np.append(~same, len(row) > 0))  # of a row, which is the first of its list
    state.rows[row[last], FIRST] = unit[last]
    state.rows[:, COUNT] += np.bincount(row, minlength=len(state.rows))


def _hold(packing: Packing, tables: Tables, state: State, row: int, resident: Resident) -> None:
    """Note a resident that is not moved, and the room that it takes while it loads."""
    problem, loads = packing.problem, int(tables.types[packing.type_of[row], LOADS])
    state.rows[row, HELD] += 1
    mode = problem.modes[resident.rank]
    at = int(problem.kind[resident.model]), int(packing.type_of[row])
    for device in resident.devices:
        insert_peak(state.cells[row, device, KEPT : KEPT + loads], loads, int(mode.surplus[at]))


# ------------------------------------------------------------------------------------------------- and back


def packing_of(state: State, tables: Tables, before: Packing) -> Packing:
    """Return the packing that a state is; ``before`` is the one that it came from, which stays as it is."""
    problem = before.problem
    packing = Packing(problem)
    bought = [_bought(before, index) for index in range(len(problem.prices))]
    rows = np.flatnonzero(state.rows[:, TYPE] != CLOSED)
    number = np.full(len(state.rows), NOWHERE, dtype=np.int64)
    number[rows] = np.arange(len(rows))
    for row in rows.tolist():
        stays = row < before.rows and (state.rows[row, FIXED] or state.rows[row, HELD])
        shard_type = int(state.rows[row, TYPE])
        packing.open(
            before.opened[row] if stays else bought[shard_type], name=before.names[row] if stays else None
        )
    where = state.units[:, ROW]
    placed = np.where(where >= 0, number[where], NOWHERE)
    residents = _residents(state, tables, before, rows, placed)
    settle(packing, residents, np.where(placed >= 0, placed, NOWHERE))
    return packing


def _bought(packing: Packing, shard_type: int) -> Opening:
    rooms = packing.openings.rooms_of_bought(shard_type)
    return Opening(shard_type=shard_type, node=None, positions=(), rooms=rooms)


def _residents(
    state: State, tables: Tables, before: Packing, rows: Ints, placed: Ints
) -> list[list[Resident]]:
    """Return who is in each open row: first those that were not moved."""
    units = before.problem.units
    found: list[list[Resident]] = [
        [one for one in before.residents[row] if not units[one.unit].simple] if row < before.rows else []
        for row in rows.tolist()
    ]
    devices = [(device,) for device in range(state.cells.shape[1])]
    moved = np.flatnonzero((placed >= 0) & (tables.units[:, KIND] >= 0))
    columns = (
        moved.tolist(),
        tables.units[moved, MODEL].tolist(),
        state.units[moved, RANK].tolist(),
        [devices[device] for device in state.units[moved, DEVICE].tolist()],
    )
    for row, resident in zip(placed[moved].tolist(), map(Resident, *columns), strict=True):
        found[row].append(resident)
    return found
