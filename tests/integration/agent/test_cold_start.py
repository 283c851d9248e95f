"""Files first, then a server that loads its whole repository: nothing is loaded a second time, pins hold."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.desired import DesiredModel
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import Ports, TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import ready, times_loaded

EVERYTHING = ("*",)


class Shard:
    """A server that is started when its files are there, and its agent."""

    def __init__(self, folder: Path, home: TritonHome) -> None:
        self.folder, self.home, self.ports = folder, home, Ports.free()
        (folder / "models").mkdir()
        self.agent = AgentProcess(folder=folder, server_url=f"http://127.0.0.1:{self.ports.http}")
        self.server: TritonProcess | None = None

    def serve(self) -> TritonProcess:
        options = TritonOptions(load_at_start=EVERYTHING, ports=self.ports)
        self.server = start_triton(self.folder.name, self.folder / "models", home=self.home, options=options)
        return self.server

    def stop(self) -> None:
        self.agent.kill()
        if self.server is not None:
            self.server.kill()


@pytest.fixture
def shard(tmp_path: Path, triton_home: TritonHome) -> Iterator[Shard]:
    made = Shard(tmp_path, triton_home)
    yield made
    made.stop()


def sims(store: Path, count: int, **parameters: str) -> list[DesiredModel]:
    names = [f"m{number:03}" for number in range(count)]
    return [wanted(name, storage_uri=model_folder(store / name, parameters=parameters)) for name in names]


def test_a_server_that_starts_with_everything_needs_no_load(shard: Shard, store: Path) -> None:
    models = sims(store, 30)
    spare = wanted("spare", storage_uri=model_folder(store / "spare"), state="standby")
    broken = wanted("broken", storage_uri=model_folder(store / "broken", parameters={"fail": "not today"}))
    absent = wanted("absent", storage_uri=(store / "absent").as_uri())
    mount_files(shard.agent.configs, documents(*models, spare, broken, absent))
    assert shard.agent.fetch() == 0
    assert {path.name for path in shard.agent.models.iterdir()} == {*(m.name for m in models), "broken"}
    server = shard.serve()
    shard.agent.start()
    shard.agent.wait_ready()
    states = shard.agent.states()
    assert states.pop("spare") == "Standby"
    assert states.pop("broken") == "FailedToLoad"
    assert states.pop("absent") == "DownloadFailed"
    assert states == {model.name: "Loaded" for model in models}
    assert shard.agent.done("load") == 0
    assert times_loaded(server) == dict.fromkeys(states, 1)
    for name in states:
        assert "KIND_CPU" in (shard.agent.models / name / "config.pbtxt").read_text()


def test_a_server_that_comes_back_with_everything_is_left_alone(shard: Shard, store: Path) -> None:
    models = sims(store, 20)
    mount_files(shard.agent.configs, documents(*models))
    assert shard.agent.fetch() == 0
    server = shard.serve()
    shard.agent.start()
    shard.agent.wait_ready()
    server.kill()
    eventually(lambda: not shard.agent.status()["server"]["live"], "the agent misses the server")
    server.start()
    server.wait_live()
    eventually(lambda: shard.agent.status()["server"]["live"], "the agent sees it again")
    assert set(shard.agent.states().values()) == {"Loaded"}
    assert ready(server) == {model.name for model in models}
    assert shard.agent.done("load") == 0


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_a_cold_start_ends_well(shard: Shard, store: Path, seed: int) -> None:
    chance = random.Random(seed)
    before, after = sims(store, 40), sims(store / "new", 40)
    mount_files(shard.agent.configs, documents(*before))
    for _ in range(4):
        shard.agent.spawn("--fetch-only")
        time.sleep(chance.uniform(0.1, 0.8))
        shard.agent.kill()
    mount_files(shard.agent.configs, documents(*after[:20], *before[20:]))
    assert shard.agent.fetch() == 0
    server = shard.serve()
    shard.agent.start()
    shard.agent.wait_ready()
    wanted_now = {model.name: model.storage_uri for model in (*after[:20], *before[20:])}
    told = shard.agent.status()["models"]
    assert {name: (model["state"], model["storageUri"]) for name, model in told.items()} == {
        name: ("Loaded", uri) for name, uri in wanted_now.items()
    }
    assert times_loaded(server) == dict.fromkeys(wanted_now, 1)


def test_files_are_not_touched_before_a_server_that_answers(shard: Shard, store: Path) -> None:
    mount_files(shard.agent.configs, documents(*sims(store, 1)))
    shard.serve()
    assert shard.agent.fetch() == 2
    assert "answers already" in shard.agent.log
    assert list(shard.agent.models.iterdir()) == []


def test_without_time_it_ends_with_what_is_there(shard: Shard, store: Path) -> None:
    shard.agent.arguments = ("--fetch-timeout", "1")
    mount_files(shard.agent.configs, {})
    assert shard.agent.fetch() == 0
    assert "ended before everything was fetched" in shard.agent.log
