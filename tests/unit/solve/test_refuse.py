"""Refusals name the rule that stands against a model, and the numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from planner.domain.fleet import NodeDevice
from planner.domain.model import Pin
from planner.domain.plan import Plan, Refusal
from planner.domain.rules import Rule
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from tests.support.builders import GIB, GPU, a_model, a_node, a_scenario, a_shard_type, an_option, models

WHOLE = an_option(gpu=16 * GIB)


def the_refusal(*fleet: Any, **scenario: Any) -> Refusal:
    (refusal,) = make_plan(a_scenario(*fleet, **scenario)).refusals
    return refusal


def told(refusal: Refusal) -> tuple[Rule, str, int | None, int | None, bool]:
    return (refusal.rule, refusal.subject, refusal.need, refusal.have, refusal.proven)


def test_what_fits_nowhere_is_proven_with_the_type_that_misses_least() -> None:
    types = (a_shard_type("small", device_memory_bytes=8 * GIB), a_shard_type("large"))
    refusal = the_refusal(a_model("m", an_option(gpu=17 * GIB)), types=types)
    assert told(refusal) == (Rule.DEVICE_MEMORY, "large", 17 * GIB, 16 * GIB, True)


def test_what_fits_on_no_device_of_the_nodes_is_proven() -> None:
    refusal = the_refusal(
        a_model("m", an_option(gpu=17 * GIB)), types=(a_shard_type(provision="existing"),), nodes=(a_node(),)
    )
    assert told(refusal) == (Rule.DEVICE_MEMORY, "t", 17 * GIB, 16 * GIB, True)


@pytest.mark.parametrize(
    ("node", "rule", "need", "have"),
    [
        ({"gpus": 1}, Rule.NODE_DEVICES, 1, 0),
        ({"gpus": 2, "cpu_milli": 100_000}, Rule.NODE_CPU, 64_000, 36_000),
        ({"gpus": 2, "memory_bytes": 600 * GIB}, Rule.NODE_MEMORY, 512 * GIB, 88 * GIB),
        ({"gpus": 2, "pods": 1}, Rule.NODE_PODS, 1, 0),
    ],
)
def test_a_full_node_says_what_it_lacks(node: dict[str, Any], rule: Rule, need: int, have: int) -> None:
    refusal = the_refusal(
        *models(2, WHOLE), types=(a_shard_type(provision="existing"),), nodes=(a_node(**node),)
    )
    assert told(refusal) == (rule, "t", need, have, True)


def test_of_types_that_ran_out_the_one_with_most_shards_is_told() -> None:
    types = (a_shard_type("few", price=1, max_count=1), a_shard_type("many", price=2, max_count=3))
    refusal = the_refusal(*models(5, WHOLE), types=types)
    assert told(refusal) == (Rule.MAX_COUNT, "many", 4, 3, True)


def test_a_type_that_no_node_is_meant_for_says_so() -> None:
    types = (a_shard_type(provision="existing", node_selector=(("disk", "ssd"),)),)
    refusal = the_refusal(a_model(), types=types, nodes=(a_node(),))
    assert told(refusal) == (Rule.NODE_SELECTOR, "t", None, None, True)


def test_a_type_with_more_devices_than_any_node_says_so() -> None:
    types = (a_shard_type(provision="existing", device_count=2),)
    refusal = the_refusal(a_model(), types=types, nodes=(a_node(gpus=1),))
    assert told(refusal) == (Rule.NODE_DEVICES, "t", 2, 1, True)


def test_a_group_that_fits_only_apart_says_so() -> None:
    pair = models(2, an_option(gpu=9 * GIB), together="ensemble")
    plan = make_plan(a_scenario(*pair))
    assert {(refusal.rule, refusal.subject) for refusal in plan.refusals} == {(Rule.TOGETHER, "ensemble")}


def test_a_free_device_with_less_room_than_others_of_its_type_says_so() -> None:
    roomy, shared = NodeDevice(device_class=GPU), NodeDevice(device_class=GPU, foreign_bytes=12 * GIB)
    refusal = the_refusal(
        *models(2, an_option(gpu=10 * GIB)),
        types=(a_shard_type(provision="existing"),),
        nodes=(a_node(devices=(roomy, shared)),),
    )
    assert told(refusal)[:4] == (Rule.STARTABLE, "t", 10 * GIB, 4 * GIB)


def stopped_after(ticks: int, *fleet: Any, **scenario: Any) -> Plan:
    """Return the plan of a search whose time ends after the clock was read so often."""
    count = itertools.count()
    return make_plan(
        a_scenario(*fleet, **scenario),
        SolveOptions(time_limit_ms=1_000_000),
        clock=lambda: 0.0 if next(count) < ticks else 10_000.0,
    )


def test_what_the_clock_left_untried_names_no_rule_that_does_not_bind() -> None:
    plan = stopped_after(3, *models(4, WHOLE, replicas=2))
    assert plan.stopped_by_clock
    assert {told(refusal) for refusal in plan.refusals} == {(Rule.ACCOUNTED, "time limit", None, None, False)}


def test_a_type_that_ran_out_is_not_told_while_the_clock_left_another_untried() -> None:
    types = (a_shard_type("none", price=1, max_count=0), a_shard_type("many", price=2))
    plan = stopped_after(3, *models(2, WHOLE), types=types)
    assert {refusal.rule for refusal in plan.refusals} == {Rule.ACCOUNTED}


def test_what_is_impossible_or_out_of_supply_is_so_after_the_clock_too() -> None:
    huge = a_model("huge", an_option(gpu=17 * GIB))
    none = a_shard_type(max_count=0)
    plan = stopped_after(3, *models(2, WHOLE), huge, types=(none,))
    assert {(refusal.rule, refusal.proven) for refusal in plan.refusals} == {
        (Rule.MAX_COUNT, False),
        (Rule.DEVICE_MEMORY, True),
    }


def test_a_pinned_model_that_the_clock_left_untried_is_not_said_to_fit_badly() -> None:
    plan = stopped_after(3, a_model("m", pin=Pin(shard="t")))
    assert {refusal.rule for refusal in plan.refusals} == {Rule.ACCOUNTED}


def test_without_shard_types_everything_is_refused() -> None:
    refusal = the_refusal(a_model(), types=())
    assert (refusal.rule, refusal.proven) == (Rule.DEVICE_CLASS, True)
