"""Models whose load ends the server's process: the others come back, whatever the server does at start."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from agent.desired import DesiredModel
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import Ports, TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import ready, times_loaded

EVERYTHING = "*"


class Pod:
    """A server that is started again whenever it ends, as a kubelet does, and its agent."""

    def __init__(self, folder: Path, home: TritonHome, *, load_at_start: tuple[str, ...], grpc: bool) -> None:
        self.store, self.fault = folder / "store", folder / "fault"
        self.fault.touch()
        (folder / "models").mkdir()
        ports = Ports.free()
        options = TritonOptions(load_at_start=load_at_start, ports=ports)
        self.server: TritonProcess = start_triton(folder.name, folder / "models", home=home, options=options)
        control = ("--server-grpc-url", f"127.0.0.1:{ports.grpc}") if grpc else ()
        self.agent = AgentProcess(
            folder=folder, server_url=self.server.http_url, arguments=("--load-timeout", "20", *control)
        )
        self.ends = 0
        self._leaves = threading.Event()
        self._keeper = threading.Thread(target=self._keep)

    def begin(self) -> Self:
        self._keeper.start()
        return self

    def _keep(self) -> None:
        while not self._leaves.wait(0.2):
            if self.server.exit_code is not None:
                self.ends += 1
                self._leaves.wait(0.5)
                self.server.start()

    def stop(self) -> None:
        self._leaves.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        self.agent.kill()
        self.server.kill()

    def model(self, name: str, version: str = "v1", **parameters: str) -> DesiredModel:
        return wanted(name, storage_uri=model_folder(self.store / version / name, parameters=parameters))

    def bad(self, name: str = "bad", version: str = "v1") -> DesiredModel:
        return self.model(name, version, abort_file=str(self.fault))

    def want(self, *models: DesiredModel) -> None:
        mount_files(self.agent.configs, documents(*models))

    def outcome(self, name: str) -> tuple[str | None, str | None]:
        told = self.agent.status()["models"][name]
        return told["state"], told["reason"]

    def serves(self, *names: str) -> bool:
        try:
            return ready(self.server) == set(names)
        except OSError:
            return False

    def held_out(self, *names: str) -> bool:
        return self.serves(*names) and self.outcome("bad") == ("FailedToLoad", "CrashesServer")


Make = Callable[..., Pod]


@pytest.fixture
def pod(tmp_path: Path, triton_home: TritonHome) -> Iterator[Make]:
    pods: list[Pod] = []

    def make(*load_at_start: str, grpc: bool = False) -> Pod:
        pods.append(Pod(tmp_path, triton_home, load_at_start=load_at_start, grpc=grpc))
        return pods[-1]

    yield make
    for one in pods:
        one.stop()


@pytest.mark.parametrize(
    ("load_at_start", "grpc"),
    [((), False), ((EVERYTHING,), False), ((EVERYTHING,), True)],
    ids=["empty", "everything", "everything-grpc"],
)
def test_a_model_that_ends_the_server_is_held_out_and_others_come_back(
    pod: Make, load_at_start: tuple[str, ...], *, grpc: bool
) -> None:
    shard = pod(*load_at_start, grpc=grpc).begin()
    good = [shard.model(f"m{number}") for number in range(3)]
    shard.want(*good)
    shard.agent.start()
    eventually(lambda: shard.serves("m0", "m1", "m2"), "the good ones")
    shard.want(*good, shard.bad(), shard.model("late", load_ms="300"))
    eventually(lambda: shard.held_out("m0", "m1", "m2", "late"), "the bad one is found")
    assert 2 <= shard.ends <= 4
    assert {path.name for path in shard.agent.models.iterdir()} == {"m0", "m1", "m2", "late"}
    ends = shard.ends
    shard.server.kill()  # and whatever starts now does not take it
    eventually(lambda: shard.ends == ends + 1 and shard.held_out("m0", "m1", "m2", "late"), "all again")
    shard.want(*good, shard.model("bad", "v2"))
    eventually(lambda: shard.serves("m0", "m1", "m2", "bad"), "the version that is repaired")
    assert shard.ends == ends + 1


def test_a_new_version_that_ends_the_server_gives_way_to_the_former_one(pod: Make) -> None:
    shard = pod(EVERYTHING).begin()
    good = shard.model("good")
    shard.want(good, shard.model("bad"))
    shard.agent.start()
    eventually(lambda: shard.serves("good", "bad"), "the first versions")
    shard.want(good, shard.bad(version="v2"))

    def told() -> bool:
        model = shard.agent.status()["models"]["bad"]
        fault = (
            model["state"],
            model["reason"],
            model["message"].partition(":")[0] if model["message"] else "",
        )
        return fault == ("Loaded", "UpdateFailed", "CrashesServer") and "/v1/" in model["servedUri"]

    eventually(lambda: shard.serves("good", "bad") and told(), "the former version serves again")
    assert 2 <= shard.ends <= 4


def start_with_a_bad_one(shard: Pod) -> list[DesiredModel]:
    """Fetch three good models and a bad one and let the server end at every start."""
    good = [shard.model(f"m{number}") for number in range(3)]
    shard.want(*good, shard.bad())
    shard.server.kill()
    assert shard.agent.fetch() == 0
    shard.begin()
    shard.agent.start()
    eventually(lambda: shard.ends >= 3, "it ends at every start")
    return good


def test_a_server_that_ends_at_every_start_is_healed_by_taking_the_culprit_away(pod: Make) -> None:
    shard = pod(EVERYTHING)
    good = start_with_a_bad_one(shard)
    assert shard.outcome("m0") == ("Pending", "NoServer")
    shard.want(*good)
    eventually(lambda: shard.serves("m0", "m1", "m2"), "the good ones")
    shard.agent.wait_ready()
    eventually(lambda: set(shard.agent.states()) == {"m0", "m1", "m2"}, "the bad one is gone")
    assert shard.agent.done("load") == 0  # the server has loaded them by itself


def test_a_server_that_never_comes_up_is_filled_one_by_one(pod: Make) -> None:
    shard = pod(EVERYTHING)
    start_with_a_bad_one(shard)
    eventually(lambda: shard.held_out("m0", "m1", "m2"), "the bad one is found", patience_s=90)
    ends = shard.ends
    shard.agent.wait_ready()
    assert shard.ends == ends


def test_a_server_that_starts_slowly_keeps_what_it_loads_and_loses_what_nobody_wants(pod: Make) -> None:
    shard = pod(EVERYTHING)
    models = [shard.model(f"m{number}", load_ms="4000") for number in range(3)]
    shard.want(*models)
    shard.server.kill()
    assert shard.agent.fetch() == 0
    shard.want(*models[:2])
    loaded = times_loaded(shard.server)
    shard.begin()
    shard.agent.start()
    shard.agent.wait_ready()
    eventually(lambda: shard.serves("m0", "m1"), "what is wanted")
    eventually(lambda: set(shard.agent.states()) == {"m0", "m1"}, "the other one is gone")
    assert {path.name for path in shard.agent.models.iterdir()} == {"m0", "m1"}
    counts = times_loaded(shard.server) - loaded
    assert (counts["m0"], counts["m1"], shard.agent.done("load")) == (1, 1, 0)
