"""``file://`` URIs: a folder or a file on a mounted volume."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.errors import StorageError
from agent.storage.limits import DEEPEST, Budget
from agent.storage.uri import public


def local_path(uri: str) -> Path:
    """Return the path of a ``file://`` URI.

    Raises
    ------
    StorageError
        It names a host, or no absolute path.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise StorageError("BadUri", "the storageUri is not a URI") from None
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise StorageError("BadUri", f"{public(uri)}: write file:///absolute/path")
    return Path(path)


def copy_folder(source: Path, into: Path, *, budget: Budget) -> None:
    """Copy a folder's content into an existing, empty folder.

    Links that stay inside the source are copied as what they point to; others, links in a circle, devices and
    pipes are refused.

    Raises
    ------
    StorageError
        Something in it must not be copied, or it is too large.
    """
    _copy(source, into, root=source.resolve(strict=True), budget=budget, depth=1)


def _copy(source: Path, into: Path, *, root: Path, budget: Budget, depth: int) -> None:
    if depth > DEEPEST:
        raise StorageError("UnsafeFolder", f"folders lie more than {DEEPEST} deep in one another")
    with os.scandir(source) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            budget.enter(entry.name)
            path = Path(entry.path)
            if entry.is_symlink():
                _check_link(path, root)
            target = into / entry.name
            if entry.is_dir():
                target.mkdir()
                _copy(path, target, root=root, budget=budget, depth=depth + 1)
            else:
                copy_file(path, target, budget=budget)


def _check_link(link: Path, root: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (RuntimeError, OSError) as error:
        # Links that point to one another are a RuntimeError of pathlib's before Python 3.13.
        if isinstance(error, OSError) and error.errno != errno.ELOOP:
            raise
        raise StorageError("UnsafeFolder", f"{link.name!r} is a link in a circle") from error
    if not target.is_relative_to(root):
        raise StorageError("UnsafeFolder", f"{link.name!r} is a link that leads outside the model's folder")
    if link.parent.resolve().is_relative_to(target):
        raise StorageError("UnsafeFolder", f"{link.name!r} is a link to a folder that it lies in")


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
