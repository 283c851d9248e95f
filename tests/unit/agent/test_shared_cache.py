"""Several agents share what one of them has fetched, and nothing that goes wrong there goes on from it."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import pytest

from agent.errors import StorageError, SupersededError
from agent.storage import turns
from agent.storage.contents import Contents
from agent.storage.limits import Budget, Limits
from agent.storage.shared import Gathered, SharedCache
from agent.storage.source import Item, Listing
from agent.storage.transfer import transfer
from tests.support.agent_process import eventually

WEIGHTS = b"weights" * 100


@dataclass
class Shelf:
    """A source of some objects that counts what is read of it.

    Parameters
    ----------
    objects
        Content by path.
    place
        Where it stands.
    hashes
        Whether it tells SHA-256s.
    """

    objects: dict[str, bytes]
    place: str = "shelf"
    hashes: bool = False
    reads: list[str] = field(default_factory=list)
    before_read: Callable[[str], None] = lambda _path: None

    def listing(self, _budget: Budget) -> Listing:
        items = [
            self._item(path, content, hashlib.sha256(content).hexdigest())
            for path, content in sorted(self.objects.items())
        ]
        return Listing(place=self.place, items=items)

    def _item(self, path: str, content: bytes, sha256: str) -> Item:
        told = sha256 if self.hashes else None
        return Item(path=path, key=path, total_bytes=len(content), etag=sha256, sha256=told)

    def read(self, item: Item, start: int, end: int | None) -> Iterator[bytes]:
        self.before_read(item.path)
        self.reads.append(item.path)
        yield self.objects[item.path][start:end]

    def close(self) -> None:
        """Do nothing."""


@dataclass
class Agent:
    """What one agent does with the cache: it gathers one model after another into folders of its own."""

    folder: Path
    cache: SharedCache
    unwanted: Callable[[], bool] = lambda: False
    models: int = 0

    def gather(self, shelf: Shelf) -> Gathered | None:
        self.models += 1
        into = self.folder / str(self.models)
        into.mkdir(parents=True)
        budget = Budget(Limits(), self.unwanted)
        listing = shelf.listing(budget)

        def fetch(folder: Path, budget: Budget) -> list[Path]:
            return list(transfer(shelf, listing, folder, budget=budget, streams=1))

        found = self.cache.gather(listing, into, fetch=fetch, budget=budget, unwanted=self.unwanted)
        if found is not None:
            for path, content in zip(found.files, sorted(shelf.objects.items()), strict=True):
                assert path.read_bytes() == content[1]
                assert budget.sha256[path.stat().st_ino] == hashlib.sha256(content[1]).hexdigest()
                assert path.stat().st_mode & 0o777 == 0o444
        return found


@pytest.fixture(params=["links", "copies"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder for the cache: on the models' filesystem, or on another one, whose files can be no links."""
    if request.param == "links":
        yield tmp_path / "shared"
        return
    other = Path("/dev/shm")
    if not os.access(other, os.W_OK) or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second filesystem")
    with tempfile.TemporaryDirectory(dir=other) as folder:
        yield Path(folder) / "shared"


def agents(tmp_path: Path, cache: Path, count: int = 2, **fields: object) -> list[Agent]:
    limits = Limits(reserve_bytes=0, **fields)  # type: ignore[arg-type]  # of the bounds alone
    return [Agent(tmp_path / f"agent{number}", SharedCache(cache, limits)) for number in range(count)]


def kept(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cache / "files").rglob("*") if path.is_file()}


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "incoming").rglob("*"))


