"""What a download may cost, and the one way that bytes are written to disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.errors import StorageError, SupersededError

_CHUNK_BYTES = 1 << 20
_EXECUTABLE = 0o755
DEEPEST = 64
"""Folders in one another: deleting a tree recurses, and no model is nested like that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one model may be at most.

    Parameters
    ----------
    total_bytes
        Sum of its files, unpacked; an archive as it is transferred may not be larger either.
    entries
        Files and folders.
    """

    total_bytes: int = 1 << 40
    entries: int = 100_000


class Readable(Protocol):
    """Anything with a file's ``read``."""

    def read(self, amount: int, /) -> bytes:
        """Return up to ``amount`` bytes; empty at the end."""
        ...


class Budget:
    """Counts what one download has written, stops it at its limits or when nobody wants it any more.

    Parameters
    ----------
    limits
        What it may cost.
    unwanted
        Asked between chunks.
    """

    def __init__(self, limits: Limits, unwanted: Callable[[], bool]) -> None:
        self._limits = limits
        self._unwanted = unwanted
        self.total_bytes = 0
        self._entries = 0

    def enter(self, name: str) -> None:
        """Count one file or folder.

        Raises
        ------
        StorageError
            There are too many.
        """
        self._entries += 1
        if self._entries > self._limits.entries:
            raise StorageError("TooLarge", f"more than {self._limits.entries} files and folders, at {name!r}")

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
            The model is larger than it may be.
        SupersededError
            Nobody wants it any more.
        """
        with target.open("xb") as stream:
            while chunk := source.read(_CHUNK_BYTES):
                self.total_bytes += len(chunk)
                if self.total_bytes > self._limits.total_bytes:
                    raise StorageError("TooLarge", f"more than {self._limits.total_bytes} bytes")
                if self._unwanted():
                    raise SupersededError
                stream.write(chunk)
            stream.flush()
            if executable:
                os.fchmod(stream.fileno(), _EXECUTABLE)
            os.fsync(stream.fileno())
