"""The documents ``Scenario`` and ``Catalog`` as people write them: the single source of their schema."""

# ruff: noqa: RUF012 - pydantic copies a field's default for each instance
from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from planner.domain.footprint import FootprintSource
from planner.domain.policy import Objective, Spread
from planner.scenario.shapes import (
    Bytes,
    BytesAmount,
    ClassOrAny,
    Count,
    GpuMemoryAmount,
    GroupName,
    Milli,
    MilliAmount,
    ModelName,
    NodeName,
    ObjectName,
    PartName,
    Positive,
    Price,
    Ratio,
    ResourceName,
    Scalar,
    Shape,
    ShardPrice,
    StorageUri,
    Text,
)

API_VERSION = "shardpack.dev/v1alpha1"

Extra = dict[ResourceName, Milli]
Strings = dict[str, str]
Replicas = Annotated[int, Field(ge=1, le=10_000)]


# ------------------------------------------------------------------------------------------- catalogue


class DeviceClassShape(Shape):
    """A kind of device: a GPU product, a MIG instance of one, or a CPU."""

    name: PartName
    kind: Literal["gpu", "cpu"] = "gpu"
    memory: Bytes = 0
    """Total as NVML reports it."""
    reserved: Bytes = 0
    """What the driver keeps of it."""
    product: Text | None = None
    """The node label nvidia.com/gpu.product."""
    mig_profile: Text | None = None
    """The MIG profile's name, as 1g.10gb."""
    source: str = ""

    @model_validator(mode="after")
    def _check_memory(self) -> Self:
        if self.kind == "cpu" and self.memory:
            raise ValueError("a CPU has no memory of its own: leave memory out")
        if self.kind == "gpu" and self.memory <= self.reserved:
            raise ValueError("a GPU needs memory, above what the driver has reserved")
        return self


class RuntimeShape(Shape):
    """A model server and what it costs with no model in it."""

    name: PartName
    backends: list[PartName] | None = None
    """Backends it serves; null is any."""
    context: Bytes = 0
    """GPU memory of the server's CUDA context, on every GPU it sees."""
    pool: Bytes = 0
    """GPU memory of the server's pool, on every GPU it sees."""
    host_base: Bytes = 0
    """Host memory of the idle server."""
    source: str = ""


class BackendShape(Shape):
    """What a backend costs beside the models that use it."""

    name: PartName
    device_base: Bytes = 0
    """GPU memory once per device that runs one of its models."""
    host_base: Bytes = 0
    """Host memory once per shard that holds one of its models."""
    context_per_instance: bool = False
    """Whether each instance is a process with a CUDA context of its own."""
    pinnable: bool = True
    """Whether it obeys the device ordinals of instance_group."""
    source: str = ""


class DevicesShape(Shape):
    """The devices of a shard."""

    device_class: PartName = Field(alias="class")
    count: Annotated[int, Field(ge=1, le=1024)] = 1
    gpu_memory: Bytes | None = None
    """Memory of each, where it differs from the class's."""
    gpu_time: Milli = 1000
    """Time of each, in devices."""


class ResourcesShape(Shape):
    """What one pod of a shard requests, sidecars included."""

    cpu: Milli
    memory: Bytes
    disk: Bytes | None = None
    """null is not counted."""


class OverheadShape(Shape):
    """The sidecars' part of it."""

    cpu: Milli = 0
    memory: Bytes = 0


class ShardTypeShape(Shape):
    """A template of a shard: one model server's pod."""

    name: PartName
    use: PartName | None = None
    """A shard type of the catalogue that this one starts from; every field given here wins."""
    runtime: PartName
    devices: DevicesShape
    resources: ResourcesShape
    overhead: OverheadShape = OverheadShape()
    price_per_hour: ShardPrice = 0
    """US dollars for one shard, all its pods."""
    provision: Literal["new", "existing"] | None = None
    """new: bought; existing: placed on the nodes. By default existing where the scenario lists nodes."""
    min_count: Count = 0
    max_count: Count | None = None
    """null is unlimited."""
    max_models: Positive | None = None
    """null is unlimited."""
    replicas: Replicas = 1
    """Identical pods of a shard."""
    group: GroupName | None = None
    """Base of the shards' names; by default the scenario's name and the shard type's."""
    zone: Text | None = None
    node_selector: Strings = {}
    parallel_loads: Positive = 1
    """Models that load at the same time on a device."""
    extra: Extra = {}
    """Further named capacity."""
    source: str = ""
    """Where the figures come from."""