def test_what_one_has_fetched_another_takes(tmp_path: Path, elsewhere: Path) -> None:
    one, other = agents(tmp_path, elsewhere)
    shelf = Shelf({"config.pbtxt": b"config", "1/weights": WEIGHTS, "1/same": WEIGHTS})
    first, second = one.gather(shelf), other.gather(shelf)
    assert first is not None
    assert second is not None
    assert (first.fetched_bytes, second.fetched_bytes) == (sum(map(len, shelf.objects.values())), 0)
    assert sorted(shelf.reads) == sorted(shelf.objects)
    assert sorted(kept(elsewhere).values()) == [b"config", WEIGHTS]
    assert left(elsewhere) == []
    is_link = first.files[0].stat().st_dev == elsewhere.stat().st_dev
    assert first.files[0].samefile(second.files[0]) == is_link


def test_a_new_content_is_fetched(tmp_path: Path, elsewhere: Path) -> None:
    one, other = agents(tmp_path, elsewhere)
    one.gather(Shelf({"w": b"old"}))
    shelf = Shelf({"w": b"new"})
    assert other.gather(shelf) is not None
    assert shelf.reads == ["w"]


def test_an_object_whose_hash_is_told_is_not_fetched_for_another_listing(
    tmp_path: Path, elsewhere: Path
) -> None:
    one, other = agents(tmp_path, elsewhere)
    assert one.gather(Shelf({"1/weights": WEIGHTS})) is not None
    shelf = Shelf({"1/note": b"note", "1/weights": WEIGHTS}, place="another", hashes=True)
    found = other.gather(shelf)
    assert found is not None
    assert (found.fetched_bytes, shelf.reads) == (4, ["1/note"])
    assert sorted(kept(elsewhere).values()) == [b"note", WEIGHTS]
    assert left(elsewhere) == []


def cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(WEIGHTS[1:])


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"W" + WEIGHTS[1:])
    path.chmod(0o444)


def make_writable(path: Path) -> None:
    path.chmod(0o644)


def lead_away(path: Path) -> None:
    secret = path.parents[3] / "secret"
    secret.write_bytes(WEIGHTS)
    path.unlink()
    path.symlink_to(secret)


