"""A real nginx told by the proxy, before a server that stands in: what it answers, and what changes cost."""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from agent.errors import SettingsError
from agent.observed import NOTHING, Seen
from agent.proxy import Proxy, ProxySettings
from agent.status import Snapshot
from planner.rehearsal.free_ports import free_port
from planner.rehearsal.mount import mount_files
from tests.support.agent_models import copy, desired, documents, model_folder, row, target, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.nginx import needs_nginx

pytestmark = needs_nginx
WORDS = ("default", "hostnames", "include", "volatile")


class StandIn(ThreadingHTTPServer):
    """A server of models: its index can be late, and an answer can wait until it is let go."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.holds: set[str] = set()
        self.index_s = 0.0
        self.let_go = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def end(self) -> None:
        self.let_go.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: some clients here break off."""


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, answer = self.path, {"path": self.path}
        if path == "/v2":
            answer = {"name": "triton", "version": "2", "extensions": ["model_repository"]}  # type: ignore[dict-item]
        elif path == "/v2/repository/index":
            time.sleep(self.server.index_s)
            answer = [{"name": name, "state": "READY"} for name in self.server.holds]  # type: ignore[assignment]
        elif path.endswith("/load"):
            self.server.holds.add(path.split("/")[-2])
        elif path.endswith("/slow"):
            self.server.let_go.wait(30)
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the name that the base looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[StandIn]:
    found = StandIn()
    yield found
    found.end()


def snapshot(serving: set[str], waiting: set[str]) -> Snapshot:
    one = target()
    seen = Seen(installed=copy(), row=row("READY"))
    return Snapshot(
        desired=desired(one.model),
        document_fault=None,
        targets=dict.fromkeys(serving | waiting, one),
        models={**dict.fromkeys(waiting, NOTHING), **dict.fromkeys(serving, seen)},
        running={},
        since={},
        observed_generation=None,
        ready=True,
        live=True,
        server=None,
        server_since=None,
    )


class Told:
    """A proxy, and what it is told."""

    def __init__(self, folder: Path, server_url: str) -> None:
        self.serving, self.waiting = {"m"}, {"late"}
        self.settings = ProxySettings(
            address="127.0.0.1", port=free_port(), server_url=server_url, folder=folder, drain_s=1
        )
        self.proxy = Proxy(self.settings, lambda: snapshot(self.serving, self.waiting))

    def ask(self, path: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request("GET", f"http://127.0.0.1:{self.settings.port}{path}", retries=False)

    def status(self, model: str) -> int:
        return self.ask(f"/v2/models/{model}/ready").status

    def workers(self) -> set[str]:
        pid = (self.settings.folder / "process-id").read_text()
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def connect(told: Told) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", told.settings.port)


@pytest.fixture
def told(tmp_path: Path, server: StandIn) -> Iterator[Told]:
    found = Told(tmp_path / "proxy", server.url)
    yield found
    if found.proxy._nginx is not None:
        found.proxy.stop()


def test_each_model_meets_its_route(told: Told) -> None:
    told.waiting |= set(WORDS)
    told.serving |= {"M", "x" * 253}
    told.proxy.start()
    assert {told.status(name) for name in told.serving} == {200}
    assert {told.status(name) for name in told.waiting} == {503}
    assert {told.status(name) for name in ("absent", "LATE", "y" * 300)} == {404}
    assert told.ask("/v1/models/m:predict").status == 200
    assert told.ask("/v2/health/ready").status == 200


def test_statistics_of_all_models_are_the_server_s(told: Told) -> None:
    told.proxy.start()
    assert told.ask("/v2/models/stats").status == 200
    assert told.ask("/v2/models/stats?x=1").status == 200
    assert told.ask("/v2/models/stats/infer").status == 404, "a model may be called so"
    assert told.ask("/v2/models/late/stats").status == 503


def test_routes_change_under_a_kept_connection_and_no_worker_is_replaced(told: Told, server: StandIn) -> None:
    told.proxy.start()
    workers = told.workers()
    kept, slow = connect(told), connect(told)
    slow.request("POST", "/v2/models/m/slow", b"x")

    def kept_status(name: str) -> int:
        kept.request("GET", f"/v2/models/{name}/ready")
        answer = kept.getresponse()
        answer.read()
        return answer.status

    for number in range(3):
        told.serving = {"m", f"model-{number}"}
        eventually(lambda: kept_status(f"model-{number}") == 200, "it serves")  # noqa: B023 - used at once
        assert kept_status("m") == 200
    assert kept_status("model-0") == 404
    told.serving, told.waiting = {"model-2"}, {"m"}
    eventually(lambda: kept_status("m") == 503, "it is unloaded")
    assert told.workers() == workers
    server.let_go.set()
    assert slow.getresponse().status == 200, "what was under way is answered"
    kept.close()
    slow.close()


def test_an_end_waits_for_requests_and_not_for_ever(told: Told) -> None:
    told.proxy.start()
    slow = connect(told)
    slow.request("POST", "/v2/models/m/slow", b"x")
    time.sleep(0.2)
    began_s = time.monotonic()
    told.proxy.stop()
    assert told.settings.drain_s <= time.monotonic() - began_s < told.settings.drain_s + 3
    with pytest.raises((http.client.HTTPException, OSError)):
        slow.getresponse()
    slow.close()


def test_a_server_that_is_not_there_is_worth_another_try(tmp_path: Path) -> None:
    told = Told(tmp_path / "proxy", f"http://127.0.0.1:{free_port()}")
    told.proxy.start()
    try:
        answer = told.ask("/v2/models/m/ready")
    finally:
        told.proxy.stop()
    assert (answer.status, answer.headers["Retry-After"], answer.headers["Connection"]) == (503, "2", "close")


def test_routes_that_cannot_be_written_leave_the_former_in_force(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    told.proxy.start()
    in_the_way = told.settings.folder / "serves" / "late"
    in_the_way.mkdir()
    told.serving, told.waiting = {"m", "late"}, set()
    eventually(lambda: told.proxy.fault, "the fault is noticed")
    assert "routes cannot be written" in told.proxy.fault
    assert "the proxy cannot follow" in caplog.text
    assert (told.status("m"), told.status("late")) == (200, 503)
    in_the_way.rmdir()
    eventually(lambda: told.status("late") == 200, "the next try")
    eventually(lambda: told.proxy.fault is None, "the fault is gone")


def test_a_configuration_that_is_wrong_is_a_clear_end(told: Told) -> None:
    wrong = replace(told.settings, address="nowhere in the world")
    with pytest.raises(SettingsError, match="the proxy cannot run"):
        Proxy(wrong, lambda: snapshot({"m"}, set())).start()


def test_a_look_that_comes_late_takes_no_model_away(tmp_path: Path, server: StandIn) -> None:
    port = free_port()
    (tmp_path / "models").mkdir()
    arguments = ("--port", str(port), "--control-timeout", "1")
    agent = AgentProcess(folder=tmp_path, server_url=server.url, arguments=arguments)
    mount_files(agent.configs, documents(wanted("m", storage_uri=model_folder(tmp_path / "store" / "m"))))

    def status() -> int:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/v2/models/m/ready", retries=False).status

    agent.start()
    try:
        eventually(lambda: status() == 200, "it serves")
        server.index_s = 1.5
        eventually(lambda: agent.status()["server"]["live"] is False, "a look is missed")
        server.index_s = 0.0
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s:
            assert status() == 200
            time.sleep(0.02)
    finally:
        agent.terminate()
