"""A folder of objects that the agents of a machine share, so that each is fetched once for all of them.

::

    <folder>/files/<ab>/<sha256>        objects as their sources gave them, read-only
    <folder>/listings/<fingerprint>     the hashes of a listing's objects, in its order
    <folder>/incoming/<fingerprint>/    a download under way, or what is left of one (`agent.storage.turns`)
    <folder>/lock                       held while room is made; says how many bytes are here at most

Whoever holds a download's lock fetches it and the others wait for its files. Locks are flocks: they end with
their process, however that ends, and the next agent goes on with the parts that are there. Nothing here is
believed: every file is hashed on its way into a model. Nothing here is needed: where the folder cannot be
used, is full, or whoever fetches does nothing, the agent fetches for itself. What is taken becomes a hard
link where that can be, else a copy (by reference where the filesystem has that), so whatever no agent has a
link to may go when there must be room, the longest unused first.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from agent.errors import StorageError
from agent.storage.contents import hash_file, is_sha256, walk
from agent.storage.limits import Budget, Limits
from agent.storage.links import copy, link
from agent.storage.room import writable_bytes
from agent.storage.source import Listing
from agent.storage.turns import (
    arriving_bytes,
    clear,
    clear_if_idle,
    held,
    read_number,
    turn,
    write_number,
)

log = logging.getLogger(__name__)

_MOST_LISTINGS = 20_000
_SILENCE_S = 120.0
"""Twice what a store that says nothing is given: whoever fetches has then stopped, and not only its store."""
_SLACK_SHARE = 20
"""Room is made for so much of the whole more, so that not every download has to measure."""
_LONG_S = 3600.0
_TRIES = 3

Fetch = Callable[[Path, Budget], Sequence[Path]]
"""Brings a listing's objects into a folder, within a budget, and returns their files in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The objects of a listing.

    Parameters
    ----------
    files
        In the listing's order, in the folder that was given; their hashes are in the budget.
    fetched_bytes
        How many were read from the source: none where another agent has read them.
    """

    files: Sequence[Path]
    fetched_bytes: int


class SharedCache:
    """Objects that several agents share.

    Parameters
    ----------
    folder
        On any filesystem with locks; nobody but agents of one user writes to it.
    limits
        ``disk_bytes`` is what everything in it may be at most, ``reserve_bytes`` what its disk keeps free.
    silence_s
        Seconds without a new byte after which another agent's download is not waited for.
    """

    def __init__(self, folder: Path, limits: Limits, *, silence_s: float = _SILENCE_S) -> None:
        self._folder = folder
        self._limits = limits
        self._silence_s = silence_s
        self._files = folder / "files"
        self._listings = folder / "listings"
        self._incoming = folder / "incoming"
        self._told: str | None = None

    @property
    def folder(self) -> Path:
        """Return where it is."""
        return self._folder

    def prepare(self) -> None:
        """Make the folders, and delete what only fills them; where that cannot be, say so."""
        try:
            self._make_folders()
            listings = sorted(walk((self._listings,)), key=lambda one: one[1].st_mtime_ns)
            for path, _ in listings[:-_MOST_LISTINGS]:
                path.unlink(missing_ok=True)
            long_ago = time.time() - _LONG_S
            for left in self._incoming.glob(".*"):  # a listing that nobody finished
                if left.stat().st_mtime < long_ago:
                    left.unlink(missing_ok=True)
        except OSError as error:
            self._tell(error)

    def gather(
        self, listing: Listing, into: Path, *, fetch: Fetch, budget: Budget, unwanted: Callable[[], bool]
    ) -> Gathered | None:
        """Return the objects of a listing as files of a folder, fetched if no agent has done that.

        Parameters
        ----------
        listing
            What is wanted; it has a fingerprint.
        into
            Where the files are made.
        fetch
            Fetches them.
        budget
            Counts what is written into that folder.
        unwanted
            Asked often; true ends it.

        Returns
        -------
        Gathered | None
            None where they cannot be had by way of this cache.

        Raises
        ------
        StorageError
            The source does not give them; SupersededError when they are not wanted any more.
        """
        try:
            found = self._gather(listing, into, fetch=fetch, budget=budget, unwanted=unwanted)
        except OSError as error:
            self._tell(error)
            return None
        self._told = None
        return found

    def _gather(
        self, listing: Listing, into: Path, *, fetch: Fetch, budget: Budget, unwanted: Callable[[], bool]
    ) -> Gathered:
        fetched = Budget(self._limits, unwanted, self)
        self._make_folders()
        for _ in range(_TRIES):
            names = self._names(listing, fetch=fetch, fetched=fetched, unwanted=unwanted)
            try:
                files = [
                    self._take(name, path, budget=budget, known=fetched.sha256)
                    for name, path in zip(names, listing.files(into), strict=True)
                ]
            except FileNotFoundError:  # room was made in this moment, or a file was not what it should be
                continue
            return Gathered(files=files, fetched_bytes=fetched.total_bytes)
        raise OSError(errno.EIO, "what was fetched is gone again and again", os.fspath(self._folder))

    def _make_folders(self) -> None:
        for folder in (self._files, self._listings, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)

    def _tell(self, error: OSError) -> None:
        """Say once why the cache is of no use: thousands of models would say the same."""
        said = error.strerror or str(error)
        if said != self._told:
            self._told = said
            log.warning(
                "the shared cache is of no use now; models are fetched without it",
                extra={"path": str(error.filename or self._folder), "error": said},
            )

    def spend(self, amount: int) -> None:
        """Note that so many bytes are about to be written here.

        Raises
        ------
        OSError
            The disk has no room for them.
        """
        if writable_bytes(self._folder, self._limits) < amount:
            raise self._full()

    def holds(self, name: str, status: os.stat_result) -> bool:
        """Return whether a file is a link to the object of this name."""
        if not is_sha256(name):
            return False
        try:
            return os.path.samestat(self._file(name).lstat(), status)
        except OSError:
            return False

    def evict(self, amount: int) -> int:
        """Delete what no agent has a link to, the longest unused first; return how many bytes that frees."""
        freed = 0
        for folder in self._idle():
            if freed >= amount:
                return freed
            freed += clear_if_idle(folder)
        unused = [(path, status) for path, status in walk((self._files,)) if status.st_nlink == 1]
        for path, status in sorted(unused, key=lambda one: one[1].st_atime_ns):
            if freed >= amount:
                break
            path.unlink(missing_ok=True)
            freed += status.st_size
            log.info("made room in the shared cache", extra={"file": path.name, "bytes": status.st_size})
        return freed

    # ---------------------------------------------------------------------------------------------- fetching

    def _names(
        self, listing: Listing, *, fetch: Fetch, fetched: Budget, unwanted: Callable[[], bool]
    ) -> Sequence[str]:
        """Return the hashes of a listing's objects, which then lie among the files."""
        fingerprint = listing.fingerprint or ""
        known = self._known(fingerprint, listing)
        if known is not None:
            return known
        folder = self._incoming / fingerprint
        with turn(folder, unwanted=unwanted, silence_s=self._silence_s) as lock:
            known = self._known(fingerprint, listing)
            if known is not None:  # whoever was waited for has brought it
                clear(folder)
                return known
            self._lend(listing, folder)
            self._claim(lock, folder, listing.total_bytes)
            try:
                files = fetch(folder, fetched)
            except StorageError as error:
                if error.reason == "Changed":  # what has come is of no use to the next listing
                    clear(folder)
                raise
            names = [self._keep(path, fetched.sha256[path.stat().st_ino]) for path in files]
            self._remember(fingerprint, names)
            clear(folder)
            return names

    def _known(self, fingerprint: str, listing: Listing) -> Sequence[str] | None:
        """Return the hashes of a listing's objects if all of them seem to be here."""
        path = self._listings / fingerprint
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
            sizes = [self._file(_checked(name)).lstat().st_size for name in names]
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, RecursionError) as error:
            log.warning("a shared listing cannot be read; it is fetched again", extra={"error": str(error)})
            return None
        if sizes != [item.total_bytes for item in listing.items]:
            return None
        _touch(path)
        return [str(name) for name in names]

    def _lend(self, listing: Listing, folder: Path) -> None:
        """Let a download begin with those objects that another listing has brought; it hashes them."""
        for item, path in zip(listing.items, listing.files(folder), strict=True):
            if is_sha256(item.sha256):
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    link(self._file(item.sha256 or ""), path)

    def _keep(self, path: Path, sha256: str) -> str:
        kept = self._file(sha256)
        kept.parent.mkdir(exist_ok=True)
        path.replace(kept)
        return sha256

    def _remember(self, fingerprint: str, names: Sequence[str]) -> None:
        temporary = self._incoming / f".{token_hex(8)}"
        temporary.write_text(json.dumps(names), encoding="utf-8")
        temporary.replace(self._listings / fingerprint)

    def _file(self, name: str) -> Path:
        return self._files / name[:2] / name

    # ------------------------------------------------------------------------------------------------ taking

    def _take(self, name: str, target: Path, *, budget: Budget, known: dict[int, str]) -> Path:
        """Make a file of an object; ``known`` are hashes of files that were just written, by inode."""
        kept, arriving = self._file(name), target.with_name(f"{target.name}.taken")
        arriving.unlink(missing_ok=True)
        try:
            if link(kept, arriving):
                budget.count(arriving.stat().st_size)
                found = known.get(arriving.stat().st_ino) or hash_file(arriving)
            else:
                found = copy(kept, arriving, budget)
            if found != name:
                log.warning("a shared file was changed by somebody; it is fetched anew", extra={"file": name})
                kept.unlink(missing_ok=True)
                raise FileNotFoundError(errno.ENOENT, "it was not what it should be", os.fspath(kept))
            arriving.replace(target)
        finally:
            arriving.unlink(missing_ok=True)  # a link would keep it in use
        budget.note(target, name)
        _touch(kept)
        return target

    # ------------------------------------------------------------------------------------------- making room

    def _claim(self, lock: int, folder: Path, total_bytes: int) -> None:
        """Set aside room for a download, and write on its lock how large it will be."""
        amount = max(0, total_bytes - sum(path.stat().st_blocks * 512 for path in folder.iterdir()))
        with held(self._folder / "lock") as notes:
            used = self._noted(notes)
            if used is None or self._lacks(used, amount) > 0:
                used = self._measured()
                lacking = self._lacks(used, amount)
                if lacking > 0:
                    used -= self.evict(lacking + (self._limits.disk_bytes or 0) // _SLACK_SHARE)
            if self._lacks(used, amount) > 0:
                raise self._full()
            write_number(lock, total_bytes)
            write_number(notes, used + amount)

    def _lacks(self, used: int, amount: int) -> int:
        """Return how many bytes too little there are for so many more."""
        most = self._limits.disk_bytes
        lacking = amount - writable_bytes(self._folder, self._limits)
        return lacking if most is None else max(lacking, used + amount - most)

    def _noted(self, notes: int) -> int | None:
        """Return how many bytes are here at most, as whoever made room last has noted; None for unknown."""
        return 0 if self._limits.disk_bytes is None else read_number(notes)

    def _measured(self) -> int:
        """Return how many bytes are here or announced."""
        kept = sum(status.st_size for _, status in walk((self._files,)))
        return kept + sum(arriving_bytes(folder) for folder in self._downloads())

    def _downloads(self) -> Sequence[Path]:
        return [path for path in self._incoming.iterdir() if path.is_dir()]

    def _idle(self) -> Sequence[Path]:
        """Return what is left of downloads, those that were let go first before others."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(self._downloads(), key=lambda folder: folder.stat().st_mtime_ns)
        return ()

    def _full(self) -> OSError:
        return OSError(errno.ENOSPC, "no room in the shared cache", os.fspath(self._folder))


# ------------------------------------------------------------------------------------------------ small steps


def _checked(name: object) -> str:
    if not isinstance(name, str) or not is_sha256(name):
        raise ValueError("it holds what is no hash")
    return name


def _touch(path: Path) -> None:
    """Note that a file was used; when it was written stays, by which a link to it is known again."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.lstat().st_mtime_ns))
