"""Prices of objects at which the moves between limits are bounded best.

What all servers pay at any prices is a bound (``market``); a subgradient method looks for the prices at which
it is largest. Each object has a price of its own, but objects of about one size are wanted by the same
servers, so a step moves the prices of a whole class of sizes, and those of the objects that too many or too
few want a little more: first of wide classes, then of narrow ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.solve.problem import Ints
from planner.solve.repair.market import PRICE, Market, excess_demand, make_offers

_SHARES = 16
"""Equal prices for all objects that are tried first, in parts of ``PRICE``."""
_STARTS = (4, 8, 12)
"""Shares from which the search starts: the first; then the best of all; then the others."""
_MOST_TAKINGS = 24
"""Starts times the objects that a server may take: a step takes time in proportion to these."""
_STEPS, _MOST_IDLE = 100, 8
"""Steps of a phase, and those in a row without a gain after which they get shorter."""
_SHORTEST = 0.1
"""How much shorter steps get before a phase ends."""
_GAIN = PRICE // 1024
"""What counts as a gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What all servers pay at prices.

    Parameters
    ----------
    total
        In parts of ``PRICE``; a lower bound on the moves.
    each
        ``(objects,)``: the price of each object.
    """

    total: int
    each: Ints

    @property
    def moves(self) -> int:
        """Return moves below which no placement is right."""
        return -(-self.total // PRICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    """How steps are made: how many classes, their weight against single objects, and memory of steps."""

    classes: int
    weight: float
    memory: float


_PHASES = (
    _Phase(classes=16, weight=5.0, memory=0.0),
    _Phase(classes=48, weight=1.0, memory=0.0),
    _Phase(classes=100, weight=0.3, memory=0.7),
    _Phase(classes=24, weight=1.0, memory=0.7),
)


def better_prices(market: Market, target: int) -> Iterator[Prices]:
    """Yield the best prices that are reached from one start of the search after the other.

    Prices that prove a little less than others may leave far fewer choices. It ends where some prove that it
    takes ``target`` moves.

    Parameters
    ----------
    target
        Moves of a placement that is known, or more than those of any.
    """
    flat = [_flat(market, share) for share in range(_SHARES + 1)]
    best = max(flat, key=lambda prices: prices.total)
    first, *later = _STARTS
    starts = (flat[first], best, *(flat[share] for share in later))
    for start in starts[: max(1, _MOST_TAKINGS // market.takes)]:
        reached = start
        for phase in _PHASES:
            reached = _ascend(market, reached, phase, target)
            if reached.moves >= target:
                break
        yield reached
        if reached.moves >= target:
            return


def _flat(market: Market, share: int) -> Prices:
    each = np.full(len(market.loads), share * PRICE // _SHARES, dtype=np.int64)
    return Prices(total=int(make_offers(market, each).pays.sum()), each=each)


def _ascend(market: Market, start: Prices, phase: _Phase, target: int) -> Prices:
    """Follow the subgradient with Polyak's steps and a memory (Camerini, Fratta and Maffioli, 1975)."""
    of_class = _classes(market.loads, phase.classes)
    crowd = np.sqrt(np.maximum(np.bincount(of_class, minlength=phase.classes), 1))
    best, each, scale, idle = start, start.each, 1.0, 0
    heading = np.zeros(len(each))
    for _ in range(_STEPS):
        offers = make_offers(market, each)
        total = int(offers.pays.sum())
        idle = 0 if total > best.total + _GAIN else idle + 1
        if total > best.total:
            best = Prices(total=total, each=each)
        excess = excess_demand(market, offers, each).astype(np.float64)
        if best.moves >= target or not excess.any():
            break
        if idle >= _MOST_IDLE:
            scale, idle, each = scale / 1.5, 0, best.each
            heading[:] = 0.0
            if scale < _SHORTEST:
                break
            continue
        wanted = excess + phase.weight * (np.bincount(of_class, excess, phase.classes) / crowd)[of_class]
        heading = phase.memory * heading + wanted
        if heading @ excess <= 0:
            heading = wanted
        missing = max(0.1 * PRICE, (target - 0.5) * PRICE - total)
        step = np.rint(scale * missing / (heading @ excess) * heading).astype(np.int64)
        each = np.clip(each + step, -4 * PRICE, 5 * PRICE)
    return best


def _classes(loads: Ints, count: int) -> NDArray[np.int64]:
    """Return a class of each object, by equal ratios of loads."""
    logs = np.log(np.maximum(loads, 1))
    wide = max(float(logs.max() - logs.min()), 1e-9)
    classes: NDArray[np.int64] = ((logs - logs.min()) / wide * count).astype(np.int64)
    return np.minimum(classes, count - 1)
