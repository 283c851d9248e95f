"""Contents that were fetched once, by their hash, so that the same bytes are not fetched again.

::

    <folder>/files/<ab>/<sha256>[x]     one content each, read-only; models' folders are hard links to them
    <folder>/listings/<fingerprint>     what a listing came to: the model's files, their hashes and its digest
    <folder>/incoming/<fingerprint>/    downloads under way, and what is left of those that were cut short

A file with no other link is referred to by no model. Such files stay until room is needed and go then, those
that were let go first (their inode changed last when the last link to them went) before others. Nothing here
is ever needed: whatever is missing, damaged or was changed by somebody is fetched anew.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, Protocol

from agent.errors import SupersededError
from agent.storage.limits import CHUNK_BYTES, Limits, seal
from agent.storage.room import Room

log = logging.getLogger(__name__)

_MOST_LISTINGS = 20_000
_PATIENCE_S = 0.1
_SHA256 = re.compile(r"[0-9a-f]{64}")
NO_LINK = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK))
"""A filesystem without hard links, one that forbids this one, or a file that has all it may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file of a model and the content that it is a link to.

    Parameters
    ----------
    path
        In the model's folder.
    sha256, total_bytes
        Of its content.
    executable
        Whether it may be run.
    mtime_ns, inode
        Of the kept file when it was kept: other ones mean that somebody wrote to it.
    """

    path: str
    sha256: str
    total_bytes: int
    executable: bool
    mtime_ns: int
    inode: int

    @property
    def name(self) -> str:
        """Return what the content is called among the kept files."""
        return _name(self.sha256, executable=self.executable)


_fields = attrgetter("path", "sha256", "total_bytes", "executable", "mtime_ns", "inode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The files of a model as its server sees them, before a pin is written.

    Parameters
    ----------
    files
        Sorted by path.
    folders
        Those without a file in them, as an ensemble's version.
    """

    files: tuple[StoredFile, ...]
    folders: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return ``sha256:`` and the hash over the sorted (path, sha256 of content)."""
        lines = "".join(f"{file.path}\0{file.sha256}\n" for file in self.files)
        return f"sha256:{hashlib.sha256(lines.encode('utf-8', 'surrogateescape')).hexdigest()}"

    @property
    def total_bytes(self) -> int:
        """Return the sum of the files' sizes."""
        return sum(file.total_bytes for file in self.files)


class Sharer(Protocol):
    """A folder outside that may hold links to kept contents."""

    @property
    def folder(self) -> Path:
        """Return where it is."""
        ...

    def holds(self, name: str, status: os.stat_result) -> bool:
        """Return whether a content is a link to what is there."""
        ...

    def evict(self, amount: int) -> int:
        """Delete what nobody has a link to, so many bytes if there are; return how many."""
        ...


