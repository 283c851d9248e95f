"""Loads and unloads over gRPC, and restricted endpoints, on a real Triton."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from planner.rehearsal.free_ports import free_port
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import Ports, TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually

pytest.importorskip("grpc", reason="grpcio is not installed (pip install shardpack[grpc])")
pytestmark = pytest.mark.triton

SECRET = "open-sesame"


@pytest.fixture
def restricted(tmp_path: Path, triton_home: TritonHome) -> Iterator[TritonProcess]:
    """A server whose repository is closed to who does not know a secret."""
    (tmp_path / "models").mkdir()
    options = TritonOptions(
        ports=Ports.free(),
        arguments=(
            f"--http-restricted-api=model-repository:admin-key={SECRET}",
            f"--grpc-restricted-protocol=model-repository:admin-key={SECRET}",
        ),
    )
    server = start_triton(tmp_path.name, tmp_path / "models", home=triton_home, options=options)
    yield server
    server.kill()


@pytest.fixture
def beside(tmp_path: Path, restricted: TritonProcess) -> Iterator[AgentProcess]:
    agent = AgentProcess(folder=tmp_path, server_url=restricted.http_url)
    yield agent
    agent.kill()


def place(agent: AgentProcess, store: Path) -> None:
    names = ("good", "bad")
    parameters = {"good": {}, "bad": {"fail": "out of tape"}}
    uris = {name: model_folder(store / name, parameters=parameters[name]) for name in names}
    mount_files(agent.configs, documents(*(wanted(name, storage_uri=uris[name]) for name in names)))


def test_models_are_loaded_refused_and_unloaded_over_grpc_with_a_secret(
    beside: AgentProcess, restricted: TritonProcess, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(SECRET)
    beside.arguments = (
        *("--server-grpc-url", f"127.0.0.1:{restricted.ports.grpc}"),
        *("--server-header", f"admin-key=file:{tmp_path}/key"),
        *("--server-header", f"triton-grpc-protocol-admin-key=file:{tmp_path}/key"),
        *("--log-level", "debug"),
    )
    place(beside, store)
    nobody = f"http://127.0.0.1:{free_port()}"
    beside.environment = {**os.environ, "http_proxy": nobody, "https_proxy": nobody, "no_proxy": ""}
    beside.start()
    beside.wait_ready()
    eventually(lambda: beside.states() == {"good": "Loaded", "bad": "FailedToLoad"}, "attempted")
    assert "loads and unloads go over HTTP" not in beside.log
    entry = beside.status()["models"]["bad"]
    assert entry["reason"] == "LoadRefused"
    assert "out of tape" in entry["message"]
    mount_files(beside.configs, documents())
    eventually(lambda: beside.states() == {}, "unloaded")
    restricted.kill()
    restricted.start()
    place(beside, store / "again")
    eventually(lambda: beside.states().get("good") == "Loaded", "the channel finds the new process")
    assert SECRET not in beside.log
    assert SECRET not in beside.get("/status")[1]


def test_without_the_secret_nothing_is_loaded_and_the_probe_says_why(
    beside: AgentProcess, restricted: TritonProcess, store: Path
) -> None:
    place(beside, store)
    beside.start()
    eventually(lambda: "restricted" in beside.get("/readyz")[1], "told")
    assert beside.get("/readyz")[0] == 503


def test_where_the_grpc_port_is_closed_loads_go_over_http_until_it_opens(
    tmp_path: Path, triton_home: TritonHome, store: Path
) -> None:
    (tmp_path / "models").mkdir()
    ports = Ports.free()
    closed = TritonOptions(ports=replace(ports, grpc=None))
    server = start_triton(tmp_path.name, tmp_path / "models", home=triton_home, options=closed)
    agent = AgentProcess(folder=tmp_path, server_url=server.http_url)
    agent.arguments = ("--server-grpc-url", f"127.0.0.1:{ports.grpc}")
    one, two = (wanted(name, storage_uri=model_folder(store / name)) for name in ("one", "two"))
    try:
        mount_files(agent.configs, documents(one))
        agent.start()
        agent.wait_ready()
        assert agent.states() == {"one": "Loaded"}
        told = agent.status()["server"]
        assert told["control"] == "http"
        assert "UNAVAILABLE" in told["controlFault"]
        assert agent.log.count("the server's gRPC port does not answer: loads and unloads go over HTTP") == 1
        assert "shardpack_agent_control_fallback 1.0" in agent.get("/metrics")[1]
        server.kill()
        options = TritonOptions(ports=ports)
        server = start_triton(tmp_path.name, tmp_path / "models", home=triton_home, options=options)
        eventually(lambda: agent.status()["server"]["control"] == "grpc", "the port of the new process")
        mount_files(agent.configs, documents(one, two))
        eventually(lambda: agent.states() == {"one": "Loaded", "two": "Loaded"}, "loaded")
        assert agent.status()["server"]["controlFault"] is None
        assert "gRPC port answers: loads and unloads go over gRPC again" in agent.log
    finally:
        agent.kill()
        server.kill()
