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

from planner.solve.clusters import equal_columns
from planner.solve.packing import Floats
from planner.solve.problem import Bools, Ints
from planner.solve.relaxation import OWN, SCALE, WHOLE, FluidType, Overhead, Relaxation

PRICE_SCALE = 2**24
"""Dual prices are integers of this fraction of the highest price."""

_INT64, _HALF, _FEW_BITS = 2**63 - 1, 31, 40

DEAREST = 4
"""How many times more than a link says a kind pays at most."""

_REACHABLE_AT_MOST, _SUMS_AT_MOST = 40, 20_000
"""Sums of prices are enumerated up to so many of the cheapest shards, and while they are so few: of many, one
is next to any bound."""


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
    least, constants = _least(relaxation, prices)
    unit = _unit(relaxation)
    return tuple(worth * unit for worth in least.tolist()), constants


def _unit(relaxation: Relaxation) -> int:
    """Return the price that dual prices are multiples of, over ``PRICE_SCALE``."""
    return max((item.price for item in relaxation.types), default=0)


def _least(relaxation: Relaxation, prices: DualPrices) -> tuple[Ints, tuple[int, ...]]:
    """Return ``values_of_kinds``, values over ``_unit``; Python's integers where an int64 is too small."""
    unit, constants = _unit(relaxation), []
    kinds = relaxation.types[0].allowed.shape[1] if relaxation.types else 0
    least, known = np.zeros(kinds, dtype=np.int64), np.zeros(kinds, dtype=np.bool_)
    for index, item in enumerate(relaxation.types):
        weights, links, rent = _feasible(item, prices.dimensions[index], prices.links[index], unit)
        constants.append(_constant(item, weights, rent, unit))
        for way, allowed in enumerate(item.allowed):
            worth = _worth(item, way, weights, links)
            best = np.where(known, np.minimum(least, worth), worth)
            least, known = np.where(allowed, best, least), known | allowed
    return least, tuple(constants)


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
    """Return what the demand of each kind is worth; in Python's integers where an int64 might overflow.

    A member of an overhead pays more than its link where a site that holds it has less room than the
    overhead says: then fewer members share the cost. Whoever else is there, what a site keeps for one of them
    it keeps for all, so together they still pay no more than the overhead's cost.
    """
    demand = item.demand[way]
    most = int(demand.max(initial=0)) * (int(weights.sum()) + sum(int(row.sum()) for row in links))
    if most > _INT64 // DEAREST:
        demand, weights, links = demand.astype(object), weights.astype(object), links.astype(object)
    worth = demand @ weights
    for row, overhead in zip(links, item.overheads, strict=True):
        paid = np.flatnonzero(row)
        if len(paid):
            dearer = _dearer(item, way, row, overhead)
            worth = worth + (demand[:, paid] @ row[paid] // WHOLE) * dearer
    return np.asarray(worth)


def _dearer(item: FluidType, way: int, row: Ints, overhead: Overhead) -> Ints:
    """Return by how much each kind pays more than a link says, of ``WHOLE`` and rounded down.

    That is the worth of the room that the overhead counts with over that of the room beside the kind.
    """
    room = sum(int(a) * int(b) for a, b in zip(row, overhead.room, strict=True))
    site = sum(int(a) * int(b) for a, b in zip(row, overhead.site, strict=True))
    beside = site - item.own[way].astype(row.dtype) @ row[list(OWN)]
    shift = max(0, room.bit_length() - _FEW_BITS)
    ratio = (room >> shift) * WHOLE // np.maximum((beside >> shift) + 1, 1)
    return np.asarray(np.minimum(ratio, DEAREST * WHOLE) * (beside > 0) * overhead.brought[way] // WHOLE)


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
    kinds: Sequence[Sequence[int] | Ints],
    placed: Sequence[int],
    *,
    copies: Ints | None = None,
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
        ``(kinds,)``: most replicas that a model of the kind has, each on a shard of its own; None leaves that
        out.
    """
    least, constants = _least(relaxation, prices)
    unit, levels = _unit(relaxation), [np.asarray(level, dtype=np.int64) for level in kinds]
    paid = sum(_cheapest(least[level], count) for level, count in zip(levels, placed, strict=True))
    everything = list(range(len(relaxation.types)))
    joint = _rounded(relaxation, everything, paid * unit + sum(constants))
    if any(count < len(level) for level, count in zip(levels, placed, strict=True)):
        return joint
    # Everything is placed, so parts of the fleet that share no kind are bounded, and rounded, each by itself.
    replicas, parts = np.concatenate((*levels, np.zeros(0, dtype=np.int64))), 0
    for types, members in components(relaxation):
        total = _sum(least[replicas[members[replicas]]]) * unit + sum(constants[index] for index in types)
        apart = _shards_for_copies(relaxation, types, members * (0 if copies is None else copies))
        parts += max(_rounded(relaxation, types, total), apart)
    return max(joint, parts)


def _cheapest(values: Ints, count: int) -> int:
    """Return the sum of the least so many numbers."""
    return _sum(values if count >= len(values) else np.sort(values)[:count])


def _sum(values: Ints) -> int:
    """Return an exact sum of numbers that are not negative, however large it is."""
    if values.dtype == object:
        return sum(values.tolist())
    high, low = values >> _HALF, values & (2**_HALF - 1)
    return (int(high.sum()) << _HALF) + int(low.sum())


def components(relaxation: Relaxation) -> tuple[tuple[list[int], Bools], ...]:
    """Return the parts of the fleet that share no kind: types, and which kinds fit on any of them."""
    if not relaxation.types:
        return ()
    fits = _fits(relaxation)
    label = list(range(len(relaxation.types)))
    _, first = np.unique(equal_columns(fits.astype(np.int64)), return_index=True)
    for together in fits[:, first].T:
        merged = {label[index] for index in np.flatnonzero(together)}
        label = [min(merged) if of_one in merged else of_one for of_one in label]
    found = []
    for one in sorted(set(label)):
        types = [index for index, of_one in enumerate(label) if of_one == one]
        found.append((types, np.asarray(fits[types].any(axis=0), dtype=np.bool_)))
    return tuple(found)


def _fits(relaxation: Relaxation) -> Bools:
    """Return ``(types, kinds)``: whether a kind fits on a type at all."""
    return np.array([item.allowed.any(axis=0) for item in relaxation.types])


def _rounded(relaxation: Relaxation, types: Sequence[int], total: int) -> int:
    cost = max(0, -(-total // denominator()))
    return round_up(cost, [relaxation.types[index].price for index in types])


def _shards_for_copies(relaxation: Relaxation, types: Sequence[int], copies: Ints) -> int:
    """Return what the cheapest shards cost that hold every copy of some model apart from the others."""
    fits = _fits(relaxation)
    group = equal_columns(fits.astype(np.int64))
    _, first = np.unique(group, return_index=True)
    most = np.zeros(len(first), dtype=np.int64)
    np.maximum.at(most, group, copies)
    required = sum(relaxation.types[index].least * relaxation.types[index].price for index in types)
    ables = [[index for index in types if fits[index, kind]] for kind in first]
    extra = (_extra_shards(relaxation, able, int(count)) for able, count in zip(ables, most, strict=True))
    return required + max(extra, default=0)


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
    step = math.gcd(*paid)
    multiple = -(-bound // step) * step
    if bound > _REACHABLE_AT_MOST * paid[0]:
        return multiple
    sums, best = {0}, -(-bound // paid[0]) * paid[0]
    for price in paid:
        if len(sums) > _SUMS_AT_MOST:
            return multiple
        sums = {base + count * price for base in sums for count in range((best - base) // price + 1)}
        best = min(total for total in sums if total >= bound)
    return best
