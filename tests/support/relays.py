"""Listeners on addresses of their own that pass connections on: what pods and Services of a cluster have."""

from __future__ import annotations

import random
import selectors
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress

Target = Callable[[], tuple[str, int] | None]
"""Returns where a connection goes; None where nobody takes it."""

_PIECE_BYTES = 65536


class Relays:
    """Ports of one address of 127.0.0.0/8, which Linux has without being told.

    Parameters
    ----------
    targets
        Where connections to each port go.
    """

    def __init__(self, targets: Mapping[int, Target]) -> None:
        self._targets = targets
        self.address, self._servers = _anywhere(targets)

    def open(self) -> None:
        """Take connections, if it does not."""
        if not self._servers:
            self._servers = _listen(self.address, self._targets)

    def close(self) -> None:
        """Refuse connections; those that are open go on."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers = []


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False


def _anywhere(targets: Mapping[int, Target]) -> tuple[str, list[_Server]]:
    while True:  # another test may have an address
        address = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        with suppress(OSError):
            return address, _listen(address, targets)


def _listen(address: str, targets: Mapping[int, Target]) -> list[_Server]:
    with ExitStack() as opened:
        servers = [
            opened.enter_context(_Server((address, port), _handler(target)))
            for port, target in targets.items()
        ]
        opened.pop_all()
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return servers


def _handler(target: Target) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            found = target()
            with suppress(OSError):
                if found is not None:
                    with socket.create_connection(found) as inner:
                        _relay(self.request, inner)

    return Handler


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes on both ways until both sides have ended."""
    with selectors.DefaultSelector() as ends:
        ends.register(one, selectors.EVENT_READ, other)
        ends.register(other, selectors.EVENT_READ, one)
        while ends.get_map():
            for key, _ in ends.select():
                source, sink = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                if piece := source.recv(_PIECE_BYTES):
                    sink.sendall(piece)
                else:
                    ends.unregister(source)
                    sink.shutdown(socket.SHUT_WR)
