"""Who else is in a cluster, in threads: agents and servers that have all loaded, gateways, KServe."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from agent.gateway.addresses import AddressBook
from agent.gateway.configuration import Place
from agent.gateway.loop import Gateway
from agent.gateway.metrics import status_document
from planner.cluster import Kube
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    PODS,
    TRAINED_MODELS,
)
from planner.errors import ClusterError
from planner.manifests.gateway import LABEL_GATEWAY
from planner.manifests.names import LABEL_MANAGED_BY, LABEL_SHARD, MANAGED_BY
from planner.manifests.pod import HTTP_PORT, STATUS_PORT
from planner.rehearsal.free_ports import free_port
from planner.rehearsal.mount import mount_files

Object = dict[str, Any]
_ROUND_S = 0.1

STANDING_POD: Object = {
    "containers": [{"name": "agent", "image": "agent"}],
    "schedulingGates": [{"name": "shardpack.dev/standing-in"}],
}
"""What a pod says that somebody stands in for: no scheduler and no kubelet has it."""


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
        self._servers: dict[str, tuple[ThreadingHTTPServer, ThreadingHTTPServer]] = {}
        self._models: dict[str, Mapping[str, Any]] = {}
        self._loop = Loop(self._look)

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.__exit__()
        for server in (one for both in self._servers.values() for one in both):
            server.shutdown()
            server.server_close()

    def address(self, service: str) -> str | None:
        """The address of a shard's pod, by its Service: 8080 is its server's port, 9082 its agent's."""
        found = self._servers.get(service.removesuffix("-shard"))
        return None if found is None else str(found[0].server_address[0])

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
                self._servers[shard] = _serve(partial(self._status, shard), partial(self._infer, shard))
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
        self._kube.create(
            PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": STANDING_POD}
        )
        self._tell_address(shard)

    def _tell_address(self, shard: str) -> None:
        status = {"podIP": self.address(shard), "phase": "Running"}
        self._kube.patch(
            PODS, f"{shard}-pod", {"status": status}, namespace=self._namespace, subresource="status"
        )

    def _infer(self, shard: str, path: str) -> tuple[int, Object]:
        """Answer for what is loaded here, as a V2 server does."""
        name = path.removeprefix("/v2/models/").partition("/")[0]
        if name in self._models.get(shard, {}) and self._state(shard, name) == "Loaded":
            return 200, {"model_name": name, "outputs": [], "id": shard}
        return 404, {"error": f"unknown model {name}"}

    def _status(self, shard: str) -> Object:
        states = {name: self._state(shard, name) for name in self._models.get(shard, {})}
        models = {
            name: {"state": state, "message": None} for name, state in states.items() if state is not None
        }
        return {"version": 1, "shard": shard, "models": models, "continue": None}


def _labels(shard: str) -> dict[str, str]:
    return {LABEL_SHARD: shard, LABEL_MANAGED_BY: MANAGED_BY}


Answer = Callable[[str], tuple[int, Object]]
"""A path to the HTTP status and the document that are answered."""


def _serve(status: Callable[[], Object], infer: Answer) -> tuple[ThreadingHTTPServer, ThreadingHTTPServer]:
    """An agent and a model server on an address of their own."""
    while True:  # Linux takes any address of 127.0.0.0/8; another test may have this one
        address = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        with suppress(OSError):
            agent = _listen(address, STATUS_PORT, lambda _: (200, status()))
            return agent, _listen(address, HTTP_PORT, infer)


def _listen(address: str, port: int, answer: Answer) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, document = answer(self.path)
            body = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name is http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
            pass

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class GatewayPod:
    """A pod of a group's gateway: the real program, in a thread, with real nginx.

    Parameters
    ----------
    kube, namespace, group
        Where its routes are.
    folder
        Where it works.
    resolve
        The address of a Service by its name; None where it has none. A cluster's name service would know.
    direct
        Whether it listens where transformers call, at ``direct_url``.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        group: str,
        *,
        folder: Path,
        resolve: Callable[[str], str | None],
        direct: bool = False,
    ) -> None:
        self._kube, self._namespace, self._group = kube, namespace, group
        self._routes = folder / "routes"
        self._routes.mkdir(parents=True)
        (folder / "work").mkdir()
        place = Place(
            address="127.0.0.1",
            port=free_port(),
            folder=str(folder / "work"),
            workers=1,
            connections=512,
            direct_port=free_port() if direct else None,
            user="root" if os.geteuid() == 0 else None,
        )
        self.url = f"http://127.0.0.1:{place.port}"
        self.direct_url = f"http://127.0.0.1:{place.direct_port}"

        def addresses(host: str, port: int) -> tuple[str, ...]:
            found = resolve(host.removesuffix(f".{namespace}.svc"))
            return () if found is None else (f"{found}:{HTTP_PORT}",)

        self._gateway = Gateway(self._routes, place, turn_s=0.2, book=AddressBook(addresses))
        self._thread = threading.Thread(target=self._gateway.run, kwargs={"most_s": 5.0}, daemon=True)
        self._server, _ = _serve(lambda: status_document(self._gateway.state()), lambda _: (404, {}))
        self._loop = Loop(self._mount)

    def __enter__(self) -> Self:
        labels = {LABEL_GATEWAY: self._group, LABEL_MANAGED_BY: MANAGED_BY}
        name = f"{self._group}-gateway-pod"
        metadata = {"name": name, "namespace": self._namespace, "labels": labels}
        self._kube.create(
            PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": STANDING_POD}
        )
        status = {"podIP": self._server.server_address[0], "phase": "Running"}
        self._kube.patch(PODS, name, {"status": status}, namespace=self._namespace, subresource="status")
        self._loop.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gateway.stop()
        self._thread.join(30)
        self._loop.__exit__()
        self._server.shutdown()
        self._server.server_close()

    def is_settled(self) -> bool:
        """Whether all requests go by the routes that are there."""
        state = self._gateway.state()
        return state.observed_generation == state.generation and state.draining == 0

    def _mount(self) -> None:
        labels = f"{LABEL_GATEWAY}={self._group}"
        maps = self._kube.list(CONFIG_MAPS, namespace=self._namespace, labels=labels).items
        texts = {key: text for item in maps for key, text in item["data"].items()}
        if texts != self._mounted:
            mount_files(self._routes, texts)
            self._mounted = texts
            self._gateway.hint()

    _mounted: Mapping[str, str] = MappingProxyType({})


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
