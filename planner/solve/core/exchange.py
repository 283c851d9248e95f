"""Make one shard worth more: at most two residents of a device leave, at most two of those that wait come.

The worths of what is in a shard add up to its price at most, but for what overheads have become cheaper
since the relaxation (``worth``). So an exchange is not expected to gain more than the shard falls short of
its price, which leaves few sets to look at once a shard is nearly full: candidates are ranked by worth, and
only those in the narrow band of expected gains are tried.
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.items import (
    UNIT_OF,
    Items,
    fits_one,
    fits_two,
    free_memory,
    gather_candidates,
    gather_residents,
    leave,
    look,
    peaks_without,
    rank,
    sift_candidates,
)
from planner.solve.core.pool import SIZE, SPENT, Pool, draw, put, take
from planner.solve.core.sieve import BITS, common, first_of, let_through, levels_beside
from planner.solve.core.state import AFTER, EXCLUSIVE, FIRST, HELD, NOWHERE, TYPE, State, place, remove
from planner.solve.core.tables import DEVICES, DIMENSIONS, KIND, LOADS, PRICE, Floats, Tables
from planner.solve.problem import Ints

GAIN, LEAVES, ALSO_LEAVES, COMES, ALSO_COMES = range(5)

STARTING, LEAVING = 200, 8
"""What it counts to look for an exchange at all, and to let residents leave and come back, in sets that are
looked at."""

LEAST_GAIN = 1e-6
"""Of a shard's price: smaller gains are rounding."""


