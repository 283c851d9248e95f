"""Explanations of a plan, a model, a shard and a device, as data and in words."""

from __future__ import annotations

import pytest

from planner.domain.footprint import Amount
from planner.domain.plan import Bound, Plan, Refusal
from planner.domain.policy import Headroom
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.report.explain import (
    explain,
    explain_device,
    explain_model,
    explain_plan,
    explain_shard,
    find_subject,
)
from planner.report.prose import explanation_text
from tests.support.builders import (
    CPU,
    GIB,
    MIB,
    a_gpu_class,
    a_model,
    a_scenario,
    a_shard_type,
    an_option,
    models,
)
from tests.support.plans import a_plan, a_shard, on


def a_small_plan() -> tuple[Scenario, Plan]:
    """Two GPU shards: t is nearly full, t-1 is half empty; one model is refused."""
    scenario = a_scenario(
        a_model("big", an_option(gpu=Amount(p50=8 * GIB, p95=12 * GIB))),
        a_model("huge", an_option(gpu=20 * GIB)),
        a_model("small", an_option(gpu=2 * GIB, peak=3 * GIB), replicas=2),
        types=(a_shard_type(price=526_000, max_count=2), a_shard_type("c", device_class=CPU, price=100_000)),
        classes=(a_gpu_class(reserved_bytes=256 * MIB),),
        headroom=Headroom(device_memory_ppm=30_000),
    )
    refusal = Refusal(
        model="huge",
        replicas=1,
        rule=Rule.DEVICE_MEMORY,
        subject="gpu-16",
        need=20 * GIB,
        have=15 * GIB,
        proven=True,
    )
    plan = a_plan(
        scenario,
        a_shard("t"),
        a_shard("t-1", "t"),
        on("big"),
        on("small"),
        on("small", "t-1", replica=1),
        refusals=(refusal,),
        bound=Bound(microusd_per_h=1_000_000, method="fluid-lp"),
    )
    return scenario, plan


# ------------------------------------------------------------------------------------------- subjects


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, ("plan", "test")),
        ("small", ("model", "small")),
        ("t-1", ("shard", "t-1")),
        ("t/0", ("device", "t/0")),
        ("shard/t", ("shard", "t")),
        ("device/t-1/0", ("device", "t-1/0")),
        ("small#0", ("model", "small")),
    ],
)
def test_a_subject_is_found_by_its_name(text: str | None, found: tuple[str, str]) -> None:
    assert find_subject(*a_small_plan(), text) == found


@pytest.mark.parametrize("text", ["nobody", "t/1", "model/t", "shard/small", ""])
def test_an_unknown_subject_is_bad_input(text: str) -> None:
    with pytest.raises(InputError, match="no model, shard or device"):
        find_subject(*a_small_plan(), text)


def test_a_misspelt_subject_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"'smal'; did you mean 'small'\?"):
        find_subject(*a_small_plan(), "smal")


def test_a_name_of_two_things_needs_its_kind() -> None:
    scenario = a_scenario(a_model("t"))
    plan = a_plan(scenario, on("t"))
    with pytest.raises(InputError, match="write model/t or shard/t"):
        find_subject(scenario, plan, "t")
    assert find_subject(scenario, plan, "model/t") == ("model", "t")


# --------------------------------------------------------------------------------------------- a plan


def test_a_plan_says_cost_bound_what_binds_and_what_is_refused() -> None:
    scenario, plan = a_small_plan()
    found = explain_plan(scenario, plan)
    assert found.cost_microusd_per_h == 1_052_000
    assert found.bound_microusd_per_h == 1_000_000
    assert found.binding_shards == ((Rule.STARTABLE, 2),)
    assert found.saved_at_p50_bytes == 4 * GIB
    text = explanation_text(found)
    assert "less than 1 USD/h (fluid-lp); this one costs 0.052 USD/h more" in text
    assert "huge: 1 replica refused: needs 20Gi of GPU memory" in text
    assert "would need 4Gi less GPU memory" in text


def test_a_plan_without_a_bound_says_so_and_one_at_its_bound_is_optimal() -> None:
    scenario = a_scenario(a_model("m"))
    assert "There is no bound" in explanation_text(explain_plan(scenario, a_plan(scenario, on("m"))))
    proven = a_plan(scenario, on("m"), bound=Bound(microusd_per_h=1_000_000, method="x"), status="optimal")
    assert "this one is optimal" in explanation_text(explain_plan(scenario, proven))


def test_an_empty_plan_can_be_explained() -> None:
    scenario = a_scenario()
    plan = a_plan(scenario, a_shard()).placement
    empty = a_plan(scenario, a_shard(), placement=type(plan)(), cost_microusd_per_h=0)
    assert "0 shards" in explanation_text(explain_plan(scenario, empty))