@pytest.mark.parametrize(
    ("change", "reads"), [(cut, 2), (spoil, 2), (Path.unlink, 2), (lead_away, 2), (make_writable, 1)]
)
def test_a_file_that_somebody_changed_is_not_taken(
    tmp_path: Path, elsewhere: Path, change: Callable[[Path], None], reads: int
) -> None:
    one, other = agents(tmp_path, elsewhere)
    shelf = Shelf({"w": WEIGHTS})
    one.gather(shelf)
    (file,) = (path for path in (elsewhere / "files").rglob("*") if path.is_file())
    change(file)
    found = other.gather(shelf)
    assert found is not None
    assert not found.files[0].is_symlink()
    assert len(shelf.reads) == reads
    assert not set(other.folder.rglob("*.taken"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[1]", '["../../etc/passwd"]', '["' + "0" * 64 + '"]', "[" * 100_000]
)
def test_a_listing_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    one, other = agents(tmp_path, tmp_path / "shared")
    shelf = Shelf({"w": WEIGHTS})
    one.gather(shelf)
    (listing,) = (tmp_path / "shared" / "listings").iterdir()
    listing.write_text(text)
    assert other.gather(shelf) is not None
    assert shelf.reads == ["w", "w"]


def test_whoever_comes_later_waits_and_takes_it(tmp_path: Path, elsewhere: Path) -> None:
    one, *others = agents(tmp_path, elsewhere, count=4)
    begun, go_on = Event(), Event()

    def hold(_path: str) -> None:
        begun.set()
        go_on.wait(30)

    shelf = Shelf({"a": b"a", "w": WEIGHTS}, before_read=hold)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(one.gather, shelf)
        assert begun.wait(30)
        later = [pool.submit(other.gather, shelf) for other in others]
        assert not any(future.done() for future in later)
        go_on.set()
        found = [future.result() for future in (first, *later)]
    assert sorted(shelf.reads) == ["a", "w"]
    assert [one.fetched_bytes for one in found if one] == [1 + len(WEIGHTS), 0, 0, 0]
    assert left(elsewhere) == []


def test_turns_at_a_download_that_is_done_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_S", 1e-4)
    busy = threading.Lock()

    def take_turns(_number: int) -> int:
        for _ in range(300):
            with turns.turn(tmp_path / "one", unwanted=lambda: False, silence_s=30.0):
                assert busy.acquire(blocking=False)
                busy.release()
                turns.clear(tmp_path / "one")
        return 300

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(take_turns, range(4))) == 1200


def test_one_that_is_not_wanted_any_more_does_not_wait(tmp_path: Path) -> None:
    one, other = agents(tmp_path, tmp_path / "shared")
    asked: list[SupersededError] = []

    def ask(_path: str) -> None:
        other.unwanted = lambda: True
        with pytest.raises(SupersededError) as caught:
            other.gather(Shelf({"w": WEIGHTS}))
        asked.append(caught.value)

    assert one.gather(Shelf({"w": WEIGHTS}, before_read=ask)) is not None
    assert len(asked) == 1


def test_what_is_not_taken_to_its_end_leaves_nothing(tmp_path: Path, elsewhere: Path) -> None:
    one, other = agents(tmp_path, elsewhere)
    shelf = Shelf({"w": WEIGHTS})
    one.gather(shelf)
    other.unwanted = lambda: True
    with pytest.raises(SupersededError):
        other.gather(shelf)
    assert [path for path in other.folder.rglob("*") if path.is_file()] == []
    assert list(kept(elsewhere).values()) == [WEIGHTS]


def test_one_that_does_nothing_is_not_waited_for(tmp_path: Path) -> None:
    one, other = agents(tmp_path, tmp_path / "shared")
    other.cache = SharedCache(tmp_path / "shared", Limits(), silence_s=0.2)
    found: list[Gathered | None] = []
    shelf = Shelf({"w": WEIGHTS}, before_read=lambda _path: found.append(other.gather(Shelf({"w": WEIGHTS}))))
    assert one.gather(shelf) is not None
    assert found == [None]


def test_what_is_left_of_a_download_is_gone_on_with(tmp_path: Path) -> None:
    one, other = agents(tmp_path, tmp_path / "shared")

    def break_off(path: str) -> None:
        if path == "w":
            raise StorageError("HttpError", "status 500", retry="soon")

    shelf = Shelf({"a": b"a", "w": WEIGHTS}, before_read=break_off)
    with pytest.raises(StorageError):
        one.gather(shelf)
    shelf.before_read = lambda _path: None
    assert other.gather(shelf) is not None
    assert shelf.reads == ["a", "w"]
    assert left(tmp_path / "shared") == []


def test_what_was_changed_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    (one,) = agents(tmp_path, tmp_path / "shared", count=1)

    def change(path: str) -> None:
        if path == "w":
            raise StorageError("Changed", "it was changed meanwhile", retry="soon")

    with pytest.raises(StorageError):
        one.gather(Shelf({"a": b"a", "w": WEIGHTS}, before_read=change))
    assert left(tmp_path / "shared") == []


def test_the_longest_unused_goes_first_and_nothing_that_an_agent_has_a_link_to(tmp_path: Path) -> None:
    (one,) = agents(tmp_path, tmp_path / "shared", count=1, disk_bytes=4400)
    shelves = {name: Shelf({"w": name.encode() * 1000}) for name in "abcde"}
    for name in "abc":
        one.gather(shelves[name])
    (one.folder / "1" / "0").unlink()
    (one.folder / "3" / "0").unlink()
    one.gather(shelves["a"])
    (one.folder / "4" / "0").unlink()  # a was used after c, b is in use
    for name in "de":
        one.gather(shelves[name])
    assert {content[:1] for content in kept(tmp_path / "shared").values()} == {b"a", b"b", b"d", b"e"}


def test_what_has_no_room_is_fetched_without_it(tmp_path: Path) -> None:
    one, other = agents(tmp_path, tmp_path / "shared", disk_bytes=1000)
    assert one.gather(Shelf({"w": bytes(1001)})) is None
    assert one.gather(Shelf({"w": bytes(600)})) is not None
    assert other.gather(Shelf({"v": b"v" * 600})) is None  # the first is in use
    assert kept(tmp_path / "shared").keys() == {hashlib.sha256(bytes(600)).hexdigest()}


def test_downloads_under_way_are_reckoned_with(tmp_path: Path) -> None:
    one, other = agents(tmp_path, tmp_path / "shared", disk_bytes=1000)
    found: list[Gathered | None] = []
    inner = Shelf({"v": b"v" * 600})
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "lock").write_text("not a number")
    assert (
        one.gather(Shelf({"w": bytes(600)}, before_read=lambda _: found.append(other.gather(inner))))
        is not None
    )
    assert found == [None]
    assert inner.reads == []


