"""Two shards trade: up to two units of one for up to two of the other, whichever leaves least strain.

Annealing ends with a little too much in a few shards, and tries one change at a time. Two shards have some
ten thousand trades, but nearly all of them are seen to be worse from what is free without those who go,
before the bases and the room for loading of those who come are looked at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.core.tables import (
    BACKEND,
    BACKENDS,
    BASES,
    CHARGED,
    DIMENSIONS,
    EXTRA,
    HOST_MEMORY,
    Floats,
)
from planner.solve.mixes.crowd import (
    COUNT,
    DEVICE_BASES,
    HOST_BASES,
    LEFT,
    NOBODY,
    OF_TYPE,
    TOP,
    Crowd,
    Setting,
    enter,
    is_overfull,
    leave,
    may_enter,
    strain_of,
)
from planner.solve.problem import Ints

MOST_MEMBERS = 40
"""Residents of a shard up to which two of them go at once."""

TRADES_A_CHANGE = 40
"""Trades that are looked at in the time that annealing takes for a change, about."""

LEAST_GAIN = 1e-3
"""Strain that a trade takes away at least, in micro-USD an hour."""

ONE, TWO, PEAK, SURE, SURE_HOST = range(5)
"""Of a set that may go: who, -1 is nobody; the most room for loading that one needs who stays; and what the
other shard pays for them on the device and in host memory whoever leaves it."""

WASTED, FREE = 0, 1
"""Of a set: what is wasted without it and what more it wastes there; then what is free of each dimension
without it, and what it takes of each there; all in prices."""


class Side(NamedTuple):
    """Who may leave a shard for another one.

    Parameters
    ----------
    sets
        ``(sets, 5)``; the first is empty.
    numbers
        ``(1 + 2 * dimensions, sets)``.
    """

    sets: Ints
    numbers: Floats


class Desk(NamedTuple):
    """Space for a trade.

    Parameters
    ----------
    one, two
        Both sides.
    least
        The strain at least after trades of one set for each of the others.
    """

    one: Side
    two: Side
    least: Floats


def make_desk(setting: Setting) -> Desk:
    """Return space for all sets of any two shards."""
    pairs = MOST_MEMBERS * (MOST_MEMBERS - 1) // 2
    most, width = 2 + len(setting.movable) + pairs, int(setting.rule[DIMENSIONS])
    one, two = (
        Side(sets=np.full((most, 5), NOBODY, dtype=np.int64), numbers=np.zeros((1 + 2 * width, most)))
        for _ in range(2)
    )
    return Desk(one=one, two=two, least=np.zeros(most))


@compiled
def trade_all(setting: Setting, crowd: Crowd, desk: Desk, waste: float, work: int) -> int:
    """Trade until no shard that holds too much finds a trade; returns the changes that take as long.

    Parameters
    ----------
    setting, crowd
        What is where; changed.
    desk
        Space.
    waste
        What a price of what is wasted counts for, in prices of what is too much.
    work
        Changes that may take as long.
    """
    count, spent = len(crowd.shards), 0
    changed, seen, now = np.zeros(count, dtype=np.int64), np.zeros((count, count), dtype=np.int64), 1
    for shard in range(count):
        crowd.strain[shard] = strain_of(
            setting.rule,
            setting.demand,
            setting.weights,
            setting.lost,
            crowd.shards,
            shard,
            NOBODY,
            NOBODY,
            waste,
        )
    before = 0
    while before < now and spent < work:
        before = now
        for shard in range(count):
            for other in range(count if is_overfull(setting, crowd, shard) else 0):
                few, many = min(shard, other), max(shard, other)
                if few == many or seen[few, many] > max(changed[few], changed[many]) or spent >= work:
                    continue
                trades, done = _trade(setting, crowd, desk, shard, other, waste)
                spent, now, seen[few, many] = spent + 1 + trades // TRADES_A_CHANGE, now + 1, now
                if done:
                    changed[shard] = changed[other] = now
    return spent


@compiled
def _trade(
    setting: Setting, crowd: Crowd, desk: Desk, shard: int, other: int, waste: float
) -> tuple[int, bool]:
    """Let two shards do what they gain most by; returns what was looked at, and whether they do anything."""
    one, two, least = desk
    ones = _fill(setting, crowd, one, shard, other, waste)
    twos = _fill(setting, crowd, two, other, shard, waste)
    best, best_mine, best_theirs = crowd.strain[shard] + crowd.strain[other] - LEAST_GAIN, 0, 0
    for mine in range(ones):
        _note_least(setting.rule[DIMENSIONS], one.numbers[:, mine], two.numbers, least[:twos])
        for theirs in range(twos):
            if least[theirs] >= best:
                continue
            strain = one.numbers[WASTED, mine] + two.numbers[WASTED, theirs]
            strain += _strain_with(setting, crowd, one, mine, two, theirs, shard, waste)
            strain += _strain_with(setting, crowd, two, theirs, one, mine, other, waste)
            if strain < best:
                best, best_mine, best_theirs = strain, mine, theirs
    if best_mine + best_theirs == 0:
        return ones * twos, False
    _carry_out(setting, crowd, one.sets[best_mine], two.sets[best_theirs], shard, other)
    for place in (shard, other):
        crowd.strain[place] = strain_of(
            setting.rule,
            setting.demand,
            setting.weights,
            setting.lost,
            crowd.shards,
            place,
            NOBODY,
            NOBODY,
            waste,
        )
    return ones * twos, True


@compiled
def _note_least(width: int, mine: Floats, theirs: Floats, least: Floats) -> None:
    """Note the strain at least that is left when a set goes and each of the others comes.

    Loops over the others are innermost and simple, so that several are computed at once.
    """
    wasted, fixed = theirs[WASTED], mine[WASTED]
    for index in range(len(least)):
        least[index] = fixed + wasted[index]
    for dimension in range(width):
        takes, free = theirs[FREE + width + dimension], mine[FREE + dimension]
        has, needs = theirs[FREE + dimension], mine[FREE + width + dimension]
        for index in range(len(least)):
            over, under = takes[index] - free, needs - has[index]
            least[index] += (max(0.0, over)) + (max(0.0, under))


@compiled
def _fill(setting: Setting, crowd: Crowd, side: Side, shard: int, other: int, waste: float) -> int:
    """Note all sets of a shard that may go to another one; returns how many."""
    rule, demand, kin = setting.rule, setting.demand, setting.units
    count = crowd.shards[shard, COUNT]
    able = np.empty(count, dtype=np.int64)
    size = 0
    for place in range(count):
        unit = crowd.members[shard, place]
        if may_enter(rule, demand, kin, crowd.shards, crowd.units, unit, other, NOBODY):
            able[size], size = unit, size + 1
    _note(setting, crowd, side, 0, (NOBODY, NOBODY), (shard, other), waste)
    sets = 1
    for first in range(size):
        _note(setting, crowd, side, sets, (able[first], NOBODY), (shard, other), waste)
        sets += 1
    if count <= MOST_MEMBERS:
        for first in range(size):
            for second in range(first):
                _note(setting, crowd, side, sets, (able[first], able[second]), (shard, other), waste)
                sets += 1
    return sets


@compiled
def _note(
    setting: Setting,
    crowd: Crowd,
    side: Side,
    index: int,
    gone: tuple[int, int],
    places: tuple[int, int],
    waste: float,
) -> None:
    """Note what is left of a shard without up to two of it, and what they take of another one."""
    rule, demand, weights, shards = setting.rule, setting.demand, setting.weights, crowd.shards
    shard, width, host = places[0], rule[DIMENSIONS], rule[HOST_MEMORY]
    here, there = shards[shard, OF_TYPE], shards[places[1], OF_TYPE]
    numbers, peak = side.numbers[:, index], 0
    for place in range(shards[shard, COUNT]):
        unit = crowd.members[shard, place]
        if unit != gone[0] and unit != gone[1]:
            peak = max(peak, demand[here, unit, width + EXTRA])
    side.sets[index, ONE], side.sets[index, TWO], side.sets[index, PEAK] = gone[0], gone[1], peak
    device, base = shards[shard, DEVICE_BASES], shards[shard, HOST_BASES]
    freed, freed_host = _freed(setting, crowd, gone, shard)
    numbers[WASTED] = waste * (device - freed + peak) * setting.lost[here, 0]
    numbers[WASTED] += waste * (base - freed_host) * setting.lost[here, 1]
    for dimension in range(width):
        numbers[FREE + dimension] = shards[shard, LEFT + dimension]
        numbers[FREE + width + dimension] = 0.0
    numbers[FREE] += freed - peak
    numbers[FREE + host] += freed_host
    for unit in gone:
        if unit >= 0:
            numbers[WASTED] += waste * (setting.excess[there, unit] - setting.excess[here, unit])
            for dimension in range(width):
                numbers[FREE + dimension] += demand[here, unit, dimension]
                numbers[FREE + width + dimension] += demand[there, unit, dimension]
    sure, sure_host = _brought(setting, crowd, gone, places[1])
    side.sets[index, SURE], side.sets[index, SURE_HOST] = sure, sure_host
    numbers[WASTED] += waste * (sure * setting.lost[there, 0] + sure_host * setting.lost[there, 1])
    numbers[FREE + width] += sure
    numbers[FREE + width + host] += sure_host
    for dimension in range(width):
        numbers[FREE + dimension] *= weights[here, dimension]
        numbers[FREE + width + dimension] *= weights[there, dimension]


@compiled
def _freed(setting: Setting, crowd: Crowd, gone: tuple[int, int], shard: int) -> tuple[int, int]:
    """Return what is no longer paid for backends on the device and in host memory without up to two units."""
    rule, shards = setting.rule, crowd.shards
    width, backends, here = rule[DIMENSIONS], rule[BACKENDS], shards[shard, OF_TYPE]
    found = (0, 0)
    for kind, column in enumerate((CHARGED, BACKEND)):
        users, bases, freed, before = LEFT + width + kind * backends, BASES + kind * backends, 0, NOBODY
        for unit in gone:
            if unit >= 0:
                backend = setting.demand[here, unit, width + column]
                last = shards[shard, users + backend] == (2 if backend == before else 1)
                freed += rule[bases + backend] if last else 0
                before = backend
        found = (freed, found[1]) if kind == 0 else (found[0], freed)
    return found


@compiled
def _brought(setting: Setting, crowd: Crowd, come: tuple[int, int], shard: int) -> tuple[int, int]:
    """Return what a shard pays on the device and in host memory for up to two units, whoever leaves it."""
    rule, demand, shards = setting.rule, setting.demand, crowd.shards
    width, backends, here = rule[DIMENSIONS], rule[BACKENDS], shards[shard, OF_TYPE]
    peak, device, host = shards[shard, TOP], 0, 0
    for place in range(2):
        if come[place] < 0:
            continue
        peak = max(peak, demand[here, come[place], width + EXTRA])
        for kind, column in enumerate((CHARGED, BACKEND)):
            backend = demand[here, come[place], width + column]
            if shards[shard, LEFT + width + kind * backends + backend] == 0 and (
                place == 0 or demand[here, come[0], width + column] != backend
            ):
                base = rule[BASES + kind * backends + backend]
                device, host = (device + base, host) if kind == 0 else (device, host + base)
    return device + peak - shards[shard, TOP], host


@compiled
def _strain_with(
    setting: Setting,
    crowd: Crowd,
    mine: Side,
    gone: int,
    theirs: Side,
    come: int,
    shard: int,
    waste: float,
) -> float:
    """Return what is too much in a shard when a set goes and another comes, and what more is wasted."""
    rule, demand, shards = setting.rule, setting.demand, crowd.shards
    width, backends, here = rule[DIMENSIONS], rule[BACKENDS], shards[shard, OF_TYPE]
    peak, device, host = mine.sets[gone, PEAK], -theirs.sets[come, SURE], -theirs.sets[come, SURE_HOST]
    for place in (ONE, TWO):
        unit = theirs.sets[come, place]
        if unit < 0:
            continue
        peak = max(peak, demand[here, unit, width + EXTRA])
        for kind, column in enumerate((CHARGED, BACKEND)):
            backend = demand[here, unit, width + column]
            users = shards[shard, LEFT + width + kind * backends + backend]
            for away in (ONE, TWO):
                left = mine.sets[gone, away]
                users -= left >= 0 and demand[here, left, width + column] == backend
            first = theirs.sets[come, ONE]
            if users == 0 and (place == ONE or demand[here, first, width + column] != backend):
                base = rule[BASES + kind * backends + backend]
                device, host = (device + base, host) if kind == 0 else (device, host + base)
    more = (device + peak - mine.sets[gone, PEAK]) * setting.weights[here, 0]
    more_host = host * setting.weights[here, rule[HOST_MEMORY]]
    strain = (device + peak - mine.sets[gone, PEAK]) * setting.lost[here, 0]
    strain = waste * (strain + host * setting.lost[here, 1])
    for dimension in range(width):
        over = theirs.numbers[FREE + width + dimension, come] - mine.numbers[FREE + dimension, gone]
        if dimension == 0:
            over += more
        elif dimension == rule[HOST_MEMORY]:
            over += more_host
        strain += max(0.0, over)
    return float(strain)


@compiled
def _carry_out(setting: Setting, crowd: Crowd, mine: Ints, theirs: Ints, shard: int, other: int) -> None:
    """Let a set of each of two shards go to the other one."""
    rule, demand = setting.rule, setting.demand
    shards, units, members, _ = crowd
    for chosen in (mine, theirs):
        for unit in chosen[:PEAK]:
            if unit >= 0:
                leave(rule, demand, shards, units, members, unit)
    for chosen, place in ((mine, other), (theirs, shard)):
        for unit in chosen[:PEAK]:
            if unit >= 0:
                enter(rule, demand, shards, units, members, unit, place)
