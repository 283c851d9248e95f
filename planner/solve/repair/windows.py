"""The fewest moves that bring every server's load between a least and a most. Compiled.

One dimension and both sides: what POP (Narayanan and others, SOSP 2021) calls shard balancing. Servers that
are over have to give, servers that are under have to take, and one move may do both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner.solve.compiled import compiled
from planner.solve.problem import Ints
from planner.solve.repair.tables import Number

_MOST_GIVEN, _MOST_TAKEN = 3, 3
"""Objects given and taken by one server of which every choice is weighed in the bound."""
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

    load: Ints
    """``(servers,)``."""
    held: Ints
    members: Ints
    """``(servers, most)``: the objects of each, the first ``held`` of a row."""


def servers_of(window: Window, home: Ints, servers: int) -> Servers:
    """Return who is where, for ``home``, the server of each object."""
    count = np.bincount(home, minlength=servers)
    state = Servers(
        load=np.zeros(servers, dtype=np.int64),
        held=np.zeros(servers, dtype=np.int64),
        members=np.zeros((servers, max(window.objects, int(count.max(initial=0)))), dtype=np.int64),
    )
    for item, server in enumerate(home.tolist()):
        state.members[server, state.held[server]] = item
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
