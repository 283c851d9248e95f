"""Everything in the shards of a mix, fitting or not: who is where, what is left, and what is wasted.

Only plain shards are in it: bought ones of one device that loads one model at a time, is a failure domain of
its own and holds nobody who may not move. Others stay as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.state import (
    CLOSED,
    FIXED,
    HELD,
    TYPE,
    State,
    close_row,
    may_open,
    open_row,
    place,
    remove,
    takes,
)
from planner.solve.core.tables import (
    BACKEND,
    BACKENDS,
    BASES,
    CHARGED,
    CONFIG_ENTRY,
    DEVICES,
    DIMENSIONS,
    ENTRY,
    EXTRA,
    FROM,
    HOST_MEMORY,
    KIND,
    LOADS,
    OWNER,
    PRICE,
    ROOM,
    TO,
    TYPE_DOMAIN,
    TYPES,
    Floats,
    Tables,
)
from planner.solve.problem import AMPLE, Bools, Ints

OF_TYPE, COUNT, TOP, NEXT, DEVICE_BASES, HOST_BASES, LEFT = range(7)
"""Of a shard: its type, how many are in it, the two largest surpluses of theirs, what is paid for backends on
the device and in host memory; then what is left of each dimension, the largest surplus not taken off, below 0
where it is too much; then residents of each backend that the device pays a base for, and of each backend."""

HOME, PLACE = range(2)
"""Of a unit: its shard and where it is in the list of that; -1 is nowhere."""

LEAST_WEIGHT = 0.1
"""What of a shard's price each dimension weighs at least: what is free to the relaxation runs out, too."""

WASTE = 0.6
"""What a price of what is wasted counts for where units find their first place, in prices of overloads."""

NOBODY = -1


class Setting(NamedTuple):
    """What does not change.

    Parameters
    ----------
    rule
        As in the tables.
    demand
        ``(types, units, dimensions + 3)``, as that of kinds in the tables.
    room
        ``(types, dimensions)``: what an empty shard offers.
    weights
        ``(types, dimensions)``: the price of one of each, in parts of a shard's at the relaxation's prices.
    lost
        ``(types, 2)``: what one of device memory and one of host memory costs at the relaxation's prices.
    excess
        ``(types, units)``: what a unit takes on a type beyond the least that it takes on any, in prices.
    units
        ``(units, 2)``: the first of the same model and the one behind the last.
    movable
        Units that may move, by what they take of device memory on the first type.
    """

    rule: Ints
    demand: Ints
    room: Ints
    weights: Floats
    lost: Floats
    excess: Floats
    units: Ints
    movable: Ints


class Crowd(NamedTuple):
    """Who is where.

    Parameters
    ----------
    shards
        ``(shards, LEFT + dimensions + 2 * backends)``.
    units, members
        ``(units, 2)``, and who is in each shard.
    strain
        ``(shards,)``: see ``strain_of``.
    """

    shards: Ints
    units: Ints
    members: Ints
    strain: Floats


def plain_types(tables: Tables) -> Bools:
    """Return of which types shards may be in a crowd."""
    types = tables.types
    return np.asarray(
        (types[:, DEVICES] == 1) & (types[:, LOADS] <= 1) & (types[:, TYPE_DOMAIN] < 0), dtype=np.bool_
    )


def plain_rows(tables: Tables, state: State) -> Ints:
    """Return the open shards that may be in a crowd: none where tenants are kept apart."""
    if tables.units[:, OWNER].any():
        return np.zeros(0, dtype=np.int64)
    rows = np.flatnonzero(state.rows[:, TYPE] != CLOSED)
    found = state.rows[rows]
    plain = (found[:, FIXED] == 0) & (found[:, HELD] == 0) & plain_types(tables)[found[:, TYPE]]
    return np.asarray(rows[plain], dtype=np.int64)


