"""The agent beside a real Triton server whose models are of the sim backend."""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from agent.desired import DesiredModel, models_json
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonProcess
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import ready, times_loaded

pytestmark = pytest.mark.triton


def sims(store: Path, *names: str, **parameters: str) -> list[DesiredModel]:
    return [wanted(name, storage_uri=model_folder(store / name, parameters=parameters)) for name in names]


def outcome(agent: AgentProcess, name: str) -> tuple[str, str]:
    model = agent.status()["models"][name]
    return model["state"], model["reason"]


def test_thirty_models_are_filled_changed_and_removed(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    names = [f"m{number}" for number in range(30)]
    models = sims(store, *names)
    mount_files(agent.configs, documents(*models, max_bytes=4000))
    agent.start()
    assert agent.get("/livez")[0] == 200
    agent.wait_ready()
    assert ready(server) == set(names)
    assert set(agent.states().values()) == {"Loaded"}
    schema = json.loads(files("agent").joinpath("status.schema.json").read_text())
    jsonschema.validate(agent.status(), schema)
    config = (agent.models / "m0" / "config.pbtxt").read_text()
    assert config.startswith('name: "m0"\ninstance_group [ { kind: KIND_CPU count: 1 } ]\nbackend: "sim"\n')

    changed = wanted("m0", storage_uri=model_folder(store / "new"))
    mount_files(agent.configs, documents(changed, *models[1:]))
    eventually(lambda: agent.status()["models"]["m0"]["storageUri"] == changed.storage_uri, "the new copy")
    eventually(lambda: agent.states()["m0"] == "Loaded", "the new copy loaded")
    assert (agent.models / "m0" / "1" / "weights").read_text() == "new"
    assert times_loaded(server) == {**dict.fromkeys(names, 1), "m0": 2}

    mount_files(agent.configs, documents(*models[1:4]))
    eventually(lambda: sorted(path.name for path in agent.models.iterdir()) == names[1:4], "files deleted")
    assert ready(server) == set(names[1:4])
    assert agent.get("/readyz")[0] == 200
    assert agent.terminate() == 0


def test_a_broken_document_changes_nothing_and_is_told(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    models = sims(store, "a", "b")
    mount_files(agent.configs, documents(*models))
    agent.start()
    agent.wait_ready()
    mount_files(agent.configs, {"placement-0.json": documents(models[0])["placement-0.json"][:-9]})
    eventually(lambda: agent.status()["documentFault"], "the fault in the status")
    assert "not JSON" in agent.status()["documentFault"]
    assert ready(server) == {"a", "b"}
    mount_files(agent.configs, documents(models[0]))
    eventually(lambda: ready(server) == {"a"}, "the next complete set")
    assert agent.status()["documentFault"] is None


def test_a_killed_agent_goes_on_and_loads_nothing_twice(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    names = [f"m{number}" for number in range(12)]
    mount_files(agent.configs, documents(*sims(store, *names, load_ms="20")))
    agent.start()
    eventually(lambda: len(ready(server)) >= 3, "some models")
    agent.kill()
    agent.start()
    agent.wait_ready()
    agent.kill()
    agent.start()
    agent.wait_ready()
    assert agent.done("download") == agent.done("load") == agent.done("unload") == 0
    assert ready(server) == set(names)
    assert times_loaded(server) == dict.fromkeys(names, 1)


def test_a_killed_server_is_filled_again_and_not_ready_meanwhile(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    mount_files(agent.configs, documents(*sims(store, "a", "b", "c")))
    agent.start()
    agent.wait_ready()
    server.kill()
    eventually(lambda: agent.get("/readyz")[0] == 503, "not ready without a server")
    assert agent.get("/livez")[0] == 200
    assert agent.status()["server"]["live"] is False
    server.start()
    agent.wait_ready()
    assert ready(server) == {"a", "b", "c"}
    assert agent.done("download") == 3


def test_a_model_that_cannot_be_had_or_loaded_does_not_hold_up_the_others(
    agent: AgentProcess, server: TritonProcess, store: Path, tmp_path: Path
) -> None:
    good, bad = sims(store, "good"), sims(store, "bad", fail="out of tape")
    repaired = sims(store, "repaired", fail_file=str(tmp_path / "broken"))
    (tmp_path / "broken").write_text("")
    absent = wanted("absent", storage_uri=(store / "absent").as_uri())
    mount_files(agent.configs, documents(*good, *bad, *repaired, absent))
    agent.start()
    agent.wait_ready()
    # Not the first answer: a model that is just being tried again says so.
    eventually(lambda: outcome(agent, "bad") == ("FailedToLoad", "LoadRefused"), "the load's refusal")
    eventually(lambda: outcome(agent, "absent") == ("DownloadFailed", "NotFound"), "the download's failure")
    models = agent.status()["models"]
    assert "out of tape" in models["bad"]["message"]
    assert models["good"]["state"] == "Loaded"
    (tmp_path / "broken").unlink()
    model_folder(store / "absent")
    eventually(lambda: ready(server) == {"good", "repaired", "absent"}, "tried again")


def test_archives_from_http_and_one_that_would_escape(
    agent: AgentProcess, server: TritonProcess, store: Path, tmp_path: Path
) -> None:
    model_folder(store / "m")
    with tarfile.open(store / "good.tar.gz", "w:gz") as archive:
        archive.add(store / "m", arcname="m")
    with tarfile.open(store / "bad.tar.gz", "w:gz") as archive:
        archive.add(store / "m", arcname="m")
        archive.add(store / "m" / "config.pbtxt", arcname="../../../../escaped")
    handler = partial(SimpleHTTPRequestHandler, directory=str(store))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{web.server_address[1]}"
        names = ("good", "bad", "absent")
        mount_files(
            agent.configs, documents(*(wanted(name, storage_uri=f"{base}/{name}.tar.gz") for name in names))
        )
        agent.start()
        agent.wait_ready()
        eventually(lambda: outcome(agent, "bad") == ("DownloadFailed", "UnsafeArchive"), "bad told of")
        eventually(lambda: outcome(agent, "absent") == ("DownloadFailed", "NotFound"), "absent told of")
        web.shutdown()
    assert agent.states()["good"] == "Loaded"
    assert ready(server) == {"good"}
    assert list(tmp_path.rglob("escaped")) == []


def test_an_agent_that_starts_before_its_server_and_reads_models_json(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    server.kill()
    agent.arguments = ("--enable-puller",)  # KServe's, beside --config-dir and --model-dir
    mount_files(agent.configs, {"models.json": models_json(sims(store, "a", "b"))})
    agent.start()
    eventually(
        lambda: {"a", "b"} == {path.name for path in agent.models.iterdir()}, "files before the server"
    )
    assert agent.get("/readyz")[0] == 503
    server.start()
    agent.wait_ready()
    assert ready(server) == {"a", "b"}
    assert "instance_group" not in (agent.models / "a" / "config.pbtxt").read_text()


def test_readiness_that_waits_for_every_load(agent: AgentProcess, server: TritonProcess, store: Path) -> None:
    good, waiting = sims(store, "good", "waiting")
    waiting = replace(waiting, state="standby")
    (bad,) = sims(store, "bad", fail="out of tape")
    agent.arguments = ("--ready-when", "loaded")
    agent.configs.mkdir()
    mount_files(agent.configs, documents(good, waiting, bad))
    agent.start()
    eventually(lambda: agent.status()["observedGeneration"] is not None, "everything was attempted")
    assert agent.get("/readyz") == (503, "2 of 3 models loaded\n")
    assert not agent.status()["ready"]
    mount_files(agent.configs, documents(good, waiting))
    agent.wait_ready()
    # A pod that serves is not taken away for what comes later; a new server process is judged anew.
    mount_files(agent.configs, documents(good, waiting, bad))
    eventually(lambda: agent.states().get("bad") == "FailedToLoad", "it fails")
    assert agent.get("/readyz")[0] == 200
    server.kill()
    eventually(lambda: agent.get("/readyz")[0] == 503, "not ready without a server")
    server.start()
    eventually(lambda: agent.get("/readyz") == (503, "2 of 3 models loaded\n"), "judged anew")


def test_standby_is_fetched_and_not_loaded_until_it_is_wanted(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    (model,) = sims(store, "m")
    waiting = wanted("m", storage_uri=model.storage_uri, state="standby")
    mount_files(agent.configs, documents(waiting))
    agent.start()
    agent.wait_ready()
    assert agent.states() == {"m": "Standby"}
    assert ready(server) == set()
    mount_files(agent.configs, documents(model))
    eventually(lambda: ready(server) == {"m"}, "loaded")
    mount_files(agent.configs, documents(waiting))
    eventually(lambda: agent.states() == {"m": "Standby"}, "standby again")
    assert ready(server) == set()
    assert agent.done("download") == 1


def test_a_folder_lost_while_its_model_serves_is_fetched_again(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    mount_files(agent.configs, documents(*sims(store, "a", "b")))
    agent.start()
    agent.wait_ready()
    shutil.rmtree(agent.models / "a")
    eventually(lambda: agent.done("download") == 3, "fetched again")
    eventually(lambda: agent.states() == {"a": "Loaded", "b": "Loaded"}, "loaded again")
    assert ready(server) == {"a", "b"}


def test_a_file_that_is_in_use_as_a_folder_ends_with_a_clear_message(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    agent = AgentProcess(folder=tmp_path, server_url="http://127.0.0.1:9")
    with pytest.raises(AssertionError, match=r"'--model-dir' .*: Directory .* is a file"):
        agent.start()
    assert agent.exit_code == 2


def test_a_newer_document_drops_what_has_not_begun(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    names = [f"m{number}" for number in range(20)]
    models = sims(store, *names, load_ms="200")
    agent.arguments = ("--parallel-loads", "1")
    mount_files(agent.configs, documents(*models))
    agent.start()
    eventually(lambda: ready(server), "a first model")
    mount_files(agent.configs, documents(models[-1]))
    eventually(lambda: agent.states() == {names[-1]: "Loaded"}, "only what the newer document asks for")
    assert ready(server) == {names[-1]}
    assert len(times_loaded(server)) < len(names)


def test_a_load_that_outlasts_its_timeout_is_waited_for_not_repeated(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    agent.arguments = ("--load-timeout", "1")
    mount_files(agent.configs, documents(*sims(store, "slow", load_ms="2500"), *sims(store, "quick")))
    agent.start()
    eventually(lambda: agent.states() == {"slow": "Loaded", "quick": "Loaded"}, "both loaded")
    assert times_loaded(server) == {"slow": 1, "quick": 1}


def test_a_python_model_is_loaded_and_leaves(agent: AgentProcess, server: TritonProcess, store: Path) -> None:
    version = store / "doubler" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(
        "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
    )
    (store / "doubler" / "config.pbtxt").write_text(
        'name: "another name"\nbackend: "python"\n'
        'input { name: "X" data_type: TYPE_FP32 dims: [ 1 ] }\n'
        'output { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }\n'
    )
    mount_files(agent.configs, documents(wanted("doubler", storage_uri=(store / "doubler").as_uri())))
    agent.start()
    agent.wait_ready()
    assert ready(server) == {"doubler"}
    mount_files(agent.configs, documents())
    eventually(lambda: list(agent.models.iterdir()) == [], "gone")
    assert ready(server) == set()


def test_an_ensemble_is_loaded_with_its_step_and_configs_as_people_write_them(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    (step,) = sims(store, "Step.v1_2-b")
    config = store / step.name / "config.pbtxt"
    config.write_text(
        '# instance_group [ { kind: KIND_GPU } ]\nname: "another" # "\n'
        + config.read_text()
        + "instance_group:"
        " [ { kind: KIND_GPU, count: 2 } ] ; instance_group { count: 1 kind: KIND_GPU }\n"
        'parameters { key: "instance_group" value { string_value: "instance_group [ {} ] \\" }" } }\n'
    )
    ensemble = store / "both" / "config.pbtxt"
    ensemble.parent.mkdir()
    ensemble.write_text(
        'platform: "ensemble"\n'
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
        'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
        f'ensemble_scheduling {{ step [ {{ model_name: "{step.name}" model_version: -1\n'
        '  input_map { key: "INPUT0" value: "INPUT0" } output_map { key: "OUTPUT0" value: "OUTPUT0" } } ] }\n'
    )
    both = wanted("both", storage_uri=ensemble.parent.as_uri(), framework="ensemble", order=1)
    mount_files(agent.configs, documents(step, both))
    agent.start()
    eventually(lambda: agent.states() == {step.name: "Loaded", "both": "Loaded"}, "both")
    assert ready(server) == {step.name, "both"}


def test_an_agent_that_is_told_to_end_does_so_in_the_middle_of_a_load(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    mount_files(agent.configs, documents(*sims(store, "slow", load_ms="600000")))
    agent.start()
    eventually(lambda: agent.states() == {"slow": "Loading"}, "the load")
    assert agent.terminate() == 0
