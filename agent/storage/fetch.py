"""Fetch a model's files, whatever its URI."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.desired import URI_SCHEMES
from agent.errors import StorageError
from agent.storage import archive, file, http
from agent.storage.layout import arrange, sync_folders
from agent.storage.limits import Budget, Limits
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
    """

    folder: Path
    total_bytes: int


def fetch(uri: str, *, into: Path, limits: Limits, unwanted: Callable[[], bool]) -> Fetched:
    """Fetch a model's files into an existing, empty folder and sync them.

    Parameters
    ----------
    uri
        ``file://`` (a folder, an archive or a file) or ``http(s)://`` (an archive or a file).
    into
        Is filled; what it holds after an error is of no use.
    limits
        What the model may cost.
    unwanted
        Asked often; true ends the download.

    Raises
    ------
    StorageError
        The files cannot be had; SupersededError when they are not wanted any more.
    """
    try:
        fetched = _fetch(uri, into, limits, unwanted)
        sync_folders(fetched.folder)
    except OSError as error:
        raise _from_os(public(uri), error) from error
    return fetched


def _fetch(uri: str, into: Path, limits: Limits, unwanted: Callable[[], bool]) -> Fetched:
    content = into / "content"
    content.mkdir()
    budget = Budget(limits, unwanted)
    match _scheme(uri):
        case "file":
            source = file.local_path(uri)
            if source.is_dir():
                file.copy_folder(source, content, budget=budget)
            elif archive.is_archive(source.name):
                archive.unpack(source, content, name=source.name, budget=budget)
            else:
                file.copy_file(source, content / source.name, budget=budget)
        case "http" | "https":
            name = http.object_name(uri)
            if archive.is_archive(name):
                http.download(uri, into / "archive", budget=Budget(limits, unwanted))
                archive.unpack(into / "archive", content, name=name, budget=budget)
                (into / "archive").unlink()
            else:
                http.download(uri, content / name, budget=budget)
        case scheme:
            raise StorageError(
                "UnsupportedUri",
                f"{public(uri)}: {_unread(scheme)}; this agent reads {', '.join(URI_SCHEMES)}",
            )
    if not any(content.iterdir()):
        raise StorageError("Empty", f"{public(uri)}: there is no file in it", retry="soon")
    return Fetched(folder=arrange(content), total_bytes=budget.total_bytes)


def _scheme(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # judged when it is asked for
        uri.encode()
    except ValueError:
        # Its text would tell parts of the URI, and the message is the reason's only home.
        raise StorageError("BadUri", "the storageUri is not a URI") from None
    return parts.scheme


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
        case errno.ENOSPC | errno.EDQUOT:
            return StorageError("DiskFull", "no room left on the models' volume", retry="soon")
        case _:
            return StorageError("IoError", f"{where}: {error.strerror or error}", retry="soon")
