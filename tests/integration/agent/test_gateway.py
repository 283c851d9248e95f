"""One address for models that move: a real nginx gateway in front of real Triton servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import urllib3

from planner.rehearsal.free_ports import free_port
from planner.rehearsal.triton import TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import model_folder
from tests.support.agent_process import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.nginx import needs_nginx
from tests.support.triton_server import post, ready

pytestmark = needs_nginx
QUESTION = json.dumps(
    {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": [7]}]}
).encode()
RATE_RPS = 200
CLIENTS = 8


class Clients:
    """Clients with kept connections that never send a request a second time."""

    def __init__(self, url: str, model: str) -> None:
        self.url, self.model = url, model
        self.answers: Counter[object] = Counter()
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Return when so many more were answered."""
        goal = sum(self.answers.values()) + more
        eventually(lambda: sum(self.answers.values()) >= goal or self.failures, "requests are answered")

    def _ask(self, number: int) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=30, maxsize=2)
        turn_s = CLIENTS / RATE_RPS
        next_s = time.monotonic() + number * turn_s / CLIENTS
        while not self._ended.is_set():
            reads = number % 4 == 0
            path = f"{self.url}/v2/models/{self.model}/{'ready' if reads else 'infer'}"
            try:
                answer = pool.request("GET" if reads else "POST", path, body=None if reads else QUESTION)
            except urllib3.exceptions.HTTPError as error:
                self.failures.append(repr(error))
                continue
            self.answers[answer.status] += 1
            if answer.status != 200:
                self.failures.append(f"{answer.status}: {answer.data!r}")
            next_s += turn_s
            time.sleep(max(0.0, next_s - time.monotonic()))


class Tritons:
    """Two servers whose repositories both have model ``m`` and ``stays``."""

    def __init__(self, tmp_path: Path, home: TritonHome) -> None:
        self.servers: dict[str, TritonProcess] = {}
        for name in ("a", "b"):
            for model in ("m", "stays"):
                model_folder(tmp_path / name / model)
            self.servers[name] = start_triton(f"{tmp_path.name}-{name}", tmp_path / name, home=home)

    @property
    def addresses(self) -> dict[str, str]:
        return {name: f"127.0.0.1:{server.ports.http}" for name, server in self.servers.items()}

    def load(self, name: str, model: str) -> None:
        post(self.servers[name], f"/v2/repository/models/{model}/load")

    def unload(self, name: str, model: str) -> None:
        post(self.servers[name], f"/v2/repository/models/{model}/unload")
        eventually(lambda: model not in ready(self.servers[name]), f"{model} has left {name}")


