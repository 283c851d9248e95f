from __future__ import annotations

import json
from dataclasses import replace

import pytest
import urllib3

from agent.health import StatusServer, Views, answer


def views(*, ready: bool = True, alive: bool = True) -> Views:
    return Views(
        status=lambda limit, after: json.dumps({"limit": limit, "after": after}).encode(),
        ready=lambda: (ready, "3 of 5 models attempted"),
        alive=lambda: alive,
        metrics=lambda: b"a 1\n",
    )


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/livez", 200, "ok\n"),
        ("/readyz?verbose", 200, "3 of 5 models attempted\n"),
        ("/metrics", 200, "a 1\n"),
        ("/", 404, "try /livez, /readyz, /metrics or /status\n"),
        ("/status?limit=0", 400, "limit: expected a number from 1 to 100000\n"),
        ("/status?limit=-1", 400, "limit: expected a number from 1 to 100000\n"),
        ("/status?limit=x", 400, "limit: expected a number from 1 to 100000\n"),
        ("/status?limit=100001", 400, "limit: expected a number from 1 to 100000\n"),
        (f"/status?limit={'9' * 5000}", 400, "limit: expected a number from 1 to 100000\n"),
        ("//[", 400, "not a URL\n"),
        ("/status?continue=a%2Fb", 400, "continue: expected what the page before said\n"),
    ],
)
def test_answers(target: str, status: int, body: str) -> None:
    found = answer(views(), target)
    assert (found.status, found.body.decode()) == (status, body)


def test_not_ready_and_not_alive_are_503() -> None:
    assert answer(views(ready=False), "/readyz").status == 503
    assert answer(views(alive=False), "/livez").status == 503


@pytest.mark.parametrize(
    ("target", "limit", "after"),
    [("/status", None, None), ("/status?limit=7", 7, None), ("/status?continue=m-1&limit=2", 2, "m-1")],
)
def test_pages_are_passed_on(target: str, limit: int | None, after: str | None) -> None:
    assert json.loads(answer(views(), target).body) == {"limit": limit, "after": after}


def test_a_fault_of_ours_is_an_answer_and_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bytes:
        raise KeyError("ours")

    server = StatusServer("127.0.0.1", 0, replace(views(), metrics=broken))
    try:
        asked = urllib3.request("GET", f"http://127.0.0.1:{server.port}/metrics", retries=False)
        assert (asked.status, asked.data) == (500, b"the agent could not answer; its log says why\n")
        assert urllib3.request("GET", f"http://127.0.0.1:{server.port}/livez").status == 200
    finally:
        server.close()
    assert "KeyError: 'ours'" in caplog.text
