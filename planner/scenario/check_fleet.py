"""Checks of shard types and nodes against the catalogue and against each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from planner.domain.fleet import DeviceClass, Node, NodeDevice, ShardType
from planner.domain.memory import device_room
from planner.domain.mig import fits, profiles_of
from planner.domain.references import in_group
from planner.scenario.documents import Loc
from planner.scenario.draft import Draft, Located
from planner.scenario.faults import FaultLog, one_of
from planner.scenario.scenario_shape import NodeShape
from planner.scenario.shapes import GROUP_LENGTH
from planner.units import format_bytes, format_percent, quantity_milli


def check_shard_types(draft: Draft, log: FaultLog) -> None:
    """Note what is wrong with the shard types."""
    for item in draft.shard_types:
        _references(item, draft, log)
        _counts(item, draft, log)
        _capacity(item, draft, log)
    if draft.sound:
        _groups(draft, log)


def _references(item: Located[ShardType], draft: Draft, log: FaultLog) -> None:
    shard_type = item.value
    known = draft.catalogue.runtimes.keys() | draft.assumed.get("runtimes", set())
    if shard_type.runtime not in known:
        log.add(item.document, (*item.loc, "runtime"), one_of("runtime", shard_type.runtime, known))
    classes = _known_classes(draft)
    if shard_type.device_class not in classes:
        message = one_of("device class", shard_type.device_class, classes)
        log.add(item.document, (*item.loc, "devices", "class"), message)


def _known_classes(draft: Draft) -> set[str]:
    return draft.catalogue.device_classes.keys() | draft.assumed.get("deviceClasses", set())


def _counts(item: Located[ShardType], draft: Draft, log: FaultLog) -> None:
    shard_type = item.value
    if shard_type.max_count is not None and shard_type.min_count > shard_type.max_count:
        message = f"minCount ({shard_type.min_count}) is above maxCount ({shard_type.max_count})"
        log.add(item.document, (*item.loc, "minCount"), message)
    if shard_type.provision != "existing":
        return
    if shard_type.replicas != 1:
        message = (
            f"a shard on nodes that exist has 1 pod, not {shard_type.replicas}; give the models replicas"
        )
        log.add(item.document, (*item.loc, "replicas"), message)
    if not draft.nodes and not draft.assumed.get("nodes"):
        message = "existing shards stand on nodes, but the scenario lists none"
        log.add(item.document, (*item.loc, "provision"), message)


def _capacity(item: Located[ShardType], draft: Draft, log: FaultLog) -> None:
    shard_type = item.value
    for what, part, whole in (
        ("cpu", shard_type.overhead_cpu_milli, shard_type.cpu_milli),
        ("memory", shard_type.overhead_memory_bytes, shard_type.memory_bytes),
    ):
        if part > whole:
            show = quantity_milli if what == "cpu" else format_bytes
            message = f"the sidecars' {what} ({show(part)}) is above the pod's ({show(whole)})"
            log.add(item.document, (*item.loc, "overhead", what), message)
    _host_room(item, draft, log)
    _device_room(item, draft, log)


def _host_room(item: Located[ShardType], draft: Draft, log: FaultLog) -> None:
    shard_type, runtime = item.value, draft.catalogue.runtimes.get(item.value.runtime)
    left = shard_type.memory_bytes - shard_type.overhead_memory_bytes
    if runtime is not None and 0 <= left < runtime.host_base_bytes:
        message = (
            f"{format_bytes(left)} without the sidecars is less than the idle {runtime.name} server takes"
            f" ({format_bytes(runtime.host_base_bytes)})"
        )
        log.add(item.document, (*item.loc, "resources", "memory"), message)


def _device_room(item: Located[ShardType], draft: Draft, log: FaultLog) -> None:
    shard_type = item.value
    device_class = draft.catalogue.device_classes.get(shard_type.device_class)
    if device_class is None:
        return
    if device_class.kind == "cpu":
        if shard_type.device_count != 1:
            message = f"a CPU shard has one device, its CPU, not {shard_type.device_count}"
            log.add(item.document, (*item.loc, "devices", "count"), message)
        if shard_type.device_memory_bytes is not None:
            message = f"{device_class.name!r} is a CPU: it has no GPU memory"
            log.add(item.document, (*item.loc, "devices", "gpuMemory"), message)
        return
    if device_class.mig_profile is not None and shard_type.device_count != 1:
        message = "one process sees one MIG instance, so a shard has 1 of them"
        log.add(item.document, (*item.loc, "devices", "count"), message)
    runtime = draft.catalogue.runtimes.get(shard_type.runtime)
    if runtime is None:
        return
    room = device_room(device_class=device_class, shard_type=shard_type, runtime=runtime, policy=draft.policy)
    if room.fixed_bytes >= room.capacity_bytes:
        kept = draft.policy.headroom.device_memory_ppm
        message = (
            "no GPU memory is left for models: the driver and the server take"
            f" {format_bytes(room.fixed_bytes)} of {format_bytes(room.capacity_bytes)}"
            + (f", which is what policy.headroom.gpuMemory ({format_percent(kept)}) leaves" if kept else "")
        )
        log.add(item.document, (*item.loc, "devices", "gpuMemory"), message)


def _groups(draft: Draft, log: FaultLog) -> None:
    """Names of shards are ``<group>-<k>``: no group may look like a shard of another."""
    groups: dict[str, Located[ShardType]] = {}
    for item in draft.shard_types:
        groups.setdefault(item.value.group, item)
    for name, item in groups.items():
        if len(name) > GROUP_LENGTH or not name[:1].isalpha():
            message = (
                f"the default name {name!r} is no InferenceService's: it needs a letter first and at most"
                f" {GROUP_LENGTH} characters; set group"
            )
            log.add(item.document, (*item.loc, "group"), message)
        other = next((other for other in groups if other != name and in_group(name, other)), None)
        if other is not None:
            message = f"{name!r} is also the name of a shard of group {other!r}"
            log.add(item.document, (*item.loc, "group"), message)


# ----------------------------------------------------------------------------------------------- nodes


def check_node_classes(item: Located[NodeShape], draft: Draft, log: FaultLog) -> None:
    """Note classes of a node's devices that do not exist, and instances that are not of their GPU."""
    classes = _known_classes(draft)
    for position, device in enumerate(item.value.devices):
        loc = (*item.loc, "devices", position)
        named = [((*loc, "class"), device.device_class)]
        named += [((*loc, "mig", n, "class"), cut.device_class) for n, cut in enumerate(device.mig)]
        for place, name in named:
            if name is not None and name not in classes:
                log.add(item.document, place, one_of("device class", name, classes))
        parent = draft.catalogue.device_classes.get(device.device_class or "")
        cut_from = {
            draft.catalogue.device_classes[cut.device_class].product
            for cut in device.mig
            if cut.device_class in draft.catalogue.device_classes
        }
        if parent is not None and cut_from - {parent.product}:
            message = f"{parent.name!r} is a {parent.product}, its instances are of {min(map(str, cut_from))}"
            log.add(item.document, (*loc, "class"), message)