def test_what_is_left_of_downloads_makes_room_first(tmp_path: Path) -> None:
    (one,) = agents(tmp_path, tmp_path / "shared", count=1, disk_bytes=20_000)
    one.gather(Shelf({"w": b"w" * 5000}))
    (one.folder / "1" / "0").unlink()

    def break_off(path: str) -> None:
        if path == "2":
            raise StorageError("HttpError", "status 500", retry="soon")

    with pytest.raises(StorageError):
        one.gather(Shelf({"1": bytes(9000), "2": bytes(10)}, before_read=break_off))
    assert left(tmp_path / "shared") != []
    assert one.gather(Shelf({"v": b"v" * 9000})) is not None
    assert left(tmp_path / "shared") == []
    assert len(kept(tmp_path / "shared")) == 2


def test_a_folder_that_cannot_be_used_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "shared").write_text("a file")
    (one,) = agents(tmp_path, tmp_path / "shared", count=1)
    with caplog.at_level(logging.WARNING):
        one.cache.prepare()
        assert one.gather(Shelf({"w": WEIGHTS})) is None
        assert one.gather(Shelf({"v": WEIGHTS})) is None
    assert len(caplog.records) == 1
    (tmp_path / "shared").unlink()
    assert one.gather(Shelf({"w": WEIGHTS})) is not None


def test_the_agent_s_own_contents_go_although_the_cache_has_a_link(tmp_path: Path) -> None:
    (one,) = agents(tmp_path, tmp_path / "shared", count=1)
    contents = Contents(tmp_path / "contents", Limits(), shared=one.cache)
    contents.prepare()
    found = one.gather(Shelf({"w": WEIGHTS}))
    assert found is not None
    contents.keep(found.files[0].parent, sha256={}, fingerprint=None)
    contents.evict(1)
    assert contents.used_bytes() == len(WEIGHTS)  # a model has it
    found.files[0].unlink()
    contents.evict(1)
    assert contents.used_bytes() == 0
    assert list(kept(tmp_path / "shared").values()) == [WEIGHTS]


def test_a_full_disk_takes_from_the_cache_what_nobody_needs(tmp_path: Path) -> None:
    (one,) = agents(tmp_path, tmp_path / "shared", count=1)
    found = one.gather(Shelf({"w": WEIGHTS}))
    assert found is not None
    found.files[0].unlink()
    contents = Contents(tmp_path / "contents", Limits(reserve_bytes=1 << 60), shared=one.cache)
    contents.prepare()
    with pytest.raises(StorageError), contents.room.claim(1):
        pass
    assert kept(tmp_path / "shared") == {}


def test_what_a_killed_agent_left_is_no_obstacle(tmp_path: Path) -> None:
    (one,) = agents(tmp_path, tmp_path / "shared", count=1)
    one.cache.prepare()
    old = tmp_path / "shared" / "incoming" / ".0011"
    old.write_text("[")
    os.utime(old, (0, 0))
    young = old.with_name(".2233")
    young.write_text("[")
    one.cache.prepare()
    assert left(tmp_path / "shared") == [".2233"]
    eventually(lambda: one.gather(Shelf({"w": WEIGHTS})) is not None, "it is fetched")
