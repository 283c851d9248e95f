"""A model that is loaded and does not answer is found, unloaded and loaded again, on a real Triton."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonProcess
from tests.support.agent_models import documents, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import infers, ready, times_loaded

pytestmark = pytest.mark.triton

CONFIG = (
    'backend: "python"\nmax_batch_size: 8\n'
    'input { name: "X" data_type: TYPE_FP16 dims: [ -1 ] }\n'
    'output { name: "Y" data_type: TYPE_INT32 dims: [ 1 ] }\n'
)
CODE = """
import os
import numpy
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        {execute}
        me = numpy.array([[os.getpid()]], dtype=numpy.int32)
        return [pb.InferenceResponse([pb.Tensor("Y", me)]) for _ in requests]
"""


def python_model(folder: Path, *, execute: str = "pass") -> str:
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "1" / "model.py").write_text(CODE.replace("{execute}", execute))
    return folder.as_uri()


def test_a_dead_stub_is_found_and_its_model_loaded_again(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    uri = python_model(store / "m")
    agent.arguments = ("--probe", "infer", "--probe-period", "0.5")
    mount_files(agent.configs, documents(wanted("m", storage_uri=uri)))
    agent.start()
    agent.wait_ready()
    assert agent.states() == {"m": "Loaded"}
    status, text = infers(server, "m")
    assert status == 200, text
    os.kill(int(text), signal.SIGKILL)
    eventually(lambda: "a loaded model does not answer" in agent.log, "found")
    eventually(lambda: infers(server, "m")[0] == 200, "it answers again")
    eventually(lambda: agent.states() == {"m": "Loaded"}, "and is told so")
    assert times_loaded(server) == {"m": 2}


def test_a_model_whose_inferences_fail_is_told_and_does_not_stay(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    good = wanted("good", storage_uri=python_model(store / "good"))
    bad = wanted("bad", storage_uri=python_model(store / "bad", execute="os._exit(1)"), probe="infer")
    unasked = wanted("unasked", storage_uri=python_model(store / "unasked", execute="os._exit(1)"))
    mount_files(agent.configs, documents(good, bad, unasked))
    agent.arguments = ("--retry-base", "3600")
    agent.start()
    agent.wait_ready()
    eventually(lambda: agent.states()["bad"] == "FailedToLoad", "the failed inference")
    entry = agent.status()["models"]["bad"]
    assert entry["reason"] == "ProbeFailed"
    assert "a test inference failed" in entry["message"]
    eventually(lambda: ready(server) == {"good", "unasked"}, "unloaded")


@pytest.mark.parametrize("execute", ["os._exit(1)", "raise RuntimeError('out of tape')"])
def test_a_version_whose_inferences_fail_gives_way_to_the_one_before(
    agent: AgentProcess, server: TritonProcess, store: Path, execute: str
) -> None:
    good = wanted("m", storage_uri=python_model(store / "good"), probe="infer")
    bad = wanted("m", storage_uri=python_model(store / "bad", execute=execute), probe="infer")
    mount_files(agent.configs, documents(good))
    agent.arguments = ("--retry-base", "3600")
    agent.start()
    agent.wait_ready()
    mount_files(agent.configs, documents(bad))
    eventually(lambda: agent.status()["models"]["m"]["reason"] == "UpdateFailed", "the failed inference")
    entry = agent.status()["models"]["m"]
    assert (entry["state"], entry["servedUri"]) == ("Loaded", good.storage_uri)
    assert "ProbeFailed: a test inference failed" in entry["message"]
    assert infers(server, "m")[0] == 200
    assert agent.done("unload") == 0


def test_a_version_that_failed_its_probe_is_really_loaded_when_it_is_tried_again(
    agent: AgentProcess, server: TritonProcess, store: Path, tmp_path: Path
) -> None:
    """Its files are older than those of the version before by then, which has come back."""
    broken = tmp_path / "broken"
    broken.touch()
    first = wanted("m", storage_uri=python_model(store / "first"), probe="infer")
    fails = f"if os.path.exists({str(broken)!r}): raise RuntimeError('out of tape')"
    second = wanted("m", storage_uri=python_model(store / "second", execute=fails), probe="infer")
    mount_files(agent.configs, documents(first))
    agent.start()
    agent.wait_ready()
    mount_files(agent.configs, documents(second))
    eventually(lambda: agent.status()["models"]["m"]["reason"] == "UpdateFailed", "the failed inference")
    broken.unlink()
    eventually(lambda: agent.status()["models"]["m"]["servedUri"] == second.storage_uri, "the second try")
    broken.touch()
    assert infers(server, "m")[0] == 500, "it is the second version that answers"


def test_a_model_s_own_test_request_is_used_and_one_that_does_not_suit_it_proves_nothing(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    uri = python_model(store / "m", execute="os._exit(1)")
    (store / "m" / "probe.json").write_text('{"inputs": []}')
    agent.arguments = ("--probe", "infer")
    mount_files(agent.configs, documents(wanted("m", storage_uri=uri)))
    agent.start()
    agent.wait_ready()
    assert agent.states() == {"m": "Loaded"}
