"""Probes, metrics and status over HTTP, for the kubelet, Prometheus and the controller."""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from agent.desired import MODEL_NAME
from agent.errors import SettingsError
from agent.places import Places

log = logging.getLogger(__name__)

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_LARGEST_PAGE = 100_000
_MOST_CONNECTIONS, _SILENCE_S = 64, 30.0
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What is answered: each is asked from another thread.

    Parameters
    ----------
    status
        (limit, after) -> the status document as JSON.
    ready
        Whether traffic may come, and a sentence about it.
    alive
        Whether the agent's own loop still turns.
    metrics
        The metrics' text.
    """

    status: Callable[[int | None, str | None], bytes]
    ready: Callable[[], tuple[bool, str]]
    alive: Callable[[], bool]
    metrics: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    kind: str
    body: bytes


def answer(views: Views, target: str) -> _Answer:
    """Return the answer to a GET of ``target`` (path and query)."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return _text(400, "not a URL")
    match parts.path:
        case "/livez":
            alive = views.alive()
            return _text(200 if alive else 503, "ok" if alive else "the agent's loop does not turn")
        case "/readyz":
            ready, sentence = views.ready()
            return _text(200 if ready else 503, sentence)
        case "/metrics":
            return _Answer(200, _METRICS, views.metrics())
        case "/status":
            return _status(views, parts.query)
        case _:
            return _text(404, "try /livez, /readyz, /metrics or /status")


def _status(views: Views, query: str) -> _Answer:
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    limit, after = asked.get("limit"), asked.get("continue")
    if limit is not None and not (_NUMBER.fullmatch(limit) and int(limit) <= _LARGEST_PAGE):
        return _text(400, f"limit: expected a number from 1 to {_LARGEST_PAGE}")
    if after is not None and not MODEL_NAME.fullmatch(after):
        return _text(400, "continue: expected what the page before said")
    return _Answer(200, _JSON, views.status(None if limit is None else int(limit), after))


def _text(status: int, sentence: str) -> _Answer:
    return _Answer(status, _TEXT, f"{sentence}\n".encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _SILENCE_S  # of one write; a request as a whole has as long, see `Places`
    server: _Server
    views: ClassVar[Views]

    def do_GET(self) -> None:
        self.server.places.heard(self.connection)
        try:
            self._answer()
        finally:
            self.server.places.answered(self.connection)

    def _answer(self) -> None:
        try:
            found = answer(self.views, self.path)
        except Exception:  # a fault of ours: whoever asked learns of it, and the log
            log.exception("a question to the agent ended in an error that nobody expected")
            found = _text(500, "the agent could not answer; its log says why")
        self.send_response(found.status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(len(found.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.body)

    do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Say nothing: probes come every few seconds."""

    def version_string(self) -> str:
        return "shardpack-agent"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self.places = Places(_MOST_CONNECTIONS, _SILENCE_S)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection on a thread of its own, if it finds a place."""
        if not self.places.enter(request):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # there is no thread to be had
            self.places.leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection, and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.leave(request)

    def service_actions(self) -> None:
        """Close connections that have been silent for too long; called several times a second."""
        self.places.expire()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the base's
        log.debug(
            "a request ended early", extra={"client": str(client_address), "error": repr(sys.exception())}
        )


class _Server6(_Server):
    address_family = socket.AF_INET6


class StatusServer:
    """Serves the views until it is closed.

    Parameters
    ----------
    address, port
        Where; port 0 takes a free one.
    views
        What is answered.
    """

    def __init__(self, address: str, port: int, views: Views) -> None:
        handler = type("Handler", (_Handler,), {"views": views})
        server = _Server6 if ":" in address else _Server
        self._server = server((address, port), handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.25}, name="status", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def serve_status(address: str, port: int, views: Views, *, port_file: Path | None) -> StatusServer:
    """Begin to serve, and write the port into a file if one is wanted.

    Raises
    ------
    SettingsError
        The port cannot be had, or the file not be written.
    """
    try:
        status = StatusServer(address, port, views)
    except OSError as error:
        raise SettingsError(f"cannot listen on {address}:{port}: {error}") from error
    if port_file is not None:
        temporary = port_file.with_name(f".{port_file.name}")
        try:
            temporary.write_text(f"{status.port}\n", encoding="utf-8")
            temporary.rename(port_file)
        except OSError as error:
            status.close()
            raise SettingsError(f"{port_file}: cannot be written: {error}") from error
    return status
