"""Large neighbourhoods of a fleet: dissolve what earns least, let every other shard exchange, build anew.

The units of dissolved shards wait while all others exchange with them and so get fuller; what is left fits
into fewer shards than were dissolved, or cheaper ones (the pattern is Ropke and Pisinger's of 2006; that
units outside are exchanged with full bins is Buljubasic and Vasquez: Consistent neighborhood search for bin
packing, 2016).
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.exchange import earned, polish
from planner.solve.core.fill import Rows, Taste, empty_row, fill_devices, open_best
from planner.solve.core.items import RESIDENTS, Items
from planner.solve.core.pool import SIZE, Pool, chance, draw
from planner.solve.core.state import (
    CLOSED,
    COUNTS,
    FIXED,
    HELD,
    TYPE,
    State,
    close_row,
)
from planner.solve.core.tables import LEAST, PRICE, Tables
from planner.solve.problem import Ints


@compiled
def build(
    tables: Tables,
    state: State,
    pool: Pool,
    items: Items,
    rows: Rows,
    types: tuple[Ints, Ints],
    taste: Taste,
    most: int,
) -> bool:
    """Open so many shards for those that wait; returns whether more could be opened.

    False is that nobody waits or nothing fits; it is True, too, where no row is free. The first types are
    those that the relaxation uses: all are tried for the last few units, and where these do not help.
    """
    usual, everything = types
    for _ in range(most):
        if pool.book[SIZE] == 0:
            return False
        if rows.size[0] == 0:
            return True
        seed = pool.units[draw(pool, pool.book[SIZE])]
        few = pool.book[SIZE] <= len(items.value) - RESIDENTS
        tried = everything if few else usual
        if open_best(tables, state, pool, items, rows, tried, taste, seed) >= 0.0:
            continue
        if few or open_best(tables, state, pool, items, rows, everything, taste, seed) < 0.0:
            return False
    return True


@compiled
def fill_open(tables: Tables, state: State, pool: Pool, items: Items, listed: Ints, taste: Taste) -> None:
    """Fill open shards from those that wait; nobody who is in them is moved."""
    for row in listed:
        if pool.book[SIZE] > 0:
            seed = pool.units[draw(pool, pool.book[SIZE])]
            fill_devices(tables, state, pool, items, row, taste, seed)


@compiled
def dissolve(
    tables: Tables, state: State, pool: Pool, rows: Rows, listed: Ints, wanted: int, blur: float
) -> int:
    """Close shards that earn little of their price; their units wait. Returns how many were closed."""
    keys = np.full(len(listed), np.inf)
    for index in range(len(listed)):
        row = listed[index]
        shard_type = state.rows[row, TYPE]
        price = tables.types[shard_type, PRICE]
        if price == 0 or state.rows[row, FIXED] or state.rows[row, HELD] > 0:
            continue
        share = earned(tables, state, row) / price
        keys[index] = share + blur * chance(pool)
    order, closed = np.argsort(keys, kind="mergesort"), 0
    for place in range(len(order)):
        row = listed[order[place]]
        if closed == wanted or keys[order[place]] == np.inf:
            break
        shard_type = state.rows[row, TYPE]
        if state.totals[COUNTS + shard_type] <= tables.types[shard_type, LEAST]:
            continue
        empty_row(tables, state, pool, row)
        close_row(tables, state, row)
        rows.free[rows.size[0]] = row
        rows.size[0] += 1
        closed += 1
    return closed


@compiled
def sweep(tables: Tables, state: State, pool: Pool, items: Items, listed: Ints, taste: Taste) -> float:
    """Let open shards exchange with those that wait, in a random order; returns what that gained."""
    gained = 0.0
    for last in range(len(listed) - 1, -1, -1):
        other = draw(pool, last + 1)
        row = listed[other]
        listed[other], listed[last] = listed[last], row
        if state.rows[row, TYPE] == CLOSED or pool.book[SIZE] == 0:
            continue
        before = earned(tables, state, row)
        gained += polish(tables, state, pool, items, row, taste.depth, taste.rounds, taste.loss) - before
    return gained
