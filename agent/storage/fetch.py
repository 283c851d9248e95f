"""Fetch a model's files, whatever its URI."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from agent.desired import URI_SCHEMES
from agent.errors import StorageError, SupersededError
from agent.storage import archive, file
from agent.storage.bucket import SCHEMES as BUCKETS
from agent.storage.bucket import Bucket, is_azure, place_of
from agent.storage.contents import Contents, Manifest
from agent.storage.http import Web
from agent.storage.hub import Hub
from agent.storage.layout import arrange, sync_folders, tidy
from agent.storage.limits import Budget, Limits
from agent.storage.reach import Reach
from agent.storage.shared import SharedCache
from agent.storage.source import Listing, Source
from agent.storage.transfer import transfer
from agent.storage.uri import public


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A model's files on disk.

    Parameters
    ----------
    folder
        The model's folder, somewhere below the one that was given.
    total_bytes
        Sum of its files.
    fetched_bytes
        How many were read from the source: none where the contents were kept from before.
    digest
        Of the files as the server sees them.
    """

    folder: Path
    total_bytes: int
    fetched_bytes: int
    digest: str


def fetch(  # noqa: PLR0913 - what a download goes by
    uri: str,
    *,
    into: Path,
    limits: Limits,
    unwanted: Callable[[], bool],
    contents: Contents | None = None,
    reach: Reach | None = None,
    shared: SharedCache | None = None,
) -> Fetched:
    """Fetch a model's files into an existing, empty folder and sync them.

    Parameters
    ----------
    uri
        A folder, an archive or a file: ``file://``, ``pvc://``, ``http(s)://``, ``s3://``, ``gs://``, Azure
        blobs (``https://<account>.blob.core.windows.net/``, ``az://``, ``abfs(s)://``), ``hf://``.
    into
        Is filled; what it holds after an error is of no use.
    limits
        What the model may cost.
    unwanted
        Asked often; true ends the download.
    contents
        What was fetched before; None keeps nothing beyond the folder.
    reach
        Credentials and how many streams; None is the process's environment.
    shared
        What several agents have fetched; None where there is none.

    Raises
    ------
    StorageError
        The files cannot be had; SupersededError when they are not wanted any more.
    """
    if contents is None:
        contents = Contents(into / "contents", limits, parts=into / "content")
        contents.prepare()
    errand = _Errand(uri, into, limits, unwanted, contents, reach or Reach(), shared)
    try:
        fetched = errand.run()
        sync_folders(fetched.folder)
    except OSError as error:
        raise _from_os(public(uri), error) from error
    return fetched


