"""A scenario: everything that a plan depends on, resolved and self-contained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from planner.domain.canonical import OMITTED_WHEN_EMPTY
from planner.domain.fleet import Backend, Cluster, DeviceClass, Node, Runtime, ShardType, Transformer
from planner.domain.model import Model
from planner.domain.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Fleet, models, footprints and policy in one value.

    ``device_classes``, ``runtimes``, ``backends`` and ``transformers`` hold exactly what the rest refers to,
    sorted by name: what is said of something that is not used changes neither the plan nor the hash. Shard
    types and nodes keep their order, models are sorted by name.
    """

    name: str
    namespace: str
    cluster: Cluster = Cluster()
    device_classes: tuple[DeviceClass, ...]
    runtimes: tuple[Runtime, ...]
    backends: tuple[Backend, ...]
    shard_types: tuple[ShardType, ...]
    nodes: tuple[Node, ...] = ()
    models: tuple[Model, ...]
    policy: Policy = Policy()
    transformers: tuple[Transformer, ...] = field(default=(), metadata=OMITTED_WHEN_EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """A scenario's parts by name."""

    device_classes: Mapping[str, DeviceClass]
    runtimes: Mapping[str, Runtime]
    backends: Mapping[str, Backend]
    shard_types: Mapping[str, ShardType]
    nodes: Mapping[str, Node]
    models: Mapping[str, Model]
    transformers: Mapping[str, Transformer]


def names(scenario: Scenario) -> Names:
    """Return a scenario's parts by name."""
    return Names(
        device_classes={item.name: item for item in scenario.device_classes},
        runtimes={item.name: item for item in scenario.runtimes},
        backends={item.name: item for item in scenario.backends},
        shard_types={item.name: item for item in scenario.shard_types},
        nodes={item.name: item for item in scenario.nodes},
        models={item.name: item for item in scenario.models},
        transformers={item.name: item for item in scenario.transformers},
    )
