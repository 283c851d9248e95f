"""One tiny scenario a rule, in which the rule binds: the plan obeys it, and is the right size."""

from __future__ import annotations

import pytest

from planner.domain.fleet import Backend, Cluster, NodeDevice, Runtime
from planner.domain.plan import Plan
from planner.domain.policy import Headroom
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.builders import (
    CPU,
    GIB,
    MIB,
    a_gpu_class,
    a_model,
    a_node,
    a_scenario,
    a_shard_type,
    an_option,
    models,
)

EIGHT = an_option(gpu=8 * GIB)
TINY = an_option(gpu=MIB)


def plan_of(scenario: Scenario) -> Plan:
    """A quick plan; make_plan itself verifies it."""
    return make_plan(scenario, SolveOptions(work=10))


def shards(scenario: Scenario) -> int:
    plan = plan_of(scenario)
    assert not plan.refusals
    return len(plan.placement.shards)


def refused(scenario: Scenario) -> tuple[Rule, bool]:
    (refusal,) = plan_of(scenario).refusals
    return refusal.rule, refusal.proven


@pytest.mark.parametrize(
    ("fits", "overflows"),
    [
        (a_scenario(*models(2, EIGHT)), a_scenario(*models(3, EIGHT))),
        (
            a_scenario(*models(2, an_option(gpu=7 * GIB, peak=9 * GIB))),
            a_scenario(*models(2, an_option(gpu=7 * GIB, peak=10 * GIB))),
        ),
        (
            a_scenario(*models(2, an_option(gpu=GIB, milli=500))),
            a_scenario(*models(2, an_option(gpu=GIB, milli=501))),
        ),
        (
            a_scenario(*models(2, an_option(gpu=GIB, cpu=32_000))),
            a_scenario(*models(2, an_option(gpu=GIB, cpu=32_001))),
        ),
        (
            a_scenario(*models(2, an_option(gpu=GIB, host=256 * GIB))),
            a_scenario(*models(2, an_option(gpu=GIB, host=257 * GIB))),
        ),
        (
            a_scenario(*models(2, an_option(disk=GIB)), types=(a_shard_type(disk_bytes=2 * GIB),)),
            a_scenario(*models(3, an_option(disk=GIB)), types=(a_shard_type(disk_bytes=2 * GIB),)),
        ),
        (
            a_scenario(
                *models(2, an_option(extra=(("fpga", 1),))), types=(a_shard_type(extra=(("fpga", 2),)),)
            ),
            a_scenario(
                *models(3, an_option(extra=(("fpga", 1),))), types=(a_shard_type(extra=(("fpga", 2),)),)
            ),
        ),
        (
            a_scenario(*models(2, TINY), types=(a_shard_type(max_models=2),)),
            a_scenario(*models(3, TINY), types=(a_shard_type(max_models=2),)),
        ),
        (
            a_scenario(*models(2, TINY), cluster=Cluster(max_config_map_bytes=300)),
            a_scenario(*models(3, TINY), cluster=Cluster(max_config_map_bytes=300)),
        ),
        (
            a_scenario(*models(2, TINY, tenant="a"), isolate_tenants=True),
            a_scenario(a_model("x", TINY, tenant="a"), a_model("y", TINY), isolate_tenants=True),
        ),
        (a_scenario(a_model("m", TINY)), a_scenario(a_model("m", TINY, replicas=2))),
        (
            a_scenario(*models(2, EIGHT), headroom=Headroom()),
            a_scenario(*models(2, EIGHT), headroom=Headroom(device_memory_ppm=1)),
        ),
        (
            a_scenario(
                *models(2, an_option(gpu=7 * GIB)),
                backends=(Backend(name="onnxruntime", device_base_bytes=2 * GIB),),
            ),
            a_scenario(
                a_model("x", an_option(gpu=7 * GIB)),
                a_model("y", an_option(gpu=7 * GIB), backend="python"),
                backends=(
                    Backend(name="onnxruntime", device_base_bytes=2 * GIB),
                    Backend(name="python", device_base_bytes=GIB),
                ),
            ),
        ),
    ],
    ids=[
        *("memory", "startable", "time", "cpu", "host", "disk", "extra", "max-models", "config-map"),
        *("tenants", "replicas", "headroom", "base"),
    ],
)
def test_one_shard_holds_what_fits_and_a_second_the_rest(fits: Scenario, overflows: Scenario) -> None:
    assert shards(fits) == 1
    assert shards(overflows) == 2


def test_the_cheaper_type_wins_where_both_take_everything() -> None:
    types = (a_shard_type("dear", price=3), a_shard_type("cheap", price=2), a_shard_type("large", price=4))
    plan = plan_of(a_scenario(a_model(), types=types))
    assert [shard.shard_type for shard in plan.placement.shards] == ["cheap"]
    assert plan.status == "optimal"


