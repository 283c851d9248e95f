"""The document ``Plan`` as programs write it: the single source of its schema."""
# ruff: noqa: RUF012 - pydantic copies a field's default for each instance

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planner.domain.plan import Status
from planner.scenario.shapes import Price, Printable, Shape, Text

_LARGEST = 2**63 - 1
Whole = Annotated[int, Field(ge=0, le=_LARGEST)]
Signed = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Text

RuleName = Literal[
    "device-memory",
    "startable",
    "device-time",
    "exclusive-devices",
    "cpu",
    "host-memory",
    "disk",
    "extra",
    "max-models",
    "config-map",
    "tenants",
    "runtime",
    "device-class",
    "spread",
    "together",
    "pin",
    "service",
    "min-count",
    "max-count",
    "node-selector",
    "node-cpu",
    "node-memory",
    "node-pods",
    "node-devices",
    "ips",
    "max-shards",
    "max-cost",
    "accounted",
    "reference",
    "cost",
    "bound",
]
"""The values of ``planner.domain.rules.Rule``; a test keeps them equal."""


class BudgetShape(Shape):
    """How much work the solver was allowed."""

    work: Whole
    """Units of deterministic work."""
    time_limit_ms: Whole | None = None
    """Safety stop by the clock; null is none."""
    workers: Annotated[int, Field(ge=1, le=4096)] = 1
    """Threads; only 1 promises equal bytes."""


class PlanMetadata(Shape):
    """Whose plan it is and what it was made from."""

    name: Name
    """The scenario's."""
    namespace: Name
    """The scenario's."""
    scenario_sha256: Sha256
    """Hash of the scenario with all that it includes."""
    seed: Whole
    """What the search was given."""
    budget: BudgetShape
    """What the search was allowed."""
    stopped_by_clock: bool
    """Whether the safety stop ended the search, which voids the promise of equal bytes."""
    versions: dict[Name, Printable]
    """Of shardpack and the solver."""
    base_sha256: Sha256 | None = None
    """Hash of the plan that this one was to stay close to; null is none."""


class CostShape(Shape):
    """What the plan costs and opens."""

    usd_per_hour: Price
    """Sum of the prices of the shards and the services."""
    shards: Whole
    """How many are open."""
    devices: Whole
    """GPUs and MIG instances."""


class BoundShape(Shape):
    """What no plan that places as much can cost less than."""

    usd_per_hour: Price
    """The lower bound."""
    method: Name
    """How it was found."""


class MovesShape(Shape):
    """What the plan moves of the one that it was to stay close to."""

    count: Whole
    """Replicas on another shard or device than they were, or under another option."""
    at_least: Whole
    """No plan that places as many of them moves fewer."""


class PlanDeviceShape(Shape):
    """A device of a shard and what the plan puts on it."""

    index: Whole
    """Its ordinal in the shard."""
    device_class: Name = Field(alias="class")
    """Its class."""
    uuid: str | None
    """As the scenario knows it."""
    capacity_bytes: Whole
    """Total less headroom."""
    fixed_bytes: Whole
    """Used before any model: the driver, the server and foreign processes."""
    used_bytes: Whole
    """Fixed bytes, backends and steady footprints together."""
    used_milli: Whole
    """GPU time, in milli-devices."""


class UsedShape(Shape):
    """What the models of a shard use of its host."""

    models: Whole
    """Replicas that it holds."""
    cpu_milli: Whole
    """Milli-cores."""
    memory_bytes: Whole
    """Backends included, the idle server not."""
    disk_bytes: Whole
    """Of the files of the models."""
    models_json_bytes: Whole
    """Size of its models.json."""
    extra_milli: dict[str, Whole] = {}
    """Further named resources."""


class PlanShardShape(Shape):
    """An open shard."""

    name: Name
    """Of the shard and its InferenceService."""
    shard_type: Name
    """Its shard type."""
    group: Name
    """Its group."""
    node: Name | None
    """Where it stands; null for one that is bought."""
    node_devices: list[Whole]
    """Positions of its devices among the node's."""
    devices: list[PlanDeviceShape]
    """Its GPUs; a CPU shard has none."""
    used: UsedShape
    """What its models use of its host."""


class ServiceShape(Shape):
    """A transformer that stands for a group: once, however many models pass through it."""

    name: Name
    """Of its Deployment and its Service: <group>-transformer-<transformer>."""
    transformer: Name
    """Which transformer of the scenario."""
    group: Name
    """Whose models."""
    replicas: Whole
    """Its pods."""
    nodes: list[Name]
    """The node of each pod, sorted; empty where the scenario has no nodes."""
    cpu_milli: Whole
    """Of all its pods, in milli-cores."""
    memory_bytes: Whole
    """Of all its pods."""
    usd_per_hour: Price
    """Its price, all its pods."""


class PlacementShape(Shape):
    """One replica on its devices."""

    model: Name
    """Which model."""
    replica: Whole
    """Which of its replicas, from 0."""
    option: Whole
    """Which of its footprints, from 0."""
    shard: Name
    """Where."""
    devices: list[Whole]
    """Ordinals of its devices there."""


class RefusalShape(Shape):
    """Replicas of a model that are not placed, and why."""

    model: Name
    """Which model."""
    replicas: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many of its replicas."""
    rule: RuleName
    """The rule that stands against it."""
    subject: Printable
    """What the rule is about: a shard type, a node, a device class..."""
    need: Signed | None
    """What would be needed, in the rule's unit."""
    have: Signed | None
    """What there is."""
    proven: bool
    """Whether no plan at all could place it."""


class UsedOfShape(Shape):
    """A figure and its limit; null is unlimited."""

    used: Whole
    """What the plan takes."""
    limit: Whole | None
    """What it may take."""


class PlanLimitsShape(Shape):
    """How near the plan is to the limits of the cluster and the policy."""

    ips: UsedOfShape
    """Pod addresses."""
    shards: UsedOfShape
    """Shards."""
    micro_usd_per_hour: UsedOfShape
    """Cost in micro-USD."""
    config_map_bytes: UsedOfShape
    """The largest models.json."""


class PlanShape(Shape):
    """Shards, placements, cost, bound and refusals."""

    api_version: Literal["shardpack.dev/v1alpha1"]
    """The version of this format."""
    kind: Literal["Plan"]
    """Plan."""
    metadata: PlanMetadata
    """What it was made from."""
    status: Status
    """optimal and infeasible are proofs: of the cost, or that nothing at all can be placed."""
    cost: CostShape
    """What it costs."""
    bound: BoundShape | None
    """No plan that places as much costs less; null is no bound."""
    gap_ratio: Annotated[float, Field(le=1, allow_inf_nan=False)] | None
    """(cost - bound) / cost, to six digits."""
    moves: MovesShape | None = None
    """What it moves of an earlier plan; null if there was none."""
    limits: PlanLimitsShape
    """How near it is to the limits."""
    shards: list[PlanShardShape]
    """Sorted by name."""
    services: list[ServiceShape] = []
    """The transformers that stand, sorted by group; left out where there are none."""
    placements: list[PlacementShape]
    """Sorted by model and replica."""
    refusals: list[RefusalShape]
    """What is not placed, sorted by model."""
