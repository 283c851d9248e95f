"""Relieving overloaded rows: who leaves, where to, and who makes room there. Compiled.

A row is relieved by one of its smallest covers whose items all find seats; where none does, by one that makes
a resident of another row move on (an ejection chain of length two), then by covers with an item more. What
finds no seat at all stays without one: it is for the caller to open a shard.
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import CONFIG, Ints
from planner.solve.repair.leavers import (
    MOST_DEEP,
    covers_of,
    freed_shares,
    greedy_cover,
    heaviest_first,
    least_leavers,
    relaxed_count,
    residents_of,
)
from planner.solve.repair.room import best_seat, device_takes, has_sibling, is_over, joins, put, seat, take
from planner.solve.repair.tables import (
    ALIVE,
    ALLOWED,
    COUNT,
    CROWD,
    DOMAIN,
    EXCLUSIVE,
    FIRST,
    FIRST_CELL,
    HOST,
    KIND,
    MASK,
    MEMORY_LEFT,
    MILLI,
    MODEL,
    MOVABLE,
    NOWHERE,
    RANK,
    ROW,
    STEADY,
    TENANT,
    TYPE,
    Demand,
    Number,
    State,
)

NODES = 20_000
"""Steps of the search for the covers of one row: all of them for some 30 residents of which 4 leave."""
_COVERS = 24
"""Covers of a row that are tried."""
_MORE = 2
"""Leavers above the least that a cover may have before its items are left without a seat."""
_CHAINED, _CHAINS = 2, 8
"""Covers of each size for which others make room, and rows that are tried for making room for an item."""
_CROWDED_OUT, _EXITS, _EXIT_NODES = 3, 4, 400
"""Residents that may have to leave a row for one item, covers that are tried, and steps for finding them."""
_TOO_MUCH = 2**50
"""More than what leaves any row is worth."""


@compiled
def relieve_all(d: Demand, s: State, style: int) -> Ints:
    """Relieve every overloaded row; returns for each row how many leavers it needed at least."""
    least = np.zeros(len(s.rows), dtype=np.int64)
    weight = np.zeros(len(s.rows), dtype=np.int64)
    for row in range(len(s.rows)):
        if s.rows[row, ALIVE] and is_over(d, s, row):
            items = residents_of(s, row)
            least[row] = least_leavers(freed_shares(d, s, row, items, np.int64(CONFIG)), NODES)
            weight[row] = sizes_of(d, s, row, items).max()
    for row in np.argsort(-weight, kind="mergesort"):  # the rows with large residents while there is room
        if weight[row]:
            relieve(d, s, row, style)
    return least


@compiled
def sizes_of(d: Demand, s: State, row: int, items: Ints) -> Ints:
    """Return how large items are: the sum of their shares of the row's room, in millionths, and 1."""
    of_type, cell = d.rows[row, TYPE], d.rows[row, FIRST_CELL]
    sizes = np.ones(len(items), dtype=np.int64)
    for at, item in enumerate(items):
        rank, kind, total = s.seats[item, RANK], d.items[item, KIND], 0.0
        for column in range(d.host_room.shape[1]):
            if d.host_room[row, column] > 0:
                total += d.need[rank, kind, of_type, HOST + column] / d.host_room[row, column]
        if d.cell_room[cell, 0] > 0:
            total += d.need[rank, kind, of_type, STEADY] / d.cell_room[cell, 0]
        if d.cell_room[cell, 1] > 0:
            total += d.need[rank, kind, of_type, MILLI] / d.cell_room[cell, 1]
        sizes[at] += np.int64(min(total, 1e6) * 1e6)
        if not d.items[item, MOVABLE]:
            sizes[at] += np.int64(1e9)
    return sizes


@compiled
def relieve(d: Demand, s: State, row: int, style: int) -> None:
    """Relieve one row of as few items as find seats elsewhere."""
    items = residents_of(s, row)
    shares = freed_shares(d, s, row, items, np.int64(NOWHERE))
    sizes, order = sizes_of(d, s, row, items), heaviest_first(shares)
    count = max(1, least_leavers(shares, NODES))
    covers = np.empty((_COVERS, MOST_DEEP), dtype=np.int64)
    fallback = items[:0]
    for more in range(_MORE + 1):
        wanted = count + more
        if wanted > min(MOST_DEEP, len(items)):
            break
        found, _ = covers_of(shares, sizes, order, wanted, covers, np.int64(NODES))
        for tries in range(0, _CHAINS + 1, _CHAINS):  # first without making room, then with
            for at in range(min(found, _CHAINED) if tries else found):
                if _leave(d, s, row, items[covers[at, :wanted]], style, tries):
                    return
        if found and not len(fallback):
            fallback = items[covers[0, :wanted]]
    if not len(fallback) or not _suffices(d, s, row, fallback):
        fallback = _sure_cover(d, s, row, items, shares)
    _give_up(d, s, fallback, style)