def make_setting(tables: Tables, prices: Floats, movable: Ints) -> Setting:
    """Return what does not change; ``prices`` are those of all of each dimension of a shard of each type."""
    rule, width = tables.rule, int(tables.rule[DIMENSIONS])
    demand = np.ascontiguousarray(tables.demand[: rule[TYPES], np.maximum(tables.units[:, KIND], 0)])
    if rule[CONFIG_ENTRY] > 0:
        demand[:, :, rule[CONFIG_ENTRY]] += tables.units[:, ENTRY]
    room = np.ascontiguousarray(tables.types[:, ROOM:])
    counted = (room > 0) & (room < AMPLE // 2)
    whole = np.where(counted, 1.0 / np.where(counted, room, 1), 0.0)
    least = LEAST_WEIGHT * tables.types[:, PRICE, None]
    cost = (demand[:, :, :width] * (whole * prices)[:, None]).sum(axis=2)
    cost[demand[:, :, width + CHARGED] < 0] = np.inf
    best = cost.min(axis=0)
    return Setting(
        rule=rule,
        demand=demand,
        room=room,
        weights=np.maximum(prices, least) * whole,
        lost=np.ascontiguousarray((prices * whole)[:, [0, rule[HOST_MEMORY]]]),
        excess=np.where(np.isfinite(cost), cost - np.where(np.isfinite(best), best, 0.0), 0.0),
        units=np.ascontiguousarray(tables.units[:, [FROM, TO]]),
        movable=movable[np.argsort(demand[0, movable, 0], kind="stable")],
    )


def make_crowd(setting: Setting, types: Ints, homes: Ints) -> Crowd | None:
    """Return a crowd of shards of some types; None where a unit may be in none of them.

    ``homes`` are the shards of all units, -1 where they have none yet: those that may move go where that
    strains least.
    """
    rule, movable = setting.rule, setting.movable
    width, backends = int(rule[DIMENSIONS]), int(rule[BACKENDS])
    crowd = Crowd(
        shards=np.zeros((len(types), LEFT + width + 2 * backends), dtype=np.int64),
        units=np.full((len(homes), 2), NOBODY, dtype=np.int64),
        members=np.zeros((len(types), len(movable) + 1), dtype=np.int64),
        strain=np.zeros(len(types)),
    )
    crowd.shards[:, OF_TYPE], crowd.shards[:, LEFT : LEFT + width] = types, setting.room[types]
    return crowd if _enter_all(setting, crowd, homes) else None


@compiled
def _enter_all(setting: Setting, crowd: Crowd, homes: Ints) -> bool:
    """Put units where they are, then those that are nowhere where that strains least."""
    rule, demand, _, weights, lost, excess, kin, movable = setting
    shards, units, members, strain = crowd
    column = rule[DIMENSIONS] + CHARGED
    for unit in movable:
        home = homes[unit]
        if home >= 0 and demand[shards[home, OF_TYPE], unit, column] >= 0:
            enter(rule, demand, shards, units, members, unit, home)
    for shard in range(len(shards)):
        strain[shard] = strain_of(rule, demand, weights, lost, shards, shard, NOBODY, NOBODY, WASTE)
    for unit in movable[::-1]:
        if units[unit, HOME] >= 0:
            continue
        best, least = -1, np.inf
        for shard in range(len(shards)):
            if may_enter(rule, demand, kin, shards, units, unit, shard, NOBODY):
                more = (
                    strain_of(rule, demand, weights, lost, shards, shard, NOBODY, unit, WASTE) - strain[shard]
                )
                more += WASTE * excess[shards[shard, OF_TYPE], unit]
                if more < least:
                    best, least = shard, more
        if best < 0:
            return False
        enter(rule, demand, shards, units, members, unit, best)
        strain[best] = strain_of(rule, demand, weights, lost, shards, best, NOBODY, NOBODY, WASTE)
    return True


@compiled
def enter(rule: Ints, demand: Ints, shards: Ints, units: Ints, members: Ints, unit: int, shard: int) -> None:
    """Put a unit into a shard, whatever room there is."""
    count = shards[shard, COUNT]
    members[shard, count], shards[shard, COUNT] = unit, count + 1
    units[unit, HOME], units[unit, PLACE] = shard, count
    _charge(rule, demand, shards, unit, shard, 1)
    _count_surplus(shards, shard, demand[shards[shard, OF_TYPE], unit, rule[DIMENSIONS] + EXTRA])


@compiled
def leave(rule: Ints, demand: Ints, shards: Ints, units: Ints, members: Ints, unit: int) -> None:
    """Take a unit out of its shard."""
    shard, place = units[unit, HOME], units[unit, PLACE]
    count = shards[shard, COUNT] - 1
    last = members[shard, count]
    shards[shard, COUNT], members[shard, place], units[last, PLACE] = count, last, place
    units[unit, HOME] = NOBODY
    _charge(rule, demand, shards, unit, shard, -1)
    of_type, column = shards[shard, OF_TYPE], rule[DIMENSIONS] + EXTRA
    if demand[of_type, unit, column] >= shards[shard, NEXT]:
        shards[shard, TOP] = shards[shard, NEXT] = 0
        for index in range(count):
            _count_surplus(shards, shard, demand[of_type, members[shard, index], column])


@compiled
def _count_surplus(shards: Ints, shard: int, surplus: int) -> None:
    """Keep a surplus if it is one of the two largest."""
    if surplus > shards[shard, TOP]:
        shards[shard, NEXT], shards[shard, TOP] = shards[shard, TOP], surplus
    elif surplus > shards[shard, NEXT]:
        shards[shard, NEXT] = surplus


@compiled
def _charge(rule: Ints, demand: Ints, shards: Ints, unit: int, shard: int, sign: int) -> None:
    """Take what a unit uses off its shard, or give it back."""
    edge = 1 if sign > 0 else 0
    width, backends, of_type = rule[DIMENSIONS], rule[BACKENDS], shards[shard, OF_TYPE]
    for dimension in range(width):
        shards[shard, LEFT + dimension] -= sign * demand[of_type, unit, dimension]
    charged, backend = demand[of_type, unit, width + CHARGED], demand[of_type, unit, width + BACKEND]
    users = LEFT + width + charged
    shards[shard, users] += sign
    if shards[shard, users] == edge:
        shards[shard, LEFT] -= sign * rule[BASES + charged]
        shards[shard, DEVICE_BASES] += sign * rule[BASES + charged]
    users = LEFT + width + backends + backend
    shards[shard, users] += sign
    if shards[shard, users] == edge:
        shards[shard, LEFT + rule[HOST_MEMORY]] -= sign * rule[BASES + backends + backend]
        shards[shard, HOST_BASES] += sign * rule[BASES + backends + backend]


@compiled
def may_enter(
    rule: Ints, demand: Ints, kin: Ints, shards: Ints, units: Ints, unit: int, shard: int, leaves: int
) -> bool:
    """Return whether a unit has a way to run in a shard, and no other replica is there but who leaves."""
    if demand[shards[shard, OF_TYPE], unit, rule[DIMENSIONS] + CHARGED] < 0:
        return False
    for other in range(kin[unit, 0], kin[unit, 1]):
        if units[other, HOME] == shard and other not in (unit, leaves):
            return False
    return True


@compiled
def strain_of(
    rule: Ints,
    demand: Ints,
    weights: Floats,
    lost: Floats,
    shards: Ints,
    shard: int,
    leaves: int,
    comes: int,
    waste: float,
) -> float:
    """Return what is too much in a shard when one leaves and another comes, and some of what is wasted.

    Both in prices: what is wasted is what is paid for backends and the room for loading.
    """
    width, backends, of_type = rule[DIMENSIONS], rule[BACKENDS], shards[shard, OF_TYPE]
    top, device, host = shards[shard, TOP], shards[shard, DEVICE_BASES], shards[shard, HOST_BASES]
    one = two = backends - 1
    host_one = host_two = backends - 1
    if leaves >= 0:
        one, host_one = demand[of_type, leaves, width + CHARGED], demand[of_type, leaves, width + BACKEND]
        if demand[of_type, leaves, width + EXTRA] == top:
            top = shards[shard, NEXT]
    if comes >= 0:
        two, host_two = demand[of_type, comes, width + CHARGED], demand[of_type, comes, width + BACKEND]
        top = max(top, demand[of_type, comes, width + EXTRA])
    users = LEFT + width
    if one != two:
        device -= rule[BASES + one] if shards[shard, users + one] == 1 else 0
        device += rule[BASES + two] if shards[shard, users + two] == 0 else 0
    users += backends
    if host_one != host_two:
        host -= rule[BASES + backends + host_one] if shards[shard, users + host_one] == 1 else 0
        host += rule[BASES + backends + host_two] if shards[shard, users + host_two] == 0 else 0
    over = 0.0
    for dimension in range(width):
        left = shards[shard, LEFT + dimension]
        if leaves >= 0:
            left += demand[of_type, leaves, dimension]
        if comes >= 0:
            left -= demand[of_type, comes, dimension]
        if dimension == 0:
            left -= device - shards[shard, DEVICE_BASES] + top
        elif dimension == rule[HOST_MEMORY]:
            left -= host - shards[shard, HOST_BASES]
        if left < 0:
            over -= left * weights[of_type, dimension]
    wasted = (device + top) * lost[of_type, 0] + host * lost[of_type, 1]
    return float(over + waste * wasted)


@compiled
def is_overfull(setting: Setting, crowd: Crowd, shard: int) -> bool:
    """Return whether a shard holds too much."""
    for dimension in range(setting.rule[DIMENSIONS]):
        if crowd.shards[shard, LEFT + dimension] < (crowd.shards[shard, TOP] if dimension == 0 else 0):
            return True
    return False


@compiled
def overload(setting: Setting, crowd: Crowd) -> float:
    """Return what is too much in all shards, in prices."""
    over = 0.0
    for shard in range(len(crowd.shards)):
        of_type = crowd.shards[shard, OF_TYPE]
        for dimension in range(setting.rule[DIMENSIONS]):
            left = crowd.shards[shard, LEFT + dimension] - (crowd.shards[shard, TOP] if dimension == 0 else 0)
            over += max(0, -left) * setting.weights[of_type, dimension]
    return over


@compiled
def move_in(
    tables: Tables, state: State, movable: Ints, rows: Ints, before: int, types: Ints, homes: Ints
) -> bool:
    """Put units into shards of some types instead of those they are in; returns whether every rule allows it.

    Parameters
    ----------
    tables, state
        The state is changed.
    movable
        The units.
    rows
        A row for each shard; of these the first ``before`` are open and hold nobody else.
    types, homes
        Of each shard, and the shard of each unit.
    """
    for unit in movable:
        remove(tables, state, unit)
    for row in rows[:before]:
        close_row(tables, state, row)
    for shard in range(len(types)):
        if not may_open(tables, state, types[shard]):
            return False
        open_row(tables, state, rows[shard], types[shard])
    for unit in movable:
        row = rows[homes[unit]]
        if not takes(tables, state, row, 0, unit, 0):
            return False
        place(tables, state, row, 0, unit, 0)
    return True
