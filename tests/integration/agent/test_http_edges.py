"""HTTP at both ends on loopback: servers that misbehave, and the agent's own answers."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import RefusedError, StorageError, UnreachableError
from agent.health import StatusServer, Views
from agent.servers.http import LONGEST_INDEX, Address, Http, Timeouts
from agent.servers.port import IndexRow, ServerInfo
from agent.servers.triton import Triton
from agent.storage import Limits, fetch

TIMEOUTS = Timeouts(connect_s=0.2, control_s=0.2, load_s=0.4)
Answer = tuple[int, dict[str, str], bytes]


class Quiet(ThreadingHTTPServer):
    """Clients here break off on purpose."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Scripted(BaseHTTPRequestHandler):
    """Answers by path; without an answer it says nothing until the client is gone."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, Answer]
    gone: threading.Event

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        if self.path not in self.answers:
            self.gone.wait(30)
            self.close_connection = True
            return
        status, headers, body = self.answers[self.path]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = int(headers.get("Content-Length", len(body))) != len(body)

    do_POST = do_GET  # noqa: N815 - the name that the base looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


Serve = Callable[[dict[str, Answer]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[tuple[ThreadingHTTPServer, threading.Event]] = []

    def start(answers: dict[str, Answer]) -> str:
        gone = threading.Event()
        handler = type("Handler", (Scripted,), {"answers": answers, "gone": gone})
        server = Quiet(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append((server, gone))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, gone in servers:
        gone.set()
        server.shutdown()
        server.server_close()


def triton(url: str) -> Triton:
    return Triton(Http(Address(url=url), connections=2, timeouts=TIMEOUTS))


def test_triton_s_answers(serve: Serve) -> None:
    rows = [{"name": "m", "version": "1", "state": "READY"}]
    server = triton(
        serve(
            {
                "/v2": (200, {}, b'{"name":"an id","version":"2.51.0"}'),
                "/v2/repository/index": (200, {}, json.dumps(rows).encode()),
                "/v2/repository/models/m/load": (200, {}, b""),
                "/v2/repository/models/m/unload": (200, {}, b""),
                "/v2/repository/models/bad/load": (400, {}, b'{"error":"no such backend"}'),
                "/v2/repository/models/odd/load": (502, {}, b"<html>"),
            }
        )
    )
    assert server.info() == ServerInfo(kind="triton", version="2.51.0")
    assert server.index() == {"m": IndexRow("READY")}
    server.load("m")
    server.unload("m")
    with pytest.raises(RefusedError, match="no such backend") as caught:
        server.load("bad")
    assert caught.value.status == 400
    with pytest.raises(RefusedError, match="<html>"):
        server.load("odd")
    server.rest()


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'"text"'])
def test_an_index_that_is_none(serve: Serve, body: bytes) -> None:
    server = triton(serve({"/v2/repository/index": (200, {}, body)}))
    with pytest.raises(RefusedError):
        server.index()


def test_a_silent_and_an_absent_server_are_unreachable(serve: Serve) -> None:
    silent = triton(serve({}))
    with pytest.raises(UnreachableError):
        silent.index()
    with pytest.raises(UnreachableError):
        silent.load("m")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        absent = triton(f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(UnreachableError):
            absent.unload("m")


class Unending(BaseHTTPRequestHandler):
    """Begins an answer that never ends: fast, a byte now and then, or its head alone."""

    protocol_version = "HTTP/1.1"
    mood: str

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        piece, wait_s = (b" " * (1 << 20), 0.0) if self.mood == "endless" else (b" ", 0.05)
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            while True:
                self.wfile.write(piece)
                time.sleep(wait_s)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture(params=["endless", "trickle"])
def unending(request: pytest.FixtureRequest) -> Iterator[str]:
    server = Quiet(("127.0.0.1", 0), type("Handler", (Unending,), {"mood": request.param}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_index_that_never_ends_does(unending: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises((UnreachableError, RefusedError), match=r"did not end in time|longer than"):
            triton(unending).index()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 4 * LONGEST_INDEX


def test_an_index_is_long_and_other_answers_are_not(serve: Serve) -> None:
    rows = json.dumps([{"name": f"m{number}", "state": "READY"} for number in range(50_000)]).encode()
    other = json.dumps({"name": "x" * (2 << 20)}).encode()
    assert len(rows) > 1 << 20
    server = triton(serve({"/v2/repository/index": (200, {}, rows), "/v2": (200, {}, other)}))
    assert len(server.index()) == 50_000
    with pytest.raises(RefusedError, match="longer than"):
        server.info()
    assert len(server.index()) == 50_000, "and the next call goes on"


@pytest.mark.parametrize("body", [b"[]", b"", b"x" * 100_000])
def test_a_connection_is_kept_over_answers(body: bytes) -> None:
    """One connection serves them all: the second would find nobody who accepts it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        http = Http(
            Address(url=f"http://127.0.0.1:{listener.getsockname()[1]}"), connections=1, timeouts=Timeouts()
        )
        thread = threading.Thread(target=answer_one, args=(listener, body))
        thread.start()
        for _ in range(3):
            assert http.call("GET", "/", read_s=5.0) == body
        http.rest()
        thread.join()


