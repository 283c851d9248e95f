"""Pods that run what objects ask for: as many as they say, ready when probes pass, ended as kubelets do."""

from __future__ import annotations

import itertools
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen
from typing import Any, Protocol, Self

import urllib3

from planner.cluster import Kube
from planner.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, INFERENCE_SERVICES, PODS
from planner.manifests.names import LABEL_GROUP, model_config_name
from planner.manifests.pod import HTTP_PORT, STATUS_PORT
from planner.manifests.transformer import LABEL_TRANSFORMER, READY_PATH, predictor_url
from planner.rehearsal.children import start_child
from planner.rehearsal.free_ports import free_port
from planner.rehearsal.manifest_reader import PodSpec, pod_specs
from planner.rehearsal.pods import Pod, start_pod
from planner.rehearsal.triton_files import TritonHome
from tests.support.relays import Relays
from tests.support.standing_in import STANDING_POD, Loop, Object

_MOST_AT_ONCE = 32
_SCRIPT = Path(__file__).with_name("transformer_server.py")


class Program(Protocol):
    """What runs in a pod."""

    def port(self, number: int) -> int:
        """Return the port of this machine that stands for one of the pod's."""

    def is_ready(self) -> bool:
        """Return whether the readiness probes of all its containers pass."""

    def leave(self) -> None:
        """End the containers that have no ``preStop``."""

    def stop(self) -> None:
        """End, as on SIGTERM."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Pods that should be there: how many, as what, and what runs in each of them."""

    labels: Mapping[str, str]
    count: int
    container: Object
    start: Callable[[str], Program]

    @property
    def leaving_s(self) -> float:
        """How long the container that is called goes on after its pod was deleted."""
        return float(
            self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        )


class RealPod:
    """A pod, from its object on: it has an address before anything listens there.

    Attributes
    ----------
    asked, early
        Connections to its server, and how many of them came before its probes passed.
    """

    def __init__(self, name: str, owner: str, wanted: Wanted) -> None:
        self.name, self.owner, self.wanted = name, owner, wanted
        self.asked = self.early = 0
        self.program: Program | None = None
        self.started: Future[None] | None = None
        self.told: Object | None = None
        self.has_ended = threading.Event()
        self._was_ready = False
        self._lock = threading.Lock()
        self._relays = Relays({STATUS_PORT: self._status, HTTP_PORT: self._asked})

    def is_ready(self) -> bool:
        """Return whether its probes pass now."""
        return self.program is not None and self.program.is_ready()

    def status(self) -> Object:
        """Return what a kubelet says of it."""
        ready = "True" if self.is_ready() else "False"
        conditions = [{"type": "Ready", "status": ready}]
        return {"podIP": self._relays.address, "phase": "Running", "conditions": conditions}

    def start(self) -> None:
        """Start what runs in it."""
        self.program = self.wanted.start(self.name)

    def end(self, *, at_once: threading.Event) -> None:
        """End as a pod does that was deleted; the wait for its ``preStop`` is cut short by ``at_once``."""
        assert self.started is not None
        self.started.result()
        assert self.program is not None
        self.program.leave()
        at_once.wait(self.wanted.leaving_s)
        self.program.stop()
        self._relays.close()
        self.has_ended.set()

    def _status(self) -> tuple[str, int] | None:
        return None if self.program is None else ("127.0.0.1", self.program.port(STATUS_PORT))

    def _asked(self) -> tuple[str, int] | None:
        with self._lock:
            self.asked += 1
            self._was_ready = self._was_ready or self.is_ready()
            self.early += not self._was_ready
        return None if self.program is None else ("127.0.0.1", self.program.port(HTTP_PORT))


class RealPods(ABC):
    """Keeps pods as objects ask for them, in threads; which, and what runs there, a subclass says.

    Parameters
    ----------
    kube, namespace
        Where they are.
    """

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace
        self._pods: list[RealPod] = []
        self._numbers = itertools.count()
        self._threads = ThreadPoolExecutor(_MOST_AT_ONCE)
        self._under_way: list[Future[None]] = []
        self._ended = threading.Event()
        self._loop = Loop(self._look)

    def __enter__(self) -> Self:
        self._loop.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        try:
            self._loop.__exit__()
        finally:
            self._end(list(self._pods))
            self._threads.shutdown()
        self._check()

    def of(self, owner: str) -> list[RealPod]:
        """Return the pods of a shard, or of a transformer, that have not been deleted."""
        return [pod for pod in self._pods if pod.owner == owner]

    @abstractmethod
    def _wanted(self) -> Mapping[str, Wanted]:
        """Return what should be there, by owner."""

    def _look(self) -> None:
        self._check()
        wanted = self._wanted()
        there = {item["metadata"]["name"] for item in self._kube.list(PODS, namespace=self._namespace).items}
        self._end([pod for pod in self._pods if pod.name not in there])
        for owner, want in sorted(wanted.items()):
            for _ in range(want.count - len(self.of(owner))):
                self._add(owner, want)
        for owner in {pod.owner for pod in self._pods}:
            most = wanted[owner].count if owner in wanted else 0
            for pod in self.of(owner)[most:]:
                self._kube.delete(PODS, pod.name, namespace=self._namespace)
        for pod in self._pods:
            self._tell(pod)

    def _check(self) -> None:
        """Raise what went wrong on other threads."""
        for future in [future for future in self._under_way if future.done()]:
            self._under_way.remove(future)
            future.result()

    def _end(self, pods: Iterable[RealPod]) -> None:
        for pod in pods:
            self._pods.remove(pod)
            self._under_way.append(self._threads.submit(pod.end, at_once=self._ended))

    def _add(self, owner: str, want: Wanted) -> None:
        name = f"{owner}-{next(self._numbers)}"
        metadata = {"name": name, "namespace": self._namespace, "labels": dict(want.labels)}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": STANDING_POD}
        self._kube.create(PODS, body)
        pod = RealPod(name, owner, want)
        pod.started = self._threads.submit(pod.start)
        self._under_way.append(pod.started)
        self._pods.append(pod)

    def _tell(self, pod: RealPod) -> None:
        status = pod.status()
        if status != pod.told:
            self._kube.patch(
                PODS, pod.name, {"status": status}, namespace=self._namespace, subresource="status"
            )
            pod.told = status


