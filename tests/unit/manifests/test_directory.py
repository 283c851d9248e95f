"""Writing a folder: all of it or none, and nothing of anyone else's lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.manifests import ManifestFile, render_plan, write_manifests
from planner.manifests.directory import _swap
from tests.support.builders import a_model, a_scenario
from tests.support.plans import a_plan, a_shard, on


def a_small_plan(*models: str) -> tuple[Plan, Scenario]:
    scenario = a_scenario(*(a_model(name) for name in models))
    return a_plan(scenario, a_shard(), *(on(name) for name in models)), scenario


def files_under(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def as_written(files: tuple[ManifestFile, ...]) -> dict[str, str]:
    return {file.path: file.text for file in files}


def test_missing_folder_is_made(tmp_path):
    files = render_plan(*a_small_plan("m"))
    write_manifests(files, tmp_path / "new" / "manifests")
    assert files_under(tmp_path) == {
        f"new/manifests/{path}": text for path, text in as_written(files).items()
    }


def test_empty_folder_is_filled(tmp_path):
    files = render_plan(*a_small_plan("m"))
    write_manifests(files, tmp_path)
    assert files_under(tmp_path) == as_written(files)


def test_folder_of_an_earlier_plan_is_replaced_whole(tmp_path):
    earlier, later = render_plan(*a_small_plan("m")), render_plan(*a_small_plan())
    target = tmp_path / "manifests"
    write_manifests(earlier, target)
    write_manifests(later, target)
    assert files_under(tmp_path) == {f"manifests/{path}": text for path, text in as_written(later).items()}
    assert "shards/t/trainedmodels.yaml" in as_written(earlier)
    assert "shards/t/trainedmodels.yaml" not in as_written(later)


@pytest.mark.parametrize("foreign", ["kustomization.yaml", "notes.txt", "shards/t/patch.yaml"])
def test_folder_with_something_else_in_it_is_refused(tmp_path, foreign):
    target = tmp_path / "manifests"
    write_manifests(render_plan(*a_small_plan("m")), target)
    (target / foreign).write_text("resources: []\n")
    before = files_under(tmp_path)
    with pytest.raises(InputError, match=str(target)) as caught:
        write_manifests(render_plan(*a_small_plan("n")), target)
    assert foreign in str(caught.value)
    assert files_under(tmp_path) == before


def test_dangling_link_is_something_else(tmp_path):
    target = tmp_path / "manifests"
    write_manifests(render_plan(*a_small_plan("m")), target)
    (target / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link"):
        write_manifests(render_plan(*a_small_plan("m")), target)
    assert (target / "link").is_symlink()


def test_a_file_is_no_folder(tmp_path):
    target = tmp_path / "manifests"
    target.write_text("mine")
    with pytest.raises(InputError, match="is not a folder"):
        write_manifests(render_plan(*a_small_plan("m")), target)
    assert target.read_text() == "mine"


def test_a_link_to_a_folder_of_ours_stays_a_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    write_manifests(render_plan(*a_small_plan("m")), real)
    link.symlink_to(real)
    files = render_plan(*a_small_plan("n"))
    write_manifests(files, link)
    assert link.is_symlink()
    assert files_under(real) == as_written(files)


def test_a_failure_half_way_leaves_everything_as_it_was(tmp_path):
    target = tmp_path / "manifests"
    write_manifests(render_plan(*a_small_plan("m")), target)
    before = files_under(tmp_path)
    too_long = ManifestFile(path=f"shards/{'n' * 300}.yaml", text="")
    with pytest.raises(InputError, match="cannot be written"):
        write_manifests((*render_plan(*a_small_plan("n")), too_long), target)
    assert files_under(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["manifests"]


def test_what_was_there_is_back_when_the_new_folder_cannot_take_its_place(tmp_path):
    target = tmp_path / "manifests"
    write_manifests(render_plan(*a_small_plan("m")), target)
    before = files_under(tmp_path)
    with pytest.raises(FileNotFoundError):
        _swap(tmp_path / "never-written", target, aside=tmp_path / "aside")
    assert files_under(tmp_path) == before


def test_a_folder_whose_kustomization_is_broken_is_not_ours(tmp_path):
    target = tmp_path / "manifests"
    write_manifests(render_plan(*a_small_plan("m")), target)
    kustomization = target / "kustomization.yaml"
    kustomization.write_text(f"{kustomization.read_text()}\n]")
    with pytest.raises(InputError, match="was not written by shardpack"):
        write_manifests(render_plan(*a_small_plan("m")), target)
