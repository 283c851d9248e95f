"""The fewest moves that bring every server's load between a least and a most.

A quick search first (``tabu``), for as many moves as a quick bound (``windows``), then for more. If it takes
more, prices of the objects give a better bound (``prices``). Where a longer search still makes more moves,
prices say which few choices servers have in a placement at the bound (``choices``), and of those CP-SAT picks
(``exact.moves``), or finds that there is no such placement, which raises the bound by a move.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from planner.solve.options import Effort
from planner.solve.problem import Ints
from planner.solve.repair.choices import near_choices
from planner.solve.repair.market import PRICE, Market, open_market
from planner.solve.repair.prices import Prices, better_prices
from planner.solve.repair.tabu import search_moves
from planner.solve.repair.windows import Window, least_moves, servers_of

_QUICK, _DEEP = (20_000, 16), (60_000, 80)
"""Changes that a search may look at: so many, and so many for each object and server. At first, and where
prices leave hope for fewer moves."""
_TRIES = 4
"""Searches of the second kind, each of another seed."""
_MOST_ABOVE = 4
"""Moves above the bound that are tried where no placement is known."""
_PICKING = 0.2
"""CP-SAT's deterministic time for one number of moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evened:
    """Where objects are afterwards.

    Parameters
    ----------
    home
        ``(objects,)``: the server of each; as before if no way was found.
    moves
        How many are on another server than before.
    at_least
        Fewer moves cannot bring every load between the limits; more than there are objects if nothing can.
    wrong
        Servers whose load is not between the limits, or that have too many objects.
    """

    home: Ints
    moves: int
    at_least: int
    wrong: int

    @property
    def fulfilled(self) -> bool:
        """Return whether every load is between the limits; otherwise no way was found."""
        return self.wrong == 0


def even_out(window: Window, home: Ints, servers: int, *, seed: int = 0) -> Evened:
    """Return a placement with every load between the limits, in which few objects moved.

    Efforts are counted in steps and in CP-SAT's deterministic time, never by the clock: equal calls give
    equal answers.

    Parameters
    ----------
    window
        The loads and the limits.
    home
        ``(objects,)``: the server of each now.
    servers
        How many there are.
    seed
        Of the searches, and of CP-SAT.
    """
    at_least = int(least_moves(window, servers_of(window, home, servers)))
    start = Evened(home=home, moves=len(home) + 1, at_least=at_least, wrong=servers)
    found = _searched(window, home, start, servers, seed=seed)
    if at_least < found.moves and at_least <= len(home):
        found = _priced(window, home, found, servers, seed=seed)
    return found if found.fulfilled else dataclasses.replace(found, moves=0)


def _searched(window: Window, home: Ints, start: Evened, servers: int, *, seed: int) -> Evened:
    """Return a placement that is right, of few moves: of as many as there may be at last."""
    above = 0
    while True:
        most = min(start.at_least + above, len(home))
        better, right = search_moves(window, home, servers, most, _looks(_QUICK, home, servers), seed)
        if right:
            return _evened(window, home, better, start, servers)
        if most == len(home):
            return dataclasses.replace(start, wrong=_wrong(window, home, servers))
        above = 2 * above + 1


def _fewer(window: Window, home: Ints, found: Evened, servers: int, *, seed: int) -> Evened:
    """Return what longer searches find, each for a move less than is known."""
    moves = found.moves - 1 if found.fulfilled else len(home)
    looks, attempt = _looks(_DEEP, home, servers), 0
    while moves >= found.at_least and attempt < _TRIES:
        attempt += 1
        better, right = search_moves(window, home, servers, moves, looks, seed + attempt)
        if right:
            found, attempt = _evened(window, home, better, found, servers), 0
            moves = found.moves - 1
    return found


def _looks(effort: tuple[int, int], home: Ints, servers: int) -> int:
    some, each = effort
    return some + each * len(home) * servers


def _evened(window: Window, home: Ints, better: Ints, found: Evened, servers: int) -> Evened:
    moves = int(np.count_nonzero(better != home))
    return dataclasses.replace(found, home=better, moves=moves, wrong=_wrong(window, better, servers))


def _priced(window: Window, home: Ints, found: Evened, servers: int, *, seed: int) -> Evened:
    """Return a placement with fewer moves, or a better bound on them."""
    takes = min(window.objects, found.moves - 1)
    market = open_market(window.loads, home, servers, (window.least, window.most, window.objects, takes))
    if market is None:
        return _fewer(window, home, found, servers, seed=seed)
    searched = False
    for prices in better_prices(market, _most(found)):
        found = dataclasses.replace(found, at_least=min(max(found.at_least, prices.moves), found.moves))
        if not searched:
            found, searched = _fewer(window, home, found, servers, seed=seed), True
        found = _settled(window, market, found, prices, seed=seed)
        if found.at_least >= found.moves:
            break
    return found


def _most(found: Evened) -> int:
    """Return moves that nobody has to look for any more."""
    return found.moves if found.fulfilled else min(found.moves, found.at_least + _MOST_ABOVE + 1)


def _settled(window: Window, market: Market, found: Evened, prices: Prices, *, seed: int) -> Evened:
    """Return what CP-SAT makes of the choices that are left: a placement at the bound, or a better bound."""
    from planner.solve.exact.moves import pick_choices

    most = _most(found)
    servers, effort = len(market.held), Effort(deterministic_time=_PICKING, workers=1, seed=seed)
    while found.at_least < most:
        choices = near_choices(market, prices.each, found.at_least * PRICE - prices.total)
        if choices is None:
            return found
        listed = [
            (server, [item for item in given if item >= 0], [item for item in taken if item >= 0])
            for server, given, taken in zip(*(array.tolist() for array in choices[:3]), strict=True)
        ]
        picked = pick_choices(listed, servers, most_moves=found.at_least, effort=effort)
        if picked is None:
            return found
        if picked:
            home = market.home.copy()
            for server, _, taken in (listed[at] for at in picked):
                home[taken] = server
            return _evened(window, market.home, home, found, servers)
        found = dataclasses.replace(found, at_least=found.at_least + 1)
    return found


def _wrong(window: Window, home: Ints, servers: int) -> int:
    load = np.bincount(home, window.loads, servers)
    held = np.bincount(home, minlength=servers)
    return int(((load < window.least) | (load > window.most) | (held > window.objects)).sum())
