"""What if a replica were elsewhere: the answers are those of the specification."""

from __future__ import annotations

import pytest

from planner.domain.fleet import Node, NodeDevice, ShardType
from planner.domain.model import Model, Pin
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.report.trial import Trial, make_setting, try_shard, try_shard_type
from tests.support.builders import (
    CPU,
    GIB,
    GPU,
    a_model,
    a_node,
    a_scenario,
    a_shard_type,
    an_option,
)
from tests.support.plans import a_placement, a_shard, on


def rules_of(trial: Trial) -> set[Rule]:
    return {item.rule for item in trial.obstacles}


def two_shards(*more: object, **policy: object) -> Scenario:
    return a_scenario(
        a_model("a", an_option(gpu=2 * GIB), replicas=2),
        a_model("full", an_option(gpu=15 * GIB)),
        **policy,  # type: ignore[arg-type]
    )


def test_a_replica_fits_where_there_is_room_and_costs_nothing_more() -> None:
    scenario = a_scenario(a_model("a", an_option(gpu=2 * GIB)), a_model("b", an_option(gpu=2 * GIB)))
    setting = make_setting(scenario, a_placement(a_shard("t"), a_shard("t-1", "t"), on("a"), on("b", "t-1")))
    trial = try_shard(setting, "a", replica=0, shard="t-1")
    assert trial.fits
    assert trial.extra_microusd_per_h == 0


def test_a_full_shard_is_an_obstacle_with_its_numbers() -> None:
    scenario = two_shards()
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), on("a"), on("full", "t-1"))
    trial = try_shard(make_setting(scenario, placement), "a", replica=0, shard="t-1")
    (obstacle,) = trial.obstacles
    assert (obstacle.rule, obstacle.need, obstacle.have) == (Rule.DEVICE_MEMORY, 17 * GIB, 16 * GIB)


def test_the_other_replica_is_an_obstacle() -> None:
    scenario = two_shards()
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), on("a"), on("a", "t-1", replica=1))
    trial = try_shard(make_setting(scenario, placement), "a", replica=0, shard="t-1")
    assert rules_of(trial) == {Rule.SPREAD}


def test_a_model_that_is_nowhere_can_be_tried() -> None:
    scenario = two_shards()
    placement = a_placement(a_shard("t"), on("full"))
    assert rules_of(try_shard(make_setting(scenario, placement), "a", replica=0, shard="t")) == {
        Rule.DEVICE_MEMORY
    }


def test_what_was_broken_before_is_nobodys_obstacle() -> None:
    scenario = a_scenario(a_model("a"), a_model("x", an_option(gpu=20 * GIB)), a_model("y"))
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), on("x"), on("y", "t-1"), on("a", "t-1"))
    setting = make_setting(scenario, placement)
    (obstacle,) = try_shard(setting, "a", replica=0, shard="t").obstacles
    assert obstacle.need == 21 * GIB
    assert try_shard(setting, "x", replica=0, shard="t-1").obstacles[0].subject == "t-1/0"


def test_a_group_moves_as_a_whole() -> None:
    scenario = a_scenario(
        a_model("a", an_option(gpu=6 * GIB), together="pair"),
        a_model("b", an_option(gpu=6 * GIB), together="pair"),
        a_model("other", an_option(gpu=5 * GIB)),
    )
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), on("a"), on("b"), on("other", "t-1"))
    setting = make_setting(scenario, placement)
    (obstacle,) = try_shard(setting, "a", replica=0, shard="t-1").obstacles
    assert (obstacle.rule, obstacle.need) == (Rule.DEVICE_MEMORY, 17 * GIB)
    assert try_shard(setting, "other", replica=0, shard="t").obstacles[0].rule is Rule.DEVICE_MEMORY


def test_a_pin_is_an_obstacle() -> None:
    scenario = a_scenario(a_model("a", pin=Pin(shard="t")))
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), on("a"))
    assert rules_of(try_shard(make_setting(scenario, placement), "a", replica=0, shard="t-1")) == {Rule.PIN}


def test_the_best_device_of_a_shard_is_tried() -> None:
    scenario = a_scenario(
        a_model("a", an_option(gpu=4 * GIB)),
        a_model("full", an_option(gpu=15 * GIB)),
        types=(a_shard_type(device_count=2),),
    )
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), on("a"), on("full", "t-1", 0))
    assert try_shard(make_setting(scenario, placement), "a", replica=0, shard="t-1").fits


def test_more_devices_than_a_shard_has() -> None:
    scenario = a_scenario(
        a_model("a", devices_per_replica=2), types=(a_shard_type("two", device_count=2), a_shard_type("one"))
    )
    placement = a_placement(a_shard("two"), a_shard("one"), on("a", "two", 0, 1))
    setting = make_setting(scenario, placement)
    (obstacle,) = try_shard(setting, "a", replica=0, shard="one").obstacles
    assert (obstacle.rule, obstacle.need, obstacle.have) == (Rule.EXCLUSIVE_DEVICES, 2, 1)