@dataclass(kw_only=True)
class _Shard:
    """A Triton server and its agent."""

    pod: Pod

    def port(self, number: int) -> int:
        return (
            self.pod.server.ports.http if number == HTTP_PORT else int(self.pod.status_url.rpartition(":")[2])
        )

    def is_ready(self) -> bool:
        return self.pod.is_ready() and self.pod.server.is_live()

    def leave(self) -> None:
        self.pod.agent.terminate()

    def stop(self) -> None:
        self.pod.server.terminate()  # whether the agent has ended or not
        self.pod.stop()


class ShardPods(RealPods):
    """Triton servers and agents for InferenceServices.

    Parameters
    ----------
    kube, namespace
        Where they are.
    folder, home
        Where pods have their volumes, and the installed server.
    """

    def __init__(self, kube: Kube, namespace: str, *, folder: Path, home: TritonHome) -> None:
        super().__init__(kube, namespace)
        self._folder, self._home = folder, home

    def models(self, shard: str) -> set[str]:
        """Return the models that the agents of a shard tell of."""
        programs = [pod.program for pod in self.of(shard) if isinstance(pod.program, _Shard)]
        return {name for program in programs for name in program.pod.status()["models"]}

    def _wanted(self) -> Mapping[str, Wanted]:
        servers = self._kube.list(INFERENCE_SERVICES, namespace=self._namespace).items
        maps = self._kube.list(CONFIG_MAPS, namespace=self._namespace).items
        names = {item["metadata"]["name"] for item in maps}
        # As a kubelet, which starts no pod before what it mounts is there.
        mountable = {
            item["metadata"]["name"]: item["spec"]["predictor"]
            for item in servers
            if model_config_name(item["metadata"]["name"]) in names
        }
        specs = pod_specs([*(item for item in servers if item["metadata"]["name"] in mountable), *maps])
        self._mount(specs)
        return {
            shard: Wanted(
                labels=predictor["labels"],
                count=predictor["minReplicas"],
                container=predictor["triton"],
                start=lambda name, spec=specs[shard]: self._start(name, spec),
            )
            for shard, predictor in mountable.items()
        }

    def _mount(self, specs: Mapping[str, PodSpec]) -> None:
        for pod in self._pods:
            spec = specs.get(pod.owner)
            if spec is not None and isinstance(pod.program, _Shard):
                running = pod.program.pod
                if running.spec.files != spec.files:
                    running.mount(replace(spec, shard=pod.name))

    def _start(self, name: str, spec: PodSpec) -> Program:
        spec = replace(spec, shard=name)
        return _Shard(pod=start_pod(spec, folder=self._folder / name, home=self._home, gpus=None))


@dataclass(kw_only=True)
class _Transformer:
    """A process that answers on one port."""

    process: Popen[bytes]
    number: int

    def port(self, _number: int) -> int:
        return self.number

    def is_ready(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.number}{READY_PATH}"
            return urllib3.request("GET", url, retries=False, timeout=5).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def leave(self) -> None:
        """Its only container has a ``preStop``."""

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class TransformerPods(RealPods):
    """A process for every pod of a transformer: it changes what comes in and calls the gateway.

    Parameters
    ----------
    kube, namespace
        Where they are.
    folder
        Of their logs.

    Attributes
    ----------
    predictor_url
        Where the gateway's second port is on this machine; to be set before models come.
    """

    def __init__(self, kube: Kube, namespace: str, *, folder: Path) -> None:
        super().__init__(kube, namespace)
        self._folder = folder
        self.predictor_url = ""

    def _wanted(self) -> Mapping[str, Wanted]:
        items = self._kube.list(DEPLOYMENTS, namespace=self._namespace, labels=LABEL_TRANSFORMER).items
        return {item["metadata"]["name"]: self._pods_of(item["spec"]) for item in items}

    def _pods_of(self, spec: Any) -> Wanted:
        template = spec["template"]
        labels, (container,) = template["metadata"]["labels"], template["spec"]["containers"]
        theirs = predictor_url(labels[LABEL_GROUP], self._namespace)
        environment = {
            item["name"]: item["value"].replace(theirs, self.predictor_url) for item in container["env"]
        }
        return Wanted(
            labels=labels,
            count=spec["replicas"],
            container=container,
            start=lambda name: self._start(name, environment),
        )

    def _start(self, name: str, environment: Mapping[str, str]) -> Program:
        port = free_port()
        command = [sys.executable, str(_SCRIPT), str(port)]
        log = self._folder / f"{name}.log"
        return _Transformer(process=start_child(command, log=log, environment=environment), number=port)
