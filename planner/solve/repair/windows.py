"""The fewest moves that bring every server's load between a least and a most. Compiled.

One dimension and both sides: what POP (Narayanan and others, SOSP 2021) calls shard balancing. Servers that
are over have to give, servers that are under have to take, and one move may do both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import Ints
from planner.solve.repair.tables import NOWHERE, Number

_MOST_GIVEN, _MOST_TAKEN = 3, 3
"""Objects given and taken by one server of which every choice is weighed in the bound."""
_WIDE = 12
"""Next moves of a chain that are tried."""
MOST_DEEP = 8
"""Moves of a chain that makes one server right."""
_SHARES = 16
"""Splits of a move's price between giver and taker that the bound tries."""


class Window(NamedTuple):
    """What is asked: loads of objects, and what each server may carry."""

    loads: Ints
    """``(objects,)``."""
    least: int
    most: int
    aim: int
    """The load that is best, as the mean: of equal moves those are made that come nearest."""
    objects: int
    """Objects of a server at most."""


class Servers(NamedTuple):
    """Who is where."""

    home: Ints
    """``(objects,)``."""
    load: Ints
    """``(servers,)``."""
    held: Ints
    members: Ints
    """``(servers, most)``: the objects of each, the first ``held`` of a row."""
    place: Ints
    """``(objects,)``: where in its server's row an object stands."""
    log: Ints
    """``(most, 2)``: moves that may have to be taken back: the object, and where it was."""
    logged: Ints
    """``(1,)``: how many those are."""


def servers_of(window: Window, home: Ints, servers: int) -> Servers:
    """Return who is where, for ``home``, the server of each object."""
    count = np.bincount(home, minlength=servers)
    state = Servers(
        home=home.copy(),
        load=np.zeros(servers, dtype=np.int64),
        held=np.zeros(servers, dtype=np.int64),
        members=np.zeros((servers, max(window.objects, int(count.max(initial=0)))), dtype=np.int64),
        place=np.zeros(len(home), dtype=np.int64),
        log=np.zeros((MOST_DEEP + 1, 2), dtype=np.int64),
        logged=np.zeros(1, dtype=np.int64),
    )
    for item, server in enumerate(home.tolist()):
        state.place[item], state.members[server, state.held[server]] = state.held[server], item
        state.held[server] += 1
    np.add.at(state.load, home, window.loads)
    return state


# ------------------------------------------------------------------------------------------------- the bound


