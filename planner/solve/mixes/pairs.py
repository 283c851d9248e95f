"""All changes between two shards at once: a unit of one for a unit of the other, or one alone.

Which one is made is drawn as annealing at some heat would end between these two (a heat bath: Creutz, Monte
Carlo study of quantized SU(2) gauge theory, 1980), by Gumbel's noise on what each leaves. Some hundred
changes are weighed in a few microseconds, several at a time, in prices of single precision; what is where
stays in whole numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    HOME,
    LEFT,
    NEXT,
    NOBODY,
    OF_TYPE,
    TOP,
    Crowd,
    Setting,
    enter,
    leave,
)
from planner.solve.problem import Ints

Singles = NDArray[np.float32]

SLOTS = 48
"""Residents of a shard that are weighed at once, and nobody."""

AT_ONCE = 8
"""Numbers that are computed at once: so many are filled up to."""

NEVER = 1e30
"""Strain of what may not be."""

CASES = 2**16
"""Equally likely cases of what chance adds and tolerates."""

_MASK, _BITS, _MULTIPLIER = 2**31 - 1, 31, 48_271

TIE, HOST_TIE, EXTRA_ROOM, MORE, NEW, HOST_NEW, GONE, HOST_GONE, TOP_WITHOUT, OWN = range(10)
"""Of each resident: its backend on the device and in host memory; the room for loading that it needs in the
other shard; what it wastes there beyond here; what that pays for its backends if nobody leaves; what is no
longer paid here, and the room for loading here, without it; then what it gives back here of each dimension,
and what it takes there. In prices."""


class Half(NamedTuple):
    """Who may leave a shard for another one; nobody is the last.

    Parameters
    ----------
    who
        ``(SLOTS,)``.
    numbers
        ``(OWN + 2 * dimensions, SLOTS)``.
    """

    who: Ints
    numbers: Singles


class Tools(NamedTuple):
    """What changes are drawn with; each thread has its own.

    Parameters
    ----------
    prices
        ``(types, units, dimensions + 2)``: what a unit takes of each dimension, its room for loading, and
        what it takes beyond the least that it takes on any type.
    one, two, energy
        Space for two shards, and ``(SLOTS,)`` for what changes leave.
    noise
        Gumbel's, in heats: what chance adds to a change.
    luck
        What Metropolis' rule tolerates, in heats, for equally likely cases.
    book
        The state of the random numbers.
    """

    prices: Singles
    one: Half
    two: Half
    energy: Singles
    noise: Singles
    luck: Floats
    book: Ints


def make_tools(setting: Setting, seed: int) -> Tools:
    """Return what changes of a crowd are drawn with."""
    width = int(setting.rule[DIMENSIONS])
    prices = np.zeros((*setting.demand.shape[:2], width + 2), dtype=np.float32)
    prices[:, :, :width] = setting.demand[:, :, :width] * setting.weights[:, None, :]
    prices[:, :, width] = setting.demand[:, :, width + EXTRA] * setting.weights[:, None, 0]
    prices[:, :, width + 1] = np.where(setting.demand[:, :, width + CHARGED] < 0, NEVER, setting.excess)
    one, two = (
        Half(
            who=np.zeros(SLOTS, dtype=np.int64), numbers=np.zeros((OWN + 2 * width, SLOTS), dtype=np.float32)
        )
        for _ in range(2)
    )
    cases = (np.random.default_rng(0).permutation(CASES) + 0.5) / CASES
    noise = -np.log(-np.log(cases))
    return Tools(
        prices=prices,
        one=one,
        two=two,
        energy=np.zeros(SLOTS, dtype=np.float32),
        noise=np.concatenate((noise, noise[: SLOTS * SLOTS])).astype(np.float32),
        luck=-np.log(cases),
        book=np.array([np.random.default_rng(seed).integers(1, 2**31 - 1)], dtype=np.int64),
    )


@compiled
def draw(tools: Tools, bound: int) -> int:
    """Return a random number from 0 up to, not including, a bound; Lehmer's, without a division."""
    value = tools.book[0] * _MULTIPLIER
    value = (value & _MASK) + (value >> _BITS)
    value = (value & _MASK) + (value >> _BITS)
    tools.book[0] = value
    return int((value * bound) >> _BITS)


