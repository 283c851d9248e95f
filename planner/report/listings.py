"""Tables of what is no plan: devices of a machine, objects of manifests, models of other systems."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.domain.model import Model
from planner.report.text import table
from planner.units import format_bytes, quantity_milli

if TYPE_CHECKING:
    from planner.domain.fleet import Node
    from planner.inventory import Inventory


def devices_table(inventory: Inventory, *, wide: bool = False) -> str:
    """Return a line a GPU or MIG instance.

    ``foreign`` is what is used beside the driver's reservation. ``wide`` adds what is free, product, MIG
    profile, the GPU that an instance is cut from, node and driver.
    """
    classes = {item.name: item for item in inventory.device_classes}
    rows = []
    for position, device in enumerate(inventory.node.devices):
        kind = classes[device.device_class]
        total = kind.memory_bytes if device.memory_bytes is None else device.memory_bytes
        reserved = kind.reserved_bytes if device.reserved_bytes is None else device.reserved_bytes
        sizes = (total, reserved, device.foreign_bytes)
        row = [str(position), device.uuid or "-", kind.name, *map(format_bytes, sizes)]
        if wide:
            row += [format_bytes(total - reserved - device.foreign_bytes), kind.product or "-"]
            row += [kind.mig_profile or "-", device.parent or "-", inventory.node.name]
            row.append(inventory.driver_version)
        rows.append(row)
    headers = ["device", "uuid", "class", "total", "reserved", "foreign"]
    headers += ["free", "product", "MIG profile", "cut from", "node", "driver"] if wide else []
    return table(headers, rows, right=(0, 3, 4, 5, 6))


def device_names(inventory: Inventory) -> list[str]:
    """Return the devices as ``device/<uuid>``; ``device/<node>/<position>`` where NVML says no UUID."""
    node = inventory.node
    return [
        f"device/{device.uuid or f'{node.name}/{position}'}" for position, device in enumerate(node.devices)
    ]


def nodes_table(nodes: Sequence[Node], *, wide: bool = False) -> str:
    """Return a line a node: what is left on it for shards. ``wide`` adds zone, pods and labels."""
    rows = []
    for node in nodes:
        counts = Counter(device.device_class for device in node.devices)
        devices = ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()))
        row = [node.name, quantity_milli(node.cpu_milli), format_bytes(node.memory_bytes), devices or "-"]
        if wide:
            most = "?" if node.pods is None else f"{node.pods:,}"
            labels = ",".join(f"{key}={value}" for key, value in node.labels)
            row += [node.zone or "-", f"{node.pods_in_use:,} of {most}", labels or "-"]
        rows.append(row)
    headers = ["node", "CPU", "memory", "devices"] + (["zone", "other pods", "labels"] if wide else [])
    return table(headers, rows, right=(1, 2))


Object = tuple[str, Mapping[str, Any]]
"""The file that a Kubernetes object is in, and the object."""


def objects_table(objects: Sequence[Object], *, wide: bool = False) -> str:
    """Return a line a Kubernetes object.

    ``wide`` adds API version and namespace, and the bytes of the object as JSON, which the API server limits.
    """
    rows = []
    for path, item in objects:
        row = [item["kind"], item["metadata"]["name"], path]
        if wide:
            size = len(json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode())
            row += [item["apiVersion"], item["metadata"].get("namespace", "-"), f"{size:,}"]
        rows.append(row)
    headers = ["kind", "name", "file"] + (["API version", "namespace", "bytes"] if wide else [])
    return table(headers, rows, right=(5,))


def outcomes_table(outcomes: Iterable[Mapping[str, Any]], *, wide: bool = False) -> str:
    """Return a line for each object that was put into a cluster, and what became of it.

    ``wide`` adds API version and namespace, and why it failed.
    """
    rows = []
    for item in outcomes:
        row = [item["kind"], item["name"], item["outcome"]]
        if wide:
            row += [item["apiVersion"], item["namespace"] or "-", (item["error"] or "-").partition("\n")[0]]
        rows.append(row)
    return table(["kind", "name", "outcome"] + (["API version", "namespace", "error"] if wide else []), rows)


def object_name(item: Mapping[str, Any]) -> str:
    """Return an object as kubectl names it: ``configmap/x``, ``trainedmodel.serving.kserve.io/m``."""
    group, slash, _ = item["apiVersion"].partition("/")
    kind = f"{item['kind'].lower()}.{group}" if slash else item["kind"].lower()
    return f"{kind}/{item['metadata']['name']}"


def models_table(models: Sequence[Model], *, wide: bool = False) -> str:
    """Return a line a model: its first footprint at p95, as its source states it.

    ``wide`` adds replicas, the key of the models that share its shard, and where its files are.
    """
    rows = []
    for model in models:
        first = model.footprints[0]
        sizes = (first.steady_bytes.p95, first.memory_bytes.p95, first.disk_bytes.p95)
        shown = [format_bytes(size) if size else "-" for size in sizes]
        row = [model.name, model.backend, *shown, first.source]
        if wide:
            row += [str(model.replicas), model.together or "-", model.storage_uri]
        rows.append(row)
    headers = ["model", "backend", "GPU memory", "memory", "disk", "source"]
    headers += ["replicas", "together", "files"] if wide else []
    return table(headers, rows, right=(2, 3, 4, 6))
