"""The objects of a cluster in memory, and a controller's engine run on them without threads or time.

Writes are applied as an API server would: versions, conflicts, merge patches, finalizers. A stand-in for
KServe's TrainedModel controller may run beside.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from planner.controller.engine import Engine
from planner.controller.objects import Style
from planner.controller.pace import Pace
from planner.controller.world import KINDS
from planner.controller.writes import Told, Write
from planner.manifests.names import LABEL_SHARD
from planner.manifests.pod import STATUS_PORT
from planner.manifests.transformer import LABEL_TRANSFORMER

Object = dict[str, Any]
NAMESPACE = "models"
STAMP = "2026-01-01T00:00:00Z"


class ConflictError(Exception):
    """Somebody was faster."""


class MemoryCluster:
    """Objects by kind and name; every change is kept for those who watch."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Object]] = {kind: {} for kind in KINDS}
        self.writes: Counter[tuple[str, str, str]] = Counter()
        self._version = 0
        self._changes: list[tuple[str, str, Object | None, str]] = []

    # ------------------------------------------------------------------------------------------------ reading

    def of(self, kind: str) -> dict[str, Object]:
        return self.objects[kind]

    def changes_since(self, position: int) -> tuple[list[tuple[str, str, Object | None, str]], int]:
        return self._changes[position:], len(self._changes)

    @property
    def position(self) -> int:
        return len(self._changes)

    # ------------------------------------------------------------------------------------------------ writing

    def put(self, kind: str, item: Mapping[str, Any]) -> Object:
        """Create an object, or take it as somebody else has changed it."""
        name = item["metadata"]["name"]
        known = self.objects[kind].get(name)
        fresh = copy.deepcopy(dict(item))
        metadata = fresh["metadata"]
        metadata["uid"] = known["metadata"]["uid"] if known else f"uid-{self._version + 1}"
        created = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._version)
        metadata.setdefault("creationTimestamp", created.strftime("%Y-%m-%dT%H:%M:%SZ"))
        if known:
            metadata["creationTimestamp"] = known["metadata"]["creationTimestamp"]
        return self._store(kind, fresh)

    def remove(self, kind: str, name: str) -> None:
        """Delete an object, or mark it as going where it has finalizers."""
        item = self.objects[kind][name]
        if item["metadata"].get("finalizers"):
            fresh = copy.deepcopy(item)
            fresh["metadata"]["deletionTimestamp"] = STAMP
            self._store(kind, fresh)
        else:
            self._drop(kind, name)

    def apply(self, write: Write) -> Object | None:
        """Do what an engine asks for, or raise ``ConflictError`` (a server's 409) or ``KeyError`` (404)."""
        known = self.objects[write.kind].get(write.name)
        self.writes[write.kind, write.name, "status" if write.status else write.verb] += 1
        if write.verb == "create":
            if known is not None:
                raise ConflictError(write.name)
            return self.put(write.kind, write.body)
        if known is None:
            raise KeyError(write.name)
        if write.verb == "delete":
            if write.body["preconditions"]["uid"] != known["metadata"]["uid"]:
                raise ConflictError(write.name)
            self.remove(write.kind, write.name)
            return self.objects[write.kind].get(write.name)
        if write.verb == "rewrite":
            return self._rewrite(write, known)
        if write.body["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"]:
            raise ConflictError(write.name)
        body = {"status": write.body["status"]} if write.status else write.body
        fresh = merge_patch(known, body)
        if fresh == known:
            return known
        fresh["metadata"].pop("resourceVersion", None)
        going = "deletionTimestamp" in fresh["metadata"] and not fresh["metadata"].get("finalizers")
        stored = self._store(write.kind, fresh)
        if going:
            self._drop(write.kind, write.name)
        return stored

    def _rewrite(self, write: Write, known: Object) -> Object:
        version, *rest = write.body["operations"]
        if version["value"] != known["metadata"]["resourceVersion"]:
            raise ConflictError(write.name)
        fresh = copy.deepcopy(known)
        for operation in rest:
            *path, last = [part.replace("~1", "/") for part in operation["path"].split("/")[1:]]
            target = fresh
            for part in path:
                target = target[part]
            target[last] = copy.deepcopy(operation["value"])
        return self._store(write.kind, fresh)

    def _store(self, kind: str, item: Object) -> Object:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        name = item["metadata"]["name"]
        self.objects[kind][name] = item
        self._changes.append((kind, name, item, item["metadata"]["uid"]))
        return item

    def _drop(self, kind: str, name: str) -> None:
        item = self.objects[kind].pop(name)
        self._changes.append((kind, name, None, item["metadata"]["uid"]))