@compiled
def change(
    setting: Setting, crowd: Crowd, tools: Tools, heat: float, waste: float, shard: int, other: int
) -> None:
    """Let one of a shard go to another one, one come, both or neither, as chance has it at some heat.

    ``waste`` is what a price of what is wasted counts for, in prices of what is too much.
    """
    first = draw(tools, CASES)
    ones = _fill(setting, crowd, tools.prices, tools.one, shard, other, waste, first)
    twos = _fill(setting, crowd, tools.prices, tools.two, other, shard, waste, first)
    _add_free(setting, crowd, tools.one, shard, ones)
    _add_free(setting, crowd, tools.two, other, twos)
    best, leaves, comes = np.float32(NEVER), NOBODY, NOBODY
    at = draw(tools, CASES)
    for index in range(ones):
        if tools.one.numbers[MORE, index] >= np.float32(NEVER):
            continue
        _weigh(setting, crowd, tools, index, _filled_up(twos), waste, shard, other)
        start = at + index * SLOTS
        for place in range(twos):
            energy = tools.energy[place] - np.float32(heat) * tools.noise[start + place]
            if energy < best:
                best, leaves, comes = energy, tools.one.who[index], tools.two.who[place]
    _carry_out(setting, crowd, leaves, comes, shard, other)


@compiled
def _filled_up(count: int) -> int:
    return (count + AT_ONCE - 1) // AT_ONCE * AT_ONCE


@compiled
def _add_free(setting: Setting, crowd: Crowd, half: Half, shard: int, count: int) -> None:
    """Add what is free of a shard to what each resident gives back."""
    for dimension in range(setting.rule[DIMENSIONS]):
        weight = setting.weights[crowd.shards[shard, OF_TYPE], dimension]
        free = np.float32(crowd.shards[shard, LEFT + dimension] * weight)
        for index in range(_filled_up(count)):
            half.numbers[OWN + dimension, index] += free


@compiled
def _weigh(
    setting: Setting,
    crowd: Crowd,
    tools: Tools,
    index: int,
    many: int,
    waste: float,
    shard: int,
    other: int,
) -> None:
    """Note what is too much and wasted when one leaves a shard and each of another one comes.

    The innermost loops are simple, so that several are computed at once.
    """
    width, host, zero = setting.rule[DIMENSIONS], setting.rule[HOST_MEMORY], np.float32(0.0)
    here, there = crowd.shards[shard, OF_TYPE], crowd.shards[other, OF_TYPE]
    lost = _lost(setting, here, waste)
    lost_there = _lost(setting, there, waste)
    mine, theirs, energy = tools.one.numbers[:, index], tools.two.numbers, tools.energy
    tie, host_tie, extra, more = mine[TIE], mine[HOST_TIE], mine[EXTRA_ROOM], mine[MORE]
    new, host_new, gone, host_gone, top = (
        mine[NEW],
        mine[HOST_NEW],
        mine[GONE],
        mine[HOST_GONE],
        mine[TOP_WITHOUT],
    )
    free, takes = mine[OWN] + gone, mine[OWN + width]
    for j in range(many):
        same = theirs[TIE, j] == tie
        pays = theirs[NEW, j] + (gone if same else zero)
        pays_there = new + (theirs[GONE, j] if same else zero)
        peak, peak_there = theirs[EXTRA_ROOM, j], theirs[TOP_WITHOUT, j]
        peak = max(top, peak) + pays
        peak_there = max(extra, peak_there) + pays_there
        over = theirs[OWN + width, j] + peak - free
        over_there = takes + peak_there - theirs[OWN, j] - theirs[GONE, j]
        energy[j] = more + theirs[MORE, j]
        energy[j] += lost[0] * (peak - gone) + lost_there[0] * (peak_there - theirs[GONE, j])
        energy[j] += max(zero, over) + max(zero, over_there)
    free, takes = mine[OWN + host] + host_gone, mine[OWN + width + host]
    for j in range(many):
        same = theirs[HOST_TIE, j] == host_tie
        pays = theirs[HOST_NEW, j] + (host_gone if same else zero)
        pays_there = host_new + (theirs[HOST_GONE, j] if same else zero)
        over = theirs[OWN + width + host, j] + pays - free
        over_there = takes + pays_there - theirs[OWN + host, j] - theirs[HOST_GONE, j]
        energy[j] += lost[1] * (pays - host_gone) + lost_there[1] * (pays_there - theirs[HOST_GONE, j])
        energy[j] += max(zero, over) + max(zero, over_there)
    for dimension in range(1, width):
        free, takes = mine[OWN + dimension], mine[OWN + width + dimension]
        for j in range(many if dimension != host else 0):
            over = theirs[OWN + width + dimension, j] - free
            over_there = takes - theirs[OWN + dimension, j]
            energy[j] += max(zero, over) + max(zero, over_there)


