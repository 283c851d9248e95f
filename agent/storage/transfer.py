"""Bring a listing's objects to disk: in parallel, in bounded memory, going on where it was cut short.

Objects come in parts of `PART_BYTES`, several at a time, each written where it belongs as it comes, so
memory does not grow with sizes. Of an object of several parts the ones that are complete are noted beside it;
a later download of the same listing (so of the same sizes and ETags) goes on with the others. The notes hold
for one boot of the machine: what the kernel had not written when the machine went down is not trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from agent.errors import StorageError
from agent.storage.limits import CHUNK_BYTES, Budget, seal
from agent.storage.source import Item, Listing, Source

log = logging.getLogger(__name__)

PART_BYTES = 16 << 20
_TRIES = 3
_LEAST_HANDED_OVER = 1 << 16  # less is hashed sooner than another thread begins
_helpers = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="md5")
_Take = Callable[[int, bytes], None]
"""Is given bytes and where they begin."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def transfer(
    source: Source, listing: Listing, folder: Path, *, budget: Budget, streams: int
) -> Sequence[Path]:
    """Bring every object of a listing into a folder and return their files, in the listing's order.

    Parameters
    ----------
    source
        Where they come from.
    listing
        What is there.
    folder
        Holds what an earlier transfer of the same listing has left, if anything, and objects that were here.
    budget
        Counts every byte that is fetched.
    streams
        How many parts are fetched at a time.

    Raises
    ------
    StorageError
        An object cannot be had whole and unchanged; what is there already stays in the folder.
    """
    etags = _Etags(source, budget)
    places = listing.files(folder)
    arriving = [Arriving(item, path, etags) for item, path in zip(listing.items, places, strict=True)]
    work: deque[tuple[Arriving, int]] = deque()
    for one in arriving:
        work += ((one, part) for part in one.missing())
    crew = _Crew(work, lambda one, part: _bring(source, one, part, budget))
    try:
        crew.run(min(streams, len(work)))
    finally:
        for one in arriving:
            one.close()
    for one in arriving:
        budget.note(one.path, one.sha256)
    return [one.path for one in arriving]


class _Crew:
    """Threads that work off parts until they are done or one has failed."""

    def __init__(self, work: deque[tuple[Arriving, int]], bring: Callable[[Arriving, int], None]) -> None:
        self._work = work
        self._bring = bring
        self._error: BaseException | None = None

    def run(self, count: int) -> None:
        """Work with so many threads, this one among them; raise what went wrong first."""
        others = [threading.Thread(target=self._go_on, daemon=True) for _ in range(count - 1)]
        for thread in others:
            thread.start()
        self._go_on()
        for thread in others:
            thread.join()
        if self._error is not None:
            raise self._error

    def _go_on(self) -> None:
        while self._error is None:
            try:
                one, part = self._work.popleft()
            except IndexError:
                return
            try:
                self._bring(one, part)
            except BaseException as error:  # noqa: BLE001 - it is raised where the threads are awaited
                if self._error is None:
                    self._error = error


def _bring(source: Source, one: Arriving, part: int, budget: Budget) -> None:
    """Fetch one part."""
    span = one.span(part)

    def take(offset: int, chunk: bytes) -> None:
        budget.count(len(chunk))
        one.take(offset, chunk, end=span[1])

    _read(source, one.item, span, take)
    one.finish(part)


def _read(source: Source, item: Item, span: tuple[int, int | None], take: _Take) -> None:
    """Pass a range on; a connection that was cut is taken up where it ended, as long as something comes."""
    start, end = span
    for _ in range(_TRIES):
        reached, cut = _follow(source, item, (start, end), take)
        if cut is None:
            return
        if not item.ranges or reached == start:
            raise cut
        log.debug("a transfer goes on", extra={"path": item.path, "error": str(cut)})
        start = reached
    raise StorageError("BrokenOff", f"{item.path!r}: cut off {_TRIES} times in a row", retry="soon")


def _follow(
    source: Source, item: Item, span: tuple[int, int | None], take: _Take
) -> tuple[int, StorageError | None]:
    """Pass on what comes of a range; return up to where that is, and what has cut it short."""
    at, end = span
    if at == end:
        return at, None
    try:
        for chunk in source.read(item, at, end):
            take(at, chunk)
            at += len(chunk)
    except StorageError as error:
        if error.reason not in ("BrokenOff", "Unreachable"):
            raise
        return at, error
    if end is None or at == end:
        return at, None
    return at, StorageError("BrokenOff", f"{item.path!r}: {end - at} bytes are missing", retry="soon")


