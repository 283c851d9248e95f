"""The books of rows and their devices: who fits where, who comes and who goes. Compiled.

The rules are those of ``packing.Packing``; unlike there, a row may be over its room, because the placement
that is in force is. Such a row takes nobody.
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import CONFIG, MEMORY, Ints
from planner.solve.repair.sites import Sites
from planner.solve.repair.tables import (
    ALIVE,
    ALLOWED,
    BACKEND,
    COUNT,
    CROWD,
    DOMAIN,
    ENTRY,
    EXCLUSIVE,
    FIRST,
    FIRST_CELL,
    HOST,
    KIND,
    MASK,
    MEMORY_LEFT,
    MILLI,
    MILLI_LEFT,
    MODEL,
    NEXT,
    NOWHERE,
    ON_DEVICE,
    PEAK_LEAST,
    PEAK_SUM,
    PREVIOUS,
    RANK,
    ROW,
    STEADY,
    SURPLUS,
    TENANT,
    TYPE,
    USERS,
    Demand,
    Number,
    State,
)

ROOMY, TIGHT = range(2)
"""Which of the devices that take an item is better: the emptiest, or the fullest."""


def state_of(sites: Sites) -> State:
    """Return the books with every item on its seat that has one."""
    demand = sites.demand
    items, rows, cells = len(demand.items), len(sites.shards), len(demand.row_of)
    backends = len(demand.bases)
    state = State(
        seats=np.zeros((items, 5), dtype=np.int64),
        rows=np.zeros((rows, 3), dtype=np.int64),
        host_left=demand.host_room.copy(),
        host_users=np.zeros((rows, backends), dtype=np.int64),
        cells=np.zeros((cells, 7), dtype=np.int64),
        device_users=np.zeros((cells, backends), dtype=np.int64),
    )
    state.seats[:, [ROW, NEXT, PREVIOUS]] = NOWHERE
    state.rows[:, FIRST], state.rows[:, ALIVE] = NOWHERE, 1
    state.cells[:, [MEMORY_LEFT, MILLI_LEFT]] = demand.cell_room
    seat_all(demand, state, sites.seats)
    return state


def copy_of(state: State) -> State:
    """Return books of one's own with the same entries."""
    return State(*(array.copy() for array in state))


@compiled
def seat_all(d: Demand, s: State, seats: Ints) -> None:
    """Put every item on its seat; ``(items, 3)``: row, mask, rank."""
    for item in range(len(seats)):
        if seats[item, ROW] != NOWHERE:
            put(d, s, item, seats[item, ROW], seats[item, MASK], seats[item, RANK])


@compiled
def put(d: Demand, s: State, item: int, row: int, mask: int, rank: Number) -> None:  # noqa: PLR0913, PLR0917 - the books, what, where and how
    """Give an item without a seat one, whether it fits or not."""
    s.seats[item, ROW], s.seats[item, MASK], s.seats[item, RANK] = row, mask, rank
    head = s.rows[row, FIRST]
    s.seats[item, NEXT], s.seats[item, PREVIOUS] = head, NOWHERE
    if head != NOWHERE:
        s.seats[head, PREVIOUS] = item
    s.rows[row, FIRST] = item
    s.rows[row, COUNT] += 1
    _book(d, s, item, np.int64(1))


@compiled
def take(d: Demand, s: State, item: int) -> None:
    """Take an item off its seat; it keeps in mind which devices and rank it had."""
    row, before, after = s.seats[item, ROW], s.seats[item, PREVIOUS], s.seats[item, NEXT]
    if before == NOWHERE:
        s.rows[row, FIRST] = after
    else:
        s.seats[before, NEXT] = after
    if after != NOWHERE:
        s.seats[after, PREVIOUS] = before
    s.rows[row, COUNT] -= 1
    _book(d, s, item, np.int64(-1))
    s.seats[item, ROW] = NOWHERE