@compiled
def _lost(setting: Setting, of_type: int, waste: float) -> tuple[np.float32, np.float32]:
    """Return what waste of device memory and of host memory counts for, in weights of a type."""
    weights, host = setting.weights[of_type], setting.rule[HOST_MEMORY]
    device = waste * setting.lost[of_type, 0] / weights[0] if weights[0] > 0 else 0.0
    memory = waste * setting.lost[of_type, 1] / weights[host] if weights[host] > 0 else 0.0
    return np.float32(device), np.float32(memory)


@compiled
def _fill(
    setting: Setting,
    crowd: Crowd,
    prices: Singles,
    half: Half,
    shard: int,
    other: int,
    waste: float,
    first: int,
) -> int:
    """Note who may leave a shard for another one; returns how many, with nobody."""
    rule, demand, weights, kin = setting.rule, setting.demand, setting.weights, setting.units
    shards, units, members = crowd.shards, crowd.units, crowd.members
    width, backends, host = rule[DIMENSIONS], rule[BACKENDS], rule[HOST_MEMORY]
    here, there = shards[shard, OF_TYPE], shards[other, OF_TYPE]
    numbers, who = half.numbers, half.who
    residents = shards[shard, COUNT]
    count = min(residents, SLOTS - 1)
    top, after = shards[shard, TOP], shards[shard, NEXT]
    users, host_users = LEFT + width, LEFT + width + backends
    for index in range(count):
        place = first % residents + index if residents > count else index
        unit = members[shard, place - residents if place >= residents else place]
        who[index] = unit
        for dimension in range(width):
            numbers[OWN + dimension, index] = prices[here, unit, dimension]
            numbers[OWN + width + dimension, index] = prices[there, unit, dimension]
        numbers[EXTRA_ROOM, index] = prices[there, unit, width]
        more = prices[there, unit, width + 1]
        if more < np.float32(NEVER):
            more = np.float32(waste) * (more - prices[here, unit, width + 1])
            for sibling in range(kin[unit, 0], kin[unit, 1]):
                if units[sibling, HOME] == other:
                    more = np.float32(NEVER)
        numbers[MORE, index] = more
        charged, backend = demand[here, unit, width + CHARGED], demand[here, unit, width + BACKEND]
        extra = demand[here, unit, width + EXTRA]
        numbers[TOP_WITHOUT, index] = (after if extra == top else top) * weights[here, 0]
        numbers[GONE, index] = (
            rule[BASES + charged] * weights[here, 0] if shards[shard, users + charged] == 1 else 0.0
        )
        numbers[HOST_GONE, index] = (
            rule[BASES + backends + backend] * weights[here, host]
            if shards[shard, host_users + backend] == 1
            else 0.0
        )
        charged, backend = demand[there, unit, width + CHARGED], demand[there, unit, width + BACKEND]
        numbers[TIE, index], numbers[HOST_TIE, index] = charged, backend
        numbers[NEW, index] = (
            rule[BASES + charged] * weights[there, 0]
            if charged >= 0 and shards[other, users + charged] == 0
            else 0.0
        )
        numbers[HOST_NEW, index] = (
            rule[BASES + backends + backend] * weights[there, host]
            if shards[other, host_users + backend] == 0
            else 0.0
        )
    _fill_up(half, count, top * weights[here, 0])
    return int(count + 1)


@compiled
def _fill_up(half: Half, count: int, top: float) -> None:
    """Note nobody behind those who may leave, and behind that what may not be."""
    for index in range(count, _filled_up(count + 1)):
        half.who[index] = NOBODY
        half.numbers[:, index] = 0.0
        half.numbers[TIE, index] = half.numbers[HOST_TIE, index] = -1.0
        half.numbers[TOP_WITHOUT, index] = top
        half.numbers[MORE, index] = 0.0 if index == count else NEVER


@compiled
def _carry_out(setting: Setting, crowd: Crowd, leaves: int, comes: int, shard: int, other: int) -> None:
    """Let one leave a shard for another one, and one come."""
    rule, demand = setting.rule, setting.demand
    shards, units, members, _ = crowd
    if leaves >= 0:
        leave(rule, demand, shards, units, members, leaves)
    if comes >= 0:
        leave(rule, demand, shards, units, members, comes)
        enter(rule, demand, shards, units, members, comes, shard)
    if leaves >= 0:
        enter(rule, demand, shards, units, members, leaves, other)
