"""Saving cost, and evening out, with a limit on the moves. Compiled.

A shard is closed by moving all of its residents to others; shards that save most for each move come first.
The fullest one gives one resident at a time to where it is emptiest.
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import CONFIG, Bools, Ints
from planner.solve.repair.leavers import residents_of
from planner.solve.repair.relief import note, sizes_of, undo
from planner.solve.repair.room import ROOMY, TIGHT, best_seat, put, seat, take
from planner.solve.repair.tables import (
    ALIVE,
    COUNT,
    FIRST_CELL,
    MASK,
    MEMORY_LEFT,
    MILLI_LEFT,
    MOVABLE,
    NOWHERE,
    PEAK_SUM,
    RANK,
    Demand,
    Number,
    State,
)

_SCANS = 4_000_000_000
"""Rows that are looked at for seats: a bound on the work of one call."""


@compiled
def empty_rows(d: Demand, s: State, at_home: Bools, value: Ints, moves: int) -> int:
    """Empty rows for what they are worth; returns how many moves are left.

    Parameters
    ----------
    at_home
        Of each item, whether it has the seat of the placement in force; who has not moves for nothing.
    value
        Of each row, what its end saves; 0 is a row that has to stay.
    moves
        How many may be made.
    """
    work = np.int64(_SCANS)
    found = True
    while found and work > 0:
        found = False
        for row in _worthiest_first(s, value):
            cost = _cost_of(s, at_home, row)
            if not s.rows[row, ALIVE] or not value[row] or cost > moves or work <= 0:
                continue
            work -= len(s.rows) * (1 + s.rows[row, COUNT])
            if _empty(d, s, row):
                moves -= cost
                found = True
    return moves


@compiled
def _worthiest_first(s: State, value: Ints) -> Ints:
    worth = np.zeros(len(value), dtype=np.int64)
    for row in range(len(value)):
        worth[row] = -value[row] // max(1, s.rows[row, COUNT])
    return np.argsort(worth, kind="mergesort")


@compiled
def _cost_of(s: State, at_home: Bools, row: int) -> int:
    cost = 0
    for item in residents_of(s, row):
        cost += 1 if at_home[item] else 0
    return cost


@compiled
def _empty(d: Demand, s: State, row: int) -> bool:
    """Move everybody off a row and close it, or change nothing."""
    items = residents_of(s, row)
    for item in items:
        if not d.items[item, MOVABLE]:
            return False
    log = np.empty((len(items), 4), dtype=np.int64)
    for moved, at in enumerate(np.argsort(-sizes_of(d, s, row, items), kind="mergesort")):
        item = items[at]
        note(s, item, log[moved])
        take(d, s, item)
        cell, rank = best_seat(d, s, item, row, TIGHT)
        if cell == NOWHERE:
            for earlier in range(moved, -1, -1):
                undo(d, s, log[earlier])
            return False
        seat(d, s, item, cell, rank)
    s.rows[row, ALIVE] = 0
    return True


# -------------------------------------------------------------------------------------------------- evening


@compiled
def level_out(d: Demand, s: State, at_home: Bools, moves: int) -> int:
    """Lower the fullest rows, one move each; returns how many moves are left."""
    full = np.zeros(len(s.rows))
    for row in range(len(s.rows)):
        full[row] = _fullest(d, s, row)
    stuck = np.zeros(len(s.rows), dtype=np.bool_)
    while moves > 0:
        row, most = NOWHERE, 0.0
        for one in range(len(s.rows)):
            if not stuck[one] and full[one] > most:
                row, most = one, full[one]
        if row == NOWHERE:
            break
        item, cell, rank = _best_gift(d, s, row, full[row])
        if item == NOWHERE:
            stuck[row] = True
            continue
        take(d, s, item)
        seat(d, s, item, cell, rank)
        moves -= 1 if at_home[item] else 0
        at_home[item] = False
        full[row], full[d.row_of[cell]] = _fullest(d, s, row), _fullest(d, s, d.row_of[cell])
    return moves


@compiled
def _best_gift(d: Demand, s: State, row: int, before: float) -> tuple[int, Number, Number]:
    """Return the resident of a row and its new seat that leave the fuller of both rows emptiest."""
    chosen, target, mode, best = np.int64(NOWHERE), np.int64(NOWHERE), np.int64(0), before - 1e-9
    for item in residents_of(s, row):
        if not d.items[item, MOVABLE]:
            continue
        mask, old = s.seats[item, MASK], s.seats[item, RANK]
        take(d, s, item)
        here = _fullest(d, s, row)
        if here < best:
            cell, rank = best_seat(d, s, item, row, ROOMY)
            if cell != NOWHERE:
                seat(d, s, item, cell, rank)
                worse = max(here, _fullest(d, s, d.row_of[cell]))
                take(d, s, item)
                if worse < best:
                    chosen, target, mode, best = item, np.int64(cell), np.int64(rank), worse
        put(d, s, item, row, mask, old)
    return int(chosen), target, mode


@compiled
def _fullest(d: Demand, s: State, row: int) -> float:
    """Return how full the fullest resource of a row or one of its devices is; 1 is full."""
    worst = 0.0
    for column in range(s.host_left.shape[1]):
        if column != CONFIG and d.host_room[row, column] > 0:
            worst = max(worst, 1.0 - s.host_left[row, column] / d.host_room[row, column])
    for cell in range(d.rows[row, FIRST_CELL], d.rows[row + 1, FIRST_CELL]):
        if d.cell_room[cell, 0] > 0:
            left = s.cells[cell, MEMORY_LEFT] - s.cells[cell, PEAK_SUM]
            worst = max(worst, 1.0 - left / d.cell_room[cell, 0])
        if d.cell_room[cell, 1] > 0:
            worst = max(worst, 1.0 - s.cells[cell, MILLI_LEFT] / d.cell_room[cell, 1])
    return worst