def answer_one(listener: socket.socket, body: bytes) -> None:
    """Answer whatever comes on the first connection, by turns with a length and in chunks."""
    client, _ = listener.accept()
    listener.close()
    chunked = (
        b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"%x\r\n%s\r\n" % (len(body), body) if body else b"")
        + b"0\r\n\r\n"
    )
    plain = b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    with client, client.makefile("rb") as requests:
        for number in range(3):
            while requests.readline().strip():
                pass
            client.sendall(b"HTTP/1.1 200 OK\r\n" + (chunked if number % 2 else plain))


@pytest.mark.parametrize(
    ("answer", "reason", "retry"),
    [
        ((404, {}, b""), "NotFound", "late"),
        ((403, {}, b""), "Denied", "late"),
        ((500, {}, b""), "HttpError", "soon"),
        ((503, {"Retry-After": "0"}, b""), "HttpError", "soon"),
        ((204, {}, b""), "HttpError", "late"),
        ((200, {"Content-Length": "100"}, b"short"), "BrokenOff", "soon"),
        ((302, {"Location": "/m.onnx"}, b""), "TooManyRedirects", "late"),
    ],
)
def test_downloads_that_fail(tmp_path: Path, serve: Serve, answer: Answer, reason: str, retry: str) -> None:
    with pytest.raises(StorageError) as caught:
        fetch(serve({"/m.onnx": answer}) + "/m.onnx", into=tmp_path, limits=Limits(), unwanted=lambda: False)
    assert (caught.value.reason, caught.value.retry) == (reason, retry)


def test_secrets_in_a_uri_are_not_told(tmp_path: Path, serve: Serve) -> None:
    url = serve({}).replace("http://", "http://user:secret1@")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        url = f"http://user:secret1@127.0.0.1:{port}/m.onnx?X-Signature=secret2"
        with pytest.raises(StorageError) as caught:
            fetch(url, into=tmp_path, limits=Limits(), unwanted=lambda: False)
    assert "secret" not in str(caught.value)


def test_a_redirect_is_followed(tmp_path: Path, serve: Serve) -> None:
    url = serve({"/m.onnx": (302, {"Location": "/real"}, b""), "/real": (200, {}, b"weights")})
    fetched = fetch(f"{url}/m.onnx", into=tmp_path, limits=Limits(), unwanted=lambda: False)
    assert (fetched.folder / "1" / "m.onnx").read_bytes() == b"weights"


def test_a_download_larger_than_allowed_is_cut(tmp_path: Path, serve: Serve) -> None:
    url = serve({"/m.tar": (200, {}, bytes(3_000_000))})
    with pytest.raises(StorageError) as caught:
        fetch(f"{url}/m.tar", into=tmp_path, limits=Limits(total_bytes=1_000_000), unwanted=lambda: False)
    assert caught.value.reason == "TooLarge"


VIEWS = Views(
    status=lambda _limit, _after: b"{}",
    ready=lambda: (True, "ready"),
    alive=lambda: True,
    metrics=lambda: b"",
)


def test_the_status_server_keeps_a_connection_over_several_answers() -> None:
    server = StatusServer("127.0.0.1", 0, VIEWS)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        for method, path, body in (
            ("GET", "/readyz", b"ready\n"),
            ("HEAD", "/readyz", b""),
            ("GET", "/status", b"{}"),
        ):
            connection.request(method, path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, body)
        connection.request("POST", "/status")
        assert connection.getresponse().status == 501
    finally:
        connection.close()
        server.close()


def test_half_sent_requests_take_few_threads_and_keep_nobody_out() -> None:
    before = threading.active_count()
    server = StatusServer("127.0.0.1", 0, VIEWS)
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        for number in range(300):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            half.sendall(b"GET /li")
            if number % 100 == 0:
                assert livez(server.port) == 200
        assert livez(server.port) == 200
        assert threading.active_count() - before < 80


def test_a_request_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.health._SILENCE_S", 0.5)
    server = StatusServer("127.0.0.1", 0, VIEWS)
    began_s = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as slow, contextlib.suppress(OSError):
            slow.settimeout(0.1)
            for byte in itertools.chain(b"GET /livez HTTP/1.1\r\nX: ", itertools.repeat(120)):
                slow.sendall(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    assert slow.recv(1000).startswith((b"", b"HTTP/1.1 4"))
                    break
                assert time.monotonic() - began_s < 10
        assert livez(server.port) == 200
    finally:
        server.close()


def livez(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/livez")
        return connection.getresponse().status
