"""Requests of every kind through a gateway, and one that is under way while its model moves."""

from __future__ import annotations

import hashlib
import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from tests.support.agent_process import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.nginx import needs_nginx

pytestmark = needs_nginx
LARGE = 24 * 2**20


class Shard:
    """Answers like a server: what it got, after a while, or piece by piece."""

    def __init__(self, name: str) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        shard = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if "held" in self.path:
                    shard.begun.set()
                    assert shard.go_on.wait(60)
                self._answer(f"{name} {len(body)} {hashlib.sha256(body).hexdigest()}".encode())

            def do_GET(self) -> None:
                if "pieces" not in self.path:
                    self._answer(f"{name} {self.path} {self.headers['Host']}".encode())
                    return
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in (b"first", b"second"):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    assert piece == b"second" or shard.go_on.wait(60)
                self.wfile.write(b"0\r\n\r\n")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def shards() -> Iterator[dict[str, Shard]]:
    found = {name: Shard(name) for name in ("a", "b")}
    yield found
    for shard in found.values():
        shard.close()


@pytest.fixture
def gateway(tmp_path: Path, shards: dict[str, Shard]) -> Iterator[GatewayProcess]:
    """A gateway that routes ``m`` to ``a``."""
    found = GatewayProcess(folder=tmp_path, shards={name: shard.address for name, shard in shards.items()})
    found.mount({"m": ["a"]})
    found.start()
    yield found
    found.kill()


@pytest.fixture
def pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(retries=False, timeout=60)


def hold_a_request(
    gateway: GatewayProcess, shard: Shard, pool: urllib3.PoolManager
) -> tuple[threading.Thread, list[bytes]]:
    """Send a request that the shard has begun and does not answer yet; who sent it, and what it will get."""
    answers: list[bytes] = []

    def ask() -> None:
        answers.append(pool.request("POST", f"{gateway.url}/v2/models/m/held", body=b"x").data)

    asking = threading.Thread(target=ask)
    asking.start()
    assert shard.begun.wait(60)
    return asking, answers


def test_a_request_under_way_ends_where_it_began(
    gateway: GatewayProcess, shards: dict[str, Shard], pool: urllib3.PoolManager
) -> None:
    asking, answers = hold_a_request(gateway, shards["a"], pool)
    generation = gateway.mount({"m": ["b"]})
    eventually(lambda: gateway.status()["observedGeneration"] == generation, "the new routes")
    assert gateway.status()["draining"] > 0
    assert pool.request("POST", f"{gateway.url}/v2/models/m/infer", body=b"y").data.startswith(b"b 1 ")
    shards["a"].go_on.set()
    asking.join()
    assert answers[0].startswith(b"a 1 ")
    eventually(lambda: gateway.status()["draining"] == 0, "nothing is on its way to the old shard")


def test_a_gateway_that_is_told_to_end_answers_what_is_under_way(
    gateway: GatewayProcess, shards: dict[str, Shard], pool: urllib3.PoolManager
) -> None:
    asking, answers = hold_a_request(gateway, shards["a"], pool)
    ending = threading.Timer(1.0, shards["a"].go_on.set)
    ending.start()
    assert gateway.terminate() == 0
    asking.join()
    assert answers[0].startswith(b"a 1 ")


@pytest.mark.parametrize("chunked", [False, True])
def test_large_requests_arrive_whole(
    gateway: GatewayProcess, pool: urllib3.PoolManager, *, chunked: bool
) -> None:
    body = bytes(range(256)) * (LARGE // 256)
    parts = (body[start : start + 65536] for start in range(0, LARGE, 65536))
    sent = parts if chunked else body
    answer = pool.request("POST", f"{gateway.url}/v2/models/m/infer", body=sent)
    assert answer.data.decode() == f"a {LARGE} {hashlib.sha256(body).hexdigest()}"


def test_pieces_of_an_answer_arrive_as_they_come(
    gateway: GatewayProcess, shards: dict[str, Shard], pool: urllib3.PoolManager
) -> None:
    answer = pool.request("GET", f"{gateway.url}/v2/models/m/pieces", preload_content=False)
    assert answer.read(5) == b"first"
    shards["a"].go_on.set()
    assert answer.read() == b"second"


def test_a_request_that_waits_to_be_told_to_go_on_is_told(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
        head = (
            "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"abc")
        assert b"200 OK" in client.recv(1000)


def test_path_query_and_host_are_passed_on_as_they_are(gateway: GatewayProcess) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.request("GET", "/v2/models/m/a%20b?c=d%2F", headers={"Host": "news.example:80"})
    assert connection.getresponse().read() == b"a /v2/models/m/a%20b?c=d%2F news.example:80"
    connection.close()


def test_of_two_shards_the_one_that_is_there_answers(
    gateway: GatewayProcess, shards: dict[str, Shard], pool: urllib3.PoolManager
) -> None:
    shards["b"].close()
    gateway.route({"m": ["a", "b"]})
    for _ in range(40):
        assert pool.request("POST", f"{gateway.url}/v2/models/m/infer", body=b"x").data.startswith(b"a ")


def test_one_connection_serves_every_kind_of_answer(gateway: GatewayProcess) -> None:
    """Answers that need no body are given after it was read: the connection goes on."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.connect()
    before = connection.sock
    for _ in range(20):
        for path, status in (("m/infer", 200), ("none/infer", 404), ("../repository/index", 403)):
            connection.request("POST", f"/v2/models/{path}", body=b"x" * 100_000)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
    assert connection.sock is before
    connection.close()
