"""New versions of models that serve: one that cannot be had or does not load takes nothing away."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agent.desired import DesiredModel
from planner.rehearsal.build import NativeParts
from planner.rehearsal.gpus import SimulatedGpu
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonProcess
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.gpu_shard import MIB, a_gpu_shard
from tests.support.model_traffic import Traffic
from tests.support.triton_server import ready, times_loaded

pytestmark = pytest.mark.triton


def version(store: Path, name: str, **parameters: str) -> DesiredModel:
    return wanted("m", storage_uri=model_folder(store / name, parameters=parameters))


def told(agent: AgentProcess) -> tuple[Any, ...]:
    entry = agent.status()["models"]["m"]
    return entry["state"], entry["reason"], entry["servedUri"]


def test_a_version_that_fails_leaves_the_former_one_in_service(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    first, last = version(store, "first"), version(store, "last")
    bad = version(store, "bad", fail="out of tape")
    absent = wanted("m", storage_uri=(store / "absent").as_uri())
    mount_files(agent.configs, documents(first))
    agent.start()
    agent.wait_ready()
    with Traffic(f"{server.http_url}/v2/models/m/infer", threads=2) as traffic:
        for model, why in ((bad, "LoadRefused: "), (absent, "NotFound: "), (bad, "out of tape")):
            mount_files(agent.configs, documents(model))
            eventually(lambda: told(agent) == ("Loaded", "UpdateFailed", first.storage_uri), "the setback")
            eventually(
                lambda why=why: why in agent.status()["models"]["m"]["message"],  # type: ignore[misc]  # bound now
                f"it is told: {why}",
            )
            assert agent.get("/readyz")[0] == 200
        agent.kill()
        agent.start()
        eventually(lambda: told(agent) == ("Loaded", "UpdateFailed", first.storage_uri), "after a crash")
        mount_files(agent.configs, documents(last))
        eventually(lambda: told(agent) == ("Loaded", None, last.storage_uri), "the version that loads")
        asked = traffic.answers
        eventually(lambda: traffic.answers > asked + 20, "it is asked")
    assert traffic.failures == []
    assert (agent.models / "m" / "1" / "weights").read_text() == "last"
    assert times_loaded(server) == {"m": 2}
    assert agent.done("unload") == 0
    state = agent.folder / ".shardpack" / "models"
    assert list((state / "former").iterdir()) == list((state / "staged").iterdir()) == []


def test_the_former_version_is_loaded_again_on_a_new_server_process(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    first, bad = version(store, "first"), version(store, "bad", fail="out of tape")
    mount_files(agent.configs, documents(first))
    agent.start()
    agent.wait_ready()
    mount_files(agent.configs, documents(bad))
    eventually(lambda: told(agent) == ("Loaded", "UpdateFailed", first.storage_uri), "the setback")
    server.kill()
    server.start()
    server.wait_live()
    eventually(lambda: ready(server) == {"m"}, "the former version on the new process")
    eventually(lambda: told(agent) == ("Loaded", "UpdateFailed", first.storage_uri), "and told")


def test_a_repository_that_got_a_bad_version_before_the_server_started_goes_back(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    first, bad = version(store, "first"), version(store, "bad", fail="out of tape")
    mount_files(agent.configs, documents(first))
    agent.start()
    agent.wait_ready()
    agent.terminate()
    server.kill()
    mount_files(agent.configs, documents(bad))
    assert agent.fetch() == 0
    assert (agent.models / "m" / "1" / "weights").read_text() == "bad"
    server.start()
    agent.start()
    eventually(lambda: told(agent) == ("Loaded", "UpdateFailed", first.storage_uri), "the former version")
    assert ready(server) == {"m"}


def test_an_agent_killed_at_any_moment_of_an_update_ends_well(
    agent: AgentProcess, server: TritonProcess, store: Path, tmp_path: Path
) -> None:
    """The new version takes its time to load and then fails, or does not."""
    slow = version(store, "slow", load_ms="300", fail_file=str(tmp_path / "broken"))
    mount_files(agent.configs, documents(version(store, "first")))
    agent.start()
    agent.wait_ready()
    (tmp_path / "broken").touch()
    with Traffic(f"{server.http_url}/v2/models/m/infer", threads=1) as traffic:
        mount_files(agent.configs, documents(slow))
        for _ in range(6):
            eventually(lambda: agent.states() == {"m": "Loading"}, "a try")
            agent.kill()
            agent.start()
        (tmp_path / "broken").unlink()
        eventually(lambda: told(agent) == ("Loaded", None, slow.storage_uri), "the new version")
    assert traffic.failures == []


@pytest.mark.parametrize(("nvml", "why"), [(True, "NoRoom"), (False, "OutOfMemory")])
def test_versions_that_have_no_room_together_change_over_one_after_the_other(
    tmp_path: Path, native: NativeParts, triton_home: TritonHome, nvml: bool, why: str
) -> None:
    gpu = SimulatedGpu(uuid="GPU-a", product="Tesla T4", memory_bytes=104 * MIB, reserved_bytes=2 * MIB)
    with a_gpu_shard(tmp_path, gpu, native=native, home=triton_home, nvml=nvml) as shard:
        shard.mount(shard.model("m", "GPU-a", size=60 * MIB))
        shard.agent.start()
        shard.agent.wait_ready()
        old = shard.agent.status()["models"]["m"]["servedUri"]
        shard.mount(shard.model("m", "GPU-a", size=70 * MIB, version="-2", fail="out of tape"))
        eventually(lambda: "out of tape" in shard.server.log.read_text(), "the newer one was tried alone")
        eventually(lambda: told(shard.agent) == ("Loaded", "UpdateFailed", old), "the former one is back")
        last = shard.model("m", "GPU-a", size=70 * MIB, version="-3")
        shard.mount(last)
        eventually(lambda: told(shard.agent) == ("Loaded", None, last.storage_uri), "the last one")
        assert set(re.findall("reason='([A-Za-z]+)'", shard.agent.log)) == {why, "LoadRefused"}
