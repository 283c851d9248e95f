"""``file://`` and ``pvc://`` URIs: a folder or a file on a mounted volume."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.errors import SettingsError, StorageError
from agent.storage.limits import DEEPEST, Budget
from agent.storage.source import checked_path, fingerprint
from agent.storage.uri import public

# The environment and memory of processes, devices, and credentials that are mounted into every pod.
_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets")))
_CLAIM = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


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


def check_readable(source: Path, allowed: Sequence[Path]) -> None:
    """Refuse a path that holds no model but what the machine or the pod keeps to itself.

    Parameters
    ----------
    source
        What ``file://`` names.
    allowed
        The only folders that it may lie in; none allows all but the system's.

    Raises
    ------
    StorageError
        It lies outside, in one of the system's folders, or around one; links are followed first.
    """
    where = public(source.as_uri())
    if any(overlap(source, system) for system in _SYSTEM):
        raise StorageError("UnsafePath", f"{where}: file:// does not read {', '.join(map(str, _SYSTEM))}")
    real = source.resolve()
    if allowed and not any(real.is_relative_to(folder.resolve()) for folder in allowed):
        raise StorageError("UnsafePath", f"{where}: lies in no --file-dir")


def claim_path(uri: str, claims: Path) -> Path:
    """Return the path of a ``pvc://<claim>/<path>`` URI.

    Parameters
    ----------
    uri
        What names it.
    claims
        Where claims are mounted, each under its name.

    Raises
    ------
    StorageError
        It names no claim, or a path that leads out of it, also by links.
    """
    parts = urlsplit(uri)
    inside = unquote(parts.path).strip("/")
    if not _CLAIM.fullmatch(parts.netloc):
        raise StorageError("BadUri", f"{public(uri)}: write pvc://claim/path")
    root = (claims / parts.netloc).resolve()
    path = root / checked_path(inside) if inside else root
    if not path.resolve().is_relative_to(root):
        raise StorageError("UnsafePath", f"{public(uri)}: leads out of the claim")
    return path


def overlap(one: Path, other: Path) -> bool:
    """Return whether two paths are the same or one lies below the other, whatever links lead there."""
    first, second = one.resolve(), other.resolve()
    return first.is_relative_to(second) or second.is_relative_to(first)


def check_apart(model_dir: Path, state_dir: Path) -> None:
    """Refuse two folders of which one lies in the other.

    The server would take the agent's files for models, or the agent, at its start, the models for what an
    earlier run has left.

    Raises
    ------
    SettingsError
        They are the same, or one lies in the other.
    """
    if overlap(model_dir, state_dir):
        inside = state_dir.resolve().is_relative_to(model_dir.resolve())
        raise SettingsError(
            f"the state directory {state_dir} lies inside the model directory {model_dir}"
            if inside
            else f"the model directory {model_dir} lies inside the state directory {state_dir}"
        )


def check_shared(shared: Path, *own: Path) -> None:
    """Refuse a folder for several agents that lies in one of an agent's own, or around it.

    Raises
    ------
    SettingsError
        It does.
    """
    for folder in own:
        if overlap(shared, folder):
            raise SettingsError(f"the shared cache {shared} lies inside {folder} or around it, not outside")


def mark(source: Path) -> str | None:
    """Return a fingerprint of a folder or a file that changes when anything below it does.

    It goes by inodes, sizes and times; what cannot be looked at has none.
    """
    try:
        if not source.is_dir():
            return fingerprint(str(source), [_marked("", source.stat())], alone=True)
        return fingerprint(str(source), _marks(source, "", depth=1), alone=False)
    except (OSError, RecursionError):
        return None


def _marks(folder: Path, inside: str, *, depth: int) -> Iterator[tuple[str, int, str]]:
    if depth > DEEPEST:
        raise RecursionError
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{inside}/{entry.name}"
            link = f"->{Path(entry.path).readlink()}" if entry.is_symlink() else ""
            if entry.is_dir():
                yield f"{path}/{link}", 0, ""
                yield from _marks(Path(entry.path), path, depth=depth + 1)
            else:
                yield _marked(f"{path}{link}", entry.stat())


def _marked(path: str, status: os.stat_result) -> tuple[str, int, str]:
    # The inode's own time changes with every write, also where a tool sets the other one back.
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return path, status.st_size, f"{status.st_dev} {status.st_ino} {status.st_mode} {times}"


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
