"""A look at the server that does not come back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agent.clock import Clock
from agent.liveness import Liveness
from agent.lookout import Lookout
from agent.loop import Loop
from agent.repository import Repository
from agent.servers.detect import AnyServer
from agent.servers.http import Address, Http, Timeouts
from agent.servers.port import IndexRow, ServerInfo, ServerKind
from agent.service import wire
from agent.settings import Settings
from tests.support.agent_process import eventually


class Holding(AnyServer):
    """Answers at once, until it is told to hold its index back."""

    def __init__(self, kind: ServerKind) -> None:
        super().__init__(
            Http(Address(url="http://127.0.0.1:9"), connections=1, timeouts=Timeouts()), kind=kind
        )
        self.go = threading.Event()
        self.go.set()
        self.held = threading.Event()

    def info(self) -> ServerInfo:
        return ServerInfo(kind="triton", version="2")

    def index(self) -> Mapping[str, IndexRow]:
        if not self.go.is_set():
            self.held.set()
            self.go.wait(60)
        return {}


def settings_in(folder: Path) -> Settings:
    return Settings(
        config_dir=folder / "configs",
        model_dir=folder / "models",
        state_dir=folder / "state",
        server_url="http://127.0.0.1:9",
        poll_s=0.05,
    )


class Running:
    """A loop that runs, its server and its clock."""

    def __init__(self, folder: Path, kind: ServerKind) -> None:
        (folder / "configs").mkdir()
        (folder / "configs" / "models.json").write_text("[]")
        (folder / "models").mkdir()
        settings = settings_in(folder)
        self.patience_s = settings.patience_s
        self.server = Holding(kind)
        self.loop: Loop = wire(settings, visible=None)
        self.loop.server = self.server
        self._ahead_s = 0.0
        clock = self.loop.clock.monotonic
        self.loop.clock = Clock(monotonic=lambda: clock() + self._ahead_s)
        self.loop.prepare()
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def later(self, seconds: float) -> None:
        """Let the clock by which looks are judged run ahead."""
        self._ahead_s += seconds

    def end(self) -> None:
        self.server.go.set()
        self.loop.stop()
        self._thread.join()


@pytest.fixture
def running(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    found = Running(tmp_path, getattr(request, "param", "triton"))
    yield found
    found.end()


def test_a_look_that_is_overdue_is_a_server_that_does_not_answer(running: Running) -> None:
    loop = running.loop
    eventually(lambda: loop.readiness() == (True, "ready"), "ready")
    running.server.go.clear()
    assert running.server.held.wait(60)
    assert loop.snapshot().live, "a look may take a while"
    running.later(running.patience_s)
    ready, sentence = loop.readiness()
    assert not ready
    assert "a look at the server has not ended for" in sentence
    snapshot = loop.snapshot()
    assert (snapshot.ready, snapshot.live, snapshot.server_fault) == (False, False, sentence)
    running.server.go.set()
    eventually(lambda: loop.readiness()[0] and loop.snapshot().live, "its answer ends that")


@pytest.mark.parametrize("misses", [1, 100, 1 << 62])
def test_a_server_that_is_away_is_looked_for_soon_however_long_it_has_been_away(
    tmp_path: Path, misses: int
) -> None:
    settings = replace(settings_in(tmp_path), poll_s=2.0)
    lookout = Lookout(
        settings=settings,
        server=Holding("triton"),
        repository=Repository(settings.model_dir, settings.state_dir, settings.limits),
        clock=Clock(monotonic=lambda: 0.0),
        submit=lambda _task: None,
        report=lambda _looked: None,
        liveness=Liveness(unanswered=misses),
    )
    lookout.miss("refused", nobody=True)
    assert lookout.due_at_s == pytest.approx(4 * settings.settle_s)


@pytest.mark.parametrize("running", ["mlserver"], indirect=True)
def test_a_look_may_wait_for_the_load_of_a_server_that_does_one_thing_at_a_time(running: Running) -> None:
    eventually(lambda: running.loop.readiness()[0], "ready")
    running.server.go.clear()
    assert running.server.held.wait(60)
    running.later(running.patience_s)
    assert running.loop.snapshot().live
    running.later(Timeouts().load_s + Timeouts().unload_s)
    assert not running.loop.snapshot().live