def check_nodes(draft: Draft, log: FaultLog) -> None:
    """Note what is wrong with the nodes; those of one ``count`` are looked at once."""
    uuids: dict[str, str] = {}
    seen: set[tuple[int, Loc]] = set()
    for item in draft.nodes:
        for device in item.value.devices:
            other = uuids.setdefault(device.uuid, item.value.name) if device.uuid else item.value.name
            if other != item.value.name:
                message = f"GPU {device.uuid} is also on node {other!r}"
                log.add(item.document, (*item.loc, "devices"), message)
        if (id(item.document), item.loc) in seen:
            continue
        seen.add((id(item.document), item.loc))
        _doubled_uuids(item, log)
        _node_devices(item, draft, log)


def _doubled_uuids(item: Located[Node], log: FaultLog) -> None:
    uuids = [device.uuid for device in item.value.devices if device.uuid]
    for uuid in sorted({uuid for uuid in uuids if uuids.count(uuid) > 1}):
        log.add(item.document, (*item.loc, "devices"), f"GPU {uuid} is listed twice")


def _node_devices(item: Located[Node], draft: Draft, log: FaultLog) -> None:
    cut: dict[str, list[NodeDevice]] = {}
    for place, device in _places(item.value.devices):
        loc = (*item.loc, "devices", *place)
        device_class = draft.catalogue.device_classes.get(device.device_class)
        if device_class is None:
            continue
        if device_class.kind == "cpu":
            log.add(item.document, loc, "a node's CPU is its allocatable cpu, not a device")
        total = device.memory_bytes if device.memory_bytes is not None else device_class.memory_bytes
        if device.foreign_bytes > total:
            message = (
                f"foreign ({format_bytes(device.foreign_bytes)}) is above the GPU's {format_bytes(total)}"
            )
            log.add(item.document, (*loc, "foreign"), message)
        reserved = device.reserved_bytes if device.reserved_bytes is not None else device_class.reserved_bytes
        if reserved > total:
            message = f"reserved ({format_bytes(reserved)}) is above the GPU's {format_bytes(total)}"
            log.add(item.document, (*loc, "reserved"), message)
        if device.parent is not None:
            cut.setdefault(device.parent, []).append(device)
    for instances in cut.values():
        _geometry(item, instances, draft, log)


def _places(devices: Iterable[NodeDevice]) -> Iterator[tuple[Loc, NodeDevice]]:
    """Yield a node's devices with their places: consecutive instances of one parent are one GPU's."""
    position, inner, parent = -1, 0, None
    for device in devices:
        inner = inner + 1 if device.parent is not None and device.parent == parent else 0
        position += inner == 0
        parent = device.parent
        yield ((position,) if parent is None else (position, "mig", inner)), device


def _geometry(item: Located[Node], instances: list[NodeDevice], draft: Draft, log: FaultLog) -> None:
    """A set of MIG instances has to be one that the GPU can be cut into.

    Of a product without a table nothing is said: the instances are those of a machine that exists.
    """
    classes = [draft.catalogue.device_classes.get(device.device_class) for device in instances]
    known: list[DeviceClass] = [found for found in classes if found is not None]
    if len(known) < len(classes):
        return
    loc = (*item.loc, "devices")
    whole = [found.name for found in known if found.mig_profile is None]
    products = sorted({found.product or "?" for found in known})
    profiles = [found.mig_profile for found in known if found.mig_profile is not None]
    if whole:
        log.add(item.document, loc, f"{whole[0]!r} is not a MIG instance and cannot stand in mig")
    elif len(products) > 1:
        log.add(item.document, loc, f"one GPU is not cut into instances of {' and '.join(products)}")
    elif profiles_of(products[0]) and not fits(products[0], profiles):
        message = f"{products[0]} cannot be cut into {', '.join(profiles)} at the same time"
        log.add(item.document, loc, message)
