"""The agent beside real MLServer and KServe Python servers: load, unload, failure, restart."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.desired import DesiredModel, placement_chunks
from planner.rehearsal.mount import mount_files
from tests.support.agent_models import on_gpu, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.python_servers import PythonServer, kserve, mlserver, sklearn_model

KINDS = ("mlserver", "kserve")


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PythonServer]:
    """One server a kind for the whole module, over the folder ``models`` beside its log."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "models").mkdir()
    found = (mlserver if request.param == "mlserver" else kserve)(folder / "models", folder / "server.log")
    found.start()
    yield found
    found.kill()


@pytest.fixture(scope="module")
def trained(server: PythonServer) -> Path:
    """A good model's folder of the server's kind."""
    folder = server.log.parent / "trained"
    if is_mlserver(server):
        sklearn_model(folder)
    else:
        folder.mkdir()
        (folder / "model.json").write_text('{"factor": 2}')
    return folder


@pytest.fixture
def agent(server: PythonServer, tmp_path: Path) -> Iterator[AgentProcess]:
    """An agent beside the server, not started; whatever is loaded at the end is unloaded."""
    models = server.log.parent / "models"
    agent = AgentProcess(
        folder=tmp_path, server_url=server.url, arguments=("--state-dir", str(server.log.parent / "state"))
    )
    (tmp_path / "models").symlink_to(models)
    yield agent
    agent.kill()
    if server.ask("GET", "/v2/health/live")[0] != 200:
        server.kill()
        server.start()
    for path in models.iterdir():
        server.ask("POST", f"/v2/repository/models/{path.name}/unload", {})
        shutil.rmtree(path)
    shutil.rmtree(server.log.parent / "state", ignore_errors=True)


def is_mlserver(server: PythonServer) -> bool:
    return server.command[0].endswith("mlserver")


def place(agent: AgentProcess, server: PythonServer, *models: DesiredModel) -> None:
    runtime = "mlserver" if is_mlserver(server) else "sklearn"
    chunks = placement_chunks(shard="s", runtime=runtime, models=models, max_bytes=900_000)
    mount_files(agent.configs, {"placement-0.json": chunks[0]})


def model(name: str, folder: Path, **fields: object) -> DesiredModel:
    return wanted(name, storage_uri=folder.as_uri(), framework="sklearn", **fields)


def outcome(agent: AgentProcess, name: str) -> tuple[str, str]:
    entry = agent.status()["models"][name]
    return entry["state"], entry["reason"]


def doubled(server: PythonServer, name: str) -> float:
    body = {"inputs": [{"name": "X", "shape": [1, 1], "datatype": "FP64", "data": [21.0]}]}
    status, text = server.ask("POST", f"/v2/models/{name}/infer", body)
    assert status == 200, text
    return float(json.loads(text)["outputs"][0]["data"][0])


def test_models_are_loaded_changed_and_removed(
    agent: AgentProcess, server: PythonServer, trained: Path, tmp_path: Path
) -> None:
    place(agent, server, model("a", trained), model("b", trained))
    agent.start()
    agent.wait_ready()
    assert agent.states() == {"a": "Loaded", "b": "Loaded"}
    assert agent.status()["server"]["kind"] == ("mlserver" if is_mlserver(server) else "kserve")
    assert doubled(server, "a") == doubled(server, "b") == pytest.approx(42.0)
    shutil.copytree(trained, tmp_path / "newer")
    place(agent, server, model("a", tmp_path / "newer"))
    eventually(lambda: agent.done("remove") == 1, "b's files are deleted")
    eventually(lambda: agent.done("load") == 3, "the new copy is loaded")
    eventually(lambda: agent.states() == {"a": "Loaded"}, "and told")
    assert doubled(server, "a") == pytest.approx(42.0)
    assert not server.serves("b")


def test_a_model_that_does_not_load_is_told_and_holds_up_nobody(
    agent: AgentProcess, server: PythonServer, trained: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / ("model.joblib" if is_mlserver(server) else "model.json")).write_text('{"fail": "out of tape"')
    place(agent, server, model("bad", bad), model("good", trained))
    agent.start()
    agent.wait_ready()
    eventually(lambda: outcome(agent, "bad") == ("FailedToLoad", "LoadRefused"), "the refusal")
    assert agent.states()["good"] == "Loaded"
    assert not server.serves("bad")
    place(agent, server, model("bad", trained), model("good", trained))
    eventually(lambda: agent.states() == {"bad": "Loaded", "good": "Loaded"}, "the repaired one")


