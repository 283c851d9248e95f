"""Lower bounds of the cost, exact whatever the prices that they are computed from.

A linear program proposes dual prices in floating point; here they are made integers, made feasible, and the
bound is summed in exact arithmetic: weak duality (Lagrangian relaxation of the capacities) makes it valid for
every such prices, good or bad. Nothing here looks at the plan but for how much of each priority it places.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.solve.packing import Floats
from planner.solve.problem import Bools, Ints
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


def values_of_kinds(relaxation: Relaxation, prices: DualPrices) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the least that a replica of each kind costs, and a constant of each type; times ``denominator``.

    The sum of the values of whatever is placed plus the constants is a lower bound of the cost. A kind that
    fits nowhere has the value 0.
    """
    unit = max((item.price for item in relaxation.types), default=0)
    kinds = relaxation.types[0].allowed.shape[1] if relaxation.types else 0
    best: list[int | None] = [None] * kinds
    constants = []
    for index, item in enumerate(relaxation.types):
        weights, links, rent = _feasible(item, prices.dimensions[index], prices.links[index], unit)
        constants.append(_constant(item, weights, rent, unit))
        for way in range(len(item.allowed)):
            worth = _worth(item, way, weights, links)
            for kind in np.flatnonzero(item.allowed[way]):
                value = int(worth[kind]) * unit
                before = best[kind]
                best[kind] = value if before is None else min(before, value)
    return tuple(value or 0 for value in best), tuple(constants)


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
    *,
    copies: Mapping[int, int] | None = None,
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
    copies
        Of a kind, the replicas that one of its models has, each on a shard of its own; None leaves that out.
    """
    values, constants = values_of_kinds(relaxation, prices)
    levels = [
        sorted(values[kind] for kind in level)[:count] for level, count in zip(kinds, placed, strict=True)
    ]
    everything = list(range(len(relaxation.types)))
    joint = _rounded(relaxation, everything, sum(map(sum, levels)) + sum(constants))
    if any(count < len(level) for level, count in zip(kinds, placed, strict=True)):
        return joint
    # Everything is placed, so parts of the fleet that share no kind are bounded, and rounded, each by itself.
    counts = Counter(kind for level in kinds for kind in level)
    parts = 0
    for types, members in components(relaxation):
        total = sum(values[kind] * counts[kind] for kind in members) + sum(
            constants[index] for index in types
        )
        apart = _shards_for_copies(relaxation, types, {kind: (copies or {}).get(kind, 0) for kind in members})
        parts += max(_rounded(relaxation, types, total), apart)
    return max(joint, parts)


def components(relaxation: Relaxation) -> tuple[tuple[list[int], list[int]], ...]:
    """Return the parts of the fleet that share no kind: types, and the kinds that fit on any of them."""
    fits = _fits(relaxation)
    label = list(range(len(relaxation.types)))
    for together in {tuple(np.flatnonzero(column)) for column in fits.T}:
        merged = {label[index] for index in together}
        label = [min(merged) if of_one in merged else of_one for of_one in label]
    found = []
    for one in sorted(set(label)):
        types = [index for index, of_one in enumerate(label) if of_one == one]
        found.append((types, [int(kind) for kind in np.flatnonzero(fits[types].any(axis=0))]))
    return tuple(found)


def _fits(relaxation: Relaxation) -> Bools:
    """Return ``(types, kinds)``: whether a kind fits on a type at all."""
    return np.array([item.allowed.any(axis=0) for item in relaxation.types])


def _rounded(relaxation: Relaxation, types: Sequence[int], total: int) -> int:
    cost = max(0, -(-total // denominator()))
    return round_up(cost, [relaxation.types[index].price for index in types])


def _shards_for_copies(relaxation: Relaxation, types: Sequence[int], copies: Mapping[int, int]) -> int:
    """Return what the cheapest shards cost that hold every copy of some model apart from the others."""
    fits, most_copies = _fits(relaxation), dict[tuple[int, ...], int]()
    for kind, count in copies.items():
        able = tuple(index for index in types if fits[index, kind])
        most_copies[able] = max(count, most_copies.get(able, 0))
    required = sum(relaxation.types[index].least * relaxation.types[index].price for index in types)
    return max(
        (required + _extra_shards(relaxation, able, count) for able, count in most_copies.items()), default=0
    )


def _extra_shards(relaxation: Relaxation, types: Sequence[int], count: int) -> int:
    """Return what ``count`` shards of some types cost beside those that are required anyway."""
    wanted = count - sum(relaxation.types[index].least for index in types)
    cost = 0
    for item in sorted((relaxation.types[index] for index in types), key=lambda item: item.price):
        taken = max(0, wanted if item.most is None else min(wanted, item.most - item.least))
        cost += taken * item.price
        wanted -= taken
    return cost


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