def test_a_new_shard_costs_its_price() -> None:
    scenario = a_scenario(a_model("a"), types=(a_shard_type(price=526_000),))
    setting = make_setting(scenario, a_placement(a_shard("t"), on("a")))
    trial = try_shard_type(setting, "a", replica=0, shard_type="t")
    assert trial.fits
    assert trial.opens
    assert trial.extra_microusd_per_h == 526_000


def test_limits_of_the_whole_plan_stand_against_a_new_shard() -> None:
    scenario = a_scenario(
        a_model("a"), types=(a_shard_type(max_count=1),), max_shards=1, max_usd_per_h_microusd=1_500_000
    )
    setting = make_setting(scenario, a_placement(a_shard("t"), on("a")))
    trial = try_shard_type(setting, "a", replica=0, shard_type="t")
    assert rules_of(trial) == {Rule.MAX_COUNT, Rule.MAX_SHARDS, Rule.MAX_COST}


def test_a_class_without_a_footprint_is_an_obstacle() -> None:
    scenario = a_scenario(a_model("a"), types=(a_shard_type(), a_shard_type("c", device_class=CPU)))
    setting = make_setting(scenario, a_placement(a_shard("t"), on("a")))
    assert rules_of(try_shard_type(setting, "a", replica=0, shard_type="c")) == {Rule.DEVICE_CLASS}


def test_a_shard_on_a_node_needs_a_free_device_there() -> None:
    scenario = a_scenario(
        a_model("a", replicas=2), types=(a_shard_type(provision="existing"),), nodes=(a_node(gpus=1),)
    )
    taken = a_placement(a_shard(node="n", node_devices=(0,)), on("a"))
    (obstacle,) = try_shard_type(make_setting(scenario, taken), "a", replica=1, shard_type="t").obstacles
    assert (obstacle.rule, obstacle.need, obstacle.have) == (Rule.NODE_DEVICES, 1, 0)
    free = make_setting(scenario, a_placement())
    assert try_shard_type(free, "a", replica=0, shard_type="t").fits


def on_nodes(*wanted: Model, kind: ShardType, nodes: tuple[Node, ...], **policy: object) -> Scenario:
    return a_scenario(*wanted, types=(kind,), nodes=nodes, **policy)  # type: ignore[arg-type]


def test_where_every_device_is_taken_what_freeing_one_would_not_help_comes_first() -> None:
    kind = a_shard_type(provision="existing", max_count=1)
    scenario = on_nodes(
        a_model("a"), a_model("huge", an_option(gpu=20 * GIB)), kind=kind, nodes=(a_node(),), max_shards=1
    )
    setting = make_setting(scenario, a_placement(a_shard(node="n", node_devices=(0,)), on("a")))
    found = {item.rule: item for item in try_shard_type(setting, "huge", replica=0, shard_type="t").obstacles}
    assert set(list(found)[:-1]) == {Rule.DEVICE_MEMORY, Rule.MAX_COUNT, Rule.MAX_SHARDS}
    assert (found[Rule.DEVICE_MEMORY].need, found[Rule.DEVICE_MEMORY].have) == (20 * GIB, 16 * GIB)
    assert list(found)[-1] is Rule.NODE_DEVICES
    assert found[Rule.NODE_DEVICES].detail == "every gpu-16 is taken by an open shard, 1 in all"


@pytest.mark.parametrize(
    ("gpus", "count", "taken", "have", "detail"),
    [
        (2, 2, (0,), 1, "1 of 2 gpu-16 are taken, no node has 2 free"),
        (1, 2, (), 1, "no node has 2 gpu-16, taken or free"),
        (0, 1, (), 0, "no node has 1 gpu-16, taken or free"),
    ],
)
def test_devices_that_are_taken_and_devices_that_are_not_there_are_told_apart(
    gpus: int, count: int, taken: tuple[int, ...], have: int, detail: str
) -> None:
    kind = a_shard_type("wide", provision="existing", device_count=count)
    single = a_shard_type("single", provision="existing")
    scenario = a_scenario(a_model("a"), a_model("b"), types=(kind, single), nodes=(a_node(gpus=gpus),))
    shards = [a_shard("single", node="n", node_devices=taken), on("a", "single")] if taken else []
    setting = make_setting(scenario, a_placement(*shards))
    (obstacle,) = try_shard_type(setting, "b", replica=0, shard_type="wide").obstacles
    assert (obstacle.rule, obstacle.need, obstacle.have) == (Rule.NODE_DEVICES, count, have)
    assert obstacle.detail == detail


def test_the_roomiest_free_device_of_a_node_is_tried() -> None:
    small, large = NodeDevice(device_class=GPU, foreign_bytes=8 * GIB), NodeDevice(device_class=GPU)
    scenario = on_nodes(
        a_model("a", an_option(gpu=12 * GIB)),
        kind=a_shard_type(provision="existing"),
        nodes=(a_node(devices=(small, large)),),
    )
    assert try_shard_type(make_setting(scenario, a_placement()), "a", replica=0, shard_type="t").fits


def test_the_node_that_suits_best_is_tried() -> None:
    small = a_node("small", cpu_milli=1_000)
    scenario = a_scenario(
        a_model("a"), types=(a_shard_type(provision="existing"),), nodes=(small, a_node("large"))
    )
    assert try_shard_type(make_setting(scenario, a_placement()), "a", replica=0, shard_type="t").fits
