"""What commands print for a scenario and plans that are fixed here, word for word.

``pytest --update-goldens`` rewrites the files; nothing else does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.app import cli
from planner.domain.plan import Bound, Refusal
from planner.domain.rules import Rule
from planner.scenario.load import load_scenario
from planner.scenario.plan_file import plan_text
from tests.support.builders import GIB, MIB
from tests.support.plans import a_plan, a_shard, on

_HERE = Path(__file__).parent
_REFUSAL = Refusal(
    model="giant",
    replicas=1,
    rule=Rule.DEVICE_MEMORY,
    subject="gpu",
    need=40 * GIB,
    have=14 * GIB + 512 * MIB,
    proven=True,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the scenario, a plan, one that moves a model and one that breaks rules."""
    text = (_HERE / "scenario.yaml").read_text(encoding="utf-8")
    (tmp_path / "scenario.yaml").write_text(text, encoding="utf-8")
    scenario = load_scenario(tmp_path / "scenario.yaml")
    shards = (
        a_shard("news", "gpu", node="node-a", node_devices=(0,)),
        a_shard("news-1", "gpu", node="node-a", node_devices=(1,)),
        a_shard("tables", "cpu"),
    )
    common = {
        "refusals": (_REFUSAL,),
        "bound": Bound(microusd_per_h=170_000, method="fluid-lp"),
        "versions": (("shardpack", "0"),),
    }
    stays = (on("churn", "tables"), on("sports", "news"), on("sports", "news-1", replica=1))
    plans = {
        "plan.json": (*shards, *stays, on("politics", "news-1")),
        "moved.json": (*shards, *stays, on("politics", "news")),
        "broken.json": (*shards[1:], on("sports", "news-1"), on("politics", "news-1"), on("churn", "news-1")),
    }
    for name, items in plans.items():
        (tmp_path / name).write_text(
            plan_text(a_plan(scenario, *items, **common), scenario), encoding="utf-8"
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("golden", "arguments"),
    [
        ("validate-wide", ["validate", "scenario.yaml", "-o", "wide"]),
        ("verify", ["verify", "scenario.yaml", "plan.json"]),
        ("verify-broken-wide", ["verify", "scenario.yaml", "broken.json", "-o", "wide"]),
        ("verify-broken-names", ["verify", "scenario.yaml", "broken.json", "-o", "name"]),
        ("verify-broken", ["verify", "scenario.yaml", "broken.json"]),
        ("explain-plan", ["explain", "plan.json", "-f", "scenario.yaml"]),
        ("explain-model", ["explain", "plan.json", "sports", "-f", "scenario.yaml"]),
        ("explain-refused", ["explain", "plan.json", "giant", "-f", "scenario.yaml"]),
        ("explain-shard", ["explain", "plan.json", "news", "-f", "scenario.yaml"]),
        ("explain-cpu-shard", ["explain", "plan.json", "tables", "-f", "scenario.yaml"]),
        ("explain-device", ["explain", "plan.json", "news/0", "-f", "scenario.yaml"]),
        ("explain-plan-wide", ["explain", "plan.json", "-f", "scenario.yaml", "-o", "wide"]),
        ("explain-plan-names", ["explain", "plan.json", "-f", "scenario.yaml", "-o", "name"]),
        ("explain-model-wide", ["explain", "plan.json", "sports", "-f", "scenario.yaml", "-o", "wide"]),
        ("explain-shard-wide", ["explain", "plan.json", "news-1", "-f", "scenario.yaml", "-o", "wide"]),
        ("explain-device-wide", ["explain", "plan.json", "news-1/0", "-f", "scenario.yaml", "-o", "wide"]),
        ("limits", ["limits", "scenario.yaml", "plan.json", "--transformers", "2"]),
        (
            "limits-wide",
            ["limits", "scenario.yaml", "plan.json", "--transformers", "2", "-o", "wide"],
        ),
        ("limits-names", ["limits", "scenario.yaml", "-o", "name"]),
        ("limits-without-plan", ["limits", "scenario.yaml"]),
        ("diff", ["diff", "plan.json", "moved.json"]),
        ("diff-wide", ["diff", "plan.json", "broken.json", "-o", "wide"]),
        ("diff-names", ["diff", "plan.json", "broken.json", "-o", "name"]),
        ("diff-json", ["diff", "plan.json", "moved.json", "-o", "json"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_output_is_the_golden_one(golden: str, arguments: list[str], update_goldens: bool) -> None:
    result = CliRunner().invoke(cli, arguments)
    text = f"$ shardpack {' '.join(arguments)}\n{result.output}exit code {result.exit_code}\n"
    path = _HERE / f"{golden}.txt"
    if update_goldens:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
