"""Plans rehearsed on real Triton servers with simulated GPUs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.app import cli
from planner.domain.fleet import Backend, Runtime
from planner.domain.plan import Refusal
from planner.domain.rules import Rule
from planner.rehearsal.rehearse import RehearseOptions, rehearse
from planner.report.html import report_html
from planner.scenario.load import load_scenario
from planner.scenario.plan_file import plan_text
from tests.support.builders import CPU, GIB, MIB, a_model, a_scenario, a_shard_type, an_amount, an_option
from tests.support.plans import a_plan, a_shard, on

SCENARIOS = Path(__file__).parents[3] / "scenarios"

pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("server_and_compiler")]


def test_one_plan_becomes_another_and_what_stays_is_never_away(tmp_path: Path) -> None:
    option = an_option(gpu=GIB + 1, peak=2 * GIB, instances=2, residual_bytes=an_amount(8 * MIB))
    scenario = a_scenario(
        *(a_model(name, option) for name in ("stay", "moving", "leaving", "coming")),
        a_model("process", an_option(gpu=GIB), backend="python"),
        a_model("host", an_option(CPU, host=MIB)),
        types=(a_shard_type("t", device_count=2), a_shard_type("c", device_class=CPU)),
        backends=(
            Backend(name="onnxruntime", device_base_bytes=300 * MIB),
            Backend(name="python", context_per_instance=True, device_base_bytes=5 * MIB),
        ),
        runtimes=(Runtime(name="triton", context_bytes=200 * MIB, pool_bytes=64 * MIB),),
    )
    shards = (a_shard("t"), a_shard("c"))
    common = (*shards, on("stay"), on("host", "c"))
    before = a_plan(scenario, *common, on("moving"), on("leaving", "t", 1), on("process", "t", 1))
    after = a_plan(
        scenario, *common, a_shard("t-1", "t"), on("moving", "t", 1), on("coming"), on("leaving", "t-1")
    )
    talk: list[str] = []
    options = RehearseOptions(most=3, folder=tmp_path / "kept", say=talk.append)

    seen = rehearse(scenario, after, before=(scenario, before), options=options)

    change = seen.change
    assert change is not None
    assert seen.as_planned, (seen, talk)
    assert (change.stayed, change.moved, change.came, change.left) == (2, 1, 2, 2)
    assert change.opened == ("t-1",)
    assert change.asked > 0
    by_name = {shard.shard: shard for shard in seen.shards}
    assert (by_name["t"].loads, by_name["t"].unloads) == (2, 2)
    kept = {device.device: device.kept_bytes for device in seen.devices}
    # A residual figure of what moved away; of what left, with the base of its backend.
    assert kept == {"t/0": 8 * MIB, "t/1": 13 * MIB, "t-1/0": 0, "t-1/1": 0}
    assert {model.model for model in by_name["t"].models} == {"stay", "moving", "coming"}
    assert "Not as planned" not in report_html(scenario, after, rehearsal=seen)


def test_a_device_with_less_room_than_the_scenario_says_is_found_out(tmp_path: Path) -> None:
    path = SCENARIOS / "too-small.yaml"
    scenario = load_scenario(path)
    placed = (
        on("camera-000", "vision-1g", option=3),
        on("camera-001", "vision-t4"),
        on("camera-002", "vision-t4"),
    )
    plan = a_plan(
        scenario,
        a_shard("vision-1g", "mig-1g", node="mig-node", node_devices=(2,)),
        a_shard("vision-t4", "t4", node="t4-node-0", node_devices=(1,)),
        *placed,
        refusals=tuple(
            Refusal(model=model.name, replicas=1, rule=Rule.NODE_DEVICES, subject="t4", need=1, have=0)
            for model in scenario.models
            if model.name not in {item.model for item in placed}
        ),
    )
    plan_file, report = tmp_path / "plan.json", tmp_path / "report.html"
    plan_file.write_text(plan_text(plan, scenario))
    arguments = ["rehearse", str(path), str(plan_file), "-o", "json", "--report", str(report)]

    # A T4 that has 12.6 GiB for the shard has 4.6 left: too little for one of the two, enough for the other.
    ran = CliRunner().invoke(cli, [*arguments, "--foreign=8Gi"])

    assert ran.exit_code == 4, ran.output
    seen = json.loads(ran.stdout)
    assert seen["asPlanned"] is False
    shards = {shard["shard"]: shard for shard in seen["shards"]}
    states = {model["model"]: (model["state"], model["reason"]) for model in shards["vision-t4"]["models"]}
    assert states == {"camera-001": ("Loaded", None), "camera-002": ("FailedToLoad", "NoRoom")}
    assert shards["vision-t4"]["noRoom"] >= 1
    (device,) = shards["vision-1g"]["devices"]  # everything fits there: what is foreign is all that differs
    assert device["measuredBytes"] - device["plannedBytes"] == 8 * GIB
    assert "Not as planned" in report.read_text()
    assert "carrying out the plan: 2 shards, 3 replicas" in ran.stderr
