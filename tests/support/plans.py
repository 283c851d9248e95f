"""Plans built by hand for tests of what comes after planning."""

from __future__ import annotations

from typing import Any

from planner.domain.canonical import sha256_of
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Budget, Plan
from planner.domain.scenario import Scenario
from planner.domain.verify import cost_microusd_per_h


def a_shard(name: str = "t", shard_type: str | None = None, **more: Any) -> Shard:
    """A shard whose type has its name, unless another is given."""
    return Shard(name=name, shard_type=shard_type or name, **more)


def on(model: str, shard: str = "t", *devices: int, replica: int = 0, option: int = 0) -> Placed:
    """A replica on device 0, or on the devices given."""
    return Placed(model=model, replica=replica, shard=shard, devices=devices or (0,), option=option)


def a_placement(*items: Shard | Placed) -> Placement:
    """A placement of shards and replicas, in any order."""
    shards = sorted((item for item in items if isinstance(item, Shard)), key=lambda shard: shard.name)
    placed = sorted(item for item in items if isinstance(item, Placed))
    return Placement(shards=tuple(shards), placed=tuple(placed))


def a_plan(scenario: Scenario, *items: Shard | Placed, **more: Any) -> Plan:
    """A plan of a scenario with its true hash and cost; without shards there is one, ``t``."""
    shards: tuple[Shard, ...] = () if any(isinstance(item, Shard) for item in items) else (a_shard(),)
    placement = a_placement(*shards, *items)
    plain: dict[str, Any] = {
        "name": scenario.name,
        "namespace": scenario.namespace,
        "scenario_sha256": sha256_of(scenario),
        "seed": 1,
        "budget": Budget(work=1),
        "stopped_by_clock": False,
        "versions": (),
        "status": "feasible",
        "placement": placement,
        "cost_microusd_per_h": cost_microusd_per_h(scenario, placement),
        "bound": None,
        "refusals": (),
    }
    return Plan(**{**plain, **more})
