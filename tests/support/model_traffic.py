"""Requests without pause to one model, and what was wrong with the answers."""

from __future__ import annotations

import json
import threading
from typing import Self

import urllib3

QUESTION = json.dumps(
    {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": [7]}]}
).encode()


class Traffic:
    """Threads that ask a model without pause and note what is not the right answer."""

    def __init__(self, url: str, *, threads: int) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(maxsize=threads, retries=False, timeout=30)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]
        self.answers = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._pool.clear()

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                answer = self._pool.request("POST", self._url, body=QUESTION)
                right = answer.status == 200 and answer.json()["outputs"][0]["data"] == [7.0]
                text = "" if right else f"{answer.status} {answer.data!r}"
            except (urllib3.exceptions.HTTPError, ValueError, LookupError) as error:
                text = repr(error)
            if text:
                self.failures.append(text)
            else:
                self.answers += 1
