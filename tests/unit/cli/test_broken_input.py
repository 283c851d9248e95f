"""Whatever is wrong with a scenario: exit 2, the fault on stderr, nothing on stdout, nothing written."""

from __future__ import annotations

import pytest
from cli_runs import Files, Run

from planner.errors import EXIT_INPUT
from tests.support.broken_scenarios import BROKEN, UNREADABLE

TEXTS = {name: entry[0] for name, entry in (BROKEN | UNREADABLE).items()}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_nothing_is_planned_and_nothing_written(text: str, files: Files, run: Run) -> None:
    scenario = files.folder / "broken.yaml"
    scenario.write_text(text)
    before = set(files.folder.iterdir())
    result = run("plan", str(scenario), "--out", files.path("plan.json"))
    assert result.exit_code == EXIT_INPUT
    assert result.stdout == ""
    assert "broken.yaml" in result.stderr
    assert set(files.folder.iterdir()) == before


def test_a_folder_to_apply_that_is_not_there_is_named(files: Files, run: Run) -> None:
    missing = files.path("deploy")
    result = run("apply", missing)
    assert result.exit_code == EXIT_INPUT
    assert f"{missing}: there is no such folder" in str(result.output) + str(result.exception)
