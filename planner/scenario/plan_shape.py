"""The document ``Plan`` as programs write it: the single source of its schema."""
# ruff: noqa: RUF012 - pydantic copies a field's default for each instance

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planner.domain.plan import Status
from planner.scenario.shapes import Price, Shape

_LARGEST = 2**63 - 1
Whole = Annotated[int, Field(ge=0, le=_LARGEST)]
Signed = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=253)]

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
    time_limit_ms: Whole | None = None
    workers: Annotated[int, Field(ge=1, le=4096)] = 1


class PlanMetadata(Shape):
    """Whose plan it is and what it was made from."""

    name: Name
    namespace: Name
    scenario_sha256: Sha256
    seed: Whole
    budget: BudgetShape
    stopped_by_clock: bool
    versions: dict[str, str]
    base_sha256: Sha256 | None = None


class CostShape(Shape):
    """What the plan costs and opens."""

    usd_per_hour: Price
    shards: Whole
    devices: Whole
    """GPUs and MIG instances."""


class BoundShape(Shape):
    """What no plan that places as much can cost less than."""

    usd_per_hour: Price
    method: Name


class PlanDeviceShape(Shape):
    """A device of a shard and what the plan puts on it."""

    index: Whole
    device_class: Name = Field(alias="class")
    uuid: str | None
    capacity_bytes: Whole
    """Total less headroom."""
    fixed_bytes: Whole
    """Used before any model: the driver, the server and foreign processes."""
    used_bytes: Whole
    """Fixed bytes, backends and steady footprints together."""
    used_milli: Whole


class UsedShape(Shape):
    """What the models of a shard use of its host."""

    models: Whole
    cpu_milli: Whole
    memory_bytes: Whole
    """Backends included, the idle server not."""
    disk_bytes: Whole
    models_json_bytes: Whole
    extra_milli: dict[str, Whole] = {}


class PlanShardShape(Shape):
    """An open shard."""

    name: Name
    shard_type: Name
    group: Name
    node: Name | None
    node_devices: list[Whole]
    """Positions of its devices among the node's."""
    devices: list[PlanDeviceShape]
    used: UsedShape


class PlacementShape(Shape):
    """One replica on its devices."""

    model: Name
    replica: Whole
    option: Whole
    shard: Name
    devices: list[Whole]


class RefusalShape(Shape):
    """Replicas of a model that are not placed, and why."""

    model: Name
    replicas: Annotated[int, Field(ge=1, le=1_000_000)]
    rule: RuleName
    subject: str
    need: Signed | None
    have: Signed | None
    proven: bool


class UsedOfShape(Shape):
    """A figure and its limit; null is unlimited."""

    used: Whole
    limit: Whole | None


class PlanLimitsShape(Shape):
    """How near the plan is to the limits of the cluster and the policy."""

    ips: UsedOfShape
    shards: UsedOfShape
    micro_usd_per_hour: UsedOfShape
    config_map_bytes: UsedOfShape
    """The largest models.json."""


class PlanShape(Shape):
    """Shards, placements, cost, bound and refusals."""

    api_version: Literal["shardpack.dev/v1alpha1"]
    kind: Literal["Plan"]
    metadata: PlanMetadata
    status: Status
    cost: CostShape
    bound: BoundShape | None
    gap_ratio: Annotated[float, Field(le=1, allow_inf_nan=False)] | None
    """(cost - bound) / cost, to six digits."""
    limits: PlanLimitsShape
    shards: list[PlanShardShape]
    placements: list[PlacementShape]
    refusals: list[RefusalShape]
