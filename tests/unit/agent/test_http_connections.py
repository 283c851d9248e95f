"""Why there is no answer over HTTP: it decides whether a server may be there."""

from __future__ import annotations

import socket
import threading

import pytest

from agent.errors import BrokenConnectionError, NobodyListensError, UnansweredError
from agent.servers.http import Address, Http, Timeouts


def http(port: int) -> Http:
    address = Address(url=f"http://127.0.0.1:{port}")
    return Http(address, connections=1, timeouts=Timeouts(control_s=0.2))


def test_a_closed_port_is_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NobodyListensError):
        http(port).get("/v2")


def test_an_open_port_that_does_not_answer_is_somebody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(UnansweredError):
        http(server.getsockname()[1]).get("/v2")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_a_connection_that_ends_before_its_answer_is_broken(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def break_off() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        thread = threading.Thread(target=break_off)
        thread.start()
        with pytest.raises(BrokenConnectionError):
            http(server.getsockname()[1]).get("/v2")
        thread.join()
