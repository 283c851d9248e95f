"""Finding a server's processes on this machine, with real processes and real sockets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.processes import ProcessView, local_port

LISTENER = """
import os, socket, subprocess, sys
listening = socket.create_server(("127.0.0.1", 0))
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(listening.getsockname()[1], child.pid, flush=True)
sys.stdin.read()
child.stdin.close()
child.wait()
"""


class Listener:
    """A process that listens, and has a child."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port, self.child = map(int, self.process.stdout.readline().split())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def end(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.end()


def test_the_listening_process_and_its_child_are_the_server(listener: Listener) -> None:
    view = ProcessView(listener.url)
    found = view.server()
    assert found is not None
    assert found.pids == {listener.process.pid, listener.child}
    # Two Pythons of some MiB each.
    assert 5 << 20 < found.resident_bytes < 1 << 30
    assert os.getpid() not in found.pids


def test_a_server_that_ends_is_not_seen_any_more(listener: Listener) -> None:
    view = ProcessView(listener.url)
    assert view.server() is not None
    listener.end()
    assert view.server() is None


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:8080", 8080),
        ("http://localhost", 80),
        ("https://127.1.2.3", 443),
        ("http://[::1]:5", 5),
        ("http://10.0.0.1:8080", None),
        ("http://server:8080", None),
    ],
)
def test_only_this_hosts_addresses_are_looked_for(url: str, port: int | None) -> None:
    assert local_port(url) == port


def test_another_hosts_server_is_not_taken_for_who_listens_here(listener: Listener) -> None:
    assert ProcessView(f"http://10.0.0.1:{listener.port}").server() is None


def test_where_the_kernel_shows_nothing_nobody_is_found(tmp_path: Path) -> None:
    assert ProcessView("http://127.0.0.1:8080", proc=tmp_path).server() is None