class _Etags:
    """Whether ETags of a store that look like MD5s are none, as far as a transfer has found that out.

    Stores that encrypt with keys of their own give such ETags. Damage on the way does not come twice, so an
    object that comes twice with the same content is what the store has; then the ETags of its other objects
    are not gone by either.

    Parameters
    ----------
    source
        Gives an object a second time.
    budget
        Asked whether anybody still wants it.
    """

    def __init__(self, source: Source, budget: Budget) -> None:
        self._source = source
        self._budget = budget
        self._are_no_md5s = False

    def clear(self, one: Arriving) -> bool:
        """Return whether an object that has come is what the store has, although its MD5 is not the ETag."""
        if self._are_no_md5s:
            return True
        same = self._hashed(one) == one.sha256
        if same:
            log.info("the ETags of this store are no MD5s", extra={"path": one.item.path})
            self._are_no_md5s = True
        return same

    def _hashed(self, one: Arriving) -> str:
        """Return the SHA-256 of what comes when an object is read once more; nothing is written."""
        digest = hashlib.sha256()

        def take(_offset: int, chunk: bytes) -> None:
            self._budget.count(0)
            one.touch()
            digest.update(chunk)

        for part in range(one.parts):
            _read(self._source, one.item, one.span(part), take)
        return digest.hexdigest()


