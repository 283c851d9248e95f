"""Whether the names in a placement mean something: the rule ``reference``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from planner.domain.fleet import ShardType
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.rules import Rule, Violation
from planner.domain.scenario import Names

if TYPE_CHECKING:
    from planner.domain.services import Service


def find_broken_references(parts: Names, placement: Placement) -> Iterator[Violation]:
    """Yield every name, ordinal and option that refers to nothing, and every doubled one."""
    yield from _shard_references(parts, placement.shards)
    shards = {shard.name: shard for shard in placement.shards}
    seen: set[tuple[str, int]] = set()
    for placed in placement.placed:
        fault, key = _placed_fault(parts, shards, placed), (placed.model, placed.replica)
        if not fault and key in seen:
            fault = "the replica is placed twice"
        seen.add(key)
        if fault:
            yield Violation(rule=Rule.REFERENCE, subject=f"{placed.model}#{placed.replica}", detail=fault)


def _shard_references(parts: Names, shards: Sequence[Shard]) -> Iterator[Violation]:
    seen: set[str] = set()
    for shard in shards:
        fault = next(_shard_faults(parts, shard), "")
        if not fault and shard.name in seen:
            fault = "two shards have this name"
        seen.add(shard.name)
        if fault:
            yield Violation(rule=Rule.REFERENCE, subject=shard.name, detail=fault)


def _shard_faults(parts: Names, shard: Shard) -> Iterator[str]:
    """Yield what is wrong with a shard's own references; only the first means something."""
    shard_type = parts.shard_types.get(shard.shard_type)
    if shard_type is None:
        yield f"no shard type {shard.shard_type!r}"
        return
    if not in_group(shard.name, shard_type.group):
        yield f"is not a name of group {shard_type.group!r}"
    if (shard_type.provision == "existing") != (shard.node is not None):
        yield f"shard type {shard_type.name!r} is {shard_type.provision}, but the node is {shard.node}"
    if shard.node is None:
        if shard.node_devices:
            yield "has devices of a node but no node"
        return
    node = parts.nodes.get(shard.node)
    if node is None:
        yield f"no node {shard.node!r}"
        return
    wanted = 0 if parts.device_classes[shard_type.device_class].kind == "cpu" else shard_type.device_count
    if len(shard.node_devices) != wanted:
        yield f"has {len(shard.node_devices)} devices of its node instead of {wanted}"
    if any(not 0 <= position < len(node.devices) for position in shard.node_devices):
        yield f"names a device that node {node.name!r} does not have"


def in_group(shard_name: str, group: str) -> bool:
    """Return whether a shard's name is ``<group>`` or ``<group>-<k>`` with k = 1, 2, ..."""
    if shard_name == group:
        return True
    tail = shard_name.removeprefix(f"{group}-")
    return tail != shard_name and tail.isascii() and tail.isdigit() and not tail.startswith("0")


def _placed_fault(parts: Names, shards: Mapping[str, Shard], placed: Placed) -> str:
    """Return what is wrong with a placed replica's own references, the first thing only; empty is nothing."""
    model, shard = parts.models.get(placed.model), shards.get(placed.shard)
    shard_type = parts.shard_types.get(shard.shard_type) if shard else None
    if model is None:
        return f"no model {placed.model!r}"
    if shard_type is None:
        return f"no shard {placed.shard!r} of a known type"
    return _number_fault(placed, model, shard_type)


def _number_fault(placed: Placed, model: Model, shard_type: ShardType) -> str:
    devices = placed.devices
    if not 0 <= placed.replica < model.replicas:
        return f"the model has replicas 0 to {model.replicas - 1}"
    if len(devices) != model.devices_per_replica or (len(devices) > 1 and len(set(devices)) < len(devices)):
        return f"is on devices {list(devices)} instead of {model.devices_per_replica} different ones"
    for index in devices:
        if not 0 <= index < shard_type.device_count:
            return f"names a device that shard {placed.shard!r} does not have"
    if not 0 <= placed.option < len(model.footprints):
        return f"the model has footprint options 0 to {len(model.footprints) - 1}"
    return ""


def find_broken_services(parts: Names, services: Iterable[Service]) -> Iterator[Violation]:
    """Yield every service that names what there is not, or has not a node for each of its pods."""
    groups = {item.group for item in parts.shard_types.values()}
    for service in services:
        fault = _service_fault(service, groups, parts)
        if fault:
            yield Violation(rule=Rule.REFERENCE, subject=service.name, detail=fault)


def _service_fault(service: Service, groups: set[str], parts: Names) -> str:
    """Return what is wrong with a service's own references, the first thing only; empty is nothing."""
    transformer = parts.transformers.get(service.transformer)
    if transformer is None:
        return f"no transformer {service.transformer!r}"
    if service.group not in groups:
        return f"no group {service.group!r}"
    unknown = [name for name in service.nodes if name not in parts.nodes]
    if unknown:
        return f"no node {unknown[0]!r}"
    wanted = transformer.replicas if parts.nodes else 0
    if len(service.nodes) != wanted:
        return f"is on {len(service.nodes)} nodes instead of {wanted}"
    return ""