@compiled
def least_moves(w: Window, s: Servers) -> Number:
    """Return moves below which no placement brings every load between the limits.

    Every move has a giver and a taker. However its price is split between them, each server pays at least the
    cheapest way to get its own load right; the best split is taken (Lagrangian relaxation of "what is given
    is what is taken"). Who gives what a server takes is not asked: any object will do.
    """
    costs = np.zeros(_SHARES + 1, dtype=np.int64)
    ordered = np.sort(w.loads)
    for server in range(len(s.load)):
        able = _ways(w, s, server, ordered)
        for share in range(_SHARES + 1):
            keeps = _SHARES - share
            many_given = share * (_MOST_GIVEN + 1) + keeps * _least_taken(w, s, server, ordered)
            many_taken = share * _least_given(w, s, server) + keeps * (_MOST_TAKEN + 1)
            cheapest = min(many_given, many_taken)
            for given in range(_MOST_GIVEN + 1):
                for taken in range(_MOST_TAKEN + 1):
                    if able[given, taken]:
                        cheapest = min(cheapest, share * given + keeps * taken)
            costs[share] += cheapest
    most: Number = costs.max()
    return -(-most // _SHARES)


@compiled
def _least_given(w: Window, s: Servers, server: int) -> Number:
    """Return how many objects a server has to give whatever it takes."""
    mine = np.sort(w.loads[s.members[server, : s.held[server]]])
    load, given = s.load[server], np.int64(max(0, s.held[server] - w.objects))
    for at in range(given):
        load -= mine[len(mine) - 1 - at]
    while load > w.most and given < len(mine):
        load -= mine[len(mine) - 1 - given]
        given += 1
    return given


@compiled
def _least_taken(w: Window, s: Servers, server: int, ordered: Ints) -> Number:
    """Return how many objects a server has to take whatever it gives."""
    load, taken = s.load[server], np.int64(0)
    while load < w.least and taken < len(ordered):
        load += ordered[len(ordered) - 1 - taken]
        taken += 1
    return taken


@compiled
def _ways(w: Window, s: Servers, server: int, ordered: Ints) -> Ints:
    """Return ``(given, taken)``: whether a server's load may get right by so many; 1 is yes or not known."""
    mine = w.loads[s.members[server, : s.held[server]]]
    able = np.zeros((_MOST_GIVEN + 1, _MOST_TAKEN + 1), dtype=np.int64)
    for first in range(len(mine) + 1):  # len(mine) stands for nothing
        for second in range(first, len(mine) + 1):
            for third in range(second, len(mine) + 1):
                given = (first < len(mine)) + (second < len(mine)) + (third < len(mine))
                if (first == second < len(mine)) or (second == third < len(mine)):
                    continue
                load = s.load[server]
                for one in (first, second, third):
                    load -= mine[one] if one < len(mine) else 0
                for taken in range(_MOST_TAKEN + 1):
                    if s.held[server] - given + taken <= w.objects and not able[given, taken]:
                        able[given, taken] = _may_take(w, load, taken, ordered)
    return able


@compiled
def _may_take(w: Window, load: int, taken: int, ordered: Ints) -> Number:
    """Return whether so many objects, whosever they are, may bring a load between the limits."""
    if taken == 1:
        at = np.searchsorted(ordered, w.least - load)
        return 1 if at < len(ordered) and load + ordered[at] <= w.most else 0
    smallest, largest = ordered[:taken].sum(), ordered[len(ordered) - taken :].sum()
    return 1 if load + smallest <= w.most and load + largest >= w.least else 0


# ------------------------------------------------------------------------------------------------ the search


@compiled
def even_all(w: Window, s: Servers, home: Ints, order: Ints, effort: Ints) -> Number:
    """Bring every load between the limits; returns how many servers are not.

    ``effort`` is whether not to match givers with takers first, moves of a chain at most (``MOST_DEEP``), and
    tries at one.
    """
    plain, deepest, nodes = effort[0], effort[1], effort[2]
    if not plain:
        _match(w, s, order)
    for _ in range(len(order)):
        before = s.home.copy()
        for depth in range(1, deepest + 1):
            for server in order:
                s.logged[0] = 0
                if not _is_right(w, s, server):
                    _fix_chain(w, s, server, depth, np.full(1, nodes))
        if (before == s.home).all():
            break
    _go_home(w, s, home)
    wrong = 0
    for server in order:
        wrong += 0 if _is_right(w, s, server) else 1
    return wrong


@compiled
def _is_right(w: Window, s: Servers, server: int) -> bool:
    return bool(w.least <= s.load[server] <= w.most and s.held[server] <= w.objects)


@compiled
def _move(w: Window, s: Servers, item: int, server: int) -> None:
    was, at = s.home[item], s.place[item]
    s.held[was] -= 1
    last = s.members[was, s.held[was]]
    s.members[was, at], s.place[last] = last, at
    s.load[was] -= w.loads[item]
    s.home[item], s.place[item] = server, s.held[server]
    s.members[server, s.held[server]] = item
    s.load[server] += w.loads[item]
    s.held[server] += 1


@compiled
def _best_between(w: Window, s: Servers, giver: int, taker: int) -> tuple[Number, Number]:
    """Return the object whose move makes both servers right, and how far from the aim that leaves them."""
    best, chosen = np.iinfo(np.int64).max, np.int64(NOWHERE)
    if s.held[taker] >= w.objects or s.held[giver] - 1 > w.objects:
        return chosen, best
    low = max(s.load[giver] - w.most, w.least - s.load[taker])
    high = min(s.load[giver] - w.least, w.most - s.load[taker])
    if low > high:
        return chosen, best
    for at in range(s.held[giver]):
        item = s.members[giver, at]
        if low <= w.loads[item] <= high:
            far = abs(s.load[giver] - w.loads[item] - w.aim) + abs(s.load[taker] + w.loads[item] - w.aim)
            if far < best:
                best, chosen = far, np.int64(item)
    return chosen, best


@compiled
def _match(w: Window, s: Servers, order: Ints) -> None:
    """Let as many servers that are over as possible give an object each to one that is under (Kuhn, 1955)."""
    over = order[(s.load[order] > w.most) | (s.held[order] > w.objects)]
    under = order[s.load[order] < w.least]
    edge = np.full((len(over), len(under)), NOWHERE, dtype=np.int64)
    for at in range(len(over)):
        for to in range(len(under)):
            edge[at, to] = _best_between(w, s, over[at], under[to])[0]
    giver = np.full(len(under), NOWHERE, dtype=np.int64)
    for at in range(len(over)):
        _augment(edge, giver, at)
    for to in range(len(under)):
        if giver[to] != NOWHERE:
            _move(w, s, edge[giver[to], to], under[to])


@compiled
def _augment(edge: Ints, giver: Ints, root: int) -> None:
    """Match one more giver along an alternating path, found breadth first."""
    came = np.full(edge.shape[1], NOWHERE, dtype=np.int64)
    queue, first = [np.int64(root)], 0
    while first < len(queue):
        at = queue[first]
        first += 1
        for to in range(edge.shape[1]):
            if edge[at, to] == NOWHERE or came[to] != NOWHERE:
                continue
            came[to] = at
            if giver[to] != NOWHERE:
                queue.append(giver[to])
                continue
            end = np.int64(to)
            while end != NOWHERE:
                at = came[end]
                earlier = np.int64(NOWHERE)
                for other in range(edge.shape[1]):
                    if giver[other] == at:
                        earlier = np.int64(other)
                giver[end] = at
                end = earlier
            return


@compiled
def _try(w: Window, s: Servers, item: int, server: int) -> None:
    """Make a move that may be taken back."""
    s.log[s.logged[0], 0], s.log[s.logged[0], 1] = item, s.home[item]
    s.logged[0] += 1
    _move(w, s, item, server)


@compiled
def _take_back(w: Window, s: Servers, mark: int) -> None:
    """Take back the latest moves until so many are left."""
    while s.logged[0] > mark:
        s.logged[0] -= 1
        _move(w, s, s.log[s.logged[0], 0], s.log[s.logged[0], 1])


@compiled
def _fix_chain(w: Window, s: Servers, server: int, depth: int, nodes: Ints) -> bool:
    """Make a server right by at most ``depth`` moves, and all that those touch (depth-first, the best first).

    ``nodes`` is what the search may still spend.
    """
    worst, wrong = server, 0
    for at in range(s.logged[0] + 1):
        for side in range(2):
            other = server
            if at < s.logged[0]:
                other = s.log[at, 1] if side else s.home[s.log[at, 0]]
            wrong += 0 if _is_right(w, s, other) else 1
            if _wrong_by(w, s.load[other]) > _wrong_by(w, s.load[worst]):
                worst = other
    if wrong == 0:
        return True
    if depth == 0 or nodes[0] <= 0:
        return False
    nodes[0] -= 1
    firsts = _first_moves(w, s, worst, _WIDE if depth > 1 else 1)
    for at in range(len(firsts)):
        mark = s.logged[0]
        _try(w, s, firsts[at, 0], firsts[at, 1])
        if _fix_chain(w, s, server, depth - 1, nodes):
            return True
        _take_back(w, s, mark)
    return False


@compiled
def _wrong_by(w: Window, load: int) -> Number:
    return max(0, load - w.most, w.least - load)


@compiled
def _first_moves(w: Window, s: Servers, server: int, most: int) -> Ints:
    """Return the moves from a server that is over, or to one that is under, that leave least to do."""
    found = np.zeros((most, 2), dtype=np.int64)
    damage = np.full(most, np.iinfo(np.int64).max)
    gives = s.load[server] >= w.least
    for other in range(len(s.load)):
        giver, taker = (server, other) if gives else (other, server)
        if other == server or s.held[taker] >= min(w.objects, s.members.shape[1]):
            continue
        for at in range(s.held[giver]):
            item = s.members[giver, at]
            after = _wrong_by(w, s.load[giver] - w.loads[item]) + _wrong_by(w, s.load[taker] + w.loads[item])
            after -= _wrong_by(w, s.load[other])
            slot = most - 1
            if after >= damage[slot]:
                continue
            while slot > 0 and damage[slot - 1] > after:
                damage[slot], found[slot] = damage[slot - 1], found[slot - 1]
                slot -= 1
            damage[slot], found[slot, 0], found[slot, 1] = after, item, taker
    return found[damage < np.iinfo(np.int64).max]


@compiled
def _go_home(w: Window, s: Servers, home: Ints) -> None:
    """Take back the moves that are not needed after all."""
    for item in range(len(home)):
        if s.home[item] != home[item]:
            at = s.home[item]
            _move(w, s, item, home[item])
            if not (_is_right(w, s, at) and _is_right(w, s, home[item])):
                _move(w, s, item, at)
