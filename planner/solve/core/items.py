"""What may be on one device now: its residents and candidates of the pool, side by side in small arrays.

``Items`` is the desk of one thread. Its arithmetic is that of ``state.takes``, for one or two candidates
after some residents have left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.pool import SIZE, SPENT, Pool, choose
from planner.solve.core.sieve import BITS, Sieve, first_of, make_sieve, sift
from planner.solve.core.state import (
    AFTER,
    DEVICE,
    DOMAIN,
    FIRST,
    HOST_LEFT,
    KEPT,
    LEFT,
    MILLI_LEFT,
    NO_TENANT,
    NOWHERE,
    PEAK_LEAST,
    PEAK_SUM,
    RANK,
    ROW,
    TENANT,
    TYPE,
    State,
    insert_peak,
)
from planner.solve.core.tables import (
    BACKEND,
    BACKENDS,
    BASES,
    CHARGED,
    CONFIG_ENTRY,
    DIMENSIONS,
    ENTRY,
    EXTRA,
    FROM,
    HOME,
    HOST,
    HOST_MEMORY,
    KIND,
    LOADS,
    LOADS_MOST,
    MODEL,
    OWNER,
    TO,
    TYPES,
    Floats,
    Tables,
)
from planner.solve.problem import AMPLE, Ints

RESIDENTS = 64
"""Residents of a device that are looked at at once; the others stay."""

GATHERED = 3
"""What a candidate counts for that is put on the desk and in order, in sets that are looked at."""

UNIT_OF, MODEL_OF = 3, 4
"""Behind the dimensions of an item, after ``EXTRA``, ``CHARGED`` and ``BACKEND``."""

SUM, LEAST_PEAK, ABOVE, USERS = range(4)
"""Behind the dimensions of what is left: the sum of the largest surpluses on the device, the last of them and
the one above it; then residents of each backend on the device, then in the shard."""


class Items(NamedTuple):
    """Residents first, then candidates.

    Parameters
    ----------
    data, value
        What each item takes, who it is and what it is worth.
    order, ranked
        Candidates by falling worth, and their worth.
    sieve
        Candidates by what they take.
    marks, seats
        Who is on the desk of all units, by their worth: a bit each, and where; nobody between two rankings.
    chosen
        Units that are looked at for candidates.
    now
        What is left, room for loading not taken off.
    kept, top
        The largest surpluses, falling: of what does not leave, and of all.
    """

    data: Ints
    value: Floats
    order: Ints
    ranked: Floats
    sieve: Sieve
    marks: Ints
    seats: Ints
    chosen: Ints
    now: Ints
    kept: Ints
    top: Ints


def make_items(tables: Tables, candidates: int) -> Items:
    """Return an empty desk for so many candidates."""
    size, dimensions, backends, loads = (
        RESIDENTS + candidates,
        *tables.rule[[DIMENSIONS, BACKENDS, LOADS_MOST]],
    )
    return Items(
        data=np.zeros((size, dimensions + 5), dtype=np.int64),
        value=np.zeros(size),
        order=np.zeros(size, dtype=np.int64),
        ranked=np.zeros(size),
        sieve=make_sieve(int(dimensions), candidates),
        marks=np.zeros(len(tables.units) // BITS + 1, dtype=np.int64),
        seats=np.zeros(len(tables.units), dtype=np.int64),
        chosen=np.zeros(candidates, dtype=np.int64),
        now=np.zeros(dimensions + USERS + 2 * backends, dtype=np.int64),
        kept=np.zeros(loads, dtype=np.int64),
        top=np.zeros(loads, dtype=np.int64),
    )


@compiled
def put_on_desk(tables: Tables, items: Items, at: int, unit: int, way: int) -> None:
    """Note what a unit takes in a way, who it is and what it is worth, at a place of the desk."""
    kind, data, demand, width = tables.units[unit, KIND], items.data, tables.demand, tables.rule[DIMENSIONS]
    for column in range(width + 3):
        data[at, column] = demand[way, kind, column]
    if tables.rule[CONFIG_ENTRY] > 0:
        data[at, tables.rule[CONFIG_ENTRY]] += tables.units[unit, ENTRY]
    data[at, width + UNIT_OF], data[at, width + MODEL_OF] = unit, tables.units[unit, MODEL]
    items.value[at] = tables.value[kind]


@compiled
def gather_residents(tables: Tables, state: State, items: Items, row: int, device: int) -> int:
    """Put the residents of a device on the desk, first; returns how many."""
    rule, units = tables.rule, state.units
    count, shard_type = 0, state.rows[row, TYPE]
    loads, kept = tables.types[shard_type, LOADS], items.kept
    for place in range(len(kept)):
        kept[place] = state.cells[row, device, KEPT + place]
    unit = state.rows[row, FIRST]
    while unit != NOWHERE:
        if units[unit, DEVICE] == device:
            way = units[unit, RANK] * rule[TYPES] + shard_type
            if count < RESIDENTS:
                put_on_desk(tables, items, count, unit, way)
                count += 1
            else:
                insert_peak(kept, loads, tables.demand[way, tables.units[unit, KIND], rule[DIMENSIONS]])
        unit = units[unit, AFTER]
    return count


@compiled
def _offer(
    tables: Tables, state: State, items: Items, row: int, after: int, count: int, seed: int, loss: float
) -> int:
    """Put those of the chosen on the desk that are of the seed's tenant and may enter; returns their end."""
    rule, known, demand, chosen = tables.rule, tables.units, tables.demand, items.chosen
    rows, units, width = state.rows, state.units, rule[DIMENSIONS]
    way, domain, owner, end = rows[row, TYPE], rows[row, DOMAIN], known[seed, OWNER], after
    if rows[row, TENANT] not in (NO_TENANT, owner):
        return end
    for index in range(count):
        unit = chosen[index]
        kind = known[unit, KIND]
        if (known[unit, HOME] != way) if loss < 0.0 else (tables.loss[way, kind] > loss):
            continue
        if demand[way, kind, width + CHARGED] < 0 or known[unit, OWNER] != owner:
            continue
        enters = True
        for other in range(known[unit, FROM], known[unit, TO]):
            if units[other, ROW] >= 0 and rows[units[other, ROW], DOMAIN] == domain:
                enters = False
        if enters:
            put_on_desk(tables, items, end, unit, way)
            end += 1
    return end


