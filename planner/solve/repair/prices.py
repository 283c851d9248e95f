"""A stronger bound on the moves between limits: what a move costs follows the size of what moves. Compiled.

Every move has a giver and a taker. With a price ``p(size)`` that the taker pays and ``1 - p(size)`` that the
giver pays, positive or not, each server pays at least the cheapest way to get its own load right, whatever
the others do; the sum is a lower bound for every choice of prices (Lagrangian relaxation of "what is given is
taken"). A subgradient finds good ones. An object that nobody can take without giving gets a negative price:
who takes it is paid for what he then has to give away, and who gives it pays for all. Everything is in whole
numbers; loads are rounded so that more is possible than is true.
"""

from __future__ import annotations

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import Ints
from planner.solve.repair.tables import Number

PRICE = 1024
"""One move."""
_GRID = 512
"""Steps of the load in which the aim is counted."""
_CLASSES = 16
"""Sizes of objects that have one price."""
_STEPS = 200
MOST_HELD = 14
"""Objects of one server of which every subset is tried."""
_MOST_TAKEN = 40
"""Objects that a server may take; smaller ones than that are not priced."""
_NEVER = 2**40


@compiled
def priced_bound(  # noqa: PLR0913, PLR0917 - an instance, and where the search starts and ends
    loads: Ints, members: Ints, count: Ints, limits: Ints, target: int, start: int
) -> Number:
    """Return a number of moves below which no placement brings every load between the limits.

    Parameters
    ----------
    loads
        ``(objects,)``.
    members, count
        The objects of each server, and how many those are; at most ``MOST_HELD``.
    limits
        The least and the most load, and the aim.
    target
        Moves of a placement that is known: the search for prices ends when the bound meets it.
    start
        What a taker pays at first, in parts of ``PRICE``.
    """
    unit = max(1, limits[2] // _GRID)
    sizes = loads // unit
    if sizes.min() * _MOST_TAKEN < limits[1] // unit:
        return 0
    of_size = _classes(loads, sizes)
    prices = np.full(_CLASSES, start, dtype=np.int64)
    best: Number = np.int64(0)
    step, idle = PRICE // 4, 0
    for _ in range(_STEPS):
        total, change = _paid(loads, sizes, of_size, members, count, limits, unit, prices)
        if total > best:
            best, idle = total, 0
        else:
            idle += 1
        if -(-best // PRICE) >= target or step == 0:
            break
        if idle >= 5:
            step, idle = step // 2, 0
        norm = max(1, np.abs(change).max())
        for one in range(_CLASSES):
            prices[one] += step * change[one] // norm
    return -(-best // PRICE)


@compiled
def _classes(loads: Ints, sizes: Ints) -> Ints:
    """Return the price class of each size in units, by equal ratios; -1 where no object has it."""
    of_size = np.full(sizes.max() + 1, -1, dtype=np.int64)
    low, high = np.log(loads.min()), np.log(loads.max())
    for item in range(len(loads)):
        share = (np.log(loads[item]) - low) / max(high - low, 1e-9)
        of_size[sizes[item]] = min(_CLASSES - 1, int(share * _CLASSES))
    return of_size


@compiled
def _paid(  # noqa: PLR0913, PLR0917 - a knapsack for each server
    loads: Ints,
    sizes: Ints,
    of_size: Ints,
    members: Ints,
    count: Ints,
    limits: Ints,
    unit: int,
    prices: Ints,
) -> tuple[Number, Ints]:
    """Return what all servers pay at these prices, and taken less given of each class."""
    top = limits[1] // unit
    smallest = sizes.min()
    takes = top // smallest + 1
    cheapest = _takings(of_size, prices, top, takes)
    worth, how, at = _best_takings(cheapest, limits, unit, top)
    change = np.zeros(_CLASSES, dtype=np.int64)
    total = np.int64(0)
    for server in range(len(count)):
        mine = members[server, : count[server]]
        pays, subset, taken = _server(loads, of_size, sizes, mine, limits, unit, prices, worth)
        total += pays
        load = np.int64(0)
        for one in range(count[server]):
            item = members[server, one]
            if subset >> one & 1:
                change[of_size[sizes[item]]] -= 1
            else:
                load += loads[item]
        if taken:
            left, room = how[load // unit], at[load // unit]
            while left > 0:
                size = _last_taken(of_size, prices, cheapest, left, room)
                change[of_size[size]] += 1
                left, room = left - 1, room - size
    return total, change


@compiled
def _takings(of_size: Ints, prices: Ints, top: int, takes: int) -> Ints:
    """Return ``(takes, sizes in all)``: the least price of taking so many; any object any number of times."""
    cheapest = np.full((takes + 1, top + 1), _NEVER, dtype=np.int64)
    cheapest[0, 0] = 0
    for taken in range(takes):
        here, there = cheapest[taken], cheapest[taken + 1]
        for size in range(len(of_size)):
            if of_size[size] >= 0:
                price = prices[of_size[size]]
                for room in range(top + 1 - size):
                    there[room + size] = min(there[room + size], here[room] + price)
    return cheapest


@compiled
def _last_taken(of_size: Ints, prices: Ints, cheapest: Ints, left: int, room: int) -> int:
    """Return the size of an object with which so many were taken at the least price."""
    for size in range(len(of_size)):
        if of_size[size] >= 0 and size <= room:
            before = cheapest[left - 1, room - size]
            if before + prices[of_size[size]] == cheapest[left, room]:
                return size
    return room


@compiled
def _best_takings(cheapest: Ints, limits: Ints, unit: int, top: int) -> tuple[Ints, Ints, Ints]:
    """Return for each load in units what it costs at least to take some and be right; how many, how much."""
    worth = np.full(top + 2, _NEVER, dtype=np.int64)
    how, at = np.zeros(top + 2, dtype=np.int64), np.zeros(top + 2, dtype=np.int64)
    for load in range(top + 1):
        for taken in range(1, len(cheapest)):
            low = max(0, limits[0] // unit - taken - 1 - load)
            for room in range(low, top + 1 - load):
                if cheapest[taken, room] < min(worth[load], _NEVER // 2):
                    worth[load], how[load], at[load] = cheapest[taken, room], taken, room
    return worth, how, at


@compiled
def _server(  # noqa: PLR0913, PLR0917 - a loop body
    loads: Ints, of_size: Ints, sizes: Ints, mine: Ints, limits: Ints, unit: int, prices: Ints, worth: Ints
) -> tuple[Number, Number, bool]:
    """Return the least that one server pays, for giving which objects, and whether it then takes some."""
    best, chosen, takes = np.int64(_NEVER), np.int64(0), False
    for subset in range(np.int64(1) << len(mine)):
        load, price = np.int64(0), np.int64(0)
        for one in range(len(mine)):
            if subset >> one & 1:
                price += PRICE - prices[of_size[sizes[mine[one]]]]
            else:
                load += loads[mine[one]]
        if load > limits[1]:
            continue
        if load >= limits[0] and price < best:
            best, chosen, takes = price, np.int64(subset), False
        if price + worth[load // unit] < best:
            best, chosen, takes = price + worth[load // unit], np.int64(subset), True
    return best, chosen, takes
