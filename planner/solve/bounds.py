"""Lower bounds of the cost, exact whatever the prices that they are computed from.

A linear program proposes dual prices in floating point; here they are made integers, made feasible, and the
bound is summed in exact arithmetic: weak duality (Lagrangian relaxation of the capacities) makes it valid for
every such prices, good or bad. Nothing here looks at the plan but for how much of each priority it places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.solve.packing import Floats
from planner.solve.problem import Ints
from planner.solve.relaxation import SCALE, FluidType, Relaxation

PRICE_SCALE = 2**24
"""Dual prices are integers of this fraction of the highest price."""

_INT64 = 2**63 - 1
_REACHABLE_AT_MOST = 40
"""Sums of prices are enumerated up to so many of the cheapest shards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DualPrices:
    """What the relaxation says a shard's resources are worth, in micro-USD an hour.

    Parameters
    ----------
    dimensions
        ``(types, dimensions)``: of all of a dimension of one shard.
    links
        One array a type, ``(overheads, dimensions)``: what a member of an overhead pays on top, for all of a
        dimension of one shard, towards the overhead.
    """

    dimensions: Floats
    links: tuple[Floats, ...]


def values_of_kinds(relaxation: Relaxation, prices: DualPrices) -> tuple[tuple[int, ...], int]:
    """Return the least that a replica of each kind costs, and a constant; both times ``denominator``.

    The sum of the values of whatever is placed plus the constant is a lower bound of the cost. A kind that
    fits nowhere has the value 0.
    """
    unit = max((item.price for item in relaxation.types), default=0)
    kinds = relaxation.types[0].allowed.shape[1] if relaxation.types else 0
    best: list[int | None] = [None] * kinds
    constant = 0
    for index, item in enumerate(relaxation.types):
        weights, links, rent = _feasible(item, prices.dimensions[index], prices.links[index], unit)
        constant += _constant(item, weights, rent, unit)
        for way in range(len(item.allowed)):
            worth = _worth(item, way, weights, links)
            for kind in np.flatnonzero(item.allowed[way]):
                value = int(worth[kind]) * unit
                before = best[kind]
                best[kind] = value if before is None else min(before, value)
    return tuple(value or 0 for value in best), constant


def denominator() -> int:
    """Return what values and constants are multiples of."""
    return PRICE_SCALE * SCALE


def _feasible(item: FluidType, prices: Floats, links: Floats, unit: int) -> tuple[Ints, Ints, int]:
    """Return integer weights that are dual feasible, and by how much they exceed the price of a shard.

    ``sum(weights) <= price`` unless the type is limited in number: then the excess is the limit's own price.
    Of each overhead the links pay for no more than it costs.
    """
    weights = _integers(prices, unit)
    most = item.price * PRICE_SCALE // max(unit, 1)
    total = int(weights.sum())
    if item.most is None and total > most:
        weights = np.array([int(weight) * most // total for weight in weights], dtype=np.int64)
    rent = max(0, int(weights.sum()) - most)
    paid = np.zeros_like(links, dtype=np.int64)
    for index, overhead in enumerate(item.overheads):
        row = _integers(links[index], unit)
        income = sum(int(a) * int(b) for a, b in zip(row, overhead.room, strict=True))
        worth = sum(int(a) * int(b) for a, b in zip(weights, overhead.cost, strict=True))
        paid[index] = row if income <= worth else [int(a) * worth // income for a in row]
    return weights, paid, rent


def _integers(prices: Floats, unit: int) -> Ints:
    shares = np.nan_to_num(prices, nan=0.0, posinf=0.0, neginf=0.0) / max(unit, 1)
    return np.asarray(np.floor(shares.clip(0, 8) * PRICE_SCALE), dtype=np.int64)


def _worth(item: FluidType, way: int, weights: Ints, links: Ints) -> Ints:
    """Return what the demand of each kind is worth; in Python's integers where an int64 might overflow."""
    demand = item.demand[way]
    most = int(demand.max(initial=0)) * (int(weights.sum()) + sum(int(row.sum()) for row in links))
    if most > _INT64:
        demand, weights, links = demand.astype(object), weights.astype(object), links.astype(object)
    worth = (demand * weights).sum(axis=1)
    for index, overhead in enumerate(item.overheads):
        worth = worth + (demand * links[index]).sum(axis=1) * overhead.members[way]
    return np.asarray(worth)


def _constant(item: FluidType, weights: Ints, rent: int, unit: int) -> int:
    """Return what the numbers of shards add: ``least`` of them are paid, ``most`` of them earn the excess."""
    if rent:
        assert item.most is not None
        return -item.most * rent * SCALE * unit
    # price - sum(weights) in units of 1 / PRICE_SCALE of the unit, rounded down
    saving = item.price * PRICE_SCALE - int(weights.sum()) * unit
    return item.least * max(0, saving) * SCALE


# ------------------------------------------------------------------------------------------------- the bound


def bound_of(
    relaxation: Relaxation,
    prices: DualPrices,
    kinds: Sequence[Sequence[int]],
    placed: Sequence[int],
) -> int:
    """Return a cost in micro-USD an hour below which nothing places as much.

    Parameters
    ----------
    relaxation, prices
        The relaxation, and any prices.
    kinds
        Of each priority, the kind of every replica that could be placed at all.
    placed
        Of each priority, how many replicas are placed; whichever they are, they cost no less than the
        cheapest so many.
    """
    values, total = values_of_kinds(relaxation, prices)
    for level, count in zip(kinds, placed, strict=True):
        total += sum(sorted(values[kind] for kind in level)[:count])
    return round_up(max(0, -(-total // denominator())), [item.price for item in relaxation.types])


def round_up(bound: int, prices: Sequence[int]) -> int:
    """Return the least sum of prices that is not below a bound: every cost is such a sum."""
    paid = sorted({price for price in prices if price > 0})
    if not paid:
        return 0
    if bound > _REACHABLE_AT_MOST * paid[0]:
        step = math.gcd(*paid)
        return -(-bound // step) * step
    sums, best = {0}, -(-bound // paid[0]) * paid[0]
    for price in paid:
        sums = {base + count * price for base in sums for count in range((best - base) // price + 1)}
        best = min(total for total in sums if total >= bound)
    return best
