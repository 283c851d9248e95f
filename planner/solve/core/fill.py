"""Fill an open shard from those that wait, and open the shards that earn most of their price.

A device takes the candidate whose demand is most like what is left (the dot product of Panigrahy, Talwar,
Uyeda, Wieder: Heuristics for Vector Bin Packing, 2011), less what it costs on top: a backend's base, and more
room for loading. ``exchange.polish`` then repairs what greed got wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.exchange import polish
from planner.solve.core.items import (
    LEAST_PEAK,
    MODEL_OF,
    SUM,
    UNIT_OF,
    USERS,
    Items,
    gather_candidates,
    look,
)
from planner.solve.core.pool import SPENT, Pool, chance, put, take
from planner.solve.core.state import (
    AFTER,
    COUNT,
    DEVICE,
    EXCLUSIVE,
    FIRST,
    NOWHERE,
    TYPE,
    State,
    close_row,
    may_open,
    open_row,
    place,
    remove,
)
from planner.solve.core.tables import (
    BACKEND,
    BACKENDS,
    BASES,
    CHARGED,
    DEVICES,
    DIMENSIONS,
    EXTRA,
    HOST,
    HOST_MEMORY,
    PRICE,
    Floats,
    Tables,
)
from planner.solve.problem import Ints

AT_A_GLANCE = 3
"""Candidates that are scored in the time in which exchanges look at one set."""


class Taste(NamedTuple):
    """How a device chooses.

    Parameters
    ----------
    alignment
        Exponent of what is left of a dimension.
    reluctance
        How much a candidate is avoided that brings a base or more room for loading.
    noise
        Random part of the score.
    loss
        Candidates that lose more of their worth on the type are left out.
    depth, rounds
        How deep and how often a shard is polished.
    """

    alignment: float
    reluctance: float
    noise: float
    loss: float
    depth: int
    rounds: int


class Rows(NamedTuple):
    """Closed rows that may be used, the last first: ``free[:size[0]]``."""

    free: Ints
    size: Ints


@compiled
def _weigh(tables: Tables, items: Items, shard_type: int, alignment: float, weights: Floats) -> None:
    """Note what a unit of demand of each dimension counts: more the more is left of it."""
    for dimension in range(len(weights)):
        share = tables.share[shard_type, dimension]
        left = max(0.0, items.now[dimension] * share)
        weights[dimension] = share * left**alignment


@compiled
def _still_to_pay(rule: Ints, now: Ints, bases: Ints) -> None:
    """Note what the base of each backend would take of the device, and of the host, if it came now."""
    width, backends = rule[DIMENSIONS], rule[BACKENDS]
    for index in range(2 * backends):
        bases[index] = rule[BASES + index] if now[width + USERS + index] == 0 else 0


@compiled
def _best_of(
    rule: Ints, items: Items, bases: Ints, weights: Floats, taste: Taste, pool: Pool, count: int
) -> tuple[int, int]:
    """Move those that still fit to the front; returns how many, and the one of best score, -1 if none."""
    data, now, order, width, backends = items.data, items.now, items.order, rule[DIMENSIONS], rule[BACKENDS]
    memory, kept, best, best_score = rule[HOST_MEMORY], 0, -1, -np.inf
    for index in range(count):
        one, score, fits = order[index], 0.0, True
        charged, host = data[one, width + CHARGED], bases[backends + data[one, width + BACKEND]]
        extra = max(0, data[one, width + EXTRA] - now[width + LEAST_PEAK]) + bases[charged]
        for dimension in range(width):
            wanted = data[one, dimension]
            score += weights[dimension] * wanted
            if dimension == memory:
                wanted += host
            elif dimension == 0:
                wanted += now[width + SUM] + extra
            if wanted > now[dimension] and (dimension >= HOST or charged != backends - 1):
                fits = False
        if not fits:
            continue
        order[kept] = one
        kept += 1
        score -= taste.reluctance * (weights[0] * extra + weights[memory] * host)
        if taste.noise > 0.0:
            score *= 1.0 + taste.noise * chance(pool)
        if score > best_score:
            best, best_score = one, score
    return kept, best


@compiled
def fill_device(
    tables: Tables, state: State, pool: Pool, items: Items, where: tuple[int, int], taste: Taste, seed: int
) -> None:
    """Fill a device greedily from a sample of those that wait."""
    row, device = where
    shard_type, rule, data = state.rows[row, TYPE], tables.rule, items.data
    width, order = rule[DIMENSIONS], items.order
    count = gather_candidates(tables, state, pool, items, (row, 0), seed, taste.loss)
    for index in range(count):
        order[index] = index
    weights, bases = np.zeros(width), np.zeros(2 * rule[BACKENDS], dtype=np.int64)
    while count > 0:
        look(tables, state, items, row, device)
        _weigh(tables, items, shard_type, taste.alignment, weights)
        pool.book[SPENT] += count // AT_A_GLANCE
        _still_to_pay(rule, items.now, bases)
        kept, best = _best_of(rule, items, bases, weights, taste, pool, count)
        if best < 0:
            return
        unit = data[best, width + UNIT_OF]
        take(pool, unit)
        place(tables, state, row, device, unit, 0)
        count = _without_model(data, order, kept, data[best, width + MODEL_OF], width + MODEL_OF)


@compiled
def _without_model(data: Ints, order: Ints, count: int, model: int, column: int) -> int:
    kept = 0
    for index in range(count):
        if data[order[index], column] != model:
            order[kept] = order[index]
            kept += 1
    return kept


@compiled
def fill_devices(
    tables: Tables, state: State, pool: Pool, items: Items, row: int, taste: Taste, seed: int
) -> None:
    """Fill a shard greedily from those that wait."""
    for device in range(tables.types[state.rows[row, TYPE], DEVICES]):
        if not state.cells[row, device, EXCLUSIVE]:
            fill_device(tables, state, pool, items, (row, device), taste, seed)


@compiled
def fill_row(
    tables: Tables, state: State, pool: Pool, items: Items, row: int, taste: Taste, seed: int
) -> float:
    """Fill a shard from those that wait and polish it; returns what it is then worth."""
    fill_devices(tables, state, pool, items, row, taste, seed)
    if state.rows[row, COUNT] == 0:
        return 0.0
    return polish(tables, state, pool, items, row, taste.depth, taste.rounds, taste.loss)


@compiled
def empty_row(tables: Tables, state: State, pool: Pool, row: int) -> None:
    """Let all residents of a shard wait that may move."""
    while state.rows[row, FIRST] != NOWHERE:
        unit = state.rows[row, FIRST]
        remove(tables, state, unit)
        put(pool, unit)


@compiled
def _copy_row(state: State, row: int, units: Ints, devices: Ints) -> int:
    """Note who is where in a shard; returns how many there are."""
    count, unit = 0, state.rows[row, FIRST]
    while unit != NOWHERE:
        units[count], devices[count] = unit, state.units[unit, DEVICE]
        count += 1
        unit = state.units[unit, AFTER]
    return count


@compiled
def open_best(
    tables: Tables, state: State, pool: Pool, items: Items, rows: Rows, types: Ints, taste: Taste, seed: int
) -> float:
    """Open the shard of some types that earns most of its price; returns its share, -1 if nothing fits."""
    if rows.size[0] == 0:
        return -2.0
    row = rows.free[rows.size[0] - 1]
    best, best_type, best_count = -1.0, -1, 0
    units, devices = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for shard_type in types:
        if not may_open(tables, state, shard_type):
            continue
        open_row(tables, state, row, shard_type)
        worth = fill_row(tables, state, pool, items, row, taste, seed)
        price = max(1.0, float(tables.types[shard_type, PRICE]))
        share = (worth + 1e-3 * state.rows[row, COUNT]) / price
        if state.rows[row, COUNT] > 0 and share > best:
            units = np.zeros(state.rows[row, COUNT], dtype=np.int64)
            devices = np.zeros(state.rows[row, COUNT], dtype=np.int64)
            best_count = _copy_row(state, row, units, devices)
            best, best_type = share, shard_type
        empty_row(tables, state, pool, row)
        close_row(tables, state, row)
    if best_type < 0:
        return -1.0
    open_row(tables, state, row, best_type)
    for index in range(best_count - 1, -1, -1):
        take(pool, units[index])
        place(tables, state, row, devices[index], units[index], 0)
    rows.size[0] -= 1
    return best