class CatalogParts(Shape):
    """Parts of a catalogue; a part wins over one of the same name in the built-in catalogue."""

    device_classes: list[DeviceClassShape] = []
    runtimes: list[RuntimeShape] = []
    backends: list[BackendShape] = []


class CatalogSpec(CatalogParts):
    """What a document of kind Catalog holds."""

    version: str | None = None
    include: list[str] = []
    shard_types: list[ShardTypeShape] = []
    """Templates that a scenario's shard types name with `use`."""


# ----------------------------------------------------------------------------------------------- fleet


class AllocatableShape(Shape):
    """What a node has left for our pods."""

    cpu: Milli
    memory: Bytes
    pods: Count | None = None
    """null takes the cluster's maxPodsPerNode."""


class MigDeviceShape(Shape):
    """A MIG instance of a GPU."""

    device_class: PartName = Field(alias="class")
    uuid: Text | None = None
    memory: Bytes | None = None
    reserved: Bytes | None = None
    foreign: Bytes = 0


class NodeDeviceShape(Shape):
    """A GPU of a node, whole or cut by MIG."""

    device_class: PartName | None = Field(default=None, alias="class")
    """May be left out where mig lists the instances."""
    uuid: Text | None = None
    memory: Bytes | None = None
    """As NVML reports it, where it differs from the class's."""
    reserved: Bytes | None = None
    foreign: Bytes = 0
    """What other processes hold."""
    mig: list[MigDeviceShape] = []

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.device_class is None and not self.mig:
            raise ValueError("needs its class, or the instances that it is cut into under mig")
        if self.mig and (self.memory is not None or self.reserved is not None or self.foreign):
            raise ValueError(
                "memory, reserved and foreign of a GPU that is cut by MIG belong to its instances"
            )
        return self


class NodeShape(Shape):
    """A machine that exists."""

    name: NodeName
    count: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """So many equal nodes, called <name>-0, <name>-1, ..."""
    zone: Text | None = None
    rack: Text | None = None
    allocatable: AllocatableShape
    pods_in_use: Count = 0
    labels: Strings = {}
    devices: list[NodeDeviceShape] = []


class ClusterShape(Shape):
    """Limits of the cluster as a whole."""

    max_pods_per_node: Positive = 110
    usable_pods_per_node: Count | None = None
    nodes: Count | None = None
    max_ips: Count | None = Field(default=None, alias="maxIPs")
    max_config_map_bytes: Annotated[int, Field(ge=1024, le=1_048_576)] = 1_000_000


# ---------------------------------------------------------------------------------------------- models


class PinShape(Shape):
    """Where replica 0 has to be."""

    shard: Text
    device: Count | None = None


class FootprintShape(Shape):
    """One way of running a replica on a class of device, and all that it then uses."""

    device_class: ClassOrAny = Field(alias="class")
    batch: Positive = 1
    instances: Positive = 1
    gpu_memory: GpuMemoryAmount | None = None
    gpu_time: MilliAmount | None = None
    """Share of one device's time at the stated rate, as 35m."""
    cpu: MilliAmount | None = None
    memory: BytesAmount | None = None
    disk: BytesAmount | None = None
    source: FootprintSource = "declared"
    extra: Extra = {}


class ModelShape(Shape):
    """A model: what is placed."""

    name: ModelName
    backend: PartName
    framework: PartName | None = None
    storage_uri: StorageUri
    replicas: Replicas = 1
    priority: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)] = 0
    """Higher is placed first."""
    tenant: Text | None = None
    together: Text | None = None
    """Models with the same key share a shard."""
    devices_per_replica: Annotated[int, Field(ge=1, le=1024)] = 1
    """Whole devices of one shard when above 1."""
    pin: PinShape | None = None
    labels: Strings = {}
    footprints: Annotated[list[FootprintShape], Field(min_length=1)]


class DistributionShape(Shape):
    """A distribution of an amount; see planner.scenario.generate."""

    distribution: Literal["constant", "lognormal", "pareto", "zipf"]
    value: Scalar | None = None
    """constant: the amount."""
    median: Scalar | None = None
    """lognormal: half the models are below it."""
    sigma: Annotated[float, Field(gt=0, le=4)] | None = None
    """lognormal: standard deviation of the logarithm."""
    alpha: Annotated[float, Field(gt=0, le=20)] | None = None
    """pareto: the smaller, the heavier the tail."""
    exponent: Annotated[float, Field(gt=0, le=10)] | None = None
    """zipf: the amount of rank r is max / r^exponent."""
    ranks: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """zipf: ranks 1 to this one are equally frequent."""
    min: Scalar | None = None
    max: Scalar | None = None