@compiled
def _suffices(d: Demand, s: State, row: int, chosen: Ints) -> bool:
    masks = s.seats[chosen, MASK]
    for item in chosen:
        take(d, s, item)
    enough = not is_over(d, s, row)
    for at, item in enumerate(chosen):
        put(d, s, item, row, masks[at], s.seats[item, RANK])
    return enough


@compiled
def _sure_cover(d: Demand, s: State, row: int, items: Ints, shares: Ints) -> Ints:
    """Return items whose leaving repairs a row for certain: a greedy cover, and the heaviest if need be."""
    leaves = np.zeros(len(items), dtype=np.bool_)
    leaves[greedy_cover(shares)] = True
    for at in heaviest_first(shares):
        if _suffices(d, s, row, items[leaves]):
            break
        leaves[at] = True
    return items[leaves]


@compiled
def _leave(d: Demand, s: State, row: int, chosen: Ints, style: int, tries: int) -> bool:  # noqa: PLR0913, PLR0917 - the books, what, where and how
    """Move items off a row if that repairs it and all find seats; else nothing is changed."""
    for item in chosen:
        if not d.items[item, MOVABLE]:
            return False
    log = np.empty(
        ((2 + _CROWDED_OUT) * len(chosen), 4), dtype=np.int64
    )  # (item, row, mask, rank) before each change
    for at, item in enumerate(chosen):
        note(s, item, log[at])
        take(d, s, item)
    logged, seated = len(chosen), 0
    while seated < len(chosen) and (seated or not is_over(d, s, row)):
        item = chosen[seated]
        cell, rank = best_seat(d, s, item, np.int64(NOWHERE), style)
        note(s, item, log[logged])
        if cell != NOWHERE:
            seat(d, s, item, cell, rank)
        else:
            moved = _make_room(d, s, item, log[logged + 1 :], style, tries) if tries else NOWHERE
            if moved == NOWHERE:
                break
            logged += moved
        logged, seated = logged + 1, seated + 1
    if seated == len(chosen):
        return True
    for at in range(logged - 1, -1, -1):
        undo(d, s, log[at])
    return False


@compiled
def note(s: State, item: int, entry: Ints) -> None:
    """Write down an item's seat."""
    entry[0], entry[1], entry[2], entry[3] = (
        item,
        s.seats[item, ROW],
        s.seats[item, MASK],
        s.seats[item, RANK],
    )


@compiled
def undo(d: Demand, s: State, entry: Ints) -> None:
    """Give an item the seat that was written down."""
    if s.seats[entry[0], ROW] != NOWHERE:
        take(d, s, entry[0])
    if entry[1] != NOWHERE:
        put(d, s, entry[0], entry[1], entry[2], entry[3])


@compiled
def _give_up(d: Demand, s: State, chosen: Ints, style: int) -> None:
    """Take items off a row; those that find no seat stay without one."""
    for item in chosen:
        take(d, s, item)
    for item in chosen:
        settle(d, s, item, style)


@compiled
def settle(d: Demand, s: State, item: int, style: int) -> bool:
    """Find a seat for an item without one, if need be by making room; returns whether it has one now."""
    if not d.items[item, MOVABLE]:
        return False
    cell, rank = best_seat(d, s, item, np.int64(NOWHERE), style)
    if cell != NOWHERE:
        seat(d, s, item, cell, rank)
        return True
    log = np.empty((_CROWDED_OUT, 4), dtype=np.int64)
    return _make_room(d, s, item, log, style, np.int64(_CHAINS)) != NOWHERE


@compiled
def _make_room(d: Demand, s: State, item: int, log: Ints, style: int, tries: Number) -> int:  # noqa: PLR0913, PLR0917 - the books, what, where and how
    """Seat an item where few and small residents move on to other rows.

    Notes in ``log`` where those were, and returns how many they are; NOWHERE if no way was found among the
    ``tries`` rows that are best.
    """
    price = np.full(len(s.rows), _TOO_MUCH, dtype=np.int64)
    for row in range(len(s.rows)):
        if s.rows[row, ALIVE] and not is_over(d, s, row) and _squeeze_in(d, s, item, row):
            count, _, total = _cheapest_exit(d, s, item, row, np.int64(1))
            if count:
                price[row] = count * _TOO_MUCH // MOST_DEEP + min(total, _TOO_MUCH // MOST_DEEP - 1)
            take(d, s, item)
    for row in np.argsort(price, kind="mergesort")[:tries]:
        if price[row] < _TOO_MUCH:
            _squeeze_in(d, s, item, row)
            moved = _clear(d, s, item, row, log, style)
            if moved != NOWHERE:
                return moved
            take(d, s, item)
    return NOWHERE


