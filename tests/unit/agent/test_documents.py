from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.desired import Desired, models_json
from agent.documents import Documents, read_desired, read_texts
from tests.support.agent_models import documents, wanted

A, B = wanted("a"), wanted("b")


@pytest.fixture
def mounted(tmp_path: Path) -> Documents:
    for name in ("configs", "state"):
        (tmp_path / name).mkdir()
    return Documents(tmp_path / "configs", tmp_path / "state")


def write(mounted: Documents, texts: dict[str, str]) -> None:
    for path in mounted.directory.iterdir():
        path.unlink()
    for name, text in texts.items():
        (mounted.directory / name).write_text(text)


def names(mounted: Documents) -> list[str] | None:
    return None if mounted.desired is None else [model.name for model in mounted.desired.models]


def test_nothing_mounted_is_not_the_same_as_nothing_desired(mounted: Documents) -> None:
    assert not mounted.refresh()
    assert (mounted.desired, mounted.fault) == (None, "neither a placement document nor models.json is there")
    write(mounted, documents())
    assert mounted.refresh()
    assert (names(mounted), mounted.fault) == ([], None)


def test_a_folder_that_is_not_there_is_told(mounted: Documents) -> None:
    mounted.directory.rmdir()
    assert not mounted.refresh()
    assert (mounted.desired, mounted.fault) == (None, f"{mounted.directory}: there is no such folder")


def test_placement_documents_stand_above_models_json(mounted: Documents) -> None:
    write(mounted, {"models.json": models_json([A])})
    assert mounted.refresh()
    assert names(mounted) == ["a"]
    write(mounted, {"models.json": models_json([A]), **documents(B)})
    assert mounted.refresh()
    assert names(mounted) == ["b"]


def test_an_unchanged_set_is_no_news(mounted: Documents) -> None:
    write(mounted, documents(A))
    assert mounted.refresh()
    assert not mounted.refresh()


@pytest.mark.parametrize("broken", [{}, {"placement-0.json": "{"}, {"models.json": "7"}])
def test_a_broken_set_keeps_the_last_complete_one_and_says_so(
    mounted: Documents, broken: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    write(mounted, documents(A))
    mounted.refresh()
    write(mounted, broken)
    assert not mounted.refresh()
    assert not mounted.refresh()
    assert names(mounted) == ["a"]
    assert mounted.fault
    assert caplog.text.count("cannot be obeyed") == 1
    write(mounted, documents(A))
    assert not mounted.refresh()
    assert mounted.fault is None


def test_a_broken_set_is_gone_through_once(mounted: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def read(texts: Mapping[str, str], before: Desired | None = None) -> Desired:
        reads.append(len(texts))
        return read_desired(texts, before)

    monkeypatch.setattr("agent.documents.read_desired", read)
    write(mounted, {"models.json": "7"})
    faults = [(mounted.refresh(), mounted.fault) for _ in range(3)]
    assert faults == [(False, faults[0][1])] * 3
    assert faults[0][1]
    assert reads == [1]
    write(mounted, {"models.json": "8"})
    mounted.refresh()
    assert reads == [1, 1]
    write(mounted, {"models.json": models_json([A])})
    assert mounted.refresh()
    write(mounted, {"models.json": "8"})  # what is in force is another now
    assert not mounted.refresh()
    assert (len(reads), bool(mounted.fault)) == (4, True)


def test_a_restart_beside_a_broken_set_remembers(mounted: Documents) -> None:
    write(mounted, documents(A))
    mounted.refresh()
    write(mounted, {"placement-0.json": "{"})
    again = Documents(mounted.directory, mounted.state_dir)
    again.recall()
    again.refresh()
    assert names(again) == ["a"]
    assert again.fault is not None


def test_the_set_is_read_from_behind_the_kubelet_s_link(tmp_path: Path) -> None:
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "placement-0.json").write_text("new")
    (tmp_path / "..data").symlink_to("..1")
    # The links of an older version may still be there for a moment.
    (tmp_path / "placement-1.json").symlink_to("..data/placement-1.json")
    assert read_texts(tmp_path) == {"placement-0.json": "new"}


def test_models_json_alone_does_not_unpin_what_placement_documents_have_placed(mounted: Documents) -> None:
    """ConfigMaps that are replaced are gone for a moment; the mounted volume then shows models.json alone."""
    unpinned = {"models.json": models_json([A])}
    write(mounted, {**unpinned, **documents(A)})
    mounted.refresh()
    write(mounted, unpinned)
    again = Documents(mounted.directory, mounted.state_dir)
    again.recall()
    for each in (mounted, again):
        assert not each.refresh()
        assert each.desired is not None
        assert each.desired.shard == "news-1"
        assert "are gone" in str(each.fault)


def test_texts_that_cannot_be_told_are_told_of_in_ones_that_can(mounted: Documents) -> None:
    write(mounted, {"a.json": '{"version":1,"shard":"s","runtime":"triton","generation":"\\ud800"}'})
    assert not mounted.refresh()
    assert mounted.fault is not None
    assert mounted.fault.encode().startswith(b"a.json.generation: ")
    write(mounted, {"a\udcff.json": "{}"})  # a file's name that is not UTF-8
    assert not mounted.refresh()
    assert mounted.fault.encode().endswith(b"surrogates not allowed")
