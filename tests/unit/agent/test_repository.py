"""Files move by rename; stopped after any of them, the next run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import PinError, SettingsError, StorageError
from agent.observed import Copy
from agent.pins import Pin, pin_of
from agent.records import Copies
from agent.repository import Repository
from agent.storage import Limits, Reach
from tests.support.agent_models import model_folder, on_gpu, wanted

CPU_PIN = pin_of(wanted(), visible=None)
GPU_PIN = pin_of(wanted(devices=on_gpu(1)), visible=None)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "models", tmp_path / "state", Limits())
    made.prepare()
    return made


def download(repository: Repository, uri: str, name: str = "m") -> Copy:
    return repository.download(name, uri, unwanted=lambda: False, seconds=lambda: 0.0)


def config(repository: Repository) -> str:
    return (repository.model_dir / "m" / "config.pbtxt").read_text()


def test_a_model_from_download_to_removal(repository: Repository, tmp_path: Path) -> None:
    uri = model_folder(tmp_path / "source")
    staged = download(repository, uri)
    assert staged.storage_uri == uri
    assert (repository.installed(), repository.staged()) == ({}, {"m": staged})
    installed = repository.install("m", CPU_PIN, "sim")
    assert installed == replace(staged, loaded_pin=CPU_PIN.instance_group, loaded_devices=("cpu",))
    assert (repository.installed(), repository.staged()) == ({"m": installed}, {})
    assert config(repository).startswith(f'name: "m"\n{CPU_PIN.instance_group}\nbackend: "sim"\n')
    repository.place("m", GPU_PIN, "sim")
    assert config(repository).startswith(f'name: "m"\n{GPU_PIN.instance_group}\nbackend: "sim"\n')
    loaded = repository.remember_loaded("m", GPU_PIN)
    assert (loaded.loaded_pin, loaded.loaded_devices) == (GPU_PIN.instance_group, ("gpu:1",))
    assert repository.installed() == {"m": loaded}
    repository.remove("m")
    assert (repository.installed(), repository.staged()) == ({}, {})
    left = [p for p in repository.state_dir.rglob("*") if p.is_file()]
    assert all(p.is_relative_to(repository.state_dir / "contents") for p in left)


def test_only_models_lie_in_the_server_s_folder(repository: Repository, tmp_path: Path) -> None:
    download(repository, model_folder(tmp_path / "source"))
    repository.install("m", CPU_PIN, "sim")
    repository.place("m", CPU_PIN, "sim")
    files = {str(p.relative_to(repository.model_dir)) for p in repository.model_dir.rglob("*")}
    assert files == {"m", "m/1", "m/1/weights", "m/config.pbtxt"}


def test_the_source_is_never_written(repository: Repository, tmp_path: Path) -> None:
    uri = model_folder(tmp_path / "source")
    before = (tmp_path / "source" / "config.pbtxt").read_text()
    download(repository, uri)
    repository.install("m", CPU_PIN, "sim")
    repository.place("m", GPU_PIN, "sim")
    assert (tmp_path / "source" / "config.pbtxt").read_text() == before


def test_an_equal_config_is_not_written_again(repository: Repository, tmp_path: Path) -> None:
    download(repository, model_folder(tmp_path / "source"))
    repository.install("m", CPU_PIN, "sim")
    repository.place("m", GPU_PIN, "sim")
    repository.remember_loaded("m", GPU_PIN)
    before = (repository.model_dir / "m" / "config.pbtxt").stat()
    repository.place("m", GPU_PIN, "sim")
    after = (repository.model_dir / "m" / "config.pbtxt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert repository.installed()["m"].loaded_pin == GPU_PIN.instance_group


def test_a_model_that_has_left_brings_no_test_inference(repository: Repository) -> None:
    assert repository.test_request("gone") is None


def test_a_new_pin_forgets_what_was_loaded_and_starts_from_the_author_s_config(
    repository: Repository, tmp_path: Path
) -> None:
    uri = model_folder(tmp_path / "source")
    with (tmp_path / "source" / "config.pbtxt").open("a") as stream:
        stream.write("instance_group [ { count: 7 } ]\n")
    download(repository, uri)
    repository.install("m", CPU_PIN, "sim")
    repository.place("m", GPU_PIN, "sim")
    repository.remember_loaded("m", GPU_PIN)
    repository.place("m", Pin(instance_group=None, devices=("unpinned",)), "sim")
    assert "count: 7" in config(repository)
    assert "gpus" not in config(repository)
    assert repository.installed()["m"].loaded_pin is None


def test_a_failed_download_leaves_nothing(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        download(repository, (tmp_path / "absent").as_uri())
    assert repository.staged() == {}
    assert list((repository.state_dir / "parts").iterdir()) == []


def test_a_model_without_config_whose_framework_says_nothing(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_text("x")
    download(repository, (tmp_path / "model.pkl").as_uri())
    with pytest.raises(PinError, match=r"no config\.pbtxt"):
        repository.install("m", CPU_PIN, "sklearn")
    assert (repository.installed(), list(repository.staged())) == ({}, ["m"])
    repository.install("m", CPU_PIN, "onnx")
    assert 'backend: "onnxruntime"' in config(repository)


def test_a_standby_leaves_the_server_s_folder_and_keeps_its_files(
    repository: Repository, tmp_path: Path
) -> None:
    download(repository, model_folder(tmp_path / "source"))
    installed = repository.install("m", CPU_PIN, "sim")
    assert repository.stow("m") == installed
    assert (repository.installed(), repository.staged()) == ({}, {"m": installed})
    assert list(repository.model_dir.iterdir()) == []
    repository.install("m", GPU_PIN, "sim")
    assert config(repository).startswith(f'name: "m"\n{GPU_PIN.instance_group}\nbackend: "sim"\n')
    assert (repository.model_dir / "m" / "1" / "weights").read_text() == "source"


class Stopped(BaseException):
    """The process ends here."""


def stop_after(renames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop at a rename, a replacement or a link, after so many of them."""
    left = renames

    def stopping(step: Callable[[object, object], None]) -> Callable[..., None]:
        def take(source: object, target: object, **_given: object) -> None:
            nonlocal left
            if left == 0:
                raise Stopped
            left -= 1
            step(source, target)

        return take

    for step in ("rename", "replace", "link"):
        monkeypatch.setattr(os, step, stopping(getattr(os, step)))


