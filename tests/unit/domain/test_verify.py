"""One test a rule: a placement that is just legal, and the same with one unit too much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.domain.fleet import Backend, Cluster, DeviceClass, NodeDevice, Runtime
from planner.domain.memory import models_json_entry_bytes
from planner.domain.model import Pin
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Bound, Plan, Refusal, gap_ratio
from planner.domain.policy import Headroom
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.domain.verify import verify, verify_placement
from tests.support import plans
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option, models


def at(model: str, shard: str = "t", *devices: int, replica: int = 0, option: int = 0) -> Placed:
    return Placed(model=model, replica=replica, shard=shard, devices=devices or (0,), option=option)


def on(*placed: Placed, shards: tuple[Shard, ...] = (Shard(name="t", shard_type="t"),)) -> Placement:
    return Placement(shards=shards, placed=tuple(sorted(placed)))


def broken(scenario: Scenario, placement: Placement) -> list[Rule]:
    return [violation.rule for violation in verify_placement(scenario, placement)]


TWO = (at("m-000"), at("m-001"))


def two_models(**option: Any) -> Any:
    return models(2, an_option(**option))


def just_and_over(just: Scenario, over: Scenario, rule: Rule, *, placement: Placement | None = None) -> None:
    placement = placement or on(*TWO)
    assert broken(just, placement) == []
    assert broken(over, placement) == [rule]


# ------------------------------------------------------------------------------------ on a device


def test_device_memory() -> None:
    just_and_over(
        a_scenario(*two_models(gpu=8 * GIB)),
        a_scenario(*models(1, an_option(gpu=8 * GIB)), a_model("m-001", an_option(gpu=8 * GIB + 1))),
        Rule.DEVICE_MEMORY,
    )


@pytest.mark.parametrize(
    "extra",
    [
        {"classes": (DeviceClass(name="gpu-16", kind="gpu", memory_bytes=16 * GIB, reserved_bytes=1),)},
        {"runtimes": (Runtime(name="triton", context_bytes=1),)},
        {"runtimes": (Runtime(name="triton", pool_bytes=1),)},
        {"backends": (Backend(name="onnxruntime", device_base_bytes=1),)},
        {"headroom": Headroom(device_memory_ppm=1)},
    ],
    ids=["reserved", "context", "pool", "backend base", "headroom"],
)
def test_device_memory_counts_what_is_fixed(extra: dict[str, Any]) -> None:
    just_and_over(
        a_scenario(*two_models(gpu=8 * GIB)),
        a_scenario(*two_models(gpu=8 * GIB), **extra),
        Rule.DEVICE_MEMORY,
    )


def test_a_backend_base_is_paid_once_a_device() -> None:
    base = {"backends": (Backend(name="onnxruntime", device_base_bytes=2 * GIB),)}
    just_and_over(
        a_scenario(*two_models(gpu=7 * GIB), **base),
        a_scenario(*two_models(gpu=7 * GIB + 1), **base),
        Rule.DEVICE_MEMORY,
    )


def test_an_instance_process_pays_a_context_unless_it_was_measured() -> None:
    def scenario(source: str) -> Scenario:
        return a_scenario(
            *models(1, an_option(gpu=14 * GIB, instances=2, source=source)),
            backends=(Backend(name="onnxruntime", context_per_instance=True),),
            runtimes=(Runtime(name="triton", context_bytes=GIB - 1 if source == "measured" else GIB),),
        )

    placement = on(at("m-000"))
    assert broken(scenario("measured"), placement) == []
    assert broken(scenario("declared"), placement) == [Rule.DEVICE_MEMORY]


def test_startable() -> None:
    just_and_over(
        a_scenario(*two_models(gpu=7 * GIB, peak=9 * GIB)),
        a_scenario(*two_models(gpu=7 * GIB, peak=9 * GIB + 1)),
        Rule.STARTABLE,
    )


def test_startable_counts_as_many_peaks_as_load_together() -> None:
    fleet = two_models(gpu=7 * GIB, peak=8 * GIB + 1)
    just_and_over(
        a_scenario(*fleet), a_scenario(*fleet, types=(a_shard_type(parallel_loads=2),)), Rule.STARTABLE
    )


def test_device_time() -> None:
    just_and_over(a_scenario(*two_models(milli=500)), a_scenario(*two_models(milli=501)), Rule.DEVICE_TIME)
    headroom = Headroom(device_time_ppm=200_000)
    just_and_over(
        a_scenario(*two_models(milli=400), headroom=headroom),
        a_scenario(*two_models(milli=401), headroom=headroom),
        Rule.DEVICE_TIME,
    )


def test_a_replica_on_several_devices_has_them_for_itself() -> None:
    types = (a_shard_type(device_count=3),)
    whole = a_model("m-000", an_option(gpu=GIB), devices_per_replica=2)
    scenario = a_scenario(whole, *models(1, prefix="n"), types=types)
    assert broken(scenario, on(at("m-000", "t", 0, 1), at("n-000", "t", 2))) == []
    assert broken(scenario, on(at("m-000", "t", 0, 1), at("n-000", "t", 1))) == [Rule.EXCLUSIVE_DEVICES]


# ------------------------------------------------------------------------------------- on a shard


@pytest.mark.parametrize(
    ("option", "capacity", "overhead", "rule"),
    [
        ("cpu", "cpu_milli", "overhead_cpu_milli", Rule.CPU),
        ("host", "memory_bytes", "overhead_memory_bytes", Rule.HOST_MEMORY),
    ],
)
def test_host_resources_without_the_sidecars(option: str, capacity: str, overhead: str, rule: Rule) -> None:
    fleet = two_models(**{option: 500})
    just_and_over(
        a_scenario(*fleet, types=(a_shard_type(**{capacity: 1100, overhead: 100}),)),
        a_scenario(*fleet, types=(a_shard_type(**{capacity: 1100, overhead: 101}),)),
        rule,
    )


def test_host_memory_counts_the_idle_server_each_backend_once_and_headroom() -> None:
    fleet, types = two_models(host=40), (a_shard_type(memory_bytes=100),)
    just = a_scenario(*fleet, types=types, backends=(Backend(name="onnxruntime", host_base_bytes=20),))
    just_and_over(
        just, replace(just, runtimes=(Runtime(name="triton", host_base_bytes=1),)), Rule.HOST_MEMORY
    )
    just_and_over(
        a_scenario(*fleet, types=types),
        a_scenario(*fleet, types=types, headroom=Headroom(memory_ppm=210_000)),
        Rule.HOST_MEMORY,
    )


def test_disk_and_named_resources() -> None:
    fleet = two_models(disk=5, extra=(("ports", 2),))
    types = (a_shard_type(disk_bytes=10, extra=(("ports", 4),)),)
    just = a_scenario(*fleet, types=types)
    just_and_over(just, replace(just, shard_types=(replace(types[0], disk_bytes=9),)), Rule.DISK)
    just_and_over(just, replace(just, shard_types=(replace(types[0], extra=(("ports", 3),)),)), Rule.EXTRA)
    just_and_over(just, replace(just, shard_types=(replace(types[0], extra=()),)), Rule.EXTRA)


def test_max_models() -> None:
    just = a_scenario(*models(2), types=(a_shard_type(max_models=2),))
    just_and_over(just, replace(just, shard_types=(a_shard_type(max_models=1),)), Rule.MAX_MODELS)


def test_models_json_fits_its_config_map() -> None:
    fleet = models(2)
    exact = sum(map(models_json_entry_bytes, fleet)) + 2
    just = a_scenario(*fleet, cluster=Cluster(max_config_map_bytes=exact))
    just_and_over(just, replace(just, cluster=Cluster(max_config_map_bytes=exact - 1)), Rule.CONFIG_MAP)


@pytest.mark.parametrize(
    ("lowest", "parent"), [(0, "t"), (1, "t-1")], ids=["replica 0", "replica 0 is refused"]
)
def test_an_entry_of_models_json_counts_on_the_shard_of_the_lowest_placed_replica(
    lowest: int, parent: str
) -> None:
    model = a_model("m", replicas=3)
    exact = models_json_entry_bytes(model) + 2
    shards = tuple(Shard(name=name, shard_type="t") for name in ("t", "t-1", "t-2"))
    replicas = [at("m", shard.name, replica=number) for number, shard in enumerate(shards)][lowest:]
    scenario = a_scenario(model, cluster=Cluster(max_config_map_bytes=exact - 1))
    found = verify_placement(scenario, on(*replicas, shards=shards))
    assert [(violation.rule, violation.subject) for violation in found] == [(Rule.CONFIG_MAP, parent)]
    assert (
        broken(a_scenario(model, cluster=Cluster(max_config_map_bytes=exact)), on(*replicas, shards=shards))
        == []
    )


def test_tenants() -> None:
    fleet = (a_model("m-000", tenant="a"), a_model("m-001", tenant="b"))
    just_and_over(a_scenario(*fleet), a_scenario(*fleet, isolate_tenants=True), Rule.TENANTS)


def test_runtime_and_device_class() -> None:
    just = a_scenario(*models(2))
    just_and_over(
        just,
        replace(just, runtimes=(Runtime(name="triton", backends=("python",)),)),
        Rule.RUNTIME,
        placement=on(at("m-000")),
    )
    elsewhere = a_scenario(*models(2, an_option("gpu-80", gpu=GIB)))
    just_and_over(just, elsewhere, Rule.DEVICE_CLASS, placement=on(at("m-000")))


def test_an_option_of_the_class_wins_over_any_class() -> None:
    both = a_model("m", an_option(gpu=1), an_option("gpu-16", gpu=2))
    assert broken(a_scenario(both), on(at("m", option=1))) == []
    assert broken(a_scenario(both), on(at("m", option=0))) == [Rule.DEVICE_CLASS]


def test_any_class_means_a_cpu_only_without_gpu_figures() -> None:
    types = (a_shard_type(device_class="cpu"),)
    assert broken(a_scenario(a_model("m", an_option(cpu=1)), types=types), on(at("m"))) == []
    assert broken(a_scenario(a_model("m", an_option(gpu=1)), types=types), on(at("m"))) == [Rule.DEVICE_CLASS]


# -------------------------------------------------------------------- between replicas and models

SHARDS = (Shard(name="t", shard_type="t"), Shard(name="t-1", shard_type="t"))


def test_replicas_never_share_a_shard() -> None:
    scenario = a_scenario(a_model(replicas=2), spread="none")
    assert broken(scenario, on(at("m"), at("m", "t-1", replica=1), shards=SHARDS)) == []
    assert Rule.SPREAD in broken(scenario, on(at("m"), at("m", replica=1), shards=SHARDS))


def test_spread_over_nodes() -> None:
    scenario = a_scenario(
        a_model(replicas=2),
        types=(a_shard_type(provision="existing"),),
        nodes=(a_node("a", gpus=2), a_node("b")),
        spread="node",
    )
    apart = (
        Shard(name="t", shard_type="t", node="a", node_devices=(0,)),
        Shard(name="t-1", shard_type="t", node="b", node_devices=(0,)),
    )
    same = (apart[0], replace(apart[1], node="a", node_devices=(1,)))
    assert broken(scenario, on(at("m"), at("m", "t-1", replica=1), shards=apart)) == []
    assert broken(scenario, on(at("m"), at("m", "t-1", replica=1), shards=same)) == [Rule.SPREAD]


def test_spread_over_zones_where_an_unknown_zone_is_one_zone() -> None:
    def scenario(*zones: str | None) -> Scenario:
        types = tuple(a_shard_type(f"t{i}", zone=zone) for i, zone in enumerate(zones))
        return a_scenario(a_model(replicas=2), types=types, spread="zone")

    shards = (Shard(name="t0", shard_type="t0"), Shard(name="t1", shard_type="t1"))
    placement = on(at("m", "t0"), at("m", "t1", replica=1), shards=shards)
    assert broken(scenario("a", "b"), placement) == []
    assert broken(scenario("a", None), placement) == []
    assert broken(scenario("a", "a"), placement) == [Rule.SPREAD]
    assert broken(scenario(None, None), placement) == [Rule.SPREAD]


def test_together_share_a_shard_replica_by_replica_all_or_none() -> None:
    scenario = a_scenario(*models(2, together="ensemble"))
    assert broken(scenario, on(*TWO)) == []
    assert broken(scenario, on(shards=SHARDS)) == []
    assert broken(scenario, on(at("m-000"), at("m-001", "t-1"), shards=SHARDS)) == [Rule.TOGETHER]
    assert broken(scenario, on(at("m-000"))) == [Rule.TOGETHER]


def test_pins_hold_replica_0() -> None:
    scenario = a_scenario(
        a_model(replicas=2, pin=Pin(shard="t-1", device=1)), types=(a_shard_type(device_count=2),)
    )
    assert broken(scenario, on(at("m", "t-1", 1), at("m", "t", replica=1), shards=SHARDS)) == []
    assert broken(scenario, on(at("m", "t-1", 0), shards=SHARDS)) == [Rule.PIN]
    assert broken(scenario, on(at("m", "t", 1), shards=SHARDS)) == [Rule.PIN]


# ------------------------------------------------------------ on shard types, nodes and the whole


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        ({"types": (a_shard_type(max_count=1),)}, Rule.MAX_COUNT),
        ({"types": (a_shard_type(min_count=3),)}, Rule.MIN_COUNT),
        ({"types": (a_shard_type(replicas=2),), "cluster": Cluster(max_ips=3)}, Rule.IPS),
        ({"max_shards": 1}, Rule.MAX_SHARDS),
        ({"max_usd_per_h_microusd": 1_999_999}, Rule.MAX_COST),
    ],
)
def test_counts_of_the_whole(extra: dict[str, Any], rule: Rule) -> None:
    roomy = {
        "types": (a_shard_type(max_count=2, min_count=2, replicas=2),),
        "cluster": Cluster(max_ips=4),
        "max_shards": 2,
        "max_usd_per_h_microusd": 2_000_000,
    }
    just_and_over(a_scenario(**roomy), a_scenario(**{**roomy, **extra}), rule, placement=on(shards=SHARDS))


NODE_SHARD = Shard(name="t", shard_type="t", node="n", node_devices=(0,))


@pytest.mark.parametrize(
    ("node", "rule"),
    [
        ({"cpu_milli": 63_999}, Rule.NODE_CPU),
        ({"memory_bytes": 512 * GIB - 1}, Rule.NODE_MEMORY),
        ({"pods": 5, "pods_in_use": 5}, Rule.NODE_PODS),
        ({"pods_in_use": 110}, Rule.NODE_PODS),
        ({"device_class": "gpu-80"}, Rule.NODE_DEVICES),
        ({"labels": (("disk", "hdd"),)}, Rule.NODE_SELECTOR),
    ],
)
def test_a_node_holds_its_shards(node: dict[str, Any], rule: Rule) -> None:
    types = (a_shard_type(provision="existing", node_selector=(("disk", "ssd"),)),)
    plain = {"labels": (("disk", "ssd"),), "cpu_milli": 64_000, "memory_bytes": 512 * GIB, "pods_in_use": 109}
    just = a_scenario(types=types, nodes=(a_node(**plain),))
    over = a_scenario(types=types, nodes=(a_node(**{**plain, **node}),))
    just_and_over(just, over, rule, placement=on(shards=(NODE_SHARD,)))


def test_a_device_belongs_to_one_shard() -> None:
    scenario = a_scenario(types=(a_shard_type(provision="existing"),), nodes=(a_node(gpus=2),))
    other = replace(NODE_SHARD, name="t-1", node_devices=(1,))
    assert broken(scenario, on(shards=(NODE_SHARD, other))) == []
    assert broken(scenario, on(shards=(NODE_SHARD, replace(other, node_devices=(0,))))) == [Rule.NODE_DEVICES]


def test_a_node_device_has_its_own_memory_and_foreign_use() -> None:
    def scenario(**device: int) -> Scenario:
        nodes = (replace(a_node(), devices=(NodeDevice(device_class="gpu-16", **device),)),)
        return a_scenario(
            a_model("m", an_option(gpu=16 * GIB)), types=(a_shard_type(provision="existing"),), nodes=nodes
        )

    placement = on(at("m"), shards=(NODE_SHARD,))
    assert broken(scenario(), placement) == []
    assert broken(scenario(foreign_bytes=1), placement) == [Rule.DEVICE_MEMORY]
    assert broken(scenario(memory_bytes=16 * GIB - 1), placement) == [Rule.DEVICE_MEMORY]
    assert broken(scenario(reserved_bytes=1), placement) == [Rule.DEVICE_MEMORY]


# ------------------------------------------------------------------------------------- references


@pytest.mark.parametrize(
    "placement",
    [
        on(at("nobody")),
        on(at("m", "nowhere")),
        on(at("m", replica=1)),
        on(at("m", option=1)),
        on(at("m", "t", 1)),
        on(at("m", "t", 0, 0)),
        on(at("m"), at("m")),
        on(shards=(Shard(name="t", shard_type="nothing"),)),
        on(shards=(Shard(name="u", shard_type="t"),)),
        on(shards=(Shard(name="t-01", shard_type="t"),)),
        on(shards=(Shard(name="t", shard_type="t", node="n"),)),
        on(shards=(Shard(name="t", shard_type="t", node_devices=(0,)),)),
        on(shards=(Shard(name="t", shard_type="t"), Shard(name="t", shard_type="t"))),
    ],
)
def test_every_name_refers_to_something(placement: Placement) -> None:
    assert broken(a_scenario(a_model()), on(at("m"))) == []
    found = verify_placement(a_scenario(a_model()), placement)
    assert {violation.rule for violation in found} == {Rule.REFERENCE}
    assert all(violation.detail for violation in found)


def test_shards_on_nodes_name_devices_of_theirs() -> None:
    scenario = a_scenario(types=(a_shard_type(provision="existing"),), nodes=(a_node(),))
    assert broken(scenario, on(shards=(NODE_SHARD,))) == []
    for shard in (
        replace(NODE_SHARD, node=None, node_devices=()),
        replace(NODE_SHARD, node="nobody"),
        replace(NODE_SHARD, node_devices=()),
        replace(NODE_SHARD, node_devices=(1,)),
        replace(NODE_SHARD, node_devices=(-1,)),
    ):
        assert broken(scenario, on(shards=(shard,))) == [Rule.REFERENCE]


# -------------------------------------------------------------------------------- the plan itself


def a_plan(scenario: Scenario, placement: Placement, **more: Any) -> Plan:
    return plans.a_plan(scenario, *placement.shards, *placement.placed, **more)


def rules_of(scenario: Scenario, plan: Plan) -> list[Rule]:
    return [violation.rule for violation in verify(scenario, plan)]


def test_every_replica_is_placed_or_refused_once() -> None:
    scenario = a_scenario(a_model(replicas=2))
    refusal = Refusal(model="m", replicas=1, rule=Rule.MAX_COUNT, subject="t", need=2, have=1)
    assert rules_of(scenario, a_plan(scenario, on(at("m")), refusals=(refusal,))) == []
    assert rules_of(scenario, a_plan(scenario, on(at("m")))) == [Rule.ACCOUNTED]
    assert rules_of(scenario, a_plan(scenario, on(at("m")), refusals=(refusal, refusal))) == [Rule.ACCOUNTED]
    stranger = replace(refusal, model="nobody")
    assert rules_of(scenario, a_plan(scenario, on(at("m")), refusals=(refusal, stranger))) == [Rule.REFERENCE]


def test_the_figures_are_true() -> None:
    scenario = a_scenario(a_model())
    bound = Bound(microusd_per_h=1_000_000, method="fluid-lp")
    assert rules_of(scenario, a_plan(scenario, on(at("m")), bound=bound, status="optimal")) == []
    assert rules_of(scenario, a_plan(scenario, on(at("m")), cost_microusd_per_h=1)) == [Rule.COST]
    above = replace(bound, microusd_per_h=1_000_001)
    assert rules_of(scenario, a_plan(scenario, on(at("m")), bound=above)) == [Rule.BOUND]
    below = replace(bound, microusd_per_h=999_999)
    assert rules_of(scenario, a_plan(scenario, on(at("m")), bound=below)) == []
    assert rules_of(scenario, a_plan(scenario, on(at("m")), bound=below, status="optimal")) == [Rule.BOUND]
    assert rules_of(scenario, a_plan(scenario, on(at("m")), status="optimal")) == [Rule.BOUND]


def test_a_plan_of_another_scenario_is_refused() -> None:
    scenario = a_scenario(a_model())
    other = a_scenario(a_model(priority=1))
    assert rules_of(other, a_plan(scenario, on(at("m")))) == [Rule.REFERENCE]


def test_gap_is_a_share_of_the_cost() -> None:
    scenario = a_scenario(a_model())
    plan = a_plan(scenario, on(at("m")), bound=Bound(microusd_per_h=750_000, method="fluid-lp"))
    assert gap_ratio(plan) == 0.25
    assert gap_ratio(replace(plan, bound=None)) is None
    free = replace(plan, cost_microusd_per_h=0, bound=Bound(microusd_per_h=0, method="fluid-lp"))
    assert gap_ratio(free) == 0.0
