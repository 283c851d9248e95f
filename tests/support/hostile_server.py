"""A server with Triton's model repository extension that misbehaves as it is told; it loads nothing."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Literal

Mood = Literal["well", "status 500", "status 503", "silent", "garbage", "cut off", "forgetful", "dropping"]


@dataclass(slots=True)
class Hostile:
    """What the server holds, and how it behaves now.

    Parameters
    ----------
    mood
        ``forgetful`` says that it has loaded a model and has not; ``dropping`` has, and drops it at once; the
        others are what they say.
    holds
        Models that are loaded.
    dropped
        Models that were loaded and dropped by the server itself.
    loads
        How often each was loaded.
    looks
        How often its index was asked.
    """

    mood: Mood = "well"
    holds: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    looks: int = 0
    loads: Counter[str] = field(default_factory=Counter)
    gone: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def restart(self) -> None:
        """Forget everything, as a new process."""
        self.holds = set()
        self.dropped = set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    hostile: ClassVar[Hostile]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.hostile.mood:
            case "well" | "forgetful" | "dropping":
                self._say(200, self._act())
            case "status 500" | "status 503" as mood:
                self._say(int(mood.removeprefix("status ")), b'{"error":"not today"}')
            case "silent":
                self.hostile.gone.wait(30)
                self.close_connection = True
            case "garbage":
                self._say(
                    200, b'[7, {"name": [], "state": {}}, {"name": "m", "state": "LOADING", "reason": 3'
                )
            case "cut off":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"[")
                self.close_connection = True

    do_GET = do_POST  # noqa: N815 - the name that the base looks for

    def _act(self) -> bytes:
        hostile = self.hostile
        match self.path.strip("/").split("/"):
            case ["v2"]:
                return b'{"name":"hostile","version":"0"}'
            case ["v2", "repository", "index"]:
                hostile.looks += 1
                rows = [{"name": name, "version": "1", "state": "READY"} for name in sorted(hostile.holds)]
                rows += [
                    {"name": name, "version": "1", "state": "UNAVAILABLE", "reason": "the worker died"}
                    for name in sorted(hostile.dropped)
                ]
                return json.dumps(rows).encode()
            case [*_, name, "load"] if hostile.mood != "forgetful":
                hostile.loads[name] += 1
                self._drop(name) if hostile.mood == "dropping" else self._hold(name)
            case [*_, name, "unload"]:
                hostile.holds.discard(name)
        return b""

    def _hold(self, name: str) -> None:
        self.hostile.dropped.discard(name)
        self.hostile.holds.add(name)

    def _drop(self, name: str) -> None:
        self.hostile.holds.discard(name)
        self.hostile.dropped.add(name)

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@contextmanager
def hostile_server() -> Iterator[Hostile]:
    """Run one; it is well at first."""
    hostile = Hostile()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hostile": hostile}))
    hostile.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hostile
    finally:
        hostile.gone.set()
        server.shutdown()
        server.server_close()