@pytest.mark.parametrize("renames", range(6))
def test_stopped_while_a_standby_leaves_its_files_stay(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    uri = model_folder(tmp_path / "source")
    download(repository, uri)
    installed = repository.install("m", CPU_PIN, "sim")
    stop_after(renames, monkeypatch)
    with contextlib.suppress(Stopped):
        repository.stow("m")
    monkeypatch.undo()
    again = Repository(tmp_path / "models", tmp_path / "state", Limits())
    again.prepare()
    again.recover()
    assert {**again.installed(), **again.staged()} == {"m": installed}
    assert len(again.installed()) + len(again.staged()) == 1


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("renames", range(30))
def test_stopped_after_any_rename_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int, *, replaces: bool
) -> None:
    repository = Repository(tmp_path / "models", tmp_path / "state", Limits())
    repository.prepare()
    old, new = model_folder(tmp_path / "old"), model_folder(tmp_path / "new")
    if replaces:
        download(repository, old)
        repository.install("m", CPU_PIN, "sim")
        repository.place("m", CPU_PIN, "sim")
        repository.remember_loaded("m", CPU_PIN)
    stop_after(renames, monkeypatch)
    try:
        download(repository, new)
        repository.install("m", CPU_PIN, "sim")
    except Stopped:
        pass
    monkeypatch.undo()
    again = Repository(tmp_path / "models", tmp_path / "state", Limits())
    again.prepare()
    again.recover()
    installed = again.installed().get("m")
    # What is in the server's folder is what its record says, or is known to be unknown.
    if installed is not None and installed.storage_uri is not None:
        weights = (again.model_dir / "m" / "1" / "weights").read_text()
        assert weights == {old: "old", new: "new"}[installed.storage_uri]
    if installed is None or installed.storage_uri != new:
        if "m" not in again.staged():
            download(again, new)
        again.install("m", CPU_PIN, "sim")
    assert (again.model_dir / "m" / "1" / "weights").read_text() == "new"
    assert again.installed()["m"].storage_uri == new
    assert list((again.state_dir / "trash").iterdir()) == list((again.state_dir / "parts").iterdir()) == []
    # What is kept of either is whole, whenever its keeping was stopped.
    for name, uri in (("old", old), ("new", new)):
        download(again, uri, name)
        assert (again.state_dir / "staged" / name / "model" / "1" / "weights").read_text() == name


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("renames", range(14))
def test_stopped_while_copies_change_places_both_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int, *, refused: bool
) -> None:
    """Whatever is in the server's folder afterwards, its record tells, and the copy that served is there."""
    repository = Repository(tmp_path / "models", tmp_path / "state", Limits())
    repository.prepare()
    old, new = model_folder(tmp_path / "old"), model_folder(tmp_path / "new")
    download(repository, old)
    repository.install("m", CPU_PIN, "sim")
    serving = repository.remember_loaded("m", CPU_PIN)
    download(repository, new)
    stop_after(renames, monkeypatch)
    with contextlib.suppress(Stopped):
        repository.exchange("m", GPU_PIN, "sim")
        if refused:
            repository.restore("m", serves=True)
    monkeypatch.undo()
    again = Repository(tmp_path / "models", tmp_path / "state", Limits())
    again.prepare()
    again.recover()
    copies = again.copies("m")
    assert copies.installed is not None
    weights = (again.model_dir / "m" / "1" / "weights").read_text()
    assert weights == {old: "old", new: "new"}[copies.installed.storage_uri or ""]
    if copies.former is None:
        assert copies.installed == serving
        assert copies.staged is None or copies.staged.storage_uri == new
    else:
        assert copies == Copies(installed=copies.installed, former=serving)
        assert copies.installed.loaded_pin is None
        assert copies.installed.loaded_devices == ("cpu", "gpu:1")
        assert again.restore("m", serves=True)
        assert (again.model_dir / "m" / "1" / "weights").read_text() == "old"
        assert again.installed() == {"m": serving}


