"""A transformer of the standard library alone: what comes in times ``FACTOR`` goes on to ``PREDICTOR_URL``.

Run as ``python transformer_server.py PORT``. All it knows of models is the path that they are asked under.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Transformer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/v2/health/ready":
            self._answer(200, b"")
        else:
            self._pass_on(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/infer"):
            question = json.loads(body)
            for tensor in question["inputs"]:
                tensor["data"] = [value * float(os.environ["FACTOR"]) for value in tensor["data"]]
            body = json.dumps(question).encode()
        self._pass_on(body)

    def _pass_on(self, body: bytes | None) -> None:
        url = os.environ["PREDICTOR_URL"] + self.path
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                self._answer(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                self._answer(error.code, error.read())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Transformer).serve_forever()
