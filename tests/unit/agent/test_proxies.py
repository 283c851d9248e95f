"""Stores on the web that are reached by way of the environment's proxies."""

from __future__ import annotations

import socket
import ssl
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from agent.errors import StorageError
from agent.storage import Limits, Reach, fetch
from tests.support.private_ca import has_openssl, make_ca

CONTENT = b"weights"


@dataclass(slots=True)
class Proxy:
    """What a proxy was asked, and where it leads what it passes on."""

    asked: list[tuple[str, str | None]] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    tunnel_to: int = 0
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ClassVar[Proxy]

    def do_GET(self) -> None:
        self.proxy.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        target = self.proxy.redirects.get(self.path)
        self.send_response(302 if target else 200)
        if target:
            self.send_header("Location", target)
        self.send_header("Content-Length", "0" if target else str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(b"" if target else CONTENT)

    def do_CONNECT(self) -> None:
        self.proxy.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with socket.create_connection(("127.0.0.1", self.proxy.tunnel_to)) as there:
            Thread(target=_pass_on, args=(there, self.connection), daemon=True).start()
            _pass_on(self.connection, there)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:  # one of the two has gone
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up here."""


def serve(proxy: Proxy) -> _Server:
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    server = serve(made)
    made.address = f"127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without what the machine says of proxies."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


def get(uri: str, tmp_path: Path) -> bytes:
    into = tmp_path / "into"
    into.mkdir()
    fetched = fetch(uri, into=into, limits=Limits(), unwanted=lambda: False, reach=Reach(environment={}))
    return next((fetched.folder / "1").iterdir()).read_bytes()


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_store_is_asked_by_way_of_the_proxy(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    monkeypatch.setenv(variable, f"{scheme}user:p%40ss@{proxy.address}")
    assert get("http://models.invalid/m.onnx", tmp_path) == CONTENT
    basic = b64encode(b"user:p@ss").decode()
    assert proxy.asked == [("http://models.invalid/m.onnx", f"Basic {basic}")]


@pytest.mark.parametrize("exception", ["127.0.0.1", "{address}", "a.example,127.0.0.1", "*"])
def test_no_proxy_is_asked_for_what_is_excepted(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exception: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", exception.format(address=proxy.address))
    assert get(f"http://{proxy.address}/m.onnx", tmp_path) == CONTENT
    assert proxy.asked == [("/m.onnx", None)]


def test_a_redirect_may_leave_the_proxy(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    proxy.redirects["http://models.invalid/m.onnx"] = f"http://{proxy.address}/there.onnx"
    assert get("http://models.invalid/m.onnx", tmp_path) == CONTENT
    assert [path for path, _ in proxy.asked] == ["http://models.invalid/m.onnx", "/there.onnx"]


@pytest.mark.parametrize("address", ["socks5://user:hunter2@host:1", "http://user:hunter2@[host", "ftp://h"])
def test_a_proxy_that_is_none_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(StorageError, match="http_proxy") as caught:
        get("http://models.invalid/m.onnx", tmp_path)
    assert caught.value.reason == "BadProxy"
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(not has_openssl(), reason="certificates are made by openssl, which is not installed")
def test_a_store_behind_tls_is_reached_through_a_tunnel(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_ca(tmp_path / "ca", "private")
    store = Proxy()
    server = serve(store)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    proxy.tunnel_to = server.server_port
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pw@{proxy.address}")
    try:
        assert get("https://localhost/m.onnx", tmp_path) == CONTENT
    finally:
        server.shutdown()
        server.server_close()
    assert proxy.asked == [("localhost:443", f"Basic {b64encode(b'user:pw').decode()}")]
    assert store.asked == [("/m.onnx", None)]
