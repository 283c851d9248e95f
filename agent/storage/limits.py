"""What a download may cost, and the one way that bytes are counted, hashed and written to disk."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.errors import StorageError, SupersededError

CHUNK_BYTES = 1 << 20
DEEPEST = 64
"""Folders in one another: deleting a tree recurses, and no model is nested like that."""

# Nobody writes to a file that is shared; the agent replaces, and a server has no business there.
_PLAIN = 0o444
_EXECUTABLE = 0o555


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What models may be at most, one and all together.

    Parameters
    ----------
    total_bytes
        Sum of one model's files, unpacked; an archive as it is transferred may not be larger either.
    entries
        One model's files and folders.
    reserve_bytes
        Stays free on the models' filesystem; None is a twentieth of it, at most 1 GiB.
    disk_bytes
        All models' files, kept contents and downloads under way together; None is as much as the reserve
        leaves.
    """

    total_bytes: int = 1 << 40
    entries: int = 100_000
    reserve_bytes: int | None = None
    disk_bytes: int | None = None


class Readable(Protocol):
    """Anything with a file's ``read``."""

    def read(self, amount: int, /) -> bytes:
        """Return up to ``amount`` bytes; empty at the end."""
        ...


class Spending(Protocol):
    """Told how many bytes were written; raises where the disk has no room for more."""

    def spend(self, amount: int, /) -> None:
        """Note that so many bytes were written."""
        ...


class Budget:
    """Counts what one download has written, stops it at its limits or when nobody wants it any more.

    Several threads may write at a time.

    Parameters
    ----------
    limits
        What it may cost.
    unwanted
        Asked between chunks.
    room
        What it may take of the disk; None does not ask.
    """

    def __init__(self, limits: Limits, unwanted: Callable[[], bool], room: Spending | None = None) -> None:
        self._limits = limits
        self._unwanted = unwanted
        self._room = room
        self._lock = threading.Lock()
        self._entries = 0
        self.total_bytes = 0
        self.sha256: dict[int, str] = {}
        """Of every file that was written, by its inode: a rename on the way to its place changes nothing."""

    def enter(self, name: str) -> None:
        """Count one file or folder.

        Raises
        ------
        StorageError
            There are too many.
        SupersededError
            Nobody wants it any more.
        """
        self._entries += 1
        if self._entries > self._limits.entries:
            raise StorageError("TooLarge", f"more than {self._limits.entries} files and folders, at {name!r}")
        if self._unwanted():
            raise SupersededError

    def foresee(self, entries: int) -> None:
        """Judge a number of files and folders before any of them is looked at.

        Raises
        ------
        StorageError
            There are too many.
        """
        if entries > self._limits.entries:
            raise StorageError("TooLarge", f"more than {self._limits.entries} files and folders")

    def announce(self, total_bytes: int) -> None:
        """Judge a size before anything of it is fetched.

        Raises
        ------
        StorageError
            It is larger than a model may be.
        """
        if self.total_bytes + total_bytes > self._limits.total_bytes:
            raise StorageError("TooLarge", f"more than {self._limits.total_bytes} bytes")

    def count(self, amount: int) -> None:
        """Count bytes that are about to be written.

        Raises
        ------
        StorageError
            The model is larger than it may be, or the disk has no room for it.
        SupersededError
            Nobody wants it any more.
        """
        with self._lock:
            self.announce(amount)
            self.total_bytes += amount
        if self._unwanted():
            raise SupersededError
        if self._room is not None:
            self._room.spend(amount)

    def note(self, path: Path, sha256: str) -> None:
        """Note the hash of a file that was written in another way."""
        self.sha256[path.stat().st_ino] = sha256

    def write(self, source: Readable, target: Path, *, executable: bool = False) -> None:
        """Copy a stream into a new file that survives a crash of the machine.

        Parameters
        ----------
        source, target
            What is read, and the file that is made.
        executable
            Whether the file may be run: a model may bring programs of its own, as a python backend's stub.

        Raises
        ------
        StorageError
            The model is larger than it may be, or the disk has no room for it.
        SupersededError
            Nobody wants it any more.
        """
        digest = hashlib.sha256()
        with target.open("xb") as stream:
            while chunk := source.read(CHUNK_BYTES):
                self.count(len(chunk))
                digest.update(chunk)
                stream.write(chunk)
            stream.flush()
            seal(stream.fileno(), executable=executable)
            self.sha256[os.fstat(stream.fileno()).st_ino] = digest.hexdigest()


def seal(descriptor: int, *, executable: bool = False) -> None:
    """Make a file read-only and let its content survive a crash of the machine."""
    os.fchmod(descriptor, _EXECUTABLE if executable else _PLAIN)
    os.fsync(descriptor)
