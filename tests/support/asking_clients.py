"""Clients that ask for one model through a gateway."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from typing import Self

import urllib3

RATE_PER_S, CLIENTS = 200, 4


class Clients:
    """Ask for one model again and again, over connections that they keep; no request is sent twice."""

    def __init__(self, url: str, question: bytes = b'{"inputs": []}') -> None:
        self._url, self._question = url, question
        self._stop = threading.Event()
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def answered(self) -> int:
        """How many requests were answered well."""
        return self.answers.total()

    def _ask(self) -> None:
        pool = urllib3.PoolManager(retries=False)
        due = time.monotonic()
        while not self._stop.is_set():
            due += CLIENTS / RATE_PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                answer = pool.request("POST", self._url, body=self._question, timeout=30)
            except urllib3.exceptions.HTTPError as error:
                self.failures.append(str(error))
                continue
            if answer.status == 200:
                self.answers[json.loads(answer.data).get("id", "")] += 1
            else:
                self.failures.append(f"{answer.status}: {answer.data.decode()[:200]}")
