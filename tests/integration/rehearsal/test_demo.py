"""The demo, seen through: real Triton servers, real agents, simulated GPUs."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from planner.rehearsal.demo import DemoOptions, DemoResult, run_demo
from planner.rehearsal.zoo import LEARNERS

pytest.importorskip("sklearn", reason="the demo's libraries are not installed (pip install --group demo)")
pytestmark = pytest.mark.usefixtures("server_and_compiler")


def processes_that_name(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if str(folder) in command:
            found.append(command)
    return found


def run(folder: Path, zoo: tuple[str, ...] | None) -> tuple[DemoResult, list[str]]:
    story: list[str] = []
    result = run_demo(
        DemoOptions(report=folder / "report.html", folder=folder / "demo", zoo=zoo, say=story.append)
    )
    return result, story


def promises_hold(result: DemoResult, story: list[str], folder: Path) -> None:
    talk = "\n".join(story)
    assert result.correct == result.asked, talk
    assert result.exact == result.devices, talk
    assert result.shards_after > result.shards_before, talk
    assert result.refused == ("giant",), talk
    assert result.succeeded
    assert processes_that_name(folder) == []
    page = (folder / "report.html").read_text()
    HTMLParser().feed(page)
    assert "giant" in page
    assert "vision-1" in page


@pytest.mark.triton
def test_a_small_demo_shows_what_it_promises(tmp_path: Path) -> None:
    zoo = (*(f"iris-{learner}" for learner in LEARNERS), "diabetes-forest")
    result, story = run(tmp_path, zoo)
    promises_hold(result, story, tmp_path)
    assert result.asked >= 7 + 40


@pytest.mark.soak
@pytest.mark.triton
def test_the_whole_demo_shows_what_it_promises(tmp_path: Path) -> None:
    result, story = run(tmp_path, None)
    promises_hold(result, story, tmp_path)
    assert result.asked >= 30 + 40
