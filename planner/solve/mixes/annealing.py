"""Move units about among the shards of a mix that are too small for them, until nothing is too much.

One changes its shard, two change places, or all of a backend leave a shard where they are few; that stays if
there is less strain, or only a little more, the less the later (simulated annealing: Kirkpatrick, Gelatt and
Vecchi, Optimization by simulated annealing, 1983). Bases and room for loading are counted at every step, in
whole numbers, so where nothing is too much it is a packing.
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.tables import BACKEND, BACKENDS, CHARGED, DIMENSIONS, Floats
from planner.solve.mixes.crowd import (
    COUNT,
    HOME,
    LEFT,
    NOBODY,
    OF_TYPE,
    Crowd,
    Setting,
    enter,
    is_overfull,
    leave,
    may_enter,
    strain_of,
)
from planner.solve.problem import Ints

LOOKS = 512
"""Changes after which it is looked up again which shards are overfull."""

GROUPS, SOLITARY, ANYONE = 60, 200, 300
"""Of ``_LUCK`` changes those that move a group, up to the next those in which one changes its shard alone,
then two at random; in the others two of about the size in some dimension."""

LARGEST_GROUP, NEIGHBOURS = 4, 20
"""Units of a group at most, and places in an order by size that two of about the size are apart at most."""

_MASK, _BITS, _MULTIPLIER, _LUCK = 2**31 - 1, 31, 48_271, 1024


@compiled
def _draw(book: Ints, bound: int) -> int:
    """Return a random number from 0 up to, not including, a bound; Lehmer's, without a division."""
    value = book[0] * _MULTIPLIER
    value = (value & _MASK) + (value >> _BITS)
    value = (value & _MASK) + (value >> _BITS)
    book[0] = value
    return int((value * bound) >> _BITS)


def make_luck() -> Floats:
    """Return what Metropolis' rule tolerates, in heats, for equally likely cases."""
    return np.asarray(-np.log((np.arange(_LUCK) + 0.5) / _LUCK), dtype=np.float64)


@compiled
def anneal(
    setting: Setting, crowd: Crowd, book: Ints, luck: Floats, heats: Floats, waste: float, each: int
) -> bool:
    """Move units about; returns whether nothing is too much in the end.

    Parameters
    ----------
    setting, crowd
        What is where; changed.
    book
        The state of the random numbers.
    luck
        What of the heat is tolerated, one number after the other at random.
    heats
        How much more strain is tolerated, about, one after the other.
    waste
        What a price of what is wasted counts for, in prices of what is too much.
    each
        Changes that are tried at each heat.
    """
    listed, changed = np.zeros(len(crowd.shards), dtype=np.int64), np.zeros(2 * LARGEST_GROUP, dtype=np.int64)
    rule, demand, weights, shards = setting.rule, setting.demand, setting.weights, crowd.shards
    for shard in range(len(shards)):
        crowd.strain[shard] = strain_of(rule, demand, weights, shards, shard, NOBODY, NOBODY, waste)
    for heat in heats:
        for start in range(0, each, LOOKS):
            overfull = _list_overfull(setting, crowd, listed)
            if overfull == 0:
                return True
            many = min(LOOKS, each - start)
            _try_changes(setting, crowd, book, luck, heat, waste, listed[:overfull], changed, many)
    return bool(_list_overfull(setting, crowd, listed) == 0)


@compiled
def _try_changes(
    setting: Setting,
    crowd: Crowd,
    book: Ints,
    luck: Floats,
    heat: float,
    waste: float,
    listed: Ints,
    changed: Ints,
    many: int,
) -> None:
    """Try so many changes; every other one who moves is in one of the listed shards, unless that is empty.

    All in one function: a call for each change would double its time.
    """
    rule, demand, _, weights, excess, kin, orders, ranks = setting
    shards, units, members, strain = crowd
    for step in range(many):
        unit, kind = orders[0, _draw(book, orders.shape[1])], _draw(book, _LUCK)
        home = listed[_draw(book, len(listed))]
        if step & 1 and shards[home, COUNT]:
            unit = members[home, _draw(book, shards[home, COUNT])]
        home, other, tolerated = units[unit, HOME], NOBODY, heat * luck[_draw(book, _LUCK)]
        if kind < GROUPS:
            _move_group(setting, crowd, book, changed, unit, tolerated, waste)
            continue
        if kind >= SOLITARY:
            by, place = 0, _draw(book, orders.shape[1])
            if kind >= ANYONE:
                by = _draw(book, len(orders))
                place = ranks[by, unit] + _draw(book, 2 * NEIGHBOURS + 1) - NEIGHBOURS
            other = orders[by, min(max(place, 0), orders.shape[1] - 1)]
        shard = units[other, HOME] if other >= 0 else _draw(book, len(shards))
        if shard == home or not may_enter(rule, demand, kin, shards, units, unit, shard, other):
            continue
        here, there = shards[home, OF_TYPE], shards[shard, OF_TYPE]
        most = strain[home] + strain[shard] + tolerated - waste * (excess[there, unit] - excess[here, unit])
        if other >= 0:
            if not may_enter(rule, demand, kin, shards, units, other, home, unit):
                continue
            most -= waste * (excess[here, other] - excess[there, other])
        now = strain_of(rule, demand, weights, shards, shard, other, unit, waste)
        now_home = (
            strain_of(rule, demand, weights, shards, home, unit, other, waste) if now <= most else np.inf
        )
        if now + now_home > most:
            continue
        leave(rule, demand, shards, units, members, unit)
        if other >= 0:
            leave(rule, demand, shards, units, members, other)
            enter(rule, demand, shards, units, members, other, home)
        enter(rule, demand, shards, units, members, unit, shard)
        strain[home], strain[shard] = now_home, now


