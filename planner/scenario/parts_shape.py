"""What a catalogue says of devices, servers and backends: the shapes of its parts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from planner.scenario.shapes import Bytes, PartName, Seconds, Shape, Text


class DeviceClassShape(Shape):
    """A kind of device: a GPU product, a MIG instance of one, or a CPU."""

    name: PartName
    """As footprints and shard types refer to it, as nvidia-t4."""
    kind: Literal["gpu", "cpu"] = "gpu"
    """Whether device memory is counted (gpu) or only the CPU and memory of the shard (cpu)."""
    memory: Bytes = 0
    """Total as NVML reports it."""
    reserved: Bytes = 0
    """What the driver keeps of it."""
    product: Text | None = None
    """The node label nvidia.com/gpu.product."""
    mig_profile: Text | None = None
    """The MIG profile's name, as 1g.10gb."""
    source: str = ""
    """Where the figures come from."""

    @model_validator(mode="after")
    def _check_memory(self) -> Self:
        if self.kind == "cpu" and self.memory:
            raise ValueError("a CPU has no memory of its own: leave memory out")
        if self.kind == "gpu" and self.memory <= self.reserved:
            raise ValueError("a GPU needs memory, above what the driver has reserved")
        return self


class LoadsShape(Shape):
    """What loads cost a server itself, in seconds, on top of what each model takes."""

    each: Seconds
    """One load through its API while it knows no other model."""
    per_known: Seconds = 0
    """More for each model that it knows."""
    at_start: Seconds | None = None
    """Each model of a start with all models; null for a server that cannot start so."""


class RuntimeShape(Shape):
    """A model server and what it costs with no model in it."""

    name: PartName
    """As shard types refer to it, as triton."""
    backends: list[PartName] | None = None
    """Backends it serves; null is any."""
    context: Bytes = 0
    """GPU memory of the server's CUDA context, on every GPU it sees."""
    pool: Bytes = 0
    """GPU memory of the server's pool, on every GPU it sees."""
    host_base: Bytes = 0
    """Host memory of the idle server."""
    loads: LoadsShape | None = None
    """What loads cost it; null is not known."""
    source: str = ""
    """Where the figures come from."""


class BackendShape(Shape):
    """What a backend costs beside the models that use it."""

    name: PartName
    """Triton's backend, or the framework of a server that has no backends."""
    device_base: Bytes = 0
    """GPU memory once per device that runs one of its models."""
    host_base: Bytes = 0
    """Host memory once per shard that holds one of its models."""
    context_per_instance: bool = False
    """Whether each instance is a process with a CUDA context of its own."""
    pinnable: bool = True
    """Whether its models run on the devices that they are placed on, and not where they choose."""
    source: str = ""
    """Where the figures come from."""
