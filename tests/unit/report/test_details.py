"""What a wide explanation lists."""

from __future__ import annotations

import pytest

from planner.domain.placement import Placed
from planner.domain.plan import Plan, Refusal
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.report.details import explanation_details
from planner.report.explain import explain, find_subject
from planner.report.prose import explanation_text
from tests.support.builders import (
    GIB,
    Amount,
    a_model,
    a_scenario,
    a_shard_type,
    an_option,
    models,
)
from tests.support.plans import a_plan, a_shard, on


def details(scenario: Scenario, plan: Plan, subject: str | None) -> list[list[str]]:
    kind, name = find_subject(scenario, plan, subject)
    text = explanation_details(scenario, plan, explain(scenario, plan, kind=kind, name=name))
    return [line.split() for line in text.splitlines()]


def a_setting() -> tuple[Scenario, Plan]:
    option = an_option(
        gpu=Amount(p50=GIB, p95=2 * GIB), peak=3 * GIB, cpu=250, host=GIB, disk=GIB, extra=(("ports", 2_000),)
    )
    scenario = a_scenario(
        a_model("a", option),
        a_model("b", an_option(gpu=14 * GIB), backend="python"),
        types=(a_shard_type(device_count=2, disk_bytes=10 * GIB, extra=(("ports", 9_000),)),),
    )
    return scenario, a_plan(scenario, a_shard(), a_shard("t-1", "t"), on("a"), on("b", "t", 1))


def test_a_shard_lists_every_resident_with_every_dimension() -> None:
    rows = details(*a_setting(), "shard/t")
    assert [row[0] for row in rows] == ["REPLICA", "b#0", "a#0"]
    assert rows[2][1:] == [
        "0",
        "onnxruntime",
        "1",
        "1",
        "2Gi",
        "1Gi",
        "3Gi",
        "0",
        "250m",
        "1Gi",
        "1Gi",
        "ports=2",
    ]
    assert rows[1][-1] == "-"


def test_a_device_lists_only_what_is_on_it() -> None:
    assert [row[0] for row in details(*a_setting(), "t/1")[1:]] == ["b#0"]
    assert details(*a_setting(), "t-1/0") == []


def test_a_model_lists_what_it_takes_and_every_rule_against_every_other_place() -> None:
    takes, elsewhere = details(*a_setting(), "a"), []
    split = takes.index([])
    takes, elsewhere = takes[:split], takes[split + 1 :]
    assert {tuple(row[1:3]) for row in takes[1:]} >= {("t", "CPU"), ("t", "disk"), ("t/0", "GPU")}
    assert elsewhere[0][0] == "ELSEWHERE"
    assert elsewhere[1] == ["t-1", "open", "0", "nothing", "-", "-", "-"]
    assert elsewhere[2][:4] == ["t", "new", "1", "nothing"]


def test_obstacles_are_listed_once_each_with_their_numbers() -> None:
    scenario = a_scenario(*models(2, an_option(gpu=10 * GIB)), types=(a_shard_type(max_count=2),))
    plan = a_plan(scenario, a_shard(), a_shard("t-1", "t"), on("m-000"), on("m-001", "t-1"))
    rows = details(scenario, plan, "m-000")
    assert ["t-1", "open", "-", "device-memory", "t-1/0", "20Gi", "16Gi"] in rows
    assert len({tuple(row) for row in rows if row}) == len([row for row in rows if row])


def test_a_plan_lists_every_shard() -> None:
    assert [row[0] for row in details(*a_setting(), None)] == ["NAME", "t", "t-1"]
    scenario = a_scenario()
    empty = a_plan(scenario, a_shard(), placement=type(a_setting()[1].placement)(), cost_microusd_per_h=0)
    assert details(scenario, empty, None) == []


@pytest.mark.parametrize("wide", [False, True])
def test_only_a_wide_explanation_cuts_no_list(wide: bool) -> None:
    scenario = a_scenario(*models(60, an_option(gpu=GIB // 8)))
    placed: list[Placed] = [on(model.name) for model in scenario.models[:30]]
    refusals = tuple(
        Refusal(model=model.name, replicas=1, rule=Rule.CPU, subject="t", need=index + 2, have=1)
        for index, model in enumerate(scenario.models[30:])
    )
    plan = a_plan(scenario, *placed, refusals=refusals)
    plan_text = explanation_text(explain(scenario, plan, kind="plan", name="test"), wide=wide)
    device_text = explanation_text(explain(scenario, plan, kind="device", name="t/0"), wide=wide)
    assert ("m-059: " in plan_text) is wide
    assert ("10 more reasons" in plan_text) is not wide
    assert ("m-029#0" in device_text) is wide
