"""How few residents of an overloaded row have to go, and which: a small covering knapsack. Compiled.

What a resident frees of each broken resource is rounded up, and a backend's base is counted in parts for each
of its users, so that the least number found here is never above the true one. Amounts are shares of the
excess, ``COVER`` being all of it.
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import CONFIG, MEMORY, Ints
from planner.solve.repair.tables import (
    BACKEND,
    COUNT,
    ENTRY,
    FIRST,
    FIRST_CELL,
    HOST,
    KIND,
    MASK,
    MEMORY_LEFT,
    MILLI,
    MILLI_LEFT,
    NEXT,
    NOWHERE,
    ON_DEVICE,
    PEAK_SUM,
    RANK,
    STEADY,
    SURPLUS,
    TYPE,
    USERS,
    Demand,
    Number,
    State,
)

COVER = 2**20
_SAFE = 2**40
"""Amounts are shifted below this before they are multiplied by ``COVER``."""
MOST_DEEP = 12
"""Above so many leavers no search is made: a shard has some tens of residents and few of them leave."""
_STEPS = 30
"""Steps of the subgradient method."""


@compiled
def residents_of(s: State, row: int) -> Ints:
    """Return the items of a row in ascending order."""
    found = np.empty(s.rows[row, COUNT], dtype=np.int64)
    item, at = s.rows[row, FIRST], 0
    while item != NOWHERE:
        found[at] = item
        item, at = s.seats[item, NEXT], at + 1
    return np.sort(found)


@compiled
def freed_shares(d: Demand, s: State, row: int, items: Ints, skipped: Number) -> Ints:
    """Return ``(items, broken resources)``: which share of each excess the leaving of an item frees, at most.

    The column ``skipped`` is left out: ``CONFIG``, of which the solver counts more than the rules do, or
    NOWHERE for none.
    """
    columns, cells = s.host_left.shape[1], d.rows[row + 1, FIRST_CELL] - d.rows[row, FIRST_CELL]
    shares = np.zeros((len(items), columns + 2 * cells), dtype=np.int64)
    broken = 0
    for column in range(columns):
        if s.host_left[row, column] < 0 and column != skipped:
            freed = _host_amounts(d, s, row, items, column)
            broken += _as_shares(freed, -s.host_left[row, column], shares[:, broken])
    for cell in range(d.rows[row, FIRST_CELL], d.rows[row + 1, FIRST_CELL]):
        if s.cells[cell, USERS] == 0:
            continue
        if s.cells[cell, MEMORY_LEFT] < s.cells[cell, PEAK_SUM]:
            freed = _memory_amounts(d, s, cell, items)
            broken += _as_shares(
                freed, s.cells[cell, PEAK_SUM] - s.cells[cell, MEMORY_LEFT], shares[:, broken]
            )
        if s.cells[cell, MILLI_LEFT] < 0:
            freed = _milli_amounts(d, s, cell, items)
            broken += _as_shares(freed, -s.cells[cell, MILLI_LEFT], shares[:, broken])
    return shares[:, :broken].copy()


@compiled
def _host_amounts(d: Demand, s: State, row: int, items: Ints, column: int) -> Ints:
    of_type = d.rows[row, TYPE]
    freed = np.empty(len(items), dtype=np.int64)
    for at, item in enumerate(items):
        freed[at] = d.need[s.seats[item, RANK], d.items[item, KIND], of_type, HOST + column]
        if column == CONFIG:
            freed[at] += d.items[item, ENTRY]
        elif column == MEMORY:
            backend = d.items[item, BACKEND]
            freed[at] += -(-d.bases[backend, 1] // s.host_users[row, backend])
    return freed


@compiled
def _memory_amounts(d: Demand, s: State, cell: int, items: Ints) -> Ints:
    row = d.row_of[cell]
    of_type, bit = d.rows[row, TYPE], cell - d.rows[row, FIRST_CELL]
    freed = np.zeros(len(items), dtype=np.int64)
    for at, item in enumerate(items):
        rank, kind, backend = s.seats[item, RANK], d.items[item, KIND], d.items[item, BACKEND]
        if (s.seats[item, MASK] >> bit) & 1 and d.need[rank, kind, of_type, ON_DEVICE]:
            base = -(-d.bases[backend, 0] // s.device_users[cell, backend])
            freed[at] = d.need[rank, kind, of_type, STEADY] + d.need[rank, kind, of_type, SURPLUS] + base
    return freed


@compiled
def _milli_amounts(d: Demand, s: State, cell: int, items: Ints) -> Ints:
    row = d.row_of[cell]
    of_type, bit = d.rows[row, TYPE], cell - d.rows[row, FIRST_CELL]
    freed = np.zeros(len(items), dtype=np.int64)
    for at, item in enumerate(items):
        if (s.seats[item, MASK] >> bit) & 1:
            freed[at] = d.need[s.seats[item, RANK], d.items[item, KIND], of_type, MILLI]
    return freed


@compiled
def _as_shares(freed: Ints, excess: int, shares: Ints) -> int:
    """Write amounts as shares of an excess, rounded up; returns 1. One beyond all of them asks for all."""
    wanted = min(excess, freed.sum())
    shift = 0
    while wanted >> shift > _SAFE:
        shift += 1
    need = wanted >> shift
    for at in range(len(freed)):
        amount = min(freed[at], wanted)
        amount = -(-amount // (np.int64(1) << shift))
        shares[at] = COVER if amount >= need else -(-amount * COVER // max(need, 1))
    return 1


# --------------------------------------------------------------------------------------- the least number


@compiled
def least_leavers(shares: Ints, nodes: Number) -> int:
    """Return a number of items below which none cover every excess; exact where ``nodes`` suffice."""
    if shares.shape[1] == 0:
        return 0
    least = relaxed_count(shares)
    if shares.shape[1] == 1:
        return least
    order = heaviest_first(shares)
    covers = np.empty((1, MOST_DEEP), dtype=np.int64)
    sizes = np.zeros(len(shares), dtype=np.int64)
    while least <= MOST_DEEP:
        found, spent = covers_of(shares, sizes, order, least, covers, nodes)
        if found or spent >= nodes:
            break
        nodes -= spent
        least += 1
    return least


@compiled
def heaviest_first(shares: Ints) -> Ints:
    """Return the order in which items free most in all."""
    total = np.zeros(len(shares), dtype=np.int64)
    for at in range(len(shares)):
        for dim in range(shares.shape[1]):
            total[at] -= shares[at, dim]
    return np.argsort(total, kind="mergesort")


@compiled
def _count_for(values: Ints, need: Number) -> int:
    """Return how many of the largest values reach a sum."""
    ordered, total = np.sort(values), np.int64(0)
    for count in range(len(ordered)):
        if total >= need:
            return count
        total += ordered[len(ordered) - 1 - count]
    return len(ordered)


@compiled
def relaxed_count(shares: Ints) -> int:
    """Return the best bound of single resources and of weighted sums of them, by a subgradient.

    For any weights at least so many items go as it takes of the largest weighted shares to reach the weighted
    excess (a surrogate relaxation: Glover, 1968).
    """
    dims = shares.shape[1]
    best = 0
    for dim in range(dims):
        best = max(best, _count_for(shares[:, dim].copy(), np.int64(COVER)))
    weights = np.full(dims, 1024, dtype=np.int64)
    for step in range(_STEPS if dims > 1 else 0):
        values = np.zeros(len(shares), dtype=np.int64)
        for dim in range(dims):
            values += weights[dim] * shares[:, dim]
        count = _count_for(values, COVER * weights.sum())
        best = max(best, count)
        chosen = np.argsort(-values, kind="mergesort")[:count]
        for dim in range(dims):
            surplus = shares[chosen, dim].sum() - COVER
            change = min(512, max(-512, -surplus * 512 // COVER)) // (1 + step // 4)
            weights[dim] = max(1, weights[dim] + change)
    return best


# ----------------------------------------------------------------------------------------------- covers


@compiled
def covers_of(  # noqa: PLR0913, PLR0917 - a knapsack, what is written, and a limit
    shares: Ints, sizes: Ints, order: Ints, count: int, covers: Ints, nodes: Number
) -> tuple[int, int]:
    """Find the covers of exactly ``count`` items with the least total size.

    Parameters
    ----------
    shares
        ``(n, dims)``.
    sizes
        ``(n,)``: what is better small in those that leave.
    order
        In which items are tried.
    covers
        ``(most, >= count)``: where the best are written, as positions, the least size first.
    nodes
        Steps of the search.

    Returns
    -------
    How many were found, and the steps it took: ``nodes`` if it was cut short.
    """
    n, dims = shares.shape
    most = len(covers)
    suffix = np.zeros((n + 1, dims), dtype=np.int64)
    for at in range(n - 1, -1, -1):
        suffix[at] = np.maximum(suffix[at + 1], shares[order[at]])
    totals = np.full(most, np.iinfo(np.int64).max)
    path, missing, size = (
        np.full(count + 1, -1, dtype=np.int64),
        np.zeros((count + 1, dims), dtype=np.int64),
        np.zeros(count + 1, dtype=np.int64),
    )
    missing[0] = COVER
    depth, spent, found = 0, 0, 0
    while depth >= 0 and spent < nodes:
        path[depth] += 1
        at, left = path[depth], count - depth
        spent += 1
        if at + left > n or not _reaches(missing[depth], suffix[at], left):
            depth -= 1
            continue
        item = order[at]
        total = size[depth] + sizes[item]
        if total >= totals[most - 1]:
            continue
        for dim in range(dims):
            missing[depth + 1, dim] = missing[depth, dim] - shares[item, dim]
        if left > 1:
            depth += 1
            size[depth], path[depth] = total, at
        elif missing[depth + 1].max() <= 0:
            found = min(most, found + 1)
            _insert(covers, totals, path[:count], order, total)
    return found, spent


@compiled
def _reaches(missing: Ints, largest: Ints, left: int) -> bool:
    for dim in range(len(missing)):  # noqa: SIM110 - a generator cannot be compiled
        if missing[dim] > left * largest[dim]:
            return False
    return True


@compiled
def _insert(covers: Ints, totals: Ints, path: Ints, order: Ints, total: int) -> None:
    slot = len(totals) - 1
    while slot > 0 and totals[slot - 1] > total:
        totals[slot] = totals[slot - 1]
        covers[slot] = covers[slot - 1]
        slot -= 1
    totals[slot] = total
    for at in range(len(path)):
        covers[slot, at] = order[path[at]]


@compiled
def greedy_cover(shares: Ints) -> Ints:
    """Return a cover: what frees most of what is missing, again and again, less what may stay after all."""
    n, dims = shares.shape
    missing = np.full(dims, COVER, dtype=np.int64)
    chosen = np.zeros(n, dtype=np.bool_)
    for _ in range(n):
        if missing.max() <= 0:
            break
        best, which = np.int64(-1), 0
        for at in range(n):
            gain = np.int64(0)
            for dim in range(dims):
                gain += min(shares[at, dim], max(0, missing[dim]))
            if not chosen[at] and gain > best:
                best, which = gain, at
        chosen[which] = True
        missing -= shares[which]
    for at in range(n):
        if chosen[at] and (missing + shares[at]).max() <= 0:
            chosen[at] = False
            missing += shares[at]
    return np.flatnonzero(chosen)
