"""From a ``Packing`` to the compiled state, and back to a new ``Packing``.

Rows keep their numbers on the way in. What the compiled search does not move, it finds as room that is taken.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from planner.solve.core.state import (
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
    for row in packing.open_rows():
        _read_row(packing, tables, state, row)
        _read_residents(packing, tables, state, row)
    for unit, where in enumerate(packing.row_of_unit):
        if where is not None:
            state.units[unit, ROW] = where
    openings = packing.openings
    state.totals[[OPEN_PODS, OPEN_SHARDS, OPEN_COST]] = openings.pods, openings.shards, openings.cost
    state.totals[COUNTS:] = openings.counts
    return state


def _read_row(packing: Packing, tables: Tables, state: State, row: int) -> None:
    problem, rule = packing.problem, tables.rule
    shard_type, columns = int(packing.type_of[row]), host_columns(problem)
    bought = problem.scenario.shard_types[shard_type].provision == "new"
    one, users = state.rows[row], HOST_LEFT + rule[DIMENSIONS] - HOST
    one[TYPE], one[FIXED] = shard_type, packing.names[row] is not None or not bought
    one[TENANT], one[DOMAIN] = packing.tenant[row], packing.domain[row]
    one[FIRST] = NOWHERE
    one[HOST_LEFT:users] = packing.host_left[row, columns]
    one[users : users + rule[BACKENDS] - 1] = packing.host_users[row]
    first = int(packing.first_cell[row])
    for device in range(len(packing.opened[row].rooms)):
        cell, there = state.cells[row, device], first + device
        cell[LEFT], cell[MILLI_LEFT] = packing.memory_left[there], packing.milli_left[there]
        cell[PEAK_SUM], cell[PEAK_LEAST] = packing.peak_sum[there], packing.peak_least[there]
        cell[CROWD], cell[EXCLUSIVE] = packing.crowd[there], packing.exclusive[there]
        kept = KEPT + rule[LOADS_MOST]
        cell[kept : kept + rule[BACKENDS] - 1] = packing.device_users[there]


def _read_residents(packing: Packing, tables: Tables, state: State, row: int) -> None:
    problem, loads = packing.problem, int(tables.types[packing.type_of[row], LOADS])
    for resident in packing.residents[row]:
        if problem.units[resident.unit].simple:
            _link(state, row, resident)
            continue
        state.rows[row, HELD] += 1
        mode = problem.modes[resident.rank]
        at = int(problem.kind[resident.model]), int(packing.type_of[row])
        for device in resident.devices:
            insert_peak(state.cells[row, device, KEPT : KEPT + loads], loads, int(mode.surplus[at]))


def _link(state: State, row: int, resident: Resident) -> None:
    unit, following = resident.unit, state.rows[row, FIRST]
    state.units[unit] = (row, resident.devices[0], resident.rank, NOWHERE, following)
    if following != NOWHERE:
        state.units[following, BEFORE] = unit
    state.rows[row, FIRST] = unit
    state.rows[row, COUNT] += 1


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
    columns: Iterable[tuple[int, int, int, int]] = zip(
        moved.tolist(),
        placed[moved].tolist(),
        state.units[moved, DEVICE].tolist(),
        state.units[moved, RANK].tolist(),
        strict=True,
    )
    for unit, row, device, rank in columns:
        model = units[unit].members[0]
        found[row].append(Resident(unit=unit, model=model, rank=rank, devices=devices[device]))
    return found
