"""Every shipped scenario ends in a verified plan or in refusals with reasons, by the commands of a user."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from planner.domain.plan import gap_ratio
from planner.domain.rules import UNITS
from planner.domain.verify import verify
from planner.errors import EXIT_DONE, EXIT_REFUSED
from planner.scenario.load import load_scenario
from planner.scenario.plan_file import load_plan

SCENARIOS = Path(__file__).parents[2] / "scenarios"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a scenario promises: exit code, largest gap to the bound (None: too few shards to say)."""

    exit_code: int
    largest_gap: float | None


EXPECTED = {
    "demo": Expected(exit_code=EXIT_REFUSED, largest_gap=None),
    "mixed-gpu-cpu": Expected(exit_code=EXIT_DONE, largest_gap=0.02),
    "model-per-user": Expected(exit_code=EXIT_DONE, largest_gap=0.02),
    "news-by-category": Expected(exit_code=EXIT_DONE, largest_gap=None),
    "shared-transformers": Expected(exit_code=EXIT_DONE, largest_gap=0.02),
    "too-small": Expected(exit_code=EXIT_REFUSED, largest_gap=None),
    "zones-n-plus-1": Expected(exit_code=EXIT_DONE, largest_gap=0.02),
}


def shardpack(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "planner.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_scenario_is_expected_to_do_something() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.timeout(1200)  # 20,000 models plan in under a minute, and in many on a machine that is busy
@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_scenario_is_planned(path: Path, tmp_path: Path) -> None:
    assert path.read_text().startswith("# "), "the first line says the one idea"
    expected = EXPECTED[path.stem]
    plan_file = tmp_path / "plan.json"
    planned = shardpack("plan", path, "--out", plan_file)
    assert planned.returncode == expected.exit_code, planned.stderr
    verified = shardpack("verify", path, plan_file)
    assert verified.returncode == EXIT_DONE, verified.stdout + verified.stderr

    scenario, plan = load_scenario(path), load_plan(plan_file)
    assert verify(scenario, plan) == ()
    assert bool(plan.refusals) == (expected.exit_code == EXIT_REFUSED)
    assert all(
        refusal.subject and (refusal.need is None or refusal.rule in UNITS) for refusal in plan.refusals
    )
    assert plan.bound is not None
    if expected.largest_gap is not None:
        gap = gap_ratio(plan)
        assert gap is not None
        assert gap <= expected.largest_gap


def test_replicas_over_zones_survive_the_loss_of_any_zone(tmp_path: Path) -> None:
    path = SCENARIOS / "zones-n-plus-1.yaml"
    assert shardpack("plan", path, "--out", tmp_path / "plan.json").returncode == EXIT_DONE
    scenario, plan = load_scenario(path), load_plan(tmp_path / "plan.json")
    zones = {node.name: node.zone for node in scenario.nodes}
    types = {shard_type.name: shard_type.zone for shard_type in scenario.shard_types}
    zone_of = {
        shard.name: zones[shard.node] if shard.node else types[shard.shard_type]
        for shard in plan.placement.shards
    }
    for lost in set(zone_of.values()):
        left: dict[str, int] = {}
        for placed in plan.placement.placed:
            left[placed.model] = left.get(placed.model, 0) + (zone_of[placed.shard] != lost)
        assert all(left[model.name] >= model.replicas - 1 for model in scenario.models), lost
