"""The documents ``Scenario`` and ``Catalog`` as people write them: the single source of their schema."""

# ruff: noqa: RUF012 - pydantic copies a field's default for each instance
from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from planner.domain.footprint import FootprintSource
from planner.domain.model import Probe
from planner.domain.policy import Objective, Spread
from planner.domain.services import PREDICTOR_HOST, PREDICTOR_URL
from planner.scenario.models_from_shape import ModelsFromShape
from planner.scenario.parts_shape import BackendShape, DeviceClassShape, RuntimeShape
from planner.scenario.shapes import (
    Bytes,
    BytesAmount,
    ClassOrAny,
    Count,
    GpuMemoryAmount,
    GroupName,
    LabelKey,
    LabelValue,
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
    Shape,
    ShardPrice,
    StorageUri,
    Strings,
    Text,
    VariableName,
)

API_VERSION = "shardpack.dev/v1alpha1"

_NONE_NAMED: Any = Field(default_factory=dict, json_schema_extra={"default": {}})
"""An empty mapping; as a plain default it would be copied with care for each of millions of footprints."""

Extra = dict[ResourceName, Milli]
NodeLabels = dict[LabelKey, LabelValue]
Replicas = Annotated[int, Field(ge=1, le=10_000)]
MinCount = Annotated[int, Field(ge=0, le=10_000)]


# ------------------------------------------------------------------------------------------- catalogue


class DevicesShape(Shape):
    """The devices of a shard."""

    device_class: PartName = Field(alias="class")
    """Class of all its devices: one of the catalogue, as nvidia-t4, or cpu."""
    count: Annotated[int, Field(ge=1, le=1024)] = 1
    """Devices of a shard; a CPU shard and a shard on a MIG instance have 1."""
    gpu_memory: Bytes | None = None
    """Memory of each, where it differs from the class's."""
    gpu_time: Milli = 1000
    """Time of each, in devices."""


class ResourcesShape(Shape):
    """What one pod of a shard requests, sidecars included."""

    cpu: Milli
    """Cores."""
    memory: Bytes
    """Host memory."""
    disk: Bytes | None = None
    """null is not counted."""


class OverheadShape(Shape):
    """The sidecars' part of it."""

    cpu: Milli = 0
    """Cores."""
    memory: Bytes = 0
    """Host memory."""


class ShardTypeShape(Shape):
    """A template of a shard: one model server's pod. What is required may come from what `use` names."""

    name: PartName
    """Its own name, unique in the scenario."""
    use: PartName | None = None
    """A shard type of the catalogue that this one starts from; every field given here wins."""
    runtime: PartName
    """The model server: triton, mlserver, sklearn, ... or one of catalog."""
    devices: DevicesShape
    """What it runs models on."""
    resources: ResourcesShape
    """What one pod requests."""
    overhead: OverheadShape = OverheadShape()
    """What the sidecars take of resources."""
    price_per_hour: ShardPrice = 0
    """US dollars for one shard, all its pods."""
    provision: Literal["new", "existing"] | None = None
    """new: bought; existing: placed on the nodes. By default existing where the scenario lists nodes."""
    min_count: MinCount = 0
    """Shards that are opened even if nothing needs them."""
    max_count: Count | None = None
    """null is unlimited."""
    max_models: Positive | None = None
    """Left out, as many as its runtime loads one by one in five minutes; null is unlimited."""
    replicas: Replicas = 1
    """Identical pods of a shard."""
    group: GroupName | None = None
    """Base of the shards' names; by default the scenario's name and the shard type's."""
    zone: Text | None = None
    """Zone of the shards that are bought; null is unknown."""
    node_selector: NodeLabels = {}
    """Labels that a node must have."""
    parallel_loads: Positive = 1
    """Models that load at the same time on a device."""
    extra: Extra = {}
    """Further named capacity."""
    source: str = ""
    """Where the figures come from."""


class CatalogParts(Shape):
    """Parts of a catalogue; a part wins over one of the same name in the built-in catalogue."""

    device_classes: list[DeviceClassShape] = []
    """GPU products, MIG instances and CPUs."""
    runtimes: list[RuntimeShape] = []
    """Model servers."""
    backends: list[BackendShape] = []
    """What runs models inside a server."""


class CatalogSpec(CatalogParts):
    """What a document of kind Catalog holds."""

    version: str | None = None
    """For people."""
    include: list[str] = []
    """Further documents, as paths relative to this file."""
    shard_types: list[ShardTypeShape] = []
    """Templates that a scenario's shard types name with `use`."""


# ----------------------------------------------------------------------------------------------- fleet


class AllocatableShape(Shape):
    """What a node has left for our pods."""

    cpu: Milli
    """Cores, without what other pods request."""
    memory: Bytes
    """Host memory, without what other pods request."""
    pods: Count | None = None
    """null takes the cluster's maxPodsPerNode."""


