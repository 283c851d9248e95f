"""What a replica is worth, learnt from what waits.

The relaxation's dual prices are right for the whole fleet. While shards are built they move to what is right
for those that still wait (``relearn``), so that what earlier shards used too little of becomes dearer and
later ones use more of it, as bid prices are solved anew in revenue management (Talluri and van Ryzin: The
Theory and Practice of Revenue Management, 2004). Those of a shard always add up to its own, and what replicas
pay towards overheads follows them, so the worths in a shard hardly exceed its price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solve.bounds import DualPrices
from planner.solve.compiled import compiled
from planner.solve.core.ascent import climb, inflate, laid_out, levelled, taken
from planner.solve.core.pool import SIZE, SPENT, Pool
from planner.solve.core.tables import KIND, Floats, Tables, host_columns, put_in_order
from planner.solve.problem import Ints, Problem
from planner.solve.relaxation import FIRST_COLUMN, Relaxation

FLOORS, FEW_UNITS = (0.02, 0.01), 3_500
"""Least price of a dimension, as a share of the shard's, among few units and among more: what is free today
may be scarce in the end, the sooner the fewer shards there are."""

WAITING, STEPS, LATE = 4_000, 12, 100
"""Kinds that ``relearn`` asks, about, the steps that it takes, and how calm they are: as the so-manieth of
``ascent``."""

LEARNING, LEARNT = 30_000, 4
"""What it counts for to learn at all, a thousandth of a second, and a kind in a step: in sets that are looked
at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Prices of dimensions, and what they are multiplied with.

    Parameters
    ----------
    shares
        ``(types, kinds, dimensions)``: what a replica takes of a shard, its part of overheads included;
        infinite where it is not allowed.
    start, prices
        ``(types, dimensions)``: the relaxation's, and those of now, which are changed in place.
    counted
        ``(types, dimensions)``: whether anyone takes any of it.
    full
        ``(types,)``: the price of a shard.
    floor
        Least price of a dimension, as a share of the shard's.
    """

    shares: Floats
    start: Floats
    prices: Floats
    counted: Floats
    full: Floats
    floor: float


def make_worth(problem: Problem, relaxation: Relaxation, prices: DualPrices) -> Worth:
    """Return the relaxation's prices as a start."""
    columns = [0, 1, *(FIRST_COLUMN + column for column in host_columns(problem))]
    shares = np.ascontiguousarray(inflate(relaxation, prices).shares[:, 0][:, :, columns])
    worth = Worth(
        shares=shares,
        start=np.ascontiguousarray(prices.dimensions[:, columns]),
        prices=np.empty((len(shares), len(columns))),
        counted=taken(shares[:, None]),
        full=problem.prices.astype(np.float64),
        floor=FLOORS[len(problem.units) > FEW_UNITS],
    )
    worth.prices[:] = worth.start
    _level(worth)
    return worth


def _level(worth: Worth) -> None:
    """Keep prices from vanishing, and let those of a shard add up to its own."""
    worth.prices[:] = levelled(worth.prices, worth.full, worth.counted, worth.floor)


def reset(worth: Worth, tables: Tables) -> None:
    """Return to the relaxation's prices."""
    worth.prices[:] = worth.start
    _level(worth)
    _apply(worth, tables)


def _apply(worth: Worth, tables: Tables) -> None:
    """Write what every kind is worth now into the tables."""
    reprice(worth.shares, worth.prices, np.arange(len(tables.value)), tables.value, tables.loss)
    put_in_order(tables)


def relearn(worth: Worth, tables: Tables, pool: Pool, types: Ints) -> None:
    """Move the prices towards what is optimal for those that wait on shards of some types.

    Only those that wait are told what they are worth now, and only their order is right.
    """
    waiting = pool.units[: pool.book[SIZE]]
    if not len(waiting) or not len(types):
        return
    known, counts = np.unique(tables.units[waiting, KIND], return_counts=True)
    every = slice(None, None, max(1, len(known) // WAITING))
    kinds, weights = known[every], counts[every].astype(np.float64)
    shares = laid_out(worth.shares[types][:, None, kinds])
    full, counted, most = worth.full[types], worth.counted[types], 2.0 * float(worth.full.max())
    worth.prices[types] = climb(shares, weights, worth.prices[types], full, counted, most, LATE, STEPS)
    _level(worth)
    reprice(worth.shares, worth.prices, known, tables.value, tables.loss)
    put_in_order(tables, waiting)
    pool.book[SPENT] += LEARNING + LEARNT * STEPS * len(kinds)


@compiled
def reprice(shares: Floats, prices: Floats, kinds: Ints, value: Floats, loss: Floats) -> None:
    """Note what a replica of some kinds costs at least, and by how much it costs more on each type."""
    types, dimensions = prices.shape
    for kind in kinds:
        least = np.inf
        for shard_type in range(types):
            cost = 0.0 if shares[shard_type, kind, 0] < np.inf else np.inf
            if cost < np.inf:
                for dimension in range(dimensions):
                    cost += prices[shard_type, dimension] * shares[shard_type, kind, dimension]
            loss[shard_type, kind] = cost
            least = min(least, cost)
        value[kind] = least if least < np.inf else 0.0
        for shard_type in range(types):
            if loss[shard_type, kind] < np.inf:
                loss[shard_type, kind] = (loss[shard_type, kind] - least) / max(least, 1e-9)