# -------------------------------------------------------------------------------------------- a model


def test_a_model_says_where_it_is_what_it_takes_and_what_elsewhere_would_be() -> None:
    scenario, plan = a_small_plan()
    found = explain_model(scenario, plan, model="small")
    assert [(home.replica, home.shard) for home in found.homes] == [(0, "t"), (1, "t-1")]
    assert found.homes[0].takes[0].rule is Rule.DEVICE_MEMORY
    assert found.tried_replica == 0
    assert [(item.target, item.obstacles[0].rule) for item in found.shards] == [("t-1", Rule.SPREAD)]
    text = explanation_text(found)
    assert "2 of 2 replicas placed" in text
    assert "alone there: without it the shard would close and save 0.526 USD/h" in text
    assert "a new t: no; most shards of a type of t, need 3 shards, have 2 shards [max-count]" in text
    assert "a new c: no; small#0 has no footprint for cpu [device-class]" in text


def test_a_place_that_would_do_is_named_with_its_price() -> None:
    scenario = a_scenario(a_model("a"), a_model("b"))
    plan = a_plan(scenario, a_shard("t"), a_shard("t-1", "t"), on("a"), on("b", "t-1"))
    text = explanation_text(explain_model(scenario, plan, model="a"))
    assert "would fit on 1 other open shard at no extra cost: t-1" in text
    assert "a new t: fits, and would cost 1 USD/h more" in text


def test_a_refused_model_says_why_and_what_stands_against_each_place() -> None:
    scenario, plan = a_small_plan()
    found = explain_model(scenario, plan, model="huge")
    assert found.homes == ()
    assert found.refused == 1
    text = explanation_text(found)
    assert "refused: needs 20Gi of GPU memory" in text
    assert "not on 2 open shards, GPU memory; the nearest: GPU memory of t-1/0" in text


def test_shards_that_were_not_tried_are_counted() -> None:
    scenario, plan = a_small_plan()
    found = explain_model(scenario, plan, model="huge", most_shards=1)
    assert (len(found.shards), found.shards_untried) == (1, 1)
    assert "1 further open shard not tried" in explanation_text(found)


def test_a_group_is_named() -> None:
    scenario = a_scenario(a_model("a", together="g"), a_model("b", together="g"))
    found = explain_model(scenario, a_plan(scenario, on("a"), on("b")), model="a")
    assert found.moved_with == ("b",)
    assert "shares its shard with b" in explanation_text(found)


# -------------------------------------------------------------------------------------------- a shard


def test_a_shard_says_what_is_left_what_binds_and_what_still_fits() -> None:
    scenario, plan = a_small_plan()
    found = explain_shard(scenario, plan, shard="t-1")
    assert found.binding is not None
    assert found.binding.rule is Rule.STARTABLE
    assert (found.largest_that_fits, found.largest_bytes) == ("big", 12 * GIB)
    memory = next(use for use in found.resources if use.rule is Rule.DEVICE_MEMORY)
    assert memory.left == memory.capacity - memory.used
    text = explanation_text(found)
    assert "The largest model that could still join it: big (12Gi)" in text
    assert "GPU memory while starting of t-1/0 binds" in text


def test_a_full_shard_has_room_for_nothing() -> None:
    scenario, plan = a_small_plan()
    found = explain_shard(scenario, plan, shard="t")
    assert found.largest_that_fits is None
    assert "No other model of the scenario fits" in explanation_text(found)


def test_many_residents_are_cut_and_counted() -> None:
    scenario = a_scenario(*models(30, an_option(gpu=100 * MIB)))
    plan = a_plan(scenario, *(on(model.name) for model in scenario.models))
    assert "and 10 smaller models" in explanation_text(explain_shard(scenario, plan, shard="t"))


# ------------------------------------------------------------------------------------------- a device


def test_a_device_adds_up_line_by_line() -> None:
    scenario, plan = a_small_plan()
    found = explain_device(scenario, plan, device="t/0")
    assert sum(line.size_bytes for line in found.lines) == found.used_bytes
    assert found.used_bytes + found.left_bytes + found.headroom_bytes == found.total_bytes == 16 * GIB
    assert [(line.what, line.size_bytes) for line in found.start_lines] == [("small#0", GIB)]
    assert found.saved_at_p50_bytes == 4 * GIB
    text = explanation_text(found)
    assert "big#0" in text
    assert "(on top: small#0 1Gi)" in text
    assert "Planning with p50 instead would free 4Gi here" in text


def test_a_cpu_device_refers_to_its_shard() -> None:
    scenario = a_scenario(a_model("a", an_option(CPU, cpu=100)), types=(a_shard_type(device_class=CPU),))
    found = explain(scenario, a_plan(scenario, on("a")), kind="device", name="t/0")
    assert "explain the shard" in explanation_text(found)
