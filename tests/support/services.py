"""What a cluster does with Services: each has an address, and connections go on to pods that are ready."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Self

from planner.cluster import Kube
from planner.cluster.resources import PODS, SERVICES
from planner.manifests.pod import HTTP_PORT
from tests.support.relays import Relays
from tests.support.standing_in import Loop, Object

_LAG_S = 0.5
"""Nodes hear of a pod that begins or ends so much later."""


class Services:
    """An address for each Service that somebody asks for, on which nobody listens while no pod is ready.

    Its port is ``HTTP_PORT``: those below 1024 take rights.

    Parameters
    ----------
    kube, namespace
        Where Services and pods are.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace
        self._seen: deque[tuple[float, Mapping[str, tuple[str, ...]]]] = deque([(0.0, {})])
        self._relays: dict[str, Relays] = {}
        self._lock = threading.Lock()
        self._loop = Loop(self._look)

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.__exit__()
        for relays in self._relays.values():
            relays.close()

    def address(self, name: str) -> str | None:
        """Return the address of a Service; None where there is none."""
        with self._lock:
            if name not in self._seen[-1][1]:
                return None
            if name not in self._relays:
                self._relays[name] = Relays({HTTP_PORT: partial(self._pod, name)})
                self._open_or_close(name)
            return self._relays[name].address

    def _pod(self, name: str) -> tuple[str, int] | None:
        pods = self._seen[0][1].get(name, ())
        return (random.choice(pods), HTTP_PORT) if pods else None

    def _look(self) -> None:
        pods = self._kube.list(PODS, namespace=self._namespace).items
        ready = [pod for pod in pods if _is_ready(pod)]
        services = self._kube.list(SERVICES, namespace=self._namespace).items
        found = {item["metadata"]["name"]: _behind(item, ready) for item in services}
        now = time.monotonic()
        self._seen.append((now, found))
        while self._seen[1][0] < now - _LAG_S:
            self._seen.popleft()
        with self._lock:
            for name in self._relays:
                self._open_or_close(name)

    def _open_or_close(self, name: str) -> None:
        if self._seen[0][1].get(name):
            self._relays[name].open()
        else:
            self._relays[name].close()


def _behind(service: Object, ready: list[Object]) -> tuple[str, ...]:
    selector = service["spec"].get("selector", {}).items()
    return tuple(pod["status"]["podIP"] for pod in ready if selector <= pod["metadata"]["labels"].items())


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    is_going = "deletionTimestamp" in pod["metadata"]
    return not is_going and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
