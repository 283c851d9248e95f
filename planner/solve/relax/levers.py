"""What of a scenario may be relaxed: each lever in whole steps, every further step allowing more.

A lever is monotone: what is legal after some steps is legal after more of them. That is what makes a binary
search for the least step right, and a proof about one step a proof about all smaller ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from planner.domain.fleet import ShardType, Transformer
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.solve.relax.lever import Lever
from planner.solve.relax.limits import on_limits, on_required
from planner.solve.relax.machines import on_machines
from planner.solve.relax.promises import on_margins, on_models, on_promises
from planner.units import MICROUSD


def levers_of(scenario: Scenario, plan: Plan | None) -> tuple[Lever, ...]:
    """Return what may be relaxed, the likeliest help first.

    Parameters
    ----------
    scenario
        What is asked.
    plan
        The best plan that is known; None where the scenario allows none.
    """
    refused = () if plan is None else plan.refusals
    wanted = _wanted(scenario)
    missing = wanted if plan is None else sum(refusal.replicas for refusal in refused)
    levers = [
        *on_limits(scenario, wanted),
        *on_machines(scenario, plan, missing),
        *on_margins(scenario),
        *on_promises(scenario),
        *on_models(scenario, refused),
    ]
    if plan is None:
        levers += on_required(scenario)
    named = {refusal.rule for refusal in refused}
    return tuple(sorted(levers, key=lambda lever: (not lever.rules & named, lever.burden)))


def _wanted(scenario: Scenario) -> int:
    """Return how many shards more could be of use at most: one for every replica, and those of ``minCount``.

    One for every replica that is refused is too few: for it to find room, others may go to new shards.
    """
    replicas = sum(model.replicas for model in scenario.models)
    return max(1, replicas + sum(item.min_count for item in scenario.shard_types))


def weighed_scenario(
    scenario: Scenario, weigh: Callable[[ShardType], int], weigh_service: Callable[[Transformer], int]
) -> Scenario:
    """Return a scenario in which a shard and a service cost as many USD as what is weighed says."""
    types = (
        dataclasses.replace(item, price_microusd_per_h=weigh(item) * MICROUSD)
        for item in scenario.shard_types
    )
    services = (
        dataclasses.replace(item, price_microusd_per_h=weigh_service(item) * MICROUSD)
        for item in scenario.transformers
    )
    policy = dataclasses.replace(scenario.policy, max_usd_per_h_microusd=None)
    return dataclasses.replace(
        scenario, shard_types=tuple(types), transformers=tuple(services), policy=policy
    )


def relaxed_scenario(scenario: Scenario, levers: tuple[Lever, ...], steps: Mapping[int, int]) -> Scenario:
    """Return a scenario with some levers, by their positions, relaxed by so many steps."""
    for position, step in sorted(steps.items()):
        if step:
            scenario = levers[position].relaxed(scenario, step)
    return scenario