def test_a_copy_that_never_served_does_not_take_the_place_of_the_one_that_did(
    repository: Repository, tmp_path: Path
) -> None:
    download(repository, model_folder(tmp_path / "good"))
    good = repository.install("m", CPU_PIN, "sim")
    for name in ("bad", "worse"):
        download(repository, model_folder(tmp_path / name))
        repository.install("m", CPU_PIN, "sim", keep=True)
    assert repository.former() == {"m": good}
    repository.discard_former("m")
    assert not repository.restore("m", serves=True)
    repository.remove("m")
    assert repository.copies("m") == Copies()


@pytest.mark.parametrize("serves", [False, True])
def test_a_copy_that_comes_back_is_newer_than_the_other_where_it_has_to_be_loaded(
    repository: Repository, tmp_path: Path, *, serves: bool
) -> None:
    """Triton compares times, and not whether files are those that it has loaded."""
    download(repository, model_folder(tmp_path / "old"))
    before = repository.install("m", CPU_PIN, "sim")
    places = [repository.model_dir / "m" / name for name in ("", "1", "config.pbtxt")]
    long_ago = (1, 1)
    for path in places:
        os.utime(path, ns=long_ago)
    files = weights_of(repository)
    download(repository, model_folder(tmp_path / "new"))
    for path in (repository.state_dir / "staged" / "m" / "model").iterdir():
        os.utime(path, ns=long_ago)
    repository.exchange("m", CPU_PIN, "sim")
    assert all(path.stat().st_mtime_ns > 1 for path in places)
    assert repository.restore("m", serves=serves)
    assert repository.installed() == {"m": before if serves else replace(before, loaded_pin=None)}
    assert all((path.stat().st_mtime_ns > 1) is not serves for path in places)
    assert weights_of(repository) == files, "they may be links to what others share"


