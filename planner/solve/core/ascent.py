"""Dual prices for every kind by itself, from those of a linear program over clusters of kinds.

The dual function of the fluid relaxation is concave in few prices, those of the dimensions of each type; what
a shard's dimensions cost always adds up to its price. So the prices of a small program over clusters are a
start from which mirror ascent (Nemirovsky and Yudin 1983; exponentiated gradient: Kivinen and Warmuth 1997)
gains what putting kinds together has lost: a dimension that is used more than the others becomes dearer. A
sample of the kinds does: there are so few prices that those of a sample are good for all.

What is paid once a site is an overhead of its members: the mix of dimensions by which they pay for it stays
that of the program, so they only seem larger in the dimension that the overhead takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solve.bounds import DEAREST, DualPrices
from planner.solve.compiled import compiled
from planner.solve.packing import Floats
from planner.solve.problem import Ints
from planner.solve.relaxation import OWN, SCALE, WHOLE, FluidType, Relaxation

SAMPLE = 20_000
"""Kinds that decide about the prices: with as many, those of 100,000 give bounds 0.005 % below the best."""

ROUNDS, FASTEST, WARMEST, COOLING = 150, 0.5, 0.01, 50.0
"""Steps; how far the first goes; how much dearer, as a share, a place may be for about a third of the
replicas to prefer it in the first; and steps after which both have halved."""

COLDEST = 700.0
"""Exponents end there, where a double would become zero."""

LEAST_PRICE, LEAST_AT_START = 1e-6, 1e-3
"""Of a dimension, as a share of the shard's price: those at zero would never rise."""

IDLE = 0.01
"""A type is taken to be used at least this much of the most used one, so that its prices stay calm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inflated:
    """What replicas take of a shard, their part of overheads included.

    Parameters
    ----------
    shares
        ``(types, ways, kinds, dimensions)``; infinite where a kind is not allowed.
    mixes
        One array a type, ``(overheads, dimensions)``: what members pay for all of a dimension of a shard, for
        each micro-USD that the overhead is worth.
    """

    shares: Floats
    mixes: tuple[Floats, ...]


def inflate(relaxation: Relaxation, prices: DualPrices, kinds: Ints | None = None) -> Inflated:
    """Return the demand of kinds, None is all, with their part of overheads in the mix that prices say."""
    chosen = slice(None) if kinds is None else kinds
    mixes = tuple(
        _mix(item, prices.dimensions[index], prices.links[index])
        for index, item in enumerate(relaxation.types)
    )
    shares = [_inflated(item, mix, chosen) for item, mix in zip(relaxation.types, mixes, strict=True)]
    return Inflated(shares=np.stack(shares), mixes=mixes)


def _mix(item: FluidType, prices: Floats, links: Floats) -> Floats:
    """Return how members pay for each overhead; by the shard's prices where the program says nothing."""
    mix, known = np.zeros_like(links), item.demand.max(axis=(0, 1), initial=0) > 0
    for index, overhead in enumerate(item.overheads):
        room = overhead.room / SCALE
        counted = (room > 0) & known
        income = np.where(counted, links[index], 0.0) * room
        if income.sum() <= 1e-9 * item.price:
            income = counted * np.maximum(prices, LEAST_AT_START * item.price)
        if income.sum() > 0:
            mix[index] = np.where(counted, income / income.sum() / np.where(counted, room, 1.0), 0.0)
    return mix


def _inflated(item: FluidType, mix: Floats, kinds: slice | Ints) -> Floats:
    demand, own = item.demand[:, kinds] / SCALE, item.own[:, kinds] / SCALE
    shares = demand.copy()
    for overhead, row in zip(item.overheads, mix, strict=True):
        beside = float(row @ overhead.site) / SCALE - own @ row[list(OWN)]
        dearer = np.minimum(float(row @ overhead.room) / SCALE / np.maximum(beside, 1e-9), DEAREST)
        paid = demand @ row * dearer * (overhead.brought[:, kinds] / WHOLE)
        for dimension in np.flatnonzero(overhead.cost):
            shares[:, :, dimension] += paid * (overhead.cost[dimension] / SCALE)
    shares[~item.allowed[:, kinds]] = np.inf
    return np.asarray(shares)


def cheapest_types(relaxation: Relaxation, prices: DualPrices) -> Ints:
    """Return on which type each kind is cheapest, ``(kinds,)``; -1 where it is allowed on none.

    The relaxation has at least one type.
    """
    kinds = relaxation.types[0].allowed.shape[1]
    best, least = np.full(kinds, -1, dtype=np.int64), np.full(kinds, np.inf)
    for index, item in enumerate(relaxation.types):
        row = prices.dimensions[index]
        taken = _inflated(item, _mix(item, row, prices.links[index]), slice(None))
        cost = np.where(item.allowed, np.where(item.allowed[:, :, None], taken, 0.0) @ row, np.inf).min(
            axis=0
        )
        best[cost < least], least = index, np.minimum(cost, least)
    return best


def as_dual(relaxation: Relaxation, inflated: Inflated, prices: Floats) -> DualPrices:
    """Return prices of dimensions, ``(types, dimensions)``, with the links that go with them."""
    links = []
    for item, mix, price in zip(relaxation.types, inflated.mixes, prices, strict=True):
        costs = np.array([overhead.cost @ price / SCALE for overhead in item.overheads])
        links.append(mix * costs[:, None] if len(costs) else mix)
    return DualPrices(dimensions=prices, links=tuple(links))


