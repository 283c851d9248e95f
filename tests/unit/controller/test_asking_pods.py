"""Pods are asked by whoever may call itself one: what they answer ends no thread and no controller."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any

import pytest

from planner.controller.asking import Asker, Rounds, Status
from planner.controller.hearing import states_in
from planner.controller.views import PodView
from planner.manifests.pod import STATUS_PORT


@contextmanager
def a_pod(status: dict[str, Any]) -> Iterator[PodView]:
    """A pod whose every page is the same."""
    body = json.dumps(status).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            """Say nothing."""

    address = f"127.81.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
    with ThreadingHTTPServer((address, STATUS_PORT), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield PodView(name="pod", shard="news", gateway=None, address=address, deleting=False)
        server.shutdown()


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    assert done()


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ({"models": ["no", "names"]}, "no attribute 'items'"),
        ({"models": {"a": "Loaded"}}, "no attribute 'get'"),
        ({"models": {"a": {"state": "Loaded"}}, "continue": "a"}, "more than 100 pages"),
    ],
)
def test_an_answer_that_is_no_status_is_told_and_the_pod_asked_again(
    status: dict[str, Any], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[object] = []

    def hear(pod: PodView, said: Status) -> None:
        heard.append(states_in(said))

    asker = Asker(Rounds(), heard=hear)
    hours = count(0.0, 3600.0)
    with a_pod(status) as pod:

        def is_told_twice() -> bool:
            asker.go_round([pod], next(hours), busy=lambda _: False)
            return len(caplog.records) > 1

        until(is_told_twice)
    asker.stop()
    assert heard == []
    assert all(fault in record.getMessage() for record in caplog.records)
