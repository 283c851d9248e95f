"""A whole agent that fetches from a bucket: what it tells, keeps to itself, and goes on with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Event

import pytest

from agent.storage.transfer import PART_BYTES
from planner.rehearsal.mount import mount_files
from tests.support.agent_models import documents, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.fake_s3 import FakeS3, fake_s3
from tests.support.hostile_server import Hostile, hostile_server

pytest.importorskip("obstore")


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3() as store:
        yield store


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_server() as server:
        yield server


@pytest.fixture
def agent(tmp_path: Path, hostile: Hostile, s3: FakeS3) -> Iterator[AgentProcess]:
    """An agent beside the server and with the store's credentials, not started."""
    agent = AgentProcess(
        folder=tmp_path,
        server_url=hostile.url,
        arguments=("--log-level", "debug", "--retry-base", "0.5"),
        environment={**os.environ, **s3.environment},
    )
    yield agent
    agent.kill()


def put_model(s3: FakeS3, key: str, weights: bytes) -> str:
    s3.objects[f"{key}/config.pbtxt"] = b'backend: "sim"\n'
    s3.objects[f"{key}/1/weights"] = weights
    return f"s3://models/{key}"


def test_two_models_of_one_uri_are_fetched_once_and_told_with_a_digest(
    agent: AgentProcess, hostile: Hostile, s3: FakeS3
) -> None:
    uri = put_model(s3, "m/sk", b"weights")
    put_model(s3, "m/sk2", b"other")
    mount_files(agent.configs, documents(wanted("a", storage_uri=uri), wanted("b", storage_uri=uri)))
    agent.start()
    agent.wait_ready()
    models = agent.status()["models"]
    assert {model["state"] for model in models.values()} == {"Loaded"}
    (digest,) = {model["digest"] for model in models.values()}
    assert digest.startswith("sha256:")
    assert s3.sent == sum(len(content) for key, content in s3.objects.items() if key.startswith("m/sk/"))
    mount_files(agent.configs, documents(wanted("a", storage_uri=uri)))
    eventually(lambda: set(agent.states()) == {"a"}, "b is gone")
    agent.kill()
    agent.start()
    mount_files(agent.configs, documents(wanted("a", storage_uri=uri), wanted("b", storage_uri=uri)))
    eventually(lambda: agent.states() == {"a": "Loaded", "b": "Loaded"}, "b is back")
    assert len(s3.ranges) == 2
    assert "shardpack_agent_downloaded_bytes_total 0.0" in agent.get("/metrics")[1]


def test_a_killed_agent_goes_on_and_a_failing_store_is_overcome(
    agent: AgentProcess, hostile: Hostile, s3: FakeS3
) -> None:
    weights = Random(0).randbytes(2 * PART_BYTES + 10)
    uri = put_model(s3, "m", weights)
    held: list[str] = []

    def kill_once(_key: str, asked: str) -> None:
        if asked.startswith(f"bytes={2 * PART_BYTES}-") and not held:
            held.append(asked)
            agent.kill()

    s3.before_get = kill_once
    agent.arguments += ("--streams-per-download", "1")
    mount_files(agent.configs, documents(wanted("m", storage_uri=uri)))
    agent.start()
    eventually(lambda: agent.exit_code is not None, "the agent is killed")
    s3.failing, s3.sent = [500] * 7, 0
    agent.start()
    eventually(lambda: agent.states() == {"m": "Loaded"}, "the model is loaded")
    assert (agent.models / "m" / "1" / "weights").read_bytes() == weights
    assert s3.sent < PART_BYTES
    assert hostile.loads == {"m": 1}


def test_no_credential_is_told(agent: AgentProcess, hostile: Hostile, s3: FakeS3) -> None:
    uri = put_model(s3, "m", b"weights")
    s3.failing = [403, 403]
    models = [
        wanted("good", storage_uri=uri),
        wanted("absent", storage_uri="s3://models/absent"),
        wanted("user", storage_uri="s3://user:hunter3@models/m?sig=hunter4"),
    ]
    mount_files(agent.configs, documents(*models))
    agent.start()
    eventually(lambda: agent.states().get("good") == "Loaded", "the good one is loaded")
    eventually(lambda: agent.states()["absent"] == "DownloadFailed", "the other one is tried")
    assert agent.status()["models"]["user"]["reason"] == "BadUri"
    assert "hunter" not in agent.log + agent.get("/status")[1] + agent.get("/metrics")[1]


def test_an_agent_that_is_asked_to_end_in_the_middle_of_a_download_ends(
    agent: AgentProcess, hostile: Hostile, s3: FakeS3
) -> None:
    uri = put_model(s3, "m", bytes(2 * PART_BYTES))
    asked, answered = Event(), Event()

    def wait(_key: str, _asked: str) -> None:
        asked.set()
        answered.wait(30)

    s3.before_get = wait
    mount_files(agent.configs, documents(wanted("m", storage_uri=uri)))
    agent.start()
    eventually(asked.is_set, "the download is under way")
    assert agent.terminate() == 0
    answered.set()
    assert "Traceback" not in agent.log