@compiled
def _list_overfull(setting: Setting, crowd: Crowd, listed: Ints) -> int:
    """Note which shards hold too much; returns how many."""
    count = 0
    for shard in range(len(crowd.shards)):
        if is_overfull(setting, crowd, shard):
            listed[count] = shard
            count += 1
    return count


# --------------------------------------------------------------------------------------------------- groups


@compiled
def _move_group(
    setting: Setting,
    crowd: Crowd,
    book: Ints,
    changed: Ints,
    unit: int,
    tolerated: float,
    waste: float,
) -> None:
    """Let all of a unit's backend leave its shard, where they are few, for one that has it anyway.

    For each of them comes who is most like it, of another backend that its shard has anyway.
    """
    shards, users = crowd.shards, LEFT + setting.rule[DIMENSIONS] + setting.rule[BACKENDS]
    home, backend = crowd.units[unit, HOME], _backend_of(setting, unit)
    shard = crowd.units[setting.orders[0, _draw(book, setting.orders.shape[1])], HOME]
    few = min(LARGEST_GROUP, shards[home, COUNT] - 1)
    if home == shard or shards[home, users + backend] > few or shards[shard, users + backend] == 0:
        return
    size = 0
    for index in range(shards[home, COUNT]):
        one = crowd.members[home, index]
        if _backend_of(setting, one) == backend:
            changed[size], size = one, size + 1
    count = size
    for index in range(size):
        other = _most_like(setting, crowd, changed, count, index, shard, home)
        if other >= 0:
            changed[count], count = other, count + 1
    if count > size:
        _change_all(setting, crowd, changed, count, home, shard, tolerated, waste)


@compiled
def _backend_of(setting: Setting, unit: int) -> int:
    return int(setting.demand[0, unit, setting.rule[DIMENSIONS] + BACKEND])


@compiled
def _most_like(
    setting: Setting, crowd: Crowd, changed: Ints, count: int, index: int, shard: int, home: int
) -> int:
    """Return who of a shard is most like one that leaves home, of another backend that is there already."""
    users, here = LEFT + setting.rule[DIMENSIONS] + setting.rule[BACKENDS], crowd.shards[home, OF_TYPE]
    unit, best, least = changed[index], NOBODY, np.inf
    for place in range(crowd.shards[shard, COUNT]):
        one = crowd.members[shard, place]
        backend = _backend_of(setting, one)
        if backend == _backend_of(setting, unit) or crowd.shards[home, users + backend] == 0:
            continue
        if (changed[:count] == one).any():
            continue
        off = 0.0
        for dimension in range(setting.rule[DIMENSIONS]):
            more = setting.demand[here, unit, dimension] - setting.demand[here, one, dimension]
            off += abs(more) * setting.weights[here, dimension]
        if off < least:
            best, least = one, off
    return best


@compiled
def _change_all(
    setting: Setting,
    crowd: Crowd,
    changed: Ints,
    count: int,
    home: int,
    shard: int,
    tolerated: float,
    waste: float,
) -> None:
    """Let some units of two shards go to the other one of them, if that is tolerated."""
    rule, demand, _, weights, excess, kin, _, _ = setting
    shards, units, _, strain = crowd
    wasted = 0.0
    for unit in changed[:count]:
        here = shards[units[unit, HOME], OF_TYPE]
        there = shards[home + shard - units[unit, HOME], OF_TYPE]
        if demand[there, unit, rule[DIMENSIONS] + CHARGED] < 0:
            return
        wasted += excess[there, unit] - excess[here, unit]
    most = strain[home] + strain[shard] + tolerated - waste * wasted
    _swap_sides(setting, crowd, changed, count, home + shard)
    now_home = strain_of(rule, demand, weights, shards, home, NOBODY, NOBODY, waste)
    now = strain_of(rule, demand, weights, shards, shard, NOBODY, NOBODY, waste)
    fine = now + now_home <= most
    for unit in changed[:count]:
        fine = fine and may_enter(rule, demand, kin, shards, units, unit, units[unit, HOME], NOBODY)
    if fine:
        strain[home], strain[shard] = now_home, now
    else:
        _swap_sides(setting, crowd, changed, count, home + shard)


@compiled
def _swap_sides(setting: Setting, crowd: Crowd, changed: Ints, count: int, both: int) -> None:
    """Let each of some units of two shards, whose numbers add up to ``both``, go to the other one."""
    rule, demand, shards, units, members = (
        setting.rule,
        setting.demand,
        crowd.shards,
        crowd.units,
        crowd.members,
    )
    for unit in changed[:count]:
        home = units[unit, HOME]
        leave(rule, demand, shards, units, members, unit)
        enter(rule, demand, shards, units, members, unit, both - home)
