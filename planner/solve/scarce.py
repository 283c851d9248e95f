"""Other first packings where limits on the whole plan leave something out: few shards, addresses, or money.

The relaxation knows prices, not that shards are few: it would buy the cheapest ones, which hold little. With
a rent on every shard, or address, it buys what makes most of them. And of what money is too little for, the
replicas that are worth least are placed first, since it is their number that counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from planner.domain.scenario import Scenario
from planner.solve.construct import extend
from planner.solve.guide import Advice, make_advice
from planner.solve.heuristics import open_required
from planner.solve.keeping import packing_from
from planner.solve.packing import Packing
from planner.solve.problem import Problem, make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch

RENTS = (1.0, 8.0)
"""Of a shard or an address, in prices of the dearest type."""

PARTS = (1.0, 0.92, 0.84)
"""Which part of the money is spent, by what the relaxation says that replicas are worth: bases and what stays
empty take the rest."""


def is_scarce(scenario: Scenario) -> bool:
    """Return whether a scenario limits shards, addresses or money of the whole plan."""
    policy = scenario.policy
    limits = (policy.max_shards, policy.max_usd_per_h_microusd, scenario.cluster.max_ips)
    return any(limit is not None for limit in limits)


def thrifty_packings(problem: Problem, advice: Advice, *, seed: int, watch: Watch) -> Iterator[Packing]:
    """Yield packings that make more of what is limited, each of the whole problem."""
    scenario, policy = problem.scenario, problem.scenario.policy
    if policy.max_shards is not None or scenario.cluster.max_ips is not None:
        for rent in RENTS:
            if not watch.is_over():
                yield _rented(problem, rent, seed, watch)
    if policy.max_usd_per_h_microusd is not None:
        for part in PARTS:
            if not watch.is_over():
                most = part * policy.max_usd_per_h_microusd
                yield _least_first(problem, advice, most, seed, watch)


def _rented(problem: Problem, rent: float, seed: int, watch: Watch) -> Packing:
    """Return what is packed if shards, or their addresses, cost more than they do."""
    scenario = problem.scenario
    each = round(rent * max(int(problem.prices.max()), 1))
    by_address = scenario.cluster.max_ips is not None
    types = tuple(
        dataclasses.replace(
            item,
            price_microusd_per_h=item.price_microusd_per_h + each * (item.replicas if by_address else 1),
        )
        for item in scenario.shard_types
    )
    policy = dataclasses.replace(scenario.policy, max_usd_per_h_microusd=None)
    rented = make_problem(dataclasses.replace(scenario, shard_types=types, policy=policy))
    advice = make_advice(rented, watch.left_s())
    packing = Packing(rented)
    open_required(packing)
    packing, _ = extend(packing, range(len(rented.units)), advice, seed=seed, watch=watch)
    return packing_from(problem, placement_of(packing))


def _least_first(problem: Problem, advice: Advice, most: float, seed: int, watch: Watch) -> Packing:
    """Return a packing in which those that are worth least of each priority come first, up to some money."""
    worth = np.zeros(len(problem.units))
    np.add.at(worth, problem.seat_unit, advice.guide.value[problem.seat_model])
    priority = np.array([unit.priority for unit in problem.units])
    order = np.lexsort((worth, -priority))
    count = int(np.searchsorted(np.cumsum(worth[order]), most, side="right"))
    packing = Packing(problem)
    open_required(packing)
    for units in (order[:count], order[count:]):
        packing, _ = extend(packing, units.tolist(), advice, seed=seed, watch=watch)
    return packing
