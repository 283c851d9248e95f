"""Flags of the commands, and the environment in their place."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from agent.cli import main
from agent.flags import Seconds
from agent.gateway.cli import main as gateway
from agent.health import StatusServer, Views
from agent.memory import visible_uuids
from tests.support.nginx import needs_nginx

FLAGS = [
    option
    for option in main.params
    if isinstance(option, click.Option) and option.name not in ("version", "help")
]
SECONDS = [
    (command, option.opts[0])
    for command in (main, gateway)
    for option in command.params
    if isinstance(option.type, Seconds)
]


def options(monkeypatch: pytest.MonkeyPatch, *arguments: str, **environment: str) -> Mapping[str, Any]:
    """Return what the command is given."""
    for name in ("CUDA_VISIBLE_DEVICES", "SHARDPACK_AGENT_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return main.make_context("shardpack-agent", list(arguments)).params


def variable(option: click.Option) -> str:
    return "SHARDPACK_AGENT_" + option.opts[0].removeprefix("--").replace("-", "_").upper()


def sample(option: click.Option) -> str:
    """Return a value that is not the default."""
    if isinstance(option.type, click.Choice):
        return next(str(choice) for choice in option.type.choices if choice != option.default)
    if option.is_flag:
        return "0" if option.default is True else "1"
    return "17" if isinstance(option.type, click.IntRange | click.FloatRange) else "/"


@pytest.mark.parametrize("option", FLAGS, ids=lambda option: option.opts[0])
def test_each_can_be_set_in_the_environment(monkeypatch: pytest.MonkeyPatch, option: click.Option) -> None:
    if option.name == "server_ca":
        with pytest.raises(click.BadParameter, match="is a directory"):
            options(monkeypatch, **{variable(option): "/"})
        return
    if option.name == "status_port_file":
        given = options(monkeypatch, **{variable(option): "/nowhere/port"})
    else:
        given = options(monkeypatch, **{variable(option): sample(option)})
    assert option.name is not None
    assert given[option.name] != options(monkeypatch, **{variable(option): ""})[option.name]


def test_help_names_the_variables() -> None:
    text = "".join(CliRunner().invoke(main, ["--help"]).output.split())
    hidden = {variable(option) for option in FLAGS if option.hidden}
    assert {variable(option) for option in FLAGS if variable(option) not in text} == hidden


@pytest.mark.parametrize(("command", "flag"), SECONDS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_times_have_an_end(command: click.Command, flag: str, value: str) -> None:
    with pytest.raises(click.BadParameter):
        command.make_context("command", [flag, value])


@pytest.mark.parametrize(
    ("environment", "seen"),
    [
        ({}, ("GPU-a", "GPU-b")),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ("GPU-b",)),
        ({"CUDA_VISIBLE_DEVICES": "0", "SHARDPACK_AGENT_VISIBLE_DEVICES": "1"}, ("GPU-b",)),
        ({"CUDA_VISIBLE_DEVICES": "0", "SHARDPACK_AGENT_VISIBLE_DEVICES": ""}, ()),
    ],
)
def test_devices_are_those_that_cuda_sees(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], seen: tuple[str, ...]
) -> None:
    given = options(monkeypatch, **environment)["visible_devices"]
    assert visible_uuids(given, ("GPU-a", "GPU-b")) == seen


def test_the_status_is_answered_on_version_6() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    views = Views(
        status=lambda _limit, _after: b"{}",
        ready=lambda: (True, "ready"),
        alive=lambda: True,
        metrics=lambda: b"",
    )
    server = StatusServer("::", 0, views)
    try:
        with urllib.request.urlopen(f"http://[::1]:{server.port}/readyz", timeout=10) as answer:
            assert answer.read() == b"ready\n"
    finally:
        server.close()


@needs_nginx
def test_a_gateway_that_cannot_write_its_port_down_says_so(tmp_path: Path) -> None:
    folders = ["--config-dir", str(tmp_path), "--work-dir", str(tmp_path / "work")]
    file = tmp_path / "none" / "port"
    result = CliRunner().invoke(gateway, [*folders, "--status-port", "0", "--status-port-file", str(file)])
    assert result.exit_code == 2
    assert f"{file}: cannot be written" in result.stderr


def test_transformers_need_a_port_of_their_own() -> None:
    result = CliRunner().invoke(gateway, ["--port", "8080", "--direct-port", "8080"])
    assert result.exit_code == 2
    assert "--direct-port: transformers need a port of their own" in result.stderr
