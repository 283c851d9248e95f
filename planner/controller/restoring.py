"""The living plan as the cluster's objects tell it: what a controller knows when it starts."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner.controller.fleet import Fleet
from planner.controller.living import LEAVING, Copy, LivingPlan
from planner.controller.views import (
    ANNOTATION_NODES,
    ConfigMapView,
    ModelView,
    ShardView,
    Texts,
    is_ours,
    seat_of,
)
from planner.controller.wishes import WishError, group_of, wish_of
from planner.controller.world import World
from planner.domain.fleet import ShardType
from planner.domain.footprint import Amount, FootprintOption
from planner.domain.memory import need
from planner.domain.model import Model, options_for
from planner.domain.placement import Placed, Shard
from planner.domain.services import Service, service_name
from planner.manifests.gateway import LABEL_GATEWAY
from planner.manifests.names import (
    LABEL_GROUP,
    LABEL_MANAGED_BY,
    LABEL_SHARD,
    LABEL_SHARD_TYPE,
    MANAGED_BY,
)
from planner.manifests.transformer import LABEL_TRANSFORMER

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a placement document says of one model; device ordinals are empty where it uses none."""

    storage_uri: str
    framework: str
    memory_bytes: int
    steady_bytes: int
    load_peak_bytes: int
    instances: int
    devices: tuple[int, ...]


def restore(plan: LivingPlan, world: World, groups: Collection[str]) -> None:
    """Take into a plan what placement documents, servers and TrainedModels tell together of some groups.

    What they contradict each other in is left out: it is settled, and written, as if it had never been there.
    """
    fleet = plan.fleet
    plan.open(*told_shards(fleet, world, groups))
    for service in filter(plan.standing.is_whole, told_services(fleet, world)):
        if service.group in groups:
            plan.standing.take(service)
    former = cache(lambda: former_transformers(fleet, world))
    entries: dict[str, dict[str, Entry]] = defaultdict(dict)
    for view in world.config_maps.values():
        shard_name = view.labels.get(LABEL_SHARD)
        if shard_name in plan.shards and is_ours(view.labels) and plan.group_of_shard(shard_name) in groups:
            for name, entry in read_entries(view):
                entries[name][shard_name] = entry
    held: dict[str, set[int]] = defaultdict(set)
    for name in _order(entries):
        model = world.models.get(name)
        if model is not None and not model.deleting:
            seat_all(plan, model, entries[name], held, former=former)


def told_shards(fleet: Fleet, world: World, groups: Collection[str]) -> list[Shard]:
    """Return the shards of some groups that the objects tell of and the fleet has a type for, by name."""
    found: dict[str, Shard] = {}
    seats: dict[str, Texts] = {}
    views: list[ConfigMapView | ShardView] = [*world.config_maps.values()]
    views += [*world.inference_services.values(), *world.deployments.values()]
    for view in views:
        if not is_ours(view.labels):
            continue
        name, kind = view.labels[LABEL_SHARD], fleet.parts.shard_types.get(view.labels[LABEL_SHARD_TYPE])
        if kind is not None and kind.group in groups and fleet.group_of(name) == kind.group:
            seats[name] = {**seats.get(name, {}), **view.annotations}
            shard = _shard(fleet, name, kind, seats[name])
            if shard is not None:
                found[name] = shard
    return [found[name] for name in sorted(found)]


def told_services(fleet: Fleet, world: World) -> Iterator[Service]:
    """Yield the transformers of a fleet that the objects tell of, with the nodes of their pods."""
    for view in world.deployments.values():
        group, name = view.labels.get(LABEL_GROUP), view.labels.get(LABEL_TRANSFORMER)
        if view.labels.get(LABEL_MANAGED_BY) != MANAGED_BY or view.deleting or name is None:
            continue
        if group in fleet.groups and name in fleet.parts.transformers:
            nodes = view.annotations.get(ANNOTATION_NODES, "")
            yield Service(
                group=group, transformer=name, nodes=tuple(node for node in nodes.split(",") if node)
            )


