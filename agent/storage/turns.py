"""Turns at a download: of all the processes that want it one has it, and what it had is left to the next.

A download has a folder with a ``lock`` in it, an flock: it ends with its process, however that ends. On the
lock stands how many bytes the download will be.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import SupersededError
from agent.storage.contents import walk

_LOCK = "lock"
_PATIENCE_S = 0.1
_LONGEST_S = 30.0
"""Whoever makes room looks at every file once, and is not waited for any longer."""


@contextmanager
def turn(folder: Path, *, unwanted: Callable[[], bool], silence_s: float) -> Iterator[int]:
    """Hold a download, whose folder is made; yields its lock.

    Parameters
    ----------
    folder
        Of the download.
    unwanted
        Asked often; true ends the waiting.
    silence_s
        Seconds without a change in the folder after which its holder is not waited for.

    Raises
    ------
    SupersededError
        Nobody wants it any more.
    TimeoutError
        Another process holds it and does nothing.
    OSError
        The folder, or locks, cannot be had.
    """
    silence = _Silence(folder, silence_s)
    while (lock := _try_lock(folder)) is None:
        if unwanted():
            raise SupersededError
        if silence.lasts():
            raise TimeoutError(errno.ETIMEDOUT, "whoever fetches it does nothing", os.fspath(folder))
        time.sleep(_PATIENCE_S)
    try:
        yield lock
    finally:
        os.close(lock)


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Hold a lock that others hold for moments.

    Raises
    ------
    OSError
        It cannot be had.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        give_up_at_s = time.monotonic() + _LONGEST_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up_at_s:
                    raise
                time.sleep(_PATIENCE_S)
        yield lock
    finally:
        os.close(lock)


def clear_if_idle(folder: Path) -> int:
    """Delete what is left of a download that nobody goes on with; return how many bytes that has freed."""
    try:
        lock = _try_lock(folder)
    except OSError:
        return 0
    if lock is None:
        return 0
    try:
        freed = sum(status.st_blocks * 512 for _, status in walk((folder,)))
        clear(folder)
        return freed
    finally:
        os.close(lock)


def clear(folder: Path) -> None:
    """Delete a download's folder; whoever does so holds its lock, and its lock goes last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == _LOCK):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another agent has come for its turn
        folder.rmdir()


def arriving_bytes(folder: Path) -> int:
    """Return what a download takes, or will."""
    there = sum(status.st_blocks * 512 for _, status in walk((folder,)))
    try:
        announced = int((folder / _LOCK).read_text(encoding="ascii") or 0)
    except (OSError, ValueError):
        return there
    return max(there, announced)


def read_number(lock: int) -> int | None:
    """Return the number that stands on a lock, None where none does."""
    try:
        return int(os.pread(lock, 32, 0))
    except ValueError:
        return None


def write_number(lock: int, number: int) -> None:
    """Write a number on a lock."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(number).encode(), 0)


class _Silence:
    """Whether nothing happens in the folder of a download."""

    def __init__(self, folder: Path, most_s: float) -> None:
        self._folder = folder
        self._most_s = most_s
        self._seen: object = None
        self._since_s = self._looked_at_s = time.monotonic()

    def lasts(self) -> bool:
        """Look at the folder, once a second at most; return whether it is the same as long ago."""
        now_s = time.monotonic()
        if now_s - self._looked_at_s >= min(1.0, self._most_s / 2):
            self._looked_at_s = now_s
            seen = sorted(
                (path.name, status.st_size, status.st_mtime_ns) for path, status in walk((self._folder,))
            )
            if seen != self._seen:
                self._seen, self._since_s = seen, now_s
        return now_s - self._since_s >= self._most_s


def _try_lock(folder: Path) -> int | None:
    """Return the lock of a download, or None where another has it; the folder is made."""
    with contextlib.suppress(FileExistsError):  # pathlib would look again, when it may be gone
        os.mkdir(folder)  # noqa: PTH102
    path = folder / _LOCK
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:  # whoever had it was done in this moment
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), path.lstat()):  # else it is that of a download that is done
            os.ftruncate(lock, 0)
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None