@compiled
def _book(d: Demand, s: State, item: int, sign: Number) -> None:
    row, rank, kind, backend = (
        s.seats[item, ROW],
        s.seats[item, RANK],
        d.items[item, KIND],
        d.items[item, BACKEND],
    )
    of_type = d.rows[row, TYPE]
    for column in range(s.host_left.shape[1]):
        s.host_left[row, column] -= sign * d.need[rank, kind, of_type, HOST + column]
    s.host_left[row, CONFIG] -= sign * d.items[item, ENTRY]
    s.host_users[row, backend] += sign
    if s.host_users[row, backend] == (1 if sign > 0 else 0):
        s.host_left[row, MEMORY] -= sign * d.bases[backend, 1]
    mask = s.seats[item, MASK]
    alone = (mask & (mask - 1)) != 0
    for cell in range(d.rows[row, FIRST_CELL], d.rows[row + 1, FIRST_CELL]):
        if not (mask >> (cell - d.rows[row, FIRST_CELL])) & 1:
            continue
        s.cells[cell, CROWD] += sign
        if alone:
            s.cells[cell, EXCLUSIVE] = sign > 0
        if d.need[rank, kind, of_type, ON_DEVICE]:
            _book_device(d, s, item, cell, sign)


@compiled
def _book_device(d: Demand, s: State, item: int, cell: int, sign: Number) -> None:
    rank, kind, backend = s.seats[item, RANK], d.items[item, KIND], d.items[item, BACKEND]
    of_type = d.rows[d.row_of[cell], TYPE]
    s.cells[cell, USERS] += sign
    s.device_users[cell, backend] += sign
    if s.device_users[cell, backend] == (1 if sign > 0 else 0):
        s.cells[cell, MEMORY_LEFT] -= sign * d.bases[backend, 0]
    s.cells[cell, MEMORY_LEFT] -= sign * d.need[rank, kind, of_type, STEADY]
    s.cells[cell, MILLI_LEFT] -= sign * d.need[rank, kind, of_type, MILLI]
    surplus = d.need[rank, kind, of_type, SURPLUS]
    if surplus > s.cells[cell, PEAK_LEAST] or (
        sign < 0 and surplus > 0 and surplus >= s.cells[cell, PEAK_LEAST]
    ):
        _sum_peaks(d, s, cell)


@compiled
def _sum_peaks(d: Demand, s: State, cell: int) -> None:
    """Add up the largest (load peak - steady) of a device anew."""
    row = d.row_of[cell]
    of_type, bit = d.rows[row, TYPE], cell - d.rows[row, FIRST_CELL]
    most = d.parallel_loads[of_type]
    largest = np.zeros(most, dtype=np.int64)
    item = s.rows[row, FIRST]
    while item != NOWHERE:
        if (s.seats[item, MASK] >> bit) & 1 and d.need[
            s.seats[item, RANK], d.items[item, KIND], of_type, ON_DEVICE
        ]:
            surplus = d.need[s.seats[item, RANK], d.items[item, KIND], of_type, SURPLUS]
            slot = most - 1
            if surplus > largest[slot]:
                while slot > 0 and surplus > largest[slot - 1]:
                    largest[slot] = largest[slot - 1]
                    slot -= 1
                largest[slot] = surplus
        item = s.seats[item, NEXT]
    s.cells[cell, PEAK_SUM] = largest.sum()
    s.cells[cell, PEAK_LEAST] = largest[most - 1]


# ---------------------------------------------------------------------------------------------- questions


@compiled
def is_over(d: Demand, s: State, row: int) -> bool:
    """Return whether a row or one of its devices holds more than it has room for."""
    for column in range(s.host_left.shape[1]):
        if s.host_left[row, column] < 0:
            return True
    for cell in range(d.rows[row, FIRST_CELL], d.rows[row + 1, FIRST_CELL]):
        if s.cells[cell, USERS] and (
            s.cells[cell, MEMORY_LEFT] < s.cells[cell, PEAK_SUM] or s.cells[cell, MILLI_LEFT] < 0
        ):
            return True
    return False


@compiled
def joins(d: Demand, s: State, item: int, row: int, rank: int) -> bool:
    """Return whether a row takes an item, its devices left aside."""
    kind, backend, of_type = d.items[item, KIND], d.items[item, BACKEND], d.rows[row, TYPE]
    if not s.rows[row, ALIVE] or not d.need[rank, kind, of_type, ALLOWED]:
        return False
    for column in range(s.host_left.shape[1]):
        need = d.need[rank, kind, of_type, HOST + column]
        if column == MEMORY and s.host_users[row, backend] == 0:
            need += d.bases[backend, 1]
        elif column == CONFIG:
            need += d.items[item, ENTRY]
        if need > s.host_left[row, column]:
            return False
    if (
        d.isolate
        and s.rows[row, FIRST] != NOWHERE
        and d.items[s.rows[row, FIRST], TENANT] != d.items[item, TENANT]
    ):
        return False
    return not has_sibling(d, s, item, d.rows[row, DOMAIN])


