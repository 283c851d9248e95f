"""Plan files: stable text, strict reading, and figures that an editor has changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.domain.fleet import Backend, Runtime
from planner.domain.footprint import Amount
from planner.domain.plan import Bound, Budget, Plan, Refusal
from planner.domain.policy import Headroom
from planner.domain.rules import Rule
from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.scenario.plan_file import (
    check_figures,
    document_text,
    load_plan,
    parse_plan,
    plan_document,
    plan_text,
)
from tests.support.builders import GIB, MIB, a_gpu_class, a_model, a_scenario, an_option
from tests.support.plans import a_plan, a_shard, everything, on


def a_pair() -> tuple[Scenario, Plan]:
    """A scenario whose bases and headroom are all different, and a plan of it with everything in it."""
    scenario = a_scenario(
        a_model("a", an_option(gpu=Amount(p50=MIB, p95=GIB), peak=2 * GIB, host=3 * MIB), replicas=2),
        a_model("b", an_option(gpu=2 * GIB, host=5 * MIB)),
        classes=(a_gpu_class(reserved_bytes=100 * MIB),),
        runtimes=(Runtime(name="triton", context_bytes=30 * MIB, pool_bytes=4 * MIB),),
        backends=(Backend(name="onnxruntime", device_base_bytes=7 * MIB, host_base_bytes=11 * MIB),),
        headroom=Headroom(device_memory_ppm=100_000),
    )
    plan = a_plan(
        scenario,
        a_shard("t"),
        a_shard("t-1", "t"),
        on("a", "t"),
        on("a", "t-1", replica=1),
        on("b", "t"),
        budget=Budget(work=5, time_limit_ms=1000),
        bound=Bound(microusd_per_h=1_000_001, method="fluid-lp"),
        versions=(("ortools", "9"), ("shardpack", "0.1.0")),
        refusals=(
            Refusal(model="z", replicas=2, rule=Rule.DEVICE_MEMORY, subject="t", need=9, have=8, proven=True),
            Refusal(model="c", replicas=1, rule=Rule.PIN, subject="t"),
        ),
    )
    return scenario, plan


def faults(text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_plan(text, file="p.json")
    return [str(fault) for fault in caught.value.faults]


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    scenario, plan = a_pair()
    document = plan_document(plan, scenario)
    change(document)
    return document_text(document)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    scenario, plan = a_pair()
    path = tmp_path / "p.json"
    path.write_text(plan_text(plan, scenario), encoding="utf-8")
    found = load_plan(path)
    assert found == dataclasses.replace(plan, refusals=tuple(reversed(plan.refusals)))
    assert plan_text(found, scenario) == plan_text(plan, scenario)


def test_the_order_in_memory_does_not_show_in_the_text() -> None:
    scenario, plan = a_pair()
    placement = dataclasses.replace(
        plan.placement,
        shards=tuple(reversed(plan.placement.shards)),
        placed=tuple(reversed(plan.placement.placed)),
    )
    shuffled = dataclasses.replace(plan, placement=placement, refusals=tuple(reversed(plan.refusals)))
    assert plan_text(shuffled, scenario) == plan_text(plan, scenario)


def test_every_row_has_a_line_of_its_own() -> None:
    scenario, plan = a_pair()
    lines = plan_text(plan, scenario).splitlines()
    assert '    {"model": "a", "replica": 0, "option": 0, "shard": "t", "devices": [0]},' in lines
    assert sum(line.startswith('    {"model": ') and '"shard"' in line for line in lines) == 3
    assert sum(line.startswith('    {"name": "t') for line in lines) == 2


def test_the_figures_are_those_of_the_memory_model() -> None:
    scenario, plan = a_pair()
    document = plan_document(plan, scenario)
    (device,) = document["shards"][0]["devices"]
    total, reserved = 16 * GIB, 100 * MIB
    assert device["fixedBytes"] == reserved + 34 * MIB
    assert device["usedBytes"] == device["fixedBytes"] + 7 * MIB + 3 * GIB
    assert device["capacityBytes"] == total - -(-(total - reserved) // 10)
    assert document["shards"][0]["used"]["memoryBytes"] == (11 + 3 + 5) * MIB
    assert document["shards"][0]["used"]["models"] == 2
    assert document["cost"] == {"usdPerHour": 2.0, "shards": 2, "devices": 2}
    assert document["gapRatio"] == pytest.approx(0.5, abs=1e-6)


def test_shards_of_every_kind_can_be_written() -> None:
    scenario, *items = everything()
    plan = a_plan(scenario, *items)
    assert parse_plan(plan_text(plan, scenario), file="p.json") == plan


def test_a_plan_without_anything_in_it() -> None:
    scenario = a_scenario()
    plan = dataclasses.replace(
        a_plan(scenario, a_shard()),
        placement=dataclasses.replace(a_pair()[1].placement, shards=(), placed=()),
    )
    text = plan_text(plan, scenario)
    assert '"shards": [],' in text
    assert parse_plan(text, file="p.json").placement.shards == ()


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_file_that_was_cut_off_is_refused(keep: float) -> None:
    scenario, plan = a_pair()
    text = plan_text(plan, scenario)
    (message,) = faults(text[: int(len(text) * keep)])
    assert message.startswith("p.json:")
    assert "cut off" in message or "is not valid JSON" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.json: is empty"),
        ("[]", "is not a plan"),
        ("kind: Scenario\napiVersion: shardpack.dev/v1alpha1\n", "this is a scenario, not a plan"),
        ("kind: Pln\napiVersion: shardpack.dev/v1alpha1\n", "'Pln' is not Plan; did you mean 'Plan'?"),
        ("kind: Plan\napiVersion: shardpack.dev/v9\n", "it is of another version of shardpack"),
        ('{"a":' * 100_000, "is nested too deeply"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    assert message in faults(text)[0]


def test_every_fault_has_its_path_and_line() -> None:
    def change(document: dict[str, Any]) -> None:
        document["status"] = "optimall"
        document["metadata"]["scenarioSha256"] = "abc"
        document["metadata"]["sed"] = 1
        document["placements"][1]["replica"] = -1
        document["refusals"][0]["rule"] = "device-memori"
        del document["shards"][0]["group"]

    text = edited(change)
    found = faults(text)
    assert [line.split(": ")[1] for line in found] == [
        "metadata.scenarioSha256",
        "metadata.sed",
        "status",
        "shards[0].group",
        "placements[1].replica",
        "refusals[0].rule",
    ]
    assert "unknown field 'sed'; did you mean 'seed'?" in found[1]
    assert "did you mean 'optimal'?" in found[2]
    assert "expected at least 0, found the number -1" in found[4]
    line = text.splitlines()[int(found[4].split(":")[1]) - 1]
    assert '"replica": -1' in line


@pytest.mark.parametrize(
    ("change", "subject", "rule"),
    [
        (
            lambda d: d["shards"][0]["devices"][0].update(usedBytes=1),
            "shards[0].devices[0].usedBytes",
            Rule.REFERENCE,
        ),
        (lambda d: d["shards"][1]["used"].update(models=9), "shards[1].used.models", Rule.REFERENCE),
        (lambda d: d["cost"].update(shards=7), "cost.shards", Rule.COST),
        (lambda d: d.update(gapRatio=0.01), "gapRatio", Rule.BOUND),
        (lambda d: d["limits"]["ips"].update(used=0), "limits.ips.used", Rule.REFERENCE),
        (lambda d: d["shards"][0].update(group="x"), "shards[0].group", Rule.REFERENCE),
    ],
)
def test_an_edited_figure_is_found(
    change: Callable[[dict[str, Any]], object], subject: str, rule: Rule
) -> None:
    scenario, _ = a_pair()
    text = edited(change)
    plan = parse_plan(text, file="p.json")
    (violation,) = check_figures(json.loads(text), plan, scenario)
    assert (violation.subject, violation.rule) == (subject, rule)
    assert "the file says" in violation.detail


def test_figures_as_written_are_right_and_the_order_of_rows_means_nothing() -> None:
    scenario, plan = a_pair()
    document = json.loads(plan_text(plan, scenario))
    document["placements"].reverse()
    document["shards"].reverse()
    assert check_figures(document, plan, scenario) == ()


def test_names_that_mean_nothing_are_left_to_verify() -> None:
    scenario, plan = a_pair()
    other = a_scenario(a_model("elsewhere", an_option()))
    assert check_figures(plan_document(plan, scenario), plan, other) == ()
