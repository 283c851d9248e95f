"""Contents are kept once, used again while they are as they were, and go when there must be room."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import StorageError, SupersededError
from agent.storage.contents import Contents, Manifest
from agent.storage.limits import Limits

FILES = {"config.pbtxt": b"config", "1/weights": b"weights", "1/stub": b"#!"}


@pytest.fixture
def contents(tmp_path: Path) -> Contents:
    made = Contents(tmp_path / "contents", Limits())
    made.prepare()
    return made


def model(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o555 if name.endswith("stub") else 0o444)
    return folder


def keep(contents: Contents, folder: Path, fingerprint: str | None = "f") -> Manifest:
    return contents.keep(folder, sha256={}, fingerprint=fingerprint)


def read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def kept_files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "contents" / "files").rglob("*") if path.is_file())


def test_a_model_comes_back_as_links_to_the_same_files(contents: Contents, tmp_path: Path) -> None:
    kept = keep(contents, model(tmp_path / "a"))
    again = contents.lay_out("f", tmp_path / "b")
    assert again == kept
    assert read(tmp_path / "b") == FILES
    for name in FILES:
        assert (tmp_path / "a" / name).samefile(tmp_path / "b" / name)
    assert (tmp_path / "b" / "1" / "stub").stat().st_mode & 0o777 == 0o555
    assert contents.lay_out("other", tmp_path / "c") is None


def test_the_digest_is_of_paths_and_contents(contents: Contents, tmp_path: Path) -> None:
    lines = "".join(f"{name}\0{hashlib.sha256(FILES[name]).hexdigest()}\n" for name in sorted(FILES))
    expected = f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    assert keep(contents, model(tmp_path / "a")).digest == expected
    assert keep(contents, model(tmp_path / "b"), None).digest == expected
    assert keep(contents, model(tmp_path / "c", {**FILES, "1/weights": b"other"})).digest != expected


def test_equal_contents_of_different_models_are_one_file(contents: Contents, tmp_path: Path) -> None:
    keep(contents, model(tmp_path / "a", {"1/w": b"same", "2/w": b"same"}), "a")
    keep(contents, model(tmp_path / "b", {"7/other": b"same"}), None)
    assert len(kept_files(tmp_path)) == 1
    assert (tmp_path / "a" / "1" / "w").samefile(tmp_path / "b" / "7" / "other")


def test_an_empty_version_comes_back(contents: Contents, tmp_path: Path) -> None:
    (model(tmp_path / "a", {"config.pbtxt": b"ensemble"}) / "1").mkdir()
    keep(contents, tmp_path / "a")
    (tmp_path / "b").mkdir()
    contents.lay_out("f", tmp_path / "b")
    assert (tmp_path / "b" / "1").is_dir()


def let_the_clock_tick(folder: Path) -> None:
    """Return when the filesystem's clock, which is coarse, has moved on."""
    probe = folder / "probe"
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.chmod(0o600)


def write_in_place(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"WEIGHTS")


def set_back(path: Path) -> None:
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"longer than before")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def put_another(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"WEIGHTS")
    other.rename(path)


