"""When loads go over gRPC and when over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import (
    BrokenConnectionError,
    NobodyListensError,
    NoConnectionError,
    RefusedError,
    UnreachableError,
)
from agent.servers.http import Answer, Timeouts
from agent.servers.port import Control
from agent.servers.triton_control import TritonControl

CUT = BrokenConnectionError("gRPC UNAVAILABLE: Socket closed")
CLOSED = NoConnectionError("gRPC UNAVAILABLE: connection refused")


class World:
    """A server's two ports and a clock; ``sent`` lists what was sent where."""

    timeouts = Timeouts()

    def __init__(self) -> None:
        self.grpc: Exception | None = None
        self.live_error: Exception | None = None
        self.http: Exception | None = None
        self.now_s = 100.0
        self.sent: list[str] = []
        self.control = TritonControl(self, grpc=Grpc(self), seconds=lambda: self.now_s)  # type: ignore[arg-type]  # all that is asked of both

    def call(self, method: str, path: str, **_: Any) -> bytes:
        self._http(f"http {path.rpartition('/')[2]}")
        return b""

    def ask(self, method: str, path: str, **_: Any) -> Answer:
        self._http("http live")
        return Answer(200, b"")

    def _http(self, text: str) -> None:
        self.sent.append(text)
        if self.http is not None:
            raise self.http

    def send(self) -> list[str]:
        self.sent.clear()
        self.control.send("load", "m", timeout_s=1.0)
        return list(self.sent)


class Grpc:
    """Stands for the gRPC port."""

    def __init__(self, world: World) -> None:
        self._world = world

    def load(self, name: str, *, timeout_s: float) -> None:
        self._world.sent.append("grpc load")
        if self._world.grpc is not None:
            raise self._world.grpc

    def live(self, *, timeout_s: float) -> None:
        self._world.sent.append("grpc live")
        error = self._world.live_error
        if error is not None:
            raise error


@pytest.fixture
def world() -> World:
    return World()


def close(world: World) -> None:
    world.grpc = world.live_error = CLOSED


def test_an_open_port_is_used(world: World) -> None:
    assert world.send() == ["grpc load"]
    assert world.control.control == Control(transport="grpc")


def test_a_closed_port_is_gone_around_told_and_tried_again_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    close(world)
    assert world.send() == ["grpc load", "http live", "grpc live", "http load"]
    assert world.control.control == Control(transport="http", fault=str(CLOSED))
    assert world.send() == ["http load"]
    world.control.look()
    assert world.sent == ["http load"]  # not asked again so soon
    world.now_s += 30.0
    world.control.look()
    assert world.sent == ["http load", "grpc live"]
    world.now_s += 30.0
    world.grpc = world.live_error = None
    assert world.send() == ["grpc load"]
    world.control.look(anew=True)
    assert world.control.control == Control(transport="grpc")
    said = [record.getMessage() for record in caplog.records if record.name == "agent.servers.triton_control"]
    assert len([text for text in said if "go over HTTP until it does" in text]) == 1


def test_a_look_finds_out_before_the_first_load(world: World) -> None:
    close(world)
    world.control.look()
    assert world.sent == []  # nothing is known to be wrong
    world.control.look(anew=True)
    assert world.control.control.transport == "http"
    assert world.send() == ["http load"]


def test_where_the_whole_server_is_gone_nothing_is_concluded_about_a_port(world: World) -> None:
    close(world)
    world.http = UnreachableError("refused")
    with pytest.raises(UnreachableError, match="refused"):
        world.send()
    assert world.control.control == Control(transport="grpc")


def test_a_connection_to_the_servers_last_process_is_made_anew(world: World) -> None:
    world.grpc = CLOSED  # the first call fails, the port answers
    with pytest.raises(NoConnectionError):
        world.send()
    assert world.sent == ["grpc load", "http live", "grpc live", "grpc load"]
    assert world.control.control.transport == "grpc"


@pytest.mark.parametrize("error", [UnreachableError("gRPC DEADLINE_EXCEEDED"), RefusedError(400, "no")])
def test_an_answer_and_a_missing_one_are_no_closed_port(world: World, error: Exception) -> None:
    world.grpc = error
    with pytest.raises(type(error)):
        world.send()
    assert world.sent == ["grpc load"]
    assert world.control.control.transport == "grpc"


def test_a_refused_look_is_an_answer(world: World) -> None:
    world.live_error = RefusedError(401, "restricted")
    world.control.look(anew=True)
    assert world.control.control.transport == "grpc"


def test_without_grpc_everything_goes_over_http() -> None:
    world = World()
    control = TritonControl(world, grpc=None)  # type: ignore[arg-type]
    control.send("unload", "m", timeout_s=1.0)
    control.look(anew=True)
    assert world.sent == ["http unload"]
    assert control.control == Control(transport="http")


@pytest.mark.parametrize(("met", "told"), [(CLOSED, NobodyListensError), (CUT, BrokenConnectionError)])
def test_a_load_that_was_cut_off_is_told_as_that_though_nobody_is_there_any_more(
    world: World, met: Exception, told: type[Exception]
) -> None:
    world.grpc, world.http = met, NobodyListensError("refused")
    with pytest.raises(told):
        world.send()
