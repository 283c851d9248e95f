"""Python models, each a process of its own, through kills of the agent, of the server and of themselves.

A process that dies is not seen by Triton: its model stays READY and answers with 500. The agent finds it by a
test inference and has the model unloaded and loaded again. Triton 2.51 never ends the unload of a model that
died with a request: wanted, it is loaded all the same, whatever its version; not wanted, or in standby, it
stays ``Unloading`` until the server restarts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from agent.desired import DesiredModel
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import TritonProcess
from tests.support.agent_models import documents, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import infers, ready

pytestmark = [pytest.mark.triton, pytest.mark.soak, pytest.mark.timeout(1800)]

MODELS, EVENTS = 36, 120

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
        me = numpy.array([[os.getpid()]], dtype=numpy.int32)
        return [pb.InferenceResponse([pb.Tensor("Y", me)]) for _ in requests]
"""


def python_model(folder: Path) -> str:
    """Write a model that answers with its process's number and return its URI."""
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "1" / "model.py").write_text(f"{CODE}# {folder.name}\n")
    return folder.as_uri()


class Storm:
    """A shard of python models, and everything that befalls it."""

    def __init__(self, agent: AgentProcess, server: TritonProcess, store: Path, random: Random) -> None:
        self.agent, self.server, self.random = agent, server, random
        self.uris = {
            (f"m{number:02}", version): python_model(store / f"m{number:02}-{version}")
            for number in range(MODELS)
            for version in range(2)
        }
        self.desired: list[DesiredModel] = []
        self.struck: set[str] = set()
        self.swap()

    @property
    def states(self) -> dict[str, str]:
        """The states that are desired."""
        return {m.name: "Standby" if m.state == "standby" else "Loaded" for m in self.desired}

    def is_reached(self, states: dict[str, str]) -> bool:
        """Return whether what is desired is so, or will be once the server has restarted."""
        return all(
            states.get(name) == state
            or (state == "Standby" and states.get(name) == "Unloading" and name in self.struck)
            for name, state in self.states.items()
        )

    def mount(self) -> None:
        mount_files(self.agent.configs, documents(*self.desired))

    def swap(self) -> None:
        """Change about a third of the models."""
        kept = {model.name: model for model in self.desired if self.random.random() > 1 / 3}
        names = sorted({name for name, _ in self.uris} - kept.keys())
        for name in self.random.sample(names, self.random.randrange(len(names) // 2 + 1, len(names) + 1)):
            kept[name] = wanted(
                name,
                storage_uri=self.uris[name, self.random.randrange(2)],
                state=self.random.choice(["resident", "resident", "resident", "standby"]),
            )
        self.desired = list(kept.values())
        self.mount()

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.start()

    def kill_server(self) -> None:
        self.server.kill()
        self.server.start()
        self.struck.clear()

    def break_documents(self) -> None:
        mount_files(self.agent.configs, {"placement-0.json": "{"})

    def strike(self) -> None:
        """Kill the process of one of the models that answer."""
        with contextlib.suppress(OSError):  # the server has just been killed, or is coming up
            for name in self.random.sample(found := sorted(ready(self.server)), min(3, len(found))):
                status, text = infers(self.server, name)
                if status == 200:
                    self.struck.add(name)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(text), signal.SIGKILL)
                    return


def test_an_agent_killed_while_a_dead_model_leaves_has_it_loaded_again(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    """The next one does not know that the unload never ends."""
    model = wanted("m", storage_uri=python_model(store / "m"))
    mount_files(agent.configs, documents(model))
    agent.arguments = ("--probe", "infer", "--probe-period", "0.2")
    agent.start()
    agent.wait_ready()
    _, text = infers(server, "m")
    os.kill(int(text), signal.SIGKILL)
    eventually(lambda: agent.states() != {"m": "Loaded"}, "found")
    agent.kill()
    agent.start()
    eventually(lambda: infers(server, "m")[0] == 200, "it answers again")
    eventually(lambda: agent.states() == {"m": "Loaded"}, "and is told")


def test_newer_files_are_loaded_where_a_dead_model_never_leaves(
    agent: AgentProcess, server: TritonProcess, store: Path
) -> None:
    old, new = (wanted("m", storage_uri=python_model(store / name)) for name in ("m-0", "m-1"))
    other = wanted("other", storage_uri=python_model(store / "other"))
    mount_files(agent.configs, documents(old, other))
    agent.start()
    agent.wait_ready()
    _, text = infers(server, "m")
    os.kill(int(text), signal.SIGKILL)
    assert infers(server, "m")[0] == 500  # Triton never unloads it after this
    mount_files(agent.configs, documents(other))
    eventually(lambda: agent.states()["m"] == "Unloading", "it leaves")
    mount_files(agent.configs, documents(new, other))
    eventually(lambda: agent.states() == {"m": "Loaded", "other": "Loaded"}, "the new files", patience_s=90)
    assert infers(server, "m")[0] == 200
    assert (agent.models / "m" / "1" / "model.py").read_text().endswith("# m-1\n")


@pytest.mark.parametrize("seed", range(2))
def test_after_the_storm_every_model_that_is_wanted_answers(
    agent: AgentProcess, server: TritonProcess, store: Path, seed: int
) -> None:
    agent.arguments = ("--probe", "infer", "--probe-period", "2")
    storm = Storm(agent, server, store, Random(seed))
    agent.start()
    agent.wait_ready()
    acts = [storm.swap, storm.strike, storm.kill_agent, storm.kill_server, storm.break_documents]
    for act in storm.random.choices(acts, [8, 8, 3, 1, 1], k=EVENTS):
        act()
        time.sleep(storm.random.random())
    storm.mount()
    eventually(server.is_live, "the server")
    eventually(lambda: storm.is_reached(agent.states()), "what is wanted", patience_s=300)
    residents = sorted(name for name, state in storm.states.items() if state == "Loaded")
    eventually(
        lambda: all(infers(server, name)[0] == 200 for name in residents), "every answer", patience_s=120
    )
    left = {name: state for name, state in agent.states().items() if name not in storm.states}
    assert left.keys() <= storm.struck, left
    assert set(left.values()) <= {"Unloading"}
    storm.kill_server()
    eventually(server.is_live, "the server")
    eventually(lambda: ready(server) == set(residents), "exactly what is wanted", patience_s=300)
    eventually(lambda: agent.states() == storm.states, "the states as desired")
    assert {path.name for path in agent.models.iterdir()} == set(residents)
    for model in storm.desired:
        if model.state == "resident":
            assert infers(server, model.name)[0] == 200
            code = (agent.models / model.name / "1" / "model.py").read_text()
            assert model.storage_uri.endswith(code.split()[-1])
    storm.kill_agent()
    agent.wait_ready()
    assert agent.done("load") == agent.done("unload") == agent.done("download") == 0
