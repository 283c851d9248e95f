"""A fake of S3's reading half that fails as it is told; real servers are in `tests.support.real_stores`."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_PIECE_BYTES = 1 << 16


@dataclass(slots=True)
class FakeS3:
    """What the store holds and how it behaves.

    Parameters
    ----------
    objects
        Content by key, in any bucket.
    etags
        ETags that are not the content's MD5, by key.
    cut_after
        Bytes after which every answer's connection is cut; None sends all.
    failing
        Statuses of the next answers, in place of what was asked for.
    before_get
        Called with key and range before an object is given.
    ranges
        Of every GET that was answered, as (key, range).
    sent
        Bytes of objects that were given.
    lists
        Listings that were answered.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    failing: list[int] = field(default_factory=list)
    before_get: Callable[[str, str], None] = lambda _key, _range: None
    ranges: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    lists: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """Return what an agent is told to reach it."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "hunter2"}

    def etag(self, key: str) -> str:
        """Return an object's ETag, in quotes."""
        return f'"{self.etags.get(key) or hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients are killed here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ClassVar[FakeS3]

    def do_GET(self) -> None:
        store = self.store
        with store.lock:
            status = store.failing.pop(0) if store.failing else None
        if status is not None:
            self._say(status, b"<Error><Code>InternalError</Code><Message>key hunter2</Message></Error>")
            return
        parts = urlsplit(self.path)
        _, _, key = unquote(parts.path).lstrip("/").partition("/")
        if "list-type" in parts.query:
            self._list(parse_qs(parts.query))
        elif key not in store.objects:
            self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._give(key)

    do_HEAD = do_GET  # noqa: N815 - the name that the base looks for

    def _list(self, query: dict[str, list[str]]) -> None:
        store = self.store
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = [key for key in sorted(store.objects) if key.startswith(prefix) and key > after]
        page, more = keys[:1000], len(keys) > 1000
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(store.etag(key))}</ETag><Size>{len(store.objects[key])}</Size></Contents>"
            for key in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        with store.lock:
            store.lists += 1
        self._say(
            200,
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><IsTruncated>{str(more).lower()}'
            f"</IsTruncated>{token}{entries}</ListBucketResult>".encode(),
        )

    def _give(self, key: str) -> None:
        store = self.store
        asked = self.headers.get("Range", "")
        store.before_get(key, asked)
        content, etag = store.objects[key], store.etag(key)
        if self.headers.get("If-Match", etag) != etag:
            self._say(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        start, end = (int(found[1]), min(int(found[2]) + 1, len(content))) if found else (0, len(content))
        self.send_response(206 if found else 200)
        self.send_header("ETag", etag)
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        if found:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            with store.lock:
                store.ranges.append((key, asked))
            self._send(content[start:end])

    def _send(self, content: bytes) -> None:
        whole = len(content)
        if self.store.cut_after is not None:
            content = content[: self.store.cut_after]
        for at in range(0, len(content), _PIECE_BYTES):
            piece = content[at : at + _PIECE_BYTES]
            self.wfile.write(piece)
            with self.store.lock:
                self.store.sent += len(piece)
        if len(content) < whole:
            self.close_connection = True

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    """Run one, without any object."""
    store = FakeS3()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": store}))
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