class Contents:
    """The kept contents of one agent.

    Parameters
    ----------
    folder
        Its own, on the filesystem of the models.
    limits
        What the disk must keep free, and what everything may be at most.
    parts
        Where downloads are put together, beside what comes in here; counted with it.
    shared
        What several agents share; None where there is none.
    """

    def __init__(
        self, folder: Path, limits: Limits, *, parts: Path | None = None, shared: Sharer | None = None
    ) -> None:
        self._shared = shared
        self._parts = () if parts is None else (parts,)
        self._files = folder / "files"
        self._listings = folder / "listings"
        self._incoming = folder / "incoming"
        self._lock = threading.Lock()
        self._evicting = threading.Lock()
        self._held: set[str] = set()
        self.room = Room(folder, limits, used=self.used_bytes, make=self.evict, borrow=self._borrow)

    def prepare(self) -> None:
        """Make the folders, and forget the oldest of too many listings."""
        for folder in (self._files, self._listings, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)
        listings = [(entry.stat().st_mtime_ns, entry.path) for entry in os.scandir(self._listings)]
        for _, path in sorted(listings)[:-_MOST_LISTINGS]:
            Path(path).unlink()
        for left in self._incoming.iterdir():
            if not left.is_dir():
                left.unlink()
            elif not any(left.iterdir()):
                left.rmdir()

    # --------------------------------------------------------------------------------------------- under way

    @contextmanager
    def incoming(self, fingerprint: str, *, unwanted: Callable[[], bool]) -> Iterator[Path]:
        """Return the folder of a listing's download, for one download at a time.

        What is in it from a download that was cut short may be gone on with.

        Raises
        ------
        SupersededError
            Nobody wants it any more.
        """
        while not self._take(fingerprint):
            if unwanted():
                raise SupersededError
            time.sleep(_PATIENCE_S)
        folder = self._incoming / fingerprint
        try:
            folder.mkdir(exist_ok=True)
            yield folder
        finally:
            with self._lock:
                self._held.discard(fingerprint)

    def _take(self, fingerprint: str) -> bool:
        with self._lock:
            if fingerprint in self._held:
                return False
            self._held.add(fingerprint)
            return True

    # --------------------------------------------------------------------------------------- keeping, reusing

    def keep(self, folder: Path, *, sha256: Mapping[int, str], fingerprint: str | None) -> Manifest:
        """Keep the files of a model's folder, which become links to the kept contents.

        Parameters
        ----------
        folder
            The model, complete and synced; nobody else writes to it.
        sha256
            Hashes of its files by inode, as far as they are known.
        fingerprint
            Of the listing that it was made from; None where nothing tells whether that has changed.
        """
        files: list[StoredFile] = []
        folders: list[str] = []
        for path, inner, names in os.walk(folder):
            relative = Path(path).relative_to(folder)
            files += (self._keep(relative / name, Path(path) / name, sha256) for name in names)
            if not inner and not names:
                folders.append(str(relative))
        manifest = Manifest(
            files=tuple(sorted(files, key=lambda file: file.path)), folders=tuple(sorted(folders))
        )
        if fingerprint is not None:
            self._remember(fingerprint, manifest)
        return manifest

    def _keep(self, relative: Path, path: Path, known: Mapping[int, str]) -> StoredFile:
        status = path.stat()
        sha256 = known.get(status.st_ino) or hash_file(path)
        executable = bool(status.st_mode & stat.S_IXUSR)
        kept = self._files / sha256[:2] / _name(sha256, executable=executable)
        if not self._is_good(kept, sha256, status.st_size):
            kept.parent.mkdir(exist_ok=True)
            put(path, kept)
        elif not kept.samefile(path):
            put(kept, path)
        now = kept.stat()
        return StoredFile(
            path=relative.as_posix(),
            sha256=sha256,
            total_bytes=status.st_size,
            executable=executable,
            mtime_ns=now.st_mtime_ns,
            inode=now.st_ino,
        )

    def _is_good(self, kept: Path, sha256: str, total_bytes: int) -> bool:
        """Return whether a kept file is what its name says, by reading it."""
        try:
            return kept.stat().st_size == total_bytes and hash_file(kept) == sha256
        except FileNotFoundError:
            return False

    def _remember(self, fingerprint: str, manifest: Manifest) -> None:
        listing = self._listings / fingerprint
        temporary = self._incoming / f".{token_hex(8)}"
        content = {"files": [_fields(file) for file in manifest.files], "folders": manifest.folders}
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.rename(listing)

    def lay_out(self, fingerprint: str, into: Path) -> Manifest | None:
        """Make a model's folder of kept contents; None where they are not all here as they were.

        Parameters
        ----------
        fingerprint
            Of the listing.
        into
            An existing, empty folder; still empty where the answer is None.
        """
        listing = self._listings / fingerprint
        manifest = _read_manifest(listing)
        if manifest is None:
            return None
        if all(self._is_as_kept(file) for file in manifest.files):
            try:
                self._link(manifest, into)
            except FileNotFoundError:  # room was made in this moment
                shutil.rmtree(into)
                into.mkdir()
            else:
                os.utime(listing)
                return manifest
        listing.unlink(missing_ok=True)
        return None

    def lend(self, sha256: str, total_bytes: int, target: Path) -> bool:
        """Make a new file a link to a kept content, if there is one; its hash is left to whoever takes it."""
        kept = self._files / sha256[:2] / sha256
        try:
            return is_sha256(sha256) and kept.stat().st_size == total_bytes and _linked(kept, target)
        except (FileNotFoundError, FileExistsError):
            return False

    def _is_as_kept(self, file: StoredFile) -> bool:
        kept = self._files / file.sha256[:2] / file.name
        try:
            now = kept.stat()
        except FileNotFoundError:
            return False
        if (now.st_size, now.st_mtime_ns, now.st_ino) == (file.total_bytes, file.mtime_ns, file.inode):
            return True
        if now.st_size == file.total_bytes and hash_file(kept) == file.sha256:
            return True
        log.warning("a kept file was changed by somebody; it is fetched anew", extra={"file": kept.name})
        kept.unlink(missing_ok=True)
        return False

    def _link(self, manifest: Manifest, into: Path) -> None:
        for folder in manifest.folders:
            (into / folder).mkdir(parents=True)
        for file in manifest.files:
            target = into / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            put(self._files / file.sha256[:2] / file.name, target)

    # ------------------------------------------------------------------------------------------- making room

    def used_bytes(self) -> int:
        """Return what all kept files and all downloads under way take."""
        # What has other links where downloads are put together is a kept file.
        growing = (status.st_size for _, status in walk(self._parts) if status.st_nlink == 1)
        here = {status.st_ino: status.st_size for _, status in walk((self._files, self._incoming))}
        return sum(growing) + sum(here.values())  # a content that is lent to a download is here once

    def evict(self, amount: int) -> None:
        """Delete what nothing refers to, until so many bytes are freed or there is nothing left."""
        with self._evicting:
            candidates = sorted(
                self._unreferenced(), key=lambda one: (one[0].is_relative_to(self._files), one[1].st_ctime_ns)
            )
            for path, status in candidates:
                if amount <= 0:
                    break
                if path.parent.name in self._held:  # taken up again in this moment
                    continue
                path.unlink(missing_ok=True)
                amount -= status.st_size
                log.info("made room", extra={"file": path.name, "bytes": status.st_size})

    def _unreferenced(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the contents without a model, and what is left of downloads that nobody goes on with."""
        yield from ((path, status) for path, status in walk((self._files,)) if self._is_unused(path, status))
        with self._lock:
            held = frozenset(self._held)
        with os.scandir(self._incoming) as entries:
            idle = [Path(entry.path) for entry in entries if entry.name not in held]
        yield from walk(path for path in idle if path.is_dir())

    def _is_unused(self, path: Path, status: os.stat_result) -> bool:
        if status.st_nlink == 2 and self._shared is not None:
            return self._shared.holds(path.name, status)
        return status.st_nlink == 1

    def _borrow(self, amount: int) -> None:
        """Have what no agent needs deleted from what they share, where that lies on this filesystem."""
        if self._shared is None:
            return
        with contextlib.suppress(OSError):
            if self._shared.folder.stat().st_dev == self._files.stat().st_dev:
                self._shared.evict(amount)


def is_sha256(text: object) -> bool:
    """Return whether a text is the hash of a content, and so a file's name."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def _name(sha256: str, *, executable: bool) -> str:
    return f"{sha256}x" if executable else sha256


def walk(folders: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield every file below folders; what goes away meanwhile is left out."""
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                file = Path(path) / name
                try:
                    yield file, file.lstat()
                except FileNotFoundError:
                    continue


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def put(source: Path, target: Path) -> None:
    """Make a file a link to another, in place of what is there, or a copy where there can be no link."""
    with contextlib.suppress(FileExistsError):
        if _linked(source, target):
            return
    temporary = target.with_name(f".{token_hex(8)}")
    if not _linked(source, temporary):
        with source.open("rb") as reader, temporary.open("xb") as writer:
            _copy(reader, writer)
            seal(writer.fileno(), executable=bool(source.stat().st_mode & stat.S_IXUSR))
    temporary.replace(target)


def _linked(source: Path, target: Path) -> bool:
    """Make a link where there is nothing yet; False where there can be none."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        return False
    return True


def _copy(reader: BinaryIO, writer: BinaryIO) -> None:
    shutil.copyfileobj(reader, writer, CHUNK_BYTES)
    writer.flush()


def _read_manifest(listing: Path) -> Manifest | None:
    """Return what a listing came to, or None where that is not known or cannot be read."""
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
        files = tuple(
            StoredFile(
                path=str(path),
                sha256=str(sha256),
                total_bytes=int(size),
                executable=bool(executable),
                mtime_ns=int(mtime_ns),
                inode=int(inode),
            )
            for path, sha256, size, executable, mtime_ns, inode in content["files"]
        )
        return Manifest(files=files, folders=tuple(map(str, content["folders"])))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, TypeError, KeyError) as error:
        log.warning("a listing cannot be read; it is fetched again", extra={"error": str(error)})
        return None
