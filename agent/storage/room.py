"""How much of the disk a download may take: what must stay free, and what others have claimed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import StorageError
from agent.storage.limits import Limits

_RESERVE_BYTES = 1 << 30
_RESERVE_SHARE = 20


def writable_bytes(folder: Path, limits: Limits) -> int:
    """Return how many bytes may still be written to a filesystem; below 0 where less than must be is free."""
    volume = os.statvfs(folder)
    reserve = limits.reserve_bytes
    if reserve is None:
        reserve = min(_RESERVE_BYTES, volume.f_blocks * volume.f_frsize // _RESERVE_SHARE)
    return volume.f_bavail * volume.f_frsize - reserve


class Room:
    """The space on the models' filesystem.

    Parameters
    ----------
    folder
        Lies on it.
    limits
        What must stay free, and what everything may be at most.
    used
        Measures what the agent's files take; slow, so it is asked only where the bound seems to be reached.
    make
        Deletes what nothing refers to, so many bytes if there are.
    borrow
        Deletes what others have there and do not need, where that was not enough for the filesystem.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        *,
        used: Callable[[], int],
        make: Callable[[int], None],
        borrow: Callable[[int], None] = lambda _amount: None,
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._used = used
        self._make = make
        self._borrow = borrow
        self._lock = threading.RLock()
        self._claims: set[Claim] = set()
        self._used_at_most: int | None = None

    @contextmanager
    def claim(self, amount: int) -> Iterator[Claim]:
        """Set aside room for a download of so many bytes, 0 where its size is not known.

        Raises
        ------
        StorageError
            There is not so much, whatever is deleted.
        """
        claim = Claim(self, amount)
        with self._lock:
            self.demand(amount)
            self._claims.add(claim)
        try:
            yield claim
        finally:
            with self._lock:
                self._claims.discard(claim)

    def spend(self, amount: int) -> None:
        """Note that a download is about to write bytes.

        Raises
        ------
        StorageError
            The disk has less room than must stay free, or everything would be more than it may be.
        """
        with self._lock:
            self.demand(amount)
            if self._used_at_most is not None:
                self._used_at_most += amount

    def demand(self, amount: int) -> None:
        """Make sure that there is room for so many bytes more than what is claimed.

        Raises
        ------
        StorageError
            There is not.
        """
        lacking = self._lacking(amount)
        if lacking > 0:
            self._make(lacking)
            self._used_at_most = None
            wanting = self._wanting(amount)
            if wanting > 0:
                self._borrow(wanting)
            lacking = self._lacking(amount)
        if lacking > 0:
            raise StorageError(
                "DiskFull", f"{lacking} bytes more are needed on the models' volume", retry="soon"
            )

    def _lacking(self, amount: int) -> int:
        """Return how many bytes too little there are, on the filesystem or below the bound."""
        lacking = self._wanting(amount)
        if self._limits.disk_bytes is not None:
            wanted = self._wanted(amount)
            lacking = max(lacking, self._measured(wanted) + wanted - self._limits.disk_bytes)
        return lacking

    def _wanting(self, amount: int) -> int:
        """Return how many bytes too little the filesystem has."""
        return self._wanted(amount) - writable_bytes(self._folder, self._limits)

    def _wanted(self, amount: int) -> int:
        return amount + sum(claim.left for claim in self._claims)

    def _measured(self, wanted: int) -> int:
        """Return what is used, exactly where it matters."""
        bound = self._limits.disk_bytes or 0
        if self._used_at_most is None or self._used_at_most + wanted > bound:
            self._used_at_most = self._used()
        return self._used_at_most


class Claim:
    """What one download has set aside and not written yet."""

    def __init__(self, room: Room, amount: int) -> None:
        self._room = room
        self.left = amount

    def spend(self, amount: int) -> None:
        """Note that so many bytes are about to be written.

        Raises
        ------
        StorageError
            The disk has less room than must stay free, or everything would be more than it may be.
        """
        self.left = max(0, self.left - amount)
        self._room.spend(amount)