@dataclass(frozen=True, slots=True)
class _Errand:
    """One download."""

    uri: str
    into: Path
    limits: Limits
    unwanted: Callable[[], bool]
    contents: Contents
    reach: Reach
    shared: SharedCache | None

    def run(self) -> Fetched:
        if self.unwanted():
            raise SupersededError
        parts = _split(self.uri)
        content = self.into / "content"
        content.mkdir()
        match parts.scheme:
            case "file":
                source = file.local_path(self.uri)
                file.check_readable(source, self.reach.file_dirs)
                return self._copied(source, content)
            case "pvc":
                return self._copied(file.claim_path(self.uri, self.reach.pvc_dir), content)
            case _:
                remote = self._source(parts)
                try:
                    return self._brought(remote, content)
                finally:
                    remote.close()

    def _source(self, parts: SplitResult) -> Source:
        if parts.scheme in BUCKETS or (parts.scheme == "https" and is_azure(parts)):
            return Bucket(place_of(parts), self.reach)
        if parts.scheme in ("http", "https"):
            if not parts.hostname:
                raise StorageError("BadUri", f"{public(self.uri)}: write {parts.scheme}://host/path")
            return Web(self.uri, self.reach.environment)
        if parts.scheme == "hf":
            return Hub(self.uri, self.reach.environment)
        raise StorageError(
            "UnsupportedUri",
            f"{public(self.uri)}: {_unread(parts.scheme)}; this agent reads {', '.join(URI_SCHEMES)}",
        )

    # ------------------------------------------------------------------------------------------ local sources

    def _copied(self, source: Path, content: Path) -> Fetched:
        fingerprint = file.mark(source)
        if fingerprint is not None:
            kept = self.contents.lay_out(fingerprint, content)
            if kept is not None:
                return _fetched(content, kept, 0)
        with self.contents.room.claim(0) as room:
            budget = Budget(self.limits, self.unwanted, room)
            if source.is_dir():
                file.copy_folder(source, content, budget=budget)
            elif archive.is_archive(source.name):
                archive.unpack(source, content, name=source.name, budget=budget)
            else:
                file.copy_file(source, content / source.name, budget=budget)
            # Changed while it was copied, it is like nothing that could come again.
            return self._kept(content, budget, fingerprint if file.mark(source) == fingerprint else None)

    # ----------------------------------------------------------------------------------------- remote sources

    def _brought(self, source: Source, content: Path) -> Fetched:
        listing = source.listing(Budget(self.limits, self.unwanted))
        if not listing.items:
            raise StorageError("Empty", f"{public(self.uri)}: there is no file in it", retry="soon")
        fingerprint = listing.fingerprint
        if fingerprint is None:
            incoming = self.into / "incoming"
            incoming.mkdir()
            return self._bring(source, listing, incoming, content)
        # Two models of one URI: the second finds what the first has brought.
        with self.contents.incoming(fingerprint, unwanted=self.unwanted) as incoming:
            kept = self.contents.lay_out(fingerprint, content)
            if kept is not None:
                return _fetched(content, kept, 0)
            try:
                return self._bring(source, listing, incoming, content)
            except StorageError as error:
                if error.reason == "Changed":  # what has come is of no use to the next listing
                    _empty(incoming)
                raise

    def _bring(self, source: Source, listing: Listing, incoming: Path, content: Path) -> Fetched:
        for item, path in zip(listing.items, listing.files(incoming), strict=True):
            if item.sha256 is not None and item.total_bytes is not None:
                self.contents.lend(item.sha256, item.total_bytes, path)
        there = sum(path.stat().st_blocks * 512 for path in incoming.iterdir())
        with self.contents.room.claim(max(0, listing.total_bytes - there)) as room:
            budget = Budget(self.limits, self.unwanted, room)
            if not self.reach.compare_md5:
                listing = replace(listing, items=[replace(item, md5=None) for item in listing.items])
            files, fetched_bytes = self._gathered(source, listing, incoming, budget)
            if listing.alone and archive.is_archive(listing.items[0].path):
                budget = Budget(self.limits, self.unwanted, room)
                archive.unpack(files[0], content, name=listing.items[0].path, budget=budget)
            else:
                for folder in {posixpath.dirname(item.path) for item in listing.items}:
                    (content / folder).mkdir(parents=True, exist_ok=True)
                for path, item in zip(files, listing.items, strict=True):
                    path.rename(content / item.path)
            fetched = self._kept(content, budget, listing.fingerprint, fetched_bytes)
        _empty(incoming)
        return fetched

    def _gathered(
        self, source: Source, listing: Listing, incoming: Path, budget: Budget
    ) -> tuple[Sequence[Path], int]:
        """Return a listing's objects on disk, and how many bytes were read for them."""

        def bring(folder: Path, budget: Budget) -> Sequence[Path]:
            return transfer(source, listing, folder, budget=budget, streams=self.reach.streams)

        if self.shared is not None and listing.fingerprint is not None:
            found = self.shared.gather(listing, incoming, fetch=bring, budget=budget, unwanted=self.unwanted)
            if found is not None:
                return found.files, found.fetched_bytes
        files = bring(incoming, budget)
        return files, budget.total_bytes

    def _kept(
        self, content: Path, budget: Budget, fingerprint: str | None, fetched_bytes: int | None = None
    ) -> Fetched:
        tidy(content)
        if not any(content.iterdir()):
            raise StorageError("Empty", f"{public(self.uri)}: there is no file in it", retry="soon")
        folder = arrange(content)
        kept = self.contents.keep(folder, sha256=budget.sha256, fingerprint=fingerprint)
        return _fetched(folder, kept, budget.total_bytes if fetched_bytes is None else fetched_bytes)


def _fetched(folder: Path, manifest: Manifest, fetched_bytes: int) -> Fetched:
    return Fetched(
        folder=folder,
        total_bytes=manifest.total_bytes,
        fetched_bytes=fetched_bytes,
        digest=manifest.digest,
    )


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # judged when it is asked for
        uri.encode()
    except ValueError:
        # Its text would tell parts of the URI, and the message is the reason's only home.
        raise StorageError("BadUri", "the storageUri is not a URI") from None
    return parts


def _unread(scheme: str) -> str:
    return f"nothing here reads {scheme}://" if scheme else "the URI has no scheme"


def _from_os(where: str, error: OSError) -> StorageError:
    """Return what an error of the operating system means for a download."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            # A volume may be mounted, or a folder filled, a little later.
            return StorageError("NotFound", f"{where}: no such file or folder", retry="soon")
        case errno.EACCES | errno.EPERM:
            return StorageError("Denied", f"{where}: permission denied")
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return StorageError("DiskFull", "no room left on the models' volume", retry="soon")
        case _:
            return StorageError("IoError", f"{where}: {error.strerror or error}", retry="soon")
