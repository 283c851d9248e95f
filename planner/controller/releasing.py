"""Groups that no fleet document has any more, and shards of which are there: kept until those are gone."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

from planner.controller.fleet import Fleet, fleet_of
from planner.controller.living import LivingPlan
from planner.controller.views import (
    ANNOTATION_OPENED_BY,
    CONTROLLER,
    FLEET_KEY,
    RELEASED_KEY,
    ConfigMapView,
    ShardView,
)
from planner.controller.world import World
from planner.controller.writes import Kind
from planner.domain.fleet import Backend, DeviceClass, Runtime, Transformer
from planner.domain.references import in_group
from planner.domain.scenario import Scenario
from planner.errors import Fault, InputError
from planner.manifests.gateway import LABEL_GATEWAY
from planner.manifests.names import LABEL_GROUP, LABEL_MANAGED_BY, MANAGED_BY
from planner.manifests.transformer import LABEL_TRANSFORMER
from planner.scenario.dump import scenario_text

Part = TypeVar("Part", DeviceClass, Runtime, Backend, Transformer)

_MOST_BYTES = 900_000
"""Of what is kept of a fleet: a ConfigMap takes a MiB, keys and labels included."""


def alike(
    ours: Iterable[str], theirs: Collection[str], *, free: Collection[str] = ()
) -> tuple[str, str] | None:
    """Return the first two groups that are the same, or of which one is called like a shard of the other.

    Parameters
    ----------
    ours, theirs
        Groups.
    free
        Those that may be the same.
    """
    for one in ours:
        for other in theirs:
            if one == other and one in free:
                continue
            if in_group(one, other) or in_group(other, one):
                return one, other
    return None


def is_left(plan: LivingPlan, group: str, world: World, *, fronted: bool) -> bool:
    """Return whether something of a group is there: shards, or what stands before them."""
    types = plan.fleet.parts.shard_types
    if any(types[shard.shard_type].group == group for shard in plan.counted):
        return True
    return fronted and any(True for _ in fronts_of(group, world))


def fronts_of(group: str, world: World) -> Iterator[tuple[Kind, ShardView | ConfigMapView]]:
    """Yield what stands before the shards of a group: its gateway with the routes, and its transformers."""
    kinds: tuple[tuple[Kind, Mapping[str, ShardView | ConfigMapView]], ...] = (
        ("ConfigMap", world.config_maps),
        ("Service", world.services),
        ("PodDisruptionBudget", world.budgets),
        ("Deployment", world.deployments),
    )
    for kind, views in kinds:
        for view in views.values():
            labels = view.labels
            is_transformer = (
                LABEL_TRANSFORMER in labels and view.annotations.get(ANNOTATION_OPENED_BY) == CONTROLLER
            )
            is_of = labels.get(LABEL_GATEWAY) == group or (
                is_transformer and labels.get(LABEL_GROUP) == group
            )
            if is_of and labels.get(LABEL_MANAGED_BY) == MANAGED_BY:
                yield kind, view


def with_released(fleet: Fleet, former: LivingPlan, groups: Collection[str]) -> Fleet:
    """Return a fleet with groups that its document had before: they are counted as long as they are there.

    Raises
    ------
    InputError
        They cannot be told from what the document has now, or there is too much to keep.
    """
    names = alike(fleet.groups, groups)
    if names is not None:
        text = f"shards of group {names[1]!r}, which it does not have any more, are called like {names[0]!r}"
        raise InputError([Fault(path="", file=fleet.source, message=text)])
    return joined(fleet, _part_of(former, groups))


def joined(fleet: Fleet, other: Fleet) -> Fleet:
    """Return a fleet beside what is kept of another: its own nodes and policy count.

    Raises
    ------
    InputError
        They have a shard type of one name, or are too long together.
    """
    ours, theirs = fleet.scenario, other.scenario
    twice = sorted(fleet.parts.shard_types.keys() & other.parts.shard_types.keys())
    if twice:
        group = other.parts.shard_types[twice[0]].group
        text = (
            f"shard type {twice[0]!r} was one of group {group!r}, which is released: call another type so, "
            "once the shards of that group are gone"
        )
        raise InputError([Fault(path=f"spec.shardTypes.{twice[0]}", file=fleet.source, message=text)])
    data = {**fleet.data, RELEASED_KEY: other.data[RELEASED_KEY]}
    if sum(len(text.encode()) for text in data.values()) > _MOST_BYTES:
        text = "is too long beside what has to be kept of groups that it does not have any more"
        raise InputError([Fault(path="", file=fleet.source, message=text)])
    scenario = dataclasses.replace(
        ours,
        shard_types=(*ours.shard_types, *theirs.shard_types),
        device_classes=_union(ours.device_classes, theirs.device_classes),
        runtimes=_union(ours.runtimes, theirs.runtimes),
        backends=_union(ours.backends, theirs.backends),
        transformers=_union(ours.transformers, theirs.transformers),
    )
    both = fleet_of(scenario, source=fleet.source, data=data, counts_memory=fleet.counts_memory)
    return dataclasses.replace(both, released=frozenset(other.groups))


def reduced(plan: LivingPlan, groups: Collection[str]) -> Fleet:
    """Return a plan's fleet for some of its groups: the others are somebody else's, or gone."""
    fleet = plan.fleet
    released = fleet.released & set(groups)
    data = {FLEET_KEY: fleet.data[FLEET_KEY]} if set(groups) - released else {}
    if released:
        data |= _part_of(plan, released).data
    return dataclasses.replace(
        fleet,
        groups=tuple(group for group in fleet.groups if group in groups),
        classes_of={group: fleet.classes_of[group] for group in groups},
        released=released,
        data=data,
    )


def _part_of(plan: LivingPlan, groups: Collection[str]) -> Fleet:
    """Return what a fleet says of some groups, as a document of its own."""
    scenario = plan.fleet.scenario
    types = tuple(item for item in scenario.shard_types if item.group in groups)
    classes = {item.device_class for item in types}
    classes |= {device.device_class for node in scenario.nodes for device in node.devices}
    runtimes = {item.runtime for item in types}
    backends = {copy.model.backend for name in plan.models() for copy in plan.copies(name)}
    part: Scenario = dataclasses.replace(
        scenario,
        shard_types=types,
        device_classes=tuple(item for item in scenario.device_classes if item.name in classes),
        runtimes=tuple(item for item in scenario.runtimes if item.name in runtimes),
        backends=tuple(item for item in scenario.backends if item.name in backends),
    )
    data = {RELEASED_KEY: scenario_text(part)}
    return fleet_of(part, source=plan.fleet.source, data=data, counts_memory=plan.fleet.counts_memory)


def _union(ours: tuple[Part, ...], theirs: tuple[Part, ...]) -> tuple[Part, ...]:
    known: dict[str, Part] = {item.name: item for item in theirs + ours}
    return tuple(known[name] for name in sorted(known))
