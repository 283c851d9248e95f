"""CP-SAT on the whole assignment: one tiny scenario a rule, in which the rule binds."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from planner.domain.fleet import Backend, Cluster, NodeDevice
from planner.domain.model import Pin
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.construct import construct
from planner.solve.exact import assign as engine
from planner.solve.exact.assign import Assigned, assign
from planner.solve.guide import make_advice
from planner.solve.options import Effort, SolveOptions
from planner.solve.packing import Packing
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option, models
from tests.support.fleets import a_fleet

EFFORT = Effort(deterministic_time=5, workers=1, seed=0)
EIGHT = an_option(gpu=8 * GIB)


def constructed(scenario: Scenario) -> Packing:
    problem = make_problem(scenario)
    return construct(problem, make_advice(problem), seed=0, watch=Watch(time.monotonic))[0]


def assigned(scenario: Scenario, known: Packing | None = None) -> Assigned:
    found = assign(known or constructed(scenario), effort=EFFORT)
    assert found is not None
    assert verify_placement(scenario, placement_of(found.packing)) == ()
    return found


def shards(scenario: Scenario) -> int:
    """Proved number of shards of a scenario whose types cost one dollar, searched from an empty packing."""
    found = assigned(scenario, Packing(make_problem(scenario)))
    assert found.most_placed
    assert found.bound_microusd_per_h == found.packing.cost
    return found.packing.cost // 1_000_000


@pytest.mark.parametrize(
    ("scenario", "least"),
    [
        (a_scenario(*models(4, EIGHT)), 2),
        (a_scenario(*models(4, an_option(gpu=7 * GIB, peak=9 * GIB))), 2),
        (a_scenario(*models(4, an_option(gpu=7 * GIB, peak=10 * GIB))), 4),
        (
            a_scenario(
                *models(4, an_option(gpu=5 * GIB, peak=6 * GIB)), types=(a_shard_type(parallel_loads=2),)
            ),
            2,
        ),
        (
            a_scenario(
                *models(4, an_option(gpu=3 * GIB, peak=5 * GIB)), types=(a_shard_type(parallel_loads=2),)
            ),
            1,
        ),
        (a_scenario(*models(4, an_option(milli=501))), 4),
        (a_scenario(*models(2, an_option(cpu=32_001))), 2),
        (a_scenario(*models(2, an_option(host=257 * GIB))), 2),
        (a_scenario(*models(3, EIGHT), types=(a_shard_type(device_count=2),)), 1),
        (
            a_scenario(
                a_model("whole", an_option(gpu=GIB), devices_per_replica=2),
                a_model("other"),
                types=(a_shard_type(device_count=2),),
            ),
            2,
        ),
        (a_scenario(a_model("m", replicas=3)), 3),
        (a_scenario(a_model("x", tenant="a"), a_model("y"), isolate_tenants=True), 2),
        (a_scenario(*models(3), types=(a_shard_type(max_models=2),)), 2),
        (a_scenario(*models(3), cluster=Cluster(max_config_map_bytes=300)), 2),
        (a_scenario(a_model("x", pin="t"), a_model("y", pin="t-7")), 2),
        (a_scenario(a_model("x", pin=Pin(shard="t", device=1)), types=(a_shard_type(device_count=2),)), 1),
        (
            a_scenario(a_model("x", EIGHT, together="k"), a_model("y", an_option(gpu=9 * GIB), together="k")),
            0,
        ),
        (
            a_scenario(
                *models(2, an_option(gpu=7 * GIB)),
                backends=(Backend(name="onnxruntime", device_base_bytes=3 * GIB),),
            ),
            2,
        ),
        (a_scenario(*models(3, EIGHT), types=(a_shard_type(min_count=3),)), 3),
        (a_scenario(*models(5, EIGHT), max_shards=2), 2),
        (a_scenario(*models(5, EIGHT), max_usd_per_h_microusd=2_500_000), 2),
        (a_scenario(*models(5, EIGHT), types=(a_shard_type(replicas=2),), cluster=Cluster(max_ips=3)), 1),
    ],
    ids=[
        *("memory", "startable", "not-startable", "two-loads", "two-large-loads", "time", "cpu", "host"),
        *("devices", "exclusive", "replicas", "tenants", "max-models", "config-map", "pins", "pinned-device"),
        *("together", "base", "min-count", "max-shards", "max-cost", "ips"),
    ],
)
def test_the_least_number_of_shards_is_proved_under_each_rule(scenario: Scenario, least: int) -> None:
    assert shards(scenario) == least


def test_a_shard_on_a_node_takes_the_device_that_has_room() -> None:
    devices = (NodeDevice(device_class="gpu-16", foreign_bytes=12 * GIB), NodeDevice(device_class="gpu-16"))
    types = (a_shard_type(provision="existing"),)
    scenario = a_scenario(*models(2, EIGHT), types=types, nodes=(a_node(devices=devices),))
    found = assigned(scenario, Packing(make_problem(scenario)))
    assert [shard.node_devices for shard in placement_of(found.packing).shards] == [(1,)]
    assert found.most_placed


def test_limits_of_a_node_bind() -> None:
    types = (a_shard_type(provision="existing"),)
    nodes = (a_node("a", gpus=4, pods=1), a_node("b", gpus=4, cpu_milli=128_000), a_node("c", gpus=0))
    scenario = a_scenario(*models(9, EIGHT), types=types, nodes=nodes)
    found = assigned(scenario, Packing(make_problem(scenario)))
    assert sorted(str(shard.node) for shard in placement_of(found.packing).shards) == ["a", "b", "b"]


def test_the_higher_priority_is_placed_first_even_if_fewer_fit() -> None:
    low = models(2, EIGHT, prefix="a")
    high = a_model("b", an_option(gpu=12 * GIB), priority=1)
    scenario = a_scenario(*low, high, max_shards=1)
    found = assigned(scenario, Packing(make_problem(scenario)))
    assert [item.model for item in placement_of(found.packing).placed] == ["b"]


def test_what_is_too_large_a_question_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_SEATS", 3)
    assert assign(constructed(a_scenario(*models(4, EIGHT))), effort=EFFORT) is None


def test_what_it_takes_to_ask_counts_as_time() -> None:
    scenario = a_scenario(*models(4, EIGHT))
    assert assign(constructed(scenario), effort=replace(EFFORT, limit_s=1e-9)) is None
    assert assign(constructed(scenario), effort=replace(EFFORT, limit_s=60.0)) is not None


def test_shards_of_many_devices_are_too_large_a_question() -> None:
    scenario = a_scenario(*models(30, EIGHT), types=(a_shard_type(device_count=64, max_models=1),))
    assert assign(constructed(scenario), effort=EFFORT) is None


def test_a_small_fleet_is_cheaper_than_what_filling_finds_and_optimal() -> None:
    scenario = a_fleet(20)
    plan = make_plan(scenario)
    assert plan.status == "optimal"
    assert plan.cost_microusd_per_h < constructed(scenario).cost


def test_refusals_are_proven_where_no_plan_places_more() -> None:
    plan = make_plan(a_scenario(*models(5, EIGHT), max_shards=2), SolveOptions(work=10))
    assert [item.proven for item in plan.refusals] == [True]
    assert plan.status == "optimal"


def test_free_shards_on_nodes_are_not_lost_to_one_that_costs_money() -> None:
    plain = {"cpu_milli": 8000, "memory_bytes": 16 * GIB}
    scenario = a_scenario(
        a_model("m-0", an_option(gpu=GIB, peak=2 * GIB), replicas=2),
        a_model("m-1", an_option(gpu=12 * GIB, peak=15 * GIB)),
        types=(
            a_shard_type("small", price=500_000, **plain),
            a_shard_type("own", provision="existing", price=0, device_count=2, **plain),
        ),
        nodes=(a_node("a", gpus=2, cpu_milli=8000), a_node("b", gpus=3, cpu_milli=8000)),
        backends=(Backend(name="onnxruntime", device_base_bytes=2 * GIB),),
    )
    found = assigned(scenario)
    assert (found.most_placed, found.packing.cost, found.bound_microusd_per_h) == (True, 0, 0)
