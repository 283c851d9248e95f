"""The agent beside a real Triton server with two simulated GPUs: pins, moves and room."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.desired import DesiredDevice, DesiredModel
from planner.rehearsal.build import NativeParts
from planner.rehearsal.gpus import SimulatedGpu, environment, write_state
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import ready, times_loaded

pytestmark = pytest.mark.triton

MIB = 1 << 20
POOL_BYTES = 2 * MIB
GPUS = tuple(
    SimulatedGpu(uuid=f"GPU-{letter}", product="Tesla T4", memory_bytes=100 * MIB, reserved_bytes=4 * MIB)
    for letter in "ab"
)
# The server sees them the other way round than NVML lists them.
VISIBLE = ("GPU-b", "GPU-a")


@pytest.fixture
def server(tmp_path: Path, native: NativeParts, triton_home: TritonHome) -> Iterator[TritonProcess]:
    (tmp_path / "models").mkdir()
    write_state(tmp_path / "gpus", GPUS)
    server = start_triton(
        tmp_path.name,
        tmp_path / "models",
        home=triton_home,
        gpus=environment(native, tmp_path / "gpus", visible=VISIBLE),
        options=TritonOptions(pool_bytes=POOL_BYTES),
    )
    yield server
    server.kill()


@pytest.fixture
def agent(tmp_path: Path, native: NativeParts, server: TritonProcess) -> Iterator[AgentProcess]:
    variables = environment(native, tmp_path / "gpus", visible=VISIBLE)
    agent = AgentProcess(folder=tmp_path, server_url=server.http_url, environment={**os.environ, **variables})
    yield agent
    agent.kill()


def sim(store: Path, name: str, uuid: str, *, mib: int) -> DesiredModel:
    folder = store / name
    uri = (
        folder.as_uri() if folder.exists() else model_folder(folder, parameters={"gpu_bytes": str(mib * MIB)})
    )
    return wanted(
        name,
        storage_uri=uri,
        devices=(DesiredDevice(kind="gpu", uuid=uuid),),
        load_peak_bytes=mib * MIB,
        steady_bytes=mib * MIB,
    )


def used_mib(agent: AgentProcess) -> dict[str, int]:
    """Return what models use on each GPU, the server's pool left out."""
    devices = agent.status()["devices"]
    return {device["uuid"]: (device["usedBytes"] - POOL_BYTES) // MIB for device in devices}


def test_models_are_pinned_by_uuid_and_memory_is_told(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    mount_files(agent.configs, documents(sim(store, "a", "GPU-a", mib=10), sim(store, "b", "GPU-b", mib=30)))
    agent.start()
    agent.wait_ready()
    assert ready(server) == {"a", "b"}
    assert {name: model["device"] for name, model in agent.status()["models"].items()} == {
        "a": "gpu:1",
        "b": "gpu:0",
    }
    eventually(lambda: used_mib(agent) == {"GPU-b": 30, "GPU-a": 10}, "memory in the status")
    assert {name: model["measuredBytes"] for name, model in agent.status()["models"].items()} == {
        "a": 10 * MIB,
        "b": 30 * MIB,
    }
    first, second = agent.status()["devices"]
    assert (first["uuid"], first["index"], second["index"]) == ("GPU-b", 0, 1)
    assert (first["totalBytes"], first["reservedBytes"]) == (100 * MIB, 4 * MIB)
    assert 'shardpack_gpu_memory_planned_bytes{gpu_uuid="GPU-b"} 3.145728e+07' in agent.get("/metrics")[1]


def test_a_changed_pin_moves_the_model_without_loading_it_anew(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    mount_files(agent.configs, documents(sim(store, "m", "GPU-a", mib=10)))
    agent.start()
    agent.wait_ready()
    mount_files(agent.configs, documents(sim(store, "m", "GPU-b", mib=10)))
    eventually(lambda: used_mib(agent) == {"GPU-b": 10, "GPU-a": 0}, "the move")
    eventually(lambda: agent.states() == {"m": "Loaded"}, "loaded")
    assert (agent.done("unload"), agent.done("download")) == (0, 1)
    server.kill()
    server.start()
    eventually(lambda: used_mib(agent) == {"GPU-b": 10, "GPU-a": 0}, "the pin after a restart of the server")


def test_on_a_full_gpu_the_old_model_leaves_before_the_new_one_comes(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    for name, mib in (("first", 80), ("second", 80), ("third", 60)):
        mount_files(agent.configs, documents(sim(store, name, "GPU-a", mib=mib)))
        if name == "first":
            agent.start()
        eventually(lambda name=name: agent.states() == {name: "Loaded"}, name)  # type: ignore[misc]
        assert ready(server) == {name}
    assert times_loaded(server) == {"first": 1, "second": 1, "third": 1}
    assert 'outcome="failed"' not in agent.get("/metrics")[1]


def test_a_device_that_the_server_does_not_see_is_a_clear_failure(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    mount_files(agent.configs, documents(sim(store, "a", "GPU-z", mib=10), sim(store, "b", "GPU-b", mib=10)))
    agent.start()
    agent.wait_ready()
    models = agent.status()["models"]
    assert (models["a"]["state"], models["a"]["reason"]) == ("FailedToLoad", "DeviceNotVisible")
    assert ready(server) == {"b"}


def test_what_cannot_fit_is_refused_before_the_server_is_asked_and_loaded_once_there_is_room(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    folder = agent.folder / "gpus"
    write_state(folder, (replace(GPUS[0], foreign_bytes=70 * MIB), GPUS[1]))
    mount_files(agent.configs, documents(sim(store, "m", "GPU-a", mib=40), sim(store, "n", "GPU-b", mib=40)))
    agent.start()
    agent.wait_ready()
    model = agent.status()["models"]["m"]
    assert (model["state"], model["reason"]) == ("FailedToLoad", "NoRoom")
    assert model["message"] == "device 1 has 24 MiB free; the load may take 40 MiB"
    assert "failed to load 'm'" not in server.log.read_text()
    assert agent.states()["n"] == "Loaded"
    write_state(folder, GPUS)
    eventually(lambda: agent.states() == {"m": "Loaded", "n": "Loaded"}, "loaded when the other has left")
    assert times_loaded(server) == {"m": 1, "n": 1}
