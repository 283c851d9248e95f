"""Moves between limits as a market: what each server gives and takes at given prices. Compiled.

Every move has a giver and a taker. The taker of an object pays its price and the giver what is left of
``PRICE``, so that together they pay one move; prices may be below 0 or above ``PRICE``. Each server chooses
what makes its own load right for the least, whatever the others do. The sum of that over all servers is a
lower bound on the moves for every choice of prices (Lagrangian relaxation of "what is given is taken").

Everything is in whole numbers. Loads are counted in steps of a grid where objects are put together, and
rounded so that more is possible than is true.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.solve.compiled import compiled
from planner.solve.problem import Ints
from planner.solve.repair.tables import Number

Shorts = NDArray[np.int32]

PRICE = 4096
"""One move."""
NEVER = 2**29
"""More than anything costs; sums of it with prices stay in an int32."""
_GRID = 1024
"""Steps of the load in which the aim is counted."""
_MOST_SUBSETS = 2**21
"""Subsets of what servers hold, in all, that are looked at."""


class Market(NamedTuple):
    """Servers, their objects, and all subsets of those that a server may give."""

    loads: Ints
    """``(objects,)``."""
    sizes: Ints
    """``(objects,)``: loads in whole steps of the grid."""
    home: Ints
    """``(objects,)``: the server of each."""
    members: Ints
    """``(servers, most)``: the objects of each, the first ``held`` of a row."""
    held: Ints
    """``(servers,)``."""
    starts: Ints
    """``(servers + 1,)``: where the subsets of each server begin; bit ``k`` of one is its ``k``-th object."""
    rests: Ints
    """``(subsets,)``: the load that is left without one."""
    free: Ints
    """``(subsets,)``: objects that may be taken then; below 0 too many are left."""
    least: int
    most: int
    unit: int
    """A step of the grid."""
    takes: int
    """Objects that any server takes at most."""


class Offers(NamedTuple):
    """What objects cost, and servers pay, at given prices."""

    cheapest: Shorts
    """``(sizes,)``: the least price of an object of each size; ``NEVER`` where there is none."""
    taken: Shorts
    """``(takes + 1, steps)``: the least price of so many objects of so much in all; one may count twice."""
    worth: Shorts
    """``(takes + 1, steps)``: of 1 to so many that bring a load that was so much between the limits."""
    pays: Ints
    """``(servers,)``."""
    given: Ints
    """``(servers,)``: the subset that each gives."""
    buys: Ints
    """``(servers,)``: 1 where it takes some, too."""


def open_market(loads: Ints, home: Ints, servers: int, limits: tuple[int, int, int, int]) -> Market | None:
    """Return the market of a placement; None where servers hold so much that it would take too long.

    Parameters
    ----------
    loads, home
        ``(objects,)``.
    servers
        How many there are.
    limits
        The least and the most load, the objects of a server at most, and those that it takes at most.
    """
    least, most, objects, takes = limits
    held = np.bincount(home, minlength=servers)
    starts = np.concatenate([[0], np.cumsum(2.0**held)])
    if starts[-1] > _MOST_SUBSETS or takes < 1 or loads.min() < 0:
        return None
    starts = starts.astype(np.int64)
    members = np.zeros((servers, int(held.max())), dtype=np.int64)
    for server in range(servers):
        mine = np.flatnonzero(home == server)
        members[server, : len(mine)] = mine
    unit = max(1, (least + most) // 2 // _GRID)
    rests, free = np.zeros((2, int(starts[-1])), dtype=np.int64)
    _subsets(loads, members, held, starts, rests, free)
    return Market(
        loads=loads,
        sizes=loads // unit,
        home=home,
        members=members,
        held=held,
        starts=starts,
        rests=rests,
        free=np.minimum(takes, objects - free),
        least=least,
        most=most,
        unit=unit,
        takes=takes,
    )


@compiled
def _subsets(  # noqa: PLR0913, PLR0917 - an instance, and what is written
    loads: Ints, members: Ints, held: Ints, starts: Ints, rests: Ints, kept: Ints
) -> None:
    """Write for every subset what is left without it: the load, and the objects."""
    for server in range(len(held)):
        at = starts[server]
        kept[at] = held[server]
        for one in range(held[server]):
            rests[at] += loads[members[server, one]]
        for one in range(held[server]):
            for subset in range(1 << one):
                larger = at + subset + (1 << one)
                rests[larger] = rests[at + subset] - loads[members[server, one]]
                kept[larger] = kept[at + subset] - 1


@compiled
def make_offers(m: Market, prices: Ints) -> Offers:
    """Return what objects cost and servers pay at prices; ``prices`` is ``(objects,)``."""
    steps = m.most // m.unit + 1
    cheapest = np.full(m.sizes.max() + 1, NEVER, dtype=np.int32)
    for item in range(len(prices)):
        cheapest[m.sizes[item]] = min(cheapest[m.sizes[item]], prices[item])
    taken = np.full((m.takes + 1, steps), NEVER, dtype=np.int32)
    taken[0, 0] = 0
    for count in range(m.takes):
        _take_one_more(cheapest, taken[count], taken[count + 1])
    worth = np.full((m.takes + 1, steps), NEVER, dtype=np.int32)
    for count in range(1, m.takes + 1):
        # of so many objects, each has lost less than a step, and so have the least and the load itself
        _best_in_reach(taken[count], m.least // m.unit - count - 1, worth[count - 1], worth[count])
    pays = np.zeros(len(m.held), dtype=np.int64)
    given, buys = np.zeros_like(pays), np.zeros_like(pays)
    limits = m.least, m.most, m.unit
    _serve(m.members, m.held, m.starts, m.rests, m.free, limits, prices, worth, pays, given, buys)
    return Offers(cheapest=cheapest, taken=taken, worth=worth, pays=pays, given=given, buys=buys)


@compiled
def _take_one_more(cheapest: Shorts, before: Shorts, after: Shorts) -> None:
    steps = len(before)
    for size in range(min(len(cheapest), steps)):
        price = cheapest[size]
        if price < NEVER:
            here, there = before[: steps - size], after[size:]
            for room in range(len(here)):
                there[room] = min(there[room], here[room] + price)


@compiled
def _best_in_reach(taken: Shorts, low: int, fewer: Shorts, worth: Shorts) -> None:
    """Write for every load the least of ``taken`` from ``low - load`` to the top less the load, or of fewer.

    All those windows are as wide: the least of two that cover one is that of the whole.
    """
    steps = len(taken)
    width = steps - low
    least = np.full(steps + width, NEVER, dtype=np.int32)
    least[width:] = taken
    span = 1
    while span * 2 <= width:
        for at in range(len(least) - span):
            least[at] = min(least[at], least[at + span])
        span *= 2
    for load in range(steps):
        first, last = max(0, low - load + width), steps - 1 - load + width
        worth[load] = min(fewer[load], least[first], least[last - span + 1])


@compiled
def prices_of_subsets(mine: Ints, prices: Ints, out: Ints) -> None:
    """Write what a server pays for giving each subset of its objects."""
    out[0] = 0
    for one in range(len(mine)):
        price = PRICE - prices[mine[one]]
        for subset in range(1 << one):
            out[subset + (1 << one)] = out[subset] + price


@compiled
def _serve(  # noqa: PLR0913, PLR0917 - a named tuple would be read in the loop
    members: Ints,
    held: Ints,
    starts: Ints,
    rests: Ints,
    free: Ints,
    limits: tuple[int, int, int],
    prices: Ints,
    worth: Shorts,
    pays: Ints,
    given: Ints,
    buys: Ints,
) -> None:
    """Let every server choose what makes it right for the least."""
    least, most, unit = limits
    costs = np.zeros(1 << held.max(), dtype=np.int64)
    for server in range(len(held)):
        prices_of_subsets(members[server, : held[server]], prices, costs)
        at, best = starts[server], np.int64(NEVER)
        for subset in range(starts[server + 1] - at):
            rest, room = rests[at + subset], free[at + subset]
            if rest > most or room < 0:
                continue
            if rest >= least and costs[subset] < best:
                best, given[server], buys[server] = costs[subset], subset, 0
            cost = costs[subset] + worth[room, rest // unit]
            if cost < best:
                best, given[server], buys[server] = cost, subset, 1
        pays[server] = best


@compiled
def excess_demand(m: Market, offers: Offers, prices: Ints) -> Ints:
    """Return how many servers more take than give each object: the subgradient of what all pay."""
    excess = np.zeros(len(prices), dtype=np.int64)
    seller = _cheapest_of_size(m.sizes, prices, len(offers.cheapest))
    for server in range(len(m.held)):
        at = m.starts[server] + offers.given[server]
        for one in range(m.held[server]):
            if offers.given[server] >> one & 1:
                excess[m.members[server, one]] -= 1
        if offers.buys[server]:
            count, room = _chosen_takings(m, offers.taken, m.rests[at] // m.unit, m.free[at])
            while count > 0:
                size = _last_taken(offers.cheapest, offers.taken, count, room)
                excess[seller[size]] += 1
                count, room = count - 1, room - size
    return excess


@compiled
def _cheapest_of_size(sizes: Ints, prices: Ints, count: int) -> Ints:
    """Return the first object of each size that has its least price."""
    found = np.full(count, -1, dtype=np.int64)
    for item in range(len(sizes)):
        known = found[sizes[item]]
        if known < 0 or prices[item] < prices[known]:
            found[sizes[item]] = item
    return found


@compiled
def _chosen_takings(m: Market, taken: Shorts, load: int, room: int) -> tuple[Number, Number]:
    """Return how many objects of how much in all are taken at the least price."""
    best, count, total = np.int64(NEVER), 0, 0
    for some in range(1, room + 1):
        low = max(0, m.least // m.unit - some - 1 - load)
        for sum_of_sizes in range(low, m.most // m.unit - load + 1):
            if taken[some, sum_of_sizes] < best:
                best, count, total = np.int64(taken[some, sum_of_sizes]), some, sum_of_sizes
    return count, total


@compiled
def _last_taken(cheapest: Shorts, taken: Shorts, count: Number, total: Number) -> Number:
    """Return the size of an object with which so many were taken at the least price."""
    for size in range(min(len(cheapest), total + 1)):
        if cheapest[size] < NEVER and taken[count - 1, total - size] + cheapest[size] == taken[count, total]:
            return size
    return total
