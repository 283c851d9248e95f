"""What a replica is worth, learnt from how well shards are filled.

The relaxation's dual prices leave out what whole replicas and whole shards waste. After every round the price
of what is scarce in badly filled shards rises, and that of what they leave free falls: the sequential value
correction of Belov and Scheithauer (2007), applied to the prices of dimensions instead of items. Those of a
shard always add up to its own. What replicas pay towards overheads stays as it was, so the worths in a shard
exceed its price by no more than what overheads have become cheaper since.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solve.bounds import DualPrices
from planner.solve.compiled import compiled
from planner.solve.core.exchange import earned
from planner.solve.core.state import CLOSED, ROW, TYPE, State
from planner.solve.core.tables import KIND, PRICE, Floats, Tables, host_columns
from planner.solve.problem import Ints, Problem
from planner.solve.relaxation import FIRST_COLUMN, SCALE, FluidType, Relaxation

FLOOR = 0.02
"""Least price of a dimension, as a share of the shard's: what is free today may be scarce in the end."""

LEAST_EARNED = 0.2
"""Shards that earn less of their price are taken for this, so that the last one does not decide alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Prices of dimensions, and what they are multiplied with.

    Parameters
    ----------
    shares
        ``(types, kinds, dimensions)``: what a replica takes of a shard.
    links
        ``(types, kinds)``: what it pays towards overheads; infinite where it is not allowed.
    prices
        ``(types, dimensions)``; changed in place.
    counted
        ``(types, dimensions)``: whether anyone takes any of it.
    """

    shares: Floats
    links: Floats
    prices: Floats
    counted: Floats


def make_worth(problem: Problem, relaxation: Relaxation, prices: DualPrices) -> Worth:
    """Return the relaxation's prices as a start."""
    columns = [0, 1, *(FIRST_COLUMN + column for column in host_columns(problem))]
    types = relaxation.types
    shares = np.stack([item.demand[0][:, columns] / SCALE for item in types])
    counted = (shares.max(axis=1, initial=0.0) > 0).astype(np.float64)
    worth = Worth(
        shares=shares,
        links=np.stack([_links(item, prices.links[index]) for index, item in enumerate(types)]),
        prices=np.ascontiguousarray(prices.dimensions[:, columns]),
        counted=counted,
    )
    _level(worth, problem.prices.astype(np.float64))
    return worth


def _links(item: FluidType, prices: Floats) -> Floats:
    demand, allowed = item.demand[0] / SCALE, item.allowed[0]
    links = np.where(allowed, 0.0, np.inf)
    for overhead, price in zip(item.overheads, prices, strict=True):
        links[overhead.members[0]] += (demand @ price)[overhead.members[0]]
    return links


def _level(worth: Worth, full: Floats) -> None:
    """Keep prices from vanishing, and let those of a shard add up to its own."""
    prices = np.maximum(worth.prices, FLOOR * full[:, None] * worth.counted)
    total = prices.sum(axis=1)
    worth.prices[:] = prices * (full / np.where(total > 0, total, 1.0))[:, None]


def apply(worth: Worth, tables: Tables) -> None:
    """Write what every kind is worth now into the tables."""
    reprice(worth.shares, worth.prices, worth.links, tables.value, tables.loss)


def learn(worth: Worth, tables: Tables, state: State, rows: Ints, rate: float) -> None:
    """Correct the prices by what the open shards earn, and apply them."""
    factors = np.ones_like(worth.prices)
    _factors(tables, state, rows, worth.shares, worth.links, factors)
    worth.prices[:] *= factors**rate
    _level(worth, tables.types[:, PRICE].astype(np.float64))
    apply(worth, tables)


@compiled
def _factors(
    tables: Tables, state: State, rows: Ints, shares: Floats, links: Floats, factors: Floats
) -> None:
    """Note the mean of one over what shards earn, weighed with what their residents take of a dimension."""
    lack = np.ones(len(state.rows))
    for row in rows:
        if state.rows[row, TYPE] != CLOSED:
            price = max(1.0, float(tables.types[state.rows[row, TYPE], PRICE]))
            lack[row] = 1.0 / max(LEAST_EARNED, earned(tables, state, row) / price)
    types, dimensions = factors.shape
    taken, lacking = np.zeros((types, dimensions)), np.zeros((types, dimensions))
    for unit in range(len(state.units)):
        row, kind = state.units[unit, ROW], tables.units[unit, KIND]
        if row < 0 or kind < 0:
            continue
        for shard_type in range(types):
            if links[shard_type, kind] < np.inf:
                for dimension in range(dimensions):
                    share = shares[shard_type, kind, dimension]
                    taken[shard_type, dimension] += share
                    lacking[shard_type, dimension] += share * lack[row]
    for shard_type in range(types):
        for dimension in range(dimensions):
            if taken[shard_type, dimension] > 0.0:
                factors[shard_type, dimension] = lacking[shard_type, dimension] / taken[shard_type, dimension]


@compiled
def reprice(shares: Floats, prices: Floats, links: Floats, value: Floats, loss: Floats) -> None:
    """Note what a replica of each kind costs at least, and by how much it costs more on each type."""
    types, dimensions = prices.shape
    for kind in range(len(value)):
        least = np.inf
        for shard_type in range(types):
            cost = links[shard_type, kind]
            for dimension in range(dimensions):
                cost += prices[shard_type, dimension] * shares[shard_type, kind, dimension]
            loss[shard_type, kind] = cost
            least = min(least, cost)
        value[kind] = least if least < np.inf else 0.0
        for shard_type in range(types):
            if loss[shard_type, kind] < np.inf:
                loss[shard_type, kind] = (loss[shard_type, kind] - least) / max(least, 1e-9)
