"""What a search that does not know of services has found, with the services beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from planner.domain.canonical import sha256_of
from planner.domain.plan import Bound, Plan, Refusal, Status
from planner.domain.scenario import Scenario
from planner.domain.services import (
    Service,
    possible_groups,
    services_microusd_per_h,
    used_services,
)


def with_services(plan: Plan, scenario: Scenario, standing: Sequence[Service]) -> Plan:
    """Return a plan of a scenario from one of what its services leave of it (``domain.services.beside``).

    Services that nothing placed passes through are left out; the room that was kept for them stays free.
    Where that room is limited, no refusal is proven: without some model that is placed its service would not
    stand either, and leave room for others.
    """
    used = set(used_services(scenario, plan.placement))
    services = tuple(sorted(item for item in standing if (item.group, item.transformer) in used))
    price = services_microusd_per_h(scenario, services)
    refused = plan.refusals if _is_unlimited(scenario) else tuple(map(_unproven, plan.refusals))
    bound = None if plan.bound is None else _raised(plan.bound, scenario, refused, services)
    cost = plan.cost_microusd_per_h + price
    return dataclasses.replace(
        plan,
        scenario_sha256=sha256_of(scenario),
        cost_microusd_per_h=cost,
        bound=bound,
        refusals=refused,
        status=_status(plan, cost, bound, refused),
        services=services,
    )


def _is_unlimited(scenario: Scenario) -> bool:
    """Return whether services take nothing that shards could have had."""
    cost = scenario.policy.max_usd_per_h_microusd
    return not scenario.nodes and scenario.cluster.max_ips is None and cost is None


def _unproven(refusal: Refusal) -> Refusal:
    return dataclasses.replace(refusal, proven=False)


def _raised(
    bound: Bound, scenario: Scenario, refused: Iterable[Refusal], services: Iterable[Service]
) -> Bound:
    """Return a bound with the price of what has to stand in every plan that places as much."""
    needed = set(_needed(scenario, refused))
    certain = (item for item in services if (item.group, item.transformer) in needed)
    price = services_microusd_per_h(scenario, certain)
    return dataclasses.replace(bound, microusd_per_h=bound.microusd_per_h + price)


def _needed(scenario: Scenario, refused: Iterable[Refusal]) -> Iterator[tuple[str, str]]:
    """Yield (group, transformer) of models that every plan which places as much of each priority places.

    Those are the models of priorities of which nothing is refused, and of them those that can come into one
    group only.
    """
    priority = {model.name: model.priority for model in scenario.models}
    short = {priority[item.model] for item in refused}
    for model, name, groups in possible_groups(scenario):
        if model.priority not in short and len(groups) == 1:
            yield next(iter(groups)), name


def _status(plan: Plan, cost: int, bound: Bound | None, refused: Iterable[Refusal]) -> Status:
    """Return what is still proven: nothing where a refusal is not, or where services may have cost less."""
    if not all(item.proven for item in refused):
        return "feasible"
    if plan.status == "optimal" and (bound is None or bound.microusd_per_h < cost):
        return "feasible"
    return plan.status