@compiled
def _squeeze_in(d: Demand, s: State, item: int, row: int) -> bool:
    """Put an item on the emptiest device of a row, room or not, if all other rules allow it."""
    if d.isolate and s.rows[row, COUNT] and d.items[s.rows[row, FIRST], TENANT] != d.items[item, TENANT]:
        return False
    if has_sibling(d, s, item, d.rows[row, DOMAIN]):
        return False
    for rank in range(len(d.need)):
        if not d.need[rank, d.items[item, KIND], d.rows[row, TYPE], ALLOWED]:
            continue
        best = NOWHERE
        for cell in range(d.rows[row, FIRST_CELL], d.rows[row + 1, FIRST_CELL]):
            if s.cells[cell, EXCLUSIVE]:
                continue
            if best == NOWHERE or s.cells[cell, MEMORY_LEFT] > s.cells[best, MEMORY_LEFT]:
                best = cell
        if best != NOWHERE:
            seat(d, s, item, best, rank)
            return True
    return False


@compiled
def _cheapest_exit(d: Demand, s: State, item: int, row: int, most: Number) -> tuple[int, Ints, int]:
    """Return the smallest covers of a row without one item: how many leave, which, the least size."""
    items = residents_of(s, row)
    shares, sizes = freed_shares(d, s, row, items, np.int64(NOWHERE)), sizes_of(d, s, row, items)
    covers = np.empty((most, _CROWDED_OUT), dtype=np.int64)
    for at in range(len(items)):
        if items[at] == item or not d.items[items[at], MOVABLE]:
            shares[at] = 0
    for count in range(max(1, relaxed_count(shares)), _CROWDED_OUT + 1):
        found, _ = covers_of(shares, sizes, heaviest_first(shares), count, covers, np.int64(_EXIT_NODES))
        if found:
            return count, items[covers[:found, :count].ravel()], sizes[covers[0, :count]].sum()
    return 0, items[:0], 0


@compiled
def _clear(d: Demand, s: State, item: int, row: int, log: Ints, style: int) -> int:  # noqa: PLR0913, PLR0917 - the books, what, where and how
    """Move residents of a row that an item was squeezed into elsewhere; returns how many, or NOWHERE."""
    count, leaving, _ = _cheapest_exit(d, s, item, row, np.int64(_EXITS))
    for first in range(0, len(leaving), max(1, count)):
        logged = 0
        for other in leaving[first : first + count]:
            note(s, other, log[logged])
            take(d, s, other)
            logged += 1
        seated = 0
        while seated < count and not is_over(d, s, row):
            cell, rank = best_seat(d, s, leaving[first + seated], row, style)
            if cell == NOWHERE:
                break
            seat(d, s, leaving[first + seated], cell, rank)
            seated += 1
        if count and seated == count:
            return count
        for at in range(logged - 1, -1, -1):
            undo(d, s, log[at])
    return NOWHERE


@compiled
def go_home(d: Demand, s: State, seats: Ints) -> int:
    """Give items that moved their first seats back where those are free again; returns how many."""
    returned = 0
    for item in range(len(seats)):
        row, mask, rank = seats[item, 0], seats[item, 1], seats[item, 2]
        if s.seats[item, ROW] == NOWHERE or row == NOWHERE or not d.items[item, MOVABLE]:
            continue
        at, there, how = s.seats[item, ROW], s.seats[item, MASK], s.seats[item, RANK]
        if at == row and there == mask and how == rank:
            continue
        take(d, s, item)
        cell = d.rows[row, FIRST_CELL]
        while not (mask >> (cell - d.rows[row, FIRST_CELL])) & 1:
            cell += 1
        if joins(d, s, item, row, rank) and device_takes(d, s, item, cell, rank):
            put(d, s, item, row, mask, rank)
            returned += 1
        else:
            put(d, s, item, at, there, how)
    return returned


@compiled
def evict_conflicts(d: Demand, s: State) -> None:
    """Take those off their seats who may not be with the others there, whatever there is room for."""
    for item in range(len(s.seats)):
        row = s.seats[item, ROW]
        if row == NOWHERE:
            continue
        mask = s.seats[item, MASK]
        clash = False
        for cell in range(d.rows[row, FIRST_CELL], d.rows[row + 1, FIRST_CELL]):
            if (
                (mask >> (cell - d.rows[row, FIRST_CELL])) & 1
                and s.cells[cell, EXCLUSIVE]
                and s.cells[cell, CROWD] > 1
            ):
                clash = clash or (mask & (mask - 1)) == 0
        position = d.first_of_model[d.items[item, MODEL]]
        while not clash and position < d.first_of_model[d.items[item, MODEL] + 1]:
            other = d.of_model[position]
            if other < item and s.seats[other, ROW] != NOWHERE:
                clash = d.rows[s.seats[other, ROW], DOMAIN] == d.rows[row, DOMAIN]
            position += 1
        if d.isolate:
            clash = clash or d.items[item, TENANT] != d.items[residents_of(s, row)[0], TENANT]
        if clash:
            take(d, s, item)
