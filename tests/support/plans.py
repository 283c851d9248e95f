"""Plans built by hand for tests of what comes after planning."""

from __future__ import annotations

from typing import Any

from planner.domain.canonical import sha256_of
from planner.domain.fleet import DeviceClass
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Budget, Plan
from planner.domain.scenario import Scenario
from planner.domain.verify import cost_microusd_per_h
from tests.support.builders import GIB, MIB, a_model, a_node, a_scenario, a_shard_type, an_option


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


def everything() -> tuple[Any, ...]:
    """A scenario, then shards and replicas: bought and existing, GPU, MIG and CPU, all servers, copies."""
    slice_class = DeviceClass(
        name="slice", kind="gpu", memory_bytes=10 * GIB, product="NVIDIA-A100", mig_profile="1g.10gb+me"
    )
    gpu_class = DeviceClass(name="gpu-16", kind="gpu", memory_bytes=16 * GIB, product="Tesla-T4")
    types = (
        a_shard_type("bought", zone="a", replicas=2, overhead_cpu_milli=500, overhead_memory_bytes=500 * MIB),
        a_shard_type("sliced", device_class="slice", disk_bytes=GIB),
        a_shard_type("onnode", provision="existing", device_count=2, node_selector=(("pool", "gpu"),)),
        a_shard_type("sk", device_class="cpu", runtime="sklearn"),
        a_shard_type("xgb", device_class="cpu", runtime="xgboost"),
        a_shard_type("lgb", device_class="cpu", runtime="lightgbm"),
        a_shard_type("mls", device_class="cpu", runtime="mlserver"),
    )
    gpu, host = an_option(gpu=GIB, peak=2 * GIB, host=MIB), an_option("cpu", host=MIB)
    scenario = a_scenario(
        a_model("everywhere", gpu, replicas=3),
        a_model("sk-model", host, backend="sklearn"),
        a_model("xgb-model", host, backend="xgboost"),
        a_model("lgb-model", host, backend="lightgbm"),
        a_model("mls-model", host, backend="sklearn"),
        types=types,
        nodes=(a_node("n0", gpus=2, labels=(("pool", "gpu"),)),),
        classes=(gpu_class, slice_class),
        spread="node",
    )
    return (
        scenario,
        *(a_shard(name) for name in ("bought", "sliced", "sk", "xgb", "lgb", "mls")),
        a_shard("onnode", node="n0", node_devices=(0, 1)),
        on("everywhere", "bought"),
        on("everywhere", "onnode", 1, replica=1),
        on("everywhere", "sliced", replica=2),
        on("sk-model", "sk"),
        on("xgb-model", "xgb"),
        on("lgb-model", "lgb"),
        on("mls-model", "mls"),
    )