def merge_patch(target: Any, body: Any) -> Any:
    """RFC 7386; parts that the patch does not touch are shared."""
    if not isinstance(body, Mapping):
        return copy.deepcopy(body)
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in body.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


class Run:
    """An engine on a cluster, in a time of its own.

    Parameters
    ----------
    cluster
        What it works on.
    style, pace
        The engine's.
    broken
        Called before each write; what it raises is raised instead. So a test stops a controller anywhere.
    """

    def __init__(
        self,
        cluster: MemoryCluster,
        *,
        style: Style | None = None,
        pace: Pace | None = None,
        broken: Callable[[Write], None] = lambda _: None,
        now: float = 0.0,
        timed: Callable[[float], None] | None = None,
        namespace: str = NAMESPACE,
    ) -> None:
        self.cluster, self.now, self._broken = cluster, now, broken
        self.engine = Engine(namespace, style=style, pace=pace, timed=timed)
        self.told: list[Told] = []
        self.refused: Callable[[Write], bool] = lambda _: False
        """Which writes the server does not do, as with a webhook in its way."""
        self.wake: float | None = None
        self._position = cluster.position
        for kind in KINDS:
            self.engine.replace(kind, cluster.of(kind).values(), self.now)

    def watch(self) -> None:
        """Show the engine what has changed."""
        changes, self._position = self.cluster.changes_since(self._position)
        for kind, name, item, uid in changes:
            if item is None:
                self.engine.lose(kind, name, uid, self.now)
            else:
                self.engine.see(kind, item, self.now)

    def turn(self, *, agents: Callable[[Run], None] | None = None) -> int:
        """One step and all its writes; returns how many."""
        self.watch()
        if agents is not None:
            agents(self)
        step = self.engine.step(self.now, STAMP)
        self.told += step.told
        for write in step.writes:
            self._broken(write)
            if self.refused(write):
                self.engine.missed(write, "failed", None, self.now)
                continue
            try:
                answer = self.cluster.apply(write)
            except ConflictError:
                self.engine.missed(write, "conflict", self.cluster.of(write.kind).get(write.name), self.now)
            except KeyError:
                self.engine.missed(write, "gone", None, self.now)
            else:
                self.engine.wrote(write, answer, self.now)
        self.wake = step.wake
        return len(step.writes)

    def settle(self, *, agents: Callable[[Run], None] | None = None, longest_s: float = 300.0) -> None:
        """Turn until nothing is left to do, waiting where the engine waits."""
        end = self.now + longest_s
        quiet = 0
        while self.now < end:
            position = self.cluster.position
            written = self.turn(agents=agents)
            if written or self.cluster.position != position:
                quiet = 0
                continue
            if self.wake is not None and self.wake > self.now:
                self.now = self.wake
                quiet = 0
                continue
            quiet += 1
            self.now += 0.05
            if quiet > 3 and self.wake is None:
                return
        raise AssertionError(f"not settled after {longest_s} s of its own time")


# --------------------------------------------------------------------------------------------- what is there


def fleet_map(text: str, name: str = "fleet", *, namespace: str = NAMESPACE) -> Object:
    """A fleet document."""
    labels = {"shardpack.dev/role": "fleet"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"scenario.yaml": text}}


def a_fleet_text(
    *, most: int | None = None, max_models: int | None = 20, extra: str = "", namespace: str = NAMESPACE
) -> str:
    """A fleet of one group ``news`` on T4s."""
    lines = [
        "apiVersion: shardpack.dev/v1alpha1",
        "kind: Scenario",
        f"metadata: {{name: news, namespace: {namespace}}}",
        "spec:",
        "  shardTypes:",
        "    - name: t4",
        "      runtime: triton",
        "      devices: {class: nvidia-t4, count: 1}",
        '      resources: {cpu: "8", memory: 64Gi}',
        "      pricePerHour: 0.5",
        "      group: news",
        *([f"      maxModels: {max_models}"] if max_models else []),
        *([f"      maxCount: {most}"] if most is not None else []),
        extra,
    ]
    return "\n".join(lines) + "\n"


