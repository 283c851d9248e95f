"""Runs the command line in this process, on small scenarios in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import HUGE, SCENARIO, Files, Run
from click.testing import CliRunner, Result

from planner.cli.app import cli


@pytest.fixture
def files(tmp_path: Path) -> Files:
    texts = {
        "scenario.yaml": SCENARIO,
        "too-small.yaml": SCENARIO + HUGE,
        "broken.yaml": SCENARIO.replace("replicas: 2", "replicsa: -2").replace("2Gi, cpu", "2Gb, cpu"),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return Files(tmp_path, *(str(tmp_path / name) for name in texts))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs ``shardpack`` with arguments and returns click's result."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    runner = CliRunner()

    def invoke(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return runner.invoke(cli, list(arguments), input=stdin)

    return invoke


@pytest.fixture
def planned(files: Files, run: Run) -> str:
    """Return the path of a plan of the scenario."""
    out = files.path("plan.json")
    result = run("plan", files.scenario, "--out", out, "-q")
    assert result.exit_code == 0, result.output
    return out