def test_a_version_that_does_not_load_leaves_the_former_one_in_service(
    agent: AgentProcess, server: PythonServer, trained: Path, tmp_path: Path
) -> None:
    bad, last = tmp_path / "bad", tmp_path / "last"
    bad.mkdir()
    (bad / ("model.joblib" if is_mlserver(server) else "model.json")).write_text('{"fail": "out of tape"')
    shutil.copytree(trained, last)
    place(agent, server, model("m", trained))
    agent.start()
    agent.wait_ready()
    place(agent, server, model("m", bad))
    eventually(lambda: outcome(agent, "m") == ("Loaded", "UpdateFailed"), "the setback")
    assert agent.status()["models"]["m"]["servedUri"] == trained.as_uri()
    assert doubled(server, "m") == pytest.approx(42.0)
    place(agent, server, model("m", last))
    eventually(lambda: agent.status()["models"]["m"]["servedUri"] == last.as_uri(), "the last one")
    eventually(lambda: outcome(agent, "m") == ("Loaded", None), "and told")
    assert agent.done("unload") == 0


def test_a_model_on_a_gpu_is_refused_and_not_loaded_somewhere_else(
    agent: AgentProcess, server: PythonServer, trained: Path
) -> None:
    place(agent, server, model("m", trained, devices=on_gpu(0)))
    agent.start()
    agent.wait_ready()
    assert outcome(agent, "m") == ("FailedToLoad", "PinNotSupported")
    assert not server.serves("m")


def test_a_killed_server_is_filled_again(agent: AgentProcess, server: PythonServer, trained: Path) -> None:
    place(agent, server, *(model(name, trained) for name in "abc"))
    agent.start()
    agent.wait_ready()
    server.kill()
    eventually(lambda: agent.get("/readyz")[0] == 503, "not ready without a server")
    server.start()
    agent.wait_ready()
    assert all(server.serves(name) for name in "abc")
    assert agent.done("download") == 3


def test_a_server_that_restarts_between_two_looks_is_filled_again(
    agent: AgentProcess, server: PythonServer, trained: Path
) -> None:
    agent.arguments += ("--poll-period", "8")
    place(agent, server, *(model(name, trained) for name in "ab"))
    agent.start()
    agent.wait_ready()
    eventually(lambda: agent.states() == {"a": "Loaded", "b": "Loaded"}, "loaded")
    time.sleep(0.2)
    server.kill()
    server.start()
    eventually(lambda: server.serves("a") and server.serves("b"), "both again")
    assert agent.done("download") == 2


def test_a_killed_agent_loads_nothing_twice(agent: AgentProcess, server: PythonServer, trained: Path) -> None:
    place(agent, server, *(model(name, trained) for name in "ab"))
    agent.start()
    agent.wait_ready()
    agent.kill()
    agent.start()
    agent.wait_ready()
    assert agent.done("download") == agent.done("load") == agent.done("unload") == 0


def test_standby_waits_and_a_model_with_a_foreign_name_in_its_settings_gets_its_own(
    agent: AgentProcess, server: PythonServer, trained: Path, tmp_path: Path
) -> None:
    named = tmp_path / "named"
    shutil.copytree(trained, named)
    if is_mlserver(server):
        settings = {
            "name": "a",
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": "./model.joblib"},
        }
        (named / "model-settings.json").write_text(json.dumps(settings))
    place(agent, server, model("a", trained), model("b", named), model("c", named, state="standby"))
    agent.start()
    agent.wait_ready()
    assert agent.states() == {"a": "Loaded", "b": "Loaded", "c": "Standby"}
    assert doubled(server, "b") == pytest.approx(42.0)
    assert not server.serves("c")


def test_a_load_that_outlasts_its_timeout_is_waited_for(
    agent: AgentProcess, server: PythonServer, tmp_path: Path
) -> None:
    if is_mlserver(server):
        pytest.skip("sklearn models load at once; the wait is the same code for both servers")
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "model.json").write_text('{"factor": 2, "load_s": 2.5}')
    agent.arguments += ("--load-timeout", "1")
    place(agent, server, model("slow", slow))
    agent.start()
    eventually(lambda: agent.states() == {"slow": "Loaded"}, "loaded")
    assert server.log.read_text().count("successfully loaded 'slow'") == 1
