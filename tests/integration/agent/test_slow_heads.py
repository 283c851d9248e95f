"""Servers whose answers begin and whose heads never end, over HTTP and HTTPS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import urllib3

from agent.connections import Connections
from agent.errors import UnansweredError
from agent.servers.http import Address, Http, Timeouts
from tests.support.private_ca import PrivateCa, has_openssl, make_ca

HEADS = {
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 4000,
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 700,
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 200,
}
Serving = Callable[[bytes], str]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    if not has_openssl():
        pytest.skip("openssl is not installed")
    return make_ca(tmp_path_factory.mktemp("ca") / "made", "heads")


@pytest.fixture(params=["http", "https"])
def serving(request: pytest.FixtureRequest, ca: PrivateCa) -> Iterator[Serving]:
    """Serve bytes, one every 20 ms, to the first who asks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca.certificate, ca.key)
    with contextlib.ExitStack() as stack:

        def serve(content: bytes) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=answer, args=(listener, content))
            thread.start()
            stack.callback(thread.join)
            return f"{request.param}://127.0.0.1:{listener.getsockname()[1]}"

        def answer(listener: socket.socket, content: bytes) -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                if request.param == "https":
                    client = context.wrap_socket(client, server_side=True)
                with client:
                    client.recv(1 << 16)
                    for byte in content:
                        client.sendall(bytes([byte]))
                        time.sleep(0.02)

        yield serve


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_that_does_not_end_is_no_answer(serving: Serving, ca: PrivateCa, head: bytes) -> None:
    timeouts = Timeouts(connect_s=5.0, control_s=0.3)
    http = Http(Address(url=serving(head), ca=ca.ca), connections=1, timeouts=timeouts)
    with pytest.raises(UnansweredError, match="timed out"):
        http.get("/v2")


def test_after_a_slow_head_every_read_of_the_body_has_its_own_time(serving: Serving, ca: PrivateCa) -> None:
    body = b"x" * 20
    url = serving(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + body)
    connections = Connections(retries=False, ca_certs=str(ca.ca))
    timeout = urllib3.Timeout(connect=30.0, read=30.0)
    answer = connections.request("GET", url, timeout=timeout, preload_content=False)
    assert answer.connection is not None
    assert answer.connection.sock.gettimeout() == 30.0
    assert answer.read() == body
    connections.clear()
