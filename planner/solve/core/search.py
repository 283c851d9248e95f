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
from planner.solve.core.fill import Rows, Taste, empty_row, fill_devices, fill_row, open_best
from planner.solve.core.items import RESIDENTS, Items
from planner.solve.core.pool import FEW_WAITING, SIZE, Pool, chance, draw, first_of_kin, take
from planner.solve.core.state import (
    AFTER,
    CLOSED,
    COUNT,
    COUNTS,
    FIRST,
    FIXED,
    HELD,
    NOWHERE,
    TYPE,
    State,
    close_row,
    may_open,
    open_row,
    place,
    takes,
)
from planner.solve.core.tables import KIND, LEAST, PRICE, Floats, Tables
from planner.solve.problem import Ints

LARGEST_OF = 16
"""Of so many that wait the largest comes first: the hard ones go while there is much to put beside them."""

TOPMOST = 0.5
"""Such a part of the shards is built around what needs most room for loading of its kin instead, while many
wait: others with nearly as much then use what is kept for that, too."""

INDIFFERENCE = 0.005
"""Types that cost so much more, as a share, are chosen a third as often."""


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
def _largest(tables: Tables, pool: Pool, most: int) -> int:
    """Return the one of some that wait which is worth most of a shard of its best type."""
    seed, largest = pool.units[0], -1.0
    for _ in range(most):
        unit = pool.units[draw(pool, pool.book[SIZE])]
        kind = tables.units[unit, KIND]
        size = tables.value[kind] / max(1, tables.types[_best_type(tables, kind), PRICE])
        if size > largest:
            seed, largest = unit, size
    return int(seed)


@compiled
def _best_type(tables: Tables, kind: int) -> int:
    """Return the type on which a replica costs least."""
    best = 0
    for shard_type in range(len(tables.types)):
        if tables.loss[shard_type, kind] < tables.loss[best, kind]:
            best = shard_type
    return best


@compiled
def _any_type(tables: Tables, pool: Pool, kind: int) -> int:
    """Return a type on which a replica costs about least, at random where it hardly matters which."""
    found, total = 0, 0.0
    for shard_type in range(len(tables.types)):
        chosen = np.exp(-min(700.0, tables.loss[shard_type, kind] / INDIFFERENCE))
        total += chosen
        if chance(pool) * total < chosen:
            found = shard_type
    return found


@compiled
def build_around(
    tables: Tables, state: State, pool: Pool, items: Items, rows: Rows, taste: Taste, most: int, enough: float
) -> int:
    """Open so many shards, each around a large one of those that wait; returns how many.

    Each is of a type that suits its first resident, and is only kept if it earns ``enough`` of its price.
    """
    opened = 0
    for _ in range(most):
        if pool.book[SIZE] == 0 or rows.size[0] == 0:
            break
        seed = _largest(tables, pool, LARGEST_OF)
        if chance(pool) < TOPMOST and pool.book[SIZE] > FEW_WAITING:
            seed = first_of_kin(pool, pool.units[draw(pool, pool.book[SIZE])])
        shard_type = _any_type(tables, pool, tables.units[seed, KIND])
        if not may_open(tables, state, shard_type):
            continue
        row = rows.free[rows.size[0] - 1]
        open_row(tables, state, row, shard_type)
        if takes(tables, state, row, 0, seed, 0):
            take(pool, seed)
            place(tables, state, row, 0, seed, 0)
        worth = fill_row(tables, state, pool, items, row, taste, seed)
        if worth >= enough * tables.types[shard_type, PRICE] and state.rows[row, COUNT] > 0:
            rows.size[0] -= 1
            opened += 1
        else:
            empty_row(tables, state, pool, row)
            close_row(tables, state, row)
    return opened


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
    for rank in range(len(order)):
        row = listed[order[rank]]
        if closed == wanted or keys[order[rank]] == np.inf:
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
def promised_cost(tables: Tables, state: State, value: Floats, full: float) -> float:
    """Return what a fleet costs, less what its emptiest shards fall short of such a part of their price.

    Those are the ones that are dissolved next: the emptier they are, the sooner one of them can be spared.
    """
    cost = 0.0
    for row in range(len(state.rows)):
        if state.rows[row, TYPE] == CLOSED:
            continue
        price, worth, unit = float(tables.types[state.rows[row, TYPE], PRICE]), 0.0, state.rows[row, FIRST]
        while unit != NOWHERE:
            worth += value[tables.units[unit, KIND]]
            unit = state.units[unit, AFTER]
        cost += price - max(0.0, full * price - worth)
    return cost


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