class MigDeviceShape(Shape):
    """A MIG instance of a GPU."""

    device_class: PartName = Field(alias="class")
    """A class with a MIG profile, as nvidia-a100-80gb-1g.10gb."""
    uuid: Text | None = None
    """As NVML reports it."""
    memory: Bytes | None = None
    """As NVML reports it, where it differs from the class's."""
    reserved: Bytes | None = None
    """What the driver keeps, where it differs from the class's."""
    foreign: Bytes = 0
    """What other processes hold."""


class NodeDeviceShape(Shape):
    """A GPU of a node, whole or cut by MIG."""

    device_class: PartName | None = Field(default=None, alias="class")
    """May be left out where mig lists the instances."""
    uuid: Text | None = None
    """As NVML reports it."""
    memory: Bytes | None = None
    """As NVML reports it, where it differs from the class's."""
    reserved: Bytes | None = None
    """What the driver keeps, where it differs from the class's."""
    foreign: Bytes = 0
    """What other processes hold."""
    mig: list[MigDeviceShape] = []
    """The instances that it is cut into."""

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
    """The Kubernetes node's name."""
    count: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """So many equal nodes, called <name>-0, <name>-1, ..."""
    zone: Text | None = None
    """Failure domain; null is unknown."""
    rack: Text | None = None
    """Failure domain, for people."""
    allocatable: AllocatableShape
    """What our pods may use of it."""
    pods_in_use: Count = 0
    """Pods that are there already."""
    labels: NodeLabels = {}
    """Node labels, which nodeSelector looks at."""
    devices: list[NodeDeviceShape] = []
    """Its GPUs in NVML's order."""


class TransformerResourcesShape(Shape):
    """What one pod of a transformer requests, sidecars included."""

    cpu: Milli
    """Cores."""
    memory: Bytes
    """Host memory, and its limit."""


class TransformerShape(Shape):
    """What requests of models pass through: one service for all models of a group that name it."""

    name: ObjectName
    """As models refer to it."""
    image: Text
    """What its pods run; it listens on port 8080."""
    args: list[str] = []
    """Of its container."""
    env: dict[VariableName, str] = {}
    """Further variables of its container; PREDICTOR_URL and PREDICTOR_HOST are ours."""
    replicas: Replicas = 1
    """Identical pods of a service."""
    resources: TransformerResourcesShape
    """What one pod requests."""
    price_per_hour: ShardPrice = 0
    """US dollars for one service, all its pods."""
    source: str = ""
    """Where the figures come from."""

    @model_validator(mode="after")
    def _check_variables(self) -> Self:
        ours = sorted({PREDICTOR_URL, PREDICTOR_HOST} & self.env.keys())
        if ours:
            raise ValueError(f"{ours[0]} is set by us: where the models answer")
        return self


class ClusterShape(Shape):
    """Limits of the cluster as a whole."""

    max_pods_per_node: Positive = 110
    """Kubelet's limit."""
    usable_pods_per_node: Count | None = None
    """What system pods leave of it; null is all. Only `limits` reckons with it."""
    nodes: Count | None = None
    """Nodes that `limits` reckons with; null counts the scenario's own."""
    max_ips: Count | None = Field(default=None, alias="maxIPs")
    """Pod addresses; null is unlimited."""
    max_config_map_bytes: Annotated[int, Field(ge=1024, le=1_048_576)] = 1_000_000
    """Largest ConfigMap that is written, in bytes."""


# ---------------------------------------------------------------------------------------------- models


class PinShape(Shape):
    """Where replica 0 has to be."""

    shard: Text
    """A shard's name: its group, or its group and a number, as news-1."""
    device: Count | None = None
    """Ordinal of the device there; null is any."""


class FootprintShape(Shape):
    """One way of running a replica on a class of device, and all that it then uses."""

    device_class: ClassOrAny = Field(alias="class")
    """A device class, or '*' for any that has no footprint of its own. A model is never put on a class for
    which it has none."""
    batch: Positive = 1
    """Largest batch that the figures stand for."""
    instances: Positive = 1
    """Instances that the figures stand for, all together."""
    gpu_memory: GpuMemoryAmount | None = None
    """On each of its devices: steady (after warm-up), loadPeak (while loading; by default the same) and
    residual (kept after the unload; by default 0)."""
    gpu_time: MilliAmount | None = None
    """Share of one device's time at the stated rate, as 35m."""
    cpu: MilliAmount | None = None
    """Cores of the host."""
    memory: BytesAmount | None = None
    """Host memory."""
    disk: BytesAmount | None = None
    """Size of the model's files."""
    source: FootprintSource = "declared"
    """measured and imported figures contain the CUDA contexts of instance processes; to estimated and
    declared ones they are added."""
    extra: Extra = _NONE_NAMED
    """Further named resources."""