@pytest.fixture
def tritons(tmp_path: Path, triton_home: TritonHome) -> Iterator[Tritons]:
    found = Tritons(tmp_path, triton_home)
    yield found
    for server in found.servers.values():
        server.kill()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway, not started, whose shards ``a`` and ``b`` are at ports where nobody listens."""
    found = GatewayProcess(folder=tmp_path, shards={name: f"127.0.0.1:{free_port()}" for name in ("a", "b")})
    yield found
    found.kill()


@pytest.mark.triton
def test_no_request_fails_while_a_model_moves(gateway: GatewayProcess, tritons: Tritons) -> None:
    gateway.shards = tritons.addresses
    tritons.load("a", "m")
    gateway.mount({"m": ["a"]})
    gateway.start()
    with Clients(gateway.url, "m") as clients:
        clients.wait_for(RATE_RPS)
        for here, there in (("a", "b"), ("b", "a"), ("a", "b")):
            tritons.load(there, "m")
            gateway.route({"m": [here, there]})
            clients.wait_for(RATE_RPS // 4)
            gateway.route({"m": [there]})
            tritons.unload(here, "m")
            clients.wait_for(RATE_RPS // 2)
    assert clients.failures == []
    assert set(clients.answers) == {200}
    assert gateway.terminate() == 0


@pytest.mark.triton
def test_no_request_fails_while_routes_of_others_change_all_the_time(
    gateway: GatewayProcess, tritons: Tritons
) -> None:
    gateway.shards = tritons.addresses
    tritons.load("a", "stays")
    gateway.mount({"stays": ["a"]})
    gateway.start()
    with Clients(gateway.url, "stays") as clients:
        for number in range(12):
            gateway.route({"stays": ["a"], f"other-{number}": ["b"]})
        clients.wait_for(RATE_RPS // 4)
    assert clients.failures == []
    assert "shardpack_gateway_reload_failures_total 0.0" in gateway.get("/metrics")[1]


def test_every_request_is_answered_for(gateway: GatewayProcess) -> None:
    gateway.mount({"gone": ["a"], "waits": [], "Twin": ["a"], "twin": []})
    gateway.start()
    pool = urllib3.PoolManager(retries=False, timeout=30)
    unknown = pool.request("POST", f"{gateway.url}/v2/models/m/infer", body=QUESTION)
    assert (unknown.status, "no such model" in unknown.data.decode()) == (404, True)
    absent, waits = "no shard of the model answers", "not loaded"
    for model, why in (("gone", absent), ("waits", waits), ("Twin", absent), ("twin", waits)):
        answer = pool.request("POST", f"{gateway.url}/v2/models/{model}/versions/1/infer", body=QUESTION)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2"), model
        assert why in answer.data.decode()
    assert pool.request("GET", f"{gateway.url}/v2/health/ready").status == 200
    assert pool.request("POST", f"{gateway.url}/v2/repository/index").status == 403
    assert pool.request("GET", f"{gateway.url}/else").status == 404


def test_shards_are_found_by_name_and_missed_without(gateway: GatewayProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as shard:
        port = shard.getsockname()[1]
        gateway.shards = {"a": f"localhost:{port}", "b": f"no-such-shard.invalid:{port}"}
        gateway.mount({"here": ["a"], "nowhere": ["b"]})
        gateway.start()
        assert gateway.status()["absentShards"] == ["b"]
        pool = urllib3.PoolManager(retries=False, timeout=30)
        assert pool.request("GET", f"{gateway.url}/v2/models/nowhere/ready").status == 503


def test_an_incomplete_set_of_documents_leaves_the_last_complete_one(gateway: GatewayProcess) -> None:
    first = gateway.mount({"waits": []})
    gateway.start()
    many = {f"model-{number:04}": ["a"] for number in range(100)}
    gateway.mount(many, max_bytes=1000, leave_out=1)
    eventually(lambda: gateway.status()["fault"] is not None, "the fault is told")
    assert "incomplete set" in gateway.status()["fault"]
    assert gateway.status()["observedGeneration"] == first
    assert gateway.get("/readyz")[0] == 200
    whole = gateway.mount(many, max_bytes=1000)
    eventually(lambda: gateway.status()["observedGeneration"] == whole, "the whole set")


def test_ten_thousand_models_are_routed(gateway: GatewayProcess) -> None:
    gateway.mount({f"model-{number}-with-a-longer-name": ["a"] for number in range(10_000)})
    gateway.start()
    pool = urllib3.PoolManager(retries=False, timeout=30)
    for number, status in ((0, 503), (9_999, 503), (10_000, 404)):
        url = f"{gateway.url}/v2/models/model-{number}-with-a-longer-name/ready"
        assert pool.request("GET", url).status == status
    assert gateway.status()["models"] == 10_000


def test_it_is_ready_only_with_routes(gateway: GatewayProcess) -> None:
    (gateway.folder / "routes").mkdir()
    gateway.spawn()
    eventually((gateway.folder / "status-port").exists, "its status port")
    eventually(lambda: "no document" in gateway.get("/readyz")[1], "what it waits for")
    assert gateway.get("/readyz")[0] == 503
    gateway.mount({"waits": []})
    eventually(lambda: gateway.get("/readyz")[0] == 200, "ready")


@pytest.mark.parametrize("name", ["door", "switch"])
def test_an_nginx_that_was_killed_is_started_again(gateway: GatewayProcess, name: str) -> None:
    gateway.mount({"waits": []})
    gateway.start()
    before = gateway.master(name)
    os.killpg(before, signal.SIGKILL)
    eventually(lambda: gateway.get("/readyz")[0] == 200 and gateway.master(name) != before, "it is back")
    pool = urllib3.PoolManager(retries=False, timeout=30)
    assert pool.request("GET", f"{gateway.url}/v2/models/waits/ready").status == 503


def test_it_starts_beside_what_a_killed_one_left(gateway: GatewayProcess) -> None:
    gateway.mount({"waits": []})
    gateway.start()
    gateway.kill()
    assert (gateway.work / "switch.sock").exists()
    gateway.start()
    assert gateway.terminate() == 0


def test_a_port_that_is_taken_is_told(gateway: GatewayProcess) -> None:
    gateway.mount({"waits": []})
    with socket.create_server(("127.0.0.1", gateway.port)):
        gateway.spawn()
        eventually(lambda: gateway.exit_code is not None, "it gives up")
    assert gateway.exit_code == 2
    assert "cannot listen" in gateway.log


def test_one_that_cannot_listen_leaves_nothing_behind(gateway: GatewayProcess) -> None:
    gateway.mount({"waits": []})
    gateway.address = "203.0.113.1"  # of no machine: it is for documents
    gateway.spawn()
    eventually(lambda: gateway.exit_code is not None, "it gives up")
    assert gateway.exit_code == 2
    assert "the door cannot run" in gateway.log
    assert not (gateway.work / "switch.sock").exists()  # nobody was started who would listen there