@compiled
def gather_candidates(
    tables: Tables, state: State, pool: Pool, items: Items, where: tuple[int, int], seed: int, loss: float
) -> int:
    """Put those that wait and may enter behind the residents; returns where they end.

    If few wait it is all of them, else a choice.
    """
    row, after = where
    size, wanted, chosen = pool.book[SIZE], len(items.chosen), items.chosen
    if size <= wanted:
        count = size
        chosen[:size] = pool.units[:size]
    else:
        count = choose(pool, chosen, wanted, seed)
    pool.book[SPENT] += GATHERED * min(size, wanted)
    return int(_offer(tables, state, items, row, after, count, seed, loss))


@compiled
def rank(tables: Tables, items: Items, after: int, end: int) -> None:
    """Order the candidates by falling worth: each marks its place among all units, and marks are read off."""
    marks, seats, column = items.marks, items.seats, tables.rule[DIMENSIONS] + UNIT_OF
    first, last = len(marks), 0
    for one in range(after, end):
        place = tables.place[items.data[one, column]]
        word = place // BITS
        marks[word] |= 1 << (place % BITS)
        seats[place] = one
        first, last = min(first, word), max(last, word)
    found = 0
    for word in range(first, last + 1):
        bits = marks[word]
        while bits:
            one = seats[word * BITS + first_of(bits)]
            items.order[found], items.ranked[found] = one, items.value[one]
            found += 1
            bits &= bits - 1
        marks[word] = 0


@compiled
def look(tables: Tables, state: State, items: Items, row: int, device: int) -> None:
    """Note what is left on a device and in its shard, and what it keeps for loading."""
    rule, rows, cells, now = tables.rule, state.rows, state.cells, items.now
    width, backends = rule[DIMENSIONS], rule[BACKENDS]
    now[0], now[1] = cells[row, device, LEFT], cells[row, device, MILLI_LEFT]
    for dimension in range(HOST, width):
        now[dimension] = rows[row, HOST_LEFT + dimension - HOST]
    now[width + SUM] = cells[row, device, PEAK_SUM]
    now[width + LEAST_PEAK] = cells[row, device, PEAK_LEAST]
    for backend in range(backends):
        now[width + USERS + backend] = cells[row, device, KEPT + rule[LOADS_MOST] + backend]
        now[width + USERS + backends + backend] = rows[row, HOST_LEFT + width - HOST + backend]


@compiled
def sift_candidates(rule: Ints, items: Items, residents: int, count: int) -> None:
    """Put the ranked candidates into the sieve, by what the largest two residents leave when they go."""
    reach = items.now[: rule[DIMENSIONS]].copy()
    for dimension in range(len(reach)):
        one = two = 0
        for index in range(residents):
            size = items.data[index, dimension]
            if size > one:
                one, two = size, one
            elif size > two:
                two = size
        reach[dimension] = min(reach[dimension] + one + two, AMPLE)
    sift(items.sieve, items.data, items.order, count, reach)


