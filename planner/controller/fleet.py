"""What may be opened for whom: the fleet documents of a namespace."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from planner.controller.views import FLEET_KEY, LABEL_ROLE, ROLE_FLEET, ConfigMapView, Texts
from planner.domain.references import in_group
from planner.domain.scenario import Names, Scenario, names
from planner.errors import Fault, InputError
from planner.manifests.inferenceservice import SERVERS
from planner.scenario.load import parse_fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet document.

    Parameters
    ----------
    source
        Name of its ConfigMap.
    scenario
        Shard types, nodes, policy and limits; it has no models, and all backends and
        device classes that are known.
    parts
        Its parts by name.
    groups
        The groups of its shard types, in their order.
    classes_of
        The classes of device that the shards of each group have, and whether they are GPUs.
    data
        The texts that it is read from, by their keys in a ConfigMap.
    released
        Groups that no document has any more: nothing new comes there, and their shards close as they empty.
    counts_memory
        Whether no footprint takes less host memory than ``spec.model.memory``: KServe adds those of a shard's
        TrainedModels up, and what is above the server's limit never becomes ready.
    """

    source: str
    scenario: Scenario
    parts: Names
    groups: tuple[str, ...]
    classes_of: Mapping[str, tuple[tuple[str, bool], ...]]
    data: Texts = field(default_factory=dict)
    released: frozenset[str] = frozenset()
    counts_memory: bool = False

    @property
    def kept(self) -> tuple[str, ...]:
        """Return the groups that its document has, in their order."""
        return tuple(group for group in self.groups if group not in self.released)

    def group_of(self, shard: str) -> str | None:
        """Return the group that a name of a shard is of; of several, as of ``a`` and ``a-1``, the longest."""
        found = [group for group in self.groups if in_group(shard, group)]
        return max(found, key=len, default=None)


def is_fleet(view: ConfigMapView) -> bool:
    """Return whether a ConfigMap is a fleet document."""
    return view.labels.get(LABEL_ROLE) == ROLE_FLEET


def read_fleet(
    view: ConfigMapView,
    *,
    namespace: str,
    servers: Collection[str] = SERVERS,
    counts_memory: bool = False,
) -> Fleet:
    """Return the fleet of a ConfigMap.

    Parameters
    ----------
    view, namespace
        The ConfigMap, and where it is.
    servers
        Runtimes that shards can be opened with.
    counts_memory
        Whether KServe's controllers run, and check it.

    Raises
    ------
    InputError
        It is no fleet document without faults, of another namespace, or of a runtime that is none of them.
    """
    if FLEET_KEY not in view.data:
        raise InputError([Fault(path=f"data.{FLEET_KEY}", file=view.name, message="is required")])
    scenario = parse_fleet(view.data[FLEET_KEY], file=view.name)
    if scenario.namespace != namespace:
        message = f"is {scenario.namespace!r}, and its ConfigMap is in {namespace!r}"
        raise InputError([Fault(path="metadata.namespace", file=view.name, message=message)])
    if scenario.models:
        raise InputError([Fault(path="spec.models", file=view.name, message="a fleet has no models")])
    strange = [
        Fault(
            path=f"spec.shardTypes.{item.name}.runtime",
            file=view.name,
            message=f"{item.runtime!r} cannot be opened here, only {', '.join(servers)}",
        )
        for item in scenario.shard_types
        if item.runtime not in servers
    ]
    if strange:
        raise InputError(strange)
    data = {FLEET_KEY: view.data[FLEET_KEY]}
    return fleet_of(scenario, source=view.name, data=data, counts_memory=counts_memory)


def fleet_of(scenario: Scenario, *, source: str, data: Texts, counts_memory: bool) -> Fleet:
    """Return the fleet of a scenario without models."""
    parts = names(scenario)
    classes: dict[str, dict[str, bool]] = {}
    for item in scenario.shard_types:
        on_gpu = parts.device_classes[item.device_class].kind == "gpu"
        classes.setdefault(item.group, {})[item.device_class] = on_gpu
    return Fleet(
        source=source,
        scenario=scenario,
        parts=parts,
        groups=tuple(classes),
        classes_of={group: tuple(found.items()) for group, found in classes.items()},
        data=data,
        counts_memory=counts_memory,
    )


def scenario_of_group(fleet: Fleet, group: str) -> Scenario:
    """Return what is left of a fleet for one group: its shard types alone."""
    types = tuple(item for item in fleet.scenario.shard_types if item.group == group)
    return dataclasses.replace(fleet.scenario, shard_types=types)
