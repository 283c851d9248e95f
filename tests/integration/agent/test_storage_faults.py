"""A store that cuts, fails, changes and lies: what comes is whole, or it is an error that says so."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from agent.errors import StorageError, SupersededError
from agent.repository import Repository
from agent.storage import Contents, Fetched, Limits, Reach, fetch
from agent.storage.transfer import PART_BYTES
from tests.support.fake_s3 import FakeS3, fake_s3

pytest.importorskip("obstore")

LARGE = Random(0).randbytes(3 * PART_BYTES + 12345)


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3() as store:
        yield store


Get = Callable[..., Fetched]


@pytest.fixture
def get(s3: FakeS3, tmp_path: Path) -> Get:
    contents = Contents(tmp_path / "contents", Limits())
    contents.prepare()
    taken = iter(range(1000))

    def get(uri: str, *, limits: Limits | None = None, streams: int = 4, unwanted: bool = False) -> Fetched:
        into = tmp_path / f"into-{next(taken)}"
        into.mkdir()
        reach = Reach(environment=s3.environment, streams=streams)
        return fetch(
            uri,
            into=into,
            limits=limits or Limits(),
            unwanted=lambda: unwanted,
            contents=contents,
            reach=reach,
        )

    return get


def sources(s3: FakeS3) -> tuple[str, str]:
    """Return the same large object as two kinds of source, read by two libraries."""
    s3.objects["m/1/weights"] = LARGE
    return "s3://models/m", f"{s3.url}/models/m/1/weights"


@pytest.mark.parametrize("kind", [0, 1], ids=["s3", "http"])
def test_a_large_object_comes_in_ranges(s3: FakeS3, get: Get, kind: int) -> None:
    fetched = get(sources(s3)[kind])
    assert (fetched.folder / "1" / "weights").read_bytes() == LARGE
    parts = {asked for _, asked in s3.ranges if asked}
    assert {
        f"bytes={n * PART_BYTES}-{min(len(LARGE), (n + 1) * PART_BYTES) - 1}" for n in range(1, 4)
    } <= parts


@pytest.mark.parametrize("kind", [0, 1], ids=["s3", "http"])
def test_a_connection_that_is_cut_again_and_again_is_taken_up(s3: FakeS3, get: Get, kind: int) -> None:
    uri = sources(s3)[kind]
    s3.cut_after = PART_BYTES // 2 + 1
    fetched = get(uri)
    assert (fetched.folder / "1" / "weights").read_bytes() == LARGE
    # Whatever was under way when a connection was cut is all that comes twice.
    assert s3.sent < 2 * len(LARGE)


@pytest.mark.parametrize("kind", [0, 1], ids=["s3", "http"])
def test_what_came_before_a_failure_is_not_fetched_again(s3: FakeS3, get: Get, kind: int) -> None:
    uri = sources(s3)[kind]

    def fail_in_the_end(_key: str, asked: str) -> None:
        if asked.startswith(f"bytes={3 * PART_BYTES}-"):
            s3.cut_after = 0

    s3.before_get = fail_in_the_end
    with pytest.raises(StorageError) as caught:
        get(uri, streams=1)
    assert caught.value.retry == "soon"
    s3.before_get, s3.cut_after, s3.ranges = (lambda _key, _asked: None), None, []
    fetched = get(uri, streams=1)
    assert (fetched.folder / "1" / "weights").read_bytes() == LARGE
    assert fetched.fetched_bytes == len(LARGE) - 3 * PART_BYTES
    assert f"bytes={3 * PART_BYTES}-{len(LARGE) - 1}" in {asked for _, asked in s3.ranges}


DOWNLOAD = """
import sys
from pathlib import Path
from agent.repository import Repository
from agent.storage import Limits, Reach
folder = Path(sys.argv[1])
repository = Repository(folder / "models", folder / "state", Limits(), Reach(streams=1))
repository.prepare()
repository.download("m", sys.argv[2], unwanted=lambda: False, seconds=lambda: 0.0)
"""


def test_a_download_goes_on_after_kill_9(s3: FakeS3, tmp_path: Path) -> None:
    uri = sources(s3)[0]
    stop = {"at": 2 * PART_BYTES}

    def hold(_key: str, asked: str) -> None:
        if asked.startswith(f"bytes={stop['at']}-"):
            process.kill()

    s3.before_get = hold
    process = subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, str(tmp_path), uri], env={**os.environ, **s3.environment}
    )
    assert process.wait(60) == -9
    s3.before_get, s3.sent = (lambda _key, _asked: None), 0
    repository = Repository(
        tmp_path / "models", tmp_path / "state", Limits(), Reach(environment=s3.environment)
    )
    repository.prepare()
    repository.recover()
    copy = repository.download("m", uri, unwanted=lambda: False, seconds=lambda: 0.0)
    assert copy.total_bytes == len(LARGE)
    assert copy.fetched_bytes == len(LARGE) - 2 * PART_BYTES
    weights = tmp_path / "state" / "staged" / "m" / "model" / "1" / "weights"
    assert weights.read_bytes() == LARGE


def test_a_download_that_was_killed_behind_its_seal_can_be_written(
    s3: FakeS3, get: Get, tmp_path: Path
) -> None:
    uri, modes = sources(s3)[0], list[int]()

    def deny_the_next(_key: str, asked: str) -> None:
        if asked.startswith(f"bytes={PART_BYTES}-"):
            s3.failing.append(403)

    s3.before_get = deny_the_next
    with pytest.raises(StorageError, match="403"):
        get(uri, streams=1)
    [growing] = (tmp_path / "contents" / "incoming").glob("*/*.growing")
    growing.chmod(0o444)
    s3.before_get = lambda _key, _asked: modes.append(growing.stat().st_mode & 0o777)
    assert (get(uri, streams=1).folder / "1" / "weights").read_bytes() == LARGE
    assert modes == [0o444, 0o600]  # root could write to it as it was


@pytest.mark.parametrize("kind", [0, 1], ids=["s3", "http"])
def test_an_object_that_changes_between_its_ranges_is_no_mixture(s3: FakeS3, get: Get, kind: int) -> None:
    uri = sources(s3)[kind]
    new = LARGE[::-1]

    def change(key: str, asked: str) -> None:
        if asked.startswith(f"bytes={2 * PART_BYTES}-"):
            s3.objects[key] = new

    s3.before_get = change
    with pytest.raises(StorageError) as caught:
        get(uri, streams=1)
    assert (caught.value.reason, caught.value.retry) == ("Changed", "soon")
    assert (get(uri).folder / "1" / "weights").read_bytes() == new


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_store_that_answers_with_errors(s3: FakeS3, get: Get, status: int) -> None:
    s3.objects["m/1/weights"] = b"weights"
    s3.failing = [status]
    passed_over = get("s3://models/m") if status != 429 else None
    assert passed_over is None or passed_over.total_bytes == 7
    s3.objects["n/1/weights"] = b"weights"
    s3.failing = [status] * 50
    with pytest.raises(StorageError) as caught:
        get("s3://models/n")
    assert (caught.value.reason, caught.value.retry) == ("HttpError", "soon")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["m/../../escape", "m/1/../../../escape", "m//escape", "m/1/./escape"])
def test_a_key_that_leads_outside_is_refused(s3: FakeS3, get: Get, tmp_path: Path, key: str) -> None:
    s3.objects |= {"m/1/weights": b"weights", key: b"escaped"}
    with pytest.raises(StorageError) as caught:
        get("s3://models/m")
    assert caught.value.reason == "UnsafePath"
    assert list(tmp_path.rglob("escape")) == []


@pytest.mark.parametrize("name", ["back\\slash", "n" * 256, "/".join(["d"] * 70)])
def test_a_key_that_can_be_no_file_is_refused(s3: FakeS3, get: Get, name: str) -> None:
    s3.objects |= {"m/1/weights": b"weights", f"m/{name}": b"odd"}
    with pytest.raises(StorageError) as caught:
        get("s3://models/m")
    assert caught.value.reason == "UnsafePath"


def test_an_object_that_is_a_folder_too(s3: FakeS3, get: Get) -> None:
    s3.objects |= {"m/1": b"", "m/1/weights": b"weights"}  # as consoles mark a folder
    assert [path.name for path in (get("s3://models/m").folder / "1").iterdir()] == ["weights"]
    s3.objects |= {"n/1": b"content", "n/1/weights": b"weights"}
    with pytest.raises(StorageError, match="an object and a folder"):
        get("s3://models/n")


def test_ten_thousand_keys_are_listed_page_by_page(s3: FakeS3, get: Get) -> None:
    s3.objects |= {f"m/1/{number:05}": b"" for number in range(10_000)}
    s3.objects |= {f"m2/1/{number:05}": b"x" for number in range(10_000)}
    fetched = get("s3://models/m")
    assert (len(list((fetched.folder / "1").iterdir())), s3.lists) == (10_000, 10)
    with pytest.raises(StorageError, match="more than 2000 files"):
        get("s3://models/m", limits=Limits(entries=2000))
    assert s3.lists == 13


def test_what_is_too_large_is_refused_before_a_byte_is_fetched(s3: FakeS3, get: Get) -> None:
    for uri in sources(s3):
        with pytest.raises(StorageError) as caught:
            get(uri, limits=Limits(total_bytes=len(LARGE) - 1))
        assert caught.value.reason == "TooLarge"
    assert not [key for key, asked in s3.ranges if asked]


def no_md5s(s3: FakeS3, *names: str) -> None:
    """Fill a model with objects whose ETags look like MD5s and are none."""
    for number, name in enumerate(names):
        s3.objects[f"m/1/{name}"] = name.encode()
        s3.etags[f"m/1/{name}"] = f"{number:032x}"


def spoil(s3: FakeS3, key: str, *contents: bytes) -> None:
    """Give one content after the other in place of an object, the last for ever."""
    left = list(contents)

    def spoil(asked: str, _range: str) -> None:
        if asked == key:
            s3.objects[key] = left.pop(0) if len(left) > 1 else left[0]

    s3.before_get = spoil


def test_etags_that_are_no_md5s_are_known_by_the_second_object_s_time(s3: FakeS3, get: Get) -> None:
    no_md5s(s3, *(f"{number:02}" for number in range(30)))
    assert get("s3://models/m", streams=1).total_bytes == 60
    assert len(s3.ranges) == 31  # one came twice, and the same


def test_a_large_object_of_such_a_store_comes_twice_in_ranges(s3: FakeS3, get: Get) -> None:
    s3.objects["m/1/weights"] = LARGE
    s3.etags["m/1/weights"] = "0" * 32
    assert get("s3://models/m").total_bytes == len(LARGE)
    assert s3.sent == 2 * len(LARGE)
    assert all(asked for _, asked in s3.ranges)


def test_damage_that_comes_once_is_not_taken_for_such_an_etag(s3: FakeS3, get: Get) -> None:
    s3.objects["m/1/weights"] = b"weights"
    s3.etags["m/1/weights"] = s3.etag("m/1/weights").strip('"')
    spoil(s3, "m/1/weights", b"damaged", b"weights")
    with pytest.raises(StorageError) as caught:
        get("s3://models/m")
    assert (caught.value.reason, caught.value.retry) == ("Corrupt", "soon")
    assert get("s3://models/m").total_bytes == 7


def test_one_damaged_object_does_not_excuse_another(s3: FakeS3, get: Get) -> None:
    s3.objects |= {"m/1/a": b"a1", "m/1/b": b"b1"}
    s3.etags |= {key: s3.etag(key).strip('"') for key in s3.objects}
    spoil(s3, "m/1/a", b"a2", b"a1")
    with pytest.raises(StorageError, match="'1/a'"):
        get("s3://models/m", streams=1)
    spoil(s3, "m/1/b", b"b2", b"b3")
    with pytest.raises(StorageError, match="'1/b'"):
        get("s3://models/m", streams=1)


def test_an_archive_in_a_bucket_is_unpacked(s3: FakeS3, get: Get, tmp_path: Path) -> None:
    (tmp_path / "made" / "1").mkdir(parents=True)
    (tmp_path / "made" / "1" / "weights").write_bytes(b"weights")
    archive = shutil.make_archive(str(tmp_path / "m"), "gztar", tmp_path / "made")
    s3.objects["m.tar.gz"] = Path(archive).read_bytes()
    for number, uri in enumerate(["s3://models/m.tar.gz", f"{s3.url}/models/m.tar.gz"] * 2):
        fetched = get(uri)
        assert (fetched.folder / "1" / "weights").read_bytes() == b"weights"
        assert (fetched.fetched_bytes == 0) == (number >= 2)


def test_a_new_signature_is_not_a_new_object(s3: FakeS3, get: Get) -> None:
    s3.objects["m.onnx"] = b"weights"
    base = f"{s3.url}/models/m.onnx"
    assert get(f"{base}?X-Amz-Signature=1&X-Amz-Expires=60").fetched_bytes == 7
    assert get(f"{base}?X-Amz-Signature=2&X-Amz-Expires=60").fetched_bytes == 0
    assert get(f"{base}?file=other&X-Amz-Signature=2").fetched_bytes == 7


def test_nobody_waits_for_what_is_not_wanted(s3: FakeS3, get: Get) -> None:
    for uri in sources(s3):
        with pytest.raises(SupersededError):
            get(uri, unwanted=True)
    assert s3.sent == 0


MEASURE = """
import sys
from pathlib import Path
from agent.repository import Repository
from agent.storage import Limits
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
folder = Path(sys.argv[1])
repository = Repository(folder / "models", folder / "state", Limits())
repository.prepare()
repository.download("small", sys.argv[2], unwanted=lambda: False, seconds=lambda: 0.0)
before = peak()
repository.download("large", sys.argv[3], unwanted=lambda: False, seconds=lambda: 0.0)
print(peak() - before)
"""


@pytest.mark.parametrize("kind", [0, 1], ids=["s3", "http"])
def test_memory_does_not_grow_with_sizes(s3: FakeS3, tmp_path: Path, kind: int) -> None:
    s3.objects["s/1/weights"] = bytes(2 * PART_BYTES)
    s3.objects["m/1/weights"] = bytes(8 * PART_BYTES)
    small, large = (
        ("s3://models/s", "s3://models/m")
        if kind == 0
        else (f"{s3.url}/models/s/1/weights", f"{s3.url}/models/m/1/weights")
    )
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), small, large],
        env={**os.environ, **s3.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) * 1024 < 40 << 20


def test_a_file_that_may_not_grow_is_a_full_disk(s3: FakeS3, get: Get) -> None:
    uri = sources(s3)[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PART_BYTES + 1000, hard))
    try:
        with pytest.raises(StorageError) as caught:
            get(uri)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (caught.value.reason, caught.value.retry) == ("DiskFull", "soon")
    assert get(uri).total_bytes == len(LARGE)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a filesystem of its own needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_refused_before_it_is_full_and_what_nobody_uses_makes_room(
    s3: FakeS3, tiny_disk: Path
) -> None:
    reserve = 8 << 20
    repository = Repository(
        tiny_disk / "models",
        tiny_disk / "state",
        Limits(reserve_bytes=reserve),
        Reach(environment=s3.environment),
    )
    repository.prepare()
    for number, name in enumerate("abcd"):
        s3.objects[f"{name}/1/weights"] = bytes([number]) * (20 << 20)

    def download(name: str) -> int:
        copy = repository.download(name, f"s3://models/{name}", unwanted=lambda: False, seconds=lambda: 0.0)
        assert shutil.disk_usage(tiny_disk).free >= reserve - (1 << 20)
        return copy.fetched_bytes or 0

    assert (download("a"), download("b")) == (20 << 20, 20 << 20)
    s3.sent = 0
    with pytest.raises(StorageError) as caught:
        download("c")
    assert (caught.value.reason, caught.value.retry, s3.sent) == ("DiskFull", "soon", 0)
    repository.remove("a")
    assert download("a") == 0  # its contents were kept
    repository.remove("b")
    repository.remove("a")
    assert download("c") == 20 << 20  # in place of b, which was let go first
    assert download("a") == 0
    with pytest.raises(StorageError):
        download("b")


def test_several_downloads_do_not_promise_the_same_room_twice(s3: FakeS3, tiny_disk: Path) -> None:
    contents = Contents(tiny_disk, Limits(reserve_bytes=8 << 20))
    contents.prepare()
    with contents.room.claim(40 << 20) as first:
        with pytest.raises(StorageError, match="bytes more are needed"), contents.room.claim(20 << 20):
            pass
        first.spend(40 << 20)  # and nothing was written, so there is room
        with contents.room.claim(20 << 20):
            pass