class ModelShape(Shape):
    """A model: what is placed."""

    name: ModelName
    """Unique in the scenario."""
    backend: PartName
    """Triton's backend, or the framework of a server that has no backends."""
    framework: PartName | None = None
    """What its TrainedModel says; null derives it from the backend."""
    storage_uri: StorageUri
    """Where the model's files are, as s3://bucket/path."""
    replicas: Replicas = 1
    """Shards that hold a copy of it."""
    priority: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)] = 0
    """Higher is placed first."""
    tenant: Text | None = None
    """Whose it is; null is nobody's."""
    together: Text | None = None
    """Models with the same key share a shard."""
    devices_per_replica: Annotated[int, Field(ge=1, le=1024)] = 1
    """Whole devices of one shard when above 1."""
    pin: PinShape | None = None
    """Where replica 0 has to be; null is anywhere."""
    probe: Probe | None = None
    """How the agent looks at it after its load: none, ready (its ready endpoint) or infer (a test inference,
    and what fails it is loaded again). null is as the agent is set, by default ready."""
    transformer: ObjectName | None = None
    """What its requests pass through, one of transformers; null is nothing."""
    labels: Strings = _NONE_NAMED
    """For people and reports."""
    footprints: Annotated[list[FootprintShape], Field(min_length=1)]
    """What a replica uses, for each class of device that it may run on."""


# ---------------------------------------------------------------------------------------------- policy


class HeadroomShape(Shape):
    """Shares of capacity that stay free."""

    gpu_memory: Ratio = 0
    """Of what the driver leaves of each GPU's memory."""
    gpu_time: Ratio = 0
    """Of each GPU's time."""
    cpu: Ratio = 0
    """Of what the sidecars leave of a shard."""
    memory: Ratio = 0
    """Of what the sidecars leave of a shard."""


class LimitsShape(Shape):
    """Limits of the whole plan."""

    max_cost_per_hour: Price | None = None
    """null is unlimited."""
    max_shards: Count | None = None
    """null is unlimited."""


class PolicyShape(Shape):
    """How a plan is judged."""

    headroom: HeadroomShape = HeadroomShape()
    """What stays free."""
    quantile: Literal["p50", "p95"] = "p95"
    """The quantile of every footprint that is planned with."""
    spread: Spread = "shard"
    """What two replicas of a model never share. They never share a shard in any case, so none and shard mean
    the same."""
    tenants: Literal["shared", "isolated"] = "shared"
    """isolated: no shard holds models of two tenants."""
    objective: list[Objective] = ["placed", "cost", "moves", "balance"]
    """What is better, most important first; placed comes first."""
    limits: LimitsShape = LimitsShape()
    """What the whole plan may take."""


# ------------------------------------------------------------------------------------------- documents


class ScenarioSpec(Shape):
    """Fleet, models and policy."""

    include: list[str] = []
    """Further documents of ours, as paths relative to this file."""
    catalog: CatalogParts = CatalogParts()
    """Parts that the built-in catalogue lacks or has otherwise."""
    cluster: ClusterShape | None = None
    """Limits of the cluster."""
    shard_types: list[ShardTypeShape] = []
    """Shards that may be opened: bought, or on the nodes."""
    nodes: list[NodeShape] = []
    """Machines that exist."""
    transformers: list[TransformerShape] = []
    """What requests of models pass through."""
    models: list[ModelShape] = []
    """What is placed."""
    models_from: list[ModelsFromShape] = []
    """Further models, from elsewhere."""
    policy: PolicyShape | None = None
    """How a plan is judged."""


class Metadata(Shape):
    """Whose document it is."""

    name: ObjectName
    """Name of the scenario and of its plans."""
    namespace: ObjectName = "default"
    """Kubernetes namespace of all that is written."""


class PieceMetadata(Shape):
    """The same of an included document, where only people read it."""

    name: str | None = None
    """For people."""
    namespace: str | None = None
    """For people."""


class ScenarioShape(Shape):
    """Everything that a plan depends on."""

    api_version: Literal["shardpack.dev/v1alpha1"]
    """The version of this format."""
    kind: Literal["Scenario"]
    """Scenario."""
    metadata: Metadata
    """Whose it is."""
    spec: ScenarioSpec
    """What is in it."""


class ScenarioPiece(Shape):
    """A part of a scenario in a file of its own."""

    api_version: Literal["shardpack.dev/v1alpha1"]
    kind: Literal["Scenario"]
    metadata: PieceMetadata = PieceMetadata()
    spec: ScenarioSpec


class CatalogShape(Shape):
    """Device classes, runtimes, backends and shard types to refer to."""

    api_version: Literal["shardpack.dev/v1alpha1"]
    """The version of this format."""
    kind: Literal["Catalog"]
    """Catalog."""
    metadata: PieceMetadata = PieceMetadata()
    """For people."""
    spec: CatalogSpec
    """What is in it."""
