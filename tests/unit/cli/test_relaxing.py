"""``relax`` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

from cli_runs import SCENARIO, Files, Run


def plan_of(scenario: str, files: Files, run: Run) -> str:
    out = files.path("refusing.json")
    run("plan", scenario, "--out", out, "-q")
    return out


def test_a_change_is_a_line_with_what_it_places_and_costs(files: Files, run: Run) -> None:
    tight = files.tight()
    result = run("relax", tight, plan_of(tight, files, run))
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["CHANGE", "FROM", "TO", "PLACED", "USD/H", "LEAST"]
    assert lines[1] == ["shardTypes[gpu].maxCount", "1", "shard", "2", "shards", "3/3", "+0.5", "proven"]
    assert "2 of 3 replicas placed as it is, 1 refused; one change places all" in result.stdout


def test_without_a_plan_it_plans_first(files: Files, run: Run) -> None:
    tight = files.tight()
    with_plan = run("relax", tight, plan_of(tight, files, run), "-o", "json")
    without = run("relax", "-f", tight, "-o", "json")
    assert json.loads(without.stdout)["found"] == json.loads(with_plan.stdout)["found"]


def test_the_document_says_what_to_change(files: Files, run: Run) -> None:
    found = json.loads(run("relax", files.tight(), "-o", "json").stdout)
    assert (found["wanted"], found["placed"], found["possible"], found["complete"]) == (3, 2, 3, True)
    (only,) = found["found"]
    assert only["changes"] == [
        {"field": "shardTypes[gpu].maxCount", "unit": "shards", "before": 1, "after": 2}
    ]
    assert only["moreMicrousdPerH"] == 500_000
    assert run("relax", files.tight(), "-o", "name").stdout == "field/shardTypes.gpu.maxCount\n"


def test_what_no_change_places_is_said_with_its_reason(files: Files, run: Run) -> None:
    result = run("relax", files.too_small)
    assert result.exit_code == 3
    assert "beyond every change that was tried:\nhuge: 1 replica refused: needs" in result.stdout


def test_where_nothing_is_refused_nothing_has_to_be_relaxed(files: Files, run: Run, planned: str) -> None:
    result = run("relax", files.scenario, planned)
    assert (result.exit_code, result.stdout) == (0, "all 3 replicas are placed: nothing has to be relaxed\n")


def test_a_plan_of_another_scenario_is_refused(files: Files, run: Run, planned: str) -> None:
    result = run("relax", files.tight(), planned)
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "is not a plan of" in result.stderr


def test_a_scenario_that_allows_no_plan_is_relaxed_too(files: Files, run: Run) -> None:
    path = files.path("impossible.yaml")
    limits = "  policy: {limits: {maxShards: 2}}\n  models:\n"
    text = SCENARIO.replace("maxCount: 4", "minCount: 3").replace("  models:\n", limits)
    Path(path).write_text(text, encoding="utf-8")
    assert run("plan", path).exit_code == 2
    names = run("relax", path, "-o", "name").stdout.split()
    assert set(names) == {"field/shardTypes.gpu.minCount", "field/policy.limits.maxShards"}


def test_a_plan_that_refuses_says_how_to_find_out(files: Files, run: Run) -> None:
    tight, out = files.tight(), files.path("p.json")
    assert f"shardpack relax {tight} {out} finds" in run("plan", tight, "--out", out).stderr
    assert "relax" not in run("plan", tight, "-q").stderr
    assert "relax" not in run("plan", files.scenario).stderr


def test_files_that_are_too_few_or_too_many_are_bad_usage(files: Files, run: Run, planned: str) -> None:
    assert run("relax").exit_code == 2
    assert run("relax", files.scenario, planned, planned).exit_code == 2
