from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.errors import InputError
from planner.rehearsal.demo import DemoOptions, run_demo
from planner.rehearsal.prerequisites import check_prerequisites


def told(*, report: Path | None = None, folder: Path | None = None, **more: Any) -> str:
    try:
        check_prerequisites(report=report, folder=folder, **more)
    except InputError as error:
        return str(error)
    return ""


def test_without_a_compiler_it_is_said_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install gcc" in told()


def test_every_missing_library_is_named_at_once_with_the_command() -> None:
    said = told(libraries={"no_such_a": "a-lib", "pathlib": "path-lib", "no_such_b": "b-lib"})
    (line,) = [line for line in said.splitlines() if "libraries" in line]
    assert "make demo" in line
    assert line.endswith("python -m pip install a-lib b-lib")


def test_a_folder_that_is_not_empty_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    story: list[str] = []
    with pytest.raises(InputError, match="is not empty: name a new folder"):
        run_demo(DemoOptions(folder=tmp_path, say=story.append))
    assert story == []
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_places_that_cannot_be_used_are_refused_together(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = told(report=tmp_path / "absent" / "report.html", folder=tmp_path / "file")
    assert "is no folder that can be written, for report.html" in said
    assert "is a file: name a new folder" in said


def test_a_new_or_an_empty_folder_will_do(tmp_path: Path) -> None:
    for folder in (tmp_path / "new", tmp_path):
        assert str(folder) not in told(report=tmp_path / "report.html", folder=folder)
