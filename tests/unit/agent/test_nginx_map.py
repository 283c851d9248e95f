"""Names as keys of nginx's map, judged by nginx itself, and a gateway whose routes it refuses."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.gateway.addresses import AddressBook
from agent.gateway.configuration import Place, switch_text
from agent.gateway.loop import Gateway
from agent.gateway.nginx import ask_port
from agent.nginx_map import map_lines
from agent.proxy import find_nginx
from agent.routes import routes_of
from planner.rehearsal.free_ports import free_port
from tests.support.agent_process import eventually
from tests.support.gateway_process import GatewayProcess
from tests.support.nginx import needs_nginx

WORDS = ("default", "hostnames", "include", "volatile")
BESIDE = ("news", "t", "a.b", "Default", "DEFAULT", "x" * 253)


def test_words_of_nginx_are_names_behind_a_backslash() -> None:
    lines = map_lines({"default": "a", "news": "b"}, ("default", "news"))
    assert lines.splitlines() == ['"\\default" a;', '"news" b;']


def nginx(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [find_nginx(), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@needs_nginx
@pytest.mark.parametrize("names", [WORDS, (*WORDS, *BESIDE)], ids=["alone", "beside others"])
def test_nginx_reads_every_name_as_itself(tmp_path: Path, names: tuple[str, ...]) -> None:
    """What it answers under each name is what that name stands for; what is unknown is not."""
    lines = map_lines({name: f"is-{number}" for number, name in enumerate(names)}, names)
    (tmp_path / "nginx.conf").write_text(
        "daemon off; pid nginx.pid; error_log stderr; events {} http { access_log off;\n"
        "map_hash_max_size 131072; map_hash_bucket_size 512;\n"
        + "".join(f"{kind}_temp_path t;" for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"))
        + f"map $arg_name $found {{ default absent;\n{lines}}}\n"
        f"server {{ listen unix:{tmp_path}/s; return 200 $found; }} }}\n"
    )
    assert nginx(tmp_path, "-t", "-q").stderr == ""


@needs_nginx
@pytest.mark.parametrize("name", WORDS)
def test_the_switch_takes_models_that_are_called_like_words(tmp_path: Path, name: str) -> None:
    place = Place(address="127.0.0.1", port=8080, folder=str(tmp_path))
    routes = routes_of(group="g", shards={"a": "10.0.0.1:80"}, models={name: ["a"], "m": ["a"]})
    text = switch_text(place, routes, {"a": ("10.0.0.1:80",)}, tag="t")
    (tmp_path / "nginx.conf").write_text(text)
    assert nginx(tmp_path, "-t", "-q").stderr == ""


# ---------------------------------------------------------------------------------------- a gateway that runs


def answered(port: int, model: str) -> int | None:
    return ask_port("127.0.0.1", port, f"/v2/models/{model}/ready")


@contextlib.contextmanager
def running(gateway: Gateway) -> Iterator[None]:
    thread = threading.Thread(target=gateway.run, kwargs={"most_s": 2.0})
    thread.start()
    try:
        yield
    finally:
        gateway.stop()
        thread.join()


@needs_nginx
@pytest.mark.parametrize("at_start", [True, False])
def test_a_gateway_goes_on_without_routes_that_nginx_refuses(tmp_path: Path, *, at_start: bool) -> None:
    ports = {"a": 99999 if at_start else free_port()}
    book = AddressBook(lambda _host, _port: (f"127.0.0.1:{ports['a']}",))
    mounted = GatewayProcess(folder=tmp_path, shards={"a": "a:80"})
    mounted.mount({"default": ["a"], "m": ["a"]})
    place = Place(
        address="127.0.0.1",
        port=free_port(),
        folder=str(tmp_path / "work"),
        workers=1,
        user="root" if os.geteuid() == 0 else None,  # nobody could not reach the folder
    )
    gateway = Gateway(tmp_path / "routes", place, turn_s=0.1, book=book)
    with running(gateway):
        if not at_start:
            eventually(lambda: gateway.readiness()[0], "ready")
        ports["a"] = 99999  # no port
        eventually(lambda: gateway.state().fault, "the refusal is noticed")
        assert gateway.state().failures > 0
        eventually(lambda: answered(place.port, "m") == (404 if at_start else 503), "what holds")
        assert gateway.readiness()[0] is not at_start
        ports["a"] = free_port()
        eventually(lambda: gateway.state().fault is None and gateway.readiness()[0], "it is obeyed again")
        assert {answered(place.port, name) for name in ("default", "m")} == {503}, "nobody listens there"
