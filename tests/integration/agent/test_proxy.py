"""A real nginx in front of a real Triton, told by the agent which models serve."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonProcess
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.nginx import needs_nginx

pytestmark = [pytest.mark.triton, needs_nginx]
QUESTION = json.dumps(
    {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": [7]}]}
).encode()


def proxy_pid(agent: AgentProcess) -> int:
    return int((agent.folder / ".shardpack" / "models" / "proxy" / "process-id").read_text())


class Beside:
    """An agent with a proxy, and how a client sees them."""

    def __init__(self, agent: AgentProcess, port: int) -> None:
        self.agent, self.port = agent, port
        self.pool = urllib3.PoolManager(retries=False, timeout=30)

    def ask(self, model: str, question: bytes = QUESTION) -> urllib3.BaseHTTPResponse:
        return self.pool.request("POST", f"{self.url}/v2/models/{model}/infer", body=question)

    def status(self, model: str) -> int | None:
        """Return the status of an answer; None where nobody answers."""
        try:
            return self.ask(model).status
        except urllib3.exceptions.HTTPError:
            return None

    def serves(self, model: str) -> bool:
        return self.status(model) == 200

    def get(self, path: str) -> int:
        return self.pool.request("GET", f"{self.url}{path}").status

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def mount(self, *models: object) -> None:
        mount_files(self.agent.configs, documents(*models))  # type: ignore[arg-type]


@pytest.fixture
def beside(agent: AgentProcess) -> Iterator[Beside]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    agent.arguments = ("--enable-puller", "--port", str(port))
    yield Beside(agent, port)
    agent.kill()
    with contextlib.suppress(OSError, ValueError):
        os.killpg(proxy_pid(agent), signal.SIGKILL)  # its workers would go on without it


def model(store: Path, name: str, **parameters: str) -> object:
    return wanted(name, storage_uri=model_folder(store / name, parameters=parameters))


def test_each_model_is_answered_for(beside: Beside, store: Path) -> None:
    held_up = beside.agent.folder / "held-up"
    held_up.touch()
    beside.mount(model(store, "m"), model(store, "M"), model(store, "late", fail_file=str(held_up)))
    beside.agent.start()
    eventually(lambda: beside.serves("m"), "the model through the proxy")
    waiting = beside.ask("late")
    assert (waiting.status, waiting.headers["Retry-After"]) == (503, "2")
    held_up.unlink()
    eventually(lambda: beside.serves("late"), "the late one, too")
    assert json.loads(beside.ask("M").data)["model_name"] == "M"
    absent = beside.ask("absent")
    assert (absent.status, "its own address" in absent.data.decode()) == (404, True)
    assert beside.get("/v2/health/ready") == 200
    for path in ("/v2/repository/index", "//v2/%72epository/models/m/unload"):
        assert beside.pool.request("POST", f"{beside.url}{path}", body=b"{}").status == 403
    large = json.dumps(
        {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1 << 20], "data": [1] * (1 << 20)}]}
    ).encode()
    assert beside.ask("m", large).status == 400  # Triton's answer: the model takes one number


def test_the_agent_gives_way_and_its_proxy_does_not(beside: Beside) -> None:
    beside.mount()
    beside.agent.start()
    eventually(lambda: beside.get("/v2/health/ready") == 200, "the proxy")
    nginx = proxy_pid(beside.agent)
    workers = Path(f"/proc/{nginx}/task/{nginx}/children").read_text().split()
    assert workers
    assert {os.sched_getscheduler(int(pid)) for pid in (nginx, *workers)} == {os.SCHED_OTHER}
    threads = [int(task.name) for task in Path(f"/proc/{beside.agent.pid}/task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}


def test_no_request_fails_while_other_models_come_and_go(beside: Beside, store: Path) -> None:
    stays = model(store, "stays")
    others = [model(store, f"other-{number}") for number in range(6)]
    beside.mount(stays)
    beside.agent.start()
    eventually(lambda: beside.serves("stays"), "the model through the proxy")
    ended = threading.Event()
    answers: list[int | Exception] = []

    def stream() -> None:
        pool = urllib3.PoolManager(retries=False, timeout=30)  # a kept connection that is closed is a failure
        while not ended.is_set():
            url = f"{beside.url}/v2/models/stays/infer"
            try:
                answers.append(pool.request("POST", url, body=QUESTION).status)
            except urllib3.exceptions.HTTPError as error:
                answers.append(error)

    threads = [threading.Thread(target=stream) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(6):
        beside.mount(stays, *others[: number + 1])
        name = f"other-{number}"
        eventually(lambda name=name: beside.serves(name), name)  # type: ignore[misc]
    beside.mount(stays)
    eventually(lambda: beside.ask("other-0").status == 404, "others are gone")
    ended.set()
    for thread in threads:
        thread.join()
    assert set(answers) == {200}
    assert len(answers) > 100


def test_a_request_under_way_is_answered_before_the_agent_ends(beside: Beside, store: Path) -> None:
    beside.mount(model(store, "m"))
    beside.agent.start()
    eventually(lambda: beside.serves("m"), "the model through the proxy")
    with socket.create_connection(("127.0.0.1", beside.port)) as client:
        head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(QUESTION)}\r\n\r\n"
        client.sendall(head.encode() + QUESTION[:10])
        time.sleep(0.3)
        beside.agent.signal(signal.SIGTERM)
        time.sleep(0.5)
        client.sendall(QUESTION[10:])
        assert client.recv(15).startswith(b"HTTP/1.1 200")
    eventually(lambda: beside.agent.exit_code is not None, "the agent's end")
    assert beside.agent.exit_code == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", beside.port))


def test_it_outlives_its_agent_and_is_brought_back(
    beside: Beside, server: TritonProcess, store: Path
) -> None:
    beside.mount(model(store, "m"))
    beside.agent.start()
    eventually(lambda: beside.serves("m"), "the model through the proxy")
    beside.agent.kill()
    assert beside.ask("m").status == 200
    beside.agent.start()
    assert beside.status("m") in (200, 503, None)  # None: it came to the port of the nginx that ends
    eventually(lambda: beside.serves("m"), "after the agent's restart")
    nginx = proxy_pid(beside.agent)
    beside.agent.signal(signal.SIGKILL, nginx)

    eventually(lambda: proxy_pid(beside.agent) != nginx, "another proxy")
    eventually(lambda: beside.serves("m"), "after the proxy's death")
    server.kill()
    eventually(lambda: beside.status("m") == 503, "without the server")


def test_a_port_that_is_taken_is_a_clear_end(agent: AgentProcess, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        agent.arguments = ("--port", str(taken.getsockname()[1]))
        agent.spawn("--status-port", "0")
        eventually(lambda: agent.exit_code is not None, "its end")
    assert agent.exit_code == 2
    assert "the proxy cannot listen on 127.0.0.1" in agent.log
