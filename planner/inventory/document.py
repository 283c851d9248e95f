"""An inventory as a part of a scenario, to include in one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from planner.domain.fleet import DeviceClass, Node, NodeDevice
from planner.inventory.nvml import Inventory
from planner.units import quantity_bytes, quantity_milli


def inventory_document(inventory: Inventory) -> dict[str, Any]:
    """Return a machine as a document of kind Scenario, which another scenario includes.

    The device classes are written out in full, so the document says all it knows whatever a catalogue says.
    """
    return fleet_document([inventory.node], inventory.device_classes)


def fleet_document(nodes: Iterable[Node], device_classes: Iterable[DeviceClass]) -> dict[str, Any]:
    """Return nodes as a document of kind Scenario, which another scenario includes."""
    return {
        "apiVersion": "shardpack.dev/v1alpha1",
        "kind": "Scenario",
        "spec": {
            "catalog": {"deviceClasses": [_device_class(item) for item in device_classes]},
            "nodes": [_node(node) for node in nodes],
        },
    }


def _device_class(item: DeviceClass) -> dict[str, Any]:
    return _without_none(
        {
            "name": item.name,
            "kind": item.kind,
            "memory": quantity_bytes(item.memory_bytes),
            "reserved": quantity_bytes(item.reserved_bytes),
            "product": item.product,
            "migProfile": item.mig_profile,
            "source": item.source,
        }
    )


def _node(node: Node) -> dict[str, Any]:
    allocatable = {
        "cpu": quantity_milli(node.cpu_milli),
        "memory": quantity_bytes(node.memory_bytes),
        "pods": node.pods,
    }
    return _without_none(
        {
            "name": node.name,
            "zone": node.zone,
            "rack": node.rack,
            "allocatable": _without_none(allocatable),
            "podsInUse": node.pods_in_use or None,
            "labels": dict(node.labels),
            "devices": _devices(node.devices),
        }
    )


def _devices(devices: Iterable[NodeDevice]) -> list[dict[str, Any]]:
    """Return devices in their order, the instances of a GPU under it."""
    found: list[dict[str, Any]] = []
    cut: dict[str, dict[str, Any]] = {}
    for device in devices:
        if device.parent is None:
            found.append(_device(device))
        elif device.parent in cut:
            cut[device.parent]["mig"].append(_device(device))
        else:
            cut[device.parent] = {"uuid": device.parent, "mig": [_device(device)]}
            found.append(cut[device.parent])
    return found


def _device(device: NodeDevice) -> dict[str, Any]:
    return _without_none(
        {
            "class": device.device_class,
            "uuid": device.uuid,
            "memory": None if device.memory_bytes is None else quantity_bytes(device.memory_bytes),
            "reserved": None if device.reserved_bytes is None else quantity_bytes(device.reserved_bytes),
            "foreign": quantity_bytes(device.foreign_bytes) if device.foreign_bytes else None,
        }
    )


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
