"""Kills and swaps at random moments: afterwards the server holds exactly what is desired."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest

from agent.desired import DesiredModel
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonProcess
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import ready

pytestmark = [pytest.mark.triton, pytest.mark.soak]

MODELS = 60
EVENTS = 120


def some_models(random: Random, uris: dict[tuple[str, int], str], *, versions: int) -> list[DesiredModel]:
    names = sorted({name for name, _ in uris})
    chosen = random.sample(names, random.randrange(len(names) + 1))
    return [
        wanted(
            name,
            storage_uri=uris[name, random.randrange(versions)],
            instances=random.choice([1, 1, 2]),
            state=random.choice(["resident", "resident", "resident", "standby"]),
        )
        for name in chosen
    ]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_after_every_storm_the_server_holds_what_is_desired(
    agent: AgentProcess, server: TritonProcess, store: Path, seed: int
) -> None:
    random = Random(seed)
    uris = {
        (f"m{number}", version): model_folder(
            store / f"m{number}-{version}", parameters={"load_ms": "10", "unload_ms": "30"}
        )
        for number in range(MODELS)
        for version in range(2)
    }
    bad = {
        (f"m{number}", 2): model_folder(store / f"m{number}-2", parameters={"fail": "out of tape"})
        for number in range(MODELS)
    }
    desired = some_models(random, uris, versions=2)
    mount_files(agent.configs, documents(*desired))
    agent.start()
    for _ in range(EVENTS):
        time.sleep(random.random() / 5)
        match random.choices(["swap", "agent", "server", "broken"], [10, 4, 1, 1])[0]:
            case "swap":
                desired = some_models(random, uris | bad, versions=3)
                mount_files(agent.configs, documents(*desired))
            case "agent":
                agent.kill()
                agent.start()
            case "server":
                server.kill()
                server.start()
            case "broken":
                mount_files(agent.configs, {"placement-0.json": "{"})
    desired = some_models(random, uris, versions=2)
    mount_files(agent.configs, documents(*desired))
    states = {model.name: "Standby" if model.state == "standby" else "Loaded" for model in desired}
    eventually(lambda: agent.states() == states, "the states as desired")
    residents = {model.name for model in desired if model.state == "resident"}
    eventually(lambda: {path.name for path in agent.models.iterdir()} == residents, "no file is left over")
    assert ready(server) == {name for name, state in states.items() if state == "Loaded"}
    for model in desired:
        if model.state == "standby":
            continue
        weights = (agent.models / model.name / "1" / "weights").read_text()
        assert model.storage_uri.endswith(f"/{weights}")
    agent.kill()
    agent.start()
    agent.wait_ready()
    assert agent.done("load") == agent.done("unload") == agent.done("download") == 0
