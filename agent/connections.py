"""HTTP connections on which the head of an answer ends in time.

The time limit of a socket is one for each read: a server that sends a byte of a header now and then would
hold its caller for ever. Here all of the head, interim answers included, has the time of one read.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class _Stream(io.RawIOBase):
    """What a socket receives; until a moment, while one is set."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)
        self._until_s: float | None = None

    def begin(self) -> None:
        """Have what is read from now on come within the socket's time for one read."""
        timeout_s = self._socket.gettimeout()
        self._until_s = None if timeout_s is None else time.monotonic() + timeout_s

    def end(self, timeout_s: float | None) -> None:
        """Give each read its own time again."""
        if self._until_s is not None:
            self._until_s = None
            self._socket.settimeout(timeout_s)

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Read what has come, see `io.RawIOBase`; raises TimeoutError."""
        if self._until_s is not None:
            left_s = self._until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the head of its answer did not end in time")
            self._socket.settimeout(left_s)
        return self._file.readinto(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a buffered view: what `http.client` asks a socket for."""
        return io.BufferedReader(self)

    def close(self) -> None:
        """Let the socket go."""
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._timeout_s = sock.gettimeout()
        self._stream = _Stream(sock)
        stream: Any = self._stream
        super().__init__(stream, *args, **kwargs)

    def begin(self) -> None:
        """Read the head."""
        self._stream.begin()
        super().begin()
        self._stream.end(self._timeout_s)


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class Connections(urllib3.PoolManager):
    """Kept connections by host; arguments as of `urllib3.PoolManager`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
