"""Relaxations: each kind of lever, the least amount of it, several together, and what is beyond them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from planner.domain.fleet import Cluster
from planner.domain.policy import Headroom
from planner.domain.scenario import Scenario
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.progress import Progress
from planner.solve.relax.search import Relaxations, Relaxed, relax
from tests.support.builders import (
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

WHOLE, HALF = an_option(gpu=16 * GIB), an_option(gpu=8 * GIB)
QUICK = SolveOptions(work=10)
Told = dict[tuple[tuple[str, Any, Any], ...], Relaxed]


def told(found: Relaxations) -> Told:
    """Return relaxations by (field, before, after) of their changes."""
    return {tuple((c.field, c.before, c.after) for c in item.changes): item for item in found.found}


ON_NODES = (a_shard_type(provision="existing"),)
ONE_LEVER: list[Any] = [
    ("shardTypes[t].maxCount", 2, 5, a_scenario(*models(5, WHOLE), types=(a_shard_type(max_count=2),))),
    ("policy.limits.maxShards", 2, 5, a_scenario(*models(5, WHOLE), max_shards=2)),
    (
        "cluster.maxIPs",
        5,
        9,
        a_scenario(*models(3, WHOLE), types=(a_shard_type(replicas=3),), cluster=Cluster(max_ips=5)),
    ),
    (
        "policy.limits.maxCostPerHour",
        1_500_000,
        3_000_000,
        a_scenario(*models(5, HALF), max_usd_per_h_microusd=1_500_000),
    ),
    (
        "shardTypes[t].maxModels",
        3,
        9,
        a_scenario(*models(9), types=(a_shard_type(max_models=3),), max_shards=1),
    ),
    (
        "cluster.maxConfigMapBytes",
        1024,
        2048,
        a_scenario(*models(16), cluster=Cluster(max_config_map_bytes=1024), max_shards=1),
    ),
    ("nodes[n].count", 1, 3, a_scenario(*models(5, WHOLE), types=ON_NODES, nodes=(a_node(gpus=2),))),
    (
        "cluster.maxPodsPerNode",
        1,
        3,
        a_scenario(
            *models(3, WHOLE), types=ON_NODES, nodes=(a_node(gpus=4),), cluster=Cluster(max_pods_per_node=1)
        ),
    ),
    (
        "nodes[].allocatable.pods",
        1,
        3,
        a_scenario(*models(3, WHOLE), types=ON_NODES, nodes=(a_node(gpus=4, pods=1),)),
    ),
    (
        "policy.headroom.gpuMemory",
        30_000,
        1_000,
        a_scenario(
            *models(2, an_option(gpu=8 * GIB - 10 * MIB)),
            max_shards=1,
            headroom=Headroom(device_memory_ppm=30_000),
        ),
    ),
    (
        "policy.headroom.gpuTime",
        250_500,
        200_000,
        a_scenario(
            *models(2, an_option(milli=400)), max_shards=1, headroom=Headroom(device_time_ppm=250_500)
        ),
    ),
    (
        "policy.headroom.cpu",
        50_000,
        0,
        a_scenario(a_model("m", an_option(cpu=64_000)), headroom=Headroom(cpu_ppm=50_000)),
    ),
    (
        "policy.headroom.memory",
        50_000,
        7_000,
        a_scenario(a_model("m", an_option(host=508 * GIB)), headroom=Headroom(memory_ppm=50_000)),
    ),
    (
        "policy.spread",
        "zone",
        "node",
        a_scenario(
            a_model("m", HALF, replicas=3),
            types=(a_shard_type(zone="a"), a_shard_type("u", zone="b")),
            spread="zone",
        ),
    ),
    (
        "policy.spread",
        "zone",
        "shard",
        a_scenario(a_model("m", HALF, replicas=2), types=ON_NODES, nodes=(a_node(gpus=2),), spread="zone"),
    ),
    (
        "policy.tenants",
        "isolated",
        "shared",
        a_scenario(
            a_model("a", HALF, tenant="x"), a_model("b", HALF, tenant="y"), max_shards=1, isolate_tenants=True
        ),
    ),
    (
        "models[b].pin",
        "as asked",
        "none",
        a_scenario(a_model("a", WHOLE, pin="t"), a_model("b", WHOLE, pin="t")),
    ),
    ("together[pair]", "as asked", "none", a_scenario(*models(2, an_option(gpu=9 * GIB), together="pair"))),
]


@pytest.mark.parametrize(("field", "before", "after", "scenario"), ONE_LEVER, ids=lambda item: str(item)[:32])
def test_the_least_of_one_lever_is_found_and_proven(
    field: str, before: object, after: object, scenario: Scenario
) -> None:
    found = relax(scenario, make_plan(scenario, QUICK), QUICK)
    item = told(found)[((field, before, after),)]
    assert (item.placed, item.refused, item.proven) == (found.wanted, 0, True)
    assert found.complete
    assert found.possible == found.wanted > found.placed
    assert found.beyond == ()


def test_more_shards_than_replicas_are_refused_may_be_the_cheapest_change() -> None:
    cheap = a_shard_type("a", max_count=1, max_models=1, price=100_000)
    large = a_shard_type("b", max_count=1, device_class="gpu-48")
    scenario = a_scenario(
        *models(3, an_option(gpu=15 * GIB)),
        a_model("only-b", an_option("gpu-48", gpu=46 * GIB)),
        types=(cheap, large),
        classes=(a_gpu_class("gpu-48", memory=48 * GIB),),
    )
    found = relax(scenario, make_plan(scenario, QUICK), QUICK)
    assert found.complete
    best, other = found.found
    assert told(found)[(("shardTypes[a].maxCount", 1, 3),)] is best
    assert (best.placed, best.more_microusd_per_h, best.proven) == (4, 300_000, True)
    assert told(found)[(("shardTypes[b].maxCount", 1, 2),)] is other


def test_the_best_is_the_cheapest_that_places_most() -> None:
    scenario = a_scenario(
        a_model("a", HALF, tenant="x"), a_model("b", HALF, tenant="y"), max_shards=1, isolate_tenants=True
    )
    found = relax(scenario, None, QUICK)
    assert [item.more_microusd_per_h for item in found.found] == [0, 1_000_000]
    assert [item.changes[0].field for item in found.found] == ["policy.tenants", "policy.limits.maxShards"]


def test_what_binds_together_is_relaxed_together_each_as_little_as_possible() -> None:
    scenario = a_scenario(*models(5, WHOLE), max_shards=2, cluster=Cluster(max_ips=3))
    found = relax(scenario, None, QUICK)
    both = (("policy.limits.maxShards", 2, 5), ("cluster.maxIPs", 3, 5))
    assert next(iter(told(found))) == both
    assert told(found)[both].proven
    alone = told(found)[(("policy.limits.maxShards", 2, 3),)]
    assert (alone.placed, alone.refused, alone.more_microusd_per_h) == (3, 2, 1_000_000)


def test_three_limits_that_bind_are_found_without_trying_all_triples() -> None:
    types = (a_shard_type(max_count=2), a_shard_type("u", max_count=2, price=2_000_000))
    scenario = a_scenario(*models(8, WHOLE), types=types, max_shards=4, cluster=Cluster(max_ips=4))
    found = relax(scenario, None, QUICK)
    assert found.found[0].refused == 0
    assert {change.after for change in found.found[0].changes} == {6, 8}
    assert len(found.found[0].changes) == 3


def test_either_of_two_pairs_is_offered() -> None:
    types = (a_shard_type(max_count=1), a_shard_type("u", max_count=1))
    found = relax(a_scenario(*models(4, WHOLE), types=types, max_shards=2), None, QUICK)
    assert [{change.field for change in item.changes} for item in found.found] == [
        {"policy.limits.maxShards", "shardTypes[t].maxCount"},
        {"policy.limits.maxShards", "shardTypes[u].maxCount"},
    ]


def test_what_fits_nowhere_is_beyond_and_the_rest_is_the_goal() -> None:
    scenario = a_scenario(*models(3, WHOLE), a_model("huge", an_option(gpu=17 * GIB)), max_shards=1)
    found = relax(scenario, None, QUICK)
    assert [refusal.model for refusal in found.beyond] == ["huge"]
    assert (found.wanted, found.possible) == (4, 3)
    (best,) = found.found
    assert (best.placed, best.refused, best.proven) == (3, 1, True)


def test_nodes_without_a_price_are_counted_and_come_after_what_costs_nothing() -> None:
    free = (a_shard_type(provision="existing", price=0),)
    scenario = a_scenario(
        *models(3, an_option(gpu=8 * GIB)),
        types=free,
        nodes=(a_node(),),
        headroom=Headroom(device_memory_ppm=1),
    )
    found = relax(scenario, None, QUICK)
    best = next(iter(told(found).values()))
    assert (best.unpriced_machines, best.more_microusd_per_h, best.placed) == (2, 0, 3)


def test_a_scenario_that_asks_for_more_than_it_allows_is_relaxed() -> None:
    scenario = a_scenario(*models(2, HALF), types=(a_shard_type(min_count=4),), max_shards=2)
    assert set(told(relax(scenario, None, QUICK))) == {
        (("shardTypes[t].minCount", 4, 2),),
        (("policy.limits.maxShards", 2, 4),),
    }


def test_a_plan_that_refuses_without_need_needs_no_change() -> None:
    scenario = a_scenario(*models(2, HALF))
    ticks = itertools.count()
    stopped = make_plan(scenario, SolveOptions(time_limit_ms=1), clock=lambda: float(next(ticks)))
    assert stopped.refusals
    (again,) = relax(scenario, stopped, QUICK).found
    assert (again.changes, again.placed, again.refused) == ((), 2, 0)


def test_where_all_is_placed_nothing_is_tried() -> None:
    scenario = a_scenario(*models(2, HALF))
    found = relax(scenario, make_plan(scenario, QUICK), QUICK)
    assert (found.found, found.trials, found.complete, found.possible) == ((), 0, True, 2)


@pytest.mark.parametrize("limit_ms", [1, 200, 2_000, 20_000])
def test_when_the_time_is_up_what_was_found_is_returned(limit_ms: int) -> None:
    ticks = itertools.count()
    scenario = a_scenario(*models(5, WHOLE), max_shards=2, cluster=Cluster(max_ips=3))
    base = make_plan(scenario, QUICK)
    options = SolveOptions(work=10, time_limit_ms=limit_ms)
    found = relax(scenario, base, options, clock=lambda: next(ticks) / 100)
    assert found.placed == 2
    assert found.complete == (limit_ms == 20_000)
    for item in found.found:
        assert item.placed > 2


def test_equal_budgets_give_equal_answers_and_trials_are_told() -> None:
    scenario, said = a_scenario(*models(5, HALF), max_shards=2), list[Progress]()
    first, second = (relax(scenario, None, QUICK, progress=said.append) for _ in range(2))
    assert first == second
    assert said[0].phase == "trial 1: as it is"
    assert any("policy.limits.maxShards" in item.phase for item in said)