def former_transformers(fleet: Fleet, world: World) -> dict[str, str]:
    """Return what the requests of models pass through, as the routes of a fleet's gateways tell it.

    A model whose TrainedModel cannot be read any more is served as it was, and not past its transformer.
    """
    found: dict[str, str] = {}
    for view in world.config_maps.values():
        group = view.labels.get(LABEL_GROUP)
        if LABEL_GATEWAY not in view.labels or group not in fleet.groups:
            continue
        for text in view.data.values():
            try:
                through = json.loads(text).get("through", {})
                told = {str(model): str(service) for model, service in through.items()}
            except (ValueError, AttributeError, RecursionError):
                continue  # it is written anew
            prefix = service_name(group, "")
            found.update((model, service.removeprefix(prefix)) for model, service in told.items())
    return found


def lost_shards(fleet: Fleet, world: World, groups: Collection[str]) -> Iterator[str]:
    """Yield what keeps a fleet from being taken: shards of its groups that run, and that it has no room for.

    Another shard of the name would be planned where the server of this one stands.
    """
    known = {shard.name for shard in told_shards(fleet, world, groups)}
    for view in (*world.inference_services.values(), *world.deployments.values()):
        if not is_ours(view.labels) or view.labels.get(LABEL_GROUP) not in groups:
            continue
        name, kind = view.labels[LABEL_SHARD], view.labels[LABEL_SHARD_TYPE]
        if name not in known:
            what = f"its type {kind!r}" if kind not in fleet.parts.shard_types else "its place on the nodes"
            yield f"shard {name} is open, and {what} is not there any more"


def _shard(fleet: Fleet, name: str, kind: ShardType, annotations: Texts) -> Shard | None:
    if kind.provision == "new":
        return Shard(name=name, shard_type=kind.name)
    seat = seat_of(annotations)
    if seat is None or seat.node not in fleet.parts.nodes:
        return None
    offered = len(fleet.parts.nodes[seat.node].devices)
    if any(not 0 <= position < offered for position in seat.positions):
        return None
    return Shard(name=name, shard_type=kind.name, node=seat.node, node_devices=seat.positions)


# ---------------------------------------------------------------------------------------------- documents


def read_entries(view: ConfigMapView) -> Iterator[tuple[str, Entry]]:
    """Yield what a placement document says, model by model; what cannot be read is left out.

    A set of documents that is not complete, because a controller was stopped between two of them, is read
    all the same: what is missing is placed again.
    """
    for key, text in view.data.items():
        if not key.startswith("placement-"):
            continue
        try:
            models = json.loads(text)["models"]
            found = [(name, _entry(item)) for name, item in models.items()]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            _log.warning("ConfigMap %s, %s cannot be read, and is written anew: %s", view.name, key, error)
            continue
        yield from found


def _entry(item: Mapping[str, Any]) -> Entry:
    devices = tuple(int(device["index"]) for device in item["devices"] if device["kind"] == "gpu")
    return Entry(
        storage_uri=str(item["storageUri"]),
        framework=str(item["framework"]),
        memory_bytes=int(item["memoryBytes"]),
        steady_bytes=int(item["steadyBytes"]),
        load_peak_bytes=int(item["loadPeakBytes"]),
        instances=int(item["instances"]),
        devices=devices,
    )


def _order(entries: Mapping[str, Mapping[str, Entry]]) -> list[str]:
    """Return models in the order in which they are seated: those that share no device come first."""

    def key(name: str) -> tuple[bool, bool, str]:
        devices = max(len(entry.devices) for entry in entries[name].values())
        return devices == 0, devices == 1, name

    return sorted(entries, key=key)


# ------------------------------------------------------------------------------------------------- copies