@compiled
def first_below(ranked: Floats, count: int, value: float) -> int:
    """Return the place of the first of falling worths that is below a value."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ranked[middle] < value:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def earned(tables: Tables, state: State, row: int) -> float:
    """Return what the residents of a shard are worth."""
    worth, unit, units = 0.0, state.rows[row, FIRST], state.units
    while unit != NOWHERE:
        worth += tables.value[tables.units[unit, KIND]]
        unit = units[unit, AFTER]
    return worth


@compiled
def _best_one(rule: Ints, items: Items, count: int, lost: float, most: float, best: Floats) -> int:
    """Find the candidate that gains most; returns how much was looked at."""
    ranked, order, data, now = items.ranked, items.order, items.data, items.now
    sets, level, tried = items.sieve.sets, items.sieve.level, 0
    start = first_below(ranked, count, lost + most)
    for word in range(start // BITS, count // BITS + 1):
        tried += 1
        bits = common(sets, level, word)
        if word * BITS < start:
            bits &= -1 << (start % BITS)
        elif word * BITS >= count or ranked[word * BITS] - lost <= best[GAIN]:
            return tried
        while bits:
            rank = word * BITS + first_of(bits)
            bits &= bits - 1
            if ranked[rank] - lost <= best[GAIN]:
                return tried
            tried += 1
            if fits_one(rule, data, now, order[rank]):
                best[GAIN], best[COMES], best[ALSO_COMES] = ranked[rank] - lost, order[rank], -1
                return tried
    return tried


@compiled
def _best_two(rule: Ints, items: Items, count: int, lost: float, most: float, best: Floats) -> int:
    """Find the two candidates that gain most together; returns how much was looked at."""
    ranked, order, level = items.ranked, items.order, items.sieve.level
    sets, sizes, room, other = items.sieve.sets, items.sieve.sizes, items.sieve.room, items.sieve.other
    start, below, end, tried = first_below(ranked, count, lost + most), count, count, 0
    for word in range(start // BITS, count // BITS + 1):
        tried += 1
        bits = common(sets, level, word)
        if word * BITS < start:
            bits &= -1 << (start % BITS)
        while bits:
            large = word * BITS + first_of(bits)
            bits &= bits - 1
            worth = ranked[large]
            if 2 * worth - lost <= best[GAIN]:
                return tried
            tried += 1
            while below > large + 1 and ranked[below - 1] < lost + most - worth:
                below -= 1
            small = max(large + 1, below)
            while end > small and worth + ranked[end - 1] - lost <= best[GAIN]:
                end -= 1
            if small >= end or not levels_beside(room, sizes, large, other):
                continue
            for last in range(small // BITS, (end - 1) // BITS + 1):
                tried += 1
                found = common(sets, other, last)
                if last * BITS < small:
                    found &= -1 << (small % BITS)
                while found:
                    rank = last * BITS + first_of(found)
                    found &= found - 1
                    if rank >= end:
                        break
                    tried += 1
                    if fits_two(rule, items.data, items.now, order[large], order[rank]):
                        best[GAIN], end = worth + ranked[rank] - lost, rank
                        best[COMES], best[ALSO_COMES] = order[large], order[rank]
    return tried


@compiled
def _look_through_sieve(rule: Ints, items: Items) -> bool:
    """Note what is left for the sieve; returns whether there is anything left of everything."""
    now, sieve = items.now, items.sieve
    memory, least = free_memory(rule, now), 0
    let_through(sieve, 0, memory)
    for dimension in range(1, rule[DIMENSIONS]):
        let_through(sieve, dimension, now[dimension])
        least = min(least, now[dimension])
    return bool(min(memory, least) >= 0)


@compiled
def _try_without(
    rule: Ints,
    items: Items,
    loads: int,
    sizes: Ints,
    leaving: Ints,
    most: float,
    best: Floats,
    pairs: bool,
) -> int:
    """Look for what may come when some residents leave; returns how many sets were tried."""
    residents, candidates = sizes[0], sizes[1]
    one, two = leaving[0], leaving[1]
    before, lost = best[GAIN], 0.0
    if one >= 0:
        leave(rule, items.data, items.now, one, 1)
        lost += items.value[one]
    if two >= 0:
        leave(rule, items.data, items.now, two, 1)
        lost += items.value[two]
    peaks_without(rule, items, loads, residents, one, two)
    tried = LEAVING
    if candidates and _look_through_sieve(rule, items):
        tried += _best_one(rule, items, candidates, lost, most, best)
        if pairs:
            tried += _best_two(rule, items, candidates, lost, most, best)
    if best[GAIN] > before:
        best[LEAVES], best[ALSO_LEAVES] = one, two
    if two >= 0:
        leave(rule, items.data, items.now, two, -1)
    if one >= 0:
        leave(rule, items.data, items.now, one, -1)
    return tried


@compiled
def _foremost_of_kin(pool: Pool, items: Items, one: int, residents: int, column: int) -> int:
    """Return who needs most room for loading of a resident and its kin: all that wait with less may come."""
    seed = items.data[one, column]
    for index in range(residents):
        unit = items.data[index, column]
        if pool.last[pool.rank[unit]] == pool.last[pool.rank[seed]] and pool.rank[unit] < pool.rank[seed]:
            seed = unit
    return int(seed)


@compiled
def find_exchange(
    tables: Tables,
    state: State,
    pool: Pool,
    items: Items,
    row: int,
    device: int,
    missing: float,
    depth: int,
    best: Floats,
    loss: float,
) -> None:
    """Note the exchange on a device that gains most.

    ``missing`` is what the shard falls short of its price; ``depth`` 1 lets single residents leave, 2 pairs
    of them for one that comes, 3 for two.
    """
    shard_type = state.rows[row, TYPE]
    loads = tables.types[shard_type, LOADS]
    residents = gather_residents(tables, state, items, row, device)
    seed = pool.units[draw(pool, pool.book[SIZE])]
    if residents:
        seed = _foremost_of_kin(
            pool, items, draw(pool, residents), residents, tables.rule[DIMENSIONS] + UNIT_OF
        )
    end = gather_candidates(tables, state, pool, items, (row, residents), seed, loss)
    rank(tables, items, residents, end)
    look(tables, state, items, row, device)
    sift_candidates(tables.rule, items, residents, end - residents)
    sizes, leaving = np.array([residents, end - residents]), np.array([-1, -1])
    most = missing * (1 + 1e-9)
    best[GAIN] = LEAST_GAIN * tables.types[shard_type, PRICE]
    best[COMES] = best[LEAVES] = best[ALSO_LEAVES] = best[ALSO_COMES] = -1
    tried = STARTING + _try_without(tables.rule, items, loads, sizes, leaving, most, best, True)
    for one in range(residents):
        leaving[0], leaving[1] = one, -1
        tried += _try_without(tables.rule, items, loads, sizes, leaving, most, best, True)
    if best[COMES] < 0 and depth > 1:
        for one in range(residents):
            for two in range(one):
                leaving[0], leaving[1] = one, two
                tried += _try_without(tables.rule, items, loads, sizes, leaving, most, best, depth > 2)
    pool.book[SPENT] += tried


@compiled
def _make_exchange(
    tables: Tables, state: State, pool: Pool, items: Items, where: tuple[int, int], best: Floats
) -> None:
    """Make the exchange that was found."""
    row, device = where
    for which in (LEAVES, ALSO_LEAVES):
        if best[which] >= 0:
            unit = items.data[int(best[which]), tables.rule[DIMENSIONS] + UNIT_OF]
            remove(tables, state, unit)
            put(pool, unit)
    for which in (COMES, ALSO_COMES):
        if best[which] >= 0:
            unit = items.data[int(best[which]), tables.rule[DIMENSIONS] + UNIT_OF]
            take(pool, unit)
            place(tables, state, row, device, unit, 0)


@compiled
def polish(
    tables: Tables, state: State, pool: Pool, items: Items, row: int, depth: int, rounds: int, loss: float
) -> float:
    """Exchange on every device of a shard, at most so often; returns what the shard is then worth."""
    worth, best = earned(tables, state, row), np.zeros(5)
    shard_type, held = state.rows[row, TYPE], state.rows[row, HELD] > 0
    price = float(tables.types[shard_type, PRICE])
    for device in range(tables.types[shard_type, DEVICES]):
        for _ in range(0 if state.cells[row, device, EXCLUSIVE] else rounds):
            missing = price if held else price - worth
            if missing <= LEAST_GAIN * price or pool.book[SIZE] == 0:
                break
            find_exchange(tables, state, pool, items, row, device, missing, depth, best, loss)
            if best[COMES] < 0:
                break
            _make_exchange(tables, state, pool, items, (row, device), best)
            worth += best[GAIN]
    return worth