@compiled
def free_memory(rule: Ints, now: Ints) -> int:
    """Return what is left of a device's memory, bases apart; what is not on the device takes nothing."""
    return int(now[0] - now[rule[DIMENSIONS] + SUM])


@compiled
def fits_one(rule: Ints, data: Ints, now: Ints, one: int) -> bool:
    """Return whether a candidate fits into what is left."""
    width, backends = rule[DIMENSIONS], rule[BACKENDS]
    for dimension in range(HOST, width):
        if data[one, dimension] > now[dimension]:
            return False
    backend, charged = data[one, width + BACKEND], data[one, width + CHARGED]
    if now[width + USERS + backends + backend] == 0:
        memory = rule[HOST_MEMORY]
        if data[one, memory] + rule[BASES + backends + backend] > now[memory]:
            return False
    if charged == backends - 1:
        return True
    if data[one, 1] > now[1]:
        return False
    wanted = data[one, 0] + now[width + SUM] + max(0, data[one, width + EXTRA] - now[width + LEAST_PEAK])
    if now[width + USERS + charged] == 0:
        wanted += rule[BASES + charged]
    return bool(wanted <= now[0])


@compiled
def fits_two(rule: Ints, data: Ints, now: Ints, one: int, two: int) -> bool:
    """Return whether two candidates fit together into what is left."""
    width, backends, memory = rule[DIMENSIONS], rule[BACKENDS], rule[HOST_MEMORY]
    for dimension in range(1, width):
        if data[one, dimension] + data[two, dimension] > now[dimension]:
            return False
    if data[one, width + MODEL_OF] == data[two, width + MODEL_OF]:
        return False
    backend, other = data[one, width + BACKEND], data[two, width + BACKEND]
    wanted = data[one, memory] + data[two, memory]
    if now[width + USERS + backends + backend] == 0:
        wanted += rule[BASES + backends + backend]
    if other != backend and now[width + USERS + backends + other] == 0:
        wanted += rule[BASES + backends + other]
    return bool(wanted <= now[memory] and _device_fits_two(rule, data, now, one, two))


@compiled
def _device_fits_two(rule: Ints, data: Ints, now: Ints, one: int, two: int) -> bool:
    width, nothing = rule[DIMENSIONS], rule[BACKENDS] - 1
    charged, other = data[one, width + CHARGED], data[two, width + CHARGED]
    if charged == nothing and other == nothing:
        return True
    wanted = data[one, 0] + data[two, 0] + now[width + SUM]
    if now[width + USERS + charged] == 0:
        wanted += rule[BASES + charged]
    if other != charged and now[width + USERS + other] == 0:
        wanted += rule[BASES + other]
    large = max(data[one, width + EXTRA], data[two, width + EXTRA])
    small = min(data[one, width + EXTRA], data[two, width + EXTRA])
    least = now[width + LEAST_PEAK]
    if large > least:
        wanted += large - least + max(0, small - min(now[width + ABOVE], large))
    return bool(wanted <= now[0])


@compiled
def leave(rule: Ints, data: Ints, now: Ints, one: int, sign: int) -> None:
    """Give back what a resident takes, room for loading apart; ``sign`` -1 takes it again."""
    width, backends, edge = rule[DIMENSIONS], rule[BACKENDS], 1 if sign > 0 else 0
    for dimension in range(HOST, width):
        now[dimension] += sign * data[one, dimension]
    backend, charged = data[one, width + BACKEND], data[one, width + CHARGED]
    users = width + USERS + backends + backend
    if now[users] == edge:
        now[rule[HOST_MEMORY]] += sign * rule[BASES + backends + backend]
    now[users] -= sign
    if charged == backends - 1:
        return
    users = width + USERS + charged
    if now[users] == edge:
        now[0] += sign * rule[BASES + charged]
    now[users] -= sign
    now[0] += sign * data[one, 0]
    now[1] += sign * data[one, 1]


@compiled
def peaks_without(rule: Ints, items: Items, loads: int, count: int, one: int, two: int) -> None:
    """Note what the device keeps for loading when two of its residents leave; -1 is nobody."""
    data, now, top, width = items.data, items.now, items.top, rule[DIMENSIONS]
    if loads == 1:
        most = items.kept[0]
        for index in range(count):
            if index not in (one, two) and data[index, width + EXTRA] > most:
                most = data[index, width + EXTRA]
        now[width + SUM] = now[width + LEAST_PEAK] = most
        now[width + ABOVE] = AMPLE
        return
    top[:] = items.kept
    for index in range(count):
        if index not in (one, two):
            insert_peak(top, loads, data[index, width + EXTRA])
    now[width + SUM] = top[:loads].sum()
    now[width + LEAST_PEAK] = top[loads - 1]
    now[width + ABOVE] = top[loads - 2]
