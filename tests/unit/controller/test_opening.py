"""Which shard is opened for those that wait."""

from __future__ import annotations

import dataclasses
from typing import Any

from planner.controller.fleet import Fleet
from planner.controller.opening import Estate, cheapest_site, free_name, outside
from planner.domain.fleet import ShardType
from planner.domain.model import Model
from planner.domain.placement import Shard
from planner.domain.scenario import names
from tests.support.builders import (
    GIB,
    a_gpu_class,
    a_model,
    a_node,
    a_scenario,
    a_shard_type,
    an_option,
    models,
)

SMALL = a_shard_type("small", group="news", price=500_000)
LARGE = a_shard_type("large", group="news", price=900_000, device_class="gpu-48")
CLASSES = (a_gpu_class("gpu-48", memory=48 * GIB),)


def a_fleet(*types: ShardType, **more: Any) -> Fleet:
    scenario = a_scenario(a_model("any"), types=types, classes=CLASSES, **more)
    scenario = dataclasses.replace(scenario, models=())
    return Fleet(source="fleet", scenario=scenario, parts=names(scenario), groups=("news",), classes_of={})


def chosen(
    fleet: Fleet, *waiting: Model, closed: frozenset[str] = frozenset(), taken: tuple[Shard, ...] = ()
) -> str | None:
    estate = Estate(fleet)
    for shard in taken:
        estate.take(shard)
    site = cheapest_site(estate.sites("news", "news-9", closed=closed), fleet, "news", waiting)
    return None if site is None else site.shard.node or site.shard.shard_type


def test_for_one_model_the_cheapest_that_takes_it() -> None:
    fleet = a_fleet(LARGE, SMALL)
    assert chosen(fleet, a_model("m", an_option(gpu=GIB))) == "small"
    assert chosen(fleet, a_model("m", an_option(gpu=20 * GIB))) == "large"
    assert chosen(fleet, a_model("m", an_option(gpu=99 * GIB))) is None
    assert chosen(fleet) == "small"


def test_for_many_the_one_that_costs_least_for_each() -> None:
    assert chosen(a_fleet(SMALL, LARGE), *models(40, an_option(gpu=2 * GIB))) == "large"


def test_limits_are_kept() -> None:
    limited = dataclasses.replace(SMALL, max_count=1)
    taken = (Shard(name="news", shard_type="small"),)
    assert chosen(a_fleet(limited), a_model(), taken=taken) is None
    assert chosen(a_fleet(limited, LARGE), a_model(), taken=taken) == "large"
    estate = Estate(a_fleet(limited))
    estate.take(taken[0])
    (limit,) = estate.limits("news")
    assert (limit.need, limit.have) == (2, 1)
    estate.give_back(taken[0])
    assert list(estate.limits("news")) == []


def test_a_node_that_takes_no_pods_is_passed_over() -> None:
    here = dataclasses.replace(SMALL, provision="existing")
    fleet = a_fleet(here, nodes=(a_node("a"), a_node("b")))
    assert chosen(fleet, a_model()) == "a"
    assert chosen(fleet, a_model(), closed=frozenset({"a"})) == "b"
    taken = (Shard(name="news", shard_type="small", node="b", node_devices=(0,)),)
    assert chosen(fleet, a_model(), closed=frozenset({"a"}), taken=taken) is None


def test_another_copy_goes_to_another_failure_domain() -> None:
    zones = (dataclasses.replace(SMALL, zone="z1"), dataclasses.replace(LARGE, zone="z2"))
    fleet = a_fleet(*zones, spread="zone")
    estate = Estate(fleet)
    sites = outside(
        estate.sites("news", "news-1", closed=()), fleet, [Shard(name="news", shard_type="small")]
    )
    assert [site.shard.shard_type for site in sites] == ["large"]


def test_names_are_the_groups_own() -> None:
    assert free_name("news", ()) == "news"
    assert free_name("news", {"news", "news-1", "news-3"}) == "news-2"
