"""A placement with every load between the limits by no more than so many moves, if one is found. Compiled.

Tabu search (Glover, 1989) over placements that may break the limits: an object goes to another server, or
back home, wherever that leaves least wrong, and then rests for some steps. Servers that stay wrong weigh more
and more (breakout: Morris, 1993), and so do moves beyond the number that is asked for (strategic
oscillation), so that the search also passes through placements of a few moves too many.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.solve.compiled import compiled
from planner.solve.problem import Ints
from planner.solve.repair.tables import NOWHERE, Number
from planner.solve.repair.windows import Window

_REST = 6
"""Steps that an object rests after it went, and at random up to as many again."""
_HEAVIER = 1 / 32
"""How much heavier a server gets with each step in which it is wrong; one weighs 1 at first."""
_TOO_MANY, _WIDEST = 0.3, 16.0
"""What a move too many weighs at first, in loads of an object; how many times as much or little it gets."""
_LIKES_HOME = 1e-9
"""What going home is better than another change that leaves as much wrong."""
_BLUR = 0.5
"""How randomly changes that are as good are compared by how even they leave servers."""


class _Books(NamedTuple):
    """Where objects are now, and what the search remembers."""

    now: Ints
    """``(objects,)``: the server of each."""
    load: Ints
    """``(servers,)``."""
    held: Ints
    """``(servers,)``: how many objects each has."""
    wrong: Ints
    """``(servers,)``: how far each is from right."""
    weight: NDArray[np.float64]
    """``(servers,)``: of what is wrong there."""
    rests: Ints
    """``(objects,)``: the step until which each stays where it is."""
    random: NDArray[np.uint64]
    """``(1,)``."""


@compiled
def search_moves(  # noqa: PLR0913, PLR0917 - an instance, and an effort
    w: Window, home: Ints, servers: int, most: Number, looks: Number, seed: Number
) -> tuple[Ints, bool]:
    """Return a placement of ``most`` moves or fewer, and whether it is right: where objects are now if not.

    ``looks`` is how many changes may be looked at.
    """
    load, held, wrong_by = np.zeros((3, servers), dtype=np.int64)
    rests = np.zeros(len(home), dtype=np.int64)
    random = np.array([seed + 1], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    b = _Books(home.copy(), load, held, wrong_by, np.ones(servers), rests, random)
    for item in range(len(home)):
        b.load[home[item]] += w.loads[item]
        b.held[home[item]] += 1
    light = _TOO_MANY * w.loads.mean()
    moves, too_many, step = 0, light, 0
    while looks > 0:
        wrong, under = _weigh(w, b)
        if not wrong and moves <= most:
            return b.now, True
        extra = too_many if moves >= most else 0.0, too_many if moves > most else _LIKES_HOME
        chosen, server, looked = _best_change(w, b, home, under, step, extra)
        looks -= looked + servers
        step += 1
        if chosen != NOWHERE:
            moves += int(server != home[chosen]) - int(b.now[chosen] != home[chosen])
            _move(w, b, chosen, server)
            b.rests[chosen] = step + _REST + int(_REST * _draw(b.random))
        too_many *= 9 / 8 if moves > most else 15 / 16
        too_many = min(max(too_many, light / _WIDEST), light * _WIDEST)
    return home, False


@compiled
def _draw(random: NDArray[np.uint64]) -> float:
    """Return a random number from 0 to 1 (xorshift: Marsaglia, 2003)."""
    random[0] ^= random[0] << np.uint64(13)
    random[0] ^= random[0] >> np.uint64(7)
    random[0] ^= random[0] << np.uint64(17)
    return float(random[0] >> np.uint64(11)) / 2**53


@compiled
def _move(w: Window, b: _Books, item: Number, server: Number) -> None:
    was, size = b.now[item], w.loads[item]
    b.load[was] -= size
    b.held[was] -= 1
    b.load[server] += size
    b.held[server] += 1
    b.now[item] = server


@compiled
def _wrong_by(w: Window, load: int, held: int) -> int:
    """Return how far a server is from right; an object too many counts for all that one may carry."""
    return max(0, load - w.most, w.least - load) + max(0, held - w.objects) * w.most


@compiled
def _weigh(w: Window, b: _Books) -> tuple[bool, Ints]:
    """Let servers that are wrong weigh more; returns whether any is, and those that carry too little."""
    under, count, wrong = np.empty(len(b.load), dtype=np.int64), 0, False
    for server in range(len(b.load)):
        b.wrong[server] = _wrong_by(w, b.load[server], b.held[server])
        if b.wrong[server]:
            wrong = True
            b.weight[server] += _HEAVIER
            if b.load[server] < w.least:
                under[count] = server
                count += 1
    return wrong, under[:count]


@compiled
def _best_change(  # noqa: PLR0913, PLR0917 - the books, and how to judge
    w: Window, b: _Books, home: Ints, under: Ints, step: int, extra: tuple[float, float]
) -> tuple[Number, Number, int]:
    """Return the object and the server that leave least wrong, and how many changes were looked at.

    An object at home on a server that is right goes only to one that carries too little.
    """
    best, chosen, to, looks = np.inf, np.int64(NOWHERE), np.int64(NOWHERE), len(home)
    every, nearest = np.arange(len(b.load)), np.inf
    for item in range(len(home)):
        if b.rests[item] > step:
            continue
        at, size, away = b.now[item], w.loads[item], b.now[item] != home[item]
        was = b.wrong[at]
        leaves = (_wrong_by(w, b.load[at] - size, b.held[at] - 1) - was) * b.weight[at]
        targets = every if was or away else under
        looks += len(targets)
        for server in targets:
            change = leaves
            if away and server == home[item]:
                change -= extra[1]
            elif not away:
                change += extra[0]
            load = b.load[server] + size
            if load > w.most or b.wrong[server]:
                change += (_wrong_by(w, load, b.held[server] + 1) - b.wrong[server]) * b.weight[server]
            if change > best or server == at or b.held[server] >= w.objects:
                continue
            even = _unevenness(w, b, at, server, size) * (1.0 + _BLUR * _draw(b.random))
            if change < best or even < nearest:
                best, nearest, chosen, to = change, even, np.int64(item), np.int64(server)
    return chosen, to, looks


@compiled
def _unevenness(w: Window, b: _Books, giver: int, taker: int, size: int) -> int:
    """Return how much further two servers are from the aim after a move than before; 0 is the most even."""
    before: int = abs(b.load[giver] - w.aim) + abs(b.load[taker] - w.aim)
    after: int = abs(b.load[giver] - size - w.aim) + abs(b.load[taker] + size - w.aim)
    return after - before + 2 * size
