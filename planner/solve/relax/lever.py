"""One lever: a thing of a scenario that may be relaxed, in whole steps, every further step allowing more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from planner.domain.fleet import ShardType, Transformer
from planner.domain.plan import Plan
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario

Value = int | str | None
"""What a change is from and to; None is no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One thing of a scenario that may be relaxed.

    Parameters
    ----------
    field
        Where it stands in the scenario document, as ``shardTypes[t4].maxCount``; ``nodes[a].count`` stands
        for nodes like a.
    unit
        Of its values: as ``rules.UNITS`` has them, ``ppm``, ``nodes``, or empty for words.
    steps
        How far it may be relaxed, at least 1.
    burden
        What it asks of the fleet's owner, the smaller the easier: 1 a number, 2 machines, 3 a margin, 4 a
        promise to the models' owners.
    rules
        The rules that it may lift; what was refused by them is tried first.
    relaxed
        Returns a scenario with the lever relaxed by some steps.
    value
        Returns its value after some steps; 0 steps is the value as it is.
    used
        Returns how many steps a plan makes use of; None where the plan does not say.
    weigh
        Returns what a shard of a type takes of it: then a plan that takes the least of it, instead of the
        least money, tells and bounds the steps that are needed. None where it is not shards that take it.
    weigh_service
        The same of a service that stands beside the shards.
    machines
        Whether its steps are machines whose price the scenario does not know.
    """

    field: str
    unit: str
    steps: int
    burden: int
    rules: frozenset[Rule]
    relaxed: Callable[[Scenario, int], Scenario]
    value: Callable[[int], Value]
    used: Callable[[Plan], int] | None = None
    weigh: Callable[[ShardType], int] | None = None
    weigh_service: Callable[[Transformer], int] = lambda _: 0
    is_cost: bool = False
    machines: bool = False


def with_policy(scenario: Scenario, **fields: Any) -> Scenario:
    """Return a scenario whose policy has other fields."""
    return dataclasses.replace(scenario, policy=dataclasses.replace(scenario.policy, **fields))


def with_cluster(scenario: Scenario, **fields: Any) -> Scenario:
    """Return a scenario whose cluster has other fields."""
    return dataclasses.replace(scenario, cluster=dataclasses.replace(scenario.cluster, **fields))


def with_type(scenario: Scenario, name: str, **fields: Any) -> Scenario:
    """Return a scenario in which one shard type has other fields."""
    types = (
        dataclasses.replace(item, **fields) if item.name == name else item for item in scenario.shard_types
    )
    return dataclasses.replace(scenario, shard_types=tuple(types))