def ascend(relaxation: Relaxation, prices: DualPrices, weights: Floats, most: float) -> DualPrices:
    """Return better dual prices than those of a program over clusters.

    Parameters
    ----------
    relaxation
        The relaxation, with at least one type.
    prices
        Where to start.
    weights
        ``(kinds,)``: replicas of each kind.
    most
        Replicas that cost more, in micro-USD an hour, are refused.
    """
    picked = sample(weights)
    inflated = inflate(relaxation, prices, picked)
    full = np.array(
        [
            row.sum() if item.least else max(float(item.price), row.sum())
            for item, row in zip(relaxation.types, prices.dimensions, strict=True)
        ]
    )
    shares = laid_out(inflated.shares)
    counted = taken(inflated.shares)
    start, used = prices.dimensions, np.zeros_like(prices.dimensions)
    level = levelled(start, full, counted, LEAST_AT_START)
    found = climb(shares, weights[picked], level, full, counted, most, 0, ROUNDS)
    before, after = (use(shares, weights[picked], these, most, WARMEST, used) for these in (start, found))
    return as_dual(relaxation, inflated, found) if after > before else prices


def sample(weights: Floats) -> Ints:
    """Return some of the kinds that have replicas, spread evenly over all."""
    kinds = np.flatnonzero(weights > 0)
    if len(kinds) <= SAMPLE:
        return kinds
    return kinds[np.arange(SAMPLE) * len(kinds) // SAMPLE]


def taken(shares: Floats) -> Floats:
    """Return ``(types, dimensions)``: 1 where any kind takes any of it."""
    return np.asarray(
        np.where(np.isfinite(shares), shares, 0.0).max(axis=(1, 2), initial=0.0) > 0, dtype=np.float64
    )


def laid_out(shares: Floats) -> Floats:
    """Return ``(types, ways, kinds, dimensions)`` as ``(kinds, types, ways, dimensions)``, in one piece."""
    return np.ascontiguousarray(shares.transpose(2, 0, 1, 3))


@compiled
def levelled(prices: Floats, full: Floats, counted: Floats, least: float) -> Floats:
    """Return prices that add up to a shard's, each at least a share of it where the dimension counts."""
    level = np.zeros_like(prices)
    for shard_type in range(len(prices)):
        total = 0.0
        for dimension in range(prices.shape[1]):
            if counted[shard_type, dimension] > 0.0:
                price = max(prices[shard_type, dimension], least * full[shard_type])
                level[shard_type, dimension] = price
                total += price
        if total > 0.0:
            level[shard_type] *= full[shard_type] / total
    return level


@compiled
def climb(
    shares: Floats,
    weights: Floats,
    prices: Floats,
    full: Floats,
    counted: Floats,
    most: float,
    start: int,
    rounds: int,
) -> Floats:
    """Return the best prices on the way up, from the step ``start`` on; ``shares`` are laid out by kinds."""
    best_value, best = -1.0, prices.copy()
    used = np.zeros_like(prices)
    for step in range(rounds):
        slow = 1.0 + (start + step) / COOLING
        value = use(shares, weights, prices, most, WARMEST / slow, used)
        if value > best_value:
            best_value, best = value, prices.copy()
        prices = _stepped(prices, full, counted, used, FASTEST / slow)
    return best


@compiled
def _stepped(prices: Floats, full: Floats, counted: Floats, used: Floats, pace: float) -> Floats:
    """Return prices after one step: what is used more than the shard on the whole becomes dearer."""
    shards = (used * prices).sum(axis=1) / np.maximum(full, 1.0)
    busiest = shards.max()
    if busiest <= 0.0:
        return prices
    risen = np.zeros_like(prices)
    for shard_type in range(len(prices)):
        scale = max(shards[shard_type], IDLE * busiest)
        change = pace * (used[shard_type] - shards[shard_type]) / scale
        risen[shard_type] = prices[shard_type] * np.exp(np.minimum(change, 1.0))
    return levelled(risen, full, counted, LEAST_PRICE)


@compiled
def use(shares: Floats, weights: Floats, prices: Floats, most: float, warmth: float, used: Floats) -> float:
    """Note what of each type's dimensions is used where all go where it is cheap; returns what all cost.

    A place that costs the share ``warmth`` more than the cheapest is preferred by a third as many.
    """
    kinds, types, ways, dimensions = shares.shape
    cost, total = np.empty((types, ways)), 0.0
    used[:] = 0.0
    for kind in range(kinds):
        least = np.inf
        for shard_type in range(types):
            for way in range(ways):
                price = 0.0 if shares[kind, shard_type, way, 0] < np.inf else np.inf
                for dimension in range(dimensions if price == 0.0 else 0):
                    price += prices[shard_type, dimension] * shares[kind, shard_type, way, dimension]
                cost[shard_type, way] = price
                least = min(least, price)
        total += weights[kind] * min(least, most)
        if least >= most:
            continue
        cost[:] = np.exp(-np.minimum((cost / max(least, 1e-9) - 1.0) / warmth, COLDEST))
        scale = weights[kind] / cost.sum()
        for shard_type in range(types):
            for way in range(ways):
                part = cost[shard_type, way] * scale
                if part > 1e-9 * weights[kind]:
                    for dimension in range(dimensions):
                        used[shard_type, dimension] += part * shares[kind, shard_type, way, dimension]
    return total
