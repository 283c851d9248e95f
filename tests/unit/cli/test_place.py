"""``shardpack place``: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from cli_runs import HUGE, SCENARIO, Files, Run

NEW = """\
    - name: weather
      backend: onnxruntime
      storageUri: s3://models/weather
      footprints:
        - {class: tiny-gpu, gpuMemory: 2Gi, cpu: 100m, memory: 1Gi}
"""


def _with(files: Files, name: str, *models: str) -> str:
    path = files.path(name)
    Path(path).write_text(SCENARIO + "".join(models), encoding="utf-8")
    return path


def test_a_new_model_gets_a_place_and_nothing_else_moves(files: Files, run: Run, planned: str) -> None:
    scenario, out = _with(files, "grown.yaml", NEW), files.path("new.json")
    result = run("place", planned, "-f", scenario, "--out", out)
    assert result.exit_code == 0, result.output
    assert "placed   1 replica; nothing else was moved" in result.stdout
    before, after = json.loads(Path(planned).read_text()), json.loads(Path(out).read_text())
    kept = [item for item in after["placements"] if item["model"] != "weather"]
    assert kept == before["placements"]
    assert after["metadata"]["baseSha256"]
    assert run("verify", scenario, out).exit_code == 0


def test_the_plan_itself_may_be_overwritten_and_every_format_is_offered(
    files: Files, run: Run, planned: str
) -> None:
    scenario = _with(files, "grown.yaml", NEW)
    assert run("place", planned, "model/weather", "-f", scenario, "-o", "name").stdout == "model/weather\n"
    assert json.loads(run("place", planned, "-f", scenario, "-o", "json").stdout)["kind"] == "Plan"
    assert "kind: Plan" in run("place", planned, "-f", scenario, "-o", "yaml").stdout
    assert "LEFT ON DEVICE" in run("place", planned, "-f", scenario, "-o", "wide").stdout
    assert run("place", planned, "-f", scenario, "--out", planned, "-q").exit_code == 0
    again = run("place", planned, "-f", scenario)
    assert again.exit_code == 0
    assert "placed   0 replicas" in again.stdout


def test_what_fits_nowhere_is_refused_with_the_nearest_miss(files: Files, run: Run, planned: str) -> None:
    scenario = _with(files, "grown.yaml", NEW, HUGE)
    result = run("place", planned, "-f", scenario)
    assert result.exit_code == 3
    assert "huge: 1 replica refused: needs 40Gi of GPU memory" in result.stdout
    assert "huge: 0 of 2 shards can take it" in result.stdout
    assert "refused  1 replica" in result.stdout


def test_what_the_scenario_does_not_want_any_more_is_let_go(files: Files, run: Run, planned: str) -> None:
    less = SCENARIO.partition("    - name: politics")[0]
    Path(files.path("less.yaml")).write_text(less, encoding="utf-8")
    result = run("place", planned, "-f", files.path("less.yaml"))
    assert result.exit_code == 0, result.output
    assert "gone     1 replica" in result.stdout


def test_bad_input_is_said_and_nothing_is_written(files: Files, run: Run, planned: str) -> None:
    scenario = _with(files, "grown.yaml", NEW, HUGE)
    unknown = run("place", planned, "wether", "-f", scenario)
    assert (unknown.exit_code, "did you mean 'weather'" in unknown.stderr) == (2, True)
    some = run("place", planned, "weather", "-f", scenario, "--out", files.path("no.json"))
    assert (some.exit_code, "the plan lacks huge too" in some.stderr) == (2, True)
    assert not Path(files.path("no.json")).exists()


def test_a_plan_that_no_longer_holds_is_not_built_upon(files: Files, run: Run, planned: str) -> None:
    grown = SCENARIO.replace("p50: 2Gi, p95: 3Gi}, loadPeak: 4Gi", "p50: 20Gi, p95: 20Gi}, loadPeak: 20Gi")
    Path(files.path("changed.yaml")).write_text(grown, encoding="utf-8")
    result = run("place", planned, "-f", files.path("changed.yaml"))
    assert result.exit_code == 4
    assert "plan anew: shardpack plan" in result.stderr
