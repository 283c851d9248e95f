"""Move units about among the shards of a mix that are too small for them, until nothing is too much.

Two shards change one for one or one alone (``pairs``), or all of a backend leave a shard where they are few:
that stays if there is less strain, or only a little more, the less the later (simulated annealing:
Kirkpatrick, Gelatt and Vecchi, Optimization by simulated annealing, 1983). Bases and room for loading are
counted at every step, in whole numbers, so where nothing is too much it is a packing.
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
from planner.solve.mixes.pairs import CASES, Tools, change, draw
from planner.solve.problem import Ints

LOOKS = 8
"""Pairs of shards after which it is looked up again which are overfull."""

LARGEST_GROUP, GROUPS = 4, 2
"""Units of a group at most, and groups that are tried after each pair of shards."""


@compiled
def anneal(setting: Setting, crowd: Crowd, tools: Tools, heats: Floats, wastes: Floats, pairs: int) -> bool:
    """Move units about; returns whether nothing is too much in the end.

    Parameters
    ----------
    setting, crowd
        What is where; changed.
    tools
        Space, and chance.
    heats
        How much more strain is tolerated, about, one after the other.
    wastes
        What a price of what is wasted counts for at each heat, in prices of what is too much.
    pairs
        Pairs of shards that change something, or not, at each heat; one of every other pair is overfull.
    """
    count = len(crowd.shards)
    listed, changed = np.zeros(count, dtype=np.int64), np.zeros(2 * LARGEST_GROUP, dtype=np.int64)
    for step in range(len(heats) * pairs):
        if step % LOOKS == 0:
            overfull = _list_overfull(setting, crowd, listed)
            if overfull == 0:
                return True
        heat, waste = heats[step // pairs], wastes[step // pairs]
        shard, other = draw(tools, count), draw(tools, count)
        if step & 1:
            shard = listed[draw(tools, overfull)]
        if shard == other:
            continue
        change(setting, crowd, tools, heat, waste, shard, other)
        for _ in range(GROUPS):
            _move_group(setting, crowd, tools, changed, heat * tools.luck[draw(tools, CASES)], waste)
    return bool(_list_overfull(setting, crowd, listed) == 0)


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
    setting: Setting, crowd: Crowd, tools: Tools, changed: Ints, tolerated: float, waste: float
) -> None:
    """Let all of a backend leave some shard, where they are few, for one that has it anyway.

    For each of them comes who is most like it, of another backend that its shard has anyway.
    """
    shards, users = crowd.shards, LEFT + setting.rule[DIMENSIONS] + setting.rule[BACKENDS]
    movable = setting.movable
    unit, shard = movable[draw(tools, len(movable))], crowd.units[movable[draw(tools, len(movable))], HOME]
    home, backend = crowd.units[unit, HOME], _backend_of(setting, unit)
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
    rule, demand, _, weights, lost, excess, kin, _ = setting
    shards, units = crowd.shards, crowd.units
    wasted = 0.0
    for unit in changed[:count]:
        here = shards[units[unit, HOME], OF_TYPE]
        there = shards[home + shard - units[unit, HOME], OF_TYPE]
        if demand[there, unit, rule[DIMENSIONS] + CHARGED] < 0:
            return
        wasted += excess[there, unit] - excess[here, unit]
    most = tolerated - waste * wasted
    most += strain_of(rule, demand, weights, lost, shards, home, NOBODY, NOBODY, waste)
    most += strain_of(rule, demand, weights, lost, shards, shard, NOBODY, NOBODY, waste)
    _swap_sides(setting, crowd, changed, count, home + shard)
    now_home = strain_of(rule, demand, weights, lost, shards, home, NOBODY, NOBODY, waste)
    now = strain_of(rule, demand, weights, lost, shards, shard, NOBODY, NOBODY, waste)
    fine = now + now_home <= most
    for unit in changed[:count]:
        fine = fine and may_enter(rule, demand, kin, shards, units, unit, units[unit, HOME], NOBODY)
    if not fine:
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