def _constant_for_scalar(value: Any) -> Any:
    """Read one quantity as the distribution that always gives it."""
    return {"distribution": "constant", "value": value} if isinstance(value, str | int | float) else value


GeneratedAmount = Annotated[
    DistributionShape,
    BeforeValidator(_constant_for_scalar, json_schema_input_type=Scalar | DistributionShape),
]


class GeneratedFootprintShape(Shape):
    """How the amounts that are drawn apply to a class of device."""

    device_class: ClassOrAny = Field(alias="class")
    batch: Positive = 1
    instances: Positive = 1
    gpu_time_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0
    cpu_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0
    memory_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0


Weights = dict[str, Annotated[int, Field(ge=1, le=1_000_000)]]


class GenerateShape(Shape):
    """Models drawn from distributions with a seed."""

    prefix: ModelName
    count: Annotated[int, Field(ge=1, le=5_000_000)]
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    backends: Annotated[Weights, Field(min_length=1)]
    """Weight of each backend."""
    storage_uri: str = "s3://models/{name}"
    replicas: Weights = {"1": 1}
    """Weight of each number of replicas."""
    priorities: Weights = {"0": 1}
    """Weight of each priority."""
    tenants: Weights = {}
    """Weight of each tenant; empty is nobody's."""
    labels: Strings = {}
    gpu_memory: GeneratedAmount | None = None
    load_peak_ratio: Annotated[float, Field(ge=1, le=100)] = 1.0
    """Load peak as a multiple of the steady GPU memory."""
    p50_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Medians as a share of what is drawn, which is the p95."""
    gpu_time: GeneratedAmount | None = None
    cpu: GeneratedAmount | None = None
    memory: GeneratedAmount | None = None
    disk: GeneratedAmount | None = None
    footprints: Annotated[list[GeneratedFootprintShape], Field(min_length=1)]


class ModelsFromShape(Shape):
    """One source of models; exactly one of its fields is given."""

    table: str | None = None
    """A CSV file; see planner.scenario.table for its columns."""
    trained_models: str | None = None
    """A folder of TrainedModel YAML; see planner.scenario.trained_models."""
    generate: GenerateShape | None = None


# ---------------------------------------------------------------------------------------------- policy


class HeadroomShape(Shape):
    """Shares of capacity that stay free."""

    gpu_memory: Ratio = 0
    gpu_time: Ratio = 0
    cpu: Ratio = 0
    memory: Ratio = 0


class LimitsShape(Shape):
    """Limits of the whole plan."""

    max_cost_per_hour: Price | None = None
    max_shards: Count | None = None


class PolicyShape(Shape):
    """How a plan is judged."""

    headroom: HeadroomShape = HeadroomShape()
    quantile: Literal["p50", "p95"] = "p95"
    spread: Spread = "shard"
    tenants: Literal["shared", "isolated"] = "shared"
    objective: list[Objective] = ["placed", "cost", "moves", "balance"]
    limits: LimitsShape = LimitsShape()


# ------------------------------------------------------------------------------------------- documents


class ScenarioSpec(Shape):
    """Fleet, models and policy."""

    include: list[str] = []
    """Further documents of ours, as paths relative to this file."""
    catalog: CatalogParts = CatalogParts()
    cluster: ClusterShape | None = None
    shard_types: list[ShardTypeShape] = []
    nodes: list[NodeShape] = []
    models: list[ModelShape] = []
    models_from: list[ModelsFromShape] = []
    policy: PolicyShape | None = None


class Metadata(Shape):
    """Whose document it is."""

    name: ObjectName
    namespace: ObjectName = "default"


class PieceMetadata(Shape):
    """The same of an included document, where only people read it."""

    name: str | None = None
    namespace: str | None = None


class ScenarioShape(Shape):
    """Everything that a plan depends on."""

    api_version: Literal["shardpack.dev/v1alpha1"]
    kind: Literal["Scenario"]
    metadata: Metadata
    spec: ScenarioSpec


class ScenarioPiece(Shape):
    """A part of a scenario in a file of its own."""

    api_version: Literal["shardpack.dev/v1alpha1"]
    kind: Literal["Scenario"]
    metadata: PieceMetadata = PieceMetadata()
    spec: ScenarioSpec


class CatalogShape(Shape):
    """Device classes, runtimes, backends and shard types to refer to."""

    api_version: Literal["shardpack.dev/v1alpha1"]
    kind: Literal["Catalog"]
    metadata: PieceMetadata = PieceMetadata()
    spec: CatalogSpec
