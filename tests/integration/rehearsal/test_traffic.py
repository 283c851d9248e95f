"""Whether the judge of answers tells right from wrong, against a small server that answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import urllib3

from planner.rehearsal.traffic import Question, ask

QUESTION = Question(rows=((1.0, 2.0),), answers=((3.0, 4.0),))


@contextmanager
def answering(status: int, body: bytes, seen: list[dict[str, object]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v2/models/m/infer"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def output(*data: float, name: str = "OUTPUT0") -> bytes:
    return json.dumps({"outputs": [{"name": name, "data": list(data)}]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "correct"),
    [
        (200, output(3.0, 4.0), True),
        (200, output(3.0, 4.00001), True),
        (200, output(3.0, 4.1), False),
        (200, output(3.0), False),
        (200, output(3.0, float("nan")), False),
        (200, output(3.0, 4.0, name="OTHER"), False),
        (200, b"not json", False),
        (200, b"[]", False),
        (500, b'{"error":"broken"}', False),
    ],
)
def test_only_the_models_own_answer_is_correct(status: int, body: bytes, correct: bool) -> None:
    seen: list[dict[str, object]] = []
    with answering(status, body, seen) as url, urllib3.PoolManager() as pool:
        verdict = ask(pool, url, QUESTION)
    assert (verdict.correct, verdict.status) == (correct, status)
    assert bool(verdict.detail) != correct
    assert seen == [{"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]}]


def test_no_answer_is_not_correct() -> None:
    with answering(200, b"", []) as url:
        pass
    with urllib3.PoolManager() as pool:
        verdict = ask(pool, url, QUESTION)
    assert (verdict.status, verdict.correct) == (None, False)
