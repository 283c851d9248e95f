"""The agent beside a server, a store and documents that misbehave: it goes on, tells, and leaks nothing."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import get_args

import pytest

from agent.desired import models_json
from planner.rehearsal.mount import mount_files
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.hostile_server import Hostile, Mood, hostile_server


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_server() as server:
        yield server


@pytest.fixture
def beside(tmp_path: Path, hostile: Hostile) -> Iterator[AgentProcess]:
    """An agent beside the hostile server, not started."""
    agent = AgentProcess(folder=tmp_path, server_url=hostile.url, arguments=("--load-timeout", "1"))
    yield agent
    agent.kill()


def test_a_server_in_every_mood_holds_in_the_end_what_is_desired(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    random = Random(1)
    uris = {name: model_folder(tmp_path / "store" / name) for name in ("a", "b.B", "C_c-3", "d")}
    beside.start()
    for mood in (*get_args(Mood), *random.choices(get_args(Mood), k=5)):
        hostile.mood = mood
        names = random.sample(sorted(uris), 3)
        mount_files(beside.configs, documents(*(wanted(name, storage_uri=uris[name]) for name in names)))
        if random.random() < 0.3:
            hostile.restart()
        time.sleep(0.5)
        assert beside.get("/livez")[0] == 200
    hostile.mood = "well"
    eventually(lambda: hostile.holds == set(names), "what the last documents ask for")
    eventually(lambda: beside.states() == dict.fromkeys(names, "Loaded"), "and it is told so")
    assert "Traceback" not in beside.log


def test_a_model_that_the_server_drops_after_its_load_waits_as_after_a_refusal(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    hostile.mood = "dropping"
    beside.arguments += ("--retry-base", "3600")
    beside.start()
    mount_files(beside.configs, documents(wanted(storage_uri=model_folder(tmp_path / "store" / "m"))))
    eventually(lambda: beside.states() == {"m": "FailedToLoad"}, "the drop is told")
    beside.wait_ready()
    looks = hostile.looks
    eventually(lambda: hostile.looks >= looks + 5, "the agent looks on")
    assert hostile.loads["m"] == 1
    entry = beside.status()["models"]["m"]
    assert (entry["reason"], entry["message"], entry["attempts"]) == ("NotKept", "the worker died", 1)


def test_a_model_that_the_server_drops_is_loaded_again_after_the_wait(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    hostile.mood = "dropping"
    beside.start()
    mount_files(beside.configs, documents(wanted(storage_uri=model_folder(tmp_path / "store" / "m"))))
    eventually(lambda: beside.status()["models"].get("m", {}).get("attempts") == 2, "two tries failed")
    hostile.mood = "well"
    eventually(lambda: beside.states() == {"m": "Loaded"}, "the third succeeds")


def resources(pid: int) -> tuple[int, int]:
    """Return a process's open files and its threads."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_models_that_come_and_go_leave_nothing_behind(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    uri = model_folder(tmp_path / "store" / "m")
    beside.start()
    before: tuple[int, int] | None = None
    for number in range(60):
        name = f"m{number}"
        mount_files(beside.configs, documents(wanted(name, storage_uri=uri)))
        eventually(lambda name=name: hostile.holds == {name}, f"{name} alone")  # type: ignore[misc]
        if number == 20:
            before = resources(beside.pid)
    mount_files(beside.configs, documents())
    eventually(lambda: beside.states() == {}, "nothing")
    eventually(lambda: list(beside.models.iterdir()) == [], "no files")
    files, threads = resources(beside.pid)
    assert before is not None
    assert files <= before[0] + 5
    assert threads <= before[1] + 2
    state = beside.folder / ".shardpack" / "models"
    assert [
        path for part in ("parts", "staged", "records", "trash") for path in (state / part).iterdir()
    ] == []


