"""Where single models go, what makes room again, and why one fits nowhere."""

from __future__ import annotations

import pytest

from planner.domain.fleet import Backend, NodeDevice
from planner.domain.model import Model, Pin
from planner.domain.placement import Placed, Placement
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.online.placer import Placer, place_all
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option, models
from tests.support.plans import a_placement, a_shard, on


def _place(scenario: Scenario, placement: Placement, model: Model) -> tuple[Placed, ...]:
    placer = Placer(scenario, placement)
    outcome = placer.place(model)
    assert not verify_placement(placer.scenario, placer.placement())
    return outcome.placed


def test_a_model_goes_where_least_is_broken_off() -> None:
    full = models(3, an_option(gpu=4 * GIB), prefix="full")
    scenario = a_scenario(*full, a_model("new", an_option(gpu=4 * GIB)), types=(a_shard_type(),))
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), *(on(item.name, "t-1") for item in full))
    assert _place(scenario, placement, scenario.models[-1]) == (on("new", "t-1"),)


def test_a_backend_that_is_there_is_shared() -> None:
    mine = Backend(name="pytorch", device_base_bytes=3 * GIB)
    theirs = Backend(name="onnxruntime", device_base_bytes=0)
    scenario = a_scenario(
        a_model("a", an_option(gpu=8 * GIB)),
        a_model("b", an_option(gpu=8 * GIB), backend="pytorch"),
        a_model("new", an_option(gpu=5 * GIB), backend="pytorch"),
        backends=(mine, theirs),
    )
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"), on("a"), on("b", "t-1"))
    assert _place(scenario, placement, scenario.models[-1]) == (on("new", "t-1"),)


def test_several_whole_devices_are_devices_that_nobody_is_on() -> None:
    wide = a_shard_type(device_count=4)
    scenario = a_scenario(
        a_model("small"), a_model("wide", an_option(gpu=10 * GIB), devices_per_replica=3), types=(wide,)
    )
    found = _place(scenario, a_placement(a_shard(), on("small", "t", 1)), scenario.models[-1])
    assert found == (on("wide", "t", 0, 2, 3),)


def test_replicas_keep_apart_and_pins_are_obeyed() -> None:
    scenario = a_scenario(
        a_model("twice", replicas=2, pin=Pin(shard="t-1", device=1)),
        types=(a_shard_type(device_count=2),),
    )
    placement = a_placement(a_shard("t"), a_shard("t-1", "t"))
    assert _place(scenario, placement, scenario.models[0]) == (
        on("twice", "t-1", 1),
        on("twice", "t", replica=1),
    )


def test_a_group_is_placed_on_one_shard_or_not_at_all() -> None:
    pair = [a_model(name, an_option(gpu=9 * GIB), together="pair") for name in ("a", "b")]
    half = a_model("half", an_option(gpu=9 * GIB))
    narrow, wide = a_shard_type("narrow"), a_shard_type("wide", device_count=2)
    scenario = a_scenario(*pair, half, types=(narrow, wide))
    there = a_placement(a_shard("narrow"), a_shard("wide"))
    assert {item.shard for item in _place(scenario, there, pair[0])} == {"wide"}
    refused = Placer(scenario, a_placement(a_shard("wide"), on("half", "wide"))).place(pair[0])
    assert not refused.placed
    assert [(item.model, item.rule) for item in refused.refused] == [
        ("a", Rule.TOGETHER),
        ("b", Rule.TOGETHER),
    ]


