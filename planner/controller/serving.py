"""The controller's own endpoints: ``/livez``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry, generate_latest

from planner.errors import Fault, InputError

_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"

Check = Callable[[], str | None]
"""Returns what is wrong; None where all is well."""


@contextmanager
def binding(address: str, port: int) -> Iterator[None]:
    """Say where nobody can listen: an address that is not this machine's, or a port that somebody has.

    Raises
    ------
    InputError
        In place of the system's error.
    """
    try:
        yield
    except OSError as error:
        message = f"cannot listen on {address} port {port}: {error.strerror or error}"
        raise InputError([Fault(path="", message=message)]) from error


class Endpoints:
    """An HTTP server in threads of its own.

    Parameters
    ----------
    address, port
        Where it listens; port 0 takes a free one.
    registry
        What ``/metrics`` shows.
    live, ready
        What ``/livez`` and ``/readyz`` ask: 200, or 503 and what is wrong.

    Raises
    ------
    InputError
        Nobody can listen there.
    """

    def __init__(
        self, address: str, port: int, *, registry: CollectorRegistry, live: Check, ready: Check
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                checks = {"/livez": live, "/readyz": ready}
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, generate_latest(registry), _METRICS)
                elif path in checks:
                    wrong = checks[path]()
                    self._answer(200 if wrong is None else 503, f"{wrong or 'ok'}\n".encode(), _TEXT)
                else:
                    self._answer(404, b"not found\n", _TEXT)

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
                """Say nothing: probes come every few seconds."""

        with binding(address, port):
            self._server = ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="endpoints", daemon=True)

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
