"""One scenario with everything in it, resolved; and one plan's text. ``--update-goldens`` rewrites them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from planner.domain.plan import Bound, Refusal
from planner.domain.rules import Rule
from planner.scenario.load import load_scenario
from planner.scenario.plan_file import plan_text
from tests.support.plans import a_plan, a_shard, on

HERE = Path(__file__).parent
EXPECTED = HERE / "expected"


def compare(name: str, text: str, *, update: bool) -> None:
    path = EXPECTED / name
    if update:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_a_resolved_scenario(update_goldens: bool) -> None:
    scenario = load_scenario(HERE / "everything.yaml")
    text = json.dumps(dataclasses.asdict(scenario), indent=1, sort_keys=True) + "\n"
    compare("everything.json", text, update=update_goldens)


def test_a_plan_text(update_goldens: bool) -> None:
    scenario = load_scenario(HERE / "everything.yaml")
    group = "golden-t4"
    plan = a_plan(
        scenario,
        a_shard(group, "t4"),
        a_shard(f"{group}-1", "t4"),
        a_shard("slices-2", "slice", node="mig-0", node_devices=(1,)),
        on("ant", "slices-2"),
        on("bee-0", group),
        on("bee-1", f"{group}-1"),
        on("zebra", group),
        on("zebra", f"{group}-1", replica=1),
        bound=Bound(microusd_per_h=1_000_000, method="fluid-lp"),
        versions=(("ortools", "9.15"), ("shardpack", "0.1.0")),
        refusals=(Refusal(model="bee-2", replicas=1, rule=Rule.CPU, subject="t4", need=3000, have=2700),),
        scenario_sha256="0" * 64,
    )
    compare("plan.json", plan_text(plan, scenario), update=update_goldens)