def test_room_for_loading_is_kept_and_comes_back() -> None:
    peaky = a_model("peaky", an_option(gpu=2 * GIB, peak=9 * GIB))
    new = a_model("new", an_option(gpu=8 * GIB))
    placer = Placer(a_scenario(peaky, new), a_placement(a_shard(), on("peaky")))
    (refusal,) = placer.place(new).refused
    assert (refusal.rule, refusal.need, refusal.have) == (Rule.STARTABLE, 8 * GIB, 7 * GIB)
    assert placer.remove("peaky") == (on("peaky"),)
    assert placer.place(new).placed == (on("new"),)


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (a_model("new", an_option(gpu=17 * GIB)), Rule.DEVICE_MEMORY),
        (a_model("new", an_option(gpu=GIB, peak=17 * GIB)), Rule.STARTABLE),
        (a_model("new", an_option(gpu=GIB, milli=1001)), Rule.DEVICE_TIME),
        (a_model("new", an_option(gpu=GIB, cpu=65_000)), Rule.CPU),
        (a_model("new", an_option(gpu=GIB, host=600 * GIB)), Rule.HOST_MEMORY),
        (a_model("new", an_option("other", gpu=GIB)), Rule.DEVICE_CLASS),
        (a_model("new", devices_per_replica=2), Rule.EXCLUSIVE_DEVICES),
        (a_model("new", pin="t-7"), Rule.PIN),
        (a_model("new", an_option(gpu=GIB, disk=9 * GIB)), Rule.DISK),
        (a_model("new", an_option(gpu=GIB), tenant="b"), Rule.TENANTS),
    ],
    ids=lambda item: item.value if isinstance(item, Rule) else "",
)
def test_a_refusal_names_the_rule_that_stands_against_it(model: Model, rule: Rule) -> None:
    scenario = a_scenario(
        a_model("there", tenant="b" if rule is not Rule.TENANTS else "a"),
        types=(a_shard_type(disk_bytes=8 * GIB),),
        isolate_tenants=rule is Rule.TENANTS,
    )
    outcome = Placer(scenario, a_placement(a_shard(), on("there"))).place(model)
    assert not outcome.placed
    assert [item.rule for item in outcome.refused] == [rule]
    assert sum(item.shards for item in outcome.obstacles) == 1


def test_the_nearest_miss_is_told_with_how_many_shards_each_rule_forbids() -> None:
    scenario = a_scenario(
        a_model("large", an_option(gpu=12 * GIB)),
        a_model("small", an_option(gpu=8 * GIB)),
        a_model("new", an_option(gpu=9 * GIB)),
        types=(a_shard_type(), a_shard_type("cpus", device_class="cpu")),
    )
    placement = a_placement(
        a_shard("t"), a_shard("t-1", "t"), a_shard("cpus"), on("large", "t"), on("small", "t-1")
    )
    outcome = Placer(scenario, placement).place(scenario.models[1])
    (refusal,) = outcome.refused
    assert (refusal.subject, refusal.need, refusal.have) == ("t-1/0", 9 * GIB, 8 * GIB)
    assert [(item.rule, item.shards) for item in outcome.obstacles] == [
        (Rule.DEVICE_MEMORY, 2),
        (Rule.DEVICE_CLASS, 1),
    ]


def test_devices_of_a_node_have_what_other_processes_leave() -> None:
    node = a_node(
        devices=(NodeDevice(device_class="gpu-16", foreign_bytes=10 * GIB), NodeDevice(device_class="gpu-16"))
    )
    scenario = a_scenario(
        a_model("new", an_option(gpu=8 * GIB)),
        types=(a_shard_type(provision="existing", device_count=2),),
        nodes=(node,),
    )
    placement = a_placement(a_shard("t", node="n", node_devices=(0, 1)))
    assert _place(scenario, placement, scenario.models[0]) == (on("new", "t", 1),)


def test_the_most_important_are_placed_first() -> None:
    first = a_model("z-first", an_option(gpu=9 * GIB), priority=5)
    scenario = a_scenario(a_model("a", an_option(gpu=9 * GIB)), first)
    outcome = place_all(Placer(scenario, a_placement(a_shard())), scenario.models)
    assert outcome.placed == (on("z-first"),)
    assert outcome.obstructed == "a"


def test_what_cannot_be_meant_is_an_error() -> None:
    scenario = a_scenario(a_model("there"), a_model("pair", together="pair"))
    placer = Placer(scenario, a_placement(a_shard(), on("there"), on("pair")))
    with pytest.raises(ValueError, match="another model 'there' is placed"):
        placer.place(a_model("there", an_option(gpu=2 * GIB)))
    with pytest.raises(ValueError, match="no backend 'unheard-of'"):
        placer.place(a_model("new", backend="unheard-of"))
    with pytest.raises(ValueError, match="group 'pair' is placed already"):
        placer.place(a_model("new", together="pair"))
    with pytest.raises(KeyError):
        placer.remove("nobody")
