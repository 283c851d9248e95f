"""Who else is in a cluster, in threads: kubelets with agents that say that all is loaded, and KServe."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from planner.cluster import Kube
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    PODS,
    TRAINED_MODELS,
)
from planner.errors import ClusterError
from planner.manifests.names import LABEL_MANAGED_BY, LABEL_SHARD, MANAGED_BY
from planner.manifests.pod import STATUS_PORT

Object = dict[str, Any]
_ROUND_S = 0.1


class Loop:
    """Does something again and again until it is stopped; a server that is down is no reason to end."""

    def __init__(self, once: Callable[[], None]) -> None:
        self._once = once
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.mistakes: list[BaseException] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        assert self.mistakes == []

    def _run(self) -> None:
        while not self._stop.wait(_ROUND_S):
            try:
                self._once()
            except ClusterError:
                continue
            except Exception as error:  # noqa: BLE001 - told when the test ends
                self.mistakes.append(error)
                return


class Agents:
    """A pod for every server of a shard, each with an agent on an address of its own.

    Parameters
    ----------
    kube, namespace
        The cluster, and where in it.
    state
        What agents say of a model on a shard: its state, or None where they do not know it yet.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        *,
        state: Callable[[str, str], str | None] = lambda _shard, _model: "Loaded",
    ) -> None:
        self._kube, self._namespace, self._state = kube, namespace, state
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._models: dict[str, Mapping[str, Any]] = {}
        self._loop = Loop(self._look)

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.__exit__()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def _look(self) -> None:
        wanted = {
            item["metadata"]["labels"][LABEL_SHARD]
            for resource in (INFERENCE_SERVICES, DEPLOYMENTS)
            for item in self._kube.list(resource, namespace=self._namespace, labels=LABEL_SHARD).items
        }
        self._models = self._documents()
        pods = self._kube.list(PODS, namespace=self._namespace, labels=LABEL_SHARD).items
        addresses = {
            item["metadata"]["labels"][LABEL_SHARD]: item.get("status", {}).get("podIP") for item in pods
        }
        for shard in sorted(wanted):
            if shard not in self._servers:
                self._servers[shard] = _serve(partial(self._status, shard))
            if shard not in addresses:
                self._create(shard)
            elif addresses[shard] is None:
                self._tell_address(shard)

    def _documents(self) -> dict[str, Mapping[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for item in self._kube.list(CONFIG_MAPS, namespace=self._namespace, labels=LABEL_SHARD).items:
            shard = item["metadata"]["labels"][LABEL_SHARD]
            for key, text in (item.get("data") or {}).items():
                if key.startswith("placement-"):
                    found.setdefault(shard, {}).update(json.loads(text).get("models", {}))
        return dict(found)

    def _create(self, shard: str) -> None:
        metadata = {"name": f"{shard}-pod", "namespace": self._namespace, "labels": _labels(shard)}
        spec = {"containers": [{"name": "agent", "image": "agent"}]}
        self._kube.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self._tell_address(shard)

    def _tell_address(self, shard: str) -> None:
        status = {"podIP": self._servers[shard].server_address[0], "phase": "Running"}
        self._kube.patch(
            PODS, f"{shard}-pod", {"status": status}, namespace=self._namespace, subresource="status"
        )

    def _status(self, shard: str) -> Object:
        states = {name: self._state(shard, name) for name in self._models.get(shard, {})}
        models = {
            name: {"state": state, "message": None} for name, state in states.items() if state is not None
        }
        return {"version": 1, "shard": shard, "models": models, "continue": None}


def _labels(shard: str) -> dict[str, str]:
    return {LABEL_SHARD: shard, LABEL_MANAGED_BY: MANAGED_BY}


def _serve(status: Callable[[], Object]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps(status()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            pass

    while True:  # Linux takes any address of 127.0.0.0/8; another test may have this one
        address = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        with suppress(OSError):
            server = ThreadingHTTPServer((address, STATUS_PORT), Handler)
            break
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class KServeStandIn:
    """KServe's TrainedModel controller: deletes orphans, adds entries, leaves stale ones behind."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace
        self.deleted: list[str] = []
        self._loop = Loop(self._reconcile)

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.__exit__()

    def entries(self, shard: str) -> list[str]:
        item = self._kube.get(CONFIG_MAPS, f"modelconfig-{shard}-0", namespace=self._namespace)
        return [entry["modelName"] for entry in json.loads(item["data"]["models.json"])]

    def _reconcile(self) -> None:
        kube, namespace = self._kube, self._namespace
        models = kube.list(TRAINED_MODELS, namespace=namespace).items
        servers = {
            item["metadata"]["name"] for item in kube.list(INFERENCE_SERVICES, namespace=namespace).items
        }
        maps = {item["metadata"]["name"]: item for item in kube.list(CONFIG_MAPS, namespace=namespace).items}
        for server in servers:
            name = f"modelconfig-{server}-0"
            if name not in maps:
                metadata = {"name": name, "namespace": namespace}
                fresh = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
                maps[name] = kube.create(CONFIG_MAPS, {**fresh, "data": {"models.json": "[]"}})
        wanted: dict[str, dict[str, Object]] = {}
        for model in models:
            parent, name = model["spec"]["inferenceService"], model["metadata"]["name"]
            if parent not in servers:
                self.deleted.append(name)
                kube.delete(TRAINED_MODELS, name, namespace=namespace)
            else:
                wanted.setdefault(parent, {})[name] = model["spec"]["model"]
        for parent, some in wanted.items():
            self._add(maps[f"modelconfig-{parent}-0"], some)

    def _add(self, item: Object, models: Mapping[str, Object]) -> None:
        entries = json.loads(item["data"]["models.json"])
        known = {entry["modelName"] for entry in entries}
        fresh = [
            {"modelName": name, "modelSpec": spec}
            for name, spec in sorted(models.items())
            if name not in known
        ]
        if fresh:
            body = {
                "metadata": {"resourceVersion": item["metadata"]["resourceVersion"]},
                "data": {"models.json": json.dumps([*entries, *fresh])},
            }
            self._kube.patch(CONFIG_MAPS, item["metadata"]["name"], body, namespace=self._namespace)
