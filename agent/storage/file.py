"""``file://`` URIs: a folder or a file on a mounted volume."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.errors import StorageError
from agent.storage.limits import Budget


def local_path(uri: str) -> Path:
    """Return the path of a ``file://`` URI.

    Raises
    ------
    StorageError
        It names a host, or no absolute path.
    """
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise StorageError("BadUri", f"{uri}: write file:///absolute/path")
    return Path(path)


def copy_folder(source: Path, into: Path, *, budget: Budget) -> None:
    """Copy a folder's content into an existing, empty folder.

    Links that stay inside the source are copied as what they point to; others, devices and pipes are refused.

    Raises
    ------
    StorageError
        Something in it must not be copied, or it is too large.
    """
    _copy(source, into, root=source.resolve(strict=True), budget=budget)


def _copy(source: Path, into: Path, *, root: Path, budget: Budget) -> None:
    with os.scandir(source) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            budget.enter(entry.name)
            path = Path(entry.path)
            if entry.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
                raise StorageError(
                    "UnsafeFolder", f"{entry.name!r} is a link that leads outside the model's folder"
                )
            target = into / entry.name
            if entry.is_dir():
                target.mkdir()
                _copy(path, target, root=root, budget=budget)
            else:
                copy_file(path, target, budget=budget)


def copy_file(source: Path, target: Path, *, budget: Budget) -> None:
    """Copy one plain file.

    Raises
    ------
    StorageError
        It is not a plain file, or it is too large.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise StorageError("UnsafeFolder", f"{source.name!r} is not a plain file")
        budget.write(stream, target, executable=bool(mode & stat.S_IXUSR))