def a_trained_model(
    name: str,
    *,
    parent: str = "news",
    memory: str = "100Mi",
    says: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    uri: str | None = None,
    namespace: str = NAMESPACE,
) -> Object:
    """A TrainedModel as a user writes it."""
    annotations = {"shardpack.dev/model": json.dumps(says)} if says else {}
    model = {"storageUri": uri or f"s3://models/{name}", "framework": "onnx", "memory": memory}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "TrainedModel",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": annotations,
            "labels": dict(labels or {}),
        },
        "spec": {"inferenceService": parent, "model": model},
    }


def run_pods(cluster: MemoryCluster) -> None:
    """Give every server and every transformer one pod, as Kubernetes would."""
    everything = [*cluster.of("InferenceService").values(), *cluster.of("Deployment").values()]
    servers = [item for item in everything if LABEL_SHARD in item["metadata"]["labels"]]
    for number, server in enumerate(servers):
        shard = server["metadata"]["labels"][LABEL_SHARD]
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        _run_pod(cluster, f"{shard}-pod", {LABEL_SHARD: shard}, address)
    for name, item in cluster.of("Deployment").items():
        if LABEL_TRANSFORMER in item["metadata"]["labels"]:
            _run_pod(cluster, f"{name}-pod", item["spec"]["template"]["metadata"]["labels"], "127.2.0.1")


def _run_pod(cluster: MemoryCluster, name: str, labels: Mapping[str, str], address: str) -> None:
    if name not in cluster.of("Pod"):
        metadata = {"name": name, "namespace": NAMESPACE, "labels": dict(labels)}
        status = {"podIP": address, "port": STATUS_PORT}
        cluster.put("Pod", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})


def placement_of(cluster: MemoryCluster) -> dict[str, set[str]]:
    """The shards that the placement documents say each model is on."""
    found: dict[str, set[str]] = {}
    for item in cluster.of("ConfigMap").values():
        shard, names = _named(item)
        for name in names:
            found.setdefault(name, set()).add(shard)
    return found


def _shard_of(item: Object) -> str:
    shard: str = item["metadata"].get("labels", {}).get(LABEL_SHARD, "")
    return shard


def _named(item: Object) -> tuple[str, list[str]]:
    """The shard of a ConfigMap, and the models that its placement documents name."""
    texts = [text for key, text in item["data"].items() if key.startswith("placement-")]
    return _shard_of(item), [name for text in texts for name in json.loads(text).get("models", {})]


def loaded_agents(only: Iterable[str] | None = None, state: str = "Loaded") -> Callable[[Run], None]:
    """Agents that have loaded whatever their documents say, on some shards or on all."""

    known: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {}

    def hear(run: Run) -> None:
        run_pods(run.cluster)
        run.watch()
        told: dict[str, dict[str, tuple[str, str]]] = {}
        for name, item in run.cluster.of("ConfigMap").items():
            version = item["metadata"]["resourceVersion"]
            if known.get(name, ("", {}))[0] != version:
                known[name] = version, dict.fromkeys(_named(item)[1], (state, ""))
            if known[name][1]:
                told.setdefault(_shard_of(item), {}).update(known[name][1])
        for shard, states in told.items():
            if only is None or shard in only:
                run.engine.hear(f"{shard}-pod", states)

    return hear


class KServe:
    """What KServe's TrainedModel controller does: deletes orphans, adds entries, leaves stale ones behind."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster
        self.deleted: list[str] = []

    def reconcile(self) -> None:
        cluster = self._cluster
        for name in cluster.of("InferenceService"):
            if f"modelconfig-{name}-0" not in cluster.of("ConfigMap"):
                self._write(name, [])
        for name, model in sorted(cluster.of("TrainedModel").items()):
            parent = model["spec"]["inferenceService"]
            if parent not in cluster.of("InferenceService"):
                self.deleted.append(name)
                cluster.remove("TrainedModel", name)
                continue
            entries = self._entries(parent)
            if name not in [entry["modelName"] for entry in entries]:
                self._write(parent, [*entries, {"modelName": name, "modelSpec": model["spec"]["model"]}])

    def models(self, shard: str) -> set[str]:
        return {entry["modelName"] for entry in self._entries(shard)}

    def _entries(self, shard: str) -> list[Object]:
        found: list[Object] = json.loads(
            self._cluster.of("ConfigMap")[f"modelconfig-{shard}-0"]["data"]["models.json"]
        )
        return found

    def _write(self, shard: str, entries: list[Object]) -> None:
        metadata = {"name": f"modelconfig-{shard}-0", "namespace": NAMESPACE}
        data = {"models.json": json.dumps(entries)}
        self._cluster.put(
            "ConfigMap", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        )