def weights_of(repository: Repository) -> tuple[int, int]:
    known = (repository.model_dir / "m" / "1" / "weights").stat()
    return known.st_ino, known.st_mtime_ns


def test_a_failed_exchange_is_undone(repository: Repository, tmp_path: Path) -> None:
    download(repository, model_folder(tmp_path / "old"))
    before = repository.install("m", CPU_PIN, "sim")
    download(repository, model_folder(tmp_path / "new"))
    (repository.state_dir / "former").chmod(0o500)
    if os.access(repository.state_dir / "former", os.W_OK):
        (repository.state_dir / "former").rmdir()  # root may write everywhere
    with pytest.raises(OSError, match="former"):
        repository.exchange("m", GPU_PIN, "sim")
    assert repository.installed() == {"m": before}
    assert (repository.model_dir / "m" / "1" / "weights").read_text() == "old"


def test_a_record_that_cannot_be_read_is_no_record(
    repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    download(repository, model_folder(tmp_path / "source"))
    repository.install("m", CPU_PIN, "sim")
    (repository.state_dir / "records" / "m" / "record.json").write_text('{"storage_uri": 1')
    assert repository.installed() == {"m": Copy()}
    assert "a record cannot be read" in caplog.text


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="must be writable"):
        Repository(tmp_path / "file", tmp_path / "state", Limits()).prepare()


@pytest.mark.parametrize(
    ("models", "state"), [("state/trash", "state"), ("state/parts", "state"), ("models", "models/state")]
)
def test_models_and_state_in_one_another_are_refused_and_nothing_is_deleted(
    tmp_path: Path, models: str, state: str
) -> None:
    model_folder(tmp_path / models / "precious")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SettingsError, match="lies inside"):
        Repository(tmp_path / models, tmp_path / state, Limits()).prepare()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("archive", [False, True])
def test_what_is_copied_or_unpacked_counts_as_it_comes(tmp_path: Path, *, archive: bool) -> None:
    source = tmp_path / "source"
    (source / "1").mkdir(parents=True)
    (source / "1" / "weights").write_bytes(bytes(10 << 20))
    uri = source.as_uri()
    if archive:
        uri = Path(shutil.make_archive(str(tmp_path / "m"), "gztar", source)).as_uri()
    repository = Repository(
        tmp_path / "models", tmp_path / "state", Limits(disk_bytes=4 << 20, reserve_bytes=0)
    )
    repository.prepare()
    with pytest.raises(StorageError) as caught:
        download(repository, uri)
    assert caught.value.reason == "DiskFull"
    roomy = Repository(tmp_path / "models", tmp_path / "state", Limits(disk_bytes=11 << 20, reserve_bytes=0))
    assert download(roomy, uri).total_bytes == 10 << 20
    # A second one of the same content is links; one of another does not fit beside it.
    assert download(roomy, uri, "n").total_bytes == 10 << 20
    (tmp_path / "more").write_bytes(b"x" * (2 << 20))
    roomy.install("m", CPU_PIN, "onnx")
    with pytest.raises(StorageError) as caught:
        download(roomy, (tmp_path / "more").as_uri(), "o")
    assert caught.value.reason == "DiskFull"


def test_a_source_around_the_repository_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "claims" / "claim"
    repository = Repository(store / "models", store / "state", Limits(), Reach(pvc_dir=tmp_path / "claims"))
    repository.prepare()
    model_folder(store)
    for uri in (store.as_uri(), "pvc://claim", tmp_path.as_uri()):
        with pytest.raises(StorageError, match="not outside") as caught:
            download(repository, uri)
        assert caught.value.reason == "BadUri"


