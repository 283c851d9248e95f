"""Connections that are open at a time: at most so many, and none that says nothing for long.

Whoever comes gets a place. Where all are taken, the connection gives way that is longest without a whole
request, so that half-sent requests, however many, keep out none that is sent at once.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable

_LEAVING_S = 1.0
"""For so long a connection that gives way may take to go: an answer that is just being made ends first."""


class Places:
    """Who is connected, in the order of their last whole request, or of their coming.

    Parameters
    ----------
    most
        How many connections there are at most.
    silence_s
        How long a connection may take until a request is whole.
    seconds
        A clock that only runs forward.
    """

    def __init__(self, most: int, silence_s: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self._silence_s, self._seconds = silence_s, seconds
        self._lock = threading.Lock()
        self._free = threading.Semaphore(most)
        self._due_at_s: dict[socket.socket, float] = {}

    def enter(self, connection: socket.socket) -> bool:
        """Return whether a new connection has found a place."""
        if not self._free.acquire(blocking=False):
            with self._lock:
                oldest = next(iter(self._due_at_s), None)
                if oldest is not None:
                    self._close(oldest)
            if not self._free.acquire(timeout=_LEAVING_S):
                return False
        with self._lock:
            self._due_at_s[connection] = self._seconds() + self._silence_s
        return True

    def leave(self, connection: socket.socket) -> None:
        """Give a place back."""
        with self._lock:
            self._due_at_s.pop(connection, None)
        self._free.release()

    def heard(self, connection: socket.socket) -> None:
        """Note that a request is whole: its answer takes the time that it takes."""
        with self._lock:
            if self._due_at_s.pop(connection, None) is not None:
                self._due_at_s[connection] = math.inf

    def answered(self, connection: socket.socket) -> None:
        """Note that a request is answered: the next one may take its time."""
        with self._lock:
            if connection in self._due_at_s:
                self._due_at_s[connection] = self._seconds() + self._silence_s

    def expire(self) -> None:
        """Close the connections whose time is up."""
        now_s = self._seconds()
        with self._lock:
            for connection in [one for one, due_at_s in self._due_at_s.items() if due_at_s <= now_s]:
                self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        """Have whoever reads from a connection, or writes to it, find it closed."""
        del self._due_at_s[connection]
        with contextlib.suppress(OSError):  # it has just gone
            connection.shutdown(socket.SHUT_RDWR)