@pytest.mark.parametrize("spoil", [write_in_place, set_back, put_another, Path.unlink])
def test_a_kept_file_that_somebody_changed_is_not_used_again(
    contents: Contents, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    keep(contents, model(tmp_path / "a"))
    name = hashlib.sha256(b"weights").hexdigest()
    spoil(tmp_path / "contents" / "files" / name[:2] / name)
    (tmp_path / "b").mkdir()
    assert contents.lay_out("f", tmp_path / "b") is None
    assert read(tmp_path / "b") == {}
    # Fetched anew, it is whole again, also beside what is left of the changed one.
    keep(contents, model(tmp_path / "c"))
    assert contents.lay_out("f", tmp_path / "b") is not None
    assert read(tmp_path / "b") == FILES


def test_a_touched_file_with_its_content_is_used_again(contents: Contents, tmp_path: Path) -> None:
    keep(contents, model(tmp_path / "a"))
    for path in kept_files(tmp_path):
        os.utime(path)
    assert contents.lay_out("f", tmp_path / "b") is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": [[1]], "folders": []}', "[" * 100_000])
def test_a_listing_that_cannot_be_read_is_none(contents: Contents, tmp_path: Path, text: str) -> None:
    keep(contents, model(tmp_path / "a"))
    (tmp_path / "contents" / "listings" / "f").write_text(text)
    assert contents.lay_out("f", tmp_path / "b") is None


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV])
def test_without_links_there_are_copies(
    contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_given: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    keep(contents, model(tmp_path / "a"))
    assert contents.lay_out("f", tmp_path / "b") is not None
    assert read(tmp_path / "b") == FILES
    assert not (tmp_path / "a" / "1" / "weights").samefile(tmp_path / "b" / "1" / "weights")
    assert (tmp_path / "b" / "1" / "stub").stat().st_mode & 0o777 == 0o555


def test_only_what_no_model_uses_makes_room_and_the_first_let_go_first(
    contents: Contents, tmp_path: Path
) -> None:
    for name in ("used", "early", "late"):
        keep(contents, model(tmp_path / name, {"w": name.encode() * 1000}), name)
    (tmp_path / "late" / "w").unlink()
    let_the_clock_tick(tmp_path)
    (tmp_path / "early" / "w").unlink()  # let go after the other, whenever it came
    contents.evict(1)
    assert contents.lay_out("late", tmp_path / "x") is None
    (tmp_path / "y").mkdir()
    assert contents.lay_out("early", tmp_path / "y") is not None
    contents.evict(1 << 40)
    assert read(tmp_path / "used") == {"w": b"used" * 1000}
    assert read(tmp_path / "y") == {"w": b"early" * 1000}
    assert len(kept_files(tmp_path)) == 2


def test_what_is_left_of_downloads_goes_first_but_none_under_way(contents: Contents, tmp_path: Path) -> None:
    keep(contents, model(tmp_path / "a", {"w": b"kept"}), "a")
    (tmp_path / "a" / "w").unlink()
    with contents.incoming("idle", unwanted=lambda: False) as idle:
        (idle / "0.growing").write_bytes(bytes(10))
    with contents.incoming("busy", unwanted=lambda: False) as busy:
        (busy / "0.growing").write_bytes(bytes(10))
        assert contents.used_bytes() == 24
        contents.evict(1)
        assert (busy / "0.growing").exists()
        assert not (idle / "0.growing").exists()
        assert contents.used_bytes() == 14
        contents.evict(1 << 40)
        assert contents.used_bytes() == 10


def test_one_download_of_a_listing_at_a_time(contents: Contents) -> None:
    with contents.incoming("f", unwanted=lambda: False):
        with pytest.raises(SupersededError), contents.incoming("f", unwanted=lambda: True):
            pass
        with contents.incoming("g", unwanted=lambda: True):
            pass
    with contents.incoming("f", unwanted=lambda: True):
        pass


def test_everything_together_stays_within_its_bound(tmp_path: Path) -> None:
    contents = Contents(tmp_path / "contents", Limits(disk_bytes=100, reserve_bytes=0))
    contents.prepare()
    keep(contents, model(tmp_path / "a", {"w": bytes(60)}), "a")
    with pytest.raises(StorageError) as caught, contents.room.claim(50):
        pass
    assert (caught.value.reason, caught.value.retry) == ("DiskFull", "soon")
    assert str(caught.value) == "10 bytes more are needed on the models' volume"
    with contents.room.claim(40) as claim:
        claim.spend(40)
        with pytest.raises(StorageError), contents.room.claim(61):
            pass
    (tmp_path / "a" / "w").unlink()
    with contents.room.claim(100):
        assert contents.used_bytes() == 0


def test_a_content_that_is_lent_takes_no_room_twice(contents: Contents, tmp_path: Path) -> None:
    kept = keep(contents, model(tmp_path / "a", {"w": b"weights"}))
    sha256 = kept.files[0].sha256
    with contents.incoming("f", unwanted=lambda: False) as incoming:
        assert contents.lend(sha256, 7, incoming / "0")
        assert (incoming / "0").read_bytes() == b"weights"
        assert contents.used_bytes() == 7
        (tmp_path / "a" / "w").unlink()
        contents.evict(7)
        assert len(kept_files(tmp_path)) == 1
        assert not contents.lend(sha256, 7, incoming / "0")  # something is there
        assert not contents.lend(sha256, 8, incoming / "1")
        assert not contents.lend("0" * 64, 7, incoming / "1")
        assert not contents.lend("../../../a", 7, incoming / "1")


def test_what_a_killed_agent_left_is_no_obstacle(contents: Contents, tmp_path: Path) -> None:
    keep(contents, model(tmp_path / "a"))
    (tmp_path / "contents" / "incoming" / ".0011").write_text("{")
    (tmp_path / "contents" / "incoming" / "empty").mkdir()
    (tmp_path / "contents" / "incoming" / "begun").mkdir()
    (tmp_path / "contents" / "incoming" / "begun" / "0.growing").write_bytes(b"some")
    again = Contents(tmp_path / "contents", Limits())
    again.prepare()
    assert [path.name for path in (tmp_path / "contents" / "incoming").iterdir()] == ["begun"]
    assert again.lay_out("f", tmp_path / "b") is not None


def test_the_oldest_of_too_many_listings_are_forgotten(
    contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.storage.contents._MOST_LISTINGS", 2)
    for number, name in enumerate(("c", "a", "b")):
        keep(contents, model(tmp_path / name, {"w": b"w"}), name)
        os.utime(tmp_path / "contents" / "listings" / name, (number, number))
    contents.prepare()
    assert {path.name for path in (tmp_path / "contents" / "listings").iterdir()} == {"a", "b"}