def test_a_large_shard_wins_over_two_small_ones() -> None:
    types = (a_shard_type("small", price=2), a_shard_type("large", price=3, device_count=2))
    plan = plan_of(a_scenario(*models(4, EIGHT), types=types))
    assert [shard.shard_type for shard in plan.placement.shards] == ["large"]


def test_whole_devices_are_taken_whole() -> None:
    types = (a_shard_type(device_count=2),)
    alone = a_model("whole", an_option(gpu=GIB), devices_per_replica=2)
    assert shards(a_scenario(alone, types=types)) == 1
    assert shards(a_scenario(alone, a_model("other"), types=types)) == 2


def test_a_group_is_placed_replica_by_replica_or_not_at_all() -> None:
    pair = (a_model("x", EIGHT, together="k", replicas=2), a_model("y", EIGHT, together="k", replicas=2))
    plan = plan_of(a_scenario(*pair, a_model("z", EIGHT)))
    assert not plan.refusals
    assert len(plan.placement.shards) == 3


def test_more_copies_of_one_member_of_a_group_are_refused() -> None:
    pair = (a_model("x", together="k", replicas=2), a_model("y", together="k"))
    assert refused(a_scenario(*pair)) == (Rule.TOGETHER, True)


def test_a_pinned_model_opens_the_shard_of_that_name() -> None:
    plan = plan_of(a_scenario(a_model("x", pin="t-7"), *models(3, EIGHT)))
    assert {p.shard for p in plan.placement.placed if p.model == "x"} == {"t-7"}
    assert {shard.name for shard in plan.placement.shards} == {"t", "t-7"}


def test_a_pin_that_no_group_has_is_refused() -> None:
    assert refused(a_scenario(a_model("x", pin="elsewhere"))) == (Rule.PIN, True)


@pytest.mark.parametrize("spread", ["node", "zone"])
def test_replicas_are_spread_over_nodes_and_zones(spread: str) -> None:
    types = (a_shard_type(provision="existing", price=0),)
    apart = (a_node("a", gpus=2, zone="a"), a_node("b", gpus=2, zone="b"))
    plan = plan_of(a_scenario(a_model(replicas=2), types=types, nodes=apart, spread=spread))
    assert {shard.node for shard in plan.placement.shards} == {"a", "b"}
    alone = a_scenario(a_model(replicas=2), types=types, nodes=apart[:1], spread=spread)
    assert len(plan_of(alone).placement.placed) == 1


def test_shards_of_unknown_zone_share_one() -> None:
    types = (a_shard_type("t"), a_shard_type("u", zone="a", price=2_000_000))
    plan = plan_of(a_scenario(a_model(replicas=3), types=types, spread="zone"))
    assert len(plan.placement.placed) == 2


def test_min_count_is_opened_even_if_empty() -> None:
    plan = plan_of(a_scenario(types=(a_shard_type(min_count=2),)))
    assert len(plan.placement.shards) == 2
    assert plan.status == "optimal"


def test_a_min_count_that_nothing_allows_is_an_input_error() -> None:
    with pytest.raises(InputError, match="asks for 2 shards, but only 1 can be opened: the plan may open 1"):
        plan_of(a_scenario(types=(a_shard_type(min_count=2),), max_shards=1))


@pytest.mark.parametrize(
    ("rule", "scenario"),
    [
        (Rule.MAX_COUNT, a_scenario(*models(3, EIGHT), types=(a_shard_type(max_count=1),))),
        (Rule.MAX_SHARDS, a_scenario(*models(3, EIGHT), max_shards=1)),
        (Rule.MAX_COST, a_scenario(*models(3, EIGHT), max_usd_per_h_microusd=1_500_000)),
        (
            Rule.IPS,
            a_scenario(*models(3, EIGHT), types=(a_shard_type(replicas=2),), cluster=Cluster(max_ips=3)),
        ),
        (
            Rule.NODE_DEVICES,
            a_scenario(*models(3, EIGHT), types=(a_shard_type(provision="existing"),), nodes=(a_node(),)),
        ),
    ],
)
def test_what_is_in_short_supply_is_named_in_the_refusal(rule: Rule, scenario: Scenario) -> None:
    assert refused(scenario) == (rule, True)


@pytest.mark.parametrize(
    ("rule", "model"),
    [
        (Rule.DEVICE_MEMORY, a_model("m", an_option(gpu=17 * GIB))),
        (Rule.STARTABLE, a_model("m", an_option(gpu=GIB, peak=17 * GIB))),
        (Rule.DEVICE_TIME, a_model("m", an_option(gpu=GIB, milli=1001))),
        (Rule.CPU, a_model("m", an_option(cpu=64_001))),
        (Rule.HOST_MEMORY, a_model("m", an_option(host=513 * GIB))),
        (Rule.EXTRA, a_model("m", an_option(extra=(("fpga", 1),)))),
        (Rule.DEVICE_CLASS, a_model("m", an_option("other-gpu", gpu=GIB))),
        (Rule.EXCLUSIVE_DEVICES, a_model("m", devices_per_replica=2)),
    ],
)
def test_what_fits_nowhere_is_refused_with_proof(rule: Rule, model) -> None:
    plan = plan_of(a_scenario(model))
    assert [(item.rule, item.proven) for item in plan.refusals] == [(rule, True)]
    assert plan.status == "infeasible"