def test_a_source_that_would_be_deleted_with_its_model_is_refused(
    repository: Repository, tmp_path: Path
) -> None:
    inside = model_folder(repository.model_dir / "own")
    (tmp_path / "link").symlink_to(repository.model_dir / "own")
    for uri in (inside, (tmp_path / "link").as_uri()):
        with pytest.raises(StorageError, match="not outside") as caught:
            download(repository, uri)
        assert caught.value.reason == "BadUri"


def test_what_an_earlier_run_was_deleting_stops_no_start(repository: Repository) -> None:
    (repository.model_dir / ".shardpack-probe").mkdir()
    for number in range(3):
        (repository.state_dir / "trash" / f"1-{number}").mkdir()
    (repository.state_dir / "parts" / "m").mkdir()
    repository.prepare()
    repository.recover()
    left = [*(repository.state_dir / "trash").iterdir(), *(repository.state_dir / "parts").iterdir()]
    assert left == []


def test_a_tree_too_deep_to_delete_stops_no_start(
    repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    """Python deletes trees recursively; one that somebody else nested like that is left where it is."""
    folder = os.open(repository.state_dir / "trash", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    try:
        repository.prepare()
        repository.recover()
        left = list((repository.state_dir / "trash").iterdir())
        assert not left or "stay for now" in caplog.text
    finally:  # pytest could not delete it either
        subprocess.run(["rm", "-rf", repository.state_dir], check=True)


def test_a_state_directory_of_before_is_taken_up(repository: Repository, tmp_path: Path) -> None:
    """Records had no digest, and contents were not kept."""
    uri = model_folder(tmp_path / "source")
    download(repository, uri)
    repository.install("m", CPU_PIN, "sim")
    path = repository.state_dir / "records" / "m" / "record.json"
    record = json.loads(path.read_text())
    del record["digest"], record["fetched_bytes"]
    path.write_text(json.dumps(record))
    shutil.rmtree(repository.state_dir / "contents")
    again = Repository(repository.model_dir, repository.state_dir, Limits())
    again.prepare()
    again.recover()
    assert again.installed()["m"].storage_uri == uri
    assert again.installed()["m"].digest is None
    assert download(again, uri, "other").digest is not None


def test_a_removed_model_comes_back_without_its_source(repository: Repository, tmp_path: Path) -> None:
    uri = model_folder(tmp_path / "source")
    first = download(repository, uri)
    repository.install("m", CPU_PIN, "sim")
    repository.remove("m")
    again = Repository(repository.model_dir, repository.state_dir, Limits())
    again.prepare()
    second = download(again, uri)
    assert (first.fetched_bytes, second.fetched_bytes) == (first.total_bytes, 0)
    assert first.digest == second.digest
    again.install("m", GPU_PIN, "sim")
    assert "kind: KIND_GPU" in config(again)
    assert "KIND" not in (tmp_path / "source" / "config.pbtxt").read_text()


def test_a_pin_does_not_get_into_what_is_kept(repository: Repository, tmp_path: Path) -> None:
    uri = model_folder(tmp_path / "source")
    download(repository, uri)
    repository.install("m", GPU_PIN, "sim")
    download(repository, uri, "other")
    assert "KIND" not in (repository.state_dir / "staged" / "other" / "model" / "config.pbtxt").read_text()


def test_a_claim_of_the_server_s_own_folder_is_refused(tmp_path: Path) -> None:
    repository = Repository(
        tmp_path / "pvc" / "claim" / "models", tmp_path / "state", Limits(), Reach(pvc_dir=tmp_path / "pvc")
    )
    repository.prepare()
    model_folder(tmp_path / "pvc" / "claim" / "models" / "own")
    model_folder(tmp_path / "pvc" / "claim" / "other")
    with pytest.raises(StorageError, match="not outside"):
        download(repository, "pvc://claim/models/own")
    assert download(repository, "pvc://claim/other").total_bytes