def seat_all(
    plan: LivingPlan,
    view: ModelView,
    entries: Mapping[str, Entry],
    held: dict[str, set[int]],
    *,
    former: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Seat the copies of a model: replicas in the order of their shards, its parent first, then the leaving.

    More copies than replicas, of which none is marked as leaving, are a move that had just begun: they are
    left out.

    Parameters
    ----------
    plan, view, entries
        Where, whom, and what documents say of it, by shard.
    held
        Devices of each shard that somebody has for himself.
    former
        What requests of models passed through, for one whose TrainedModel cannot be read.
    """
    group = group_of(view, plan.fleet)
    here = {shard: entry for shard, entry in entries.items() if plan.group_of_shard(shard) == group}
    if group is None or not here:
        return
    try:
        wish: Model | None = wish_of(view, plan.fleet, group)
    except WishError:
        wish = None
    if wish is not None:
        plan.wishes[view.name] = view, wish
    through = former().get(view.name) if wish is None else wish.transformer
    leaving = view.leaving & here.keys() if here.keys() - view.leaving else frozenset()
    staying = sorted(here.keys() - leaving, key=lambda shard: (shard != view.parent, shard))
    numbered = list(enumerate(staying[: wish.replicas] if wish else staying))
    numbered += [(LEAVING + index, shard) for index, shard in enumerate(sorted(leaving))]
    for replica, shard in numbered:
        copy = _copy(plan, view, wish, replica=replica, shard=shard, entry=here[shard], held=held)
        if copy is not None:
            model = copy.model
            same = model.transformer == through
            plan.seat(group, model if same else dataclasses.replace(model, transformer=through), copy.placed)


def _copy(  # noqa: PLR0913 - one parameter a fact of the copy
    plan: LivingPlan,
    view: ModelView,
    wish: Model | None,
    *,
    replica: int,
    shard: str,
    entry: Entry,
    held: dict[str, set[int]],
) -> Copy | None:
    """Return a copy as a document tells of it; None where its shard has no such devices."""
    kind = plan.fleet.parts.shard_types[plan.shards[shard].shard_type]
    devices = entry.devices or _idle_device(kind, held[shard])
    if not devices or any(device >= kind.device_count for device in devices):
        return None
    model, option = booked(plan.fleet, kind, view, wish, entry)
    if len(devices) > 1:
        held[shard].update(devices)
    placed = Placed(model=view.name, replica=replica, shard=shard, devices=devices, option=option)
    return Copy(model=model, placed=placed)


def _idle_device(kind: ShardType, held: Iterable[int]) -> tuple[int, ...]:
    """Return the device that a model is named on that uses none: the first that nobody has for himself."""
    free = [device for device in range(kind.device_count) if device not in set(held)]
    return tuple(free[:1])


def booked(
    fleet: Fleet, kind: ShardType, view: ModelView, wish: Model | None, entry: Entry
) -> tuple[Model, int]:
    """Return as what a copy was booked, and under which of its footprints.

    That is what its TrainedModel asks for, where the document says the same; else that with the figures of
    the document, so that it is seen that something has changed.
    """
    base = wish or _unknown(fleet, view, entry)
    if (base.storage_uri, base.framework) != (entry.storage_uri, entry.framework):
        base = dataclasses.replace(base, storage_uri=entry.storage_uri, framework=entry.framework)
    device_class = fleet.parts.device_classes[kind.device_class]
    if len(entry.devices) in (0, base.devices_per_replica):
        for option in options_for(base, device_class):
            if _same(fleet, kind, base, option, entry):
                return base, option
    option = next(iter(options_for(base, device_class)), 0)
    said = dataclasses.replace(
        base.footprints[option],
        instances=entry.instances,
        steady_bytes=_certain(entry.steady_bytes),
        load_peak_bytes=_certain(entry.load_peak_bytes),
        memory_bytes=_certain(entry.memory_bytes),
        source="measured",  # the document's figures have everything in them
    )
    footprints = (*base.footprints[:option], said, *base.footprints[option + 1 :])
    devices = max(1, len(entry.devices))
    return dataclasses.replace(base, footprints=footprints, devices_per_replica=devices), option


def _same(fleet: Fleet, kind: ShardType, model: Model, option: int, entry: Entry) -> bool:
    footprint = model.footprints[option]
    wants = need(
        footprint,
        backend=fleet.parts.backends[model.backend],
        runtime=fleet.parts.runtimes[kind.runtime],
        quantile=fleet.scenario.policy.quantile,
    )
    on_gpu = wants.on_device and fleet.parts.device_classes[kind.device_class].kind == "gpu"
    figures = (wants.steady_bytes, wants.load_peak_bytes) if on_gpu else (0, 0)
    return (footprint.instances, wants.memory_bytes, *figures, on_gpu) == (
        entry.instances,
        entry.memory_bytes,
        entry.steady_bytes,
        entry.load_peak_bytes,
        bool(entry.devices),
    )


def _unknown(fleet: Fleet, view: ModelView, entry: Entry) -> Model:
    """Return a model of which only its document is known: what its TrainedModel says cannot be read."""
    backend = entry.framework if entry.framework in fleet.parts.backends else next(iter(fleet.parts.backends))
    return Model(
        name=view.name,
        backend=backend,
        storage_uri=entry.storage_uri,
        footprints=(FootprintOption(device_class="*"),),
    )


def _certain(value: int) -> Amount:
    return Amount(p50=value, p95=value)