class Arriving:
    """One object on its way: a file, which of its parts are there, and the hash of its beginning.

    Parameters
    ----------
    item
        What it is.
    path
        Its file once it is complete.
    etags
        Judges an MD5 that is not the ETag.
    """

    def __init__(self, item: Item, path: Path, etags: _Etags) -> None:
        self.item = item
        self.path = path
        self.sha256 = ""
        self._etags = etags
        size = item.total_bytes
        self.parts = 1 if size is None or not item.ranges else max(1, -(-size // PART_BYTES))
        self._resumable = self.parts > 1 and item.etag is not None
        self._growing = path.with_name(f"{path.name}.growing")
        self._notes = path.with_name(f"{path.name}.parts")
        self._done: set[int] = set()
        self._lock = threading.Lock()
        self._hashing = threading.Lock()
        self._hash = self._fresh_hash()
        self._file: int | None = None

    def _fresh_hash(self) -> _Hash:
        return _Hash(with_md5=self.item.md5 is not None, aside=self.parts > 1)

    def missing(self) -> Sequence[int]:
        """Return the parts that are still to be fetched."""
        if self.path.is_file() and self.path.stat().st_size == self.item.total_bytes:
            self._hash.read_to(_opened(self.path), self.path.stat().st_size, close=True)
            self.sha256 = self._hash.sha256
            if self.item.sha256 in (None, self.sha256):
                return ()
            log.warning("a file was changed by somebody; it is fetched anew", extra={"path": self.item.path})
            self.path.unlink()
            self._hash = self._fresh_hash()
        self._done = self._noted()
        if self._done and len(self._done) == self.parts:
            self._done.discard(self.parts - 1)  # the last step is taken by whoever brings a part
        return [part for part in range(self.parts) if part not in self._done]

    def span(self, part: int) -> tuple[int, int | None]:
        """Return where a part begins and ends."""
        size = self.item.total_bytes
        if size is None or self.parts == 1:
            return 0, size
        return part * PART_BYTES, min(size, (part + 1) * PART_BYTES)

    def take(self, offset: int, chunk: bytes, *, end: int | None) -> None:
        """Write bytes where they belong.

        Raises
        ------
        StorageError
            They go on behind the end of what was asked for.
        """
        if end is not None and offset + len(chunk) > end:
            raise StorageError("Changed", f"{self.item.path!r}: more bytes than announced", retry="soon")
        file = self._open()
        view = memoryview(chunk)
        while view:
            written = os.pwrite(file, view, offset + len(chunk) - len(view))
            view = view[written:]
        if self._hashing.acquire(blocking=False):
            try:
                self._hash.take(offset, chunk)
            finally:
                self._hashing.release()

    def finish(self, part: int) -> None:
        """Note that a part is there; with the last one the object is.

        Raises
        ------
        StorageError
            The content is not what the source says that it is.
        """
        file = self._open()
        with self._lock:
            self._done.add(part)
            last = len(self._done) == self.parts
            if self._resumable:
                self._note(part)
        if last or self._hashing.acquire(blocking=False):
            if last:
                self._hashing.acquire()
            try:
                self._hash.read_to(file, self._whole_until())
            finally:
                self._hashing.release()
        if last:
            self._complete(file)

    def touch(self) -> None:
        """Show whoever waits for the file that something is done about it."""
        os.utime(self._open())

    def close(self) -> None:
        """Give up the file; what is in it stays where it can be gone on with."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
                if not self._resumable:
                    self._growing.unlink(missing_ok=True)

    def _open(self) -> int:
        with self._lock:
            if self._file is None:
                if self._done:  # whoever brought them may have been killed behind the seal
                    self._growing.chmod(0o600)
                else:
                    self._begin()
                self._file = os.open(self._growing, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            return self._file

    def _begin(self) -> None:
        if self._resumable:  # first: notes must not tell of parts that are gone
            self._notes.write_text(f"{json.dumps(_boot())}\n", encoding="utf-8")
        self._growing.unlink(missing_ok=True)

    def _note(self, part: int) -> None:
        with self._notes.open("a", encoding="utf-8") as notes:
            notes.write(f"{part}\n")

    def _noted(self) -> set[int]:
        """Return the parts that an earlier transfer has brought in this boot of the machine."""
        if not (self._resumable and self._growing.is_file()):
            return set()
        try:
            boot, *parts = self._notes.read_text(encoding="utf-8").splitlines()
            if json.loads(boot) != _boot() or _boot() is None:
                return set()
            return {int(part) for part in parts} & set(range(self.parts))
        except (OSError, ValueError):
            return set()

    def _whole_until(self) -> int:
        """Return up to where every part is there."""
        part = 0
        with self._lock:
            while part in self._done:
                part += 1
            size = self.item.total_bytes
        if part == self.parts:
            return os.fstat(self._open()).st_size if size is None else size
        return self.span(part)[0]

    def _complete(self, file: int) -> None:
        self.sha256 = self._hash.sha256
        expected = self.item.total_bytes
        if expected is not None and os.fstat(file).st_size != expected:
            self._drop()
            raise StorageError("Corrupt", f"{self.item.path!r}: not {expected} bytes long", retry="soon")
        self._compare()
        seal(file)
        with self._lock:
            os.close(file)
            self._file = None
            self._growing.rename(self.path)
            if self._resumable:
                self._notes.unlink(missing_ok=True)

    def _compare(self) -> None:
        """Compare the hashes with the source's."""
        item = self.item
        if item.sha256 is not None and item.sha256 != self.sha256:
            self._drop()
            raise StorageError("Corrupt", f"{item.path!r}: its SHA-256 is not the source's", retry="soon")
        if item.md5 is None or item.md5 == self._hash.md5:
            return
        if item.md5_is_etag and self._etags.clear(self):
            return
        self._drop()
        raise StorageError("Corrupt", f"{item.path!r}: its MD5 is not the source's", retry="soon")

    def _drop(self) -> None:
        """Forget what has come: it is not what was asked for."""
        with self._lock:
            self._growing.unlink(missing_ok=True)
            self._notes.unlink(missing_ok=True)


class _Hash:
    """SHA-256, and MD5 where it is asked for, of a file's beginning that grows.

    Parameters
    ----------
    with_md5
        Whether an MD5 is made.
    aside
        Whether another thread makes it, while this one makes the SHA-256 and waits for the next bytes. It
        takes longer than all else that is done with a byte, so one large object is done sooner then; of many
        small ones others come meanwhile, and all that is handed over costs time.
    """

    def __init__(self, *, with_md5: bool, aside: bool) -> None:
        self._aside = aside
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
        self._making: Future[None] | None = None
        self._bytes = 0

    def take(self, offset: int, chunk: bytes) -> None:
        """Go on with bytes that follow; others are read later."""
        if offset == self._bytes:
            self._update(chunk)

    def read_to(self, file: int, end: int, *, close: bool = False) -> None:
        """Go on with what a file holds up to an offset."""
        while self._bytes < end:
            chunk = os.pread(file, min(CHUNK_BYTES, end - self._bytes), self._bytes)
            if not chunk:
                break
            self._update(chunk)
        if close:
            os.close(file)

    def _update(self, chunk: bytes) -> None:
        if self._md5 is not None:
            self._await_md5()
            self._making = self._begin_md5(self._md5.update, chunk)
        self._sha256.update(chunk)
        self._bytes += len(chunk)

    def _begin_md5(self, update: Callable[[bytes], None], chunk: bytes) -> Future[None] | None:
        """Have another thread hash a chunk; None where that was done here at once."""
        if self._aside and len(chunk) >= _LEAST_HANDED_OVER:
            # The interpreter takes nothing any more once it ends, and threads may go on until then.
            with contextlib.suppress(RuntimeError):
                return _helpers.submit(update, chunk)
        update(chunk)
        return None

    def _await_md5(self) -> None:
        """Return when the MD5 has got as far as the SHA-256: one chunk at most waits for it."""
        making, self._making = self._making, None
        if making is not None:
            making.result()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str | None:
        self._await_md5()
        return None if self._md5 is None else self._md5.hexdigest()


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _boot() -> str | None:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return None
