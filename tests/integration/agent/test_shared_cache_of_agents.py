"""Agents of one machine, each beside a server of its own, that share what they fetch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from agent.storage.transfer import PART_BYTES
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.fake_s3 import FakeS3, fake_s3
from tests.support.hostile_server import hostile_server
from tests.support.real_stores import NoStoreError, RealStore, seaweed
from tests.support.triton_server import ready, times_loaded

pytest.importorskip("obstore")
pytestmark = pytest.mark.timeout(180)

AGENTS = 4
MODELS = 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RealStore]:
    (tmp_path / "weed").mkdir()
    try:
        with seaweed(tmp_path / "weed") as running:
            yield running
    except NoStoreError as error:
        pytest.skip(str(error))


def fill(store: RealStore, folder: Path) -> dict[str, str]:
    """Put models into the store and return their URIs by name."""
    random = Random(0)
    for number in range(MODELS):
        model = folder / f"m{number}"
        model_folder(model)
        (model / "1" / "weights").write_bytes(random.randbytes(1 << 16))
        for path in (model / "config.pbtxt", model / "1" / "weights"):
            store.put("models", path.relative_to(folder).as_posix(), path)
    return {f"m{number}": f"s3://models/m{number}" for number in range(MODELS)}


def test_four_agents_fetch_each_object_once(
    tmp_path: Path, store: RealStore, triton_home: TritonHome
) -> None:
    uris = fill(store, tmp_path / "source")
    content = documents(*(wanted(name, storage_uri=uri) for name, uri in uris.items()))
    before = store.answered("GET")
    with ExitStack() as stack:
        servers, agents = [], []
        for number in range(AGENTS):
            folder = tmp_path / f"shard{number}"
            (folder / "models").mkdir(parents=True)
            server = start_triton(folder.name, folder / "models", home=triton_home)
            stack.callback(server.kill)
            agent = AgentProcess(
                folder=folder,
                server_url=server.http_url,
                arguments=("--shared-cache", str(tmp_path / "shared")),
                environment={**os.environ, **store.environment},
            )
            stack.callback(agent.kill)
            agent.configs.mkdir()
            mount_files(agent.configs, content)
            servers.append(server)
            agents.append(agent)
        for agent in agents:
            agent.start()
        for agent, server in zip(agents, servers, strict=True):
            agent.wait_ready()
            assert set(agent.states().values()) == {"Loaded"}, agent.log
            assert ready(server) == set(uris)
            assert set(times_loaded(server).values()) == {1}
            for name in uris:
                weights = (agent.models / name / "1" / "weights").read_bytes()
                assert weights == (tmp_path / "source" / name / "1" / "weights").read_bytes()
        fetched = [downloaded_bytes(agent) for agent in agents]
    assert store.answered("GET") - before == 2 * MODELS
    sizes = [path.stat().st_size for path in (tmp_path / "source").rglob("*") if path.is_file()]
    assert sum(fetched) == sum(sizes)


def downloaded_bytes(agent: AgentProcess) -> int:
    _, text = agent.get("/metrics")
    key = "shardpack_agent_downloaded_bytes_total "
    return sum(int(float(line.removeprefix(key))) for line in text.splitlines() if line.startswith(key))


def s3_agents(stack: ExitStack, folder: Path, s3: FakeS3, count: int) -> list[AgentProcess]:
    agents = []
    for number in range(count):
        place = folder / f"agent{number}"
        place.mkdir()
        server = stack.enter_context(hostile_server())
        agent = AgentProcess(
            folder=place,
            server_url=server.url,
            arguments=("--shared-cache", str(folder / "shared"), "--streams-per-download", "1"),
            environment={**os.environ, **s3.environment},
        )
        stack.callback(agent.kill)
        agents.append(agent)
    return agents


def test_where_the_one_that_fetches_is_killed_the_next_goes_on(tmp_path: Path) -> None:
    weights = Random(0).randbytes(2 * PART_BYTES + 10)
    with ExitStack() as stack:
        s3 = stack.enter_context(fake_s3())
        s3.objects = {"m/config.pbtxt": b'backend: "sim"\n', "m/1/weights": weights}
        first, *others = s3_agents(stack, tmp_path, s3, AGENTS)
        killed: list[str] = []

        def kill_once(_key: str, asked: str) -> None:
            if asked.startswith(f"bytes={2 * PART_BYTES}-") and not killed:
                for other in others:  # which then wait for the first one
                    other.start()
                killed.append(asked)
                first.kill()

        s3.before_get = kill_once
        for agent in (first, *others):
            agent.configs.mkdir()
            mount_files(agent.configs, documents(wanted("m", storage_uri="s3://models/m")))
        first.start()
        for agent in others:
            eventually(lambda: killed and agent.states() == {"m": "Loaded"}, "the model is loaded")  # noqa: B023 - at once
        assert s3.sent == sum(map(len, s3.objects.values()))
        first.start()
        eventually(lambda: first.states() == {"m": "Loaded"}, "the first one has it, too")
        assert s3.sent == sum(map(len, s3.objects.values()))
        for agent in (first, *others):
            assert (agent.models / "m" / "1" / "weights").read_bytes() == weights
    assert sorted(path.name for path in (tmp_path / "shared" / "incoming").rglob("*")) == []