def test_a_runtime_that_does_not_serve_the_backend_is_named() -> None:
    assert refused(a_scenario(a_model(), runtimes=(Runtime(name="triton", backends=("python",)),))) == (
        Rule.RUNTIME,
        True,
    )


def test_the_higher_priority_gets_the_scarce_room() -> None:
    low, high = models(4, EIGHT, prefix="a", priority=0), models(2, EIGHT, prefix="b", priority=5)
    plan = plan_of(a_scenario(*low, *high, max_shards=2))
    placed = {item.model for item in plan.placement.placed}
    assert {model.name for model in high} <= placed
    assert len(placed) == 4


def test_foreign_memory_makes_devices_of_a_node_differ() -> None:
    devices = (
        NodeDevice(device_class="gpu-16", foreign_bytes=12 * GIB),
        NodeDevice(device_class="gpu-16"),
    )
    scenario = a_scenario(
        a_model("m", EIGHT),
        types=(a_shard_type(provision="existing"),),
        nodes=(a_node(devices=devices),),
    )
    (shard,) = plan_of(scenario).placement.shards
    assert shard.node_devices == (1,)


def test_node_limits_and_selector_are_obeyed() -> None:
    types = (a_shard_type(provision="existing", node_selector=(("pool", "gpu"),)),)
    labels = (("pool", "gpu"),)
    nodes = (
        a_node("a", gpus=4, labels=labels, cpu_milli=64_000),
        a_node("b", gpus=4, labels=labels, pods=3, pods_in_use=2),
        a_node("c", gpus=4, labels=labels, memory_bytes=512 * GIB),
        a_node("d", gpus=4),
    )
    plan = plan_of(a_scenario(*models(8, EIGHT), types=types, nodes=nodes))
    assert sorted(shard.node or "" for shard in plan.placement.shards) == ["a", "b", "c"]
    assert len(plan.placement.placed) == 6


def test_cpu_models_prefer_the_cheap_cpu_shard() -> None:
    types = (a_shard_type("gpu"), a_shard_type("cpu-shard", device_class=CPU, price=100_000))
    plan = plan_of(a_scenario(a_model("trees", an_option(cpu=100)), types=types))
    assert [shard.shard_type for shard in plan.placement.shards] == ["cpu-shard"]


def test_an_option_that_is_smaller_is_chosen() -> None:
    model = a_model("m", an_option(gpu=8 * GIB, batch=8), an_option(gpu=GIB, batch=1))
    plan = plan_of(a_scenario(model))
    assert plan.placement.placed[0].option == 1


def test_nothing_asked_is_an_optimal_empty_plan() -> None:
    plan = plan_of(a_scenario())
    assert (plan.status, plan.cost_microusd_per_h, plan.placement.shards) == ("optimal", 0, ())


def test_large_figures_do_not_overflow() -> None:
    classes = (a_gpu_class(memory=2**59),)
    plan = plan_of(a_scenario(*models(3, an_option(gpu=2**58)), classes=classes))
    assert len(plan.placement.shards) == 2
    assert not plan.refusals


def test_a_model_too_large_for_every_device_of_the_nodes_is_refused_with_proof() -> None:
    devices = (NodeDevice(device_class="gpu-16", foreign_bytes=12 * GIB),)
    types = (a_shard_type(provision="existing"),)
    scenario = a_scenario(a_model("m", EIGHT), types=types, nodes=(a_node(devices=devices),))
    (refusal,) = plan_of(scenario).refusals
    assert (refusal.rule, refusal.subject, refusal.proven) == (Rule.DEVICE_MEMORY, "t", True)
    assert (refusal.need, refusal.have) == (8 * GIB, 4 * GIB)


def test_a_type_whose_sidecars_take_all_cpu_is_never_opened() -> None:
    types = (a_shard_type("bad", price=1, overhead_cpu_milli=65_000), a_shard_type("good"))
    plan = plan_of(a_scenario(a_model("m", an_option(gpu=GIB)), types=types))
    assert [shard.shard_type for shard in plan.placement.shards] == ["good"]


def test_a_group_pinned_to_two_shards_is_refused_but_for_its_other_replicas() -> None:
    pair = (
        a_model("x", together="k", pin="t", replicas=2),
        a_model("y", together="k", pin="t-1", replicas=2),
    )
    plan = plan_of(a_scenario(*pair))
    assert [(item.model, item.replicas, item.rule) for item in plan.refusals] == [
        ("x", 1, Rule.TOGETHER),
        ("y", 1, Rule.TOGETHER),
    ]
    assert {(item.model, item.replica) for item in plan.placement.placed} == {("x", 1), ("y", 1)}
