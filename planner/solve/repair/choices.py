"""What servers may choose in a placement that is better than one that is known: few choices, as prices tell.

At given prices a choice of a server - what it gives and what it takes - costs something more than the
cheapest one. In a placement of so many moves those extras of all servers add up to the gap between the moves
and what all pay (``market``); so a choice whose extra alone is above the gap is in none. That leaves some
hundreds or thousands, of which ``exact.moves`` picks one for each server (after Baldacci, Christofides and
Mingozzi, 2008, who enumerate the routes of vehicles so).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import Bools, Ints
from planner.solve.repair.market import NEVER, Market, Offers, Shorts, make_offers, prices_of_subsets
from planner.solve.repair.tables import NOWHERE

_MOST = 8_000
"""Choices of all servers that are listed."""
_NODES = 2_000_000
"""Steps of their search."""


class Choices(NamedTuple):
    """Choices of servers, one a row."""

    server: Ints
    given: Ints
    """``(choices, most held)``: objects, then ``NOWHERE``."""
    taken: Ints
    """``(choices, takes)``."""
    extra: Ints
    """``(choices,)``: what it costs more than the cheapest of its server."""


class _Extras(NamedTuple):
    """The least extra of choices in which an object is given or taken; ``(objects,)``, never too much."""

    give: Ints
    take: Ints


def near_choices(market: Market, prices: Ints, gap: int) -> Choices | None:
    """Return all choices that can be in a placement whose extras add up to ``gap`` or less.

    None if they are too many.
    """
    offers = make_offers(market, prices)
    extras = _least_extras(market, offers, prices)
    extra = np.maximum(extras.give, 0) + np.maximum(extras.take, 0)
    wanted = np.flatnonzero(extra <= gap)
    choices = Choices(
        server=np.zeros(_MOST, dtype=np.int64),
        given=np.full((_MOST, market.members.shape[1]), NOWHERE, dtype=np.int64),
        taken=np.full((_MOST, market.takes), NOWHERE, dtype=np.int64),
        extra=np.zeros(_MOST, dtype=np.int64),
    )
    listed = int(_list_all(market, offers, prices, extras, wanted, gap, choices))
    if listed < 0:
        return None
    return _matched(market, Choices(*(array[:listed] for array in choices)), gap)


# ------------------------------------------------------------------------------------- what objects cost


@compiled
def _least_extras(m: Market, offers: Offers, prices: Ints) -> _Extras:
    give, take = np.full((2, len(prices)), NEVER, dtype=np.int64)
    steps = offers.worth.shape[1]
    bare = np.full((m.takes + 1, steps), NEVER, dtype=np.int64)
    costs = np.zeros(1 << m.held.max(), dtype=np.int64)
    for server in range(len(m.held)):
        prices_of_subsets(m.members[server, : m.held[server]], prices, costs)
        for subset in range(1 << m.held[server]):
            rest, room = m.rests[m.starts[server] + subset], m.free[m.starts[server] + subset]
            if rest > m.most or room < 0:
                continue
            extra, load = costs[subset] - offers.pays[server], rest // m.unit
            bare[room, load] = min(bare[room, load], extra)
            extra += min(offers.worth[room, load], 0 if rest >= m.least else NEVER)
            for one in range(m.held[server]):
                if subset >> one & 1:
                    item = m.members[server, one]
                    give[item] = min(give[item], extra)
    for room in range(1, m.takes + 1):
        for load in range(steps):
            if bare[room, load] < NEVER:
                _take_from(m, offers.worth[room - 1], load, bare[room, load], prices, take)
    return _Extras(give, take)


@compiled
def _take_from(  # noqa: PLR0913, PLR0917 - a loop body
    m: Market, worth: Shorts, load: int, extra: int, prices: Ints, take: Ints
) -> None:
    """Lower what objects cost a taker to what they cost from a load on; ``worth`` is of those that follow."""
    low = m.least // m.unit - 2  # of two roundings
    for item in range(len(prices)):
        after = load + m.sizes[item]
        if after < len(worth):
            rest = min(worth[after], 0 if after >= low else NEVER)
            take[item] = min(take[item], extra + prices[item] + rest)


# ------------------------------------------------------------------------------------------ what is listed


@compiled
def _list_all(  # noqa: PLR0913, PLR0917 - an instance, and what is written
    m: Market, offers: Offers, prices: Ints, extras: _Extras, wanted: Ints, gap: int, choices: Choices
) -> int:
    """Write all choices within the gap; returns how many, -1 if there is no room or time for them."""
    costs, takers = np.zeros((2, 1 << m.held.max()), dtype=np.int64)
    listed, nodes = 0, np.full(1, _NODES)
    for server in range(len(m.held)):
        mine = m.members[server, : m.held[server]]
        prices_of_subsets(mine, prices, costs)
        _dearest_of_subsets(mine, extras.take, takers)
        for subset in range(1 << len(mine)):
            cost, before = costs[subset] - offers.pays[server], listed
            rest, room = m.rests[m.starts[server] + subset], m.free[m.starts[server] + subset]
            if rest > m.most or room < 0:
                continue
            if rest >= m.least and cost + takers[subset] <= gap:
                listed = _write(choices, listed, cost)
            if listed >= 0 and cost + offers.worth[room, rest // m.unit] <= gap:
                start = (server, rest, room, cost)
                listed = _list_takings(m, offers, prices, extras, wanted, gap, start, choices, listed, nodes)
            if listed < 0:
                return -1
            choices.server[before:listed] = server
            _write_given(mine, subset, choices.given[before:listed])
    return listed


@compiled
def _dearest_of_subsets(mine: Ints, take: Ints, out: Ints) -> None:
    """Write the most that the taker of an object of each subset pays more than its cheapest choice."""
    out[0] = 0
    for one in range(len(mine)):
        for subset in range(1 << one):
            out[subset + (1 << one)] = max(out[subset], take[mine[one]])


@compiled
def _write_given(mine: Ints, subset: int, given: Ints) -> None:
    count = 0
    for one in range(len(mine)):
        if subset >> one & 1:
            given[:, count] = mine[one]
            count += 1


@compiled
def _write(choices: Choices, listed: int, extra: int) -> int:
    if listed >= len(choices.extra):
        return -1
    choices.extra[listed] = extra
    return listed + 1


@compiled
def _list_takings(  # noqa: PLR0913, PLR0917 - an instance, and what is written
    m: Market,
    offers: Offers,
    prices: Ints,
    extras: _Extras,
    wanted: Ints,
    gap: int,
    start: tuple[int, int, int, int],
    choices: Choices,
    listed: int,
    nodes: Ints,
) -> int:
    """Write the choices of one server that gives one subset and takes some, in depth-first search."""
    server, rest, room, cost = start
    path = np.full(room + 1, -1, dtype=np.int64)
    loads, costs, owed = np.zeros((3, room + 1), dtype=np.int64)
    loads[0], costs[0], depth = rest, cost, 0
    while depth >= 0:
        path[depth] += 1
        nodes[0] -= 1
        if nodes[0] < 0:
            return -1
        if path[depth] >= len(wanted):
            depth -= 1
            continue
        item = wanted[path[depth]]
        load, spent = loads[depth] + m.loads[item], costs[depth] + prices[item]
        if m.home[item] == server or load > m.most:
            continue
        givers = owed[depth] + extras.give[item]
        if _is_home_of_any(m.home, wanted, path[:depth], m.home[item]):  # one giver of both is counted once
            givers = max(owed[depth], extras.give[item])
        if load >= m.least and spent + givers <= gap:
            listed = _write(choices, listed, spent)
            if listed < 0:
                return -1
            choices.taken[listed - 1, : depth + 1] = wanted[path[: depth + 1]]
        left = room - depth - 1
        if left > 0 and spent + givers + offers.worth[left, load // m.unit] <= gap:
            depth += 1
            path[depth], loads[depth], costs[depth], owed[depth] = path[depth - 1], load, spent, givers
    return listed


@compiled
def _is_home_of_any(home: Ints, wanted: Ints, path: Ints, server: int) -> bool:
    for at in path:  # noqa: SIM110 - a generator cannot be compiled
        if home[wanted[at]] == server:
            return True
    return False


# ---------------------------------------------------------------------------------------- what is matched


def _matched(market: Market, choices: Choices, gap: int) -> Choices:
    """Return the choices without those whose givers or takers cost too much, again and again."""
    while True:
        keep = np.zeros(len(choices.extra), dtype=np.bool_)
        give = _least_of(choices.given, choices.extra, len(market.home))
        take = _least_of(choices.taken, choices.extra, len(market.home))
        _keep_affordable(choices, market.home, give, take, gap, keep)
        if keep.all():
            return choices
        choices = Choices(*(array[keep] for array in choices))


@compiled
def _least_of(items: Ints, extra: Ints, count: int) -> Ints:
    """Return the least extra of the choices that each object is in."""
    least = np.full(count, NEVER, dtype=np.int64)
    for at in range(len(extra)):
        for item in items[at]:
            if item >= 0:
                least[item] = min(least[item], extra[at])
    return least


@compiled
def _keep_affordable(  # noqa: PLR0913, PLR0917 - what is known of objects, and what is written
    choices: Choices, home: Ints, give: Ints, take: Ints, gap: int, keep: Bools
) -> None:
    """Mark choices that stay within the gap together with the cheapest ones that they ask of others."""
    for at in range(len(choices.extra)):
        taker, givers = np.int64(0), np.int64(0)
        for item in choices.given[at]:
            if item >= 0:
                taker = max(taker, take[item])
        for one in range(choices.taken.shape[1]):
            item = choices.taken[at, one]
            dearest = item >= 0
            for other in choices.taken[at]:  # one giver of several objects is counted once, by the dearest
                if item >= 0 and other >= 0 and home[other] == home[item]:
                    dearest &= (give[other], other) <= (give[item], item)
            givers += give[item] if dearest else 0
        keep[at] = choices.extra[at] + max(taker, givers) <= gap
