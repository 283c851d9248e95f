"""Units that wait, in an order that does not matter, and random numbers; arrays that change in place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import Ints

_MULTIPLIER, _MODULUS = 48_271, 2**31 - 1
"""Lehmer's generator as of Park, Miller and Stockmeyer (1993): its products stay far below an int64."""


FEW_WAITING, KIN, SKEW = 4_000, (0.5, 0.9), (3.0, 1.0)
"""Of those that are chosen the part that are kin of the seed, where up to so many wait and where more do; and
of n kin the i-th is ``(i / n) ** SKEW`` of the way to the last one: the larger, the more of those that need
about as much room for loading."""

SIZE, RANDOM, SPENT = range(3)
"""How many wait, the state of the random numbers, and evaluations so far: the work that is counted."""


class Pool(NamedTuple):
    """Units that wait.

    Parameters
    ----------
    units, position
        Those that wait come first; and where each unit is, -1 where it does not wait.
    kin, rank, first, last
        All units in an order in which like ones are neighbours; where in it each unit is; and of each place
        the first and the last one of the same home and backend.
    book
        ``SIZE``, ``RANDOM`` and ``SPENT``.
    """

    units: Ints
    position: Ints
    kin: Ints
    rank: Ints
    first: Ints
    last: Ints
    book: Ints


def make_pool(kin: Ints, last: Ints, seed: int) -> Pool:
    """Return an empty pool for units, given in an order in which like ones are neighbours."""
    units = len(kin)
    rank = np.empty(units, dtype=np.int64)
    rank[kin] = np.arange(units)
    start = int(np.random.default_rng(seed).integers(1, _MODULUS))
    return Pool(
        units=np.zeros(units, dtype=np.int64),
        position=np.full(units, -1, dtype=np.int64),
        kin=kin,
        rank=rank,
        first=np.searchsorted(last, last),
        last=last,
        book=np.array([0, start, 0], dtype=np.int64),
    )


@compiled
def draw(pool: Pool, bound: int) -> int:
    """Return a random number from 0 up to, not including, a bound."""
    pool.book[RANDOM] = pool.book[RANDOM] * _MULTIPLIER % _MODULUS
    return int(pool.book[RANDOM] % bound)


@compiled
def chance(pool: Pool) -> float:
    """Return a random number from 0 to 1."""
    pool.book[RANDOM] = pool.book[RANDOM] * _MULTIPLIER % _MODULUS
    return float(pool.book[RANDOM] / _MODULUS)


@compiled
def put(pool: Pool, unit: int) -> None:
    """Let a unit wait."""
    size = pool.book[SIZE]
    pool.units[size] = unit
    pool.position[unit] = size
    pool.book[SIZE] = size + 1


@compiled
def put_all(pool: Pool, units: Ints) -> None:
    """Let units wait."""
    for unit in units:
        put(pool, unit)


@compiled
def take(pool: Pool, unit: int) -> None:
    """Take a unit that waits."""
    where, last = pool.position[unit], pool.book[SIZE] - 1
    moved = pool.units[last]
    pool.units[where] = moved
    pool.position[moved] = where
    pool.position[unit] = -1
    pool.book[SIZE] = last


@compiled
def shuffle(pool: Pool) -> None:
    """Put those that wait into a random order."""
    for last in range(pool.book[SIZE] - 1, 0, -1):
        other = draw(pool, last + 1)
        one, two = pool.units[last], pool.units[other]
        pool.units[last], pool.units[other] = two, one
        pool.position[one], pool.position[two] = other, last


@compiled
def first_of_kin(pool: Pool, unit: int) -> int:
    """Return, of those of a waiting unit's home and backend that wait, the one with most room for loading."""
    place = pool.first[pool.rank[unit]]
    while pool.position[pool.kin[place]] < 0:
        place += 1
    return int(pool.kin[place])


@compiled
def choose(pool: Pool, chosen: Ints, wanted: int, seed: int) -> int:
    """Choose among many that wait; returns how many were found.

    Half of them or more are kin of a seed: of its home and backend, with no more room for loading. The others
    are a sample of the rest.
    """
    position, kin, size = pool.position, pool.kin, pool.book[SIZE]
    many = int(size > FEW_WAITING)
    low, alike, count, place = pool.rank[seed], int(wanted * KIN[many]), 0, 0
    last = pool.last[low]
    span = last + 1 - low
    for index in range(alike):
        place = max(place, index, int(span * (index / alike) ** SKEW[many]))
        following = max(index + 1, int(span * ((index + 1) / alike) ** SKEW[many]))
        if place >= span:
            break
        while place < following and low + place < len(kin):
            if position[kin[low + place]] >= 0:
                chosen[count] = kin[low + place]
                count += 1
                break
            place += 1
        place = following
    start, step = draw(pool, size), size / (wanted - alike)
    for index in range(wanted - alike):
        unit = pool.units[(start + int(index * step)) % size]
        if not low <= pool.rank[unit] <= last:
            chosen[count] = unit
            count += 1
    return count