@compiled
def has_sibling(d: Demand, s: State, item: int, domain: int) -> bool:
    """Return whether another replica of an item's model is in a failure domain."""
    model = d.items[item, MODEL]
    for position in range(d.first_of_model[model], d.first_of_model[model + 1]):
        other = d.of_model[position]
        if other != item and s.seats[other, ROW] != NOWHERE and d.rows[s.seats[other, ROW], DOMAIN] == domain:
            return True
    return False


@compiled
def device_takes(d: Demand, s: State, item: int, cell: int, rank: int) -> bool:
    """Return whether a device of a row that takes an item takes it too."""
    kind, backend, of_type = d.items[item, KIND], d.items[item, BACKEND], d.rows[d.row_of[cell], TYPE]
    if s.cells[cell, EXCLUSIVE]:
        return False
    if not d.need[rank, kind, of_type, ON_DEVICE]:
        return True
    used = d.need[rank, kind, of_type, STEADY] + s.cells[cell, PEAK_SUM]
    used += max(0, d.need[rank, kind, of_type, SURPLUS] - s.cells[cell, PEAK_LEAST])
    if s.device_users[cell, backend] == 0:
        used += d.bases[backend, 0]
    return bool(
        used <= s.cells[cell, MEMORY_LEFT] and d.need[rank, kind, of_type, MILLI] <= s.cells[cell, MILLI_LEFT]
    )


@compiled
def fullness(d: Demand, s: State, item: int, cell: int, rank: int) -> float:
    """Return how full the fullest resource of a device and its row would be with an item; 1 is full."""
    row = d.row_of[cell]
    kind, of_type = d.items[item, KIND], d.rows[row, TYPE]
    worst = 0.0
    for column in range(s.host_left.shape[1]):
        if column != CONFIG and d.host_room[row, column] > 0:
            left = s.host_left[row, column] - d.need[rank, kind, of_type, HOST + column]
            worst = max(worst, 1.0 - left / d.host_room[row, column])
    if d.need[rank, kind, of_type, ON_DEVICE] and d.cell_room[cell, 0] > 0 and d.cell_room[cell, 1] > 0:
        left = s.cells[cell, MEMORY_LEFT] - s.cells[cell, PEAK_SUM] - d.need[rank, kind, of_type, STEADY]
        worst = max(worst, 1.0 - left / d.cell_room[cell, 0])
        worst = max(
            worst,
            1.0 - (s.cells[cell, MILLI_LEFT] - d.need[rank, kind, of_type, MILLI]) / d.cell_room[cell, 1],
        )
    return worst


@compiled
def best_seat(d: Demand, s: State, item: int, avoid: Number, style: int) -> tuple[Number, Number]:
    """Return the cell and rank where an item fits, outside the row to avoid; NOWHERE if nowhere.

    ``TIGHT`` takes the one that would be fullest, ``ROOMY`` the emptiest; lower ranks first.
    """
    for rank in range(len(d.need)):
        best = np.inf
        chosen: Number = np.int64(NOWHERE)
        for row in range(len(s.rows)):
            if row == avoid or not joins(d, s, item, row, rank):
                continue
            for cell in range(d.rows[row, FIRST_CELL], d.rows[row + 1, FIRST_CELL]):
                if not device_takes(d, s, item, cell, rank):
                    continue
                score = fullness(d, s, item, cell, rank)
                score = -score if style == TIGHT else score
                if score < best:
                    best, chosen = score, cell
        if chosen != NOWHERE:
            return chosen, rank
    return np.int64(NOWHERE), np.int64(NOWHERE)


@compiled
def seat(d: Demand, s: State, item: int, cell: Number, rank: Number) -> None:
    """Put an item on one device."""
    row = d.row_of[cell]
    put(d, s, item, row, np.int64(1) << (cell - d.rows[row, FIRST_CELL]), rank)
