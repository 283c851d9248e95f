"""Pods of InferenceServices as a kubelet would run them: real Triton servers and agents on this machine."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from planner.cluster import Kube
from planner.cluster.resources import CONFIG_MAPS, INFERENCE_SERVICES, PODS
from planner.manifests.names import LABEL_MANAGED_BY, LABEL_SHARD, MANAGED_BY, model_config_name
from planner.manifests.pod import HTTP_PORT, STATUS_PORT
from planner.rehearsal.cluster import Cluster
from planner.rehearsal.manifest_reader import pod_specs
from planner.rehearsal.triton_files import TritonHome
from tests.support.standing_in import STANDING_POD, Loop

_PIECE_BYTES = 65536


class RealPods:
    """A pod for every InferenceService, on an address of its own.

    Parameters
    ----------
    kube, namespace
        Where they are.
    folder, home
        Where pods have their volumes, and the installed server.
    """

    def __init__(self, kube: Kube, namespace: str, *, folder: Path, home: TritonHome) -> None:
        self._kube, self._namespace = kube, namespace
        self.cluster = Cluster(folder=folder, home=home)
        self._doors: dict[str, tuple[socketserver.TCPServer, socketserver.TCPServer]] = {}
        self._loop = Loop(self._look)

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._loop.__exit__()
        finally:
            for door in (one for both in self._doors.values() for one in both):
                door.shutdown()
                door.server_close()
            self.cluster.stop()

    def address(self, shard: str) -> str | None:
        """The address of a shard's pod; None while it has none."""
        found = self._doors.get(shard)
        return None if found is None else str(found[0].server_address[0])

    def _look(self) -> None:
        servers = self._kube.list(INFERENCE_SERVICES, namespace=self._namespace).items
        maps = self._kube.list(CONFIG_MAPS, namespace=self._namespace).items
        names = {item["metadata"]["name"] for item in maps}
        # As a kubelet, which starts no pod before what it mounts is there.
        mountable = [item for item in servers if model_config_name(item["metadata"]["name"]) in names]
        failed = self.cluster.apply(pod_specs([*mountable, *maps]), gpus=lambda _: None)
        assert failed == {}
        pods = {item["metadata"]["name"] for item in self._kube.list(PODS, namespace=self._namespace).items}
        for shard in sorted(self.cluster.pods):
            if shard not in self._doors:
                self._doors[shard] = _doors(partial(self._status_port, shard), partial(self._port, shard))
            if f"{shard}-pod" not in pods:
                self._tell(shard)

    def _status_port(self, shard: str) -> int:
        return int(self.cluster.pods[shard].status_url.rpartition(":")[2])

    def _port(self, shard: str) -> int:
        return self.cluster.pods[shard].server.ports.http

    def _tell(self, shard: str) -> None:
        name, labels = f"{shard}-pod", {LABEL_SHARD: shard, LABEL_MANAGED_BY: MANAGED_BY}
        metadata = {"name": name, "namespace": self._namespace, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": STANDING_POD}
        self._kube.create(PODS, pod)
        status = {"status": {"podIP": self.address(shard), "phase": "Running"}}
        self._kube.patch(PODS, name, status, namespace=self._namespace, subresource="status")


def _doors(
    status: Callable[[], int], serves: Callable[[], int]
) -> tuple[socketserver.TCPServer, socketserver.TCPServer]:
    """Listen where a pod would, and pass on to where it is: pods of one machine cannot share ports."""
    while True:
        address = f"127.{random.randint(2, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        with suppress(OSError):
            first = _door(address, STATUS_PORT, status)
            return first, _door(address, HTTP_PORT, serves)


def _door(address: str, port: int, target: Callable[[], int]) -> socketserver.TCPServer:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", target())) as inner:
                back = threading.Thread(target=_pump, args=(inner, self.request), daemon=True)
                back.start()
                _pump(self.request, inner)
                back.join()

    door = socketserver.ThreadingTCPServer((address, port), Handler)
    door.daemon_threads = True
    threading.Thread(target=door.serve_forever, args=(0.05,), daemon=True).start()
    return door


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
