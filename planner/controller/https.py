"""An HTTPS server for one kind of question: bounded in bytes, connections and time."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

from planner.controller.serving import binding
from planner.errors import Fault, InputError

_log = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 * 1024 * 1024
"""An AdmissionReview holds an object twice, and etcd takes 1.5 MiB of one."""

_MOST_CONNECTIONS = 256
"""An API server opens one for each write under way, by default 200; others are closed as they come."""
_HANDSHAKE_S, _IDLE_S = 5.0, 60.0


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """What is asked cannot be answered: an HTTP status, and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Certificates:
    """A certificate and its key, read again when their files have changed, as those of a Secret do.

    Raises
    ------
    InputError
        They cannot be read, or do not belong together.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._lock = Lock()
        self._seen = self._stamps()
        try:
            self._context = self._load()
        except OSError as error:  # ssl.SSLError is one
            faults = [Fault(path="", file=str(certificate), message=f"no certificate with its key: {error}")]
            raise InputError(faults) from error

    def context(self) -> ssl.SSLContext:
        """Return what a new connection is encrypted by; a pair that does not load leaves the last one."""
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps
                try:
                    self._context = self._load()
                    _log.info("the certificate was read again")
                except OSError as error:
                    _log.warning("the new certificate is not taken: %s", error)
            return self._context

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files, password="")  # a key with one is refused, and nobody is asked
        return context

    def _stamps(self) -> tuple[int, ...]:
        try:
            return tuple(path.stat().st_mtime_ns for path in self._files)
        except OSError:
            return ()


class HttpsServer:
    """Answers POSTs to one path, each connection in a thread of its own.

    Parameters
    ----------
    address, port
        Where it listens; port 0 takes a free one.
    certificates
        What connections are encrypted by.
    path
        The only one that there is.
    answer
        Makes of a body the JSON of an answer; raises ``Refusal`` where there is none.

    Raises
    ------
    InputError
        Nobody can listen there.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        certificates: Certificates,
        path: str,
        answer: Callable[[bytes], bytes],
    ) -> None:
        with binding(address, port):
            self._server = _Server((address, port), certificates, path=path, answer=answer)
        self._thread = Thread(target=self._server.serve_forever, name="https", daemon=True)

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        certificates: Certificates,
        *,
        path: str,
        answer: Callable[[bytes], bytes],
    ) -> None:
        self.path, self.answer = path, answer
        self._certificates = certificates
        self._places = BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            _log.warning("%d connections are open: another is closed", _MOST_CONNECTIONS)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread: who does not go on holds up nobody."""
        request.settimeout(_HANDSHAKE_S)
        with self._certificates.context().wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's
        """Note a connection that broke; scanners and probes make many."""
        _log.debug("a connection of %s ended", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        try:
            self._send(200, self.server.answer(self._body()), "application/json")
        except Refusal as refusal:
            self.close_connection = True  # what else comes on it may be a body that was not read
            self._send(refusal.status, f"{refusal}\n".encode(), "text/plain; charset=utf-8")

    def _body(self) -> bytes:
        if self.path.partition("?")[0] != self.server.path:
            raise Refusal(404, "not found")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise Refusal(411, "Content-Length is missing")
        if len(length) > 12 or int(length) > MAX_BODY_BYTES:
            raise Refusal(413, f"more than {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refusal(400, "the body ended early")
        return body

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing: what was decided is counted and told."""