def test_a_stopped_server_makes_the_agent_unready_and_a_continued_one_ready(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    """As under SIGSTOP: connections are taken, and nothing is answered."""
    mount_files(beside.configs, documents(wanted("m", storage_uri=model_folder(tmp_path / "store" / "m"))))
    beside.start()
    beside.wait_ready()
    hostile.mood = "silent"
    eventually(lambda: not beside.status()["server"]["live"], "no answer")
    assert beside.get("/livez")[0] == 200
    hostile.mood = "well"
    eventually(lambda: beside.status()["server"]["live"], "an answer")
    beside.wait_ready()
    assert hostile.loads == {"m": 1}


def test_pages_of_a_status_that_changes_name_every_model_that_stays(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    uri = model_folder(tmp_path / "store" / "m")
    stay = [wanted(f"stay{number}", storage_uri=uri) for number in range(20)]
    mount_files(beside.configs, documents(*stay))
    beside.start()
    for round_ in range(10):
        passing = [wanted(f"{letter}{round_}", storage_uri=uri) for letter in "azstay"]
        mount_files(beside.configs, documents(*stay, *passing))
        eventually(lambda: beside.status()["models"].keys() >= {"stay0"}, "the first documents")
        assert {model.name for model in stay} <= set(beside.paged(limit=3))


@pytest.mark.parametrize(
    "spoiled",
    [
        {"placement-0.json": "[" * 100_000},
        {"placement-0.json": '{"version":1'},
        {"placement-0.json": "\0"},
        {"models.json": '[{"modelName":"m","modelSpec":{"memory":"' + "9" * 5000 + '"}}]'},
        {},
    ],
    ids=["deep", "half", "no text", "a number without end", "gone"],
)
def test_documents_that_are_spoiled_stop_nothing(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path, spoiled: dict[str, str]
) -> None:
    model = wanted("m", storage_uri=model_folder(tmp_path / "store" / "m"))
    mount_files(beside.configs, documents(model))
    beside.start()
    beside.wait_ready()
    mount_files(beside.configs, spoiled)
    eventually(lambda: beside.status()["documentFault"], "the fault is told")
    beside.kill()
    beside.start()
    beside.wait_ready()
    assert (hostile.holds, beside.states()) == ({"m"}, {"m": "Loaded"})
    assert "shardpack_agent_documents_faulty 1.0" in beside.get("/metrics")[1]


def test_models_json_does_not_take_the_pins_away(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    model = wanted("m", storage_uri=model_folder(tmp_path / "store" / "m"))
    mount_files(beside.configs, {**documents(model), "models.json": models_json([model])})
    beside.start()
    beside.wait_ready()
    mount_files(beside.configs, {"models.json": models_json([model])})
    eventually(lambda: "are gone" in (beside.status()["documentFault"] or ""), "the fault is told")
    assert "instance_group" in (beside.models / "m" / "config.pbtxt").read_text()
    assert hostile.loads == {"m": 1}


def test_a_second_agent_beside_the_same_files_ends_at_once(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    beside.start()
    second = AgentProcess(folder=tmp_path, server_url=hostile.url)
    port = (tmp_path / "port").read_text()
    with pytest.raises(AssertionError, match="another agent works in the state directory"):
        second.start()
    assert second.exit_code == 2
    (tmp_path / "port").write_text(port)
    assert beside.get("/livez")[0] == 200


class _Redirecting(SimpleHTTPRequestHandler):
    """Sends every first request to a signed address, as object stores do, with a header that is odd."""

    def do_GET(self) -> None:
        if "Signature" in self.path:
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", f"{self.path}?X-Amz-Signature=hunter2")
        self.send_header("Content-Length", "0")
        self.wfile.write(b"")
        self._headers_buffer.append(b"odd header\r\n")  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


def test_no_secret_of_a_uri_is_logged_or_told(beside: AgentProcess, hostile: Hostile, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "m.onnx").write_text("weights")
    handler = functools.partial(_Redirecting, directory=str(store))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        base = f"http://user:hunter1@127.0.0.1:{web.server_address[1]}"
        models = [
            wanted("good", storage_uri=f"{base}/m.onnx?sig=hunter3", framework="onnx"),
            wanted("absent", storage_uri=f"{base}/absent.onnx?sig=hunter3", framework="onnx"),
            wanted("odd", storage_uri="http://user:hunter1@host:99999/m?sig=hunter3"),
            wanted("elsewhere", storage_uri="ftp://bucket/m?sig=hunter3"),
        ]
        mount_files(beside.configs, documents(*models))
        beside.arguments = ("--log-level", "debug")
        beside.start()
        beside.wait_ready()
        web.shutdown()
    status = beside.status()["models"]
    assert {name: (model["state"], model["reason"]) for name, model in status.items()} == {
        "good": ("Loaded", None),
        "absent": ("DownloadFailed", "NotFound"),
        "odd": ("DownloadFailed", "BadUri"),
        "elsewhere": ("DownloadFailed", "UnsupportedUri"),
    }
    assert "ftp://" in status["elsewhere"]["message"]
    told = beside.log + beside.get("/status")[1] + beside.get("/metrics")[1]
    assert "hunter" not in told


class _Endless(BaseHTTPRequestHandler):
    """Announces a little and sends without end, or without any length until it is told to stop."""

    def do_GET(self) -> None:
        self.send_response(200)
        if "lie" in self.path:
            self.send_header("Content-Length", "10")
        self.end_headers()
        for _ in range(64):
            self.wfile.write(bytes(1 << 20))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


class _Deaf(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the client hangs up."""


def test_a_store_that_sends_without_end_and_a_full_disk_fail_one_model_only(
    beside: AgentProcess, hostile: Hostile, tmp_path: Path
) -> None:
    big = tmp_path / "store" / "big"
    model_folder(big)
    (big / "1" / "weights").write_bytes(bytes(3_000_000))
    with _Deaf(("127.0.0.1", 0), _Endless) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{web.server_address[1]}"
        models = [
            wanted("endless", storage_uri=f"{base}/m.onnx", framework="onnx"),
            wanted("big", storage_uri=big.as_uri()),
            wanted("good", storage_uri=model_folder(tmp_path / "store" / "good")),
        ]
        mount_files(beside.configs, documents(*models))
        beside.arguments = ("--max-model-bytes", "2000000")
        beside.start()
        beside.wait_ready()
        web.shutdown()
    status = beside.status()["models"]
    assert {name: (model["state"], model["reason"]) for name, model in status.items()} == {
        "endless": ("DownloadFailed", "TooLarge"),
        "big": ("DownloadFailed", "TooLarge"),
        "good": ("Loaded", None),
    }
    assert beside.terminate() == 0
