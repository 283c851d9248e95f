"""The devices of a plan's shards as simulated hardware. PURE."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from planner.domain.fleet import DeviceClass
from planner.errors import Fault
from planner.rehearsal.gpus import SimulatedGpu, SimulatedMig
from planner.report.usage import DeviceUse, ShardUse

_NAMESPACE = uuid.UUID("5a4d0000-0000-4000-8000-000000000000")


def hardware_faults(shard: ShardUse, device_class: DeviceClass) -> Iterator[Fault]:
    """Yield why a shard's devices cannot be simulated."""
    if device_class.mig_profile is not None and len(shard.devices) > 1:
        yield Fault(
            path=f"shards.{shard.shard.name}",
            message=f"holds {len(shard.devices)} MIG instances: CUDA shows a process one at most,"
            " here as on hardware",
        )


def simulated_devices(
    shard: ShardUse, device_class: DeviceClass, *, foreign_bytes: int = 0
) -> tuple[tuple[SimulatedGpu, ...], tuple[str, ...]]:
    """Return a shard's GPUs and the UUIDs that its server sees, in the shard's order.

    A shard without GPUs has none. A MIG instance comes with a GPU that has no other.

    Parameters
    ----------
    shard, device_class
        The shard's account, and the class of its devices.
    foreign_bytes
        What others hold of each device beside what the scenario says.
    """
    devices = [device for device in shard.devices if device.is_gpu]
    uuids = tuple(_uuid(device, device_class) for device in devices)
    pairs = zip(devices, uuids, strict=True)
    gpus = tuple(_gpu(device, device_class, uuid=name, foreign_bytes=foreign_bytes) for device, name in pairs)
    return gpus, uuids


def _uuid(device: DeviceUse, device_class: DeviceClass) -> str:
    kind = "GPU" if device_class.mig_profile is None else "MIG"
    return device.room.uuid or f"{kind}-{uuid.uuid5(_NAMESPACE, device.name)}"


def _gpu(device: DeviceUse, device_class: DeviceClass, *, uuid: str, foreign_bytes: int) -> SimulatedGpu:
    product = device_class.product or device_class.name
    foreign_bytes += device.foreign_bytes
    if device_class.mig_profile is None:
        return SimulatedGpu(
            uuid=uuid,
            product=product,
            memory_bytes=device.room.total_bytes,
            reserved_bytes=device.reserved_bytes,
            context_bytes=device.context_bytes,
            foreign_bytes=foreign_bytes,
        )
    instance = SimulatedMig(
        uuid=uuid,
        profile=device_class.mig_profile,
        memory_bytes=device.room.total_bytes,
        reserved_bytes=device.reserved_bytes,
        foreign_bytes=foreign_bytes,
    )
    return SimulatedGpu(
        uuid=f"GPU-of-{uuid}",
        product=product,
        memory_bytes=device.room.total_bytes,
        reserved_bytes=device.reserved_bytes,
        context_bytes=device.context_bytes,
        mig=(instance,),
    )
